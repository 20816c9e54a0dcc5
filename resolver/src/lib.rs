//! Finding: the asking side, from a name to a verified record, and from a secret key to a published one.
//!
//! What decides is pure; what touches sockets, files, the clock or chance is under [`io`].

pub mod dns;
pub mod io;
pub mod source;

pub use source::{Lookup, LookupError, RecordSource};
