//! An agreement: what this provider and one other owe each other. It is configured on both sides, and a link lives only
//! while the two do not contradict each other.

use dialtone_shared::Name;
use dialtone_shared::message::{Mode, Relationship};
use std::collections::BTreeMap;

/// What was agreed with one peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// The peer's name: the only identity that counts.
    pub peer: Name,
    /// Where to dial it, as `host:port`, tried in turn; none: it dials us.
    pub endpoints: Vec<String>,
    /// What the peer is to us.
    pub relationship: Relationship,
    /// What we push to it.
    pub push: Mode,
    /// What we accept from it.
    pub accept: Mode,
}

impl Agreement {
    /// The default: everything is passed on, whole, both ways.
    pub fn mutual(peer: Name, endpoints: Vec<String>) -> Self {
        Self {
            peer,
            endpoints,
            relationship: Relationship::Mutual,
            push: Mode::Values,
            accept: Mode::Values,
        }
    }
}

/// All agreements, by the peer's name.
pub type Agreements = BTreeMap<Name, Agreement>;

/// Why agreements cannot stand as configured. The operator's turn.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AgreementError {
    /// A provider has nothing to agree with itself.
    #[error("an agreement names {0}, which is this provider itself: give the peer's name")]
    Oneself(Name),
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
        let peer = agreement.peer;
        if peer == *own {
            return Err(AgreementError::Oneself(peer));
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
    fn an_agreement_is_with_another_and_stands_once() {
        let (own, other) = (Name::key_set([1; 32]), Name::key_set([2; 32]));
        let with = |peer| Agreement::mutual(peer, Vec::new());
        assert!(file(&own, vec![with(other)]).is_ok_and(|filed| filed.contains_key(&other)));
        assert_eq!(file(&own, vec![with(own)]), Err(AgreementError::Oneself(own)));
        assert_eq!(file(&own, vec![with(other), with(other)]), Err(AgreementError::Twice(other)));
        let many = (0..=super::super::limits::PEERS_MAX as u64).map(|n| {
            let mut digest = [9; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            with(Name::key_set(digest))
        });
        assert!(matches!(file(&own, many.collect()), Err(AgreementError::TooMany(_))));
    }
}
