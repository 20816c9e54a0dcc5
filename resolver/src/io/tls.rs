//! TLS that is bound to a name: the server proves that it holds a key whose pin a verified record lists. Who issued its certificate, for whom
//! and until when means nothing; it may have none at all (raw public keys, RFC 7250).

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature, verify_tls13_signature_with_raw_key};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, PeerIncompatible, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// What the server is to present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Credential {
    /// A certificate, of anybody's making.
    Certificate,
    /// Its public key alone.
    RawKey,
}

/// What TLS computes with: its own choice, for a program around this one may have another as its default, or none.
static CRYPTO: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));
/// The web's certificate authorities, for hosts of legacy names.
static WEB: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    Arc::new(RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    })
});

/// TLS 1.3 with whoever holds a key of one of these pins.
///
/// # Errors
/// The cryptography has no TLS 1.3.
pub fn pinned(pins: &[[u8; 32]], credential: Credential, alpn: Vec<Vec<u8>>) -> Result<ClientConfig, rustls::Error> {
    let verifier = Pinned {
        pins: pins.to_vec(),
        credential,
    };
    let mut config = ClientConfig::builder_with_provider(CRYPTO.clone())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = alpn;
    Ok(config)
}

/// TLS as on the web, for the host of a legacy name: its DNS name is what a verified record says, and certificate authorities vouch for it.
///
/// # Errors
/// The cryptography has no TLS.
pub fn web(alpn: Vec<Vec<u8>>) -> Result<ClientConfig, rustls::Error> {
    authorities(WEB.clone(), alpn)
}

/// As [`web`], where these certificate authorities vouch and no others.
///
/// # Errors
/// The cryptography has no TLS.
pub fn authorities(roots: Arc<RootCertStore>, alpn: Vec<Vec<u8>>) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(CRYPTO.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn;
    Ok(config)
}

/// The certificate authorities in a file of PEM.
///
/// # Errors
/// What is wrong with the file.
pub fn authorities_in(file: &Path) -> Result<Arc<RootCertStore>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut roots = RootCertStore::empty();
    for certificate in read.map_err(|error| error.to_string())? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(Arc::new(roots))
}

/// Accepts the keys of these pins and no others.
#[derive(Debug)]
struct Pinned {
    pins: Vec<[u8; 32]>,
    credential: Credential,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pin: [u8; 32] = match self.credential {
            Credential::RawKey => Sha256::digest(end_entity).into(),
            Credential::Certificate => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                Sha256::digest(parsed.subject_public_key_info()).into()
            }
        };
        if self.pins.contains(&pin) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
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
        let algorithms = &CRYPTO.signature_verification_algorithms;
        match self.credential {
            Credential::Certificate => verify_tls13_signature(message, certificate, signature, algorithms),
            Credential::RawKey => {
                let key = SubjectPublicKeyInfoDer::from(certificate.as_ref());
                verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
            }
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        CRYPTO.signature_verification_algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.credential == Credential::RawKey
    }
}
