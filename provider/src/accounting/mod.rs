//! Who may put how much, and what they did.
//!
//! 1. [`admission`]: who is asking, and may this pass?
//! 2. [`rate`]: so many in a second, in eight bytes a customer;
//! 3. [`ledger`]: the names and bytes that each keeps, and the books of every hour;
//! 4. [`books`]: what crosses the link with each peer, hour by hour.

pub mod admission;
pub mod books;
pub mod ledger;
pub mod rate;

pub use admission::{Admission, AuthError, Caller};
pub use books::Books;
pub use ledger::{Hour, Ledger, Tally};
