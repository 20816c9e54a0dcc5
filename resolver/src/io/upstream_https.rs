//! DNS over HTTPS to one upstream resolver (RFC 8484): one kept connection of HTTP/2, on which each question is a POST of its own. Which reply counts is
//! decided in [`forward`](crate::dns::forward).

use crate::dns::forward::{Answered, Asked, Verdict};
use crate::dns::server::Identity;
use crate::dns::settings::{UPSTREAM_IDLE, UPSTREAM_TRY};
use crate::io::upstream_dial::Meant;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::header::{ACCEPT, AGE, CONTENT_TYPE};
use hyper::http::uri::Scheme;
use hyper::{HeaderMap, Request, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// One upstream resolver over HTTPS.
pub struct HttpsUpstream {
    meant: Meant,
    uri: Uri,
    /// Who dials holds it: the others wait for the same connection.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    connection: Option<Connection>,
    /// How many there have been: so that who saw one end drops that one.
    number: u64,
}

struct Connection {
    requests: SendRequest<Full<Bytes>>,
    used: Instant,
}

/// Why there is no answer over a connection.
enum Lost {
    /// The connection has ended: over another one there may be.
    Connection(io::Error),
    /// The server said so.
    Answer(io::Error),
}

impl HttpsUpstream {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// `path` is none.
    pub fn new(meant: Meant, path: &str) -> io::Result<Self> {
        let uri = Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(authority(&meant))
            .path_and_query(path)
            .build()
            .map_err(io::Error::other)?;
        Ok(Self {
            meant,
            uri,
            kept: Mutex::default(),
        })
    }

    /// Asks, over the connection that is there, or over a new one, and notes when there is one. `None`: it said that it cannot answer.
    ///
    /// # Errors
    /// No connection, or no answer of DNS over it. Where it was not shown who is there, see [`is_distrust`](super::upstream_dial::is_distrust).
    pub async fn ask(&self, asked: &Asked, is_reached: &AtomicBool) -> io::Result<Option<Answered>> {
        // One that was kept may have been closed by the other end at this very moment: then again over a new one.
        loop {
            let (requests, number, is_kept) = self.connection().await?;
            is_reached.store(true, Ordering::Relaxed);
            match self.ask_over(requests, asked).await {
                Ok(answer) => return Ok(answer),
                Err(Lost::Answer(error)) => return Err(error),
                Err(Lost::Connection(error)) => {
                    self.forget(number).await;
                    if !is_kept {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn ask_over(&self, mut requests: SendRequest<Full<Bytes>>, asked: &Asked) -> Result<Option<Answered>, Lost> {
        let gone = |error: hyper::Error| Lost::Connection(io::Error::other(error));
        let odd = |what: String| Lost::Answer(io::Error::new(io::ErrorKind::InvalidData, what));
        // Each answer comes on the stream of its question: ids and letters tell nothing more (RFC 8484 §4.1).
        let sent = asked.query(0, &[0; 32]).padded();
        let request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, MESSAGE)
            .header(ACCEPT, MESSAGE)
            .body(Full::from(sent.bytes.clone()))
            .map_err(|error| odd(error.to_string()))?;
        requests.ready().await.map_err(gone)?;
        let response = requests.send_request(request).await.map_err(gone)?;
        if response.status() != StatusCode::OK {
            return Err(odd(format!("the answer is HTTP {}", response.status())));
        }
        if !is_message(response.headers()) {
            return Err(odd(format!("the answer is no {MESSAGE}")));
        }
        let age = age(response.headers());
        let body = Limited::new(response.into_body(), usize::from(u16::MAX)).collect().await;
        let body = body.map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(error) => odd(error.to_string()),
            Err(error) => Lost::Connection(io::Error::other(error)),
        })?;
        let body = body.to_bytes();
        match sent.judge_any_case(&body) {
            Verdict::Answer(answered) => Ok(Some(answered.older_by(age))),
            Verdict::Failed | Verdict::Truncated => Ok(None),
            Verdict::OtherCase | Verdict::Guess | Verdict::PassOver => Err(odd("the answer is to no question that was asked".to_owned())),
        }
    }

    /// The connection, which one it is, and whether it was there before.
    async fn connection(&self) -> io::Result<(SendRequest<Full<Bytes>>, u64, bool)> {
        let mut kept = self.kept.lock().await;
        let number = kept.number;
        // One that nobody used for a while may have been forgotten on the way without a word.
        let is_good = |connection: &&mut Connection| !connection.requests.is_closed() && connection.used.elapsed() < UPSTREAM_IDLE;
        if let Some(connection) = kept.connection.as_mut().filter(is_good) {
            connection.used = Instant::now();
            return Ok((connection.requests.clone(), number, true));
        }
        let stream = self.meant.dial(b"h2").await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "it does not speak HTTP/2"));
        }
        let (requests, driver) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            // While somebody waits: whether the other end is there at all.
            .keep_alive_interval(UPSTREAM_TRY)
            .keep_alive_timeout(UPSTREAM_TRY)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "a connection to an upstream resolver has ended");
            }
        });
        let used = Instant::now();
        kept.number += 1;
        kept.connection = Some(Connection {
            requests: requests.clone(),
            used,
        });
        Ok((requests, kept.number, false))
    }

    /// A connection has ended: unless there is another by now, the next question has a new one.
    async fn forget(&self, number: u64) {
        let mut kept = self.kept.lock().await;
        if kept.number == number {
            kept.connection = None;
        }
    }
}

impl fmt::Debug for HttpsUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpsUpstream({} at {})", self.uri, self.meant.address)
    }
}

/// By which name it is called: that of its certificate, or where it is.
fn authority(meant: &Meant) -> String {
    let at = |ip: IpAddr| SocketAddr::new(ip, meant.address.port()).to_string();
    match &meant.identity {
        Identity::Web(ServerName::DnsName(name)) => format!("{}:{}", name.as_ref(), meant.address.port()),
        Identity::Web(ServerName::IpAddress(ip)) => at((*ip).into()),
        Identity::Web(_) | Identity::Pin(_) => at(meant.address.ip()),
    }
}

fn is_message(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case(MESSAGE))
}

/// How long the answer has been in caches on the way (RFC 8484 §5.1, RFC 9111 §5.1).
fn age(headers: &HeaderMap) -> Duration {
    let secs = headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(secs.unwrap_or_default())
}

const MESSAGE: &str = "application/dns-message";
