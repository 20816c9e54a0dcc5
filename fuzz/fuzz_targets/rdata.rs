//! RDATA and the parameters of SVCB as people write them: refused, or bytes of their type, which the spelling of RFC 3597 says again.
//! The first two bytes are the type.
#![no_main]

use dialtone_resolver::dns::Domain;
use dialtone_resolver::dns::rdata_text::{rdata_from_text, type_from_text, type_to_text};
use dialtone_shared::record::rdata;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[how, low], text)) = bytes.split_first_chunk() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else { return };
    // Those that have a spelling of their own more often than the others.
    let kind = match how {
        0..=31 => u16::from_be_bytes([how, low]),
        32..=127 => KINDS[usize::from(how) % KINDS.len()],
        128.. => 64 + u16::from(how & 1),
    };
    assert_eq!(type_from_text(&type_to_text(kind)), Ok(kind));
    let _ = type_from_text(text);
    let origin = Domain::from_text("example.alt").expect("a name");
    if let Ok(data) = rdata_from_text(kind, text, &origin) {
        assert_eq!(rdata::check(kind, &data), Ok(()));
        let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(rdata_from_text(kind, &format!("\\# {} {digits}", data.len()), &origin), Ok(data));
    }
});

const KINDS: [u16; 24] = [
    1, 2, 5, 6, 12, 13, 15, 16, 17, 28, 29, 33, 35, 37, 39, 43, 44, 48, 52, 55, 61, 99, 256, 257,
];
