//! One question, from the first peer that is asked to the outcome.
//!
//! ```text
//!              no, failed, or slower than usual          nobody left           first record: who was asked with it
//!            ┌────────────────────────────┐         (or a second opinion       may still have a newer one
//!            ▼                            │            is what is wanted)
//!  new ─▶ One after the other ─▶ ask the next ───────────────────────────▶ All at once ──────────▶ Gathering
//!            │ a record as new as was promised                                │ all have answered      │ or it is late
//!            ▼                                                                ▼                        ▼
//!          Done ◀─────────────────────────────────────────────────────────── Done ◀────────────────── Done
//! ```
//!
//! After each [`Question::handle`], [`Question::poll`] until it says [`Step::Wait`] or [`Step::Done`]. Whoever is asked is told not to ask
//! those who were or are asked here, nor those whose silence is enough: so every provider is seen to by somebody, and if all say that
//! they have nothing, nobody has. Where one of them is bound not to say, and nobody gave anything, the others are asked again and may ask that one
//! (once: `around`).

use super::limits::{BUDGET, DIGEST_BUDGET, FETCHES_MAX, GATHER_MAX, HOPS_MAX, PATIENCE_PER_HOP, UNSURE_TTL_SECS};
use super::whom::{Candidate, Hint, Plan};
use crate::store::{Class, Pointer};
use dialtone_shared::hip::Hit;
use dialtone_shared::message::{Query, VISITED_MAX, mark};
use dialtone_shared::{Name, Rank, Ttl, UnixSecs, VerifiedRecord};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// The name; where it is asked for a tag, what stands for it.
    pub name: Name,
    /// The tag that is asked for in the place of a name.
    pub tag: Option<Hit>,
    /// How many links further it may travel.
    pub hops: u8,
    /// How many more providers may be asked.
    pub budget: u8,
    /// Who has been asked or will be, by those who ask us; ascending.
    pub visited: Vec<u64>,
    /// What is at hand: only something newer is wanted.
    pub known: Option<Rank>,
    /// How long what is at hand may be taken for the newest, once all say that it is.
    pub ttl: Ttl,
    /// The highest rank ever seen: nothing older is believed to be the newest.
    pub floor: Option<Rank>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A peer that was asked has answered.
    Answered(Name, Said),
    /// Time went by.
    Tick,
}

/// What a peer's answer is worth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// A genuine record of the name, newer than what is known.
    Found(Box<Found>),
    /// That there is nothing newer than what it was told is known.
    NotNewer {
        /// For how long that may be believed.
        fresh: Ttl,
    },
    /// That it knows nothing; `certain`: nor does anyone whom it could ask.
    Absent {
        /// See above.
        certain: bool,
    },
    /// Nothing: it is busy, away, or will not say. Why, in words.
    Nothing(String),
    /// Something that is not so: no record of the name, or an older one than it was told of. Why, in words.
    Wrong(String),
}

/// A record that a peer gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The record.
    pub record: VerifiedRecord,
    /// Where it was learnt, from our side.
    pub class: Class,
    /// How long it is kept.
    pub keep_until: UnixSecs,
    /// How long it may be taken for the newest.
    pub fresh: Ttl,
}

impl Found {
    /// Whether it is kept as a floor, but not served.
    pub fn is_over(&self, now: UnixSecs) -> bool {
        let until = self.record.record().served_until(self.keep_until);
        until.is_some_and(|until| until <= now)
    }
}

/// What to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// Ask a peer; answered by [`Event::Answered`].
    Ask {
        /// Whom.
        peer: Name,
        /// What.
        query: Query,
        /// What sends us there.
        hint: Hint,
        /// Whether it is asked because another is slow.
        hedge: bool,
        /// When to stop waiting.
        until: Duration,
    },
    /// Whoever is said to keep the record does not have it.
    DropPointer(Pointer),
    /// Nothing to do until something happens, or until then.
    Wait(Duration),
    /// It is over. Whoever has not answered need not any more.
    Done(Outcome),
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The newest record that was given.
    Found(Box<Found>),
    /// What is known is the newest, as all say who had to be asked.
    NotNewer {
        /// For how long that may be believed.
        fresh: Ttl,
    },
    /// Nobody has it, as all say who had to be asked; nobody spoke of what is known either.
    Absent,
    /// It cannot be said. Why, in words.
    Unknown(String),
}

/// A question under way.
#[derive(Debug)]
pub struct Question {
    ask: Ask,
    own: u64,
    pointer: Option<Pointer>,
    directed: VecDeque<Candidate>,
    rest: Vec<Candidate>,
    silent: Vec<u64>,
    budget: u8,
    asked: Vec<Asked>,
    until: Duration,
    /// Whether the rest have been asked.
    at_once: bool,
    /// Whether others were asked once more, who may now ask those that say nothing to us.
    around: bool,
    /// Until when more records may come in.
    gather: Option<Duration>,
    best: Option<Box<Found>>,
    /// Whether somebody said that there is nothing newer than what is known.
    not_newer: bool,
    /// For how long all who gave or confirmed something would say the same: each has asked others than the rest.
    fresh: Ttl,
    doubt: Option<String>,
    steps: VecDeque<Step>,
    done: Option<Outcome>,
}

#[derive(Debug)]
struct Asked {
    candidate: Candidate,
    usual_until: Duration,
    over: bool,
    /// It could not say, and may be bound not to: others may hear from it what we do not.
    refuses: bool,
}

impl Question {
    /// A question of provider `own`, to be asked as planned.
    pub fn new(now: Duration, own: &Name, ask: Ask, pointer: Option<Pointer>, plan: Plan) -> Self {
        let mut rest = plan.rest;
        let mut directed = VecDeque::from(plan.directed);
        if ask.known.is_some() && pointer.is_none() {
            // Whether what is at hand is the newest, each may know otherwise: there is no point in asking one after the other.
            rest.splice(0..0, directed.drain(..));
        }
        // Of those who told of the name the last is kept: another may be on its way to the keeper, and must not be left out.
        let silent = if pointer.is_some() { Vec::new() } else { plan.silent };
        Self {
            own: mark(own),
            pointer,
            directed,
            rest,
            silent,
            budget: ask.budget,
            asked: Vec::new(),
            until: now + PATIENCE_PER_HOP * u32::from(ask.hops),
            at_once: false,
            around: false,
            gather: None,
            best: None,
            not_newer: false,
            fresh: Ttl(u32::MAX),
            doubt: plan.doubt,
            steps: VecDeque::new(),
            done: None,
            ask,
        }
    }

    /// What is asked.
    pub fn ask(&self) -> &Ask {
        &self.ask
    }

    /// When it ends at the latest.
    pub fn until(&self) -> Duration {
        self.until
    }

    /// Whose answers are still awaited.
    pub fn awaited(&self) -> impl Iterator<Item = &Name> {
        self.asked.iter().filter(|one| !one.over).map(|one| &one.candidate.peer)
    }

    /// Whose digest had it although they do not: those sent us here in vain, if nothing was found.
    pub fn false_hits(&self) -> Vec<u64> {
        let hits = self.asked.iter().filter(|one| one.candidate.hint == Hint::Digest && one.over);
        hits.map(|one| mark(&one.candidate.peer)).collect()
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Duration, event: Event) {
        match event {
            Event::Answered(peer, said) => self.answered(now, &peer, said),
            Event::Tick => {}
        }
    }

    /// What to do next.
    pub fn poll(&mut self, now: Duration) -> Step {
        if self.steps.is_empty() && self.done.is_none() {
            self.advance(now);
        }
        if let Some(step) = self.steps.pop_front() {
            return step;
        }
        match &self.done {
            Some(outcome) => Step::Done(outcome.clone()),
            None => Step::Wait(self.due(now)),
        }
    }

    fn answered(&mut self, now: Duration, peer: &Name, said: Said) {
        let Some(one) = self.asked.iter_mut().find(|one| one.candidate.peer == *peer && !one.over) else {
            return;
        };
        one.over = true;
        one.refuses = one.candidate.filtered && matches!(said, Said::Absent { certain: false } | Said::Nothing(_));
        let candidate = one.candidate.clone();
        if candidate.hint == Hint::Pointer
            && let Some(pointer) = &self.pointer
        {
            let keeper = pointer.keeper == *peer;
            // It may hold it for others than us: whoever told us of it may be given it.
            let not_for_us = keeper && pointer.from != *peer && candidate.selective;
            let lacks = match &said {
                Said::Found(found) => keeper && !is_kept(pointer, found.record.rank()),
                // Of what whoever asks knows already it has no more to say.
                Said::NotNewer { .. } => self.ask.known.is_none_or(|known| pointer.outranks(&known)),
                Said::Absent { .. } if not_for_us => false,
                Said::Absent { certain } => *certain || keeper,
                Said::Wrong(_) => keeper,
                Said::Nothing(_) => false,
            };
            if lacks {
                self.steps.extend(self.pointer.take().map(Step::DropPointer));
            }
        }
        match said {
            Said::Found(found) => {
                self.fresh = self.fresh.min(found.fresh);
                if self.best.as_ref().is_none_or(|best| found.record.outranks(&best.record)) {
                    self.best = Some(found);
                }
                if self.is_as_promised() {
                    let others = self.asked.iter().filter(|one| !one.over && self.at_once);
                    let usual = others.map(|one| one.usual_until.saturating_sub(now)).max().unwrap_or_default();
                    self.gather.get_or_insert(now + usual.min(GATHER_MAX));
                }
            }
            Said::NotNewer { fresh } if self.ask.known.is_some() => {
                self.not_newer = true;
                self.fresh = self.fresh.min(fresh);
            }
            Said::NotNewer { .. } => self.doubt(format!("the peer {peer} answered what was not asked")),
            Said::Absent { certain: true } => {}
            Said::Absent { certain: false } if candidate.hint != Hint::None => {
                // It was not to ask many, for it was to have it. What lies behind it is now asked about together with all others.
                self.rest.push(Candidate {
                    hint: Hint::None,
                    ..candidate
                });
                self.at_once = false;
            }
            Said::Absent { certain: false } => self.doubt(format!("the peer {peer} could not ask everyone")),
            Said::Nothing(why) | Said::Wrong(why) => self.doubt(why),
        }
    }

    /// Whether a record was found, and it is as new as the pointer says, if there is one.
    fn is_as_promised(&self) -> bool {
        let kept = |best: &Found| self.pointer.as_ref().is_none_or(|pointer| is_kept(pointer, best.record.rank()));
        self.best.as_deref().is_some_and(kept)
    }

    fn advance(&mut self, now: Duration) {
        let mut waiting = self.asked.iter().filter(|one| !one.over).peekable();
        let idle = waiting.peek().is_none();
        let slow = waiting.all(|one| now >= one.usual_until);
        if now >= self.until || self.gather.is_some_and(|gather| idle || now >= gather) {
            return self.finish();
        }
        // Where the budget is spent nobody is asked: then it is over now, not when patience ends.
        while slow && self.gather.is_none() && self.steps.is_empty() {
            if let Some(next) = self.directed.pop_front() {
                // The way to a keeper is as long as it is; what may follow a digest needs something too.
                let after = u8::try_from(self.directed.len()).unwrap_or(u8::MAX).saturating_add(1);
                // Who keeps it has to ask at most whether it is the newest. Where it gives us nothing, the way by who told us needs the rest.
                let keeps = self.pointer.as_ref().is_some_and(|pointer| pointer.keeper == next.peer);
                let cap = match next.hint {
                    Hint::Pointer if !keeps || after == 1 => (FETCHES_MAX - 1).min(self.budget.saturating_sub(after)),
                    Hint::Pointer | Hint::Digest | Hint::None => (DIGEST_BUDGET - 1).min(self.budget.saturating_sub(1) / 2),
                };
                self.ask_all(now, vec![next], Some(cap), !idle);
            } else if !std::mem::replace(&mut self.at_once, true) {
                self.ask_rest(now, !idle);
            } else if self.goes_on() {
                self.next_round(now, !idle);
            } else {
                break;
            }
        }
        if self.asked.iter().all(|one| one.over) && self.directed.is_empty() && self.at_once && !self.goes_on() {
            if !self.goes_around() {
                return self.finish();
            }
            self.advance(now);
        }
    }

    fn ask_rest(&mut self, now: Duration, hedge: bool) {
        let rest = std::mem::take(&mut self.rest);
        self.ask_all(now, rest, None, hedge);
    }

    /// Asks more peers than one budget pays for: the next ones.
    fn next_round(&mut self, now: Duration, hedge: bool) {
        self.budget = self.ask.budget;
        self.ask_rest(now, hedge);
    }

    /// Whether those are to be asked once more who left out somebody that says nothing to us. Most names are in nobody's filter, and to ask everybody for everything past all filters
    /// at once would take more questions than one may cause where many are linked with many.
    fn goes_around(&mut self) -> bool {
        let refuse = self.refusing();
        if refuse.is_empty() || self.best.is_some() || std::mem::replace(&mut self.around, true) {
            return false;
        }
        for one in &self.asked {
            let peer = one.candidate.peer;
            let left_out = refuse.iter().any(|other| *other != peer);
            if left_out && self.rest.iter().all(|other| other.peer != peer) {
                self.rest.push(Candidate {
                    hint: Hint::None,
                    ..one.candidate.clone()
                });
            }
        }
        self.at_once = self.rest.is_empty();
        if self.is_ours() {
            self.budget = self.ask.budget;
        }
        !self.at_once
    }

    /// Who could not say, and may be bound not to.
    fn refusing(&self) -> BTreeSet<Name> {
        self.asked.iter().filter(|one| one.refuses).map(|one| one.candidate.peer).collect()
    }

    /// Whether it is a client's question, which leaves nobody out.
    fn is_ours(&self) -> bool {
        self.ask.hops == HOPS_MAX && self.ask.budget == BUDGET
    }

    /// Whether there are peers left, whom a question of our own asks in a round of their own: nobody else can ask them for us.
    fn goes_on(&self) -> bool {
        self.is_ours() && self.best.is_none() && !self.rest.is_empty()
    }

    /// Asks these at the same time, and shares out what is left of the budget by how many lie behind each; at most `cap` to each.
    fn ask_all(&mut self, now: Duration, mut candidates: Vec<Candidate>, cap: Option<u8>, hedge: bool) {
        let all = candidates.len();
        let may = usize::from(if self.ask.hops == 0 { 0 } else { self.budget });
        let later = candidates.split_off(candidates.len().min(may));
        let rounds = self.is_ours() && cap.is_none();
        // One that may keep something from us unsaid is no answer for the others.
        let refuse = self.refusing();
        let open = |one: &&Candidate| !one.selective && !refuse.contains(&one.peer);
        let marks = candidates.iter().filter(open).map(|one| mark(&one.peer));
        let asked = self.asked.iter().map(|one| &one.candidate).filter(open).map(|one| mark(&one.peer));
        let mut visited: Vec<_> = self
            .ask
            .visited
            .iter()
            .copied()
            .chain([self.own])
            .chain(asked)
            .chain(marks)
            .collect();
        // To leave those out whose silence is enough only saves questions: that it can be done without comes first.
        let room = VISITED_MAX.saturating_sub(visited.len());
        visited.extend(self.silent.iter().take(room));
        visited.sort_unstable();
        visited.dedup();
        if visited.len() > VISITED_MAX {
            candidates.clear();
        }
        let left = if rounds { later.len() } else { 0 };
        if candidates.len() + left < all {
            self.doubt("it would take more questions than one may cause to ask everyone who may know".to_owned());
        }
        self.rest.extend(later.into_iter().take(left));
        self.budget -= u8::try_from(candidates.len()).unwrap_or(self.budget).min(self.budget);
        // Who may have to ask once more keeps half for it; a client's question has as much again.
        let keeps = !self.around && !self.is_ours() && candidates.iter().any(|one| one.filtered);
        let shared = if keeps { self.budget / 2 } else { self.budget };
        // Whoever something sent us to and is slow may have to be asked again with all others: a share is kept for that.
        let again = self
            .asked
            .iter()
            .filter(|one| !self.is_ours() && !one.over && one.candidate.hint != Hint::None);
        let sharing: Vec<_> = candidates.iter().chain(again.map(|one| &one.candidate)).collect();
        let shares = share_out(shared, &sharing, &visited, cap);
        for (candidate, share) in candidates.into_iter().zip(shares) {
            self.budget -= share.min(self.budget);
            let query = Query {
                name: self.ask.name,
                tag: self.ask.tag,
                hops: self.ask.hops.saturating_sub(1),
                visited: visited.clone(),
                budget: share,
                own_only: false,
                known: self.ask.known,
            };
            self.steps.push_back(Step::Ask {
                peer: candidate.peer,
                query,
                hint: candidate.hint,
                hedge,
                until: self.until,
            });
            self.asked.push(Asked {
                usual_until: now + candidate.usual,
                candidate,
                over: false,
                refuses: false,
            });
        }
    }

    fn finish(&mut self) {
        let late = self.awaited().next().map(|peer| format!("the peer {peer} did not answer in time"));
        let unkept = self.pointer.as_ref().filter(|_| !self.is_as_promised());
        let unkept = unkept.map(|pointer| format!("the provider {} is said to keep it and did not give it", pointer.keeper));
        let doubt = self.doubt.take().or(late).or(unkept);
        let outcome = match self.best.take() {
            Some(mut found) => {
                // Somebody may have a newer one: who is slow, or was not asked since another was said to have it.
                let may_know = |one: &Candidate| one.hint != Hint::Pointer || one.behind(&[]) > 0;
                let unsure = doubt.is_some() || self.directed.iter().chain(&self.rest).any(may_know);
                found.fresh = self.fresh.min(if unsure { Ttl(UNSURE_TTL_SECS) } else { self.fresh });
                Outcome::Found(found)
            }
            None => {
                let unasked = self.directed.front().or(self.rest.first());
                let unasked = unasked.map(|one| format!("there was no time to ask the peer {}", one.peer));
                match doubt.or(unasked) {
                    Some(why) => Outcome::Unknown(why),
                    None if self.not_newer => Outcome::NotNewer { fresh: self.fresh },
                    None => Outcome::Absent,
                }
            }
        };
        self.done = Some(outcome);
    }

    /// When to be asked again if nothing happens.
    fn due(&self, now: Duration) -> Duration {
        let more = self.gather.is_none() && (!self.directed.is_empty() || !self.at_once || self.goes_on());
        let slow = self.asked.iter().filter(|one| more && !one.over).map(|one| one.usual_until);
        let due = slow.filter(|due| *due > now).chain(self.gather).min();
        due.map_or(self.until, |due| due.min(self.until))
    }

    fn doubt(&mut self, why: String) {
        self.doubt.get_or_insert(why);
    }
}

/// Whether a record of this rank is what the pointer promises, or better.
fn is_kept(pointer: &Pointer, rank: &Rank) -> bool {
    rank.order() >= (pointer.epoch, false, pointer.sequence)
}

/// Shares `budget` out: up to half of it to all alike, as much as a pointer may cause, for where nobody lies behind there may be one, and its keeper
/// far off; at least one to each, as far as it goes; and the rest by how many lie behind each, and evenly if that is nobody.
fn share_out(budget: u8, candidates: &[&Candidate], visited: &[u64], cap: Option<u8>) -> Vec<u8> {
    if let Some(cap) = cap {
        return vec![cap; candidates.len()];
    }
    let mut weights: Vec<_> = candidates.iter().map(|one| one.behind(visited)).collect();
    if weights.iter().all(|weight| *weight == 0) {
        weights.fill(1);
    }
    let sum = weights.iter().sum::<usize>().max(1);
    let (budget, each) = (usize::from(budget), candidates.len().max(1));
    let alike = (budget / 2 / each).clamp(1, usize::from(FETCHES_MAX - 1));
    let rest = budget.saturating_sub(alike * each);
    let share = |(index, weight)| alike.min(budget.saturating_sub(index * alike)) + rest * weight / sum;
    // At most the budget, which is a u8.
    weights.into_iter().enumerate().map(|one| share(one) as u8).collect()
}
