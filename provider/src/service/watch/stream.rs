//! What one watcher is sent: an endless body, made a piece at a time, only as fast as it is read.

use super::board::Watcher;
use super::events::{self, Now};
use crate::service::Service;
use crate::settings::{WATCH_ALIVE_SECS, WATCH_PIECE_BYTES};
use crate::store::Cursors;
use bytes::Bytes;
use dialtone_shared::{Name, Rank};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Turns true when the connection should end soon; the listener adds it.
#[derive(Clone, Debug)]
pub struct Closing {
    /// The provider stops.
    pub stopping: watch::Receiver<bool>,
    /// When the connection has grown old.
    pub until: Instant,
}

/// Whether a name is to be told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tell {
    /// Whatever is true of it.
    Now,
    /// Unless it is this record, still current.
    Unless(Rank),
    /// Unless a record of it is kept, still current: it has not changed.
    UnlessKept,
}

/// What one watcher is sent.
pub(super) struct Stream {
    service: Arc<Service>,
    watcher: Watcher,
    /// What has yet to be told, and up to where everything is once that has been.
    work: VecDeque<(Name, Tell)>,
    until: Cursors,
    /// What was said last of whether what is kept here is the newest there is.
    whole: Option<bool>,
    first: Option<String>,
    closing: Option<Closing>,
}

impl Stream {
    pub fn new(
        service: Arc<Service>,
        watcher: Watcher,
        work: VecDeque<(Name, Tell)>,
        first: Option<String>,
        closing: Option<Closing>,
    ) -> Self {
        let (until, _) = service.board.standing();
        Self {
            service,
            watcher,
            work,
            until,
            whole: None,
            first,
            closing,
        }
    }

    pub fn into_body(self) -> UnsyncBoxBody<Bytes, Infallible> {
        UnsyncBoxBody::new(Pieces::Making(Box::pin(self.next())))
    }

    /// The next piece, as soon as there is something to tell; `None`: the stream ends here.
    async fn next(mut self) -> Option<(Self, Bytes)> {
        if let Some(first) = self.first.take() {
            return Some((self, Bytes::from(first)));
        }
        let alive = Instant::now() + Duration::from_secs(WATCH_ALIVE_SECS);
        let mut quiet = false;
        loop {
            if self.work.is_empty() {
                let (pending, until) = self.watcher.take();
                self.work.extend(pending.into_iter().map(|name| (name, Tell::Now)));
                self.until = until;
            }
            let whole = self.service.board.standing().1;
            if !self.work.is_empty() || self.whole != Some(whole) {
                let piece = self.piece(whole).await;
                if !piece.is_empty() {
                    return Some((self, piece));
                }
                continue;
            }
            if quiet {
                // So that whoever is gone is noticed, and whoever comes back need not be told what did not concern it.
                let piece = format!(":\n{}\n", self.id());
                return Some((self, Bytes::from(piece)));
            }
            let (over, stopping) = match &mut self.closing {
                Some(closing) => (closing.until, Some(&mut closing.stopping)),
                None => (alive, None),
            };
            let stopped = async {
                match stopping {
                    Some(stopping) => drop(stopping.wait_for(|stopping| *stopping).await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.watcher.woken() => {}
                () = stopped => return None,
                () = sleep_until(over.min(alive)) => {
                    if over < alive {
                        return None;
                    }
                    quiet = true;
                }
            }
        }
    }

    /// Writes of what has yet to be told as much as goes into one piece.
    async fn piece(&mut self, whole: bool) -> Bytes {
        let mut piece: Vec<u8> = Vec::new();
        while let Some((name, tell)) = self.work.pop_front() {
            let event = self.event(&name, tell).await;
            if let Some(event) = event {
                piece.extend_from_slice(&event);
                if self.work.is_empty() && self.whole == Some(whole) {
                    piece.extend_from_slice(self.id().as_bytes());
                }
                piece.push(b'\n');
            }
            if piece.len() >= WATCH_PIECE_BYTES {
                break;
            }
        }
        if self.work.is_empty() && self.whole != Some(whole) {
            self.whole = Some(whole);
            piece.extend_from_slice(events::current(whole).as_bytes());
            piece.extend_from_slice(self.id().as_bytes());
            piece.push(b'\n');
        }
        Bytes::from(piece)
    }

    /// The event about a name, if it is to be told.
    async fn event(&self, name: &Name, tell: Tell) -> Option<Bytes> {
        let board = &self.service.board;
        let now = self.service.clock.now().secs();
        let begun = match board.recent(name, now) {
            Ok(event) if tell == Tell::Now => return Some(event),
            Ok(_) => None,
            Err(begun) => Some(begun),
        };
        let state = self.service.source.now(name).await;
        let kept = !matches!(state, Now::Current(_, Some(_)) | Now::Unknown(_));
        let end = match &state {
            Now::Current(record, _) => record.record().expiry(),
            Now::Expired(_) | Now::Absent | Now::Unknown(_) => None,
        };
        board.ends(name, end);
        let known = match (&state, tell) {
            (_, Tell::Now) => false,
            (Now::Current(record, _), Tell::Unless(rank)) => kept && *record.rank() == rank,
            (Now::Current(..), Tell::UnlessKept) => kept,
            (Now::Expired(_) | Now::Absent | Now::Unknown(_), _) => false,
        };
        if known {
            return None;
        }
        let event = state.event(name);
        if let Some(begun) = begun.filter(|_| kept) {
            board.keep_recent(begun, name, &event, end);
        }
        Some(event)
    }

    fn id(&self) -> String {
        events::id(&self.service.store.id(), self.until)
    }
}

type Making = Pin<Box<dyn Future<Output = Option<(Stream, Bytes)>> + Send>>;

/// A body out of the pieces of a stream.
enum Pieces {
    Making(Making),
    Ended,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self::Making(making) = &mut *self else {
            return Poll::Ready(None);
        };
        Poll::Ready(match ready!(making.as_mut().poll(context)) {
            Some((stream, piece)) => {
                *self = Self::Making(Box::pin(stream.next()));
                Some(Ok(Frame::data(piece)))
            }
            None => {
                *self = Self::Ended;
                None
            }
        })
    }
}
