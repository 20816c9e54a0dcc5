//! What comes back for the stub's question: passed over, or one thing that stands in it. The first byte says how it came, the rest is the
//! message, from its flags or from its first record on.
#![no_main]

use dialtone_resolver::Sought;
use dialtone_resolver::message::{Origin, Over, Query, Reply};
use dialtone_shared::Name;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&how, rest)) = bytes.split_first() else { return };
    let over = if how & 1 == 0 { Over::Udp } else { Over::Tcp };
    let origin = Origin::new("dialtone.alt").expect("an origin");
    let query = Query::new(&Sought::Name(Name::of_content(b"x")), &origin, 0x1234, 0x5555_5555_5555_5555);
    let asked = query.as_bytes();
    // `[header 12][name 71][type u16][class u16]`
    let question = &asked[12..12 + 1 + Name::TEXT_CHARS + 14 + 4];
    let message = match rest.split_at_checked(8) {
        Some((head, records)) if how & 2 != 0 => [&asked[..2], &[head[0] | 0x80, head[1], 0, 1], &head[2..], question, records].concat(),
        _ => rest.to_vec(),
    };
    match query.read_reply(&message, over) {
        Some(Reply::Record { envelope, .. }) => {
            assert!(envelope.is_empty() || message.windows(envelope.len()).any(|part| part == envelope));
        }
        Some(Reply::Truncated) => assert_eq!(over, Over::Udp),
        Some(Reply::Absent { .. }) => assert_eq!(message[3] & 0xf, 3),
        Some(Reply::No(why)) => assert!(!why.is_empty()),
        None => {}
    }
});
