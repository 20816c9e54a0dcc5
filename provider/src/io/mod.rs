//! Where the world is touched: sockets, files, timers, the clock, chance. Nothing here decides.

pub mod answers;
pub mod audit;
pub mod clock;
pub mod coherence;
pub mod desk;
pub mod evidence;
pub mod files;
pub mod hits;
pub mod http;
pub mod impatient;
pub mod link_books;
pub mod peering;
pub mod quic;
pub mod upkeep;
pub mod watching;
pub mod way;
