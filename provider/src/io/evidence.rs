//! Keeps proofs of wrongs, and sees to it that every peer has them too: what the store meets, what peers tell, one alarm for each.

use crate::io::clock::Clock;
use crate::io::peering::PeeringHandle;
use crate::peering::agreement::Agreement;
use crate::peering::evidence::{
    self, Filed, NUMBERS, PROOF_KEPT_SECS, PROOFS_MAX, PROOFS_OF_ONE_MAX, TALLY, Tally, key, keys, number_key, told_key,
};
use crate::peering::health::{LinkState, PeerStatus};
use crate::peering::limits::{INVALID_RECORDS_MAX, REDIAL_QUARANTINE};
use crate::store::{RecordStore, StoreError, Twins};
use bytes::Bytes;
use dialtone_shared::Name;
use dialtone_shared::message::{Refused, Request, Response};
use dialtone_shared::proof::{Proof, Subject, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};
use tracing::{debug, error, warn};

/// The proofs of one provider.
pub struct Evidence {
    store: Arc<dyn RecordStore>,
    clock: Arc<dyn Clock>,
    own: Name,
    /// What the store meets, from the moment of opening on.
    twins: tokio::sync::Mutex<broadcast::Receiver<Arc<Twins>>>,
    /// Held while proofs are filed, one lot after another.
    tally: tokio::sync::Mutex<Tally>,
    /// The number of the next proof.
    next: watch::Sender<u64>,
    counts: Counts,
    /// Peers that told us of wrongs that were none.
    liars: Mutex<BTreeMap<Name, (u64, Instant)>>,
}

/// What was counted since the start.
#[derive(Debug, Default)]
struct Counts {
    equivocations: AtomicU64,
    promises: AtomicU64,
    dropped: AtomicU64,
    invalid: AtomicU64,
    kept: AtomicU64,
}

/// What was counted since the start, at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EvidenceCounts {
    /// Equivocations that were filed.
    pub equivocations: u64,
    /// Broken promises that were filed.
    pub promises: u64,
    /// Proofs that there was no room for.
    pub dropped: u64,
    /// What peers sent as proofs and proves nothing.
    pub invalid: u64,
    /// Proofs kept now, those from before the start too.
    pub kept: u64,
}

/// A proof that holds, with what it is about.
#[derive(Clone, Debug)]
struct Found {
    proof: Proof,
    subject: Subject,
    says: String,
}

impl Evidence {
    /// Opens what `store` keeps; `own` is the provider's name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(store: Arc<dyn RecordStore>, clock: Arc<dyn Clock>, own: Name) -> Result<Arc<Self>, StoreError> {
        let twins = store.twins();
        let note = store.note(TALLY).await?;
        // What does not read back was never written by us: begin anew.
        let tally = note.and_then(|note| Tally::decode(&note).ok()).unwrap_or_default();
        Ok(Arc::new(Self {
            store,
            clock,
            own,
            twins: tokio::sync::Mutex::new(twins),
            next: watch::Sender::new(tally.next),
            tally: tokio::sync::Mutex::new(tally),
            counts: Counts {
                kept: AtomicU64::new(tally.kept),
                ..Counts::default()
            },
            liars: Mutex::default(),
        }))
    }

    /// Files every pair that the store meets, until `stopping` turns true.
    pub async fn watch(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut twins = self.twins.lock().await;
        loop {
            let first = tokio::select! {
                first = twins.recv() => first,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            let mut pairs = match first {
                Ok(pair) => vec![pair],
                Err(RecvError::Lagged(missed)) => {
                    self.missed(missed);
                    Vec::new()
                }
                Err(RecvError::Closed) => return,
            };
            while pairs.len() < FILED_AT_ONCE {
                match twins.try_recv() {
                    Ok(pair) => pairs.push(pair),
                    Err(TryRecvError::Lagged(missed)) => self.missed(missed),
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            let found = pairs.iter().filter_map(|pair| of_twins(pair)).collect();
            if let Err(error) = self.file(found).await {
                warn!(%error, "proofs that a name said two things could not be filed");
            }
        }
    }

    fn missed(&self, missed: u64) {
        self.counts.dropped.fetch_add(missed, Ordering::Relaxed);
        warn!(missed, "more names said two things at once than could be filed");
    }

    /// Files what is not filed yet; says how many that were.
    async fn file(&self, found: Vec<Found>) -> Result<usize, StoreError> {
        let mut tally = self.tally.lock().await;
        let mut after = *tally;
        let now = self.clock.now().secs();
        let (mut notes, mut seen, mut new) = (Vec::new(), BTreeSet::new(), Vec::new());
        for found in found {
            let key = key(&found.subject);
            if !seen.insert(key.clone()) || self.store.note(&key).await?.is_some() {
                continue;
            }
            let of_one = self.store.notes(&keys(&found.subject.of), PROOFS_OF_ONE_MAX).await?.len()
                + new.iter().filter(|other: &&Found| other.subject.of == found.subject.of).count();
            if of_one >= PROOFS_OF_ONE_MAX {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if after.kept >= PROOFS_MAX {
                after.kept -= self.throw_away(now.0.saturating_sub(PROOF_KEPT_SECS), &mut notes).await?;
            }
            if after.kept >= PROOFS_MAX {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let filed = Filed {
                number: after.next,
                at: now,
                proof: found.proof.encode(),
            };
            notes.push((number_key(after.next), Some(key["proof/".len()..].to_vec())));
            notes.push((key, Some(filed.encode())));
            after = Tally {
                next: after.next + 1,
                kept: after.kept + 1,
            };
            new.push(found);
        }
        if new.is_empty() {
            return Ok(0);
        }
        notes.push((TALLY.to_vec(), Some(after.encode())));
        self.store.set_notes(notes).await?;
        *tally = after;
        self.counts.kept.store(after.kept, Ordering::Relaxed);
        self.next.send_replace(after.next);
        for found in &new {
            let (counter, what) = match found.proof {
                Proof::Equivocation { .. } => (&self.counts.equivocations, "equivocation"),
                Proof::BrokenPromise { .. } => (&self.counts.promises, "broken-promise"),
            };
            counter.fetch_add(1, Ordering::Relaxed);
            // The alarm, once: whoever has the proof needs no second one.
            error!(of = %found.subject.of, what, "a wrong is proved: {}", found.says);
        }
        Ok(new.len())
    }

    /// Marks the oldest proof for removal if it was filed before `before`; how many were.
    async fn throw_away(&self, before: u64, notes: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<u64, StoreError> {
        let gone = notes.iter().filter(|(_, value)| value.is_none()).count() / 2;
        let oldest = self.store.notes(NUMBERS, gone + 1).await?;
        let Some((number, subject)) = oldest.into_iter().nth(gone) else {
            return Ok(0);
        };
        let key = [&b"proof/"[..], &subject].concat();
        let filed = self.store.note(&key).await?.and_then(|note| Filed::decode(&note).ok());
        if filed.is_some_and(|filed| filed.at.0 >= before) {
            return Ok(0);
        }
        notes.push((number, None));
        notes.push((key, None));
        Ok(1)
    }

    /// Files a proof that somebody brings, if it holds.
    ///
    /// # Errors
    /// Why it is not believed, in words.
    pub async fn bring(&self, proof: Proof) -> Result<bool, String> {
        let found = check(proof).await?;
        self.file(vec![found]).await.map(|new| new > 0).map_err(|error| error.to_string())
    }

    /// What a peer tells us: what is news and holds is filed.
    pub async fn told(&self, peer: &Name, proofs: Vec<Bytes>) -> Response {
        if self.lies(peer, 0) {
            return Response::Refused(Refused::Limit);
        }
        let (mut found, mut wrong) = (Vec::new(), 0);
        for bytes in proofs {
            let known = match Proof::decode(&bytes).and_then(|proof| Ok((evidence::in_scope(&proof, &self.own)?, proof.subject()?, proof)))
            {
                Ok((false, _, _)) => continue,
                Ok((true, subject, proof)) => self.store.note(&key(&subject)).await.map(|note| (note.is_some(), proof)),
                Err(error) => {
                    debug!(%peer, %error, "a proof proves nothing");
                    wrong += 1;
                    continue;
                }
            };
            match known {
                Ok((true, _)) => {}
                Ok((false, proof)) => match check(proof).await {
                    Ok(one) => found.push(one),
                    Err(error) => {
                        debug!(%peer, error, "a proof proves nothing");
                        wrong += 1;
                    }
                },
                Err(_) => return Response::Refused(Refused::Busy),
            }
        }
        self.counts.invalid.fetch_add(wrong, Ordering::Relaxed);
        self.lies(peer, wrong);
        match self.file(found).await {
            Ok(_) => Response::Noted,
            Err(error) => {
                warn!(%error, "what a peer proved could not be filed");
                Response::Refused(Refused::Busy)
            }
        }
    }

    /// Whether a peer has told us of too many wrongs that were none of late, counting `more` now.
    fn lies(&self, peer: &Name, more: u64) -> bool {
        let mut liars = self.liars.lock().unwrap_or_else(PoisonError::into_inner);
        liars.retain(|_, (_, since)| since.elapsed() < REDIAL_QUARANTINE);
        if more > 0 {
            liars.entry(*peer).or_insert((0, Instant::now())).0 += more;
        }
        liars.get(peer).is_some_and(|(count, _)| *count >= INVALID_RECORDS_MAX)
    }

    /// At most `limit` proofs after number `after`, in order; only those against `of`, if it is given.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, of: Option<&Name>, after: u64, limit: usize) -> Result<Vec<Filed>, StoreError> {
        if let Some(of) = of {
            let notes = self.store.notes(&keys(of), PROOFS_OF_ONE_MAX).await?;
            let mut filed: Vec<Filed> = notes.iter().filter_map(|(_, value)| Filed::decode(value).ok()).collect();
            filed.retain(|filed| filed.number > after);
            filed.sort_by_key(|filed| filed.number);
            filed.truncate(limit);
            return Ok(filed);
        }
        let mut filed = Vec::new();
        let next = *self.next.borrow();
        // The oldest go first, so those that are kept have the last numbers.
        let first = next.saturating_sub(self.counts().kept);
        for number in after.saturating_add(1).max(first)..next {
            if filed.len() >= limit {
                break;
            }
            filed.extend(self.numbered(number).await?);
        }
        Ok(filed)
    }

    /// The proof of a number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn numbered(&self, number: u64) -> Result<Option<Filed>, StoreError> {
        let Some(subject) = self.store.note(&number_key(number)).await? else {
            return Ok(None);
        };
        let note = self.store.note(&[&b"proof/"[..], &subject].concat()).await?;
        Ok(note.and_then(|note| Filed::decode(&note).ok()))
    }

    /// What was counted.
    pub fn counts(&self) -> EvidenceCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EvidenceCounts {
            equivocations: of(&self.counts.equivocations),
            promises: of(&self.counts.promises),
            dropped: of(&self.counts.dropped),
            invalid: of(&self.counts.invalid),
            kept: of(&self.counts.kept),
        }
    }

    /// Tells every peer of every proof, once: at once while the link stands, and what it missed when it is back. Until `stopping` turns true.
    pub async fn spread(self: Arc<Self>, peering: Arc<PeeringHandle>, mut stopping: watch::Receiver<bool>) {
        let mut next = self.next.subscribe();
        let mut peers: BTreeMap<(Name, Option<[u8; 16]>), Told> = BTreeMap::new();
        loop {
            let last = next.borrow_and_update().saturating_sub(1);
            let up = peering.peers().into_iter().filter(|peer| peer.state == LinkState::Up);
            for (peer, node) in up.flat_map(|peer| whom(&self.own, &peer)) {
                let told = peers.entry((peer, node)).or_default();
                if let Err(why) = self.tell(&peering, (&peer, node.as_ref()), told, last).await {
                    debug!(%peer, why, "a peer could not be told of a proof; later again");
                }
            }
            tokio::select! {
                _ = next.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    /// Tells a peer of everything up to number `last` that it was not told.
    async fn tell(
        &self,
        peering: &PeeringHandle,
        (peer, node): (&Name, Option<&[u8; 16]>),
        told: &mut Told,
        last: u64,
    ) -> Result<(), String> {
        let note = told_key(peer, &self.store.id(), node);
        let Some(way) = peering.agreements().get(peer).map(Agreement::way) else {
            return Ok(());
        };
        let filter = way.filter.mark();
        let mut at = match told.number {
            Some((number, under)) if under == filter => number,
            // What one filter let pass says nothing of what it kept back and another lets pass.
            Some(_) => 0,
            None => {
                let kept = self.store.note(&note).await.map_err(|error| error.to_string())?;
                kept.map_or(0, |kept| evidence::told_under(&kept, filter))
            }
        };
        told.number = Some((at, filter));
        while at < last && told.rests_until.is_none_or(|until| Instant::now() >= until) {
            let filed = self.list(None, at, TOLD_AT_ONCE).await.map_err(|error| error.to_string())?;
            let reached = filed.last().map_or(last, |filed| filed.number);
            let mut proofs = Vec::with_capacity(filed.len());
            for filed in filed {
                let proof = Proof::decode(&filed.proof).map_err(|error| error.to_string())?;
                if evidence::passes(&proof, &way).map_err(|error| error.to_string())? {
                    proofs.push(Bytes::from(filed.proof));
                }
            }
            if !proofs.is_empty() {
                let request = Request::Proofs(proofs);
                let answered = match node {
                    Some(node) => peering.request_of(peer, node, request, PATIENCE).await,
                    None => peering.request(peer, request, PATIENCE).await,
                };
                match answered {
                    Ok(Response::Noted) => {}
                    otherwise => {
                        told.rests_until = Some(Instant::now() + RETRY);
                        return Err(match otherwise {
                            Ok(other) => format!("it answered {other:?}"),
                            Err(error) => error.to_string(),
                        });
                    }
                }
            }
            at = reached;
            told.number = Some((at, filter));
            let saved = vec![(note.clone(), Some(evidence::told_note(at, filter)))];
            self.store.set_notes(saved).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence").field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// Whom of a peer to tell: whichever node is reached, for they tell each other; of our own nodes each.
fn whom(own: &Name, peer: &PeerStatus) -> Vec<(Name, Option<[u8; 16]>)> {
    if peer.name != *own {
        return vec![(peer.name, None)];
    }
    let nodes = peer.links.iter().filter_map(|link| link.node);
    nodes.map(|node| (peer.name, Some(node))).collect()
}

/// How far a peer was told.
#[derive(Debug, Default)]
struct Told {
    /// Up to which number, and under which filter.
    number: Option<(u64, u64)>,
    rests_until: Option<Instant>,
}

/// What a pair proves: both were verified when they were put.
fn of_twins(pair: &Twins) -> Option<Found> {
    let proof = Proof::of_twins(&pair.held, &pair.put)?;
    let (held, put) = (*pair.held.rank(), *pair.put.rank());
    let (lesser, greater) = if pair.put.outranks(&pair.held) { (held, put) } else { (put, held) };
    let name = *pair.held.name();
    Some(Found {
        proof,
        subject: Subject::of_record(&name, &held),
        says: Verdict::Equivocation { name, lesser, greater }.to_string(),
    })
}

/// Checks a proof, away from the threads that must not wait: two signatures.
async fn check(proof: Proof) -> Result<Found, String> {
    let checked = tokio::task::spawn_blocking(move || {
        let says = proof.check().map_err(|error| error.to_string())?.to_string();
        let subject = proof.subject().map_err(|error| error.to_string())?;
        Ok(Found { proof, subject, says })
    });
    checked.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Pairs filed in one commit.
const FILED_AT_ONCE: usize = 256;
/// Proofs in one request: what fits it at the largest.
const TOLD_AT_ONCE: usize = 5;
const _: () = assert!(TOLD_AT_ONCE * (dialtone_shared::proof::PROOF_BYTES_MAX + 8) + 16 <= crate::io::peering::requests::REQUEST_BYTES_MAX);
/// How often it is looked whether a peer is back.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a peer may take to note some proofs: two signatures each, and a commit.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a peer that would not listen is left alone.
const RETRY: Duration = Duration::from_secs(30);
