//! Every size and count of the protocol: what it is and what chose it. Changing one changes the protocol.

/// Largest signed record, in bytes of its envelope. Fits a DNS message over TCP many times over and one
/// page of the store; ten times the usual record.
pub const RECORD_BYTES_MAX: usize = 4_096;

/// Smallest possible envelope: the frame, a signature and a payload of one byte. Anything shorter is not looked at.
pub const RECORD_BYTES_MIN: usize = 7 + 1 + 1 + 2 + 64;

/// Longest salt in a genesis, in bytes. As long as a digest, so that a salt may be one.
pub const SALT_BYTES_MAX: usize = 32;

/// Most links a record may reveal. 32 links of 73 bytes leave room for bindings in a record.
pub const CHAIN_LINKS_MAX: usize = 32;

/// Links made for a new name unless the publisher says otherwise: a rotation a year for a working life.
pub const CHAIN_LINKS_DEFAULT: usize = 16;

/// Most providers that a scope may list. A closed group larger than this wants a provider of its own.
pub const SCOPE_MAX: usize = 8;

/// Most bindings of a record. Bounds the work of one resolution before bytes do.
pub const BINDINGS_MAX: usize = 64;

/// Longest path of a delegate, in steps.
pub const DELEGATE_STEPS_MAX: usize = 8;

/// Longest service label, in bytes (RFC 6335 §5.1).
pub const LABEL_BYTES_MAX: usize = 15;

/// Most ALPN ids of a service, each at most 255 bytes by TLS; eight is more than any server speaks.
pub const ALPN_MAX: usize = 8;

/// Longest ALPN id accepted, in bytes. TLS allows 255; no registered id is longer than 32.
pub const ALPN_BYTES_MAX: usize = 32;

/// Most SPKI pins of a service: a current, a next and a spare certificate, for two algorithms.
pub const PINS_MAX: usize = 6;

/// Longest region, in bytes: room for `eu-central-1`.
pub const REGION_BYTES_MAX: usize = 16;

/// Longest owner of a `dns` binding in presentation form. With a name's 56 characters and an origin of up to
/// 90 it stays within DNS's 255 bytes.
pub const OWNER_BYTES_MAX: usize = 100;

/// Longest media type of an `opaque` binding, in bytes.
pub const MEDIA_TYPE_BYTES_MAX: usize = 64;

/// An expiry is at most this long after the record's sequence: 400 days, in seconds. A year and a month, so
/// that a yearly renewal has slack; after it an old record can no longer be valid, which bounds replay.
pub const LIFETIME_SECS_MAX: u64 = 400 * 86_400;

/// Longest lease of what says nothing of its end (pkarr packets, values), in seconds from now: 402 days. A provider's longest lease is
/// 400 days and to the end of that day, and clocks differ.
pub const LEASE_SECS_MAX: u64 = 402 * 86_400;

/// Longest DNS message in a pkarr packet, in bytes (BEP 44).
pub const PACKET_DNS_BYTES_MAX: usize = 1_000;

/// Longest value of a `content` name, in bytes: with its question it fits a DNS message over TCP.
pub const VALUE_BYTES_MAX: usize = 60_000;

/// TTL of a record whose publisher set none, in seconds.
pub const TTL_SECS_DEFAULT: u32 = 60;

/// Longest TTL that is honoured, in seconds: 7 days (RFC 8767 §4).
pub const TTL_SECS_MAX: u32 = 7 * 86_400;

/// A put from further in the future than this is refused, in seconds. Clocks that keep time at all are closer.
pub const FUTURE_PUT_SECS: u64 = 5 * 60;

/// A record from a peer from further in the future than this is deferred, in seconds. Wider than
/// [`FUTURE_PUT_SECS`], so that what one honest provider took, a peer whose clock is slow takes too.
pub const FUTURE_PEER_SECS: u64 = 10 * 60;
const _: () = assert!(FUTURE_PEER_SECS > FUTURE_PUT_SECS);

/// Largest sequence: 2^62 µs. Leaves headroom in signed 64-bit timestamps of ring stores.
pub const SEQUENCE_MAX: u64 = 1 << 62;

/// Deepest nesting that is read in an unknown, uncritical CBOR value.
pub const CBOR_DEPTH_MAX: usize = 8;

/// Fields and binding kinds below this number are critical: a reader that does not know one refuses the record.
pub const UNCRITICAL_FROM: u64 = 64;

/// Largest frame between peers, in bytes. Some 250 records of full size fit, and far more of the usual: a sender closes a batch
/// by its bytes before it closes it by its count.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// Most records in one batch between peers. At 400 bytes a record a batch is about 100 kB, and one commit.
pub const BATCH_RECORDS_MAX: usize = 256;
const _: () = assert!(BATCH_RECORDS_MAX * 1_024 <= FRAME_BYTES_MAX);

/// Most rows of one statement of what crossed a link: ten days by the hour. Who wants more asks again, for the time before.
pub const STATEMENT_ROWS_MAX: usize = 240;

/// Longest statement, in bytes: all its rows, the longest chain of keys, and its frame. Small enough to be one response.
pub const STATEMENT_BYTES_MAX: usize = 62 << 10;
const _: () = assert!(STATEMENT_ROWS_MAX * STATEMENT_ROW_BYTES_MAX + CHAIN_LINKS_MAX * 73 + 1_024 <= STATEMENT_BYTES_MAX);

/// Longest row of a statement, in bytes: its head, a price class, and nine lines of two numbers.
pub const STATEMENT_ROW_BYTES_MAX: usize = 1 + 9 + 2 + 2 + PRICE_BYTES_MAX + 9 + 1 + 9 * 20;

/// Longest price class, in bytes: a label, not a contract.
pub const PRICE_BYTES_MAX: usize = 32;

/// Most addresses of an invitation: a provider has a few.
pub const INVITE_ADDRESSES_MAX: usize = 8;

/// Longest address of an invitation, in bytes: the longest host of DNS and a port.
pub const INVITE_ADDRESS_BYTES_MAX: usize = 253 + 1 + 5;

/// Longest signed invitation, in bytes: the longest chain of keys and all addresses, and room for what comes later.
pub const INVITE_BYTES_MAX: usize = 8_192;
