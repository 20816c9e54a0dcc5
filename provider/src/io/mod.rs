//! Where the world is touched: sockets, files, the clock, chance. Nothing here decides.

pub mod peering;
pub mod peering_deferred;
mod peering_link;
mod peering_node;
pub mod quic;
