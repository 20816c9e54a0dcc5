//! The wrongs that this provider can prove: a list, and each proof as bytes that check offline.

use super::problem::Refusal;
use super::{Service, answer, json, media};
use crate::peering::evidence::Filed;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderValue, Response, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use dialtone_shared::Name;
use dialtone_shared::proof::Proof;
use serde::Serialize;
use std::sync::Arc;

/// `GET /v1/proofs?after=NUMBER&of=NAME`.
pub async fn list(State(service): State<Arc<Service>>, RawQuery(query): RawQuery) -> Response<Body> {
    match service.proofs(query.as_deref().unwrap_or_default()).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

/// `GET /v1/proofs/{number}`.
pub async fn proof(State(service): State<Arc<Service>>, Path(number): Path<String>) -> Response<Body> {
    let found = async {
        let unknown = || Refusal::NoSuchPath(format!("/v1/proofs/{number}"));
        let filed = service.evidence.numbered(number.parse().map_err(|_| unknown())?).await?;
        Ok(answer(filed.ok_or_else(unknown)?.proof, media::PROOF))
    };
    found.await.unwrap_or_else(Refusal::into_response)
}

impl Service {
    async fn proofs(&self, query: &str) -> Result<Response<Body>, Refusal> {
        let (mut after, mut of) = (0, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("after", number)) => after = number.parse().map_err(|_| Refusal::NoSuchPath(format!("/v1/proofs?{query}")))?,
                Some(("of", name)) => of = Some(name.parse::<Name>().map_err(Refusal::NotAName)?),
                _ => return Err(Refusal::NoSuchPath(format!("/v1/proofs?{query}"))),
            }
        }
        let filed = self.evidence.list(of.as_ref(), after, PAGE).await?;
        let next = filed.last().filter(|_| filed.len() == PAGE).map(|last| last.number);
        let proofs: Vec<ProofView> = filed.iter().filter_map(ProofView::of).collect();
        let mut response = answer(json(&Proofs { proofs, next })?, media::JSON);
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

/// A page of the list.
#[derive(Serialize)]
struct Proofs {
    proofs: Vec<ProofView>,
    /// What to ask for `after`, if there may be more.
    next: Option<u64>,
}

/// A proof, for people and scripts.
#[derive(Serialize)]
struct ProofView {
    number: u64,
    /// Seconds since 1970.
    filed: u64,
    kind: &'static str,
    /// The name that said two things, or the provider that broke a promise.
    of: String,
    /// In base64.
    proof: String,
}

impl ProofView {
    fn of(filed: &Filed) -> Option<Self> {
        let proof = Proof::decode(&filed.proof).ok()?;
        Some(Self {
            number: filed.number,
            filed: filed.at.0,
            kind: match proof {
                Proof::Equivocation { .. } => "equivocation",
                Proof::BrokenPromise { .. } => "broken-promise",
            },
            of: proof.subject().ok()?.of.to_string(),
            proof: BASE64.encode(&filed.proof),
        })
    }
}

/// Proofs in one page: half a megabyte of the largest.
const PAGE: usize = 32;
