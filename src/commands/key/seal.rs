//! `dialtone key encrypt`, `decrypt` and `passwd`: the secrets of a key under a passphrase, without it, under another.

use crate::exit::{Failure, Outcome};
use crate::passphrase::{self, PassphraseArgs};
use crate::{failures, output};
use clap::Args;
use dialtone_resolver::io::key_files;
use std::path::{Path, PathBuf};

/// Encrypt secrets under a passphrase
///
/// Private files, the links and the recovery seed of an offline folder. PKCS#8 with PBES2 (scrypt, AES-256-CBC), which OpenSSL reads. Without
/// the passphrase a file is worth nothing, to you too: keep the words of `dialtone key backup`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone key encrypt alice.key\n  dialtone key encrypt alice.offline/*\n  \
                        dialtone key encrypt alice.key --passphrase-file /run/secrets/alice"
)]
pub struct EncryptArgs {
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Decrypt secrets, so that whoever has a file can use it
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone key decrypt alice.key")]
pub struct DecryptArgs {
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Encrypt secrets under another passphrase
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dialtone key passwd alice.key alice.offline/*")]
pub struct PasswdArgs {
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// The new passphrase: the first line of this file [default: asked twice on the terminal]
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

/// Encrypts.
///
/// # Errors
/// A file is no secret, or encrypted already; the passphrase is not to be had. The files before it are encrypted.
pub fn encrypt(args: &EncryptArgs) -> Outcome {
    for file in &args.files {
        // Of an encrypted one the passphrase would be asked twice, for different things.
        if key_files::is_encrypted(file).map_err(failures::key_file)? {
            return Err(Failure::new(crate::exit::Exit::BadInput, file.display(), "is encrypted already")
                .help("to change its passphrase, use `dialtone key passwd`"));
        }
    }
    let new = passphrase::new(args.passphrase.passphrase_file.as_deref(), "to encrypt with")?;
    again(&args.files, &PassphraseArgs::default(), Some(&new), "encrypted")?;
    for file in &args.files {
        let plain = in_plain_beside(file);
        if let Some(first) = plain.first() {
            output::remark(format!(
                "note: what could sign as this name is still in plain beside it (files: {}, such as {}): encrypt it too, or move it away",
                plain.len(),
                first.display()
            ));
        }
    }
    Ok(())
}

/// What else could sign as this name, or soon: the links and the seed in its offline folder, one of which may be in force by now, and the keys before it.
fn in_plain_beside(file: &Path) -> Vec<PathBuf> {
    let Some(stem) = file.file_stem().and_then(|stem| stem.to_str()) else {
        return Vec::new();
    };
    let files = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let is_earlier = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(&format!("{stem}.epoch-")) && name.ends_with(".key")
    };
    let links = files(&folder.join(format!("{stem}.offline")));
    let mut plain: Vec<PathBuf> = files(folder).filter(is_earlier).chain(links).collect();
    plain.retain(|path| matches!(key_files::is_encrypted(path), Ok(false)));
    plain.sort();
    plain
}

/// Decrypts.
///
/// # Errors
/// A file is no secret, or the passphrase is wrong. The files before it are decrypted.
pub fn decrypt(args: &DecryptArgs) -> Outcome {
    again(&args.files, &args.passphrase, None, "decrypted")
}

/// Encrypts otherwise.
///
/// # Errors
/// As [`decrypt`].
pub fn passwd(args: &PasswdArgs) -> Outcome {
    // The old one first: whoever does not know it need not think of a new one.
    let old = args.passphrase.asking();
    for file in &args.files {
        if key_files::is_encrypted(file).map_err(failures::key_file)? {
            key_files::load_secret_with(file, &old).map_err(failures::key_file)?;
        }
    }
    let new = passphrase::new(args.new_passphrase_file.as_deref(), "to encrypt with")?;
    for file in &args.files {
        key_files::seal_again(file, &old, Some(&new)).map_err(failures::key_file)?;
        output::line(format!("encrypted  {}", file.display()))?;
    }
    Ok(())
}

fn again(files: &[PathBuf], old: &PassphraseArgs, new: Option<&str>, done: &str) -> Outcome {
    let old = old.asking();
    for file in files {
        key_files::seal_again(file, &old, new).map_err(failures::key_file)?;
        output::line(format!("{done}  {}", file.display()))?;
    }
    Ok(())
}
