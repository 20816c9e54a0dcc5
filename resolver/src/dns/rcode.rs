//! The codes of an answer, and the one table from what went wrong here to what DNS says about it.

use crate::io::validator::ValidateError;
use crate::source::LookupError;
use std::borrow::Cow;

/// A response code (RFC 1035 §4.1.1, RFC 6891 §9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Rcode {
    /// The question was understood; there may still be no data.
    NoError = 0,
    /// The question could not be read.
    FormErr = 1,
    /// Nothing certain can be said now.
    ServFail = 2,
    /// There is no such name.
    NxDomain = 3,
    /// Another kind of operation than a question.
    NotImp = 4,
    /// Not answered here, as configured.
    Refused = 5,
    /// A version of EDNS that is not known.
    BadVers = 16,
}

/// An extended error (RFC 8914): why, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ede {
    /// See [`ede`].
    pub code: u16,
    /// Short, and nothing that is private to who answers.
    pub text: Cow<'static, str>,
}

/// Codes of extended errors that are used here (IANA "Extended DNS Error Codes").
#[expect(missing_docs, reason = "the names are the registry's")]
pub mod ede {
    pub const OTHER: u16 = 0;
    pub const STALE_ANSWER: u16 = 3;
    /// What is said with it where it came from upstream.
    pub const STALE_UPSTREAM: &str = "no upstream resolver answers: this is what was last known";
    pub const DNSSEC_INDETERMINATE: u16 = 5;
    pub const DNSSEC_BOGUS: u16 = 6;
    pub const CACHED_ERROR: u16 = 13;
    pub const NOT_READY: u16 = 14;
    pub const PROHIBITED: u16 = 18;
    pub const NOT_AUTHORITATIVE: u16 = 20;
    pub const NOT_SUPPORTED: u16 = 21;
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    pub const NETWORK_ERROR: u16 = 23;
    pub const INVALID_DATA: u16 = 24;
    pub const INVALID_QUERY_TYPE: u16 = 30;
    pub const RATE_LIMITED: u16 = 31;
}

/// What goes wrong while a question is answered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnswerError {
    /// The source of records cannot say.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Aliases that lead back to themselves, or on and on. The publishers' turn.
    #[error("the aliases loop or are too many: stopped at {0}")]
    AliasLoop(String),
    /// A delegate that is a legacy name where an alias may not stand, and nobody to ask about it. The operator's turn.
    #[error("stands for the legacy name {0}, and no upstream resolver is set")]
    NoUpstream(String),
    /// The upstream resolvers did not help.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// What the upstream resolvers said does not validate.
    #[error(transparent)]
    Validate(#[from] ValidateError),
}

/// Why the upstream resolvers gave no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UpstreamError {
    /// None answered in time, by UDP or TCP. The network's turn, or the upstream's.
    #[error("no upstream resolver answered in time")]
    TimedOut,
    /// Those that answered said that they could not.
    #[error("the upstream resolvers failed")]
    Failed,
    /// What answers in the place of one does not show that it is the one that was meant, and none other answered. The operator's turn.
    #[error("an upstream resolver shows a certificate that is not the right one")]
    Untrusted,
    /// Failed a moment ago, and not asked again so soon (RFC 9520).
    #[error("the upstream resolvers failed a moment ago")]
    FailedBefore,
    /// Too many questions wait for the upstream.
    #[error("too many questions wait for the upstream resolvers")]
    Busy,
}

impl Ede {
    /// An extended error.
    pub fn new(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into() }
    }
}

/// The table: every way in which an answer fails, and what DNS says of it. The code is always SERVFAIL, since none of them means
/// "there is no such name".
pub fn of_error(error: &AnswerError) -> Ede {
    match error {
        AnswerError::Lookup(LookupError::Unreachable(_)) => Ede::new(ede::NO_REACHABLE_AUTHORITY, "no provider answered"),
        AnswerError::Lookup(LookupError::Unavailable(_)) => Ede::new(ede::NOT_READY, "the provider cannot say now"),
        AnswerError::Lookup(LookupError::Expired) => Ede::new(ede::INVALID_DATA, "the record expired and none newer is known"),
        AnswerError::Lookup(LookupError::Invalid(_)) => Ede::new(ede::INVALID_DATA, "an invalid record was answered"),
        AnswerError::Lookup(LookupError::RolledBack) => Ede::new(ede::INVALID_DATA, "a record older than one already seen was answered"),
        AnswerError::Lookup(LookupError::Busy) => Ede::new(ede::RATE_LIMITED, "too many lookups at once"),
        AnswerError::AliasLoop(_) => Ede::new(ede::OTHER, error.to_string()),
        AnswerError::NoUpstream(_) => Ede::new(ede::NO_REACHABLE_AUTHORITY, error.to_string()),
        AnswerError::Validate(ValidateError::Bogus) => Ede::new(ede::DNSSEC_BOGUS, error.to_string()),
        AnswerError::Validate(ValidateError::Unknown(_)) => Ede::new(ede::DNSSEC_INDETERMINATE, error.to_string()),
        AnswerError::Upstream(UpstreamError::TimedOut) => Ede::new(ede::NETWORK_ERROR, "no upstream resolver answered in time"),
        AnswerError::Upstream(UpstreamError::Failed) => Ede::new(ede::NETWORK_ERROR, "the upstream resolvers failed"),
        AnswerError::Upstream(UpstreamError::Untrusted) => Ede::new(ede::NETWORK_ERROR, "an upstream resolver shows a wrong certificate"),
        AnswerError::Upstream(UpstreamError::FailedBefore) => Ede::new(ede::CACHED_ERROR, "the upstream resolvers failed a moment ago"),
        AnswerError::Upstream(UpstreamError::Busy) => Ede::new(ede::RATE_LIMITED, "too many questions wait for the upstream resolvers"),
    }
}
