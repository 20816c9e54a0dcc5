//! Rotating a key on disk: the secret of the next link takes the place of the one in force, and the public file says so.
//!
//! The public file is replaced first and the private one after it, each at once and durably. Whatever happens in between, the same call finishes
//! it: see [`PublicFile::rotates_to`]. The secret that is over stays beside them, under its epoch.

use crate::io::key_files::{Opened, PUBLIC_MODE, Passphrases, SECRET_MODE, beside, contents, load_secret, open_secret, pem_of, replace};
use crate::keyfile::{KeyFileError, KeyPaths, PublicFile};
use std::path::{Path, PathBuf};

/// A key that was rotated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rotated {
    /// What the public file says now.
    pub public: PublicFile,
    /// Where the secret is that signed before.
    pub superseded: PathBuf,
}

/// Puts the next link in force. Its secret is at `link`; `None`: in the offline folder beside the key. What is encrypted stays encrypted: the new
/// key under the passphrase of its link, or where the link is not, under that of the old key.
///
/// # Errors
/// [`KeyFileError`]; nothing is changed unless the secret is the right one, and what a failing disk leaves half done is finished by the same call.
pub fn rotate(private: &Path, link: Option<&Path>, passphrases: &dyn Passphrases) -> Result<Rotated, KeyFileError> {
    let paths = KeyPaths::of(private)?;
    let (public, old) = (beside(private)?, open_secret(private, passphrases)?);
    let epoch = public.rotates_to(&old.key).map_err(|reason| contents(private, reason))?;
    let link = link.map_or_else(|| paths.link(epoch), Path::to_owned);
    if !link.exists() {
        return Err(KeyFileError::NoLink(link));
    }
    let next = open_secret(&link, passphrases)?;
    let public = public.rotated(epoch, &next.key).map_err(|reason| contents(&link, reason))?;
    let in_force = match next.passphrase {
        Some(_) => next.text,
        None => pem_of(&paths.private, &next.key, old.passphrase.as_deref())?,
    };
    let superseded = paths.superseded(epoch - 1);
    keep(&superseded, &old)?;
    replace(&paths.public, public.print().as_bytes(), PUBLIC_MODE)?;
    replace(&paths.private, in_force.as_bytes(), SECRET_MODE)?;
    Ok(Rotated { public, superseded })
}

/// Keeps a secret where it was kept already or nothing is.
fn keep(path: &Path, old: &Opened) -> Result<(), KeyFileError> {
    if path.symlink_metadata().is_ok() {
        // An earlier attempt came so far; or something else is there, which is not ours to touch.
        let is_kept = std::fs::read(path).is_ok_and(|kept| kept == old.text.as_bytes())
            || load_secret(path).is_ok_and(|kept| kept.public() == old.key.public());
        return if is_kept {
            Ok(())
        } else {
            Err(KeyFileError::Exists(path.to_owned()))
        };
    }
    replace(path, old.text.as_bytes(), SECRET_MODE)
}
