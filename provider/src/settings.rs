//! What an operator may set, with what holds when nothing is set. `etc/provider.toml` is the documentation; a test reads it back.

use crate::peering::agreement::{Agreement, Filter, Limits};
use crate::store::EmbeddedOptions;
use dialtone_resolver::dns::access::check_views;
use dialtone_resolver::dns::settings::taken_twice;
use dialtone_resolver::dns::{AccessSettings, Domain, QueryLogSettings, RateSettings, SearchSettings, Server, ViewSettings};
use dialtone_shared::Name;
use dialtone_shared::limits::{LIFETIME_SECS_MAX, PRICE_BYTES_MAX, VALUE_BYTES_MAX};
use dialtone_shared::message::{Mode, Relationship, WordError};
use dialtone_shared::statement::is_price;
use serde::{Deserialize, Deserializer, de};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Everything a provider can be told. [`Settings::default`] runs.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The folder of the store, the key and the books.
    pub data: PathBuf,
    /// Who the provider is.
    pub identity: IdentitySettings,
    /// The HTTP API.
    pub http: HttpSettings,
    /// The DNS listener.
    pub dns: DnsSettings,
    /// The link between providers.
    pub peering: PeeringSettings,
    /// Agreements, one for each peer.
    #[serde(rename = "peer")]
    pub peers: Vec<PeerSettings>,
    /// Customers.
    #[serde(rename = "account")]
    pub accounts: Vec<AccountSettings>,
    /// What is allowed without an account, and the sizes of queues.
    pub limits: LimitSettings,
    /// The embedded store.
    pub store: StoreSettings,
    /// What is written to the log.
    pub log: LogSettings,
}

/// Who the provider is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentitySettings {
    /// The PKCS#8 PEM file of its key; `None`: `identity.key` in the data folder, made at the first start.
    pub key: Option<PathBuf>,
}

/// The HTTP API.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Where it listens; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Whether records may be put without an account.
    pub anonymous_puts: AnonymousPuts,
}

/// Whether records may be put without an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnonymousPuts {
    /// Only while every HTTP listener is on loopback, and only from there.
    #[default]
    Auto,
    /// Yes, within the anonymous limits.
    Yes,
    /// No.
    No,
}

/// The DNS listener.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsSettings {
    /// Where it listens, over UDP and TCP; empty: no DNS. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Where DNS over TLS is answered.
    pub tls: Vec<SocketAddr>,
    /// Where DNS over HTTPS is answered.
    pub https: Vec<SocketAddr>,
    /// Where DNS over QUIC is answered.
    pub quic: Vec<SocketAddr>,
    /// The chain in PEM that the encrypted ones show; `None`: one made for first use, in the data folder.
    pub certificate: Option<PathBuf>,
    /// The key of `certificate`; `None`: in the same file.
    pub certificate_key: Option<PathBuf>,
    /// The domain under which flat names are found.
    pub origin: String,
    /// The name servers that it is delegated to; empty: it is not.
    pub nameservers: Vec<Domain>,
    /// The keys that sign it; `None`: it is not signed.
    pub signing_key: Option<PathBuf>,
    /// Resolvers that other names are forwarded to; empty: other names are refused.
    pub forward: Vec<Server>,
    /// The certificate authorities, in PEM, that vouch for those of `forward` over TLS and HTTPS; `None`: the web's.
    pub forward_ca: Option<PathBuf>,
    /// The map file: names that people chose for flat names, as `dialtone alias` edits it. It was once called `aliases` here.
    #[serde(alias = "aliases")]
    pub map: Option<PathBuf>,
    /// How fast answers may go by UDP to one network.
    pub rate: RateSettings,
    /// How often peers and upstream resolvers are asked because of one network.
    pub searches: SearchSettings,
    /// Who is answered at all.
    pub access: AccessSettings,
    /// Who is answered at some of the listeners instead.
    pub view: Vec<ViewSettings>,
    /// The name that the certificate is for, by which clients are told of the encrypted listeners (DDR); `None`: they are not told.
    pub resolver_name: Option<Domain>,
    /// What this server is called where there are several; `None`: it is not said.
    pub nsid: Option<String>,
    /// What is logged of questions, and where.
    pub query_log: QueryLogSettings,
}

impl DnsSettings {
    /// Every address that is listened on, in the order of their settings.
    pub fn listeners(&self) -> Vec<SocketAddr> {
        [&self.listen[..], &self.tls, &self.https, &self.quic].concat()
    }
}

/// The link between providers.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeeringSettings {
    /// Where peers connect (QUIC, UDP); port 0 takes a free one.
    pub listen: SocketAddr,
    /// Stores that are to hold the same are compared about this often, in hours; 0: only when there is reason to.
    pub compare_hours: u32,
}

/// One agreement. The other side has its own.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSettings {
    /// The peer's name: whoever answers must prove to be it.
    #[serde(deserialize_with = "name")]
    pub name: Name,
    /// Where it listens, `host:port`; empty: it connects to us.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// What the peer is to us: `mutual` (everything is passed on, both ways), `customer`, `upstream`, `peer`, `sibling`.
    #[serde(default = "mutual", deserialize_with = "word")]
    pub relationship: Relationship,
    /// The most that is pushed to it: `none`, `digest`, `pointers`, `values`.
    #[serde(default = "values", deserialize_with = "word")]
    pub push: Mode,
    /// The most that is accepted from it.
    #[serde(default = "values", deserialize_with = "word")]
    pub accept: Mode,
    /// Whether its queries are answered.
    #[serde(default = "yes")]
    pub answers: bool,
    /// Whether it is asked.
    #[serde(default = "yes")]
    pub asks: bool,
    /// Names that may be held here because it sent them; 0: any number.
    #[serde(default)]
    pub names_max: u64,
    /// Changes taken from it in a second; 0: any number.
    #[serde(default)]
    pub changes_per_second: u32,
    /// Bytes taken from it in a second; 0: any number.
    #[serde(default)]
    pub bytes_per_second: u64,
    /// Its queries answered in a second; 0: any number.
    #[serde(default)]
    pub queries_per_second: u32,
    /// If any are given: only these names pass.
    #[serde(default, deserialize_with = "names")]
    pub only: BTreeSet<Name>,
    /// These names never pass.
    #[serde(default, deserialize_with = "names")]
    pub except: BTreeSet<Name>,
    /// Whether records that are for some providers only pass too.
    #[serde(default = "yes")]
    pub scoped: bool,
    /// What the operators call the price class; stands in statements.
    #[serde(default)]
    pub price: Option<String>,
}

impl PeerSettings {
    /// With the defaults: everything is passed on, both ways.
    pub fn mutual(name: Name, addresses: Vec<String>) -> Self {
        Self::from(Agreement::mutual(name, addresses))
    }

    /// As the links know it.
    pub fn agreement(&self) -> Agreement {
        Agreement {
            peer: self.name,
            endpoints: self.addresses.clone(),
            relationship: self.relationship,
            push: self.push,
            accept: self.accept,
            answers: self.answers,
            asks: self.asks,
            limits: Limits {
                names: self.names_max,
                changes_per_second: self.changes_per_second,
                bytes_per_second: self.bytes_per_second,
                queries_per_second: self.queries_per_second,
            },
            filter: Filter::new(self.only.clone(), self.except.clone(), self.scoped),
            price: self.price.clone(),
        }
    }
}

impl From<Agreement> for PeerSettings {
    fn from(agreement: Agreement) -> Self {
        Self {
            name: agreement.peer,
            addresses: agreement.endpoints,
            relationship: agreement.relationship,
            push: agreement.push,
            accept: agreement.accept,
            answers: agreement.answers,
            asks: agreement.asks,
            names_max: agreement.limits.names,
            changes_per_second: agreement.limits.changes_per_second,
            bytes_per_second: agreement.limits.bytes_per_second,
            queries_per_second: agreement.limits.queries_per_second,
            only: agreement.filter.only().copied().collect(),
            except: agreement.filter.except().copied().collect(),
            scoped: agreement.filter.passes_scoped(),
            price: agreement.price,
        }
    }
}

/// A customer.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountSettings {
    /// What it is called in books and metrics.
    pub name: String,
    /// SHA-256 of its token, 64 hexadecimal digits. The token itself is not written down here.
    pub token_sha256: TokenDigest,
    /// How many names it may keep; 0: any number.
    #[serde(default)]
    pub names_max: u64,
    /// How many records it may put in a second; 0: any number.
    #[serde(default)]
    pub puts_per_second: u32,
    /// For how many days at most its records are kept.
    #[serde(default = "lifetime_days", deserialize_with = "days")]
    pub keep_days: u32,
}

/// SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenDigest(pub [u8; 32]);

/// What is allowed without an account, and the sizes of queues.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Anonymous puts in a second from one network (IPv4 /32, IPv6 /56); 0: any number.
    pub anonymous_puts_per_second: u32,
    /// Names kept for all anonymous publishers together; 0: any number.
    pub anonymous_names_max: u64,
    /// For how many days at most an anonymous record is kept.
    #[serde(deserialize_with = "days")]
    pub anonymous_keep_days: u32,
    /// Anonymous puts in a second from this machine; 0: any number.
    pub local_puts_per_second: u32,
    /// Puts that may wait for the disk; more are answered 503.
    #[serde(deserialize_with = "queue")]
    pub put_queue: usize,
    /// Longest value that is taken, in bytes; 0: none is.
    #[serde(deserialize_with = "value_bytes")]
    pub value_bytes: usize,
    /// HTTP connections at a time; more wait to be accepted.
    #[serde(deserialize_with = "connections")]
    pub http_connections: usize,
    /// How many of them may be watchers; 0: half.
    pub http_watchers: usize,
}

/// The embedded store.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// Memory for what was read from disk, in MiB.
    #[serde(deserialize_with = "mebibytes")]
    pub cache_mebibytes: u64,
}

/// What is written to the log.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// For people or for machines.
    pub format: LogFormat,
    /// What to log, as `tracing-subscriber` filters read: `info`, `dialtone_provider=debug`.
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line of text.
    #[default]
    Text,
    /// A line of JSON.
    Json,
}

/// Why settings cannot be used. The operator's turn.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the settings file {path} cannot be read: {reason}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// A key or value that is not right.
    #[error("{path}, line {line}: {reason}\n  {text}\n(`dialtone template` prints every key with its meaning)")]
    Line {
        /// Which file.
        path: String,
        /// Where, counted from 1.
        line: usize,
        /// The line itself.
        text: String,
        /// What is wrong, naming the key.
        reason: String,
    },
    /// Values that do not go together.
    #[error("the settings do not go together: {0}")]
    Together(String),
}

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| SettingsError::Read {
            path: shown.clone(),
            reason: error.to_string(),
        })?;
        let mut settings = Self::parse(&text, &shown)?;
        settings.data = from_file(path, &settings.data);
        let dns = &mut settings.dns;
        let named = [
            &mut settings.identity.key,
            &mut dns.map,
            &mut dns.certificate,
            &mut dns.certificate_key,
            &mut dns.forward_ca,
            &mut dns.signing_key,
        ];
        for said in named.into_iter().flatten() {
            *said = from_file(path, said);
        }
        // `-` is no file.
        if let Some(said) = dns.query_log.file.as_mut().filter(|file| file.as_path() != Path::new("-")) {
            *said = from_file(path, said);
        }
        Ok(settings)
    }

    /// Reads settings from `text`; `path` is what errors call it.
    ///
    /// # Errors
    /// [`SettingsError::Line`] or [`SettingsError::Together`].
    pub fn parse(text: &str, path: &str) -> Result<Self, SettingsError> {
        let settings: Self = toml::from_str(text).map_err(|error| {
            let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or(text);
            let line = before.matches('\n').count();
            SettingsError::Line {
                path: path.to_owned(),
                line: line + 1,
                text: text.lines().nth(line).unwrap_or_default().trim().to_owned(),
                reason: error.message().to_owned(),
            }
        })?;
        settings.check()?;
        Ok(settings)
    }

    /// Whether the values go together.
    ///
    /// # Errors
    /// [`SettingsError::Together`].
    pub fn check(&self) -> Result<(), SettingsError> {
        let wrong = |what: String| Err(SettingsError::Together(what));
        if self.http.listen.is_empty() {
            return wrong("`http.listen` is empty, and a provider without its HTTP API cannot be published to".to_owned());
        }
        for (index, account) in self.accounts.iter().enumerate() {
            let earlier = &self.accounts[..index];
            if account.name.is_empty() || account.name.len() > ACCOUNT_NAME_BYTES_MAX {
                return wrong(format!(
                    "an account's name has 1 to {ACCOUNT_NAME_BYTES_MAX} bytes: {:?}",
                    account.name
                ));
            }
            if earlier.iter().any(|other| other.name == account.name) {
                return wrong(format!("there are two accounts called {:?}", account.name));
            }
            if earlier.iter().any(|other| other.token_sha256 == account.token_sha256) {
                return wrong(format!("the account {:?} has the token of another", account.name));
            }
        }
        for (index, peer) in self.peers.iter().enumerate() {
            if self.peers[..index].iter().any(|other| other.name == peer.name) {
                return wrong(format!("there are two agreements with the peer {}", peer.name));
            }
            if let Some(price) = peer.price.as_deref().filter(|price| !is_price(price)) {
                return wrong(format!(
                    "the `price` of the peer {} is a label of at most {PRICE_BYTES_MAX} letters, digits and signs: {price:?}",
                    peer.name
                ));
            }
        }
        let origin = self.dns.origin.trim_matches('.');
        if origin.is_empty() || origin.len() > ORIGIN_BYTES_MAX || !origin.split('.').all(is_label) {
            return wrong(format!(
                "`dns.origin` is a domain name of at most {ORIGIN_BYTES_MAX} bytes: {:?}",
                self.dns.origin
            ));
        }
        if self.dns.certificate_key.is_some() && self.dns.certificate.is_none() {
            return wrong("`dns.certificate_key` is a key without its certificate: set `dns.certificate` too".to_owned());
        }
        let by_tcp = self
            .http
            .listen
            .iter()
            .chain(&self.dns.listen)
            .chain(&self.dns.tls)
            .chain(&self.dns.https);
        let by_udp = self.dns.listen.iter().chain(&self.dns.quic).chain([&self.peering.listen]);
        if let Some(address) = taken_twice(by_tcp).or_else(|| taken_twice(by_udp)) {
            return wrong(format!("{address} stands there for two listeners: give each a port of its own"));
        }
        self.dns.rate.check().or_else(|what| wrong(format!("`dns.rate`: {what}")))?;
        let query_log = self.dns.query_log.check();
        query_log.or_else(|what| wrong(format!("`dns.query_log`: {what}")))?;
        let searches = self.dns.searches.check();
        searches.or_else(|what| wrong(format!("`dns.searches`: {what}")))?;
        check_views(&self.dns.view, &self.dns.listeners()).or_else(|what| wrong(format!("`dns.view`: {what}")))?;
        Ok(())
    }

    /// Whether every HTTP listener is on loopback.
    pub fn http_is_local(&self) -> bool {
        self.http.listen.iter().all(|address| address.ip().is_loopback())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: PathBuf::from("dialtone-data"),
            identity: IdentitySettings::default(),
            http: HttpSettings::default(),
            dns: DnsSettings::default(),
            peering: PeeringSettings::default(),
            peers: Vec::new(),
            accounts: Vec::new(),
            limits: LimitSettings::default(),
            store: StoreSettings::default(),
            log: LogSettings::default(),
        }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 4380))],
            anonymous_puts: AnonymousPuts::Auto,
        }
    }
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 4353))],
            tls: Vec::new(),
            https: Vec::new(),
            quic: Vec::new(),
            certificate: None,
            certificate_key: None,
            origin: "dialtone.alt".to_owned(),
            nameservers: Vec::new(),
            signing_key: None,
            forward: Vec::new(),
            forward_ca: None,
            map: None,
            rate: RateSettings::default(),
            searches: SearchSettings::default(),
            access: AccessSettings::default(),
            view: Vec::new(),
            resolver_name: None,
            nsid: None,
            query_log: QueryLogSettings::default(),
        }
    }
}

impl Default for PeeringSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4381)),
            compare_hours: 6,
        }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            anonymous_puts_per_second: 10,
            anonymous_names_max: 100_000,
            anonymous_keep_days: 30,
            local_puts_per_second: 0,
            put_queue: 8_192,
            value_bytes: VALUE_BYTES_MAX,
            http_connections: 1_024,
            http_watchers: 0,
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            cache_mebibytes: EmbeddedOptions::default().cache_bytes >> 20,
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

impl<'de> Deserialize<'de> for TokenDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut digest = [0; 32];
        let fits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !fits {
            return Err(de::Error::custom(
                "a token's SHA-256 is 64 hexadecimal digits: printf %s TOKEN | sha256sum",
            ));
        }
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = str::from_utf8(pair)
                .ok()
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .unwrap_or_default();
        }
        Ok(Self(digest))
    }
}

/// What a path in a settings file means: a relative one is from the file's folder, so that it is the same for whoever reads the file, from
/// wherever.
pub fn from_file(file: &Path, said: &Path) -> PathBuf {
    file.parent().map_or_else(|| said.to_owned(), |folder| folder.join(said))
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Name>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
}

fn word<'de, D: Deserializer<'de>, T: FromStr<Err = WordError>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

fn mutual() -> Relationship {
    Relationship::Mutual
}

fn values() -> Mode {
    Mode::Values
}

fn yes() -> bool {
    true
}

fn days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    within(deserializer, 1, u64::from(lifetime_days()), "days").map(|days| days as u32)
}

fn queue<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    within(deserializer, PUT_QUEUE_MIN as u64, PUT_QUEUE_MAX as u64, "puts").map(|puts| puts as usize)
}

fn value_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    within(deserializer, 0, VALUE_BYTES_MAX as u64, "bytes").map(|bytes| bytes as usize)
}

fn connections<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    within(deserializer, 1, CONNECTIONS_MAX as u64, "connections").map(|connections| connections as usize)
}

fn mebibytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    within(deserializer, 1, STORE_CACHE_MEBIBYTES_MAX, "MiB")
}

fn within<'de, D: Deserializer<'de>>(deserializer: D, least: u64, most: u64, what: &str) -> Result<u64, D::Error> {
    let value = u64::deserialize(deserializer)?;
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(de::Error::custom(format_args!(
            "{value} {what}: from {least} to {most} are possible"
        )))
    }
}

fn lifetime_days() -> u32 {
    (LIFETIME_SECS_MAX / 86_400) as u32
}

fn is_label(label: &str) -> bool {
    let byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !label.is_empty() && label.len() <= 63 && label.bytes().all(byte)
}

/// Most names that are looked at for one Host Identity Tag. A key has one name, and with salts as many as its owner likes.
pub const HIT_NAMES_MAX: usize = 64;
/// Entries that an index of Host Identity Tags may have beyond the names that are held, before it is made anew.
pub const HITS_STALE_MAX: u64 = 65_536;
/// Most memory that a store is given for what it read, in MiB: 64 GiB.
const STORE_CACHE_MEBIBYTES_MAX: u64 = 65_536;
/// Longest name of an account, in bytes: it is part of keys in the books, which have 256.
pub const ACCOUNT_NAME_BYTES_MAX: usize = 64;
/// Longest origin, in bytes: with a name and the longest owner under it, DNS's 255 are kept.
pub const ORIGIN_BYTES_MAX: usize = 90;
/// Least puts that may wait: a batch request must fit.
pub const PUT_QUEUE_MIN: usize = BATCH_RECORDS_MAX;
/// Most puts that may wait. At 10,000 a second more would wait for longer than clients do.
pub const PUT_QUEUE_MAX: usize = 1 << 17;
/// Most HTTP connections: what a process may open without asking for more is 1,024 files, servers raise it to 65,536.
pub const CONNECTIONS_MAX: usize = 60_000;
/// Most records in one batch request: a tenth of a second of one core's verification.
pub const BATCH_RECORDS_MAX: usize = 1_000;
/// Largest batch request, in bytes: the most records, each of the largest size.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// Batch requests at a time: bounds their memory to 64 MiB with what they are answered.
pub const BATCHES_AT_A_TIME: usize = 8;
/// Most puts in one commit, so that the first does not wait for more than a few thousandths of a second of hashing.
pub const COMMIT_PUTS_MAX: usize = 1_024;
/// A client that has not sent a whole head or body after this many seconds is hung up on; a quiet connection too.
pub const HTTP_PATIENCE_SECS: u64 = 10;
/// The same while less than a quarter of the connections is free.
pub const HTTP_HASTE_SECS: u64 = 2;
/// A connection is closed after this many seconds at the latest, so that load spreads again after a restart.
pub const CONNECTION_AGE_SECS: u64 = 600;
/// How long a graceful stop waits for requests that were accepted, in seconds.
pub const STOP_PATIENCE_SECS: u64 = 10;
/// How long the probe of the write path waits for the disk, in seconds.
pub const PROBE_SECS: u64 = 2;
/// How long "there is no such name" may be believed, in seconds: a new name is seen soon.
pub const NEGATIVE_TTL_SECS: u32 = 5;
/// A rate allows this many seconds' worth at once, so that a burst of a careful publisher is not a fault.
pub const BURST_SECS: u32 = 5;
/// Networks whose anonymous rate is remembered; beyond, the one not seen for longest is forgotten. 16 MB at most.
pub const NETWORKS_MAX: usize = 1 << 16;
/// Names forgotten in one step of expiry: a commit that puts do not notice.
pub const EXPIRE_STEP: usize = 256;
/// Seconds between two walks of expiry that found nothing more to forget.
pub const EXPIRE_EVERY_SECS: u64 = 30;
/// Seconds between two writings of the books.
pub const BOOKS_EVERY_SECS: u64 = 30;
/// Seconds between two walks that count anew what everybody keeps.
pub const WALK_EVERY_SECS: u64 = 6 * 3_600;
/// Records read in one step of that walk, and milliseconds of rest after it: a million take a minute, and nobody notices.
pub const WALK_STEP: usize = 256;
/// See [`WALK_STEP`].
pub const WALK_REST_MILLIS: u64 = 10;
/// Names watched on one connection: ten thousand, and room for some more.
pub const WATCH_NAMES_MAX: usize = 16_384;
/// Names watched in all, counted once for each watcher: about 200 bytes each.
pub const WATCHED_MAX: usize = 1 << 20;
/// Largest body that lists names to watch, in bytes: the most names, each with a rank.
pub const WATCH_BODY_BYTES_MAX: usize = WATCH_NAMES_MAX * 160;
/// Such bodies read at a time: bounds their memory to 84 MB.
pub const WATCH_BODIES_AT_A_TIME: usize = 32;
/// A watcher that left off longer ago than this many changes is told everything anew: reading them would cost more.
pub const WATCH_RESUME_MAX: u64 = 65_536;
/// A watcher of whose names nothing changes is sent a sign of life after this many seconds: proxies and NATs forget the quiet after 30.
pub const WATCH_ALIVE_SECS: u64 = 15;
/// About how much is written to a watcher in one piece, in bytes: what waits for one that reads slowly.
pub const WATCH_PIECE_BYTES: usize = 32 << 10;
/// How often it is looked whether something that is watched has ended, in milliseconds.
pub const WATCH_TICK_MILLIS: u64 = 250;
/// Days that the hours of the books are kept: a year's statement can be made, and disputed.
pub const BOOKS_KEEP_DAYS: u64 = 400;

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = include_str!("../../etc/provider.toml");

    /// The template with the lines uncommented that start with `#` and `prefix`.
    fn uncommented(prefix: &str) -> String {
        let line = |line: &str| match line.strip_prefix('#').and_then(|rest| rest.strip_prefix(prefix)) {
            Some(rest) if rest.starts_with(|first: char| first.is_ascii_lowercase() || first == '[') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        };
        TEMPLATE.lines().map(line).collect()
    }

    #[test]
    fn the_template_as_it_stands_changes_nothing() {
        assert_eq!(Settings::parse(TEMPLATE, "template").unwrap(), Settings::default());
    }

    #[test]
    fn every_default_in_the_template_is_the_default() {
        let text = uncommented("");
        assert_eq!(Settings::parse(&text, "template").unwrap(), Settings::default());
        for key in ["data =", "listen =", "anonymous_puts =", "origin =", "put_queue =", "filter ="] {
            assert!(text.lines().any(|line| line.starts_with(key)), "{key} is not in the template");
        }
    }

    #[test]
    fn every_example_in_the_template_is_accepted() {
        let settings = Settings::parse(&uncommented("     "), "template").unwrap();
        assert_eq!((settings.peers.len(), settings.accounts.len()), (1, 1));
        assert!(settings.identity.key.is_some());
    }

    #[test]
    fn no_file_is_needed() {
        assert_eq!(Settings::parse("", "none").unwrap(), Settings::default());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key_and_line() {
        for (text, line, says) in [
            ("data = \"x\"\n\n[http]\nlistne = []\n", 4, "listne"),
            ("dta = \"x\"\n", 1, "dta"),
            ("[http]\nlisten = [\"127.0.0.1\"]\n", 2, "socket address"),
            ("[http]\nanonymous_puts = \"perhaps\"\n", 2, "perhaps"),
            ("[[peer]]\nname = \"nonsense\"\n", 2, "56 characters"),
            ("[[peer]]\naddresses = []\n", 1, "name"),
            ("[[account]]\nname = \"a\"\ntoken_sha256 = \"12\"\n", 3, "64 hexadecimal"),
            ("[limits]\n# words\nanonymous_keep_days = 401\n", 3, "400"),
            ("[limits]\nput_queue = 1\n", 2, "1000"),
            ("[store]\ncache_mebibytes = 0\n", 2, "65536"),
            ("[log]\nformat = \"xml\"", 2, "xml"),
            ("[http\n", 1, ""),
        ] {
            let error = Settings::parse(text, "p.toml").unwrap_err();
            let SettingsError::Line { line: found, .. } = &error else {
                panic!("{text:?}: {error}");
            };
            assert_eq!(*found, line, "{text:?}: {error}");
            let shown = error.to_string();
            assert!(
                shown.contains(says) && shown.starts_with(&format!("p.toml, line {line}: ")),
                "{text:?}: {shown}"
            );
        }
    }

    #[test]
    fn values_that_do_not_go_together_are_refused() {
        let account = |name: &str, digit: char| {
            let digest: String = std::iter::repeat_n(digit, 64).collect();
            format!("[[account]]\nname = \"{name}\"\ntoken_sha256 = \"{digest}\"\n")
        };
        for (text, says) in [
            ("[http]\nlisten = []\n".to_owned(), "http.listen"),
            (account("a", '0') + &account("a", '1'), "two accounts"),
            (account("a", '0') + &account("b", '0'), "token of another"),
            (account("", '0'), "1 to 64 bytes"),
            ("[dns]\norigin = \"a..b\"\n".to_owned(), "dns.origin"),
            ("[dns]\ncertificate_key = \"key.pem\"\n".to_owned(), "dns.certificate"),
        ] {
            let error = Settings::parse(&text, "p.toml").unwrap_err();
            assert!(
                matches!(error, SettingsError::Together(_)) && error.to_string().contains(says),
                "{text}: {error}"
            );
        }
    }
}
