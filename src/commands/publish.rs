//! `dialtone publish`: signs what a name stands for now, puts it at a provider, and checks the receipt.
//!
//! ```text
//! bindings, terms ─▶ sign ─▶ put ─▶ receipts checked ─▶ visible?
//!                     └─▶ a file ─▶ elsewhere, later ─▶ put …
//! ```

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
use dialtone_shared::{Name, Rank, SignedRecord, Ttl, UnixMicros, VerifiedRecord};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Sign what a name stands for, and put it at a provider
///
/// The record that is published replaces the one before: say everything that the name stands for from now on. It is
/// acknowledged when it is on the provider's disk, with a receipt that is checked here.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct PublishArgs {
    /// The private key of the name
    #[arg(long, value_name = "FILE", required_unless_present = "signed")]
    key: Option<PathBuf>,
    /// Put this record, which --sign-only wrote; the key stays where it is
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "addresses", "services", "delegate", "dns", "opaque", "zone", "scope", "sign_only"])]
    signed: Option<PathBuf>,
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
    /// Sign it into this file, to be put from anywhere by `dialtone publish --signed FILE`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "if_match", "wait_visible_at"])]
    pub sign_only: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Signs and puts it.
///
/// # Errors
/// The key, a binding, or the record is not what it must be; the provider says no or nothing.
pub async fn run(args: PublishArgs) -> Outcome {
    if let Some(signed) = &args.signed {
        return put_signed(signed, &args.put, &args.client).await;
    }
    let signer = key_files::load_signer(&args.key.unwrap_or_default()).map_err(failures::key_file)?;
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
    let mut scope = terms.scope.clone();
    scope.sort_unstable();
    scope.dedup();
    let body = Body::Live {
        expiry: clock::now_micros().secs().plus(terms.expires),
        ttl: terms.ttl,
        bindings,
    };
    put_body(signer, &body, &scope, how, client).await
}

/// Signs a record and puts it, or only prints it or writes it to a file.
///
/// # Errors
/// As [`run`].
pub async fn put_body(signer: &Signer, body: &Body, scope: &[Name], how: &PutArgs, client: &ClientArgs) -> Outcome {
    let now = clock::now_micros();
    let sign_at = |sequence| publish::sign(signer, sequence, scope.to_vec(), body.clone()).map_err(failures::sign);
    // Whatever is wrong with the record is said before anybody is asked.
    let mut record = sign_at(now)?;
    if how.dry_run {
        return print_record(&record, how.json);
    }
    if let Some(path) = &how.sign_only {
        return write_signed(&record, path, how.json);
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

/// What the providers hold of the name whose key is in `file`; `None`: nothing that is served.
///
/// # Errors
/// The key's files cannot be read; no provider answered.
pub async fn held(file: &Path, client: &ClientArgs) -> Result<Option<VerifiedRecord>, Failure> {
    let name = key_files::load_public(file).map_err(failures::key_file)?.name();
    let client = Client::load(client)?;
    Publisher::new(accounts(&client)).held(&name).await.map_err(failures::put)
}

/// Signs anew what a record says, with the key that is in force by now, and puts it; of a name that stands for nothing, an empty record.
///
/// # Errors
/// As [`run`].
pub async fn again(file: &Path, held: Option<&VerifiedRecord>, how: &PutArgs, client: &ClientArgs) -> Outcome {
    let signer = key_files::load_signer(file).map_err(failures::key_file)?;
    let now = clock::now_micros().secs();
    let (scope, live) = match held.map(VerifiedRecord::record) {
        Some(record) => match &record.body {
            Body::Live { expiry, ttl, bindings } => {
                let lifetime = expiry.0.saturating_sub(record.sequence.secs().0);
                (record.scope.clone(), Some((lifetime, *ttl, bindings.clone())))
            }
            // Only records with a genesis have a public file.
            Body::Revoked | Body::Packet { .. } | Body::Value(_) => (Vec::new(), None),
        },
        None => (Vec::new(), None),
    };
    let (lifetime, ttl, bindings) = live.unwrap_or((LIFETIME_DEFAULT, Ttl(60), Vec::new()));
    for binding in &bindings {
        output::remark(format!("signs    {}", show::binding(binding)));
    }
    let expiry = now.plus(lifetime);
    put_body(&signer, &Body::Live { expiry, ttl, bindings }, &scope, how, client).await
}

/// Puts a record that was signed elsewhere, as it is.
async fn put_signed(path: &Path, how: &PutArgs, client: &ClientArgs) -> Outcome {
    let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
    let mut bytes = Vec::new();
    file.take(RECORD_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::file(path, &error))?;
    let signed = SignedRecord::decode(bytes.into()).map_err(|error| failures::signed_file(path, error))?;
    let record = signed.verify().map_err(|error| failures::signed_file(path, error))?;
    if how.dry_run {
        return print_record(&record, how.json);
    }
    let client = Client::load(client)?;
    warn_of_plain_token(&client);
    let publisher = Publisher::new(accounts(&client));
    let puts = publisher.put(&record, how.if_match.map_or(PutIf::Always, PutIf::Held)).await;
    report(&publisher, &record, puts, how).await
}

/// Writes the record's bytes to a file that is not there yet.
fn write_signed(record: &VerifiedRecord, path: &Path, json: bool) -> Outcome {
    let failed = |error| Failure::file(path, &error);
    // Whoever has it can put it: a revocation in a drawer is nobody else's.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(record.bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    print_record(record, json)?;
    output::remark(format!(
        "signed   {}; next: dialtone publish --signed {}",
        path.display(),
        path.display()
    ));
    Ok(())
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

/// Shows what a record says.
///
/// # Errors
/// Nobody reads any more.
pub fn print_record(record: &VerifiedRecord, json: bool) -> Outcome {
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
    if matches!(says.body, Body::Revoked) {
        output::line("revoked  nothing that this key signed counts any more")?;
    }
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

/// How long an empty record is served, in seconds, where none says for how long: 30 days, as `--expires` has it.
const LIFETIME_DEFAULT: u64 = 30 * 86_400;

/// How long a record may take to be seen elsewhere before that counts as a failure. Peers see it in milliseconds.
const VISIBLE_PATIENCE: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "Examples:
  dialtone publish --key alice.key --address 192.0.2.7 --address 2001:db8::7
  dialtone publish --key alice.key --address 192.0.2.7 --service https:tcp:443,alpn=h2 --dns 'www 300 TXT \"hello\"'
  dialtone publish --key alice.key --delegate gateway.example
  dialtone publish --key alice.key --zone alice.zone --expires 90d --ttl 5m
  dialtone publish --key alice.key --address 192.0.2.7 --sign-only alice.record     # on the machine that has the key
  dialtone publish --signed alice.record --provider https://provider.example       # on one that has a network
  dialtone publish --key alice.key --address 192.0.2.7 --provider http://127.0.0.1:4380 --wait-visible-at http://127.0.0.1:4390";
