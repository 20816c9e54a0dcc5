//! Keeps a stub's cache live: watches what it holds, so that an answer may be given beyond its TTL for as long as the watch stands, and is
//! replaced the moment that it changes.
//!
//! ```text
//! each second: records that nobody watches? ─▶ a watch of those, and of what the smaller watches have; when it stands, an end to these
//! ```
//!
//! So a name is moved to a larger watch a few times and then stays, however many are asked for.

use crate::dns::generations::Generations;
use crate::settings::{LIVE_EVERY, LIVE_NAMES_MAX};
use crate::stub::Stub;
use crate::watch::Told;
use dialtone_shared::{Name, Rank};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Keeps a stub's cache live until it is dropped; then TTLs rule again.
#[derive(Debug)]
pub struct Live {
    task: AbortHandle,
}

/// One watch of some names. It ends when dropped.
struct Watched {
    names: BTreeSet<Name>,
    stub: Stub,
    generations: Arc<Generations>,
    id: u64,
    task: AbortHandle,
}

impl Live {
    /// Keeps the cache of `stub` live, and says to `generations` what changes, for answers that were made from it.
    pub fn keep(stub: Stub, generations: Arc<Generations>) -> Self {
        Self {
            task: tokio::spawn(run(stub, generations)).abort_handle(),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(stub: Stub, generations: Arc<Generations>) {
    // The largest first.
    let mut watches: Vec<Watched> = Vec::new();
    let mut id = 0;
    loop {
        sleep(LIVE_EVERY).await;
        let held: BTreeMap<Name, Rank> = stub.held(LIVE_NAMES_MAX).into_iter().collect();
        let is_watched = |name: &Name| watches.iter().any(|watch| watch.names.contains(name));
        let mut names: BTreeSet<Name> = held.keys().filter(|name| !is_watched(name)).copied().collect();
        if names.is_empty() {
            continue;
        }
        let watched: usize = watches.iter().map(|watch| watch.names.len()).sum();
        let mut stay = watches.len();
        while let Some(last) = stay.checked_sub(1)
            // What is watched and no longer held has an end, too.
            && (watches[last].names.len() <= 2 * names.len() || watched + names.len() > 2 * LIVE_NAMES_MAX)
        {
            names.extend(watches[last].names.iter().filter(|name| held.contains_key(name)));
            stay = last;
        }
        id += 1;
        let (stands, standing) = oneshot::channel();
        let known: Vec<(Name, Option<Rank>)> = names.iter().map(|name| (*name, held.get(name).copied())).collect();
        let task = tokio::spawn(follow(stub.clone(), Arc::clone(&generations), id, known, stands)).abort_handle();
        let watch = Watched {
            names,
            stub: stub.clone(),
            generations: Arc::clone(&generations),
            id,
            task,
        };
        // Until then the others go on telling.
        let _ = standing.await;
        watches.truncate(stay);
        watches.push(watch);
    }
}

/// Follows one watch, for ever. What it tells is known to the stub already.
async fn follow(stub: Stub, generations: Arc<Generations>, id: u64, known: Vec<(Name, Option<Rank>)>, stands: oneshot::Sender<()>) {
    let names: Vec<Name> = known.iter().map(|(name, _)| *name).collect();
    let mut watch = stub.watch_from(known);
    let mut stands = Some(stands);
    let mut is_live = false;
    // What is made from a record counts it as new for as long as it is live. That has an end with it.
    let ends = |names: &mut dyn Iterator<Item = &Name>| names.for_each(|name| generations.changed(name));
    // Of these nothing is told: their TTLs rule.
    let mut untold: BTreeSet<Name> = BTreeSet::new();
    loop {
        let told = watch.next().await;
        if let Told::Put { .. } | Told::Revoked(_) | Told::Expired { .. } | Told::Absent(_) = &told
            && let Some(name) = told.name()
        {
            generations.changed(name);
        }
        match told {
            Told::Put { record, fresh: Some(_) } => {
                untold.insert(*record.name());
                stub.end_live_of(id, record.name());
                ends(&mut [*record.name()].iter());
                continue;
            }
            Told::Unknown { name, .. } => {
                stub.end_live_of(id, &name);
                if untold.insert(name) {
                    ends(&mut [name].iter());
                }
                continue;
            }
            // From the next time on that all has been told.
            Told::Put { record, fresh: None } => {
                untold.remove(record.name());
                continue;
            }
            Told::Revoked(_) | Told::Expired { .. } | Told::Absent(_) | Told::Resync(_) => continue,
            Told::Lost { .. } | Told::Current { whole: false } => {
                stub.end_live(id);
                if std::mem::take(&mut is_live) {
                    ends(&mut names.iter().filter(|name| !untold.contains(*name)));
                }
                if let Told::Lost { .. } = told {
                    untold.clear();
                }
            }
            Told::Current { whole: true } => {
                is_live = true;
                stub.set_live(id, names.iter().filter(|name| !untold.contains(*name)));
            }
        }
        if let Some(stands) = stands.take() {
            // Who waited for it may have gone.
            let _ = stands.send(());
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
        // What no other watch has taken over: one that was to, and was lost at once, has not.
        for name in self.stub.end_live(self.id) {
            self.generations.changed(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::generations::Trace;
    use crate::settings::{FloorAt, StubSettings};

    #[tokio::test]
    async fn a_watch_that_makes_way_ends_what_was_made_from_the_names_that_no_other_has_taken_over() {
        let settings = StubSettings {
            floor: FloorAt::Memory,
            starts_alone: true,
            ..StubSettings::default()
        };
        let (stub, generations) = (Stub::connect(settings).await.unwrap(), Arc::new(Generations::new()));
        let [left, taken_over] = [&b"left"[..], b"taken over"].map(Name::of_content);
        stub.set_live(1, [left, taken_over].iter());
        stub.set_live(2, [taken_over].iter());
        let begun = generations.begin();
        let slots = |name: &Name| {
            let trace = Trace::default();
            trace.consulted(name, &generations);
            trace.known();
            trace.into_slots().unwrap()
        };
        drop(Watched {
            names: BTreeSet::from([left, taken_over]),
            stub: stub.clone(),
            generations: Arc::clone(&generations),
            id: 1,
            task: tokio::spawn(std::future::pending::<()>()).abort_handle(),
        });
        assert!(!generations.hold(slots(&left), begun));
        assert!(generations.hold(slots(&taken_over), begun));
    }
}
