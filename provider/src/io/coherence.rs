//! Watches the links: what is known of the peers' own knowledge, what is told to them of ours, and whether absences are certain.

use crate::io::peering::PeeringHandle;
use crate::peering::ask::neighbours::Neighbours;
use crate::peering::ask::whom::{self, Behalf, View};
use crate::peering::health::{LinkState, PeerStatus};
use crate::store::{RecordStore, StoreError};
use dialtone_shared::Name;
use dialtone_shared::message::Mode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Watches the links.
#[derive(Debug)]
pub struct Links {
    peering: Arc<PeeringHandle>,
    store: Arc<dyn RecordStore>,
    began: Instant,
    seen: Mutex<Seen>,
    whole: AtomicBool,
}

#[derive(Debug, Default)]
struct Seen {
    neighbours: Neighbours,
    looked: Option<Instant>,
    /// What is noted of [`Neighbours::was_whole`].
    noted: bool,
}

impl Links {
    /// Watches the links of `peering`, whose `store` notes whether we had all that our provider holds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(peering: Arc<PeeringHandle>, store: Arc<dyn RecordStore>) -> Result<Self, StoreError> {
        // A backup carries notes too, and what is restored from it may lack what came after.
        let noted = store.note(NOTE).await?.is_some_and(|of| of == store.id());
        let neighbours = if noted {
            Neighbours::of_a_whole_node()
        } else {
            Neighbours::default()
        };
        let seen = Seen {
            neighbours,
            looked: None,
            noted,
        };
        let links = Self {
            peering,
            store,
            began: Instant::now(),
            seen: Mutex::new(seen),
            whole: AtomicBool::new(false),
        };
        links.look();
        Ok(links)
    }

    /// Looks at the links again and again: under load they are caught up for moments only, which must be seen. Tells the log of
    /// a doubt that lasts: one peer that is away for good leaves every name that is not held here without an answer.
    pub async fn watch(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut told = Told::default();
        loop {
            self.look();
            self.note().await;
            match told.of(self.doubt().is_some(), Instant::now()) {
                Some(true) => tracing::warn!(
                    "names that are not held here are answered with SERVFAIL and 503, since a peer may hold them: {}",
                    reasons(&self.peering.peers())
                ),
                Some(false) => tracing::info!("every peer has caught up: names that are not held here are answered as absent again"),
                None => {}
            }
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Notes what has changed. Where that fails it is as if it had not changed; the disk has said so elsewhere.
    async fn note(&self) {
        let news = {
            let mut seen = self.seen();
            let whole = seen.neighbours.was_whole();
            (std::mem::replace(&mut seen.noted, whole) != whole).then_some(whole)
        };
        if let Some(whole) = news
            && let Err(error) = self
                .store
                .set_notes(vec![(NOTE.to_vec(), whole.then(|| self.store.id().to_vec()))])
                .await
        {
            tracing::warn!("it could not be noted whether all that our other nodes hold is here: {error}");
        }
    }

    /// How the peers stand for a name, or for any name that has a certain tag.
    pub fn views(&self, name: Option<&Name>) -> Vec<View> {
        let fresh = self.seen().looked.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN);
        if !fresh {
            self.look();
        }
        let seen = self.seen();
        match name {
            Some(name) => seen.neighbours.views_of(name),
            None => seen.neighbours.views_of_tag(),
        }
    }

    /// Whether what is held is the newest there is, as long as it is held: nobody has to be asked about it.
    pub fn are_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    /// Since when times are told here.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn look(&self) {
        let peers = self.peering.peers();
        let (inbound, whole) = {
            let mut seen = self.seen();
            seen.neighbours.look(self.began.elapsed(), &peers);
            seen.looked = Some(Instant::now());
            (seen.neighbours.inbound(), seen.neighbours.are_whole())
        };
        self.whole.store(whole, Ordering::Relaxed);
        self.peering.reaches(inbound);
    }

    /// Why an absence of a name of which no digest and no pointer speaks is not certain, whoever is asked.
    fn doubt(&self) -> Option<String> {
        let mut views = self.seen().neighbours.views();
        for view in &mut views {
            view.digest = (view.linked && view.pushes == Mode::Digest).then_some(false);
        }
        whom::plan(Behalf::Client, &[], None, &views, false).doubt
    }

    /// A panic elsewhere leaves an older look: still good.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the log has been told of.
#[derive(Default, Debug)]
struct Told {
    since: Option<Instant>,
    doubt: bool,
}

impl Told {
    /// What to tell it at `now`, when there is `doubt`: `true` that there is, `false` that it is over. What passes by itself is not told.
    fn of(&mut self, doubt: bool, now: Instant) -> Option<bool> {
        if !doubt {
            self.since = None;
            return std::mem::take(&mut self.doubt).then_some(false);
        }
        let since = *self.since.get_or_insert(now);
        let lasts = now.duration_since(since) >= TELL_AFTER;
        (lasts && !std::mem::replace(&mut self.doubt, lasts)).then_some(true)
    }
}

/// Which peers have not told us everything, and why as far as is known: for the operator, whom addresses concern.
fn reasons(peers: &[PeerStatus]) -> String {
    let behind = peers
        .iter()
        .filter(|peer| peer.state != LinkState::Up || !peer.progress.received_all);
    let reason = |peer: &PeerStatus| {
        let why = peer
            .last_error
            .as_deref()
            .unwrap_or("it has not been heard yet, check that it runs and lists us");
        match peer.state {
            LinkState::Up if peer.brought.refusing => {
                format!(
                    "{} has more names for us than its agreement allows: raise its `names` or its rates",
                    peer.name
                )
            }
            LinkState::Up => format!("{} is still catching us up", peer.name),
            LinkState::Awaited | LinkState::Dialling | LinkState::BackingOff => format!("no link with {}: {why}", peer.name),
        }
    };
    behind.map(reason).collect::<Vec<_>>().join("; ")
}

/// The note that stands in the store of a node that once had all that its provider holds: the store's id.
const NOTE: &[u8] = b"whole";

/// How often links are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How old a look may be that a question is asked by: what a flood of questions for names that nobody has would otherwise spend its time on.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long a doubt lasts before the log is told: longer than links need to come up after a start.
const TELL_AFTER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peering::agreement::Agreement;
    use crate::peering::health::Progress;

    #[test]
    fn a_doubt_that_lasts_is_told_once_and_so_is_its_end() {
        let (start, mut told) = (Instant::now(), Told::default());
        let mut at = |secs: u64, doubt: bool| told.of(doubt, start + Duration::from_secs(secs));
        assert_eq!([at(0, true), at(9, true), at(9, false)], [None; 3], "a start is no news");
        assert_eq!(
            [at(20, true), at(29, true), at(30, true), at(31, true)],
            [None, None, Some(true), None]
        );
        assert_eq!([at(99, false), at(100, false)], [Some(false), None]);
    }

    #[test]
    fn the_log_says_which_peer_is_away_and_why() {
        let peer = |index, state, last_error: Option<&str>, received_all| {
            let name = Name::key_set([index; 32]);
            PeerStatus {
                brought: Default::default(),
                links: Vec::new(),
                name,
                agreement: Agreement::mutual(name, Vec::new()),
                theirs: None,
                state,
                address: None,
                last_error: last_error.map(str::to_owned),
                last_code: None,
                progress: Progress {
                    received_all,
                    ..Progress::default()
                },
            }
        };
        let away = peer(1, LinkState::BackingOff, Some("no answer within 10 s"), false);
        let said = reasons(&[peer(2, LinkState::Up, None, true), away]);
        assert_eq!(said, format!("no link with {}: no answer within 10 s", Name::key_set([1; 32])));
    }
}
