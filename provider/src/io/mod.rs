//! The rooms that touch the world: listeners and the clock. They decide nothing.

pub mod clock;
pub mod http;
