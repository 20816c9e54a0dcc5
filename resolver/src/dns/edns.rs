//! The options of EDNS that are a courtesy of the way a question came: padding, keepalive, who answers (RFC 6891 §6.1.2).
//!
//! They are put into an answer that is already encoded, so that one encoded answer does for every transport.

use crate::dns::cookie::{COOKIE, Cookie};
use crate::dns::frontend::Carrier;
use crate::dns::response::OPT_BYTES;
use crate::dns::settings::{NSID_BYTES_MAX, STREAM_IDLE};
use crate::dns::wire::{HEADER_BYTES, Reader};
use dialtone_shared::record::rdata::types;

/// What the options of a query ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wants {
    /// An answer padded as the query was (RFC 7830).
    pub padding: bool,
    /// How long the connection may be quiet (RFC 7828).
    pub keepalive: bool,
    /// Which of several servers this is (RFC 5001).
    pub nsid: bool,
    /// That it is known again (RFC 7873); of several cookies the first.
    pub cookie: Option<Cookie>,
}

impl Wants {
    /// Reads the data of an OPT record: `([code u16][length u16][bytes])*`; `None` where it is anything else, or has a
    /// cookie of a length that no cookie has.
    pub fn read(options: &[u8]) -> Option<Self> {
        let mut r = Reader::new(options);
        let mut wants = Self::default();
        while !r.is_at_end() {
            let (code, length) = (r.u16()?, r.u16()?);
            let data = r.take(usize::from(length))?;
            match code {
                COOKIE if wants.cookie.is_none() => wants.cookie = Some(Cookie::read(data)?),
                PADDING => wants.padding = true,
                KEEPALIVE => wants.keepalive = true,
                NSID => wants.nsid = true,
                _ => {}
            }
        }
        Some(wants)
    }
}

/// Adds to `answer`, whose last record is its OPT, what was asked for and may be said over `carrier`; never beyond `limit` bytes. An answer
/// without an OPT stays as it is.
pub fn dress(answer: &mut Vec<u8>, wants: Wants, carrier: Carrier, nsid: Option<&[u8]>, limit: usize) {
    let nsid = nsid.filter(|nsid| wants.nsid && nsid.len() <= NSID_BYTES_MAX);
    let keepalive = wants.keepalive && matches!(carrier, Carrier::Tcp | Carrier::Tls);
    let padding = wants.padding && carrier.is_encrypted();
    if nsid.is_none() && !keepalive && !padding {
        return;
    }
    let Some(length_at) = opt_length_at(answer) else { return };
    let before = answer.len();
    let add = |answer: &mut Vec<u8>, code: u16, data: &[u8]| {
        if answer.len() + 4 + data.len() <= limit {
            answer.extend_from_slice(&code.to_be_bytes());
            answer.extend_from_slice(&(data.len() as u16).to_be_bytes());
            answer.extend_from_slice(data);
        }
    };
    if let Some(nsid) = nsid {
        add(answer, NSID, nsid);
    }
    if keepalive {
        add(answer, KEEPALIVE, &KEEPALIVE_UNITS.to_be_bytes());
    }
    if padding {
        let bare = answer.len() + 4;
        let whole = bare.next_multiple_of(PADDED_TO).min(limit.max(bare));
        add(answer, PADDING, &[0; PADDED_TO][..whole - bare]);
    }
    let added = (answer.len() - before) as u16;
    let length = u16::from_be_bytes([answer[length_at], answer[length_at + 1]]).saturating_add(added);
    answer[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
}

/// Adds an option to `answer`, whose last record is its OPT, if it fits into `limit` bytes.
pub fn add_option(answer: &mut Vec<u8>, option: &[u8], limit: usize) {
    if answer.len() + option.len() > limit {
        return;
    }
    let Some(length_at) = opt_length_at(answer) else { return };
    answer.extend_from_slice(option);
    let length = u16::from_be_bytes([answer[length_at], answer[length_at + 1]]).saturating_add(option.len() as u16);
    answer[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
}

/// Adds `option` to the first `length` bytes of `answer` if they end with an OPT that has none, and it fits into `limit` bytes: the new length.
/// The answer is not read for it.
pub(crate) fn add_to_bare(answer: &mut [u8], length: usize, option: &[u8], limit: usize) -> Option<usize> {
    let opt = answer.get(..length)?.last_chunk::<OPT_BYTES>()?;
    let is_bare = opt[..3] == [0, 0, types::OPT as u8] && opt[OPT_BYTES - 2..] == [0, 0];
    let end = length + option.len();
    if !is_bare || end > limit {
        return None;
    }
    answer.get_mut(length..end)?.copy_from_slice(option);
    answer[length - 2..length].copy_from_slice(&(option.len() as u16).to_be_bytes());
    Some(end)
}

/// The code of the extended error of `answer` (RFC 8914), of several the first.
pub(crate) fn extended_error(answer: &[u8]) -> Option<u16> {
    let mut r = Reader::new(answer.get(opt_length_at(answer)? + 2..)?);
    while !r.is_at_end() {
        let (code, length) = (r.u16()?, r.u16()?);
        let data = r.take(usize::from(length))?;
        if code == EXTENDED_ERROR {
            return data.first_chunk().copied().map(u16::from_be_bytes);
        }
    }
    None
}

/// Where the length of the OPT's data stands, if the last record is an OPT.
fn opt_length_at(answer: &[u8]) -> Option<usize> {
    let mut r = Reader::new(answer);
    let header = r.header()?;
    debug_assert_eq!(r.position(), HEADER_BYTES);
    for _ in 0..header.counts[0] {
        r.plain_name()?;
        r.u32()?;
    }
    let mut last = None;
    for _ in 0..header.counts[1..].iter().map(|&count| u32::from(count)).sum() {
        last = Some(r.record()?);
    }
    let last = last.filter(|last| last.kind == types::OPT && r.is_at_end())?;
    Some(last.rdata_at - 2)
}

const NSID: u16 = 3;
const KEEPALIVE: u16 = 11;
const PADDING: u16 = 12;
const EXTENDED_ERROR: u16 = 15;

/// What answers are padded to a multiple of, in bytes (RFC 8467 §4.1).
const PADDED_TO: usize = 468;

/// What keepalive counts in is a tenth of a second.
const KEEPALIVE_UNITS: u16 = (STREAM_IDLE.as_millis() / 100) as u16;

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &[u8] = b"\x12\x34\x81\x80\0\x01\0\0\0\0\0\x01\x07example\x03alt\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
    const ALL: Wants = Wants {
        padding: true,
        keepalive: true,
        nsid: true,
        cookie: None,
    };

    fn dressed(carrier: Carrier, nsid: Option<&[u8]>, limit: usize) -> Vec<u8> {
        let mut answer = BARE.to_vec();
        dress(&mut answer, ALL, carrier, nsid, limit);
        let options = Reader::at(&answer, BARE.len() - OPT_BYTES)
            .record()
            .expect("still an OPT")
            .rdata
            .to_vec();
        assert_eq!(options, answer[BARE.len()..], "its length says all that follows");
        options
    }

    #[test]
    fn each_transport_gets_what_it_may_have() {
        assert_eq!(dressed(Carrier::Udp, None, 1_232), b"");
        assert_eq!(dressed(Carrier::Udp, Some(b"a1"), 1_232), b"\0\x03\0\x02a1");
        assert_eq!(dressed(Carrier::Tcp, None, 65_535), b"\0\x0b\0\x02\0\x5a");
        assert_eq!(dressed(Carrier::Quic, None, 65_535).len() + BARE.len(), 468);
        assert_eq!(dressed(Carrier::Https, None, 65_535)[..2], [0, 12]);
        let tls = dressed(Carrier::Tls, Some(&[7; 60]), 65_535);
        assert_eq!(tls.len() + BARE.len(), 468);
        assert_eq!(tls[64..72], [0, 11, 0, 2, 0, 0x5a, 0, 12]);
        assert_eq!(tls[72..74], (468 - BARE.len() as u16 - 74).to_be_bytes());
    }

    #[test]
    fn nothing_is_added_beyond_the_limit_or_to_what_has_no_opt() {
        assert_eq!(dressed(Carrier::Udp, Some(b"a1"), BARE.len() + 5), b"");
        assert_eq!(dressed(Carrier::Tls, None, BARE.len() + 6).len(), 6, "no room left to pad");
        assert_eq!(dressed(Carrier::Https, None, 100).len() + BARE.len(), 100);
        let mut plain = BARE[..BARE.len() - OPT_BYTES].to_vec();
        plain[11] = 0;
        let before = plain.clone();
        dress(&mut plain, ALL, Carrier::Tls, Some(b"a1"), 65_535);
        assert_eq!(plain, before);
    }

    #[test]
    fn an_option_is_put_after_a_bare_opt_as_after_any_other() {
        let option = [0, 10, 0, 2, 1, 2];
        let mut slow = BARE.to_vec();
        add_option(&mut slow, &option, 1_232);
        let mut quick = [0; 100];
        quick[..BARE.len()].copy_from_slice(BARE);
        assert_eq!(add_to_bare(&mut quick, BARE.len(), &option, slow.len() - 1), None);
        assert_eq!(quick[..BARE.len()], *BARE);
        assert_eq!(add_to_bare(&mut quick, BARE.len(), &option, slow.len()), Some(slow.len()));
        assert_eq!(quick[..slow.len()], slow);
        assert_eq!(add_to_bare(&mut quick, slow.len(), &option, 100), None, "not bare any more");
        assert_eq!(add_to_bare(&mut quick, 5, &option, 100), None);
    }

    #[test]
    fn options_are_read_whole_or_not_at_all() {
        assert_eq!(Wants::read(b""), Some(Wants::default()));
        assert_eq!(Wants::read(b"\0\x03\0\0\0\x0b\0\0\0\x0c\0\x02\0\0\xff\xff\0\0"), Some(ALL));
        for broken in [&b"\0"[..], b"\0\x03\0", b"\0\x0c\0\x02\0", b"\0\x0a\0\x07abcdefg"] {
            assert_eq!(Wants::read(broken), None);
        }
    }
}
