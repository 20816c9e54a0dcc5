//! What the tests of the command stand on, as far as these need it.
#![expect(dead_code, reason = "the tests of the command use the rest of it")]

#[path = "../../capability/support/cli.rs"]
mod cli;
#[path = "../../capability/support/process.rs"]
mod process;
#[path = "../../capability/support/providers.rs"]
mod providers;

pub use cli::World;
pub use process::Running;
pub use providers::ProviderProcess;
