//! The certificate that the encrypted listeners show: from files that are read again when they change, or made for first use.
//!
//! A self-made one proves nothing by itself: a client is told to trust the file, or its pin. What it is good for is that DNS over TLS, HTTPS
//! and QUIC can be tried, and used at home, before there is one that others trust.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::time::{MissedTickBehavior, interval};

/// A certificate and its key on disk, as last read.
#[derive(Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    shown: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Stamp>,
}

/// What tells one version of the two files from the next.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// Why there is no certificate to show. The operator's turn.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file that cannot be read or written.
    #[error("{file}: {reason}")]
    Disk {
        /// Which.
        file: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A file that holds something else.
    #[error("{file}: {reason}")]
    Contents {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A key that is not that of the certificate.
    #[error("the key in {key} is not that of the first certificate in {chain}")]
    OtherKey {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        chain: PathBuf,
    },
    /// Nothing was made. Our bug: please tell us.
    #[error("no certificate could be made: {0} (this is a bug, please tell us)")]
    Made(String),
}

impl Certificate {
    /// Reads a chain in PEM, the server's own certificate first, and its key.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn from_files(chain: PathBuf, key: PathBuf) -> Result<Arc<Self>, CertificateError> {
        let seen = Mutex::new(stamps(&chain, &key));
        let shown = RwLock::new(read(&chain, &key)?);
        Ok(Arc::new(Self { chain, key, shown, seen }))
    }

    /// The one that was made in `folder` before, or else a new one for `names`: host names and IP addresses.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn self_made(folder: &Path, names: Vec<String>) -> Result<Arc<Self>, CertificateError> {
        let (chain, key) = (folder.join(CHAIN_FILE), folder.join(KEY_FILE));
        // The certificate is written last: where it is, the key is too.
        if !chain.exists() {
            make(folder, &chain, &key, names)?;
        }
        Self::from_files(chain, key)
    }

    /// Reads the files again. What was shown before is still shown if they are no good.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn reload(&self) -> Result<(), CertificateError> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = stamps(&self.chain, &self.key);
        let fresh = read(&self.chain, &self.key)?;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Reads the files again whenever they change, for ever.
    pub async fn keep_fresh(self: Arc<Self>) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let stamps = stamps(&self.chain, &self.key);
            if stamps == *self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
                continue;
            }
            match self.reload() {
                Ok(()) => tracing::info!(file = %self.chain.display(), "a new certificate is shown"),
                // Often one of the two files was written before the other: the next look sees both.
                Err(error) => tracing::warn!(%error, "the certificate has changed, and the one before is still shown"),
            }
        }
    }

    /// The file that holds it: what a client may be told to trust.
    pub fn file(&self) -> &Path {
        &self.chain
    }

    /// The pin of its key: base64 of the SHA-256 of the SubjectPublicKeyInfo (RFC 7858 §4.2).
    pub fn pin(&self) -> Option<String> {
        let shown = self.current();
        let parsed = ParsedCertificate::try_from(shown.cert.first()?).ok()?;
        Some(STANDARD.encode(Sha256::digest(parsed.subject_public_key_info())))
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn read(chain: &Path, key: &Path) -> Result<Arc<CertifiedKey>, CertificateError> {
    let wrong = |file: &Path, reason: String| CertificateError::Contents {
        file: file.to_owned(),
        reason,
    };
    let bad_pem = |file: &Path, error: pem::Error| match error {
        pem::Error::Io(reason) => CertificateError::Disk {
            file: file.to_owned(),
            reason,
        },
        other => wrong(file, other.to_string()),
    };
    let bytes = fs::read(chain).map_err(|reason| CertificateError::Disk {
        file: chain.to_owned(),
        reason,
    })?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad_pem(chain, error))?;
    if certificates.is_empty() {
        return Err(wrong(chain, "no certificate in it".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| bad_pem(key, error))?;
    let secret = ring::sign::any_supported_type(&secret).map_err(|error| wrong(key, error.to_string()))?;
    let certified = CertifiedKey::new(certificates, secret);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::OtherKey {
            key: key.to_owned(),
            chain: chain.to_owned(),
        }),
        Err(error) => Err(wrong(chain, error.to_string())),
    }
}

fn make(folder: &Path, chain: &Path, key: &Path, names: Vec<String>) -> Result<(), CertificateError> {
    let bug = |error: rcgen::Error| CertificateError::Made(error.to_string());
    // The curve that every client knows: browsers take no Ed25519 here.
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(bug)?;
    let mut params = rcgen::CertificateParams::new(names).map_err(bug)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Dialtone DNS frontend, self-made");
    let made = params.self_signed(&pair).map_err(bug)?;
    let disk = |file: &Path| {
        let file = file.to_owned();
        move |reason| CertificateError::Disk { file, reason }
    };
    fs::create_dir_all(folder).map_err(disk(folder))?;
    write(key, pair.serialize_pem().as_bytes(), 0o600).map_err(disk(key))?;
    write(chain, made.pem().as_bytes(), 0o644).map_err(disk(chain))
}

/// Writes beside the file and then puts it in its place: half a file is never read.
fn write(file: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let beside = file.with_extension("new");
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&beside, file)
}

fn stamps(chain: &Path, key: &Path) -> Stamp {
    [chain, key].map(|file| {
        let metadata = fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

/// The self-made certificate in its folder.
const CHAIN_FILE: &str = "dns-certificate.pem";
/// Its key.
const KEY_FILE: &str = "dns-certificate-key.pem";

/// How often the files are looked at: who renews a certificate does so days ahead, and who tries one out waits no longer than this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn names() -> Vec<String> {
        vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
    }

    #[test]
    fn a_self_made_one_is_made_once_and_its_key_is_for_nobody_else() {
        let folder = tempfile::tempdir().expect("folder");
        let folder = folder.path().join("state");
        let pin = Certificate::self_made(&folder, names()).expect("made").pin();
        assert!(pin.is_some());
        let again = Certificate::self_made(&folder, vec!["other".to_owned()]).expect("read");
        assert_eq!(again.pin(), pin);
        let mode = fs::metadata(folder.join(KEY_FILE)).expect("key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused_and_the_one_before_is_still_shown() {
        let folder = tempfile::tempdir().expect("folder");
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let shown = Certificate::self_made(&one, names()).expect("made");
        let other = Certificate::self_made(&two, names()).expect("made");
        let first = shown.pin();
        assert_ne!(first, other.pin());
        fs::copy(two.join(CHAIN_FILE), one.join(CHAIN_FILE)).expect("copied");
        assert!(matches!(shown.reload(), Err(CertificateError::OtherKey { .. })));
        assert_eq!(shown.pin(), first);
        fs::copy(two.join(KEY_FILE), one.join(KEY_FILE)).expect("copied");
        shown.reload().expect("both are there now");
        assert_eq!(shown.pin(), other.pin());
        fs::write(one.join(CHAIN_FILE), "nothing").expect("written");
        let error = shown.reload().expect_err("no certificate").to_string();
        assert!(error.contains(CHAIN_FILE) && error.contains("no certificate"), "{error}");
        fs::remove_file(one.join(KEY_FILE)).expect("removed");
        fs::copy(two.join(CHAIN_FILE), one.join(CHAIN_FILE)).expect("copied");
        assert!(matches!(shown.reload(), Err(CertificateError::Disk { file, .. }) if file.ends_with(KEY_FILE)));
    }
}
