//! How much goes to an address that may be forged: answers by UDP are held to a rate by network. Pure: time is an argument.
//!
//! A network (an IPv4 /24, an IPv6 /56) has a time until which it has been answered in advance. Each answer moves it on by as long as one is
//! worth, whether it is sent or not; too far ahead of now, and the network gets answers without data, or none, until it has been quiet. So
//! whoever asks in another's name without end sends that other less than it spends, and who does have the address comes again over TCP.
//!
//! The table is of one size for ever. Where it is full a network takes over the place, and the time, of the one that is least ahead: it may
//! then be held to less than its rate, never to more.

use crate::dns::counts::Counters;
use crate::dns::response::cut;
use crate::dns::settings::RateSettings;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What becomes of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is sent.
    Answer,
    /// Its question alone is sent, and that there is more over TCP.
    Truncate,
    /// Nothing is sent.
    Drop,
}

/// All networks that were answered of late. Shared by all threads, without a lock.
#[derive(Debug)]
pub struct Limiter {
    settings: RateSettings,
    sets: Box<[Set]>,
    seed: u64,
    /// How many answers were not sent as they were.
    limited: AtomicU64,
}

/// Networks that share a place: `[mark of the network u16][answered until u48]` each.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

impl Limiter {
    /// `seed`: by chance, so that nobody can choose networks that share a place.
    pub fn new(settings: RateSettings, seed: u64) -> Self {
        let sets = if settings.answers_per_second == 0 { 0 } else { SETS };
        Self {
            settings,
            sets: (0..sets).map(|_| Set::default()).collect(),
            seed,
            limited: AtomicU64::new(0),
        }
    }

    /// What becomes of an answer of `answer` bytes to a question of `question` bytes from `client`.
    pub fn judge(&self, client: IpAddr, question: usize, answer: usize, now_millis: u64) -> Verdict {
        // Who asks in another's name gains nothing by it.
        if answer <= question || !self.is_over(client, now_millis) {
            return Verdict::Answer;
        }
        let limited = self.limited.fetch_add(1, Ordering::Relaxed);
        match u64::from(self.settings.slip) {
            0 => Verdict::Drop,
            slip if limited.is_multiple_of(slip) => Verdict::Truncate,
            _ => Verdict::Drop,
        }
    }

    /// Makes of `answer` what may be sent, and says its length; `None`: nothing.
    pub(crate) fn pass(&self, client: IpAddr, question: usize, answer: &mut [u8], now_millis: u64, counters: &Counters) -> Option<usize> {
        let verdict = self.judge(client, question, answer.len(), now_millis);
        let length = match verdict {
            Verdict::Answer => return Some(answer.len()),
            Verdict::Truncate => cut(answer),
            Verdict::Drop => None,
        };
        counters.limited(length.is_some());
        length
    }

    /// Counts an answer to `client`, and says whether its network has had more than its rate.
    fn is_over(&self, client: IpAddr, now_millis: u64) -> bool {
        if self.sets.is_empty() || !self.settings.private && is_private(client) {
            return false;
        }
        let hash = xxh3_64_with_seed(&network(client, &self.settings), self.seed);
        let Some(Set(ways)) = self.sets.get(hash as usize % SETS) else {
            return false;
        };
        let mark = hash & !UNTIL;
        let now = now_millis.saturating_mul(UNITS_PER_MILLI) & UNTIL;
        let one = UNITS_PER_SECOND / u64::from(self.settings.answers_per_second).clamp(1, UNITS_PER_SECOND);
        let line = now + one * u64::from(self.settings.burst);
        // Beyond this it does not go, so that a network is heard again when it has been quiet for so long; nor after a clock was set back.
        let most = line + HOLD_SECS * UNITS_PER_SECOND;
        let mut until = 0;
        for _ in 0..TRIES {
            let Some((way, was)) = choose(ways, mark) else { break };
            until = ((was & UNTIL).clamp(now, most) + one).min(most);
            if way
                .compare_exchange(was, mark | until & UNTIL, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                break;
            }
        }
        until > line
    }
}

/// The place of the network with this mark, or else of the one that is least ahead.
fn choose(ways: &[AtomicU64; WAYS], mark: u64) -> Option<(&AtomicU64, u64)> {
    let held = || ways.iter().map(|way| (way, way.load(Ordering::Relaxed)));
    held()
        .find(|(_, held)| *held != 0 && held & !UNTIL == mark)
        .or_else(|| held().min_by_key(|(_, held)| held & UNTIL))
}

/// The network of an address, and which family it is of.
fn network(client: IpAddr, settings: &RateSettings) -> [u8; 9] {
    let (family, high, bits) = match client.to_canonical() {
        IpAddr::V4(ip) => (4, u64::from(ip.to_bits()) << 32, settings.ipv4_prefix),
        IpAddr::V6(ip) => (6, (ip.to_bits() >> 64) as u64, settings.ipv6_prefix),
    };
    let kept = high & u64::MAX.checked_shl(64 - u32::from(bits.min(64))).unwrap_or(0);
    let mut network = [family; 9];
    network[..8].copy_from_slice(&kept.to_be_bytes());
    network
}

/// Whether an address is of this machine or of a network that nobody else can send from.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Networks in the table: 512 KiB. One is only remembered while it is ahead, some milliseconds for each answer: to fill it takes millions of
/// answers a second, to as many networks.
const SETS: usize = 8_192;

/// Networks that share a place: what a processor fetches at once.
const WAYS: usize = 8;

/// The part of a place that is a time, in units since 1970: until the year 2109.
const UNTIL: u64 = (1 << 48) - 1;

const UNITS_PER_MILLI: u64 = 64;
const UNITS_PER_SECOND: u64 = 1_000 * UNITS_PER_MILLI;

/// For how long a network that had too much is held, after it has come back to its rate: so long that a flood that breathes gets nothing by it,
/// so short that nobody goes away.
const HOLD_SECS: u64 = 1;

/// How often a place is tried that others write to at the same time: they count for the same network, nearly always.
const TRIES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const SOMEBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));
    const START: u64 = 1_700_000_000_000;

    fn settings() -> RateSettings {
        RateSettings {
            answers_per_second: 100,
            burst: 50,
            slip: 2,
            ..RateSettings::default()
        }
    }

    fn limiter() -> Limiter {
        Limiter::new(settings(), 1)
    }

    /// What becomes of an answer that is larger than its question.
    fn large(limiter: &Limiter, client: IpAddr, now: u64) -> Verdict {
        limiter.judge(client, 80, 500, now)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn who_asks_within_its_rate_gets_all_its_answers() {
        let limiter = limiter();
        for at in 0..10_000 {
            assert_eq!(large(&limiter, SOMEBODY, START + 10 * at), Verdict::Answer, "{at}");
        }
    }

    #[test]
    fn a_burst_is_answered_and_what_is_beyond_it_is_not_until_it_has_been_quiet() {
        let limiter = limiter();
        for at in 0..50 {
            assert_eq!(large(&limiter, SOMEBODY, START), Verdict::Answer, "{at}");
        }
        for _ in 0..1_000 {
            assert_ne!(large(&limiter, SOMEBODY, START), Verdict::Answer);
        }
        assert_ne!(large(&limiter, SOMEBODY, START + 1_000), Verdict::Answer);
        assert_eq!(large(&limiter, SOMEBODY, START + 1_030), Verdict::Answer);
    }

    #[test]
    fn whoever_goes_on_above_its_rate_gets_nothing_larger_than_it_sends() {
        let limiter = limiter();
        let mut random = StdRng::seed_from_u64(3);
        let (mut sent, mut received, mut is_over) = (0, 0, false);
        for at in 0..100_000 {
            let (question, answer) = (random.random_range(28..200), random.random_range(28..1_232));
            let verdict = limiter.judge(SOMEBODY, question, answer.max(question + 1), START + 5 * at);
            is_over |= verdict != Verdict::Answer;
            if is_over {
                sent += question;
                received += match verdict {
                    Verdict::Answer => answer,
                    Verdict::Truncate => question,
                    Verdict::Drop => 0,
                };
            }
        }
        assert!(is_over);
        assert!(received <= sent, "{received} bytes for {sent}");
    }

    #[test]
    fn every_second_of_those_comes_over_tcp() {
        for (slip, expected) in [(0, 0), (1, 1_000), (2, 500), (10, 100)] {
            let limiter = Limiter::new(RateSettings { slip, ..settings() }, 1);
            for _ in 0..50 {
                large(&limiter, SOMEBODY, START);
            }
            let cut = (0..1_000).filter(|_| large(&limiter, SOMEBODY, START) == Verdict::Truncate).count();
            assert_eq!(cut, expected, "slip {slip}");
        }
    }

    #[test]
    fn neighbours_share_a_rate_and_others_have_their_own() {
        for (flooded, same, other) in [
            ("203.0.113.9", "203.0.113.200", "203.0.114.9"),
            ("::ffff:203.0.113.9", "203.0.113.1", "2001:db8::1"),
            ("2001:db8:1:100::1", "2001:db8:1:1ff:ffff::", "2001:db8:1:200::1"),
        ] {
            let limiter = limiter();
            for _ in 0..100 {
                large(&limiter, ip(flooded), START);
            }
            assert_ne!(large(&limiter, ip(same), START), Verdict::Answer, "{same}");
            assert_eq!(large(&limiter, ip(other), START), Verdict::Answer, "{other}");
        }
    }

    #[test]
    fn an_answer_no_larger_than_its_question_is_always_sent_and_counts_for_nothing() {
        let limiter = limiter();
        for _ in 0..1_000 {
            assert_eq!(limiter.judge(SOMEBODY, 800, 800, START), Verdict::Answer);
        }
        assert_eq!(large(&limiter, SOMEBODY, START), Verdict::Answer);
    }

    #[test]
    fn this_machine_and_private_networks_are_held_to_it_only_when_set_so() {
        for private in ["127.0.0.1", "::1", "192.168.1.7", "10.0.0.1", "fd00::1", "fe80::1"] {
            let (usual, strict) = (
                limiter(),
                Limiter::new(
                    RateSettings {
                        private: true,
                        ..settings()
                    },
                    1,
                ),
            );
            let held = |limiter: &Limiter| (0..200).filter(|_| large(limiter, ip(private), START) != Verdict::Answer).count();
            assert_eq!((held(&usual), held(&strict)), (0, 150), "{private}");
        }
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit_and_takes_no_memory() {
        let limiter = Limiter::new(
            RateSettings {
                answers_per_second: 0,
                ..settings()
            },
            1,
        );
        assert!(limiter.sets.is_empty());
        for _ in 0..1_000 {
            assert_eq!(large(&limiter, SOMEBODY, START), Verdict::Answer);
        }
    }

    #[test]
    fn among_more_networks_than_there_is_room_for_nobody_gets_more_than_its_rate() {
        let limiter = Limiter::new(
            RateSettings {
                answers_per_second: 1,
                burst: 3,
                ..settings()
            },
            1,
        );
        let mut random = StdRng::seed_from_u64(9);
        let mut answered = 0;
        for at in 0..400_000_u64 {
            let now = START + at / 40;
            large(&limiter, IpAddr::from(random.random::<[u8; 4]>()), now);
            if at % 20 == 0 && large(&limiter, SOMEBODY, now) == Verdict::Answer {
                answered += 1;
            }
        }
        assert!(answered <= 3 + 10, "{answered} in ten seconds");
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out_for_long() {
        let limiter = limiter();
        large(&limiter, SOMEBODY, START);
        let back = START - 86_400_000;
        large(&limiter, SOMEBODY, back);
        assert_eq!(large(&limiter, SOMEBODY, back + 1_100), Verdict::Answer);
    }
}
