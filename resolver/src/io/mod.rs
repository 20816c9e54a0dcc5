//! The only rooms with sockets, files, the clock and chance. They decide nothing.

pub mod alias_file;
pub mod clock;
pub mod discover;
pub mod driver;
pub mod environment;
pub mod floor_file;
pub mod http;
pub(crate) mod keeper;
pub mod key_files;
pub mod key_rotation;
pub mod listeners;
pub mod locators;
pub mod publisher;
pub mod transport;
pub mod upstream;
