//! What one peer, or one publisher, can do to others: little.
//!
//! - [`limits`]: floods and flapping, in a simulated world;
//! - [`wire`]: forged, replayed and malformed records, limits and what is said of them, over real links;
//! - [`wrongs`]: twins, proofs that reach every provider, and second opinions, over real links;
//! - [`support`]: providers on the loopback, and a peer that is written by hand.

mod limits;
mod support;
mod wire;
mod wrongs;
