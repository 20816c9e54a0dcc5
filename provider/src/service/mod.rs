//! What can be asked of a provider over HTTP: one verb a file, and the table from error to reply.
//!
//! 0. [`route`]: which of them a request is for;
//! 1. [`put`]: a record, in the order of what costs least; [`queue`]: kept and receipted with those that wait;
//! 2. [`batch`]: many records in one request;
//! 3. [`get`]: a record, a signed status, and the provider's store as something to look names up in;
//! 4. [`resolve`]: the walk over the layers;
//! 5. [`info`]: what a provider says of itself, how it is, and what it counts;
//! 6. [`media`]: media types and entity tags; [`problem`]: what can go wrong.

pub mod batch;
pub mod get;
pub mod info;
pub mod media;
pub mod problem;
pub mod put;
pub mod queue;
pub mod resolve;
pub mod route;

pub use problem::{Problem, Refusal, Turn};

use crate::accounting::{Admission, Ledger};
use crate::io::clock::Clock;
use crate::metrics::Metrics;
use crate::settings::{BATCHES_AT_A_TIME, HTTP_PATIENCE_SECS};
use crate::store::RecordStore;
use bytes::{Bytes, BytesMut};
use dialtone_shared::receipt::Signer;
use dialtone_shared::{Name, NameError};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Response};
use prometheus_client::registry::Registry;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What the endpoints share.
#[derive(Debug)]
pub struct Service {
    /// The provider's name.
    pub name: Name,
    /// Signs for it.
    pub signer: Arc<Signer>,
    /// Where records are kept.
    pub store: Arc<dyn RecordStore>,
    /// The store as something to look names up in.
    pub source: Arc<get::StoreSource>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who may put how much.
    pub admission: Admission,
    /// What everybody keeps.
    pub ledger: Arc<Ledger>,
    /// The way into the store.
    pub queue: queue::PutQueue,
    /// Bounds the batch requests under way.
    pub batches: Arc<Semaphore>,
    /// What the provider says of itself, as JSON.
    pub info: Bytes,
    /// How the write path was when it was last tried.
    pub health: info::Health,
    /// What is counted here.
    pub metrics: Arc<Metrics>,
    /// What is counted everywhere in the provider.
    pub registry: Arc<Registry>,
}

/// What is answered: always whole.
pub type Body = Full<Bytes>;

/// How many batch requests may be under way.
pub fn batches() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(BATCHES_AT_A_TIME))
}

/// The name in a segment of a path, where any character may have been sent as its number (RFC 3986 §2.1).
fn name_in(segment: &str) -> Result<Name, Refusal> {
    let read = |text: &str| text.parse().map_err(Refusal::NotAName);
    if !segment.contains('%') {
        return read(segment);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        let number = match rest {
            [b'%', high, low, ..] => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        // A percent sign that begins no number stands for itself.
        match number {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    match str::from_utf8(&bytes) {
        Ok(text) => read(text),
        Err(_) => Err(Refusal::NotAName(NameError::Length(0))),
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Reads a body if the head of its request was in order. If not, the body is thrown away first, unless the client asked
/// whether to send it: who is still sending would not hear the refusal.
async fn read_if<T>(checked: Result<T, Refusal>, headers: &HeaderMap, body: Incoming, most: usize) -> Result<(Bytes, T), Refusal> {
    match checked {
        Ok(checked) => Ok((read(body, most).await?, checked)),
        Err(refusal) => {
            if !headers.contains_key(header::EXPECT) {
                let _ = read(body, 0).await;
            }
            Err(refusal)
        }
    }
}

/// Reads a body of at most `most` bytes. Somewhat more is read and thrown away, so that who sends it hears why it was refused
/// rather than that the connection broke.
async fn read(body: Incoming, most: usize) -> Result<Bytes, Refusal> {
    let whole = async {
        let mut body = body;
        let mut first: Option<Bytes> = None;
        let mut rest = BytesMut::new();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::Body(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            length += data.len();
            if length > most {
                if length > most + DISCARD_BYTES_MAX {
                    break;
                }
                continue;
            }
            // A body in one piece, which a record always is, is not copied here.
            match &first {
                None => first = Some(data),
                Some(head) => {
                    if rest.is_empty() {
                        rest.extend_from_slice(head);
                    }
                    rest.extend_from_slice(&data);
                }
            }
        }
        if length > most {
            return Err(Refusal::TooLarge(most));
        }
        Ok(if rest.is_empty() {
            first.unwrap_or_default()
        } else {
            rest.freeze()
        })
    };
    match tokio::time::timeout(Duration::from_secs(HTTP_PATIENCE_SECS), whole).await {
        Ok(read) => read,
        Err(_) => Err(Refusal::Body(format!("nothing came for {HTTP_PATIENCE_SECS} seconds"))),
    }
}

/// What is answered as JSON.
fn json(value: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value).map_err(|error| Refusal::Bug(error.to_string()))
}

/// An answer of one media type.
fn answer(body: impl Into<Body>, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body.into());
    let value = HeaderValue::from_static(media_type);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

/// How much of a body that is too large is read to its end, in bytes.
const DISCARD_BYTES_MAX: usize = 1 << 18;
