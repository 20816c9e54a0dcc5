//! The relay API of pkarr, which its clients and iroh's speak unchanged: the signed packet of a key, put and got at `/{key}` and at `/pkarr/{key}`.
//!
//! ```text
//! PUT  relay payload        204    kept, or held already
//!                           409    a newer one is held; at /pkarr/ 204: iroh's publisher takes every other answer for a failure, signs again and
//!                                  comes back for ever. What became of it stands in `Dialtone-Problem`
//!                           412    `If-Match: <timestamp>` or `If-Unmodified-Since` does not hold (clients before pkarr 7)
//! GET  200, 304, 404        relay payload; `If-Modified-Since` is compared in microseconds
//! ```
//!
//! A packet is a record of the name that is its key: who may put how much, keeping, peering and receipts are those of [`super::put`].
//! Why not is said as text, and 400 for whatever is wrong with a packet, as these clients expect. Pages of any origin may use it.

use super::get::Known;
use super::problem::{PROBLEM_TYPE, Refusal};
use super::put::examine;
use super::{NameInPath, Service, answer, read_if};
use crate::peering::ask::question::Found;
use crate::store::{Condition, Held};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use dialtone_shared::record::pkarr::{Packet, RELAY_BYTES_MAX};
use dialtone_shared::{Name, PublicKey, RecordError, Scheme, UnixSecs, VerifyError};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What is done with a packet that is older than the one held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Older {
    /// It is refused: 409.
    Conflict,
    /// It is passed over: 204.
    PassedOver,
}

/// `PUT /{key}`.
pub async fn put(service: State<Arc<Service>>, key: NameInPath, request: Request<Body>) -> Response<Body> {
    put_as(service, key, request, Older::Conflict).await
}

/// `PUT /pkarr/{key}`.
pub async fn put_by_iroh(service: State<Arc<Service>>, key: NameInPath, request: Request<Body>) -> Response<Body> {
    put_as(service, key, request, Older::PassedOver).await
}

async fn put_as(State(service): State<Arc<Service>>, key: NameInPath, request: Request<Body>, older: Older) -> Response<Body> {
    let page = Page::of(request.headers());
    let mut response = match service.put_packet(key, request).await {
        Ok(()) => stored(),
        Err(refusal) => {
            let slug = refusal.problem().slug;
            service.metrics.put(slug);
            tracing::debug!(%refusal, "packet refused");
            if older == Older::PassedOver && matches!(refusal, Refusal::Older(_)) {
                let mut response = stored();
                response.headers_mut().insert(PROBLEM_TYPE, HeaderValue::from_static(slug));
                response
            } else {
                plain(&refusal)
            }
        }
    };
    page.open(response.headers_mut());
    response
}

/// `GET` of either.
pub async fn get(State(service): State<Arc<Service>>, key: NameInPath, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let (outcome, mut response) = match service.packet(key, &uri, &headers).await {
        Ok(response) => ("found", response),
        Err(refusal) => (refusal.problem().slug, plain(&refusal)),
    };
    service.metrics.get(outcome);
    Page::of(&headers).open(response.headers_mut());
    response
}

/// `OPTIONS` of either: a page asks whether it may.
pub async fn options(headers: HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let answered = response.headers_mut();
    for (asked, allowed) in [
        (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
        (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
    ] {
        if let Some(value) = headers.get(asked) {
            answered.insert(allowed, value.clone());
        }
    }
    answered.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, PUT, OPTIONS"));
    Page::of(&headers).open(answered);
    response
}

impl Service {
    async fn put_packet(&self, key: NameInPath, request: Request<Body>) -> Result<(), Refusal> {
        let name = key_in(key)?;
        let (head, body) = request.into_parts();
        let checked = self.who(&head).and_then(|caller| Ok((caller, Wanted::of(&head.headers)?)));
        let (payload, (caller, wanted)) = read_if(checked, &head.headers, body, BODY_BYTES_MAX).await?;
        let now = self.clock.now().secs();
        let packet = Packet::from_relay(name.digest(), &payload).map_err(RecordError::Packet)?;
        let signed = examine(packet.to_envelope(), Some(&name), &self.name, now)?;
        let admitted = self.admit(caller, signed).await?;
        let condition = wanted.condition(admitted.before.held.as_ref())?;
        let (record, before) = self.verify(admitted)?;
        let put = self.put_of(caller, record, condition, now);
        let kept = self.queue.join(put, before)?.await.unwrap_or(Err(Refusal::Stopping))?;
        self.metrics.put(kept.how.as_str());
        Ok(())
    }

    async fn packet(&self, key: NameInPath, uri: &Uri, headers: &HeaderMap) -> Result<Response<Body>, Refusal> {
        let name = key_in(key)?;
        check_policy(uri)?;
        let Found { record, .. } = match self.source.find(&name).await? {
            Known::Current(found) => found,
            Known::Expired(_) | Known::Absent => {
                // Asked only now: what is held was checked when it came.
                PublicKey::from_bytes(name.digest()).check().map_err(VerifyError::Key)?;
                return Err(Refusal::Absent(name));
            }
        };
        let packet = record.packet().ok_or_else(|| Refusal::Bug(format!("{name} has no packet")))?;
        let since = date_in(headers, &header::IF_MODIFIED_SINCE);
        let mut response = if since.is_some_and(|since| packet.timestamp.0 <= since.micros().0) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            answer(packet.to_relay(), PAYLOAD)
        };
        let now = self.clock.now().secs();
        let max_age = record.record().ttl_at(now).0.clamp(MAX_AGE_SECS.0, MAX_AGE_SECS.1);
        let said = [
            (header::CACHE_CONTROL, format!("public, max-age={max_age}")),
            (header::LAST_MODIFIED, date(packet.timestamp.secs())),
            // When it was last seen to be what there is: a provider vouches for what it answers.
            (MEMENTO_DATETIME, date(now)),
        ];
        for (name, value) in said {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        Ok(response)
    }
}

/// The key in the path, as the name that it is.
fn key_in(segment: NameInPath) -> Result<Name, Refusal> {
    let name = super::name_in(segment)?;
    match name.scheme() {
        Scheme::Pkarr => Ok(name),
        Scheme::KeySet | Scheme::Content => Err(Refusal::NotAKey(name)),
    }
}

/// Whatever a client wants to have looked up where, it gets what is known here: there is no slower source to prefer or to avoid.
fn check_policy(uri: &Uri) -> Result<(), Refusal> {
    let asked = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .find_map(|pair| pair.strip_prefix("policy="));
    match asked {
        None | Some("CacheOnly" | "CacheFirst" | "NetworkOnly") => Ok(()),
        Some(_) => Err(Refusal::BadCondition("policy")),
    }
}

/// What clients before pkarr 7 want of what is held.
struct Wanted {
    timestamp: Option<u64>,
    unmodified_since: Option<UnixSecs>,
}

impl Wanted {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let bad = || Refusal::BadCondition("If-Match");
        let timestamp = headers.get(header::IF_MATCH).map(|value| {
            let text = value.to_str().map_err(|_| bad())?;
            text.trim().trim_matches('"').parse().map_err(|_| bad())
        });
        Ok(Self {
            timestamp: timestamp.transpose()?,
            unmodified_since: date_in(headers, &header::IF_UNMODIFIED_SINCE),
        })
    }

    /// The condition that the store must see to, given what is held now. Where nothing is held there is nothing to be overwritten.
    fn condition(&self, held: Option<&Held>) -> Result<Condition, Refusal> {
        let Some(held) = held.filter(|_| self.timestamp.is_some() || self.unmodified_since.is_some()) else {
            return Ok(Condition::None);
        };
        let rank = *held.record.rank();
        let is_held = self.timestamp.is_none_or(|timestamp| timestamp == rank.sequence.0);
        let is_unmodified = self.unmodified_since.is_none_or(|since| rank.sequence.secs() <= since);
        if is_held && is_unmodified {
            Ok(Condition::Rank(rank))
        } else {
            Err(Refusal::Condition(Some(Box::new(held.clone()))))
        }
    }
}

/// A page in a browser that asks, of whatever origin: everybody may read and put packets, and who may put how much is asked of the client.
struct Page(Option<HeaderValue>);

impl Page {
    fn of(headers: &HeaderMap) -> Self {
        Self(headers.get(header::ORIGIN).cloned())
    }

    fn open(self, headers: &mut HeaderMap) {
        headers.append(header::VARY, HeaderValue::from_static(VARIES));
        let Some(origin) = self.0 else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

fn stored() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    // This provider, for certain; peers take theirs when they take it.
    response.headers_mut().insert(STORED_NODES, HeaderValue::from_static("1"));
    response
}

/// A refusal as these clients know it.
fn plain(refusal: &Refusal) -> Response<Body> {
    let problem = refusal.problem();
    let mut response = answer(format!("{refusal}\n"), "text/plain; charset=utf-8");
    *response.status_mut() = match problem.status {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        status => status,
    };
    let headers = response.headers_mut();
    headers.insert(PROBLEM_TYPE, HeaderValue::from_static(problem.slug));
    if let Some(secs) = refusal.retry_after_secs() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}

/// A date as HTTP writes it (RFC 9110 §5.6.7), which ends with the year 9999.
fn date(at: UnixSecs) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(at.0.min(YEAR_9999_SECS)))
}

/// The date in a header; one that cannot be read is not there, as HTTP has it.
fn date_in(headers: &HeaderMap, name: &HeaderName) -> Option<UnixSecs> {
    let at = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(UnixSecs(since.as_secs()))
}

/// How much of a body is read, in bytes: as much as of a whole packet with its key, which some sent. Between a payload and this it is no packet,
/// beyond it is too large.
const BODY_BYTES_MAX: usize = 32 + RELAY_BYTES_MAX;
/// The media type of a relay payload, as pkarr's relays call it.
const PAYLOAD: &str = "application/pkarr.org/relays#payload";
/// Bounds of what caches are told, in seconds, as pkarr's clients have them.
const MAX_AGE_SECS: (u32, u32) = (300, 86_400);
const MEMENTO_DATETIME: HeaderName = HeaderName::from_static("memento-datetime");
const STORED_NODES: HeaderName = HeaderName::from_static("pkarr-dht-stored-nodes");
const VARIES: &str = "origin, access-control-request-method, access-control-request-headers";
const EXPOSED: &str = "pkarr-dht-stored-nodes, pkarr-invalid-signed-packet-seq";
const YEAR_9999_SECS: u64 = 253_402_300_799;
