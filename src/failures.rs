//! The border: every error of the libraries, turned into a status, a reason and a remedy. No wildcard arms, so that a new
//! error asks where it goes.

use crate::exit::{Exit, Failure, plain};
use clap::error::{ContextKind, ErrorKind};
use dialtone_provider::StartError;
use dialtone_provider::admin::StatementError;
use dialtone_provider::identity::IdentityError;
use dialtone_provider::io::peering::requests::RequestError;
use dialtone_provider::peering::agreement::AgreementError;
use dialtone_provider::settings::SettingsError;
use dialtone_provider::store::StoreError;
use dialtone_provider::store::backup::BackupError;
use dialtone_resolver::LookupError;
use dialtone_resolver::dns::frontend::FrontendError;
use dialtone_resolver::error::{HttpError, NotVisible, PutError, ResolveError, StubError};
use dialtone_resolver::io::certificate::CertificateError;
use dialtone_resolver::io::lent::LentError;
use dialtone_resolver::io::zone_keys::{ZONE_KEYS_MAX, ZoneKeyError};
use dialtone_resolver::keyfile::KeyFileError;
use dialtone_resolver::sealed::SealError;
use dialtone_shared::RecordError;
use dialtone_shared::invite::InviteError;
use dialtone_shared::message::Refused;
use dialtone_shared::record::signed::SignError;
use std::fmt;
use std::path::Path;

/// The command line is wrong: its shape, or a value in it, which is then as wrong as in a file.
pub fn typed(error: &clap::Error) -> Exit {
    let value = error.get(ContextKind::InvalidValue).map(ToString::to_string);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
        ErrorKind::ValueValidation | ErrorKind::InvalidUtf8 => Exit::BadInput,
        // One of a few words; with nothing typed, the value is missing.
        ErrorKind::InvalidValue if value.is_some_and(|value| !value.is_empty()) => Exit::BadInput,
        // The library may come to know more kinds; all that it has are mistakes in the shape.
        _ => Exit::Usage,
    }
}

/// A key's files cannot be made or used.
pub fn key_file(error: KeyFileError) -> Failure {
    match error {
        KeyFileError::Exists(path) => Failure::new(Exit::Local, path.display(), "exists already, and a key is never overwritten")
            .help("choose another path, or move what is there away"),
        KeyFileError::Exposed { path, mode } => Failure::new(
            Exit::Local,
            path.display(),
            format!("others can read this secret (mode {mode:04o})"),
        )
        .help(format!("chmod 600 {}", path.display()))
        .help("on a machine that you share, consider the key stolen"),
        KeyFileError::Sealed(path) => Failure::new(Exit::BadInput, path.display(), "is encrypted, and its passphrase was not given")
            .help("give it on the terminal, or as the first line of a file, with --passphrase-file"),
        KeyFileError::Passphrase { path, reason } => Failure::new(
            Exit::BadInput,
            path.display(),
            format!("is encrypted, and its passphrase is not to be had: {reason}"),
        )
        .help("give it on the terminal, or as the first line of a file that others cannot read, with --passphrase-file"),
        KeyFileError::Seal { path, reason } => {
            let failure = Failure::new(Exit::BadInput, path.display(), &reason);
            match reason {
                SealError::Wrong => failure
                    .help("try again; a passphrase cannot be found out")
                    .help("if it is lost, `dialtone key restore` makes all keys again from the words of `dialtone key backup`"),
                SealError::Damaged => {
                    failure.help("take the file from a copy; `dialtone key restore` makes it again from the words of `dialtone key backup`")
                }
                SealError::Unknown(_) | SealError::TooCostly | SealError::Failed(_) => failure,
            }
        }
        KeyFileError::Disk { path, reason } => Failure::file(&path, &reason),
        KeyFileError::NoPublicFile(path) if path.to_string_lossy().contains(".epoch-") => Failure::new(
            Exit::BadInput,
            path.display(),
            "is of a key that `dialtone key rotate` has replaced: what it signs counts no more",
        )
        .help("use the private file of that name without `.epoch-` and the number"),
        KeyFileError::NoPublicFile(path) => {
            Failure::new(Exit::BadInput, path.display(), "the public file is missing: the name stands in it")
                .help("restore it beside the private file, or make a new name of this key with `dialtone key new NEW.key --from OLD.key`")
        }
        KeyFileError::NoLink(path) => Failure::new(
            Exit::Local,
            path.display(),
            "missing: it holds the next key, and is usually kept apart, on a medium of its own",
        )
        .help("attach that medium, and name the file with --link")
        .help("if it is lost, `dialtone key restore` makes it again from the words of `dialtone key backup`"),
        KeyFileError::NotPrivate(path) => Failure::new(
            Exit::BadInput,
            path.display(),
            "this is a public file: signing needs the private one",
        )
        .help("give the private file, which stands beside it"),
        KeyFileError::PublicPath(path) => Failure::new(
            Exit::BadInput,
            path.display(),
            "a private key's path must not end in .pub, which is its public file's",
        )
        .help("choose another ending, such as .key"),
        KeyFileError::Contents { path, reason } => Failure::new(Exit::BadInput, path.display(), reason)
            .help("check the path; `dialtone key show FILE` reads private and public files"),
        KeyFileError::Key(error) => Failure::new(Exit::BadInput, "key", error),
    }
}

/// A provider's settings cannot be used.
pub fn settings(error: SettingsError) -> Failure {
    match error {
        SettingsError::Read { path, reason } => Failure::new(Exit::Settings, path, reason).help("check the path"),
        SettingsError::Line { path, line, text, reason } => Failure::new(Exit::Settings, format!("{path}, line {line}"), reason)
            .help(format!("the line reads `{text}`"))
            .help("`dialtone template` prints every key with its meaning"),
        SettingsError::Together(reason) => Failure::new(Exit::Settings, "the settings do not go together", reason)
            .help("`dialtone template` prints every key with its meaning"),
    }
}

/// How a provider's addresses are chosen on the command line.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    /// Where HTTP is answered.
    pub http: &'static str,
    /// Where DNS is.
    pub dns: &'static str,
    /// Where peers connect.
    pub peering: &'static str,
    /// Whether a settings file may say it as well.
    pub or_file: bool,
}

impl Flags {
    /// The flag in the place of a setting, if there is one.
    fn of(self, setting: &str) -> Option<&'static str> {
        match setting {
            "http.listen" => Some(self.http),
            "dns.listen" => Some(self.dns),
            "peering.listen" => Some(self.peering),
            _ => None,
        }
    }
}

/// What helps where an address cannot be listened on for a reason of this kind. `by`: what names another address.
pub fn elsewhere(kind: std::io::ErrorKind, by: &str) -> String {
    use std::io::ErrorKind;
    match kind {
        ErrorKind::AddrNotAvailable => {
            format!("that is no address of this machine: choose one that is, or 0.0.0.0 or [::] for all of its kind: {by}")
        }
        ErrorKind::PermissionDenied => format!(
            "a port below 1024 needs the right to it: on Linux CAP_NET_BIND_SERVICE, or a socket that systemd opens (etc/dialtone-dns.socket); or choose another: {by}"
        ),
        _ => format!("stop what is using it, or choose another (port 0 takes a free one): {by}"),
    }
}

/// A provider does not start, whose addresses are chosen by `flags` here, and its folder by `--data`.
pub fn start(error: StartError, flags: Flags) -> Failure {
    let data_flag = "--data";
    match error {
        StartError::Settings(error) => settings(error),
        StartError::Folder { path, .. } if path.is_file() => {
            Failure::new(Exit::Local, path.display(), "is a file, and the data goes into a folder")
                .help(format!("choose a folder with {data_flag}"))
        }
        StartError::Folder { path, reason } => Failure::file(&path, &reason).help(format!(
            "give this user the right to write there, or choose another folder with {data_flag}"
        )),
        StartError::Store(error) => store(error).help(format!("or choose another folder with {data_flag}")),
        StartError::Identity(error) => identity(error),
        StartError::Listen {
            what,
            address,
            reason,
            setting,
        } => {
            let by = flags.of(setting).map_or_else(
                || format!("`{setting}` in the settings file"),
                |flag| match flags.or_file {
                    true => format!("{flag}, or `{setting}` in a settings file"),
                    false => flag.to_owned(),
                },
            );
            Failure::new(Exit::Local, address, format!("cannot listen for {what}: {}", plain(&reason))).help(elsewhere(reason.kind(), &by))
        }
        StartError::Dns(error) => frontend(error),
        StartError::Certificate(error) => certificate(error)
            .help("name a chain in PEM as `dns.certificate` and its key as `dns.certificate_key`, or neither: then one is made"),
        StartError::Encrypted(reason) => Failure::new(Exit::Local, "DNS over TLS, HTTPS and QUIC", plain(&reason)),
        StartError::Lent(error) => lent(error),
        StartError::Peering(reason) => Failure::new(Exit::Local, "peering", reason),
        StartError::Threads(reason) => Failure::new(Exit::Bug, "peering", reason),
    }
}

/// What was passed to this process is not what its settings ask for.
pub fn lent(error: LentError) -> Failure {
    let help = match &error {
        LentError::Kind { .. } | LentError::Unreadable { .. } => {
            "pass UDP sockets and TCP listeners alone: `ListenDatagram=` and `ListenStream=` with ADDR:PORT in a socket unit"
        }
        LentError::Connection { .. } => "pass what listens: `Accept=no` in a socket unit",
        LentError::BothFamilies { .. } => {
            "for [::] say `BindIPv6Only=ipv6-only` in the socket unit, and list 0.0.0.0 beside it if IPv4 is meant as well"
        }
        LentError::Unasked { .. } => "let the settings name the very addresses that the socket unit lists, each once",
    };
    Failure::new(Exit::Settings, "sockets", error).help(help)
}

/// There is no certificate to show.
pub fn certificate(error: CertificateError) -> Failure {
    let exit = match error {
        CertificateError::Made(_) => Exit::Bug,
        CertificateError::Disk { .. } | CertificateError::Contents { .. } | CertificateError::OtherKey { .. } => Exit::Settings,
    };
    Failure::new(exit, "certificate", error)
}

/// Agreements cannot stand.
pub fn agreement(error: AgreementError) -> Failure {
    Failure::new(Exit::Settings, "the agreements", error)
}

/// A line is not an invitation that can be accepted.
pub fn invite(error: InviteError) -> Failure {
    let failure = |exit| Failure::new(exit, "the invitation", &error);
    match &error {
        InviteError::Prefix => {
            failure(Exit::BadInput).help("give the whole line that `dialtone peer invite` or `dialtone peer accept` printed")
        }
        InviteError::Alphabet { .. } | InviteError::Checksum | InviteError::TooLong => {
            failure(Exit::BadInput).help("copy the whole line again; spaces and line ends in it do no harm")
        }
        InviteError::Contents(_) => failure(Exit::BadInput).help("the other side may run a later version"),
        InviteError::Forged => failure(Exit::Unverified).help("do not trust whoever gave it to you"),
        InviteError::Expired(until) => Failure::new(
            Exit::BadInput,
            "the invitation",
            format!("it could be accepted until {until}, which is over"),
        )
        .help("ask for another one; if that time is not over, set this machine's clock by NTP"),
        InviteError::ReplyToOther(_) => failure(Exit::BadInput).help("give it to that provider, or name its data folder with --data"),
        InviteError::OtherTerms => failure(Exit::Refused)
            .help("talk to the other side, and invite it again on the terms that both want")
            .help("or make the agreement by hand with `dialtone peer add`"),
    }
}

/// A peer's statement cannot be had.
pub fn statement(error: StatementError) -> Failure {
    match error {
        StatementError::Request(error) => {
            let failure = |exit| Failure::new(exit, "the statement", &error);
            match &error {
                RequestError::NoLink(_) => failure(Exit::Network).help("`dialtone peer list` shows how the link is"),
                RequestError::Late(_) | RequestError::Broken { .. } => failure(Exit::Network).help("try again later"),
                RequestError::Refused {
                    why: Refused::Busy | Refused::Limit,
                    ..
                } => failure(Exit::Busy).help("try again later"),
                RequestError::Refused {
                    why: Refused::NotAgreed | Refused::Cannot,
                    ..
                } => failure(Exit::Refused),
                RequestError::NotAResponse { .. } => failure(Exit::Unverified).help("the other side may run another version"),
            }
        }
        StatementError::Unproved(peer, reason) => Failure::new(Exit::Unverified, peer, format!("its statement proves nothing: {reason}")),
        StatementError::NotOurs(peer) => Failure::new(Exit::Unverified, peer, "its statement is not its own about this link"),
    }
}

/// A provider's key cannot be used.
pub fn identity(error: IdentityError) -> Failure {
    match error {
        IdentityError::File { path, reason, .. } => Failure::file(&path, &reason),
        IdentityError::NotAKey(path) => Failure::new(Exit::BadInput, path.display(), "not a PKCS#8 PEM file of an Ed25519 key").help(
            "bring back your copy of it; another one, by `dialtone key new` or `openssl genpkey -algorithm ed25519`, is another name",
        ),
    }
}

/// A store cannot be used.
pub fn store(error: StoreError) -> Failure {
    match error {
        StoreError::Full(path) => Failure::new(Exit::Local, path, "the disk is full").help("make room, then start again"),
        StoreError::InUse(path) => Failure::new(Exit::Local, path, "another process uses this data folder").help("stop the other process"),
        StoreError::Folder { path, reason } => Failure::new(Exit::Local, path, reason).help("give this user the right to write there"),
        StoreError::Failed(reason) => Failure::new(Exit::Local, "the store failed", reason).help("look at the disk, then start again"),
        StoreError::Corrupt(place) => Failure::new(Exit::Local, "the store is damaged", place)
            .help("move the folder aside and start with an empty one: peers will fill it again; or restore a backup"),
        StoreError::Busy => Failure::new(Exit::Busy, "the store", "too many puts are waiting").help("try again later"),
        StoreError::Closed => Failure::new(Exit::Bug, "the store", "closed too early"),
    }
}

/// A backup was not made or not restored.
pub fn backup(error: BackupError) -> Failure {
    match error {
        BackupError::Exists(path) => {
            Failure::new(Exit::Local, path, "exists already, and nothing is overwritten").help("name another place, or move it away")
        }
        BackupError::File { path, reason } => Failure::new(Exit::Local, path, reason),
        BackupError::Unknown(path) => Failure::new(Exit::BadInput, path, "not a backup that this version reads"),
        BackupError::Damaged(path) => Failure::new(Exit::BadInput, path, "damaged: its digest does not match").help("use another backup"),
        BackupError::Refused { path, entry, reason } => {
            Failure::new(Exit::BadInput, format!("{path}, entry {entry}"), reason).help("use another backup")
        }
        BackupError::Store(error) => store(error),
    }
}

/// A record cannot be signed.
pub fn sign(error: SignError) -> Failure {
    match error {
        SignError::Record(error) => record(&error),
        SignError::WrongKey(epoch) => Failure::new(
            Exit::BadInput,
            "key",
            format!("not the one in force for this name (key epoch {epoch})"),
        )
        .help("use the private file that stands beside the name's public file"),
    }
}

/// A file does not hold a signed record.
pub fn signed_file(path: &Path, reason: impl fmt::Display) -> Failure {
    Failure::new(Exit::Unverified, path.display(), reason).help("give a file that `--sign-only` wrote, as it was written")
}

/// What was asked for cannot be a record.
fn record(error: &RecordError) -> Failure {
    let failure = Failure::new(Exit::BadInput, "record", error);
    match error {
        RecordError::TooLarge(_) => failure.help("publish less under this name, or put a part under a name of its own and refer to it"),
        RecordError::TooManyBindings(_) => failure.help("put some under a name of their own, and refer to it by --delegate or target="),
        RecordError::Binding { .. } => failure.help("bindings are counted in this order: addresses, services, delegate, dns, zone, opaque"),
        RecordError::Scope => failure.help("name at most 8 providers by their names (`dialtone doctor` shows a provider's)"),
        RecordError::TooShort(_)
        | RecordError::TooLargeValue(_)
        | RecordError::Packet(_)
        | RecordError::Envelope(_)
        | RecordError::Cbor(_)
        | RecordError::Version(_)
        | RecordError::UnknownField(_)
        | RecordError::Missing(_)
        | RecordError::RevokedWith(_)
        | RecordError::EmptyList(_)
        | RecordError::Chain(_)
        | RecordError::Sequence(_)
        | RecordError::Lifetime { .. } => failure,
    }
}

/// A put is not acknowledged.
pub fn put(error: PutError) -> Failure {
    match error {
        PutError::Unknown { provider, reason } => {
            let failure = Failure::new(
                Exit::Network,
                provider,
                format!("it is unknown whether the record was stored: {reason}"),
            );
            match reason {
                HttpError::TimedOut | HttpError::Broken(_) | HttpError::TooLarge | HttpError::Connect(_) | HttpError::Url(_) => {
                    failure.help("publish again: the later record wins, whatever became of this one")
                }
            }
        }
        PutError::NotReached { provider, reason } => unreachable(&provider, &reason),
        PutError::Older { provider, held } => {
            let held = held.map_or_else(|| "its rank was not told".to_owned(), |rank| format!("rank {rank}"));
            Failure::new(Exit::Refused, provider, format!("a record of higher rank is held ({held})"))
                .help("somebody published at the same time: look with `dialtone resolve`, then publish again")
                .help("if the key was rotated or revoked since, this one signs nothing that counts: use the key in force, or `dialtone key rotate`")
        }
        PutError::ConditionFailed { provider, held } => {
            let held = held.map_or_else(|| "none".to_owned(), |rank| rank.to_string());
            Failure::new(
                Exit::Refused,
                provider,
                format!("the record held is not the one of --if-match, but {held}"),
            )
            .help("look at it with `dialtone resolve`, and decide whether it is to be replaced")
        }
        PutError::Refused { provider, status, problem } => {
            let failure = Failure::new(Exit::Refused, provider, format!("refused ({status}): {problem}"));
            match status {
                401 | 403 => failure.help("ask its operator for an account, and set DIALTONE_TOKEN to its token"),
                _ if problem.kind.ends_with(":future") => failure.help("set this machine's clock by NTP"),
                _ if problem.kind.ends_with(":out-of-scope") => {
                    failure.help("add its name with --scope, or publish at a provider that is listed")
                }
                404 | 405 => failure.help("check the URL: this may not be a Dialtone provider"),
                _ => failure,
            }
        }
        PutError::Unavailable {
            provider,
            status,
            problem,
            after_secs,
        } => {
            let failure = Failure::new(Exit::Busy, provider, format!("cannot take it now ({status}): {problem}"));
            match after_secs {
                Some(secs) => failure.help(format!("try again in {secs} s")),
                None => failure.help("try again later, or at another provider"),
            }
        }
        PutError::Receipt { provider, reason } => Failure::new(
            Exit::Unverified,
            provider,
            format!("it acknowledged the record, but its receipt proves nothing: {reason}"),
        )
        .help("do not rely on this provider; publish at another"),
        PutError::NoHttp(provider) => Failure::new(Exit::Usage, provider, "takes no puts: publishing needs a provider's HTTP address")
            .help("name it as http://HOST:PORT or https://HOST"),
    }
}

/// A record has not been seen everywhere.
pub fn not_visible(error: NotVisible) -> Failure {
    Failure::new(
        Exit::Network,
        error.missing.join(", "),
        format!("the record is not visible there yet: {}", error.reason),
    )
    .help("it is kept where it was put; check that those providers peer with it, and their logs")
}

/// A stub cannot start.
pub fn stub(error: StubError) -> Failure {
    match error {
        StubError::Variable(error) => Failure::new(Exit::Settings, "$DIALTONE_PROVIDER", error),
        StubError::TooMany(_) => Failure::new(Exit::Settings, "providers", error).help("name fewer: one or two are enough"),
        StubError::NoProvider { tried } => unreachable("no provider was found", &tried),
        StubError::Floor { path, reason } => Failure::new(
            Exit::Local,
            path.display(),
            format!("the rollback floor cannot be kept here: {reason}"),
        )
        .help("make the folder writable, or set DIALTONE_STATE to another"),
    }
}

/// A name cannot be resolved.
pub fn resolve(error: ResolveError) -> Failure {
    match error {
        ResolveError::Lookup { name, error } => lookup(name, error),
        ResolveError::Name(error) => Failure::new(Exit::BadInput, "name", error),
    }
}

/// A name cannot be looked up.
pub fn lookup(name: impl fmt::Display, error: LookupError) -> Failure {
    let failed = |exit| Failure::new(exit, &name, &error);
    match error {
        LookupError::Unreachable(_) => failed(Exit::Network).help("`dialtone doctor` shows what is reachable"),
        LookupError::Unavailable(_) => failed(Exit::Busy).help("try again later, or ask another provider with --provider"),
        LookupError::Expired => failed(Exit::Absent).help("its publisher has to publish again"),
        LookupError::Invalid(_) => failed(Exit::Unverified).help("this provider is broken or lies: ask another with --provider"),
        LookupError::RolledBack => failed(Exit::Unverified)
            .help("this provider holds newer records back, or lost them: ask another with --provider")
            .help("if the name is yours, publish again"),
        LookupError::Busy => failed(Exit::Busy).help("try again later"),
    }
}

/// The keys of an origin cannot be used.
pub fn zone_keys(error: ZoneKeyError) -> Failure {
    match error {
        ZoneKeyError::File(error) => key_file(error).help("`signing_key` names a file that `dialtone dns key` made"),
        ZoneKeyError::None(path) => {
            Failure::new(Exit::BadInput, path.display(), "no `PRIVATE KEY` in it").help("`dialtone dns key` makes a file with one")
        }
        ZoneKeyError::TooMany { path, count } => Failure::new(
            Exit::BadInput,
            path.display(),
            format!("{count} keys, and at most {ZONE_KEYS_MAX} are shown"),
        )
        .help("take one away with --drop"),
        ZoneKeyError::NotAKey { path, nth, reason } => Failure::new(Exit::BadInput, path.display(), format!("the {nth}. key: {reason}"))
            .help("`dialtone dns key` makes keys that sign"),
        ZoneKeyError::Made => Failure::new(Exit::Bug, "a key", error),
    }
}

/// A frontend cannot be made.
pub fn frontend(error: FrontendError) -> Failure {
    match error {
        FrontendError::LongOrigin { .. } | FrontendError::RootOrigin => {
            Failure::new(Exit::Settings, "origin", error).help("choose a shorter domain")
        }
        FrontendError::LongNsid(_) => Failure::new(Exit::Settings, "nsid", error),
        FrontendError::NegativeTtl(_) => Failure::new(Exit::Settings, "negative answers", error),
        FrontendError::NoUpstream(_) => Failure::new(Exit::Settings, "forward", error).help("name a resolver with --forward"),
        FrontendError::Anchors { file, reason } => {
            Failure::new(Exit::Settings, file, reason).help("write DNSKEY records, as in `. 3600 IN DNSKEY 257 3 8 AwEA…`")
        }
        FrontendError::Authorities { file, reason } => {
            Failure::new(Exit::Settings, file, reason).help("write certificates in PEM there, or leave it out for the web's authorities")
        }
        FrontendError::ZoneKeys(error) => zone_keys(error),
        FrontendError::Upstream(_) => Failure::new(Exit::Settings, "forward", error),
        FrontendError::QueryLog { file, reason } => {
            Failure::new(Exit::Settings, file, format!("the log of questions cannot be written: {reason}"))
                .help("give this user the right to write there, or set `file` of `query_log` to another")
        }
        FrontendError::Aliases { file, reason } => {
            Failure::new(Exit::Settings, file, reason).help("correct or remove that line: `alias  name`, and comments after #")
        }
    }
}

fn unreachable(thing: &str, reason: &str) -> Failure {
    Failure::new(Exit::Network, thing, reason)
        .help("start a provider on this machine with `dialtone up`, or name one with --provider or DIALTONE_PROVIDER")
        .help("`dialtone doctor` shows what is reachable")
}
