//! What a key looks like on disk: the public file, the places of the secrets, and what is refused when they are read.
//!
//! ```text
//! alice.key                    PKCS#8 PEM of the key in force                    mode 0600
//! alice.epoch-0.key            PKCS#8 PEM of a key that was rotated away         mode 0600
//! alice.pub                    TOML: the name, its genesis, every link           public
//! alice.offline/               meant to be moved to a medium that is kept apart  mode 0700
//!   recovery-seed              64 hexadecimal digits; all links come from it     mode 0600
//!   link-01.key … link-16.key  PKCS#8 PEM of each key that may follow            mode 0600
//! ```
//!
//! Each secret may be encrypted under a passphrase, as [`sealed`](crate::sealed) says; the recovery seed then, too, as if it were a key's.
//! A rotation needs the public file and one link's secret. No secret is lost by being overwritten, and one that others can read
//! is refused. The disk itself is touched in [`io::key_files`](crate::io::key_files) and [`io::key_rotation`](crate::io::key_rotation).

use crate::sealed::SealError;
use dialtone_shared::key::{KeyChain, KeyError};
use dialtone_shared::limits::SALT_BYTES_MAX;
use dialtone_shared::receipt::Signer;
use dialtone_shared::{Commitment, Genesis, Link, Name, NameError, PublicKey, SecretKey};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The public file of a name: everything but secrets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicFile {
    /// The genesis and the whole chain of links made with it.
    pub chain: KeyChain,
    /// How many links are revealed so far: the key epoch.
    pub epoch: usize,
}

/// Where the files of one key are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyPaths {
    /// The secret in force.
    pub private: PathBuf,
    /// The public file.
    pub public: PathBuf,
    /// The folder of what is to be kept elsewhere.
    pub offline: PathBuf,
}

/// Why a key's files cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Making it would overwrite something. Choose another path, or move what is there.
    #[error("{} exists already and a key is never overwritten: choose another path", .0.display())]
    Exists(PathBuf),
    /// The secret can be read by others: its owner's turn.
    #[error("{} can be read by others (mode {mode:04o}): run `chmod 600 {}` and consider the key stolen if the machine is shared", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The disk says no.
    #[error("{}: {reason}", path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The public file that must stand beside a secret is missing: without it the name is not known.
    #[error("{} is missing: the name of a key stands in its public file; restore it, or make a new name of this key with `dialtone key new --from`", .0.display())]
    NoPublicFile(PathBuf),
    /// What was given holds no secret.
    #[error("{} is a public file: signing needs the private file beside it", .0.display())]
    NotPrivate(PathBuf),
    /// It is encrypted, and nobody can be asked for its passphrase.
    #[error("{} is encrypted: its passphrase is needed", .0.display())]
    Sealed(PathBuf),
    /// The passphrase was not to be had.
    #[error("the passphrase of {}: {reason}", path.display())]
    Passphrase {
        /// The encrypted file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It cannot be decrypted or encrypted.
    #[error("{}: {reason}", path.display())]
    Seal {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: SealError,
    },
    /// The secret of the next link is not where it is looked for: usually its medium is kept apart, as it should be.
    #[error("{} is missing: it holds the next key; name it with `--link`, on the medium where it is kept", .0.display())]
    NoLink(PathBuf),
    /// A path that would make the public file replace the private one.
    #[error("{}: a private key's path must not end in .pub, which is its public file's", .0.display())]
    PublicPath(PathBuf),
    /// The contents are not what they must be.
    #[error("{}: {reason}", path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: ContentsError,
    },
    /// A key cannot be made as asked.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// What is wrong inside a key's file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ContentsError {
    /// Larger than any key's file.
    #[error("larger than any key file: is this the right path?")]
    TooLarge,
    /// Not text.
    #[error("not text: neither PEM nor a public file")]
    NotText,
    /// Not TOML of the right shape.
    #[error("not a public file: {0}")]
    Toml(String),
    /// A format of a later version.
    #[error("public file format {0} is not known to this version")]
    Format(u64),
    /// Not hexadecimal, or of the wrong length.
    #[error("`{0}` is not hexadecimal of the right length")]
    Hex(&'static str),
    /// The genesis does not decode.
    #[error("`genesis`: {0}")]
    Genesis(dialtone_shared::cbor::CborError),
    /// Keys that do not hold together.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// Not a name.
    #[error("`name`: {0}")]
    Name(#[from] NameError),
    /// The name is not the genesis's.
    #[error("`name` is not the one that the genesis makes ({0}): the file was changed")]
    OtherName(Name),
    /// More links revealed than there are.
    #[error("`epoch` {epoch} is beyond the {links} links")]
    Epoch {
        /// What was found.
        epoch: usize,
        /// How many there are.
        links: usize,
    },
    /// Every link has been revealed, or there never was one.
    #[error("the key of {0} cannot change any more: all of its {1} links are used")]
    NoLinkLeft(Name, usize),
    /// The secret is not the one of the link that comes next.
    #[error("the secret is not that of link {wanted} of {name}, which comes next{}", found.map(|found| format!(": it is that of link {found}")).unwrap_or_default())]
    OtherLink {
        /// Whose key changes.
        name: Name,
        /// The link that comes next, counted from 1.
        wanted: usize,
        /// The link whose secret it is, if it is of this name at all.
        found: Option<usize>,
    },
    /// The genesis commits to links that the file does not list.
    #[error("the genesis or the last link commits to a link that is not listed")]
    LinksMissing,
    /// The secret is another key's.
    #[error("the secret is not the one in force for {name} (key epoch {epoch})")]
    OtherSecret {
        /// Whose public file it is.
        name: Name,
        /// Its key epoch.
        epoch: usize,
    },
}

impl PublicFile {
    /// The name.
    pub fn name(&self) -> Name {
        self.chain.genesis.name()
    }

    /// The links revealed so far, as a record lists them.
    pub fn revealed(&self) -> &[Link] {
        &self.chain.links[..self.epoch.min(self.chain.links.len())]
    }

    /// The public key in force.
    pub fn key(&self) -> PublicKey {
        self.revealed().last().map_or(self.chain.genesis.key, |link| link.key)
    }

    /// The public key of an epoch, if the chain reaches so far.
    fn key_of(&self, epoch: usize) -> Option<PublicKey> {
        match epoch.checked_sub(1) {
            None => Some(self.chain.genesis.key),
            Some(link) => self.chain.links.get(link).map(|link| link.key),
        }
    }

    /// The epoch that a rotation leads to, if `secret` is what signs now. A rotation that was interrupted leaves the secret one epoch
    /// behind the public file; then it is to be finished.
    ///
    /// # Errors
    /// [`ContentsError::OtherSecret`], [`ContentsError::NoLinkLeft`].
    pub fn rotates_to(&self, secret: &SecretKey) -> Result<usize, ContentsError> {
        let (key, epoch) = (Some(secret.public()), self.epoch);
        if key == self.key_of(epoch) {
            return match self.chain.links.len() {
                links if links == epoch => Err(ContentsError::NoLinkLeft(self.name(), links)),
                _ => Ok(epoch + 1),
            };
        }
        match epoch.checked_sub(1) {
            Some(before) if key == self.key_of(before) => Ok(epoch),
            _ => Err(ContentsError::OtherSecret { name: self.name(), epoch }),
        }
    }

    /// The file as it is once the link that leads to `epoch` is in force, if `secret` is that link's.
    ///
    /// # Errors
    /// [`ContentsError::OtherLink`].
    pub fn rotated(&self, epoch: usize, secret: &SecretKey) -> Result<Self, ContentsError> {
        let key = secret.public();
        if epoch == 0 || self.key_of(epoch) != Some(key) {
            return Err(ContentsError::OtherLink {
                name: self.name(),
                wanted: epoch,
                found: self.chain.links.iter().position(|link| link.key == key).map(|at| at + 1),
            });
        }
        let chain = self.chain.clone();
        Ok(Self { chain, epoch })
    }

    /// The public file of another name of the same keys, told apart by its salt: rotated by the same links, and as often as this one.
    ///
    /// # Errors
    /// [`KeyError::Salt`]: none, too long, or this name's own.
    pub fn derived(&self, salt: &[u8]) -> Result<Self, KeyError> {
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX || salt == self.chain.genesis.salt {
            return Err(KeyError::Salt);
        }
        let mut derived = self.clone();
        // What follows is committed to link by link: the salt is in the genesis alone.
        derived.chain.genesis.salt = salt.to_vec();
        Ok(derived)
    }

    /// Who signs for the name, if `secret` is the one in force.
    ///
    /// # Errors
    /// [`ContentsError::OtherSecret`].
    pub fn signer(&self, secret: SecretKey) -> Result<Signer, ContentsError> {
        if secret.public() != self.key() {
            return Err(ContentsError::OtherSecret {
                name: self.name(),
                epoch: self.epoch,
            });
        }
        Ok(Signer {
            genesis: self.chain.genesis.clone(),
            chain: self.revealed().to_vec(),
            secret,
        })
    }

    /// As TOML.
    pub fn print(&self) -> String {
        let text = PublicToml {
            format: FORMAT,
            name: self.name().to_string(),
            epoch: self.epoch,
            genesis: to_hex(&self.chain.genesis.encode()),
            link: self
                .chain
                .links
                .iter()
                .map(|link| LinkToml {
                    key: to_hex(link.key.as_bytes()),
                    next: link.next.map(|next| to_hex(&next.0)),
                })
                .collect(),
        };
        // Plain text, numbers and tables always have a TOML form.
        let body = toml::to_string(&text).unwrap_or_default();
        format!("{PUBLIC_HEAD}{body}")
    }

    /// Reads what [`PublicFile::print`] writes, and checks all of it: every key, every commitment, the name.
    ///
    /// # Errors
    /// [`ContentsError`].
    pub fn parse(text: &str) -> Result<Self, ContentsError> {
        let read: PublicToml = toml::from_str(text).map_err(|error| {
            // Without the line: it may be a secret that was taken for a public file.
            ContentsError::Toml(error.message().trim().to_owned())
        })?;
        if read.format != FORMAT {
            return Err(ContentsError::Format(read.format));
        }
        let genesis = from_hex(&read.genesis).ok_or(ContentsError::Hex("genesis"))?;
        let genesis = Genesis::decode(&genesis).map_err(ContentsError::Genesis)?;
        let links = read.link.iter().map(LinkToml::to_link).collect::<Result<Vec<_>, _>>()?;
        let chain = KeyChain { genesis, links };
        chain.check()?;
        chain.genesis.key.check()?;
        chain.links.iter().try_for_each(|link| link.key.check())?;
        let last = chain.links.last().map_or(chain.genesis.next, |link| link.next);
        if last.is_some() {
            return Err(ContentsError::LinksMissing);
        }
        let name = chain.genesis.name();
        if read.name.parse::<Name>()? != name {
            return Err(ContentsError::OtherName(name));
        }
        if read.epoch > chain.links.len() {
            return Err(ContentsError::Epoch {
                epoch: read.epoch,
                links: chain.links.len(),
            });
        }
        Ok(Self { chain, epoch: read.epoch })
    }
}

impl KeyPaths {
    /// The places that belong to the private key at `private`.
    ///
    /// # Errors
    /// [`KeyFileError::PublicPath`].
    pub fn of(private: &Path) -> Result<Self, KeyFileError> {
        if is_public_path(private) {
            return Err(KeyFileError::PublicPath(private.to_owned()));
        }
        Ok(Self {
            private: private.to_owned(),
            public: private.with_extension(PUBLIC_EXTENSION),
            offline: private.with_extension("offline"),
        })
    }

    /// The recovery seed.
    pub fn recovery_seed(&self) -> PathBuf {
        self.offline.join(RECOVERY_SEED)
    }

    /// The secret that was in force in an epoch that is over.
    pub fn superseded(&self, epoch: usize) -> PathBuf {
        self.private.with_extension(format!("epoch-{epoch}.key"))
    }

    /// The secret of the `index`-th link, counted from 1.
    pub fn link(&self, index: usize) -> PathBuf {
        self.offline.join(format!("link-{index:02}.key"))
    }
}

/// Whether a path is that of a public file.
pub fn is_public_path(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == PUBLIC_EXTENSION)
}

/// Lower-case hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Reads hexadecimal of either case; `None` for anything else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicToml {
    format: u64,
    name: String,
    epoch: usize,
    genesis: String,
    #[serde(default)]
    link: Vec<LinkToml>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkToml {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl LinkToml {
    fn to_link(&self) -> Result<Link, ContentsError> {
        let exactly = |text: &str, field| {
            from_hex(text)
                .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                .ok_or(ContentsError::Hex(field))
        };
        Ok(Link {
            key: PublicKey::from_bytes(exactly(&self.key, "key")?),
            next: self.next.as_deref().map(|next| exactly(next, "next").map(Commitment)).transpose()?,
        })
    }
}

/// Largest file that is read as a key's, in bytes. 32 links are about 6 kB.
pub const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// The file of the recovery seed, in the offline folder.
pub(crate) const RECOVERY_SEED: &str = "recovery-seed";
/// The version of the public file's shape.
const FORMAT: u64 = 1;
const PUBLIC_EXTENSION: &str = "pub";
const PUBLIC_HEAD: &str = "\
# A name's public file: what it commits to, and every key that may follow. It holds no secret. Keep it beside the
# private key and keep a copy: without it the name cannot be published under or rotated.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> PublicFile {
        PublicFile {
            chain: KeyChain::generate(&[7; 32], b"salt", 3).unwrap(),
            epoch: 1,
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for epoch in 0..=3 {
            let file = PublicFile { epoch, ..file() };
            assert_eq!(PublicFile::parse(&file.print()).unwrap(), file);
        }
        let alone = PublicFile {
            chain: KeyChain::generate(&[7; 32], b"", 0).unwrap(),
            epoch: 0,
        };
        assert_eq!(PublicFile::parse(&alone.print()).unwrap(), alone);
    }

    #[test]
    fn a_public_file_that_was_changed_is_refused_with_what_is_wrong() {
        let good = file().print();
        let name = file().name().to_string();
        let other = KeyChain::generate(&[8; 32], b"", 0).unwrap().genesis.name().to_string();
        let second_key = to_hex(file().chain.links[1].key.as_bytes());
        let cut = good.rfind("[[link]]").unwrap();
        type Check = fn(&ContentsError) -> bool;
        let cases: [(String, Check); 8] = [
            (good.replace("format = 1", "format = 2"), |e| matches!(e, ContentsError::Format(2))),
            (good.replace(&name, &other), |e| matches!(e, ContentsError::OtherName(_))),
            (good.replace(&name, &name[1..]), |e| {
                matches!(e, ContentsError::Name(NameError::Length(55)))
            }),
            (good.replace(&second_key, &to_hex(&[9; 32])), |e| {
                matches!(e, ContentsError::Key(KeyError::Uncommitted(2)))
            }),
            (good[..cut].to_owned(), |e| matches!(e, ContentsError::LinksMissing)),
            (good.replace("epoch = 1", "epoch = 4"), |e| {
                matches!(e, ContentsError::Epoch { epoch: 4, links: 3 })
            }),
            (format!("surprise = 1\n{good}"), |e| matches!(e, ContentsError::Toml(_))),
            (good.replace("genesis = \"", "genesis = \"0"), |e| {
                matches!(e, ContentsError::Hex("genesis"))
            }),
        ];
        for (text, is_right) in cases {
            let error = PublicFile::parse(&text).unwrap_err();
            assert!(is_right(&error), "{error:?} for {text}");
        }
    }

    #[test]
    fn a_secret_signs_only_in_its_epoch() {
        let first = SecretKey::derive(&[7; 32], 0);
        let second = SecretKey::derive(&[7; 32], 1);
        assert!(matches!(file().signer(first), Err(ContentsError::OtherSecret { epoch: 1, .. })));
        let signer = file().signer(second).unwrap();
        assert_eq!((signer.name(), signer.chain.len()), (file().name(), 1));
    }

    #[test]
    fn only_the_next_link_rotates_and_an_interrupted_rotation_goes_on_where_it_was() {
        let secret = |index| SecretKey::derive(&[7; 32], index);
        let file = file();
        assert_eq!(file.rotates_to(&secret(1)), Ok(2));
        assert_eq!(file.rotates_to(&secret(0)), Ok(1), "the secret is still that of the epoch before");
        assert!(matches!(
            file.rotates_to(&secret(2)),
            Err(ContentsError::OtherSecret { epoch: 1, .. })
        ));
        assert_eq!(file.rotated(2, &secret(2)).unwrap().key(), secret(2).public());
        let wrong = |index| match file.rotated(2, &secret(index)) {
            Err(ContentsError::OtherLink { wanted: 2, found, .. }) => found,
            other => panic!("{other:?}"),
        };
        assert_eq!([1, 3, 9].map(wrong), [Some(1), Some(3), None]);
        let last = PublicFile { epoch: 3, ..file };
        assert!(matches!(last.rotates_to(&secret(3)), Err(ContentsError::NoLinkLeft(_, 3))));
    }

    #[test]
    fn a_derived_name_is_another_one_of_the_same_keys() {
        let (first, shop) = (file(), file().derived(b"shop").unwrap());
        assert_ne!(first.name(), shop.name());
        assert_eq!(shop, PublicFile::parse(&shop.print()).unwrap());
        assert_eq!((first.key(), first.epoch), (shop.key(), shop.epoch));
        assert_eq!(
            shop.chain,
            KeyChain::generate(&[7; 32], b"shop", 3).unwrap(),
            "as if made from the seed"
        );
        for salt in [&b""[..], b"salt", &[1; 33]] {
            assert_eq!(first.derived(salt), Err(KeyError::Salt));
        }
    }

    #[test]
    fn the_public_file_never_takes_the_place_of_the_private_one() {
        assert!(matches!(KeyPaths::of(Path::new("alice.pub")), Err(KeyFileError::PublicPath(_))));
        let paths = KeyPaths::of(Path::new("keys/alice.key")).unwrap();
        assert_eq!(paths.public, Path::new("keys/alice.pub"));
        assert_eq!(paths.link(3), Path::new("keys/alice.offline/link-03.key"));
    }
}
