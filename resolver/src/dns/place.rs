//! Whose a name is: the frontend's own, an alias that somebody here made, special, or everybody's.

use crate::dns::aliases::{Mapped, Stands};
use crate::dns::denial;
use crate::dns::domain::Domain;
use crate::dns::local::{Local, special_use};
use crate::dns::response::{Rdata, Rr, SoaData};
use crate::dns::settings::Authority;
use crate::dns::signing::Signing;
use crate::io::alias_file::AliasFile;
use dialtone_shared::hip::Hit;
use dialtone_shared::record::rdata::types;
use dialtone_shared::{Name, NameError};

/// Whose a name is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The origin itself.
    Origin,
    /// Above the origin, and nobody else's: there, so that what is under it may be.
    AboveOrigin,
    /// A flat name, or an owner under it.
    Flat {
        /// The name.
        name: Name,
        /// The labels left of it, lower-case, first to last.
        labels: Vec<Vec<u8>>,
    },
    /// Under the origin, but not a name.
    NotAName(NameError),
    /// An alias of a flat name.
    Alias(Name),
    /// The name of a Host Identity Tag in the reverse tree.
    Hit(Hit),
    /// A legacy name whose data a flat name has.
    Mapped(Mapped),
    /// A special-use name.
    Local(Local),
    /// Anybody's.
    Legacy,
}

impl Place {
    /// Whether what is not there may be where it was before somebody linked the domain to a flat name.
    pub fn is_lent(&self) -> bool {
        matches!(self, Self::Mapped(mapped) if mapped.as_what == Stands::Link && !mapped.labels.is_empty())
    }
}

/// The origin, and what is said about it.
#[derive(Clone, Debug)]
pub struct Zone {
    /// The origin.
    pub origin: Domain,
    nameservers: Vec<Domain>,
    soa: SoaData,
}

impl Zone {
    /// A zone from its settings.
    pub fn new(origin: Domain, authority: &Authority, nameservers: Vec<Domain>) -> Self {
        let nameservers = if nameservers.is_empty() {
            vec![authority.mname.clone()]
        } else {
            nameservers
        };
        Self {
            origin,
            nameservers,
            soa: SoaData {
                mname: authority.mname.clone(),
                rname: authority.rname.clone(),
                serial: authority.serial,
                refresh: 3_600,
                retry: 600,
                expire: 86_400,
                minimum: authority.negative_ttl_secs,
            },
        }
    }

    /// Whose `name` is.
    pub fn place(&self, name: &Domain, aliases: Option<&AliasFile>) -> Place {
        if let Some(labels) = name.left_of(&self.origin) {
            let Some((label, left)) = labels.split_last() else {
                return Place::Origin;
            };
            // A label that is not text has no character of a name's alphabet: any text without one says so as well. In small letters, so that
            // what is said of it is the same however it was asked.
            return match Name::from_label(&String::from_utf8_lossy(&label.to_ascii_lowercase())) {
                Ok(name) => Place::Flat {
                    name,
                    labels: left.iter().map(|label| label.to_ascii_lowercase()).collect(),
                },
                Err(error) => Place::NotAName(error),
            };
        }
        if let Some(labels) = reverse_tree().and_then(|tree| name.left_of(&tree))
            && let Some(hit) = Hit::from_nibbles(labels.into_iter())
        {
            return Place::Hit(hit);
        }
        if let Some(aliases) = aliases.map(AliasFile::current) {
            if let Some(flat) = aliases.get(name) {
                return Place::Alias(*flat);
            }
            if let Some(mapped) = aliases.covering(name) {
                return Place::Mapped(mapped);
            }
        }
        match special_use(name) {
            Some(_) if self.origin.is_within(name) => Place::AboveOrigin,
            Some(local) => Place::Local(local),
            None => Place::Legacy,
        }
    }

    /// What the origin itself has of a type; empty: nothing. It has keys where it is signed.
    pub fn at_origin(&self, kind: u16, owner: &Domain, signing: Option<&Signing>) -> Vec<Rr> {
        let record = |kind, rdata| Rr {
            owner: owner.clone(),
            kind,
            ttl: ORIGIN_TTL_SECS,
            rdata,
        };
        match kind {
            types::SOA | types::ANY => vec![record(types::SOA, Rdata::Soa(self.soa.clone()))],
            types::NS => self
                .nameservers
                .iter()
                .map(|server| record(types::NS, Rdata::Name(server.clone())))
                .collect(),
            denial::types::DNSKEY => signing.map(|signing| signing.dnskeys(owner, ORIGIN_TTL_SECS)).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// The SOA of a negative answer in `zone`, which may be believed for `ttl` seconds and for no longer than the settings say.
    pub fn negative_soa(&self, zone: Domain, ttl: u32) -> Rr {
        Rr {
            owner: zone,
            kind: types::SOA,
            ttl: ttl.min(self.soa.minimum),
            rdata: Rdata::Soa(self.soa.clone()),
        }
    }
}

fn reverse_tree() -> Option<Domain> {
    Domain::from_labels([&b"ip6"[..], b"arpa"])
}

/// The types that the origin itself has where it is signed.
pub(crate) const ORIGIN_KINDS: [u16; 3] = [types::NS, types::SOA, denial::types::DNSKEY];

/// How long the origin's own SOA and NS may be kept, in seconds: they change with the settings.
const ORIGIN_TTL_SECS: u32 = 3_600;
