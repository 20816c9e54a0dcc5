//! Where the world is touched: sockets, files, the clock, chance. Nothing here decides.

pub mod peering;
pub mod quic;
