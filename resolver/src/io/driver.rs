//! Does what a lookup's steps say, and reports back.

use crate::io::clock;
use crate::io::transport::Server;
use crate::lookup::{Event, Machine, Step};
use crate::message::Reply;
use crate::source::{Lookup, LookupError, Sought};
use crate::together::{self, Pending};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// Carries out the lookup of what is `sought` over `servers`, and notes how they answered.
///
/// # Errors
/// [`LookupError`].
pub async fn run(machine: &mut Machine, sought: &Sought, servers: &[Arc<Server>]) -> Result<Lookup, LookupError> {
    let mut pending: Vec<(usize, Pending<'_, std::io::Result<Reply>>)> = Vec::with_capacity(2);
    let mut of: Vec<usize> = Vec::with_capacity(2);
    let outcome = loop {
        match machine.poll(clock::now()) {
            Step::Ask { attempt, provider, over } => {
                pending.push((attempt, Box::pin(servers[provider].ask(sought, over))));
                of.push(provider);
            }
            Step::WaitUntil(then) => {
                if let Ok((attempt, answer)) = timeout_at(Instant::from_std(then), together::next(&mut pending)).await {
                    let event = match answer {
                        Ok(reply) => Event::Replied { attempt, reply },
                        Err(error) => Event::Failed {
                            attempt,
                            reason: format!("{}: {error}", servers[of[attempt]].address()),
                        },
                    };
                    machine.handle(clock::now(), event);
                }
            }
            Step::Done(outcome) => break outcome,
        }
    };
    for (provider, verdict) in machine.verdicts(clock::now()) {
        servers[provider].note(verdict);
    }
    outcome
}
