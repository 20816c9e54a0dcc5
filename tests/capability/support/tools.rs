//! Other people's clients, and ports that are free.

use super::{Ran, finish};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::Command;

/// A client that this machine may or may not have.
#[derive(Debug)]
pub struct Tool(&'static str);

impl Tool {
    /// Finds it. Where it is missing the test says so and passes, but not in CI, which has to install it.
    pub fn find(name: &'static str) -> Option<Self> {
        let asked = if name == "openssl" { "version" } else { "-V" };
        if Command::new(name).arg(asked).output().is_ok() {
            return Some(Self(name));
        }
        assert!(std::env::var_os("CI").is_none(), "{name} is not installed, and CI must have it");
        println!("{name} is not installed: this test passes without having tried it");
        None
    }

    /// Runs it to its end.
    pub fn run<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(&self, args: I) -> Ran {
        finish(Command::new(self.0).args(args))
    }
}

/// A TCP port of 127.0.0.1 that nobody used a moment ago.
pub fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.local_addr().expect("bound").port()
}

/// A TCP port of 127.0.0.1 that nobody used a moment ago and that the system gives to nobody by itself: who comes back to it finds it free.
pub fn lasting_port() -> u16 {
    // Below the ports that Linux gives to connections.
    let spread = rand::random_range(0..12_000_u16);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (0..12_000)
        .map(|step| 20_000 + (spread + step) % 12_000)
        .find(free)
        .expect("a free port")
}

/// A UDP port of 127.0.0.1 that nobody used a moment ago.
pub fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.local_addr().expect("bound").port()
}
