//! Keeping: names for others, shared with peers.
//!
//! What decides is pure; what touches sockets, files, the clock or chance is under `io`.
//!
//! Modules, in the order in which a record meets them:
//!
//! 1. [`settings`]: what an operator may set;
//! 2. [`identity`]: the key that says who a provider is;
//! 3. [`provider`]: all of it started, and stopped;
//! 4. [`admin`]: what its operator asks of it while it runs;
//! 5. [`io`]: listeners and the clock;
//! 6. [`service`]: what can be asked of a provider, and the way of a put;
//! 7. [`accounting`]: who may put how much, what they did, and what crossed the links;
//! 8. [`store`]: where records are kept;
//! 9. [`peering`]: whom they are shared with;
//! 10. [`metrics`], [`error`]: what is counted, and why a provider does not start;
//! 11. [`planted`]: bugs that only tests have.

pub mod accounting;
pub mod admin;
pub mod error;
pub mod identity;
pub mod io;
pub mod metrics;
pub mod peering;
pub mod planted;
pub mod provider;
pub mod service;
pub mod settings;
pub mod store;

pub use admin::Admin;
pub use error::StartError;
pub use provider::{Addresses, Provider};
pub use settings::Settings;
