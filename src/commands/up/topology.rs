//! Who peers with whom in `up`, and as what.

use clap::ValueEnum;
use dialtone_shared::message::Relationship;

/// The shape of the network.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Topology {
    /// Everybody with everybody.
    #[default]
    Mesh,
    /// Everybody with the next, and the last with the first.
    Ring,
    /// Everybody with the first.
    Star,
    /// Everybody with the next.
    Line,
    /// Providers at the top that peer with one another, customers of theirs, and customers of those: what comes from
    /// customers goes to all, all else to customers only.
    Transit,
}

/// One link of the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair {
    /// Who dials: it is started later.
    pub dials: usize,
    /// Who is dialled.
    pub dialled: usize,
    /// What the dialled one is to the other.
    pub as_what: Relationship,
}

impl Topology {
    /// The links between `count` providers; every provider has at least one, and any two are connected.
    pub fn pairs(self, count: usize) -> Vec<Pair> {
        let mutual = |dialled: usize, dials: usize| Pair {
            dials,
            dialled,
            as_what: Relationship::Mutual,
        };
        match self {
            Self::Mesh => (0..count).flat_map(|a| (a + 1..count).map(move |b| mutual(a, b))).collect(),
            Self::Line => (1..count).map(|b| mutual(b - 1, b)).collect(),
            // Two providers have one link, however round.
            Self::Ring => (1..count)
                .map(|b| mutual(b - 1, b))
                .chain((count > 2).then(|| mutual(0, count - 1)))
                .collect(),
            Self::Star => (1..count).map(|b| mutual(0, b)).collect(),
            Self::Transit => transit(count),
        }
    }
}

/// The first quarter, but at least two where there are three or more, are at the top; each later one is a customer of one before it,
/// so that chains of customers form.
fn transit(count: usize) -> Vec<Pair> {
    let top = (count / 4).max(2).min(count - 1);
    let peers = (0..top).flat_map(|a| {
        (a + 1..top).map(move |b| Pair {
            dials: b,
            dialled: a,
            as_what: Relationship::Peer,
        })
    });
    let customers = (top..count).map(|b| Pair {
        dials: b,
        dialled: b - top,
        as_what: Relationship::Upstream,
    });
    peers.chain(customers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_connects_all_and_no_two_twice() {
        for shape in Topology::value_variants() {
            for count in 2..=16 {
                let pairs = shape.pairs(count);
                let mut reached = vec![false; count];
                reached[0] = true;
                for _ in 0..count {
                    for pair in &pairs {
                        let either = reached[pair.dials] || reached[pair.dialled];
                        (reached[pair.dials], reached[pair.dialled]) = (either, either);
                    }
                }
                assert!(reached.iter().all(|one| *one), "{shape:?} of {count}");
                assert!(pairs.iter().all(|pair| pair.dialled < pair.dials), "whoever dials is started later");
                let mut ends: Vec<_> = pairs.iter().map(|pair| (pair.dialled, pair.dials)).collect();
                ends.sort_unstable();
                ends.dedup();
                assert_eq!(ends.len(), pairs.len(), "{shape:?} of {count}");
            }
        }
    }

    #[test]
    fn transit_has_a_top_that_peers_and_customers_below_customers() {
        let pairs = Topology::Transit.pairs(8);
        let of = |as_what| pairs.iter().filter(|pair| pair.as_what == as_what).count();
        assert_eq!(
            (of(Relationship::Peer), of(Relationship::Upstream), of(Relationship::Mutual)),
            (1, 6, 0)
        );
        assert!(pairs.iter().any(|pair| pair.dialled >= 2), "some are customers of customers");
        assert_eq!(Topology::Transit.pairs(2).len(), 1);
    }
}
