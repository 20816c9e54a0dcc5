//! Gets that the store alone cannot answer, and the questions of peers: reads the store, asks peers as the desk says, and tells it what
//! they answered.

use crate::accounting::rate::{Meter, Rate};
use crate::io::clock::Clock;
use crate::io::coherence::Links;
use crate::io::hits::Hits;
use crate::io::peering::PeeringHandle;
use crate::io::peering::requests::{Answers, RequestError};
use crate::peering::agreement::Agreement;
use crate::peering::ask::desk::{Desk, Local, Look, Reply, Wish, found_held};
use crate::peering::ask::judge::judge;
use crate::peering::ask::limits::QUESTIONS_OF_A_PEER_MAX;
use crate::peering::ask::question::{Ask, Event, Outcome, Question, Said, Step};
use crate::peering::ask::registry::Ticket;
use crate::peering::ask::tagged::{self, Entered, Search};
use crate::peering::ask::tally::Tally;
use crate::peering::ask::whom::View;
use crate::peering::promise::{self, Heard};
use crate::peering::step::Moment;
use crate::settings::BURST_SECS;
use crate::store::{RecordStore, StoreError};
use async_trait::async_trait;
use dialtone_resolver::dns::latency;
use dialtone_resolver::io::allowance::{Grant, may_ask, waits_for};
use dialtone_shared::hip::Hit;
use dialtone_shared::message::{Answer, Query, Refused, Request, Response};
use dialtone_shared::{Name, Rank, SignedRecord, UnixMicros};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, warn};

/// Answers what is asked of names.
pub struct Asking {
    own: Name,
    store: Arc<dyn RecordStore>,
    peering: Arc<PeeringHandle>,
    links: Arc<Links>,
    clock: Arc<dyn Clock>,
    hits: Hits,
    desk: Mutex<Desk<Ears>>,
    guests: Mutex<BTreeMap<Name, Guest>>,
}

/// How those who wait for a question are told what came of it.
type Ears = watch::Receiver<Option<Outcome>>;

/// What a peer asks: how much of its rate it has used, and how many of its questions are being answered.
#[derive(Debug, Default)]
struct Guest {
    meter: Meter,
    at_a_time: usize,
}

impl Asking {
    /// Answers from `store` and by asking the peers.
    pub fn new(own: Name, store: Arc<dyn RecordStore>, peering: Arc<PeeringHandle>, links: Arc<Links>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            hits: Hits::new(Arc::clone(&store)),
            own,
            store,
            peering,
            links,
            clock,
            desk: Mutex::new(Desk::new(own)),
            guests: Mutex::default(),
        })
    }

    /// What a client is answered.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(self: &Arc<Self>, name: &Name) -> Result<Reply, StoreError> {
        if self.links.are_whole()
            && let Some(held) = self.store.get(name).await?
        {
            let ttl = held.record.record().ttl_at(self.clock.now().secs());
            return Ok(Reply::Record(found_held(&held, ttl)));
        }
        self.resolve(&Wish::of_client(*name)).await
    }

    /// Whether what is held is the newest there is: nobody has to be asked about it.
    pub fn is_whole(&self) -> bool {
        self.links.are_whole()
    }

    /// Whether the record of that rank is in our own store, whose changes are told.
    pub async fn holds(&self, name: &Name, rank: &Rank) -> bool {
        let held = self.store.get(name).await;
        held.is_ok_and(|held| held.is_some_and(|held| held.record.rank().digest == rank.digest))
    }

    /// What this provider holds of a name, all its nodes together, and as of when that is to be signed; `None`: nothing certain can be said now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn standing(&self, name: &Name) -> Result<Option<(UnixMicros, Option<Rank>)>, StoreError> {
        // Before any store is looked into: what is promised meanwhile is promised later than that.
        let at = self.clock.now();
        if self.peering.agreements().contains_key(&self.own) {
            sleep(promise::CLOCKS_DIFFER).await;
        }
        let ours = self.store.get(name).await?.map(|held| *held.record.rank());
        let siblings = self.peering.peers().into_iter().find(|peer| peer.name == self.own);
        let query = Query {
            name: *name,
            tag: None,
            hops: 0,
            visited: Vec::new(),
            budget: 0,
            own_only: true,
            known: ours,
        };
        let asks: Vec<_> = siblings
            .iter()
            .flat_map(|siblings| &siblings.links)
            .map(|link| self.heard_from(link.node, query.clone()))
            .collect();
        let mut others = Vec::with_capacity(asks.len());
        for ask in asks {
            others.push(ask.await);
        }
        Ok(promise::standing(ours, &others).map(|rank| (at, rank)))
    }

    /// What another node of ours says.
    async fn heard_from(&self, node: Option<[u8; 16]>, query: Query) -> Heard {
        let Some(node) = node else { return Heard::Silent };
        let name = query.name;
        let answered = self
            .peering
            .request_of(&self.own, &node, Request::Query(query), SIBLING_PATIENCE)
            .await;
        match answered {
            Ok(Response::Answer(Answer::Found { value, .. })) => match SignedRecord::decode(value.record) {
                Ok(record) if *record.name() == name => Heard::Holds(record.rank()),
                Ok(_) | Err(_) => Heard::Silent,
            },
            Ok(Response::Answer(Answer::NotNewer { .. } | Answer::Absent { .. })) => Heard::NothingNewer,
            Ok(_) | Err(_) => Heard::Silent,
        }
    }

    /// What a client is answered who knows only the tag of a key: the record of highest rank among those found of names whose key has it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn by_tag(self: &Arc<Self>, tag: &Hit) -> Result<Reply, StoreError> {
        self.tagged(tag, &Wish::of_client_for_tag(*tag)).await
    }

    /// Looks through what is known here of names with a tag, and then asks for it.
    async fn tagged(self: &Arc<Self>, tag: &Hit, wish: &Wish<'_>) -> Result<Reply, StoreError> {
        let mut search = Search::new(*tag, wish.asker.is_none(), self.entered(tag).await?);
        loop {
            let reply = match search.step() {
                tagged::Step::Name(name, share) => self.resolve(&wish.of_one_name(*name, *share)).await?,
                tagged::Step::Peers => self.resolve(wish).await?,
                tagged::Step::Newest(name) => self.get(name).await?,
                tagged::Step::Entered => {
                    search.entered(&self.entered(tag).await?);
                    continue;
                }
                tagged::Step::Done(reply) => return Ok(reply.clone()),
            };
            search.replied(reply, self.clock.now().secs());
        }
    }

    async fn entered(&self, tag: &Hit) -> Result<Entered, StoreError> {
        self.hits.names(tag, self.clock.now().secs()).await
    }

    /// What has been counted.
    pub fn tally(&self) -> Tally {
        self.desk().tally().clone()
    }

    async fn resolve(self: &Arc<Self>, wish: &Wish<'_>) -> Result<Reply, StoreError> {
        let mut heads = self.store.watch();
        let local = self.local(&wish.name).await?;
        let (tell, ears) = watch::channel(None);
        let look = self.desk().look(self.now(), wish, &local, || self.views(wish), || ears);
        let mut ears = match look {
            Look::Known(reply) => return Ok(reply),
            Look::Joins(ears) => ears,
            Look::Asks(ticket, question, ears) => {
                let Some(grant) = may_ask(usize::MAX) else {
                    return Ok(self.turn_away(wish, &local, ticket, &tell));
                };
                // In a task of its own: whoever asked may go away, and others may have joined.
                tokio::spawn(Arc::clone(self).ask(ticket, question, tell, grant));
                ears
            }
        };
        waits_for(latency::Found::Searched);
        let outcome = loop {
            tokio::select! {
                outcome = hear(&mut ears) => break outcome,
                // What a feed brings meanwhile is not waited for any longer.
                Ok(()) = heads.changed(), if local.held.is_none() => {
                    if self.store.get(&wish.name).await?.is_some() {
                        break Outcome::Unknown("it came in meanwhile".to_owned());
                    }
                    sleep(LOOK_AGAIN).await;
                }
            }
        };
        let local = self.local(&wish.name).await?;
        Ok(self.desk().conclude(self.now(), wish, &local, outcome))
    }

    /// From what is at hand: who asks has made this provider ask others too often. Whoever joined meanwhile hears as much.
    fn turn_away(&self, wish: &Wish<'_>, local: &Local, ticket: Ticket, tell: &watch::Sender<Option<Outcome>>) -> Reply {
        let outcome = Outcome::Unknown("too many names are searched for at once".to_owned());
        self.desk().abandon(&wish.name, ticket);
        tell.send_replace(Some(outcome.clone()));
        match self.desk().conclude(self.now(), wish, local, outcome) {
            Reply::Unknown(_) => Reply::Busy,
            known => known,
        }
    }

    /// Asks one question to its end.
    async fn ask(self: Arc<Self>, ticket: Ticket, mut question: Box<Question>, tell: watch::Sender<Option<Outcome>>, _under_way: Grant) {
        // Should this task fail, nobody may go on joining a question that nobody asks.
        let _begun = Begun {
            asking: Arc::clone(&self),
            name: question.ask().name,
            ticket,
        };
        let mut asks = JoinSet::new();
        let mut since = BTreeMap::new();
        let (outcome, late) = loop {
            let now = self.links.elapsed();
            match question.poll(now) {
                Step::Ask {
                    peer,
                    query,
                    hint,
                    hedge,
                    until,
                } => {
                    self.desk().asked(&peer, hedge);
                    since.insert(peer, now);
                    let (this, ask) = (Arc::clone(&self), question.ask().clone());
                    asks.spawn(async move { (peer, hint, this.put_to(&peer, query, &ask, until.saturating_sub(now)).await) });
                }
                Step::DropPointer(pointer) => {
                    self.desk().pointer_dropped();
                    let (name, keeper) = (pointer.name, pointer.keeper);
                    debug!(%name, %keeper, "a pointer to nothing is dropped");
                    if let Err(error) = self.store.forget_pointers(vec![pointer]).await {
                        warn!(%name, %error, "a pointer to nothing stays");
                    }
                }
                Step::Wait(until) => {
                    let event = tokio::select! {
                        Some(answered) = asks.join_next() => match answered {
                            Ok((peer, hint, said)) => {
                                let now = self.links.elapsed();
                                let took = since.get(&peer).map_or(Duration::ZERO, |since| now.saturating_sub(*since));
                                if let Said::Wrong(why) = &said {
                                    warn!(%peer, why, "a peer answered what is not so");
                                }
                                self.desk().answered(now, &peer, hint, took, &said);
                                Event::Answered(peer, said)
                            }
                            Err(error) => {
                                warn!("a question to a peer failed, please tell us: {error}");
                                Event::Tick
                            }
                        },
                        () = sleep(until.saturating_sub(now)) => Event::Tick,
                    };
                    question.handle(self.links.elapsed(), event);
                }
                Step::Done(outcome) => break (outcome, now >= question.until()),
            }
        };
        let now = self.now();
        let mut desk = self.desk();
        for peer in question.awaited() {
            let took = since.get(peer).map_or(Duration::ZERO, |since| now.elapsed.saturating_sub(*since));
            desk.not_awaited(now.elapsed, peer, took, late);
        }
        desk.over(now, ticket, &question, &outcome);
        drop(desk);
        // Nobody may be waiting any more.
        let _ = tell.send(Some(outcome));
    }

    /// Puts a question to a peer: what its answer is worth.
    async fn put_to(&self, peer: &Name, query: Query, ask: &Ask, patience: Duration) -> Said {
        let answered = self.peering.request(peer, Request::Query(query), patience).await;
        let way = self.peering.agreements().get(peer).map(Agreement::way);
        match (answered, way) {
            (Ok(Response::Answer(answer)), Some(way)) => judge(&self.own, ask, &way, answer, self.clock.now().secs()),
            // It does not know of tags: what it holds is not found by one, and may be there.
            (Err(RequestError::Refused { why: Refused::Cannot, .. }), _) if ask.tag.is_some() => Said::Absent { certain: false },
            (Ok(_), _) => Said::Wrong(format!("the peer {peer} answered what was not asked")),
            (Err(error @ RequestError::NotAResponse { .. }), _) => Said::Wrong(error.to_string()),
            (Err(error), _) => Said::Nothing(error.to_string()),
        }
    }

    /// What the store has, and what is said to be elsewhere.
    async fn local(&self, name: &Name) -> Result<Local, StoreError> {
        let (held, pointer) = (self.store.get(name).await?, self.store.pointer(name).await?);
        Ok(Local { held, pointer })
    }

    fn views(&self, wish: &Wish<'_>) -> Vec<View> {
        let mut views = self.links.views(wish.tag.is_none().then_some(&wish.name));
        for view in &mut views {
            view.digest = self
                .peering
                .digest_of(&view.peer)
                .and_then(|digest| match &wish.tag {
                    Some(tag) => digest.contains_tag(tag),
                    None => Some(digest.contains(&wish.name)),
                })
                .filter(|_| view.linked);
        }
        views
    }

    /// Answers a peer's question, if it may ask one now.
    async fn answer_query(self: &Arc<Self>, agreement: &Agreement, query: &Query) -> Result<Response, Refused> {
        if !agreement.answers {
            return Err(Refused::NotAgreed);
        }
        let _place = self.welcome(agreement)?;
        let wish = Wish::of_peer(&self.own, agreement, query);
        let reply = if let Some(tag) = &query.tag {
            // What tags a provider ever entered is no opinion on anything.
            if query.own_only {
                return Err(Refused::Cannot);
            }
            self.tagged(tag, &wish).await
        } else if query.own_only {
            let held = self.store.get(&query.name).await;
            held.map(|held| self.desk().own_opinion(self.now(), &wish, held.as_ref()))
        } else {
            self.resolve(&wish).await
        };
        reply.map(Reply::into_response).map_err(|error| {
            debug!(name = %query.name, %error, "a peer's question is not answered");
            Refused::Busy
        })
    }

    /// A place among the questions that are being answered, given back when dropped.
    fn welcome(self: &Arc<Self>, agreement: &Agreement) -> Result<Place, Refused> {
        let mut guests = self.guests();
        let guest = guests.entry(agreement.peer).or_default();
        if guest.at_a_time >= QUESTIONS_OF_A_PEER_MAX {
            return Err(Refused::Busy);
        }
        if let Some(rate) = Rate::new(agreement.limits.queries_per_second, BURST_SECS)
            && guest.meter.take(&rate, self.clock.now()).is_err()
        {
            return Err(Refused::Limit);
        }
        guest.at_a_time += 1;
        Ok(Place {
            asking: Arc::clone(self),
            peer: agreement.peer,
        })
    }

    fn now(&self) -> Moment {
        Moment {
            wall: self.clock.now().secs(),
            elapsed: self.links.elapsed(),
        }
    }

    /// A panic elsewhere leaves at worst something forgotten.
    fn desk(&self) -> MutexGuard<'_, Desk<Ears>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guests(&self) -> MutexGuard<'_, BTreeMap<Name, Guest>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question under way; over when dropped.
struct Begun {
    asking: Arc<Asking>,
    name: Name,
    ticket: Ticket,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.asking.desk().abandon(&self.name, self.ticket);
    }
}

/// What came of a question that is being asked.
async fn hear(ears: &mut Ears) -> Outcome {
    let heard = ears.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
    heard.unwrap_or_else(|| Outcome::Unknown("the question broke off (this is a bug, please tell us)".to_owned()))
}

struct Place {
    asking: Arc<Asking>,
    peer: Name,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.asking.guests();
        if let Some(guest) = guests.get_mut(&self.peer) {
            guest.at_a_time = guest.at_a_time.saturating_sub(1);
        }
    }
}

/// Answers the questions of peers. Held by the links, so it does not hold what holds them.
#[derive(Debug)]
pub struct Answerer(pub std::sync::Weak<Asking>);

#[async_trait]
impl Answers for Answerer {
    async fn answer(&self, peer: &Name, request: Request) -> Response {
        let Some(asking) = self.0.upgrade() else {
            return Response::Refused(Refused::Busy);
        };
        let Request::Query(query) = request else {
            return Response::Refused(Refused::Cannot);
        };
        let agreements = asking.peering.agreements();
        let Some(agreement) = agreements.get(peer) else {
            return Response::Refused(Refused::NotAgreed);
        };
        let answer = asking.answer_query(agreement, &query).await;
        let mut desk = asking.desk();
        let tally = desk.tally_mut().of(peer);
        match answer {
            Ok(response) => {
                tally.served += 1;
                tally.served_hits += u64::from(matches!(response, Response::Answer(Answer::Found { .. })));
                response
            }
            Err(why) => {
                tally.refused += 1;
                Response::Refused(why)
            }
        }
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").field("own", &self.own).finish_non_exhaustive()
    }
}

/// How long another node of ours may take to look into its store.
const SIBLING_PATIENCE: Duration = Duration::from_secs(2);

/// How soon after one commit another is looked at for the name that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
