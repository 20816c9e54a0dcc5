//! What a request over HTTPS asks: refused with a status, or the very message that its parameter spells.
#![no_main]

use dialtone_resolver::dns::https::{Asks, PATH, asks};
use hyper::{Request, Uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&method, rest)) = bytes.split_first() else { return };
    let head = |target: &[u8]| {
        let uri = Uri::try_from(target).ok()?;
        let verb = ["GET", "POST", "HEAD", "PUT"][usize::from(method & 3)];
        let media_type = ["application/dns-message", "text/plain"][usize::from(method & 4 != 0)];
        let request = Request::builder().method(verb).uri(uri).header("content-type", media_type);
        Some(request.body(()).ok()?.into_parts().0)
    };
    let after = |parameter: &[u8]| [PATH.as_bytes(), b"?", parameter].concat();
    for target in [rest.to_vec(), after(rest), after(&[b"dns=", rest].concat())] {
        if let Some(head) = head(&target) {
            match asks(&head) {
                Ok(Asks::Message(message)) => assert!(method & 3 == 0 && message.len() <= target.len()),
                Ok(Asks::Body) => assert_eq!(method & 3, 1),
                Err((status, why)) => assert!(status.is_client_error() && !why.is_empty()),
            }
        }
    }
    // Whatever is spelt is what is read.
    if method & 3 == 0 && rest.len() <= 512 {
        let head = head(&after(&[b"dns=", spelt(rest).as_bytes()].concat())).expect("a target");
        assert_eq!(asks(&head), Ok(Asks::Message(rest.to_vec())));
    }
});

/// As RFC 4648 §5 has it, without `=`: written here, so that it is not the decoder's own idea of it.
fn spelt(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            text.push(char::from(LETTERS[(bits >> (18 - 6 * place)) as usize & 63]));
        }
    }
    text
}
