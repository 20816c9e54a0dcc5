//! How many signatures are made: for each network and for all together, so that names that nobody has, asked for one after another, cost no more than was meant.
//!
//! Who may be forging an address spends from another purse than who proved it, so that a flood of the first leaves the second alone.

use crate::dns::accounts::{Accounts, Rule};
use crate::dns::settings::{RateSettings, SIGNED_IN_ALL, SIGNED_PER_NETWORK};
use std::net::{IpAddr, Ipv4Addr};

/// What networks had signed of late, and all together.
#[derive(Debug)]
pub(crate) struct SigningBudget {
    networks: Accounts,
    all: Accounts,
}

impl SigningBudget {
    /// `seed`: by chance, so that nobody can choose networks that share a place.
    pub fn new(seed: u64) -> Self {
        let accounts = |(per_second, burst)| {
            let RateSettings {
                ipv4_prefix, ipv6_prefix, ..
            } = RateSettings::default();
            let rule = Rule {
                per_second,
                burst,
                ipv4_prefix,
                ipv6_prefix,
                hold_secs: 0,
            };
            Accounts::new(rule, seed)
        };
        Self {
            networks: accounts(SIGNED_PER_NETWORK),
            all: accounts(SIGNED_IN_ALL),
        }
    }

    /// Takes an answer with so many `signatures` for `client`, whose address is proved or not, and says whether it may be signed.
    pub fn take(&self, client: IpAddr, is_proved: bool, signatures: usize, now_millis: u64) -> bool {
        let kind = u8::from(is_proved);
        (0..signatures).all(|_| self.networks.take(client, kind, now_millis) && self.all.take(EVERYBODY, kind, now_millis))
    }
}

/// In whose name all together have one account.
const EVERYBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    #[test]
    fn one_network_leaves_room_for_others_and_a_flood_of_forged_ones_leaves_it_to_who_proved_an_address() {
        let budget = SigningBudget::new(7);
        let of = |network: u32| IpAddr::from((0xc600_0000 | network << 8 | 9).to_be_bytes());
        let had = (0..20_000).filter(|_| budget.take(of(1), false, 1, NOW)).count();
        assert_eq!(had, SIGNED_PER_NETWORK.1 as usize);
        assert!(budget.take(of(2), false, 1, NOW));
        let forged = (0..20_000).filter(|nth| budget.take(of(3 + nth), false, 1, NOW)).count();
        assert_eq!(forged, SIGNED_IN_ALL.1 as usize - had - 1);
        assert!(!budget.take(of(2), false, 1, NOW) && budget.take(of(2), true, 1, NOW));
        assert!(budget.take(of(2), false, 1, NOW + 1_000), "a second later");
    }
}
