//! The only rooms with sockets, files, the clock and chance. They decide nothing.

pub mod alias_file;
pub mod certificate;
pub mod clock;
mod connections;
mod conversation;
#[cfg(target_os = "linux")]
mod cores;
pub mod discover;
pub mod driver;
pub mod encrypted;
pub mod environment;
pub mod floor_file;
pub mod http;
mod https;
pub(crate) mod keeper;
pub mod key_files;
pub mod key_rotation;
pub mod listeners;
pub mod publisher;
mod quic;
pub mod transport;
pub mod upstream;
