//! The key that says who a provider is: made once, kept in a file that only its owner may read.

use dialtone_shared::SecretKey;
use dialtone_shared::receipt::Signer;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Why there is no identity. The operator's turn.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or made.
    #[error("the key file {path} cannot be {what}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        reason: io::Error,
    },
    /// The file holds something else.
    #[error(
        "the key file {0} is not a PKCS#8 PEM file of an Ed25519 key (`dialtone key new` or `openssl genpkey -algorithm ed25519` makes one)"
    )]
    NotAKey(PathBuf),
}

/// The signer whose key is in the file at `path`. With `may_make`, a missing file is made with a new key, mode 0600; an
/// existing one is never written to.
///
/// # Errors
/// [`IdentityError`].
pub fn open(path: &Path, may_make: bool) -> Result<Signer, IdentityError> {
    let failed = |what| {
        move |reason| IdentityError::File {
            path: path.to_owned(),
            what,
            reason,
        }
    };
    let pem = match fs::read_to_string(path) {
        Ok(pem) => Zeroizing::new(pem),
        Err(error) if error.kind() == ErrorKind::NotFound && may_make => {
            let pem = new_key().to_pem();
            write_new(path, pem.as_bytes()).map_err(failed("made"))?;
            pem
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => return Err(IdentityError::NotAKey(path.to_owned())),
        Err(error) => return Err(failed("read")(error)),
    };
    warn_if_others_can_read(path);
    let secret = SecretKey::from_pem(&pem).map_err(|_| IdentityError::NotAKey(path.to_owned()))?;
    Ok(Signer::of(secret))
}

fn new_key() -> SecretKey {
    let seed = Zeroizing::new(rand::random::<[u8; 32]>());
    SecretKey::from_seed(&seed)
}

/// Writes a file that was not there, readable by its owner alone, and makes sure that it stays: a provider that loses its
/// key is another provider. It is complete or absent, also after a crash in between.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    // A new file, always: one that is there already, or leads elsewhere, could be read by others.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A hard link, not a rename: it fails if somebody else made the file meanwhile, instead of overwriting it.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    linked?;
    if let Some(folder) = path.parent() {
        fs::File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()?;
    }
    Ok(())
}

fn warn_if_others_can_read(path: &Path) {
    #[cfg(unix)]
    if let Ok(about) = fs::metadata(path) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o777;
        if mode & 0o077 != 0 {
            tracing::warn!(
                "the key file {} can be read by others (mode {mode:o}): chmod 600 it",
                path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.key");
        let made = open(&path, true).unwrap().name();
        assert_eq!(open(&path, true).unwrap().name(), made);
        assert_eq!(open(&path, false).unwrap().name(), made);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_new_key_is_written_into_no_file_that_was_there_before() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (path, draft) = (folder.path().join("identity.key"), folder.path().join("identity.draft"));
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "something dear").unwrap();
        for make in [
            |draft: &Path, _: &Path| fs::write(draft, ""),
            |draft: &Path, elsewhere: &Path| symlink(elsewhere, draft),
        ] {
            make(&draft, &elsewhere).unwrap();
            open(&path, true).unwrap();
            assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode(), 0o100_600);
            assert_eq!(fs::read(&elsewhere).unwrap(), b"something dear");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_file_that_is_not_a_key_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.key");
        fs::write(&path, "something dear").unwrap();
        assert!(matches!(open(&path, true), Err(IdentityError::NotAKey(_))));
        assert_eq!(fs::read(&path).unwrap(), b"something dear");
    }

    #[test]
    fn a_key_file_that_was_named_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let error = open(&folder.path().join("other.key"), false).unwrap_err();
        assert!(error.to_string().contains("other.key"), "{error}");
    }

    #[test]
    fn a_key_made_by_openssl_is_taken() {
        // `openssl genpkey -algorithm ed25519`; the key of RFC 8410 §10.3.
        let pem =
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.key");
        fs::write(&path, pem).unwrap();
        let public = open(&path, false).unwrap().secret.public();
        assert_eq!(
            hex::encode(public.as_bytes()),
            "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
        );
    }
}
