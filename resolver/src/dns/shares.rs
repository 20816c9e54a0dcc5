//! How many searches each network has under way: so many and no more, and fewer the less room is left, so that what all networks share is
//! never one's alone, nor that of a few.

use crate::dns::accounts::{Rule, network};
use crate::dns::settings::UPSTREAM_IN_FLIGHT_MAX;
use crate::settings::LOOKUPS_MAX;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is under way, by network.
#[derive(Debug)]
pub struct Shares {
    rule: Rule,
    under_way: Mutex<HashMap<[u8; 9], u32>>,
}

/// One search that is under way. It counts until this is dropped.
#[derive(Debug)]
pub struct Share {
    of: Arc<Shares>,
    network: [u8; 9],
}

impl Shares {
    /// By what `rule` calls a network.
    pub fn new(rule: Rule) -> Arc<Self> {
        Arc::new(Self {
            rule,
            under_way: Mutex::default(),
        })
    }

    /// One more for the network of `client`, where there is room for `left` more of anybody's; `None`: it has as many as it may. Each `kind`, up to 127,
    /// has shares of its own.
    pub fn take(self: &Arc<Self>, client: IpAddr, kind: u8, left: usize) -> Option<Share> {
        let network = network(client, &self.rule, kind);
        let mut under_way = self.lock();
        let count = under_way.entry(network).or_default();
        // A network that has none is not in the table: it has at most as many as are under way in all.
        let may = *count < SHARE_MAX && *count as usize * PART_OF_ROOM < left;
        if !may && *count == 0 {
            under_way.remove(&network);
            return None;
        }
        may.then(|| {
            *count += 1;
            Share {
                of: Arc::clone(self),
                network,
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 9], u32>> {
        // Each change is one number.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut under_way = self.of.lock();
        if let Some(count) = under_way.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.network);
            }
        }
    }
}

/// A network has at most one of so many places that are left, and one: so it takes scores of networks to fill a table, not a handful.
const PART_OF_ROOM: usize = 4;

/// Most searches that a network has under way, of each kind: what a hundred a second have where each takes a second. Both kinds together are
/// at most three eighths of what waits for upstream resolvers, or of a stub's lookups.
pub const SHARE_MAX: u32 = 96;
const _: () = assert!(2 * 8 * SHARE_MAX as usize <= 3 * LOOKUPS_MAX && LOOKUPS_MAX <= UPSTREAM_IN_FLIGHT_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        per_second: 100,
        burst: 1_000,
        ipv4_prefix: 24,
        ipv6_prefix: 56,
        hold_secs: 0,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn a_network_has_its_share_under_way_and_others_and_other_kinds_have_theirs() {
        let shares = Shares::new(RULE);
        let mut held: Vec<_> = std::iter::from_fn(|| shares.take(ip("203.0.113.9"), 0, usize::MAX)).collect();
        assert_eq!(held.len(), SHARE_MAX as usize);
        assert!(shares.take(ip("203.0.113.200"), 0, usize::MAX).is_none(), "a neighbour");
        assert!(shares.take(ip("203.0.113.9"), 1, 1).is_some() && shares.take(ip("203.0.114.9"), 0, 1).is_some());
        held.pop();
        assert!(shares.take(ip("203.0.113.200"), 0, usize::MAX).is_some(), "one is over");
        drop(held);
        assert!(shares.take(ip("203.0.113.9"), 0, 0).is_none(), "there is no room");
        assert!(shares.lock().is_empty(), "nothing is remembered of who has none");
    }

    #[test]
    fn after_a_score_of_networks_that_take_all_they_may_the_next_one_finds_room() {
        const ROOM: usize = 512;
        let shares = Shares::new(RULE);
        let mut held = Vec::new();
        for network in 0..20_u8 {
            let client = IpAddr::from([203, 0, network, 9]);
            let before = held.len();
            while let Some(share) = shares.take(client, 0, ROOM - held.len()) {
                held.push(share);
            }
            assert!(held.len() > before, "{network}");
        }
        assert!(held.len() < ROOM);
    }
}
