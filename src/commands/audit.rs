//! `dialtone audit`: whether providers say the same, keep what they promised, and what proves that they do not.

use crate::config::{Client, ClientArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::{output, petnames};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use clap::Args;
use dialtone_resolver::io::clock;
use dialtone_resolver::io::http::{Answer, HttpClient};
use dialtone_resolver::keyfile::from_hex;
use dialtone_resolver::settings::{HTTP_CONNECT, HTTP_TIMEOUT, ProviderAt};
use dialtone_shared::proof::{PROOF_BYTES_MAX, Proof, ProofError, Verdict, belies};
use dialtone_shared::receipt::{Promise, Receipt, Status};
use dialtone_shared::{Name, Rank, SignedRecord, VerifiedRecord};
use hyper::Method;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Compare what providers say of a name, or prove that one broke its promise
///
/// NAME is looked up at every provider given, each by itself: their records and their signed statuses are compared, and proofs that they keep are
/// checked here. A receipt is held against what its provider says now. What proves a wrong is written to a file that anyone can check offline.
#[derive(Args, Debug)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["name", "receipt", "check"]),
    after_help = "Examples:\n  dialtone audit home --provider http://127.0.0.1:4380 --provider http://127.0.0.1:4390\n  \
                        dialtone audit --receipt home.receipt --provider http://127.0.0.1:4380 --out broken.proof\n  dialtone audit --check broken.proof\n\n\
                        The exit status is 0 if all is well or the proof holds, 7 if providers differ or a promise was broken, 6 if one could not be asked."
)]
pub struct AuditArgs {
    /// The name, in any form, or a petname
    name: Option<String>,
    /// Whether the promise of this receipt is kept: a file as a provider gave it, or in hexadecimal or base64
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Whether this proof proves anything; asks nobody
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Where a proof is written; nothing is overwritten [default: no file]
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Audits.
///
/// # Errors
/// It cannot be done, or the audit found something: see the exit status.
pub async fn run(args: AuditArgs) -> Outcome {
    if let Some(path) = &args.check {
        return check(path, args.json);
    }
    let client = Client::load(&args.client)?;
    let http = HttpClient::new();
    match (&args.receipt, &args.name) {
        (Some(path), _) => promise(&http, path, &client, &args).await,
        (None, Some(typed)) => {
            let name = petnames::resolve(typed, &client.map.value)?;
            compare(&http, &name, &client, &args).await
        }
        (None, None) => Err(Failure::new(
            Exit::Usage,
            "nothing to audit",
            "give a name, --receipt FILE or --check FILE",
        )),
    }
}

/// Whether a proof holds, offline.
fn check(path: &Path, as_json: bool) -> Outcome {
    let proof = Proof::decode(&read(path, PROOF_BYTES_MAX)?).and_then(|proof| proof.check());
    let verdict = proof.map_err(|error| {
        Failure::new(Exit::BadInput, path.display(), format!("it proves nothing: {error}"))
            .help("take nobody's word for it: ask whoever gave you the file for the whole of it")
    })?;
    if as_json {
        output::json(&verdict_json(&verdict))
    } else {
        output::line(format!("proved: {verdict}"))
    }
}

/// Whether a receipt's promise is kept.
async fn promise(http: &HttpClient, path: &Path, client: &Client, args: &AuditArgs) -> Outcome {
    let receipt = Receipt::decode(&read(path, PROOF_BYTES_MAX)?).map_err(|error| no_receipt(path, &error))?;
    let promise = receipt.verify().map_err(|error| no_receipt(path, &error))?;
    let at = client.providers.value.first().ok_or_else(nobody_to_ask)?;
    let (status, bytes) = status(http, at, &promise.name).await?;
    match belies(&promise, &status) {
        Ok(()) => {
            let proof = Proof::BrokenPromise { receipt, status: bytes };
            write(args.out.as_deref(), &proof)?;
            let verdict = Verdict::BrokenPromise { promise, status };
            if args.json {
                output::json(&verdict_json(&verdict))?;
            } else {
                output::line(format!("broken: {verdict}"))?;
            }
            let failure = Failure::already_said(Exit::Unverified);
            if args.out.is_none() {
                output::remark("hint: --out FILE keeps the proof; what is said later may be another thing");
            }
            Err(failure)
        }
        Err(ProofError::Kept) => say(args, "kept", &promise, &status),
        Err(ProofError::Ended(_)) => say(args, "ended", &promise, &status),
        Err(error @ (ProofError::TwoProviders(..) | ProofError::OtherName(..))) => {
            Err(Failure::new(Exit::BadInput, at, error).help("ask the provider that gave the receipt: --provider URL"))
        }
        Err(error) => Err(Failure::new(Exit::Unverified, at, error).help("check the clocks: `dialtone doctor` compares them")),
    }
}

/// Says what became of a promise that nothing speaks against.
fn say(args: &AuditArgs, outcome: &str, promise: &Promise, status: &Status) -> Outcome {
    if args.json {
        return output::json(&json!({
            "outcome": outcome,
            "provider": promise.provider.to_string(),
            "name": promise.name.to_string(),
            "promised": promise.rank.to_string(),
            "keep_until": promise.keep_until.map(|until| until.0),
            "held": status.rank.map(|rank| rank.to_string()),
            "at": status.time.secs().0,
        }));
    }
    let until = promise.keep_until.map_or("for ever".to_owned(), |until| format!("until {until}"));
    let held = status.rank.map_or("nothing".to_owned(), |rank| format!("rank {rank}"));
    output::line(format!(
        "{outcome}: {} promised to hold {} {until}, and holds {held}",
        promise.provider, promise.name
    ))
}

/// What one provider said of a name.
struct Opinion {
    at: ProviderAt,
    said: Result<Said, Failure>,
}

/// What it holds, by its record and by its signed status, and what it can prove.
struct Said {
    provider: Name,
    record: Option<VerifiedRecord>,
    status: Status,
    proofs: Vec<(Proof, Verdict)>,
}

impl Said {
    /// The highest rank that it showed or signed for.
    fn rank(&self) -> Option<Rank> {
        let shown = self.record.as_ref().map(|record| *record.rank());
        let ranks = [shown, self.status.rank];
        ranks.into_iter().flatten().max_by_key(Rank::order)
    }
}

/// Compares what several providers say.
async fn compare(http: &HttpClient, name: &Name, client: &Client, args: &AuditArgs) -> Outcome {
    let mut opinions = Vec::new();
    for at in &client.providers.value {
        let said = opinion(http, at, name).await;
        opinions.push(Opinion { at: at.clone(), said });
    }
    let said = || opinions.iter().filter_map(|opinion| opinion.said.as_ref().ok());
    let newest = said().filter_map(Said::rank).max_by_key(Rank::order);
    let mut proved: Vec<(Proof, Verdict)> = said().flat_map(|said| said.proofs.iter().cloned()).collect();
    let records: Vec<&VerifiedRecord> = said().filter_map(|said| said.record.as_ref()).collect();
    for (index, one) in records.iter().enumerate() {
        for other in &records[..index] {
            let Some(proof) = Proof::of_twins(one, other) else { continue };
            proved.extend(proof.check().ok().map(|verdict| (proof, verdict)));
        }
    }
    proved.dedup_by(|one, other| one.0.encode() == other.0.encode());
    let states: Vec<(&Opinion, &'static str)> = opinions
        .iter()
        .map(|opinion| (opinion, state(opinion, newest.as_ref(), !records.is_empty())))
        .collect();
    if let Some((proof, _)) = proved.first() {
        write(args.out.as_deref(), proof)?;
    }
    if args.json {
        output::json(&json!({
            "name": name.to_string(),
            "newest": newest.map(|rank| rank.to_string()),
            "providers": states.iter().map(|(opinion, state)| opinion_json(opinion, state)).collect::<Vec<_>>(),
            "proved": proved.iter().map(|(_, verdict)| verdict_json(verdict)).collect::<Vec<_>>(),
        }))?;
    } else {
        for (opinion, state) in &states {
            let says = match &opinion.said {
                Ok(said) => said.rank().map_or_else(String::new, |rank| format!("  rank {rank}")),
                Err(failure) => format!("  {}", crate::show::printable(failure.reason())),
            };
            output::line(format!("{state:<11} {}{says}", opinion.at))?;
        }
        for (_, verdict) in &proved {
            output::line(format!("proved: {verdict}"))?;
        }
    }
    verdict_on(&states, newest.is_some(), !proved.is_empty())
}

/// How what one provider said stands to what all said.
fn state(opinion: &Opinion, newest: Option<&Rank>, shown_by_any: bool) -> &'static str {
    let said = match &opinion.said {
        Ok(said) => said,
        Err(failure) => {
            return if failure.exit == Exit::Unverified {
                "unbelieved"
            } else {
                "unreachable"
            };
        }
    };
    let shown = said.record.as_ref().map(|record| record.rank().order());
    let signed = said.status.rank.map(|rank| rank.order());
    match (said.rank(), newest) {
        _ if shown.is_some() && shown != signed => "two-faced",
        // What has expired is held and not shown: by nobody.
        (Some(own), Some(newest)) if shown.is_none() && shown_by_any && own.order() == newest.order() => "hides it",
        (None, None) => "absent",
        (None, Some(_)) => "lacks it",
        (Some(own), Some(newest)) if own.order() < newest.order() => "behind",
        (Some(own), Some(newest)) if own.digest != newest.digest => "a twin",
        (Some(_), _) => "agrees",
    }
}

fn verdict_on(states: &[(&Opinion, &'static str)], found: bool, proved: bool) -> Outcome {
    let any = |which: &[&str]| states.iter().any(|(_, state)| which.contains(state));
    if proved || any(&["unbelieved", "two-faced", "hides it", "behind", "lacks it", "a twin"]) {
        Err(Failure::already_said(Exit::Unverified))
    } else if any(&["unreachable"]) {
        Err(Failure::already_said(Exit::Network))
    } else if found {
        Ok(())
    } else {
        Err(Failure::already_said(Exit::Absent))
    }
}

/// Asks one provider for everything that it has to say of a name.
async fn opinion(http: &HttpClient, at: &ProviderAt, name: &Name) -> Result<Said, Failure> {
    let base = base(at)?;
    let answer = ask(http, at, &format!("{base}/v1/records/{name}"), "application/vnd.dialtone.record").await?;
    let record = match answer.status {
        200 => {
            let signed = SignedRecord::decode(answer.body).map_err(|error| Failure::new(Exit::Unverified, at, error))?;
            Some(signed.verify_for(name).map_err(|error| Failure::new(Exit::Unverified, at, error))?)
        }
        404 => None,
        status => return Err(unexpected(at, status)),
    };
    let (status, _) = status(http, at, name).await?;
    let listed = ask(http, at, &format!("{base}/v1/proofs?of={name}"), "application/json").await?;
    let listed = serde_json::from_slice::<Value>(&listed.body).unwrap_or_default();
    let proofs = listed["proofs"].as_array().into_iter().flatten().filter_map(|proof| {
        let proof = Proof::decode(&BASE64.decode(proof["proof"].as_str()?).ok()?).ok()?;
        // What proves nothing is not worth a word: anyone may say anything.
        let verdict = proof.check().ok()?;
        Some((proof, verdict))
    });
    Ok(Said {
        provider: status.provider,
        record,
        proofs: proofs.collect(),
        status,
    })
}

/// A provider's signed status of a name, by the key that it says is its own.
async fn status(http: &HttpClient, at: &ProviderAt, name: &Name) -> Result<(Status, Bytes), Failure> {
    let url = format!("{}/v1/records/{name}/status", base(at)?);
    let answer = ask(http, at, &url, "application/vnd.dialtone.status").await?;
    if answer.status != 200 {
        return Err(unexpected(at, answer.status));
    }
    let status = Status::verify(&answer.body).map_err(|error| Failure::new(Exit::Unverified, at, format!("its status: {error}")))?;
    if status.name != *name {
        return Err(Failure::new(
            Exit::Unverified,
            at,
            format!("it signed a status of {}, not of the name asked for", status.name),
        ));
    }
    let age = clock::now().unix.since(status.time.secs());
    if age > STATUS_AGE_SECS {
        return Err(Failure::new(
            Exit::Unverified,
            at,
            format!("its status was signed {age} s ago: it says nothing about now"),
        ));
    }
    Ok((status, answer.body))
}

async fn ask(http: &HttpClient, at: &ProviderAt, url: &str, accept: &str) -> Result<Answer, Failure> {
    http.ask(Method::GET, url, &[("accept", accept)], Bytes::new(), HTTP_CONNECT + HTTP_TIMEOUT)
        .await
        .map_err(|error| Failure::new(Exit::Network, at, error).help("check the URL, and that the provider runs"))
}

fn base(at: &ProviderAt) -> Result<&str, Failure> {
    match at {
        ProviderAt::Http(base) => Ok(base),
        ProviderAt::Dns { .. } => {
            Err(Failure::new(Exit::Usage, at, "audits are over HTTP").help("give the provider's http:// or https:// URL"))
        }
    }
}

fn unexpected(at: &ProviderAt, status: u16) -> Failure {
    Failure::new(Exit::Network, at, format!("it answered with status {status}")).help("ask again later: `dialtone doctor` says more")
}

fn nobody_to_ask() -> Failure {
    Failure::new(Exit::Usage, "no provider", "there is nobody to ask").help("name it with --provider URL")
}

fn no_receipt(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        Exit::BadInput,
        path.display(),
        format!("it is no receipt that proves anything: {error}"),
    )
    .help("a receipt is what a provider answers to a put; `dialtone publish --json` prints it as `receipt`")
}

/// A file of bytes, or of their hexadecimal or base64 spelling.
fn read(path: &Path, most: usize) -> Result<Vec<u8>, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::file(path, &error))?;
    if bytes.len() > 2 * most + 64 {
        return Err(Failure::new(
            Exit::BadInput,
            path.display(),
            format!("{} bytes are too many for a receipt or a proof", bytes.len()),
        ));
    }
    let text = std::str::from_utf8(&bytes).ok().map(str::trim);
    let spelt = text.and_then(|text| from_hex(text).or_else(|| BASE64.decode(text).ok()));
    Ok(spelt.filter(|spelt| !spelt.is_empty()).unwrap_or(bytes))
}

fn write(path: Option<&Path>, proof: &Proof) -> Outcome {
    let Some(path) = path else { return Ok(()) };
    let mut file = std::fs::File::create_new(path).map_err(|error| Failure::file(path, &error))?;
    file.write_all(&proof.encode())
        .and_then(|()| file.sync_all())
        .map_err(|error| Failure::file(path, &error))
}

fn opinion_json(opinion: &Opinion, state: &str) -> Value {
    let mut value = json!({ "at": opinion.at.to_string(), "state": state });
    match &opinion.said {
        Ok(said) => {
            value["provider"] = json!(said.provider.to_string());
            value["record"] = json!(said.record.as_ref().map(|record| record.rank().to_string()));
            value["status"] = json!(said.status.rank.map(|rank| rank.to_string()));
        }
        Err(failure) => value["reason"] = json!(failure.reason()),
    }
    value
}

fn verdict_json(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Equivocation { name, lesser, greater } => json!({
            "proved": "equivocation",
            "of": name.to_string(),
            "ranks": [lesser.to_string(), greater.to_string()],
            "wins": greater.to_string(),
        }),
        Verdict::BrokenPromise { promise, status } => json!({
            "proved": "broken-promise",
            "of": promise.provider.to_string(),
            "name": promise.name.to_string(),
            "promised": promise.rank.to_string(),
            "promised_at": promise.time.secs().0,
            "keep_until": promise.keep_until.map(|until| until.0),
            "held": status.rank.map(|rank| rank.to_string()),
            "said_at": status.time.secs().0,
        }),
    }
}

/// A status older than this may be somebody's recording: clocks differ by no more, and answers take no longer.
const STATUS_AGE_SECS: u64 = 600;
