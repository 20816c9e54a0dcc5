//! The other direction: what is signed, what a provider's answer to a put comes to, and whether a record has become visible. The
//! asking itself is [`Publisher`]'s.
//!
//! ```text
//! PUT /v1/records/<name>    the record's bytes; If-Match / If-None-Match for compare-and-swap
//!   200, 201                a receipt: as it is, or in JSON as {"receipt": base64}
//!   409, 412                a record of higher rank is held, or another than expected; its rank is the ETag
//!   else                    problem+json: whose turn it is
//! GET /v1/records/<name>    the record's bytes; 404 when there is none, or none that has not expired
//! ```

use crate::error::{HttpError, Problem, PutError};
use crate::io::http::Answer;
pub use crate::io::publisher::Publisher;
use crate::settings::ProviderAt;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use dialtone_shared::receipt::{Promise, Receipt, Signer};
use dialtone_shared::record::Record;
use dialtone_shared::record::signed::SignError;
use dialtone_shared::{Body, Name, Rank, SignedRecord, UnixMicros, VerifiedRecord};
use hyper::header::HeaderMap;
use std::cmp::Ordering;
use std::time::Duration;

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
pub(crate) fn read_held(answer: &Answer, name: &Name) -> Result<Option<VerifiedRecord>, Problem> {
    match answer.status {
        200 => verified(answer.body.clone(), name).map(Some).map_err(|reason| Problem {
            detail: reason,
            ..Problem::default()
        }),
        404 => Ok(None),
        _ => Err(problem_of(&answer.body)),
    }
}

pub(crate) fn verified(envelope: Bytes, name: &Name) -> Result<VerifiedRecord, String> {
    let signed = SignedRecord::decode(envelope).map_err(|error| format!("an invalid record: {error}"))?;
    signed.verify_for(name).map_err(|error| format!("an invalid record: {error}"))
}

/// Whether the record at `held` is the one at `wanted` or came to stand in its place.
pub(crate) fn reaches(held: &Rank, wanted: &Rank) -> bool {
    !matches!(held.compare(wanted), Some(Ordering::Less))
}

pub(crate) fn not_put(provider: &ProviderAt, reason: HttpError) -> PutError {
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
pub(crate) fn refusal(provider: &ProviderAt, answer: &Answer, problem: Problem) -> PutError {
    let (provider, status, problem) = (provider.to_string(), answer.status, Box::new(problem));
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
        turn: text("turn"),
    }
}

/// What somebody else wrote, as far as it belongs on a terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(SHOWN_CHARS_MAX).collect()
}

/// The media type of a signed record.
pub const RECORD_MEDIA_TYPE: &str = "application/vnd.dialtone.record";
/// The media type of a receipt.
pub const RECEIPT_MEDIA_TYPE: &str = "application/vnd.dialtone.receipt";
/// Longest text of a problem that is passed on.
const SHOWN_CHARS_MAX: usize = 500;
