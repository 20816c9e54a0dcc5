//! Deterministic CBOR (RFC 8949 §4.2.1): the only encoding that is read or written here.
//!
//! A [`Reader`] refuses what has a second spelling: heads that are not the shortest, indefinite lengths, map
//! keys out of order or twice, text that is not UTF-8, floats and tags. So whatever it accepts is, byte for byte, what a
//! [`Writer`] would have written. Crates that read CBOR accept all of those spellings, which is why this is our own.

use crate::limits::CBOR_DEPTH_MAX;

/// Why bytes are not deterministic CBOR of the expected shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CborError {
    /// The bytes end inside an item.
    #[error("the bytes end at {0}, inside an item")]
    Truncated(usize),
    /// A length or number that has a shorter spelling.
    #[error("not deterministic: a number at byte {0} has a shorter spelling")]
    NotShortest(usize),
    /// An indefinite length.
    #[error("not deterministic: an indefinite length at byte {0}")]
    Indefinite(usize),
    /// A map key that is not larger than the one before.
    #[error("not deterministic: a map key at byte {0} is out of order or given twice")]
    KeyOrder(usize),
    /// Another type than the one expected.
    #[error("another type than expected at byte {0}")]
    Type(usize),
    /// A float, a tag or a simple value that this profile has no use for.
    #[error("a float, tag or simple value at byte {0} is outside the profile")]
    Profile(usize),
    /// Text that is not UTF-8.
    #[error("text at byte {0} is not UTF-8")]
    Utf8(usize),
    /// Nested deeper than anyone needs.
    #[error("nested too deeply at byte {0}")]
    Depth(usize),
    /// Bytes after the end.
    #[error("trailing bytes from byte {0} on")]
    Trailing(usize),
}

/// Reads items one after another, refusing every spelling but the shortest.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The state of reading a map with unsigned keys: how many pairs are left, and the key before.
#[derive(Debug)]
pub struct Fields {
    left: u64,
    last: Option<u64>,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Where the next item begins.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`CborError::Trailing`] if anything is left.
    pub fn finish(self) -> Result<(), CborError> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(CborError::Trailing(self.at))
        }
    }

    /// An unsigned integer.
    ///
    /// # Errors
    /// [`CborError`], as for all reading functions here.
    pub fn uint(&mut self) -> Result<u64, CborError> {
        self.expect(UINT)
    }

    /// An unsigned integer that fits `T`; one that does not is of the wrong type.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn uint_as<T: TryFrom<u64>>(&mut self) -> Result<T, CborError> {
        let at = self.at;
        T::try_from(self.uint()?).map_err(|_| CborError::Type(at))
    }

    /// A signed integer.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn int(&mut self) -> Result<i64, CborError> {
        let at = self.at;
        match self.head()? {
            (UINT, value) => i64::try_from(value).map_err(|_| CborError::Type(at)),
            (NINT, value) => i64::try_from(value).map(|value| -1 - value).map_err(|_| CborError::Type(at)),
            _ => Err(CborError::Type(at)),
        }
    }

    /// A byte string.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        let length = self.expect(BYTES)?;
        self.take(length)
    }

    /// A byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// [`CborError`]; another length is another type.
    pub fn array_of<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        let at = self.at;
        self.bytes()?.try_into().map_err(|_| CborError::Type(at))
    }

    /// A text string.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn text(&mut self) -> Result<&'a str, CborError> {
        let at = self.at;
        let length = self.expect(TEXT)?;
        str::from_utf8(self.take(length)?).map_err(|_| CborError::Utf8(at))
    }

    /// The head of an array: how many items follow. Never trust it with an allocation.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn array(&mut self) -> Result<u64, CborError> {
        self.expect(ARRAY)
    }

    /// The head of an array of exactly `items`.
    ///
    /// # Errors
    /// [`CborError`]; another count is another type.
    pub fn array_exact(&mut self, items: u64) -> Result<(), CborError> {
        let at = self.at;
        if self.array()? == items { Ok(()) } else { Err(CborError::Type(at)) }
    }

    /// The head of a map with unsigned keys; then [`Fields::next`] until it says `None`.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn map(&mut self) -> Result<Fields, CborError> {
        Ok(Fields {
            left: self.expect(MAP)?,
            last: None,
        })
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn bool(&mut self) -> Result<bool, CborError> {
        let at = self.at;
        match self.byte()? {
            FALSE => Ok(false),
            TRUE => Ok(true),
            _ => Err(CborError::Type(at)),
        }
    }

    /// Whether `null` comes next; it is consumed if so.
    pub fn null(&mut self) -> bool {
        let is = self.bytes.get(self.at) == Some(&NULL);
        self.at += usize::from(is);
        is
    }

    /// Whether text comes next.
    pub fn at_text(&self) -> bool {
        self.bytes.get(self.at).is_some_and(|byte| byte >> 5 == TEXT)
    }

    /// Whether an array comes next.
    pub fn at_array(&self) -> bool {
        self.bytes.get(self.at).is_some_and(|byte| byte >> 5 == ARRAY)
    }

    /// Steps over one item of any shape, still checking every rule.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn skip(&mut self) -> Result<(), CborError> {
        self.skip_within(CBOR_DEPTH_MAX)
    }

    fn skip_within(&mut self, depth: usize) -> Result<(), CborError> {
        let at = self.at;
        if depth == 0 {
            return Err(CborError::Depth(at));
        }
        match self.bytes.get(at).ok_or(CborError::Truncated(at))? >> 5 {
            UINT | NINT => self.head().map(drop),
            BYTES => self.bytes().map(drop),
            TEXT => self.text().map(drop),
            ARRAY => {
                for _ in 0..self.array()? {
                    self.skip_within(depth - 1)?;
                }
                Ok(())
            }
            MAP => {
                let mut last: &[u8] = &[];
                for _ in 0..self.expect(MAP)? {
                    let start = self.at;
                    self.skip_within(depth - 1)?;
                    let key = &self.bytes[start..self.at];
                    if key <= last {
                        return Err(CborError::KeyOrder(start));
                    }
                    last = key;
                    self.skip_within(depth - 1)?;
                }
                Ok(())
            }
            _ => match self.byte()? {
                FALSE | TRUE | NULL => Ok(()),
                _ => Err(CborError::Profile(at)),
            },
        }
    }

    fn expect(&mut self, major: u8) -> Result<u64, CborError> {
        let at = self.at;
        let (found, value) = self.head()?;
        if found == major { Ok(value) } else { Err(CborError::Type(at)) }
    }

    /// One head: major type and argument, in its shortest spelling.
    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let at = self.at;
        let first = self.byte()?;
        let (major, low) = (first >> 5, first & 31);
        if major == 7 || major == 6 {
            return Err(CborError::Profile(at));
        }
        let (value, smallest) = match low {
            0..=23 => return Ok((major, u64::from(low))),
            24 => (u64::from(self.byte()?), 24),
            25 => (self.be(2)?, 1 << 8),
            26 => (self.be(4)?, 1 << 16),
            27 => (self.be(8)?, 1 << 32),
            31 => return Err(CborError::Indefinite(at)),
            _ => return Err(CborError::Profile(at)),
        };
        if value < smallest {
            Err(CborError::NotShortest(at))
        } else {
            Ok((major, value))
        }
    }

    fn be(&mut self, count: u64) -> Result<u64, CborError> {
        Ok(self.take(count)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn byte(&mut self) -> Result<u8, CborError> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], CborError> {
        let rest = &self.bytes[self.at..];
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let taken = rest.get(..count).ok_or(CborError::Truncated(self.bytes.len()))?;
        self.at += count;
        Ok(taken)
    }
}

impl Fields {
    /// The next key, or `None` after the last pair. The value must then be read or skipped.
    ///
    /// # Errors
    /// [`CborError::KeyOrder`] if it is not larger than the key before; a key that is not unsigned is of the wrong type.
    pub fn next(&mut self, reader: &mut Reader<'_>) -> Result<Option<u64>, CborError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let at = reader.position();
        let key = reader.uint()?;
        if self.last.is_some_and(|last| key <= last) {
            return Err(CborError::KeyOrder(at));
        }
        self.last = Some(key);
        Ok(Some(key))
    }

    /// Ends the map.
    ///
    /// # Errors
    /// [`CborError::Type`] if a pair is left.
    pub fn end(&self, reader: &Reader<'_>) -> Result<(), CborError> {
        if self.left == 0 {
            Ok(())
        } else {
            Err(CborError::Type(reader.position()))
        }
    }
}

/// Writes items one after another, each in its shortest spelling. Map keys must be given in ascending order.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty writer with room for `bytes`: for what is written often, since growing step by step costs more than writing.
    pub fn with_room(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// An unsigned integer.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.head(UINT, value)
    }

    /// A signed integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        if value < 0 {
            self.head(NINT, (-1 - value) as u64)
        } else {
            self.uint(value as u64)
        }
    }

    /// A byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(BYTES, bytes.len() as u64);
        self.raw(bytes)
    }

    /// A text string.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.head(TEXT, text.len() as u64);
        self.raw(text.as_bytes())
    }

    /// The head of an array.
    pub fn array(&mut self, items: usize) -> &mut Self {
        self.head(ARRAY, items as u64)
    }

    /// The head of a map.
    pub fn map(&mut self, pairs: usize) -> &mut Self {
        self.head(MAP, pairs as u64)
    }

    /// `true` or `false`.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(&[if value { TRUE } else { FALSE }])
    }

    /// `null`.
    pub fn null(&mut self) -> &mut Self {
        self.raw(&[NULL])
    }

    /// Bytes that are already deterministic CBOR.
    pub fn raw(&mut self, encoded: &[u8]) -> &mut Self {
        self.0.extend_from_slice(encoded);
        self
    }

    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let major = major << 5;
        match value {
            0..=23 => self.0.push(major | value as u8),
            24..=0xff => self.0.extend([major | 24, value as u8]),
            0x100..=0xffff => {
                self.0.push(major | 25);
                self.0.extend((value as u16).to_be_bytes());
            }
            0x1_0000..=0xffff_ffff => {
                self.0.push(major | 26);
                self.0.extend((value as u32).to_be_bytes());
            }
            _ => {
                self.0.push(major | 27);
                self.0.extend(value.to_be_bytes());
            }
        }
        self
    }
}

const UINT: u8 = 0;
const NINT: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
