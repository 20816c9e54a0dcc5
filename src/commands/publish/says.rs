//! What a name is to stand for, as it is typed: flags and zone files into bindings.

use crate::bindings::{self, OpaqueArg};
use crate::commands::key::DEFAULT_ORIGIN;
use crate::exit::{Exit, Failure};
use crate::{output, show};
use clap::Args;
use dialtone_resolver::dns::Domain;
use dialtone_resolver::dns::zone::bindings_from_zone;
use dialtone_shared::Name;
use dialtone_shared::record::{Address, Binding, Delegate, Service};
use std::path::PathBuf;

/// What the name stands for.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What it stands for")]
pub struct SaysArgs {
    /// An address: IP[,priority=N][,weight=N][,region=NAME]
    #[arg(long = "address", value_name = "IP[,…]", value_parser = bindings::address)]
    addresses: Vec<Address>,
    /// A service: LABEL:tcp|udp:PORT[,target=NAME][,alpn=h2+http/1.1][,priority=N][,weight=N][,pin=HEX]…
    #[arg(long = "service", value_name = "LABEL:PROTO:PORT[,…]", value_parser = bindings::service)]
    services: Vec<Service>,
    /// Who stands in for it: a path of flat names and DNS names
    #[arg(long, value_name = "NAME[,NAME]…", value_parser = bindings::delegate)]
    delegate: Option<Delegate>,
    /// A DNS record under the name: 'OWNER TTL TYPE RDATA', @ for the name itself
    #[arg(long = "dns", value_name = "RECORD")]
    dns: Vec<String>,
    /// Bytes with a media type: TYPE/SUBTYPE:TEXT or TYPE/SUBTYPE:@FILE
    #[arg(long = "opaque", value_name = "TYPE:…", value_parser = bindings::opaque)]
    opaque: Vec<OpaqueArg>,
    /// DNS records from a zone file (RFC 1035), relative to the name
    #[arg(long, value_name = "FILE")]
    zone: Option<PathBuf>,
}

impl SaysArgs {
    /// Everything that was said, as bindings in the order of the flags' kinds.
    ///
    /// # Errors
    /// A line or a file that cannot be understood or read.
    pub fn bindings(self, name: &Name) -> Result<Vec<Binding>, Failure> {
        let mut bindings: Vec<Binding> = self.addresses.into_iter().map(Binding::Address).collect();
        bindings.extend(self.services.into_iter().map(Binding::Service));
        bindings.extend(self.delegate.map(Binding::Delegate));
        // `@` and relative names are under the name itself, whatever the origin will be called.
        let origin =
            Domain::from_text(&name.to_dns(DEFAULT_ORIGIN)).map_err(|error| Failure::new(Exit::Bug, "the name as a domain", error))?;
        for line in &self.dns {
            bindings.extend(dns_record(line, &origin)?);
        }
        if let Some(path) = &self.zone {
            let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
            let zone = bindings_from_zone(&text, &origin).map_err(|error| {
                Failure::new(Exit::BadInput, path.display(), error)
                    .help("owners are relative to the name: leave an $ORIGIN of the legacy domain out, and the domain behind them")
            })?;
            for passed_over in &zone.passed_over {
                output::remark(format!(
                    "note: {}, line {}: left out: {}",
                    path.display(),
                    passed_over.line,
                    passed_over.reason
                ));
            }
            bindings.extend(zone.bindings);
        }
        for opaque in self.opaque {
            let opaque = opaque.load().map_err(|(path, error)| Failure::file(&path, &error))?;
            bindings.push(Binding::Opaque(opaque));
        }
        Ok(bindings)
    }
}

/// One `--dns`: a line of a zone file with every field said.
fn dns_record(line: &str, origin: &Domain) -> Result<Vec<Binding>, Failure> {
    let wrong = |reason: String| {
        Failure::new(Exit::BadInput, format!("--dns '{}'", show::printable(line)), reason)
            .help("write 'OWNER TTL TYPE RDATA', such as '@ 300 TXT \"hello\"'")
    };
    if line.trim_start() != line || line.contains('\n') || line.starts_with(['$', ';']) {
        return Err(wrong("not a record".to_owned()));
    }
    let zone = bindings_from_zone(line, origin).map_err(|error| wrong(error.reason))?;
    match zone.passed_over.into_iter().next() {
        Some(passed_over) => Err(wrong(passed_over.reason)),
        None => Ok(zone.bindings),
    }
}
