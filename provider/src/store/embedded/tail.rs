//! The last changes of the log, in memory. Whoever follows the log (each link with a peer, kept answers, watchers) reads every change
//! soon after it is durable; here that costs a few reference counts, in the tables a search, a copy and the digest of the record.

use crate::store::{Change, Cursor, Cursors, Held, LANES, Lane};
use std::collections::{BTreeMap, VecDeque};

/// All changes after a position of each lane. The log has each name at most once, and so has this.
#[derive(Debug)]
pub(super) struct Tail {
    lanes: [BTreeMap<Cursor, Held>; LANES],
    /// Everything after these is here.
    from: Cursors,
    /// What came in, oldest first; some of it was replaced since.
    order: VecDeque<(Lane, Cursor, usize)>,
    bytes: usize,
}

/// What a commit does to one name's place in the log.
#[derive(Debug)]
pub(super) struct Step {
    /// Where it was.
    pub gone: Option<(Lane, Cursor)>,
    /// Where it is, and what is held of it.
    pub new: Option<(Lane, Cursor, Held)>,
}

impl Tail {
    /// Nothing, of a log that ends at `last`.
    pub fn new(last: Cursors) -> Self {
        Self {
            lanes: Default::default(),
            from: last,
            order: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Follows a commit, whose steps are in the order of their positions.
    pub fn follow(&mut self, steps: Vec<Step>) {
        for Step { gone, new } in steps {
            if let Some((lane, cursor)) = gone {
                self.lanes[lane as usize].remove(&cursor);
            }
            if let Some((lane, cursor, held)) = new {
                let bytes = held.record.bytes().len() + CHANGE_BYTES;
                self.bytes += bytes;
                self.order.push_back((lane, cursor, bytes));
                self.lanes[lane as usize].insert(cursor, held);
            }
        }
        // What was replaced counts until its turn comes: that bounds the order too.
        while self.bytes > BYTES_MAX
            && let Some((lane, cursor, bytes)) = self.order.pop_front()
        {
            self.bytes -= bytes;
            self.lanes[lane as usize].remove(&cursor);
            self.from[lane as usize] = cursor;
        }
    }

    /// At most `limit` changes of `lane` after `after`; `None` where not all of them are here.
    pub fn changes(&self, lane: Lane, after: Cursor, limit: usize) -> Option<Vec<Change>> {
        if after < self.from[lane as usize] {
            return None;
        }
        let later = self.lanes[lane as usize].range(after.checked_add(1)?..);
        Some(
            later
                .take(limit)
                .map(|(&cursor, held)| Change {
                    cursor,
                    held: held.clone(),
                })
                .collect(),
        )
    }
}

/// About what a change takes beside the bytes of its record: what was read from them.
const CHANGE_BYTES: usize = 600;
/// Several commits of small records: whoever follows is seldom further behind, and then reads the tables.
const BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::{EmbeddedOptions, EmbeddedStore};
    use crate::store::{Class, Condition, Put, RecordStore};
    use dialtone_shared::{Body, Genesis, Record, SecretKey, SignedRecord, Ttl, UnixSecs};

    fn put(seed: u8, sequence: u64) -> Put {
        let secret = SecretKey::from_seed(&[seed; 32]);
        let record = Record {
            genesis: Genesis::of(secret.public()),
            chain: Vec::new(),
            sequence: UnixSecs(1_800_000_000 + sequence).micros(),
            scope: Vec::new(),
            body: Body::Live {
                expiry: UnixSecs(1_800_001_000),
                ttl: Ttl(60),
                bindings: Vec::new(),
            },
        };
        Put {
            record: SignedRecord::sign(record, &secret).unwrap().verify().unwrap(),
            class: Class::Customer,
            keep_until: UnixSecs(1_800_000_000 + u64::from(seed)),
            from: None,
            account: None,
            condition: Condition::None,
        }
    }

    fn cursors(tail: &Tail, after: Cursor) -> Option<Vec<Cursor>> {
        let changes = tail.changes(Lane::Ordinary, after, 1_000_000)?;
        Some(changes.into_iter().map(|change| change.cursor).collect())
    }

    fn step(gone: Option<Cursor>, new: Option<Cursor>) -> Step {
        Step {
            gone: gone.map(|cursor| (Lane::Ordinary, cursor)),
            new: new.map(|cursor| (Lane::Ordinary, cursor, put(1, 0).into_held())),
        }
    }

    #[test]
    fn it_has_what_the_log_has_after_where_it_begins_and_says_when_that_is_not_all() {
        let mut tail = Tail::new([0, 7, 0]);
        tail.follow(vec![
            step(None, Some(8)),
            step(Some(3), Some(9)),
            step(Some(8), Some(10)),
            step(Some(5), None),
        ]);
        assert_eq!(cursors(&tail, 6), None, "the tables have it");
        assert_eq!(cursors(&tail, 7), Some(vec![9, 10]));
        assert_eq!(cursors(&tail, 9), Some(vec![10]));
        assert_eq!(cursors(&tail, Cursor::MAX), None);
        assert_eq!(tail.changes(Lane::Ordinary, 7, 1).unwrap()[0].cursor, 9);
        assert_eq!(tail.changes(Lane::Urgent, 0, 9), Some(Vec::new()));
    }

    #[test]
    fn it_keeps_the_newest_within_its_bounds_also_where_one_name_changes_for_ever() {
        let mut tail = Tail::new([0; LANES]);
        for cursor in 1..20_000 {
            tail.follow(vec![step((cursor > 2).then(|| cursor - 1), Some(cursor))]);
        }
        assert!(tail.bytes <= BYTES_MAX && tail.order.len() <= BYTES_MAX / CHANGE_BYTES);
        assert_eq!(cursors(&tail, 0), None);
        assert_eq!(cursors(&tail, 19_990), Some(vec![19_999]), "each name at most once");
        assert!(tail.lanes[Lane::Ordinary as usize].len() == 1, "the first made room");
    }

    #[tokio::test]
    async fn it_says_what_the_tables_say_whatever_is_put_renewed_and_forgotten() {
        let place = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(place.path(), EmbeddedOptions::default()).unwrap();
        for round in 0_u64..40 {
            let puts = (0..5).map(|nth| put((round * 7 + nth * 3) as u8 % 19, round / 2));
            store.put(puts.collect()).await.unwrap();
            if round % 4 == 3 {
                // Of each name that is put again, some other is due first.
                store.expire(UnixSecs(1_800_000_000 + round % 11), 3).await.unwrap();
            }
            let engine = store.engine().await.unwrap();
            for (lane, after) in [(Lane::Ordinary, 0), (Lane::Ordinary, round * 3), (Lane::Urgent, 0)] {
                let here = store.shared.tail().changes(lane, after, 1_000);
                assert_eq!(here, Some(engine.changes(lane, after, 1_000).unwrap()));
            }
        }
        assert!(store.count().records > 5 && store.watch().borrow()[1] > 100);
    }
}
