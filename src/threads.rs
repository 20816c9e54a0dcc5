//! Threads for what may wait. Links with peers run on some of their own, which give way to those that answer clients: whatever a peer sends, and
//! however much of it has to be verified, who gets and puts comes first.

use crate::exit::{Exit, Failure, plain};
use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime on threads that give way. It ends when this is dropped.
#[derive(Debug)]
pub struct Yielding(Option<Runtime>);

impl Yielding {
    /// Starts one, under this name in lists of threads.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(name: &str) -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread()
            .thread_name(name)
            .on_thread_start(give_way)
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Local, "starting threads", plain(&error)))?;
        Ok(Self(Some(runtime)))
    }

    /// What runs a task there.
    pub fn handle(&self) -> Option<Handle> {
        self.0.as_ref().map(|runtime| runtime.handle().clone())
    }
}

impl Drop for Yielding {
    fn drop(&mut self) {
        // Where it is dropped tasks may run, and those must not wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The thread that calls gives way to the others from now on. Linux gives each thread a priority of its own.
fn give_way() {
    let lower = getpriority_process(None).and_then(|now| setpriority_process(None, now.saturating_add(STEPS).min(LOWEST)));
    if let Err(error) = lower {
        tracing::debug!(%error, "threads for peers have the priority of the others");
    }
}

/// How much nicer: with a third of the weight, a provider whose clients take all that its cores have still hears its peers.
const STEPS: i32 = 5;
const LOWEST: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn its_threads_give_way_and_ours_do_not() {
        let yielding = Yielding::start("peers").unwrap();
        let ours = getpriority_process(None).unwrap();
        let theirs = yielding
            .handle()
            .unwrap()
            .spawn(async { getpriority_process(None).unwrap() })
            .await
            .unwrap();
        assert_eq!((theirs, getpriority_process(None).unwrap()), ((ours + STEPS).min(LOWEST), ours));
    }
}
