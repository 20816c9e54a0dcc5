//! A connector for HTTP clients (`hyper`, and whatever else takes a `tower` service): `https://<name>.dialtone.alt/` leads to the name's
//! service, and the name authenticates it.

use crate::connect::{ConnectError, ConnectOptions};
use crate::io::connector;
use crate::source::RecordSource;
use dialtone_shared::Name;
use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

/// Connects HTTP clients to names. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NameConnector {
    source: Arc<dyn RecordSource>,
    options: Arc<ConnectOptions>,
}

/// A connection to a name, for HTTP.
#[derive(Debug)]
pub enum NameStream {
    /// Without TLS: `http://`.
    Plain(TcpStream),
    /// With TLS that the name authenticated: `https://`.
    Tls(Box<TlsStream<TcpStream>>),
}

impl NameConnector {
    /// Finds names in `source`. The service is `https` or `http`, as the URL's scheme says; the port is what the service says, and the URL's where
    /// none does.
    pub fn new(source: Arc<dyn RecordSource>, options: ConnectOptions) -> Self {
        let alpn = if options.alpn.is_empty() {
            vec![b"http/1.1".to_vec()]
        } else {
            options.alpn.clone()
        };
        Self {
            source,
            options: Arc::new(ConnectOptions { alpn, ..options }),
        }
    }

    async fn reach(self, uri: Uri) -> Result<TokioIo<NameStream>, ConnectError> {
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(self.not_a_name(&uri)),
        };
        let host = uri.host().unwrap_or_default();
        let name = Name::from_dns(host, &self.options.origin).map_err(|_| self.not_a_name(&uri))?;
        let options = ConnectOptions {
            service: if secure { "https" } else { "http" }.to_owned(),
            port: Some(uri.port_u16().unwrap_or(if secure { 443 } else { 80 })),
            ..ConnectOptions::clone(&self.options)
        };
        let stream = if secure {
            NameStream::Tls(Box::new(connector::connect_tls(&*self.source, &name, &options).await?.stream))
        } else {
            NameStream::Plain(connector::connect(&*self.source, &name, &options).await?.stream)
        };
        Ok(TokioIo::new(stream))
    }

    fn not_a_name(&self, uri: &Uri) -> ConnectError {
        ConnectError::NotAName(uri.to_string(), self.options.origin.clone())
    }
}

impl Service<Uri> for NameConnector {
    type Response = TokioIo<NameStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().reach(uri))
    }
}

impl Connection for NameStream {
    fn connected(&self) -> Connected {
        match self {
            Self::Plain(stream) => stream.connected(),
            Self::Tls(stream) => {
                let (tcp, tls) = stream.get_ref();
                let connected = tcp.connected();
                if tls.alpn_protocol() == Some(b"h2") {
                    connected.negotiated_h2()
                } else {
                    connected
                }
            }
        }
    }
}

impl AsyncRead for NameStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for NameStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
