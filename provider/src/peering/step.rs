//! Everything that can happen on a link, and everything that a link can want: the two sides of `session`.

use super::agreement::{Agreements, Way};
use super::ask::reach::Inbound;
use super::digest::Digest;
use super::feed::Comparison;
use super::intake::{Checked, Commit, Terms};
use super::paths::Paths;
use super::position::Position;
use super::quota::Quotas;
use super::tree::Branches;
use crate::store::{Change, Cursor, Cursors, Held, Lane, Outcome, PointerChange, PointerOutcome};
use dialtone_shared::message::{CloseCode, Pointer, Value};
use dialtone_shared::{Name, Rank, SignedRecord, UnixSecs};
use std::sync::Arc;
use std::time::Duration;

/// Now: by the wall, which may jump and is what records are judged by, and since the process started, which patience is
/// measured by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Seconds since 1970.
    pub wall: UnixSecs,
    /// Since some beginning.
    pub elapsed: Duration,
}

/// What one end of a link knows from the start.
#[derive(Clone, Debug)]
pub struct Opening {
    /// This provider.
    pub own: Name,
    /// Its record for this link: see [`super::greeting::own_record`].
    pub record: SignedRecord,
    /// The id of its store.
    pub store: [u8; 16],
    /// The id of its process.
    pub boot: [u8; 16],
    /// With whom it may speak.
    pub agreements: Arc<Agreements>,
    /// Whom it dialled; `None`: it was dialled.
    pub dialled: Option<Name>,
    /// The pin of the certificate that the other side presented.
    pub pin: [u8; 32],
    /// Where the lanes of its log end.
    pub heads: [u64; 3],
    /// What its peers have brought, over all links.
    pub quotas: Arc<Quotas>,
    /// By whom what it holds came.
    pub paths: Arc<Paths>,
    /// What its peers push to it and what lies behind them: what it tells each of what it knows without asking.
    pub inbound: Arc<[Inbound]>,
    /// What its peers say of where they stand in the tree that records take.
    pub branches: Arc<Branches>,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A frame's body arrived.
    Frame(Vec<u8>),
    /// The frame of the last [`Step::Send`] is written.
    Sent,
    /// Answers [`Step::Recall`].
    Recalled(Option<Rank>),
    /// Answers [`Step::Admit`]: no other link with the peer is up, and what is known of its store.
    Admitted {
        /// What was saved of its store, if anything was.
        position: Option<Position>,
        /// Where our log ends.
        heads: Cursors,
    },
    /// Answers [`Step::Admit`]: the link is not wanted.
    NotAdmitted(CloseCode, String),
    /// The agreements are these from now on.
    Agreed(Arc<Agreements>),
    /// What the peers push and what lies behind them, from now on.
    Inbound(Arc<[Inbound]>),
    /// What the peers say of where they stand in the tree, from now on.
    Branches(Arc<Branches>),
    /// Our log goes on to here.
    Heads(Cursors),
    /// Answers [`Step::Read`].
    Read(Lane, Vec<Change>),
    /// Answers [`Step::ReadPointers`].
    PointersRead(Vec<PointerChange>),
    /// Answers [`Step::Build`]: the digest, and where our log ended before it was made.
    Built(Box<Digest>, Cursors),
    /// Answers [`Step::Forget`].
    Forgotten,
    /// Answers [`Step::Check`].
    Checked(u64, Box<Checked>),
    /// Answers [`Step::Commit`].
    Committed(Vec<Outcome>, Vec<PointerOutcome>),
    /// Answers [`Step::Save`].
    Saved,
    /// The two stores are to be compared: the feed rests. `leads`: by us, and not because the peer asks.
    Compare {
        /// See above.
        leads: bool,
    },
    /// What came of it; `None`: nothing.
    Compared(Option<Comparison>),
    /// Answers [`Step::Fetch`].
    Fetched(Vec<Held>),
    /// A step failed on our side. What was not acknowledged will be sent again.
    Failed(CloseCode, String),
    /// Time went by.
    Tick,
    /// This side wants to end it.
    Stop(CloseCode, String),
    /// The other side ended it, or the network did (no code).
    Closed(Option<CloseCode>, String),
}

/// What to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// Write a frame; answered by [`Event::Sent`]. Only one at a time.
    Send(Vec<u8>),
    /// Look up the rank of what our store holds of the peer's own name.
    Recall(Name),
    /// The peer has proved who it is: see that no other link with it is up, and read what was saved of its store.
    Admit {
        /// Who it is.
        peer: Name,
        /// Its process.
        boot: [u8; 16],
        /// Its store.
        store: [u8; 16],
    },
    /// Read at most `limit` changes of the log.
    Read {
        /// Of this lane.
        lane: Lane,
        /// After this cursor.
        after: Cursor,
        /// How many.
        limit: usize,
    },
    /// Read what is held of these names.
    Fetch(Vec<Name>),
    /// Read at most `limit` pointers of the log's hearsay lane.
    ReadPointers {
        /// After this cursor.
        after: Cursor,
        /// How many.
        limit: usize,
    },
    /// Make a digest of all that goes this way; in the background, for it reads everything.
    Build(Way),
    /// Forget every pointer that the peer told us.
    Forget {
        /// Who told them.
        peer: Name,
    },
    /// Find out what becomes of these entries.
    Check {
        /// The number to answer with.
        id: u64,
        /// How they are to be judged.
        terms: Terms,
        /// The records.
        entries: Vec<Value>,
        /// The pointers.
        pointers: Vec<Pointer>,
    },
    /// Keep what was checked; answered when all of it is durable.
    Commit {
        /// Who sent it.
        peer: Name,
        /// What to keep.
        commit: Commit,
    },
    /// Make a note of how far the peer is.
    Save {
        /// The note's key: see [`Position::key`].
        key: Vec<u8>,
        /// What to note.
        position: Position,
    },
    /// Nothing to do until something happens, or until then.
    Wait(Option<Duration>),
    /// It is over: close the connection if it is still open. Said from then on.
    End(End),
}

/// How a link ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// Why; `None`: the network.
    pub code: Option<CloseCode>,
    /// Whether this side ended it, and the other must still be told.
    pub by_us: bool,
    /// Why, in words.
    pub reason: String,
}
