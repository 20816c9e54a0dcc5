//! Zone files: refused on a line that is there, or bindings that a record may hold or that are refused for what they are.
#![no_main]

use dialtone_resolver::dns::Domain;
use dialtone_resolver::dns::zone::{bindings_from_zone, ttl_from_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = ttl_from_text(text);
    let origin = Domain::from_text("example.alt").expect("a name");
    let lines = text.split('\n').count();
    match bindings_from_zone(text, &origin) {
        Ok(zone) => {
            assert_eq!(bindings_from_zone(text, &origin).as_ref(), Ok(&zone));
            assert!(zone.passed_over.iter().all(|left| (1..=lines).contains(&left.line)));
            zone.bindings.iter().for_each(|binding| drop(binding.check()));
        }
        Err(error) => assert!((1..=lines).contains(&error.line), "{error} of {lines}"),
    }
});
