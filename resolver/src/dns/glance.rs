//! The question of a message at a glance: what ordinary queries have in common, found without taking them apart.
//!
//! Whatever is not ordinary (another opcode, an odd section, an option with a meaning, a broken name) is `None` here and goes the long way
//! through [`crate::dns::frontend`], so nothing is decided twice. Two messages with the same [`Key`] get the same answer, but for id, the
//! case of letters, and the time.

use crate::dns::cookie::{COOKIE, Cookie};
use crate::dns::domain::{DOMAIN_BYTES_MAX, LABEL_BYTES_MAX};
use crate::dns::question::{COMPACT_OK, DNSSEC_OK};
use crate::dns::response::{UDP_BYTES_MAX, UDP_BYTES_MIN};
use crate::dns::wire::{CLASS_IN, HEADER_BYTES, flags};
use dialtone_shared::record::rdata::{TYPE_RECORD, types};

/// What decides about an answer: the lower-cased question, and how it was put.
#[derive(Clone, Debug)]
pub struct Key {
    bytes: [u8; QUESTION_MAX],
    length: usize,
    /// See the bits at the end.
    variant: u8,
    cookie: Option<Cookie>,
}

impl Key {
    /// The key of `message`, from a client for whom names are looked up elsewhere (`recursion`) or not; `None`: the long way.
    pub fn of(message: &[u8], recursion: bool) -> Option<Self> {
        let mut key = Self::none();
        key.read(message, recursion).then_some(key)
    }

    /// Of nothing yet.
    pub(crate) const fn none() -> Self {
        Self {
            bytes: [0; QUESTION_MAX],
            length: 0,
            variant: 0,
            cookie: None,
        }
    }

    /// Becomes what [`of`](Self::of) would say, in place: of its bytes only so many are written as there are. Where that is nothing, it says so.
    pub(crate) fn read(&mut self, message: &[u8], recursion: bool) -> bool {
        self.try_read(message, recursion).is_some()
    }

    fn try_read(&mut self, message: &[u8], recursion: bool) -> Option<()> {
        let (header, rest) = message.split_at_checked(HEADER_BYTES)?;
        let bits = u16::from_be_bytes([header[2], header[3]]);
        // One question, no answer, no authority, at most one additional.
        if bits & (flags::QR | flags::OPCODE) != 0 || header[4..11] != [0, 1, 0, 0, 0, 0, 0] || header[11] > 1 {
            return None;
        }
        let mut name = 0;
        loop {
            match usize::from(*rest.get(name)?) {
                0 => break,
                label @ 1..=LABEL_BYTES_MAX => name += 1 + label,
                _ => return None,
            }
        }
        name += 1;
        let length = name + 4;
        if name > DOMAIN_BYTES_MAX || rest.len() < length {
            return None;
        }
        let (question, rest) = rest.split_at(length);
        let kind = u16::from_be_bytes([question[name], question[name + 1]]);
        let class = u16::from_be_bytes([question[name + 2], question[name + 3]]);
        // What depends on more than this: a record's answer on the length of the question.
        if class != CLASS_IN || kind == TYPE_RECORD || kind == types::OPT {
            return None;
        }
        let mut variant = if bits & flags::RD != 0 { RD } else { 0 };
        variant |= if bits & flags::CD != 0 { CD } else { 0 };
        variant |= if recursion { RECURSION } else { 0 };
        let (put, cookie) = match (header[11], rest) {
            (0, []) => (0, None),
            (1, opt) => of_opt(opt)?,
            _ => return None,
        };
        variant |= put;
        let key = self.bytes.get_mut(..length)?;
        key.copy_from_slice(question);
        // Lengths of labels are below every letter.
        key[..name].make_ascii_lowercase();
        (self.length, self.variant, self.cookie) = (length, variant, cookie);
        Some(())
    }

    /// The question, its name in small letters.
    pub fn question(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// How it was put.
    pub fn variant(&self) -> u8 {
        self.variant
    }

    /// The cookie that came with it. It makes no difference to the answer, to which one is added.
    pub fn cookie(&self) -> Option<&Cookie> {
        self.cookie.as_ref()
    }

    /// The largest answer, in bytes.
    pub fn limit(&self) -> usize {
        if self.variant & LARGE != 0 { UDP_BYTES_MAX } else { UDP_BYTES_MIN }
    }

    /// Whether an answer of `length` bytes is the one for every message with this key. Messages that can take more than the smallest and less
    /// than the largest answer share a key, so what they share must fit the smallest, with everything that might have been left out.
    pub fn fits(&self, length: usize) -> bool {
        match self.variant & (EDNS | LARGE) {
            EDNS => length + EXTENDED_ERROR_BYTES_MAX <= UDP_BYTES_MIN,
            _ => length <= self.limit(),
        }
    }
}

/// `[0][41 u16][size u16][0][version][flags u16][length u16]([code u16][length u16][bytes])*`
fn of_opt(opt: &[u8]) -> Option<(u8, Option<Cookie>)> {
    let (fixed, mut options) = opt.split_at_checked(OPT_HEAD_BYTES)?;
    let [
        0,
        kind @ ..,
        size_high,
        size_low,
        _,
        version,
        flags_high,
        _,
        length_high,
        length_low,
    ] = fixed
    else {
        return None;
    };
    if *kind != types::OPT.to_be_bytes() || *version != 0 || options.len() != usize::from(u16::from_be_bytes([*length_high, *length_low])) {
        return None;
    }
    let mut cookie = None;
    while !options.is_empty() {
        let (head, rest) = options.split_at_checked(4)?;
        let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        match u16::from_be_bytes([head[0], head[1]]) {
            // An answer says who gave it only the long way.
            NSID => return None,
            COOKIE if cookie.is_none() => cookie = Some(Cookie::read(data)?),
            _ => {}
        }
        options = rest;
    }
    let size = usize::from(u16::from_be_bytes([*size_high, *size_low]));
    let has = |flag: u32| u32::from(*flags_high) << 8 & flag != 0;
    let mut put = EDNS | if has(DNSSEC_OK) { DO } else { 0 } | if size >= UDP_BYTES_MAX { LARGE } else { 0 };
    put |= if has(COMPACT_OK) { CO } else { 0 };
    Some((put, cookie))
}

const RD: u8 = 1;
const CD: u8 = 2;
const EDNS: u8 = 4;
const DO: u8 = 8;
const LARGE: u8 = 16;
const RECURSION: u8 = 32;
const CO: u8 = 64;

const NSID: u16 = 3;

/// An OPT record without its options, in bytes.
pub(crate) const OPT_HEAD_BYTES: usize = 11;

/// Longest question: a name, a type and a class.
const QUESTION_MAX: usize = DOMAIN_BYTES_MAX + 4;

/// Longest extended error that an answer may have been without for want of space, with its head.
pub(crate) const EXTENDED_ERROR_BYTES_MAX: usize = 126;

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x07eXample\x03alt\0\0\x41\0\x01";

    fn with_opt(size: u16, options: &[u8]) -> Vec<u8> {
        let mut message = PLAIN.to_vec();
        message[11] = 1;
        message.extend_from_slice(&[0, 0, 41]);
        message.extend_from_slice(&size.to_be_bytes());
        message.extend_from_slice(&[0, 0, 0x80, 0]);
        message.extend_from_slice(&(options.len() as u16).to_be_bytes());
        message.extend_from_slice(options);
        message
    }

    #[test]
    fn only_the_letters_of_the_name_are_made_small() {
        let key = Key::of(PLAIN, false).expect("ordinary");
        assert_eq!(key.question(), b"\x07example\x03alt\0\0\x41\0\x01");
    }

    #[test]
    fn what_is_put_differently_has_another_key() {
        let mut without_rd = PLAIN.to_vec();
        without_rd[2] = 0;
        let (small, large) = (with_opt(512, b""), with_opt(4_096, b""));
        let mut variants: Vec<u8> = [PLAIN, &without_rd, &small, &large]
            .iter()
            .flat_map(|message| [false, true].map(|recursion| Key::of(message, recursion).expect("ordinary").variant()))
            .collect();
        variants.sort_unstable();
        variants.dedup();
        assert_eq!(variants.len(), 8);
    }

    #[test]
    fn padding_makes_no_difference_and_what_asks_for_more_goes_the_long_way() {
        let plain = Key::of(&with_opt(1_232, b""), false).expect("ordinary").variant();
        let padded = Key::of(&with_opt(1_232, b"\0\x0c\0\x02\0\0"), false).expect("ordinary").variant();
        assert_eq!(plain, padded);
        for options in [&b"\0\x03\0\0"[..], b"\0\x0a\0\x07abcdefg", b"\0\x0c\0\x02\0", b"\0"] {
            assert!(Key::of(&with_opt(1_232, options), false).is_none(), "{options:?}");
        }
    }

    #[test]
    fn a_cookie_makes_no_other_key_and_only_the_first_counts() {
        let plain = Key::of(&with_opt(1_232, b""), false).expect("ordinary");
        let with = Key::of(&with_opt(1_232, b"\0\x0a\0\x08abcdefgh\0\x0a\0\x01x"), false).expect("ordinary");
        assert_eq!((with.variant(), with.question()), (plain.variant(), plain.question()));
        assert_eq!(plain.cookie(), None);
        assert_eq!(with.cookie().map(|cookie| cookie.client), Some(*b"abcdefgh"));
    }

    #[test]
    fn what_is_not_ordinary_goes_the_long_way() {
        let changed = |at: usize, to: u8| {
            let mut message = PLAIN.to_vec();
            message[at] = to;
            message
        };
        let rows = [
            changed(2, 0x80),
            changed(2, 0x10),
            changed(5, 2),
            changed(7, 1),
            changed(9, 1),
            changed(11, 1),
            changed(12, 0xc0),
            changed(12, 63),
            changed(PLAIN.len() - 1, 3),
            PLAIN[..PLAIN.len() - 1].to_vec(),
            [PLAIN, b"x"].concat(),
        ];
        for row in rows {
            assert!(Key::of(&row, false).is_none(), "{row:?}");
        }
    }

    #[test]
    fn a_middling_size_shares_only_what_would_fit_the_smallest() {
        let middling = Key::of(&with_opt(1_000, b""), false).expect("ordinary");
        assert!(middling.fits(300));
        assert!(!middling.fits(500));
        let plain = Key::of(PLAIN, false).expect("ordinary");
        assert!(plain.fits(512) && !plain.fits(513));
    }
}
