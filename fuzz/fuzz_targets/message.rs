//! What a peer says, however strange, is refused or means one thing: what is read is written the same, but for what is passed over.
#![no_main]

use dialtone_shared::Scheme;
use dialtone_shared::message::{Hello, Message};
use libfuzzer_sys::fuzz_target;

/// A key of two bytes and a value of one, and one more for what must be less.
const SCHEMES_BYTES: usize = 4;

fuzz_target!(|frame: &[u8]| {
    // The length is the transport's to read; here the body is what follows it.
    let Some((_, body)) = frame.split_first_chunk::<4>() else { return };
    if let Ok(message) = Message::decode(body) {
        let again = message.to_frame();
        // Who does not say which schemes of names it knows, knows the first: that is written out.
        let said = match &message {
            Message::Hello(Hello { terms, .. }) | Message::Terms(terms) if terms.schemes == Scheme::FIRST => SCHEMES_BYTES,
            _ => 0,
        };
        assert!(again[4..] == *body || again.len() - 4 < body.len() + said);
        assert_eq!(Message::decode(&again[4..]).as_ref(), Ok(&message));
    }
});
