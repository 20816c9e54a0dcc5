//! Reading and writing the parts of a DNS message (RFC 1035 §4): bounds are checked once, here.

use crate::dns::domain::{DOMAIN_BYTES_MAX, Domain, LABEL_BYTES_MAX};

/// Bytes of a header: `[id u16][flags u16][questions u16][answers u16][authorities u16][additionals u16]`.
pub const HEADER_BYTES: usize = 12;

/// Bits of a header's flags (RFC 1035 §4.1.1, RFC 4035 §3.1.6).
#[expect(missing_docs, reason = "the names are the RFC's")]
pub mod flags {
    pub const QR: u16 = 0x8000;
    pub const OPCODE: u16 = 0x7800;
    pub const AA: u16 = 0x0400;
    pub const TC: u16 = 0x0200;
    pub const RD: u16 = 0x0100;
    pub const RA: u16 = 0x0080;
    pub const AD: u16 = 0x0020;
    pub const CD: u16 = 0x0010;
    pub const RCODE: u16 = 0x000f;
}

/// The Internet class.
pub const CLASS_IN: u16 = 1;

/// A header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// Chosen by who asks, echoed by who answers.
    pub id: u16,
    /// See [`flags`].
    pub flags: u16,
    /// How many questions, answers, authorities and additionals follow.
    pub counts: [u16; 4],
}

/// One resource record as it stands in a message.
#[derive(Clone, Debug)]
pub struct RawRecord<'a> {
    /// Whose it is.
    pub owner: Domain,
    /// The RR type.
    pub kind: u16,
    /// The class; for OPT the UDP size.
    pub class: u16,
    /// Where the TTL stands in the message.
    pub ttl_at: usize,
    /// Seconds; for OPT extended code, version and flags.
    pub ttl: u32,
    /// Where the RDATA stands in the message: names in it may point elsewhere.
    pub rdata_at: usize,
    /// The RDATA as it stands.
    pub rdata: &'a [u8],
}

/// Walks through a message; every step is `None` where the message does not hold what is asked for.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the first byte of `message`.
    pub fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    /// From byte `at` of `message`.
    pub fn at(message: &'a [u8], at: usize) -> Self {
        Self { message, at }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether everything has been read.
    pub fn is_at_end(&self) -> bool {
        self.at >= self.message.len()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.message.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// Two bytes, most significant first.
    pub fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Four bytes, most significant first.
    pub fn u32(&mut self) -> Option<u32> {
        self.take(4)
            .map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The header.
    pub fn header(&mut self) -> Option<Header> {
        Some(Header {
            id: self.u16()?,
            flags: self.u16()?,
            counts: [self.u16()?, self.u16()?, self.u16()?, self.u16()?],
        })
    }

    /// A name, following pointers. A pointer leads only to before the labels that it ends, so that no message can make this walk for long;
    /// and not into the header, where no name stands and what does stand there changes on the way.
    pub fn name(&mut self) -> Option<Domain> {
        let mut labels: Vec<&[u8]> = Vec::new();
        let mut bytes = 1;
        let mut at = self.at;
        let mut lowest = self.at;
        let mut after = None;
        loop {
            let length = usize::from(*self.message.get(at)?);
            match length {
                0 => break,
                1..=LABEL_BYTES_MAX => {
                    bytes += 1 + length;
                    if bytes > DOMAIN_BYTES_MAX {
                        return None;
                    }
                    labels.push(self.message.get(at + 1..at + 1 + length)?);
                    at += 1 + length;
                }
                0xc0.. => {
                    let low = usize::from(*self.message.get(at + 1)?);
                    after.get_or_insert(at + 2);
                    at = (length & 0x3f) << 8 | low;
                    if at >= lowest || at < HEADER_BYTES {
                        return None;
                    }
                    lowest = at;
                }
                _ => return None,
            }
        }
        self.at = after.unwrap_or(at + 1);
        Domain::from_labels(labels)
    }

    /// A name without pointers, as a question must have it: there is nothing before it to point to.
    pub fn plain_name(&mut self) -> Option<Domain> {
        let rest = self.message.get(self.at..)?;
        let mut length = 0;
        loop {
            match usize::from(*rest.get(length)?) {
                0 => break,
                label @ 1..=LABEL_BYTES_MAX => length += 1 + label,
                _ => return None,
            }
        }
        Domain::from_wire(self.take(length + 1)?)
    }

    /// A resource record.
    pub fn record(&mut self) -> Option<RawRecord<'a>> {
        let owner = self.name()?;
        let kind = self.u16()?;
        let class = self.u16()?;
        let ttl_at = self.at;
        let ttl = self.u32()?;
        let length = usize::from(self.u16()?);
        let rdata_at = self.at;
        let rdata = self.take(length)?;
        Some(RawRecord {
            owner,
            kind,
            class,
            ttl_at,
            ttl,
            rdata_at,
            rdata,
        })
    }
}

/// Builds a message. Names are compressed against those written before.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    /// Where names start that a later name may end with.
    starts: Vec<Start>,
}

/// Where a name starts, and how long it is without pointers.
#[derive(Clone, Copy, Debug)]
struct Start {
    at: u16,
    length: u8,
}

impl Writer {
    /// An empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The message.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Takes back all but the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.starts.retain(|start| usize::from(start.at) < length);
    }

    /// Bytes as they are.
    pub fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Two bytes, most significant first.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    /// Four bytes, most significant first.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    /// A header.
    pub fn header(&mut self, header: &Header) -> &mut Self {
        self.u16(header.id).u16(header.flags);
        for count in header.counts {
            self.u16(count);
        }
        self
    }

    /// Writes over the header, once the counts are known.
    pub fn set_header(&mut self, header: &Header) {
        let mut fresh = Self::new();
        fresh.header(header);
        if let Some(old) = self.bytes.get_mut(..HEADER_BYTES) {
            old.copy_from_slice(&fresh.bytes);
        }
    }

    /// A name, ending in a pointer where its end stands in the message already.
    pub fn name(&mut self, name: &Domain) -> &mut Self {
        let wire = name.as_wire();
        let mut at = 0;
        // What is being written here has no end yet, and is not pointed to.
        let before = self.starts.len();
        while wire[at] != 0 {
            // A name has at most 255 bytes. Only as long a one is looked at: names that differ in their last labels alone would otherwise be read from each
            // label on to their ends.
            let length = (wire.len() - at) as u8;
            let starts = self.starts[..before].iter().filter(|start| start.length == length);
            if let Some(start) = starts.map(|start| start.at).find(|&start| self.stands_at(start, &wire[at..])) {
                return self.u16(0xc000 | start);
            }
            if self.bytes.len() < 0x4000 && self.starts.len() < STARTS_MAX {
                let at = self.bytes.len() as u16;
                self.starts.push(Start { at, length });
            }
            let next = at + 1 + usize::from(wire[at]);
            self.put(&wire[at..next]);
            at = next;
        }
        self.put(&[0])
    }

    /// A length, then what `inside` writes, with the length filled in afterwards. `None` if it is too long.
    pub fn with_length(&mut self, inside: impl FnOnce(&mut Self)) -> Option<()> {
        let at = self.bytes.len();
        self.u16(0);
        inside(self);
        let length = u16::try_from(self.bytes.len() - at - 2).ok()?;
        self.bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
        Some(())
    }

    /// Whether the name `wire` stands at `start`. What was written here is well formed: its pointers lead backwards.
    fn stands_at(&self, start: u16, mut wire: &[u8]) -> bool {
        let mut at = usize::from(start);
        loop {
            let length = usize::from(self.bytes[at]);
            if length >= 0xc0 {
                at = (length & 0x3f) << 8 | usize::from(self.bytes[at + 1]);
                continue;
            }
            let here = &self.bytes[at..=at + length];
            match wire.split_at_checked(1 + length) {
                Some((label, rest)) if label.eq_ignore_ascii_case(here) => wire = rest,
                _ => return false,
            }
            if length == 0 {
                return true;
            }
            at += 1 + length;
        }
    }
}

/// Most places that names may point to. Those of the question and of a chain of aliases are the first; beyond them a
/// search through all would cost more than it saves.
const STARTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::from_text(text).expect(text)
    }

    #[test]
    fn names_are_compressed_and_read_back() {
        let mut w = Writer::new();
        w.put(&[0; HEADER_BYTES]);
        let names = [
            "www.example.com",
            "example.com",
            "mail.EXAMPLE.com",
            ".",
            "com",
            "www.example.com",
            "1.1.1.1",
            "1.1",
        ];
        for name in names {
            w.name(&domain(name));
        }
        let bytes = w.into_bytes();
        assert_eq!(bytes.len(), HEADER_BYTES + 17 + 2 + 7 + 1 + 2 + 2 + 9 + 2);
        let mut r = Reader::at(&bytes, HEADER_BYTES);
        for name in names {
            assert_eq!(r.name().expect(name), domain(name));
        }
        assert!(r.is_at_end());
    }

    #[test]
    fn names_that_are_alike_but_for_their_last_labels_are_each_written_once_and_read_back() {
        let name = |nth: usize, deep: usize| domain(&format!("{}n{nth}.example", "a.".repeat(deep)));
        let mut w = Writer::new();
        w.put(&[0; HEADER_BYTES]);
        let names = [
            name(1, 20),
            name(2, 30),
            name(1, 10),
            name(2, 30),
            name(1, 30),
            name(2, 0),
            name(1, 20),
        ];
        let mut lengths = Vec::new();
        for name in &names {
            let before = w.len();
            w.name(name);
            lengths.push(w.len() - before);
        }
        // All of it, or as many labels as are new and a pointer.
        assert_eq!(lengths, [52, 65, 2, 2, 22, 2, 2]);
        let bytes = w.into_bytes();
        let mut r = Reader::at(&bytes, HEADER_BYTES);
        for name in names {
            assert_eq!(r.name(), Some(name));
        }
    }

    #[test]
    fn a_pointer_that_does_not_lead_backwards_is_refused() {
        for message in [
            &b"\xc0\x00"[..],
            b"\x01a\xc0\x00",
            b"\x01a\xc0\x02",
            b"\xc0\x05\0\0\0\0",
            b"\x80\0",
            b"\x41aa",
            b"\x03ab",
            b"\xc0",
        ] {
            assert!(Reader::new(message).name().is_none(), "{message:x?}");
        }
        // Two pointers that lead to each other.
        let circle = [&[0; HEADER_BYTES][..], b"\x01a\xc0\x10\x01b\xc0\x0c"].concat();
        assert!(Reader::at(&circle, HEADER_BYTES + 4).name().is_none());
        // The header is no name, whatever it spells.
        for low in 0..HEADER_BYTES as u8 {
            let message = [&[0; HEADER_BYTES][..], &[0xc0, low]].concat();
            assert!(Reader::at(&message, HEADER_BYTES).name().is_none(), "{low}");
        }
    }

    #[test]
    fn what_was_taken_back_is_not_pointed_to() {
        let mut w = Writer::new();
        w.put(&[0; HEADER_BYTES]).name(&domain("a.example"));
        let length = w.len();
        w.name(&domain("b.other"));
        w.truncate(length);
        w.name(&domain("c.other"));
        let bytes = w.into_bytes();
        assert_eq!(Reader::at(&bytes, length).name(), Some(domain("c.other")));
    }
}
