//! The file of aliases: what is read says the same when it is written out; adding and taking away change just what they name.
#![no_main]

use dialtone_resolver::dns::Domain;
use dialtone_resolver::dns::aliases::{Aliases, with_alias, without_alias};
use dialtone_shared::Name;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // What is wrong is on a line that is there.
    let aliases = match Aliases::parse(text) {
        Ok(aliases) => aliases,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let lines: String = aliases.iter().map(|(pattern, name)| format!("{pattern} {name}\n")).collect();
    assert_eq!(Aliases::parse(&lines).as_ref(), Ok(&aliases));
    let first = text.split_whitespace().next().unwrap_or_default();
    for alias in ["www.example", ".example", "*.example", first] {
        let flat = Name::of_content(b"new");
        // The domain may have a line of the other kind already, which then is in the way.
        let Ok(more) = with_alias(text, alias, &flat) else { continue };
        let Ok(read) = Aliases::parse(&more) else { continue };
        assert!(read.iter().any(|(_, name)| *name == flat));
        assert!(read.len() == aliases.len() || read.len() == aliases.len() + 1);
        let less = without_alias(&more, alias).expect("it was added").expect("it was there");
        assert_eq!(Aliases::parse(&less).expect("as before, but for one").len(), read.len() - 1);
    }
    for name in ["a.b.example", "example", first] {
        if let Ok(domain) = Domain::from_text(name)
            && let Some(mapped) = aliases.covering(&domain)
        {
            assert!(domain.is_within(&mapped.apex));
        }
    }
});
