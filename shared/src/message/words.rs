//! The words that two providers agree in: what one is to the other, and in what form changes are pushed.

use std::fmt;
use std::str::FromStr;

/// What a provider is to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Relationship {
    /// Everything is passed on, both ways: any connected graph is coherent.
    Mutual = 1,
    /// It is our customer: it hears everything, and what it says goes to everyone.
    Customer = 2,
    /// It is our upstream: it hears what customers say, and what it says goes to customers.
    Upstream = 3,
    /// It is our peer: as an upstream, without either paying.
    Peer = 4,
    /// It is another node of ourselves: the same name and identity, another store. Everything is passed on as it was learnt.
    Sibling = 5,
}

/// In what form changes are pushed, from the least that the receiver learns to the most. What both sides allow is the
/// lesser of what one pushes and the other accepts. Whatever the mode, revocations and records that prove a later key
/// epoch go by value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Mode {
    /// Not at all: the receiver asks.
    None = 0,
    /// A compact filter of the names that are held now and then, and the names since in between.
    Digest = 1,
    /// Name, rank and keeper of each record.
    Pointers = 2,
    /// Whole records.
    Values = 3,
}

impl Relationship {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Mutual, Self::Customer, Self::Upstream, Self::Peer, Self::Sibling];

    /// What the other side must call it.
    pub fn mirrored(self) -> Self {
        match self {
            Self::Mutual => Self::Mutual,
            Self::Customer => Self::Upstream,
            Self::Upstream => Self::Customer,
            Self::Peer => Self::Peer,
            Self::Sibling => Self::Sibling,
        }
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|one| *one as u64 == number)
    }

    /// The word that settings use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mutual => "mutual",
            Self::Customer => "customer",
            Self::Upstream => "upstream",
            Self::Peer => "peer",
            Self::Sibling => "sibling",
        }
    }
}

impl Mode {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::None, Self::Digest, Self::Pointers, Self::Values];

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|one| *one as u64 == number)
    }

    /// The word that settings use.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Digest => "digest",
            Self::Pointers => "pointers",
            Self::Values => "values",
        }
    }
}

/// The word is not one of those that settings know.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{found:?} is not one of {known}")]
pub struct WordError {
    found: String,
    known: &'static str,
}

impl FromStr for Relationship {
    type Err = WordError;

    /// Reads the word that settings use.
    fn from_str(text: &str) -> Result<Self, WordError> {
        let known = "mutual, customer, upstream, peer, sibling";
        let found = Self::ALL.into_iter().find(|one| one.word() == text);
        found.ok_or_else(|| WordError {
            found: text.to_owned(),
            known,
        })
    }
}

impl FromStr for Mode {
    type Err = WordError;

    /// Reads the word that settings use.
    fn from_str(text: &str) -> Result<Self, WordError> {
        let known = "none, digest, pointers, values";
        let found = Self::ALL.into_iter().find(|one| one.word() == text);
        found.ok_or_else(|| WordError {
            found: text.to_owned(),
            known,
        })
    }
}

impl fmt::Display for Relationship {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_settings_read_back() {
        for one in Relationship::ALL {
            assert_eq!(one.to_string().parse(), Ok(one));
            assert_eq!(one.mirrored().mirrored(), one);
        }
        for one in Mode::ALL {
            assert_eq!(one.to_string().parse(), Ok(one));
        }
        assert!("friend".parse::<Relationship>().is_err());
    }
}
