//! Bugs that tests plant, to see that a simulated world finds them. Without the feature `planted-bugs`, for which only that world's crate
//! asks, there are none: every question is answered no when the compiler asks it.

/// What can be wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// Of two records that differ in nothing but their bytes, a store keeps the one that came first.
    NoTieBreak,
    /// A batch is acknowledged to a peer before it is durable.
    AckBeforeDurable,
    /// Records go to every peer, whatever the relationship.
    Leak,
    /// An expired record is forgotten, though older ones may still be valid.
    NoFloor,
    /// What is offered is taken as held, whether it is or not.
    OffersTaken,
    /// What was once entered under a tag is given for it, whatever its key is now.
    AnyTag,
}

/// Whether this bug is planted.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn is(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
pub use switched::*;

#[cfg(feature = "planted-bugs")]
mod switched {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this bug is planted.
    pub(crate) fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Plants a bug for the rest of this thread, or digs it up again.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }
}
