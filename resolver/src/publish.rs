//! The other direction: a record signed, put at providers, its receipts checked, and watched until it is visible.
//!
//! ```text
//! PUT /v1/records/<name>    the record's bytes; If-Match / If-None-Match for compare-and-swap
//!   200, 201                a receipt: as it is, or in JSON as {"receipt": base64}
//!   409, 412                a record of higher rank is held, or another than expected; its rank is the ETag
//!   else                    problem+json: whose turn it is
//! GET /v1/records/<name>    the record's bytes
//! ```

use crate::error::{HttpError, NotVisible, Problem, PutError};
use crate::io::discover;
use crate::io::http::{Answer, HttpClient};
use crate::message::{Over, Reply};
use crate::settings::{HTTP_TIMEOUT, INFO_TIMEOUT, PATIENCE_MAX, ProviderAt, VISIBLE_EVERY, VISIBLE_EVERY_MAX};
use crate::together::{self, Pending};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use dialtone_shared::receipt::{Promise, Receipt, Signer};
use dialtone_shared::record::Record;
use dialtone_shared::record::signed::SignError;
use dialtone_shared::{Body, Name, Rank, SignedRecord, UnixMicros, VerifiedRecord};
use hyper::Method;
use hyper::header::HeaderMap;
use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

/// A provider at which records are put.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Where it is.
    pub at: ProviderAt,
    /// What says that we may; `None`: as anybody.
    pub token: Option<String>,
}

/// What must be held for a put to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PutIf {
    /// Anything or nothing: rank decides.
    #[default]
    Always,
    /// Nothing at all.
    Absent,
    /// The record of this very rank.
    Held(Rank),
}

/// A put that was acknowledged with a receipt that proves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acknowledged {
    /// The provider, as it was set.
    pub provider: ProviderAt,
    /// What it promised.
    pub promise: Promise,
    /// The receipt, to be kept as proof.
    pub receipt: Bytes,
    /// How long the put took.
    pub took: Duration,
}

/// A record that was seen at a provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Visible {
    /// The provider, as it was set.
    pub provider: ProviderAt,
    /// How long after the watch began.
    pub after: Duration,
}

/// The publishing client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    http: HttpClient,
    accounts: Arc<[Known]>,
}

#[derive(Debug)]
struct Known {
    account: Account,
    /// The provider's own name, asked once.
    name: OnceCell<Name>,
}

/// The sequence of the next record: now, but later than the `last`, so that a clock that went back does not silence the publisher.
pub fn next_sequence(now: UnixMicros, last: Option<UnixMicros>) -> UnixMicros {
    UnixMicros(now.0.max(last.map_or(1, |last| last.0.saturating_add(1))))
}

/// Signs what `signer`'s name stands for from now on.
///
/// # Errors
/// [`SignError`]: the record breaks a rule of the format.
pub fn sign(signer: &Signer, sequence: UnixMicros, scope: Vec<Name>, body: Body) -> Result<VerifiedRecord, SignError> {
    let record = Record {
        genesis: signer.genesis.clone(),
        chain: signer.chain.clone(),
        sequence,
        scope,
        body,
    };
    let signed = SignedRecord::sign(record, &signer.secret)?;
    let epoch = signer.chain.len() as u32;
    // A key of one's own that does not verify is none that can own a name.
    signed.verify().map_err(|_| SignError::WrongKey(epoch))
}

impl Publisher {
    /// A client that puts at these providers.
    pub fn new(accounts: Vec<Account>) -> Self {
        let known = |account| Known {
            account,
            name: OnceCell::new(),
        };
        Self {
            http: HttpClient::new(),
            accounts: accounts.into_iter().map(known).collect(),
        }
    }

    /// Puts `record` at every provider at once. One outcome for each, in the order in which they were set.
    pub async fn put(&self, record: &VerifiedRecord, condition: PutIf) -> Vec<Result<Acknowledged, PutError>> {
        let puts = self.accounts.iter().map(|known| {
            let put: Pending<'_, _> = Box::pin(self.put_at(known, record, condition));
            put
        });
        together::all(puts.collect()).await
    }

    /// The highest-ranking record of `name` that any of the providers holds. It is what the next sequence must exceed. One
    /// provider that answers is enough; the others' troubles count only if all have some.
    ///
    /// # Errors
    /// [`PutError`]: nobody could say.
    pub async fn held(&self, name: &Name) -> Result<Option<VerifiedRecord>, PutError> {
        let asks = self.accounts.iter().map(|known| {
            let ask: Pending<'_, _> = Box::pin(self.held_at(known, name));
            ask
        });
        let (mut best, mut answered, mut trouble): (Option<VerifiedRecord>, bool, Option<PutError>) = (None, false, None);
        for held in together::all(asks.collect()).await {
            match held {
                Ok(held) => {
                    answered = true;
                    if let Some(held) = held.filter(|held| best.as_ref().is_none_or(|best| held.outranks(best))) {
                        best = Some(held);
                    }
                }
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        match trouble {
            Some(error) if !answered => Err(error),
            _ => Ok(best),
        }
    }

    /// Watches until a record of `name` at `rank` or above is served by every one of `providers`, for at most `patience`.
    ///
    /// # Errors
    /// [`NotVisible`], naming where it is missing and what was said there last.
    pub async fn wait_until_visible(
        &self,
        name: &Name,
        rank: &Rank,
        providers: &[ProviderAt],
        patience: Duration,
    ) -> Result<Vec<Visible>, NotVisible> {
        let began = Instant::now();
        let watches = providers.iter().map(|at| {
            let watch: Pending<'_, _> = Box::pin(self.watch(at, name, rank, began, patience));
            watch
        });
        let mut seen = Vec::with_capacity(providers.len());
        let (mut missing, mut reasons) = (Vec::new(), Vec::new());
        for (at, outcome) in providers.iter().zip(together::all(watches.collect()).await) {
            match outcome {
                Ok(visible) => seen.push(visible),
                Err(reason) => {
                    missing.push(at.to_string());
                    reasons.push(reason);
                }
            }
        }
        if missing.is_empty() {
            return Ok(seen);
        }
        reasons.dedup();
        Err(NotVisible {
            name: *name,
            missing,
            reason: reasons.join("; "),
        })
    }

    async fn put_at(&self, known: &Known, record: &VerifiedRecord, condition: PutIf) -> Result<Acknowledged, PutError> {
        let provider = &known.account.at;
        let ProviderAt::Http(base) = provider else {
            return Err(PutError::NoHttp(provider.to_string()));
        };
        let issuer = known
            .name
            .get_or_try_init(|| async { self.http.info(base).await.map(|info| info.name) })
            .await
            .map_err(|error| PutError::NotReached {
                provider: provider.to_string(),
                reason: error.to_string(),
            })?;
        let url = format!("{base}/v1/records/{}", record.name());
        let (authorization, etag);
        let mut headers = vec![("content-type", RECORD_MEDIA_TYPE), ("accept", RECEIPT_MEDIA_TYPES)];
        if let Some(token) = &known.account.token {
            authorization = format!("Bearer {token}");
            headers.push(("authorization", &authorization));
        }
        match condition {
            PutIf::Always => {}
            PutIf::Absent => headers.push(("if-none-match", "*")),
            PutIf::Held(rank) => {
                etag = format!("\"{rank}\"");
                headers.push(("if-match", &etag));
            }
        }
        let began = Instant::now();
        let answer = self
            .http
            .ask(Method::PUT, &url, &headers, record.bytes().clone(), HTTP_TIMEOUT)
            .await
            .map_err(|reason| not_put(provider, reason))?;
        let (promise, receipt) = read_put(provider, &answer, issuer, record)?;
        Ok(Acknowledged {
            provider: provider.clone(),
            promise,
            receipt,
            took: began.elapsed(),
        })
    }

    async fn held_at(&self, known: &Known, name: &Name) -> Result<Option<VerifiedRecord>, PutError> {
        let provider = &known.account.at;
        let ProviderAt::Http(base) = provider else {
            return Err(PutError::NoHttp(provider.to_string()));
        };
        let answer = self.get(base, name).await.map_err(|reason| not_put(provider, reason))?;
        read_held(&answer, name).map_err(|problem| refusal(provider, &answer, problem))
    }

    async fn get(&self, base: &str, name: &Name) -> Result<Answer, HttpError> {
        let url = format!("{base}/v1/records/{name}");
        self.http
            .ask(Method::GET, &url, &[("accept", RECORD_MEDIA_TYPE)], Bytes::new(), INFO_TIMEOUT)
            .await
    }

    /// Asks one provider again and again, more and more patiently.
    async fn watch(&self, at: &ProviderAt, name: &Name, rank: &Rank, began: Instant, patience: Duration) -> Result<Visible, String> {
        let mut pause = VISIBLE_EVERY;
        let mut said = "it was not asked".to_owned();
        // Found once; a provider that is not up yet is looked for again.
        let mut server = None;
        loop {
            let Some(left) = patience.checked_sub(began.elapsed()) else {
                return Err(said);
            };
            let asked = async {
                match at {
                    ProviderAt::Http(base) => {
                        let answer = self.get(base, name).await.map_err(|error| error.to_string())?;
                        read_held(&answer, name).map_err(|problem| format!("status {}: {problem}", answer.status))
                    }
                    ProviderAt::Dns { .. } => {
                        if server.is_none() {
                            let found = discover::find(&self.http, at, &[]).await;
                            server = found.servers.first().cloned();
                            if let Some(trouble) = found.trouble {
                                return Err(trouble.to_string());
                            }
                        }
                        match &server {
                            Some(server) => ask_dns(server, name).await,
                            None => Err("its host has no address".to_owned()),
                        }
                    }
                }
            };
            match timeout(left, asked).await {
                Ok(Ok(Some(held))) if reaches(held.rank(), rank) => {
                    return Ok(Visible {
                        provider: at.clone(),
                        after: began.elapsed(),
                    });
                }
                Ok(Ok(Some(_))) => said = "an older record is held".to_owned(),
                Ok(Ok(None)) => said = "no record is held".to_owned(),
                Ok(Err(reason)) => said = reason,
                Err(_) => return Err(said),
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(VISIBLE_EVERY_MAX);
        }
    }
}

async fn ask_dns(server: &crate::io::transport::Server, name: &Name) -> Result<Option<VerifiedRecord>, String> {
    let mut over = Over::Udp;
    loop {
        let reply = match timeout(PATIENCE_MAX, server.ask(name, over)).await {
            Ok(reply) => reply.map_err(|error| error.to_string())?,
            Err(_) => return Err("no answer in time".to_owned()),
        };
        match reply {
            Reply::Truncated if over == Over::Udp => over = Over::Tcp,
            Reply::Truncated => return Err("cut off over TCP".to_owned()),
            Reply::Absent { .. } => return Ok(None),
            Reply::No(reason) => return Err(reason),
            Reply::Record { envelope, .. } => return verified(envelope, name).map(Some),
        }
    }
}

/// What a provider's answer to a put comes to.
///
/// # Errors
/// [`PutError`].
pub fn read_put(provider: &ProviderAt, answer: &Answer, issuer: &Name, record: &VerifiedRecord) -> Result<(Promise, Bytes), PutError> {
    let held = || etag(&answer.headers);
    match answer.status {
        200 | 201 => {
            let proves = |reason: String| PutError::Receipt {
                provider: provider.to_string(),
                reason,
            };
            let receipt = receipt_of(answer).map_err(proves)?;
            let promise = Receipt::decode(&receipt)
                .map_err(|error| proves(error.to_string()))?
                .verify()
                .map_err(|error| proves(error.to_string()))?;
            if promise.provider != *issuer {
                return Err(proves(format!("it is by {}, not by {issuer}", promise.provider)));
            }
            if promise.name != *record.name() || promise.rank != *record.rank() {
                return Err(proves("it is for another record".to_owned()));
            }
            Ok((promise, receipt))
        }
        409 => Err(PutError::Older {
            provider: provider.to_string(),
            held: held(),
        }),
        412 => Err(PutError::ConditionFailed {
            provider: provider.to_string(),
            held: held(),
        }),
        _ => Err(refusal(provider, answer, problem_of(&answer.body))),
    }
}

/// The record in a provider's answer to a get, if it holds one.
fn read_held(answer: &Answer, name: &Name) -> Result<Option<VerifiedRecord>, Problem> {
    match answer.status {
        200 => verified(answer.body.clone(), name).map(Some).map_err(|reason| Problem {
            detail: reason,
            ..Problem::default()
        }),
        404 => Ok(None),
        _ => Err(problem_of(&answer.body)),
    }
}

fn verified(envelope: Bytes, name: &Name) -> Result<VerifiedRecord, String> {
    let signed = SignedRecord::decode(envelope).map_err(|error| format!("an invalid record: {error}"))?;
    signed.verify_for(name).map_err(|error| format!("an invalid record: {error}"))
}

/// Whether the record at `held` is the one at `wanted` or came to stand in its place.
fn reaches(held: &Rank, wanted: &Rank) -> bool {
    !matches!(held.compare(wanted), Some(Ordering::Less))
}

fn not_put(provider: &ProviderAt, reason: HttpError) -> PutError {
    let provider = provider.to_string();
    match reason {
        // Nothing was sent.
        HttpError::Connect(_) | HttpError::Url(_) => PutError::NotReached {
            provider,
            reason: reason.to_string(),
        },
        HttpError::Broken(_) | HttpError::TimedOut | HttpError::TooLarge => PutError::Unknown { provider, reason },
    }
}

/// Whose turn it is: who can try again with the same record, and who must change something.
fn refusal(provider: &ProviderAt, answer: &Answer, problem: Problem) -> PutError {
    let (provider, status) = (provider.to_string(), answer.status);
    if status == 429 || status >= 500 {
        let after = answer.headers.get("retry-after").and_then(|value| value.to_str().ok());
        return PutError::Unavailable {
            provider,
            status,
            problem,
            after_secs: after.and_then(|text| text.trim().parse().ok()),
        };
    }
    PutError::Refused { provider, status, problem }
}

fn receipt_of(answer: &Answer) -> Result<Bytes, String> {
    let media = answer
        .headers
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !media.starts_with("application/json") {
        return Ok(answer.body.clone());
    }
    let json: serde_json::Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    let text = json.get("receipt").and_then(serde_json::Value::as_str).ok_or("there is none")?;
    STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE_NO_PAD.decode(text))
        .map(Bytes::from)
        .map_err(|error| error.to_string())
}

fn etag(headers: &HeaderMap) -> Option<Rank> {
    headers
        .get("etag")?
        .to_str()
        .ok()?
        .trim_start_matches("W/")
        .trim_matches('"')
        .parse()
        .ok()
}

/// Reads problem+json; what is not is shown as far as it is text.
fn problem_of(body: &[u8]) -> Problem {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else {
        let text = String::from_utf8_lossy(body);
        return Problem {
            detail: shown(&text),
            ..Problem::default()
        };
    };
    let text = |field: &str| json.get(field).and_then(serde_json::Value::as_str).map(shown).unwrap_or_default();
    Problem {
        kind: text("type"),
        title: text("title"),
        detail: text("detail"),
    }
}

/// What somebody else wrote, as far as it belongs on a terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(SHOWN_CHARS_MAX).collect()
}

/// The media type of a record: a COSE_Sign1 (RFC 9052 §2).
pub const RECORD_MEDIA_TYPE: &str = "application/cose";
const RECEIPT_MEDIA_TYPES: &str = "application/cbor, application/json;q=0.5";
/// Longest text of a problem that is passed on.
const SHOWN_CHARS_MAX: usize = 500;
