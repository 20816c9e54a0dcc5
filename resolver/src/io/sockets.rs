//! Sockets that listen where their address says and nowhere else: `[::]` is every IPv6 address of this machine and no IPv4 one, so that it and
//! `0.0.0.0` stand side by side on one port.

use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use tokio::net::TcpListener;

/// A TCP listener. It must be called on a runtime.
///
/// # Errors
/// What the operating system says.
pub fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address, Type::STREAM)?;
    // So that a restart need not wait for the last connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// A UDP socket that blocks, alone on its port.
///
/// # Errors
/// What the operating system says.
pub fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open_for_datagrams(address)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A UDP socket that blocks, whose port others of this user may share.
#[cfg(target_os = "linux")]
pub(crate) fn bind_udp_shared(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open_for_datagrams(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn open_for_datagrams(address: SocketAddr) -> io::Result<Socket> {
    let socket = open(address, Type::DGRAM)?;
    // A system that allows less gives what it allows.
    let _ = socket.set_recv_buffer_size(WAITING_BYTES);
    Ok(socket)
}

fn open(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        // What the system does otherwise is a setting of the machine: the same file would mean different things on two of them.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// What may wait in a UDP socket: some thousand questions, each with what the system needs for it. The usual is less than three hundred, and those that come
/// at once after a break of some milliseconds, ours or the network's, were lost.
const WAITING_BYTES: usize = 1 << 20;
/// Connections that the system accepts ahead of us: a burst of clients after a restart fits.
const BACKLOG: i32 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;

    #[test]
    fn an_ipv6_socket_takes_no_ipv4_whatever_the_machine_is_set_to() {
        let v6: SocketAddr = "[::1]:0".parse().expect("an address");
        for kind in [Type::STREAM, Type::DGRAM] {
            match open(v6, kind) {
                Ok(socket) => assert!(SockRef::from(&socket).only_v6().expect("an option of it")),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported, "a machine without IPv6: {error}"),
            }
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_refused_for_who_does_not_share_it() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let first = bind_udp(any).expect("a free port");
        let again = bind_udp(first.local_addr().expect("bound")).expect_err("taken");
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        let first = listen_tcp(any).expect("a free port");
        let again = listen_tcp(first.local_addr().expect("bound")).expect_err("taken");
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
    }
}
