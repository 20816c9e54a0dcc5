//! The only rooms with sockets, files, clock and chance. They decide nothing.

pub mod listeners;
