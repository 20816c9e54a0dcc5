//! Asks peers for second opinions, a name now and then, and says what they come to.

use crate::io::clock::Clock;
use crate::io::peering::PeeringHandle;
use crate::peering::agreement::{Agreement, Way};
use crate::peering::audit::{self, Finding};
use crate::peering::health::{LinkState, PeerStatus};
use crate::peering::limits::{AUDIT_AGAIN, AUDIT_EVERY, AUDIT_TOLD_EVERY};
use crate::peering::policy;
use crate::store::{Held, RecordStore, StoreError};
use dialtone_shared::message::{Answer, Query, Request, Response};
use dialtone_shared::{Name, Rank, SignedRecord};
use rand::RngExt;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::{debug, warn};

/// Audits the peers of one provider.
pub struct Auditor {
    store: Arc<dyn RecordStore>,
    peering: Arc<PeeringHandle>,
    clock: Arc<dyn Clock>,
    books: Mutex<BTreeMap<Name, Book>>,
}

/// What was found of one peer.
#[derive(Debug, Default)]
struct Book {
    findings: BTreeMap<Finding, u64>,
    told: Option<Instant>,
}

impl Auditor {
    /// An auditor of the peers of `peering`, which shares `store`.
    pub fn new(store: Arc<dyn RecordStore>, peering: Arc<PeeringHandle>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            store,
            peering,
            clock,
            books: Mutex::default(),
        })
    }

    /// Audits now and then, until `stopping` turns true.
    pub async fn run(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        loop {
            // Between a half and one and a half, so that providers that started together do not ask at once.
            let pause = AUDIT_EVERY.mul_f64(rand::rng().random_range(0.5..1.5));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            let audited = tokio::select! {
                audited = self.audit_any() => audited,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            match audited {
                Ok(_) => {}
                Err(StoreError::Closed) => return,
                Err(error) => debug!(%error, "no audit"),
            }
        }
    }

    /// One audit: of a name and a peer that are drawn. `None`: there is nothing to ask, or nobody.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_any(&self) -> Result<Option<Finding>, StoreError> {
        let asked = self.peering.peers().into_iter();
        let asked: Vec<Name> = asked
            .filter(|peer| peer.state == LinkState::Up && peer.agreement.asks && peer.theirs.as_ref().is_some_and(|theirs| theirs.answers))
            .map(|peer| peer.name)
            .collect();
        let drawn = Name::key_set(rand::random());
        let mut held = self.store.scan(Some(drawn), 1).await?;
        if held.is_empty() {
            held = self.store.scan(None, 1).await?;
        }
        let (Some(held), false) = (held.pop(), asked.is_empty()) else {
            return Ok(None);
        };
        let peer = asked[rand::rng().random_range(0..asked.len())];
        self.audit(&peer, held.record.name()).await.map(Some)
    }

    /// Asks `peer` (any one of its nodes) for what it holds of `name`, and if that is not as it must be, the same once more later.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit(&self, peer: &Name, name: &Name) -> Result<Finding, StoreError> {
        let Some(node) = self.node_of(peer) else {
            return Ok(Finding::Open);
        };
        let mut finding = self.look(peer, &node, name).await?;
        if finding.is_wrong() {
            tokio::time::sleep(AUDIT_AGAIN).await;
            finding = self.look(peer, &node, name).await?;
        }
        let mut books = self.books();
        let book = books.entry(*peer).or_default();
        *book.findings.entry(finding).or_default() += 1;
        if finding.is_wrong() && book.told.is_none_or(|told| told.elapsed() >= AUDIT_TOLD_EVERY) {
            book.told = Some(Instant::now());
            let what = finding.as_str();
            warn!(%peer, %name, what, "an audit found that a peer does not hold or push what it must");
        }
        Ok(finding)
    }

    /// One look at both sides; the peer is not asked about what may not pass to it. What the peer has beyond ours is not taken from here: that is what feeds and queries are for.
    async fn look(&self, peer: &Name, node: &[u8; 16], name: &Name) -> Result<Finding, StoreError> {
        let way = self.peering.agreements().get(peer).map(Agreement::way);
        let held = self.store.get(name).await?;
        let passes = |held: &Held, way: &Way| policy::passes(name, held.record.record(), way);
        if !held.as_ref().zip(way.as_ref()).is_some_and(|(held, way)| passes(held, way)) {
            return Ok(Finding::Open);
        }
        let query = Query {
            name: *name,
            tag: None,
            hops: 0,
            visited: Vec::new(),
            budget: 0,
            own_only: true,
            known: None,
        };
        let theirs = match self.peering.request_of(peer, node, Request::Query(query), PATIENCE).await {
            Ok(Response::Answer(Answer::Found { value, .. })) => match genuine(value.record, name).await {
                Some(rank) => Some(rank),
                None => return Ok(Finding::Open),
            },
            Ok(Response::Answer(Answer::Absent { .. })) => None,
            Ok(_) | Err(_) => return Ok(Finding::Open),
        };
        // Ours after theirs: what came to us meanwhile was on its way.
        let status: Option<PeerStatus> = self.peering.peers().into_iter().find(|status| status.name == *peer);
        let status = status.and_then(|status| status.of_node(node));
        let held: Option<Held> = self.store.get(name).await?;
        Ok(match (status, held) {
            (Some(status), Some(held)) => audit::judge(&status, &held, theirs.as_ref(), self.clock.now().secs()),
            _ => Finding::Open,
        })
    }

    /// A node of a peer, drawn from those with which links stand.
    fn node_of(&self, peer: &Name) -> Option<[u8; 16]> {
        let status = self.peering.peers().into_iter().find(|status| status.name == *peer)?;
        let nodes: Vec<_> = status.links.iter().filter_map(|link| link.node).collect();
        (!nodes.is_empty()).then(|| nodes[rand::rng().random_range(0..nodes.len())])
    }

    /// What was found of each peer since the start.
    pub fn findings(&self) -> Vec<(Name, BTreeMap<Finding, u64>)> {
        self.books().iter().map(|(peer, book)| (*peer, book.findings.clone())).collect()
    }

    /// A panic elsewhere leaves counts: still good.
    fn books(&self) -> MutexGuard<'_, BTreeMap<Name, Book>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Auditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auditor").field("books", &self.books).finish_non_exhaustive()
    }
}

/// The rank of a record, if it is a genuine one of `name`.
async fn genuine(record: bytes::Bytes, name: &Name) -> Option<Rank> {
    let signed = SignedRecord::decode(record).ok()?;
    let name = *name;
    let verified = tokio::task::spawn_blocking(move || signed.verify_for(&name).ok()).await.ok()?;
    verified.map(|record| *record.rank())
}

/// How long a peer may take to look into its own store.
const PATIENCE: Duration = Duration::from_secs(5);
