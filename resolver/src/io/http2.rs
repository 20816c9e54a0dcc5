//! One connection of DNS over HTTP/2 (RFC 8484 §5.2). What was answered before is answered in turn, and what is answered together is sent
//! together: a task, a TLS record and a system call each would cost several times what the answers do.

use crate::dns::frontend::{Frontend, Via};
use crate::dns::settings::{HTTP_HEAD_BYTES_MAX, ListenerSettings, QUESTION_BYTES_MAX};
use crate::io::connections::{Pulse, Seat};
use crate::io::https::{Answer, Taken, asked, refused, replied};
use crate::io::listeners::{SHUTDOWN_GRACE, told};
use bytes::Bytes;
use futures_util::FutureExt;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use hyper::Request;
use hyper::body::{Body, Frame};
use hyper::header::{CONTENT_LENGTH, DATE, HeaderValue};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// Goes on until the other side ends it, has asked nothing whole for too long, takes back too much, must make way, or it is time to stop.
pub(super) async fn converse(
    stream: TlsStream<TcpStream>,
    via: Via,
    frontend: &Arc<Frontend>,
    seat: &Seat,
    settings: ListenerSettings,
    mut stopped: watch::Receiver<bool>,
) {
    let pulse = seat.pulse();
    let together = Arc::new(AtomicBool::new(false));
    let stream = Together {
        stream: BufWriter::with_capacity(TOGETHER_BYTES, stream),
        waits: Arc::clone(&together),
        pulse: Arc::clone(pulse),
    };
    let shaken = tokio::select! {
        () = told(&mut stopped) => return,
        () = pulse.stopped(settings.tcp_idle) => return,
        shaken = builder(&settings).handshake(stream) => shaken,
    };
    let Ok(connection) = shaken else { return };
    let enough = Arc::new(Notify::new());
    let mut conversation = Conversation {
        connection,
        together,
        frontend: Arc::clone(frontend),
        via,
        pulse: Arc::clone(pulse),
        enough: Arc::clone(&enough),
        patience: settings.tcp_idle,
        date: Date::default(),
    };
    tokio::select! {
        () = poll_fn(|context| conversation.poll(context)) => return,
        () = enough.notified() => return,
        () = pulse.stopped(settings.tcp_idle) => return,
        () = told(&mut stopped) => {}
    }
    // What was asked by now is still answered.
    conversation.connection.graceful_shutdown();
    let _ended = timeout(SHUTDOWN_GRACE, poll_fn(|context| conversation.poll(context))).await;
}

fn builder(settings: &ListenerSettings) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(u32::try_from(settings.tcp_in_flight).unwrap_or(u32::MAX).max(STREAMS_MIN))
        .max_header_list_size(HTTP_HEAD_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(Some(RESETS_PENDING_MAX))
        .initial_window_size(QUESTION_BYTES_MAX as u32)
        .initial_connection_window_size(HTTP2_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BYTES_MAX);
    builder
}

struct Conversation {
    connection: Connection<Together, Bytes>,
    together: Arc<AtomicBool>,
    frontend: Arc<Frontend>,
    via: Via,
    pulse: Arc<Pulse>,
    enough: Arc<Notify>,
    /// How long an answer may wait to be taken.
    patience: Duration,
    date: Date,
}

impl Conversation {
    /// Ready when the connection is at its end.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.together.store(true, Ordering::Relaxed);
        loop {
            let next = pin!(self.connection.accept()).poll(context);
            match next {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.together.store(true, Ordering::Relaxed);
                    self.take(request, respond);
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                // Nothing more to take: what was held back goes, and if something comes meanwhile it is seen.
                Poll::Pending if self.together.swap(false, Ordering::Relaxed) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Answers a request at once where that needs no waiting, else in a task.
    fn take(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let mut taken = Taken::new(&self.pulse, &self.enough);
        let (head, body) = request.into_parts();
        let mut asking = Box::pin(asked(head, Said(body)));
        let asked = asking.as_mut().now_or_never();
        let at_once = match &asked {
            Some(Ok(message)) => {
                self.pulse.asked();
                let kept = self.frontend.answer_kept(message, self.via);
                kept.map(replied)
            }
            Some(Err(refusal)) => Some(refused(*refusal)),
            None => None,
        };
        let (patience, date) = (self.patience, self.date.now());
        if let Some(answer) = at_once {
            match send(respond, answer, date) {
                Sent::Whole => taken.is_answered(true),
                Sent::Begun(stream, rest) => {
                    tokio::spawn(async move { taken.is_answered(send_rest(stream, rest, patience).await) });
                }
                Sent::Gone => {}
            }
            return;
        }
        let (frontend, via, pulse) = (Arc::clone(&self.frontend), self.via, Arc::clone(&self.pulse));
        tokio::spawn(async move {
            let answering = async {
                let message = match asked {
                    Some(asked) => asked,
                    None => asking.await.inspect(|_| pulse.asked()),
                };
                match message {
                    Ok(message) => replied(frontend.answer(&message, via).await),
                    Err(refusal) => refused(refusal),
                }
            };
            let mut respond = respond;
            let answer = tokio::select! {
                answer = answering => answer,
                _taken_back = poll_fn(|context| respond.poll_reset(context)) => return,
            };
            taken.is_answered(match send(respond, answer, date) {
                Sent::Whole => true,
                Sent::Begun(stream, rest) => send_rest(stream, rest, patience).await,
                Sent::Gone => false,
            });
        });
    }
}

/// How far an answer got.
enum Sent {
    /// All of it is on its way.
    Whole,
    /// There is room for no more of it before the other side has taken some.
    Begun(SendStream<Bytes>, Bytes),
    /// Nobody takes it any more.
    Gone,
}

fn send(mut respond: SendResponse<Bytes>, answer: Answer, date: HeaderValue) -> Sent {
    let (mut head, body) = answer;
    let headers = head.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(DATE, date);
    let Ok(mut stream) = respond.send_response(head, false) else {
        return Sent::Gone;
    };
    stream.reserve_capacity(body.len());
    if stream.capacity() < body.len() {
        return Sent::Begun(stream, body);
    }
    match stream.send_data(body, true) {
        Ok(()) => Sent::Whole,
        Err(_) => Sent::Gone,
    }
}

/// Sends the rest of an answer as it is taken, and says whether it was. Whoever has not taken all after `patience` does without it: an answer that nobody
/// reads would be held for as long as something else is asked now and then.
async fn send_rest(mut stream: SendStream<Bytes>, mut rest: Bytes, patience: Duration) -> bool {
    let sending = async {
        while !rest.is_empty() {
            stream.reserve_capacity(rest.len());
            let Some(Ok(room)) = poll_fn(|context| stream.poll_capacity(context)).await else {
                return false;
            };
            let part = rest.split_to(room.min(rest.len()));
            if stream.send_data(part, rest.is_empty()).is_err() {
                return false;
            }
        }
        true
    };
    match timeout(patience, sending).await {
        Ok(sent) => sent,
        Err(_) => {
            stream.send_reset(Reason::CANCEL);
            false
        }
    }
}

/// The body of a request.
struct Said(RecvStream);

impl Body for Said {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let said = ready!(self.0.poll_data(context));
        Poll::Ready(said.map(|said| {
            let data = said?;
            // Room for as much again.
            self.0.flow_control().release_capacity(data.len())?;
            Ok(Frame::data(data))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

/// A stream whose flushing can be put off, until there is more than a TLS record holds.
struct Together {
    stream: BufWriter<TlsStream<TcpStream>>,
    waits: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
}

impl Together {
    /// Notes whether writing came to something.
    fn noted<T>(&self, written: Poll<T>) -> Poll<T> {
        self.pulse.is_stuck(written.is_pending());
        written
    }
}

impl AsyncRead for Together {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Together {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.noted(written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waits.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.noted(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What every answer has to say of its time (RFC 9110 §6.6.1), written anew each second.
struct Date {
    secs: u64,
    text: HeaderValue,
}

impl Default for Date {
    fn default() -> Self {
        let text = HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT");
        Self { secs: 0, text }
    }
}

impl Date {
    fn now(&mut self) -> HeaderValue {
        let now = SystemTime::now();
        let secs = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if secs != self.secs
            && let Ok(text) = HeaderValue::try_from(httpdate::fmt_http_date(now))
        {
            *self = Self { secs, text };
        }
        self.text.clone()
    }
}

/// At least so many streams at a time (RFC 9113 §6.5.2): clients open as many before they are told how many they may.
const STREAMS_MIN: u32 = 100;

/// Streams that were reset before they were looked at; more end the connection (CVE-2023-44487).
const RESETS_PENDING_MAX: usize = 32;

/// How much all streams of a connection may send ahead, in bytes: sixteen of the longest questions.
const HTTP2_WINDOW_BYTES: u32 = 16 * QUESTION_BYTES_MAX as u32;

/// How much of an answer that is not read is held for each stream, in bytes.
const SEND_BYTES_MAX: usize = 16 << 10;

/// How much is sent together at most, in bytes: what one TLS record holds.
const TOGETHER_BYTES: usize = 16 << 10;
