//! What a stub may be told: which providers, how patient, how large. Every bound with its reason.

use crate::error::ProviderTextError;
use dialtone_shared::Ttl;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// What a stub may be told. [`Default`] works without telling it anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StubSettings {
    /// Whom to ask. Empty: those in the environment variable [`PROVIDER_VARIABLE`], or else the one on localhost.
    pub providers: Vec<ProviderAt>,
    /// Where the rollback floor is kept.
    pub floor: FloorAt,
    /// Most names that the floor remembers; the least recently asked for are forgotten first.
    pub floor_names_max: usize,
    /// Most answers in the cache.
    pub cache_entries_max: usize,
    /// Most bytes of records in the cache.
    pub cache_bytes_max: usize,
    /// How long an absence may be believed, whatever the provider says.
    pub negative_ttl_max: Duration,
    /// Most lookups on the network at once; more are refused as busy.
    pub lookups_max: usize,
    /// When a lookup gives up.
    pub deadline: Duration,
    /// How often providers that were set aside are tried again, beside the lookups.
    pub probe_every: Duration,
    /// Whether it starts even if no provider is found: one may be, later.
    pub starts_alone: bool,
    /// How long after its TTL a record is still given where no provider answers (RFC 8767), never beyond its expiry; 0: not at all.
    pub stale_max: Duration,
}

impl Default for StubSettings {
    fn default() -> Self {
        Self {
            providers: Vec::new(),
            floor: FloorAt::StateFolder,
            floor_names_max: FLOOR_NAMES_MAX,
            cache_entries_max: CACHE_ENTRIES_MAX,
            cache_bytes_max: CACHE_BYTES_MAX,
            negative_ttl_max: NEGATIVE_TTL,
            lookups_max: LOOKUPS_MAX,
            deadline: DEADLINE,
            probe_every: PROBE_EVERY,
            starts_alone: false,
            stale_max: STALE_MAX,
        }
    }
}

/// Where a provider is.
///
/// ```text
/// http://host[:port]        its HTTP API; name, origin and DNS address come from /v1/info
/// https://host[:port]
/// dns://host[:port]/origin  its DNS address and origin themselves; nothing can be published there
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ProviderAt {
    /// The base URL of its HTTP API, without a final slash.
    Http(String),
    /// A DNS server that serves records.
    Dns {
        /// Host name or IP address, and port.
        host: String,
        /// What names stand under, without a final dot.
        origin: String,
    },
}

/// Where the rollback floor is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FloorAt {
    /// In the user's state folder: `$DIALTONE_STATE`, `$XDG_STATE_HOME/dialtone` or `~/.local/state/dialtone`. Where that cannot
    /// be written, in memory, with a warning.
    StateFolder,
    /// In this folder; failing to use it is an error.
    Folder(PathBuf),
    /// In memory: it lasts as long as the stub.
    Memory,
}

impl FromStr for ProviderAt {
    type Err = ProviderTextError;

    fn from_str(text: &str) -> Result<Self, ProviderTextError> {
        let refuse = || ProviderTextError(text.to_owned());
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or_else(refuse)?;
        let printable = rest.bytes().all(|byte| byte.is_ascii_graphic());
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() || !printable || host.contains('@') {
            return Err(refuse());
        }
        match scheme {
            "http" | "https" if !path.contains(['?', '#']) => Ok(Self::Http(text.trim_end_matches('/').to_owned())),
            "dns" => {
                let origin = path.trim_end_matches(['/', '.']).to_ascii_lowercase();
                if !dialtone_shared::record::binding::is_dns_name(&origin) {
                    return Err(refuse());
                }
                let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
                let host = if has_port { host.to_owned() } else { format!("{host}:53") };
                Ok(Self::Dns { host, origin })
            }
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for ProviderAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => f.write_str(url),
            Self::Dns { host, origin } => write!(f, "dns://{host}/{origin}"),
        }
    }
}

/// Reads a comma-separated list of providers.
///
/// # Errors
/// [`ProviderTextError`], naming the first that is none.
pub fn providers_of(list: &str) -> Result<Vec<ProviderAt>, ProviderTextError> {
    list.split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::parse)
        .collect()
}

/// The environment variable with a comma-separated list of providers.
pub const PROVIDER_VARIABLE: &str = "DIALTONE_PROVIDER";
/// The environment variable with the folder for what must outlive the process.
pub const STATE_VARIABLE: &str = "DIALTONE_STATE";
/// Whom to ask when nobody says: a provider of one's own.
pub const PROVIDER_DEFAULT: &str = "http://127.0.0.1:4380";

/// Providers that one stub asks at most. More than a few only make failing slower.
pub const PROVIDERS_MAX: usize = 16;
/// DNS addresses taken from one provider's `/v1/info`: two families, a spare each.
pub const ADDRESSES_MAX: usize = 4;
/// Answers in the cache. With the bytes below, about 5,000 of the usual size.
pub const CACHE_ENTRIES_MAX: usize = 16_384;
/// Bytes of records in the cache: 8 MiB, little for an application, much for records of 400 bytes.
pub const CACHE_BYTES_MAX: usize = 8 << 20;
/// What an entry costs beside its record's bytes: keys, links, the decoded record. For the byte bound only.
pub const CACHE_ENTRY_OVERHEAD_BYTES: usize = 1_024;
/// Names that the floor remembers: at about 150 bytes each in memory and 88 on disk, some 30 MB at the very most.
pub const FLOOR_NAMES_MAX: usize = 200_000;
/// Lookups on the network at once; each holds a socket. Half of the usual limit of open files.
pub const LOOKUPS_MAX: usize = 512;
/// When a lookup gives up: a resolver in front waits about as long.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// How long an absence is believed. As short as the SOA minimum of providers: a new name must not stay hidden.
pub const NEGATIVE_TTL: Duration = Duration::from_secs(10);
/// An absence is never believed for longer than this, whatever the settings say.
pub const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(60);

/// How long after its TTL a record is given where no provider answers: a day (RFC 8767 §5: one to three).
pub const STALE_MAX: Duration = Duration::from_secs(86_400);
/// What such an answer may be kept for (RFC 8767 §5).
pub const STALE_TTL: Ttl = Ttl(30);
/// How long the providers are waited for where there is such an answer (RFC 8767 §5).
pub const STALE_PATIENCE: Duration = Duration::from_millis(1_800);
/// How long nobody is asked again where nobody answered. Less than RFC 8767's 30 s: a provider that is back is heard soon.
pub const STALE_REST: Duration = Duration::from_secs(5);
/// A record is asked for again in this part of its TTL, the last, if somebody asks for it then.
pub const PREFETCH_PART: u32 = 10;
/// Records of less are not: that would be asking all the time.
pub const PREFETCH_TTL_MIN: Duration = Duration::from_secs(10);

/// How often one lookup asks in all: each provider of a usual list twice.
pub const TRIES_MAX: usize = 6;
/// How long the first try is left alone before another is made, when nothing is known about the provider: above the round trip to
/// most of the world, below what people notice.
pub const PATIENCE_UNKNOWN: Duration = Duration::from_millis(250);
/// The shortest patience: a provider that hiccups (a commit, a scheduler) is not doubled at once.
pub const PATIENCE_MIN: Duration = Duration::from_millis(20);
/// The longest patience for a first try.
pub const PATIENCE_MAX: Duration = Duration::from_secs(1);

/// Failures in a row after which a provider is asked last: one may be loss, two chance.
pub const FAILURES_TO_BREAK: u32 = 3;
/// How often a provider that is set aside is tried again, beside the lookups.
pub const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Idle UDP sockets kept for one provider.
pub const SOCKETS_IDLE_MAX: usize = 32;
/// Queries sent from one source port before another is drawn: few enough that an observer learns a port in vain.
pub const QUERIES_PER_SOCKET_MAX: u32 = 64;
/// Idle TCP connections kept for one provider. Only large records need them.
pub const CONNECTIONS_IDLE_MAX: usize = 4;
/// A socket idle for longer is not used again: the server may have closed it, or this machine moved to another network.
pub const IDLE_MAX: Duration = Duration::from_secs(5);

/// A query is padded to this many bytes. Providers answer over UDP with at most 1.5 times the query: 1,200 bytes,
/// about what EDNS 1232 allows and three times the usual record.
pub const QUERY_BYTES: usize = 800;
/// The largest UDP answer that is asked for (the DNS flag day's number).
pub const UDP_PAYLOAD_BYTES: u16 = 1_232;

/// How long connecting to a provider's HTTP API may take.
pub const HTTP_CONNECT: Duration = Duration::from_secs(5);
/// How long a whole HTTP exchange may take. A put returns when it is durable: a slow disk is not a broken one.
pub const HTTP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long `/v1/info` may take: it is asked before anything can be looked up.
pub const INFO_TIMEOUT: Duration = Duration::from_secs(3);
/// Records of the cache that are watched, at most: half of what one connection may watch.
pub const LIVE_NAMES_MAX: usize = 8_192;
/// How often it is looked for records that are not watched yet.
pub const LIVE_EVERY: Duration = Duration::from_secs(1);
/// Largest HTTP body that is read. Answers are records, values among them, receipts and problems.
pub const HTTP_BODY_BYTES_MAX: usize = 64 * 1024;
/// A provider that is watched gives a sign of life every 15 s; after this long without one the connection is taken for lost.
pub const WATCH_SILENCE: Duration = Duration::from_secs(45);
/// The longest pause before a watch is begun again: a provider that restarts is away for less.
pub const WATCH_RETRY_MAX: Duration = Duration::from_secs(10);
/// How often it is asked whether a record has become visible.
pub const VISIBLE_EVERY: Duration = Duration::from_millis(5);
/// The longest pause between two such questions: they back off to it.
pub const VISIBLE_EVERY_MAX: Duration = Duration::from_millis(250);

/// Names that a site keeps at most, those that its own lead to among them: what one watch takes, and an organisation has.
pub const SITE_NAMES_MAX: usize = 8_192;
/// How long a site waits for a provider before it answers its own names alone: longer than a lookup takes that is repeated once.
pub const SITE_PATIENCE: Duration = Duration::from_millis(600);
/// How long a site that is cut off rests between looks whether it still is.
pub const SITE_AGAIN: Duration = Duration::from_secs(1);
/// How long what a site says alone may be kept: as RFC 8767 §4 advises for what may be outdated.
pub const SITE_TTL: Ttl = Ttl(30);
/// How often a site looks which names are its own, and for names that these have come to lead to.
pub const SITE_LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a site asks for its names while nobody tells it of changes: about as often as short TTLs end.
pub const SITE_REFRESH: Duration = Duration::from_secs(30);
/// Bytes of a site's file with the origin: a DNS name in text, with room for escapes.
pub const ORIGIN_FILE_BYTES_MAX: usize = 1_024;

/// What names stand under where nobody says otherwise (RFC 9476).
pub const ORIGIN_DEFAULT: &str = "dialtone.alt";
/// How long an address is tried alone before the next one is, too: what RFC 8305 §5 recommends.
pub const CONNECT_PAUSE: Duration = Duration::from_millis(250);
/// How long connecting to one address, and TLS with it, may take each.
pub const CONNECT_ATTEMPT: Duration = Duration::from_secs(5);
/// How long connecting to a name may take in all.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(20);
/// Most endpoints of one name that are tried: what is not reached in as many places is away.
pub const CONNECT_ATTEMPTS_MAX: usize = 16;

/// Deepest chain of names in one resolution (service, endpoint, delegates).
pub const DEPTH_MAX: usize = 8;
/// Most other names that are followed from one record.
pub const FANOUT_MAX: usize = 16;
/// Most names looked up in one resolution.
pub const LOOKUPS_PER_RESOLUTION_MAX: usize = 32;
/// Most endpoints that a resolution returns: nobody tries more.
pub const ENDPOINTS_MAX: usize = 64;

const _: () = assert!(NEGATIVE_TTL.as_secs() <= NEGATIVE_TTL_MAX.as_secs());
const _: () = assert!(QUERY_BYTES * 3 / 2 <= UDP_PAYLOAD_BYTES as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_read_and_printed_alike() {
        for (text, printed) in [
            ("http://127.0.0.1:4380/", "http://127.0.0.1:4380"),
            ("https://names.example", "https://names.example"),
            ("dns://127.0.0.1:5300/Dialtone.ALT.", "dns://127.0.0.1:5300/dialtone.alt"),
            ("dns://[::1]/x.example", "dns://[::1]:53/x.example"),
        ] {
            assert_eq!(text.parse::<ProviderAt>().unwrap().to_string(), printed);
        }
        for text in [
            "",
            "127.0.0.1:4380",
            "ftp://x",
            "http://",
            "dns://127.0.0.1:53",
            "dns:///x",
            "http://a b",
            "http://u@h",
        ] {
            assert!(text.parse::<ProviderAt>().is_err(), "{text}");
        }
        assert_eq!(providers_of(" http://a , ,http://b").unwrap().len(), 2);
    }
}
