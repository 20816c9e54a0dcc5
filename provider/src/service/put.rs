//! A put, in the order of what costs least: size, decode, name, time, scope, rate and quota, already held?, verify, keep.

use super::media::{self, Tags};
use super::problem::Refusal;
use super::queue::{Before, Kept};
use super::{NameInPath, Remote, Service, answer, name_in, read_if};
use crate::accounting::Caller;
use crate::store::{Class, Condition, Held, Put};
use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use dialtone_shared::limits::RECORD_BYTES_MAX;
use dialtone_shared::record::Timeliness;
use dialtone_shared::{Name, Scheme, SignedRecord, UnixSecs, VerifiedRecord};
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

/// `PUT /v1/records/{name}`.
pub async fn put(State(service): State<Arc<Service>>, name: NameInPath, request: Request<Body>) -> Response<Body> {
    match service.put(name, request).await {
        Ok(response) => response,
        Err(refusal) => {
            service.metrics.put(refusal.problem().slug);
            tracing::debug!(%refusal, "put refused");
            refusal.into_response()
        }
    }
}

/// A record that may be kept, but for its signature.
#[derive(Debug)]
pub(super) struct Admitted {
    /// The record.
    pub signed: SignedRecord,
    /// What is held of its name, and the room that it takes.
    pub before: Before,
    /// Whether that is this very record: then it was verified before.
    pub same: bool,
}

impl Service {
    async fn put(&self, name: NameInPath, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let name = name_in(name)?;
        let (head, body) = request.into_parts();
        let checked = self
            .caller(&head, media::RECORD)
            .and_then(|caller| Ok((caller, Wanted::of(&head.headers)?)));
        let (bytes, (caller, wanted)) = read_if(checked, &head.headers, body, self.body_bytes_max(&name)).await?;
        let now = self.clock.now();
        // Copied once: otherwise each record held would hold the whole buffer that its connection was read into.
        let signed = examine(Bytes::copy_from_slice(&bytes), Some(&name), &self.name, now.secs())?;
        let admitted = self.admit(caller, signed).await?;
        let condition = wanted.condition(admitted.before.held.as_ref())?;
        let (record, before) = self.verify(admitted)?;
        let put = self.put_of(caller, record, condition, now.secs());
        let kept = self.queue.join(put, before)?.await.unwrap_or(Err(Refusal::Stopping))?;
        self.metrics.put(kept.how.as_str());
        tracing::debug!(%name, rank = %kept.rank, how = kept.how.as_str(), "put");
        Ok(kept_response(&name, &kept, media::prefers_json(&head.headers, media::RECEIPT)))
    }

    /// Most bytes of the body of a put.
    pub(super) fn body_bytes_max(&self, name: &Name) -> usize {
        match name.scheme() {
            Scheme::Content => 1 + self.value_bytes_max,
            Scheme::KeySet | Scheme::Pkarr => RECORD_BYTES_MAX,
        }
    }

    /// Who puts, and whether what it sends says that it is `expected`.
    pub(super) fn caller(&self, head: &Parts, expected: &'static str) -> Result<Caller, Refusal> {
        match media::unexpected_type(&head.headers, &[expected]) {
            Some(given) => Err(Refusal::MediaType(given, expected)),
            None => self.who(head),
        }
    }

    /// Who puts.
    pub(super) fn who(&self, head: &Parts) -> Result<Caller, Refusal> {
        let (headers, from) = (&head.headers, head.extensions.get::<Remote>());
        let authorization = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        // A proxy passes on somebody else's request; a browser may act for a page from anywhere.
        let forwarded = [header::FORWARDED, header::VIA, header::ORIGIN, X_FORWARDED_FOR, X_REAL_IP]
            .iter()
            .any(|name| headers.contains_key(name));
        // Without an origin, which the listener always adds, it comes from nowhere and is nobody.
        let from = from.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |from| from.0);
        self.admission.caller(authorization, from, forwarded).map_err(Refusal::Auth)
    }

    /// Rate, then what is held, then quota: all that can be asked before the signature.
    pub(super) async fn admit(&self, caller: Caller, signed: SignedRecord) -> Result<Admitted, Refusal> {
        let refused = |refusal| {
            self.ledger.refused(self.admission.account(caller));
            Err(refusal)
        };
        if let Err(wait_micros) = self.admission.take(caller, self.clock.now()) {
            return refused(Refusal::TooMany(wait_micros.div_ceil(1_000_000)));
        }
        let held = self.store.get(signed.name()).await?;
        let same = match &held {
            None => false,
            Some(held) => judge(&signed, held, self.clock.now().secs())?,
        };
        if same {
            self.admission.give_back(caller);
        }
        let account = self.admission.account(caller);
        let theirs = held
            .as_ref()
            .is_some_and(|held| held.class == Class::Customer && held.account.as_deref() == account);
        let place = match self.admission.terms(caller).names_max {
            Some(most) if !theirs => match self.ledger.place(account, most) {
                None => return refused(Refusal::NamesMax(most)),
                place => place,
            },
            _ => None,
        };
        let before = Before { held, place };
        Ok(Admitted { signed, before, same })
    }

    /// The signature; what is held already passed this door before.
    pub(super) fn verify(&self, admitted: Admitted) -> Result<(VerifiedRecord, Before), Refusal> {
        let Admitted { signed, before, same } = admitted;
        if let Some(held) = before.held.as_ref().filter(|_| same) {
            let record = held.record.clone();
            return Ok((record, before));
        }
        let begun = Instant::now();
        let verified = signed.verify();
        self.metrics.verified(begun.elapsed());
        Ok((verified?, before))
    }

    /// A verified record as the store takes it.
    pub(super) fn put_of(&self, caller: Caller, record: VerifiedRecord, condition: Condition, now: UnixSecs) -> Put {
        Put {
            keep_until: self.admission.terms(caller).keep_until(record.record(), now),
            record,
            class: Class::Customer,
            from: None,
            account: self.admission.account(caller).map(str::to_owned),
            condition,
        }
    }
}

/// Everything that the bytes alone decide. Costs a few microseconds.
pub(super) fn examine(bytes: Bytes, url: Option<&Name>, provider: &Name, now: UnixSecs) -> Result<SignedRecord, Refusal> {
    let signed = SignedRecord::decode(bytes)?;
    if let Some(url) = url.filter(|url| *url != signed.name()) {
        return Err(Refusal::OtherName {
            url: *url,
            record: *signed.name(),
        });
    }
    match signed.record().at_put(now) {
        Timeliness::Current => {}
        Timeliness::Expired => return Err(Refusal::Expired(signed.record().expiry().unwrap_or(now))),
        Timeliness::Future(secs) => return Err(Refusal::Future(secs)),
    }
    if !signed.record().in_scope(provider) {
        return Err(Refusal::OutOfScope(*provider));
    }
    Ok(signed)
}

/// Whether `signed` is the very record that is held; an error if it may not take its place.
fn judge(signed: &SignedRecord, held: &Held, now: UnixSecs) -> Result<bool, Refusal> {
    let order = signed.rank().order().cmp(&held.record.rank().order());
    if order.is_eq() && signed.bytes() < held.record.bytes() {
        // It loses, but to its own twin: if it is genuine, the two prove that the name said two things, and the store says so.
        return Ok(false);
    }
    match order.then_with(|| signed.bytes().cmp(held.record.bytes())) {
        Ordering::Equal => Ok(true),
        Ordering::Less => Err(Refusal::Older(Box::new(held.clone()))),
        Ordering::Greater => {
            let (old, new) = (held.record.record(), signed.record());
            match old.expiry() {
                Some(expiry) if expiry > now && narrows(&old.scope, &new.scope) => Err(Refusal::NarrowerScope(expiry)),
                _ => Ok(false),
            }
        }
    }
}

/// Whether a provider that may hold the old record may not hold the new one. An empty scope is all providers.
fn narrows(old: &[Name], new: &[Name]) -> bool {
    !new.is_empty() && (old.is_empty() || old.iter().any(|provider| new.binary_search(provider).is_err()))
}

/// What `If-Match` and `If-None-Match` want of what is held.
struct Wanted {
    matches: Option<Tags>,
    none_matches: Option<Tags>,
}

impl Wanted {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let tags = |name, shown| Tags::of(headers, name).map_err(|_| Refusal::BadCondition(shown));
        Ok(Self {
            matches: tags(header::IF_MATCH, "If-Match")?,
            none_matches: tags(header::IF_NONE_MATCH, "If-None-Match")?,
        })
    }

    /// The condition that the store must see to, given what is held now.
    fn condition(&self, held: Option<&Held>) -> Result<Condition, Refusal> {
        let failed = || Err(Refusal::Condition(held.cloned().map(Box::new)));
        let rank = held.map(|held| *held.record.rank());
        let mut condition = Condition::None;
        if let Some(tags) = &self.matches {
            match rank.filter(|rank| tags.match_strongly(rank)) {
                None => return failed(),
                Some(_) if *tags == Tags::Any => {}
                Some(rank) => condition = Condition::Rank(rank),
            }
        }
        match (&self.none_matches, rank) {
            (Some(Tags::Any), None) => condition = Condition::Absent,
            (Some(tags), Some(rank)) if tags.match_weakly(&rank) => return failed(),
            _ => {}
        }
        Ok(condition)
    }
}

pub(super) fn kept_response(name: &Name, kept: &Kept, as_json: bool) -> Response<Body> {
    let mut response = if as_json {
        let mut shown = String::from("{");
        write_kept(&mut shown, name, kept);
        shown.push('}');
        answer(shown, media::JSON)
    } else {
        answer(kept.receipt.encode(), media::RECEIPT)
    };
    if kept.how.is_new() {
        *response.status_mut() = StatusCode::CREATED;
    }
    response.headers_mut().insert(header::ETAG, media::etag(&kept.rank));
    response
}

/// A kept put, for people and scripts: the members of a JSON object, without its braces. Nothing in it needs escaping. Written by hand
/// because a batch has up to a thousand of them, and the general way costs three times as much.
///
/// `"name", "rank", "outcome", "keep_until"` (seconds since 1970; null: for ever)`, "receipt"` (in base64)
pub(super) fn write_kept(out: &mut String, name: &Name, kept: &Kept) {
    out.push_str("\"name\":\"");
    out.push_str(&name.to_string());
    out.push_str("\",\"rank\":\"");
    out.push_str(&media::rank_text(&kept.rank));
    out.push_str("\",\"outcome\":\"");
    out.push_str(kept.how.as_str());
    out.push_str("\",\"keep_until\":");
    match kept.keep_until {
        Some(until) => out.push_str(&until.0.to_string()),
        None => out.push_str("null"),
    }
    out.push_str(",\"receipt\":\"");
    BASE64.encode_string(kept.receipt.encode(), out);
    out.push('"');
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_narrows_when_somebody_is_left_out() {
        let mut names: Vec<Name> = (0..3_u8).map(|seed| Name::of_content(&[seed])).collect();
        names.sort();
        for (old, new, wanted) in [
            (&names[..0], &names[..0], false),
            (&names[..0], &names[..1], true),
            (&names[..1], &names[..0], false),
            (&names[..1], &names[..2], false),
            (&names[..2], &names[..1], true),
            (&names[..2], &names[1..], true),
            (&names[1..], &names[1..], false),
        ] {
            assert_eq!(narrows(old, new), wanted, "{old:?} to {new:?}");
        }
    }
}
