//! What providers promised for what was published from here: their receipts, kept in the state folder, a pair of files for each name and provider.
//!
//! ```text
//! leases/<name>.<provider>.receipt   the receipt, as the provider gave it: `dialtone audit --receipt` takes it
//! leases/<name>.<provider>.at        where the provider was
//! ```

use dialtone_resolver::publish::Acknowledged;
use dialtone_resolver::settings::ProviderAt;
use dialtone_shared::receipt::{Promise, Receipt};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A promise that was made here.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Where the provider was.
    pub at: ProviderAt,
    /// What it promised; its signature was checked.
    pub promise: Promise,
    /// The file of the receipt.
    pub receipt: PathBuf,
}

/// Keeps what was promised, in the place of what the same provider promised for the same name before. Where it cannot be kept that is only logged:
/// the record is published.
pub fn keep(state: Option<&Path>, kept: &[&Acknowledged]) {
    let Some(folder) = state.map(folder) else { return };
    let write = || {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        for kept in kept {
            let path = folder.join(format!("{}.{}.receipt", kept.promise.name, kept.promise.provider));
            replace(&path.with_extension("at"), kept.provider.to_string().as_bytes())?;
            replace(&path, &kept.receipt)?;
        }
        Ok::<_, io::Error>(())
    };
    if let Err(error) = write() {
        tracing::warn!(folder = %folder.display(), %error, "receipts are not kept");
    }
}

/// All that is kept, by name and provider; what cannot be read is only logged.
///
/// # Errors
/// The folder cannot be read.
pub fn all(state: &Path) -> io::Result<Vec<Lease>> {
    let folder = folder(state);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut leases = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension() != Some(OsStr::new("receipt")) {
            continue;
        }
        match read(&path) {
            Some(lease) => leases.push(lease),
            None => tracing::warn!(path = %path.display(), "not a receipt"),
        }
    }
    leases.sort_by_key(|lease| (lease.promise.name, lease.promise.provider));
    Ok(leases)
}

fn read(path: &Path) -> Option<Lease> {
    let at = fs::read_to_string(path.with_extension("at")).ok()?;
    Some(Lease {
        at: at.trim().parse().ok()?,
        promise: Receipt::decode(&fs::read(path).ok()?).ok()?.verify().ok()?,
        receipt: path.to_owned(),
    })
}

fn folder(state: &Path) -> PathBuf {
    state.join("leases")
}

/// At once: two processes may publish one name.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    draft.write_all(bytes)?;
    draft.persist(path).map(drop).map_err(|error| error.error)
}
