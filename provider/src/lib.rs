//! Keeping: names for others, shared with peers.
//!
//! What decides is pure; what touches sockets, files, the clock or chance is under `io`.
//!
//! Modules, in the order in which a record meets them:
//!
//! 1. [`settings`]: what an operator may set;
//! 2. [`identity`]: the key that says who a provider is;
//! 3. [`provider`]: all of it started, and stopped;
//! 4. [`io`]: listeners and the clock;
//! 5. [`service`]: what can be asked of a provider, and the way of a put;
//! 6. [`accounting`]: who may put how much, and what they did;
//! 7. [`store`]: where records are kept;
//! 8. [`peering`]: whom they are shared with;
//! 9. [`metrics`], [`error`]: what is counted, and why a provider does not start;
//! 10. [`planted`]: bugs that only tests have.

pub mod accounting;
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

pub use error::StartError;
pub use provider::{Addresses, Provider};
pub use settings::Settings;
