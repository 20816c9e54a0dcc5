//! The only rooms with sockets, files, the clock and chance. They decide nothing.

pub mod alias_file;
pub mod allowance;
#[cfg(target_os = "linux")]
mod batch;
pub mod certificate;
pub mod clock;
mod connections;
pub mod connector;
mod conversation;
#[cfg(target_os = "linux")]
mod cores;
pub mod discover;
pub mod driver;
pub mod encrypted;
pub mod encrypted_sockets;
pub mod environment;
pub mod floor_file;
pub mod http;
mod http2;
pub mod http_connector;
mod https;
pub(crate) mod keeper;
pub mod key_files;
pub mod key_rotation;
pub mod lent;
pub mod links;
pub mod listeners;
pub mod live;
pub mod locators;
pub mod publisher;
pub mod query_log;
mod quic;
pub mod site;
pub mod site_folder;
pub mod sockets;
pub mod tls;
pub mod transport;
pub mod upstream;
mod upstream_dial;
mod upstream_https;
mod upstream_tls;
pub mod validator;
pub mod watcher;
pub mod zone_keys;
