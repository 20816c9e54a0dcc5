//! The DNS frontend: names under the origin, aliases that people chose, and everything else forwarded or refused.
//!
//! In the order in which a question walks: [`question`] reads it, [`frontend`] decides whose it is, [`answer`] turns a record into
//! DNS (with [`services`] for what has an owner of its own), [`local`] answers the names that never leave the house, [`forward`] keeps
//! what upstream resolvers said, [`response`] writes the bytes, [`rcode`] says what went wrong. [`aliases`] is the file that maps
//! legacy names onto flat ones; [`zone`] reads zone files into bindings. Sockets are in [`crate::io`].

pub mod aliases;
pub mod answer;
pub mod domain;
pub mod forward;
pub mod frontend;
pub mod local;
pub mod question;
pub mod rcode;
pub mod rdata_text;
pub mod response;
pub mod services;
pub mod settings;
pub mod wire;
pub mod zone;

pub use domain::Domain;
pub use frontend::{Carrier, Frontend, Reply, Via};
pub use settings::{FrontendSettings, ListenerSettings};
