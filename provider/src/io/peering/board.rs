//! What all links are to know, and hear of when it changes: in the order in which they came.
//!
//! A channel with many readers wakes them in an order that is drawn anew each time, and a simulated world is to happen twice in the same way: so each
//! reader has a channel of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A value that many read, and few change.
#[derive(Debug)]
pub(super) struct Board<T>(Mutex<Written<T>>);

#[derive(Debug)]
struct Written<T> {
    now: T,
    readers: Vec<watch::Sender<T>>,
}

impl<T: Clone> Board<T> {
    /// With this on it.
    pub fn new(now: T) -> Self {
        let readers = Vec::new();
        Self(Mutex::new(Written { now, readers }))
    }

    /// What is on it.
    pub fn read(&self) -> T {
        self.written().now.clone()
    }

    /// Hears of every change from now on. Bounded by the links, and their end is noticed when the next one comes.
    pub fn subscribe(&self) -> watch::Receiver<T> {
        let mut written = self.written();
        written.readers.retain(|reader| !reader.is_closed());
        let (tell, told) = watch::channel(written.now.clone());
        written.readers.push(tell);
        told
    }

    /// Changes it; `change` says whether it did.
    pub fn write(&self, change: impl FnOnce(&mut T) -> bool) {
        let mut written = self.written();
        if !change(&mut written.now) {
            return;
        }
        for reader in &written.readers {
            reader.send_replace(written.now.clone());
        }
    }

    /// A panic elsewhere leaves at worst an old value.
    fn written(&self) -> MutexGuard<'_, Written<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_hears_of_changes_and_of_nothing_else() {
        let board = Board::new(1);
        let mut early = board.subscribe();
        board.write(|_| false);
        assert!(!early.has_changed().unwrap());
        board.write(|now| {
            *now = 2;
            true
        });
        let late = board.subscribe();
        assert!(early.has_changed().unwrap() && !late.has_changed().unwrap());
        assert_eq!((*early.borrow_and_update(), *late.borrow(), board.read()), (2, 2, 2));
        drop((early, late));
        drop(board.subscribe());
        assert_eq!(board.written().readers.len(), 1);
    }
}
