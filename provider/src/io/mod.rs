//! The rooms that touch the world: listeners, timers and the clock. They decide nothing.

pub mod clock;
pub mod http;
pub mod upkeep;
