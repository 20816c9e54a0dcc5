//! How upstream resolvers are written: refused, or one whose address stands in the text, and over TLS never without saying whose certificate is right.
#![no_main]

use dialtone_resolver::dns::{Follow, Server};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = text.parse::<Follow>();
    match text.parse::<Server>() {
        Ok(server) => {
            assert!(text.contains(&server.address.ip().to_string()) || server.address.is_ipv6());
            assert_eq!(server.is_private(), text.starts_with("tls://") || text.starts_with("https://"));
            assert!(!server.is_private() || text.contains('#'), "whose certificate?");
            assert_eq!(text.parse::<Server>().as_ref(), Ok(&server));
            // Whoever reads a settings file sees what is meant.
            let plain = server.address.to_string();
            assert_eq!(plain.parse::<Server>().map(|again| again.address), Ok(server.address));
        }
        Err(error) => assert!(error.to_string().contains(text)),
    }
});
