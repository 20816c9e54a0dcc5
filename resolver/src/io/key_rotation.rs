//! Rotating a key on disk: the secret of the next link takes the place of the one in force, and the public file says so.
//!
//! The public file is replaced first and the private one after it, each at once and durably. Whatever happens in between, the same call finishes
//! it: see [`PublicFile::rotates_to`]. The secret that is over stays beside them, under its epoch.

use crate::io::key_files::{PUBLIC_MODE, SECRET_MODE, beside, contents, disk, load_secret, parent_of, sync_folder};
use crate::keyfile::{KeyFileError, KeyPaths, PublicFile};
use dialtone_shared::SecretKey;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A key that was rotated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rotated {
    /// What the public file says now.
    pub public: PublicFile,
    /// Where the secret is that signed before.
    pub superseded: PathBuf,
}

/// Puts the next link in force. Its secret is at `link`; `None`: in the offline folder beside the key.
///
/// # Errors
/// [`KeyFileError`]; nothing is changed unless the secret is the right one, and what a failing disk leaves half done is finished by the same call.
pub fn rotate(private: &Path, link: Option<&Path>) -> Result<Rotated, KeyFileError> {
    let paths = KeyPaths::of(private)?;
    let (public, secret) = (beside(private)?, load_secret(private)?);
    let epoch = public.rotates_to(&secret).map_err(|reason| contents(private, reason))?;
    let link = link.map_or_else(|| paths.link(epoch), Path::to_owned);
    if !link.exists() {
        return Err(KeyFileError::NoLink(link));
    }
    let next = load_secret(&link)?;
    let public = public.rotated(epoch, &next).map_err(|reason| contents(&link, reason))?;
    let superseded = paths.superseded(epoch - 1);
    keep(&superseded, &secret)?;
    replace(&paths.public, public.print().as_bytes(), PUBLIC_MODE)?;
    replace(&paths.private, next.to_pem().as_bytes(), SECRET_MODE)?;
    Ok(Rotated { public, superseded })
}

/// Keeps a secret where it was kept already or nothing is.
fn keep(path: &Path, secret: &SecretKey) -> Result<(), KeyFileError> {
    if path.symlink_metadata().is_ok() {
        // An earlier attempt came so far; or something else is there, which is not ours to touch.
        return match load_secret(path) {
            Ok(kept) if kept.public() == secret.public() => Ok(()),
            _ => Err(KeyFileError::Exists(path.to_owned())),
        };
    }
    replace(path, secret.to_pem().as_bytes(), SECRET_MODE)
}

/// Replaces a file by another at once: whoever reads it sees the one or the other, whole, also after a power failure. A link is followed: what it leads to
/// is replaced, on the disk where it is, and not the link by a copy that the other place knows nothing of.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyFileError> {
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
