//! The walk over the layers, done for those who cannot do it themselves. They trust the provider; the records are in the answer.

use super::problem::Refusal;
use super::{NameInPath, Service, answer, json, media, name_in};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, header};
use dialtone_resolver::error::ResolveError;
use dialtone_resolver::layers::{self, ResolveOptions};
use dialtone_resolver::{LookupError, view};
use std::sync::Arc;

/// `GET /v1/resolve/{name}`.
pub async fn resolve(State(service): State<Arc<Service>>, name: NameInPath) -> Response<Body> {
    let done = service.resolve(name).await;
    done.unwrap_or_else(Refusal::into_response)
}

impl Service {
    async fn resolve(&self, name: NameInPath) -> Result<Response<Body>, Refusal> {
        let name = name_in(name)?;
        let options = ResolveOptions {
            seed: rand::random(),
            ..ResolveOptions::default()
        };
        let resolution = match layers::resolve(&*self.source, &name, &options).await {
            Ok(resolution) => resolution,
            Err(ResolveError::Lookup {
                error: LookupError::Expired,
                name,
            }) => return Err(Refusal::Stale { name, held: None }),
            Err(ResolveError::Lookup { error, .. }) => return Err(Refusal::Lookup(error)),
            Err(ResolveError::Name(error)) => return Err(Refusal::NotAName(error)),
        };
        if let layers::Said::Absent { .. } = resolution.tree.said {
            return Err(Refusal::Absent(name));
        }
        let mut response = answer(json(&view::resolution(&resolution))?, media::JSON);
        if let Ok(value) = HeaderValue::try_from(format!("max-age={}", resolution.ttl.0)) {
            response.headers_mut().insert(header::CACHE_CONTROL, value);
        }
        Ok(response)
    }
}
