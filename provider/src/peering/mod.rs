//! Sharing with other providers: a record put here is soon held by every provider that an agreement leads to.
//!
//! Everything here is pure: events in, steps out, no clock, no sockets, no store. The driver is `io::peering`, and a
//! simulated world drives the same code in the tests.
//!
//! In the order in which a link lives:
//!
//! 1. [`agreement`]: what was agreed with whom;
//! 2. [`limits`]: how much, how long, how often;
//! 3. [`health`]: what is seen of it from outside.

pub mod agreement;
pub mod health;
pub mod limits;
