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

    /// The first of `names` that is there. Where there is none the test says so and passes, in CI too: not every machine can have it.
    pub fn find_any(names: &[&'static str]) -> Option<Self> {
        let found = names.iter().find(|name| Command::new(name).arg("--version").output().is_ok());
        if found.is_none() {
            println!("none of {names:?} is installed: this test passes without having tried it");
        }
        found.map(|name| Self(name))
    }

    /// Runs it to its end.
    pub fn run<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(&self, args: I) -> Ran {
        finish(Command::new(self.0).args(args))
    }
}

/// A TCP port of 127.0.0.1 that nobody uses.
pub fn free_port() -> u16 {
    free(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}

/// A UDP port of 127.0.0.1 that nobody uses.
pub fn free_udp_port() -> u16 {
    free(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}

/// A port below those that systems give to whoever asks for any: until it is used, no socket of another test happens to get it.
fn free(is_free: impl Fn(u16) -> bool) -> u16 {
    let mut ports = std::iter::repeat_with(|| rand::random_range(PORTS_CHOSEN)).take(1_000);
    ports.find(|port| is_free(*port)).expect("a free port")
}

/// Above what services are known by, below the lowest port that any system gives out (Linux: 32768).
const PORTS_CHOSEN: std::ops::Range<u16> = 12_000..32_000;
