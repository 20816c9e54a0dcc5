//! A record, a signed status, and the provider's own store as something to look names up in.

use super::media::{self, Tags};
use super::problem::Refusal;
use super::watch::events::Now;
use super::{NameInPath, Service, answer, json, name_in};
use crate::io::clock::Clock;
use crate::io::peering::ask::Asking;
use crate::peering::ask::desk::Reply;
use crate::peering::ask::question::Found;
use crate::settings::NEGATIVE_TTL_SECS;
use crate::store::Held;
use async_trait::async_trait;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use dialtone_resolver::view;
use dialtone_resolver::{Lookup, LookupError, RecordSource};
use dialtone_shared::hip::Hit;
use dialtone_shared::receipt::Status;
use dialtone_shared::{Name, Ttl, VerifiedRecord};
use std::sync::Arc;

/// What a provider knows of names, as something to look names up in.
#[derive(Debug)]
pub struct StoreSource {
    asking: Arc<Asking>,
    clock: Arc<dyn Clock>,
}

/// What is known of a name.
pub(super) enum Known {
    Current(Found),
    Expired(Found),
    Absent,
}

impl StoreSource {
    /// Looks names up where `asking` does: in the store, and what is not there among the peers.
    pub fn new(asking: Arc<Asking>, clock: Arc<dyn Clock>) -> Self {
        Self { asking, clock }
    }

    pub(super) async fn find(&self, name: &Name) -> Result<Known, Refusal> {
        match self.asking.get(name).await? {
            Reply::Record(found) if found.is_over(self.clock.now().secs()) => Ok(Known::Expired(found)),
            Reply::Record(found) => Ok(Known::Current(found)),
            Reply::Absent => Ok(Known::Absent),
            Reply::Unknown(why) => Err(Refusal::Lookup(LookupError::Unavailable(why))),
            Reply::Busy => Err(Refusal::Lookup(LookupError::Busy)),
            // A client says nothing of what it knows.
            Reply::NotNewer { .. } => Err(Refusal::Bug("a client was answered as a peer".to_owned())),
        }
    }
}

impl StoreSource {
    /// Whether what is kept here is the newest there is, so that who watches it is told of everything.
    pub fn is_whole(&self) -> bool {
        self.asking.is_whole()
    }

    /// What is true of a name now, for whoever watches it.
    pub async fn now(&self, name: &Name) -> Now {
        match self.find(name).await {
            Ok(Known::Current(found)) => {
                let held = self.asking.holds(found.record.name(), found.record.rank()).await;
                Now::Current(found.record, (!held).then_some(found.fresh))
            }
            Ok(Known::Expired(found)) => Now::Expired(found.record),
            Ok(Known::Absent) => Now::Absent,
            Err(refusal) => Now::Unknown(refusal.to_string()),
        }
    }
}

#[async_trait]
impl RecordSource for StoreSource {
    async fn lookup(&self, name: &Name) -> Result<Lookup, LookupError> {
        match self.find(name).await {
            Ok(Known::Current(found)) => Ok(Lookup::Found {
                ttl: found.fresh,
                record: found.record,
            }),
            Ok(Known::Absent) => Ok(Lookup::Absent {
                ttl: Ttl(NEGATIVE_TTL_SECS),
            }),
            Ok(Known::Expired(_)) => Err(LookupError::Expired),
            Err(Refusal::Lookup(error)) => Err(error),
            Err(refusal) => Err(LookupError::Unavailable(refusal.to_string())),
        }
    }

    async fn by_hit(&self, hit: &Hit) -> Result<Option<(VerifiedRecord, Ttl)>, LookupError> {
        let reply = self.asking.by_tag(hit).await;
        match reply.map_err(|error| LookupError::Unavailable(error.to_string()))? {
            Reply::Record(found) if found.is_over(self.clock.now().secs()) => Ok(None),
            Reply::Record(found) => Ok(Some((found.record, found.fresh))),
            Reply::Absent => Ok(None),
            Reply::Unknown(why) => Err(LookupError::Unavailable(why)),
            Reply::Busy => Err(LookupError::Busy),
            Reply::NotNewer { .. } => Err(LookupError::Unavailable(
                "a client was answered as a peer (this is a bug)".to_owned(),
            )),
        }
    }
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
        let standing = service.source.asking.standing(&name).await?;
        let silent = || LookupError::Unavailable("another node of this provider does not say what it holds".to_owned());
        let (at, rank) = standing.ok_or_else(|| Refusal::Lookup(silent()))?;
        let rank = rank.as_ref();
        let mut response = answer(Status::sign(&service.signer, at, &name, rank), media::STATUS);
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
        let Found { record, fresh, .. } = match self.source.find(&name).await? {
            Known::Current(found) => found,
            Known::Expired(found) => {
                return Err(Refusal::Stale {
                    name,
                    held: Some(Box::new(Held {
                        record: found.record,
                        class: found.class,
                        keep_until: found.keep_until,
                        from: None,
                        account: None,
                    })),
                });
            }
            Known::Absent => return Err(Refusal::Absent(name)),
        };
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
        if let Ok(value) = HeaderValue::try_from(format!("max-age={}", fresh.0)) {
            headers.insert(header::CACHE_CONTROL, value);
        }
        Ok(response)
    }
}
