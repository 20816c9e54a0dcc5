//! Strangers at the door: how many are heard at a time, how many handshakes are made for them, and no more than a share of either for one
//! network, so that machines that connect and say nothing, or that connect again and again, keep nobody out and cost little.
//!
//! ```text
//! at the door ─▶ a known address, within its own allowance? ─▶ in
//!            └─▶ places and handshakes left, for its network and for all? ─▶ in
//!            └─▶ half of what there is used up, and the address not proved? ─▶ prove it (QUIC Retry) and come again
//!            └─▶ otherwise it is told to go, and when many are told so, nothing at all
//! ```
//!
//! It is asked before a handshake, which is what costs. Known are the addresses that agreements tell, and those over which a peer has proved
//! itself: strangers may use up what is for strangers, and whoever is known still comes in.

use super::limits::{GREETINGS_FROM_ONE_MAX, GREETINGS_KNOWN, GREETINGS_MAX, GREETINGS_RETRY, KNOWN_MAX};
use super::limits::{HANDSHAKES, HANDSHAKES_FROM_ONE, HANDSHAKES_KNOWN, NETWORKS_LOOKED_OVER, REFUSALS};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// The greetings under way, and the handshakes of late.
#[derive(Default, Debug)]
pub struct Guests {
    networks: HashMap<IpAddr, Network>,
    known: HashMap<IpAddr, Known>,
    /// Greetings under way, of everybody.
    all: usize,
    handshakes: Bucket,
    refusals: Bucket,
}

/// What one network has under way and had of late. Forgotten when there is nothing of either.
#[derive(Default, Debug)]
struct Network {
    greetings: usize,
    handshakes: Bucket,
}

/// An address at which a peer is, or is to be.
#[derive(Debug)]
struct Known {
    handshakes: Bucket,
    /// When that was last said.
    at: Duration,
}

/// How often something may happen: once `every` so long, and so many times `at_once` (a leaky bucket).
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Once every so long.
    pub every: Duration,
    /// So many times at once, after a rest.
    pub at_once: u32,
}

/// How far ahead of its rate something is, told by when it is not any more.
#[derive(Clone, Copy, Default, Debug)]
struct Bucket {
    empty_at: Duration,
}

impl Bucket {
    /// How many more may happen now.
    fn left(&self, rate: Rate, now: Duration) -> u32 {
        let ahead = self.empty_at.saturating_sub(now).as_nanos().div_ceil(rate.every.as_nanos().max(1));
        rate.at_once.saturating_sub(u32::try_from(ahead).unwrap_or(u32::MAX))
    }

    fn take(&mut self, rate: Rate, now: Duration) {
        self.empty_at = self.empty_at.max(now).saturating_add(rate.every);
    }
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
    /// Not now, and too many heard so already: an answer would cost more than it is worth.
    Silence,
}

impl Guests {
    /// Somebody at this address is at the door. `proved`: the address is known to be no pretence.
    pub fn welcome(&mut self, address: IpAddr, proved: bool, now: Duration) -> Welcome {
        let welcome = self.judge(address, proved, now);
        match welcome {
            Welcome::Enter => {
                self.all += 1;
                self.of(address).greetings += 1;
            }
            Welcome::Full if self.refusals.left(REFUSALS, now) == 0 => return Welcome::Silence,
            Welcome::Full => self.refusals.take(REFUSALS, now),
            Welcome::Retry | Welcome::Silence => {}
        }
        welcome
    }

    fn judge(&mut self, address: IpAddr, proved: bool, now: Duration) -> Welcome {
        if self.all >= GREETINGS_MAX {
            return Welcome::Full;
        }
        if self.all >= GREETINGS_RETRY && !proved {
            return Welcome::Retry;
        }
        let (key, network) = (address.to_canonical(), network(address));
        let greetings = self.networks.get(&network).map_or(0, |network| network.greetings);
        // Only of a proved address: a pretended one must not take the places of whose it is.
        if greetings >= GREETINGS_FROM_ONE_MAX {
            return if proved { Welcome::Full } else { Welcome::Retry };
        }
        // The same goes for handshakes: the second half of what may be is for those who proved their address.
        let enough = |left: u32, rate: Rate| left > 0 && (proved || left > rate.at_once / 2);
        if let Some(known) = self.known.get_mut(&key) {
            let left = known.handshakes.left(HANDSHAKES_KNOWN, now);
            if enough(left, HANDSHAKES_KNOWN) {
                known.handshakes.take(HANDSHAKES_KNOWN, now);
                return Welcome::Enter;
            }
            if left > 0 {
                return Welcome::Retry;
            }
        }
        if self.all >= GREETINGS_MAX - GREETINGS_KNOWN {
            return Welcome::Full;
        }
        let here = self
            .networks
            .get(&network)
            .map_or_else(Bucket::default, |network| network.handshakes);
        let left = [(&self.handshakes, HANDSHAKES), (&here, HANDSHAKES_FROM_ONE)].map(|(bucket, rate)| (bucket.left(rate, now), rate));
        if left.iter().any(|(left, _)| *left == 0) {
            return Welcome::Full;
        }
        if !left.iter().all(|(left, rate)| enough(*left, *rate)) {
            return Welcome::Retry;
        }
        self.handshakes.take(HANDSHAKES, now);
        self.forget_networks(now);
        self.of(address).handshakes.take(HANDSHAKES_FROM_ONE, now);
        Welcome::Enter
    }

    /// The greeting of somebody at this address is over.
    pub fn leave(&mut self, address: IpAddr) {
        let network = self.of(address);
        if network.greetings > 0 {
            network.greetings -= 1;
            self.all -= 1;
        }
    }

    /// At this address is a peer, or should be by an agreement.
    pub fn knows(&mut self, address: IpAddr, now: Duration) {
        let address = address.to_canonical();
        if let Some(known) = self.known.get_mut(&address) {
            known.at = now;
            return;
        }
        if self.known.len() >= KNOWN_MAX {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.at).map(|(address, _)| *address);
            oldest.and_then(|oldest| self.known.remove(&oldest));
        }
        let handshakes = Bucket::default();
        self.known.insert(address, Known { handshakes, at: now });
    }

    /// The peer at this address did harm: who comes from there is a stranger again.
    pub fn shuns(&mut self, address: IpAddr) {
        self.known.remove(&address.to_canonical());
    }

    fn of(&mut self, address: IpAddr) -> &mut Network {
        self.networks.entry(network(address)).or_default()
    }

    /// No more networks are remembered than have something under way, or had of late: as many as there are handshakes for.
    fn forget_networks(&mut self, now: Duration) {
        if self.networks.len() >= NETWORKS_LOOKED_OVER {
            self.networks
                .retain(|_, network| network.greetings > 0 || network.handshakes.empty_at > now);
        }
    }
}

/// Whom an address is counted with: its /24, or its /56, which is what one customer of a network gets.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !0xff)),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !((1 << 72) - 1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    /// An address in a network of its own.
    fn elsewhere(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits((number << 8) | 7))
    }

    /// How many of so many come in, each from where it is said and gone again at once.
    fn come_and_go(guests: &mut Guests, addresses: impl IntoIterator<Item = IpAddr>, proved: bool, now: Duration) -> u32 {
        let comes = |address: IpAddr| {
            let enters = guests.welcome(address, proved, now) == Welcome::Enter;
            enters.then(|| guests.leave(address)).is_some()
        };
        addresses.into_iter().map(comes).map(u32::from).sum()
    }

    #[test]
    fn one_network_has_its_share_of_places_and_no_more() {
        let mut guests = Guests::default();
        let near = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0100 | (number % 256)));
        let entered = (0..GREETINGS_MAX as u32)
            .filter(|number| guests.welcome(near(*number), true, START) == Welcome::Enter)
            .count();
        assert_eq!(entered, GREETINGS_FROM_ONE_MAX);
        assert_eq!(guests.welcome(near(1), true, START), Welcome::Full);
        assert_eq!(guests.welcome(elsewhere(2), true, START), Welcome::Enter, "others come in");
        guests.leave(near(200));
        assert_eq!(guests.welcome(near(1), true, START), Welcome::Enter, "whoever is done makes room");
    }

    #[test]
    fn all_together_have_an_end_and_leave_nothing_behind() {
        let mut guests = Guests::default();
        let entered: Vec<_> = (0..1_000)
            .map(elsewhere)
            .filter(|address| guests.welcome(*address, true, START) == Welcome::Enter)
            .collect();
        assert_eq!(entered.len(), GREETINGS_MAX - GREETINGS_KNOWN);
        entered.into_iter().for_each(|address| guests.leave(address));
        assert_eq!(guests.all, 0);
        guests.leave(elsewhere(5_000));
        assert_eq!(guests.all, 0, "who was never in does not leave");
    }

    #[test]
    fn in_a_crowd_addresses_must_be_proved() {
        let mut guests = Guests::default();
        let first: Vec<_> = (0..GREETINGS_RETRY as u32)
            .map(|number| guests.welcome(elsewhere(number), false, START))
            .collect();
        assert!(first.iter().all(|welcome| *welcome == Welcome::Enter));
        assert_eq!(guests.welcome(elsewhere(99), false, START), Welcome::Retry);
        assert_eq!(guests.welcome(elsewhere(99), true, START), Welcome::Enter);
    }

    #[test]
    fn handshakes_of_one_network_and_of_all_come_no_faster_than_said() {
        let mut guests = Guests::default();
        let (one, again) = (elsewhere(1), |count: usize| std::iter::repeat_n(elsewhere(1), count));
        assert_eq!(come_and_go(&mut guests, again(1_000), true, START), HANDSHAKES_FROM_ONE.at_once);
        let later = START + HANDSHAKES_FROM_ONE.every * 5;
        assert_eq!(come_and_go(&mut guests, again(1_000), true, later), 5);
        let others = (2..5_000).map(elsewhere);
        let rest = HANDSHAKES.at_once - HANDSHAKES_FROM_ONE.at_once;
        let refilled = (later - START).as_nanos() / HANDSHAKES.every.as_nanos();
        assert_eq!(come_and_go(&mut guests, others, true, later), rest - 5 + refilled as u32);
        assert!(guests.networks.len() <= 1 + HANDSHAKES.at_once as usize);
        let much_later = later + Duration::from_secs(60);
        assert_eq!(come_and_go(&mut guests, [one], true, much_later), 1);
    }

    #[test]
    fn pretended_addresses_use_up_only_half_of_what_is_for_those_whose_they_are() {
        let mut guests = Guests::default();
        let pretended = std::iter::repeat_n(elsewhere(1), 1_000);
        assert_eq!(come_and_go(&mut guests, pretended, false, START), HANDSHAKES_FROM_ONE.at_once / 2);
        assert_eq!(guests.welcome(elsewhere(1), false, START), Welcome::Retry);
        assert_eq!(
            guests.welcome(elsewhere(1), true, START),
            Welcome::Enter,
            "whoever is there proves it"
        );
        let all = (0..5_000).map(|number| elsewhere(number + 10));
        come_and_go(&mut guests, all, false, START);
        assert_eq!(guests.welcome(elsewhere(9_999), true, START), Welcome::Enter);
    }

    #[test]
    fn a_known_address_comes_in_whatever_strangers_do_and_none_that_did_harm() {
        let mut guests = Guests::default();
        let (peer, harmful) = (elsewhere(1), elsewhere(2));
        guests.knows(peer, START);
        guests.knows(harmful, START);
        // Strangers, those of the peer's own network too, use up all handshakes, and then all places.
        let beside = IpAddr::V4(Ipv4Addr::from_bits((1 << 8) | 99));
        come_and_go(&mut guests, std::iter::repeat_n(beside, 1_000), true, START);
        while guests.all < GREETINGS_MAX - GREETINGS_KNOWN {
            let stranger = elsewhere(100 + guests.all as u32);
            assert_eq!(guests.welcome(stranger, true, START), Welcome::Enter);
        }
        come_and_go(&mut guests, (1_000..9_000).map(elsewhere), true, START);
        assert_ne!(guests.welcome(elsewhere(10_000), true, START), Welcome::Enter);
        assert_eq!(guests.welcome(peer, true, START), Welcome::Enter);
        guests.shuns(harmful);
        assert_ne!(guests.welcome(harmful, true, START), Welcome::Enter);
        // What is its own has an end too: whoever dials without pause is slowed.
        let dials = std::iter::repeat_n(peer, 1_000);
        assert_eq!(come_and_go(&mut guests, dials, true, START), HANDSHAKES_KNOWN.at_once - 1);
    }

    #[test]
    fn where_many_are_turned_away_the_rest_hears_nothing() {
        let mut guests = Guests::default();
        let welcomes: Vec<_> = (0..1_000).map(|_| guests.welcome(elsewhere(1), true, START)).collect();
        let told = welcomes.iter().filter(|welcome| **welcome == Welcome::Full).count();
        assert_eq!(told, REFUSALS.at_once as usize);
        assert_eq!(welcomes.last(), Some(&Welcome::Silence));
    }

    #[test]
    fn addresses_that_are_known_are_no_more_than_said() {
        let mut guests = Guests::default();
        for number in 0..KNOWN_MAX as u32 + 10 {
            guests.knows(elsewhere(number), START + Duration::from_secs(u64::from(number)));
        }
        assert_eq!(guests.known.len(), KNOWN_MAX);
        assert!(!guests.known.contains_key(&elsewhere(0)), "the one that was heard longest ago goes");
        assert!(guests.known.contains_key(&elsewhere(KNOWN_MAX as u32 + 9)));
    }

    #[test]
    fn a_network_is_a_24_or_a_56() {
        let network = |text: &str| super::network(text.parse().expect("an address"));
        assert_eq!(network("192.0.2.1"), network("192.0.2.254"));
        assert_ne!(network("192.0.2.1"), network("192.0.3.1"));
        assert_eq!(network("::ffff:192.0.2.7"), network("192.0.2.7"));
        assert_eq!(network("2001:db8:1:200::1"), network("2001:db8:1:2ff:ffff::2"));
        assert_ne!(network("2001:db8:1:200::1"), network("2001:db8:1:300::1"));
    }
}
