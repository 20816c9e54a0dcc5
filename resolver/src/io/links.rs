//! Owners' links, looked for through the upstream. What a link is, and for how long, is decided in [`dns::links`](crate::dns::links).

use crate::dns::aliases::{Mapped, Stands};
use crate::dns::domain::Domain;
use crate::dns::forward::Asked;
use crate::dns::links::{Found, Link, LinkCache, candidates, mapped, owner, read};
use crate::dns::rcode::{Ede, ede};
use crate::dns::response::Rr;
use crate::io::allowance::was_turned_away;
use crate::io::upstream::Upstream;
use crate::io::validator::Validator;
use crate::source::{Lookup, RecordSource};
use crate::together::{Pending, all};
use dialtone_shared::record::rdata::types;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Looks for links.
#[derive(Clone, Debug)]
pub struct Links {
    upstream: Arc<Upstream>,
    /// `None`: links that are not proved are followed too.
    validator: Option<Arc<Validator>>,
    cache: Arc<Mutex<LinkCache>>,
}

/// What the links say about a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Linked {
    /// Nothing: the legacy answer is the answer.
    No,
    /// A flat name that is there has its data.
    To(Mapped),
    /// There is a link, and it leads nowhere; why.
    Broken(Ede),
    /// Whether there is one was not asked: too many questions are under way.
    Busy,
}

impl Links {
    /// Through `upstream`, and if there is a `validator` only links that it proves.
    pub fn new(upstream: Arc<Upstream>, validator: Option<Arc<Validator>>) -> Self {
        Self {
            upstream,
            validator,
            cache: Arc::default(),
        }
    }

    /// Where `name` is kept. Who wants signatures (`dnssec_ok`) is told of no link in a zone that has them.
    pub async fn find(&self, name: &Domain, kind: u16, dnssec_ok: bool, source: &dyn RecordSource) -> Linked {
        let domains = candidates(name, kind);
        // All at once, and in this task: it is the one that says for whom.
        let looks = domains.iter().map(|domain| Box::pin(self.at(domain.clone())) as Pending<'_, _>);
        let found = all(looks.collect()).await;
        if found.contains(&None) && was_turned_away() {
            return Linked::Busy;
        }
        let closest = domains
            .iter()
            .zip(found)
            .find_map(|(domain, found)| found.filter(|found: &Found| found.link != Link::None).map(|found| (domain, found)));
        let Some((domain, found)) = closest else { return Linked::No };
        if dnssec_ok && found.signed {
            return Linked::No;
        }
        let broken = |why: &str| Linked::Broken(Ede::new(ede::OTHER, format!("the link at _dialtone.{domain} is broken: {why}")));
        let flat = match found.link {
            Link::To(flat) => flat,
            Link::Broken(why) => return broken(&why),
            Link::None => return Linked::No,
        };
        match source.lookup(&flat).await {
            Ok(Lookup::Found { record, .. }) if record.record().is_revoked() => broken("the name was revoked by its holder"),
            Ok(Lookup::Found { .. }) => mapped(name, domain, flat, found.ttl, Stands::Link).map_or(Linked::No, Linked::To),
            Ok(Lookup::Absent { .. }) => broken("nobody has published the name"),
            Err(_) => broken("the name cannot be looked up now"),
        }
    }

    /// What stands at `_dialtone.<domain>`; `None` if that cannot be said now.
    pub async fn at(&self, domain: Domain) -> Option<Found> {
        if let Some(known) = self.lock().get(&domain, Instant::now()) {
            return Some(known);
        }
        let at = owner(&domain)?;
        let found = match &self.validator {
            Some(validator) => {
                let answer = validator.lookup(&at, types::TXT).await.ok()?;
                // What is not proved is no link; and a forger who hides one gets the legacy answer, which is what there was before.
                let link = if answer.secure {
                    read(&answer.response.answers)
                } else {
                    Link::None
                };
                let ttl = shortest(answer.response.answers.iter().chain(&answer.response.authority));
                Found {
                    link,
                    signed: answer.secure,
                    ttl,
                }
            }
            None => {
                let asked = Asked {
                    name: at,
                    kind: types::TXT,
                    dnssec_ok: true,
                    checking_disabled: false,
                };
                let (answered, age) = self.upstream.ask_or_stale(asked).await.ok()?;
                let (answers, authorities) = age.map_or_else(|| answered.records_stale(), |age| answered.records(age));
                Found {
                    link: read(&answers),
                    signed: answers.iter().any(|answer| answer.kind == TYPE_RRSIG),
                    ttl: shortest(answers.iter().chain(&authorities)),
                }
            }
        };
        self.lock().put(domain, found.clone(), Instant::now());
        Some(found)
    }

    /// Forgets the links of domains that are `meant`, and says of how many.
    pub fn forget(&self, meant: impl Fn(&Domain) -> bool) -> usize {
        self.lock().forget(meant)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LinkCache> {
        // Each change is one call.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shortest<'a>(records: impl Iterator<Item = &'a Rr>) -> u32 {
    records.map(|record| record.ttl).min().unwrap_or_default()
}

const TYPE_RRSIG: u16 = 46;
