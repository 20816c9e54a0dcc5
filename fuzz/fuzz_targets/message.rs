//! What a peer says, however strange, is refused or means one thing: what is read is written the same, but for what is passed over.
#![no_main]

use dialtone_shared::message::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    // The length is the transport's to read; here the body is what follows it.
    let Some((_, body)) = frame.split_first_chunk::<4>() else { return };
    if let Ok(message) = Message::decode(body) {
        let again = message.to_frame();
        assert!(again[4..] == *body || again.len() - 4 < body.len());
        assert_eq!(Message::decode(&again[4..]).as_ref(), Ok(&message));
    }
});
