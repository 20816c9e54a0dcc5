//! The QUIC endpoint of the links: one UDP socket that dials and is dialled, TLS 1.3 with a certificate on both sides.
//!
//! A certificate here is only a container for a key: it is self-made, made anew by every process, and its names and dates
//! mean nothing. TLS proves that the other side holds the key; whose key it is, the greeting proves.

use crate::io::way::give_way;
use crate::peering::limits::HEARD_WITHIN;
use dialtone_shared::SecretKey;
use dialtone_shared::message::ALPN;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{AsyncTimer, AsyncUdpSocket, ClientConfig, Connection, Endpoint, EndpointConfig, IdleTimeout, Runtime};
use quinn::{ServerConfig, TokioRuntime, TransportConfig, VarInt};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::version::TLS13;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, PeerIncompatible, SignatureScheme};
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A certificate of its own, and the pin under which a provider's record lists its key.
#[derive(Debug)]
pub struct LinkKey {
    certificate: CertificateDer<'static>,
    secret: PrivateKeyDer<'static>,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub pin: [u8; 32],
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The operator's turn: another process listens there, or the address is not this machine's.
    #[error("cannot listen for peers on UDP {address}: {error}; choose another address or port")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// Our bug: please tell us.
    #[error("the link key cannot be made: {0} (this is a bug, please tell us)")]
    Key(String),
}

impl LinkKey {
    /// A new one.
    ///
    /// # Errors
    /// [`EndpointError::Key`].
    pub fn generate() -> Result<Self, EndpointError> {
        let bug = |error: rcgen::Error| EndpointError::Key(error.to_string());
        Self::certify(&rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(bug)?)
    }

    /// That of a secret: a simulated world draws its keys from a seed.
    ///
    /// # Errors
    /// [`EndpointError::Key`].
    pub fn of(secret: &SecretKey) -> Result<Self, EndpointError> {
        let bug = |error: rcgen::Error| EndpointError::Key(error.to_string());
        let der = secret.to_der();
        let der = PrivatePkcs8KeyDer::from(&der[..]);
        Self::certify(&rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ED25519).map_err(bug)?)
    }

    fn certify(pair: &rcgen::KeyPair) -> Result<Self, EndpointError> {
        let bug = |error: rcgen::Error| EndpointError::Key(error.to_string());
        let made = rcgen::CertificateParams::new(Vec::new())
            .and_then(|params| params.self_signed(pair))
            .map_err(bug)?;
        let certificate = made.der().clone();
        let pin = pin_of(&certificate).ok_or_else(|| EndpointError::Key("the certificate made does not read back".to_owned()))?;
        let secret = PrivateKeyDer::try_from(pair.serialize_der()).map_err(|error| EndpointError::Key(error.to_owned()))?;
        Ok(Self { certificate, secret, pin })
    }
}

/// Where the datagrams of an endpoint come from and go to, and what else is given by the world around it.
pub trait Sockets: Send + Sync + fmt::Debug {
    /// A socket at this address, to be driven by `runtime`; and the endpoint's own settings.
    ///
    /// # Errors
    /// The address cannot be had.
    fn open(&self, listen: SocketAddr, runtime: &dyn Runtime) -> io::Result<(Arc<dyn AsyncUdpSocket>, EndpointConfig)>;

    /// The key that the endpoint presents.
    ///
    /// # Errors
    /// [`EndpointError::Key`].
    fn key(&self) -> Result<LinkKey, EndpointError>;

    /// What TLS computes and draws with.
    fn crypto(&self) -> CryptoProvider {
        ring::default_provider()
    }

    /// What is otherwise to be when a peer is dialled.
    fn dialling(&self, _: &mut ClientConfig) {}
}

/// The sockets of the system, and a new key for every process.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemSockets;

impl Sockets for SystemSockets {
    fn open(&self, listen: SocketAddr, runtime: &dyn Runtime) -> io::Result<(Arc<dyn AsyncUdpSocket>, EndpointConfig)> {
        let socket = std::net::UdpSocket::bind(listen)?;
        Ok((runtime.wrap_udp_socket(socket)?, EndpointConfig::default()))
    }

    fn key(&self) -> Result<LinkKey, EndpointError> {
        LinkKey::generate()
    }
}

/// The endpoint at `listen`, presenting `key` both as who dials and as who is dialled.
///
/// # Errors
/// [`EndpointError`].
pub fn endpoint(listen: SocketAddr, key: &LinkKey) -> Result<(Endpoint, Ended), EndpointError> {
    endpoint_on(&SystemSockets, listen, key)
}

/// As [`endpoint`], on these sockets.
///
/// # Errors
/// [`EndpointError`].
pub fn endpoint_on(sockets: &dyn Sockets, listen: SocketAddr, key: &LinkKey) -> Result<(Endpoint, Ended), EndpointError> {
    build(sockets, listen, key, ALPN)
}

/// As [`endpoint`], for another application protocol.
///
/// # Errors
/// [`EndpointError`].
pub fn endpoint_speaking(listen: SocketAddr, key: &LinkKey, alpn: &[u8]) -> Result<(Endpoint, Ended), EndpointError> {
    build(&SystemSockets, listen, key, alpn)
}

fn build(sockets: &dyn Sockets, listen: SocketAddr, key: &LinkKey, alpn: &[u8]) -> Result<(Endpoint, Ended), EndpointError> {
    let bug = |error: &dyn std::fmt::Display| EndpointError::Key(error.to_string());
    let provider = Arc::new(sockets.crypto());
    let verifier = Arc::new(AnyCertificate(provider.signature_verification_algorithms));
    let chain = || vec![key.certificate.clone()];

    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| bug(&error))?
        .with_client_cert_verifier(verifier.clone())
        .with_single_cert(chain(), key.secret.clone_key())
        .map_err(|error| bug(&error))?;
    server.alpn_protocols = vec![alpn.to_vec()];
    // Links live long and the certificates must be seen every time: nothing is resumed, nothing is sent early.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;

    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| bug(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain(), key.secret.clone_key())
        .map_err(|error| bug(&error))?;
    client.alpn_protocols = vec![alpn.to_vec()];
    client.resumption = Resumption::disabled();
    client.enable_sni = false;

    let transport = Arc::new(transport());
    let crypto = QuicServerConfig::try_from(server).map_err(|error| bug(&error))?;
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(transport.clone());
    server.max_incoming(INCOMING_MAX).incoming_buffer_size(INCOMING_BYTES);
    server.incoming_buffer_size_total(INCOMING_MAX as u64 * INCOMING_BYTES);
    let crypto = QuicClientConfig::try_from(client).map_err(|error| bug(&error))?;
    let mut client = ClientConfig::new(Arc::new(crypto));
    client.transport_config(transport);
    sockets.dialling(&mut client);

    let (alive, ended) = mpsc::channel(1);
    let runtime = Arc::new(Tracked { alive });
    let taken = |error| EndpointError::Listen { address: listen, error };
    let (socket, config) = sockets.open(listen, &*runtime).map_err(taken)?;
    let made = Endpoint::new_with_abstract_socket(config, Some(server), socket, runtime);
    let mut endpoint = made.map_err(taken)?;
    endpoint.set_default_client_config(client);
    Ok((endpoint, Ended(ended)))
}

/// Tells when an endpoint that was dropped is gone: its tasks have ended and its port is free again.
#[derive(Debug)]
pub struct Ended(mpsc::Receiver<Infallible>);

impl Ended {
    /// Waits for it.
    pub async fn wait(&mut self) {
        // Nothing is ever sent: this returns when the last task has dropped its end.
        let _ = self.0.recv().await;
    }
}

/// Tokio, with every task that quinn starts holding an end of a channel.
#[derive(Debug)]
struct Tracked {
    alive: mpsc::Sender<Infallible>,
}

impl Runtime for Tracked {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let alive = self.alive.clone();
        TokioRuntime.spawn(Box::pin(async move {
            giving_way(task).await;
            drop(alive);
        }));
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> std::io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// The same, giving way after each step.
async fn giving_way<F: Future + Unpin>(mut task: F) -> F::Output {
    std::future::poll_fn(move |context| {
        let began = Instant::now();
        let polled = Pin::new(&mut task).poll(context);
        give_way(began);
        polled
    })
    .await
}

/// Lets a peer who has proved its name have as much under way to us as a feed needs.
pub fn open_wide(connection: &Connection) {
    connection.set_receive_window(VarInt::from_u32(RECEIVE_WINDOW));
}

/// The pin of the certificate that the other side presented; `None`: none that can be read.
pub fn presented_pin(connection: &Connection) -> Option<[u8; 32]> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    pin_of(chain.first()?)
}

fn pin_of(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    Some(Sha256::digest(parsed.subject_public_key_info()).into())
}

fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(STRANGERS_WINDOW))
        .send_window(SEND_WINDOW)
        .initial_rtt(INITIAL_RTT)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MILLIS))));
    config
}

/// Accepts every certificate whose key signed the handshake. That alone authorises nothing: see the module.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl AnyCertificate {
    /// It must at least be one that a key can be read from.
    fn readable(certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        pin_of(certificate)
            .map(drop)
            .ok_or(rustls::Error::InvalidCertificate(CertificateError::BadEncoding))
    }

    fn signed(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Self::readable(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Self::readable(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Handshakes that may wait to be looked at. quinn's default of 65,536 is meant for web servers.
const INCOMING_MAX: usize = 256;

/// Bytes held for one of them: a few datagrams of a hello. Nothing is sent early on a link.
const INCOMING_BYTES: u64 = 16 << 10;

/// Bytes that a peer may have under way to us: four batches; more would only wait in memory for verification.
const RECEIVE_WINDOW: u32 = 1 << 20;

/// Bytes that somebody may have under way to us who has not proved to be a peer: several greetings. Held in memory, also with gaps between.
const STRANGERS_WINDOW: u32 = 32 << 10;

/// Bytes written and not yet acknowledged by QUIC. Small, so that what overtakes does so before and not inside the socket.
const SEND_WINDOW: u64 = 1 << 20;

/// What the way there and back is taken to be before it has been measured. RFC 9002 proposes 333 ms; with a third of it a lost first
/// datagram is sent again after 0.3 s, and a dial to nobody is over 0.9 s after it was given up, which a stop waits for.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// How often a silent link is felt: a quarter of the time after which it counts as broken, and with time to feel again before it counts as unheard.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
const _: () = assert!(KEEP_ALIVE.as_secs() < HEARD_WITHIN.as_secs());

/// A link that heard nothing for this long is broken, in milliseconds.
const IDLE_MILLIS: u32 = 12_000;
