//! HTTP to providers: pooled connections, TLS, time-outs, bounded answers.

use crate::error::{HttpError, InfoError};
use crate::info::ProviderInfo;
use crate::settings::{HTTP_BODY_BYTES_MAX, HTTP_CONNECT, INFO_TIMEOUT};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::HeaderMap;
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{HttpConnector, HttpInfo};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::timeout;

/// A client; cloning shares its connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Whose address answered.
    pub from: Option<IpAddr>,
}

impl HttpClient {
    /// A client without connections. HTTPS is checked against the web's certificate authorities.
    pub fn new() -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(HTTP_CONNECT));
        // Its own choice of cryptography: a program around this one may have another as its default, or none.
        let builder = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            // Only cryptography without the default versions of TLS is refused, and ring has them.
            .unwrap_or_else(|_| HttpsConnectorBuilder::new().with_webpki_roots());
        let connector = builder.https_or_http().enable_http1().wrap_connector(tcp);
        Self {
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(IDLE_PER_HOST)
                .build(connector),
        }
    }

    /// One exchange.
    ///
    /// # Errors
    /// [`HttpError`]. Whatever the status, an answer is no error.
    pub async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        patience: Duration,
    ) -> Result<Answer, HttpError> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|_| HttpError::Url(url.to_owned()))?;
        timeout(patience, self.exchange(request)).await.unwrap_or(Err(HttpError::TimedOut))
    }

    /// Begins an exchange whose answer is read as it comes. Waits as long as it takes.
    ///
    /// # Errors
    /// [`HttpError`]. Whatever the status, an answer is no error.
    pub async fn open(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<hyper::Response<hyper::body::Incoming>, HttpError> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|_| HttpError::Url(url.to_owned()))?;
        self.client.request(request).await.map_err(from_client)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, HttpError> {
        let response = self.client.request(request).await.map_err(from_client)?;
        let from = response.extensions().get::<HttpInfo>().map(|info| info.remote_addr().ip());
        let (head, body) = response.into_parts();
        let body = Limited::new(body, HTTP_BODY_BYTES_MAX).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                HttpError::TooLarge
            } else {
                HttpError::Broken(error.to_string())
            }
        })?;
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.to_bytes(),
            from,
        })
    }

    /// What the provider at `base` says about itself.
    ///
    /// # Errors
    /// [`InfoError`].
    pub async fn info(&self, base: &str) -> Result<ProviderInfo, InfoError> {
        let url = format!("{base}/v1/info");
        let headers = [("accept", "application/json")];
        let answer = self
            .ask(Method::GET, &url, &headers, Bytes::new(), INFO_TIMEOUT)
            .await
            .map_err(InfoError::Http)?;
        if answer.status != 200 {
            return Err(InfoError::NotAProvider(format!("{url} has status {}", answer.status)));
        }
        // A connection without an address is none that this client makes.
        let from = answer
            .from
            .ok_or_else(|| InfoError::NotAProvider("its address is not known".to_owned()))?;
        ProviderInfo::parse(&answer.body, from)
    }
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new()
    }
}

fn from_client(error: Error) -> HttpError {
    // The innermost reason is the one that says something: "connection refused", not "client error".
    let mut reason: &dyn std::error::Error = &error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    let text = reason.to_string();
    if error.is_connect() {
        HttpError::Connect(text)
    } else {
        HttpError::Broken(text)
    }
}

/// Idle connections are closed before servers usually do it, so that few puts meet a closed one.
const IDLE: Duration = Duration::from_secs(20);
/// Puts in flight to one provider that can reuse a connection.
const IDLE_PER_HOST: usize = 64;
