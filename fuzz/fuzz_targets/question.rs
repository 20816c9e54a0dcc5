//! Questions as they come by wire: refused with a code or read; and what the hot path takes for ordinary is read the long way, as the same.
#![no_main]

use dialtone_resolver::dns::Domain;
use dialtone_resolver::dns::glance::Key;
use dialtone_resolver::dns::question::Query;
use dialtone_resolver::dns::response::{encode_refusal, udp_limit};
use dialtone_resolver::dns::wire::{CLASS_IN, Reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    let read = Query::read(message);
    if let Err(refusal) = &read
        && let Some(answer) = encode_refusal(refusal)
    {
        assert!(answer.len() <= message.len(), "a refusal is no longer than what is refused");
        assert_eq!(answer[..2], message[..2]);
    }
    if let Some(key) = Key::of(message, false) {
        let query = read.expect("what is ordinary can be read");
        let mut r = Reader::new(key.question());
        assert_eq!(r.plain_name(), Some(query.question.name.to_lower()));
        assert_eq!((r.u16(), r.u16()), (Some(query.question.kind), Some(CLASS_IN)));
        assert!(r.is_at_end());
        assert_eq!(key.cookie().copied(), query.edns.and_then(|edns| edns.wants.cookie));
        let limit = udp_limit(&query);
        assert!(
            key.limit() <= limit && !key.fits(limit + 1),
            "what is kept for a key fits every message that has it"
        );
    }
    // A name is printed as text that is read back as the same name.
    if let Some(name) = Reader::new(message).name().or_else(|| Reader::at(message, 12).name()) {
        let again = Domain::from_text(&name.to_string()).expect("what is printed can be read");
        assert_eq!(again.as_wire(), name.as_wire());
    }
});
