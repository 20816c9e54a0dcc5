//! Keys on disk: making the files of a new key, and reading them back. What they hold is decided in [`keyfile`](crate::keyfile).

use crate::keyfile::{ContentsError, KEY_FILE_BYTES_MAX, KeyFileError, KeyPaths, PublicFile, from_hex, is_public_path, to_hex};
use dialtone_shared::SecretKey;
use dialtone_shared::key::KeyChain;
use dialtone_shared::limits::CHAIN_LINKS_DEFAULT;
use dialtone_shared::receipt::Signer;
use rand::Rng;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What a new key should be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The first key, if it was made elsewhere; otherwise one is made.
    pub first: Option<SecretKey>,
    /// The recovery seed, if there is one already; otherwise one is drawn.
    pub seed: Option<Zeroizing<[u8; 32]>>,
    /// How many links are in force already: not 0 only for a name that had been rotated.
    pub epoch: usize,
    /// Tells apart the names of one key; empty for none.
    pub salt: Vec<u8>,
    /// How many links may follow; 0: the name cannot rotate.
    pub links: usize,
}

impl Default for NewKey {
    fn default() -> Self {
        Self {
            first: None,
            seed: None,
            epoch: 0,
            salt: Vec::new(),
            links: CHAIN_LINKS_DEFAULT,
        }
    }
}

/// Makes the files of a new key: all of them or, when anything is in the way, none.
///
/// # Errors
/// [`KeyFileError`]; nothing that was there before is changed.
pub fn create(path: &Path, new: &NewKey) -> Result<(KeyPaths, PublicFile), KeyFileError> {
    let paths = KeyPaths::of(path)?;
    let seed = new.seed.clone().unwrap_or_else(|| {
        let mut seed = Zeroizing::new([0; 32]);
        rand::rng().fill_bytes(seed.as_mut_slice());
        seed
    });
    let first = new.first.clone().unwrap_or_else(|| SecretKey::derive(&seed, 0));
    let (links, epoch) = (new.links, new.epoch);
    let public = PublicFile {
        chain: KeyChain::starting_with(first.public(), &seed, &new.salt, links)?,
        epoch,
    };
    if epoch > links {
        return Err(contents(path, ContentsError::Epoch { epoch, links }));
    }
    let in_force = match epoch {
        0 => first,
        // At most 32: the chain was made with a checked count.
        epoch => SecretKey::derive(&seed, epoch as u16),
    };
    for place in [&paths.private, &paths.public, &paths.offline] {
        if place.symlink_metadata().is_ok() {
            return Err(KeyFileError::Exists(place.clone()));
        }
    }
    let parent = parent_of(&paths.private);
    if !parent.exists() {
        make_folder(parent, true)?;
    }
    let mut made = Made::default();
    if new.links > 0 || new.first.is_none() {
        make_folder(&paths.offline, false)?;
        made.folder = Some(paths.offline.clone());
        let text = Zeroizing::new(format!("{}\n", *Zeroizing::new(to_hex(seed.as_slice()))));
        made.file(&paths.recovery_seed(), text.as_bytes(), SECRET_MODE)?;
        for index in 1..=public.chain.links.len() {
            // At most 32 links: the chain was made with a checked count.
            let secret = SecretKey::derive(&seed, index as u16);
            made.file(&paths.link(index), secret.to_pem().as_bytes(), SECRET_MODE)?;
        }
        sync_folder(&paths.offline)?;
    }
    made.file(&paths.public, public.print().as_bytes(), PUBLIC_MODE)?;
    made.file(&paths.private, in_force.to_pem().as_bytes(), SECRET_MODE)?;
    sync_folder(parent)?;
    made.keep();
    Ok((paths, public))
}

/// Reads the public file, given its path or that of the private file beside it.
///
/// # Errors
/// [`KeyFileError`].
pub fn load_public(path: &Path) -> Result<PublicFile, KeyFileError> {
    if is_public_path(path) {
        return read_public(path);
    }
    let text = read_text(path)?;
    if is_pem(&text.0) {
        let (public, secret) = (beside(path)?, secret_of(path, &text)?);
        // A public file of another key beside it would be believed silently.
        public.signer(secret).map_err(|reason| contents(path, reason))?;
        return Ok(public);
    }
    PublicFile::parse(&text.0).map_err(|reason| contents(path, reason))
}

/// Reads the private file and the public one beside it: who signs for the name.
///
/// # Errors
/// [`KeyFileError`].
pub fn load_signer(path: &Path) -> Result<Signer, KeyFileError> {
    let secret = load_secret(path)?;
    beside(path)?.signer(secret).map_err(|reason| contents(path, reason))
}

/// Reads a secret alone, such as one that OpenSSL made or a link's.
///
/// # Errors
/// [`KeyFileError`]; a file that others can read is refused.
pub fn load_secret(path: &Path) -> Result<SecretKey, KeyFileError> {
    let text = read_text(path)?;
    if !is_pem(&text.0) && PublicFile::parse(&text.0).is_ok() {
        return Err(KeyFileError::NotPrivate(path.to_owned()));
    }
    secret_of(path, &text)
}

/// Reads a recovery seed.
///
/// # Errors
/// [`KeyFileError`]; a file that others can read is refused.
pub fn load_recovery_seed(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let text = read_text(path)?;
    refuse_exposed(path, &text)?;
    let bytes = from_hex(text.0.trim()).map(Zeroizing::new);
    let seed = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
    seed.map(Zeroizing::new)
        .ok_or_else(|| contents(path, ContentsError::Hex("recovery-seed")))
}

pub(super) fn beside(private: &Path) -> Result<PublicFile, KeyFileError> {
    let paths = KeyPaths::of(private)?;
    if !paths.public.exists() {
        return Err(KeyFileError::NoPublicFile(paths.public));
    }
    read_public(&paths.public)
}

fn read_public(path: &Path) -> Result<PublicFile, KeyFileError> {
    PublicFile::parse(&read_text(path)?.0).map_err(|reason| contents(path, reason))
}

fn secret_of(path: &Path, text: &Text) -> Result<SecretKey, KeyFileError> {
    refuse_exposed(path, text)?;
    SecretKey::from_pem(&text.0).map_err(|reason| contents(path, reason.into()))
}

fn refuse_exposed(path: &Path, Text(_, mode): &Text) -> Result<(), KeyFileError> {
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed {
            path: path.to_owned(),
            mode: *mode,
        });
    }
    Ok(())
}

/// What a file says, and the permissions of that very file.
struct Text(Zeroizing<String>, u32);

fn read_text(path: &Path) -> Result<Text, KeyFileError> {
    let file = File::open(path).map_err(|reason| disk(path, reason))?;
    let mode = file.metadata().map_err(|reason| disk(path, reason))?.mode() & 0o7777;
    // Room for everything at once: a buffer that grows leaves copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES_MAX as usize + 1));
    file.take(KEY_FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|reason| disk(path, reason))?;
    if bytes.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(contents(path, ContentsError::TooLarge));
    }
    match str::from_utf8(&bytes) {
        Ok(text) => Ok(Text(Zeroizing::new(text.to_owned()), mode)),
        Err(_) => Err(contents(path, ContentsError::NotText)),
    }
}

fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN ")
}

fn make_folder(path: &Path, recursive: bool) -> Result<(), KeyFileError> {
    DirBuilder::new()
        .recursive(recursive)
        .mode(FOLDER_MODE)
        .create(path)
        .map_err(|reason| exists_or(path, reason))
}

pub(super) fn sync_folder(path: &Path) -> Result<(), KeyFileError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|reason| disk(path, reason))
}

pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

pub(super) fn exists_or(path: &Path, reason: io::Error) -> KeyFileError {
    if reason.kind() == io::ErrorKind::AlreadyExists {
        KeyFileError::Exists(path.to_owned())
    } else {
        disk(path, reason)
    }
}

pub(super) fn disk(path: &Path, reason: io::Error) -> KeyFileError {
    KeyFileError::Disk {
        path: path.to_owned(),
        reason,
    }
}

pub(super) fn contents(path: &Path, reason: ContentsError) -> KeyFileError {
    KeyFileError::Contents {
        path: path.to_owned(),
        reason,
    }
}

/// What was made so far; taken away again unless all of it could be made. Half a key is worse than none.
#[derive(Default)]
struct Made {
    files: Vec<PathBuf>,
    folder: Option<PathBuf>,
}

impl Made {
    fn file(&mut self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyFileError> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .map_err(|reason| exists_or(path, reason))?;
        self.files.push(path.to_owned());
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(|reason| disk(path, reason))
    }

    fn keep(mut self) {
        self.files.clear();
        self.folder = None;
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Nothing better can be done about what cannot be removed: the error that led here is the one to tell.
        for path in self.files.drain(..) {
            let _ = fs::remove_file(path);
        }
        if let Some(folder) = self.folder.take() {
            let _ = fs::remove_dir(folder);
        }
    }
}

pub(super) const SECRET_MODE: u32 = 0o600;
pub(super) const PUBLIC_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o700;
