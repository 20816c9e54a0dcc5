//! A peer that is played: real QUIC and a real greeting, and then whatever the measurement wants. It keeps nothing and verifies nothing.

use crate::parts::Error;
use crate::parts::records::{now, secret};
use bytes::Bytes;
use dialtone_provider::io::quic::{self, LinkKey};
use dialtone_provider::peering::greeting;
use dialtone_shared::Name;
use dialtone_shared::message::{ALPN, Ack, Batch, Branch, Counts, Entry, Hello, Message, Terms, Value};
use dialtone_shared::receipt::Signer;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use std::net::{Ipv4Addr, SocketAddr};

/// One end of a link.
pub struct ByHand {
    /// Dropped, it closes.
    _connection: Connection,
    pub send: SendStream,
    recv: RecvStream,
    _endpoint: Endpoint,
}

/// The key of the `number`-th peer.
pub fn signer(number: usize) -> Signer {
    Signer::of(secret(number, PEERS))
}

/// Its name.
pub fn name(number: usize) -> Name {
    signer(number).name()
}

impl ByHand {
    /// Dials `address` and greets as the `number`-th peer.
    ///
    /// # Errors
    /// It is turned away, or the connection breaks.
    pub async fn greeted(address: SocketAddr, number: usize) -> Result<Self, Error> {
        let key = LinkKey::generate()?;
        let (endpoint, _) = quic::endpoint_speaking((Ipv4Addr::LOCALHOST, 0).into(), &key, ALPN)?;
        let connection = endpoint.connect(address, "dialtone")?.await?;
        let (send, recv) = connection.open_bi().await?;
        let record = greeting::own_record(&signer(number), now(), 1, &[], vec![key.pin])?;
        // No root of the tree that records take: the smallest is.
        let mut id: [u8; 16] = rand::random();
        id[0] = u8::MAX;
        let hello = Hello {
            versions: vec![1],
            record: record.bytes().clone(),
            store: id,
            boot: id,
            heads: [0; 3],
            terms: Terms::mutual(),
        };
        let mut peer = Self {
            _connection: connection,
            send,
            recv,
            _endpoint: endpoint,
        };
        peer.send.write_all(&Message::Hello(hello).to_frame()).await?;
        match peer.hear().await? {
            Message::Hello(_) => Ok(peer),
            other => Err(format!("greeted with {other:?}").into()),
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// The link is over.
    pub async fn hear(&mut self) -> Result<Message, Error> {
        let mut head = [0; 4];
        self.recv.read_exact(&mut head).await?;
        let mut body = vec![0; u32::from_be_bytes(head) as usize];
        self.recv.read_exact(&mut body).await?;
        Ok(Message::decode(&body)?)
    }

    /// Says that it stands on the other side, which stands there.
    ///
    /// # Errors
    /// The link is over.
    pub async fn stands_on(&mut self, theirs: Branch) -> Result<(), Error> {
        let ours = Branch {
            root: theirs.root,
            distance: theirs.distance + 1,
            parent: true,
        };
        Ok(self.send.write_all(&Message::Branch(ours).to_frame()).await?)
    }

    /// Says that all of a batch is kept.
    ///
    /// # Errors
    /// The link is over.
    pub async fn acknowledge(&mut self, batch: &Batch) -> Result<(), Error> {
        let counts = Counts {
            stored: batch.entries.len() as u64,
            ..Counts::default()
        };
        let ack = Ack {
            lane: batch.lane,
            cursor: batch.cursor,
            counts,
            wants: Vec::new(),
        };
        Ok(self.send.write_all(&Message::Ack(ack).to_frame()).await?)
    }
}

/// A batch of these records, as a frame.
pub fn batch(cursor: u64, records: impl IntoIterator<Item = Bytes>) -> Vec<u8> {
    let keep_until = now().secs().plus(86_400);
    let entry = |record| {
        Entry::Value(Value {
            class: 3,
            keep_until,
            record,
            path: Default::default(),
        })
    };
    let batch = Batch {
        lane: 1,
        cursor,
        behind: 0,
        entries: records.into_iter().map(entry).collect(),
        heard: 0,
    };
    Message::Batch(batch).to_frame()
}

/// The set of keys that played peers have.
const PEERS: u8 = 3;
