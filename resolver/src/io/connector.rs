//! Connects to names: resolves, races the addresses, and hands back what won. Over TLS the name itself authenticates who is there.

use crate::connect::race::{Race, Step};
use crate::connect::{self, ConnectError, ConnectOptions, NOT_PUBLIC, Plan, shown};
use crate::io::tls::{self, Credential};
use crate::layers::{self, Endpoint, Host};
use crate::settings::{ADDRESSES_MAX, CONNECT_ATTEMPT};
use crate::source::RecordSource;
use crate::together::{self, Pending};
use dialtone_shared::Name;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection to a name.
#[derive(Debug)]
pub struct Connected<S> {
    /// To send and receive.
    pub stream: S,
    /// Which of its endpoints this is. Where it has steps `onward`, it is a stand-in that passes on to them.
    pub endpoint: Endpoint,
    /// At which address.
    pub address: SocketAddr,
}

/// Connects to a name over TCP. Who is there is not authenticated.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(source: &dyn RecordSource, name: &Name, options: &ConnectOptions) -> Result<Connected<TcpStream>, ConnectError> {
    let plan = planned(source, name, options).await?;
    let attempt = |index: usize| {
        let (endpoint, port) = &plan.candidates[index];
        let attempt = async move { tcp(endpoint, *port, options).await };
        Box::pin(attempt) as Pending<'_, Result<(TcpStream, SocketAddr), String>>
    };
    let ((stream, address), index) = race(name, &plan, options, attempt).await?;
    Ok(connected(stream, address, &plan, index))
}

/// Connects to a name over TLS 1.3. The server has proved that it holds a key that the service pins; at a legacy host without pins, that
/// the web's certificate authorities vouch for that host.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect_tls(
    source: &dyn RecordSource,
    name: &Name,
    options: &ConnectOptions,
) -> Result<Connected<TlsStream<TcpStream>>, ConnectError> {
    let plan = planned(source, name, options).await?;
    let attempt = |index: usize| {
        let ((endpoint, port), forbidden) = (&plan.candidates[index], &plan.forbidden);
        let attempt = async move { secure(name, endpoint, *port, forbidden, options).await };
        Box::pin(attempt) as Pending<'_, Result<(TlsStream<TcpStream>, SocketAddr), String>>
    };
    let ((stream, address), index) = race(name, &plan, options, attempt).await?;
    Ok(connected(stream, address, &plan, index))
}

async fn planned(source: &dyn RecordSource, name: &Name, options: &ConnectOptions) -> Result<Plan, ConnectError> {
    let found = layers::resolve(source, name, &options.resolving(rand::random())).await?;
    connect::plan(&found, options)
}

fn connected<S>(stream: S, address: SocketAddr, plan: &Plan, index: usize) -> Connected<S> {
    Connected {
        stream,
        endpoint: plan.candidates[index].0.clone(),
        address,
    }
}

/// Tries one after the other, and beside each other, until one succeeds.
async fn race<'a, T>(
    name: &Name,
    plan: &Plan,
    options: &ConnectOptions,
    attempt: impl Fn(usize) -> Pending<'a, Result<T, String>>,
) -> Result<(T, usize), ConnectError> {
    let mut race = Race::new(plan.candidates.len(), Instant::now(), options.deadline);
    let mut running = Vec::new();
    let mut tried = plan.left_out.clone();
    loop {
        match race.poll(Instant::now()) {
            Step::Try(index) => running.push((index, attempt(index))),
            Step::WaitUntil(then) => {
                if let Ok((index, ended)) = timeout_at(then.into(), together::next(&mut running)).await {
                    match ended {
                        Ok(won) => return Ok((won, index)),
                        Err(why) => {
                            let (endpoint, port) = &plan.candidates[index];
                            tried.push((format!("{} port {port}", shown(&endpoint.host)), why));
                            race.failed(Instant::now());
                        }
                    }
                }
            }
            Step::Lost => {
                let late = running
                    .iter()
                    .map(|(index, _)| (shown(&plan.candidates[*index].0.host), "no answer in time".to_owned()));
                tried.extend(late);
                return Err(ConnectError::Failed { name: *name, tried });
            }
        }
    }
}

async fn tcp(endpoint: &Endpoint, port: u16, options: &ConnectOptions) -> Result<(TcpStream, SocketAddr), String> {
    let addresses = match &endpoint.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, port)],
        Host::Legacy(dns) => {
            let found = lookup_host((dns.as_str(), port)).await.map_err(|error| error.to_string())?;
            let found: Vec<SocketAddr> = found
                .filter(|address| options.reach.allows(address.ip()))
                .take(ADDRESSES_MAX)
                .collect();
            if found.is_empty() {
                return Err(NOT_PUBLIC.to_owned());
            }
            found
        }
    };
    let mut why = String::new();
    for address in addresses {
        match timeout(CONNECT_ATTEMPT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // If this fails the connection is gone already, and using it will say so.
                let _ = stream.set_nodelay(true);
                return Ok((stream, address));
            }
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = "no answer in time".to_owned(),
        }
    }
    Err(why)
}

async fn secure(
    name: &Name,
    endpoint: &Endpoint,
    port: u16,
    forbidden: &[[u8; 32]],
    options: &ConnectOptions,
) -> Result<(TlsStream<TcpStream>, SocketAddr), String> {
    let alpn = if options.alpn.is_empty() {
        endpoint.alpn.iter().map(|id| id.clone().into_bytes()).collect()
    } else {
        options.alpn.clone()
    };
    let host = match &endpoint.host {
        Host::Legacy(dns) if endpoint.pins.is_empty() => dns.clone(),
        Host::Ip(_) | Host::Legacy(_) => format!("{name}.{}", options.origin),
    };
    let host = ServerName::try_from(host).map_err(|error| error.to_string())?;
    if endpoint.pins.is_empty() {
        let Host::Legacy(_) = endpoint.host else {
            return Err("the service says no pins: nothing ties TLS to the name (publish it with pin=)".to_owned());
        };
        let config = tls::web(alpn).map_err(|error| error.to_string())?;
        let (stream, address) = tcp(endpoint, port, options).await?;
        return shake(config, host, stream)
            .await
            .map(|stream| (stream, address))
            .map_err(|failed| failed.why);
    }
    let pins: Vec<[u8; 32]> = endpoint.pins.iter().filter(|pin| !forbidden.contains(*pin)).copied().collect();
    if pins.is_empty() {
        return Err("its pin is that of a key that signs records, which is never a server's: make another for TLS".to_owned());
    }
    let mut why = "the server refused TLS".to_owned();
    for credential in [Credential::Certificate, Credential::RawKey] {
        let config = tls::pinned(&pins, credential, alpn.clone()).map_err(|error| error.to_string())?;
        let (stream, address) = tcp(endpoint, port, options).await?;
        match shake(config, host.clone(), stream).await {
            Ok(stream) => return Ok((stream, address)),
            // Only who has no certificate at all is asked for a raw key.
            Err(failed) if failed.by_server && credential == Credential::Certificate => why = failed.why,
            Err(failed) => return Err(if failed.by_server { why } else { failed.why }),
        }
    }
    Err(why)
}

/// Why there is no TLS.
struct NoTls {
    why: String,
    /// The server refused: it may want the other kind of credential.
    by_server: bool,
}

async fn shake(config: rustls::ClientConfig, host: ServerName<'static>, stream: TcpStream) -> Result<TlsStream<TcpStream>, NoTls> {
    let shaking = TlsConnector::from(Arc::new(config)).connect(host, stream);
    match timeout(CONNECT_ATTEMPT, shaking).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            let why = match tls {
                Some(rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure)) => {
                    "it presented another key than the name pins: somebody else, or a key that was not published".to_owned()
                }
                _ => error.to_string(),
            };
            let by_server = matches!(tls, Some(rustls::Error::AlertReceived(_)));
            Err(NoTls { why, by_server })
        }
        Err(_) => Err(NoTls {
            why: "no TLS in time".to_owned(),
            by_server: false,
        }),
    }
}
