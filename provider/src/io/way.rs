//! How work for peers gives way to work for clients.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// What a thread may do at once without giving way: a put and what it sets off take a few steps of some ten microseconds each.
const OWN_AT_MOST: Duration = Duration::from_micros(500);
/// One such part of the time that passes is added to that.
const OWN_PART: u32 = 256;

thread_local! {
    /// What this thread may still do without giving way, as of when.
    static OWN: Cell<Option<(Duration, Instant)>> = const { Cell::new(None) };
}

/// Lets the system run another thread on this core, after a step that took since `began`. To be called between short steps: a whole turn, as the system
/// gives it, is milliseconds, for which a client would wait behind what peers send. Where no other thread wants the core that is less than a microsecond.
///
/// Whoever lets go forfeits the rest of a turn, and on a machine that has more to do than it can gets the core back after everybody else's turns. A thread
/// that did so after every step would make a record that comes once in a while wait a dozen times; so what is done but now and then keeps the core.
pub fn give_way(began: Instant) {
    let now = Instant::now();
    let (left, as_of) = OWN.get().unwrap_or((OWN_AT_MOST, began));
    let left = (left + (now - as_of) / OWN_PART).min(OWN_AT_MOST);
    match left.checked_sub(now - began) {
        Some(left) => OWN.set(Some((left, now))),
        None => {
            OWN.set(Some((Duration::ZERO, now)));
            std::thread::yield_now();
        }
    }
}
