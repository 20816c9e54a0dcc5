//! What is spoken: media types, which of two a client prefers, entity tags.

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use dialtone_shared::Rank;

/// A signed record.
pub const RECORD: &str = "application/vnd.dialtone.record";
/// A receipt for a put.
pub const RECEIPT: &str = "application/vnd.dialtone.receipt";
/// A signed status of a name.
pub const STATUS: &str = "application/vnd.dialtone.status";
/// A proof of a wrong.
pub const PROOF: &str = "application/vnd.dialtone.proof";
/// JSON.
pub const JSON: &str = "application/json";
/// Plain text.
pub const TEXT: &str = "text/plain";
/// Server-sent events.
pub const EVENTS: &str = "text/event-stream";
/// CBOR.
pub const CBOR: &str = "application/cbor";
/// Problem details (RFC 9457).
pub const PROBLEM: &str = "application/problem+json";
/// Metrics, as Prometheus reads them.
pub const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether a client would rather have JSON than bytes of type `bytes`. Without a preference: bytes. Nothing is answered 406: who
/// asks for a third thing gets the bytes, which are what there is.
pub fn prefers_json(headers: &HeaderMap, bytes: &str) -> bool {
    let (mut json, mut raw) = (None, None);
    for value in headers.get_all(header::ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let quality = parts
                .find_map(|part| part.strip_prefix("q="))
                .map_or(Some(1.0), |q| q.parse::<f32>().ok());
            let quality = quality.unwrap_or(0.0);
            let wanted = if media.eq_ignore_ascii_case(JSON) {
                &mut json
            } else if media.eq_ignore_ascii_case(bytes) || media.eq_ignore_ascii_case("application/octet-stream") {
                &mut raw
            } else {
                continue;
            };
            *wanted = Some(wanted.unwrap_or(0.0_f32).max(quality));
        }
    }
    json.is_some_and(|json| json > 0.0 && json > raw.unwrap_or(0.0))
}

/// What the body says that it is, if that is none of `taken`. Bytes without a type, and the type that curl gives to any body,
/// are taken at their word.
pub fn unexpected_type(headers: &HeaderMap, taken: &[&str]) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or("?");
    let media = value.split(';').next().unwrap_or_default().trim();
    let known = ["", "application/octet-stream", "application/x-www-form-urlencoded"];
    let fits = taken.iter().chain(&known).any(|taken| media.eq_ignore_ascii_case(taken));
    (!fits).then(|| media.to_owned())
}

/// A rank as an entity tag.
pub fn etag(rank: &Rank) -> HeaderValue {
    let text = format!("\"{}\"", rank_text(rank));
    // Digits and dots are a header's.
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("\"\""))
}

/// A rank as text. The digest is spelt out here because every put and get has it, and a formatter called 32 times costs as much as
/// reading the record.
pub fn rank_text(rank: &Rank) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = format!("{}.{}.{}.", rank.epoch, u8::from(rank.revoked), rank.sequence.0);
    text.reserve(64);
    for byte in rank.digest {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// What `If-Match` and `If-None-Match` list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tags {
    /// `*`.
    Any,
    /// Ranks. What is not a rank matches nothing and is left out; weak ones are `weak`.
    These(Vec<Tag>),
}

/// What was given is no list of entity tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotTags;

/// One entity tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    /// Whether it was given as weak.
    pub weak: bool,
    /// The rank.
    pub rank: Rank,
}

impl Tags {
    /// Reads the header `name`; `None` if it is not there.
    ///
    /// # Errors
    /// [`NotTags`].
    pub fn of(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<Self>, NotTags> {
        let mut given = headers.get_all(name).iter().peekable();
        if given.peek().is_none() {
            return Ok(None);
        }
        let mut tags = Vec::new();
        for value in given {
            let text = value.to_str().map_err(|_| NotTags)?.trim();
            if text == "*" {
                return Ok(Some(Self::Any));
            }
            for tag in text.split(',').map(str::trim) {
                let (weak, tag) = tag.strip_prefix("W/").map_or((false, tag), |tag| (true, tag));
                let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or(NotTags)?;
                tags.extend(inner.parse().ok().map(|rank| Tag { weak, rank }));
            }
        }
        Ok(Some(Self::These(tags)))
    }

    /// Strong comparison, as `If-Match` wants it.
    pub fn match_strongly(&self, rank: &Rank) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|tag| !tag.weak && tag.rank == *rank),
        }
    }

    /// Weak comparison, as `If-None-Match` wants it.
    pub fn match_weakly(&self, rank: &Rank) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|tag| tag.rank == *rank),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_shared::UnixMicros;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn json_is_for_those_who_ask_for_it() {
        for (accept, wanted) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("*/*", false),
            ("text/html, application/json;q=0.9, */*;q=0.1", true),
            ("application/json;q=0", false),
            ("application/json;q=0.5, application/vnd.dialtone.record", false),
            ("application/json, application/vnd.dialtone.record;q=0.5", true),
            ("", false),
        ] {
            assert_eq!(prefers_json(&headers(header::ACCEPT, accept), RECORD), wanted, "{accept}");
        }
        assert!(!prefers_json(&HeaderMap::new(), RECORD));
    }

    #[test]
    fn bodies_of_another_kind_are_noticed() {
        for (given, wanted) in [
            (RECORD, None),
            ("application/octet-stream", None),
            ("application/x-www-form-urlencoded", None),
            ("application/json; charset=utf-8", Some("application/json")),
            ("text/plain", Some("text/plain")),
        ] {
            let found = unexpected_type(&headers(header::CONTENT_TYPE, given), &[RECORD]);
            assert_eq!(found.as_deref(), wanted, "{given}");
        }
        assert_eq!(unexpected_type(&HeaderMap::new(), &[RECORD]), None);
    }

    #[test]
    fn entity_tags_are_compared_as_http_says() {
        let rank = Rank {
            epoch: 0,
            revoked: false,
            sequence: UnixMicros(7),
            digest: [1; 32],
        };
        let tag = etag(&rank);
        let strong = tag.to_str().unwrap();
        assert_eq!(strong, format!("\"{rank}\""), "an entity tag is a rank in quotes");
        let of = |value: &str| Tags::of(&headers(header::IF_MATCH, value), header::IF_MATCH).map(Option::unwrap);
        for (value, strongly, weakly) in [
            (strong.to_owned(), true, true),
            (format!("W/{strong}"), false, true),
            (format!("\"other\", {strong}"), true, true),
            ("\"other\"".to_owned(), false, false),
            ("*".to_owned(), true, true),
        ] {
            let tags = of(&value).unwrap();
            assert_eq!(
                (tags.match_strongly(&rank), tags.match_weakly(&rank)),
                (strongly, weakly),
                "{value}"
            );
        }
        assert_eq!(of("no quotes"), Err(NotTags));
        assert_eq!(Tags::of(&HeaderMap::new(), header::IF_MATCH), Ok(None));
    }
}
