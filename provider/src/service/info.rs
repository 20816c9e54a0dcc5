//! What a provider says of itself, how it is, and what it counts.

use super::problem::Refusal;
use super::{Service, answer, media};
use crate::settings::PROBE_SECS;
use crate::store::RecordStore;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// `GET /v1/info`.
pub async fn info(State(service): State<Arc<Service>>) -> Response<Body> {
    answer(service.info.borrow().clone(), media::JSON)
}

/// `GET /metrics`.
pub async fn metrics(State(service): State<Arc<Service>>) -> Response<Body> {
    service.metrics.held(service.store.count(), &service.ledger.standing());
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &service.registry) {
        Ok(()) => answer(text, media::METRICS),
        Err(error) => Refusal::Bug(error.to_string()).into_response(),
    }
}

/// `GET /healthz`: whether a put would be kept. A provider that only answers gets is not well.
pub async fn health(State(service): State<Arc<Service>>) -> Response<Body> {
    // The disk may be well and nobody there to write to it.
    let probed = if service.queue.is_closed() {
        Err("no puts are taken any more: the provider stops, or a part of it failed (see its log)".to_owned())
    } else {
        service.health.probe(&*service.store).await
    };
    let (status, body) = match probed {
        Ok(()) => (StatusCode::OK, json!({"status": "ok"})),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "unwell", "reason": why})),
    };
    let mut response = answer(body.to_string(), media::JSON);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// How the write path was when it was last tried. Asked more often than once a second, it answers from memory.
#[derive(Debug, Default)]
pub struct Health {
    last: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Health {
    /// Writes a note, durably, the way that puts go, and waits for it no longer than a client would.
    ///
    /// # Errors
    /// Why a put would not be kept.
    pub async fn probe(&self, store: &dyn RecordStore) -> Result<(), String> {
        let mut last = self.last.lock().await;
        if let Some((at, result)) = &*last
            && at.elapsed() < FRESH
        {
            return result.clone();
        }
        let write = store.set_notes(vec![(PROBE_NOTE.to_vec(), Some(Vec::new()))]);
        let result = match tokio::time::timeout(Duration::from_secs(PROBE_SECS), write).await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the disk did not answer within {PROBE_SECS} seconds")),
        };
        *last = Some((Instant::now(), result.clone()));
        result
    }
}

/// How long a probe's result holds.
const FRESH: Duration = Duration::from_secs(1);
const PROBE_NOTE: &[u8] = b"health/probe";
