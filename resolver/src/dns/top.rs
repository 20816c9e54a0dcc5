//! What is asked most just now, and by whom: counted only while somebody looks.
//!
//! Of a stream that does not fit only the frequent is kept: when there are twice as many keys as are kept, all lose what the first one that
//! is not kept had (Misra and Gries 1982; as mergeable summaries, Agarwal et al. 2012). A count is then too small by at most a
//! [`KEYS`]th of all that was counted.

use crate::dns::counts::FrontendCounts;
use crate::dns::query_log::{Prefixes, question_of};
use crate::dns::rdata_text::type_to_text;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Everyone who looks.
#[derive(Debug, Default)]
pub(crate) struct Tops {
    looking: AtomicUsize,
    counted: Mutex<Vec<Arc<Mutex<Counted>>>>,
}

/// One who looks: from when this is made, until it is told or dropped.
#[derive(Debug)]
pub struct Looking<'a> {
    tops: &'a Tops,
    counted: Arc<Mutex<Counted>>,
    before: FrontendCounts,
}

/// What was asked while somebody looked.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Top {
    /// For how long, in seconds.
    pub seconds: f64,
    /// Questions, answered or not.
    pub questions: u64,
    /// Answers that were kept as they are sent.
    pub kept: u64,
    /// Questions that were for upstream resolvers.
    pub forwarded: u64,
    /// Questions that got no answer.
    pub dropped: u64,
    /// Questions by transport, those that had any.
    pub transports: Vec<(String, u64)>,
    /// Answers by code, those that had any.
    pub rcodes: Vec<(String, u64)>,
    /// Names and types, the most asked for first. Counted from what was looked at of the questions.
    pub names: Vec<(String, String, u64)>,
    /// Networks, those that ask most first.
    pub clients: Vec<(String, u64)>,
}

#[derive(Debug, Default)]
struct Counted {
    /// By their question as it stands in a message, in small letters.
    questions: Frequent<Box<[u8]>>,
    networks: Frequent<IpAddr>,
}

impl Tops {
    /// Whether anybody looks.
    pub(crate) fn is_on(&self) -> bool {
        self.looking.load(Ordering::Relaxed) > 0
    }

    /// Begins to look.
    pub(crate) fn look(&self, before: FrontendCounts) -> Looking<'_> {
        let counted = Arc::<Mutex<Counted>>::default();
        self.lock().push(Arc::clone(&counted));
        self.looking.fetch_add(1, Ordering::Relaxed);
        Looking {
            tops: self,
            counted,
            before,
        }
    }

    /// Counts the question of `message`, which stands for `weight` of them.
    pub(crate) fn note(&self, message: &[u8], client: IpAddr, weight: u64, prefixes: Prefixes) {
        let Some((name, kind)) = question_of(message) else { return };
        let name = name.to_lower();
        let question: Box<[u8]> = name.as_wire().iter().copied().chain(kind.to_be_bytes()).collect();
        let network = prefixes.network(client);
        for counted in &*self.lock() {
            let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
            counted.questions.add(question.clone(), weight);
            counted.networks.add(network, weight);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Mutex<Counted>>>> {
        // Each change is one call.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Looking<'_> {
    /// What was asked in the time that `took`, at most `rows` names and networks.
    pub(crate) fn tell(self, now: &FrontendCounts, took: Duration, rows: usize, prefixes: Prefixes) -> Top {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let names = counted.questions.first(rows).into_iter().filter_map(|(question, count)| {
            let (name, kind) = question.split_last_chunk::<2>()?;
            let name = crate::dns::Domain::from_wire(name)?;
            Some((name.to_string(), type_to_text(u16::from_be_bytes(*kind)), count))
        });
        let networks = counted.networks.first(rows).into_iter();
        let since = |now: u64, before: u64| now.saturating_sub(before);
        let grown = |names: &[&str], now: &[u64], before: &[u64]| {
            let all = names.iter().zip(now).zip(before);
            all.map(|((name, now), before)| ((*name).to_owned(), since(*now, *before)))
                .filter(|(_, count)| *count > 0)
                .collect()
        };
        let before = &self.before;
        Top {
            seconds: took.as_secs_f64(),
            questions: since(now.questions, before.questions),
            kept: since(now.hot, before.hot),
            forwarded: since(now.forwarded, before.forwarded),
            dropped: since(now.dropped, before.dropped),
            transports: grown(&TRANSPORTS, &now.by_carrier, &before.by_carrier),
            rcodes: grown(&RCODES, &now.by_rcode, &before.by_rcode),
            names: names.collect(),
            clients: networks.map(|(network, count)| (prefixes.text(*network), count)).collect(),
        }
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.tops.lock().retain(|counted| !Arc::ptr_eq(counted, &self.counted));
        self.tops.looking.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The keys that were met most often.
#[derive(Debug)]
struct Frequent<K>(HashMap<K, u64>);

impl<K> Default for Frequent<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Ord> Frequent<K> {
    fn add(&mut self, key: K, weight: u64) {
        *self.0.entry(key).or_default() += weight;
        if self.0.len() >= 2 * KEYS {
            let mut counts: Vec<u64> = self.0.values().copied().collect();
            let (_, &mut first_not_kept, _) = counts.select_nth_unstable_by(KEYS, |a, b| b.cmp(a));
            self.0.retain(|_, count| {
                *count = count.saturating_sub(first_not_kept);
                *count > 0
            });
        }
    }

    /// At most `rows`, the most frequent first.
    fn first(&self, rows: usize) -> Vec<(&K, u64)> {
        let mut all: Vec<(&K, u64)> = self.0.iter().map(|(key, count)| (key, *count)).collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        all.truncate(rows);
        all
    }
}

/// As many keys of each kind are kept, of twice as many: a few hundred kilobytes for each who looks.
const KEYS: usize = 2_048;

const TRANSPORTS: [&str; 5] = ["udp", "tcp", "tls", "https", "quic"];
const RCODES: [&str; 7] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "other"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_frequent_is_found_however_much_else_there_is() {
        let mut frequent = Frequent::default();
        let mut all = 0;
        for nth in 0..200_000_u64 {
            // Each tenth is of one of ten keys; all others are met once.
            frequent.add(if nth % 10 == 0 { nth / 10 % 10 } else { 1_000 + nth }, 3);
            all += 3;
        }
        assert!(frequent.0.len() < 2 * KEYS);
        let first = frequent.first(10);
        let mut keys: Vec<u64> = first.iter().map(|(key, _)| **key).collect();
        keys.sort_unstable();
        assert_eq!(keys, (0..10).collect::<Vec<_>>());
        for (_, count) in first {
            assert!(count <= 6_000 && count + all / KEYS as u64 >= 6_000, "{count}");
        }
    }

    #[test]
    fn the_most_frequent_comes_first_and_the_order_of_equals_is_always_the_same() {
        let mut frequent = Frequent::default();
        for (key, weight) in [("c", 1), ("a", 1), ("b", 5), ("a", 1), ("c", 1)] {
            frequent.add(key, weight);
        }
        assert_eq!(frequent.first(9), [(&"b", 5), (&"a", 2), (&"c", 2)]);
        assert_eq!(frequent.first(1), [(&"b", 5)]);
    }

    #[test]
    fn nothing_is_counted_for_nobody() {
        let tops = Tops::default();
        assert!(!tops.is_on());
        let looking = tops.look(FrontendCounts::default());
        let also = tops.look(FrontendCounts::default());
        assert!(tops.is_on());
        let message = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x01A\x07example\0\0\x1c\0\x01";
        tops.note(message, "192.0.2.7".parse().unwrap(), 4, Prefixes::default());
        drop(also);
        let top = looking.tell(&FrontendCounts::default(), Duration::from_secs(1), 9, Prefixes::default());
        assert_eq!(top.names, [("a.example".to_owned(), "AAAA".to_owned(), 4)]);
        assert_eq!(top.clients, [("192.0.2.0/24".to_owned(), 4)]);
        assert!(!tops.is_on());
    }
}
