//! How a second command talks to a provider that runs: a socket in its data folder, which only its own user may use. A frontend of one's own
//! has one in its state folder.
//!
//! ```text
//! to the provider   "peers"  "reload"  {"backup": PATH}  {"statement": {"peer": NAME, "of_peer": BOOL, "first": HOUR, "hours": N}}
//!                   {"trace": {"name": NAME}}
//! to both           {"top": {"millis": N, "rows": N}}  {"flush": {"domain": DOMAIN, "below": BOOL}}
//! from it           {"done": ...}  or  {"failed": {"exit": 9, "thing": ..., "reason": ..., "help": [...]}}
//! ```
//!
//! One line of JSON each way, one request a connection.

mod ask;
mod desks;
mod serve;

pub use ask::{Asked, ask, ask_at, back_up};
pub use desks::{FrontendDesk, ProviderDesk, Reload};
pub use serve::Control;

use crate::exit::{Exit, Failure};
use dialtone_provider::peering::health::{LinkState, LinkStatus, PeerStatus};
use dialtone_resolver::dns::flush::Scope;
use dialtone_shared::message::CloseCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// What can be asked of a provider that runs.
#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Who it is, where it listens, which settings file it reads, and how its peers are.
    Peers,
    /// Read the settings file again.
    Reload,
    /// Write all that is held into a new file.
    Backup(PathBuf),
    /// A signed statement of what crossed a link.
    Statement {
        /// The peer.
        peer: String,
        /// Whether by the peer's books, rather than by the provider's own.
        of_peer: bool,
        /// From this hour on, counted since 1970.
        first: u64,
        /// For so many.
        hours: u32,
    },
    /// By whom the record of a name came.
    Trace {
        /// The name.
        name: String,
    },
    /// What its DNS frontend is asked most.
    Top {
        /// For so long from now on, in milliseconds.
        millis: u64,
        /// At most so many names and networks.
        rows: usize,
    },
    /// Have its DNS frontend forget what it keeps of names.
    Flush(Scope),
}

/// What it says.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Done(Value),
    Failed {
        exit: u8,
        thing: String,
        reason: String,
        help: Vec<String>,
    },
}

/// A provider that runs, as it tells of itself.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct About {
    /// Its name.
    pub name: String,
    /// Where peers connect.
    pub peering: Option<std::net::SocketAddr>,
    /// The settings file that it reads when told to.
    pub file: PathBuf,
    /// Its peers.
    pub peers: Vec<PeerView>,
}

/// By whom the record of a name came.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Origin {
    /// What is held.
    pub held: Option<HeldFrom>,
    /// What is said to be held elsewhere.
    pub pointer: Option<ToldBy>,
}

/// A record that is held, and by whom it came.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct HeldFrom {
    /// Its rank.
    pub rank: String,
    /// Where it was learnt: `customer`, `peer` or `upstream`.
    pub class: String,
    /// How many providers it came through; 255: at least.
    pub hops: u8,
    /// Those that are known, nearest first, the last being where it was put: names, or how they begin.
    pub path: Vec<String>,
}

/// A pointer, and by whom it came.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct ToldBy {
    /// Epoch and sequence of what it points to.
    pub rank: String,
    /// Who keeps it.
    pub keeper: String,
    /// Who told of it.
    pub from: String,
}

/// An agreement, and how the link is.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PeerView {
    /// The peer.
    pub name: String,
    /// What it is to us.
    pub relationship: String,
    /// Where it is dialled.
    pub addresses: Vec<String>,
    /// `up`, `dialling`, `backing off` or `awaited`; `not running` if the provider is not.
    pub state: String,
    /// The other end of the link.
    pub address: Option<String>,
    /// In what form we push.
    pub push: ModeView,
    /// In what form it pushes.
    pub accept: ModeView,
    /// Whether we answer its queries.
    pub answers: bool,
    /// Whether it answers ours, as it says.
    pub is_answered: Option<bool>,
    /// Whether we ask it.
    pub asks: bool,
    /// A label.
    pub price: Option<String>,
    /// Stands for what our side lets pass; 0: everything.
    pub filter: u64,
    /// Stands for what its side lets pass, as it says.
    pub their_filter: Option<u64>,
    /// Positions of our log that it has not acknowledged.
    pub lag: u64,
    /// Whether it has everything that is for it.
    pub sent_all: bool,
    /// Whether we have everything that it has for us.
    pub received_all: bool,
    /// Why the last link ended or did not come to be.
    pub last_error: Option<String>,
    /// What that was, in a word of [`cause`]; `None`: nothing, or this provider is an older one.
    #[serde(default)]
    pub cause: Option<String>,
    /// Records sent, since the provider started.
    pub records_sent: u64,
    /// Records that arrived.
    pub records_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes that arrived.
    pub bytes_received: u64,
    /// Records that were refused here.
    pub refused: u64,
    /// Links that stood.
    pub links: u64,
    /// The link with each of its nodes, and the addresses at which none is reached.
    pub nodes: Vec<NodeView>,
}

/// A link with one node of a peer, or an address at which there should be one.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct NodeView {
    /// What the node is called: the first half of its store's id; `None`: none is reached there.
    pub node: Option<String>,
    /// As of the peer.
    pub state: String,
    /// The other end, or the address that is dialled.
    pub address: String,
    /// Positions of our log that it has not acknowledged.
    pub lag: u64,
    /// Whether it has everything that is for it.
    pub sent_all: bool,
    /// Whether we have everything that it has for us.
    pub received_all: bool,
    /// Why the last attempt to dial there failed.
    pub last_error: Option<String>,
}

/// A mode, as both sides see it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ModeView {
    /// What we allow.
    pub ours: String,
    /// What it allows; `None`: no link stands.
    pub theirs: Option<String>,
    /// What happens: the lesser of the two.
    pub holds: Option<String>,
}

impl PeerView {
    /// Of a provider that runs.
    pub fn of(status: &PeerStatus) -> Self {
        let (agreement, progress) = (&status.agreement, &status.progress);
        let theirs = status.theirs.as_ref();
        Self {
            name: status.name.to_string(),
            relationship: agreement.relationship.to_string(),
            addresses: agreement.endpoints.clone(),
            state: state(status.state).to_owned(),
            address: status.address.map(|address| address.to_string()),
            push: ModeView {
                ours: agreement.push.to_string(),
                theirs: theirs.map(|theirs| theirs.accepts.to_string()),
                holds: status.pushes().map(|mode| mode.to_string()),
            },
            accept: ModeView {
                ours: agreement.accept.to_string(),
                theirs: theirs.map(|theirs| theirs.pushes.to_string()),
                holds: status.accepts().map(|mode| mode.to_string()),
            },
            answers: agreement.answers,
            is_answered: theirs.map(|theirs| theirs.answers),
            asks: agreement.asks,
            price: agreement.price.clone(),
            filter: agreement.filter.mark(),
            their_filter: theirs.map(|theirs| theirs.filter),
            lag: progress.lag,
            sent_all: progress.sent_all,
            received_all: progress.received_all,
            last_error: status.last_error.clone(),
            cause: status.last_error.as_ref().map(|_| cause(status.last_code).to_owned()),
            records_sent: progress.records_sent,
            records_received: progress.records_received,
            bytes_sent: progress.bytes_sent,
            bytes_received: progress.bytes_received,
            refused: progress.received.refused,
            links: progress.links,
            nodes: status.links.iter().map(NodeView::of).collect(),
        }
    }
}

impl NodeView {
    fn of(link: &LinkStatus) -> Self {
        Self {
            node: link.node_text(),
            state: state(link.state).to_owned(),
            address: link.address.clone(),
            lag: link.progress.lag,
            sent_all: link.progress.sent_all,
            received_all: link.progress.received_all,
            last_error: link.last_error.clone(),
        }
    }
}

impl ModeView {
    /// Whether nothing goes this way although one of the sides would have it. Where something goes, only less than one side would allow, both
    /// may well mean it so.
    pub fn is_shut(&self) -> bool {
        self.is_mismatch() && self.holds.as_deref() == Some("none")
    }

    /// Whether the two sides allow different things.
    pub fn is_mismatch(&self) -> bool {
        self.theirs.as_ref().is_some_and(|theirs| *theirs != self.ours)
    }
}

impl Reply {
    fn failed(failure: &Failure) -> Self {
        Self::Failed {
            exit: failure.exit as u8,
            thing: failure.thing().to_owned(),
            reason: failure.reason().to_owned(),
            help: failure.remedies().to_vec(),
        }
    }

    fn outcome(self) -> Result<Value, Failure> {
        match self {
            Self::Done(value) => Ok(value),
            Self::Failed { exit, thing, reason, help } => {
                let exit = Exit::ALL.into_iter().find(|known| *known as u8 == exit).unwrap_or(Exit::Bug);
                Err(help.iter().fold(Failure::new(exit, thing, reason), Failure::help))
            }
        }
    }
}

/// Why the last link ended, or did not come to be, in a word: by the code with which either side closed it, or else the network.
fn cause(code: Option<CloseCode>) -> &'static str {
    match code {
        None => "network",
        Some(CloseCode::Stopping) => "stopping",
        Some(CloseCode::Version) => "version",
        Some(CloseCode::NoAgreement) => "no-agreement",
        Some(CloseCode::WrongName) => "wrong-name",
        Some(CloseCode::BadProof) => "bad-proof",
        Some(CloseCode::Disagreement) => "disagreement",
        Some(CloseCode::Duplicate) => "duplicate",
        Some(CloseCode::Protocol) => "protocol",
        Some(CloseCode::InvalidRecords) => "invalid-records",
        Some(CloseCode::Hold) => "hold",
        Some(CloseCode::Clock) => "clock",
        Some(CloseCode::Store) => "store",
        Some(CloseCode::Busy) => "busy",
        Some(CloseCode::Changed) => "changed",
    }
}

fn state(state: LinkState) -> &'static str {
    match state {
        LinkState::Up => "up",
        LinkState::Dialling => "dialling",
        LinkState::BackingOff => "backing off",
        LinkState::Awaited => "awaited",
    }
}

/// The socket's place in a provider's data folder.
pub const SOCKET: &str = "control.sock";
/// The socket's place in the state folder of a frontend of one's own.
pub const DNS_SOCKET: &str = "dns.sock";
/// The store's place in a data folder.
pub const STORE: &str = "store";
/// Longest request, in bytes: a path, escaped.
const REQUEST_BYTES_MAX: u64 = 32 * 1_024;
/// How long a request may take to arrive; it is one line on one machine.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
/// Longest that what is asked is counted for one request, in milliseconds: who looks for longer asks again.
const TOP_MILLIS_MAX: u64 = 60_000;
/// Most names and networks told.
const TOP_ROWS_MAX: usize = 1_000;
/// Requests answered at a time: nobody needs more.
const AT_A_TIME: usize = 8;
