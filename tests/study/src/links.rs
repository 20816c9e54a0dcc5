//! How the links of simulated providers stand: what each has told its peers of whom it would ask, and what follows for it.

use dialtone_provider::peering::agreement::Agreement;
pub use dialtone_provider::peering::ask::neighbours::Neighbours;
use dialtone_provider::peering::ask::reach;
use dialtone_provider::peering::health::{LinkState, PeerStatus, Progress};
use dialtone_shared::Name;
use dialtone_shared::message::{Reach, Terms};
use dialtone_world::World;
use std::collections::HashMap;

/// How the links of every provider stand once all have told each other whom they would ask.
pub fn settled(world: &World, numbers: &HashMap<Name, usize>) -> Vec<Neighbours> {
    let nodes = &world.nodes;
    let mut told: HashMap<(Name, Name), Reach> = HashMap::new();
    for node in nodes {
        let unknown = reach::unknown(&node.agreements);
        for (peer, agreement) in node.agreements.iter() {
            told.insert((node.name, *peer), reach::told(peer, agreement.relationship, &unknown));
        }
    }
    let mut neighbours = vec![Neighbours::default(); nodes.len()];
    // Distances grow by one a round, and end at 16.
    for _ in 0..=dialtone_shared::message::WHOLE {
        let mut news = HashMap::new();
        for (node, seen) in nodes.iter().zip(&mut neighbours) {
            let status = |(peer, agreement): (&Name, &_)| status(world, numbers, node.name, *peer, agreement, &told);
            let statuses: Vec<_> = node.agreements.iter().map(status).collect();
            seen.look(world.now, &statuses);
            let inbound = seen.inbound();
            for (peer, agreement) in node.agreements.iter() {
                news.insert((node.name, *peer), reach::told(peer, agreement.relationship, &inbound));
            }
        }
        if news == told {
            break;
        }
        told = news;
    }
    neighbours
}

fn status(
    world: &World,
    numbers: &HashMap<Name, usize>,
    own: Name,
    peer: Name,
    agreement: &Agreement,
    told: &HashMap<(Name, Name), Reach>,
) -> PeerStatus {
    let theirs = numbers.get(&peer).and_then(|peer| world.nodes[*peer].agreements.get(&own));
    let terms = theirs.map(|theirs| Terms {
        pushes: theirs.push,
        accepts: theirs.accept,
        answers: theirs.answers,
        reach: told.get(&(peer, own)).cloned().unwrap_or_default(),
        ..Terms::mutual()
    });
    PeerStatus {
        name: peer,
        agreement: agreement.clone(),
        theirs: terms,
        state: LinkState::Up,
        address: None,
        last_error: None,
        progress: Progress {
            received_all: true,
            ..Progress::default()
        },
        brought: Default::default(),
        links: Vec::new(),
    }
}
