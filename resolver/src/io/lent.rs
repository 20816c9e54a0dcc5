//! Sockets that whoever started this process opened for it, and keeps while it is started again: systemd's socket activation (`sd_listen_fds(3)`),
//! and whoever speaks as it does.
//!
//! Each is taken by the address that settings name, in place of one of our own. They are lent: what is done to them lasts beyond this process.

#[cfg(target_os = "linux")]
use socket2::SockRef;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Those that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Lent {
    udp: Vec<(SocketAddr, UdpSocket)>,
    tcp: Vec<(SocketAddr, TcpListener)>,
}

/// What is wrong with what was passed. The operator's turn: the units, or whatever else passes them, and the settings must agree.
#[derive(Debug, thiserror::Error)]
pub enum LentError {
    /// It is nothing to answer on.
    #[error("descriptor {descriptor}, which was passed to this process, is neither a UDP socket nor a TCP listener")]
    Kind {
        /// Its number.
        descriptor: usize,
    },
    /// It is a TCP socket, but nobody can connect to it.
    #[error(
        "descriptor {descriptor}, which was passed to this process, is a TCP connection and no listener (`Accept=yes` in a socket unit?)"
    )]
    Connection {
        /// Its number.
        descriptor: usize,
    },
    /// IPv4 clients would come as addresses of IPv6, by which no list and no rate knows them.
    #[error("the socket {address}, which was passed to this process, takes IPv4 as well")]
    BothFamilies {
        /// Where it is.
        address: SocketAddr,
    },
    /// Clients would wait there for ever.
    #[error("passed to this process, but nothing here answers there: {}", list(.udp, .tcp))]
    Unasked {
        /// The UDP sockets.
        udp: Vec<SocketAddr>,
        /// The TCP listeners.
        tcp: Vec<SocketAddr>,
    },
    /// The system says nothing of it.
    #[error("descriptor {descriptor}, which was passed to this process, cannot be looked at: {reason}")]
    Unreadable {
        /// Its number.
        descriptor: usize,
        /// What the system says instead.
        reason: io::Error,
    },
}

impl Lent {
    /// Those that the environment tells of, if it tells this very process (`LISTEN_FDS`, `LISTEN_PID`); they are not told of any more afterwards. To
    /// be called once, before there are threads: they might read the environment meanwhile.
    ///
    /// # Errors
    /// [`LentError`], but not that nothing asks for one: that is known later.
    #[cfg(target_os = "linux")]
    pub fn from_environment() -> Result<Self, LentError> {
        let mut lent = Self::default();
        // The library takes them from whoever does not say whom they are meant for, too. Then they may be some ancestor's.
        if std::env::var_os("LISTEN_PID").is_none_or(|id| id.is_empty()) {
            return Ok(lent);
        }
        let mut passed = listenfd::ListenFd::from_env();
        for index in 0..passed.len() {
            let descriptor = FIRST_DESCRIPTOR + index;
            let unreadable = |reason| LentError::Unreadable { descriptor, reason };
            // An error says that it is of another kind.
            if let Ok(Some(socket)) = passed.take_udp_socket(index) {
                let address = socket.local_addr().map_err(unreadable)?;
                if takes_both_families(address, &SockRef::from(&socket)).map_err(unreadable)? {
                    return Err(LentError::BothFamilies { address });
                }
                lent.udp.push((address, socket));
            } else if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
                if !SockRef::from(&socket).is_listener().map_err(unreadable)? {
                    return Err(LentError::Connection { descriptor });
                }
                let address = socket.local_addr().map_err(unreadable)?;
                if takes_both_families(address, &SockRef::from(&socket)).map_err(unreadable)? {
                    return Err(LentError::BothFamilies { address });
                }
                lent.tcp.push((address, socket));
            } else {
                return Err(LentError::Kind { descriptor });
            }
        }
        Ok(lent)
    }

    /// Nobody speaks so here.
    ///
    /// # Errors
    /// None.
    #[cfg(not(target_os = "linux"))]
    pub fn from_environment() -> Result<Self, LentError> {
        Ok(Self::default())
    }

    /// The UDP socket at this address, if there is one; what is read from it is not there for the next process.
    pub fn udp(&mut self, address: SocketAddr) -> Option<UdpSocket> {
        let socket = take(&mut self.udp, address)?;
        tracing::info!(%address, "a UDP socket that was passed to this process");
        Some(socket)
    }

    /// The TCP listener at this address, if there is one. It must be called on a runtime.
    pub fn tcp(&mut self, address: SocketAddr) -> Option<io::Result<tokio::net::TcpListener>> {
        let listener = take(&mut self.tcp, address)?;
        tracing::info!(%address, "a TCP listener that was passed to this process");
        let ready = listener.set_nonblocking(true);
        Some(ready.and_then(|()| tokio::net::TcpListener::from_std(listener)))
    }

    /// To be called when all that is asked for has been taken.
    ///
    /// # Errors
    /// [`LentError::Unasked`]: there are others.
    pub fn all_taken(self) -> Result<(), LentError> {
        if self.udp.is_empty() && self.tcp.is_empty() {
            return Ok(());
        }
        let udp = self.udp.into_iter().map(|(address, _)| address).collect();
        let tcp = self.tcp.into_iter().map(|(address, _)| address).collect();
        Err(LentError::Unasked { udp, tcp })
    }
}

fn take<T>(sockets: &mut Vec<(SocketAddr, T)>, address: SocketAddr) -> Option<T> {
    let at = sockets.iter().position(|(of, _)| *of == address)?;
    Some(sockets.remove(at).1)
}

/// `[::]` alone can; elsewhere the address says what is taken.
#[cfg(target_os = "linux")]
fn takes_both_families(address: SocketAddr, socket: &SockRef<'_>) -> io::Result<bool> {
    Ok(address.is_ipv6() && address.ip().is_unspecified() && !socket.only_v6()?)
}

fn list(udp: &[SocketAddr], tcp: &[SocketAddr]) -> String {
    let udp = udp.iter().map(|address| format!("{address} (UDP)"));
    let tcp = tcp.iter().map(|address| format!("{address} (TCP)"));
    udp.chain(tcp).collect::<Vec<_>>().join(", ")
}

/// Where they begin: after the three that every process has.
#[cfg(target_os = "linux")]
const FIRST_DESCRIPTOR: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn lent() -> (Lent, SocketAddr) {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = tcp.local_addr().expect("bound");
        let udp = UdpSocket::bind(address).expect("a free port");
        let lent = Lent {
            udp: vec![(address, udp)],
            tcp: vec![(address, tcp)],
        };
        (lent, address)
    }

    #[tokio::test]
    async fn each_is_taken_once_by_its_kind_and_its_very_address() {
        let (mut lent, address) = lent();
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], address.port()));
        assert!(lent.udp(elsewhere).is_none() && lent.tcp(elsewhere).is_none());
        assert_eq!(lent.udp(address).expect("lent").local_addr().expect("bound"), address);
        assert!(lent.udp(address).is_none());
        let tcp = lent.tcp(address).expect("lent").expect("ready");
        assert_eq!(tcp.local_addr().expect("bound"), address);
        assert!(lent.tcp(address).is_none());
        lent.all_taken().expect("all are");
    }

    #[test]
    fn those_that_nothing_asks_for_are_named() {
        let (mut lent, address) = lent();
        assert!(lent.udp(address).is_some());
        let left = lent.all_taken().expect_err("one is left").to_string();
        assert!(left.ends_with(&format!(": {address} (TCP)")), "{left}");
        let (lent, address) = self::lent();
        let left = lent.all_taken().expect_err("both are left").to_string();
        assert!(left.ends_with(&format!(": {address} (UDP), {address} (TCP)")), "{left}");
    }
}
