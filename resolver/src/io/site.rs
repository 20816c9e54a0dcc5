//! A site: a stub that keeps its organisation's own names on its own disk, and answers them from there while no provider can be reached, also
//! after a restart. What an organisation can do for itself depends on nobody outside.
//!
//! ```text
//! watched at the provider, or asked for now and then where that cannot be ─▶ kept, durably
//! lookup ─ not one of ours, or nothing kept that is current ─▶ the stub
//!        ├ a provider answers ─▶ the higher of the two
//!        └ none does: cut off ─▶ what is kept, at once, while one lookup at a time looks whether that is still so
//! ```

use crate::floor::{Standing, standing};
use crate::io::alias_file::AliasFile;
use crate::io::clock;
use crate::io::site_folder::SiteFolder;
use crate::settings::{SITE_AGAIN, SITE_LOOK_EVERY, SITE_PATIENCE, SITE_REFRESH, SITE_TTL};
use crate::site::Shelf;
use crate::source::{Lookup, LookupError, RecordSource};
use crate::stub::Stub;
use crate::watch::Told;
use async_trait::async_trait;
use dialtone_shared::hip::Hit;
use dialtone_shared::{Name, Rank, Ttl, VerifiedRecord};
use std::collections::BTreeSet;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// Which names a site keeps. Whatever their records lead to is kept with them.
#[derive(Debug)]
pub enum OwnNames {
    /// These.
    Listed(Vec<Name>),
    /// All that the file of aliases has, as it is now.
    Map(AliasFile),
}

/// A site. It follows its names until it is dropped.
#[derive(Debug)]
pub struct Site {
    kept: Arc<Kept>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Kept {
    stub: Stub,
    own: OwnNames,
    shelf: Mutex<Shelf>,
    folder: Mutex<SiteFolder>,
    /// Whether no provider answered last.
    cut_off: AtomicBool,
    /// Whether it is being looked whether that is still so.
    probing: AtomicBool,
    /// Whether something that is kept may not lie in the folder.
    owes: AtomicBool,
}

impl Site {
    /// Keeps these names in `folder`, with what lies there to begin with.
    ///
    /// # Errors
    /// The task that reads it was ended.
    pub async fn keep(stub: Stub, own: OwnNames, folder: SiteFolder) -> io::Result<Self> {
        // Where nobody was found to begin with, the first question need not wait for anybody.
        let is_found = stub.health().iter().any(|at| at.address.is_some());
        let kept = Arc::new(Kept {
            stub,
            own,
            shelf: Mutex::default(),
            folder: Mutex::new(folder),
            cut_off: AtomicBool::new(!is_found),
            probing: AtomicBool::new(false),
            owes: AtomicBool::new(false),
        });
        let reader = Arc::clone(&kept);
        tokio::task::spawn_blocking(move || reader.look()).await?;
        let task = tokio::spawn(follow(Arc::clone(&kept))).abort_handle();
        Ok(Self { kept, task })
    }

    /// Reads all files again: somebody may have laid a newer record there by hand.
    pub async fn read_again(&self) {
        let kept = Arc::clone(&self.kept);
        // It ends only with the process.
        let _ = tokio::task::spawn_blocking(move || {
            let names = kept.shelf().names().clone();
            kept.read(names.into_iter());
        })
        .await;
    }

    /// How many names are kept, and of how many of them a record that is current.
    pub fn holdings(&self) -> (usize, usize) {
        let (shelf, now) = (self.kept.shelf(), clock::now().unix);
        let current = shelf.names().iter().filter(|name| shelf.current(name, now).is_some());
        (shelf.names().len(), current.count())
    }

    /// Whether no provider answered last.
    pub fn is_cut_off(&self) -> bool {
        self.kept.cut_off.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl RecordSource for Site {
    /// What is its own stays.
    fn forget(&self, name: Option<&Name>) {
        RecordSource::forget(&self.kept.stub, name);
    }

    async fn lookup(&self, name: &Name) -> Result<Lookup, LookupError> {
        let kept = &self.kept;
        let Some(own) = kept.current(name) else {
            let answer = kept.stub.lookup(name).await;
            kept.notice(&answer);
            return answer;
        };
        if self.is_cut_off() {
            Arc::clone(kept).probe(*name);
            return Ok(given(own));
        }
        let answer = timeout(SITE_PATIENCE, kept.stub.lookup(name)).await;
        let answer = answer.unwrap_or_else(|_| Err(LookupError::Unreachable("no answer in time".to_owned())));
        kept.notice(&answer);
        match answer {
            Ok(Lookup::Found { record, ttl }) if !own.outranks(&record) => Ok(Lookup::Found { record, ttl }),
            // A provider that has lost it, or holds it back, does not make it untrue.
            Ok(_) | Err(_) => Ok(given(own)),
        }
    }

    async fn by_hit(&self, hit: &Hit) -> Result<Option<(VerifiedRecord, Ttl)>, LookupError> {
        let own = self.kept.shelf().by_hit(hit, clock::now().unix).cloned();
        let Some(own) = own.filter(|own| self.kept.is_above_floor(own)) else {
            return self.kept.stub.by_hit(hit).await;
        };
        let answer = timeout(SITE_PATIENCE, self.kept.stub.by_hit(hit)).await;
        match answer {
            Ok(Ok(Some((record, ttl)))) => Ok(Some((record, ttl))),
            _ => Ok(Some((own.clone(), ttl_of(&own)))),
        }
    }

    fn answers_alone(&self, name: &Name) -> bool {
        self.is_cut_off() && self.kept.current(name).is_some()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is said without a provider: for a short time, so that what it will say is heard soon.
fn given(record: VerifiedRecord) -> Lookup {
    let ttl = ttl_of(&record);
    Lookup::Found { record, ttl }
}

fn ttl_of(record: &VerifiedRecord) -> Ttl {
    record.record().ttl_at(clock::now().unix).min(SITE_TTL)
}

/// Watches what is kept, and whatever it comes to lead to.
async fn follow(kept: Arc<Kept>) {
    let mut ticks = interval(SITE_LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refresh_at = Instant::now();
    loop {
        let known = kept.known();
        let names: BTreeSet<Name> = known.iter().map(|(name, _)| *name).collect();
        let mut watch = kept.stub.watch_from(known);
        let mut stands = false;
        // Names that come to belong to it are watched, too, a moment later: then they come together.
        'watching: loop {
            // Not given up for a tick: a connection may take longer to come about.
            let mut next = pin!(watch.next());
            let told = loop {
                tokio::select! {
                    told = &mut next => break told,
                    _ = ticks.tick() => {
                        kept.look_aside().await;
                        if *kept.shelf().names() != names {
                            break 'watching;
                        }
                        if !stands && refresh_at <= Instant::now() {
                            kept.refresh(&names).await;
                            refresh_at = Instant::now() + SITE_REFRESH;
                        }
                    }
                }
            };
            match told {
                Told::Put { record, .. } | Told::Revoked(record) => kept.take(&record).await,
                Told::Current { .. } => {
                    stands = true;
                    kept.set_cut_off(false);
                }
                Told::Lost { provider, reason } => {
                    tracing::debug!(provider, reason, "the site's own names are not watched for now");
                    stands = false;
                    refresh_at = Instant::now();
                }
                Told::Expired { .. } | Told::Absent(_) | Told::Unknown { .. } | Told::Resync(_) => {}
            }
        }
    }
}

impl Kept {
    /// What is kept of one of the site's names and may be given now.
    fn current(&self, name: &Name) -> Option<VerifiedRecord> {
        let record = self.shelf().current(name, clock::now().unix).cloned();
        record.filter(|record| self.is_above_floor(record))
    }

    fn is_above_floor(&self, record: &VerifiedRecord) -> bool {
        standing(self.stub.floor(record.name()).as_ref(), record.rank()) != Standing::Below
    }

    /// All names, with the ranks of what is kept of them.
    fn known(&self) -> Vec<(Name, Option<Rank>)> {
        let shelf = self.shelf();
        let rank = |name: &Name| shelf.record(name).map(|record| *record.rank());
        shelf.names().iter().map(|name| (*name, rank(name))).collect()
    }

    /// Learns from the answer to a lookup: what is newer is kept, and whether anybody answers.
    fn notice(self: &Arc<Self>, answer: &Result<Lookup, LookupError>) {
        match answer {
            Ok(Lookup::Found { record, .. }) => {
                if self.shelf().take(record) {
                    self.write_beside(*record.name());
                }
            }
            Ok(Lookup::Absent { .. }) => {}
            Err(LookupError::Unreachable(_) | LookupError::Unavailable(_)) => self.set_cut_off(true),
            // Somebody answered, or nobody was asked.
            Err(LookupError::Expired | LookupError::Invalid(_) | LookupError::RolledBack | LookupError::Busy) => {}
        }
    }

    fn set_cut_off(&self, is_so: bool) {
        if self.cut_off.swap(is_so, Ordering::Relaxed) != is_so {
            if is_so {
                tracing::warn!("no provider answers: the site's own names are answered from what is kept here");
            } else {
                tracing::info!("a provider answers again");
            }
        }
    }

    /// Looks beside the question whether a provider answers again; one at a time, and not all the time.
    fn probe(self: Arc<Self>, name: Name) {
        if self.probing.swap(true, Ordering::Relaxed) {
            return;
        }
        tokio::spawn(async move {
            let answer = self.stub.lookup_fresh(&name).await;
            if answer.is_ok() {
                self.set_cut_off(false);
            }
            self.notice(&answer);
            sleep(SITE_AGAIN).await;
            self.probing.store(false, Ordering::Relaxed);
        });
    }

    /// Keeps a record that was told, and returns when it is on the disk.
    async fn take(self: &Arc<Self>, record: &VerifiedRecord) {
        if self.shelf().take(record) {
            // It ends only with the process.
            let _ = self.write_beside(*record.name()).await;
        }
    }

    /// Writes what is kept of `name`: never less than was kept when this was called.
    fn write_beside(self: &Arc<Self>, name: Name) -> tokio::task::JoinHandle<()> {
        let kept = Arc::clone(self);
        tokio::task::spawn_blocking(move || kept.write(&name))
    }

    fn write(&self, name: &Name) {
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked up under the folder's lock: who comes last writes the highest.
        let Some(record) = self.shelf().record(name).cloned() else { return };
        if let Err(error) = folder.write(&record) {
            self.owes.store(true, Ordering::Relaxed);
            tracing::error!(%name, %error, "one of the site's own records could not be written: a restart would lose it; tried again soon");
        }
    }

    /// Now and then: which names are ours, what lies in the folder of those that are new, and what could not be written before.
    async fn look_aside(self: &Arc<Self>) {
        let kept = Arc::clone(self);
        // It ends only with the process.
        let _ = tokio::task::spawn_blocking(move || {
            kept.look();
            if kept.owes.swap(false, Ordering::Relaxed) {
                for (name, _) in kept.known() {
                    kept.write(&name);
                }
            }
        })
        .await;
    }

    /// Which names are ours, as it is said now, with what lies in the folder of those that are new.
    fn look(&self) {
        let mut names: Vec<Name> = match &self.own {
            OwnNames::Listed(names) => names.clone(),
            OwnNames::Map(file) => file.current().iter().map(|(_, name)| *name).collect(),
        };
        names.sort_unstable();
        names.dedup();
        let is_news = !names.iter().eq(self.shelf().listed());
        if is_news {
            self.shelf().list(names);
            let mut read = BTreeSet::new();
            loop {
                // What was read may lead to more.
                let shelf = self.shelf();
                let next: Vec<Name> = shelf
                    .names()
                    .difference(&read)
                    .filter(|name| shelf.record(name).is_none())
                    .copied()
                    .collect();
                drop(shelf);
                if next.is_empty() {
                    break;
                }
                read.extend(next.iter().copied());
                self.read(next.into_iter());
            }
        }
    }

    fn read(&self, names: impl Iterator<Item = Name>) {
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            match folder.read(&name) {
                Some(record) => {
                    self.shelf().take(&record);
                }
                // What is kept of it is not there, or no longer whole.
                None => self.owes.store(true, Ordering::Relaxed),
            }
        }
    }

    /// Asks for each name where nobody tells: until nobody answers.
    async fn refresh(self: &Arc<Self>, names: &BTreeSet<Name>) {
        for name in names {
            let answer = self.stub.lookup(name).await;
            self.notice(&answer);
            match answer {
                Ok(_) => self.set_cut_off(false),
                Err(LookupError::Unreachable(_) | LookupError::Unavailable(_)) => return,
                Err(LookupError::Expired | LookupError::Invalid(_) | LookupError::RolledBack | LookupError::Busy) => {}
            }
        }
    }

    /// Each change under this lock is one step: a panic elsewhere leaves nothing half done.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
