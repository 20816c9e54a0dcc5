//! Values: bytes that their own hash names. Kept as records are (`PUT /v1/records/{name}` takes and gives them in their envelope); here without it.

use super::get::Known;
use super::problem::Refusal;
use super::put::{examine, kept_response};
use super::{NameInPath, Service, answer, media, name_in, read_if};
use crate::store::Condition;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Request, Response, header};
use dialtone_shared::limits::TTL_SECS_MAX;
use dialtone_shared::record::signed::VALUE_HEAD;
use dialtone_shared::{NameError, Scheme};
use std::sync::Arc;

/// `POST /v1/values`.
pub async fn post(State(service): State<Arc<Service>>, request: Request<Body>) -> Response<Body> {
    match service.post_value(request).await {
        Ok(response) => response,
        Err(refusal) => {
            service.metrics.put(refusal.problem().slug);
            refusal.into_response()
        }
    }
}

/// `GET /v1/values/{name}`.
pub async fn get(State(service): State<Arc<Service>>, name: NameInPath) -> Response<Body> {
    let (outcome, response) = match service.value(name).await {
        Ok(response) => ("found", response),
        Err(refusal) => (refusal.problem().slug, refusal.into_response()),
    };
    service.metrics.get(outcome);
    response
}

impl Service {
    async fn post_value(&self, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let (head, body) = request.into_parts();
        let (value, caller) = read_if(self.who(&head), &head.headers, body, self.value_bytes_max).await?;
        let now = self.clock.now().secs();
        let signed = examine([&[VALUE_HEAD], &value[..]].concat().into(), None, &self.name, now)?;
        let name = *signed.name();
        let admitted = self.admit(caller, signed).await?;
        let (record, before) = self.verify(admitted)?;
        let put = self.put_of(caller, record, Condition::None, now);
        let kept = self.queue.join(put, before)?.await.unwrap_or(Err(Refusal::Stopping))?;
        self.metrics.put(kept.how.as_str());
        let mut response = kept_response(&name, &kept, media::prefers_json(&head.headers, media::RECEIPT));
        if let Ok(location) = HeaderValue::try_from(format!("/v1/values/{name}")) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    }

    async fn value(&self, name: NameInPath) -> Result<Response<Body>, Refusal> {
        let name = name_in(name)?;
        if name.scheme() != Scheme::Content {
            return Err(Refusal::NotAName(NameError::Scheme(name.as_bytes()[0])));
        }
        let found = match self.source.find(&name).await? {
            Known::Current(found) => found,
            Known::Expired(_) | Known::Absent => return Err(Refusal::Absent(name)),
        };
        let value = found.record.value().ok_or_else(|| Refusal::Bug(format!("{name} has no value")))?;
        let mut response = answer(value, "application/octet-stream");
        let headers = response.headers_mut();
        headers.insert(header::ETAG, media::etag(found.record.rank()));
        // Whoever put it, a browser must not take it for a page of this provider.
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("sandbox; default-src 'none'"),
        );
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
        if let Ok(age) = HeaderValue::try_from(format!("max-age={TTL_SECS_MAX}, immutable")) {
            headers.insert(header::CACHE_CONTROL, age);
        }
        Ok(response)
    }
}
