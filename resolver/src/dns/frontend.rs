//! A question's way through the house: whose name is it, what is known of it, and what is said.

use crate::dns::access::{Denied, View, Views, is_private};
use crate::dns::accounts::Accounts;
use crate::dns::cookie::{Cookie, Cookies, OPTION_BYTES, Shown};
use crate::dns::counts::{Counters, FrontendCounts};
use crate::dns::denial::types::NXNAME;
use crate::dns::designated::Designated;
use crate::dns::domain::Domain;
use crate::dns::edns::{Wants, add_option, dress};
use crate::dns::flush::{Flushed, Scope};
use crate::dns::forward::Asked;
use crate::dns::generations::{Generations, Millis, Trace};
use crate::dns::glance::{EXTENDED_ERROR_BYTES_MAX, Key, OPT_HEAD_BYTES};
use crate::dns::hot::Fill;
use crate::dns::kept::Kept;
use crate::dns::latency::{Found, LatencyCounts};
use crate::dns::links::Follow;
use crate::dns::place::{Place, Zone};
use crate::dns::query_log::Prefixes;
use crate::dns::question::Query;
use crate::dns::rcode::{AnswerError, Ede, Rcode, UpstreamError, ede, of_error};
use crate::dns::response::{Response, TCP_BYTES_MAX, ede_option, encode_refusal, udp_limit};
use crate::dns::settings::{FrontendSettings, NEGATIVE_TTL_SECS_MAX, NSID_BYTES_MAX, ORIGIN_BYTES_MAX, RECORD_UDP_GAIN};
use crate::dns::shares::Shares;
use crate::dns::signing_budget::SigningBudget;
use crate::dns::top::{Looking, Top, Tops};
use crate::dns::walk::{Walk, targets_of};
use crate::dns::wire::{CLASS_IN, HEADER_BYTES, flags};
use crate::io::alias_file::{AliasFile, LOOK_EVERY};
use crate::io::allowance::{Allowance, within};
use crate::io::clock;
use crate::io::links::{Linked, Links};
use crate::io::query_log::QueryLog;
use crate::io::tls::authorities_in;
use crate::io::upstream::Upstream;
use crate::io::validator::Validator;
use crate::io::zone_keys::{ZoneKeyError, ZoneKeyFile};
use crate::source::RecordSource;
use dialtone_shared::Name;
use dialtone_shared::record::rdata::{TYPE_RECORD, types};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a question came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// A datagram: the sender may be forged, and the answer must be small.
    Udp,
    /// A connection.
    Tcp,
    /// A connection under TLS (RFC 7858).
    Tls,
    /// An HTTPS request (RFC 8484).
    Https,
    /// A QUIC stream (RFC 9250).
    Quic,
}

impl Carrier {
    /// All, in the order in which they are counted.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Https, Self::Quic];

    /// Whether nobody on the way can read along.
    pub fn is_encrypted(self) -> bool {
        match self {
            Self::Udp | Self::Tcp => false,
            Self::Tls | Self::Https | Self::Quic => true,
        }
    }

    /// Its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Https => "https",
            Self::Quic => "quic",
        }
    }
}

/// Where a question came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Via {
    /// How it came.
    pub carrier: Carrier,
    /// Who asks.
    pub client: SocketAddr,
    /// Which list of who is answered counts where it came in.
    pub view: View,
}

impl Via {
    /// From `client`, at a listener of no particular view.
    pub fn new(carrier: Carrier, client: SocketAddr) -> Self {
        Self {
            carrier,
            client,
            view: View::default(),
        }
    }
}

/// What goes back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// These bytes.
    Send(Vec<u8>),
    /// Nothing: answering would do harm or reach nobody.
    Drop,
}

/// What goes back, and what is known beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// What goes back.
    pub reply: Reply,
    /// What may be kept of it for whoever asks the same.
    pub fill: Option<Fill>,
    /// Whether who asks showed a cookie that proves its address.
    pub is_proved: bool,
}

impl Given {
    fn nothing() -> Self {
        Self {
            reply: Reply::Drop,
            fill: None,
            is_proved: false,
        }
    }
}

/// The DNS frontend over a source of records.
#[derive(Debug)]
pub struct Frontend {
    source: Arc<dyn RecordSource>,
    zone: Zone,
    aliases: Option<AliasFile>,
    upstream: Option<Arc<Upstream>>,
    /// What validates what is forwarded.
    validator: Option<Arc<Validator>>,
    links: Option<Links>,
    /// What signs the origin, and how often.
    signing: Option<(ZoneKeyFile, SigningBudget)>,
    forward_for_everyone: bool,
    nsid: Option<Vec<u8>>,
    views: Views,
    designated: Option<Designated>,
    /// What others may be asked for; and whether for private networks too.
    searches: (Arc<Accounts>, Arc<Shares>, bool),
    cookies: Cookies,
    counters: Counters,
    query_log: Option<QueryLog>,
    tops: Tops,
    /// How much of an address operators are told.
    prefixes: Prefixes,
    kept: Kept,
    generations: Arc<Generations>,
    clock: Millis,
}

/// Why a frontend cannot be made from its settings. The operator's turn.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// An origin that leaves no room for names.
    #[error("the origin {origin} is {bytes} bytes in DNS form; at most {ORIGIN_BYTES_MAX} leave room for names under it")]
    LongOrigin {
        /// The origin.
        origin: String,
        /// Its length.
        bytes: usize,
    },
    /// The root as origin: then no other name could be forwarded, and every name would be a mistyped one.
    #[error("the origin is the root: choose a name, such as dialtone.alt")]
    RootOrigin,
    /// Negative answers that would be believed for too long.
    #[error("negative answers for {0} seconds: at most {NEGATIVE_TTL_SECS_MAX}, so that a new name is found soon")]
    NegativeTtl(u32),
    /// An identifier that is too long.
    #[error("the server's identifier is {0} bytes; at most {NSID_BYTES_MAX}")]
    LongNsid(usize),
    /// Links or validation without anybody to ask.
    #[error("{0} needs an upstream resolver, and none is set")]
    NoUpstream(&'static str),
    /// A file of trust anchors that cannot be used.
    #[error("trust anchors in {file}: {reason}")]
    Anchors {
        /// Which file.
        file: String,
        /// Why.
        reason: String,
    },
    /// A file of certificate authorities that cannot be used.
    #[error("certificate authorities in {file}: {reason}")]
    Authorities {
        /// Which file.
        file: String,
        /// Why.
        reason: String,
    },
    /// An upstream that cannot be asked.
    #[error("an upstream resolver cannot be asked: {0}")]
    Upstream(String),
    /// A log of questions that cannot be written.
    #[error("the log of questions in {file}: {reason}")]
    QueryLog {
        /// Which file.
        file: String,
        /// Why.
        reason: String,
    },
    /// The keys of the origin cannot be used.
    #[error("the keys that sign the origin: {0}")]
    ZoneKeys(#[from] ZoneKeyError),
    /// A file of aliases that cannot be used.
    #[error("aliases in {file}: {reason}")]
    Aliases {
        /// Which file.
        file: String,
        /// Why.
        reason: String,
    },
}

impl Frontend {
    /// A frontend that asks `source`.
    ///
    /// # Errors
    /// [`FrontendError`] if the settings do not fit.
    pub fn new(source: Arc<dyn RecordSource>, settings: FrontendSettings) -> Result<Self, FrontendError> {
        let bytes = settings.origin.as_wire().len();
        if bytes > ORIGIN_BYTES_MAX {
            let origin = settings.origin.to_string();
            return Err(FrontendError::LongOrigin { origin, bytes });
        }
        if bytes == 1 {
            return Err(FrontendError::RootOrigin);
        }
        if settings.authority.negative_ttl_secs > NEGATIVE_TTL_SECS_MAX {
            return Err(FrontendError::NegativeTtl(settings.authority.negative_ttl_secs));
        }
        if let Some(long) = settings.nsid.as_ref().filter(|nsid| nsid.len() > NSID_BYTES_MAX) {
            return Err(FrontendError::LongNsid(long.len()));
        }
        let open = |path: std::path::PathBuf| {
            let file = path.display().to_string();
            AliasFile::open(path).map_err(|error| FrontendError::Aliases {
                file,
                reason: error.to_string(),
            })
        };
        let prefixes = settings.query_log.prefixes();
        let query_log = settings.query_log.file.clone().unwrap_or_default();
        let query_log = QueryLog::open(settings.query_log).map_err(|error| FrontendError::QueryLog {
            file: query_log.display().to_string(),
            reason: error.to_string(),
        })?;
        let upstream_authorities = settings.upstream_authorities.as_deref().map(authorities_in).transpose();
        let upstream_authorities = upstream_authorities.map_err(|reason| FrontendError::Authorities {
            file: settings.upstream_authorities.unwrap_or_default().display().to_string(),
            reason,
        })?;
        let upstream = (!settings.upstreams.is_empty()).then(|| Upstream::new(settings.upstreams, upstream_authorities));
        let upstream = upstream.transpose().map_err(|error| FrontendError::Upstream(error.to_string()))?;
        let validator = match &upstream {
            Some(upstream) if settings.validate || settings.links == Follow::Validated => {
                let anchors = settings.trust_anchors.as_deref();
                let validator = Validator::new(Arc::clone(upstream), anchors).map_err(|reason| FrontendError::Anchors {
                    file: anchors.map(|file| file.display().to_string()).unwrap_or_default(),
                    reason,
                })?;
                Some(Arc::new(validator))
            }
            Some(_) => None,
            None if settings.validate => return Err(FrontendError::NoUpstream("validation")),
            None => None,
        };
        let links = match (settings.links, &upstream) {
            (Follow::No, _) => None,
            (_, None) => return Err(FrontendError::NoUpstream("following links")),
            (Follow::Validated, Some(upstream)) => Some(Links::new(Arc::clone(upstream), validator.clone())),
            (Follow::Any, Some(upstream)) => Some(Links::new(Arc::clone(upstream), None)),
        };
        let signing = settings.signing_key.map(|path| ZoneKeyFile::open(path, settings.origin.clone()));
        let signing = signing.transpose()?.map(|keys| (keys, SigningBudget::new(rand::random())));
        Ok(Self {
            source,
            zone: Zone::new(settings.origin, &settings.authority, settings.nameservers),
            aliases: settings.aliases.map(open).transpose()?,
            upstream,
            validator: validator.filter(|_| settings.validate),
            links,
            signing,
            forward_for_everyone: settings.forward_for_everyone,
            nsid: settings.nsid.map(String::into_bytes),
            views: Views::new(settings.access, settings.views),
            designated: settings.designated,
            searches: (
                Arc::new(Accounts::new(settings.searches.rule(), rand::random())),
                Shares::new(settings.searches.rule()),
                settings.searches.private,
            ),
            cookies: Cookies::new(rand::random()),
            counters: Counters::default(),
            query_log,
            tops: Tops::default(),
            prefixes,
            kept: Kept::new(),
            generations: Arc::default(),
            clock: Millis::since_now(),
        })
    }

    /// The same, whose answers end when `generations` says that a name changed, and by `clock`: those of its source.
    pub fn following(self, generations: Arc<Generations>, clock: Millis) -> Self {
        Self {
            generations,
            clock,
            ..self
        }
    }

    /// Answers the message `query`, whatever it is. Takes as long as the source and the upstream take, within their time-outs.
    pub async fn answer(&self, query: &[u8], via: Via) -> Reply {
        if let Some(reply) = self.answer_kept(query, via) {
            return reply;
        }
        let now_millis = self.now_millis();
        let given = self.give(query, via).await;
        if let Some(fill) = given.fill
            && let Some(key) = self.key_over_connections(query, via)
        {
            self.kept.keep(&key, &fill, &self.generations, now_millis, &self.counters);
        }
        given.reply
    }

    /// The answer to `query` where it came over a connection and was given before, and still holds: nothing is looked up for it.
    pub(crate) fn answer_kept(&self, query: &[u8], via: Via) -> Option<Reply> {
        let asked = Instant::now();
        let key = self.key_over_connections(query, via)?;
        let mut answer = self
            .kept
            .answer(&key, query, &self.generations, self.now_millis(), &self.counters)?;
        let options = query
            .get(HEADER_BYTES + key.question().len() + OPT_HEAD_BYTES..)
            .filter(|options| !options.is_empty());
        if let Some(wants) = options.and_then(Wants::read) {
            dress(&mut answer, wants, via.carrier, self.nsid.as_deref(), TCP_BYTES_MAX);
        }
        self.counters.answered(via.carrier, Some(&answer));
        self.over(query, via, Found::Kept, asked, Some(&answer));
        Some(Reply::Send(answer))
    }

    fn key_over_connections(&self, query: &[u8], via: Via) -> Option<Key> {
        let client = via.client.ip();
        match via.carrier {
            // Every core has its own.
            Carrier::Udp => None,
            Carrier::Tcp | Carrier::Tls | Carrier::Https | Carrier::Quic if !self.answers(via.view, client) => None,
            // Who shows a cookie gets one, by the long way.
            Carrier::Tcp | Carrier::Tls | Carrier::Https | Carrier::Quic => {
                Key::of(query, self.recursion_for(client)).filter(|key| key.cookie().is_none())
            }
        }
    }

    /// As [`Frontend::answer`], with what is known beside.
    pub async fn give(&self, query: &[u8], via: Via) -> Given {
        let (begun, asked) = (self.generations.begin(), Instant::now());
        let mut found = Found::Local;
        let trace = Trace::default();
        let denied = self.views.denies(via.view, via.client.ip());
        if denied.is_some() {
            self.counters.denied();
        }
        let message = query;
        let given = match Query::read(message) {
            _ if denied == Some(Denied::Drop) => Given::nothing(),
            Ok(query) => {
                let limit = match via.carrier {
                    Carrier::Udp => udp_limit(&query),
                    Carrier::Tcp | Carrier::Tls | Carrier::Https | Carrier::Quic => TCP_BYTES_MAX,
                };
                let wants = query.edns.map(|edns| edns.wants);
                let shown = wants
                    .and_then(|wants| wants.cookie)
                    .map(|cookie| self.show(&cookie, via.client.ip()));
                let spared = limit - shown.map_or(0, |_| OPTION_BYTES);
                let mut answer = match denied {
                    Some(_) => refused("this address is not answered").encode(&query, spared, false),
                    None => {
                        let allowance = self.allowance(via, shown.as_ref());
                        let (answer, waited) = within(allowance, self.answer_query(&query, via, spared, &trace, shown.as_ref())).await;
                        found = waited;
                        answer
                    }
                };
                // For whoever asks without a cookie, nothing may have been left out for its sake.
                let is_for_all = shown.is_none() || answer.len() + EXTENDED_ERROR_BYTES_MAX <= spared;
                let fill = trace.into_slots().filter(|_| is_for_all).map(|slots| Fill {
                    answer: answer.clone(),
                    slots,
                    begun,
                });
                if let Some(shown) = &shown {
                    add_option(&mut answer, &shown.option, limit);
                }
                if let Some(wants) = wants {
                    dress(&mut answer, wants, via.carrier, self.nsid.as_deref(), limit);
                }
                Given {
                    reply: Reply::Send(answer),
                    fill,
                    is_proved: shown.is_some_and(|shown| shown.is_proof),
                }
            }
            Err(refusal) => Given {
                reply: encode_refusal(&refusal).map_or(Reply::Drop, Reply::Send),
                ..Given::nothing()
            },
        };
        let sent = match &given.reply {
            Reply::Send(answer) => Some(&answer[..]),
            Reply::Drop => None,
        };
        self.counters.answered(via.carrier, sent);
        self.over(message, via, found, asked, sent);
        given
    }

    /// Counts how long an answer took, and logs it if it is to be.
    fn over(&self, question: &[u8], via: Via, found: Found, asked: Instant, reply: Option<&[u8]>) {
        let took = asked.elapsed();
        if self.tops.is_on() {
            self.looked_at(question, via.client.ip(), 1);
        }
        if reply.is_some() {
            self.counters.took(via.carrier, found, took);
        }
        if let Some(log) = self.query_log.as_ref().filter(|log| log.wants(reply)) {
            log.note(question, via, found, took, reply);
        }
    }

    /// Begins to count what is asked most, until [`tell`](Self::tell) or until what this gives is dropped.
    pub fn look(&self) -> Looking<'_> {
        self.tops.look(self.counts())
    }

    /// What was asked most in the time that `took`, at most `rows` names and networks.
    pub fn tell(&self, looking: Looking<'_>, took: Duration, rows: usize) -> Top {
        looking.tell(&self.counts(), took, rows, self.prefixes)
    }

    /// Whether anybody wants to know what is asked most.
    pub(crate) fn is_looked_at(&self) -> bool {
        self.tops.is_on()
    }

    /// Counts a question that stands for `weight` of them.
    pub(crate) fn looked_at(&self, question: &[u8], client: IpAddr, weight: u64) {
        self.tops.note(question, client, weight, self.prefixes);
    }

    /// Forgets what is kept of the names in `scope`: they are looked up anew, at providers and upstream resolvers. A provider's own store and
    /// a site's own records stay.
    ///
    /// # Errors
    /// `scope` says no domain; the operator's turn.
    pub fn flush(&self, scope: &Scope) -> Result<Flushed, String> {
        let domain = scope.domain(&self.zone.origin)?;
        let meant = |name: &Domain| {
            if scope.below { name.is_within(&domain) } else { *name == domain }
        };
        let name = domain
            .left_of(&self.zone.origin)
            .and_then(|labels| Name::from_label(&String::from_utf8_lossy(labels.last()?)).ok());
        if let Some(name) = &name {
            self.source.forget(Some(name));
        } else if scope.below && self.zone.origin.is_within(&domain) {
            self.source.forget(None);
        }
        let flushed = Flushed {
            domain: domain.to_string(),
            name: name.map(|name| name.to_string()),
            upstream: self.upstream.as_ref().map_or(0, |upstream| upstream.forget(meant)),
            links: self.links.as_ref().map_or(0, |links| links.forget(meant)),
        };
        self.generations.all_changed();
        Ok(flushed)
    }

    /// The log of questions, if there is one.
    pub fn query_log(&self) -> Option<&QueryLog> {
        self.query_log.as_ref()
    }

    /// Which list of who is answered counts at the listener with this address.
    pub(crate) fn view_at(&self, listener: Option<SocketAddr>) -> View {
        self.views.at(listener)
    }

    /// Whether questions of `client` are answered there at all.
    pub(crate) fn answers(&self, view: View, client: IpAddr) -> bool {
        self.views.denies(view, client).is_none()
    }

    /// What others may be asked for who asks; `None`: anything.
    fn allowance(&self, via: Via, shown: Option<&Shown>) -> Option<Allowance> {
        let (searches, shares, private) = &self.searches;
        let client = via.client.ip();
        let is_held = !searches.is_without_limit() && (*private || !is_private(client));
        is_held.then(|| Allowance {
            searches: Arc::clone(searches),
            shares: Arc::clone(shares),
            client,
            is_proved: via.carrier != Carrier::Udp || shown.is_some_and(|shown| shown.is_proof),
            now_millis: self.now_millis(),
        })
    }

    /// What a cookie of `client` proves, and what is sent back for it.
    pub(crate) fn show(&self, cookie: &Cookie, client: IpAddr) -> Shown {
        // The seconds may run over: cookies are compared by how far they are apart.
        self.cookies.show(cookie, client, (self.now_millis() / 1_000) as u32)
    }

    /// Which names changed.
    pub fn generations(&self) -> &Generations {
        &self.generations
    }

    /// What time it is for what is kept.
    pub fn now_millis(&self) -> u64 {
        self.clock.now()
    }

    /// Looks at the operator's map, for ever, and ends what was answered by way of it when it changes.
    pub(crate) async fn follow_map(&self) {
        let Some(aliases) = &self.aliases else {
            return std::future::pending().await;
        };
        let mut last = aliases.current();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = aliases.current();
            if !Arc::ptr_eq(&last, &now) {
                self.generations.map_changed();
                last = now;
            }
        }
    }

    /// Looks at the keys that sign the origin, for ever, and ends what they signed when there are others.
    pub(crate) async fn follow_keys(&self) {
        let Some((keys, _)) = &self.signing else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if keys.look() {
                self.generations.all_changed();
            }
        }
    }

    /// Whether names that are not answered for here are looked up upstream for `client`.
    pub fn recursion_for(&self, client: IpAddr) -> bool {
        self.upstream.is_some() && (self.forward_for_everyone || is_private(client))
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What has been answered so far.
    pub fn counts(&self) -> FrontendCounts {
        let upstream = self
            .upstream
            .as_ref()
            .map_or((0, 0), |upstream| (upstream.sent(), upstream.unwanted()));
        self.counters.read(upstream, self.searches.0.refused())
    }

    /// How long answers took so far, each way for which there was any.
    pub fn latency(&self) -> Vec<LatencyCounts> {
        self.counters.latency()
    }

    /// The origin.
    pub fn origin(&self) -> &crate::dns::Domain {
        &self.zone.origin
    }

    async fn answer_query(&self, query: &Query, via: Via, limit: usize, trace: &Trace, shown: Option<&Shown>) -> Vec<u8> {
        let upstream = self.upstream.as_ref().filter(|_| self.recursion_for(via.client.ip()));
        let encode = |response: &Response| response.encode(query, limit, upstream.is_some());
        if let Some(refusal) = refuse(query) {
            return encode(&refusal);
        }
        if let Some(answers) = self.designated.as_ref().and_then(|designated| designated.answers(&query.question)) {
            let mut response = Response::code(Rcode::NoError, None);
            response.answers = answers;
            trace.known();
            return encode(&response);
        }
        let place = self.zone.place(&query.question.name, self.aliases.as_ref());
        let signing = self.signing.as_ref().map(|(keys, budget)| (keys.current(), budget));
        let walk = Walk {
            source: &*self.source,
            zone: &self.zone,
            aliases: self.aliases.as_ref(),
            upstream: self.upstream.as_ref(),
            validator: self.validates(query),
            may_chase: upstream.is_some() && query.recursion_desired(),
            trace,
            generations: &self.generations,
            signing: signing.as_ref().map(|(keys, _)| &**keys),
            proves: signing.is_some() && query.dnssec_ok(),
        };
        if let Place::Legacy = place {
            let linked = match (&self.links, upstream) {
                (Some(links), Some(_)) if query.recursion_desired() => {
                    links
                        .find(&query.question.name, query.question.kind, query.dnssec_ok(), walk.source)
                        .await
                }
                _ => Linked::No,
            };
            let broken = match linked {
                Linked::To(mapped) => {
                    let place = Place::Mapped(mapped);
                    let is_lent = place.is_lent();
                    match walk.answer(query, place).await {
                        // What the flat name does not have below itself is still where it was; an alias that it has is an answer, wherever it leads.
                        Ok(response) if !(is_lent && response.rcode == Rcode::NxDomain && response.answers.is_empty()) => {
                            return encode(&response);
                        }
                        Ok(_) => None,
                        Err(error) => Some(of_error(&error)),
                    }
                }
                Linked::Broken(ede) => Some(ede),
                // Whether the legacy answer is the answer is not known.
                Linked::Busy => return encode(&failed(&AnswerError::Upstream(UpstreamError::Busy))),
                Linked::No => None,
            };
            return match self.forward(query, upstream, &walk, limit).await {
                Ok(mut bytes) => {
                    if let Some(ede) = broken {
                        add_option(&mut bytes, &ede_option(&ede), limit);
                    }
                    bytes
                }
                Err(response) => encode(&response),
            };
        }
        let mut response = walk.answer(query, place).await.unwrap_or_else(|error| failed(&error));
        trace.known();
        if trace.is_alone() && response.ede.is_none() {
            response.ede = Some(Ede::new(ede::STALE_ANSWER, "kept here: no provider answers"));
        }
        let (most, of) = RECORD_UDP_GAIN;
        let is_proved = shown.is_some_and(|shown| shown.is_proof);
        // Only a query that was padded, or whose sender proved its address, gets a record by UDP, or the proof
        // that there is none: who asks in another's name gains nothing.
        let gains = |bytes: &[u8]| {
            let whole = bytes.len() + shown.map_or(0, |_| OPTION_BYTES);
            query.question.kind == TYPE_RECORD && via.carrier == Carrier::Udp && !is_proved && whole * of > query.bytes * most
        };
        let mut bytes = encode(&response);
        if let Some((keys, budget)) = signing.filter(|_| query.dnssec_ok())
            && let Some(wanted) = keys.wanted(&response)
            && !gains(&bytes)
        {
            let is_proved = is_proved || via.carrier != Carrier::Udp;
            let is_held = self.searches.2 || !is_private(via.client.ip());
            if is_held && !budget.take(via.client.ip(), is_proved, wanted, self.now_millis()) {
                response = too_many_signatures(is_proved);
            } else if keys
                .prove(&mut response, query.question.kind, query.compact_ok(), clock::now().unix)
                .is_none()
            {
                response = Response::code(Rcode::ServFail, Some(Ede::new(ede::OTHER, "the answer cannot be signed")));
            }
            bytes = encode(&response);
        }
        if gains(&bytes) {
            response.truncated = !(response.answers.is_empty() && response.authority.is_empty());
            response.authority.clear();
            response.ede = None;
            return encode(&response);
        }
        bytes
    }

    /// What validates what upstream resolvers say to `query`, if that is to be.
    fn validates(&self, query: &Query) -> Option<&Arc<Validator>> {
        self.validator.as_ref().filter(|_| query.flags & flags::CD == 0)
    }

    /// Passes on what the upstream says, or says why not; or goes on from where its aliases lead back here.
    async fn forward(&self, query: &Query, upstream: Option<&Arc<Upstream>>, walk: &Walk<'_>, limit: usize) -> Result<Vec<u8>, Response> {
        let refused = |code, text: &'static str| Err(Response::code(Rcode::Refused, Some(Ede::new(code, text))));
        let Some(upstream) = upstream else {
            return match self.upstream {
                Some(_) => refused(ede::PROHIBITED, "names are not forwarded for this address"),
                None => refused(
                    ede::NOT_AUTHORITATIVE,
                    "not a name under the origin, and no upstream resolver is set",
                ),
            };
        };
        if !query.recursion_desired() {
            return refused(ede::NOT_AUTHORITATIVE, "not a name under the origin, and recursion is not desired");
        }
        self.counters.forwarded();
        if let Some(validator) = self.validates(query) {
            let validated = match validator.lookup(&query.question.name, query.question.kind).await {
                Ok(validated) => validated,
                Err(error) => return Err(failed(&error.into())),
            };
            if walk
                .back_here(&targets_of(&query.question.name, &validated.response.answers))
                .is_some()
            {
                return Err(walk.answer(query, Place::Legacy).await.unwrap_or_else(|error| failed(&error)));
            }
            let (secure, stale) = (validated.secure, validated.stale);
            let mut response = match query.dnssec_ok() {
                true => validated.response,
                false => validated.without_signatures().response,
            };
            // Said to who asked to be told (RFC 6840 §5.8).
            response.authenticated = secure && (query.dnssec_ok() || query.flags & flags::AD != 0);
            if stale {
                response.ede = Some(Ede::new(ede::STALE_ANSWER, ede::STALE_UPSTREAM));
            }
            return Err(response);
        }
        match upstream.ask_or_stale(Asked::of(query, &query.question.name)).await {
            Ok((answered, Some(age))) if walk.back_here(answered.targets()).is_none() => Ok(answered.relay(query, age, limit)),
            Ok((answered, None)) if walk.back_here(answered.targets()).is_none() => {
                let mut bytes = answered.relay_stale(query, limit);
                let why = Ede::new(ede::STALE_ANSWER, ede::STALE_UPSTREAM);
                add_option(&mut bytes, &ede_option(&why), limit);
                Ok(bytes)
            }
            Ok(_) => Err(walk.answer(query, Place::Legacy).await.unwrap_or_else(|error| failed(&error))),
            Err(error) => {
                let mut response = failed(&AnswerError::Upstream(error));
                response.authoritative = false;
                Err(response)
            }
        }
    }
}

/// What is never answered, whatever the name.
fn refuse(query: &Query) -> Option<Response> {
    let (rcode, ede) = match (query.edns.map_or(0, |edns| edns.version), query.question.class, query.question.kind) {
        (1.., _, _) => (Rcode::BadVers, None),
        (_, _, types::OPT | 0) => (Rcode::FormErr, None),
        // It stands in proofs and nowhere else (RFC 9824 §3.5).
        (_, _, NXNAME) => (
            Rcode::FormErr,
            Some(Ede::new(ede::INVALID_QUERY_TYPE, "not a type that can be asked for")),
        ),
        (_, _, TYPE_IXFR | TYPE_AXFR) => (Rcode::Refused, Some(Ede::new(ede::PROHIBITED, "zones are not transferred"))),
        // TKEY, TSIG, MAILB, MAILA: about transactions, or long gone.
        (_, _, 249..=254) => (
            Rcode::NotImp,
            Some(Ede::new(ede::NOT_SUPPORTED, "not a type that can be asked for")),
        ),
        (_, class, _) if class != CLASS_IN => (Rcode::Refused, Some(Ede::new(ede::NOT_SUPPORTED, "only the class IN"))),
        _ => return None,
    };
    Some(Response::code(rcode, ede))
}

fn refused(why: &'static str) -> Response {
    Response::code(Rcode::Refused, Some(Ede::new(ede::PROHIBITED, why)))
}

/// More was to be signed than there is time for: who asks by UDP comes over TCP, where nobody else can ask in its name.
fn too_many_signatures(is_proved: bool) -> Response {
    let mut response = match is_proved {
        true => Response::code(Rcode::ServFail, Some(Ede::new(ede::RATE_LIMITED, "too many answers to sign"))),
        false => Response::code(Rcode::NoError, None),
    };
    response.truncated = !is_proved;
    response
}

fn failed(error: &AnswerError) -> Response {
    Response::code(Rcode::ServFail, Some(of_error(error)))
}

const TYPE_IXFR: u16 = 251;
const TYPE_AXFR: u16 = 252;
