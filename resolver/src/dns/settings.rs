//! What a frontend and its listeners may be told, and the bounds of what they keep.

use crate::dns::access::{AccessSettings, ViewSettings};
use crate::dns::accounts::{Rule, UNITS_PER_SECOND};
use crate::dns::designated::Designated;
use crate::dns::domain::Domain;
use crate::dns::links::Follow;
use crate::dns::query_log::QueryLogSettings;
use crate::dns::server::Server;
use serde::Deserialize;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What a frontend answers, and for whom.
#[derive(Clone, Debug)]
pub struct FrontendSettings {
    /// Under which flat names are found, such as `dialtone.alt`.
    pub origin: Domain,
    /// What the SOA of the origin says.
    pub authority: Authority,
    /// The name servers of the origin: what its parent delegates to. Of no use for an origin that nobody delegates.
    pub nameservers: Vec<Domain>,
    /// The file of the keys that sign the origin; `None`: it is not signed.
    pub signing_key: Option<PathBuf>,
    /// The resolvers that other names are forwarded to, preferred first; none: other names are refused.
    pub upstreams: Vec<Server>,
    /// The certificate authorities, in PEM, that vouch for upstreams over TLS and HTTPS; `None`: the web's.
    pub upstream_authorities: Option<PathBuf>,
    /// Whether anyone may have names forwarded; otherwise only loopback, private and link-local addresses may. An open resolver is a
    /// weapon for others.
    pub forward_for_everyone: bool,
    /// The file of aliases: `alias  <name>` a line.
    pub aliases: Option<PathBuf>,
    /// Whether owners' links from legacy names to flat ones are followed.
    pub links: Follow,
    /// Whether what upstreams say is validated by DNSSEC here, also of legacy names that flat ones lead to.
    pub validate: bool,
    /// The keys that validation starts from, as DNSKEY records; `None`: the root's.
    pub trust_anchors: Option<PathBuf>,
    /// Which of several servers this is, for those who ask (RFC 5001); `None`: it is not said.
    pub nsid: Option<String>,
    /// Who is answered at all.
    pub access: AccessSettings,
    /// Who is answered at some listeners instead, said as they were bound.
    pub views: Vec<ViewSettings>,
    /// What clients are told of our encrypted transports; `None`: nothing.
    pub designated: Option<Designated>,
    /// How often others are asked because of one network.
    pub searches: SearchSettings,
    /// What is logged of questions, and where.
    pub query_log: QueryLogSettings,
}

/// How often others (providers, peers, upstream resolvers) are asked because of one network, an IPv4 /24 or an IPv6 /56. What is known here
/// is answered all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchSettings {
    /// Questions a second; 0: any number.
    pub per_second: u32,
    /// Questions at once.
    pub burst: u32,
    /// Whether this machine and private networks are held to it too.
    pub private: bool,
}

impl SearchSettings {
    /// Whether they can be used.
    ///
    /// # Errors
    /// The key that is wrong, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        check("per_second", self.per_second, 0, ANSWERS_PER_SECOND_MAX)?;
        check("burst", self.burst, 1, ANSWERS_BURST_MAX)
    }

    pub(crate) fn rule(&self) -> Rule {
        let RateSettings {
            ipv4_prefix, ipv6_prefix, ..
        } = RateSettings::default();
        Rule {
            per_second: self.per_second,
            burst: self.burst,
            ipv4_prefix,
            ipv6_prefix,
            hold_secs: 0,
        }
    }
}

impl Default for SearchSettings {
    /// Ten pages of names never seen before at once, and one in each second.
    fn default() -> Self {
        Self {
            per_second: 100,
            burst: 1_000,
            private: false,
        }
    }
}

fn check(key: &str, value: u32, from: u32, to: u32) -> Result<(), String> {
    if (from..=to).contains(&value) {
        Ok(())
    } else {
        Err(format!("`{key}` is {value}: {from} to {to}"))
    }
}

/// What the SOA of the origin says (RFC 1035 §3.3.13).
#[derive(Clone, Debug)]
pub struct Authority {
    /// The primary name server.
    pub mname: Domain,
    /// The mailbox of who answers for it, its `@` a dot.
    pub rname: Domain,
    /// The serial. Nothing is transferred, so nothing depends on it.
    pub serial: u32,
    /// For how long "there is none" may be believed, in seconds: at most [`NEGATIVE_TTL_SECS_MAX`].
    pub negative_ttl_secs: u32,
}

/// How much listeners take on at once.
#[derive(Clone, Copy, Debug)]
pub struct ListenerSettings {
    /// Most questions by UDP that wait for an answer; more are dropped, and asked again by who asked.
    pub udp_in_flight: usize,
    /// Most bytes of answers by UDP that are kept as they are sent, on all cores together.
    pub udp_cache_bytes: usize,
    /// Most TCP connections.
    pub tcp_connections: usize,
    /// Most TCP connections of one IPv4 address or IPv6 /64.
    pub tcp_per_client: usize,
    /// Most questions of one TCP connection that wait for an answer; more are not read until some are answered.
    pub tcp_in_flight: usize,
    /// A connection on which no whole message has come for this long is closed.
    pub tcp_idle: Duration,
    /// How fast answers may go by UDP to one network.
    pub rate: RateSettings,
}

/// How fast answers may go by UDP to one network. Answers no larger than their questions are not counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateSettings {
    /// Answers a second; 0: any number. At most [`ANSWERS_PER_SECOND_MAX`].
    pub answers_per_second: u32,
    /// Answers at once.
    pub burst: u32,
    /// How many bits of an IPv4 address are its network.
    pub ipv4_prefix: u8,
    /// How many bits of an IPv6 address are its network: at most 64.
    pub ipv6_prefix: u8,
    /// Of the answers beyond the rate, every so manyth is sent without data, so that who is there comes over TCP; 0: none is.
    pub slip: u8,
    /// Whether this machine and private networks are held to it too, where nobody else can send from.
    pub private: bool,
}

impl RateSettings {
    /// Whether they can be used.
    ///
    /// # Errors
    /// The key that is wrong, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        check("answers_per_second", self.answers_per_second, 0, ANSWERS_PER_SECOND_MAX)?;
        check("burst", self.burst, 1, ANSWERS_BURST_MAX)?;
        check("ipv4_prefix", self.ipv4_prefix.into(), 1, 32)?;
        check("ipv6_prefix", self.ipv6_prefix.into(), 1, 64)
    }
}

impl Default for RateSettings {
    /// What a home or an office never needs by UDP, and a thousand of them cannot make a flood of.
    fn default() -> Self {
        Self {
            answers_per_second: 200,
            burst: 400,
            ipv4_prefix: 24,
            ipv6_prefix: 56,
            slip: 2,
            private: false,
        }
    }
}

impl FrontendSettings {
    /// The settings that need no thought: names under `origin`, everything else refused.
    pub fn new(origin: Domain) -> Self {
        Self {
            origin,
            authority: Authority::default(),
            nameservers: Vec::new(),
            signing_key: None,
            upstreams: Vec::new(),
            upstream_authorities: None,
            forward_for_everyone: false,
            aliases: None,
            links: Follow::No,
            validate: false,
            trust_anchors: None,
            nsid: None,
            access: AccessSettings::default(),
            views: Vec::new(),
            designated: None,
            searches: SearchSettings::default(),
            query_log: QueryLogSettings::default(),
        }
    }
}

impl Authority {
    /// Of a zone with these name servers, the first of which is its primary one.
    pub fn of(nameservers: &[Domain]) -> Self {
        let usual = Self::default();
        Self {
            mname: nameservers.first().cloned().unwrap_or(usual.mname),
            ..usual
        }
    }
}

impl Default for Authority {
    /// A zone that nobody delegates: names that cannot be asked (RFC 2606).
    fn default() -> Self {
        Self {
            mname: Domain::from_labels([&b"localhost"[..]]).unwrap_or_else(Domain::root),
            rname: Domain::from_labels([&b"nobody"[..], b"invalid"]).unwrap_or_else(Domain::root),
            serial: 1,
            negative_ttl_secs: NEGATIVE_TTL_SECS_MAX,
        }
    }
}

impl Default for ListenerSettings {
    fn default() -> Self {
        Self {
            udp_in_flight: 4_096,
            udp_cache_bytes: 256 << 20,
            tcp_connections: 1_024,
            tcp_per_client: 64,
            tcp_in_flight: 64,
            tcp_idle: STREAM_IDLE,
            rate: RateSettings::default(),
        }
    }
}

/// Most answers a second that can be told from no limit: time is kept in parts of a millisecond, of which there are so many.
pub const ANSWERS_PER_SECOND_MAX: u32 = UNITS_PER_SECOND as u32;

/// Most answers at once: a network is remembered for as long as these are worth at its rate.
pub const ANSWERS_BURST_MAX: u32 = 1_000_000;

/// How long a connection may be open without a whole message: what RFC 9210 §4.5 starts with, less a second, so that a slow one is gone
/// within ten on a busy machine too.
pub const STREAM_IDLE: Duration = Duration::from_secs(9);

/// Longest question over a connection, in bytes: a padded one fits into the answer's size, and nothing else is long. Each is held until it is
/// answered: with the 64 KiB that TCP allows, those that wait on all connections would take gigabytes.
pub const QUESTION_BYTES_MAX: usize = 4_096;

/// What the answers take that are kept for connections, in bytes: a quarter of what is kept for datagrams, since most questions come by those.
pub const KEPT_FOR_CONNECTIONS_BYTES_MAX: usize = 64 << 20;

/// How long a TLS or QUIC handshake may take: two round trips around the world, lost once each. Part of [`STREAM_IDLE`].
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// For how long a connection must have been quiet before it makes way for a new one where there is no room: whoever has just asked, or is
/// just shaking hands, stays.
pub const MAKE_WAY_AFTER: Duration = Duration::from_millis(100);

/// How many questions may be taken back on one connection, more than were answered on it: a browser that leaves a page takes back a handful,
/// a rapid reset (CVE-2023-44487) thousands.
pub const TAKEN_BACK_MAX: u64 = 64;

/// From how many QUIC handshakes at once who dials must first prove its address (Retry, RFC 9000 §8.1.2): each costs memory and a signature,
/// and a forged sender never completes one.
pub const QUIC_HANDSHAKES_UNPROVED_MAX: usize = 32;

/// Most QUIC handshakes at once, proved or not: a core does some 1,500 a second, so that these are done within [`HANDSHAKE_MAX`].
pub const QUIC_HANDSHAKES_MAX: usize = 1_024;

/// Longest head of an HTTP request, in bytes: a question in the address of a GET, and a browser's headers.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 << 10;

/// Longest identifier of a server (RFC 5001): a host's name.
pub const NSID_BYTES_MAX: usize = 64;

/// Longest that "there is none" may be believed, in seconds. A name is often asked for just before it is published; what looks dead
/// for longer than this is reported as broken.
pub const NEGATIVE_TTL_SECS_MAX: u32 = 10;

/// Longest origin in wire form, in bytes: leaves room for a name's 57 and the longest owner of a `dns` binding (101).
pub const ORIGIN_BYTES_MAX: usize = 255 - 57 - 101;

/// Most aliases that one answer follows, here and upstream together. Chains in use have one or two; longer ones are slow for everyone.
pub const ALIAS_HOPS_MAX: usize = 8;

/// Most other names looked up for the addresses that one answer carries along: each may cost a search.
pub const TARGETS_MAX: usize = 4;

/// Longest that an alias of the map file may be kept, in seconds: as for "there is none", because both change by hand.
pub const ALIAS_TTL_SECS: u32 = 10;

/// Most domains that are looked at for an owner's link to cover one name, the closest to the top: deeper names have their links there.
pub const LINK_LABELS_MAX: usize = 5;

/// Shortest and longest that an owner's link, or that there is none, is kept, in seconds: not so short that every question asks for it, and
/// whoever makes a mistake can mend it within the hour.
pub const LINK_TTL_SECS: (u32, u32) = (5, 3_600);

/// Owners' links, and domains without one, that are kept: some megabytes.
pub const LINKS_MAX: usize = 16_384;

/// How much larger than its question the answer with a signed record may be by UDP, as a ratio of 3 to 2: a forged sender gains nothing.
pub const RECORD_UDP_GAIN: (usize, usize) = (3, 2);

/// Signatures made a second, and at once, because of one network: what a large resolver asks that keeps what it was told. Those that are kept do not count.
pub const SIGNED_PER_NETWORK: (u32, u32) = (1_000, 5_000);

/// The same for all networks together, once for those that prove their address and once for those that need not be who they say: with some 50 µs for
/// each, each kind takes a quarter of a core and no more.
pub const SIGNED_IN_ALL: (u32, u32) = (5_000, 10_000);

/// Answers kept from upstream.
pub const UPSTREAM_CACHE_ENTRIES: usize = 8_192;

/// Largest answer from upstream that is kept, in bytes. With the number of entries it bounds the cache at 32 MiB.
pub const UPSTREAM_CACHED_BYTES_MAX: usize = 4_096;

/// Longest that an answer from upstream is kept, in seconds: a day (RFC 8767 §4 allows a week; nobody misses the rest).
pub const UPSTREAM_TTL_SECS_MAX: u32 = 86_400;

/// For how long after its time an answer from upstream is still given while no upstream answers (RFC 8767 §5.3: one to three days).
pub const UPSTREAM_STALE_MAX: Duration = Duration::from_secs(86_400);

/// The TTL of an answer that is given after its time, in seconds (RFC 8767 §4).
pub const UPSTREAM_STALE_TTL_SECS: u32 = 30;

/// How long somebody waits for the upstream where there is an answer whose time is over (RFC 8767 §5: 1.8 s, before a stub gives up).
pub const UPSTREAM_STALE_AFTER: Duration = Duration::from_millis(1_800);

/// How long a failure of the upstream is remembered, in seconds (RFC 9520 §3.2: 1 second to 5 minutes).
pub const UPSTREAM_FAILURE_SECS: u32 = 5;

/// Most different questions that wait for the upstream.
pub const UPSTREAM_IN_FLIGHT_MAX: usize = 1_024;

/// How long one upstream may take over one try.
pub const UPSTREAM_TRY: Duration = Duration::from_millis(1_500);

/// How long an upstream that did not answer is asked after the others: its restart, or a change of network, and no longer.
pub const UPSTREAM_REST: Duration = Duration::from_secs(30);

/// How much slower than twice the quickest an upstream is before it is asked after it: what people begin to notice.
pub const UPSTREAM_SLOWER_BY: Duration = Duration::from_millis(50);

/// Before this nobody else is asked as well: what is not in an upstream's cache takes a while, and is not found sooner by two.
pub const UPSTREAM_PATIENCE_MIN: Duration = Duration::from_millis(100);

/// From which part of its TTL on an answer of an upstream is asked for again before it has to be: the last tenth.
pub const UPSTREAM_SOON_OVER: u32 = 10;

/// Answers that hold for no longer are not worth asking for sooner, in seconds.
pub const UPSTREAM_PREFETCH_TTL_MIN: u32 = 10;

/// After so many messages by UDP that are nothing to the question an upstream is asked over TCP. An honest one sends none, or a late one to whoever had the
/// port before; the system keeps some 270 small ones for a socket, and what comes then is lost, the reply too.
pub const UPSTREAM_UNWANTED_MAX: usize = 16;

/// How often each upstream is tried.
pub const UPSTREAM_TRIES: usize = 2;

/// How long a connection to an upstream is kept that nobody asks over: a page is read, and the next one opened.
pub const UPSTREAM_IDLE: Duration = Duration::from_secs(30);

/// How long one question may take with all upstreams: what a stub resolver waits before it asks again (5 s), less the way back.
pub const UPSTREAM_TOTAL: Duration = Duration::from_millis(4_500);

/// The first address that stands twice among those of one carrier: the second could not be listened on. Port 0 is another one each time.
pub fn taken_twice<'a>(addresses: impl IntoIterator<Item = &'a SocketAddr>) -> Option<SocketAddr> {
    let mut seen = HashSet::new();
    let with_port = addresses.into_iter().filter(|address| address.port() != 0);
    with_port.copied().find(|address| !seen.insert(*address))
}
