//! DNS over TLS to one upstream resolver (RFC 7858): one kept connection, on which many questions wait at once and are answered in any
//! order. Which reply counts is decided in [`forward`](crate::dns::forward).

use crate::dns::forward::{Answered, Asked, Sent, Verdict};
use crate::dns::settings::{UPSTREAM_IDLE, UPSTREAM_IN_FLIGHT_MAX, UPSTREAM_TRY};
use crate::io::upstream_dial::Meant;
use bytes::{Buf, BytesMut};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::client::TlsStream;

/// One upstream resolver over TLS.
#[derive(Debug)]
pub struct TlsUpstream {
    meant: Meant,
    /// Who dials holds it: the others wait for the same connection.
    asks: Mutex<Option<mpsc::Sender<Ask>>>,
    next_id: AtomicU16,
}

#[derive(Debug)]
struct Ask {
    sent: Sent,
    done: oneshot::Sender<Option<Answered>>,
}

impl TlsUpstream {
    /// Nothing is sent yet.
    pub fn new(meant: Meant) -> Self {
        Self {
            meant,
            asks: Mutex::default(),
            next_id: AtomicU16::new(rand::random()),
        }
    }

    /// Asks, over the connection that is there, or over a new one, and notes when there is one. `None`: it said that it cannot answer.
    ///
    /// # Errors
    /// No connection, or it was closed before the answer came. Where it was not shown who is there, see [`is_distrust`](super::upstream_dial::is_distrust).
    pub async fn ask(&self, asked: &Asked, is_reached: &AtomicBool) -> io::Result<Option<Answered>> {
        // One that was kept may have been closed by the other end at this very moment (RFC 7766 §6.2.4): then again over a new one.
        let (asks, is_kept) = self.connection().await?;
        is_reached.store(true, Ordering::Relaxed);
        match self.ask_over(&asks, asked).await {
            Err(_) if is_kept => {
                let (asks, _) = self.connection().await?;
                self.ask_over(&asks, asked).await
            }
            outcome => outcome,
        }
    }

    async fn ask_over(&self, asks: &mpsc::Sender<Ask>, asked: &Asked) -> io::Result<Option<Answered>> {
        let (done, answer) = oneshot::channel();
        // Nobody else can answer here: letters and ids need not be guessed.
        let sent = asked.query(self.next_id.fetch_add(1, Ordering::Relaxed), &[0; 32]).padded();
        let closed = || io::Error::new(io::ErrorKind::ConnectionReset, "the connection was closed before the answer came");
        asks.send(Ask { sent, done }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())
    }

    /// The connection, and whether it was there before.
    async fn connection(&self) -> io::Result<(mpsc::Sender<Ask>, bool)> {
        let mut current = self.asks.lock().await;
        if let Some(asks) = current.as_ref().filter(|asks| !asks.is_closed()) {
            return Ok((asks.clone(), true));
        }
        let stream = self.meant.dial(b"dot").await?;
        let (asks, asked) = mpsc::channel(UPSTREAM_IN_FLIGHT_MAX);
        tokio::spawn(carry(stream, asked));
        *current = Some(asks.clone());
        Ok((asks, false))
    }
}

/// Takes questions there and answers back until either end has enough. Whoever still waits then learns it by the end of its channel.
async fn carry(mut stream: TlsStream<TcpStream>, asks: mpsc::Receiver<Ask>) {
    let mut waiting: HashMap<u16, Ask> = HashMap::new();
    // Ends before what waits does: whoever sees an end sees that a new connection is needed.
    let mut asks = asks;
    let mut received = BytesMut::new();
    let mut until = Instant::now() + UPSTREAM_IDLE;
    loop {
        tokio::select! {
            ask = asks.recv() => {
                let Some(ask) = ask else { return };
                waiting.retain(|_, ask| !ask.done.is_closed());
                if waiting.is_empty() {
                    until = Instant::now() + SILENCE_MAX;
                }
                let mut framed = (ask.sent.bytes.len() as u16).to_be_bytes().to_vec();
                framed.extend_from_slice(&ask.sent.bytes);
                waiting.insert(ask.sent.id, ask);
                let written = async { stream.write_all(&framed).await?; stream.flush().await };
                if !matches!(timeout(UPSTREAM_TRY, written).await, Ok(Ok(()))) {
                    return;
                }
            }
            read = stream.read_buf(&mut received) => {
                if !matches!(read, Ok(1..)) {
                    return;
                }
                while let Some(reply) = next_message(&mut received) {
                    settle(&mut waiting, &reply);
                }
                waiting.retain(|_, ask| !ask.done.is_closed());
                until = Instant::now() + if waiting.is_empty() { UPSTREAM_IDLE } else { SILENCE_MAX };
            }
            () = sleep_until(until) => return,
        }
    }
}

/// Gives a reply to who waits for it.
fn settle(waiting: &mut HashMap<u16, Ask>, reply: &[u8]) {
    let Some(id) = reply.first_chunk().map(|id| u16::from_be_bytes(*id)) else {
        return;
    };
    let Some(ask) = waiting.get(&id) else { return };
    let answer = match ask.sent.judge_any_case(reply) {
        Verdict::Answer(answered) => Some(answered),
        Verdict::Failed | Verdict::Truncated => None,
        Verdict::OtherCase | Verdict::Guess | Verdict::PassOver => return,
    };
    if let Some(ask) = waiting.remove(&id) {
        // Who no longer waits has no use for it.
        let _ = ask.done.send(answer);
    }
}

/// The first whole message of what was received: two bytes of length, and so many more.
fn next_message(received: &mut BytesMut) -> Option<BytesMut> {
    let length = usize::from(u16::from_be_bytes(*received.first_chunk()?));
    if received.len() < 2 + length {
        return None;
    }
    received.advance(2);
    Some(received.split_to(length))
}

/// A connection on which somebody waits and nothing comes for this long is given up: whoever asks next has a new one.
const SILENCE_MAX: std::time::Duration = UPSTREAM_TRY;
