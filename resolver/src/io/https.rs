//! One connection of DNS over HTTPS. HTTP/1.1 is spoken here, HTTP/2 in [`http2`]; what a request asks is decided in
//! [`dns::https`](crate::dns::https).

use crate::dns::frontend::{Frontend, Reply, Via};
use crate::dns::https::{Asks, MEDIA_TYPE, NO_QUESTION, Refusal, TOO_LONG, asks, fresh_secs};
use crate::dns::settings::{HANDSHAKE_MAX, HTTP_HEAD_BYTES_MAX, ListenerSettings, QUESTION_BYTES_MAX};
use crate::io::connections::{Pulse, Seat};
use crate::io::http2;
use crate::io::listeners::{SHUTDOWN_GRACE, told};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
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
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        return http2::converse(stream, via, frontend, seat, settings, stopped).await;
    }
    let pulse = seat.pulse();
    let enough = Arc::new(Notify::new());
    let service = service_fn(|request| answer(request, Arc::clone(frontend), via, Taken::new(pulse, &enough)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_MAX.min(settings.tcp_idle))
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .half_close(true);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ended = connection.as_mut() => return,
        () = enough.notified() => return,
        () = pulse.stopped(settings.tcp_idle) => return,
        () = told(&mut stopped) => {}
    }
    // What was asked by now is still answered.
    Pin::as_mut(&mut connection).graceful_shutdown();
    let _ended = timeout(SHUTDOWN_GRACE, connection).await;
}

/// A request that counts as taken back unless it is answered.
pub(super) struct Taken {
    pulse: Arc<Pulse>,
    enough: Arc<Notify>,
    answered: bool,
}

impl Taken {
    pub(super) fn new(pulse: &Arc<Pulse>, enough: &Arc<Notify>) -> Self {
        Self {
            pulse: Arc::clone(pulse),
            enough: Arc::clone(enough),
            answered: false,
        }
    }

    pub(super) fn is_answered(&mut self, answered: bool) {
        self.answered = answered;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.answered {
            self.pulse.answered();
        } else if self.pulse.taken_back() {
            self.enough.notify_one();
        }
    }
}

/// The head and the body of an answer.
pub(super) type Answer = (Response<()>, Bytes);

async fn answer(
    request: Request<Incoming>,
    frontend: Arc<Frontend>,
    via: Via,
    mut taken: Taken,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let (head, body) = match asked(head, body).await {
        Ok(message) => {
            taken.pulse.asked();
            replied(frontend.answer(&message, via).await)
        }
        Err(refusal) => refused(refusal),
    };
    taken.is_answered(true);
    Ok(head.map(|()| Full::new(body)))
}

/// The question of a request, at most [`QUESTION_BYTES_MAX`] bytes.
pub(super) async fn asked(head: Parts, mut body: impl Body<Data = Bytes, Error: Into<BoxError>> + Unpin) -> Result<Bytes, Refusal> {
    let asks = asks(&head);
    // A long head is not kept for as long as a body is waited for.
    drop(head);
    let message = match asks {
        Ok(Asks::Message(message)) => Bytes::from(message),
        Ok(Asks::Body) => match Limited::new(&mut body, QUESTION_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                pass_over(body).await;
                return Err(TOO_LONG);
            }
            Err(_) => return Err((StatusCode::BAD_REQUEST, "the question was cut off")),
        },
        Err(refusal) => {
            pass_over(body).await;
            return Err(refusal);
        }
    };
    if message.len() > QUESTION_BYTES_MAX {
        return Err(TOO_LONG);
    }
    Ok(message)
}

/// Reads on, so that the refusal is seen: some clients give up on a stream that is answered before they have said everything.
async fn pass_over(mut body: impl Body<Data = Bytes> + Unpin) {
    let mut bytes = 0;
    while bytes < PASSED_OVER_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
}

pub(super) fn replied(reply: Reply) -> Answer {
    match reply {
        Reply::Send(answer) => answered(answer),
        Reply::Drop => refused(NO_QUESTION),
    }
}

fn answered(answer: Vec<u8>) -> Answer {
    let cache = format!("max-age={}", fresh_secs(&answer));
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Ok(cache) = HeaderValue::try_from(cache) {
        headers.insert(CACHE_CONTROL, cache);
    }
    (response, Bytes::from(answer))
}

pub(super) fn refused((status, why): Refusal) -> Answer {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, POST"));
    }
    (response, Bytes::from(format!("{why}\n")))
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How much of what is refused is read all the same, in bytes: the longest DNS message there is.
const PASSED_OVER_BYTES_MAX: usize = 65_535;
