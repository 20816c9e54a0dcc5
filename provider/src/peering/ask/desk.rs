//! The desk where questions come in, a client's or a peer's: what is at hand is given, what is not is asked for, and what comes back is
//! remembered. The driver reads the store and does the asking.

use super::copies::Copies;
use super::limits::{BUDGET, HOPS_MAX, UNSURE_TTL_SECS};
use super::negative::{Negative, Remembered};
use super::question::{Ask, Found, Outcome, Question, Said};
use super::registry::{Registry, Ticket};
use super::repute::Repute;
use super::tally::Tally;
use super::whom::{self, Behalf, Hint, View};
use crate::peering::agreement::Agreement;
use crate::peering::policy;
use crate::peering::step::Moment;
use crate::store::{Class, Held, Pointer};
use dialtone_shared::hip::Hit;
use dialtone_shared::message::{Answer, Path, Query, Refused, Response, Value, mark};
use dialtone_shared::{Name, Rank, Ttl, UnixSecs, VerifiedRecord};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

/// Who wants to know what.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The name; where it is asked for a tag, what stands for it.
    pub name: Name,
    /// The tag that is asked for in the place of a name.
    pub tag: Option<Hit>,
    /// The peer who asks, as agreed; `None`: a client.
    pub asker: Option<&'a Agreement>,
    /// How many links further it may travel.
    pub hops: u8,
    /// How many more providers may be asked.
    pub budget: u8,
    /// Who has been asked or will be; ascending.
    pub visited: Vec<u64>,
    /// What the asker knows: only something newer is wanted.
    pub known: Option<Rank>,
}

/// What there is here of a name.
#[derive(Clone, Debug, Default)]
pub struct Local {
    /// What the store holds.
    pub held: Option<Held>,
    /// Where something newer is said to be.
    pub pointer: Option<Pointer>,
}

/// What becomes of a wish.
#[derive(Debug)]
pub enum Look<T> {
    /// It is answered.
    Known(Reply),
    /// It is being asked already.
    Joins(T),
    /// It has to be asked: see [`Desk::over`].
    Asks(Ticket, Box<Question>, T),
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// This record. It may be expired or a revocation.
    Record(Found),
    /// Nothing newer than what the asker knows.
    NotNewer {
        /// For how long that may be believed.
        fresh: Ttl,
    },
    /// Nobody has it.
    Absent,
    /// It cannot be said. Why, in words.
    Unknown(String),
    /// Too much is being asked.
    Busy,
}

/// What a provider knows from asking, and what it is asking.
#[derive(Debug)]
pub struct Desk<T> {
    own: Name,
    registry: Registry<T>,
    negative: Negative,
    copies: Copies,
    reputes: BTreeMap<Name, Repute>,
    tally: Tally,
}

/// What is at hand for whoever asks.
struct AtHand {
    found: Found,
    is_held: bool,
}

impl<'a> Wish<'a> {
    /// What a client wants.
    pub fn of_client(name: Name) -> Self {
        Self {
            name,
            tag: None,
            asker: None,
            hops: HOPS_MAX,
            budget: BUDGET,
            visited: Vec::new(),
            known: None,
        }
    }

    /// What a client wants who knows only the tag of a key.
    pub fn of_client_for_tag(tag: Hit) -> Self {
        Self {
            tag: Some(tag),
            ..Self::of_client(tag.place())
        }
    }

    /// The same of a name that may have the tag which is asked for; `share` such names share what a peer may cause.
    pub fn of_one_name(&self, name: Name, share: usize) -> Self {
        Self {
            name,
            tag: None,
            budget: match self.asker {
                Some(_) => self.budget / u8::try_from(share).unwrap_or(u8::MAX).max(1),
                None => self.budget,
            },
            ..self.clone()
        }
    }

    /// What a peer wants. No more is done for it than for a client.
    pub fn of_peer(own: &Name, asker: &'a Agreement, query: &Query) -> Self {
        let own = mark(own);
        // Its list has us, whom it asks: that says nothing.
        let mut visited: Vec<_> = query.visited.iter().copied().filter(|one| *one != own).collect();
        visited.sort_unstable();
        visited.dedup();
        Self {
            name: query.name,
            tag: query.tag,
            asker: Some(asker),
            hops: query.hops.min(HOPS_MAX - 1),
            budget: query.budget.min(BUDGET - 1),
            visited,
            // Of another name, maybe, than the one that has the tag.
            known: query.known.filter(|_| query.tag.is_none()),
        }
    }

    fn behalf(&self) -> Behalf {
        self.asker.map_or(Behalf::Client, |asker| Behalf::Of(asker.relationship))
    }

    /// Whether whoever asks may have this record: as it would be pushed.
    fn may_have(&self, record: &VerifiedRecord, class: Class) -> bool {
        self.asker
            .is_none_or(|asker| policy::passes(record.name(), record.record(), &asker.way()) && policy::exports(asker.relationship, class))
    }

    /// Whether the agreement keeps the name from whoever asks: then nothing is said of it, not even whether it is there.
    fn is_shut(&self) -> bool {
        // No agreement speaks of tags: of which names it may hear, each is seen when it is found.
        self.tag.is_none() && self.asker.is_some_and(|asker| asker.filter.shuts_out(&self.name))
    }

    /// Whether nothing but the agreement's filter keeps this record from whoever asks: it is not absent for them.
    fn keeps_back(&self, record: &VerifiedRecord) -> bool {
        self.asker.is_some_and(|asker| {
            let scope = &record.record().scope;
            record.record().in_scope(&asker.peer) && !asker.filter.passes(record.name(), !scope.is_empty())
        })
    }

    /// Whether a record of this rank is what the asker knows, or older.
    fn knows(&self, rank: &Rank) -> bool {
        let order = self.known.as_ref().and_then(|known| rank.compare(known));
        matches!(order, Some(Ordering::Less | Ordering::Equal))
    }
}

impl Reply {
    /// What a peer is told.
    pub fn into_response(self) -> Response {
        Response::Answer(match self {
            Self::Record(found) => Answer::Found {
                value: Value {
                    class: found.class as u8,
                    keep_until: found.keep_until,
                    record: found.record.bytes().clone(),
                    path: Path::default(),
                },
                fresh: found.fresh,
            },
            Self::NotNewer { fresh } => Answer::NotNewer { fresh },
            Self::Absent => Answer::Absent { certain: true },
            Self::Unknown(_) => Answer::Absent { certain: false },
            Self::Busy => return Response::Refused(Refused::Busy),
        })
    }
}

impl<T: Clone> Desk<T> {
    /// A desk of provider `own` where nothing is known yet.
    pub fn new(own: Name) -> Self {
        Self {
            own,
            registry: Registry::default(),
            negative: Negative::default(),
            copies: Copies::default(),
            reputes: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// Answers at once, or says what is to be asked. `ears`: how those who join the question are told.
    pub fn look(
        &mut self,
        now: Moment,
        wish: &Wish<'_>,
        local: &Local,
        views: impl FnOnce() -> Vec<View>,
        ears: impl FnOnce() -> T,
    ) -> Look<T> {
        if wish.is_shut() {
            return Look::Known(kept_back());
        }
        let pointer = local.pointer.clone().filter(|pointer| wish.behalf().may_know(pointer.class));
        let at_hand = self.at_hand(now, wish, local);
        let newer = pointer.filter(|pointer| at_hand.as_ref().is_none_or(|one| pointer.outranks(one.found.record.rank())));
        if let Some(one) = &at_hand
            && newer.is_none()
            && one.found.fresh.0 > 0
        {
            self.tally.copy_hits += u64::from(!one.is_held);
            return Look::Known(give(wish, one.found.clone()));
        }
        let mut views = views();
        for view in &mut views {
            let repute = self.reputes.entry(view.peer).or_default();
            view.usual = repute.usual();
            view.merit = repute.merit(now.elapsed);
            view.aside = repute.is_aside(now.elapsed);
        }
        if at_hand.is_none() && newer.is_none() && wish.asker.is_none() {
            let hits = views.iter().filter(|view| view.digest == Some(true)).map(|view| mark(&view.peer));
            if let Some(remembered) = self.negative.get(&wish.name, now.elapsed, hits) {
                self.tally.negative_hits += 1;
                return Look::Known(match remembered {
                    Remembered::Absent => Reply::Absent,
                    Remembered::Unknown(why) => Reply::Unknown(why),
                });
            }
        }
        let plan = whom::plan(wish.behalf(), &wish.visited, newer.as_ref(), &views, at_hand.is_some());
        if plan.directed.is_empty() && plan.rest.is_empty() {
            let outcome = plan.doubt.map_or(Outcome::Absent, Outcome::Unknown);
            return Look::Known(self.conclude(now, wish, local, outcome));
        }
        let known = at_hand.as_ref().map(|one| *one.found.record.rank());
        let ttl = at_hand.as_ref().map(|one| one.found.record.record().ttl_at(now.wall));
        let ask = Ask {
            name: wish.name,
            tag: wish.tag,
            hops: wish.hops,
            budget: wish.budget,
            visited: wish.visited.clone(),
            known: known.filter(|rank| !wish.knows(rank)).or(wish.known).or(known),
            ttl: ttl.unwrap_or_default(),
            floor: self.copies.get(&wish.name, now.elapsed).map(|seen| seen.rank),
        };
        if let Some(ears) = self.registry.join(wish.behalf(), &ask) {
            self.tally.coalesced += 1;
            return Look::Joins(ears);
        }
        let ears = ears();
        match self.registry.begin(wish.behalf(), &ask, ears.clone()) {
            Ok(ticket) => {
                self.tally.questions += 1;
                Look::Asks(ticket, Box::new(Question::new(now.elapsed, &self.own, ask, newer, plan)), ears)
            }
            Err(error) => {
                self.tally.turned_away += 1;
                match at_hand {
                    Some(_) => Look::Known(self.conclude(now, wish, local, Outcome::Unknown(error.to_string()))),
                    None => Look::Known(Reply::Busy),
                }
            }
        }
    }

    /// From what is held alone, for whoever wants a second opinion.
    pub fn own_opinion(&self, now: Moment, wish: &Wish<'_>, held: Option<&Held>) -> Reply {
        if wish.is_shut() || held.is_some_and(|held| wish.keeps_back(&held.record)) {
            return kept_back();
        }
        let held = held.filter(|held| wish.may_have(&held.record, held.class) && held.forget_at().is_none_or(|at| at > now.wall));
        match held {
            Some(held) => give(wish, found_held(held, held.record.record().ttl_at(now.wall))),
            None => Reply::Absent,
        }
    }

    /// A peer is being asked.
    pub fn asked(&mut self, peer: &Name, hedge: bool) {
        let tally = self.tally.of(peer);
        tally.asked += 1;
        tally.hedged += u64::from(hedge);
    }

    /// A peer has answered, after `took`, or it is clear that it will not.
    pub fn answered(&mut self, now: Duration, peer: &Name, hint: Hint, took: Duration, said: &Said) {
        let (repute, tally) = (self.reputes.entry(*peer).or_default(), self.tally.of(peer));
        match said {
            Said::Found(_) | Said::NotNewer { .. } | Said::Absent { .. } => {
                let hit = matches!(said, Said::Found(_));
                let vain = hint == Hint::Digest && matches!(said, Said::Absent { .. });
                repute.answered(now, took, hit);
                tally.answered += 1;
                tally.hits += u64::from(hit);
                tally.false_positives += u64::from(vain);
            }
            Said::Nothing(_) => {
                repute.failed(now);
                tally.failed += 1;
            }
            Said::Wrong(_) => {
                repute.failed(now);
                tally.answered += 1;
                tally.wrong += 1;
            }
        }
    }

    /// Nobody waits for a peer's answer any more, after `took`; `late`: as long as one may wait.
    pub fn not_awaited(&mut self, now: Duration, peer: &Name, took: Duration, late: bool) {
        let repute = self.reputes.entry(*peer).or_default();
        repute.not_awaited(took);
        if late {
            repute.failed(now);
            self.tally.of(peer).failed += 1;
        }
    }

    /// A pointer was dropped.
    pub fn pointer_dropped(&mut self) {
        self.tally.pointers_dropped += 1;
    }

    /// A question is over: what came of it is remembered, before those who wait for it are told and [`Desk::conclude`].
    pub fn over(&mut self, now: Moment, ticket: Ticket, question: &Question, outcome: &Outcome) {
        let ask = question.ask();
        self.registry.end(&ask.name, ticket);
        // Only the questions of clients leave nobody out. What came of others is no more than that somebody gave a record.
        let whole = ask.hops == HOPS_MAX;
        // Who was asked for a tag did not say what others know of the name: whether it is the newest is asked by its name.
        let until = |secs: u32| now.elapsed + Duration::from_secs(u64::from(secs));
        match outcome {
            Outcome::Found(found) => {
                let fresh = if whole && ask.tag.is_none() { found.fresh } else { Ttl(0) };
                self.copies.fetched(
                    now.elapsed,
                    &Found {
                        fresh,
                        ..Found::clone(found)
                    },
                );
                self.negative.forget(&ask.name);
            }
            Outcome::NotNewer { fresh } => {
                if let Some(known) = ask.known.filter(|_| whole) {
                    self.copies.confirmed(&ask.name, &known, until(fresh.0.min(ask.ttl.0)));
                }
            }
            Outcome::Absent if whole => match ask.known {
                // Also one that has expired: that it has is not asked about at every get.
                Some(known) => self.copies.confirmed(&ask.name, &known, until(ask.ttl.0.max(UNSURE_TTL_SECS))),
                None => self.negative.absent(ask.name, now.elapsed, question.false_hits()),
            },
            Outcome::Unknown(why) if whole => {
                self.tally.unknown += 1;
                match ask.known {
                    Some(known) => self.copies.confirmed(&ask.name, &known, until(UNSURE_TTL_SECS)),
                    None => self.negative.unknown(ask.name, now.elapsed, question.false_hits(), why.clone()),
                }
            }
            Outcome::Absent | Outcome::Unknown(_) => {}
        }
    }

    /// A question came to nothing: nobody joins it any more.
    pub fn abandon(&mut self, name: &Name, ticket: Ticket) {
        self.registry.end(name, ticket);
    }

    /// What is answered now that a question is over. `local`: what there is now, which may be more than there was.
    pub fn conclude(&mut self, now: Moment, wish: &Wish<'_>, local: &Local, outcome: Outcome) -> Reply {
        let found = matches!(&outcome, Outcome::Found(found) if wish.keeps_back(&found.record));
        let mut copy = || self.copies.get(&wish.name, now.elapsed).and_then(|seen| seen.copy);
        let copied =
            wish.asker.is_some_and(|asker| !asker.filter.passes_scoped()) && copy().is_some_and(|copy| wish.keeps_back(&copy.record));
        let kept = found || copied || local.held.as_ref().is_some_and(|held| wish.keeps_back(&held.record));
        match self.concluded(now, wish, local, outcome) {
            Reply::Absent if kept || wish.is_shut() => kept_back(),
            reply => reply,
        }
    }

    fn concluded(&mut self, now: Moment, wish: &Wish<'_>, local: &Local, outcome: Outcome) -> Reply {
        let seen = self.copies.get(&wish.name, now.elapsed).map(|seen| seen.rank);
        let vouches = |pointer: &Pointer| seen.is_none_or(|rank| pointer.is_of(&rank) || pointer.outranks(&rank));
        let is_kept = local.pointer.as_ref().is_some_and(vouches);
        // Only a client's question leaves nobody out. Who is not asked about a copy, for its silence is proof, may still point to whoever keeps it.
        if outcome == Outcome::Absent && wish.asker.is_none() && !is_kept {
            self.copies.withdrawn(&wish.name);
        }
        let at_hand = self.at_hand(now, wish, local);
        let lasting = |one: AtHand, most: Ttl| {
            let ttl = one.found.record.record().ttl_at(now.wall).min(most);
            let fresh = ttl.max(one.found.fresh);
            Found { fresh, ..one.found }
        };
        match (outcome, at_hand) {
            (Outcome::Found(found), at_hand) => match at_hand {
                Some(one) if !found.record.outranks(&one.found.record) => give(wish, lasting(one, found.fresh)),
                _ if wish.may_have(&found.record, found.class) => give(wish, *found),
                Some(one) => give(wish, one.found),
                None => Reply::Absent,
            },
            (Outcome::NotNewer { fresh }, Some(one)) => give(wish, lasting(one, fresh)),
            (Outcome::NotNewer { fresh }, None) if wish.known.is_some() => Reply::NotNewer { fresh },
            (Outcome::NotNewer { .. }, None) => Reply::Unknown("what was at hand is gone since".to_owned()),
            (Outcome::Absent, Some(one)) if one.is_held || is_kept => give(wish, lasting(one, Ttl(u32::MAX))),
            (Outcome::Absent, _) => Reply::Absent,
            (Outcome::Unknown(why), Some(one)) => {
                if wish.knows(one.found.record.rank()) {
                    return Reply::Unknown(why);
                }
                give(wish, lasting(one, Ttl(UNSURE_TTL_SECS)))
            }
            (Outcome::Unknown(why), None) => Reply::Unknown(why),
        }
    }

    /// The newest of what is held and what was fetched, for whoever asks, and how long it may be taken for the newest without asking.
    fn at_hand(&mut self, now: Moment, wish: &Wish<'_>, local: &Local) -> Option<AtHand> {
        let seen = self.copies.get(&wish.name, now.elapsed);
        let mut copy = seen.as_ref().and_then(|seen| seen.copy.clone());
        if let (Some(held), Some(fetched)) = (&local.held, &copy)
            && !fetched.record.outranks(&held.record)
        {
            self.copies.withdrawn(&wish.name);
            copy = None;
        }
        let copy = copy.filter(|copy| wish.may_have(&copy.record, copy.class));
        let lasts = |held: &&Held| wish.asker.is_none() || held.forget_at().is_none_or(|at| at > now.wall);
        let held = local
            .held
            .as_ref()
            .filter(|held| wish.may_have(&held.record, held.class))
            .filter(lasts);
        let (mut found, is_held) = match (copy, held) {
            // A copy that is older than what is held was dropped above.
            (Some(copy), _) => (
                Found {
                    record: copy.record,
                    class: copy.class,
                    keep_until: copy.keep_until,
                    fresh: Ttl(0),
                },
                false,
            ),
            (None, Some(held)) => (found_held(held, Ttl(0)), true),
            (None, None) => return None,
        };
        let confirmed = seen.filter(|seen| seen.rank.digest == found.record.rank().digest);
        let confirmed = confirmed.map_or(0, |seen| u32::try_from(seen.fresh.as_secs()).unwrap_or(u32::MAX));
        found.fresh = Ttl(confirmed.max(young(&found.record, now.wall)));
        Some(AtHand { found, is_held })
    }

    /// What has been counted.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What has been counted, to count on.
    pub fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }
}

/// For how many seconds a record needs no asking since it was signed only now: nothing newer has been there for longer than its TTL.
fn young(record: &VerifiedRecord, now: UnixSecs) -> u32 {
    let age = now.since(record.record().sequence.secs());
    record.record().ttl_at(now).0.saturating_sub(u32::try_from(age).unwrap_or(u32::MAX))
}

/// What is held, as it is answered.
pub fn found_held(held: &Held, fresh: Ttl) -> Found {
    Found {
        record: held.record.clone(),
        class: held.class,
        keep_until: held.keep_until,
        fresh,
    }
}

/// What is said of a name that the agreement keeps from whoever asks.
fn kept_back() -> Reply {
    Reply::Unknown("the agreement does not let it pass".to_owned())
}

/// A record for who does not know it yet.
fn give(wish: &Wish<'_>, found: Found) -> Reply {
    if wish.knows(found.record.rank()) {
        let fresh = found.fresh;
        return Reply::NotNewer { fresh };
    }
    Reply::Record(found)
}
