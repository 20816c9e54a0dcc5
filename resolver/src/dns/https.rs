//! DNS over HTTPS without its sockets: what a request asks, and for how long its answer may be kept (RFC 8484).

use crate::dns::settings::QUESTION_BYTES_MAX;
use crate::dns::wire::Reader;
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use dialtone_shared::record::rdata::types;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

/// Where questions are asked.
pub const PATH: &str = "/dns-query";

/// The media type of questions and answers.
pub const MEDIA_TYPE: &str = "application/dns-message";

/// What a request asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asks {
    /// This message.
    Message(Vec<u8>),
    /// What its body says, at most [`QUESTION_BYTES_MAX`] bytes.
    Body,
}

/// Why a request is refused: its status, and a line for people.
pub type Refusal = (StatusCode, &'static str);

/// What the request with this head asks. What it accepts is not looked at: there is one kind of answer, and who asks here takes it.
///
/// # Errors
/// [`Refusal`]; the caller's turn.
pub fn asks(head: &Parts) -> Result<Asks, Refusal> {
    if head.uri.path() != PATH {
        return Err((StatusCode::NOT_FOUND, "questions are asked at /dns-query"));
    }
    match head.method {
        Method::GET => message_of(head.uri.query().unwrap_or_default()).map(Asks::Message),
        Method::POST => {
            let media_type = head.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
            let media_type = media_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
            if !media_type.eq_ignore_ascii_case(MEDIA_TYPE.as_bytes()) {
                return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "a question is application/dns-message"));
            }
            let length = head
                .headers
                .get(CONTENT_LENGTH)
                .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
            if length.is_some_and(|length| length > QUESTION_BYTES_MAX as u64) {
                return Err(TOO_LONG);
            }
            Ok(Asks::Body)
        }
        _ => Err((StatusCode::METHOD_NOT_ALLOWED, "questions are asked by GET or POST")),
    }
}

/// A question that is longer than any.
pub const TOO_LONG: Refusal = (StatusCode::PAYLOAD_TOO_LARGE, "no question is that long");

/// A message that is none, or one that is itself an answer.
pub const NO_QUESTION: Refusal = (StatusCode::BAD_REQUEST, "not a DNS question");

/// For how many seconds `answer` may be kept: as long as what lasts shortest of what it says; 0 where it says nothing.
pub fn fresh_secs(answer: &[u8]) -> u32 {
    try_fresh_secs(answer).unwrap_or_default()
}

fn try_fresh_secs(answer: &[u8]) -> Option<u32> {
    let mut r = Reader::new(answer);
    let header = r.header()?;
    for _ in 0..header.counts[0] {
        r.plain_name()?;
        r.u32()?;
    }
    let mut shortest = None;
    for _ in 0..header.counts[1] {
        let ttl = r.record()?.ttl;
        shortest = Some(shortest.map_or(ttl, |shortest: u32| shortest.min(ttl)));
    }
    if shortest.is_some() {
        return shortest;
    }
    for _ in 0..header.counts[2] {
        let record = r.record()?;
        if record.kind == types::SOA {
            // The minimum is its last number (RFC 2308 §5).
            let minimum = record.rdata.last_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))?;
            return Some(record.ttl.min(minimum));
        }
    }
    None
}

/// `dns=<base64url>` among the parameters of a query.
fn message_of(query: &str) -> Result<Vec<u8>, Refusal> {
    let mut values = query.split('&').filter_map(|pair| pair.strip_prefix("dns="));
    let Some(text) = values.next() else {
        return Err((StatusCode::BAD_REQUEST, "ask with ?dns=<base64url of a DNS message>"));
    };
    if text.len() > QUESTION_BYTES_MAX.div_ceil(3) * 4 {
        return Err((StatusCode::URI_TOO_LONG, "no question is that long"));
    }
    // RFC 8484 §6 has no `=` at the end; some who ask have it all the same.
    let engine = GeneralPurpose::new(
        &URL_SAFE,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    engine
        .decode(text)
        .map_err(|_| (StatusCode::BAD_REQUEST, "the value of `dns` is not base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    type Headers = [(&'static str, &'static str)];

    fn status(method: &str, uri: &str, headers: &Headers) -> Result<Asks, u16> {
        let request = headers
            .iter()
            .fold(Request::builder().method(method).uri(uri), |request, (name, value)| {
                request.header(*name, *value)
            });
        asks(&request.body(()).expect("a request").into_parts().0).map_err(|(status, _)| status.as_u16())
    }

    #[test]
    fn the_example_of_the_rfc_is_read() {
        let question = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01".to_vec();
        let text = "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB";
        for uri in [
            format!("/dns-query?dns={text}"),
            format!("https://h/dns-query?x=1&dns={text}&dns=_"),
        ] {
            assert_eq!(status("GET", &uri, &[]), Ok(Asks::Message(question.clone())));
        }
        assert_eq!(status("GET", "/dns-query?dns=AAA=", &[]), Ok(Asks::Message(vec![0, 0])));
    }

    #[test]
    fn every_other_request_has_its_status() {
        let dns = ("content-type", "Application/DNS-Message; charset=utf-8");
        let long = format!("/dns-query?dns={}", "A".repeat(8_192));
        let rows: [(&str, &str, &Headers, u16); 9] = [
            ("GET", "/", &[], 404),
            ("GET", "/dns-query/", &[], 404),
            ("PUT", PATH, &[dns], 405),
            ("GET", PATH, &[], 400),
            ("GET", "/dns-query?dns=+/", &[], 400),
            ("GET", &long, &[], 414),
            ("POST", PATH, &[], 415),
            ("POST", PATH, &[("content-type", "application/dns-json")], 415),
            ("POST", PATH, &[dns, ("content-length", "4097")], 413),
        ];
        for (method, uri, headers, expected) in rows {
            assert_eq!(status(method, uri, headers), Err(expected), "{method} {uri} {headers:?}");
        }
        assert_eq!(status("POST", PATH, &[dns, ("accept", "*/*")]), Ok(Asks::Body));
    }

    #[test]
    fn an_answer_is_fresh_as_long_as_its_shortest_lived_part() {
        let head = |answers, authorities| {
            [
                &b"\0\0\x81\x80\0\x01\0"[..],
                &[answers, 0, authorities, 0, 0],
                b"\x01a\0\0\x01\0\x01",
            ]
            .concat()
        };
        let address = |ttl: u32| [&b"\xc0\x0c\0\x01\0\x01"[..], &ttl.to_be_bytes(), b"\0\x04\xc0\0\x02\x01"].concat();
        let soa = |ttl: u32| {
            [
                &b"\0\0\x06\0\x01"[..],
                &ttl.to_be_bytes(),
                b"\0\x16\0\0",
                &[0; 16],
                &7_u32.to_be_bytes(),
            ]
            .concat()
        };
        assert_eq!(fresh_secs(&[head(2, 0), address(300), address(60)].concat()), 60);
        assert_eq!(fresh_secs(&[head(0, 1), soa(300)].concat()), 7);
        assert_eq!(fresh_secs(&[head(0, 1), soa(5)].concat()), 5);
        assert_eq!(fresh_secs(&head(0, 0)), 0);
        assert_eq!(fresh_secs(&head(1, 0)), 0, "cut off");
        assert_eq!(fresh_secs(b""), 0);
    }
}
