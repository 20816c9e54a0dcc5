//! How a record is put: signed, sent to each provider, its receipts checked, watched until it is visible; or kept in a file.

use super::change::Changed;
use crate::config::{Client, ClientArgs};
use crate::exit::{Failure, Outcome};
use crate::{failures, leases, output, show};
use clap::Args;
use dialtone_resolver::edit::Says;
use dialtone_resolver::error::PutError;
use dialtone_resolver::io::publisher::Publisher;
use dialtone_resolver::io::{clock, key_files};
use dialtone_resolver::keyfile::to_hex;
use dialtone_resolver::publish::{self, Account, Acknowledged, PutIf};
use dialtone_resolver::settings::ProviderAt;
use dialtone_resolver::view;
use dialtone_shared::limits::{RECORD_BYTES_MAX, VALUE_BYTES_MAX};
use dialtone_shared::receipt::Signer;
use dialtone_shared::record::Body;
use dialtone_shared::{Name, Rank, SignedRecord, UnixMicros, VerifiedRecord};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    /// Put it at every provider at once, and be content once so many of them, or of those of --wait-visible-at, serve it
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub until_visible: Option<u16>,
    /// Sign and print it, but put it nowhere
    #[arg(long)]
    pub dry_run: bool,
    /// Sign it into this file, to be put from anywhere by `dialtone publish --signed FILE`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "if_match", "wait_visible_at", "until_visible"])]
    pub sign_only: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Signs what is to be said, as of `sequence`.
///
/// # Errors
/// It is not a record that anyone would accept.
pub fn sign(signer: &Signer, sequence: UnixMicros, says: &Says) -> Result<VerifiedRecord, Failure> {
    publish::sign(signer, sequence, says.scope.clone(), says.body(sequence.secs())).map_err(failures::sign)
}

/// Signs a record and puts it, whatever is held, or only prints it or writes it to a file.
///
/// # Errors
/// The record is not what it must be; a provider says no or nothing.
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
    report(&publisher, &Changed::plainly(record, &client, puts), how).await
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
pub async fn again(signer: &Signer, held: Option<&VerifiedRecord>, how: &PutArgs, client: &ClientArgs) -> Outcome {
    let says = held.and_then(|held| Says::of(held.record())).unwrap_or_else(Says::nothing);
    for binding in &says.bindings {
        output::remark(format!("signs    {}", show::binding(binding)));
    }
    put_body(signer, &says.body(clock::now_micros().secs()), &says.scope, how, client).await
}

/// Puts a record that was signed elsewhere, as it is.
///
/// # Errors
/// The file cannot be used; as [`put_body`].
pub async fn put_signed(path: &Path, how: &PutArgs, client: &ClientArgs) -> Outcome {
    let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
    let mut bytes = Vec::new();
    file.take(RECORD_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::file(path, &error))?;
    let signed = SignedRecord::decode(bytes.into()).map_err(|error| failures::signed_file(path, error))?;
    let record = signed.verify().map_err(|error| failures::signed_file(path, error))?;
    put_as_is(record, how, client).await
}

/// Puts a record as it is, or only prints it.
///
/// # Errors
/// As [`put_body`].
pub async fn put_as_is(record: VerifiedRecord, how: &PutArgs, client: &ClientArgs) -> Outcome {
    if how.dry_run {
        return print_record(&record, how.json);
    }
    let client = Client::load(client)?;
    warn_of_plain_token(&client);
    let publisher = Publisher::new(accounts(&client));
    let puts = publisher.put(&record, how.if_match.map_or(PutIf::Always, PutIf::Held)).await;
    report(&publisher, &Changed::plainly(record, &client, puts), how).await
}

impl Changed {
    /// What was put without looking at what is held.
    fn plainly(record: VerifiedRecord, client: &Client, puts: Vec<Result<Acknowledged, PutError>>) -> Self {
        Self {
            record,
            changes: Value::Null,
            at: client.providers.value.clone(),
            state: super::change::state(client),
            puts,
        }
    }
}

/// Writes the record's bytes to a file that is not there yet.
///
/// # Errors
/// The file cannot be used.
pub fn write_signed(record: &VerifiedRecord, path: &Path, json: bool) -> Outcome {
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
        "signed   {path}; {next}",
        path = path.display(),
        next = match record.record().body {
            Body::Revoked => format!(
                "nothing is revoked yet. Keep it; when the day comes: dialtone publish --signed {}",
                path.display()
            ),
            _ => format!("next: dialtone publish --signed {}", path.display()),
        }
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
pub fn accounts(client: &Client) -> Vec<Account> {
    let mut token = client.token.value.clone();
    let account = |at: &ProviderAt| Account {
        at: at.clone(),
        token: token.take(),
    };
    client.providers.value.iter().map(account).collect()
}

/// A token that goes over a network unencrypted is everybody's.
pub fn warn_of_plain_token(client: &Client) {
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
///
/// # Errors
/// A provider says no or nothing.
pub async fn report(publisher: &Publisher, done: &Changed, how: &PutArgs) -> Outcome {
    let record = &done.record;
    let mut failed = None;
    let mut kept = Vec::new();
    for put in &done.puts {
        match put {
            Ok(acknowledged) => kept.push(acknowledged),
            Err(error) => match &failed {
                None => failed = Some(failures::put(error.clone())),
                // The first failure ends the verb; the others are said on the way.
                Some(_) => output::remark(failures::put(error.clone()).to_string().trim_end()),
            },
        }
    }
    leases::keep(done.state.as_deref(), &kept);
    if !how.json && !kept.is_empty() {
        print_kept(record, &kept)?;
    }
    let mut seen = Vec::new();
    let (enough, at) = match how.until_visible {
        None => (how.wait_visible_at.len(), how.wait_visible_at.clone()),
        Some(enough) => (usize::from(enough), [done.at.as_slice(), &how.wait_visible_at].concat()),
    };
    if !kept.is_empty() && enough > 0 {
        let watch = publisher.wait_until_visible_at(enough, record.name(), record.rank(), &at, VISIBLE_PATIENCE);
        match watch.await {
            Ok(visible) => {
                seen = visible;
                if let Some(failure) = failed.take_if(|_| how.until_visible.is_some()) {
                    output::remark(failure.to_string().trim_end());
                }
            }
            Err(missing) => {
                failed = failed.or(Some(failures::not_visible(missing)));
            }
        }
    }
    if how.json && !kept.is_empty() {
        let mut said = kept_json(done, &kept);
        said["visible"] = seen
            .iter()
            .map(|seen| json!({ "provider": seen.provider.to_string(), "ms": output::millis_json(seen.after) }))
            .collect();
        output::json(&said)?;
    } else {
        for visible in &seen {
            output::line(format!("visible  at {} after {}", visible.provider, output::millis(visible.after)))?;
        }
    }
    failed.map_or(Ok(()), Err)
}

/// What was kept by whom, for scripts.
pub fn kept_json(done: &Changed, kept: &[&Acknowledged]) -> Value {
    let record = &done.record;
    json!({
        "name": record.name().to_string(),
        "rank": record.rank().to_string(),
        "size_bytes": record.bytes().len(),
        "expiry": record.record().expiry().map(|expiry| expiry.0),
        "changes": done.changes,
        "kept": kept.iter().map(|kept| json!({
            "provider": kept.provider.to_string(),
            "name": kept.promise.provider.to_string(),
            "keep_until": kept.promise.keep_until.map(|until| until.0),
            "receipt": to_hex(&kept.receipt),
            "ms": output::millis_json(kept.took),
        })).collect::<Vec<_>>(),
    })
}

/// What was kept by whom, for people.
///
/// # Errors
/// Nobody reads any more.
pub fn print_kept(record: &VerifiedRecord, kept: &[&Acknowledged]) -> Outcome {
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
    let says = record.record();
    let most = match says.body {
        // With the byte that says what follows.
        Body::Value(_) => VALUE_BYTES_MAX + 1,
        _ => RECORD_BYTES_MAX,
    };
    output::text(format!(
        "name     {}\nrank     {}\nsize     {} of at most {most} bytes\n",
        record.name(),
        record.rank(),
        record.bytes().len()
    ))?;
    if matches!(says.body, Body::Revoked) {
        output::line("revokes  where this is held, nothing that this key signed counts any more")?;
    }
    if let Some(expiry) = says.expiry() {
        output::line(format!("expires  {}", show::until(expiry, says.sequence.secs())))?;
    }
    says.bindings()
        .iter()
        .try_for_each(|binding| output::line(format!("  {}", show::binding(binding))))
}

/// How long a record may take to be seen elsewhere before that counts as a failure. Peers see it in milliseconds.
const VISIBLE_PATIENCE: Duration = Duration::from_secs(30);
