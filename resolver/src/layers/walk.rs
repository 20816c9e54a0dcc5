//! The walk over what was found: the tree of who said what, and the endpoints in order. Asks nobody.

use super::{Endpoint, Host, Known, Node, Resolution, ResolveOptions, Role, Said, Via, children, delegate_of, services_of};
use crate::settings::{DEPTH_MAX, ENDPOINTS_MAX};
use crate::source::Lookup;
use dialtone_shared::record::{Address, Delegate, Service, Step, Target};
use dialtone_shared::{Binding, Name, Ttl, VerifiedRecord};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;

/// Puts together what `known` says of `name`.
pub(super) fn assemble(name: &Name, known: &Known, options: &ResolveOptions) -> Resolution {
    let mut walk = Walk {
        known,
        options,
        chance: StdRng::seed_from_u64(options.seed),
        path: Vec::new(),
        ttl: None,
    };
    let (tree, endpoints) = walk.visit(name, Via::Asked, Role::Service);
    let mut endpoints = endpoints;
    // A stable sort: among those of a region the order stays.
    let distance = |endpoint: &Endpoint| {
        let near = |region: &String| options.regions.iter().position(|near| near == region);
        endpoint.region.as_ref().and_then(near).unwrap_or(options.regions.len())
    };
    endpoints.sort_by_key(distance);
    endpoints.truncate(ENDPOINTS_MAX);
    Resolution {
        tree,
        endpoints,
        ttl: walk.ttl.unwrap_or_default(),
    }
}

/// A walk over what was found, without asking anybody.
struct Walk<'a> {
    known: &'a Known,
    options: &'a ResolveOptions,
    chance: StdRng,
    path: Vec<Name>,
    ttl: Option<Ttl>,
}

impl Walk<'_> {
    fn visit(&mut self, name: &Name, via: Via, role: Role) -> (Node, Vec<Endpoint>) {
        let node = |said| Node {
            name: *name,
            via: via.clone(),
            said,
            children: Vec::new(),
            legacy: None,
        };
        if self.path.contains(name) {
            return (node(Said::Cycle), Vec::new());
        }
        if self.path.len() > DEPTH_MAX {
            return (node(Said::Limit("too many names in a row")), Vec::new());
        }
        let (record, ttl) = match self.known.get(name) {
            None => return (node(Said::Limit("too many names in one resolution")), Vec::new()),
            Some(Err(error)) => return (node(Said::Failed(error.clone())), Vec::new()),
            Some(Ok(Lookup::Absent { ttl })) => {
                self.lives(*ttl);
                return (node(Said::Absent { ttl: *ttl }), Vec::new());
            }
            Some(Ok(Lookup::Found { record, ttl })) => (record, *ttl),
        };
        self.lives(ttl);
        let mut node = node(Said::Record {
            record: record.clone(),
            ttl,
        });
        self.path.push(*name);
        let endpoints = match delegate_of(record) {
            Some(delegate) => self.follow(delegate, role, &mut node),
            None => self.offered(record, role, &mut node),
        };
        self.path.pop();
        (node, endpoints)
    }

    /// Whoever stands in for the name.
    fn follow(&mut self, delegate: &Delegate, role: Role, node: &mut Node) -> Vec<Endpoint> {
        let Some((first, onward)) = delegate.path.split_first() else {
            return Vec::new();
        };
        let mut endpoints = match first {
            Step::Name(name) => {
                let (child, endpoints) = self.visit(name, Via::Delegate, role);
                node.children.push(child);
                endpoints
            }
            Step::Legacy(dns) => {
                node.legacy = Some(dns.clone());
                vec![self.bare(Host::Legacy(dns.clone()))]
            }
        };
        for endpoint in &mut endpoints {
            endpoint.onward.extend_from_slice(onward);
        }
        endpoints
    }

    /// What the record itself offers.
    fn offered(&mut self, record: &VerifiedRecord, role: Role, node: &mut Node) -> Vec<Endpoint> {
        let all_services = record
            .record()
            .bindings()
            .iter()
            .any(|binding| matches!(binding, Binding::Service(_)));
        if role == Role::Host || !all_services && self.options.service.is_none() {
            return self.addresses(record);
        }
        let mut hosts: HashMap<Name, Vec<Endpoint>> = HashMap::new();
        for (name, via, role) in children(record, role, self.options) {
            let (child, endpoints) = self.visit(&name, via, role);
            node.children.push(child);
            hosts.insert(name, endpoints);
        }
        let services: Vec<&Service> = services_of(record, self.options).collect();
        let order = self.draw(services.iter().map(|service| (service.priority, service.weight)));
        let mut endpoints = Vec::new();
        for index in order {
            let service = services[index];
            let at = match service.target {
                Target::Own => self.addresses(record),
                Target::Name(name) if name == *record.name() => self.addresses(record),
                // One beyond the fan-out was not followed.
                Target::Name(name) => hosts.get(&name).cloned().unwrap_or_default(),
            };
            endpoints.extend(at.into_iter().map(|endpoint| Endpoint {
                port: Some(service.port),
                transport: Some(service.transport),
                service: Some(service.label.clone()),
                alpn: service.alpn.clone(),
                pins: service.pins.clone(),
                preference: u32::from(service.priority) << 16 | endpoint.preference,
                ..endpoint
            }));
        }
        endpoints
    }

    fn addresses(&mut self, record: &VerifiedRecord) -> Vec<Endpoint> {
        let addresses: Vec<&Address> = record.record().bindings().iter().filter_map(as_address).collect();
        let order = self.draw(addresses.iter().map(|address| (address.priority, address.weight)));
        let endpoint = |index: usize| Endpoint {
            region: addresses[index].region.clone(),
            preference: u32::from(addresses[index].priority),
            ..self.bare(Host::Ip(addresses[index].ip))
        };
        order.into_iter().map(endpoint).collect()
    }

    fn bare(&self, host: Host) -> Endpoint {
        Endpoint {
            host,
            port: None,
            transport: None,
            service: None,
            alpn: Vec::new(),
            pins: Vec::new(),
            region: None,
            preference: 0,
            path: self.path.clone(),
            onward: Vec::new(),
        }
    }

    /// The order of things with these priorities and weights: lower priorities first; among equals drawn by weight, so that
    /// each comes first as often as its share (as RFC 2782 means it). A weight of 0 counts as 1.
    fn draw(&mut self, of: impl Iterator<Item = (u16, u16)>) -> Vec<usize> {
        // Exponential clocks: the smallest of −ln(u)/weight is each one's with probability weight/total.
        let mut drawn: Vec<(u16, f64, usize)> = of
            .enumerate()
            .map(|(index, (priority, weight))| {
                let chance: f64 = self.chance.random();
                (priority, -(1.0 - chance).ln() / f64::from(weight.max(1)), index)
            })
            .collect();
        drawn.sort_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
        drawn.into_iter().map(|(_, _, index)| index).collect()
    }

    fn lives(&mut self, ttl: Ttl) {
        self.ttl = Some(self.ttl.map_or(ttl, |least| least.min(ttl)));
    }
}

fn as_address(binding: &Binding) -> Option<&Address> {
    match binding {
        Binding::Address(address) => Some(address),
        Binding::Service(_) | Binding::Delegate(_) | Binding::Dns(_) | Binding::Opaque(_) => None,
    }
}
