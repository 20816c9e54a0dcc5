//! Finding: the asking side, from a name to a verified record, and from a secret key to a published one.
//!
//! What decides is pure; what touches sockets, files, the clock or chance is under [`io`].
//!
//! The story of one question, in the order in which it walks:
//!
//! 1. [`source`]: the one question that everything here asks and answers;
//! 2. [`stub`]: known and fresh? already being asked? otherwise over the network;
//! 3. [`cache`] and [`floor`]: what may be given again, and what must never be believed again;
//! 4. [`choose`]: whom to ask first;
//! 5. [`lookup`]: what to send when, and what to believe;
//! 6. [`message`]: the question and its answers as bytes;
//! 7. [`layers`]: from a name to endpoints, through services and delegates;
//! 8. [`connect`]: from endpoints to a connection that the name authenticates;
//! 9. [`watch`]: being told instead of asking again;
//! 10. [`site`]: what an organisation keeps of its own names, to answer them while it is cut off;
//! 11. [`dns`]: the frontend, which answers DNS from any source.
//!
//! For whoever asks by DNS, [`dns`] is in front of a source of records.
//!
//! The other direction: [`keyfile`] holds the keys, [`edit`] says what changes, [`publish`] signs, puts and watches a record arrive.

pub mod cache;
pub mod choose;
pub mod connect;
pub mod dns;
pub mod edit;
pub mod error;
pub mod floor;
pub mod info;
pub mod io;
pub mod keep;
pub mod keyfile;
pub mod layers;
pub mod lookup;
pub mod message;
pub mod publish;
pub mod sealed;
pub mod settings;
pub mod site;
pub mod source;
pub mod stub;
mod together;
pub mod update;
pub mod view;
pub mod watch;

#[cfg(test)]
mod fixture;

pub use settings::{FloorAt, ProviderAt, StubSettings};
pub use source::{Lookup, LookupError, RecordSource, Sought};
pub use stub::Stub;
