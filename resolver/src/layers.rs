//! From a name to endpoints: service → endpoint → address, through delegates, every record verified by its source.
//!
//! ```text
//! asked name ── delegate ─▶ its first step stands in for it, whatever else the record says; the later steps go along as `onward`
//!     │
//!     ├─ service ── at itself ─▶ the addresses of this record
//!     │            └ at another name ─▶ that name's addresses, or those of its delegate
//!     └─ no services ─▶ its addresses alone, without a port
//! ```
//!
//! A legacy step (a DNS name) is given back as it is: the system's resolver knows what it means. Names are looked up level by level,
//! those of one level at once; each name once, however many lead to it.

mod walk;

use crate::error::ResolveError;
use crate::settings::{DEPTH_MAX, FANOUT_MAX, LOOKUPS_PER_RESOLUTION_MAX};
use crate::source::{Lookup, LookupError, RecordSource};
use crate::together::{self, Pending};
use dialtone_shared::record::{Delegate, Service, Step, Target, Transport};
use dialtone_shared::{Binding, Name, Rank, Ttl, VerifiedRecord};
use std::collections::HashMap;
use std::net::IpAddr;

/// What is wanted of a name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ResolveOptions {
    /// Only services of this label; `None`: all.
    pub service: Option<String>,
    /// Only services over this; `None`: all.
    pub transport: Option<Transport>,
    /// Which regions are near, as publishers call them, nearest first: endpoints there come first, whatever their priority.
    pub regions: Vec<String>,
    /// What the weighted order among equals is drawn from. Hand in chance, or a constant to get the same order again.
    pub seed: u64,
}

/// What a name came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolution {
    /// Which record said what.
    pub tree: Node,
    /// Where to go, best first.
    pub endpoints: Vec<Endpoint>,
    /// How long all of it may be kept.
    pub ttl: Ttl,
}

/// One name on the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Which.
    pub name: Name,
    /// What led to it.
    pub via: Via,
    /// What was found.
    pub said: Said,
    /// Where it led.
    pub children: Vec<Node>,
    /// A DNS name that it led to, if any.
    pub legacy: Option<String>,
}

/// What leads from one name to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Via {
    /// It is what was asked for.
    Asked,
    /// A service of this label is offered there.
    Service(String),
    /// It stands in.
    Delegate,
}

/// What is known of a name on the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// Its verified record, and how long the answer may be kept. It may be a revocation.
    Record {
        /// The record.
        record: VerifiedRecord,
        /// How long it may be kept.
        ttl: Ttl,
    },
    /// There is no record.
    Absent {
        /// How long that may be believed.
        ttl: Ttl,
    },
    /// It could not be looked up.
    Failed(LookupError),
    /// It led back to itself.
    Cycle,
    /// Too many names in a row, or in all.
    Limit(&'static str),
}

/// Somewhere to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Where.
    pub host: Host,
    /// Which port; `None` where no service says.
    pub port: Option<u16>,
    /// Over what.
    pub transport: Option<Transport>,
    /// The service.
    pub service: Option<String>,
    /// Application protocols, preferred first.
    pub alpn: Vec<String>,
    /// SHA-256 of the SubjectPublicKeyInfos that it may present; empty: any.
    pub pins: Vec<[u8; 32]>,
    /// Where it is, as its publisher calls it.
    pub region: Option<String>,
    /// Lower is preferred: the priority of the service, then that of the address.
    pub preference: u32,
    /// The names that led here, the asked one first.
    pub path: Vec<Name>,
    /// Steps that traffic is to be directed to from there on.
    pub onward: Vec<Step>,
}

/// Where an endpoint is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// At an address.
    Ip(IpAddr),
    /// At whatever the system's resolver makes of this DNS name.
    Legacy(String),
}

/// What part a name plays: one that offers services, or one that is a host of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Role {
    Service,
    Host,
}

/// Looks up whatever `name` leads to, and puts the endpoints in order.
///
/// # Errors
/// [`ResolveError::Lookup`] if nothing certain can be said about `name` itself. Troubles further on stand in the tree.
pub async fn resolve(source: &dyn RecordSource, name: &Name, options: &ResolveOptions) -> Result<Resolution, ResolveError> {
    let known = gather(source, name, options).await;
    if let Some(Err(error)) = known.get(name) {
        return Err(ResolveError::Lookup {
            name: *name,
            error: error.clone(),
        });
    }
    Ok(walk::assemble(name, &known, options))
}

/// What was found of each name.
type Known = HashMap<Name, Result<Lookup, LookupError>>;

async fn gather(source: &dyn RecordSource, name: &Name, options: &ResolveOptions) -> Known {
    let mut known = Known::new();
    let mut seen = vec![(*name, Role::Service)];
    let mut level = seen.clone();
    for _ in 0..=DEPTH_MAX {
        let mut wanted: Vec<Name> = Vec::new();
        for (name, _) in &level {
            let room = known.len() + wanted.len() < LOOKUPS_PER_RESOLUTION_MAX;
            if room && !known.contains_key(name) && !wanted.contains(name) {
                wanted.push(*name);
            }
        }
        let lookups: Vec<Pending<'_, _>> = wanted.iter().map(|name| source.lookup(name)).collect();
        known.extend(wanted.iter().copied().zip(together::all(lookups).await));
        let mut next = Vec::new();
        for (name, role) in level {
            if let Some(Ok(Lookup::Found { record, .. })) = known.get(&name) {
                for (child, _, role) in children(record, role, options) {
                    if !seen.contains(&(child, role)) {
                        seen.push((child, role));
                        next.push((child, role));
                    }
                }
            }
        }
        if next.is_empty() {
            break;
        }
        level = next;
    }
    known
}

/// The other names that a record leads to, each once.
fn children(record: &VerifiedRecord, role: Role, options: &ResolveOptions) -> Vec<(Name, Via, Role)> {
    if let Some(delegate) = delegate_of(record) {
        return match delegate.path.first() {
            Some(Step::Name(name)) => vec![(*name, Via::Delegate, role)],
            Some(Step::Legacy(_)) | None => Vec::new(),
        };
    }
    let mut found: Vec<(Name, Via, Role)> = Vec::new();
    if role == Role::Service {
        for service in services_of(record, options) {
            if let Target::Name(name) = service.target
                && name != *record.name()
                && !found.iter().any(|(known, ..)| *known == name)
                && found.len() < FANOUT_MAX
            {
                found.push((name, Via::Service(service.label.clone()), Role::Host));
            }
        }
    }
    found
}

impl Resolution {
    /// The first thing on the way that is not right: why there are fewer endpoints than there could be.
    pub fn trouble(&self) -> Option<(&Name, &Said)> {
        fn first(node: &Node) -> Option<(&Name, &Said)> {
            let bad = match &node.said {
                Said::Record { record, .. } => record.record().is_revoked(),
                Said::Absent { .. } | Said::Failed(_) | Said::Cycle | Said::Limit(_) => true,
            };
            if bad {
                Some((&node.name, &node.said))
            } else {
                node.children.iter().find_map(first)
            }
        }
        first(&self.tree)
    }

    /// Every record on the way, as the tree is read.
    pub fn records(&self) -> Vec<(&Name, &Rank)> {
        fn walk<'a>(node: &'a Node, out: &mut Vec<(&'a Name, &'a Rank)>) {
            if let Said::Record { record, .. } = &node.said {
                out.push((&node.name, record.rank()));
            }
            node.children.iter().for_each(|child| walk(child, out));
        }
        let mut out = Vec::new();
        walk(&self.tree, &mut out);
        out
    }
}

fn delegate_of(record: &VerifiedRecord) -> Option<&Delegate> {
    record.record().bindings().iter().find_map(|binding| match binding {
        Binding::Delegate(delegate) => Some(delegate),
        Binding::Address(_) | Binding::Service(_) | Binding::Dns(_) | Binding::Opaque(_) => None,
    })
}

fn services_of<'a>(record: &'a VerifiedRecord, options: &'a ResolveOptions) -> impl Iterator<Item = &'a Service> {
    record.record().bindings().iter().filter_map(|binding| match binding {
        Binding::Service(service) => {
            let label = options
                .service
                .as_ref()
                .is_none_or(|label| service.label.eq_ignore_ascii_case(label));
            let transport = options.transport.is_none_or(|transport| service.transport == transport);
            (label && transport).then_some(service)
        }
        Binding::Address(_) | Binding::Delegate(_) | Binding::Dns(_) | Binding::Opaque(_) => None,
    })
}
