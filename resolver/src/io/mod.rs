//! The only rooms with sockets, files, the clock and chance. They decide nothing.

pub mod clock;
pub mod key_files;
pub mod listeners;
