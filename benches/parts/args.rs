//! The words that a load generator was called with.

use super::Error;
use tokio::runtime::Runtime;

/// They are all ours but `--bench`, which cargo passes.
pub struct Args(Vec<String>);

impl Args {
    /// Those of this process.
    pub fn of_the_process() -> Self {
        Self(std::env::args().skip(1).filter(|arg| arg != "--bench").collect())
    }

    /// The word there; empty if there is none.
    pub fn word(&self, at: usize) -> &str {
        self.0.get(at).map(String::as_str).unwrap_or_default()
    }

    /// The number there; `default` if there is none.
    pub fn number(&self, at: usize, default: usize) -> usize {
        self.word(at).parse().unwrap_or(default)
    }
}

/// One thread for the load: the other core is the server's.
pub fn runtime() -> Result<Runtime, Error> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
