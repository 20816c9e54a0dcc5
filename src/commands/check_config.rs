//! `dialtone check-config FILE`: whether a settings file can be used, before something is started with it.

use crate::commands::dns::DnsFile;
use crate::commands::template::Which;
use crate::config::{self, ClientFile};
use crate::exit::{Failure, Outcome};
use crate::{failures, log, output, petnames, place};
use clap::Args;
use dialtone_provider::settings::from_file;
use dialtone_resolver::dns::FrontendError;
use dialtone_resolver::dns::query_log::QueryLogSettings;
use dialtone_resolver::io::certificate::Certificate;
use dialtone_resolver::io::tls::authorities_in;
use dialtone_resolver::io::zone_keys::read_keys;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

/// Check a settings file without starting anything
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone check-config provider.toml\n  dialtone check-config --of dns frontend.toml")]
pub struct CheckConfigArgs {
    /// The file
    file: PathBuf,
    /// Whose settings it holds [default: told from its keys]
    #[arg(long, value_name = "WHOSE")]
    of: Option<Which>,
}

/// Checks it, and says in a line what it would do.
///
/// # Errors
/// It cannot be read, or something in it is wrong: the line, the key and the reason.
pub fn run(args: CheckConfigArgs) -> Outcome {
    let path = &args.file;
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let which = args.of.unwrap_or_else(|| told_from_keys(&text));
    if args.of.is_none() && text.parse::<toml::Table>().is_ok_and(|table| says_nothing(&table)) {
        return output::line(format!("{}: good: nothing is set, so the defaults hold", path.display()));
    }
    let says = match which {
        Which::Provider => provider(path)?,
        Which::Dns => {
            let file = DnsFile::parse(&text, path)?;
            check_files(
                file.map.as_deref(),
                file.certificate.as_deref(),
                file.certificate_key.as_deref(),
                &file.query_log,
            )?;
            check_authorities(file.forward_ca.as_deref())?;
            check_zone_keys(file.signing_key.as_ref().map(|keys| from_file(path, keys)))?;
            file.summary()
        }
        Which::Client => {
            let file = toml::from_str::<ClientFile>(&text).map_err(|error| config::bad_settings(path, &text, &error, "client"))?;
            file.check(path)?;
            "the settings of a client".to_owned()
        }
    };
    output::line(format!("{}: good: {says}", path.display()))
}

fn provider(path: &Path) -> Result<String, Failure> {
    let settings = place::load(path)?;
    log::check(&settings.log)?;
    let list = |addresses: &[std::net::SocketAddr]| match addresses {
        [] => "nowhere".to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let dns = &settings.dns;
    check_files(
        dns.map.as_deref(),
        dns.certificate.as_deref(),
        dns.certificate_key.as_deref(),
        &dns.query_log,
    )?;
    check_authorities(dns.forward_ca.as_deref())?;
    check_zone_keys(dns.signing_key.clone())?;
    let encrypted: String = [("TLS", &dns.tls), ("HTTPS", &dns.https), ("QUIC", &dns.quic)]
        .into_iter()
        .filter(|(_, addresses)| !addresses.is_empty())
        .map(|(kind, addresses)| format!(" (over {kind} on {})", list(addresses)))
        .collect();
    Ok(format!(
        "a provider with its data in {}, HTTP on {}, DNS on {}{encrypted}, peering on {}, {} peers, {} accounts",
        settings.data.display(),
        list(&settings.http.listen),
        list(&settings.dns.listen),
        settings.peering.listen,
        settings.peers.len(),
        settings.accounts.len()
    ))
}

fn check_zone_keys(keys: Option<PathBuf>) -> Outcome {
    keys.map_or(Ok(()), |keys| read_keys(&keys).map(drop).map_err(failures::zone_keys))
}

/// What the settings name is there, and of use: a start would fail on it as well.
fn check_files(map: Option<&Path>, certificate: Option<&Path>, key: Option<&Path>, log: &QueryLogSettings) -> Outcome {
    if let Some(map) = map {
        petnames::load(map)?;
    }
    if let Some(chain) = certificate {
        Certificate::from_files(chain.to_owned(), key.unwrap_or(chain).to_owned()).map_err(failures::certificate)?;
    }
    if let Some(file) = log.file.as_deref().filter(|file| *file != Path::new("-")) {
        let folder = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        // Nothing is made: it would be there although nothing runs.
        let found = if file.exists() {
            OpenOptions::new().append(true).open(file).map(drop)
        } else {
            std::fs::read_dir(folder).map(drop)
        };
        found.map_err(|error| {
            Failure::file(file, &error).help("the log of questions is written there: make its folder, or name another file")
        })?;
    }
    Ok(())
}

/// As [`check_files`], of whose word upstream resolvers are believed by.
fn check_authorities(file: Option<&Path>) -> Outcome {
    let Some(file) = file else { return Ok(()) };
    authorities_in(file).map(drop).map_err(|reason| {
        failures::frontend(FrontendError::Authorities {
            file: file.display().to_string(),
            reason,
        })
    })
}

/// Whether nothing is set, nor whose settings they are to be, but for what an untouched template of a frontend has.
fn says_nothing(table: &toml::Table) -> bool {
    table.iter().all(|(key, value)| {
        matches!(key.as_str(), "log" | "rate" | "searches" | "access" | "query_log") && value.as_table().is_some_and(toml::Table::is_empty)
    })
}

/// Whose settings a file holds, by the keys that only one kind has. In doubt a provider's: its report is the fullest.
pub fn told_from_keys(text: &str) -> Which {
    let Ok(table) = text.parse::<toml::Table>() else {
        return Which::Provider;
    };
    let has = |keys: &[&str]| keys.iter().any(|key| table.contains_key(*key));
    if has(&["data", "identity", "http", "dns", "peering", "peer", "account", "limits"]) {
        Which::Provider
    } else if has(&[
        "listen",
        "forward",
        "forward_for_everyone",
        "origin",
        "nameservers",
        "signing_key",
        "site",
        "rate",
        "searches",
        "access",
    ]) {
        Which::Dns
    } else if has(&["providers", "map", "state", "token_file"]) {
        Which::Client
    } else {
        Which::Provider
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_settings_a_file_holds_is_told_from_its_keys() {
        for (text, which) in [
            ("", Which::Provider),
            ("[http]\nlisten = []", Which::Provider),
            ("listen = []\nproviders = []", Which::Dns),
            ("providers = []", Which::Client),
            ("[rate]\nslip = 1", Which::Dns),
            ("not toml", Which::Provider),
        ] {
            assert_eq!(told_from_keys(text), which, "{text:?}");
        }
    }
}
