//! What somebody asks to watch: `NAME` or `NAME,RANK`, in the query or a line each in a body.

use crate::service::Refusal;
use crate::settings::WATCH_NAMES_MAX;
use dialtone_shared::{Name, Rank};
use std::collections::HashMap;

/// The names, each with the rank that is known of it, if any.
pub type Wanted = HashMap<Name, Option<Rank>>;

/// Reads `name=NAME&name=NAME,RANK`.
///
/// # Errors
/// [`Refusal`].
pub fn of_query(query: &str) -> Result<Wanted, Refusal> {
    let mut wanted = Wanted::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some(("name", value)) = pair.split_once('=') else {
            return Err(Refusal::Watch(format!("{pair:?} is not name=NAME")));
        };
        add(
            &mut wanted,
            &value
                .replace("%2C", ",")
                .replace("%2c", ",")
                .replace("%3A", ":")
                .replace("%3a", ":"),
        )?;
    }
    some(wanted)
}

/// Reads a line for each name.
///
/// # Errors
/// [`Refusal`].
pub fn of_body(body: &[u8]) -> Result<Wanted, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal::Watch("the body is not text".to_owned()))?;
    let mut wanted = Wanted::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        add(&mut wanted, line)?;
    }
    some(wanted)
}

fn add(wanted: &mut Wanted, text: &str) -> Result<(), Refusal> {
    let (name, rank) = match text.split_once(',') {
        Some((name, rank)) => {
            let rank = rank.parse().map_err(|_| Refusal::Watch(format!("{rank:?} is not a rank")))?;
            (name, Some(rank))
        }
        None => (text, None),
    };
    let name = name.parse().map_err(Refusal::NotAName)?;
    if wanted.len() >= WATCH_NAMES_MAX && !wanted.contains_key(&name) {
        return Err(Refusal::WatchMax(WATCH_NAMES_MAX));
    }
    wanted.insert(name, rank);
    Ok(())
}

fn some(wanted: Wanted) -> Result<Wanted, Refusal> {
    if wanted.is_empty() {
        return Err(Refusal::Watch(
            "it names none: write /v1/watch?name=NAME&name=NAME, or post a line for each".to_owned(),
        ));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_shared::UnixMicros;

    #[test]
    fn names_are_read_from_a_query_and_from_lines_alike() {
        let (one, two) = (Name::key_set([1; 32]), Name::key_set([2; 32]));
        let rank = Rank {
            epoch: 1,
            revoked: false,
            sequence: UnixMicros(7),
            digest: [9; 32],
        };
        let query = of_query(&format!("name={one}&name={two},{rank}&name={one}")).unwrap();
        let escaped = of_query(&format!("name={}&name={two}%2C{rank}", one.to_uri().replace(':', "%3A"))).unwrap();
        let body = of_body(format!("{one}\r\n\n {two},{rank}\n").as_bytes()).unwrap();
        assert_eq!(query, Wanted::from([(one, None), (two, Some(rank))]));
        assert_eq!((&escaped, &body), (&query, &query));
    }

    #[test]
    fn what_is_no_list_of_names_is_told_so() {
        let name = Name::key_set([1; 32]);
        for query in [
            "",
            "&",
            "name",
            "name=",
            "name=x",
            "of=x",
            &format!("name={name},1.2"),
            &format!("name={name},"),
        ] {
            assert!(of_query(query).is_err(), "{query:?}");
        }
        assert!(of_body(b"\n\n").is_err() && of_body(&[0xff]).is_err());
        let many: String = (0..=WATCH_NAMES_MAX as u64)
            .map(|number| {
                let mut bytes = [0; 32];
                bytes[..8].copy_from_slice(&number.to_be_bytes());
                format!("{}\n", Name::key_set(bytes))
            })
            .collect();
        assert!(matches!(of_body(many.as_bytes()), Err(Refusal::WatchMax(_))));
    }
}
