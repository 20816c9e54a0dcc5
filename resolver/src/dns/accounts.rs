//! What networks have had of late: a table of one size for ever, shared by all threads without a lock. Pure: time is an argument.
//!
//! A network (an IPv4 /24, an IPv6 /56) has a time until which it has had everything in advance. Each thing that it gets moves it on by as long
//! as one is worth; too far ahead of now, and it is over its rate.
//!
//! Where there is no room a network takes over the place, *and the time*, of the one that is least ahead: it may then be held to less than its rate,
//! never to more.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How much one network may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Things a second; 0: any number.
    pub per_second: u32,
    /// Things at once.
    pub burst: u32,
    /// How many bits of an IPv4 address are its network.
    pub ipv4_prefix: u8,
    /// How many bits of an IPv6 address are its network: at most 64.
    pub ipv6_prefix: u8,
    /// Seconds. Above 0: what a network did not get counts too, so that it gets nothing until it has kept to its rate for so long.
    pub hold_secs: u64,
}

/// All networks that had something of late.
#[derive(Debug)]
pub struct Accounts {
    rule: Rule,
    sets: Box<[Set]>,
    seed: u64,
    refused: AtomicU64,
}

/// Networks that share a place: `[mark of the network u16][until u48]` each.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

impl Accounts {
    /// `seed`: by chance, so that nobody can choose networks that share a place.
    pub fn new(rule: Rule, seed: u64) -> Self {
        let sets = if rule.per_second == 0 { 0 } else { SETS };
        Self {
            rule,
            sets: (0..sets).map(|_| Set::default()).collect(),
            seed,
            refused: AtomicU64::new(0),
        }
    }

    /// Whether there is no limit.
    pub fn is_without_limit(&self) -> bool {
        self.sets.is_empty()
    }

    /// Takes one thing for the network of `client`, and says whether it may have it. Each `kind`, up to 127, has an account of its own.
    pub fn take(&self, client: IpAddr, kind: u8, now_millis: u64) -> bool {
        let may = self.try_take(client, kind, now_millis);
        if !may {
            self.refuse();
        }
        may
    }

    /// Counts one that might not, for another reason than its rate.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How often one might not.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn try_take(&self, client: IpAddr, kind: u8, now_millis: u64) -> bool {
        let hash = xxh3_64_with_seed(&network(client, &self.rule, kind), self.seed);
        let Some(Set(ways)) = self.sets.get(hash as usize % SETS) else {
            return true;
        };
        let mark = hash & !UNTIL;
        let now = now_millis.saturating_mul(UNITS_PER_MILLI) & UNTIL;
        let one = UNITS_PER_SECOND / u64::from(self.rule.per_second).clamp(1, UNITS_PER_SECOND);
        let line = now + one * u64::from(self.rule.burst);
        // Beyond this it does not go, so that a network is heard again; nor after a clock was set back.
        let most = line + self.rule.hold_secs * UNITS_PER_SECOND;
        let mut until = 0;
        for _ in 0..TRIES {
            let Some((way, was)) = choose(ways, mark) else { break };
            until = (was & UNTIL).clamp(now, most) + one;
            let counted = if until > line && self.rule.hold_secs == 0 {
                until - one
            } else {
                until.min(most)
            };
            if way
                .compare_exchange(was, mark | counted & UNTIL, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                break;
            }
        }
        until <= line
    }
}

/// The place of the network with this mark, or else of the one that is least ahead.
fn choose(ways: &[AtomicU64; WAYS], mark: u64) -> Option<(&AtomicU64, u64)> {
    let held = || ways.iter().map(|way| (way, way.load(Ordering::Relaxed)));
    held()
        .find(|(_, held)| *held != 0 && held & !UNTIL == mark)
        .or_else(|| held().min_by_key(|(_, held)| held & UNTIL))
}

/// The network of an address, and of which family and kind it is.
pub(crate) fn network(client: IpAddr, rule: &Rule, kind: u8) -> [u8; 9] {
    let (family, high, bits) = match client.to_canonical() {
        IpAddr::V4(ip) => (0, u64::from(ip.to_bits()) << 32, rule.ipv4_prefix),
        IpAddr::V6(ip) => (1, (ip.to_bits() >> 64) as u64, rule.ipv6_prefix),
    };
    let kept = high & u64::MAX.checked_shl(64 - u32::from(bits.min(64))).unwrap_or(0);
    let mut network = [kind << 1 | family; 9];
    network[..8].copy_from_slice(&kept.to_be_bytes());
    network
}

/// Networks in the table: 512 KiB. One is only remembered while it is ahead, some milliseconds for each answer: to fill it takes millions of
/// answers a second, to as many networks.
const SETS: usize = 8_192;

/// Networks that share a place: what a processor fetches at once.
const WAYS: usize = 8;

/// The part of a place that is a time, in units since 1970: until the year 2109.
const UNTIL: u64 = (1 << 48) - 1;

const UNITS_PER_MILLI: u64 = 64;
/// What times are kept in: the most that can be had a second.
pub(crate) const UNITS_PER_SECOND: u64 = 1_000 * UNITS_PER_MILLI;

/// How often a place is tried that others write to at the same time: they count for the same network, nearly always.
const TRIES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const SOMEBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));
    const START: u64 = 1_700_000_000_000;

    const RULE: Rule = Rule {
        per_second: 100,
        burst: 50,
        ipv4_prefix: 24,
        ipv6_prefix: 56,
        hold_secs: 0,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn taken(accounts: &Accounts, client: IpAddr, kind: u8, now: u64) -> usize {
        (0..1_000).filter(|_| accounts.take(client, kind, now)).count()
    }

    #[test]
    fn a_network_has_its_burst_and_then_its_rate_however_much_more_it_wants() {
        let accounts = Accounts::new(RULE, 1);
        assert_eq!(taken(&accounts, SOMEBODY, 0, START), 50);
        for second in 1..5 {
            let got: usize = (0..100)
                .map(|at| taken(&accounts, SOMEBODY, 0, START + 1_000 * second + 10 * at))
                .sum();
            assert!((99..=150).contains(&got), "{got}");
        }
        assert_eq!(accounts.refused(), 401_000 - 50 - 400 - 49);
    }

    #[test]
    fn where_what_was_not_had_counts_too_there_is_nothing_until_it_has_been_quiet() {
        let accounts = Accounts::new(Rule { hold_secs: 1, ..RULE }, 1);
        assert_eq!(taken(&accounts, SOMEBODY, 0, START), 50);
        assert_eq!(taken(&accounts, SOMEBODY, 0, START + 900), 0);
        assert_eq!(taken(&accounts, SOMEBODY, 0, START + 3_000), 50);
    }

    #[test]
    fn neighbours_share_an_account_and_others_and_other_kinds_have_their_own() {
        for (flooded, same, other) in [
            ("203.0.113.9", "203.0.113.200", "203.0.114.9"),
            ("::ffff:203.0.113.9", "203.0.113.1", "2001:db8::1"),
            ("2001:db8:1:100::1", "2001:db8:1:1ff:ffff::", "2001:db8:1:200::1"),
        ] {
            let accounts = Accounts::new(RULE, 1);
            assert_eq!(taken(&accounts, ip(flooded), 0, START), 50);
            assert_eq!(taken(&accounts, ip(same), 0, START), 0, "{same}");
            assert_eq!(taken(&accounts, ip(other), 0, START), 50, "{other}");
            assert_eq!(taken(&accounts, ip(same), 1, START), 50, "{same}");
        }
    }

    #[test]
    fn among_more_networks_than_there_is_room_for_nobody_gets_more_than_its_rate() {
        for hold_secs in [0, 1] {
            let rule = Rule {
                per_second: 1,
                burst: 3,
                hold_secs,
                ..RULE
            };
            let accounts = Accounts::new(rule, 1);
            let mut random = StdRng::seed_from_u64(9);
            let mut got = 0;
            for at in 0..400_000_u64 {
                let now = START + at / 40;
                accounts.take(IpAddr::from(random.random::<[u8; 4]>()), 0, now);
                got += usize::from(at % 20 == 0 && accounts.take(SOMEBODY, 0, now));
            }
            assert!(got <= 3 + 10, "{got} in ten seconds");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out_for_long() {
        for hold_secs in [0, 1] {
            let accounts = Accounts::new(Rule { hold_secs, ..RULE }, 1);
            accounts.take(SOMEBODY, 0, START);
            let back = START - 86_400_000;
            accounts.take(SOMEBODY, 0, back);
            assert!(accounts.take(SOMEBODY, 0, back + 1_100));
        }
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit_and_takes_no_memory() {
        let accounts = Accounts::new(Rule { per_second: 0, ..RULE }, 1);
        assert!(accounts.is_without_limit());
        assert_eq!(taken(&accounts, SOMEBODY, 0, START), 1_000);
    }
}
