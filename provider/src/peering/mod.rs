//! Sharing with other providers: a record put here is soon held by every provider that an agreement leads to.
//!
//! Everything here is pure: events in, steps out, no clock, no sockets, no store. The driver is `io::peering`, and a
//! simulated world drives the same code in the tests.
//!
//! In the order in which a link lives:
//!
//! 1. [`agreement`]: what was agreed with whom;
//! 2. [`limits`]: how much, how long, how often;
//! 3. [`dial`]: when to dial, and which of two links stays;
//! 4. [`guests`]: how many strangers are heard at a time;
//! 5. [`greeting`]: whether the other side is who the agreement names;
//! 6. [`session`]: the link itself, in the events and steps of [`step`], put together from
//! 7. [`policy`]: what goes to whom,
//! 8. [`feed`]: the half that sends, how far the peer is ([`position`]), and what it has shown that it holds ([`alike`]),
//! 9. [`intake`]: the half that receives, and what becomes of each record, [`hearsay`]: of each pointer, [`paths`]: by whom they came,
//! 10. [`digest`]: the filter of names that goes where no more is agreed,
//! 11. [`deferred`]: records whose time has not come;
//! 12. [`quota`]: how much one peer may bring, and [`again`]: how what was refused for that is offered again,
//! 13. [`damping`]: names that change all the time;
//! 14. [`evidence`]: wrongs that are proved, [`audit`]: second opinions, and [`promise`]: what several nodes may say under one key;
//! 15. [`reconcile`]: in what two stores differ, where the log would cost more than finding out;
//! 16. [`health`]: what is seen of it from outside.
//!
//! Beside the links: [`ask`], what is done about a name that no link has brought, and [`network`], what agreements come to together.

pub mod again;
pub mod agreement;
pub mod alike;
pub mod ask;
pub mod audit;
pub mod damping;
pub mod deferred;
pub mod dial;
pub mod digest;
pub mod evidence;
pub mod feed;
pub mod greeting;
pub mod guests;
pub mod health;
pub mod hearsay;
pub mod intake;
pub mod limits;
pub mod network;
pub mod paths;
pub mod policy;
pub mod position;
pub mod promise;
pub mod quota;
pub mod reconcile;
pub mod session;
pub mod step;
pub mod tree;
