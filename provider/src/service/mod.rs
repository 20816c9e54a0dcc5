//! What can be asked of a provider over HTTP: one verb a file, and the table from error to reply.
//!
//! 1. [`put`]: a record, in the order of what costs least; [`queue`]: kept and receipted with those that wait;
//! 2. [`batch`]: many records in one request;
//! 3. [`get`]: a record, a signed status, and the provider's store as something to look names up in;
//! 4. [`relay`]: packets of pkarr, as its clients and iroh's put and get them;
//! 5. [`value`]: bytes that their own hash names;
//! 6. [`resolve`]: the walk over the layers;
//! 7. [`info`]: what a provider says of itself, how it is, and what it counts;
//! 8. [`proofs`]: the wrongs that can be proved;
//! 9. [`look`]: the page that draws a name's layers and checks them in the reader's browser;
//! 10. [`watch`]: being told what becomes of names, as it happens;
//! 11. [`media`]: media types and entity tags; [`problem`]: what can go wrong.

pub mod batch;
pub mod get;
pub mod hits;
pub mod info;
pub mod look;
pub mod media;
pub mod problem;
pub mod proofs;
pub mod put;
pub mod queue;
pub mod relay;
pub mod resolve;
pub mod value;
pub mod watch;

pub use problem::{Problem, Refusal, Turn};

use crate::accounting::{Admission, Ledger};
use crate::io::clock::Clock;
use crate::io::evidence::Evidence;
use crate::metrics::Metrics;
use crate::settings::{BATCHES_AT_A_TIME, HTTP_PATIENCE_SECS};
use crate::store::RecordStore;
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, Request, Response, header};
use axum::routing::{get as on_get, post as on_post};
use bytes::{Bytes, BytesMut};
use dialtone_shared::receipt::Signer;
use dialtone_shared::{Name, NameError};
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use serde::Serialize;
use std::net::IpAddr;
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
    /// What can be proved against whom.
    pub evidence: Arc<Evidence>,
    /// What everybody keeps.
    pub ledger: Arc<Ledger>,
    /// Longest value that is taken, in bytes; 0: none is.
    pub value_bytes_max: usize,
    /// The way into the store.
    pub queue: queue::PutQueue,
    /// Bounds the batch requests under way.
    pub batches: Arc<Semaphore>,
    /// Who watches what.
    pub board: Arc<watch::board::Board>,
    /// Bounds the bodies of watches under way.
    pub watch_bodies: Semaphore,
    /// What the provider says of itself, as JSON.
    pub info: tokio::sync::watch::Receiver<Bytes>,
    /// How the write path was when it was last tried.
    pub health: info::Health,
    /// What is counted here.
    pub metrics: Arc<Metrics>,
    /// What is counted everywhere in the provider.
    pub registry: Arc<Registry>,
}

/// Where a request came from; the listener adds it.
#[derive(Clone, Copy, Debug)]
pub struct Remote(pub IpAddr);

/// The endpoints.
pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/records/{name}", on_get(get::record).put(put::put))
        .route("/v1/records/{name}/status", on_get(get::status))
        .route("/v1/records", on_post(batch::post))
        .route("/v1/watch", on_get(watch::get).post(watch::post))
        .route("/v1/resolve/{name}", on_get(resolve::resolve))
        .route("/v1/proofs", on_get(proofs::list))
        .route("/v1/proofs/{number}", on_get(proofs::proof))
        .route("/v1/info", on_get(info::info))
        .route("/", on_get(look::home))
        .route("/look", on_get(look::page))
        .route("/look/{folder}/{file}", on_get(look::file))
        .route("/healthz", on_get(info::health))
        .route("/metrics", on_get(info::metrics))
        .route("/v1/hits/{hit}", on_get(hits::hit))
        .route("/v1/values", on_post(value::post))
        .route("/v1/values/{name}", on_get(value::get))
        .route("/{key}", on_get(relay::get).put(relay::put).options(relay::options))
        .route("/pkarr/{key}", on_get(relay::get).put(relay::put_by_iroh).options(relay::options))
        .fallback(|request: Request<Body>| async move { Refusal::NoSuchPath(request.uri().path().to_owned()).into_response() })
        .method_not_allowed_fallback(|request: Request<Body>| async move { Refusal::Method(request.method().to_string()).into_response() })
        .with_state(service)
}

/// How many batch requests may be under way.
pub fn batches() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(BATCHES_AT_A_TIME))
}

/// The segment of the path that should be a name; it may not even be text.
type NameInPath = Result<Path<String>, PathRejection>;

/// The name in the path.
fn name_in(segment: NameInPath) -> Result<Name, Refusal> {
    match segment {
        Ok(Path(text)) => text.parse().map_err(Refusal::NotAName),
        Err(_) => Err(Refusal::NotAName(NameError::Length(0))),
    }
}

/// Reads a body if the head of its request was in order. If not, the body is thrown away first, unless the client asked
/// whether to send it: who is still sending would not hear the refusal.
async fn read_if<T>(checked: Result<T, Refusal>, headers: &HeaderMap, body: Body, most: usize) -> Result<(Bytes, T), Refusal> {
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
async fn read(body: Body, most: usize) -> Result<Bytes, Refusal> {
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
    let value = axum::http::HeaderValue::from_static(media_type);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

/// How much of a body that is too large is read to its end, in bytes.
const DISCARD_BYTES_MAX: usize = 1 << 18;
