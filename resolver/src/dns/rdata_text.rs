//! RDATA as people write it, into wire form with names uncompressed (RFC 1035 §5.1, RFC 3597 §5).

use crate::dns::domain::Domain;

/// Why text is not RDATA. The writer's turn.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RdataTextError {
    /// A type without a name here.
    #[error("type {0:?} is not known: write TYPE and its number, and the data as `\\# <length> <hex>`")]
    UnknownType(String),
    /// Data that is not of its type.
    #[error("{0}")]
    Data(String),
}

/// The number of a type's mnemonic, in any case: `A`, `TXT`, `TYPE65280`.
///
/// # Errors
/// [`RdataTextError::UnknownType`].
pub fn type_from_text(text: &str) -> Result<u16, RdataTextError> {
    Err(RdataTextError::UnknownType(text.to_owned()))
}

/// The wire form of `text`, data of type `kind`; names that do not end in a dot are under `origin`.
///
/// # Errors
/// [`RdataTextError::Data`].
pub fn rdata_from_text(kind: u16, text: &str, origin: &Domain) -> Result<Vec<u8>, RdataTextError> {
    let _ = (kind, text, origin);
    Err(RdataTextError::Data("not read yet".to_owned()))
}
