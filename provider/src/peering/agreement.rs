//! An agreement: what this provider and one other owe each other. It is configured on both sides, and a link lives only
//! while the two do not contradict each other.

use dialtone_shared::message::{Mode, Relationship, Terms};
use dialtone_shared::{Name, Scheme, Schemes};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What was agreed with one peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// The peer's name: the only identity that counts.
    pub peer: Name,
    /// Where to dial it, as `host:port`, tried in turn; none: it dials us.
    pub endpoints: Vec<String>,
    /// What the peer is to us.
    pub relationship: Relationship,
    /// The most that we push to it.
    pub push: Mode,
    /// The most that we accept from it.
    pub accept: Mode,
    /// Whether we answer its queries.
    pub answers: bool,
    /// Whether we ask it.
    pub asks: bool,
    /// What it may cost us.
    pub limits: Limits,
    /// Which records pass.
    pub filter: Filter,
    /// What the operators call the price class, for statements; nothing is computed from it.
    pub price: Option<String>,
}

/// What a peer may cost us. 0: any number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Names that are held here because it sent them.
    pub names: u64,
    /// Changes taken in a second.
    pub changes_per_second: u32,
    /// Bytes of frames taken in a second.
    pub bytes_per_second: u64,
    /// Queries answered in a second.
    pub queries_per_second: u32,
}

/// Which records pass a link, both ways and in whatever form, beside what scope and relationship say. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter(Option<Arc<Lists>>);

#[derive(PartialEq, Eq, Debug)]
struct Lists {
    only: BTreeSet<Name>,
    except: BTreeSet<Name>,
    scoped: bool,
    schemes: Schemes,
    mark: u64,
}

impl Filter {
    /// Lets pass, if any are given, `only` these names, and never those in `except`; `scoped`: also records that are for some providers only
    /// (to those whom they are for).
    pub fn new(only: BTreeSet<Name>, except: BTreeSet<Name>, scoped: bool) -> Self {
        Self::of(only, except, scoped, Scheme::ALL)
    }

    /// As this, for a peer that knows names of these schemes: others would mean nothing to it.
    pub fn within(&self, schemes: Schemes) -> Self {
        if Scheme::ALL & !schemes == 0 {
            return self.clone();
        }
        let (only, except) = (self.only().copied().collect(), self.except().copied().collect());
        Self::of(only, except, self.passes_scoped(), schemes & Scheme::ALL)
    }

    fn of(only: BTreeSet<Name>, except: BTreeSet<Name>, scoped: bool, schemes: Schemes) -> Self {
        if only.is_empty() && except.is_empty() && scoped && schemes == Scheme::ALL {
            return Self::default();
        }
        let mut hash = Sha256::new();
        hash.update([u8::from(scoped)]);
        if schemes != Scheme::ALL {
            hash.update(schemes.to_be_bytes());
        }
        for (list, names) in [(b'o', &only), (b'e', &except)] {
            hash.update([list]);
            names.iter().for_each(|name| hash.update(name.as_bytes()));
        }
        let mark = hash.finalize().first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        let mark = mark.max(1);
        Self(Some(Arc::new(Lists {
            only,
            except,
            scoped,
            schemes,
            mark,
        })))
    }

    /// Whether records of `name` pass; `scoped`: they are for some providers only.
    pub fn passes(&self, name: &Name, scoped: bool) -> bool {
        self.0.as_ref().is_none_or(|lists| {
            (lists.only.is_empty() || lists.only.contains(name))
                && !lists.except.contains(name)
                && (lists.scoped || !scoped)
                && name.scheme().is_in(lists.schemes)
        })
    }

    /// Whether nothing of `name` passes.
    pub fn shuts_out(&self, name: &Name) -> bool {
        !self.passes(name, false)
    }

    /// Whether records that are for some providers only pass.
    pub fn passes_scoped(&self) -> bool {
        self.0.as_ref().is_none_or(|lists| lists.scoped)
    }

    /// Stands for the whole of it: what was sent under one filter says nothing of what passes another. 0: everything passes.
    pub fn mark(&self) -> u64 {
        self.0.as_ref().map_or(0, |lists| lists.mark)
    }

    /// If any are given: only these names pass.
    pub fn only(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().flat_map(|lists| &lists.only)
    }

    /// These never pass.
    pub fn except(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().flat_map(|lists| &lists.except)
    }
}

/// The way to a peer: what has to be known to say whether something passes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// The peer.
    pub peer: Name,
    /// What it is to us.
    pub relationship: Relationship,
    /// Which records pass.
    pub filter: Filter,
}

impl Agreement {
    /// The default: everything is passed on, whole, both ways, and questions are answered.
    pub fn mutual(peer: Name, endpoints: Vec<String>) -> Self {
        Self {
            peer,
            endpoints,
            relationship: Relationship::Mutual,
            push: Mode::Values,
            accept: Mode::Values,
            answers: true,
            asks: true,
            limits: Limits::default(),
            filter: Filter::default(),
            price: None,
        }
    }

    /// The way to the peer.
    pub fn way(&self) -> Way {
        Way {
            peer: self.peer,
            relationship: self.relationship,
            filter: self.filter.clone(),
        }
    }

    /// The way to the peer, who knows names of these schemes.
    pub fn way_within(&self, schemes: Schemes) -> Way {
        Way {
            filter: self.filter.within(schemes),
            ..self.way()
        }
    }

    /// As this side says it. How far it knows everything, and whether it takes all, is said by whoever knows.
    pub fn terms(&self) -> Terms {
        Terms {
            relationship: self.relationship,
            pushes: self.push,
            accepts: self.accept,
            answers: self.answers,
            filter: self.filter.mark(),
            ..Terms::mutual()
        }
    }
}

/// All agreements, by the peer's name.
pub type Agreements = BTreeMap<Name, Agreement>;

/// Why agreements cannot stand as configured. The operator's turn.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AgreementError {
    /// A provider has nothing to agree with itself, but that it has several nodes.
    #[error(
        "an agreement names {0}, which is this provider itself: give the peer's name, or make it a `sibling` if another node of this provider is meant"
    )]
    Oneself(Name),
    /// The nodes of one provider have one name.
    #[error("an agreement calls {0} a sibling, but that is another provider: a sibling is another node of this one, under the same key")]
    Stranger(Name),
    /// The nodes of one provider hold the same.
    #[error(
        "less than all is to pass between this provider's own nodes: leave `push`, `accept`, `only`, `except` and `scoped` out of the agreement with {0}"
    )]
    Poorer(Name),
    /// More than are dialled.
    #[error("the agreement with {peer} has {count} addresses, and at most {max} are dialled", max = super::limits::ADDRESSES_MAX)]
    Addresses {
        /// With whom.
        peer: Name,
        /// How many.
        count: usize,
    },
    /// The same peer twice.
    #[error("two agreements name {0}: join them into one")]
    Twice(Name),
    /// More than a provider keeps links for.
    #[error("{0} agreements are more than one provider keeps ({max})", max = super::limits::PEERS_MAX)]
    TooMany(usize),
}

/// Files agreements by peer.
///
/// # Errors
/// [`AgreementError`].
pub fn file(own: &Name, agreements: Vec<Agreement>) -> Result<Agreements, AgreementError> {
    if agreements.len() > super::limits::PEERS_MAX {
        return Err(AgreementError::TooMany(agreements.len()));
    }
    let mut filed = Agreements::new();
    for agreement in agreements {
        let (peer, count) = (agreement.peer, agreement.endpoints.len());
        match (peer == *own, agreement.relationship == Relationship::Sibling) {
            (true, false) => return Err(AgreementError::Oneself(peer)),
            (false, true) => return Err(AgreementError::Stranger(peer)),
            (true, true) if agreement.push.min(agreement.accept) < Mode::Values || agreement.filter != Filter::default() => {
                return Err(AgreementError::Poorer(peer));
            }
            (true, true) | (false, false) => {}
        }
        if count > super::limits::ADDRESSES_MAX {
            return Err(AgreementError::Addresses { peer, count });
        }
        if filed.insert(peer, agreement).is_some() {
            return Err(AgreementError::Twice(peer));
        }
    }
    Ok(filed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_known_by_its_mark_and_one_that_lets_everything_pass_is_none() {
        let names = |some: &[u8]| some.iter().map(|byte| Name::key_set([*byte; 32])).collect::<BTreeSet<_>>();
        let filters = [
            Filter::default(),
            Filter::new(names(&[1]), names(&[]), true),
            Filter::new(names(&[]), names(&[1]), true),
            Filter::new(names(&[1, 2]), names(&[]), true),
            Filter::new(names(&[1]), names(&[2]), true),
            Filter::new(names(&[]), names(&[]), false),
        ];
        let marks: BTreeSet<u64> = filters.iter().map(Filter::mark).collect();
        assert_eq!((marks.len(), filters[0].mark()), (filters.len(), 0));
        assert_eq!(Filter::new(names(&[]), names(&[]), true), Filter::default());
        let name = Name::key_set([1; 32]);
        let passes = filters
            .each_ref()
            .map(|filter| (filter.passes(&name, false), filter.passes(&name, true)));
        let (both, neither) = ((true, true), (false, false));
        assert_eq!(passes, [both, both, neither, both, both, (true, false)]);
    }

    #[test]
    fn an_agreement_is_with_another_and_stands_once() {
        let (own, other) = (Name::key_set([1; 32]), Name::key_set([2; 32]));
        let with = |peer| Agreement::mutual(peer, Vec::new());
        assert!(file(&own, vec![with(other)]).is_ok_and(|filed| filed.contains_key(&other)));
        assert_eq!(file(&own, vec![with(own)]), Err(AgreementError::Oneself(own)));
        assert_eq!(file(&own, vec![with(other), with(other)]), Err(AgreementError::Twice(other)));
        let sibling = |peer| Agreement {
            relationship: Relationship::Sibling,
            ..with(peer)
        };
        assert!(file(&own, vec![sibling(own), with(other)]).is_ok());
        assert_eq!(file(&own, vec![sibling(other)]), Err(AgreementError::Stranger(other)));
        let poorer = Agreement {
            accept: Mode::Pointers,
            ..sibling(own)
        };
        assert_eq!(file(&own, vec![poorer]), Err(AgreementError::Poorer(own)));
        let many = (0..=super::super::limits::PEERS_MAX as u64).map(|n| {
            let mut digest = [9; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            with(Name::key_set(digest))
        });
        assert!(matches!(file(&own, many.collect()), Err(AgreementError::TooMany(_))));
    }
}
