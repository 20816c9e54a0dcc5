//! The file of the keys that sign the origin: `PRIVATE KEY` blocks of PEM (PKCS#8), the first of which signs; read again when it changes.

use crate::dns::domain::Domain;
use crate::dns::signing::{ShownKey, Signing, ZoneKey};
use crate::io::key_files::{SECRET_MODE, create_secret, read_secret, replace};
use crate::keyfile::KeyFileError;
use pkcs8::{LineEnding, SecretDocument};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;
use zeroize::Zeroizing;

/// A key on the curve P-256, as its file has it.
pub struct FileKey {
    pair: EcdsaKeyPair,
    public: [u8; 64],
    pkcs8: Zeroizing<Vec<u8>>,
    chance: SystemRandom,
}

/// The keys of an origin on disk, as last read.
#[derive(Debug)]
pub struct ZoneKeyFile {
    path: PathBuf,
    origin: Domain,
    current: RwLock<Arc<Signing>>,
    seen: Mutex<Option<(SystemTime, u64)>>,
}

/// Why the keys of an origin cannot be made or used. The operator's turn.
#[derive(Debug, thiserror::Error)]
pub enum ZoneKeyError {
    /// The file cannot be read or written, or others can read it.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// There is no key in it.
    #[error("{}: no `PRIVATE KEY` in it: `dialtone dns key` makes one", .0.display())]
    None(PathBuf),
    /// There are too many.
    #[error("{}: {count} keys: at most {ZONE_KEYS_MAX}, or the answer with all of them would be too large", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// How many it would have.
        count: usize,
    },
    /// Something in it is no key that signs here.
    #[error("{}: the {nth}. key: {reason}", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// Which, counted from 1.
        nth: usize,
        /// What is wrong.
        reason: String,
    },
    /// No key could be made. Our bug: please tell us.
    #[error("no key could be made (this is a bug, please tell us)")]
    Made,
}

impl FileKey {
    /// A new key, by chance.
    ///
    /// # Errors
    /// [`ZoneKeyError::Made`].
    pub fn new() -> Result<Self, ZoneKeyError> {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).map_err(|_| ZoneKeyError::Made)?;
        Self::read(made.as_ref()).map_err(|_| ZoneKeyError::Made)
    }

    /// The key as a zone shows it.
    pub fn shown(&self) -> ShownKey {
        ShownKey::new(&self.public)
    }

    fn read(pkcs8: &[u8]) -> Result<Self, String> {
        let chance = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &chance)
            .map_err(|error| format!("not a key on the curve P-256 in PKCS#8 ({error})"))?;
        // A point that is not compressed: 4, and then x and y.
        let public = pair.public_key().as_ref().get(1..).and_then(|point| point.try_into().ok());
        Ok(Self {
            public: public.ok_or("not a point")?,
            pair,
            pkcs8: Zeroizing::new(pkcs8.to_vec()),
            chance,
        })
    }
}

impl ZoneKey for FileKey {
    fn public(&self) -> [u8; 64] {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Option<[u8; 64]> {
        self.pair.sign(&self.chance, message).ok()?.as_ref().try_into().ok()
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKey").field("tag", &self.shown().tag()).finish_non_exhaustive()
    }
}

impl ZoneKeyFile {
    /// Reads the keys that sign `origin`.
    ///
    /// # Errors
    /// [`ZoneKeyError`].
    pub fn open(path: PathBuf, origin: Domain) -> Result<Self, ZoneKeyError> {
        let seen = Mutex::new(stamp(&path));
        let current = RwLock::new(read(&path, &origin)?);
        Ok(Self {
            path,
            origin,
            current,
            seen,
        })
    }

    /// The keys as last read.
    pub fn current(&self) -> Arc<Signing> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file again if it changed, and says whether there are other keys now. What was read before stands if it is no good.
    pub fn look(&self) -> bool {
        let stamp = stamp(&self.path);
        if std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), stamp) == stamp {
            return false;
        }
        match read(&self.path, &self.origin) {
            Ok(fresh) => {
                let tags: Vec<u16> = fresh.shown().map(ShownKey::tag).collect();
                tracing::info!(file = %self.path.display(), ?tags, "the origin is signed with the first of these keys");
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the origin is still signed with the keys read before");
                false
            }
        }
    }
}

/// The keys in a file, in its order.
///
/// # Errors
/// [`ZoneKeyError`].
pub fn read_keys(path: &Path) -> Result<Vec<FileKey>, ZoneKeyError> {
    let text = read_secret(path)?;
    let mut keys = Vec::new();
    for (index, block) in PrivatePkcs8KeyDer::pem_slice_iter(text.as_bytes()).enumerate() {
        let not_a_key = |reason| ZoneKeyError::NotAKey {
            path: path.to_owned(),
            nth: index + 1,
            reason,
        };
        let block = block.map_err(|error| not_a_key(error.to_string()))?;
        keys.push(FileKey::read(block.secret_pkcs8_der()).map_err(not_a_key)?);
    }
    checked(path, keys)
}

/// Writes keys to a file that only its owner can read: a `new` one, or in the place of what is there.
///
/// # Errors
/// [`ZoneKeyError`]; what was there before is then as it was.
pub fn write_keys(path: &Path, keys: Vec<FileKey>, new: bool) -> Result<Vec<FileKey>, ZoneKeyError> {
    let keys = checked(path, keys)?;
    let mut text = Zeroizing::new(String::with_capacity(keys.len() * 512));
    for key in &keys {
        let document = SecretDocument::try_from(&key.pkcs8[..]).map_err(|_| ZoneKeyError::Made)?;
        text.push_str(&document.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|_| ZoneKeyError::Made)?);
    }
    match new {
        true => create_secret(path, text.as_bytes())?,
        false => replace(path, text.as_bytes(), SECRET_MODE)?,
    }
    Ok(keys)
}

fn checked(path: &Path, keys: Vec<FileKey>) -> Result<Vec<FileKey>, ZoneKeyError> {
    match keys.len() {
        0 => Err(ZoneKeyError::None(path.to_owned())),
        1..=ZONE_KEYS_MAX => Ok(keys),
        count => Err(ZoneKeyError::TooMany {
            path: path.to_owned(),
            count,
        }),
    }
}

fn read(path: &Path, origin: &Domain) -> Result<Arc<Signing>, ZoneKeyError> {
    let keys = read_keys(path)?.into_iter().map(|key| Arc::new(key) as Arc<dyn ZoneKey>);
    Ok(Arc::new(Signing::new(origin, keys)))
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Most keys of an origin: the one that signs, the next one, and one that is on its way out. With their signatures they fit a datagram.
pub const ZONE_KEYS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn tags(keys: &[FileKey]) -> Vec<u16> {
        keys.iter().map(|key| key.shown().tag()).collect()
    }

    #[test]
    fn keys_are_read_back_in_their_order_and_are_for_nobody_else() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("origin.pem");
        let keys = vec![FileKey::new().expect("a key"), FileKey::new().expect("a key")];
        let written = tags(&write_keys(&path, keys, true).expect("written"));
        assert_eq!(tags(&read_keys(&path).expect("read")), written);
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = write_keys(&path, vec![FileKey::new().expect("a key")], true);
        assert!(matches!(again, Err(ZoneKeyError::File(KeyFileError::Exists(_)))), "{again:?}");
        assert_eq!(tags(&read_keys(&path).expect("read")), written);
        fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("changed");
        let exposed = read_keys(&path);
        assert!(
            matches!(exposed, Err(ZoneKeyError::File(KeyFileError::Exposed { .. }))),
            "{exposed:?}"
        );
    }

    #[test]
    fn what_is_no_key_is_named_and_the_keys_before_it_are_still_used() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("origin.pem");
        let first = tags(&write_keys(&path, vec![FileKey::new().expect("a key")], true).expect("written"));
        let origin = Domain::from_text("names.example").expect("a domain");
        let file = ZoneKeyFile::open(path.clone(), origin).expect("opened");
        let now = |file: &ZoneKeyFile| file.current().shown().map(ShownKey::tag).collect::<Vec<_>>();
        assert!(!file.look());
        let text = fs::read_to_string(&path).expect("read");
        fs::write(
            &path,
            format!("{text}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        )
        .expect("written");
        assert!(matches!(read_keys(&path), Err(ZoneKeyError::NotAKey { nth: 2, .. })));
        assert!(!file.look() && now(&file) == first);
        fs::write(&path, "nothing").expect("written");
        assert!(matches!(read_keys(&path), Err(ZoneKeyError::None(_))));
        let four = (0..4).map(|_| FileKey::new().expect("a key")).collect();
        assert!(matches!(
            write_keys(&path, four, false),
            Err(ZoneKeyError::TooMany { count: 4, .. })
        ));
        let mut keys = vec![FileKey::new().expect("a key")];
        fs::write(&path, text).expect("written");
        keys.extend(read_keys(&path).expect("read"));
        let both = tags(&write_keys(&path, keys, false).expect("written"));
        assert!(file.look() && now(&file) == both && both[1] == first[0]);
    }
}
