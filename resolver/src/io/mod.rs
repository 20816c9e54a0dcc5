//! The only rooms with sockets, files, clock and chance. They decide nothing.

pub mod alias_file;
pub mod listeners;
pub mod upstream;
