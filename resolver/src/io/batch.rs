//! Many datagrams in one system call: what came, and what goes.

use crate::dns::response::UDP_BYTES_MAX;
use crate::dns::settings::QUESTION_BYTES_MAX;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg, sendmmsg};
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

/// Where a datagram of one family came from. An address that could be of any family is seven times as long, and a batch has hundreds of them.
pub(super) trait Sender: SockaddrLike + Copy {
    fn address(self) -> SocketAddr;
}

impl Sender for SockaddrIn {
    fn address(self) -> SocketAddr {
        SocketAddrV4::from(self).into()
    }
}

impl Sender for SockaddrIn6 {
    fn address(self) -> SocketAddr {
        SocketAddrV6::from(self).into()
    }
}

/// The datagrams that came together.
pub(super) struct Incoming<A> {
    headers: MultiHeaders<A>,
    rooms: Vec<u8>,
    came: Vec<(usize, Option<A>)>,
}

impl<A: Sender> Incoming<A> {
    pub(super) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            rooms: vec![0; BATCH * QUESTION_ROOM],
            came: Vec::with_capacity(BATCH),
        }
    }

    /// Waits for a datagram and takes all that are there.
    pub(super) fn receive(&mut self, socket: &UdpSocket, is_shut: impl Fn() -> bool) -> Result<(), Errno> {
        self.came.clear();
        let mut rooms = self.rooms.chunks_exact_mut(QUESTION_ROOM);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] = std::array::from_fn(|_| {
            let room = rooms.next().and_then(|room| room.get_mut(..QUESTION_BYTES_MAX));
            [IoSliceMut::new(room.unwrap_or_default())]
        });
        let received = recvmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            slices.iter_mut(),
            MsgFlags::MSG_WAITFORONE,
            None,
        )?;
        // What the end of reading looks like has no sender: not to be looked at.
        if is_shut() {
            return Err(Errno::ESHUTDOWN);
        }
        self.came.extend(received.map(|message| (message.bytes, message.address)));
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.came.len()
    }

    /// Each with its sender, in turn; `None` in the place of one that has none.
    pub(super) fn messages(&self) -> impl Iterator<Item = Option<(&[u8], A)>> {
        let rooms = self.rooms.chunks_exact(QUESTION_ROOM).zip(&self.came);
        rooms.map(|(room, &(length, client))| Some((room.get(..length)?, client?)))
    }
}

/// Datagrams that go together.
pub(super) struct Outgoing<A> {
    headers: MultiHeaders<A>,
    rooms: Vec<u8>,
    lengths: Vec<usize>,
    clients: Vec<Option<A>>,
}

impl<A: Sender> Outgoing<A> {
    pub(super) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            rooms: vec![0; BATCH * UDP_BYTES_MAX],
            lengths: Vec::with_capacity(BATCH),
            clients: Vec::with_capacity(BATCH),
        }
    }

    /// Where the next is written; `None`: there is no place for more.
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        self.rooms.chunks_exact_mut(UDP_BYTES_MAX).nth(self.lengths.len())
    }

    /// So much was written to [`room`](Self::room), and it goes to `client`.
    pub(super) fn push(&mut self, length: usize, client: A) {
        self.lengths.push(length);
        self.clients.push(Some(client));
    }

    /// Sends all; who cannot be reached is left out.
    pub(super) fn send(&mut self, socket: &UdpSocket) {
        let mut sent = 0;
        while sent < self.lengths.len() {
            let mut rooms = self.rooms.chunks_exact(UDP_BYTES_MAX).zip(&self.lengths).skip(sent);
            let slices: [[IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|_| {
                let datagram = rooms.next().and_then(|(room, &length)| room.get(..length));
                [IoSlice::new(datagram.unwrap_or_default())]
            });
            let clients = &self.clients[sent..];
            match sendmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter(), clients, [], MsgFlags::empty()) {
                Ok(results) => sent += results.count().max(1),
                Err(Errno::EINTR) => {}
                Err(error) => {
                    tracing::debug!(%error, "answering by UDP");
                    sent += 1;
                }
            }
        }
        self.lengths.clear();
        self.clients.clear();
    }
}

/// Most datagrams in one system call: more save next to nothing, and the first of them waits for the last.
pub(super) const BATCH: usize = 64;

/// From one datagram that came to the next, in bytes: rooms a power of two apart would meet in the same places of the processor's cache.
const QUESTION_ROOM: usize = QUESTION_BYTES_MAX + 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sockets::bind_udp;

    fn goes_and_comes<A: Sender>(address: &str) {
        let Ok(ours) = bind_udp(address.parse().expect("an address")) else {
            // A machine without that family.
            return;
        };
        let theirs = bind_udp(address.parse().expect("an address")).expect("the family is there");
        let (to, from) = (ours.local_addr().expect("bound"), theirs.local_addr().expect("bound"));
        let (mut incoming, mut outgoing) = (Incoming::<A>::new(), Outgoing::<A>::new());
        let long = vec![7; QUESTION_BYTES_MAX + 50];
        // The first call says how long an address is, and the second must not need to be told.
        for _ in 0..2 {
            for sent in [b"one".as_slice(), b"", &long] {
                theirs.send_to(sent, to).expect("loopback");
            }
            let mut came = Vec::new();
            while came.len() < 3 {
                incoming.receive(&ours, || false).expect("loopback");
                for message in incoming.messages() {
                    let (message, client) = message.expect("it has a sender");
                    assert_eq!(client.address(), from);
                    came.push(message.to_vec());
                    outgoing.room().expect("there is place")[..5].copy_from_slice(b"heard");
                    outgoing.push(5, client);
                }
            }
            assert_eq!(came, [b"one".as_slice(), b"", &long[..QUESTION_BYTES_MAX]]);
            outgoing.send(&ours);
            let mut heard = [0; 9];
            for _ in 0..3 {
                assert_eq!(theirs.recv_from(&mut heard).expect("loopback"), (5, to));
                assert_eq!(&heard[..5], b"heard");
            }
        }
    }

    #[test]
    fn datagrams_come_with_their_senders_and_go_back_to_them_in_both_families() {
        goes_and_comes::<SockaddrIn>("127.0.0.1:0");
        goes_and_comes::<SockaddrIn6>("[::1]:0");
    }

    #[test]
    fn there_is_room_for_a_batch_and_no_more_until_it_is_sent() {
        let socket = bind_udp("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let (client, mut outgoing) = (SockaddrIn::new(127, 0, 0, 1, 9), Outgoing::new());
        for _ in 0..BATCH {
            assert_eq!(outgoing.room().map(|room| room.len()), Some(UDP_BYTES_MAX));
            outgoing.push(0, client);
        }
        assert!(outgoing.room().is_none());
        outgoing.send(&socket);
        assert!(outgoing.room().is_some());
    }
}
