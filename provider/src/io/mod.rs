//! Where the world is touched: sockets, files, timers, the clock, chance. Nothing here decides.

pub mod audit;
pub mod clock;
pub mod coherence;
pub mod desk;
pub mod evidence;
pub mod files;
pub mod http;
pub mod impatient;
pub mod link_books;
pub mod peering;
pub mod peering_ask;
mod peering_comparing;
pub mod peering_deferred;
pub mod peering_hearsay;
mod peering_link;
mod peering_node;
mod peering_pace;
mod peering_place;
mod peering_quota;
mod peering_reconcile;
pub mod peering_requests;
pub mod quic;
pub mod upkeep;
