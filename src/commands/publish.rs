//! `dialtone publish`: signs what a name stands for now, puts it at a provider, and checks the receipt.

use crate::bindings::{self, OpaqueArg};
use crate::commands::key::DEFAULT_ORIGIN;
use crate::config::{Client, ClientArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::{failures, output, show};
use clap::Args;
use dialtone_resolver::dns::Domain;
use dialtone_resolver::dns::zone::bindings_from_zone;
use dialtone_resolver::error::PutError;
use dialtone_resolver::io::publisher::Publisher;
use dialtone_resolver::io::{clock, key_files};
use dialtone_resolver::keyfile::to_hex;
use dialtone_resolver::publish::{self, Account, Acknowledged, PutIf};
use dialtone_resolver::settings::ProviderAt;
use dialtone_resolver::view;
use dialtone_shared::limits::RECORD_BYTES_MAX;
use dialtone_shared::receipt::Signer;
use dialtone_shared::record::{Address, Binding, Body, Delegate, Service};
use dialtone_shared::{Name, Rank, Ttl, UnixMicros, VerifiedRecord};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// Sign what a name stands for, and put it at a provider
///
/// The record that is published replaces the one before: say everything that the name stands for from now on. It is
/// acknowledged when it is on the provider's disk, with a receipt that is checked here.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct PublishArgs {
    /// The private key of the name
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    says: SaysArgs,
    #[command(flatten)]
    terms: TermsArgs,
    #[command(flatten)]
    put: PutArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// What the name stands for.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "What it stands for")]
struct SaysArgs {
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

/// For how long, and at whom.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "On what terms")]
pub struct TermsArgs {
    /// How long caches may keep it
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = bindings::ttl)]
    pub ttl: Ttl,
    /// When it stops being served, from now on; at most 400d
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = bindings::lifetime)]
    pub expires: u64,
    /// Only these providers may hold it, at most 8 [default: all]
    #[arg(long, value_name = "NAME", value_parser = bindings::flat_name)]
    pub scope: Vec<Name>,
}

/// How it is put.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "How it is put")]
pub struct PutArgs {
    /// Only if the record held now has this rank (as `dialtone resolve` prints it)
    #[arg(long, value_name = "RANK")]
    pub if_match: Option<Rank>,
    /// Then wait until it is visible at this provider, too, for 30 s at most; repeat it for more
    #[arg(long, value_name = "URL")]
    pub wait_visible_at: Vec<ProviderAt>,
    /// Sign and print it, but put it nowhere
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Signs and puts it.
///
/// # Errors
/// The key, a binding, or the record is not what it must be; the provider says no or nothing.
pub async fn run(args: PublishArgs) -> Outcome {
    let signer = key_files::load_signer(&args.key).map_err(failures::key_file)?;
    let bindings = args.says.bindings(&signer.name())?;
    if bindings.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "nothing to publish",
            "no address, service, delegate, DNS record, opaque or zone was given",
        )
        .help("say what the name stands for, such as --address 192.0.2.7")
        .help("to withdraw it, use `dialtone unpublish`"));
    }
    put(&signer, bindings, &args.terms, &args.put, &args.client).await
}

/// Signs a record of these bindings and puts it, or only prints it.
///
/// # Errors
/// As [`run`].
pub async fn put(signer: &Signer, bindings: Vec<Binding>, terms: &TermsArgs, how: &PutArgs, client: &ClientArgs) -> Outcome {
    let now = clock::now_micros();
    let mut scope = terms.scope.clone();
    scope.sort_unstable();
    scope.dedup();
    let body = Body::Live {
        expiry: now.secs().plus(terms.expires),
        ttl: terms.ttl,
        bindings,
    };
    let sign_at = |sequence| publish::sign(signer, sequence, scope.clone(), body.clone()).map_err(failures::sign);
    // Whatever is wrong with the record is said before anybody is asked.
    let mut record = sign_at(now)?;
    if how.dry_run {
        return print_record(&record, how.json);
    }
    let client = Client::load(client)?;
    warn_of_plain_token(&client);
    let publisher = Publisher::new(accounts(&client));
    let condition = how.if_match.map_or(PutIf::Always, PutIf::Held);
    let mut puts = publisher.put(&record, condition).await;
    // What is held may come from a clock ahead of ours. Nobody made that a condition, so stand above it, once.
    if let (PutIf::Always, Some(last)) = (condition, last_sequence(&puts, &record)) {
        record = sign_at(publish::next_sequence(now, Some(last)))?;
        puts = publisher.put(&record, condition).await;
    }
    report(&publisher, &record, puts, how).await
}

/// The latest sequence that stood in the way of a put, where a later one is all that it takes.
fn last_sequence(puts: &[Result<Acknowledged, PutError>], record: &VerifiedRecord) -> Option<UnixMicros> {
    let in_the_way = |put: &Result<Acknowledged, PutError>| match put {
        Err(PutError::Older { held: Some(held), .. }) if held.epoch == record.rank().epoch && !held.revoked => Some(held.sequence),
        _ => None,
    };
    puts.iter().filter_map(in_the_way).max()
}

/// The providers to put at. A token is for the first of them: it is nobody else's business.
fn accounts(client: &Client) -> Vec<Account> {
    let mut token = client.token.value.clone();
    let account = |at: &ProviderAt| Account {
        at: at.clone(),
        token: token.take(),
    };
    client.providers.value.iter().map(account).collect()
}

/// A token that goes over a network unencrypted is everybody's.
fn warn_of_plain_token(client: &Client) {
    let Some(ProviderAt::Http(url)) = client.providers.value.first() else {
        return;
    };
    let Some(rest) = url.strip_prefix("http://") else { return };
    let here = ["127.", "[::1]", "localhost"].iter().any(|host| rest.starts_with(host));
    if client.token.value.is_some() && !here {
        output::remark(format!("warning: the token goes to {url} unencrypted: use https://"));
    }
}

/// Says what was acknowledged by whom, waits where that was asked for, and fails if anything did.
async fn report(publisher: &Publisher, record: &VerifiedRecord, puts: Vec<Result<Acknowledged, PutError>>, how: &PutArgs) -> Outcome {
    let mut failed = None;
    let mut kept = Vec::new();
    for put in puts {
        match put {
            Ok(acknowledged) => kept.push(acknowledged),
            Err(error) => match &failed {
                None => failed = Some(failures::put(error)),
                // The first failure ends the verb; the others are said on the way.
                Some(_) => output::remark(failures::put(error).to_string().trim_end()),
            },
        }
    }
    if !how.json && !kept.is_empty() {
        print_kept(record, &kept)?;
    }
    let mut seen = Vec::new();
    if !kept.is_empty() && !how.wait_visible_at.is_empty() {
        match publisher
            .wait_until_visible(record.name(), record.rank(), &how.wait_visible_at, VISIBLE_PATIENCE)
            .await
        {
            Ok(visible) => seen = visible,
            Err(missing) => {
                failed = failed.or(Some(failures::not_visible(missing)));
            }
        }
    }
    if how.json && !kept.is_empty() {
        output::json(&json!({
            "name": record.name().to_string(),
            "rank": record.rank().to_string(),
            "size_bytes": record.bytes().len(),
            "expiry": record.record().expiry().map(|expiry| expiry.0),
            "kept": kept.iter().map(|kept| json!({
                "provider": kept.provider.to_string(),
                "name": kept.promise.provider.to_string(),
                "keep_until": kept.promise.keep_until.map(|until| until.0),
                "receipt": to_hex(&kept.receipt),
                "ms": output::millis_json(kept.took),
            })).collect::<Vec<_>>(),
            "visible": seen.iter().map(|seen| json!({
                "provider": seen.provider.to_string(), "ms": output::millis_json(seen.after),
            })).collect::<Vec<_>>(),
        }))?;
    } else {
        for visible in &seen {
            output::line(format!("visible  at {} after {}", visible.provider, output::millis(visible.after)))?;
        }
    }
    failed.map_or(Ok(()), Err)
}

fn print_kept(record: &VerifiedRecord, kept: &[Acknowledged]) -> Outcome {
    output::text(format!("name     {}\nrank     {}\n", record.name(), record.rank()))?;
    for kept in kept {
        let until = match kept.promise.keep_until {
            Some(until) => format!("until {}", show::until(until, kept.promise.time.secs())),
            None => "for ever".to_owned(),
        };
        output::line(format!(
            "kept     by {} {until}; receipt checked, {}",
            kept.provider,
            output::millis(kept.took)
        ))?;
    }
    Ok(())
}

fn print_record(record: &VerifiedRecord, json: bool) -> Outcome {
    if json {
        return output::json(&json!(view::record(record)));
    }
    output::text(format!(
        "name     {}\nrank     {}\nsize     {} of at most {RECORD_BYTES_MAX} bytes\n",
        record.name(),
        record.rank(),
        record.bytes().len()
    ))?;
    let says = record.record();
    if let Some(expiry) = says.expiry() {
        output::line(format!("expires  {}", show::until(expiry, says.sequence.secs())))?;
    }
    says.bindings()
        .iter()
        .try_for_each(|binding| output::line(format!("  {}", show::binding(binding))))
}

impl SaysArgs {
    /// Everything that was said, as bindings in the order of the flags' kinds.
    fn bindings(self, name: &Name) -> Result<Vec<Binding>, Failure> {
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
            let zone = bindings_from_zone(&text, &origin).map_err(|error| Failure::new(Exit::BadInput, path.display(), error))?;
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

/// How long a record may take to be seen elsewhere before that counts as a failure. Peers see it in milliseconds.
const VISIBLE_PATIENCE: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "Examples:
  dialtone publish --key alice.key --address 192.0.2.7 --address 2001:db8::7
  dialtone publish --key alice.key --address 192.0.2.7 --service https:tcp:443,alpn=h2 --dns 'www 300 TXT \"hello\"'
  dialtone publish --key alice.key --delegate gateway.example
  dialtone publish --key alice.key --zone alice.zone --expires 90d --ttl 5m
  dialtone publish --key alice.key --address 192.0.2.7 --provider http://127.0.0.1:4380 --wait-visible-at http://127.0.0.1:4390";
