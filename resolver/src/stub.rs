//! The stub: from a name to its verified record. Cache first; one lookup on the network for a name, however many ask; what was seen once
//! is the floor for ever.

use crate::cache::Cache;
use crate::choose;
use crate::dns::latency::Found;
use crate::error::StubError;
use crate::floor::Standing;
use crate::io::allowance::{Grant, may_ask, waits_for};
use crate::io::discover::{self, Provider};
use crate::io::floor_file::FloorKeeper;
use crate::io::http::HttpClient;
use crate::io::transport::Server;
use crate::io::watcher::Watch;
use crate::io::{clock, driver, environment, keeper};
use crate::lookup::{Machine, Moment, Patience};
use crate::settings::{FloorAt, NEGATIVE_TTL_MAX, ProviderAt, STALE_PATIENCE, StubSettings};
use crate::source::{Lookup, LookupError, RecordSource, Sought};
use async_trait::async_trait;
use dialtone_shared::hip::Hit;
use dialtone_shared::{Name, Rank, Ttl, VerifiedRecord};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// The client of one or several providers. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Stub {
    inner: Arc<Inner>,
    _keeper: Arc<Keeper>,
}

/// How one provider's DNS address has been answering.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderHealth {
    /// The provider, as it was set.
    pub provider: ProviderAt,
    /// Its address; `None` while it cannot be found.
    pub address: Option<std::net::SocketAddr>,
    /// Its origin.
    pub origin: Option<String>,
    /// Its usual round trip, once measured.
    pub latency: Option<Duration>,
    /// Whether it failed so often that it is asked last.
    pub is_aside: bool,
    /// Why it could not be found.
    pub trouble: Option<String>,
}

/// What clones share.
#[derive(Debug)]
pub(crate) struct Inner {
    http: HttpClient,
    floor: FloorKeeper,
    patience: Patience,
    lookups_max: usize,
    desk: Mutex<Desk>,
    providers: RwLock<Directory>,
}

/// Whom to ask.
#[derive(Debug)]
struct Directory {
    providers: Vec<Provider>,
    /// All their servers, in the same order.
    servers: Arc<[Arc<Server>]>,
}

/// What is known, and what is being asked.
#[derive(Debug)]
struct Desk {
    cache: Cache,
    flying: HashMap<Sought, watch::Receiver<Option<Answer>>>,
}

type Answer = Result<Lookup, LookupError>;

/// What to do about a question.
enum Turn {
    Known(Lookup),
    /// Somebody is asking already.
    Wait(watch::Receiver<Option<Answer>>),
    Ask(watch::Sender<Option<Answer>>, Grant),
    Busy,
}

impl Stub {
    /// Finds the providers and opens the floor. At least one provider must be found, unless the settings say otherwise; the others are tried again
    /// now and then.
    ///
    /// # Errors
    /// [`StubError`], with the remedy.
    pub async fn connect(settings: StubSettings) -> Result<Self, StubError> {
        let listed = discover::listed(&settings.providers)?;
        let floor = open_floor(&settings)?;
        let http = HttpClient::new();
        let providers = discover::find_all(&http, &listed).await;
        if !settings.starts_alone && providers.iter().all(|provider| provider.servers.is_empty()) {
            let tried = providers.iter().filter_map(|provider| {
                let trouble = provider.trouble.as_ref()?;
                Some(format!("{} ({trouble})", provider.at))
            });
            return Err(StubError::NoProvider {
                tried: tried.collect::<Vec<_>>().join(", "),
            });
        }
        let inner = Arc::new(Inner {
            http,
            floor,
            patience: Patience {
                deadline: settings.deadline,
                negative_ttl_max: settings.negative_ttl_max.min(NEGATIVE_TTL_MAX),
            },
            lookups_max: settings.lookups_max,
            desk: Mutex::new(Desk {
                cache: Cache::new(settings.cache_entries_max, settings.cache_bytes_max, settings.stale_max),
                flying: HashMap::new(),
            }),
            providers: RwLock::new(Directory::of(providers)),
        });
        let keeper = tokio::spawn(keeper::keep(Arc::downgrade(&inner), settings.probe_every)).abort_handle();
        Ok(Self {
            inner,
            _keeper: Arc::new(Keeper(keeper)),
        })
    }

    /// Looks `name` up at the providers even if the answer is known, and remembers what they say.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn lookup_fresh(&self, name: &Name) -> Answer {
        self.inner.desk().cache.forget(name);
        self.inner.seek(Sought::Name(*name)).await
    }

    /// Watches names at the first provider that answers over HTTP: what becomes of them is told as it happens, and known here from then on.
    pub fn watch(&self, names: impl IntoIterator<Item = Name>) -> Watch {
        self.watch_from(names.into_iter().map(|name| (name, None)))
    }

    /// The same, of names whose records are known up to a rank: of those only what is newer is told.
    pub(crate) fn watch_from(&self, names: impl IntoIterator<Item = (Name, Option<Rank>)>) -> Watch {
        let providers: Vec<ProviderAt> = self.inner.providers().into_iter().map(|provider| provider.at).collect();
        Watch::new(self.clone(), names, &providers)
    }

    /// The names of the records that are known here, with their ranks, the most recently asked for first.
    pub(crate) fn held(&self, most: usize) -> Vec<(Name, Rank)> {
        self.inner.desk().cache.held(most)
    }

    /// See [`Cache::set_live`].
    pub(crate) fn set_live<'a>(&self, watch: u64, names: impl Iterator<Item = &'a Name>) {
        self.inner.desk().cache.set_live(watch, names);
    }

    /// See [`Cache::end_live`].
    pub(crate) fn end_live(&self, watch: u64) -> Vec<Name> {
        self.inner.desk().cache.end_live(watch)
    }

    /// See [`Cache::end_live_of`].
    pub(crate) fn end_live_of(&self, watch: u64, name: &Name) {
        self.inner.desk().cache.end_live_of(watch, name);
    }

    /// Takes in a record that was learnt elsewhere, such as one just published: it is the floor from now on, and known. `false`: a newer
    /// one was seen before, and it is not to be believed.
    pub fn learn(&self, record: &VerifiedRecord) -> bool {
        let now = clock::now();
        if self.inner.floor.raise(record.name(), record.rank()) == Standing::Below {
            return false;
        }
        let ttl = record.record().ttl_at(now.unix);
        let found = Lookup::Found {
            record: record.clone(),
            ttl,
        };
        self.inner.desk().cache.put(record.name(), found, now);
        true
    }

    pub(crate) fn http(&self) -> &HttpClient {
        self.inner.http()
    }

    /// Forgets the cached answer about `name`; the floor stays.
    pub fn forget(&self, name: &Name) {
        self.inner.desk().cache.forget(name);
    }

    /// The highest rank ever seen of `name`.
    pub fn floor(&self, name: &Name) -> Option<Rank> {
        self.inner.floor.rank(name)
    }

    /// How each provider has been answering.
    pub fn health(&self) -> Vec<ProviderHealth> {
        self.inner.providers().iter().flat_map(health_of).collect()
    }
}

#[async_trait]
impl RecordSource for Stub {
    /// What is known is given at once, and asked for again before its TTL has ended. Where no provider answers, what was known a while ago is given.
    async fn lookup(&self, name: &Name) -> Answer {
        let (sought, now) = (Sought::Name(*name), clock::now());
        let (known, stale) = {
            let mut desk = self.inner.desk();
            let known = desk.cache.get(name, now);
            let worth_asking = desk.cache.is_soon_over(name, now) && !desk.flying.contains_key(&sought);
            match known {
                Some(known) if !worth_asking => return Ok(known),
                known => (known, desk.cache.stale(name, now)),
            }
        };
        match (known, stale) {
            (Some(known), _) => {
                // Nobody waits for it.
                let _nobody_waits = self.inner.set_out(sought, now);
                Ok(known)
            }
            (None, Some((record, ttl, true))) if self.inner.floor.rank(name).as_ref() == Some(record.rank()) => {
                Ok(Lookup::Found { record, ttl })
            }
            (None, Some(_)) => self.inner.seek_or_stale(name, now).await,
            (None, None) => self.inner.seek(sought).await,
        }
    }

    /// Whether it is stale: its TTL has ended, and no provider answers.
    fn answers_alone(&self, name: &Name) -> bool {
        let (now, mut desk) = (clock::now(), self.inner.desk());
        desk.cache.get(name, now).is_none() && desk.cache.stale(name, now).is_some()
    }

    fn forget(&self, name: Option<&Name>) {
        match name {
            Some(name) => self.inner.desk().cache.forget(name),
            None => self.inner.desk().cache.forget_all(),
        }
    }

    /// Asked of the providers every time: what is kept of its record is kept under its name, and which name has the tag may have changed.
    async fn by_hit(&self, hit: &Hit) -> Result<Option<(VerifiedRecord, Ttl)>, LookupError> {
        Ok(match self.inner.seek(Sought::Hit(*hit)).await? {
            Lookup::Found { record, ttl } => Some((record, ttl)),
            Lookup::Absent { .. } => None,
        })
    }
}

impl Inner {
    async fn seek(&self, sought: Sought) -> Answer {
        loop {
            let now = clock::now();
            match self.turn(&sought, now) {
                Turn::Known(answer) => return Ok(answer),
                Turn::Busy => return Err(LookupError::Busy),
                Turn::Ask(sender, grant) => return self.fly(sought, now, sender, grant).await,
                Turn::Wait(mut receiver) => {
                    // An error means that whoever asked went away; then it is somebody else's turn.
                    if let Ok(answer) = receiver.wait_for(Option::is_some).await
                        && let Some(answer) = answer.clone()
                    {
                        return answer;
                    }
                }
            }
        }
    }

    async fn fly(&self, sought: Sought, now: Moment, sender: watch::Sender<Option<Answer>>, grant: Grant) -> Answer {
        let flight = Flight {
            inner: self,
            sought: &sought,
        };
        let answer = self.ask(&sought, now).await;
        drop((flight, grant));
        if let (Sought::Name(name), Err(_)) = (&sought, &answer) {
            self.desk().cache.rest(name, clock::now());
        }
        // Nobody may be waiting.
        let _ = sender.send(Some(answer.clone()));
        answer
    }

    /// Asks in a task of its own, so that it comes to its end whoever waits for it; `None`: too much is being asked.
    fn set_out(self: &Arc<Self>, sought: Sought, now: Moment) -> Option<watch::Receiver<Option<Answer>>> {
        let turn = self.turn_to_ask(&mut self.desk(), &sought);
        match turn {
            Turn::Wait(receiver) => Some(receiver),
            Turn::Ask(sender, grant) => {
                let receiver = sender.subscribe();
                let inner = Arc::clone(self);
                tokio::spawn(async move { inner.fly(sought, now, sender, grant).await });
                Some(receiver)
            }
            Turn::Known(_) | Turn::Busy => None,
        }
    }

    /// What the providers say, if they say it soon; otherwise what they said a while ago, unless something newer has been seen since.
    async fn seek_or_stale(self: &Arc<Self>, name: &Name, now: Moment) -> Answer {
        waits_for(Found::Searched);
        let answer = match self.set_out(Sought::Name(*name), now) {
            None => Err(LookupError::Busy),
            Some(mut receiver) => match timeout(STALE_PATIENCE, receiver.wait_for(Option::is_some)).await {
                Ok(Ok(answer)) => answer.clone().unwrap_or(Err(LookupError::Busy)),
                Ok(Err(_)) => Err(LookupError::Busy),
                Err(_) => Err(LookupError::Unreachable("no answer in time".to_owned())),
            },
        };
        if answer.is_ok() {
            return answer;
        }
        let (now, floor) = (clock::now(), self.floor.rank(name));
        let mut desk = self.desk();
        if let Some(known) = desk.cache.get(name, now) {
            return Ok(known);
        }
        match desk.cache.stale(name, now) {
            Some((record, ttl, _)) if floor.as_ref() == Some(record.rank()) => Ok(Lookup::Found { record, ttl }),
            _ => answer,
        }
    }

    fn turn(&self, sought: &Sought, now: Moment) -> Turn {
        let mut desk = self.desk();
        if let Sought::Name(name) = sought
            && let Some(known) = desk.cache.get(name, now)
        {
            return Turn::Known(known);
        }
        waits_for(Found::Searched);
        self.turn_to_ask(&mut desk, sought)
    }

    fn turn_to_ask(&self, desk: &mut Desk, sought: &Sought) -> Turn {
        if let Some(receiver) = desk.flying.get(sought) {
            return Turn::Wait(receiver.clone());
        }
        let Some(grant) = may_ask(self.lookups_max.saturating_sub(desk.flying.len())) else {
            return Turn::Busy;
        };
        let (sender, receiver) = watch::channel(None);
        desk.flying.insert(*sought, receiver);
        Turn::Ask(sender, grant)
    }

    async fn ask(&self, sought: &Sought, now: Moment) -> Answer {
        let servers = self.servers();
        let health: Vec<_> = servers.iter().map(|server| server.health()).collect();
        let order = choose::order(&health);
        let floor = match sought {
            Sought::Name(name) => self.floor.rank(name),
            Sought::Hit(_) => None,
        };
        let mut machine = Machine::new(*sought, floor, &health, &order, now, &self.patience);
        let answer = driver::run(&mut machine, sought, &servers).await;
        if let (Sought::Name(name), Some(rank)) = (sought, machine.expired()) {
            self.floor.raise(name, rank);
        }
        let now = clock::now();
        let answer = answer?;
        let name = match (sought, &answer) {
            (Sought::Name(name), _) => *name,
            (Sought::Hit(_), Lookup::Found { record, .. }) => *record.name(),
            (Sought::Hit(_), Lookup::Absent { .. }) => return Ok(answer),
        };
        match &answer {
            // Asked again: another lookup or process may have seen a newer record meanwhile. That one may have another tag.
            Lookup::Found { record, .. } if self.floor.raise(&name, record.rank()) == Standing::Below => match sought {
                Sought::Name(_) => self.desk().cache.get(&name, now).ok_or(LookupError::RolledBack),
                Sought::Hit(_) => Err(LookupError::RolledBack),
            },
            _ => Ok(self.desk().cache.put(&name, answer, now)),
        }
    }

    /// Each change of the desk is made in one go: a panic elsewhere leaves nothing half done.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn servers(&self) -> Arc<[Arc<Server>]> {
        self.providers.read().unwrap_or_else(PoisonError::into_inner).servers.clone()
    }

    pub(crate) fn providers(&self) -> Vec<Provider> {
        self.providers.read().unwrap_or_else(PoisonError::into_inner).providers.clone()
    }

    pub(crate) fn set_providers(&self, providers: Vec<Provider>) {
        *self.providers.write().unwrap_or_else(PoisonError::into_inner) = Directory::of(providers);
    }

    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }
}

impl Directory {
    fn of(providers: Vec<Provider>) -> Self {
        Self {
            servers: providers.iter().flat_map(|provider| provider.servers.iter().cloned()).collect(),
            providers,
        }
    }
}

/// A name being asked for: taken off the list when the lookup ends, however it ends.
struct Flight<'a> {
    inner: &'a Inner,
    sought: &'a Sought,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.inner.desk().flying.remove(self.sought);
    }
}

/// Ends the task beside the lookups with the last clone.
#[derive(Debug)]
struct Keeper(AbortHandle);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn open_floor(settings: &StubSettings) -> Result<FloorKeeper, StubError> {
    let names_max = settings.floor_names_max;
    let folder = match &settings.floor {
        FloorAt::Memory => None,
        FloorAt::Folder(folder) => Some(folder.clone()),
        FloorAt::StateFolder => environment::state_folder(),
    };
    let Some(folder) = folder else {
        return Ok(FloorKeeper::in_memory(names_max));
    };
    match FloorKeeper::on_disk(&folder, names_max) {
        Ok(floor) => Ok(floor),
        Err(error) => match StubError::floor(&settings.floor, folder.clone(), &error) {
            Some(refused) => Err(refused),
            None => {
                tracing::warn!(folder = %folder.display(), %error, "the rollback floor cannot be kept on disk: it lasts as long as this process");
                Ok(FloorKeeper::in_memory(names_max))
            }
        },
    }
}

fn health_of(provider: &Provider) -> Vec<ProviderHealth> {
    let one = |server: Option<&Arc<Server>>| {
        let health = server.map(|server| server.health()).unwrap_or_default();
        ProviderHealth {
            provider: provider.at.clone(),
            address: server.map(|server| server.address()),
            origin: server.map(|server| server.origin().as_str().to_owned()),
            latency: health.latency(),
            is_aside: health.is_aside(),
            trouble: provider.trouble.as_ref().map(ToString::to_string),
        }
    };
    if provider.servers.is_empty() {
        return vec![one(None)];
    }
    provider.servers.iter().map(|server| one(Some(server))).collect()
}
