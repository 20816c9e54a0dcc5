//! The questions of a world's providers to each other, as `io::peering::ask` asks and answers them.

use super::gets::Errand;
use super::tags::Part;
use super::{Action, World, ready};
use dialtone_provider::accounting::rate::Rate;
use dialtone_provider::peering::agreement::{Agreement, Agreements};
use dialtone_provider::peering::ask::desk::{Look, Reply, Wish};
use dialtone_provider::peering::ask::judge::judge;
use dialtone_provider::peering::ask::limits::QUESTIONS_OF_A_PEER_MAX;
use dialtone_provider::peering::ask::question::{Event, Outcome, Question, Said, Step};
use dialtone_provider::peering::ask::registry::Ticket;
use dialtone_provider::peering::ask::tagged;
use dialtone_provider::peering::ask::whom::Hint;
use dialtone_provider::peering::session::Session;
use dialtone_provider::settings::BURST_SECS;
use dialtone_provider::store::RecordStore;
use dialtone_shared::Name;
use dialtone_shared::message::{Answer, Query, Refused, Request, Response};
use std::collections::BTreeMap;
use std::time::Duration;

/// A question under way.
pub(crate) struct Running {
    question: Question,
    ticket: Ticket,
    waiters: Vec<Waiter>,
    asked: BTreeMap<Name, Asked>,
}

/// A peer that was asked and has not answered.
struct Asked {
    since: Duration,
    hint: Hint,
    /// Over which link; `None`: there was none.
    link: Option<usize>,
}

/// Who is to be told what came of a question.
struct Waiter {
    whom: Whom,
    name: Name,
    /// Nothing was held when it began to wait.
    lacks: bool,
}

/// Who asks.
pub(crate) enum Whom {
    /// A client: the number of its get.
    Client(u64),
    /// A peer: over which link, and the number of its question.
    Peer {
        peer: Name,
        link: usize,
        question: u64,
        query: Query,
    },
    /// A search for a tag.
    Search(Part),
}

impl Waiter {
    /// What it wants; `None`: nothing is agreed with it any more.
    fn wish<'a>(&self, own: &Name, agreements: &'a Agreements) -> Option<Wish<'a>> {
        match &self.whom {
            Whom::Client(_) => Some(Wish::of_client(self.name)),
            Whom::Peer { peer, query, .. } => agreements.get(peer).map(|agreement| Wish::of_peer(own, agreement, query)),
            Whom::Search(Part {
                step: tagged::Step::Newest(name),
                ..
            }) => Some(Wish::of_client(*name)),
            Whom::Search(Part { tag, asker, step, .. }) => {
                let wish = match asker {
                    Some((peer, query)) => Wish::of_peer(own, agreements.get(peer)?, query),
                    None => Wish::of_client_for_tag(*tag),
                };
                Some(match step {
                    tagged::Step::Name(name, share) => wish.of_one_name(*name, *share),
                    _ => wish,
                })
            }
        }
    }
}

impl World {
    /// Answers a client or a peer at once, or asks.
    pub(crate) fn resolve(&mut self, node: usize, whom: Whom, name: Name) {
        let tag = match &whom {
            Whom::Search(Part {
                tag,
                step: tagged::Step::Peers,
                ..
            }) => Some(*tag),
            Whom::Client(_) | Whom::Peer { .. } | Whom::Search(_) => None,
        };
        let (local, views, now) = (self.local(node, &name), self.views(node, &name, tag.as_ref()), self.moment(node));
        self.next += 1;
        let ears = self.next;
        let (own, agreements) = (self.nodes[node].name, self.nodes[node].agreements.clone());
        let lacks = local.held.is_none();
        let waiter = Waiter { whom, name, lacks };
        let Some(wish) = waiter.wish(&own, &agreements) else { return };
        let desk = &mut self.nodes[node].asker.desk;
        let own_only = matches!(&waiter.whom, Whom::Peer { query, .. } if query.own_only);
        let look = match own_only {
            true => Look::Known(desk.own_opinion(now, &wish, local.held.as_ref())),
            false => desk.look(now, &wish, &local, || views, || ears),
        };
        match look {
            Look::Known(reply) => self.reply(node, &waiter, reply),
            Look::Joins(question) => {
                let running = self.nodes[node].asker.running.get_mut(&question);
                running.expect("a question under way").waiters.push(waiter);
            }
            Look::Asks(ticket, question, number) => {
                let running = Running {
                    question: *question,
                    ticket,
                    waiters: vec![waiter],
                    asked: BTreeMap::new(),
                };
                self.nodes[node].asker.running.insert(number, running);
                self.ask(node, number);
            }
        }
    }

    /// Time went by for a question.
    pub(crate) fn look_again(&mut self, node: usize, number: u64) {
        let now = self.now;
        if let Some(running) = self.nodes[node].asker.running.get_mut(&number) {
            running.question.handle(now, Event::Tick);
            self.ask(node, number);
        }
    }

    /// Lets a question do what it wants to do.
    fn ask(&mut self, node: usize, number: u64) {
        loop {
            let now = self.now;
            let state = &mut self.nodes[node];
            let Some(running) = state.asker.running.get_mut(&number) else {
                return;
            };
            let errand = match running.question.poll(now) {
                Step::Ask {
                    peer,
                    query,
                    hint,
                    hedge,
                    until,
                } => {
                    let standing = state.standing.get(&peer).map(|(link, end, _)| (*link, *end));
                    let link = standing.map(|(link, _)| link);
                    running.asked.insert(peer, Asked { since: now, hint, link });
                    state.asker.desk.asked(&peer, hedge);
                    self.gets.questions += 1;
                    if let Some((link, end)) = standing {
                        let frame = Request::Query(query).to_frame();
                        self.carry(link, 1 - end, frame, |link, end, body| Errand::Request(link, end, number, body));
                    }
                    let (later, why) = match link {
                        Some(_) => (until.saturating_sub(now), "it did not answer in time"),
                        None => (Duration::ZERO, "no link stands"),
                    };
                    self.plan(later, Action::Errand(Errand::Late(node, peer, number, why)));
                    continue;
                }
                Step::DropPointer(pointer) => {
                    state.asker.desk.pointer_dropped();
                    ready(state.store.forget_pointers(vec![pointer])).expect("a disk that works");
                    continue;
                }
                Step::Wait(until) => (until.saturating_sub(now), Errand::Wake(node, number)),
                Step::Done(outcome) => return self.over_with(node, number, outcome),
            };
            return self.plan(errand.0, Action::Errand(errand.1));
        }
    }

    /// A request arrives at an end of a link.
    pub(crate) fn requested(&mut self, link: usize, end: usize, question: u64, body: Vec<u8>) {
        let [node, from] = [self.links[link].nodes[end], self.links[link].nodes[1 - end]];
        let Some(session) = &self.links[link].ends[end] else { return };
        if !session.is_running() {
            // It waits until the greeting is over.
            return self.plan(SOON, Action::Errand(Errand::Request(link, end, question, body)));
        }
        let peer = self.nodes[from].name;
        let agreement = self.nodes[node].agreements.get(&peer).cloned();
        let refused = match (Request::decode(&body), agreement) {
            (Ok(Request::Query(query)), Some(agreement)) if agreement.answers => {
                if let Err(why) = self.welcome(node, &agreement) {
                    self.nodes[node].asker.desk.tally_mut().of(&peer).refused += 1;
                    return self.respond(node, link, question, &Response::Refused(why));
                }
                let (name, tag) = (query.name, query.tag);
                let whom = Whom::Peer {
                    peer,
                    link,
                    question,
                    query,
                };
                return match tag {
                    Some(tag) => self.search(node, tag, whom),
                    None => self.resolve(node, whom, name),
                };
            }
            (Ok(Request::Query(_)), _) => Refused::NotAgreed,
            _ => Refused::Cannot,
        };
        self.respond(node, link, question, &Response::Refused(refused));
    }

    /// Whether a peer may ask now; then its question is one of those that are being answered.
    fn welcome(&mut self, node: usize, agreement: &Agreement) -> Result<(), Refused> {
        let clock = self.wall(node).micros();
        let (meter, at_a_time) = self.nodes[node].asker.guests.entry(agreement.peer).or_default();
        if *at_a_time >= QUESTIONS_OF_A_PEER_MAX {
            return Err(Refused::Busy);
        }
        if let Some(rate) = Rate::new(agreement.limits.queries_per_second, BURST_SECS)
            && meter.take(&rate, clock).is_err()
        {
            return Err(Refused::Limit);
        }
        *at_a_time += 1;
        Ok(())
    }

    /// A waiter is answered, or nothing is agreed with it any more.
    fn leaves(&mut self, node: usize, waiter: &Waiter) {
        if let Whom::Peer { peer, .. } = &waiter.whom {
            let asker = &mut self.nodes[node].asker;
            asker.desk.tally_mut().of(peer).served += 1;
            if let Some((_, at_a_time)) = asker.guests.get_mut(peer) {
                *at_a_time = at_a_time.saturating_sub(1);
            }
        }
    }

    /// A response arrives at an end of a link.
    pub(crate) fn responded(&mut self, link: usize, end: usize, question: u64, body: &[u8]) {
        let [node, peer] = [self.links[link].nodes[end], self.links[link].nodes[1 - end]];
        if self.links[link].ends[end].as_ref().is_some_and(Session::is_running) {
            let response = Response::decode(body).map_err(|error| error.to_string());
            self.answered(node, self.nodes[peer].name, question, response);
        }
    }

    /// A peer has answered, or it is clear that it will not.
    pub(crate) fn answered(&mut self, node: usize, peer: Name, number: u64, response: Result<Response, String>) {
        let (now, wall) = (self.now, self.wall(node));
        let state = &mut self.nodes[node];
        let Some(running) = state.asker.running.get_mut(&number) else {
            return;
        };
        let Some(asked) = running.asked.remove(&peer) else { return };
        let way = state.agreements.get(&peer).map(|agreement| agreement.way());
        let said = match (response, way) {
            (Ok(Response::Answer(answer)), Some(way)) => judge(&state.name, running.question.ask(), &way, answer, wall),
            (Ok(other), _) => Said::Nothing(format!("{other:?}")),
            (Err(why), _) => Said::Nothing(why),
        };
        state.asker.desk.answered(now, &peer, asked.hint, now - asked.since, &said);
        running.question.handle(now, Event::Answered(peer, said));
        self.ask(node, number);
    }

    /// An end of a link is gone: whatever was asked over it fails.
    pub(crate) fn broke_off(&mut self, node: usize, link: usize) {
        let over_it = |asked: &Asked| asked.link == Some(link);
        let all = self.nodes[node].asker.running.iter();
        let failed = all.flat_map(|(number, running)| {
            let asked = running.asked.iter().filter(|(_, asked)| over_it(asked));
            asked.map(|(peer, _)| (*number, *peer))
        });
        for (number, peer) in failed.collect::<Vec<_>>() {
            self.answered(node, peer, number, Err("the link broke".to_owned()));
        }
    }

    /// A store has grown: who waits for what has come in is answered from it.
    pub(crate) fn came_in(&mut self, node: usize) {
        let running: Vec<_> = self.nodes[node].asker.running.keys().copied().collect();
        for number in running {
            let Some(running) = self.nodes[node].asker.running.get(&number) else {
                continue;
            };
            let name = running.question.ask().name;
            if !running.waiters.iter().any(|waiter| waiter.lacks) || self.held(node, &name).is_none() {
                continue;
            }
            let running = self.nodes[node].asker.running.get_mut(&number).expect("it was there");
            let (served, wait) = running.waiters.drain(..).partition(|waiter| waiter.lacks);
            running.waiters = wait;
            self.conclude(node, served, &Outcome::Unknown("it came in meanwhile".to_owned()));
        }
    }

    /// A question is over.
    fn over_with(&mut self, node: usize, number: u64, outcome: Outcome) {
        let now = self.moment(node);
        let asker = &mut self.nodes[node].asker;
        let Some(running) = asker.running.remove(&number) else { return };
        let late = now.elapsed >= running.question.until();
        for peer in running.question.awaited() {
            let took = running.asked.get(peer).map_or(Duration::ZERO, |asked| now.elapsed - asked.since);
            asker.desk.not_awaited(now.elapsed, peer, took, late);
        }
        asker.desk.over(now, running.ticket, &running.question, &outcome);
        self.conclude(node, running.waiters, &outcome);
    }

    fn conclude(&mut self, node: usize, waiters: Vec<Waiter>, outcome: &Outcome) {
        let (now, own, agreements) = (self.moment(node), self.nodes[node].name, self.nodes[node].agreements.clone());
        for waiter in waiters {
            let local = self.local(node, &waiter.name);
            if let Some(wish) = waiter.wish(&own, &agreements) {
                let reply = self.nodes[node].asker.desk.conclude(now, &wish, &local, outcome.clone());
                self.reply(node, &waiter, reply);
            } else {
                self.leaves(node, &waiter);
            }
        }
    }

    fn reply(&mut self, node: usize, waiter: &Waiter, reply: Reply) {
        self.leaves(node, waiter);
        match &waiter.whom {
            Whom::Client(get) => drop(self.gets.answers.insert(*get, (self.now, reply))),
            Whom::Peer { link, question, .. } => self.respond(node, *link, *question, &reply.into_response()),
            Whom::Search(part) => self.searched(node, part.search, reply),
        }
    }

    /// Whoever asked for a tag is answered.
    pub(crate) fn answer_whom(&mut self, node: usize, whom: Whom, name: Name, reply: Reply) {
        let waiter = Waiter { whom, name, lacks: false };
        self.reply(node, &waiter, reply);
    }

    fn respond(&mut self, node: usize, link: usize, question: u64, response: &Response) {
        let end = self.links[link].end_of(node);
        if let (Some(watch), Response::Answer(Answer::Found { value, .. })) = (&mut self.watch, response) {
            let [from, to] = [node, self.links[link].nodes[1 - end]];
            watch.told(from, to, value);
        }
        self.carry(link, 1 - end, response.to_frame(), |link, end, body| {
            Errand::Response(link, end, question, body)
        });
    }

    /// Puts a frame on a stream of its own, beside the feed. What a network that lets nothing pass swallows here, QUIC would send again; whoever
    /// asks has given up by then.
    fn carry(&mut self, link: usize, to: usize, frame: Vec<u8>, errand: impl Fn(usize, usize, Vec<u8>) -> Errand) {
        self.gets.bytes += frame.len() as u64;
        let [from, receiver] = [self.links[link].nodes[1 - to], self.links[link].nodes[to]];
        if self.links[link].alive && self.network.passes(from, receiver) {
            let late = self.lateness(link, to);
            self.plan(late, Action::Errand(errand(link, to, frame[4..].to_vec())));
        }
    }
}

/// How soon a request is looked at again that came before the greeting was over.
const SOON: Duration = Duration::from_millis(5);
