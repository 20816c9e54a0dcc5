//! Where a frontend's encrypted sockets are, as its start lines tell it, and what stands in their way.

use crate::exit::{Exit, Failure};
use crate::failures;
use dialtone_resolver::dns::Frontend;
use dialtone_resolver::io::certificate::Certificate;
use dialtone_resolver::io::encrypted_sockets::{EncryptedAddresses, EncryptedError};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Where they are, for the start line of people.
pub fn lines(addresses: &EncryptedAddresses, certificate: &Certificate) -> Vec<String> {
    let shown = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let listed = addresses.by_kind().into_iter().filter(|(_, addresses)| !addresses.is_empty());
    let mut lines: Vec<String> = listed
        .map(|(kind, addresses)| format!("  {kind} on {}", shown(addresses)))
        .collect();
    let pin = certificate.pin().map(|pin| format!(", pin {pin}")).unwrap_or_default();
    lines.push(format!("  certificate {}{pin}", certificate.file().display()));
    lines
}

/// Adds where they are to the start line of machines.
pub fn add_to(start: &mut Value, addresses: &EncryptedAddresses, certificate: &Certificate) {
    for (kind, addresses) in addresses.by_kind() {
        start[kind] = json!(addresses);
    }
    start["certificate"] = json!({ "file": certificate.file(), "pin": certificate.pin() });
}

/// They cannot be opened, as who typed flags is told.
pub fn failed(error: EncryptedError) -> Failure {
    match error {
        EncryptedError::Taken {
            over,
            setting,
            address,
            reason,
        } => {
            let flag = setting.strip_prefix("dns.").unwrap_or(setting);
            let by = format!("--{flag}, or `{flag}` in a settings file");
            let why = format!("cannot listen for {over}: {}", crate::exit::plain(&reason));
            Failure::new(Exit::Local, address, why).help(failures::elsewhere(reason.kind(), &by))
        }
        EncryptedError::Certificate(error) => failures::certificate(error)
            .help("name a chain in PEM with --certificate and its key with --certificate-key, or neither: then one is made"),
    }
}

/// Opens the log of questions again, if there is one: whoever turns logs over has moved it away.
pub fn reopen_log(frontend: &Frontend) {
    if let Some(log) = frontend.query_log() {
        log.reopen();
        tracing::info!("the log of questions goes on in a new file");
    }
}

/// Reads the certificate again, if there is one to read, and says in the log what came of it. Whether there is one.
pub fn read_again(certificate: Option<&Certificate>) -> bool {
    match certificate.map(Certificate::reload) {
        Some(Ok(())) => tracing::info!("the certificate was read again"),
        Some(Err(error)) => tracing::error!(%error, "the certificate before is still shown"),
        None => return false,
    }
    true
}
