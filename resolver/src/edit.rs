//! What a publisher changes: what a record says, what it is to say, and whether somebody else's change is in the way.
//!
//! ```text
//! base (what is held) ── Edit ─▶ what it is to say ── differs by ─▶ − address 192.0.2.1   + address 192.0.2.2
//!        └── meanwhile another base: does what changed there touch what is edited? no ─▶ edit that one instead
//! ```
//!
//! Bindings come in [`Group`]s: the addresses, the services of one label, the delegate, the DNS records of one owner and type, what is opaque
//! of one media type. An edit sets whole groups and leaves the others as they are.

use crate::dns::rdata_text::{type_from_text, type_to_text};
use dialtone_shared::limits::{LIFETIME_SECS_MAX, TTL_SECS_DEFAULT};
use dialtone_shared::record::Record;
use dialtone_shared::{Binding, Body, Name, Ttl, UnixSecs};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What a record says, but for when it was signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Says {
    /// What the name stands for.
    pub bindings: Vec<Binding>,
    /// How long caches may keep it.
    pub ttl: Ttl,
    /// How long it is served from its signing on, in seconds.
    pub lifetime_secs: u64,
    /// Who may hold it, in ascending order; empty: all.
    pub scope: Vec<Name>,
}

/// Bindings that are set together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Group {
    /// Every address.
    Addresses,
    /// The services of one label.
    Service(String),
    /// The delegate.
    Delegate,
    /// The DNS records of one owner and type: an RRset.
    Dns {
        /// Labels under the name; empty: the name itself.
        owner: String,
        /// The RR type.
        kind: u16,
    },
    /// What is opaque, of one media type.
    Opaque(String),
}

/// What is to be taken away, as people write it: `address`, `address:IP`, `service`, `service:LABEL`, `delegate`, `dns`, `dns:OWNER`,
/// `dns:OWNER:TYPE`, `opaque`, `opaque:TYPE/SUBTYPE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Removal {
    /// Every address.
    Addresses,
    /// One address.
    Address(IpAddr),
    /// Every service.
    Services,
    /// The services of one label.
    Service(String),
    /// The delegate.
    Delegate,
    /// All DNS records, of one owner, of one type.
    Dns {
        /// Labels under the name; `None`: of any owner.
        owner: Option<String>,
        /// `None`: of any type.
        kind: Option<u16>,
    },
    /// All that is opaque.
    Opaques,
    /// What is opaque, of one media type.
    Opaque(String),
}

/// What becomes of the bindings that are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum How {
    /// The groups that are said take the place of those that are held; the other groups stay.
    #[default]
    Set,
    /// All stay; what is said is added, or takes the place of the same thing.
    Add,
    /// None stays.
    Replace,
}

/// What is to be changed. Terms that are not said stay.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edit {
    /// What becomes of the others.
    pub how: How,
    /// What is taken away first.
    pub remove: Vec<Removal>,
    /// What is said.
    pub bindings: Vec<Binding>,
    /// For caches.
    pub ttl: Option<Ttl>,
    /// From the signing on, in seconds.
    pub lifetime_secs: Option<u64>,
    /// Who may hold it; empty: all.
    pub scope: Option<Vec<Name>>,
}

/// What becomes of one binding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// It stays.
    Kept(&'a Binding),
    /// It goes.
    Removed(&'a Binding),
    /// It comes.
    Added(&'a Binding),
}

/// There is nothing of the kind that was to be taken away.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no `{0}` to remove")]
pub struct NothingToRemove(pub Removal);

/// Text that does not say what is to be taken away.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is nothing that can be removed: write address[:IP], service[:LABEL], delegate, dns[:OWNER[:TYPE]] (@ for the name itself) or opaque[:TYPE/SUBTYPE]"
)]
pub struct RemovalTextError(String);

impl Says {
    /// What a name says of which nothing is held: nothing, for 30 days.
    pub fn nothing() -> Self {
        Self {
            bindings: Vec::new(),
            ttl: Ttl(TTL_SECS_DEFAULT),
            lifetime_secs: LIFETIME_SECS_DEFAULT,
            scope: Vec::new(),
        }
    }

    /// What a record says; `None` for a revocation, and for what is not made of bindings.
    pub fn of(record: &Record) -> Option<Self> {
        match &record.body {
            Body::Live { expiry, ttl, bindings } => Some(Self {
                bindings: bindings.clone(),
                ttl: *ttl,
                lifetime_secs: expiry.since(record.sequence.secs()).clamp(1, LIFETIME_SECS_MAX),
                scope: record.scope.clone(),
            }),
            Body::Revoked | Body::Packet { .. } | Body::Value(_) => None,
        }
    }

    /// As the body of a record that is signed at `now`.
    pub fn body(&self, now: UnixSecs) -> Body {
        Body::Live {
            expiry: now.plus(self.lifetime_secs),
            ttl: self.ttl,
            bindings: self.bindings.clone(),
        }
    }
}

impl Group {
    /// The group of a binding.
    pub fn of(binding: &Binding) -> Self {
        match binding {
            Binding::Address(_) => Self::Addresses,
            Binding::Service(service) => Self::Service(service.label.clone()),
            Binding::Delegate(_) => Self::Delegate,
            Binding::Dns(dns) => Self::Dns {
                owner: dns.owner.clone(),
                kind: dns.kind,
            },
            Binding::Opaque(opaque) => Self::Opaque(opaque.media_type.clone()),
        }
    }

    /// Its bindings among others.
    fn among<'a>(&self, bindings: &'a [Binding]) -> Vec<&'a Binding> {
        bindings.iter().filter(|binding| Self::of(binding) == *self).collect()
    }
}

impl Removal {
    /// Whether it takes this binding away.
    pub fn covers(&self, binding: &Binding) -> bool {
        match (self, binding) {
            (Self::Address(ip), Binding::Address(address)) => address.ip == *ip,
            (Self::Addresses, Binding::Address(_))
            | (Self::Services, Binding::Service(_))
            | (Self::Delegate, Binding::Delegate(_))
            | (Self::Opaques, Binding::Opaque(_)) => true,
            (Self::Service(label), Binding::Service(service)) => service.label == *label,
            (Self::Dns { owner, kind }, Binding::Dns(dns)) => {
                owner.as_ref().is_none_or(|owner| dns.owner == *owner) && kind.is_none_or(|kind| dns.kind == kind)
            }
            (Self::Opaque(media), Binding::Opaque(opaque)) => opaque.media_type == *media,
            _ => false,
        }
    }
}

impl Edit {
    /// Whether it changes nothing but the time of signing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether all that is to be taken away is there: if not, it is usually a slip of the finger, which would otherwise pass unseen.
    ///
    /// # Errors
    /// [`NothingToRemove`].
    pub fn check(&self, base: &Says) -> Result<(), NothingToRemove> {
        let in_vain = |removal: &&Removal| !base.bindings.iter().any(|binding| removal.covers(binding));
        self.remove
            .iter()
            .find(in_vain)
            .map_or(Ok(()), |vain| Err(NothingToRemove(vain.clone())))
    }

    /// What is to be said in the place of `base`.
    pub fn apply(&self, base: &Says) -> Says {
        Says {
            bindings: self.bindings(&base.bindings),
            ttl: self.ttl.unwrap_or(base.ttl),
            lifetime_secs: self.lifetime_secs.unwrap_or(base.lifetime_secs),
            scope: self.scope.clone().unwrap_or_else(|| base.scope.clone()),
        }
    }

    fn bindings(&self, base: &[Binding]) -> Vec<Binding> {
        if self.how == How::Replace {
            return self.bindings.clone();
        }
        let mut said: Vec<Option<&Binding>> = self.bindings.iter().map(Some).collect();
        let mut out = Vec::with_capacity(base.len() + said.len());
        for held in base {
            // What is said stands where the first of what it replaces stood: a change is seen where it happened.
            let mut replaced = self.remove.iter().any(|removal| removal.covers(held));
            for (new, slot) in self.bindings.iter().zip(&mut said) {
                let same = match self.how {
                    How::Set => Group::of(new) == Group::of(held),
                    How::Add | How::Replace => is_same_thing(new, held),
                };
                if same {
                    replaced = true;
                    out.extend(slot.take().cloned());
                }
            }
            if !replaced {
                out.push(held.clone());
            }
        }
        out.extend(said.into_iter().flatten().cloned());
        out
    }

    /// What this edit wants to change and somebody else changed meanwhile, from `old` to `new`, into something else. If nothing, the edit can
    /// be made on top of `new` and loses nobody's word.
    pub fn conflicts(&self, old: &Says, new: &Says) -> Vec<String> {
        let mut groups: Vec<Group> = Vec::new();
        for binding in old.bindings.iter().chain(&new.bindings) {
            let group = Group::of(binding);
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        let wanted = self.bindings(&new.bindings);
        let mut conflicts: Vec<String> = groups
            .iter()
            .filter(|group| {
                let (was, is) = (group.among(&old.bindings), group.among(&new.bindings));
                self.touches(group, &was) && !is_same_set(&was, &is) && !is_same_set(&is, &group.among(&wanted))
            })
            .map(ToString::to_string)
            .collect();
        let term = |said: bool, name: &str| said.then(|| name.to_owned());
        conflicts.extend(term(self.ttl.is_some_and(|ttl| new.ttl != old.ttl && new.ttl != ttl), "the TTL"));
        conflicts.extend(term(
            self.lifetime_secs
                .is_some_and(|secs| new.lifetime_secs != old.lifetime_secs && new.lifetime_secs != secs),
            "the lifetime",
        ));
        conflicts.extend(term(
            self.scope
                .as_ref()
                .is_some_and(|scope| new.scope != old.scope && new.scope != *scope),
            "the scope",
        ));
        conflicts
    }

    fn touches(&self, group: &Group, was: &[&Binding]) -> bool {
        let said = || self.bindings.iter().any(|binding| Group::of(binding) == *group);
        match self.how {
            How::Replace => true,
            How::Set if said() => true,
            // Two who add to one group are not in each other's way, but a name has one delegate.
            How::Add if said() && *group == Group::Delegate => true,
            How::Set | How::Add => was.iter().any(|held| self.remove.iter().any(|removal| removal.covers(held))),
        }
    }
}

/// What becomes of each binding: those held in their order, then those that come.
pub fn difference<'a>(old: &'a [Binding], new: &'a [Binding]) -> Vec<Change<'a>> {
    let mut coming: Vec<&Binding> = new.iter().collect();
    let mut changes = Vec::with_capacity(old.len() + new.len());
    for held in old {
        match coming.iter().position(|new| *new == held) {
            Some(at) => {
                coming.remove(at);
                changes.push(Change::Kept(held));
            }
            None => changes.push(Change::Removed(held)),
        }
    }
    changes.extend(coming.into_iter().map(Change::Added));
    changes
}

/// Whether one binding says anew what the other says: the same address, service, RR or bytes, with other preferences perhaps.
fn is_same_thing(one: &Binding, other: &Binding) -> bool {
    match (one, other) {
        (Binding::Address(one), Binding::Address(other)) => one.ip == other.ip,
        (Binding::Service(one), Binding::Service(other)) => {
            (&one.label, one.transport, one.port, one.target) == (&other.label, other.transport, other.port, other.target)
        }
        (Binding::Delegate(_), Binding::Delegate(_)) => true,
        (Binding::Dns(one), Binding::Dns(other)) => (&one.owner, one.kind, &one.rdata) == (&other.owner, other.kind, &other.rdata),
        (one, other) => one == other,
    }
}

fn is_same_set(one: &[&Binding], other: &[&Binding]) -> bool {
    let counts = |list: &[&Binding], wanted: &Binding| list.iter().filter(|binding| **binding == wanted).count();
    one.len() == other.len() && one.iter().all(|binding| counts(one, binding) == counts(other, binding))
}

impl FromStr for Removal {
    type Err = RemovalTextError;

    fn from_str(text: &str) -> Result<Self, RemovalTextError> {
        let wrong = || RemovalTextError(text.to_owned());
        let (kind, which) = match text.split_once(':') {
            Some((_, "")) => return Err(wrong()),
            Some((kind, which)) => (kind, Some(which)),
            None => (text, None),
        };
        Ok(match (kind, which) {
            ("address", None) => Self::Addresses,
            ("address", Some(ip)) => Self::Address(ip.parse().map_err(|_| wrong())?),
            ("service", None) => Self::Services,
            ("service", Some(label)) => Self::Service(label.to_owned()),
            ("delegate", None) => Self::Delegate,
            ("dns", None) => Self::Dns { owner: None, kind: None },
            ("dns", Some(which)) => {
                let (owner, kind) = match which.rsplit_once(':') {
                    Some((owner, kind)) => (owner, Some(type_from_text(kind).map_err(|_| wrong())?)),
                    None => (which, None),
                };
                let owner = if owner == "@" { String::new() } else { owner.to_ascii_lowercase() };
                Self::Dns { owner: Some(owner), kind }
            }
            ("opaque", None) => Self::Opaques,
            ("opaque", Some(media)) => Self::Opaque(media.to_owned()),
            _ => return Err(wrong()),
        })
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses => f.write_str("address"),
            Self::Address(ip) => write!(f, "address:{ip}"),
            Self::Services => f.write_str("service"),
            Self::Service(label) => write!(f, "service:{label}"),
            Self::Delegate => f.write_str("delegate"),
            Self::Dns { owner, kind } => {
                f.write_str("dns")?;
                if let Some(owner) = owner {
                    write!(f, ":{}", if owner.is_empty() { "@" } else { owner })?;
                }
                kind.map_or(Ok(()), |kind| write!(f, ":{}", type_to_text(kind)))
            }
            Self::Opaques => f.write_str("opaque"),
            Self::Opaque(media) => write!(f, "opaque:{media}"),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses => f.write_str("the addresses"),
            Self::Service(label) => write!(f, "service {label}"),
            Self::Delegate => f.write_str("the delegate"),
            Self::Dns { owner, kind } => {
                let owner = if owner.is_empty() { "@" } else { owner };
                write!(f, "dns {owner} {}", type_to_text(*kind))
            }
            Self::Opaque(media) => write!(f, "opaque {media}"),
        }
    }
}

/// How long a record is served where nobody says: long enough for a holiday, short enough that what is forgotten goes away.
pub const LIFETIME_SECS_DEFAULT: u64 = 30 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_shared::record::rdata::types;
    use dialtone_shared::record::{Address, DnsData, Opaque, Service, Transport};
    use proptest::prelude::*;

    fn address(last: u8) -> Binding {
        Binding::Address(Address::of(IpAddr::from([192, 0, 2, last])))
    }

    fn service(label: &str, port: u16) -> Binding {
        Binding::Service(Service::of(label, Transport::Tcp, port))
    }

    fn txt(owner: &str, text: &[u8]) -> Binding {
        Binding::Dns(DnsData {
            owner: owner.to_owned(),
            kind: types::TXT,
            ttl: Ttl(60),
            rdata: [&[text.len() as u8][..], text].concat(),
        })
    }

    fn opaque(media: &str, bytes: &[u8]) -> Binding {
        Binding::Opaque(Opaque {
            media_type: media.to_owned(),
            bytes: bytes.to_vec(),
        })
    }

    fn says(bindings: &[Binding]) -> Says {
        Says {
            bindings: bindings.to_vec(),
            ..Says::nothing()
        }
    }

    fn edit(how: How, bindings: &[Binding]) -> Edit {
        Edit {
            how,
            bindings: bindings.to_vec(),
            ..Edit::default()
        }
    }

    fn without(what: &[&str]) -> Edit {
        Edit {
            remove: what.iter().map(|what| what.parse().unwrap()).collect(),
            ..Edit::default()
        }
    }

    #[test]
    fn what_is_named_is_set_and_everything_else_stays_where_it_was() {
        let held = says(&[address(1), service("https", 443), address(2), txt("www", b"a"), txt("", b"b")]);
        for (how, said, wanted) in [
            (
                How::Set,
                vec![address(9)],
                vec![address(9), service("https", 443), txt("www", b"a"), txt("", b"b")],
            ),
            (
                How::Set,
                vec![txt("www", b"c"), txt("www", b"d"), service("ssh", 22)],
                vec![
                    address(1),
                    service("https", 443),
                    address(2),
                    txt("www", b"c"),
                    txt("www", b"d"),
                    txt("", b"b"),
                    service("ssh", 22),
                ],
            ),
            (How::Add, vec![address(2), address(3)], {
                let mut all = held.bindings.clone();
                all.push(address(3));
                all
            }),
            (How::Replace, vec![address(7)], vec![address(7)]),
            (How::Replace, vec![], vec![]),
        ] {
            assert_eq!(edit(how, &said).apply(&held).bindings, wanted, "{how:?} {said:?}");
        }
    }

    #[test]
    fn adding_the_same_thing_again_changes_its_preferences_only() {
        let mut better = Address::of(IpAddr::from([192, 0, 2, 1]));
        better.priority = 5;
        let added = edit(How::Add, &[Binding::Address(better.clone())]).apply(&says(&[address(1), address(2)]));
        assert_eq!(added.bindings, [Binding::Address(better), address(2)]);
    }

    #[test]
    fn what_is_removed_goes_first_and_what_is_not_there_is_said() {
        let held = says(&[
            address(1),
            address(2),
            service("https", 443),
            txt("www", b"a"),
            txt("", b"b"),
            opaque("text/plain", b"x"),
        ]);
        for (what, left) in [
            (&["address"][..], vec![2, 3, 4, 5]),
            (&["address:192.0.2.2", "service"], vec![0, 3, 4, 5]),
            (&["dns:www"], vec![0, 1, 2, 4, 5]),
            (&["dns:@:TXT", "opaque:text/plain"], vec![0, 1, 2, 3]),
            (&["dns", "opaque", "service:https"], vec![0, 1]),
        ] {
            let wanted: Vec<Binding> = left.iter().map(|at: &usize| held.bindings[*at].clone()).collect();
            assert_eq!(without(what).apply(&held).bindings, wanted, "{what:?}");
        }
        for vain in [
            "delegate",
            "address:192.0.2.9",
            "service:ssh",
            "dns:mail",
            "dns:www:A",
            "opaque:text/html",
        ] {
            assert_eq!(
                without(&[vain]).check(&held).unwrap_err().to_string(),
                format!("there is no `{vain}` to remove")
            );
        }
        let moved = Edit {
            bindings: vec![address(9)],
            how: How::Add,
            ..without(&["address"])
        };
        assert_eq!(moved.apply(&says(&[address(1)])).bindings, [address(9)]);
    }

    #[test]
    fn terms_that_are_not_said_stay() {
        let held = Says {
            ttl: Ttl(300),
            lifetime_secs: 900,
            scope: vec![Name::key_set([1; 32])],
            ..says(&[address(1)])
        };
        let renewed = Edit::default().apply(&held);
        assert_eq!(renewed, held);
        let everywhere = Edit {
            ttl: Some(Ttl(5)),
            scope: Some(Vec::new()),
            ..Edit::default()
        };
        let said = everywhere.apply(&held);
        assert_eq!(
            (said.ttl, said.lifetime_secs, said.scope, said.bindings),
            (Ttl(5), 900, vec![], held.bindings)
        );
    }

    #[test]
    fn somebody_else_is_in_the_way_only_where_both_changed_the_same_thing_differently() {
        let old = says(&[address(1), service("https", 443)]);
        let other_service = says(&[address(1), service("https", 8443)]);
        let other_address = says(&[address(2), service("https", 443)]);
        let none: [&str; 0] = [];
        for (edit, new, conflicts) in [
            (edit(How::Set, &[address(9)]), &other_service, &none[..]),
            (edit(How::Set, &[address(9)]), &other_address, &["the addresses"]),
            (edit(How::Set, &[address(2)]), &other_address, &none),
            (edit(How::Add, &[address(9)]), &other_address, &none),
            (without(&["address:192.0.2.1"]), &other_address, &none),
            (without(&["address"]), &other_address, &["the addresses"]),
            (without(&["service"]), &other_address, &none),
            (edit(How::Replace, &[address(9)]), &other_service, &["service https"]),
            (edit(How::Replace, &other_service.bindings), &other_service, &none),
            (edit(How::Set, &[txt("www", b"a")]), &says(&[txt("www", b"b")]), &["dns www TXT"]),
        ] {
            assert_eq!(edit.conflicts(&old, new), conflicts, "{edit:?} {new:?}");
        }
        let slower = Says {
            ttl: Ttl(600),
            ..old.clone()
        };
        let faster = Edit {
            ttl: Some(Ttl(5)),
            ..Edit::default()
        };
        assert_eq!(faster.conflicts(&old, &slower), ["the TTL"]);
        assert!(edit(How::Set, &[address(9)]).conflicts(&old, &slower).is_empty());
    }

    #[test]
    fn the_difference_names_what_stays_what_goes_and_what_comes() {
        let (old, new) = ([address(1), address(2)], [address(2), address(3), address(3)]);
        assert_eq!(
            difference(&old, &new),
            [
                Change::Removed(&old[0]),
                Change::Kept(&old[1]),
                Change::Added(&new[1]),
                Change::Added(&new[2])
            ]
        );
    }

    #[test]
    fn a_removal_reads_as_it_is_written() {
        for text in [
            "address",
            "address:2001:db8::1",
            "service",
            "service:https",
            "delegate",
            "dns",
            "dns:@",
            "dns:www:TXT",
            "dns:_a._tcp:TYPE777",
            "opaque",
            "opaque:text/plain",
        ] {
            assert_eq!(text.parse::<Removal>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "addresses",
            "address:",
            "address:here",
            "delegate:x",
            "dns:www:NOTYPE",
            "opaque:",
        ] {
            assert!(text.parse::<Removal>().is_err(), "{text}");
        }
    }

    proptest! {
        /// Two writers whose edits do not conflict: whoever is retried, nobody's word is lost.
        #[test]
        fn an_edit_on_top_of_another_that_is_not_in_the_way_loses_neither(
            old in prop::collection::vec(binding(), 0..6),
            one in prop::collection::vec(binding(), 1..4),
            two in prop::collection::vec(binding(), 1..4),
        ) {
            let old = says(&old);
            let (one, two) = (edit(How::Set, &one), edit(How::Set, &two));
            let first = one.apply(&old);
            if two.conflicts(&old, &first).is_empty() {
                let both = two.apply(&first);
                for said in &two.bindings {
                    prop_assert!(both.bindings.contains(said), "{said:?} is not said");
                }
                for change in difference(&old.bindings, &first.bindings) {
                    match change {
                        Change::Added(came) => prop_assert!(both.bindings.contains(came), "{came:?} is lost"),
                        Change::Removed(gone) => {
                            let again = two.bindings.contains(gone) || first.bindings.contains(gone);
                            prop_assert!(again || !both.bindings.contains(gone), "{gone:?} came back");
                        }
                        Change::Kept(_) => {}
                    }
                }
            }
        }
    }

    fn binding() -> impl Strategy<Value = Binding> {
        prop_oneof![
            (1..4_u8).prop_map(address),
            (1..4_u16).prop_map(|port| service("https", port)),
            (1..4_u16).prop_map(|port| service("ssh", port)),
            (1..3_u8).prop_map(|text| txt("www", &[text])),
            (1..3_u8).prop_map(|text| opaque("text/plain", &[text])),
        ]
    }
}
