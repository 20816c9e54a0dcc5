//! Ports that are free. The provider's tests of several nodes take theirs from here too.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// A TCP port of 127.0.0.1 that nobody uses.
pub fn free_port() -> u16 {
    free(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}

/// A UDP port of 127.0.0.1 that nobody uses.
pub fn free_udp_port() -> u16 {
    free(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}

/// So many UDP ports of 127.0.0.1 that nobody uses, each another.
pub fn free_udp_ports(count: usize) -> Vec<u16> {
    let mut ports = BTreeSet::new();
    while ports.len() < count {
        ports.insert(free_udp_port());
    }
    ports.into_iter().collect()
}

/// A port below those that systems give to whoever asks for any: until it is used, no socket of another test happens to get it.
fn free(is_free: impl Fn(u16) -> bool) -> u16 {
    let mut ports = std::iter::repeat_with(|| rand::random_range(PORTS_CHOSEN)).take(1_000);
    ports.find(|port| is_free(*port)).expect("a free port")
}

/// Above what services are known by, below the lowest port that any system gives out (Linux: 32768).
const PORTS_CHOSEN: std::ops::Range<u16> = 12_000..32_000;
