//! Over which links records go at once between mutual peers, and over which they are only offered.
//!
//! Where all are linked with all, a record that each passes on to everyone crosses nearly every link, though one way to each provider would
//! do. So mutual peers agree on a tree, as bridges do (IEEE 802.1D): each tells each which root it believes in, the smallest it was told of, and how far off
//! that is, and has one parent, by whom the way there is the shortest. A link between a child and its parent is a *branch*: records go
//! over it at once. Over the others they are offered after a while ([`super::feed`]), and whoever lacks one asks for it. So nothing depends on the tree but
//! how soon and how often something is told: where it is torn, or somebody lies about it, offers bring what it does not.
//!
//! What is told in a circle of a root that is gone ends at [`BRANCH_DISTANCE_MAX`]. Until a peer has told where it stands, and while the two believe in different
//! roots, records go at once.

use dialtone_shared::message::{BRANCH_DISTANCE_MAX, Branch};
use std::collections::BTreeMap;

/// What the peers say of where they stand, by the ids of their stores: those with whom everything is exchanged by value, both ways.
pub type Branches = BTreeMap<[u8; 16], Branch>;

/// Where we stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    root: u64,
    distance: u8,
    parent: Option<[u8; 16]>,
}

impl Place {
    /// That of the provider with the store `own`, among those who say this.
    pub fn among(own: &[u8; 16], branches: &Branches) -> Self {
        let ourselves = (root_of(own), 0, None);
        let by = |(store, told): (&[u8; 16], &Branch)| {
            // Who stands on our shoulders leads nowhere but to us.
            let leads = !told.parent && told.distance < BRANCH_DISTANCE_MAX;
            leads.then_some((told.root, told.distance + 1, Some(*store)))
        };
        let best = branches.iter().filter_map(by).chain([ourselves]).min();
        let (root, distance, parent) = best.unwrap_or(ourselves);
        Self { root, distance, parent }
    }

    /// What the peer with that store is told.
    pub fn told(&self, peer: &[u8; 16]) -> Branch {
        Branch {
            root: self.root,
            distance: self.distance,
            parent: self.parent.as_ref() == Some(peer),
        }
    }

    /// Whether records are only offered to the peer with that store, which says this.
    pub fn only_offers(&self, peer: &[u8; 16], told: &Branch) -> bool {
        told.root == self.root && !told.parent && self.parent.as_ref() != Some(peer)
    }
}

/// What stands for a provider as a root.
fn root_of(store: &[u8; 16]) -> u64 {
    store.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> [u8; 16] {
        [number as u8 + 1; 16]
    }

    /// Everyone tells its neighbours until nothing changes: the places, and after how many rounds.
    fn settle(
        count: usize,
        links: &[(usize, usize)],
        mut told: BTreeMap<(usize, usize), Branch>,
    ) -> (Vec<Place>, BTreeMap<(usize, usize), Branch>, usize) {
        let ways: Vec<_> = links.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
        told.retain(|way, _| ways.contains(way));
        for round in 0..100 {
            let place = |node: usize| {
                let heard = told.iter().filter(|((_, to), _)| *to == node);
                Place::among(&id(node), &heard.map(|((from, _), branch)| (id(*from), *branch)).collect())
            };
            let places: Vec<_> = (0..count).map(place).collect();
            let next: BTreeMap<_, _> = ways.iter().map(|(from, to)| ((*from, *to), places[*from].told(&id(*to)))).collect();
            if next == told {
                return (places, told, round);
            }
            told = next;
        }
        panic!("it does not settle")
    }

    /// The links over which records go at once.
    fn branches(links: &[(usize, usize)], places: &[Place], told: &BTreeMap<(usize, usize), Branch>) -> Vec<(usize, usize)> {
        let at_once = |(a, b): &&(usize, usize)| {
            let one = !places[*a].only_offers(&id(*b), &told[&(*b, *a)]);
            assert_eq!(one, !places[*b].only_offers(&id(*a), &told[&(*a, *b)]), "both ends see the same");
            one
        };
        links.iter().filter(at_once).copied().collect()
    }

    /// How many providers are reached from the first over these links.
    fn reached(links: &[(usize, usize)]) -> usize {
        let mut seen = vec![0];
        for at in 0.. {
            let Some(node) = seen.get(at).copied() else { break };
            for (a, b) in links.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]) {
                if a == node && !seen.contains(&b) {
                    seen.push(b);
                }
            }
        }
        seen.len()
    }

    fn mesh(count: usize) -> Vec<(usize, usize)> {
        (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect()
    }

    fn ring(count: usize) -> Vec<(usize, usize)> {
        (0..count).map(|a| (a, (a + 1) % count)).collect()
    }

    #[test]
    fn whatever_the_links_are_what_goes_at_once_reaches_all_over_one_link_less_than_there_are_providers() {
        let grid: Vec<_> = (0..16)
            .flat_map(|a| [(a, a + 4), (a, a + 1)])
            .filter(|(a, b)| *b < 16 && (b - a == 4 || b % 4 != 0))
            .collect();
        for (count, links) in [(2, mesh(2)), (8, mesh(8)), (16, mesh(16)), (9, ring(9)), (16, grid)] {
            let (places, told, _) = settle(count, &links, BTreeMap::new());
            let at_once = branches(&links, &places, &told);
            assert_eq!((at_once.len(), reached(&at_once)), (count - 1, count), "{links:?}");
        }
    }

    #[test]
    fn where_all_are_linked_nobody_is_more_than_two_links_away() {
        let (places, ..) = settle(8, &mesh(8), BTreeMap::new());
        assert!(places.iter().all(|place| place.distance <= 1));
    }

    #[test]
    fn a_root_that_is_gone_is_forgotten_and_the_rest_finds_another() {
        let links = mesh(6);
        let (_, told, _) = settle(6, &links, BTreeMap::new());
        let left: Vec<_> = links.into_iter().filter(|(a, _)| *a != 0).map(|(a, b)| (a - 1, b - 1)).collect();
        // The same providers under other numbers.
        let told = told.into_iter().filter(|((a, b), _)| *a != 0 && *b != 0);
        let told = told.map(|((a, b), branch)| ((a - 1, b - 1), branch)).collect();
        let (places, told, rounds) = settle(5, &left, told);
        assert!(rounds <= usize::from(BRANCH_DISTANCE_MAX) + 4, "{rounds} rounds");
        assert_eq!(branches(&left, &places, &told).len(), 4);
    }

    #[test]
    fn who_believes_in_another_root_is_told_at_once() {
        let place = Place::among(&id(0), &BTreeMap::new());
        let told = |root, parent| Branch { root, distance: 1, parent };
        assert!(place.only_offers(&id(1), &told(root_of(&id(0)), false)));
        assert!(!place.only_offers(&id(1), &told(root_of(&id(0)), true)), "it stands on us");
        assert!(!place.only_offers(&id(1), &told(0, false)));
    }
}
