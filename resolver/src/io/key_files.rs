//! Keys on disk: making the files of a new key, and reading them back. What they hold is decided in [`keyfile`](crate::keyfile), and how they are
//! encrypted in [`sealed`](crate::sealed).

use crate::keyfile::{
    ContentsError, KEY_FILE_BYTES_MAX, KeyFileError, KeyPaths, PublicFile, RECOVERY_SEED, from_hex, is_public_path, to_hex,
};
use crate::sealed::{self, SealError};
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
    /// Under which all secrets are encrypted; `None`: they are not.
    pub passphrase: Option<Zeroizing<String>>,
}

/// Where the passphrases of encrypted files come from.
pub trait Passphrases {
    /// The passphrase of `file`, for the `attempt`-th time, counted from 0; `None`: there is no other than those that were wrong.
    ///
    /// # Errors
    /// Why it is not to be had, for people.
    fn of(&self, file: &Path, attempt: usize) -> Result<Option<Zeroizing<String>>, String>;
}

/// Nobody knows any.
#[derive(Clone, Copy, Debug)]
pub struct NoPassphrase;

impl Passphrases for NoPassphrase {
    fn of(&self, _file: &Path, _attempt: usize) -> Result<Option<Zeroizing<String>>, String> {
        Ok(None)
    }
}

/// A secret, as it was read.
#[derive(Debug)]
pub(super) struct Opened {
    pub key: SecretKey,
    /// As it stands in the file.
    pub text: Zeroizing<String>,
    /// What it is encrypted under, if it is.
    pub passphrase: Option<Zeroizing<String>>,
}

impl Default for NewKey {
    fn default() -> Self {
        Self {
            first: None,
            seed: None,
            epoch: 0,
            salt: Vec::new(),
            links: CHAIN_LINKS_DEFAULT,
            passphrase: None,
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
    let passphrase = new.passphrase.as_deref();
    let mut made = Made::default();
    if new.links > 0 || new.first.is_none() {
        make_folder(&paths.offline, false)?;
        made.folder = Some(paths.offline.clone());
        let text = match passphrase {
            None => hex_line(&seed),
            // It has the form of a key's seed, so it is encrypted like one.
            Some(_) => pem_of(&paths.recovery_seed(), &SecretKey::from_seed(&seed), passphrase)?,
        };
        made.file(&paths.recovery_seed(), text.as_bytes(), SECRET_MODE)?;
        for index in 1..=public.chain.links.len() {
            // At most 32 links: the chain was made with a checked count.
            let secret = SecretKey::derive(&seed, index as u16);
            let text = pem_of(&paths.link(index), &secret, passphrase)?;
            made.file(&paths.link(index), text.as_bytes(), SECRET_MODE)?;
        }
        sync_folder(&paths.offline)?;
    }
    made.file(&paths.public, public.print().as_bytes(), PUBLIC_MODE)?;
    let text = pem_of(&paths.private, &in_force, passphrase)?;
    made.file(&paths.private, text.as_bytes(), SECRET_MODE)?;
    sync_folder(parent)?;
    made.keep();
    Ok((paths, public))
}

/// Makes the files of another name of the same keys: the public one, and the private one as it stands. Both or, when anything is in the way, none.
///
/// # Errors
/// [`KeyFileError`]; nothing that was there before is changed.
pub fn derive(from: &Path, path: &Path, salt: &[u8]) -> Result<(KeyPaths, PublicFile), KeyFileError> {
    let paths = KeyPaths::of(path)?;
    let text = read_text(from)?;
    if !is_pem(&text.0) {
        return Err(KeyFileError::NotPrivate(from.to_owned()));
    }
    refuse_exposed(from, &text)?;
    let public = load_public(from)?.derived(salt)?;
    for place in [&paths.private, &paths.public] {
        if place.symlink_metadata().is_ok() {
            return Err(KeyFileError::Exists(place.clone()));
        }
    }
    let parent = parent_of(&paths.private);
    if !parent.exists() {
        make_folder(parent, true)?;
    }
    let mut made = Made::default();
    made.file(&paths.public, public.print().as_bytes(), PUBLIC_MODE)?;
    made.file(&paths.private, text.0.as_bytes(), SECRET_MODE)?;
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
    if sealed::is_sealed(&text.0) {
        // Whether it is that name's secret is found out when it signs.
        refuse_exposed(path, &text)?;
        return beside(path);
    }
    if is_pem(&text.0) {
        let (public, secret) = (beside(path)?, opened(path, text, &NoPassphrase)?.key);
        // A public file of another key beside it would be believed silently.
        public.signer(secret).map_err(|reason| contents(path, reason))?;
        return Ok(public);
    }
    PublicFile::parse(&text.0).map_err(|reason| contents(path, reason))
}

/// Reads the private file and the public one beside it: who signs for the name.
///
/// # Errors
/// [`KeyFileError`]; an encrypted file is [`KeyFileError::Sealed`].
pub fn load_signer(path: &Path) -> Result<Signer, KeyFileError> {
    load_signer_with(path, &NoPassphrase)
}

/// As [`load_signer`], for encrypted files, too.
///
/// # Errors
/// [`KeyFileError`].
pub fn load_signer_with(path: &Path, passphrases: &dyn Passphrases) -> Result<Signer, KeyFileError> {
    let secret = load_secret_with(path, passphrases)?;
    beside(path)?.signer(secret).map_err(|reason| contents(path, reason))
}

/// Reads a secret alone, such as one that OpenSSL made or a link's.
///
/// # Errors
/// [`KeyFileError`]; a file that others can read is refused, and an encrypted one is [`KeyFileError::Sealed`].
pub fn load_secret(path: &Path) -> Result<SecretKey, KeyFileError> {
    load_secret_with(path, &NoPassphrase)
}

/// As [`load_secret`], for encrypted files, too.
///
/// # Errors
/// [`KeyFileError`]; a file that others can read is refused.
pub fn load_secret_with(path: &Path, passphrases: &dyn Passphrases) -> Result<SecretKey, KeyFileError> {
    open_secret(path, passphrases).map(|opened| opened.key)
}

pub(super) fn open_secret(path: &Path, passphrases: &dyn Passphrases) -> Result<Opened, KeyFileError> {
    let text = read_text(path)?;
    if !is_pem(&text.0) && PublicFile::parse(&text.0).is_ok() {
        return Err(KeyFileError::NotPrivate(path.to_owned()));
    }
    opened(path, text, passphrases)
}

/// Reads a recovery seed.
///
/// # Errors
/// [`KeyFileError`]; a file that others can read is refused, and an encrypted one is [`KeyFileError::Sealed`].
pub fn load_recovery_seed(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    load_recovery_seed_with(path, &NoPassphrase)
}

/// As [`load_recovery_seed`], for an encrypted one, too.
///
/// # Errors
/// [`KeyFileError`]; a file that others can read is refused.
pub fn load_recovery_seed_with(path: &Path, passphrases: &dyn Passphrases) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let text = read_text(path)?;
    if sealed::is_sealed(&text.0) {
        return Ok(opened(path, text, passphrases)?.key.to_seed());
    }
    refuse_exposed(path, &text)?;
    seed_of(&text.0).ok_or_else(|| contents(path, ContentsError::Hex("recovery-seed")))
}

/// Whether a file of a secret is encrypted.
///
/// # Errors
/// [`KeyFileError`].
pub fn is_encrypted(path: &Path) -> Result<bool, KeyFileError> {
    read_text(path).map(|text| sealed::is_sealed(&text.0))
}

/// Encrypts a file of a secret under a passphrase, or under another; with none it is decrypted. A private file, a link's, or the recovery seed.
///
/// # Errors
/// [`KeyFileError`]; the file is the old one or the new one, whole.
pub fn seal_again(path: &Path, passphrases: &dyn Passphrases, new: Option<&str>) -> Result<(), KeyFileError> {
    let text = read_text(path)?;
    let seed = seed_of(&text.0);
    let is_seed = seed.is_some() || path.file_name().is_some_and(|name| name == RECOVERY_SEED);
    let key = match seed {
        Some(seed) => {
            refuse_exposed(path, &text)?;
            SecretKey::from_seed(&seed)
        }
        None => open_secret(path, passphrases)?.key,
    };
    let text = match new {
        None if is_seed => hex_line(&key.to_seed()),
        new => pem_of(path, &key, new)?,
    };
    // What cannot be opened again must not take the place of what can.
    if let Some(new) = new {
        let again = sealed::open(&text, new).map_err(|reason| seal_error(path, reason))?;
        if again.public() != key.public() {
            return Err(seal_error(path, SealError::Damaged));
        }
    }
    replace(path, text.as_bytes(), SECRET_MODE)
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

fn opened(path: &Path, text: Text, passphrases: &dyn Passphrases) -> Result<Opened, KeyFileError> {
    refuse_exposed(path, &text)?;
    let text = text.0;
    if !sealed::is_sealed(&text) {
        let key = SecretKey::from_pem(&text).map_err(|reason| contents(path, reason.into()))?;
        let passphrase = None;
        return Ok(Opened { key, text, passphrase });
    }
    let mut wrong = KeyFileError::Sealed(path.to_owned());
    for attempt in 0..ATTEMPTS_MAX {
        let asked = passphrases.of(path, attempt).map_err(|reason| KeyFileError::Passphrase {
            path: path.to_owned(),
            reason,
        })?;
        let Some(passphrase) = asked else { break };
        match sealed::open(&text, &passphrase) {
            Ok(key) => {
                let passphrase = Some(passphrase);
                return Ok(Opened { key, text, passphrase });
            }
            Err(reason @ SealError::Wrong) => wrong = seal_error(path, reason),
            Err(reason) => return Err(seal_error(path, reason)),
        }
    }
    Err(wrong)
}

/// A secret as it stands in a file.
pub(super) fn pem_of(path: &Path, key: &SecretKey, passphrase: Option<impl AsRef<str>>) -> Result<Zeroizing<String>, KeyFileError> {
    match passphrase {
        None => Ok(key.to_pem()),
        Some(passphrase) => sealed::seal(key, passphrase.as_ref(), &mut rand::rng()).map_err(|reason| seal_error(path, reason)),
    }
}

fn seal_error(path: &Path, reason: SealError) -> KeyFileError {
    let path = path.to_owned();
    KeyFileError::Seal { path, reason }
}

fn seed_of(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(from_hex(text.trim())?);
    <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Zeroizing::new)
}

fn hex_line(seed: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(format!("{}\n", *Zeroizing::new(to_hex(seed))))
}

/// Replaces a file by another at once: whoever reads it sees the one or the other, whole, also after a power failure. A link is followed: what it leads to
/// is replaced, on the disk where it is, and not the link by a copy that the other place knows nothing of.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyFileError> {
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    let draft = PathBuf::from(draft);
    // Left by an attempt that was interrupted; it is nobody's only copy.
    let _ = fs::remove_file(&draft);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(|reason| {
        let _ = fs::remove_file(&draft);
        disk(path, reason)
    })?;
    sync_folder(parent_of(path))
}

/// The text of a file that only its owner can read.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let text = read_text(path)?;
    refuse_exposed(path, &text)?;
    Ok(text.0)
}

/// A new file that only its owner can read.
pub(super) fn create_secret(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    let mut made = Made::default();
    made.file(path, bytes, SECRET_MODE)?;
    sync_folder(parent_of(path))?;
    made.keep();
    Ok(())
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
/// How often a passphrase is asked for: a slip or two, and then somebody should think.
const ATTEMPTS_MAX: usize = 4;
