//! What each provider would store of the whole trace, in each form: computed from the sizes of one record, one pointer and one digest, since
//! parts of the trace have so few names that digests are mostly empty.

use crate::figures::{Form, Stored};
use crate::names;
use crate::trace::NAMES;
use dialtone_provider::peering::digest::Digest;
use dialtone_shared::message::Mention;
use dialtone_shared::{Name, Ttl, UnixMicros};

/// What a pointer takes in the embedded store: its row, with a tag, and the row's key.
pub const POINTER_BYTES: usize = 55 + 3 * Name::BYTES + 12;

/// For each number of providers that are all linked and share the names evenly.
///
/// # Errors
/// A record cannot be signed.
pub fn stored(providers: impl IntoIterator<Item = usize>) -> Result<Vec<Stored>, crate::Error> {
    let record = names::record(0, UnixMicros(BEGIN_SECS * 1_000_000), Ttl(60))?.bytes().len();
    let of = |providers: usize| {
        let own = NAMES / providers;
        let mentions: Vec<_> = (0..own as u64).map(|name| Mention { name, tag: Some(!name) }).collect();
        let digest = Digest::of(0, &mentions).size_bytes();
        let bytes = Form::ALL.map(|form| match form {
            Form::Values => NAMES * record,
            Form::Pointers => own * record + (NAMES - own) * POINTER_BYTES,
            Form::Digest => own * record + (providers - 1) * digest,
            Form::None => own * record,
        });
        Stored { providers, bytes }
    };
    Ok(providers.into_iter().map(of).collect())
}

/// A time at which records may be signed, in seconds since 1970.
const BEGIN_SECS: u64 = 1_800_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_stores_most_where_records_are_pushed_and_least_where_nothing_is() {
        for Stored { bytes, .. } in stored([2, 16, 100]).expect("sizes") {
            let [values, pointers, digest, none] = bytes;
            assert!(none < digest && digest < values && digest < pointers, "{bytes:?}");
        }
    }
}
