//! From the name asked for to its data: through aliases and delegates, here and upstream, for so many steps and no more.

use crate::dns::aliases::{Mapped, Stands};
use crate::dns::answer::{Found, Spot, flat_domain, ordered_addresses, step_domain};
use crate::dns::denial::{Denial, types::NSEC};
use crate::dns::domain::Domain;
use crate::dns::forward::Asked;
use crate::dns::generations::{Generations, Trace};
use crate::dns::links::mapped;
use crate::dns::local::Local;
use crate::dns::place::{ORIGIN_KINDS, Place, Zone};
use crate::dns::question::Query;
use crate::dns::rcode::{AnswerError, Ede, Rcode, ede};
use crate::dns::response::{Rdata, Response, Rr};
use crate::dns::settings::{ALIAS_HOPS_MAX, ALIAS_TTL_SECS, TARGETS_MAX};
use crate::dns::signing::Signing;
use crate::io::alias_file::AliasFile;
use crate::io::upstream::Upstream;
use crate::io::validator::Validator;
use crate::source::{Lookup, RecordSource};
use bytes::Bytes;
use dialtone_shared::Name;
use dialtone_shared::hip::Hit;
use dialtone_shared::record::rdata::{TYPE_RECORD, types};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// What one answer is made from.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'a> {
    /// Where records are looked up.
    pub source: &'a dyn RecordSource,
    /// The origin.
    pub zone: &'a Zone,
    /// The aliases made here.
    pub aliases: Option<&'a AliasFile>,
    /// The upstream resolvers.
    pub upstream: Option<&'a Arc<Upstream>>,
    /// What validates what they say for who asks.
    pub validator: Option<&'a Arc<Validator>>,
    /// Whether an alias of a legacy name is followed there for who asks.
    pub may_chase: bool,
    /// What the answer turns out to be made from.
    pub trace: &'a Trace,
    /// Which names changed.
    pub generations: &'a Generations,
    /// What signs the origin.
    pub signing: Option<&'a Signing>,
    /// Whether it is to be proved what is not there.
    pub proves: bool,
}

/// What upstream resolvers say.
struct Said {
    rcode: Rcode,
    answers: Vec<Rr>,
    soa: Vec<Rr>,
    /// What the aliases in it lead to, step by step.
    targets: Vec<Domain>,
    stale: bool,
}

/// What one step of the way came to.
enum Step {
    /// The data.
    Records(Vec<Rr>),
    /// On to another name. `shown`: with a CNAME.
    On {
        target: Domain,
        ttl: u32,
        shown: bool,
        /// The types that stand here, where that is to be proved.
        kinds: Vec<u16>,
    },
    /// There is none.
    None {
        rcode: Rcode,
        /// In which zone there is none, and for how long that may be believed, in seconds.
        zone: Domain,
        ttl: u32,
        ede: Option<Ede>,
        /// The types that there are, where that is to be proved.
        kinds: Vec<u16>,
    },
    /// A legacy name: whatever the upstream says.
    Upstream,
}

impl Walk<'_> {
    /// The answer to `query`, whose name is at `place`. One at [`Place::Legacy`] comes here only if its aliases lead back to names
    /// that are answered for here.
    ///
    /// # Errors
    /// [`AnswerError`]: then nothing certain can be said.
    pub async fn answer(&self, query: &Query, place: Place) -> Result<Response, AnswerError> {
        let kind = query.question.kind;
        let mut response = Response::code(Rcode::NoError, None);
        response.authoritative = place != Place::Legacy;
        // Where the walk is, and what is written over what it finds. They differ from where a CNAME could not stand; from there on
        // nothing may be kept longer than each of the steps.
        let mut at = query.question.name.clone();
        let mut owner = at.clone();
        // Whose SOA goes with "there is none" where the way to it is not shown.
        let home = match &place {
            Place::Mapped(mapped) => mapped.apex.clone(),
            _ => self.zone.origin.clone(),
        };
        let mut place = place;
        let mut hidden_ttl = None;
        let mut hidden_kinds = Vec::new();
        for hop in 0..=ALIAS_HOPS_MAX {
            let step = match self.step(&place, &at, &owner, kind).await? {
                // What a name asked for itself lacks is for the caller to see to.
                Step::None {
                    rcode: Rcode::NxDomain, ..
                } if hop > 0 && place.is_lent() => Step::Upstream,
                step => step,
            };
            match step {
                Step::Records(records) => {
                    push_records(&mut response, records, &owner, hidden_ttl);
                    return Ok(response);
                }
                Step::On { target, ttl, shown, kinds } => {
                    if shown && hidden_ttl.is_none() {
                        response.answers.push(Rr {
                            owner,
                            kind: types::CNAME,
                            ttl,
                            rdata: Rdata::Name(target.clone()),
                        });
                        if matches!(kind, types::CNAME | types::ANY) {
                            return Ok(response);
                        }
                        owner = target.clone();
                    } else {
                        if hidden_ttl.is_none() {
                            hidden_kinds = kinds;
                        }
                        hidden_ttl = Some(hidden_ttl.unwrap_or(ttl).min(ttl));
                    }
                    place = self.next(&place, &target);
                    at = target;
                }
                Step::None {
                    rcode,
                    zone,
                    ttl,
                    ede,
                    kinds,
                } => {
                    // The name asked for is there, even if what stands in for it is not.
                    let is_hidden = hidden_ttl.is_some();
                    response.rcode = if is_hidden { Rcode::NoError } else { rcode };
                    let zone = if is_hidden { home } else { zone };
                    let kinds = if is_hidden { hidden_kinds } else { kinds };
                    response.denial = self.proves.then(|| {
                        Box::new(Denial {
                            owner,
                            exists: response.rcode != Rcode::NxDomain || !kinds.is_empty(),
                            kinds,
                        })
                    });
                    response.authority.push(self.zone.negative_soa(zone, ttl));
                    response.ede = ede;
                    return Ok(response);
                }
                Step::Upstream => match self.upstream(query, &mut response, &at, &owner, hidden_ttl, &home).await? {
                    None => {
                        if self.proves && hidden_ttl.is_some() && !response.authority.is_empty() {
                            response.denial = Some(Box::new(Denial {
                                owner,
                                exists: true,
                                kinds: hidden_kinds,
                            }));
                        }
                        return Ok(response);
                    }
                    Some((target, ttl)) => {
                        match &mut hidden_ttl {
                            Some(hidden_ttl) => *hidden_ttl = ttl.min(*hidden_ttl),
                            None => owner = target.clone(),
                        }
                        place = self.zone.place(&target, self.aliases);
                        at = target;
                    }
                },
            }
        }
        Err(AnswerError::AliasLoop(at.to_string()))
    }

    /// Whose the target of an alias at `place` is: within a domain that a flat name has the data of it is there, too.
    fn next(&self, place: &Place, target: &Domain) -> Place {
        match (self.zone.place(target, self.aliases), place) {
            (Place::Legacy, Place::Mapped(from)) => {
                mapped(target, &from.apex, from.name, from.ttl, from.as_what).map_or(Place::Legacy, Place::Mapped)
            }
            (next, _) => next,
        }
    }

    /// One step from `at`, which is at `place`.
    async fn step(&self, place: &Place, at: &Domain, owner: &Domain, kind: u16) -> Result<Step, AnswerError> {
        let none = |rcode, zone: &Domain, ede| Step::None {
            rcode,
            zone: zone.clone(),
            ttl: u32::MAX,
            ede,
            kinds: Vec::new(),
        };
        match place {
            Place::Flat { .. } | Place::Origin | Place::NotAName(_) => {}
            // The map comes before what is said of special names.
            Place::Alias(_) | Place::Mapped(_) | Place::Local(_) | Place::AboveOrigin => self.trace.consulted_map(),
            // What others say has caches and rules of its own, and any name may come to have a tag.
            Place::Legacy | Place::Hit(_) => self.trace.spoil(),
        }
        Ok(match place {
            Place::Flat { name, labels } => {
                let apex = at.without_first(labels.len()).to_lower();
                self.flat(name, labels, &apex, owner, kind).await?
            }
            Place::Mapped(mapped) => {
                // Where each name below a domain is the name itself, nothing there is one of the name's own owners.
                let elsewhere = flat_domain(&mapped.name, &self.zone.origin).filter(|_| mapped.as_what == Stands::Each);
                let apex = elsewhere.unwrap_or_else(|| mapped.apex.to_lower());
                bounded(self.flat(&mapped.name, &mapped.labels, &apex, owner, kind).await?, mapped)
            }
            Place::Origin => match self.zone.at_origin(kind, owner, self.signing) {
                records if records.is_empty() => Step::None {
                    rcode: Rcode::NoError,
                    zone: self.zone.origin.clone(),
                    ttl: u32::MAX,
                    ede: None,
                    kinds: ORIGIN_KINDS.to_vec(),
                },
                records => Step::Records(records),
            },
            Place::AboveOrigin => none(Rcode::NoError, at, None),
            Place::NotAName(error) => {
                let ede = Ede::new(ede::OTHER, format!("not a name: {error}"));
                none(Rcode::NxDomain, &self.zone.origin, Some(ede))
            }
            Place::Alias(name) => match flat_domain(name, &self.zone.origin) {
                Some(target) => Step::On {
                    target,
                    ttl: ALIAS_TTL_SECS,
                    shown: true,
                    kinds: Vec::new(),
                },
                None => none(Rcode::NoError, at, None),
            },
            Place::Hit(hit) => self.hit(hit, at, owner, kind).await?,
            Place::Local(local) => {
                let zone = |text: &str| Domain::from_text(text).unwrap_or_else(|_| Domain::root());
                match (local, kind) {
                    (Local::Loopback, types::A) => loopback(owner, kind, &Ipv4Addr::LOCALHOST.octets()),
                    (Local::Loopback, types::AAAA) => loopback(owner, kind, &Ipv6Addr::LOCALHOST.octets()),
                    (Local::Loopback, _) => none(Rcode::NoError, &zone("localhost"), None),
                    (Local::NoData(text), _) => none(Rcode::NoError, &zone(text), None),
                    (Local::NoName(text), _) => none(Rcode::NxDomain, &zone(text), None),
                }
            }
            Place::Legacy => Step::Upstream,
        })
    }

    /// What stands at a tag: the name, its host identity, and its record.
    async fn hit(&self, hit: &Hit, at: &Domain, owner: &Domain, kind: u16) -> Result<Step, AnswerError> {
        let none = |rcode, ttl| Step::None {
            rcode,
            zone: at.clone(),
            ttl,
            ede: None,
            kinds: Vec::new(),
        };
        let Some((record, ttl)) = self.source.by_hit(hit).await? else {
            return Ok(none(Rcode::NxDomain, u32::MAX));
        };
        if self.source.answers_alone(record.name()) {
            self.trace.alone();
        }
        let rdata = match kind {
            types::PTR => flat_domain(record.name(), &self.zone.origin).map(Rdata::Name),
            types::HIP => record.record().key().map(|key| Rdata::Bytes(Hit::rdata(&key).into())),
            TYPE_RECORD => Some(Rdata::Bytes(record.bytes().clone())),
            _ => None,
        };
        Ok(match rdata {
            Some(rdata) => Step::Records(vec![Rr {
                owner: owner.clone(),
                kind,
                ttl: ttl.0,
                rdata,
            }]),
            None => none(Rcode::NoError, ttl.0),
        })
    }

    /// One step from a flat name, or an owner under it. What the record says of names under its own is said under `apex`.
    async fn flat(&self, name: &Name, labels: &[Vec<u8>], apex: &Domain, owner: &Domain, kind: u16) -> Result<Step, AnswerError> {
        let origin = &self.zone.origin;
        let none = |rcode, ttl, ede| Step::None {
            rcode,
            zone: origin.clone(),
            ttl,
            ede,
            kinds: Vec::new(),
        };
        self.trace.consulted(name, self.generations);
        let (record, ttl) = match self.source.lookup(name).await? {
            Lookup::Found { record, ttl } => (record, ttl),
            Lookup::Absent { ttl } => return Ok(none(Rcode::NxDomain, ttl.0, None)),
        };
        if self.source.answers_alone(name) {
            self.trace.alone();
        }
        if kind == TYPE_RECORD && labels.is_empty() {
            return Ok(Step::Records(vec![Rr {
                owner: owner.clone(),
                kind,
                ttl: ttl.0,
                rdata: Rdata::Bytes(record.bytes().clone()),
            }]));
        }
        if record.record().is_revoked() {
            return Ok(Step::None {
                rcode: Rcode::NxDomain,
                zone: origin.clone(),
                ttl: ttl.0,
                ede: Some(Ede::new(ede::OTHER, "the name was revoked by its holder")),
                // What says so is there, and must not be denied together with all else.
                kinds: if labels.is_empty() { vec![TYPE_RECORD] } else { Vec::new() },
            });
        }
        let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
        let mut spot = Spot {
            record: record.record(),
            ttl,
            apex,
            origin,
            labels: &labels,
            kind,
            at_hand: &[],
        };
        let at_hand = self.addresses_of(spot.wanted(TARGETS_MAX)).await;
        spot.at_hand = &at_hand;
        let kinds = || if self.proves { spot.kinds(owner) } else { Vec::new() };
        let no_data = |ttl| Step::None {
            rcode: Rcode::NoError,
            zone: origin.clone(),
            ttl,
            ede: None,
            kinds: kinds(),
        };
        Ok(match spot.find(owner) {
            Found::NoName => none(Rcode::NxDomain, ttl.0, None),
            // It stands beside an alias, too.
            _ if self.proves && kind == NSEC => no_data(ttl.0),
            Found::Records(records) => Step::Records(records),
            Found::Alias { target, ttl } => Step::On {
                target,
                ttl,
                shown: true,
                kinds: Vec::new(),
            },
            Found::Elsewhere { step, ttl } => match step_domain(&step, origin) {
                Some(target) => Step::On {
                    target,
                    ttl,
                    shown: false,
                    kinds: kinds(),
                },
                None => no_data(ttl),
            },
            Found::NoData => no_data(ttl.0),
        })
    }

    /// The addresses of other names, as far as they are known at once: an answer without hints is as right as one with them.
    async fn addresses_of(&self, names: Vec<Name>) -> Vec<(Name, Vec<IpAddr>)> {
        let mut at_hand = Vec::with_capacity(names.len());
        let until = Instant::now() + HINTS_PATIENCE;
        for name in names {
            self.trace.consulted(&name, self.generations);
            match timeout_at(until, self.source.lookup(&name)).await {
                Ok(Ok(Lookup::Found { record, .. })) => at_hand.push((name, ordered_addresses(record.record()))),
                Ok(Ok(Lookup::Absent { .. })) => {}
                // Whoever asks next may get them.
                Ok(Err(_)) | Err(_) => self.trace.spoil(),
            }
        }
        at_hand
    }

    /// The rest of the way is the upstream's, or as far as to the first name that is not: that one, and for how long it may be believed.
    async fn upstream(
        &self,
        query: &Query,
        response: &mut Response,
        at: &Domain,
        owner: &Domain,
        hidden_ttl: Option<u32>,
        home: &Domain,
    ) -> Result<Option<(Domain, u32)>, AnswerError> {
        let upstream = match (self.upstream, hidden_ttl) {
            // The name's own data: nobody else can be asked for it.
            (Some(upstream), Some(_)) => upstream,
            (None, Some(_)) => return Err(AnswerError::NoUpstream(at.to_string())),
            (Some(upstream), None) if self.may_chase => upstream,
            // Who asks follows the alias alone.
            (_, None) => return Ok(None),
        };
        let Said {
            rcode,
            mut answers,
            soa,
            targets,
            stale,
        } = self.said(upstream, query, at).await?;
        if stale {
            response.ede = Some(Ede::new(ede::STALE_ANSWER, ede::STALE_UPSTREAM));
        }
        if let Some(target) = self.back_here(&targets) {
            let leads_there =
                |rr: &Rr| matches!(&rr.rdata, Rdata::Bytes(name) if rr.kind == types::CNAME && name.eq_ignore_ascii_case(target.as_wire()));
            answers.truncate(answers.iter().position(leads_there).map_or(0, |at| at + 1));
            // What it says of a name that is not its own, it may have made up.
            answers.retain(|rr| self.zone.place(&rr.owner, self.aliases) == Place::Legacy);
            let ttl = answers.iter().map(|rr| rr.ttl).min().unwrap_or_default();
            if hidden_ttl.is_none() {
                response.answers.append(&mut answers);
                if matches!(query.question.kind, types::CNAME | types::ANY) {
                    return Ok(None);
                }
            }
            return Ok(Some((target.clone(), ttl)));
        }
        if hidden_ttl.is_none() {
            response.rcode = rcode;
            response.answers.extend(answers);
            response.authority.extend(soa);
            return Ok(None);
        }
        let longest = answers.iter().map(|record| record.ttl).min().unwrap_or_default();
        let data: Vec<Rr> = answers.into_iter().filter(|record| record.kind == query.question.kind).collect();
        if data.is_empty() {
            response.authority.push(self.zone.negative_soa(home.clone(), u32::MAX));
        }
        push_records(response, data, owner, hidden_ttl.map(|ttl| ttl.min(longest)));
        Ok(None)
    }

    /// What upstream resolvers say of `at`, validated if that is to be.
    async fn said(&self, upstream: &Arc<Upstream>, query: &Query, at: &Domain) -> Result<Said, AnswerError> {
        if let Some(validator) = self.validator {
            let validated = validator.lookup(at, query.question.kind).await?;
            let stale = validated.stale;
            let Response {
                rcode, answers, authority, ..
            } = match query.dnssec_ok() {
                true => validated.response,
                false => validated.without_signatures().response,
            };
            return Ok(Said {
                rcode,
                targets: targets_of(at, &answers),
                answers,
                soa: authority.into_iter().filter(|rr| rr.kind == types::SOA).collect(),
                stale,
            });
        }
        let (answered, age) = upstream.ask_or_stale(Asked::of(query, at)).await?;
        let (answers, soa) = age.map_or_else(|| answered.records_stale(), |age| answered.records(age));
        Ok(Said {
            rcode: answered.rcode,
            targets: answered.targets().to_vec(),
            answers,
            soa,
            stale: age.is_none(),
        })
    }

    /// The first of the names that aliases of the upstream lead to that is answered for here, and by nobody else.
    pub fn back_here<'t>(&self, targets: &'t [Domain]) -> Option<&'t Domain> {
        let is_theirs = |target: &Domain| self.zone.place(target, self.aliases) == Place::Legacy;
        targets.iter().find(|target| !is_theirs(target))
    }
}

/// What the aliases among `answers` lead to from `at` on, step by step.
pub(crate) fn targets_of(at: &Domain, answers: &[Rr]) -> Vec<Domain> {
    let mut chain = vec![at.clone()];
    for answer in answers.iter().filter(|answer| answer.kind == types::CNAME) {
        let target = match &answer.rdata {
            Rdata::Bytes(name) => Domain::from_wire(name),
            Rdata::Name(name) => Some(name.clone()),
            Rdata::Soa(_) => None,
        };
        if let Some(target) = target.filter(|target| chain.contains(&answer.owner) && !chain.contains(target)) {
            chain.push(target);
        }
    }
    chain.split_off(1)
}

/// What a flat name says of a legacy one: as long as both may be believed, and with an alias only where one may stand.
fn bounded(step: Step, mapped: &Mapped) -> Step {
    match step {
        Step::Records(mut records) => {
            for record in &mut records {
                record.ttl = record.ttl.min(mapped.ttl);
            }
            Step::Records(records)
        }
        Step::On { target, ttl, shown, kinds } => Step::On {
            target,
            ttl: ttl.min(mapped.ttl),
            shown: shown && !mapped.labels.is_empty(),
            kinds,
        },
        Step::None {
            rcode, ttl, ede, kinds, ..
        } => Step::None {
            rcode,
            zone: mapped.apex.clone(),
            ttl: ttl.min(mapped.ttl),
            ede,
            kinds,
        },
        Step::Upstream => Step::Upstream,
    }
}

/// Adds the data; where the way to it is not shown, as the data of who was asked for.
fn push_records(response: &mut Response, records: Vec<Rr>, owner: &Domain, hidden_ttl: Option<u32>) {
    for mut record in records {
        if let Some(ttl) = hidden_ttl {
            record.ttl = record.ttl.min(ttl);
            record.owner = owner.clone();
        }
        response.answers.push(record);
    }
}

fn loopback(owner: &Domain, kind: u16, ip: &[u8]) -> Step {
    Step::Records(vec![Rr {
        owner: owner.clone(),
        kind,
        ttl: LOOPBACK_TTL_SECS,
        rdata: Rdata::Bytes(Bytes::copy_from_slice(ip)),
    }])
}

/// How long an answer waits for the hints in it, all together: less than it costs who asks to ask for them.
const HINTS_PATIENCE: Duration = Duration::from_millis(50);

/// How long `localhost` may be kept, in seconds: it never changes.
const LOOPBACK_TTL_SECS: u32 = 86_400;
