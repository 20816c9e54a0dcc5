//! How the links are: what operators and metrics see of each peer.

use super::agreement::Agreement;
use super::quota::Standing;
use crate::store::Cursors;
use dialtone_shared::Name;
use dialtone_shared::message::{CloseCode, Counts, Entry, Mode, Terms};
use std::net::SocketAddr;
use std::time::Duration;

/// A peer, as it stands now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    /// The peer.
    pub name: Name,
    /// What is agreed with it, by our side.
    pub agreement: Agreement,
    /// What it says of the agreement itself, on the link that has brought the most; `None`: no link stands.
    pub theirs: Option<Terms>,
    /// How the links are: up if any is.
    pub state: LinkState,
    /// The other end of the link that has brought the most.
    pub address: Option<SocketAddr>,
    /// Why the last link ended or the last attempt failed, in words; kept until a link stands again for a while, and none is missing.
    pub last_error: Option<String>,
    /// The code of that, whichever side closed; `None`: the network, or nothing.
    pub last_code: Option<CloseCode>,
    /// What the present links have seen so far, and all before them. Each node of a peer answers for what its others hold: so we have all
    /// that it has for us if one says so, and it has all if each of them does.
    pub progress: Progress,
    /// How it stands to what it may bring.
    pub brought: Standing,
    /// The link with each of its nodes, and the addresses at which none is reached.
    pub links: Vec<LinkStatus>,
}

/// A link with one node of a peer, or an address at which there should be one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkStatus {
    /// The id of the node's store; `None`: no link stands.
    pub node: Option<[u8; 16]>,
    /// How it is.
    pub state: LinkState,
    /// The other end, or the address that is dialled.
    pub address: String,
    /// What the node says of the agreement.
    pub theirs: Option<Terms>,
    /// What the link has seen so far.
    pub progress: Progress,
    /// Why the last attempt to dial there failed, in words.
    pub last_error: Option<String>,
}

impl LinkStatus {
    /// The node, as it is called in lists and metrics: the first half of its store's id.
    pub fn node_text(&self) -> Option<String> {
        let node = self.node?;
        Some(node[..8].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl PeerStatus {
    /// As if this link were the only one; `None`: it does not stand.
    pub fn of_node(&self, node: &[u8; 16]) -> Option<Self> {
        let link = self.links.iter().find(|link| link.node.as_ref() == Some(node))?;
        Some(Self {
            theirs: link.theirs.clone(),
            state: link.state,
            progress: link.progress,
            links: vec![link.clone()],
            ..self.clone()
        })
    }

    /// In what form we push to it: the lesser of what we push and what it accepts; `None`: no link stands.
    pub fn pushes(&self) -> Option<Mode> {
        self.theirs.as_ref().map(|theirs| self.agreement.push.min(theirs.accepts))
    }

    /// In what form it pushes to us; `None`: no link stands.
    pub fn accepts(&self) -> Option<Mode> {
        self.theirs.as_ref().map(|theirs| self.agreement.accept.min(theirs.pushes))
    }
}

/// How a link is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LinkState {
    /// Nobody dials it here: it has to dial us.
    Awaited,
    /// An attempt is under way.
    Dialling,
    /// The last attempt failed; the next one is due later.
    BackingOff,
    /// It stands.
    Up,
}

/// What went over a peer's links, and how far both sides are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Positions of our log that the peer has not acknowledged. Counts changes that are not for the peer too.
    pub lag: u64,
    /// Where our log ended when that was counted; `None`: it was not.
    pub counted: Option<Cursors>,
    /// Whether the peer has acknowledged everything that is for it.
    pub sent_all: bool,
    /// Whether the peer has said, on this link, that we have everything that it has for us, and no limit kept any of it out; also if it pushes
    /// nothing to us.
    pub received_all: bool,
    /// Records sent, repeats too.
    pub records_sent: u64,
    /// Bytes of frames sent.
    pub bytes_sent: u64,
    /// Bytes sent beside the feed: of requests to the peer, and of responses to its own.
    pub request_bytes_sent: u64,
    /// Pointers sent, repeats too.
    pub pointers_sent: u64,
    /// Names mentioned to the peer, for its copy of our digest.
    pub mentions_sent: u64,
    /// Records that arrived, repeats too.
    pub records_received: u64,
    /// Pointers that arrived, repeats too.
    pub pointers_received: u64,
    /// Names that the peer mentioned, for our copy of its digest.
    pub mentions_received: u64,
    /// Bytes of frames that arrived.
    pub bytes_received: u64,
    /// What became of the records that arrived.
    pub received: Counts,
    /// Of the refused ones: those that are not records of the name at all.
    pub invalid: u64,
    /// Signatures of its records that were checked.
    pub verified: u64,
    /// The time that this took, of one core.
    pub verify_time: Duration,
    /// What the peer says became of what was sent.
    pub acknowledged: Counts,
    /// How long nothing has been heard of the other side, as of when it was asked: what it said last, it may have said of another time.
    pub silent_for: Duration,
    /// Links that stood.
    pub links: u64,
    /// Times that the two stores were compared, and all their differences found.
    pub compared: u64,
}

impl Progress {
    /// Our log ends here now: a link that rests, or hangs, has not counted what was written since it looked.
    pub fn log_ends(&mut self, heads: Cursors) {
        let Some(counted) = self.counted.as_mut() else { return };
        for (counted, head) in counted.iter_mut().zip(heads) {
            self.lag += head.saturating_sub(*counted);
            *counted = head.max(*counted);
        }
        self.sent_all &= self.lag == 0;
    }

    /// What this and an earlier link came to together: books are added up, and how far both sides are is as of this one.
    pub fn after(mut self, earlier: &Self) -> Self {
        self.records_sent += earlier.records_sent;
        self.pointers_sent += earlier.pointers_sent;
        self.mentions_sent += earlier.mentions_sent;
        self.bytes_sent += earlier.bytes_sent;
        self.request_bytes_sent += earlier.request_bytes_sent;
        self.records_received += earlier.records_received;
        self.pointers_received += earlier.pointers_received;
        self.mentions_received += earlier.mentions_received;
        self.bytes_received += earlier.bytes_received;
        self.received.add(&earlier.received);
        self.invalid += earlier.invalid;
        self.verified += earlier.verified;
        self.verify_time += earlier.verify_time;
        self.acknowledged.add(&earlier.acknowledged);
        self.links += earlier.links;
        self.compared += earlier.compared;
        self
    }
}

/// How many of these entries are records, pointers and mentions.
pub fn forms(entries: &[Entry]) -> [u64; 3] {
    let mut forms = [0; 3];
    for entry in entries {
        let form = match entry {
            Entry::Value(_) => 0,
            Entry::Pointer(_) => 1,
            Entry::Mention(_) => 2,
        };
        forms[form] += 1;
    }
    forms
}
