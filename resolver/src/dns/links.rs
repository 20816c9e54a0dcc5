//! The owner's link from a legacy name to a flat one: a TXT record `dialtone=<name>` at `_dialtone.<domain>`.
//!
//! It speaks for the domain and for what the flat name has below itself; the closest link counts. What says "there is none" is kept as
//! well. Time is an argument.

use crate::dns::aliases::{Mapped, Stands};
use crate::dns::domain::Domain;
use crate::dns::response::{Rdata, Rr};
use crate::dns::settings::{LINK_LABELS_MAX, LINK_TTL_SECS, LINKS_MAX};
use dialtone_shared::Name;
use dialtone_shared::record::rdata::types;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Whether owners' links are followed.
#[derive(serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum Follow {
    /// They are not looked for.
    #[default]
    No,
    /// Only those that DNSSEC proves.
    Validated,
    /// Any that the upstream reports: as good as the upstream, and the way to it.
    Any,
}

impl FromStr for Follow {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "no" => Ok(Self::No),
            "validated" => Ok(Self::Validated),
            "any" => Ok(Self::Any),
            _ => Err("one of: no, validated, any"),
        }
    }
}

/// What is at `_dialtone.<domain>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// Nothing that is a link.
    None,
    /// A link to this name.
    To(Name),
    /// Something that is meant as a link and is none; why.
    Broken(String),
}

/// What was found at `_dialtone.<domain>`, and how it may be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The link.
    pub link: Link,
    /// Whether the zone is signed: then whoever validates would call any other answer than the zone's a forgery.
    pub signed: bool,
    /// For how many seconds this may be believed.
    pub ttl: u32,
}

/// Where links for `name` may stand, closest first: at itself and above, down to domains of two labels. A question about the zone, or at a name
/// that is not a host's, has none.
pub fn candidates(name: &Domain, kind: u16) -> Vec<Domain> {
    if matches!(kind, types::NS | types::SOA | 43 | 46..=51 | 59 | 60) {
        return Vec::new();
    }
    let labels: Vec<&[u8]> = name.labels().collect();
    let of_a_host = labels.iter().take_while(|label| label.starts_with(b"_")).count();
    let last = labels.len().saturating_sub(1);
    (of_a_host.max(last.saturating_sub(LINK_LABELS_MAX))..last)
        .map(|cut| name.without_first(cut).to_lower())
        .collect()
}

/// Where the link of `domain` stands; `None` if there is no room for it.
pub fn owner(domain: &Domain) -> Option<Domain> {
    domain.child(LABEL)
}

/// The text of a link to `name`.
pub fn text_of(name: &Name) -> String {
    format!("{PREFIX}{name}")
}

/// The link among the answers to a TXT question. Two that differ are none: nobody could say which is meant.
pub fn read(answers: &[Rr]) -> Link {
    let mut found = Link::None;
    for answer in answers.iter().filter(|answer| answer.kind == types::TXT) {
        let Rdata::Bytes(rdata) = &answer.rdata else { continue };
        let Some(text) = joined(rdata) else { continue };
        let Some(text) = text.strip_prefix(PREFIX) else { continue };
        let link = match Name::from_str(text.trim()) {
            Ok(name) => Link::To(name),
            Err(error) => Link::Broken(format!("what stands there is not a name: {error}")),
        };
        found = match found {
            Link::None => link,
            same if same == link => same,
            Link::To(_) | Link::Broken(_) => return Link::Broken("two links stand there".to_owned()),
        };
    }
    found
}

/// Where `name` is kept if `flat` speaks for `domain`, at or above it.
pub fn mapped(name: &Domain, domain: &Domain, flat: Name, ttl: u32, as_what: Stands) -> Option<Mapped> {
    let labels = name.left_of(domain)?.into_iter().map(<[u8]>::to_ascii_lowercase).collect();
    Some(Mapped {
        name: flat,
        labels,
        apex: domain.clone(),
        ttl,
        as_what,
    })
}

/// The strings of a TXT record as one; `None` if they are not text.
fn joined(mut rdata: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(rdata.len());
    while let Some((&length, rest)) = rdata.split_first() {
        let (string, rest) = rest.split_at_checked(usize::from(length))?;
        bytes.extend_from_slice(string);
        rdata = rest;
    }
    String::from_utf8(bytes).ok()
}

/// What was found lately, by domain.
#[derive(Debug)]
pub struct LinkCache(LruCache<Domain, (Found, Instant)>);

impl LinkCache {
    /// An empty one.
    pub fn new() -> Self {
        Self(LruCache::new(CACHE_ENTRIES))
    }

    /// What is known at `now`, with the seconds that are left.
    pub fn get(&mut self, domain: &Domain, now: Instant) -> Option<Found> {
        let (found, until) = self.0.get(domain)?;
        let left = until.saturating_duration_since(now).as_secs();
        if left == 0 {
            self.0.pop(domain);
            return None;
        }
        Some(Found {
            ttl: u32::try_from(left).unwrap_or(u32::MAX),
            ..found.clone()
        })
    }

    /// Keeps what was found at `now`: for no longer than it says, nor than an owner who changes it would wait; and not so short that
    /// every question would ask for it again.
    pub fn put(&mut self, domain: Domain, found: Found, now: Instant) {
        let (least, most) = LINK_TTL_SECS;
        let until = now + Duration::from_secs(u64::from(found.ttl.clamp(least, most)));
        self.0.put(domain, (found, until));
    }

    /// Forgets what is known of domains that are `meant`, and says of how many.
    pub fn forget(&mut self, meant: impl Fn(&Domain) -> bool) -> usize {
        let keys: Vec<Domain> = self
            .0
            .iter()
            .map(|(domain, _)| domain)
            .filter(|domain| meant(domain))
            .cloned()
            .collect();
        keys.iter().filter_map(|domain| self.0.pop(domain)).count()
    }
}

impl Default for LinkCache {
    fn default() -> Self {
        Self::new()
    }
}

const CACHE_ENTRIES: NonZeroUsize = match NonZeroUsize::new(LINKS_MAX) {
    Some(entries) => entries,
    None => NonZeroUsize::MIN,
};

/// The label under which a link stands.
const LABEL: &[u8] = b"_dialtone";

/// What a link begins with.
const PREFIX: &str = "dialtone=";

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn domain(text: &str) -> Domain {
        Domain::from_text(text).expect(text)
    }

    fn txt(strings: &[&str]) -> Rr {
        let mut rdata = Vec::new();
        for string in strings {
            rdata.push(string.len() as u8);
            rdata.extend_from_slice(string.as_bytes());
        }
        Rr {
            owner: domain("_dialtone.example.com"),
            kind: types::TXT,
            ttl: 60,
            rdata: Rdata::Bytes(Bytes::from(rdata)),
        }
    }

    #[test]
    fn links_are_looked_for_at_the_name_and_above_but_not_at_a_top_level_domain() {
        let at = |name: &str, kind| {
            candidates(&domain(name), kind)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let shown = |names: &[&str]| names.iter().map(|name| domain(name).to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(at("WWW.Example.com", types::A), shown(&["www.example.com", "example.com"]));
        assert_eq!(at("_443._tcp.example.com", types::SRV), shown(&["example.com"]));
        assert_eq!(
            at("a.b.c.d.e.f.g.example.com", types::A),
            shown(&[
                "d.e.f.g.example.com",
                "e.f.g.example.com",
                "f.g.example.com",
                "g.example.com",
                "example.com"
            ])
        );
        for none in ["com", "_dialtone.com", ""] {
            assert_eq!(at(if none.is_empty() { "." } else { none }, types::A), "");
        }
        for kind in [types::NS, types::SOA, 43, 48] {
            assert_eq!(at("www.example.com", kind), "");
        }
    }

    #[test]
    fn one_name_is_a_link_and_two_are_none() {
        let (name, other) = (Name::of_content(b"a"), Name::of_content(b"b"));
        let text = text_of(&name);
        assert_eq!(read(&[]), Link::None);
        assert_eq!(read(&[txt(&["v=spf1 -all"]), txt(&[&text])]), Link::To(name));
        assert_eq!(
            read(&[txt(&[&text[..20], &text[20..]]), txt(&[&text])]),
            Link::To(name),
            "in two strings, and twice the same"
        );
        assert_eq!(read(&[txt(&[&format!("dialtone={}", name.to_uri())])]), Link::To(name));
        assert!(matches!(read(&[txt(&[&text]), txt(&[&text_of(&other)])]), Link::Broken(why) if why.contains("two")));
        assert!(matches!(read(&[txt(&["dialtone=nobody"])]), Link::Broken(why) if why.contains("not a name")));
        let mut cut = txt(&["dialtone="]);
        cut.rdata = Rdata::Bytes(Bytes::from_static(b"\x20dial"));
        assert_eq!(read(&[cut]), Link::None);
    }

    #[test]
    fn what_was_found_is_kept_for_as_long_as_it_says_within_bounds() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut cache = LinkCache::new();
        let found = |ttl| Found {
            link: Link::None,
            signed: false,
            ttl,
        };
        let (least, most) = LINK_TTL_SECS;
        for (said, kept) in [(0, least), (60, 60), (u32::MAX, most)] {
            cache.put(domain("example.com"), found(said), start);
            assert_eq!(
                cache.get(&domain("Example.com"), at(u64::from(kept) - 1)).map(|found| found.ttl),
                Some(1)
            );
            assert_eq!(cache.get(&domain("example.com"), at(u64::from(kept))), None);
        }
    }
}
