//! Strangers who are greeting: how many at a time, and no more than a share from one network, so that one machine that connects and says
//! nothing does not keep every peer out.

use super::limits::{GREETINGS_FROM_ONE_MAX, GREETINGS_MAX, GREETINGS_RETRY};
use std::collections::HashMap;
use std::net::IpAddr;

/// The greetings under way.
#[derive(Default, Debug)]
pub struct Guests {
    /// By network; nothing where there is none.
    from: HashMap<IpAddr, usize>,
    all: usize,
}

/// What to do with somebody at the door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Welcome {
    /// Hear the greeting, and say [`Guests::leave`] when that is over.
    Enter,
    /// The address must first prove that it can be reached; come again.
    Retry,
    /// Not now.
    Full,
}

impl Guests {
    /// Somebody of this network is at the door. `proved`: the address is known to be no pretence.
    pub fn welcome(&mut self, network: IpAddr, proved: bool) -> Welcome {
        let from_there = self.from.get(&network).copied().unwrap_or_default();
        if self.all >= GREETINGS_MAX {
            return Welcome::Full;
        }
        if self.all >= GREETINGS_RETRY && !proved {
            return Welcome::Retry;
        }
        // Only of a proved address: a pretended one must not take the places of whose it is.
        if from_there >= GREETINGS_FROM_ONE_MAX {
            return if proved { Welcome::Full } else { Welcome::Retry };
        }
        self.all += 1;
        self.from.insert(network, from_there + 1);
        Welcome::Enter
    }

    /// The greeting of somebody of this network is over.
    pub fn leave(&mut self, network: IpAddr) {
        if let Some(from_there) = self.from.get_mut(&network) {
            self.all -= 1;
            *from_there -= 1;
            if *from_there == 0 {
                self.from.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn network(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(number))
    }

    #[test]
    fn one_network_has_its_share_and_no_more() {
        let mut guests = Guests::default();
        let entered = (0..GREETINGS_MAX)
            .filter(|_| guests.welcome(network(1), true) == Welcome::Enter)
            .count();
        assert_eq!(entered, GREETINGS_FROM_ONE_MAX);
        assert_eq!(guests.welcome(network(1), true), Welcome::Full);
        assert_eq!(guests.welcome(network(2), true), Welcome::Enter, "others come in");
        guests.leave(network(1));
        assert_eq!(guests.welcome(network(1), true), Welcome::Enter, "whoever is done makes room");
    }

    #[test]
    fn all_together_have_an_end_and_leave_nothing_behind() {
        let mut guests = Guests::default();
        let entered: Vec<_> = (0..1_000)
            .map(network)
            .filter(|network| guests.welcome(*network, true) == Welcome::Enter)
            .collect();
        assert_eq!(entered.len(), GREETINGS_MAX);
        entered.into_iter().for_each(|network| guests.leave(network));
        assert!(guests.all == 0 && guests.from.is_empty());
    }

    #[test]
    fn in_a_crowd_addresses_must_be_proved() {
        let mut guests = Guests::default();
        let first: Vec<_> = (0..GREETINGS_RETRY as u32)
            .map(|number| guests.welcome(network(number), false))
            .collect();
        assert!(first.iter().all(|welcome| *welcome == Welcome::Enter));
        assert_eq!(guests.welcome(network(99), false), Welcome::Retry);
        assert_eq!(guests.welcome(network(99), true), Welcome::Enter);
    }
}
