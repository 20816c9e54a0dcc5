//! Asking peers: what a provider does about a name that it does not hold, or does not know to be the newest.
//!
//! ```text
//!  a client or a peer asks ─▶ held or a copy, and fresh? ─▶ answered
//!                                 │ no
//!                                 ▼
//!                 a client, and not found a moment ago? ─▶ answered (negative)
//!                                 │ no
//!                                 ▼
//!                 whose silence is not proof? (whom) ── nobody ─▶ absent, or unknown if somebody cannot be asked
//!                                 │ these
//!                                 ▼
//!                 is the same question under way? (registry) ── yes ─▶ its outcome is ours
//!                                 │ no
//!                                 ▼
//!                 ask (question), verify (judge), and remember (copies, negative, repute)
//! ```
//!
//! All of it is pure and put together in [`desk`]; the driver is `io::peering::ask`, and the simulated world drives the same.
//!
//! 1. [`limits`]: how much, how long, how often;
//! 2. [`desk`]: the way above;
//! 3. [`whom`]: whom to ask, in which order, and whose silence says enough, which depends on
//! 4. [`reach`]: what lies behind whom, and [`neighbours`]: how the links stand;
//! 5. [`question`]: one question under way;
//! 6. [`judge`]: what an answer is worth;
//! 7. [`registry`]: the same question asked twice is one;
//! 8. [`negative`]: what was not found a moment ago; [`copies`]: what was;
//! 9. [`tagged`]: whoever has a tag;
//! 10. [`repute`]: how well each peer answers; [`tally`]: what is counted.

pub mod copies;
pub mod desk;
pub mod judge;
pub mod limits;
pub mod negative;
pub mod neighbours;
pub mod question;
pub mod reach;
pub mod registry;
pub mod repute;
pub mod tagged;
pub mod tally;
pub mod whom;
