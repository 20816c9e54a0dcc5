//! `dialtone key backup` and `restore`: the recovery seed as words that can be written down, and all keys made from them again.

use super::{make, new_passphrase};
use crate::bindings::{self, Salt};
use crate::config::{Client, ClientArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::passphrase::PassphraseArgs;
use crate::{failures, output};
use bip39::Mnemonic;
use clap::Args;
use dialtone_resolver::io::key_files::{self, NewKey};
use dialtone_resolver::io::publisher::Publisher;
use dialtone_resolver::keyfile::{KEY_FILE_BYTES_MAX, KeyPaths, to_hex};
use dialtone_resolver::publish::Account;
use dialtone_resolver::settings::ProviderAt;
use dialtone_shared::key::KeyChain;
use dialtone_shared::limits::{CHAIN_LINKS_DEFAULT, CHAIN_LINKS_MAX};
use dialtone_shared::{Body, Name, SecretKey};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Print the recovery seed as 24 words to write down
///
/// All keys of the name come from it. The words (BIP 39, English) carry a checksum. Whoever has them has the name: keep them as you
/// would keep the only key to a safe, on paper, away from this machine.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone key backup alice.key\n  dialtone key backup alice.key --seed /media/usb/alice.offline/recovery-seed"
)]
pub struct BackupArgs {
    /// The private or the public file of the name
    file: PathBuf,
    /// The recovery seed [default: the one in the offline folder beside FILE]
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Make all the files of a key again from the words of `dialtone key backup`
///
/// The words are read from standard input, in upper or lower case, with any spaces and line ends between. How often the key was rotated does
/// not stand in them: that is asked of the provider that holds the name's record, if one can be asked.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dialtone key restore alice.key --name <name>\n  dialtone key restore shop.key --name <name> --salt shop --epoch 1 < words.txt"
)]
pub struct RestoreArgs {
    /// Where the private key goes; the public file and the offline folder go beside it
    file: PathBuf,
    /// The name that must come out: a wrong salt or chain is found out
    #[arg(long, value_name = "NAME", value_parser = bindings::flat_name)]
    name: Option<Name>,
    /// How many keys may follow the first [default: with --name as many as make that name, otherwise 16]
    #[arg(long, value_name = "LINKS", value_parser = clap::value_parser!(u16).range(0..=CHAIN_LINKS_MAX as i64))]
    chain: Option<u16>,
    /// The salt that the name was made with
    #[arg(long, value_name = "SALT", value_parser = bindings::salt)]
    salt: Option<Salt>,
    /// How often the key was rotated [default: as the name's record at the provider says, otherwise 0]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(0..=CHAIN_LINKS_MAX as i64))]
    epoch: Option<u16>,
    /// The first key, if it was made elsewhere (`dialtone key new --from`)
    #[arg(long, value_name = "PEM")]
    from: Option<PathBuf>,
    /// Encrypt all secrets under a passphrase, which is asked twice on the terminal
    #[arg(long)]
    encrypt: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the words.
///
/// # Errors
/// The seed cannot be read, or is not that of the name.
pub fn run(args: &BackupArgs) -> Outcome {
    let public = key_files::load_public(&args.file).map_err(failures::key_file)?;
    let path = match &args.seed {
        Some(path) => path.clone(),
        None => KeyPaths::of(&args.file.with_extension("key"))
            .map_err(failures::key_file)?
            .recovery_seed(),
    };
    let seed = key_files::load_recovery_seed_with(&path, &args.passphrase.asking()).map_err(failures::key_file)?;
    let genesis = &public.chain.genesis;
    let links = public.chain.links.len();
    let made =
        KeyChain::starting_with(genesis.key, &seed, &genesis.salt, links).map_err(|error| Failure::new(Exit::BadInput, "key", error))?;
    let from_elsewhere = SecretKey::derive(&seed, 0).public() != genesis.key;
    if made != public.chain || (links == 0 && from_elsewhere) {
        return Err(Failure::new(
            Exit::BadInput,
            path.display(),
            format!("not the recovery seed of {}", public.name()),
        )
        .help("name the right one with --seed"));
    }
    let words = Mnemonic::from_entropy(seed.as_slice()).map_err(|error| Failure::new(Exit::Bug, "the seed as words", error))?;
    output::line(Zeroizing::new(words.to_string()).as_str())?;
    let mut restore = format!("dialtone key restore NEW.key --name {}", public.name());
    if !genesis.salt.is_empty() {
        restore += &format!(" --salt 0x{}", to_hex(&genesis.salt));
    }
    if from_elsewhere {
        restore += " --from FIRST.pem";
    }
    if public.epoch > 0 {
        restore += &format!(" --epoch {}", public.epoch);
    }
    output::remark("write these words down, and the line below; keep them away from this machine");
    output::remark(restore);
    if from_elsewhere {
        output::remark("the first key was made elsewhere: the words give back the keys that follow it, not that one");
    }
    Ok(())
}

/// Makes the files again.
///
/// # Errors
/// The words are wrong, or make another name; something is in the way.
pub async fn restore(args: &RestoreArgs) -> Outcome {
    let seed = read_words()?;
    let first = args.from.as_deref().map(|path| args.passphrase.secret(path)).transpose()?;
    let salt = args.salt.clone().unwrap_or_default().0;
    let start = first
        .as_ref()
        .map_or_else(|| SecretKey::derive(&seed, 0).public(), SecretKey::public);
    let makes = |links: usize| {
        KeyChain::starting_with(start, &seed, &salt, links)
            .map(|chain| chain.genesis.name())
            .map_err(|error| Failure::new(Exit::BadInput, "key", error))
    };
    let links = match (args.chain, args.name) {
        (Some(chain), _) => usize::from(chain),
        (None, None) => CHAIN_LINKS_DEFAULT,
        (None, Some(name)) => {
            let mut fits = None;
            for links in 0..=CHAIN_LINKS_MAX {
                if makes(links)? == name {
                    fits = Some(links);
                }
            }
            fits.ok_or_else(|| other_name(&args.file, &name))?
        }
    };
    if let Some(name) = args.name.filter(|_| args.chain.is_some())
        && makes(links)? != name
    {
        return Err(other_name(&args.file, &name));
    }
    let epoch = epoch_in_force(&makes(links)?, args.epoch.map(usize::from), &args.client).await?;
    let wanted = NewKey {
        first,
        seed: Some(seed),
        epoch,
        salt,
        links,
        passphrase: new_passphrase(args.encrypt, &args.passphrase, &args.file)?,
    };
    make(&args.file, &wanted, args.json)
}

/// How often the key of `name` was rotated: as `said`, or else as the record says that a provider holds. A key that is not in force any more
/// looks like one that is, and signs nothing that counts: whatever is not known is told.
async fn epoch_in_force(name: &Name, said: Option<usize>, client: &ClientArgs) -> Result<usize, Failure> {
    let client = Client::load(client)?;
    let account = |at: &ProviderAt| Account {
        at: at.clone(),
        token: None,
    };
    let providers = client.providers.value.iter().map(account).collect();
    let found = Publisher::new(providers).held(name).await;
    let (epoch, note) = match (said, &found) {
        (said, Ok(Some(record))) => {
            let (held, revoked) = (record.record().chain.len(), matches!(record.record().body, Body::Revoked));
            let epoch = said.unwrap_or(held);
            let note = match epoch {
                epoch if epoch < held => format!(
                    "warning: the record that is held was signed by the key of epoch {held}: what this one signs, of epoch {epoch}, counts for \
                     nothing; leave --epoch out to restore that one"
                ),
                epoch if epoch == held && revoked => {
                    "note: this key is revoked: `dialtone key rotate` puts the next one in force".to_owned()
                }
                _ if said.is_none() => format!("note: the key of epoch {epoch}, which signed the record that is held"),
                _ => String::new(),
            };
            (epoch, note)
        }
        (Some(epoch), _) => (epoch, String::new()),
        (None, Ok(None)) => (0, format!("the provider holds no record of it; {IF_ROTATED}")),
        (None, Err(error)) => (0, format!("{error}; {IF_ROTATED}")),
    };
    if !note.is_empty() {
        output::remark(note);
    }
    Ok(epoch)
}

fn other_name(file: &Path, name: &Name) -> Failure {
    Failure::new(
        Exit::BadInput,
        file.display(),
        format!("these words do not make {name}: nothing was written"),
    )
    .help("check the salt, --from and --chain: they are part of what the name commits to")
}

/// The seed in the words on standard input.
fn read_words() -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES_MAX as usize));
    let failed = |error: &io::Error| Failure::file(Path::new("standard input"), error);
    io::stdin()
        .lock()
        .take(KEY_FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| failed(&error))?;
    let text = Zeroizing::new(text.to_lowercase());
    let wrong = |reason: String| {
        Failure::new(Exit::BadInput, "the words", reason)
            .help("give the 24 words of `dialtone key backup` in their order, on standard input")
    };
    let text = Zeroizing::new(text.split_whitespace().collect::<Vec<_>>().join(" "));
    let words = Mnemonic::parse_in(bip39::Language::English, text.as_str()).map_err(|error| wrong(of_words(&error)))?;
    let entropy = Zeroizing::new(words.to_entropy());
    let seed = <[u8; 32]>::try_from(entropy.as_slice()).map_err(|_| wrong(format!("{} words, not 24", words.word_count())))?;
    Ok(Zeroizing::new(seed))
}

/// What is wrong with words, counted as a person counts. The word itself is not repeated: it is nearly one of a secret.
fn of_words(error: &bip39::Error) -> String {
    match error {
        bip39::Error::UnknownWord(index) => format!("word {} is not on the list", index + 1),
        bip39::Error::BadWordCount(count) => format!("{count} words, not 24"),
        bip39::Error::InvalidChecksum => "their checksum is wrong: one of them is another, or two have changed places".to_owned(),
        bip39::Error::BadEntropyBitCount(_) | bip39::Error::AmbiguousLanguages(_) => error.to_string(),
    }
}

/// Said where nobody can say how often a key was rotated.
const IF_ROTATED: &str = "the first key is restored: if it was rotated, it signs nothing that counts; then say how often with --epoch";
