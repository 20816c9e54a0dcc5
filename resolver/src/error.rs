//! Why a stub cannot start, a put is not acknowledged, a name does not resolve. Lookups fail with [`LookupError`].

use crate::settings::{FloorAt, PROVIDER_VARIABLE};
use crate::source::LookupError;
use dialtone_shared::{Name, NameError, Rank};
use std::path::PathBuf;

/// Text that says where a provider is, but does not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not a provider: write http://host:port, https://host or dns://host:port/origin")]
pub struct ProviderTextError(pub String);

/// Why a stub cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StubError {
    /// The environment variable does not list providers.
    #[error("{PROVIDER_VARIABLE}: {0}")]
    Variable(ProviderTextError),
    /// More providers than a stub asks.
    #[error("{0} providers are more than the {max} that one stub asks", max = crate::settings::PROVIDERS_MAX)]
    TooMany(usize),
    /// Nobody is there.
    #[error(
        "no provider was found: {tried}. Start one with `dialtone up`, or name one with --provider or {PROVIDER_VARIABLE} \
         (http://host:port, https://host or dns://host:port/origin)"
    )]
    NoProvider {
        /// Who was tried, and what became of it.
        tried: String,
    },
    /// The folder of the floor cannot be used.
    #[error("the rollback floor cannot be kept in {}: {reason}. Make the folder writable, or choose another", path.display())]
    Floor {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Why a provider's description of itself cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InfoError {
    /// Not reached.
    #[error("{0}")]
    Http(HttpError),
    /// Not what a provider says.
    #[error("answers HTTP, but not as a provider does: {0}")]
    NotAProvider(String),
    /// Its DNS host name does not resolve.
    #[error("its host name does not resolve: {0}")]
    Host(String),
}

/// Why an HTTP exchange brought nothing. What the server did with the request is unknown.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HttpError {
    /// Not a URL that can be asked.
    #[error("{0} is not a usable URL")]
    Url(String),
    /// Nobody answered there.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The exchange broke off.
    #[error("the exchange broke off: {0}")]
    Broken(String),
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
    /// The answer is larger than any that is read.
    #[error("the answer is too large")]
    TooLarge,
}

/// Why a put is not acknowledged. Only where the provider said no, or was not reached, is it certain that nothing was stored; with
/// [`PutError::Unknown`], and with a status of 500 and above, it may have been.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PutError {
    /// No answer: the record may or may not be stored. Ask for its status, or put it again: it is the same record.
    #[error("{provider}: unknown whether it was stored: {reason}. Putting the same record again is safe")]
    Unknown {
        /// Who was asked.
        provider: String,
        /// What happened.
        reason: HttpError,
    },
    /// The provider could not be asked: nothing was sent, nothing is stored. The network's turn, or the operator's.
    #[error("{provider}: {reason}")]
    NotReached {
        /// Who was to be asked.
        provider: String,
        /// What happened.
        reason: String,
    },
    /// A record of higher rank is held. The publisher's turn: sign anew with a later sequence.
    #[error("{provider}: a record of higher rank is held ({held}); sign anew with a later sequence", held = held.as_ref().map_or("rank not told".to_owned(), Rank::to_string))]
    Older {
        /// Who was asked.
        provider: String,
        /// What is held there.
        held: Option<Rank>,
    },
    /// Somebody else published since. The publisher's turn: look, and decide.
    #[error("{provider}: the record held is not the one that was expected ({held})", held = held.as_ref().map_or("none".to_owned(), Rank::to_string))]
    ConditionFailed {
        /// Who was asked.
        provider: String,
        /// What is held there.
        held: Option<Rank>,
    },
    /// The provider says that the request is wrong. The publisher's turn.
    #[error("{provider} refused it ({status}): {problem}")]
    Refused {
        /// Who was asked.
        provider: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        problem: Box<Problem>,
    },
    /// The provider cannot take it now. Its turn, or its operator's; try again later.
    #[error("{provider} cannot take it now ({status}): {problem}{wait}", wait = after_secs.map_or(String::new(), |secs| format!("; try again in {secs} s")))]
    Unavailable {
        /// Who was asked.
        provider: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        problem: Box<Problem>,
        /// Seconds to wait, if it says so.
        after_secs: Option<u64>,
    },
    /// It was acknowledged without a receipt that holds it to anything. The provider is broken or lies.
    #[error("{provider} acknowledged it, but its receipt proves nothing: {reason}")]
    Receipt {
        /// Who was asked.
        provider: String,
        /// What is wrong with the receipt.
        reason: String,
    },
    /// Nothing can be published there.
    #[error("{0} takes no puts: publishing needs a provider's HTTP address")]
    NoHttp(String),
}

/// What a provider says went wrong (RFC 9457).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Problem {
    /// Its kind, a URI or a short word.
    pub kind: String,
    /// The same for people.
    pub title: String,
    /// This very case.
    pub detail: String,
    /// Whose turn it is: `publisher`, `provider` or `client`; empty if it does not say.
    pub turn: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.title.as_str(), self.detail.as_str()) {
            ("", "") => f.write_str("no reason given"),
            (title, "") => f.write_str(title),
            ("", detail) => f.write_str(detail),
            (title, detail) => write!(f, "{title}: {detail}"),
        }
    }
}

/// Why a record has not been seen everywhere.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} is not visible at {} yet: {reason}", .name, .missing.join(", "))]
pub struct NotVisible {
    /// Whose record.
    pub name: Name,
    /// Where it is missing.
    pub missing: Vec<String>,
    /// What was said there last.
    pub reason: String,
}

/// Why nothing can be said about a name that was to be resolved.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResolveError {
    /// The name itself could not be looked up.
    #[error("{name}: {error}")]
    Lookup {
        /// Which name.
        name: Name,
        /// Why.
        error: LookupError,
    },
    /// What was to be resolved is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl StubError {
    /// The floor's folder cannot be used.
    pub(crate) fn floor(at: &FloorAt, path: PathBuf, reason: &std::io::Error) -> Option<Self> {
        match at {
            FloorAt::Folder(_) => Some(Self::Floor {
                path,
                reason: reason.to_string(),
            }),
            FloorAt::StateFolder | FloorAt::Memory => None,
        }
    }
}
