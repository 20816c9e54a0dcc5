//! The network of `up` while it runs: a table that is drawn again and again.

use super::traffic::Seen;
use super::world::World;
use dialtone_provider::peering::ask::tally::PeerTally;
use dialtone_provider::peering::health::{LinkState, PeerStatus};
use dialtone_shared::Name;
use dialtone_shared::message::Mode;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The table, as it is now: the providers, then each link from both ends. Lines end in `\n`.
pub fn table(world: &World, seen: &[Seen]) -> String {
    let mut out = String::new();
    let number: BTreeMap<Name, usize> = world
        .providers
        .iter()
        .enumerate()
        .map(|(index, running)| (running.provider.name(), index))
        .collect();
    let statuses: Vec<BTreeMap<usize, PeerStatus>> = world
        .providers
        .iter()
        .map(|running| {
            let numbered = |peer: PeerStatus| Some((*number.get(&peer.name)?, peer));
            running.provider.peers().into_iter().filter_map(numbered).collect()
        })
        .collect();
    let _ = writeln!(
        out,
        "{:>8}  {:<22} {:>8} {:>8} {:>8} {:>8}",
        "provider", "HTTP", "names", "puts", "gets", "found"
    );
    for (index, running) in world.providers.iter().enumerate() {
        let seen = seen.get(index).copied().unwrap_or_default();
        let _ = writeln!(
            out,
            "{:>8}  {:<22} {:>8} {:>8} {:>8} {:>8}",
            index + 1,
            running.url.trim_start_matches("http://"),
            running.provider.store().count().records,
            seen.puts,
            seen.gets,
            share(seen.found, seen.gets),
        );
    }
    let _ = writeln!(
        out,
        "\n{:>8}  {:<10} {:<19} {:>11} {:>15} {:>15} {:>13} {:>11}  state",
        "link", "peers as", "pushed → / ←", "lag → / ←", "records → / ←", "bytes → / ←", "asked → / ←", "hits → / ←"
    );
    for (a, peers) in statuses.iter().enumerate() {
        let questions = world.providers[a].provider.questions();
        for (b, there) in peers.range(a + 1..) {
            let back = statuses.get(*b).and_then(|peers| peers.get(&a));
            let asked = questions.peers.get(&there.name).copied().unwrap_or_default();
            let _ = writeln!(out, "{}", link(a, *b, there, back, asked));
        }
    }
    out
}

/// One link: as its first end sees it, and what the second says of its own direction.
fn link(a: usize, b: usize, there: &PeerStatus, back: Option<&PeerStatus>, asked: PeerTally) -> String {
    let mode = |mode: Option<Mode>| mode.map_or("-", Mode::word);
    let lag = |status: Option<&PeerStatus>| status.map_or_else(|| "?".to_owned(), |status| status.progress.lag.to_string());
    let progress = &there.progress;
    let state = match (there.state, &there.last_error) {
        (LinkState::Up, _) if there.progress.received_all => "up",
        (LinkState::Up, _) => "catching up",
        (LinkState::Dialling, _) => "dialling",
        (LinkState::BackingOff | LinkState::Awaited, Some(_)) => "down",
        (LinkState::BackingOff | LinkState::Awaited, None) => "awaited",
    };
    format!(
        "{:>8}  {:<10} {:<19} {:>11} {:>15} {:>15} {:>13} {:>11}  {state}",
        format!("{} — {}", a + 1, b + 1),
        there.agreement.relationship.word(),
        format!("{} / {}", mode(there.pushes()), mode(there.accepts())),
        format!("{} / {}", lag(Some(there)), lag(back)),
        format!("{} / {}", progress.records_sent, progress.records_received),
        format!("{} / {}", bytes(progress.bytes_sent), bytes(progress.bytes_received)),
        format!("{} / {}", asked.asked, asked.served),
        format!("{} / {}", asked.hits, asked.served_hits),
    )
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
        let line = link(0, 1, &there, None, asked);
        for part in [
            "1 — 2",
            "upstream",
            "values / pointers",
            "3 / ?",
            "12 / 0",
            "12 k / 0",
            "7 / 6",
            "4 / 5",
            "  up",
        ] {
            assert!(line.contains(part), "{part:?} is not in {line}");
        }
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
