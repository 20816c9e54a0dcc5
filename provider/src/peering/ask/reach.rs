//! What lies behind a peer: whom it would have to ask itself, and how far off there is somebody who has to ask.
//!
//! A provider tells each peer what the peer cannot see. Let B tell A. `asks` are those, other than A, who push less to B than the
//! names they hold with their ranks: a digest, or nothing. The others push values or pointers, and what they know B knows; but
//! behind them may be one who has to ask, and B with it: `partial` is the distance to the nearest such provider, counted over
//! those links alone. As in any distance-vector protocol (RIP, RFC 2453) it is one more than the least that B is told, what is
//! told to A is computed without A, and 16 is without end: what is told in a circle of somebody who is gone ends after 16 rounds.
//!
//! Where an agreement lets only some names pass, what was not told may be what was kept back: `filtered` is the distance to the nearest provider
//! with such a link, told in the same way. It concerns absences alone: what is held and may pass is pushed as before.
//!
//! Nodes of one provider, who know of each other what each lacks, use the same number for it: a node that has not heard everything of its
//! provider tells the others 0. Then what it has told them is not all that there is: see [`lacks`].
//!
//! To err on one side costs a question too many. To err on the other is not allowed, so a provider of which nothing is known is one
//! that has to ask.

use super::whom::Behalf;
use crate::peering::agreement::{Agreement, Agreements};
use dialtone_shared::Name;
use dialtone_shared::message::{Mode, REACH_MAX, Reach, Relationship, WHOLE, mark};
use std::sync::Arc;

/// A peer of ours, as far as it concerns what we tell the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inbound {
    /// Who.
    pub peer: Name,
    /// What it is to us.
    pub relationship: Relationship,
    /// What it pushes to us in effect.
    pub mode: Mode,
    /// Whether it is asked: the agreements of both sides let us.
    pub asked: bool,
    /// Whether a filter of either side may keep from us what it holds.
    pub filtered: bool,
    /// What it tells us; `None`: nothing yet.
    pub reach: Option<Reach>,
    /// It is another node of ours, and we may lack what our provider holds.
    pub lacked: bool,
}

/// What is known of peers before anything was heard of them: nothing beyond what was agreed.
pub fn unknown(agreements: &Agreements) -> Arc<[Inbound]> {
    let unknown = |(peer, agreement): (&Name, &Agreement)| Inbound {
        peer: *peer,
        relationship: agreement.relationship,
        mode: agreement.accept,
        asked: agreement.asks,
        filtered: agreement.filter.mark() != 0,
        reach: None,
        lacked: agreement.relationship == Relationship::Sibling,
    };
    agreements.iter().map(unknown).collect()
}

/// How far off the nearest is who has to ask, the one who tells this included.
fn distance(reach: &Reach) -> u8 {
    if reach.asks.is_empty() { reach.partial } else { 0 }
}

/// Whether another node of ours that tells us this may lack what our provider holds, as nobody else says it: who has more to ask than it can
/// name lists as many as it can.
pub fn lacks(told: &Reach) -> bool {
    told.partial == 0 && told.asks.len() < REACH_MAX
}

/// What we tell `to`, which is `relationship` to us. Whom we would not ask on its behalf does not count.
pub fn told(to: &Name, relationship: Relationship, inbound: &[Inbound]) -> Reach {
    let behalf = Behalf::Of(relationship);
    let (mut asks, mut partial, mut filtered) = (Vec::new(), WHOLE, WHOLE);
    for peer in inbound.iter().filter(|peer| peer.peer != *to && behalf.may_ask(peer.relationship)) {
        if peer.filtered && (peer.asked || peer.mode >= Mode::Pointers) {
            filtered = 0;
        }
        if peer.mode < Mode::Pointers {
            asks.extend(peer.asked.then(|| mark(&peer.peer)));
        } else {
            let nearest = peer.reach.as_ref().map_or(0, |reach| reach.filtered);
            filtered = filtered.min(nearest.saturating_add(1));
            let distance = peer.reach.as_ref().map_or(0, distance);
            partial = partial.min(distance.saturating_add(1)).min(WHOLE);
        }
    }
    if inbound.iter().any(|peer| peer.peer == *to && peer.lacked) {
        partial = 0;
    }
    asks.sort_unstable();
    if asks.len() > REACH_MAX {
        // Whom it does not name, others cannot see to: it has to be asked.
        asks.truncate(REACH_MAX);
        partial = 0;
    }
    Reach { asks, partial, filtered }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn name(index: usize) -> Name {
        Name::key_set([index as u8 + 1; 32])
    }

    /// Everyone tells everyone else, again and again, until nothing changes: what is told, by who tells whom, and after how many rounds.
    fn settle(
        links: &[(usize, usize, Mode)],
        mut told_so_far: BTreeMap<(usize, usize), Reach>,
    ) -> (BTreeMap<(usize, usize), Reach>, usize) {
        let directed: Vec<_> = links.iter().flat_map(|(a, b, mode)| [(*a, *b, *mode), (*b, *a, *mode)]).collect();
        told_so_far.retain(|(from, to), _| directed.iter().any(|(a, b, _)| (a, b) == (from, to)));
        for round in 0.. {
            let tell = |from: usize, to: usize| {
                let inbound: Vec<_> = directed
                    .iter()
                    .filter(|(_, receiver, _)| *receiver == from)
                    .map(|(sender, _, mode)| Inbound {
                        peer: name(*sender),
                        relationship: Relationship::Mutual,
                        mode: *mode,
                        asked: true,
                        filtered: false,
                        reach: told_so_far.get(&(*sender, from)).cloned(),
                        lacked: false,
                    })
                    .collect();
                told(&name(to), Relationship::Mutual, &inbound)
            };
            let next: BTreeMap<_, _> = directed.iter().map(|(from, to, _)| ((*from, *to), tell(*from, *to))).collect();
            if next == told_so_far {
                return (next, round);
            }
            told_so_far = next;
        }
        unreachable!("an endless loop")
    }

    fn told_in(links: &[(usize, usize, Mode)]) -> impl Fn(usize, usize) -> (usize, u8) {
        let (told, _) = settle(links, BTreeMap::new());
        move |from, to| (told[&(from, to)].asks.len(), told[&(from, to)].partial)
    }

    #[test]
    fn where_all_push_values_or_pointers_nobody_has_to_ask() {
        use Mode::{Pointers, Values};
        let told = told_in(&[(0, 1, Values), (1, 2, Pointers), (2, 3, Values), (3, 0, Values), (1, 4, Values)]);
        for (from, to) in [(0, 1), (1, 0), (2, 1), (2, 3), (4, 1), (1, 4)] {
            assert_eq!(told(from, to), (0, WHOLE), "{from} to {to}");
        }
    }

    #[test]
    fn who_has_to_ask_is_known_of_as_far_as_values_go() {
        use Mode::{None, Values};
        // 0 - 1 - 2 - 3 ~ 4 - 5
        let told = told_in(&[(0, 1, Values), (1, 2, Values), (2, 3, Values), (3, 4, None), (4, 5, Values)]);
        assert_eq!(told(3, 2), (1, WHOLE));
        assert_eq!(told(2, 1), (0, 1));
        assert_eq!(told(1, 0), (0, 2));
        assert_eq!(told(3, 4), (0, WHOLE), "what 4 does not get from 3, it asks 3 for");
        assert_eq!(told(0, 1), (0, WHOLE), "nothing lies behind the last");
        assert_eq!(told(4, 3), (0, WHOLE));
        assert_eq!(told(5, 4), (0, WHOLE));
        assert_eq!(told(4, 5), (1, WHOLE));
    }

    #[test]
    fn a_filter_is_known_of_as_far_as_values_go_and_by_whoever_is_asked_instead() {
        let peer = |index, mode, asked, filtered, reach| Inbound {
            peer: name(index),
            relationship: Relationship::Mutual,
            mode,
            asked,
            filtered,
            reach,
            lacked: false,
        };
        let to = |inbound: &[Inbound]| told(&name(0), Relationship::Mutual, inbound).filtered;
        let (open, shut) = (Some(Reach::whole()), true);
        let behind = |filtered| {
            Some(Reach {
                filtered,
                ..Reach::whole()
            })
        };
        assert_eq!(to(&[peer(1, Mode::Values, true, false, open.clone())]), WHOLE);
        assert_eq!(to(&[peer(1, Mode::Values, true, shut, open.clone())]), 0);
        assert_eq!(to(&[peer(1, Mode::Digest, true, shut, open.clone())]), 0);
        assert_eq!(to(&[peer(1, Mode::None, false, shut, open.clone())]), WHOLE, "it does not count");
        assert_eq!(to(&[peer(0, Mode::Values, true, shut, open)]), WHOLE, "the listener's own link");
        assert_eq!(to(&[peer(1, Mode::Values, true, false, behind(3))]), 4);
        assert_eq!(to(&[peer(1, Mode::Values, true, false, behind(WHOLE))]), WHOLE);
        assert_eq!(to(&[peer(1, Mode::None, true, false, behind(3))]), WHOLE, "the question goes there");
        assert_eq!(to(&[peer(1, Mode::Values, true, false, None)]), 1, "nothing is known of it");
    }

    #[test]
    fn in_a_mesh_without_pushes_all_would_ask_all_others() {
        let pairs = (0..4).flat_map(|a| (a + 1..4).map(move |b| (a, b, Mode::Digest)));
        let (told, _) = settle(&pairs.collect::<Vec<_>>(), BTreeMap::new());
        let mut others = [mark(&name(2)), mark(&name(3))];
        others.sort_unstable();
        assert_eq!(told[&(0, 1)].asks, others);
    }

    #[test]
    fn what_is_told_in_a_circle_of_somebody_who_is_gone_comes_to_an_end() {
        use Mode::{None, Values};
        let ring = [(0, 1, Values), (1, 2, Values), (2, 0, Values)];
        let with: Vec<_> = ring.into_iter().chain([(2, 3, None)]).collect();
        let (told, _) = settle(&with, BTreeMap::new());
        assert_eq!(told[&(1, 0)].partial, 1);
        let (told, rounds) = settle(&ring, told);
        assert!(told.values().all(|reach| reach.partial == WHOLE && reach.asks.is_empty()));
        assert!(rounds <= usize::from(WHOLE) + 1, "{rounds} rounds");
    }

    #[test]
    fn of_whom_nothing_is_known_yet_it_may_be_that_it_has_to_ask() {
        let inbound = |mode, asked, reach| Inbound {
            peer: name(1),
            relationship: Relationship::Upstream,
            mode,
            asked,
            filtered: false,
            reach,
            lacked: false,
        };
        let (customer, peer) = (Relationship::Customer, Relationship::Peer);
        assert_eq!(told(&name(0), customer, &[inbound(Mode::Values, true, None)]).partial, 1);
        assert_eq!(told(&name(0), customer, &[inbound(Mode::None, true, None)]).asks.len(), 1);
        assert_eq!(told(&name(1), customer, &[inbound(Mode::None, true, None)]), Reach::whole());
        let never = inbound(Mode::None, false, None);
        assert_eq!(
            told(&name(0), customer, &[never]),
            Reach::whole(),
            "who may not be asked is not asked"
        );
        let upstreams = [inbound(Mode::None, true, None), inbound(Mode::Values, true, None)];
        assert_eq!(told(&name(0), peer, &upstreams), Reach::whole(), "for a peer no upstream is asked");
    }

    #[test]
    fn another_node_of_ours_is_told_whether_we_may_lack_what_it_does_not_tell_us() {
        let sibling = |lacked| Inbound {
            peer: name(0),
            relationship: Relationship::Sibling,
            mode: Mode::Values,
            asked: true,
            filtered: false,
            reach: Some(Reach::whole()),
            lacked,
        };
        let to_sibling = |lacked| told(&name(0), Relationship::Sibling, &[sibling(lacked)]);
        assert!(lacks(&to_sibling(true)) && !lacks(&to_sibling(false)));
        let many = (1..=REACH_MAX + 2).map(|index| Inbound {
            peer: Name::key_set([index as u8, (index >> 8) as u8].repeat(16).try_into().unwrap()),
            relationship: Relationship::Mutual,
            mode: Mode::None,
            ..sibling(false)
        });
        let crowded = told(&name(0), Relationship::Sibling, &many.chain([sibling(false)]).collect::<Vec<_>>());
        assert!(
            crowded.partial == 0 && !lacks(&crowded),
            "it has to be asked, and has told all that it was told"
        );
    }
}
