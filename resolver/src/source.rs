//! The one question that everything here asks and answers: "what is the verified record of this name?"
//!
//! The stub implements it over the network, a provider over its own store; the DNS frontend and the walk over layers
//! ask it without knowing which.

use async_trait::async_trait;
use dialtone_shared::hip::Hit;
use dialtone_shared::{Name, Ttl, VerifiedRecord};
use std::fmt;

/// What a record is asked for by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sought {
    /// Its name.
    Name(Name),
    /// The tag of the key that speaks for its name.
    Hit(Hit),
}

impl From<Name> for Sought {
    fn from(name: Name) -> Self {
        Self::Name(name)
    }
}

/// Something that can be asked for the record of a name.
#[async_trait]
pub trait RecordSource: Send + Sync + fmt::Debug + 'static {
    /// Looks up the highest-ranking record of `name`.
    ///
    /// # Errors
    /// [`LookupError`] when nothing certain can be said. An error never means "absent".
    async fn lookup(&self, name: &Name) -> Result<Lookup, LookupError>;

    /// The record of highest rank among those of the names whose key has this tag now, and how long it may be kept; `None`: there is none.
    ///
    /// # Errors
    /// [`LookupError`] when nothing certain can be said: also by whoever keeps no index of tags.
    async fn by_hit(&self, hit: &Hit) -> Result<Option<(VerifiedRecord, Ttl)>, LookupError> {
        Err(LookupError::Unavailable(format!(
            "no names are looked up by tag here ({hit}): ask a provider"
        )))
    }

    /// Whether what is said of `name` is said without anybody being there to ask: it was true when it was kept here.
    fn answers_alone(&self, _name: &Name) -> bool {
        false
    }

    /// Asks anew about `name`, or about every name, next time: an operator thinks that what is kept here is wrong. What is not to be lost
    /// (floors, records of one's own) stays.
    fn forget(&self, _name: Option<&Name>) {}
}

/// A certain answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// The record, verified and current. It may be a revocation, or have no bindings.
    Found {
        /// The record.
        record: VerifiedRecord,
        /// How long the answer may be kept from now on.
        ttl: Ttl,
    },
    /// There is no record of the name.
    Absent {
        /// How long this may be believed: seconds, not minutes.
        ttl: Ttl,
    },
}

/// Why nothing certain can be said about a name. Where it leaves the house it becomes a DNS code in `dns/rcode.rs`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LookupError {
    /// Nobody who could know answered. The network's turn, or the provider's.
    #[error("no provider answered: {0}")]
    Unreachable(String),
    /// The provider answered that it cannot say. The provider's turn.
    #[error("the provider cannot answer now: {0}")]
    Unavailable(String),
    /// The newest record known has expired, and nobody has a newer one. The publisher's turn.
    #[error("the record expired and none newer is known")]
    Expired,
    /// What was answered is not a valid record of the name. The provider's turn: it is broken or lies.
    #[error("an invalid record was answered: {0}")]
    Invalid(String),
    /// A record older than one seen before: somebody replays or holds back.
    #[error("a record older than one already seen was answered (rolled back)")]
    RolledBack,
    /// Too much is being asked at once. Ours or the operator's turn: try again later.
    #[error("too many lookups at once")]
    Busy,
}
