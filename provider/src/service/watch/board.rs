//! Who watches which names, and what each has yet to be told: names, not events, so that whoever reads slowly is told the latest of each and
//! holds up nobody. Time is an argument.
//!
//! ```text
//! a commit, an end ─▶ changed(name) ─▶ every mailbox in which the name is watched: pending, woken
//!                                             │ take
//! a watcher ◀── what is true of the name when it is written ◀┘
//! ```

use crate::accounting::admission::network;
use crate::settings::WATCHED_MAX;
use crate::store::Cursors;
use bytes::Bytes;
use dialtone_shared::{Name, UnixSecs};
use lru::LruCache;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Who watches what.
#[derive(Debug)]
pub struct Board {
    watchers_max: usize,
    watched: Mutex<Watched>,
    recent: Mutex<Recent>,
    /// Whoever looks out for changes is woken when the first watcher comes.
    begun: Notify,
}

#[derive(Debug, Default)]
struct Watched {
    names: HashMap<Name, Entry>,
    /// When something ends, by itself.
    ends: BTreeSet<(UnixSecs, Name)>,
    /// Up to where in the change log everybody has been marked.
    cursors: Cursors,
    /// Whether what is kept here is the newest there is.
    whole: bool,
    watchers: usize,
    /// Names watched, counted once for each watcher, in all and by network.
    subscriptions: usize,
    by_network: HashMap<IpAddr, usize>,
}

#[derive(Debug, Default)]
struct Entry {
    mailboxes: Vec<Arc<Mailbox>>,
    end: Option<UnixSecs>,
}

/// What one watcher has yet to be told.
#[derive(Debug, Default)]
pub struct Mailbox {
    pending: Mutex<HashSet<Name>>,
    wake: Notify,
}

/// A watcher. Dropped, it watches no more.
#[derive(Debug)]
pub struct Watcher {
    board: Arc<Board>,
    mailbox: Arc<Mailbox>,
    names: Vec<Name>,
    network: IpAddr,
}

/// No more can be watched: here, or from that network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// Events as they are written, for the many who watch one name. A fill that was begun before a change is not kept.
#[derive(Debug)]
struct Recent {
    changes: u64,
    events: LruCache<Name, (Bytes, Option<UnixSecs>)>,
}

impl Board {
    /// A board for at most so many watchers.
    pub fn new(watchers_max: usize) -> Arc<Self> {
        Arc::new(Self {
            watchers_max,
            watched: Mutex::default(),
            recent: Mutex::default(),
            begun: Notify::new(),
        })
    }

    /// Watches `names`, each once, on behalf of an address, from now on, when the change log is at `heads`.
    ///
    /// # Errors
    /// [`Full`].
    pub fn join(self: &Arc<Self>, names: Vec<Name>, from: IpAddr, heads: Cursors) -> Result<Watcher, Full> {
        let (network, local) = (network(from), from.to_canonical().is_loopback());
        let mailbox = Arc::new(Mailbox::default());
        let mut watched = self.watched();
        let of_network = watched.by_network.get(&network).copied().unwrap_or_default();
        let too_many = watched.subscriptions + names.len() > WATCHED_MAX || watched.watchers >= self.watchers_max;
        // A proxy on this machine speaks for everybody.
        if too_many || !local && of_network + names.len() > WATCHED_MAX / 2 {
            return Err(Full);
        }
        if watched.names.is_empty() {
            // Nobody was to be told of what changed until now.
            watched.cursors = heads;
        }
        watched.watchers += 1;
        watched.subscriptions += names.len();
        *watched.by_network.entry(network).or_default() += names.len();
        for name in &names {
            watched.names.entry(*name).or_default().mailboxes.push(Arc::clone(&mailbox));
        }
        drop(watched);
        self.begun.notify_one();
        Ok(Watcher {
            board: Arc::clone(self),
            mailbox,
            names,
            network,
        })
    }

    /// Waits until somebody watches.
    pub async fn begun(&self) {
        self.begun.notified().await;
    }

    /// Where to read on in the change log; `None`: nobody watches, and everything up to `heads` is passed over.
    pub fn read_on(&self, heads: Cursors) -> Option<Cursors> {
        let mut watched = self.watched();
        if watched.names.is_empty() {
            watched.cursors = heads;
            return None;
        }
        Some(watched.cursors)
    }

    /// Of these names something changed; the change log is read up to `cursors`.
    pub fn changed(&self, names: impl IntoIterator<Item = Name>, cursors: Option<Cursors>) {
        let mut watched = self.watched();
        let mut recent = self.recent_at();
        recent.changes += 1;
        for name in names {
            if let Some(entry) = watched.names.get(&name) {
                recent.events.pop(&name);
                entry.tell(&name);
            }
        }
        if let Some(cursors) = cursors {
            watched.cursors = cursors;
        }
    }

    /// Tells of what has ended by itself at `now`.
    pub fn ended(&self, now: UnixSecs) {
        let mut due = Vec::new();
        {
            let mut watched = self.watched();
            while let Some((at, name)) = watched.ends.first().copied().filter(|(at, _)| *at <= now) {
                watched.ends.remove(&(at, name));
                if let Some(entry) = watched.names.get_mut(&name) {
                    entry.end = None;
                }
                due.push(name);
            }
        }
        if !due.is_empty() {
            self.changed(due, None);
        }
    }

    /// What is true of a watched name ends by itself at `end`.
    pub fn ends(&self, name: &Name, end: Option<UnixSecs>) {
        let mut watched = self.watched();
        let Some(entry) = watched.names.get_mut(name) else { return };
        let before = std::mem::replace(&mut entry.end, end);
        if before != end {
            before.map(|before| watched.ends.remove(&(before, *name)));
            end.map(|end| watched.ends.insert((end, *name)));
        }
    }

    /// Whether what is kept here is the newest there is; everybody is told when that changes.
    pub fn set_whole(&self, whole: bool) {
        let mut watched = self.watched();
        if std::mem::replace(&mut watched.whole, whole) != whole {
            let all = watched.names.values().flat_map(|entry| &entry.mailboxes);
            all.for_each(|mailbox| mailbox.wake.notify_one());
        }
    }

    /// Up to where everybody has been marked, and whether what is kept here is the newest there is.
    pub fn standing(&self) -> (Cursors, bool) {
        let watched = self.watched();
        (watched.cursors, watched.whole)
    }

    /// How many watch, and how many names, counted once for each watcher.
    pub fn count(&self) -> (usize, usize) {
        let watched = self.watched();
        (watched.watchers, watched.subscriptions)
    }

    /// The event about a name, if it was written since the last change of it; otherwise the number to give it back with.
    pub fn recent(&self, name: &Name, now: UnixSecs) -> Result<Bytes, u64> {
        let mut recent = self.recent_at();
        match recent.events.get(name) {
            Some((event, end)) if end.is_none_or(|end| end > now) => Ok(event.clone()),
            _ => Err(recent.changes),
        }
    }

    /// Keeps an event for the others who watch the name, unless something has changed since `begun`.
    pub fn keep_recent(&self, begun: u64, name: &Name, event: &Bytes, end: Option<UnixSecs>) {
        let mut recent = self.recent_at();
        if recent.changes == begun {
            recent.events.put(*name, (event.clone(), end));
        }
    }

    fn leave(&self, watcher: &Watcher) {
        let mut watched = self.watched();
        let watched = &mut *watched;
        watched.watchers -= 1;
        watched.subscriptions -= watcher.names.len();
        if let Some(count) = watched.by_network.get_mut(&watcher.network) {
            *count -= watcher.names.len();
            if *count == 0 {
                watched.by_network.remove(&watcher.network);
            }
        }
        for name in &watcher.names {
            let Some(entry) = watched.names.get_mut(name) else { continue };
            if let Some(index) = entry.mailboxes.iter().position(|mailbox| Arc::ptr_eq(mailbox, &watcher.mailbox)) {
                entry.mailboxes.swap_remove(index);
            }
            if entry.mailboxes.is_empty() {
                if let Some(end) = entry.end {
                    watched.ends.remove(&(end, *name));
                }
                watched.names.remove(name);
                // Of what nobody watches nothing is heard.
                self.recent_at().events.pop(name);
            }
        }
    }

    /// Each change under these locks is finished by whoever began it: a panic elsewhere leaves at worst a name marked in vain.
    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent_at(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn tell(&self, name: &Name) {
        for mailbox in &self.mailboxes {
            mailbox.pending().insert(*name);
            mailbox.wake.notify_one();
        }
    }
}

impl Mailbox {
    fn pending(&self) -> MutexGuard<'_, HashSet<Name>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// Waits until there may be something to tell.
    pub async fn woken(&self) {
        self.mailbox.wake.notified().await;
    }

    /// The names of which something has yet to be told, and up to where in the change log nothing else has.
    pub fn take(&self) -> (HashSet<Name>, Cursors) {
        // In this order: whatever is not marked by now is after these cursors.
        let (cursors, _) = self.board.standing();
        (std::mem::take(&mut *self.mailbox.pending()), cursors)
    }

    /// What is watched.
    pub fn names(&self) -> &[Name] {
        &self.names
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.board.leave(self);
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            changes: 0,
            events: LruCache::new(RECENT),
        }
    }
}

/// Events kept for those who watch the same name: a burst of changes at once, some 6 MB at most.
const RECENT: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
