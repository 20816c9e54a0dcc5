//! Gets in the simulated world: the desk and the questions of each provider, over the stores and digests that its feeds have filled. What
//! `io::peering_ask` does on the wire is done here in the world's time; a message takes what the link takes and deciding takes nothing.

use crate::Error;
use dialtone_provider::peering::agreement::Agreement;
use dialtone_provider::peering::ask::desk::{Desk, Local, Look, Reply, Wish, found_held};
use dialtone_provider::peering::ask::judge::judge;
use dialtone_provider::peering::ask::neighbours::Neighbours;
use dialtone_provider::peering::ask::question::{Event, Outcome, Question, Said, Step};
use dialtone_provider::peering::ask::reach;
use dialtone_provider::peering::ask::registry::Ticket;
use dialtone_provider::peering::ask::whom::{Hint, View};
use dialtone_provider::peering::health::{LinkState, PeerStatus, Progress};
use dialtone_provider::peering::step::Moment;
use dialtone_provider::store::RecordStore;
use dialtone_shared::Name;
use dialtone_shared::message::{Query, Reach, Refused, Request, Response, Terms};
use dialtone_world::{World, ready};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Providers that can be asked.
pub struct Asking<'a> {
    world: &'a mut World,
    askers: Vec<Asker>,
    numbers: HashMap<Name, usize>,
    agenda: BTreeMap<(Duration, u64), Action>,
    next: u64,
    /// Gets that have been answered, by number.
    pub done: BTreeMap<u64, Done>,
    /// Questions from one provider to another.
    pub questions: u64,
    /// Bytes of these and of what was answered.
    pub bytes: u64,
    /// Questions that each provider was put by peers.
    pub served: Vec<u64>,
}

/// A get that is over.
#[derive(Debug)]
pub struct Done {
    /// When it was.
    pub at: Duration,
    /// Whether no peer was asked for it.
    pub is_local: bool,
    /// What was answered.
    pub reply: Reply,
}

struct Asker {
    desk: Desk<u64>,
    /// How its links stand, which they do all the time.
    views: Vec<View>,
    is_whole: bool,
    running: BTreeMap<u64, Running>,
}

struct Running {
    question: Question,
    ticket: Ticket,
    waiters: Vec<Waiter>,
    asked: BTreeMap<Name, (Duration, Hint)>,
}

/// Who is to be told what came of a question.
#[derive(Clone)]
enum Waiter {
    Client { get: u64, name: Name },
    Peer { node: usize, question: u64, query: Query },
}

enum Action {
    Request {
        from: usize,
        to: usize,
        question: u64,
        query: Query,
    },
    Answer {
        to: usize,
        from: usize,
        question: u64,
        response: Result<Response, String>,
    },
    Wake(usize, u64),
}

impl<'a> Asking<'a> {
    /// The providers of a world whose links all stand and have carried all there was.
    pub fn new(world: &'a mut World) -> Self {
        let numbers: HashMap<Name, usize> = world.nodes.iter().enumerate().map(|(node, one)| (one.name, node)).collect();
        let neighbours = settled(world, &numbers);
        let asker = |(node, neighbours): (usize, Neighbours)| Asker {
            desk: Desk::new(world.nodes[node].name),
            views: neighbours.views(),
            is_whole: neighbours.are_whole(),
            running: BTreeMap::new(),
        };
        let askers: Vec<_> = neighbours.into_iter().enumerate().map(asker).collect();
        Self {
            served: vec![0; askers.len()],
            world,
            askers,
            numbers,
            agenda: BTreeMap::new(),
            next: 0,
            done: BTreeMap::new(),
            questions: 0,
            bytes: 0,
        }
    }

    /// The world between two gets.
    pub fn world(&mut self) -> &mut World {
        self.world
    }

    /// Gets as a client would: the number under which the answer will be found.
    ///
    /// # Errors
    /// A store fails.
    pub fn get(&mut self, node: usize, name: Name) -> Result<u64, Error> {
        self.next += 1;
        let get = self.next;
        let waiter = Waiter::Client { get, name };
        if self.askers[node].is_whole
            && let Some(held) = self.local(node, &name)?.held
        {
            let ttl = held.record.record().ttl_at(self.world.wall(node));
            self.reply(node, waiter, Reply::Record(found_held(&held, ttl)), true);
        } else {
            self.resolve(node, waiter)?;
        }
        Ok(get)
    }

    /// Lets time go by until then.
    ///
    /// # Errors
    /// A store fails.
    pub fn run_until(&mut self, then: Duration) -> Result<(), Error> {
        while let Some(entry) = self.agenda.first_entry() {
            let at = entry.key().0;
            if at > then {
                break;
            }
            let action = entry.remove();
            self.pass_until(at);
            self.act(action)?;
        }
        self.pass_until(then);
        Ok(())
    }

    fn pass_until(&mut self, then: Duration) {
        let time = then.saturating_sub(self.world.now);
        self.world.run(time);
    }

    fn plan(&mut self, later: Duration, action: Action) {
        self.next += 1;
        self.agenda.insert((self.world.now + later, self.next), action);
    }

    fn act(&mut self, action: Action) -> Result<(), Error> {
        match action {
            Action::Request { from, to, question, query } => {
                self.served[to] += 1;
                let waiter = Waiter::Peer {
                    node: from,
                    question,
                    query,
                };
                match self.world.nodes[to].agreements.get(&self.world.nodes[from].name) {
                    Some(agreement) if agreement.answers => self.resolve(to, waiter),
                    _ => {
                        self.respond(to, from, question, Response::Refused(Refused::NotAgreed));
                        Ok(())
                    }
                }
            }
            Action::Answer {
                to,
                from,
                question,
                response,
            } => self.answered(to, from, question, response),
            Action::Wake(node, question) => {
                let now = self.world.now;
                if let Some(running) = self.askers[node].running.get_mut(&question) {
                    running.question.handle(now, Event::Tick);
                    self.pump(node, question)?;
                }
                Ok(())
            }
        }
    }

    fn moment(&self, node: usize) -> Moment {
        Moment {
            wall: self.world.wall(node),
            elapsed: self.world.now,
        }
    }

    fn local(&self, node: usize, name: &Name) -> Result<Local, Error> {
        let store = &self.world.nodes[node].store;
        let (held, pointer) = (ready(store.get(name))?, ready(store.pointer(name))?);
        Ok(Local { held, pointer })
    }

    fn resolve(&mut self, node: usize, waiter: Waiter) -> Result<(), Error> {
        let name = waiter.name();
        let (local, now) = (self.local(node, &name)?, self.moment(node));
        self.next += 1;
        let ears = self.next;
        let (own, agreements) = (self.world.nodes[node].name, self.world.nodes[node].agreements.clone());
        let agreement = waiter.peer().and_then(|peer| agreements.get(&self.world.nodes[peer].name));
        let wish = match (&waiter, agreement) {
            (Waiter::Peer { query, .. }, Some(agreement)) => Wish::of_peer(&own, agreement, query),
            _ => Wish::of_client(name),
        };
        if let Waiter::Peer { query, .. } = &waiter
            && query.own_only
        {
            let reply = self.askers[node].desk.own_opinion(now, &wish, local.held.as_ref());
            self.reply(node, waiter, reply, true);
            return Ok(());
        }
        let (world, numbers) = (&*self.world, &self.numbers);
        let Asker { desk, views, running, .. } = &mut self.askers[node];
        let views = || {
            let mut views = views.clone();
            for view in &mut views {
                let digest = numbers.get(&view.peer).and_then(|peer| world.digest(node, *peer));
                view.digest = digest.map(|digest| digest.contains(&name));
            }
            views
        };
        match desk.look(now, &wish, &local, views, || ears) {
            Look::Known(reply) => self.reply(node, waiter, reply, true),
            Look::Joins(question) => {
                let running = running.get_mut(&question).ok_or("a question that nobody asks was joined")?;
                running.waiters.push(waiter);
            }
            Look::Asks(ticket, question, number) => {
                let begun = Running {
                    question: *question,
                    ticket,
                    waiters: vec![waiter],
                    asked: BTreeMap::new(),
                };
                running.insert(number, begun);
                self.pump(node, number)?;
            }
        }
        Ok(())
    }

    fn pump(&mut self, node: usize, number: u64) -> Result<(), Error> {
        loop {
            let now = self.world.now;
            let asker = &mut self.askers[node];
            let Some(running) = asker.running.get_mut(&number) else {
                return Ok(());
            };
            match running.question.poll(now) {
                Step::Ask {
                    peer,
                    query,
                    hint,
                    hedge,
                    until,
                } => {
                    running.asked.insert(peer, (now, hint));
                    asker.desk.asked(&peer, hedge);
                    let to = *self.numbers.get(&peer).ok_or("a stranger is to be asked")?;
                    self.questions += 1;
                    self.bytes += Request::Query(query.clone()).to_frame().len() as u64;
                    let late = Action::Answer {
                        to: node,
                        from: to,
                        question: number,
                        response: Err("no answer in time".to_owned()),
                    };
                    self.plan(until.saturating_sub(now), late);
                    let request = Action::Request {
                        from: node,
                        to,
                        question: number,
                        query,
                    };
                    self.plan(delay(node, to), request);
                }
                Step::DropPointer(pointer) => {
                    asker.desk.pointer_dropped();
                    ready(self.world.nodes[node].store.forget_pointers(vec![pointer]))?;
                }
                Step::Wait(until) => {
                    self.plan(until.saturating_sub(now), Action::Wake(node, number));
                    return Ok(());
                }
                Step::Done(outcome) => return self.over(node, number, outcome),
            }
        }
    }

    fn answered(&mut self, node: usize, peer: usize, number: u64, response: Result<Response, String>) -> Result<(), Error> {
        let (now, wall) = (self.world.now, self.world.wall(node));
        let (own, name) = (self.world.nodes[node].name, self.world.nodes[peer].name);
        let way = self.world.nodes[node].agreements.get(&name).map(Agreement::way);
        let asker = &mut self.askers[node];
        let Some(running) = asker.running.get_mut(&number) else {
            return Ok(());
        };
        let Some((since, hint)) = running.asked.remove(&name) else {
            return Ok(());
        };
        let said = match (response, way) {
            (Ok(Response::Answer(answer)), Some(way)) => judge(&own, running.question.ask(), &way, answer, wall),
            (Ok(other), _) => Said::Nothing(format!("{other:?}")),
            (Err(why), _) => Said::Nothing(why),
        };
        asker.desk.answered(now, &name, hint, now - since, &said);
        running.question.handle(now, Event::Answered(name, said));
        self.pump(node, number)
    }

    fn over(&mut self, node: usize, number: u64, outcome: Outcome) -> Result<(), Error> {
        let now = self.moment(node);
        let asker = &mut self.askers[node];
        let Some(running) = asker.running.remove(&number) else {
            return Ok(());
        };
        let late = now.elapsed >= running.question.until();
        for (peer, (since, _)) in &running.asked {
            asker.desk.not_awaited(now.elapsed, peer, now.elapsed - *since, late);
        }
        asker.desk.over(now, running.ticket, &running.question, &outcome);
        let (own, agreements) = (self.world.nodes[node].name, self.world.nodes[node].agreements.clone());
        for waiter in running.waiters {
            let name = waiter.name();
            let local = self.local(node, &name)?;
            let agreement = waiter.peer().and_then(|peer| agreements.get(&self.world.nodes[peer].name));
            let wish = match (&waiter, agreement) {
                (Waiter::Peer { query, .. }, Some(agreement)) => Wish::of_peer(&own, agreement, query),
                _ => Wish::of_client(name),
            };
            let reply = self.askers[node].desk.conclude(now, &wish, &local, outcome.clone());
            self.reply(node, waiter, reply, false);
        }
        Ok(())
    }

    fn reply(&mut self, node: usize, waiter: Waiter, reply: Reply, is_local: bool) {
        match waiter {
            Waiter::Client { get, .. } => {
                let at = self.world.now;
                self.done.insert(get, Done { at, is_local, reply });
            }
            Waiter::Peer { node: peer, question, .. } => self.respond(node, peer, question, reply.into_response()),
        }
    }

    fn respond(&mut self, node: usize, peer: usize, question: u64, response: Response) {
        self.bytes += response.to_frame().len() as u64;
        let answer = Action::Answer {
            to: peer,
            from: node,
            question,
            response: Ok(response),
        };
        self.plan(delay(node, peer), answer);
    }
}

impl Waiter {
    fn name(&self) -> Name {
        match self {
            Self::Client { name, .. } => *name,
            Self::Peer { query, .. } => query.name,
        }
    }

    fn peer(&self) -> Option<usize> {
        match self {
            Self::Client { .. } => None,
            Self::Peer { node, .. } => Some(*node),
        }
    }
}

/// How the links of every provider stand once all have told each other whom they would ask.
fn settled(world: &World, numbers: &HashMap<Name, usize>) -> Vec<Neighbours> {
    let nodes = &world.nodes;
    let mut told: HashMap<(Name, Name), Reach> = HashMap::new();
    for node in nodes {
        let unknown = reach::unknown(&node.agreements);
        for (peer, agreement) in node.agreements.iter() {
            told.insert((node.name, *peer), reach::told(peer, agreement.relationship, &unknown));
        }
    }
    let mut neighbours = vec![Neighbours::default(); nodes.len()];
    // Distances grow by one a round, and end at 16.
    for _ in 0..=dialtone_shared::message::WHOLE {
        let mut news = HashMap::new();
        for (node, seen) in nodes.iter().zip(&mut neighbours) {
            let status = |(peer, agreement): (&Name, &_)| status(world, numbers, node.name, *peer, agreement, &told);
            let statuses: Vec<_> = node.agreements.iter().map(status).collect();
            seen.look(world.now, &statuses);
            let inbound = seen.inbound();
            for (peer, agreement) in node.agreements.iter() {
                news.insert((node.name, *peer), reach::told(peer, agreement.relationship, &inbound));
            }
        }
        if news == told {
            break;
        }
        told = news;
    }
    neighbours
}

fn status(
    world: &World,
    numbers: &HashMap<Name, usize>,
    own: Name,
    peer: Name,
    agreement: &Agreement,
    told: &HashMap<(Name, Name), Reach>,
) -> PeerStatus {
    let theirs = numbers.get(&peer).and_then(|peer| world.nodes[*peer].agreements.get(&own));
    let terms = theirs.map(|theirs| Terms {
        pushes: theirs.push,
        accepts: theirs.accept,
        answers: theirs.answers,
        reach: told.get(&(peer, own)).cloned().unwrap_or_default(),
        ..Terms::mutual()
    });
    PeerStatus {
        name: peer,
        agreement: agreement.clone(),
        theirs: terms,
        state: LinkState::Up,
        address: None,
        last_error: None,
        progress: Progress {
            received_all: true,
            ..Progress::default()
        },
        brought: Default::default(),
    }
}

/// How long a message takes between two: 2 to 21 ms, the same every time.
pub fn delay(a: usize, b: usize) -> Duration {
    Duration::from_millis(2 + ((a.min(b) * 31 + a.max(b) * 7) % 20) as u64)
}
