//! What the peer has just sent us and we hold as well: it need not be told.
//!
//! Where all are linked with all, what one sends to all reaches each of them, and each passes it on to all others: (N − 1)² messages for what N − 1
//! would do. What gathers for a while before it is passed on (see `io::peering::pace`) meets what the peer passes on meanwhile, and of each two
//! one need not speak. Nothing depends on it: what is forgotten here is sent, and dropped there.

use super::intake::Terms;
use super::limits::ALIKE_MAX;
use crate::store::{Class, Held};
use dialtone_shared::message::{Pointer, Relationship, Value};
use dialtone_shared::{SignedRecord, UnixSecs};
use std::collections::{HashMap, VecDeque};

/// A record that both sides hold: its digest, and until when the peer keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alike {
    digest: [u8; 32],
    keep_until: UnixSecs,
}

/// Whether what the peer sends shows that it holds all that we would tell it of this record: the same bytes, kept as long, and learnt no
/// further off than from us. What a customer or an upstream is told also says what it is to us, and siblings tell each other everything.
pub fn alike(terms: &Terms, value: &Value, signed: &SignedRecord, held: Option<&Held>) -> Option<Alike> {
    let held = held.filter(|held| held.record.bytes() == signed.bytes())?;
    let equals = matches!(terms.relationship, Relationship::Mutual | Relationship::Peer);
    let knows = equals && value.class >= Class::Peer as u8 && value.keep_until.day() >= held.keep_until.day();
    knows.then_some(Alike {
        digest: held.record.rank().digest,
        keep_until: value.keep_until,
    })
}

/// The same of an offer.
pub fn offered(terms: &Terms, offer: &Pointer, held: Option<&Held>) -> Option<Alike> {
    let held = held.filter(|held| terms.offered && held.record.rank().digest.starts_with(&offer.digest))?;
    (offer.keep_until.day() >= held.keep_until.day()).then_some(Alike {
        digest: held.record.rank().digest,
        keep_until: offer.keep_until,
    })
}

/// What the peer has shown of late: at most [`ALIKE_MAX`] records.
#[derive(Debug, Default)]
pub struct Shown {
    by_digest: HashMap<[u8; 32], UnixSecs>,
    order: VecDeque<[u8; 32]>,
}

impl Shown {
    /// The peer has shown these.
    pub fn add(&mut self, shown: impl IntoIterator<Item = Alike>) {
        for Alike { digest, keep_until } in shown {
            if self.by_digest.insert(digest, keep_until).is_none() {
                self.order.push_back(digest);
            }
            if self.order.len() > ALIKE_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_digest.remove(&oldest);
            }
        }
    }

    /// Whether the peer has what is held, for as long.
    pub fn has(&self, held: &Held) -> bool {
        let kept = self.by_digest.get(&held.record.rank().digest);
        kept.is_some_and(|keep_until| keep_until.day() >= held.keep_until.day())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peering::agreement::{Filter, Way};
    use crate::peering::feed::Feed;
    use crate::peering::step::Moment;
    use crate::store::{Change, Lane};
    use dialtone_shared::message::{Ack, Counts, Entry, Mode};
    use dialtone_shared::{Body, Genesis, Name, Record, SecretKey, Ttl};
    use std::time::Duration;

    const NOW: UnixSecs = UnixSecs(1_800_000_000);
    const DAY: u64 = 86_400;

    fn held(seed: u16, days: u64) -> Held {
        let mut bytes = [9; 32];
        bytes[..2].copy_from_slice(&seed.to_be_bytes());
        let secret = SecretKey::from_seed(&bytes);
        let record = Record {
            genesis: Genesis::of(secret.public()),
            chain: Vec::new(),
            sequence: NOW.micros(),
            scope: Vec::new(),
            body: Body::Live {
                expiry: NOW.plus(90 * DAY),
                ttl: Ttl(60),
                bindings: Vec::new(),
            },
        };
        Held {
            record: SignedRecord::sign(record, &secret).unwrap().verify().unwrap(),
            class: Class::Peer,
            keep_until: NOW.plus(days * DAY),
            from: None,
            account: None,
        }
    }

    fn shows(relationship: Relationship, class: u8, days: u64, sent: &Held, ours: Option<&Held>) -> Option<Alike> {
        let terms = Terms {
            own: Name::key_set([1; 32]),
            peer: Name::key_set([2; 32]),
            relationship,
            takes_new: true,
            accepts: Mode::Values,
            filter: Filter::default(),
            alone: true,
            offered: false,
        };
        let value = Value {
            class,
            keep_until: NOW.plus(days * DAY),
            record: sent.record.bytes().clone(),
            path: Default::default(),
        };
        let signed = SignedRecord::decode(value.record.clone()).unwrap();
        alike(&terms, &value, &signed, ours)
    }

    #[test]
    fn a_peer_that_sends_what_we_hold_need_not_be_told_of_it() {
        let ours = held(1, 10);
        let mut shown = Shown::default();
        shown.add(shows(Relationship::Mutual, 2, 10, &ours, Some(&ours)));
        assert!(shown.has(&ours));
        assert!(!shown.has(&held(1, 11)), "a longer lease is news");
        assert!(!shown.has(&held(2, 10)), "another record");
    }

    #[test]
    fn what_would_be_news_to_the_peer_is_told() {
        let (ours, other) = (held(1, 10), held(2, 10));
        let peer = |class, days, held| shows(Relationship::Peer, class, days, &ours, held);
        assert!(peer(2, 10, Some(&ours)).is_some());
        for (shown, why) in [
            (peer(2, 9, Some(&ours)), "it keeps it for less long"),
            (peer(1, 10, Some(&ours)), "it learnt it from further off"),
            (peer(2, 10, Some(&other)), "we hold another record"),
            (peer(2, 10, None), "we hold nothing"),
            (shows(Relationship::Sibling, 3, 10, &ours, Some(&ours)), "siblings tell all"),
            (shows(Relationship::Customer, 3, 10, &ours, Some(&ours)), "a customer is told"),
            (shows(Relationship::Upstream, 3, 10, &ours, Some(&ours)), "an upstream is told"),
        ] {
            assert_eq!(shown, None, "{why}");
        }
    }

    #[test]
    fn a_feed_passes_over_what_the_peer_has_sent_meanwhile_and_counts_it_as_done() {
        let (peer, other) = (Name::key_set([2; 32]), Name::key_set([3; 32]));
        let now = Moment {
            wall: NOW,
            elapsed: Duration::from_secs(1),
        };
        let from = |seed, from| Held {
            from: Some(from),
            ..held(seed, 10)
        };
        let (known, news) = (from(1, other), from(2, other));
        let way = Way {
            peer,
            relationship: Relationship::Mutual,
            filter: Filter::default(),
        };
        let mut feed = Feed::new(way, Default::default(), Filter::default().mark(), Mode::Values, None, [0; 3]);
        feed.heads([0, 2, 0]);
        assert_eq!(feed.next_read(now.elapsed), Some((Lane::Ordinary, 0)));
        feed.peer_holds(shows(Relationship::Mutual, 2, 10, &known, Some(&known)).into_iter().collect());
        let changes = [(1, known), (2, news.clone())].map(|(cursor, held)| Change { cursor, held });
        feed.changes_read(Lane::Ordinary, changes.into(), now);
        let sent = feed.next_send(&[Lane::Ordinary], now).unwrap();
        let [Entry::Value(value)] = &sent.entries[..] else {
            panic!("{sent:?}")
        };
        assert_eq!((&value.record, sent.cursor), (news.record.bytes(), 2));
        let (lane, counts) = (sent.lane, Counts::default());
        let cursor = sent.cursor;
        feed.acked(
            &Ack {
                lane,
                cursor,
                counts,
                wants: Vec::new(),
            },
            now.elapsed,
        )
        .unwrap();
        assert_eq!((feed.position().acked, feed.lag()), ([0, 2, 0], 0));
    }

    #[test]
    fn memory_has_an_end() {
        let mut shown = Shown::default();
        for index in 0..ALIKE_MAX as u64 + 10 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&index.to_be_bytes());
            let one = Alike { digest, keep_until: NOW };
            shown.add([one, one]);
        }
        assert_eq!((shown.by_digest.len(), shown.order.len()), (ALIKE_MAX, ALIKE_MAX));
    }
}
