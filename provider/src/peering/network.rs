//! What a network of providers comes to, from their agreements alone: where a name resolves that is put at one of them, and what stands in the way
//! where it does not. Nothing is running here; a planned network can be asked about as well.
//!
//! ```text
//! put ─▶ held there as from a customer ─▶ pushed by value: policy, modes, filters of both ends ─▶ held, as from whom it came
//! get ─▶ held, or asked: each asks on whose behalf it may, and answers with what it may give    (at most HOPS_MAX links)
//! ```
//!
//! Digests need no rule of their own: they say where to ask, and whoever may be asked is found by asking. Nor do pointers, but for one thing: whoever holds what one points to
//! takes no note of it, and does not ask there.

use super::agreement::{Agreement, Agreements};
use super::ask::limits::HOPS_MAX;
use super::ask::whom::Behalf;
use super::policy;
use crate::store::Class;
use dialtone_shared::Name;
use dialtone_shared::message::{Mode, Relationship};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// Providers and what each has agreed.
#[derive(Clone, Debug, Default)]
pub struct Network(BTreeMap<Name, Agreements>);

/// How a name resolves somewhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum How {
    /// It is held there.
    Held,
    /// Others are asked for it.
    Asked,
}

/// What keeps names from resolving, or a link from standing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cause {
    /// `provider` lists `peer`, which does not list it.
    OneSided,
    /// The two do not say the same of what they are to each other.
    Contradiction(Relationship, Relationship),
    /// Neither says where the other listens.
    NobodyDials,
    /// No agreements lead from one to the other.
    Apart,
    /// `provider` does not pass on to `peer` what it learnt from the provider given here (`None`: from nobody it may name).
    Valley(Option<Name>),
    /// `provider` pushes no values to `peer`, and is not asked by it.
    Silence,
    /// An agreement between the two does not let the name pass.
    Filter,
    /// More links than a question travels.
    TooFar,
    /// Each of several would have to change.
    Several,
}

/// A finding: what does not resolve where, and whose turn it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Why.
    pub cause: Cause,
    /// Whose turn it is.
    pub provider: Name,
    /// Towards whom.
    pub peer: Name,
    /// Of which name; `None`: of any that no agreement lists.
    pub name: Option<Name>,
    /// What is put at the first does not resolve at the second; empty where a link does not stand and everything resolves all the same.
    pub pairs: Vec<(Name, Name)>,
}

/// What is taken to be otherwise, to find out why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Relaxed {
    Nothing,
    Filters,
    Roles,
    Modes,
    All,
}

impl Network {
    /// Of these.
    pub fn new(providers: BTreeMap<Name, Agreements>) -> Self {
        Self(providers)
    }

    /// Where `name` resolves once it is put at `origin`, and how.
    pub fn resolves(&self, origin: &Name, name: &Name) -> BTreeMap<Name, How> {
        self.resolves_if(Relaxed::Nothing, origin, name)
    }

    /// Everything that is wrong with it: links that do not stand, and names that do not resolve everywhere.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.links();
        let unlisted = Name::key_set([0xd7; 32]);
        let mut listed: BTreeSet<Name> = BTreeSet::new();
        for agreement in self.0.values().flat_map(Agreements::values) {
            listed.extend(agreement.filter.only().chain(agreement.filter.except()).take(NAMES_LOOKED_AT));
        }
        self.unresolved(&unlisted, None, &mut findings);
        for name in listed.iter().take(NAMES_LOOKED_AT) {
            self.unresolved(name, Some(*name), &mut findings);
        }
        findings
    }

    /// Links that do not stand as they are agreed.
    fn links(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut found = |cause, provider: &Name, peer: &Name| {
            findings.push(Finding {
                cause,
                provider: *provider,
                peer: *peer,
                name: None,
                pairs: Vec::new(),
            });
        };
        for (one, agreements) in &self.0 {
            for (other, agreement) in agreements {
                // Of whom nothing is known nothing can be said.
                let Some(theirs) = self.0.get(other) else { continue };
                match theirs.get(one) {
                    None => found(Cause::OneSided, other, one),
                    Some(_) if other < one => {}
                    Some(mirror) if agreement.relationship.mirrored() != mirror.relationship => {
                        found(Cause::Contradiction(agreement.relationship, mirror.relationship), one, other);
                    }
                    Some(mirror) if agreement.endpoints.is_empty() && mirror.endpoints.is_empty() => found(Cause::NobodyDials, one, other),
                    Some(_) => {}
                }
            }
        }
        findings
    }

    /// Files what of `name` does not resolve where, by what stands in the way.
    fn unresolved(&self, name: &Name, of: Option<Name>, findings: &mut Vec<Finding>) {
        for origin in self.0.keys() {
            let resolves = self.resolves(origin, name);
            for at in self.0.keys().filter(|at| !resolves.contains_key(at)) {
                let (cause, provider, peer) = self.why(origin, at, name);
                // That two are apart, and what roles and modes do, is the same for every name.
                if of.is_some() && cause != Cause::Filter {
                    continue;
                }
                let same =
                    |finding: &&mut Finding| (&finding.cause, finding.provider, finding.peer, finding.name) == (&cause, provider, peer, of);
                match findings.iter_mut().find(same) {
                    Some(finding) => finding.pairs.push((*origin, *at)),
                    None => findings.push(Finding {
                        cause,
                        provider,
                        peer,
                        name: of,
                        pairs: vec![(*origin, *at)],
                    }),
                }
            }
        }
    }

    /// What stands in the way from `origin` to `at`, at whom, and towards whom.
    fn why(&self, origin: &Name, at: &Name, name: &Name) -> (Cause, Name, Name) {
        let Some(way) = self.way(origin, at) else {
            return (Cause::Apart, *origin, *at);
        };
        let alone = [Relaxed::Filters, Relaxed::Roles, Relaxed::Modes];
        let enough = alone
            .into_iter()
            .find(|relaxed| self.resolves_if(*relaxed, origin, name).contains_key(at));
        let hops = || way.windows(2).map(|hop| (hop[0], hop[1]));
        let found = match enough {
            Some(Relaxed::Filters) => hops()
                .find(|(one, other)| !self.passes(one, other, name, Relaxed::Nothing))
                .map(|(one, other)| (Cause::Filter, one, other)),
            Some(Relaxed::Roles) => self.valley(&way),
            Some(Relaxed::Modes) => hops()
                .find(|(one, other)| !self.pushes(one, other, Relaxed::Nothing) && !self.asks(other, one, Relaxed::Nothing))
                .map(|(one, other)| (Cause::Silence, one, other)),
            _ if !self.resolves_if(Relaxed::All, origin, name).contains_key(at) => Some((Cause::TooFar, *origin, *at)),
            _ => None,
        };
        found.unwrap_or((Cause::Several, *origin, *at))
    }

    /// Where on the way what is learnt is not passed on.
    fn valley(&self, way: &[Name]) -> Option<(Cause, Name, Name)> {
        let mut class = Class::Customer;
        for (index, hop) in way.windows(2).enumerate() {
            let (ours, theirs) = self.link(&hop[0], &hop[1])?;
            if !policy::exports(ours.relationship, class) {
                let before = index.checked_sub(1).and_then(|before| way.get(before)).copied();
                return Some((Cause::Valley(before), hop[0], hop[1]));
            }
            class = learnt(theirs.relationship, class);
        }
        None
    }

    /// The shortest way along links that could stand.
    fn way(&self, origin: &Name, at: &Name) -> Option<Vec<Name>> {
        let mut before: BTreeMap<Name, Name> = BTreeMap::from([(*origin, *origin)]);
        let mut todo = VecDeque::from([*origin]);
        while let Some(one) = todo.pop_front() {
            for other in self.peers(&one) {
                if before.contains_key(&other) {
                    continue;
                }
                before.insert(other, one);
                todo.push_back(other);
            }
        }
        let mut way = vec![*at];
        while way.last() != Some(origin) {
            way.push(*before.get(way.last()?)?);
        }
        way.reverse();
        Some(way)
    }

    fn resolves_if(&self, relaxed: Relaxed, origin: &Name, name: &Name) -> BTreeMap<Name, How> {
        let held = self.spread(relaxed, origin, name);
        let asked = |at: &&Name| !held.contains_key(at) && self.finds(relaxed, at, name, &held);
        let by_asking = self.0.keys().filter(asked).map(|at| (*at, How::Asked));
        held.keys().map(|at| (*at, How::Held)).chain(by_asking).collect()
    }

    /// Who comes to hold it, and as learnt from whom: a higher class goes wherever a lower one does. A pointer brings no record, but its class to
    /// whoever holds the record that it leads to.
    fn spread(&self, relaxed: Relaxed, origin: &Name, name: &Name) -> BTreeMap<Name, Class> {
        let mut held = BTreeMap::from([(*origin, Class::Customer)]);
        // What each is told to be at whom.
        let mut told: BTreeMap<(Name, Name), Class> = BTreeMap::new();
        let mut todo = vec![(*origin, None)];
        while let Some((one, pointed)) = todo.pop() {
            // Who holds it speaks of itself, and no longer of where else it is.
            let (keeper, class) = match (held.get(&one), pointed) {
                (Some(class), _) => (one, *class),
                (None, Some(keeper)) => match told.get(&(one, keeper)) {
                    Some(class) => (keeper, *class),
                    None => continue,
                },
                (None, None) => continue,
            };
            for other in self.peers(&one) {
                let Some((ours, theirs)) = self.link(&one, &other) else { continue };
                let (values, pointers) = (self.pushes(&one, &other, relaxed), self.points(&one, &other, relaxed));
                if !(self.exports(ours.relationship, class, relaxed) && self.passes(&one, &other, name, relaxed)) {
                    continue;
                }
                let class = learnt(theirs.relationship, class);
                let before = held.get(&other).copied();
                if values && keeper == one || (values || pointers) && keeper != other && before.is_some() {
                    if before.is_none_or(|before| before < class) {
                        let pointed = told.iter().filter(|((at, _), _)| *at == other).map(|(_, class)| *class);
                        held.insert(other, pointed.chain([class]).max().unwrap_or(class));
                        todo.push((other, None));
                    }
                } else if (values || pointers) && keeper != other && told.get(&(other, keeper)).is_none_or(|before| *before < class) {
                    told.insert((other, keeper), class);
                    todo.push((other, Some(keeper)));
                }
            }
        }
        held
    }

    /// Whether somebody who is asked, or asks on, has it and may give it.
    fn finds(&self, relaxed: Relaxed, at: &Name, name: &Name, held: &BTreeMap<Name, Class>) -> bool {
        let mut seen = BTreeSet::new();
        let mut todo = VecDeque::from([(*at, None, 0_u8)]);
        while let Some((one, behalf, hops)) = todo.pop_front() {
            if hops >= HOPS_MAX || !seen.insert((one, behalf)) {
                continue;
            }
            let may = behalf.map_or(Behalf::Client, Behalf::Of);
            for other in self.peers(&one) {
                let Some((ours, theirs)) = self.link(&one, &other) else { continue };
                let roles = matches!(relaxed, Relaxed::Roles | Relaxed::All);
                // Another node of the same provider is not asked for others.
                let sibling = ours.relationship == Relationship::Sibling && may != Behalf::Client;
                let asks = (roles || may.may_ask(ours.relationship)) && !sibling;
                if !asks || !self.asks(&one, &other, relaxed) || !self.passes(&one, &other, name, relaxed) {
                    continue;
                }
                // It holds the same, as learnt from somebody else, and may not give that: what the pointer says of another way to it is of no news.
                let passed_over = held.contains_key(&one) && self.points(&other, &one, relaxed);
                let gives = held
                    .get(&other)
                    .is_some_and(|class| !passed_over && self.exports(theirs.relationship, *class, relaxed));
                if gives {
                    return true;
                }
                todo.push_back((other, Some(theirs.relationship), hops + 1));
            }
        }
        false
    }

    fn peers(&self, one: &Name) -> Vec<Name> {
        let agreements = self.0.get(one).into_iter().flat_map(Agreements::keys);
        agreements.filter(|other| self.link(one, other).is_some()).copied().collect()
    }

    /// What both have agreed, if a link between them can stand.
    fn link(&self, one: &Name, other: &Name) -> Option<(&Agreement, &Agreement)> {
        let (ours, theirs) = (self.0.get(one)?.get(other)?, self.0.get(other)?.get(one)?);
        (ours.relationship.mirrored() == theirs.relationship).then_some((ours, theirs))
    }

    fn exports(&self, relationship: Relationship, class: Class, relaxed: Relaxed) -> bool {
        matches!(relaxed, Relaxed::Roles | Relaxed::All) || policy::exports(relationship, class)
    }

    fn pushes(&self, from: &Name, to: &Name, relaxed: Relaxed) -> bool {
        matches!(relaxed, Relaxed::Modes | Relaxed::All)
            || self
                .link(from, to)
                .is_some_and(|(ours, theirs)| ours.push.min(theirs.accept) == Mode::Values)
    }

    fn points(&self, from: &Name, to: &Name, relaxed: Relaxed) -> bool {
        let link = self.link(from, to).filter(|_| !matches!(relaxed, Relaxed::Modes | Relaxed::All));
        link.is_some_and(|(ours, theirs)| ours.push.min(theirs.accept) == Mode::Pointers)
    }

    fn asks(&self, who: &Name, whom: &Name, relaxed: Relaxed) -> bool {
        matches!(relaxed, Relaxed::Modes | Relaxed::All) || self.link(who, whom).is_some_and(|(ours, theirs)| ours.asks && theirs.answers)
    }

    fn passes(&self, one: &Name, other: &Name, name: &Name, relaxed: Relaxed) -> bool {
        let link = self.link(one, other);
        let passes = |(ours, theirs): (&Agreement, &Agreement)| !ours.filter.shuts_out(name) && !theirs.filter.shuts_out(name);
        matches!(relaxed, Relaxed::Filters | Relaxed::All) || link.is_some_and(passes)
    }
}

/// As what is learnt what this one sends.
fn learnt(from: Relationship, class: Class) -> Class {
    match from {
        Relationship::Sibling => class,
        Relationship::Mutual | Relationship::Customer | Relationship::Upstream | Relationship::Peer => policy::class_from(from),
    }
}

impl Finding {
    /// What can be done, in the order of what is usual.
    pub fn remedy(&self) -> String {
        let (one, other) = (self.provider, self.peer);
        match &self.cause {
            Cause::OneSided => format!("{one} adds an agreement with {other} (`dialtone peer add`), or {other} removes its own"),
            Cause::Contradiction(..) => {
                "make them mirror each other: mutual and mutual, customer and upstream, peer and peer, sibling and sibling".to_owned()
            }
            Cause::NobodyDials => format!("{one} or {other} adds an address of the other (`dialtone peer add NAME@HOST:PORT`)"),
            Cause::Apart => "add agreements that lead from one to the other".to_owned(),
            Cause::Valley(Some(before)) => {
                format!("let {before} and {other} peer with each other, or make one of them a customer of {one}, or agree on mutual")
            }
            Cause::Valley(None) => format!("make {one} a customer of {other}, or agree on mutual"),
            Cause::Silence => format!(
                "{one} pushes values to {other} and {other} accepts them (`push`, `accept`); or {one} answers (`answers`) and {other} asks (`asks`)"
            ),
            Cause::Filter => {
                "take the name from `except`, or put it into `only`, of the agreement on the side that shuts it out".to_owned()
            }
            Cause::TooFar => format!("push values on the way, or peer more closely: a question travels at most {HOPS_MAX} links"),
            Cause::Several => "make the agreements on the way mutual, without lists, and push values".to_owned(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, other) = (self.provider, self.peer);
        match &self.cause {
            Cause::OneSided => write!(
                f,
                "{other} has an agreement with {one}, which has none with it: the link does not stand"
            ),
            Cause::Contradiction(ours, theirs) => {
                write!(f, "{other} is {ours} to {one}, which is {theirs} to it: the link does not stand")
            }
            Cause::NobodyDials => write!(
                f,
                "neither {one} nor {other} says where the other listens: the link does not come up"
            ),
            Cause::Apart => write!(f, "no links lead from {one} to {other}"),
            Cause::Valley(Some(before)) => write!(
                f,
                "{one} does not pass on to {other} what it learnt from {before}: neither is its customer"
            ),
            Cause::Valley(None) => write!(f, "{one} does not pass on to {other} what it holds"),
            Cause::Silence => write!(f, "{one} pushes no values to {other}, which does not ask it or gets no answer"),
            Cause::Filter => write!(f, "the agreement between {one} and {other} does not let it pass"),
            Cause::TooFar => write!(f, "{one} and {other} are further apart than a question travels"),
            Cause::Several => write!(f, "several things stand between {one} and {other}"),
        }?;
        let what = self.name.map_or_else(|| "what is".to_owned(), |name| format!("{name},"));
        if let [(origin, at), rest @ ..] = &self.pairs[..] {
            write!(f, "; {what} put at {origin} does not resolve at {at}")?;
            if !rest.is_empty() {
                write!(f, ", and so for {} more pairs of providers", rest.len())?;
            }
        }
        Ok(())
    }
}

/// Names in lists that are looked at one by one: more would take long and tell little.
const NAMES_LOOKED_AT: usize = 256;
