//! Second opinions: whether a peer has what we gave it, and whether we have what it should have given us. One name at a time, drawn by lot.
//!
//! ```text
//! drawn ─▶ asked ─▶ agrees                                          nothing more
//!                └▶ lacks it, or holds less ─▶ asked again later ─▶ still so: a finding
//!                └▶ holds more ─────────────▶ asked again later ─▶ we still lack it: a finding
//! ```
//!
//! Only what must be so is held against a peer: what our feed pushed to it and it acknowledged, while it says that it takes all. A name that
//! is on its way looks like one withheld; so it is asked for twice, with time between, and our side is looked at anew each time.

use super::health::{LinkState, PeerStatus};
use super::policy;
use crate::store::Held;
use dialtone_shared::message::{Mode, Relationship};
use dialtone_shared::{Rank, UnixSecs};
use std::cmp::Ordering;

/// What a second opinion comes to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Finding {
    /// The peer holds what we hold.
    Agrees,
    /// The peer acknowledged the record, and has nothing of the name.
    Withheld,
    /// The peer acknowledged the record, and has an older one.
    Stale,
    /// The peer has a newer record, and did not push it to us as agreed.
    KeptBack,
    /// Nothing can be said: nothing binds the peer, or it is still on its way.
    Open,
}

impl Finding {
    /// Whether it is held against the peer, if it is found twice.
    pub fn is_wrong(self) -> bool {
        matches!(self, Self::Withheld | Self::Stale | Self::KeptBack)
    }

    /// As metrics and logs call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Withheld => "withheld",
            Self::Stale => "stale",
            Self::KeptBack => "kept-back",
            Self::Open => "open",
        }
    }
}

/// Whether the peer must hold what we hold: it was pushed by value, acknowledged, and within everything that was agreed.
pub fn must_hold(peer: &PeerStatus, held: &Held, now: UnixSecs) -> bool {
    peer.state == LinkState::Up
        && peer.pushes() == Some(Mode::Values)
        && peer.progress.sent_all
        && peer.theirs.as_ref().is_some_and(|theirs| theirs.takes_all)
        // What has expired is kept as a floor, and not shown.
        && !held.is_stale(now)
        && peer.theirs.as_ref().is_some_and(|theirs| {
            let way = peer.agreement.way_within(theirs.schemes);
            (theirs.filter == 0 || theirs.filter == peer.agreement.filter.mark()) && policy::sends(held, &way, true, now)
        })
}

/// Whether the peer must have pushed us everything that it holds: by value, and whatever it learnt from whom.
pub fn must_push(peer: &PeerStatus) -> bool {
    let everything = matches!(
        peer.agreement.relationship,
        Relationship::Mutual | Relationship::Sibling | Relationship::Upstream
    );
    everything
        && peer.state == LinkState::Up
        // What a filter of either side keeps from us may be of any name.
        && peer.agreement.filter.mark() == 0
        && peer.theirs.as_ref().is_some_and(|theirs| theirs.passing() == 0)
        && peer.accepts() == Some(Mode::Values)
        && peer.progress.received_all
        && !peer.brought.refusing
}

/// What a peer's answer comes to: `theirs` is the rank of the record that it showed, if it showed any, and `ours` of what we hold now.
pub fn judge(peer: &PeerStatus, held: &Held, theirs: Option<&Rank>, now: UnixSecs) -> Finding {
    let ours = held.record.rank();
    match theirs.map(|theirs| theirs.order().cmp(&ours.order())) {
        Some(Ordering::Equal) => Finding::Agrees,
        Some(Ordering::Greater) if must_push(peer) => Finding::KeptBack,
        Some(Ordering::Less) if must_hold(peer, held, now) => Finding::Stale,
        None if must_hold(peer, held, now) => Finding::Withheld,
        Some(Ordering::Greater | Ordering::Less) | None => Finding::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peering::agreement::{Agreement, Filter};
    use crate::peering::health::Progress;
    use crate::store::Class;
    use dialtone_shared::message::Terms;
    use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, SignedRecord, Ttl, UnixMicros};

    const NOW: UnixSecs = UnixSecs(1_800_000_000);

    fn peer() -> PeerStatus {
        let name = Name::key_set([1; 32]);
        PeerStatus {
            name,
            agreement: Agreement::mutual(name, Vec::new()),
            theirs: Some(Terms::mutual()),
            state: LinkState::Up,
            address: None,
            last_error: None,
            last_code: None,
            progress: Progress {
                sent_all: true,
                received_all: true,
                ..Progress::default()
            },
            brought: Default::default(),
            links: Vec::new(),
        }
    }

    fn held(scope: Vec<Name>) -> Held {
        let secret = SecretKey::from_seed(&[1; 32]);
        let record = Record {
            genesis: Genesis::of(secret.public()),
            chain: Vec::new(),
            sequence: NOW.micros(),
            scope,
            body: Body::Live {
                expiry: NOW.plus(1_000),
                ttl: Ttl(60),
                bindings: Vec::new(),
            },
        };
        Held {
            record: SignedRecord::sign(record, &secret).unwrap().verify().unwrap(),
            class: Class::Customer,
            keep_until: NOW.plus(1_000),
            from: None,
            account: None,
        }
    }

    fn shut_out() -> Filter {
        Filter::new(Default::default(), [*held(Vec::new()).record.name()].into(), true)
    }

    fn rank(sequence: u64) -> Rank {
        Rank {
            sequence: UnixMicros(sequence),
            ..*held(Vec::new()).record.rank()
        }
    }

    #[test]
    fn a_peer_that_hides_or_holds_back_is_told_from_one_that_agrees() {
        let (peer, held, at) = (peer(), held(Vec::new()), NOW.micros().0);
        assert_eq!(judge(&peer, &held, Some(&rank(at)), NOW), Finding::Agrees);
        assert_eq!(judge(&peer, &held, None, NOW), Finding::Withheld);
        assert_eq!(judge(&peer, &held, Some(&rank(at - 1)), NOW), Finding::Stale);
        assert_eq!(judge(&peer, &held, Some(&rank(at + 1)), NOW), Finding::KeptBack);
    }

    #[test]
    fn nothing_is_held_against_a_peer_that_is_not_bound_to_it() {
        let change = |change: fn(&mut PeerStatus)| {
            let mut peer = peer();
            change(&mut peer);
            peer
        };
        let unbound = [
            change(|peer| peer.progress.sent_all = false),
            change(|peer| peer.agreement.push = Mode::Pointers),
            change(|peer| peer.theirs = None),
            change(|peer| {
                peer.theirs = Some(Terms {
                    takes_all: false,
                    ..Terms::mutual()
                })
            }),
            change(|peer| peer.agreement.filter = shut_out()),
            change(|peer| {
                peer.theirs = Some(Terms {
                    filter: shut_out().mark(),
                    ..Terms::mutual()
                })
            }),
            change(|peer| peer.state = LinkState::BackingOff),
        ];
        for peer in unbound {
            assert_eq!(judge(&peer, &held(Vec::new()), None, NOW), Finding::Open, "{peer:?}");
        }
        let elsewhere = held(vec![Name::key_set([9; 32])]);
        assert_eq!(
            judge(&peer(), &elsewhere, None, NOW),
            Finding::Open,
            "its scope keeps it from the peer"
        );
        assert_eq!(
            judge(&peer(), &held(Vec::new()), None, NOW.plus(2_000)),
            Finding::Open,
            "its lease is over"
        );
        let newer = rank(NOW.micros().0 + 1);
        let free = [
            change(|peer| peer.progress.received_all = false),
            change(|peer| peer.agreement.accept = Mode::Digest),
            change(|peer| peer.agreement.relationship = Relationship::Peer),
            change(|peer| peer.brought.refusing = true),
            change(|peer| peer.agreement.filter = shut_out()),
        ];
        for peer in free {
            assert_eq!(judge(&peer, &held(Vec::new()), Some(&newer), NOW), Finding::Open, "{peer:?}");
        }
    }
}
