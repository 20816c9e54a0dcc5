//! Whether our peers have told us all they have: only then is what we do not hold held by nobody.

use crate::io::peering::PeeringHandle;
use crate::peering::health::{LinkState, PeerStatus};
use crate::service::get::Coherence;
use dialtone_shared::Name;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Watches the links.
#[derive(Debug)]
pub struct Links {
    peering: Arc<PeeringHandle>,
    caught_up: Mutex<CaughtUp>,
}

/// When each peer was last known to have told us everything.
type CaughtUp = BTreeMap<Name, Instant>;

impl Links {
    /// Watches the links of `peering`.
    pub fn new(peering: Arc<PeeringHandle>) -> Self {
        Self {
            peering,
            caught_up: Mutex::default(),
        }
    }

    /// Looks at the links again and again: under load they are caught up for moments only, which must be seen. Tells the log of
    /// a doubt that lasts: one peer that is away for good leaves every name that is not held here without an answer.
    pub async fn watch(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut told = Told::default();
        loop {
            match told.of(self.look().is_some(), Instant::now()) {
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

    fn look(&self) -> Option<String> {
        let mut caught_up = self.caught_up.lock().unwrap_or_else(PoisonError::into_inner);
        doubt(&self.peering.peers(), &mut caught_up, Instant::now())
    }
}

impl Coherence for Links {
    fn doubt(&self) -> Option<String> {
        self.look()
    }
}

/// Takes in how the links are at `now`, and says why something may be missing here.
fn doubt(peers: &[PeerStatus], caught_up: &mut CaughtUp, now: Instant) -> Option<String> {
    let mut why = None;
    for peer in peers {
        if peer.state == LinkState::Up && peer.progress.received_all {
            caught_up.insert(peer.name, now);
        } else if caught_up.get(&peer.name).is_none_or(|last| now.duration_since(*last) > GRACE) {
            let state = if peer.state == LinkState::Up {
                "has not caught up"
            } else {
                "does not stand"
            };
            why = why.or_else(|| Some(format!("the link with the peer {} {state}, and it may hold the name", peer.name)));
        }
    }
    why
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
    let behind = peers.iter().filter(|peer| !peer.progress.received_all);
    let reason = |peer: &PeerStatus| {
        let why = peer
            .last_error
            .as_deref()
            .unwrap_or("it has not been heard yet, check that it runs and lists us");
        match peer.state {
            LinkState::Up => format!("{} is still catching us up", peer.name),
            LinkState::Awaited | LinkState::Dialling | LinkState::BackingOff => format!("no link with {}: {why}", peer.name),
        }
    };
    behind.map(reason).collect::<Vec<_>>().join("; ")
}

/// How often links are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long ago a peer may have told us everything: as long as an absence may be believed, so that caches would be no fresher.
const GRACE: Duration = Duration::from_secs(crate::settings::NEGATIVE_TTL_SECS as u64);
/// How long a doubt lasts before the log is told: longer than links need to come up after a start.
const TELL_AFTER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peering::agreement::Agreement;
    use crate::peering::health::Progress;

    fn peer(state: LinkState, received_all: bool) -> PeerStatus {
        PeerStatus {
            name: Name::key_set([1; 32]),
            agreement: Agreement::mutual(Name::key_set([1; 32]), Vec::new()),
            theirs: None,
            state,
            address: None,
            last_error: None,
            progress: Progress {
                received_all,
                ..Progress::default()
            },
        }
    }

    #[test]
    fn an_absence_is_certain_only_shortly_after_every_peer_was_caught_up() {
        let (start, mut seen) = (Instant::now(), CaughtUp::new());
        let mut certain = |peer: PeerStatus, secs: u64| doubt(&[peer], &mut seen, start + Duration::from_secs(secs)).is_none();
        assert!(!certain(peer(LinkState::Dialling, false), 0), "nothing has been heard yet");
        assert!(!certain(peer(LinkState::Up, false), 1));
        assert!(certain(peer(LinkState::Up, true), 2));
        assert!(certain(peer(LinkState::Up, false), 4), "a batch is on its way");
        assert!(
            certain(peer(LinkState::BackingOff, false), 7),
            "a link that breaks is given a moment"
        );
        assert!(!certain(peer(LinkState::BackingOff, false), 8));
        assert!(certain(peer(LinkState::Up, true), 9));
    }

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
        let away = PeerStatus {
            last_error: Some("no answer within 10 s".to_owned()),
            ..peer(LinkState::BackingOff, false)
        };
        let said = reasons(&[peer(LinkState::Up, true), away]);
        assert_eq!(said, format!("no link with {}: no answer within 10 s", Name::key_set([1; 32])));
    }

    #[test]
    fn without_peers_there_is_no_doubt() {
        assert_eq!(doubt(&[], &mut CaughtUp::new(), Instant::now()), None);
    }
}
