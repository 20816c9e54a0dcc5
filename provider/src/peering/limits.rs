//! Every size, count and patience of peering: what it is and what chose it. Each side may choose its own; only the window
//! is something that both must keep to, and it is part of version 1 of the protocol.

use super::guests::Rate;
use dialtone_shared::limits::FRAME_BYTES_MAX;
use std::time::Duration;

/// Most agreements of one provider. Each may cost a window of batches in memory: 256 × 4 MiB at the very worst, which only 256 peers that
/// stop reading at once bring about.
pub const PEERS_MAX: usize = 256;
const _: () = assert!(PEERS_MAX <= dialtone_shared::message::REACH_MAX);

/// Most nodes of one provider with which links stand at a time. A provider that survives the loss of a node has two or three; more cost
/// every peer a link each, and nobody less of anything.
pub const NODES_MAX: usize = 4;

/// Most addresses of one agreement: each is dialled. As many as an invitation can tell: two of each node.
pub const ADDRESSES_MAX: usize = 2 * NODES_MAX;
const _: () = assert!(ADDRESSES_MAX >= dialtone_shared::limits::INVITE_ADDRESSES_MAX);

/// Positions of stores of one peer that are remembered: of its nodes, and of as many that may come back.
pub const POSITIONS_MAX: usize = 4 * NODES_MAX;

/// Most batches that may be under way to a peer and not acknowledged. Enough to cover verification, a commit and the way there
/// and back at once; few enough that a revocation waits behind at most this many.
pub const WINDOW_BATCHES: usize = 8;

/// Most records in a batch that is sent: what one commit of the receiver takes well.
pub const BATCH_RECORDS: usize = 256;
const _: () = assert!(BATCH_RECORDS <= dialtone_shared::limits::BATCH_RECORDS_MAX);

/// Most bytes of a batch that is sent. Small beside the largest frame, so that a window is 2 MiB and not 8, and a hundred
/// records of the usual size still share a frame's costs.
pub const BATCH_BYTES: usize = 256 << 10;
const _: () = assert!(BATCH_BYTES + (8 << 10) <= FRAME_BYTES_MAX);

/// Records verified in one piece of work: about 1.5 ms, so that a batch spreads over the cores and no core is taken for long.
pub const VERIFY_CHUNK: usize = 32;

/// Most batches whose records are put in one commit.
pub const COMMIT_BATCHES: usize = WINDOW_BATCHES;

/// A greeting not finished by then is given up.
pub const GREETING_PATIENCE: Duration = Duration::from_secs(10);

/// A link on which something is under way and nothing moves for this long is closed (RFC 9687's send-hold timer, shorter
/// because a feed resumes where it stopped).
pub const HOLD_PATIENCE: Duration = Duration::from_secs(30);

/// A position in a peer's feed is saved at most this often. What a crash forgets is sent again and dropped there.
pub const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Records that are none before a link is cut. Below it, one broken record costs its neighbours nothing.
pub const INVALID_RECORDS_MAX: u64 = 32;

/// Most records from the future that are kept aside for one peer: 1 MiB of the largest. More means that a clock is wrong.
pub const DEFERRED_MAX: usize = 256;

/// Deferred records are looked through this often, in seconds; one comes due at most this much late.
pub const DEFERRED_EVERY: Duration = Duration::from_secs(15);

/// A provider signs the record of its greeting for this long, in seconds: a new one is signed for every link.
pub const GREETING_LIFETIME_SECS: u64 = 86_400;

/// First pause after a failed attempt to dial.
pub const REDIAL_FIRST: Duration = Duration::from_millis(250);

/// An attempt that nobody has answered by then is given up: time for a handshake over the longest way, also if a datagram of it is lost.
pub const DIAL_PATIENCE: Duration = Duration::from_secs(3);

/// Longest pause after an attempt that nobody answered. With the patience above a peer that was cut off for a day is found again
/// within 5 s; a peer that is gone for good costs some 1 kB/s.
pub const REDIAL_UNREACHED: Duration = Duration::from_secs(2);

/// Longest pause between attempts where somebody answers.
pub const REDIAL_MAX: Duration = Duration::from_secs(60);

/// Pause after the operators contradict each other, or a version or a key is wrong: nothing changes by itself, but whoever
/// sets it right should not wait long.
pub const REDIAL_CONFIGURED: Duration = Duration::from_secs(30);

/// Pause after a link was cut for invalid records or a wrong clock.
pub const REDIAL_QUARANTINE: Duration = Duration::from_secs(600);

/// About how long until it is looked again who answers at an address at which we answered ourselves, or a node with which a link stood already: it may be
/// set right, and where it is a second way to the same node a handshake in so long a time, some 5 kB, is nothing.
pub const REDIAL_ASTRAY: Duration = Duration::from_secs(600);

/// A link on which nothing was heard for longer may be dead: what has been told over it is no longer all there is. Longer than between two of the signs of
/// life that both sides give (`io::quic`), also if one of them is lost; as long as an absence may be believed.
pub const HEARD_WITHIN: Duration = super::ask::limits::NEGATIVE_TTL;

/// A link that held this long was a good one: pauses start small again. Links that die younger do not count, so that one
/// that comes and goes every second slows down.
pub const LINK_STEADY: Duration = Duration::from_secs(10);

/// Greetings under way with strangers at a time; beyond it they are turned away.
pub const GREETINGS_MAX: usize = 64;

/// From this many greetings under way on, an address must first prove that it can be reached (QUIC Retry).
pub const GREETINGS_RETRY: usize = 16;
const _: () = assert!(GREETINGS_RETRY < GREETINGS_MAX);

/// Greetings under way with one network at a time: a quarter of all, and more providers than are found behind one address.
pub const GREETINGS_FROM_ONE_MAX: usize = 16;
const _: () = assert!(GREETINGS_FROM_ONE_MAX * 4 <= GREETINGS_MAX);

/// Of all greetings so many are for known addresses alone: several peers come back at once while strangers hold all the rest.
pub const GREETINGS_KNOWN: usize = 16;
const _: () = assert!(GREETINGS_RETRY + GREETINGS_KNOWN < GREETINGS_MAX);

/// Handshakes with strangers: each takes about half a thousandth of a second of a core, so that all together take a fortieth of one. At once so many
/// as there may be peers, who all come back when the network does.
pub const HANDSHAKES: Rate = Rate {
    every: Duration::from_millis(20),
    at_once: PEERS_MAX as u32,
};

/// Those of one network: a quarter, and more providers than are found in one.
pub const HANDSHAKES_FROM_ONE: Rate = Rate {
    every: Duration::from_millis(100),
    at_once: 64,
};
const _: () = assert!(HANDSHAKES_FROM_ONE.at_once * 4 <= HANDSHAKES.at_once);

/// Those of a known address, which strangers cannot use up: more than a peer dials, whose pauses double.
pub const HANDSHAKES_KNOWN: Rate = Rate {
    every: Duration::from_millis(500),
    at_once: 16,
};

/// So often somebody is told that there is no place: it is then clear at once, and beyond it a flood is not answered by a flood.
pub const REFUSALS: Rate = Rate {
    every: Duration::from_millis(10),
    at_once: 128,
};

/// Addresses that are known: of as many nodes as there may be.
pub const KNOWN_MAX: usize = PEERS_MAX * NODES_MAX;

/// From so many networks on it is looked over which may be forgotten. More than [`HANDSHAKES`] lets come in the time in which one's own allowance fills again.
pub const NETWORKS_LOOKED_OVER: usize = 1_024;
const _: () = assert!({
    let fills = HANDSHAKES_FROM_ONE.every.as_millis() * HANDSHAKES_FROM_ONE.at_once as u128;
    HANDSHAKES.at_once as u128 + fills / HANDSHAKES.every.as_millis() < NETWORKS_LOOKED_OVER as u128
});

/// The log is told at most this often of strangers who were turned away: they must not fill the disk with it.
pub const STRANGERS_TOLD_EVERY: Duration = Duration::from_secs(1);

/// What a peer sends faster than agreed waits at most this long for its commit: well below [`HOLD_PATIENCE`], at which the sender would give the
/// link up. What would have to wait longer is taken if the name is known, and refused if it is new.
pub const PACE_MAX: Duration = Duration::from_secs(10);
const _: () = assert!(PACE_MAX.as_secs() * 2 < HOLD_PATIENCE.as_secs());

/// So much of an agreed rate may come at once: links come and go, and what gathered meanwhile comes in one piece.
pub const PACE_BURST: Duration = Duration::from_secs(5);

/// From this share of an agreed number of names on the operator is told, in percent: in time to agree on more.
pub const LIMIT_WARNS_PERCENT: u64 = 80;

/// So many changes of a name may go to a peer at once; ten times what RFC 7196 found harmless to damp at, since a name that moves is what names
/// are for.
pub const DAMP_CHANGES: f64 = 60.0;

/// A change counts half after this long. With [`DAMP_CHANGES`] a name may change about once a second for ever.
pub const DAMP_HALF_LIFE: Duration = Duration::from_secs(42);

/// Names whose changes are counted, twice over: about 0.1 MB a link. A name that changes ten times a second is seen again before a thousand others are,
/// at up to ten thousand changes a second.
pub const DAMP_NAMES: usize = 1_024;

/// Most names that wait at a time, of one link: a megabyte of the largest records. Beyond it changes are sent as they come.
pub const DAMP_HELD_MAX: usize = 256;

/// Records that change nothing, repeats of what is held or outranked by it, are taken at this pace: each costs a decoding and a look into the store, some
/// 6 µs, so that whoever replays old records takes a twentieth of a core, and a peer that sends all it has again is through a million in
/// under two minutes. Peers that do so at the same time share it.
pub const REPEAT_COST: Duration = Duration::from_micros(100);

/// So many of them may come at once: more than a window of batches.
pub const REPEATS_AT_ONCE: u32 = 2_048;
const _: () = assert!(REPEATS_AT_ONCE as usize >= WINDOW_BATCHES * BATCH_RECORDS);

/// Records that a peer has shown to hold, of one link: those of the last tenths of a second, in which what is passed on gathers. About 0.1 MB.
pub const ALIKE_MAX: usize = 1_024;

/// What a link that is no branch of the tree offers is at least this old, at the one of its ends: the tree takes some hundred milliseconds to bring it, and a
/// machine that is loaded a few times that. Where the tree is torn, a record is late by about twice as much.
pub const OFFERS_REST_FIRST: Duration = Duration::from_millis(500);

/// And at the other: more than twice as old, so that one of the two has told by then and the other need not.
pub const OFFERS_REST_SECOND: Duration = Duration::from_millis(1_250);
const _: () = assert!(OFFERS_REST_SECOND.as_millis() > 2 * OFFERS_REST_FIRST.as_millis());

/// Who lacked what it was offered is sent everything at once for this long: until the tree has grown together, or a machine has caught up.
pub const TORN_FOR: Duration = Duration::from_secs(5);

/// What was refused for want of room is offered again at most this often, even to a peer that always says it has room.
pub const AGAIN_EVERY: Duration = Duration::from_secs(5);

/// Whether there is room again for what was refused is looked at this often.
pub const ROOM_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// A peer is asked for a second opinion about one name this often, on average: a few bytes a second, and a peer that hides a twentieth of its names
/// is found within the hour.
pub const AUDIT_EVERY: Duration = Duration::from_secs(60);

/// What looks wrong is looked at again after this long: longer than a change takes to arrive anywhere.
pub const AUDIT_AGAIN: Duration = Duration::from_secs(10);

/// The log is told of what audits find at most this often, for each peer; the counters have all of it.
pub const AUDIT_TOLD_EVERY: Duration = Duration::from_secs(3_600);

/// Bytes of one chunk of a digest: as a batch, so that a revocation waits behind no more.
pub const DIGEST_CHUNK_BYTES: usize = BATCH_BYTES;

/// Largest digest of a peer that is kept, in bytes: of about 40 million names, with their quarter of room.
pub const DIGEST_BYTES_MAX: usize = 64 << 20;

/// A digest has room for at least this many more names, and a new one is due after at least this many were told: below it, a new one
/// would cost more than the names.
pub const DIGEST_NAMES_MIN: usize = 1_024;

/// A digest is sent anew after this long: nothing is ever taken out of the old one.
pub const DIGEST_EVERY: Duration = Duration::from_secs(86_400);

/// Rows read at once where everything is read: a page that holds up nobody.
pub const SCAN_STEP: usize = 1_024;

/// Digests that are made at a time: each reads the whole store.
pub const DIGESTS_AT_ONCE: usize = 1;
