//! Names by Host Identity Tag.

use super::problem::Refusal;
use super::{Service, answer, media};
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, Response, header};
use dialtone_resolver::RecordSource;
use dialtone_shared::NameError;
use dialtone_shared::hip::Hit;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// `GET /v1/hits/{hit}`: the record of highest rank among those of names whose key has this tag. Whoever asks makes the tag anew from the key.
pub async fn hit(State(service): State<Arc<Service>>, hit: Result<Path<String>, PathRejection>) -> Response<Body> {
    let found = async {
        let address = hit.ok().and_then(|Path(text)| text.parse::<Ipv6Addr>().ok());
        let hit = address.and_then(Hit::from_address).ok_or(Refusal::NotAName(NameError::Length(0)))?;
        let found = service.source.by_hit(&hit).await.map_err(Refusal::Lookup)?;
        let (record, ttl) = found.ok_or(Refusal::NoHit(hit))?;
        let mut response = answer(record.bytes().clone(), media::RECORD);
        let headers = response.headers_mut();
        headers.insert(header::ETAG, media::etag(record.rank()));
        if let Ok(value) = HeaderValue::try_from(format!("max-age={}", ttl.0)) {
            headers.insert(header::CACHE_CONTROL, value);
        }
        if let Ok(value) = HeaderValue::try_from(format!("/v1/records/{}", record.name())) {
            headers.insert(header::CONTENT_LOCATION, value);
        }
        Ok::<_, Refusal>(response)
    };
    found.await.unwrap_or_else(Refusal::into_response)
}
