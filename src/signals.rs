//! How a verb that stays is told to go: SIGTERM from a supervisor, SIGINT from a person; and to read its settings again: SIGHUP.

use crate::exit::{Exit, Failure, plain};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for both from now on, so that none is missed while something starts.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// SIGHUP, as supervisors and people send it after they changed a settings file.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Listens from now on.
    ///
    /// # Errors
    /// As [`Signals::listen`].
    pub fn listen() -> Result<Self, Failure> {
        signal(SignalKind::hangup())
            .map(Self)
            .map_err(|error| Failure::new(Exit::Local, "signals", plain(&error)))
    }

    /// Waits for the next.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

impl Signals {
    /// Starts to listen.
    ///
    /// # Errors
    /// The system has no room for a handler.
    pub fn listen() -> Result<Self, Failure> {
        let to = |kind| signal(kind).map_err(|error| Failure::new(Exit::Local, "signals", plain(&error)));
        Ok(Self {
            terminate: to(SignalKind::terminate())?,
            interrupt: to(SignalKind::interrupt())?,
        })
    }

    /// Waits for either, and says which came.
    pub async fn told_to_go(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
