//! What the DNS frontend promises: each file is something it can do.

mod access;
mod encrypted;
mod forwarding;
mod forwarding_https;
mod forwarding_tls;
mod hot;
mod links;
mod malformed;
mod names_under_the_origin;
mod rate;
mod scenario;
mod signing;
mod sockets;
mod spoofing;
mod world;
