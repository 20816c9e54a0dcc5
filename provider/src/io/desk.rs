//! Where peers' requests arrive: each kind goes to whoever can answer it.

use crate::io::peering::requests::Answers;
use async_trait::async_trait;
use dialtone_shared::Name;
use dialtone_shared::message::{Refused, Request, Response};
use std::sync::Arc;

/// Who answers what. A kind that nobody answers is refused.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    /// Questions for names.
    pub queries: Option<Arc<dyn Answers>>,
    /// Rounds of reconciliation.
    pub rounds: Option<Arc<dyn Answers>>,
    /// Requests for a statement.
    pub statements: Option<Arc<dyn Answers>>,
}

#[async_trait]
impl Answers for Desk {
    async fn answer(&self, peer: &Name, request: Request) -> Response {
        let who = match &request {
            Request::Query(_) => &self.queries,
            Request::Reconcile(_) => &self.rounds,
            Request::Statement { .. } => &self.statements,
            // They went to whoever keeps them before they came here: see `peering::requests`.
            Request::Proofs(_) => &None,
        };
        match who {
            Some(who) => who.answer(peer, request).await,
            None => Response::Refused(Refused::Cannot),
        }
    }
}
