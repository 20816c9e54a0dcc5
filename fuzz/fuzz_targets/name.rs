//! Names and ranks as people and headers give them: whatever is accepted prints as it was given, but for its case.
#![no_main]

use dialtone_shared::{Name, Rank};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<Name>() {
        let lower = text.to_ascii_lowercase();
        assert!(name.to_string() == lower || name.to_uri() == lower);
    }
    if let Ok(rank) = text.parse::<Rank>() {
        assert_eq!(rank.to_string(), text);
    }
    if let Ok(name) = Name::from_dns(text, "dialtone.alt") {
        assert_eq!(name.to_dns("dialtone.alt"), text.to_ascii_lowercase().trim_end_matches('.'));
    }
});
