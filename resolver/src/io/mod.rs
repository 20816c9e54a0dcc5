//! The only rooms with sockets, files, the clock and chance. They decide nothing.

pub mod alias_file;
pub mod clock;
pub mod connector;
pub mod discover;
pub mod driver;
pub mod environment;
pub mod floor_file;
pub mod http;
pub mod http_connector;
pub(crate) mod keeper;
pub mod key_files;
pub mod key_rotation;
pub mod listeners;
pub mod publisher;
pub mod tls;
pub mod transport;
pub mod upstream;
pub mod watcher;
