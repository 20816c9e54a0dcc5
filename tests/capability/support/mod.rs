//! What the tests stand on: the command, processes that end with their test, folders that go away, ports, other people's clients.

mod cli;
mod passed;
mod ports;
mod process;
mod providers;
mod servers;
mod tools;

pub use cli::{Ran, World, finish};
pub use passed::Passed;
pub use ports::{free_port, free_udp_port, free_udp_ports};
pub use process::Running;
pub use providers::ProviderProcess;
pub use servers::{DnsServer, asking, exchange};
pub use tools::Tool;
