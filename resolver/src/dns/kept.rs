//! Answers kept for all connections together: those of [`hot`](crate::dns::hot), in parts with a lock each, so that few ever wait.
//!
//! Each core has its own for datagrams, which come to it alone; a connection may be worked on anywhere. A part is locked for a copy. What is
//! kept is bare: padding and what else a transport adds is put on by [`edns`](crate::dns::edns) each time.

use crate::dns::counts::Counters;
use crate::dns::generations::Generations;
use crate::dns::glance::Key;
use crate::dns::hot::{Answers, Fill};
use crate::dns::response::UDP_BYTES_MAX;
use crate::dns::settings::KEPT_FOR_CONNECTIONS_BYTES_MAX;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Answers that any thread may look up and add to.
#[derive(Debug)]
pub(crate) struct Kept {
    parts: [Mutex<Answers>; PARTS],
    hasher: RandomState,
}

impl Kept {
    pub(crate) fn new() -> Self {
        let hasher = RandomState::new();
        let part = |nth: usize| Mutex::new(Answers::new(KEPT_FOR_CONNECTIONS_BYTES_MAX / PARTS, hasher.hash_one(nth)));
        Self {
            parts: std::array::from_fn(part),
            hasher,
        }
    }

    /// The answer to `message`, whose key is `key`; `None` if none is kept that holds.
    pub(crate) fn answer(
        &self,
        key: &Key,
        message: &[u8],
        generations: &Generations,
        now_millis: u64,
        counters: &Counters,
    ) -> Option<Vec<u8>> {
        let mut out = [0; UDP_BYTES_MAX];
        let length = self.with(key, counters, |part| part.answer(key, message, generations, now_millis, &mut out))?;
        counters.kept_was_sent();
        out.get(..length).map(<[u8]>::to_vec)
    }

    /// Keeps what was answered to a question with this key.
    pub(crate) fn keep(&self, key: &Key, fill: &Fill, generations: &Generations, now_millis: u64, counters: &Counters) {
        self.with(key, counters, |part| part.keep(key, fill, generations, now_millis));
    }

    fn with<T>(&self, key: &Key, counters: &Counters, work: impl FnOnce(&mut Answers) -> T) -> T {
        let mut part = self.part(key);
        let before = (part.len(), part.bytes());
        let done = work(&mut part);
        let now = (part.len(), part.bytes());
        if now != before {
            counters.keeps(before, now);
        }
        done
    }

    fn part(&self, key: &Key) -> MutexGuard<'_, Answers> {
        let nth = self.hasher.hash_one(key.question()) % PARTS as u64;
        self.parts[nth as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many parts: some for each of as many cores as most machines have.
const PARTS: usize = 32;
