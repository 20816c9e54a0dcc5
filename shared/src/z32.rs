//! z-base-32: 5 bits a character, most significant first, zero padded, an alphabet chosen to be read aloud.

/// The alphabet, in order of value.
pub const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// Why a text is not z-base-32.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Z32Error {
    /// A character outside the alphabet, at this position (counted from 0).
    #[error("character {found:?} at position {position} is not in the z-base-32 alphabet")]
    Alphabet {
        /// Where, counted from 0.
        position: usize,
        /// What stands there.
        found: char,
    },
    /// The last character has bits set beyond the last byte: the text is an alias of another one.
    #[error("the last character is not canonical: it carries bits beyond the end")]
    NonCanonical,
    /// No number of whole bytes has this many characters.
    #[error("{0} characters is not a length that whole bytes have")]
    Length(usize),
}

/// Bytes as text: ⌈8n/5⌉ characters.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity((bytes.len() * 8).div_ceil(5));
    let (mut held, mut bits) = (0u32, 0u32);
    for &byte in bytes {
        held = held << 8 | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(ALPHABET[(held >> bits) as usize & 31] as char);
        }
    }
    if bits > 0 {
        out.push(ALPHABET[(held << (5 - bits)) as usize & 31] as char);
    }
    out
}

/// Text as bytes. Upper and lower case are alike; an alias of a canonical text is refused.
///
/// # Errors
/// See [`Z32Error`]; the alphabet is checked first, so that a stray character is named before the length is.
pub fn decode(text: &str) -> Result<Vec<u8>, Z32Error> {
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    let (mut held, mut bits, mut count) = (0u32, 0u32, 0usize);
    for (position, found) in text.chars().enumerate() {
        let value = u8::try_from(found).ok().map_or(INVALID, |byte| VALUES[byte as usize]);
        if value == INVALID {
            return Err(Z32Error::Alphabet { position, found });
        }
        held = held << 5 | u32::from(value);
        bits += 5;
        count += 1;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    if bits >= 5 {
        return Err(Z32Error::Length(count));
    }
    if held != 0 {
        return Err(Z32Error::NonCanonical);
    }
    Ok(out)
}

const INVALID: u8 = 255;

/// Value of each ASCII character, both cases.
const VALUES: [u8; 256] = {
    let mut table = [INVALID; 256];
    let mut value = 0;
    while value < 32 {
        let c = ALPHABET[value as usize];
        table[c as usize] = value;
        table[c.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    table
};
