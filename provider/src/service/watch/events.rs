//! What watchers are told, as server-sent events (the HTML standard, §9.2), and the cursor that they come back with.
//!
//! ```text
//! event: put | revoke     data: {"name", "rank", "record": base64, ?"fresh": secs}    fresh: it is kept elsewhere, ask again after that
//! event: expire           data: {"name", "rank"}
//! event: absent           data: {"name"}
//! event: unknown          data: {"name", "reason"}
//! event: current          data: {"whole": bool}        all is told up to here; whether what is kept here is the newest there is
//! event: resync           data: {"reason"}             the cursor that was given says nothing here: everything is told anew
//! id: <store>.<urgent>.<ordinary>.<hearsay>            32 hexadecimal digits, three numbers
//! ```

use crate::service::media::rank_text;
use crate::store::{Cursors, LANES};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use dialtone_resolver::view::hexadecimal;
use dialtone_shared::{Name, Ttl, VerifiedRecord};

/// What is true of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Now {
    /// This record, or this revocation. It may be kept elsewhere, and for how long it may be taken for the newest: nothing is told of its next change.
    Current(VerifiedRecord, Option<Ttl>),
    /// The newest record has expired.
    Expired(VerifiedRecord),
    /// There is none.
    Absent,
    /// Nothing certain can be said. Why, in words.
    Unknown(String),
}

impl Now {
    /// The event, without its end: an id may follow.
    pub fn event(&self, name: &Name) -> Bytes {
        let text = match self {
            Self::Current(record, fresh) => {
                let kind = if record.rank().revoked { "revoke" } else { "put" };
                let mut text = String::with_capacity(256 + record.bytes().len() * 4 / 3);
                text.push_str("event: ");
                text.push_str(kind);
                text.push_str("\ndata: {\"name\":\"");
                text.push_str(&name.to_string());
                text.push_str("\",\"rank\":\"");
                text.push_str(&rank_text(record.rank()));
                text.push_str("\",\"record\":\"");
                BASE64.encode_string(record.bytes(), &mut text);
                text.push('"');
                if let Some(Ttl(secs)) = fresh {
                    text.push_str(&format!(",\"fresh\":{secs}"));
                }
                text.push_str("}\n");
                text
            }
            Self::Expired(record) => format!(
                "event: expire\ndata: {{\"name\":\"{name}\",\"rank\":\"{}\"}}\n",
                rank_text(record.rank())
            ),
            Self::Absent => format!("event: absent\ndata: {{\"name\":\"{name}\"}}\n"),
            Self::Unknown(reason) => {
                let data = serde_json::json!({"name": name.to_string(), "reason": reason});
                format!("event: unknown\ndata: {data}\n")
            }
        };
        Bytes::from(text)
    }
}

/// Everything up to the cursor that follows has been told.
pub fn current(whole: bool) -> String {
    format!("event: current\ndata: {{\"whole\":{whole}}}\n")
}

/// The cursor that was given says nothing here.
pub fn resync(reason: &str) -> String {
    format!("event: resync\ndata: {}\n\n", serde_json::json!({ "reason": reason }))
}

/// A cursor as the id of an event.
pub fn id(store: &[u8; 16], cursors: Cursors) -> String {
    let [urgent, ordinary, hearsay] = cursors;
    format!("id: {}.{urgent}.{ordinary}.{hearsay}\n", hexadecimal(store))
}

/// Where in the change log of `store` a watcher left off, which is now at `heads`.
///
/// # Errors
/// Why the cursor says nothing here, in words.
pub fn resume(text: &str, store: &[u8; 16], heads: Cursors, changes_max: u64) -> Result<Cursors, &'static str> {
    let mut parts = text.split('.');
    let theirs = parts.next().unwrap_or_default();
    let mut cursors = [0; LANES];
    for cursor in &mut cursors {
        *cursor = parts
            .next()
            .and_then(|part| part.parse().ok())
            .ok_or("the cursor is none of ours")?;
    }
    if parts.next().is_some() {
        return Err("the cursor is none of ours");
    }
    if theirs != hexadecimal(store) {
        return Err("the cursor is of another store");
    }
    let mut behind = 0_u64;
    for (head, cursor) in heads.iter().zip(&cursors) {
        let by = head.checked_sub(*cursor).ok_or("the cursor is ahead of this store")?;
        behind = behind.saturating_add(by);
    }
    if behind > changes_max {
        return Err("the cursor is too old: too much has changed since");
    }
    Ok(cursors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_says_where_to_go_on_only_in_the_store_that_gave_it() {
        let store = [7; 16];
        let text = id(&store, [1, 20, 3]);
        let text = text.trim_end().strip_prefix("id: ").unwrap();
        assert_eq!(resume(text, &store, [1, 25, 3], 5), Ok([1, 20, 3]));
        assert!(resume(text, &store, [1, 26, 3], 5).unwrap_err().contains("too old"));
        assert!(resume(text, &store, [0, 25, 3], 5).unwrap_err().contains("ahead"));
        assert!(resume(text, &[8; 16], [1, 25, 3], 5).unwrap_err().contains("another store"));
        for odd in [
            "",
            "x",
            "1.2.3",
            &format!("{text}.1"),
            &text.replace(".20.", ".-20."),
            &text.replace(".3", ".99999999999999999999"),
        ] {
            assert!(resume(odd, &store, [9, 99, 9], 1_000).is_err(), "{odd:?}");
        }
    }
}
