//! A record becomes DNS: what it says about one owner under its name, and one type.
//!
//! | binding  | at the name itself | under it |
//! |----------|--------------------|----------|
//! | address  | A, AAAA            |          |
//! | service  | HTTPS (`https` on 443) | SRV, TLSA, SVCB, HTTPS: see [`services`] |
//! | delegate | CNAME where nothing else stands; otherwise A and AAAA are those of its first step | |
//! | (its key) | HIP (RFC 8005), unless it says one itself | |
//! | dns      | itself             | itself; `*` as RFC 4592 says |
//!
//! A name whose services are all at one other name, and that has no address, is found at that name's addresses: clients that know no
//! SRV and no HTTPS reach it too.

use crate::dns::domain::Domain;
use crate::dns::rebase::rebased;
use crate::dns::response::{Rdata, Rr};
use crate::dns::services;
use bytes::Bytes;
use dialtone_shared::hip::Hit;
use dialtone_shared::record::rdata::{TYPE_RECORD, types};
use dialtone_shared::record::{Address, Binding, Delegate, DnsData, Service, Step, Target};
use dialtone_shared::{Name, Record, Ttl};
use std::net::IpAddr;

/// Which owner of which record is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Spot<'a> {
    /// The record.
    pub record: &'a Record,
    /// How long it may be kept.
    pub ttl: Ttl,
    /// Under what the names below the record's own are said: `<name>.<origin>`, or the domain that it speaks for.
    pub apex: &'a Domain,
    /// The origin.
    pub origin: &'a Domain,
    /// The labels left of the name, lower-case, first to last; none is the name itself.
    pub labels: &'a [&'a [u8]],
    /// The RR type asked for.
    pub kind: u16,
    /// The addresses of other names that are at hand.
    pub at_hand: &'a [(Name, Vec<IpAddr>)],
}

/// What a record says about one owner and type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// These records, all of one owner, type and TTL.
    Records(Vec<Rr>),
    /// The owner is an alias of this name.
    Alias {
        /// The name.
        target: Domain,
        /// Seconds.
        ttl: u32,
    },
    /// The addresses are those of another name, which cannot be said with a CNAME.
    Elsewhere {
        /// The other name.
        step: Step,
        /// Seconds.
        ttl: u32,
    },
    /// The owner is there, with other types or only with owners under it.
    NoData,
    /// There is no such owner.
    NoName,
}

impl Spot<'_> {
    /// What the record says, with `owner` written over the records.
    pub fn find(&self, owner: &Domain) -> Found {
        match self.place() {
            Some(labels) => self.at(&labels, owner),
            None => Found::NoName,
        }
    }

    /// The other names whose addresses would make the answer better, at most `most`.
    pub fn wanted(&self, most: usize) -> Vec<Name> {
        let mut wanted = Vec::new();
        if matches!(self.kind, types::HTTPS | types::SVCB) {
            for service in self.services() {
                if let Target::Name(name) = service.target
                    && services::owns(service, self.kind, self.labels)
                    && !wanted.contains(&name)
                    && wanted.len() < most
                {
                    wanted.push(name);
                }
            }
        }
        wanted
    }

    /// The types that may stand at this owner: none that does is missing.
    pub fn kinds(&self, owner: &Domain) -> Vec<u16> {
        let Some(labels) = self.place() else { return Vec::new() };
        let mut kinds = OWN_KINDS.to_vec();
        kinds.extend(self.record.bindings().iter().filter_map(|binding| match binding {
            Binding::Dns(dns) => Some(dns.kind),
            _ => None,
        }));
        kinds.sort_unstable();
        kinds.dedup();
        kinds.retain_mut(|kind| match (Spot { kind: *kind, ..*self }).at(&labels, owner) {
            Found::Records(_) | Found::Elsewhere { .. } => true,
            Found::Alias { .. } => {
                *kind = types::CNAME;
                true
            }
            Found::NoData | Found::NoName => false,
        });
        if self.labels.is_empty() {
            kinds.push(TYPE_RECORD);
        }
        kinds
    }

    /// What stands at an owner that exists: at `labels`, which may be a wildcard.
    fn at(&self, labels: &[&[u8]], owner: &Domain) -> Found {
        let delegate = self.delegate().filter(|_| labels.is_empty());
        if let Some(delegate) = delegate
            && let Some(step) = delegate.path.first()
        {
            if !self.has_data_at_apex()
                && let Some(target) = step_domain(step, self.origin)
            {
                return Found::Alias { target, ttl: self.ttl.0 };
            }
            if matches!(self.kind, types::A | types::AAAA) {
                return Found::Elsewhere {
                    step: step.clone(),
                    ttl: self.ttl.0,
                };
            }
        }
        if let Some((target, ttl)) = self.cname_at(labels) {
            return Found::Alias { target, ttl };
        }
        if self.kind == types::ANY {
            return Found::Records(vec![minimal_any(owner, self.ttl)]);
        }
        let mut found: Vec<(Bytes, u32)> = Vec::new();
        for binding in self.record.bindings() {
            if let Binding::Dns(dns) = binding
                && dns.kind == self.kind
                && same_owner(&dns.owner, labels)
            {
                found.push((self.rebased(dns), dns.ttl.0.min(self.ttl.0)));
            }
        }
        if labels.is_empty() {
            found.extend(self.addresses().into_iter().map(|ip| (ip, self.ttl.0)));
        }
        for service in self.services() {
            found.extend(
                services::rdata_at(service, self, labels)
                    .into_iter()
                    .map(|rdata| (rdata, self.ttl.0)),
            );
        }
        if let (true, types::HIP, true, Some(key)) = (found.is_empty(), self.kind, labels.is_empty(), self.record.key()) {
            found.push((Hit::rdata(&key).into(), self.ttl.0));
        }
        if found.is_empty() {
            return match self.only_target() {
                Some(name) if labels.is_empty() && matches!(self.kind, types::A | types::AAAA) => Found::Elsewhere {
                    step: Step::Name(name),
                    ttl: self.ttl.0,
                },
                _ => Found::NoData,
            };
        }
        Found::Records(as_set(found, owner, self.kind))
    }

    /// Where what is said of this owner stands: there, or at the wildcard under its closest ancestor that exists (RFC 4592 §3.3.1), if there is one.
    /// All owners are gone through once or twice, however deep the name is that somebody asks for.
    fn place(&self) -> Option<Vec<&[u8]>> {
        let existing = self.existing(self.labels);
        if existing == self.labels.len() {
            return Some(self.labels.to_vec());
        }
        let mut wildcard = vec![&b"*"[..]];
        wildcard.extend_from_slice(&self.labels[self.labels.len() - existing..]);
        (self.existing(&wildcard) == wildcard.len()).then_some(wildcard)
    }

    /// How many of `labels`, counted from the last, lead to something that stands there or under it: empty non-terminals exist too (RFC 4592 §2.2.2).
    fn existing(&self, labels: &[&[u8]]) -> usize {
        let shared = |owner: &str| {
            let both = labels.iter().rev().zip(owner.rsplit('.'));
            both.take_while(|(label, part)| **label == part.as_bytes()).count()
        };
        let of_binding = |binding: &Binding| match binding {
            Binding::Dns(dns) => shared(&dns.owner),
            Binding::Service(service) => services::owners(service).iter().map(|owner| shared(owner)).max().unwrap_or(0),
            Binding::Address(_) | Binding::Delegate(_) | Binding::Opaque(_) => 0,
        };
        self.record.bindings().iter().map(of_binding).max().unwrap_or(0)
    }

    /// The alias that stands at `labels`. Packets of pkarr may have one beside other data, which then counts.
    fn cname_at(&self, labels: &[&[u8]]) -> Option<(Domain, u32)> {
        let is_answer = |binding: &Binding| matches!(binding, Binding::Dns(dns) if dns.kind == self.kind && same_owner(&dns.owner, labels));
        if self.kind != types::CNAME && self.record.bindings().iter().any(is_answer) {
            return None;
        }
        self.record.bindings().iter().find_map(|binding| match binding {
            Binding::Dns(dns) if dns.kind == types::CNAME && same_owner(&dns.owner, labels) => {
                Some((Domain::from_wire(&self.rebased(dns))?, dns.ttl.0.min(self.ttl.0)))
            }
            _ => None,
        })
    }

    /// What a binding says, seen from the domain asked for.
    fn rebased(&self, dns: &DnsData) -> Bytes {
        rebased(dns.kind, &dns.rdata, &self.record.name(), self.apex)
    }

    /// The RDATA of the record's own addresses of the type asked for.
    fn addresses(&self) -> Vec<Bytes> {
        let of_kind = |ip: IpAddr| match (ip, self.kind) {
            (IpAddr::V4(ip), types::A) => Some(Bytes::copy_from_slice(&ip.octets())),
            (IpAddr::V6(ip), types::AAAA) => Some(Bytes::copy_from_slice(&ip.octets())),
            _ => None,
        };
        ordered_addresses(self.record).into_iter().filter_map(of_kind).collect()
    }

    fn delegate(&self) -> Option<&Delegate> {
        self.record.bindings().iter().find_map(|binding| match binding {
            Binding::Delegate(delegate) => Some(delegate),
            _ => None,
        })
    }

    fn services(&self) -> impl Iterator<Item = &Service> {
        self.record.bindings().iter().filter_map(|binding| match binding {
            Binding::Service(service) => Some(service),
            _ => None,
        })
    }

    /// Whether a CNAME may not stand at the name itself.
    fn has_data_at_apex(&self) -> bool {
        self.record.bindings().iter().any(|binding| match binding {
            Binding::Address(_) => true,
            Binding::Service(service) => services::owns(service, types::HTTPS, &[]),
            Binding::Dns(dns) => dns.owner.is_empty(),
            Binding::Delegate(_) | Binding::Opaque(_) => false,
        })
    }

    /// The one other name that all services are at, if the record has no address of its own.
    fn only_target(&self) -> Option<Name> {
        let has_address = |binding: &Binding| match binding {
            Binding::Address(_) => true,
            Binding::Dns(dns) => dns.owner.is_empty() && matches!(dns.kind, types::A | types::AAAA),
            _ => false,
        };
        if self.record.bindings().iter().any(has_address) {
            return None;
        }
        let mut targets = self.services().map(|service| service.target);
        match targets.next()? {
            Target::Name(first) if first != self.record.name() && targets.all(|target| target == Target::Name(first)) => Some(first),
            _ => None,
        }
    }
}

/// The record's own addresses, preferred first; none if it has a delegate, which stands in for them.
pub fn ordered_addresses(record: &Record) -> Vec<IpAddr> {
    let mut addresses: Vec<&Address> = Vec::new();
    for binding in record.bindings() {
        match binding {
            Binding::Address(address) => addresses.push(address),
            Binding::Delegate(_) => return Vec::new(),
            Binding::Service(_) | Binding::Dns(_) | Binding::Opaque(_) => {}
        }
    }
    // Stable: among equals the publisher's order stands.
    addresses.sort_by_key(|address| address.priority);
    addresses.into_iter().map(|address| address.ip).collect()
}

/// `<name>.<origin>`.
pub fn flat_domain(name: &Name, origin: &Domain) -> Option<Domain> {
    origin.child(name.to_string().as_bytes())
}

/// A step of a delegate as DNS writes it.
pub fn step_domain(step: &Step, origin: &Domain) -> Option<Domain> {
    match step {
        Step::Name(name) => flat_domain(name, origin),
        Step::Legacy(legacy) => Domain::from_text(legacy).ok(),
    }
}

/// One RRset: each RDATA once, one TTL for all (RFC 2181 §5).
fn as_set(found: Vec<(Bytes, u32)>, owner: &Domain, kind: u16) -> Vec<Rr> {
    let ttl = found.iter().map(|(_, ttl)| *ttl).min().unwrap_or_default();
    let mut set: Vec<Rr> = Vec::with_capacity(found.len());
    for (rdata, _) in found {
        let rdata = Rdata::Bytes(rdata);
        if set.iter().all(|rr| rr.rdata != rdata) {
            set.push(Rr {
                owner: owner.clone(),
                kind,
                ttl,
                rdata,
            });
        }
    }
    set
}

/// The answer to ANY that helps no attacker (RFC 8482 §4.2).
fn minimal_any(owner: &Domain, ttl: Ttl) -> Rr {
    Rr {
        owner: owner.clone(),
        kind: types::HINFO,
        ttl: ttl.0,
        rdata: Rdata::Bytes(Bytes::from_static(b"\x07RFC8482\0")),
    }
}

/// Types that a record may come to have without a binding of that type.
const OWN_KINDS: [u16; 8] = [
    types::A,
    types::AAAA,
    types::CNAME,
    types::SRV,
    types::TLSA,
    types::HIP,
    types::SVCB,
    types::HTTPS,
];

/// Whether the owner of a binding, as a record writes it, is exactly `labels`.
fn same_owner(owner: &str, labels: &[&[u8]]) -> bool {
    if owner.is_empty() {
        return labels.is_empty();
    }
    let mut parts = owner.split('.');
    labels
        .iter()
        .all(|label| parts.next().is_some_and(|part| part.as_bytes() == *label))
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_shared::{Body, Genesis, SecretKey, UnixMicros, UnixSecs};
    use proptest::prelude::*;

    fn domain(text: &str) -> Domain {
        Domain::from_text(text).expect(text)
    }

    fn record(owners: &[String]) -> Record {
        let binding = |owner: &String| {
            Binding::Dns(DnsData {
                owner: owner.clone(),
                kind: types::TXT,
                ttl: Ttl(60),
                rdata: b"\x01x".to_vec(),
            })
        };
        Record {
            genesis: Genesis::of(SecretKey::from_seed(&[1; 32]).public()),
            chain: Vec::new(),
            sequence: UnixMicros(1),
            scope: Vec::new(),
            body: Body::Live {
                expiry: UnixSecs(1_000),
                ttl: Ttl(60),
                bindings: owners.iter().map(binding).collect(),
            },
        }
    }

    /// As RFC 4592 has it: the name is there, or the asterisk under the closest name above it that is.
    fn by_the_book(owners: &[String], labels: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
        let exists = |labels: &[Vec<u8>]| {
            let name = labels
                .iter()
                .map(|label| String::from_utf8_lossy(label))
                .collect::<Vec<_>>()
                .join(".");
            let is_there = |owner: &String| *owner == name || owner.ends_with(&format!(".{name}"));
            labels.is_empty() || owners.iter().any(is_there)
        };
        let labels: Vec<Vec<u8>> = labels.iter().map(|label| label.to_vec()).collect();
        if exists(&labels) {
            return Some(labels);
        }
        let closest = (1..=labels.len()).map(|cut| &labels[cut..]).find(|labels| exists(labels))?;
        let wildcard = [&[b"*".to_vec()][..], closest].concat();
        exists(&wildcard).then_some(wildcard)
    }

    proptest! {
        #[test]
        fn what_answers_for_an_owner_stands_where_the_rules_of_wildcards_say(
            owners in prop::collection::vec("([ab*]|ab)(\\.([ab*]|ab)){0,3}", 0..6),
            asked in prop::collection::vec("[ab*]|ab", 0..6),
        ) {
            let record = record(&owners);
            let labels: Vec<&[u8]> = asked.iter().map(|label| label.as_bytes()).collect();
            let (apex, origin) = (domain("name.example"), domain("example"));
            let spot = Spot {
                record: &record,
                ttl: Ttl(60),
                apex: &apex,
                origin: &origin,
                labels: &labels,
                kind: types::TXT,
                at_hand: &[],
            };
            let found = spot.place().map(|labels| labels.iter().map(|label| label.to_vec()).collect::<Vec<_>>());
            prop_assert_eq!(found, by_the_book(&owners, &labels));
        }
    }
}
