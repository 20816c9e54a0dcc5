//! The passphrases of encrypted key files: from the terminal, unseen, or from a file or descriptor; never from an argument, which others can read.

use crate::exit::{Exit, Failure, plain};
use clap::Args;
use dialtone_resolver::io::key_files::{self, Passphrases};
use dialtone_resolver::keyfile::KEY_FILE_BYTES_MAX;
use dialtone_shared::SecretKey;
use dialtone_shared::receipt::Signer;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where the passphrase of an encrypted key comes from.
#[derive(Args, Clone, Debug, Default)]
pub struct PassphraseArgs {
    /// The passphrase of an encrypted key: the first line of this file, or of a descriptor as /dev/fd/3 [default: asked on the terminal]
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Asks as the arguments have it, and remembers what was right last: the files of a key usually have one passphrase.
#[derive(Debug)]
pub struct Asking<'a> {
    from: &'a PassphraseArgs,
    last: RefCell<Option<Zeroizing<String>>>,
}

impl PassphraseArgs {
    /// For several files of one key.
    pub fn asking(&self) -> Asking<'_> {
        Asking {
            from: self,
            last: RefCell::new(None),
        }
    }

    /// Who signs with the private key at `path`.
    ///
    /// # Errors
    /// The key's files or its passphrase are not what they must be.
    pub fn signer(&self, path: &Path) -> Result<Signer, Failure> {
        key_files::load_signer_with(path, &self.asking()).map_err(crate::failures::key_file)
    }

    /// A secret alone.
    ///
    /// # Errors
    /// As [`PassphraseArgs::signer`].
    pub fn secret(&self, path: &Path) -> Result<SecretKey, Failure> {
        key_files::load_secret_with(path, &self.asking()).map_err(crate::failures::key_file)
    }
}

impl Passphrases for Asking<'_> {
    fn of(&self, file: &Path, attempt: usize) -> Result<Option<Zeroizing<String>>, String> {
        let last = self.last.borrow().clone();
        let passphrase = match (&self.from.passphrase_file, last) {
            (_, Some(last)) if attempt == 0 => last,
            (Some(_), Some(_)) => return Ok(None),
            (Some(from), None) => first_line(from).map_err(|error| format!("{}: {error}", from.display()))?,
            (None, _) => {
                if attempt > 0 {
                    crate::output::remark("that is not it");
                }
                prompt(&format!("passphrase of {}: ", file.display()))?
            }
        };
        *self.last.borrow_mut() = Some(passphrase.clone());
        Ok(Some(passphrase))
    }
}

/// A new passphrase, from a file or twice from the terminal.
///
/// # Errors
/// It is empty; the two are not the same; there is no terminal.
pub fn new(from: Option<&Path>, what: &str) -> Result<Zeroizing<String>, Failure> {
    let wrong = |reason: &str| {
        Failure::new(Exit::BadInput, "the new passphrase", reason)
            .help("give it on the terminal, or as the first line of a file that others cannot read, with --passphrase-file")
    };
    let passphrase = match from {
        Some(path) => first_line(path).map_err(|reason| wrong(&format!("{}: {reason}", path.display())))?,
        None => {
            let once = prompt(&format!("new passphrase {what}: ")).map_err(|reason| wrong(&reason))?;
            let again = prompt("the same again: ").map_err(|reason| wrong(&reason))?;
            if once != again {
                return Err(wrong("the two are not the same: nothing was changed"));
            }
            once
        }
    };
    match passphrase.is_empty() {
        true => Err(wrong("it is empty, which protects nothing")),
        false => Ok(passphrase),
    }
}

fn prompt(text: &str) -> Result<Zeroizing<String>, String> {
    // Whoever has neither is a script, which must not be left hanging.
    if !io::stdin().is_terminal() && !io::stderr().is_terminal() {
        return Err("there is no terminal to ask for it on: use --passphrase-file".to_owned());
    }
    rpassword::prompt_password(text).map(Zeroizing::new).map_err(|error| plain(&error))
}

/// The first line of a file that nobody else can read, without its end.
fn first_line(path: &Path) -> Result<Zeroizing<String>, String> {
    let file = File::open(path).map_err(|error| plain(&error))?;
    let about = file.metadata().map_err(|error| plain(&error))?;
    if about.is_file() && about.mode() & 0o077 != 0 {
        return Err(format!("others can read it (mode {:04o}): run `chmod 600`", about.mode() & 0o7777));
    }
    let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES_MAX as usize));
    file.take(KEY_FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| plain(&error))?;
    let line = text.split('\n').next().unwrap_or_default();
    Ok(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}
