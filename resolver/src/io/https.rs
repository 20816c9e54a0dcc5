//! One connection of DNS over HTTPS, HTTP/1.1 or HTTP/2. What a request asks is decided in [`dns::https`](crate::dns::https).

use crate::dns::frontend::{Frontend, Reply, Via};
use crate::dns::https::{Asks, MEDIA_TYPE, NO_QUESTION, Refusal, TOO_LONG, asks, fresh_secs};
use crate::dns::settings::{HANDSHAKE_MAX, HTTP_HEAD_BYTES_MAX, ListenerSettings, QUESTION_BYTES_MAX};
use crate::io::connections::{Pulse, Seat};
use crate::io::listeners::{SHUTDOWN_GRACE, told};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
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
    let pulse = seat.pulse();
    let enough = Arc::new(Notify::new());
    let service = service_fn(|request| {
        let question = Question {
            pulse: Arc::clone(pulse),
            enough: Arc::clone(&enough),
            answered: false,
        };
        answer(request, Arc::clone(frontend), via, question)
    });
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    let streams = u32::try_from(settings.tcp_in_flight).unwrap_or(u32::MAX);
    // Both kinds end in the same ways, and share no trait.
    macro_rules! hold {
        ($connection:expr) => {{
            let mut connection = std::pin::pin!($connection);
            tokio::select! {
                _ended = connection.as_mut() => return,
                () = enough.notified() => return,
                () = pulse.stopped(settings.tcp_idle) => return,
                () = told(&mut stopped) => {}
            }
            // What was asked by now is still answered.
            Pin::as_mut(&mut connection).graceful_shutdown();
            let _ended = timeout(SHUTDOWN_GRACE, connection).await;
        }};
    }
    if is_http2 {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(streams)
            .max_header_list_size(HTTP_HEAD_BYTES_MAX as u32)
            .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
            .max_local_error_reset_streams(RESETS_PENDING_MAX)
            .initial_stream_window_size(QUESTION_BYTES_MAX as u32)
            .initial_connection_window_size(HTTP2_WINDOW_BYTES)
            .max_send_buf_size(SEND_BYTES_MAX);
        hold!(http.serve_connection(io, service))
    } else {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HANDSHAKE_MAX.min(settings.tcp_idle))
            .max_buf_size(HTTP_HEAD_BYTES_MAX)
            .half_close(true);
        hold!(http.serve_connection(io, service))
    }
}

/// A question that counts as taken back unless it is answered.
struct Question {
    pulse: Arc<Pulse>,
    enough: Arc<Notify>,
    answered: bool,
}

impl Drop for Question {
    fn drop(&mut self) {
        if self.answered {
            self.pulse.answered();
        } else if self.pulse.taken_back() {
            self.enough.notify_one();
        }
    }
}

type Answer = Response<Full<Bytes>>;

async fn answer(request: Request<Incoming>, frontend: Arc<Frontend>, via: Via, mut question: Question) -> Result<Answer, Infallible> {
    let answer = match ask(request, &frontend, via, &question).await {
        Ok(answer) => answered(answer),
        Err(refusal) => refused(refusal),
    };
    question.answered = true;
    Ok(answer)
}

async fn ask(request: Request<Incoming>, frontend: &Frontend, via: Via, question: &Question) -> Result<Vec<u8>, Refusal> {
    let (head, mut body) = request.into_parts();
    let message = match asks(&head) {
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
    question.pulse.asked();
    match frontend.answer(&message, via).await {
        Reply::Send(answer) => Ok(answer),
        Reply::Drop => Err(NO_QUESTION),
    }
}

/// Reads on, so that the refusal is seen: some clients give up on a stream that is answered before they have said everything.
async fn pass_over(mut body: Incoming) {
    let mut bytes = 0;
    while bytes < PASSED_OVER_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
}

fn answered(answer: Vec<u8>) -> Answer {
    let cache = format!("max-age={}", fresh_secs(&answer));
    let mut response = Response::new(Full::new(Bytes::from(answer)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Ok(cache) = HeaderValue::try_from(cache) {
        headers.insert(CACHE_CONTROL, cache);
    }
    response
}

fn refused((status, why): Refusal) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(format!("{why}\n"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

/// Streams that were reset before they were looked at; more end the connection (CVE-2023-44487).
const RESETS_PENDING_MAX: usize = 32;

/// How much all streams of a connection may send ahead, in bytes: sixteen of the longest questions.
const HTTP2_WINDOW_BYTES: u32 = 16 * QUESTION_BYTES_MAX as u32;

/// How much of an answer that is not read is held for each stream, in bytes.
const SEND_BYTES_MAX: usize = 16 << 10;

/// How much of what is refused is read all the same, in bytes: the longest DNS message there is.
const PASSED_OVER_BYTES_MAX: usize = 65_535;
