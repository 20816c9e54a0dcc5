//! The network of `up` while it runs: a table that is drawn again and again.

use super::traffic::Seen;
use super::world::World;
use dialtone_provider::peering::ask::tally::PeerTally;
use dialtone_provider::peering::health::{LinkState, PeerStatus};
use dialtone_shared::Name;
use dialtone_shared::message::Mode;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The table, as it is now: the providers, then each link from both ends. Lines end in `\n`. In a terminal it fits on the screen: what is least
/// worth seeing is left out, and that is said.
pub fn table(world: &World, seen: &[Seen], screen: Option<Screen>) -> String {
    let numbers: BTreeMap<Name, usize> = world
        .providers
        .iter()
        .enumerate()
        .map(|(at, running)| (running.provider.name(), at))
        .collect();
    let statuses: Vec<BTreeMap<usize, PeerStatus>> = world
        .providers
        .iter()
        .map(|running| {
            let numbered = |peer: PeerStatus| Some((*numbers.get(&peer.name)?, peer));
            running.provider.peers().into_iter().filter_map(numbered).collect()
        })
        .collect();
    let mut providers = vec![PROVIDER_COLUMNS.map(|(head, _)| head.to_owned())];
    for (index, running) in world.providers.iter().enumerate() {
        let seen = seen.get(index).copied().unwrap_or_default();
        providers.push([
            (index + 1).to_string(),
            running.url.trim_start_matches("http://").to_owned(),
            running.provider.store().count().records.to_string(),
            seen.puts.to_string(),
            seen.gets.to_string(),
            share(seen.found, seen.gets),
        ]);
    }
    let mut links = Vec::new();
    for (a, peers) in statuses.iter().enumerate() {
        let questions = world.providers[a].provider.questions();
        for (b, there) in peers.range(a + 1..) {
            let back = statuses.get(*b).and_then(|peers| peers.get(&a));
            let asked = questions.peers.get(&there.name).copied().unwrap_or_default();
            links.push(link(a, *b, there, back, asked));
        }
    }
    let columns = screen.map_or(usize::MAX, |screen| screen.columns);
    let mut lines: Vec<String> = providers
        .iter()
        .map(|row| drawn(row, PROVIDER_COLUMNS.map(|(_, width)| width), columns))
        .collect();
    lines.push(String::new());
    lines.push(drawn(&LINK_COLUMNS.map(|(head, _)| head.to_owned()), LINK_WIDTHS, columns));
    let rows = screen.map_or(usize::MAX, |screen| screen.rows.saturating_sub(lines.len()));
    let (shown, others) = fitting(links, rows);
    lines.extend(shown.iter().map(|row| drawn(row, LINK_WIDTHS, columns)));
    lines.extend(others);
    if let Some(screen) = screen {
        lines.truncate(screen.rows);
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// How much a terminal shows, in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Screen {
    /// Side by side.
    pub columns: usize,
    /// One below the other.
    pub rows: usize,
}

/// A line of the table of links, in the order of [`LINK_COLUMNS`].
type Row = [String; LINK_COLUMNS.len()];

/// The links for which there is room, those that are not well first, and a line about the others.
fn fitting(links: Vec<Row>, rows: usize) -> (Vec<Row>, Option<String>) {
    if links.len() <= rows {
        return (links, None);
    }
    let (well, mut shown): (Vec<Row>, Vec<Row>) = links.into_iter().partition(|row| row[STATE] == UP);
    let count = shown.len() + well.len();
    shown.extend(well);
    shown.truncate(rows.saturating_sub(1));
    // As they are known: by the numbers of their ends.
    shown.sort_by_cached_key(|row| row[0].split(" — ").map(|end| end.parse().unwrap_or(usize::MAX)).collect::<Vec<_>>());
    let left_out = count - shown.len();
    (
        shown,
        Some(format!(
            "         … and {left_out} more links: in a higher window there is room for them"
        )),
    )
}

/// A row in columns of these widths, as many of them as there is room for.
fn drawn<const N: usize>(row: &[String; N], widths: [usize; N], columns: usize) -> String {
    let mut line = String::new();
    let mut end = 0;
    for (cell, width) in row.iter().zip(widths) {
        end += width + 2;
        if end > columns {
            break;
        }
        let _ = write!(line, "{cell:>width$}  ");
    }
    line.trim_end().to_owned()
}

/// One link: as its first end sees it, and what the second says of its own direction.
fn link(a: usize, b: usize, there: &PeerStatus, back: Option<&PeerStatus>, asked: PeerTally) -> Row {
    let mode = |mode: Option<Mode>| mode.map_or("-", Mode::word);
    let lag = |status: Option<&PeerStatus>| status.map_or_else(|| "?".to_owned(), |status| status.progress.lag.to_string());
    let progress = &there.progress;
    let state = match (there.state, &there.last_error) {
        (LinkState::Up, _) if there.progress.received_all => UP,
        (LinkState::Up, _) => "catching up",
        (LinkState::Dialling, _) => "dialling",
        (LinkState::BackingOff | LinkState::Awaited, Some(_)) => "down",
        (LinkState::BackingOff | LinkState::Awaited, None) => "awaited",
    };
    [
        format!("{} — {}", a + 1, b + 1),
        there.agreement.relationship.word().to_owned(),
        state.to_owned(),
        format!("{} / {}", mode(there.pushes()), mode(there.accepts())),
        format!("{} / {}", lag(Some(there)), lag(back)),
        format!("{} / {}", asked.hits, asked.served_hits),
        format!("{} / {}", asked.asked, asked.served),
        format!("{} / {}", progress.records_sent, progress.records_received),
        format!("{} / {}", bytes(progress.bytes_sent), bytes(progress.bytes_received)),
    ]
}

fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        whole => format!("{}%", part * 100 / whole),
    }
}

/// Bytes as people read them, in powers of ten.
fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => bytes.to_string(),
        10_000..10_000_000 => format!("{} k", bytes / 1_000),
        _ => format!("{} M", bytes / 1_000_000),
    }
}

/// What is told of a provider, and how wide.
const PROVIDER_COLUMNS: [(&str, usize); 6] = [("provider", 8), ("HTTP", 21), ("names", 8), ("puts", 8), ("gets", 8), ("found", 6)];
/// What is told of a link, and how wide: what tells most first, since a narrow terminal has no room for the last.
const LINK_COLUMNS: [(&str, usize); 9] = [
    ("link", 7),
    ("peers as", 8),
    ("state", 11),
    ("pushed → / ←", 19),
    ("lag → / ←", 9),
    ("hits → / ←", 11),
    ("asked → / ←", 13),
    ("records → / ←", 15),
    ("bytes → / ←", 15),
];
const LINK_WIDTHS: [usize; LINK_COLUMNS.len()] = {
    let mut widths = [0; LINK_COLUMNS.len()];
    let mut column = 0;
    while column < widths.len() {
        widths[column] = LINK_COLUMNS[column].1;
        column += 1;
    }
    widths
};
/// The column of a link's state.
const STATE: usize = 2;
/// The state of a link that is well.
const UP: &str = "up";

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_provider::peering::agreement::Agreement;
    use dialtone_provider::peering::health::Progress;
    use dialtone_shared::message::{Relationship, Terms};

    #[test]
    fn a_link_is_one_line_with_both_directions() {
        let peer = Name::key_set([1; 32]);
        let there = PeerStatus {
            brought: Default::default(),
            links: Vec::new(),
            name: peer,
            agreement: Agreement {
                relationship: Relationship::Upstream,
                ..Agreement::mutual(peer, Vec::new())
            },
            theirs: Some(Terms {
                pushes: Mode::Pointers,
                ..Terms::mutual()
            }),
            state: LinkState::Up,
            address: None,
            last_error: None,
            last_code: None,
            progress: Progress {
                lag: 3,
                records_sent: 12,
                bytes_sent: 12_345,
                received_all: true,
                ..Progress::default()
            },
        };
        let asked = PeerTally {
            asked: 7,
            hits: 4,
            served: 6,
            served_hits: 5,
            ..PeerTally::default()
        };
        let line = drawn(&link(0, 1, &there, None, asked), LINK_WIDTHS, usize::MAX);
        for part in [
            "1 — 2",
            "upstream",
            "values / pointers",
            "3 / ?",
            "12 / 0",
            "12 k / 0",
            "7 / 6",
            "4 / 5",
            "up",
        ] {
            assert!(line.contains(part), "{part:?} is not in {line}");
        }
    }

    #[test]
    fn on_a_small_screen_stands_what_somebody_should_look_at() {
        let row = |b: usize, state: &str| {
            let mut row = [const { String::new() }; LINK_COLUMNS.len()];
            (row[0], row[STATE]) = (format!("1 — {b}"), state.to_owned());
            row
        };
        let links: Vec<Row> = (2..=11).map(|b| row(b, if b == 9 { "down" } else { UP })).collect();
        assert_eq!(fitting(links.clone(), 10), (links.clone(), None));
        let (shown, others) = fitting(links.clone(), 4);
        let ends: Vec<&str> = shown.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(ends, ["1 — 2", "1 — 3", "1 — 9"]);
        assert!(others.unwrap().contains("7 more links"));
        assert!(fitting(links, 0).0.is_empty());
        // No line is wider than the screen, and no column is cut in two.
        let heads = LINK_COLUMNS.map(|(head, _)| head.to_owned());
        for columns in 0..200 {
            let line = drawn(&heads, LINK_WIDTHS, columns);
            assert!(line.chars().count() <= columns, "{columns}: {line}");
            assert!(
                heads
                    .iter()
                    .all(|head| !line.contains(head.split(' ').next().unwrap()) || line.contains(head.as_str()))
            );
        }
        assert!(
            drawn(&heads, LINK_WIDTHS, 80).contains("hits → / ←"),
            "an ordinary terminal has room for the hits"
        );
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            ["0", "9999", "10 k", "10 M"],
            [0, 9_999, 10_000, 10_000_000].map(bytes).each_ref().map(String::as_str)
        );
        assert_eq!((share(1, 0), share(1, 2)), ("-".to_owned(), "50%".to_owned()));
    }
}
