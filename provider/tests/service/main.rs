//! What a provider's service promises, over real loopback HTTP. A file is something that can be relied on.

mod world;

mod accounts;
mod asking;
mod bad_input;
mod batches;
mod dns;
mod gets;
mod hits;
mod peers;
mod puts;
mod relay;
mod running;
mod starting;
mod tags;
mod values;
mod watching;
