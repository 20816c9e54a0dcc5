//! Keeping: names for others, shared with peers.
//!
//! What decides is pure; what touches sockets, files, the clock or chance is under `io`.

pub mod io;
pub mod peering;
pub mod store;
