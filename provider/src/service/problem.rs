//! What can go wrong with a request, and the one table from it to the world's codes: RFC 9457 problem details.

use super::media;
use crate::accounting::AuthError;
use crate::store::{Held, StoreError};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use dialtone_resolver::LookupError;
use dialtone_shared::hip::Hit;
use dialtone_shared::limits::{FUTURE_PUT_SECS, RECORD_BYTES_MAX, VALUE_BYTES_MAX};
use dialtone_shared::{Name, NameError, RecordError, UnixSecs, VerifyError};
use serde_json::{Map, Value};

/// Why a request was not done. What was refused changed nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// The URL does not hold a name.
    #[error("the URL does not hold a name: {0}")]
    NotAName(NameError),
    /// A name that the relay of pkarr's packets does not speak of.
    #[error("here stand the packets of pkarr keys, and this is another name: it is at /v1/records/{0}")]
    NotAKey(Name),
    /// More bytes than are read.
    #[error("the body is larger than {0} bytes, the most that is taken here")]
    TooLarge(usize),
    /// A body that says that it is something else.
    #[error("a body of type {0:?} is not understood here; send {1}")]
    MediaType(String, &'static str),
    /// The body did not arrive.
    #[error("the body did not arrive whole: {0}")]
    Body(String),
    /// The bytes are not a record.
    #[error("not a record: {0}")]
    Record(RecordError),
    /// A batch that is not a list of records.
    #[error("not a batch: {0}")]
    Batch(String),
    /// A record of another name than the URL's.
    #[error("the URL names {url}, the record is one of {record}")]
    OtherName {
        /// In the URL.
        url: Name,
        /// In the record.
        record: Name,
    },
    /// The signature does not hold.
    #[error("{0}")]
    Verify(VerifyError),
    /// Expired before it was put.
    #[error("the record expired at {0}; sign a new one")]
    Expired(UnixSecs),
    /// From the future.
    #[error("the record was signed {0} seconds in the future (at most {FUTURE_PUT_SECS} are tolerated): check the clock, or sign again")]
    Future(u64),
    /// Not meant for this provider.
    #[error("the record's scope does not list this provider ({0})")]
    OutOfScope(Name),
    /// A scope that leaves providers with a record that they may no longer have replaced.
    #[error(
        "the record's scope is narrower than that of the live record held ({0}): providers outside it would keep the old one. Keep the scope, or wait until that record has expired"
    )]
    NarrowerScope(UnixSecs),
    /// A newer record is held.
    #[error("a record of higher rank is held: {}", .0.record.rank())]
    Older(Box<Held>),
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("the condition does not hold: {}", .0.as_ref().map_or_else(|| "nothing is held".to_owned(), |held| format!("what is held is {}", held.record.rank())))]
    Condition(Option<Box<Held>>),
    /// A condition that is not one.
    #[error("{0}: an entity tag is a rank in double quotes, as the ETag header gives it")]
    BadCondition(&'static str),
    /// Who asks may not put.
    #[error("{0}")]
    Auth(AuthError),
    /// The account keeps as many names as it may.
    #[error("as many names are kept as was agreed ({0}): withdraw some, or ask the provider for more")]
    NamesMax(u64),
    /// Too many puts.
    #[error("more puts than was agreed: the next is taken in {0} seconds")]
    TooMany(u64),
    /// The queue of puts is full, or too many batches are under way.
    #[error("more requests are waiting than may wait: try again in {0} seconds")]
    Busy(u64),
    /// The provider is stopping.
    #[error("the provider is stopping: ask again later, or elsewhere. Whether a put that was under way is kept is unknown")]
    Stopping,
    /// The store does not answer.
    #[error("{0}")]
    Store(StoreError),
    /// The store failed at a put, whose fate is unknown.
    #[error("{0}. Whether the record was kept is unknown: put it again, or ask for the name's status")]
    Unknown(StoreError),
    /// Not a list of names to watch.
    #[error("not a list of names to watch: {0}")]
    Watch(String),
    /// More names than one connection watches.
    #[error("more than the {0} names that one connection watches: use several")]
    WatchMax(usize),
    /// There is no record of the name.
    #[error("there is no record of {0}")]
    Absent(Name),
    /// No name has this tag.
    #[error("no name whose key has the tag {0} is known")]
    NoHit(Hit),
    /// The newest record has expired.
    #[error("the newest record of {name} known here has expired{at}", at = .held.as_ref().and_then(|held| held.record.record().expiry()).map(|at| format!(" at {at}")).unwrap_or_default())]
    Stale {
        /// Whose.
        name: Name,
        /// The expired record, if it is at hand.
        held: Option<Box<Held>>,
    },
    /// Nothing certain can be said of a name.
    #[error("{0}")]
    Lookup(LookupError),
    /// No such resource.
    #[error("there is nothing at {0}; see /v1/info")]
    NoSuchPath(String),
    /// A resource that does not do that.
    #[error("{0} is not possible here")]
    Method(String),
    /// Our bug.
    #[error("a fault of the provider: {0}. Please tell its operator")]
    Bug(String),
}

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Whoever signs the record, or holds the account.
    Publisher,
    /// The provider.
    Provider,
    /// The program that asks.
    Client,
}

/// How the world sees a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The end of its type: `urn:dialtone:problem:<slug>`.
    pub slug: &'static str,
    /// The same for every problem of the type.
    pub title: &'static str,
    /// Whose turn it is.
    pub turn: Turn,
}

impl Refusal {
    /// The border table.
    pub fn problem(&self) -> Problem {
        use Turn::{Client, Provider, Publisher};
        let (status, slug, title, turn) = match self {
            Self::NotAName(_) | Self::NotAKey(_) => (400, "name", "Not a name", Client),
            Self::TooLarge(_) => (413, "too-large", "Too large", Client),
            Self::MediaType(..) => (415, "media-type", "Another media type than expected", Client),
            Self::Body(_) => (400, "body", "The body did not arrive", Client),
            Self::Record(error) => match error {
                RecordError::TooLarge(_) | RecordError::TooLargeValue(_) => (413, "too-large", "Too large", Client),
                RecordError::Lifetime { .. } => (422, "lifetime", "The expiry is out of bounds", Publisher),
                RecordError::Sequence(_) => (422, "sequence", "The sequence is out of bounds", Publisher),
                RecordError::Chain(_) => (422, "key-chain", "The key chain does not hold together", Publisher),
                RecordError::Version(_) => (400, "version", "Another version of the record format", Publisher),
                RecordError::TooShort(_)
                | RecordError::Packet(_)
                | RecordError::Envelope(_)
                | RecordError::Cbor(_)
                | RecordError::UnknownField(_)
                | RecordError::Missing(_)
                | RecordError::RevokedWith(_)
                | RecordError::EmptyList(_)
                | RecordError::Scope
                | RecordError::TooManyBindings(_)
                | RecordError::Binding { .. } => (400, "malformed", "Not a record", Publisher),
            },
            Self::Batch(_) => (400, "batch", "Not a batch", Client),
            Self::OtherName { .. } => (422, "other-name", "A record of another name", Publisher),
            Self::Verify(error) => match error {
                VerifyError::Key(_) => (422, "key", "The signing key is refused", Publisher),
                VerifyError::Signature => (422, "signature", "The signature does not hold", Publisher),
                VerifyError::OtherName(_) => (422, "other-name", "A record of another name", Publisher),
                VerifyError::Corrupt => (500, "corrupt", "Stored bytes changed", Provider),
            },
            Self::Expired(_) => (422, "expired", "The record has expired", Publisher),
            Self::Future(_) => (422, "future", "The record is from the future", Publisher),
            Self::OutOfScope(_) => (422, "out-of-scope", "Not meant for this provider", Publisher),
            Self::NarrowerScope(_) => (422, "narrower-scope", "The scope is narrower than before", Publisher),
            Self::Older(_) => (409, "older", "A record of higher rank is held", Publisher),
            Self::Condition(_) => (412, "condition", "The condition does not hold", Client),
            Self::BadCondition(_) => (400, "condition-syntax", "Not a condition", Client),
            Self::Auth(_) => (401, "token", "A token is needed", Publisher),
            Self::NamesMax(_) => (403, "names-max", "As many names as agreed are kept", Publisher),
            Self::TooMany(_) => (429, "rate", "Too many puts", Publisher),
            Self::Busy(_) => (503, "busy", "Too much is waiting", Provider),
            Self::Stopping => (503, "stopping", "The provider is stopping", Provider),
            Self::Store(error) | Self::Unknown(error) => match error {
                StoreError::Full(_) => (503, "disk-full", "The disk is full", Provider),
                StoreError::Busy => (503, "busy", "Too much is waiting", Provider),
                StoreError::Closed => (503, "stopping", "The provider is stopping", Provider),
                StoreError::InUse(_) | StoreError::Folder { .. } | StoreError::Failed(_) => {
                    (503, "store", "The store does not answer", Provider)
                }
                StoreError::Corrupt(_) => (503, "corrupt", "Stored bytes changed", Provider),
            },
            Self::Watch(_) => (400, "watch", "Not a list of names to watch", Client),
            Self::WatchMax(_) => (413, "watch-max", "Too many names to watch on one connection", Client),
            Self::Absent(_) | Self::NoHit(_) => (404, "absent", "There is no such record", Publisher),
            Self::Stale { .. } => (404, "stale", "The newest record has expired", Publisher),
            Self::Lookup(error) => match error {
                LookupError::Expired => (404, "stale", "The newest record has expired", Publisher),
                LookupError::Busy => (503, "busy", "Too much is waiting", Provider),
                LookupError::Unreachable(_) | LookupError::Unavailable(_) | LookupError::Invalid(_) | LookupError::RolledBack => {
                    (503, "uncertain", "Nothing certain can be said now", Provider)
                }
            },
            Self::NoSuchPath(_) => (404, "no-such-path", "There is nothing here", Client),
            Self::Method(_) => (405, "method", "Not possible here", Client),
            Self::Bug(_) => (500, "bug", "A fault of the provider", Provider),
        };
        Problem {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            slug,
            title,
            turn,
        }
    }

    /// After how many seconds it is worth trying again.
    pub fn retry_after_secs(&self) -> Option<u64> {
        match self {
            Self::TooMany(secs) | Self::Busy(secs) => Some(*secs),
            _ if self.problem().status == StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_SECS),
            _ => None,
        }
    }

    /// What is held, where that is part of the answer.
    pub fn held(&self) -> Option<&Held> {
        match self {
            Self::Older(held) => Some(held),
            Self::Condition(held) | Self::Stale { held, .. } => held.as_deref(),
            _ => None,
        }
    }

    /// The members of its problem details.
    pub fn details(&self) -> Map<String, Value> {
        let problem = self.problem();
        let mut details = Map::new();
        let mut set = |key: &str, value: Value| details.insert(key.to_owned(), value);
        set("type", format!("urn:dialtone:problem:{}", problem.slug).into());
        set("title", problem.title.into());
        set("status", problem.status.as_u16().into());
        set("detail", self.to_string().into());
        set("turn", problem.turn.as_str().into());
        if let Some(held) = self.held() {
            set("held", held.record.rank().to_string().into());
        }
        if let Some(secs) = self.retry_after_secs() {
            set("retry_after", secs.into());
        }
        details
    }

    /// The answer: problem details; where a newer record is held, that record, which says it all.
    pub fn into_response(self) -> Response<Body> {
        let problem = self.problem();
        let (body, media_type) = match &self {
            Self::Older(held) => (Body::from(held.record.bytes().clone()), media::RECORD),
            _ => (Body::from(Value::Object(self.details()).to_string()), media::PROBLEM),
        };
        let mut response = Response::new(body);
        *response.status_mut() = problem.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(PROBLEM_TYPE, HeaderValue::from_static(problem.slug));
        if let Some(held) = self.held() {
            headers.insert(header::ETAG, media::etag(held.record.rank()));
        }
        if let Some(secs) = self.retry_after_secs() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        if let Self::Auth(_) = self {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl Turn {
    /// As problem details say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Provider => "provider",
            Self::Client => "client",
        }
    }
}

impl From<RecordError> for Refusal {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::TooLarge(_) => Self::TooLarge(RECORD_BYTES_MAX),
            RecordError::TooLargeValue(_) => Self::TooLarge(VALUE_BYTES_MAX),
            other => Self::Record(other),
        }
    }
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        Self::Verify(error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::Busy(RETRY_SECS),
            StoreError::Closed => Self::Stopping,
            other => Self::Store(other),
        }
    }
}

impl Refusal {
    /// For an error of the store at a put.
    pub fn of_put(error: StoreError) -> Self {
        match Self::from(error) {
            Self::Store(error) => Self::Unknown(error),
            other => other,
        }
    }
}

/// Seconds after which a busy provider is worth asking again: queues are emptied in less.
pub const RETRY_SECS: u64 = 1;
/// The slug of a problem as a header, so that it is known without reading a body that may be a record.
pub const PROBLEM_TYPE: HeaderName = HeaderName::from_static("dialtone-problem");
