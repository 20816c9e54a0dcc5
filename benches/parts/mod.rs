//! What the load generators share: words, records, a connection, one verification, and how times are told.

pub mod args;
pub mod changing;
pub mod http;
pub mod records;
pub mod times;
pub mod verify;

/// Whatever stops a measurement.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
