//! The words of Dialtone: what travels between publishers, providers and stubs.
//!
//! What belongs here is what crosses a wire or a disk and must mean the same to everyone: names, keys,
//! records, ranks, receipts, peer messages. What does not: I/O, a clock (time is always an argument),
//! chance, policy, async, and helpers without a word of their own.
//!
//! Modules, in the order in which a record meets them:
//!
//! 1. [`limits`]: every size and count of the protocol, with its reason;
//! 2. [`time`]: instants and lifetimes that cannot overflow;
//! 3. [`z32`]: z-base-32, the alphabet of names;
//! 4. [`name`]: flat, self-certifying names and their text forms;
//! 5. [`cbor`]: deterministic CBOR, the only encoding that is read or written;
//! 6. [`key`]: keys, the genesis that a name commits to, the chain of keys that follow;
//! 7. [`record`]: what a publisher says, and the one door through which it becomes believed;
//! 8. [`receipt`]: what a provider says about what it holds;
//! 9. [`proof`]: two statements of one signer that cannot both be honest;
//! 10. [`message`]: what two providers say to each other;
//! 11. [`invite`]: the line by which one asks another to peer;
//! 12. [`statement`]: what each says crossed their link, and where the two differ;
//! 13. [`hip`]: the tag by which the Host Identity Protocol calls a key.

pub mod cbor;
pub mod hip;
pub mod invite;
pub mod key;
pub mod limits;
pub mod message;
pub mod name;
pub mod proof;
pub mod receipt;
pub mod record;
pub mod statement;
pub mod time;
pub mod z32;

pub use key::{Commitment, Genesis, Link, PublicKey, SecretKey};
pub use name::{Name, NameError, Scheme, Schemes};
pub use record::rank::Rank;
pub use record::signed::{SignedRecord, VerifiedRecord, VerifyError};
pub use record::{Binding, Body, Record, RecordError};
pub use time::{Ttl, UnixMicros, UnixSecs};
