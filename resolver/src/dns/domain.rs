//! Domain names in wire form: `[length u8][label]…[0]`, at most 255 bytes, labels of 1 to 63 (RFC 1035 §3.1).
//!
//! The case that was given is kept, because a question is echoed byte for byte; every comparison ignores it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::fmt;

/// Longest name in wire form, in bytes (RFC 1035 §2.3.4).
pub const DOMAIN_BYTES_MAX: usize = 255;

/// Longest label, in bytes (RFC 1035 §2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;

/// A domain name: absolute, uncompressed.
#[derive(Clone)]
pub struct Domain(Vec<u8>);

/// Why text is not a domain name. The writer's turn.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DomainError {
    /// Nothing between two dots, or nothing at all.
    #[error("a label is empty")]
    EmptyLabel,
    /// A label that does not fit.
    #[error("a label is longer than {LABEL_BYTES_MAX} bytes")]
    LongLabel,
    /// A name that does not fit.
    #[error("the name is longer than {DOMAIN_BYTES_MAX} bytes")]
    Long,
    /// A backslash without what must follow it.
    #[error("`\\` is followed by three digits up to 255, or by the character that is meant")]
    Escape,
}

impl Domain {
    /// The root: no labels.
    pub fn root() -> Self {
        Self(vec![0])
    }

    /// A name from text such as `www.example.com`, with or without a final dot; `.` is the root. `\DDD` and `\X` are understood.
    ///
    /// # Errors
    /// [`DomainError`].
    pub fn from_text(text: &str) -> Result<Self, DomainError> {
        Self::from_text_bytes(text.as_bytes())
    }

    /// As [`Domain::from_text`], of text that need not be UTF-8.
    ///
    /// # Errors
    /// [`DomainError`].
    pub fn from_text_bytes(text: &[u8]) -> Result<Self, DomainError> {
        if text == b"." {
            return Ok(Self::root());
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        let mut label = Vec::new();
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'.' => push_label(&mut wire, &mut label)?,
                b'\\' => {
                    let (escaped, after) = unescape(rest).ok_or(DomainError::Escape)?;
                    label.push(escaped);
                    rest = after;
                }
                _ => label.push(byte),
            }
        }
        let ends_with_dot = text.ends_with(b".") && label.is_empty() && !wire.is_empty();
        if !ends_with_dot {
            push_label(&mut wire, &mut label)?;
        }
        wire.push(0);
        if wire.len() > DOMAIN_BYTES_MAX {
            return Err(DomainError::Long);
        }
        Ok(Self(wire))
    }

    /// A name from its labels, first to last; `None` if it does not fit.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut wire = Vec::new();
        for label in labels {
            if label.is_empty() || label.len() > LABEL_BYTES_MAX {
                return None;
            }
            wire.push(label.len() as u8);
            wire.extend_from_slice(label);
        }
        wire.push(0);
        (wire.len() <= DOMAIN_BYTES_MAX).then_some(Self(wire))
    }

    /// A name from exactly its wire form, uncompressed.
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        let mut at = 0;
        loop {
            let length = usize::from(*wire.get(at)?);
            at += 1 + length;
            if length > LABEL_BYTES_MAX || at > DOMAIN_BYTES_MAX {
                return None;
            }
            if length == 0 {
                return (at == wire.len()).then(|| Self(wire.to_vec()));
            }
        }
    }

    /// The wire form.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels, first to last, without the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first()?;
            let (label, after) = after.split_at_checked(usize::from(length))?;
            rest = after;
            (length != 0).then_some(label)
        })
    }

    /// The same name in lower case.
    pub fn to_lower(&self) -> Self {
        // A length byte is at most 63, which is below every letter.
        Self(self.0.to_ascii_lowercase())
    }

    /// The same name with the case of each letter decided by a bit of `chance`.
    pub fn with_case(&self, chance: &[u8; 32]) -> Self {
        let mut wire = self.0.clone();
        for (index, byte) in wire.iter_mut().enumerate() {
            if byte.is_ascii_alphabetic() && chance[index / 8 % chance.len()] >> (index % 8) & 1 == 1 {
                *byte ^= 0x20;
            }
        }
        Self(wire)
    }

    /// The labels to the left of `ancestor`, first to last: none if it is the same name, `None` if it is not under it.
    pub fn left_of(&self, ancestor: &Self) -> Option<Vec<&[u8]>> {
        let cut = self.0.len().checked_sub(ancestor.0.len())?;
        if !self.0[cut..].eq_ignore_ascii_case(&ancestor.0) {
            return None;
        }
        let mut labels = Vec::new();
        let mut at = 0;
        while at < cut {
            let next = at + 1 + usize::from(self.0[at]);
            labels.push(&self.0[at + 1..next]);
            at = next;
        }
        (at == cut).then_some(labels)
    }

    /// The name without its first `count` labels; the root if it has no more.
    pub fn without_first(&self, count: usize) -> Self {
        let at: usize = self.labels().take(count).map(|label| 1 + label.len()).sum();
        Self(self.0[at..].to_vec())
    }

    /// Whether it is `ancestor` or a name under it.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        self.left_of(ancestor).is_some()
    }

    /// `label` under this name; `None` if it does not fit.
    pub fn child(&self, label: &[u8]) -> Option<Self> {
        Self::from_labels(std::iter::once(label).chain(self.labels()))
    }
}

impl<'de> Deserialize<'de> for Domain {
    /// From text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_text(&text).map_err(|error| D::Error::custom(format!("the domain `{text}`: {error}")))
    }
}

impl PartialEq for Domain {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Domain {}

impl std::hash::Hash for Domain {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.len().hash(state);
        for byte in &self.0 {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

impl fmt::Display for Domain {
    /// Presentation form without a final dot; the root is `.`; what is not plain is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == 1 {
            return f.write_str(".");
        }
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            for &byte in label {
                match byte {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => write!(f, "\\{}", char::from(byte))?,
                    b'!'..=b'~' => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Domain({self})")
    }
}

/// What follows a backslash: `DDD` or `X`, and the rest.
pub(crate) fn unescape(after: &[u8]) -> Option<(u8, &[u8])> {
    let (&first, rest) = after.split_first()?;
    if !first.is_ascii_digit() {
        return Some((first, rest));
    }
    let (digits, rest) = after.split_at_checked(3)?;
    let number = std::str::from_utf8(digits).ok()?.parse::<u8>().ok()?;
    digits.iter().all(u8::is_ascii_digit).then_some((number, rest))
}

fn push_label(wire: &mut Vec<u8>, label: &mut Vec<u8>) -> Result<(), DomainError> {
    if label.is_empty() {
        return Err(DomainError::EmptyLabel);
    }
    if label.len() > LABEL_BYTES_MAX {
        return Err(DomainError::LongLabel);
    }
    wire.push(label.len() as u8);
    wire.append(label);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_wire_and_text_again() {
        for (text, wire, printed) in [
            ("www.Example", &b"\x03www\x07Example\0"[..], "www.Example"),
            ("www.example.", b"\x03www\x07example\0", "www.example"),
            (".", b"\0", "."),
            (r"a\.b.c", b"\x03a.b\x01c\0", r"a\.b.c"),
            (r"\000\255.x", b"\x02\x00\xff\x01x\0", r"\000\255.x"),
            (r"trailing\.", b"\x09trailing.\0", r"trailing\."),
        ] {
            let domain = Domain::from_text(text).expect(text);
            assert_eq!(domain.as_wire(), wire, "{text}");
            assert_eq!(domain.to_string(), printed);
            assert_eq!(Domain::from_wire(wire).expect("wire").as_wire(), wire);
        }
    }

    #[test]
    fn text_that_is_no_name_is_refused_with_the_reason() {
        let label = "a".repeat(64);
        let long = format!("{}.xx", ["a".repeat(62), "b".repeat(62), "c".repeat(62), "d".repeat(62)].join("."));
        for (text, error) in [
            ("", DomainError::EmptyLabel),
            ("a..b", DomainError::EmptyLabel),
            (".a", DomainError::EmptyLabel),
            ("..", DomainError::EmptyLabel),
            (label.as_str(), DomainError::LongLabel),
            (long.as_str(), DomainError::Long),
            ("a\\", DomainError::Escape),
            ("a\\25", DomainError::Escape),
            ("a\\256", DomainError::Escape),
            ("a\\2+5", DomainError::Escape),
        ] {
            assert_eq!(Domain::from_text(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_name_is_within_another_only_at_a_label_boundary() {
        let origin = Domain::from_text("dialtone.alt").expect("name");
        let under = |text| {
            Domain::from_text(text)
                .expect("name")
                .left_of(&origin)
                .map(|labels| labels.concat())
        };
        assert_eq!(under("dialtone.ALT"), Some(b"".to_vec()));
        assert_eq!(under("a.b.Dialtone.alt"), Some(b"ab".to_vec()));
        assert_eq!(under("xdialtone.alt"), None);
        assert_eq!(under("alt"), None);
        // The bytes of the ancestor inside a label are not the ancestor.
        let inside = Domain::from_labels([&b"a\x08dialtone\x03alt"[..]]).expect("name");
        assert_eq!(inside.left_of(&origin), None);
    }
}
