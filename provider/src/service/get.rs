//! A record, a signed status, and the provider's own store as something to look names up in.

use super::media::{self, Tags};
use super::problem::Refusal;
use super::{NameInPath, Service, answer, json, name_in};
use crate::io::clock::Clock;
use crate::settings::NEGATIVE_TTL_SECS;
use crate::store::{Held, RecordStore};
use async_trait::async_trait;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use dialtone_resolver::view;
use dialtone_resolver::{Lookup, LookupError, RecordSource};
use dialtone_shared::receipt::Status;
use dialtone_shared::{Name, Ttl, UnixSecs, VerifiedRecord};
use std::fmt;
use std::sync::Arc;

/// A provider's own store as something to look names up in.
#[derive(Debug)]
pub struct StoreSource {
    store: Arc<dyn RecordStore>,
    clock: Arc<dyn Clock>,
    coherence: Arc<dyn Coherence>,
}

/// Whether what is not held here is held nowhere else.
pub trait Coherence: Send + Sync + fmt::Debug + 'static {
    /// Why a name that is not held here may be held by a peer; `None`: every peer has told us all it has.
    fn doubt(&self) -> Option<String>;
}

/// A provider without peers.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Coherence for Alone {
    fn doubt(&self) -> Option<String> {
        None
    }
}

/// What the store says of a name.
enum Found {
    Current(Held),
    Expired(Held),
    Absent,
}

impl StoreSource {
    /// Looks names up in `store`; an absence is certain where `coherence` has no doubt.
    pub fn new(store: Arc<dyn RecordStore>, clock: Arc<dyn Clock>, coherence: Arc<dyn Coherence>) -> Self {
        Self { store, clock, coherence }
    }

    async fn find(&self, name: &Name) -> Result<Found, Refusal> {
        match self.store.get(name).await? {
            Some(held) if expired(&held.record, self.clock.now().secs()) => Ok(Found::Expired(held)),
            Some(held) => Ok(Found::Current(held)),
            None => match self.coherence.doubt() {
                None => Ok(Found::Absent),
                Some(why) => Err(Refusal::Lookup(LookupError::Unavailable(why))),
            },
        }
    }
}

#[async_trait]
impl RecordSource for StoreSource {
    async fn lookup(&self, name: &Name) -> Result<Lookup, LookupError> {
        match self.find(name).await {
            Ok(Found::Current(held)) => Ok(Lookup::Found {
                ttl: held.record.record().ttl_at(self.clock.now().secs()),
                record: held.record,
            }),
            Ok(Found::Absent) => Ok(Lookup::Absent {
                ttl: Ttl(NEGATIVE_TTL_SECS),
            }),
            Ok(Found::Expired(_)) => Err(LookupError::Expired),
            Err(Refusal::Lookup(error)) => Err(error),
            Err(refusal) => Err(LookupError::Unavailable(refusal.to_string())),
        }
    }
}

/// Kept as a floor, but not served.
fn expired(record: &VerifiedRecord, now: UnixSecs) -> bool {
    record.record().expiry().is_some_and(|expiry| expiry <= now)
}

/// `GET /v1/records/{name}`.
pub async fn record(State(service): State<Arc<Service>>, name: NameInPath, headers: HeaderMap) -> Response<Body> {
    let (outcome, response) = match service.record(name, &headers).await {
        Ok(response) => ("found", response),
        Err(refusal) => (refusal.problem().slug, refusal.into_response()),
    };
    service.metrics.get(outcome);
    response
}

/// `GET /v1/records/{name}/status`.
pub async fn status(State(service): State<Arc<Service>>, name: NameInPath) -> Response<Body> {
    let signed = async {
        let name = name_in(name)?;
        let held = service.store.get(&name).await?;
        let rank = held.as_ref().map(|held| held.record.rank());
        let mut response = answer(Status::sign(&service.signer, service.clock.now(), &name, rank), media::STATUS);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(rank) = rank {
            headers.insert(header::ETAG, media::etag(rank));
        }
        Ok(response)
    };
    signed.await.unwrap_or_else(Refusal::into_response)
}

impl Service {
    async fn record(&self, name: NameInPath, headers: &HeaderMap) -> Result<Response<Body>, Refusal> {
        let name = name_in(name)?;
        let held = match self.source.find(&name).await? {
            Found::Current(held) => held,
            Found::Expired(held) => {
                return Err(Refusal::Stale {
                    name,
                    held: Some(Box::new(held)),
                });
            }
            Found::Absent => return Err(Refusal::Absent(name)),
        };
        let (record, now) = (held.record, self.clock.now().secs());
        let tags = Tags::of(headers, header::IF_NONE_MATCH).map_err(|_| Refusal::BadCondition("If-None-Match"))?;
        let mut response = if tags.is_some_and(|tags| tags.match_weakly(record.rank())) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else if media::prefers_json(headers, media::RECORD) {
            answer(json(&view::record(&record))?, media::JSON)
        } else {
            answer(record.bytes().clone(), media::RECORD)
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, media::etag(record.rank()));
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        let ttl = record.record().ttl_at(now).0;
        if let Ok(value) = HeaderValue::try_from(format!("max-age={ttl}")) {
            headers.insert(header::CACHE_CONTROL, value);
        }
        Ok(response)
    }
}
