//! DNSSEC validation (RFC 4035) by hickory, over the frontend's own upstream: what is validated comes by the same guarded way as all else.

use crate::dns::domain::Domain;
use crate::dns::edns::Wants;
use crate::dns::forward::Asked;
use crate::dns::question::{Edns, Query, Question};
use crate::dns::rcode::Rcode;
use crate::dns::response::{Rdata, Response, Rr, TCP_BYTES_MAX};
use crate::dns::wire::{CLASS_IN, flags};
use crate::io::upstream::Upstream;
use bytes::Bytes;
use dialtone_shared::record::rdata::types;
use futures_util::stream::{self, Stream};
use hickory_net::dnssec::DnssecDnsHandle;
use hickory_net::proto::dnssec::{Proof, TrustAnchors};
use hickory_net::proto::op::{self, DnsRequest, DnsRequestOptions, DnsResponse, ResponseCode};
use hickory_net::proto::rr::{self, RecordType};
use hickory_net::proto::serialize::binary::BinEncodable;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::xfer::FirstAnswer;
use hickory_net::{DnsHandle, NetError};
use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Asks the upstream and validates what it says.
pub struct Validator {
    handle: DnssecDnsHandle<Unchecked>,
    upstream: Arc<Upstream>,
}

/// An answer that is not a forgery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Validated {
    /// The answer, with its signatures.
    pub response: Response,
    /// Whether every part of it is proved; otherwise its zone is proved not to be signed.
    pub secure: bool,
    /// Whether its time is over, and no upstream gives another (RFC 8767).
    pub stale: bool,
}

/// Why nothing is said.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ValidateError {
    /// It is signed, and the signatures do not hold: forged, or its owner's mistake.
    #[error("the answer does not validate")]
    Bogus,
    /// The upstream gave no answer, or not all that is needed to tell.
    #[error("cannot be validated: {0}")]
    Unknown(String),
}

impl Validator {
    /// One that trusts the keys in a file of DNSKEY records, or the root's that are built in.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn new(upstream: Arc<Upstream>, anchors: Option<&Path>) -> Result<Self, String> {
        let anchors = match anchors {
            Some(file) => TrustAnchors::from_file(file).map_err(|error| error.to_string())?,
            None => TrustAnchors::default(),
        };
        let handle = DnssecDnsHandle::with_trust_anchor(Unchecked(Arc::clone(&upstream)), Arc::new(anchors));
        // A proof is made anew after a minute at most: one that was wrong, as before a key was rolled, ends soon.
        let handle = handle.negative_validation_ttl(Duration::ZERO..=PROOF_KEPT_MAX);
        let handle = handle.validation_cache_size(PROOFS_MAX);
        Ok(Self { handle, upstream })
    }

    /// The answer about `name`.
    ///
    /// # Errors
    /// [`ValidateError`].
    pub async fn lookup(&self, name: &Domain, kind: u16) -> Result<Validated, ValidateError> {
        let unknown = |error: &dyn fmt::Display| ValidateError::Unknown(error.to_string());
        let asked = Asked::of(&asks(name.clone(), kind, 0), name);
        let labels = name.labels().collect::<Vec<_>>();
        let name = rr::Name::from_labels(labels).map_err(|error| unknown(&error))?;
        let query = op::Query::query(name, RecordType::from(kind));
        let mut options = DnsRequestOptions::default();
        options.use_edns = true;
        options.edns_set_dnssec_ok = true;
        let answer = self.handle.lookup(query, options).first_answer().await;
        let message = answer
            .map_err(|error| if is_bogus(&error) { ValidateError::Bogus } else { unknown(&error) })?
            .into_message();
        let rcode = match message.metadata.response_code {
            ResponseCode::NoError => Rcode::NoError,
            ResponseCode::NXDomain => Rcode::NxDomain,
            other => return Err(unknown(&other)),
        };
        let all = message.answers.iter().chain(&message.authorities);
        let mut secure = true;
        for record in all {
            match record.proof {
                Proof::Secure => {}
                Proof::Insecure => secure = false,
                Proof::Bogus => return Err(ValidateError::Bogus),
                Proof::Indeterminate => return Err(ValidateError::Unknown("a part of the proof is missing".to_owned())),
            }
        }
        let mut response = Response::code(rcode, None);
        secure &= !(message.answers.is_empty() && message.authorities.is_empty());
        response.answers = message.answers.iter().filter_map(record).collect();
        response.authority = message.authorities.iter().filter_map(record).collect();
        let stale = self.upstream.has_only_stale(&asked);
        Ok(Validated { response, secure, stale })
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Validator")
    }
}

impl Validated {
    /// The answer for one who does not want the signatures.
    pub fn without_signatures(mut self) -> Self {
        let is_of_dnssec = |kind| matches!(kind, 46 | 47 | 50);
        self.response.answers.retain(|rr| !is_of_dnssec(rr.kind));
        self.response.authority.retain(|rr| rr.kind == types::SOA);
        self
    }
}

fn is_bogus(error: &NetError) -> bool {
    match error {
        NetError::Dns(hickory_net::DnsError::Nsec { proof, .. }) => proof.is_bogus(),
        _ => false,
    }
}

fn record(record: &rr::Record) -> Option<Rr> {
    let mut owner = Vec::new();
    for label in record.name.iter() {
        owner.push(label);
    }
    Some(Rr {
        owner: Domain::from_labels(owner)?,
        kind: record.record_type().into(),
        ttl: record.ttl,
        rdata: Rdata::Bytes(Bytes::from(BinEncodable::to_bytes(&record.data).ok()?)),
    })
}

/// The upstream as the validator sees it: asked for everything, signatures too, whatever it thinks of them itself.
#[derive(Clone)]
struct Unchecked(Arc<Upstream>);

impl DnsHandle for Unchecked {
    type Response = Pin<Box<dyn Stream<Item = Result<DnsResponse, NetError>> + Send>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        Box::pin(stream::once(Box::pin(ask(Arc::clone(&self.0), request))))
    }
}

async fn ask(upstream: Arc<Upstream>, request: DnsRequest) -> Result<DnsResponse, NetError> {
    let query = request.queries.first().ok_or(NetError::Message("no question"))?;
    let name = Domain::from_labels(query.name().iter()).ok_or(NetError::Message("not a name"))?;
    let query = asks(name, query.query_type().into(), request.metadata.id);
    let asked = Asked::of(&query, &query.question.name);
    let answer = upstream
        .ask_or_stale(asked)
        .await
        .map_err(|error| NetError::Msg(error.to_string()))?;
    let message = match answer {
        (answered, Some(age)) => answered.relay(&query, age, TCP_BYTES_MAX),
        (answered, None) => answered.relay_stale(&query, TCP_BYTES_MAX),
    };
    DnsResponse::from_buffer(message).map_err(NetError::from)
}

/// What an upstream is asked of a name: everything, whatever it thinks of it.
fn asks(name: Domain, kind: u16, id: u16) -> Query {
    Query {
        id,
        flags: flags::RD | flags::CD,
        question: Question {
            name,
            kind,
            class: CLASS_IN,
        },
        edns: Some(Edns {
            udp_bytes: 0,
            version: 0,
            dnssec_ok: true,
            compact_ok: false,
            wants: Wants::default(),
        }),
        bytes: 0,
    }
}

/// How long "it does not validate" is kept.
const PROOF_KEPT_MAX: Duration = Duration::from_secs(60);

/// How many sets of records that were validated are remembered: some megabytes.
const PROOFS_MAX: usize = 16_384;
