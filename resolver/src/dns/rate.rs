//! How much goes to an address that may be forged: answers by UDP are held to a rate by network. Pure: time is an argument.
//!
//! Beyond its rate a network gets answers without data, or none, until it has been quiet; what is not sent counts like what is. So whoever asks in
//! another's name without end sends that other less than it spends, and who does have the address comes again over TCP.

use crate::dns::access::is_private;
use crate::dns::accounts::{Accounts, Rule};
use crate::dns::counts::Counters;
use crate::dns::response::cut;
use crate::dns::settings::RateSettings;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// Where an answer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    /// To whom.
    pub client: IpAddr,
    /// How long its question was, in bytes.
    pub question: usize,
    /// Whether it proved that the address is its own.
    pub is_proved: bool,
}

/// The networks that were answered of late, and what that means for the next answer. Shared by all threads, without a lock.
#[derive(Debug)]
pub struct Limiter {
    slip: u64,
    private: bool,
    accounts: Accounts,
    /// How many answers were not sent as they were.
    limited: AtomicU64,
}

impl Limiter {
    /// `seed`: by chance, so that nobody can choose networks that share a place.
    pub fn new(settings: RateSettings, seed: u64) -> Self {
        let rule = Rule {
            per_second: settings.answers_per_second,
            burst: settings.burst,
            ipv4_prefix: settings.ipv4_prefix,
            ipv6_prefix: settings.ipv6_prefix,
            hold_secs: HOLD_SECS,
        };
        Self {
            slip: settings.slip.into(),
            private: settings.private,
            accounts: Accounts::new(rule, seed),
            limited: AtomicU64::new(0),
        }
    }

    /// What becomes of an answer of `answer` bytes.
    pub fn judge(&self, way: Way, answer: usize, now_millis: u64) -> Verdict {
        // Nobody asks in another's name, or gains nothing by it.
        let is_harmless = way.is_proved || answer <= way.question || !self.private && is_private(way.client);
        if is_harmless || self.accounts.take(way.client, 0, now_millis) {
            return Verdict::Answer;
        }
        let limited = self.limited.fetch_add(1, Ordering::Relaxed);
        match self.slip {
            0 => Verdict::Drop,
            slip if limited.is_multiple_of(slip) => Verdict::Truncate,
            _ => Verdict::Drop,
        }
    }

    /// Makes of `answer` what may be sent, and says its length; `None`: nothing.
    pub(crate) fn pass(&self, way: Way, answer: &mut [u8], now_millis: u64, counters: &Counters) -> Option<usize> {
        let length = match self.judge(way, answer.len(), now_millis) {
            Verdict::Answer => return Some(answer.len()),
            Verdict::Truncate => cut(answer),
            Verdict::Drop => None,
        };
        counters.limited(length.is_some());
        length
    }
}

/// For how long a network that had too much is held, after it has come back to its rate: so long that a flood that breathes gets nothing by it,
/// so short that nobody goes away.
const HOLD_SECS: u64 = 1;

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

    fn way(client: IpAddr, question: usize) -> Way {
        Way {
            client,
            question,
            is_proved: false,
        }
    }

    /// What becomes of an answer that is larger than its question.
    fn large(limiter: &Limiter, client: IpAddr, now: u64) -> Verdict {
        limiter.judge(way(client, 80), 500, now)
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
            let verdict = limiter.judge(way(SOMEBODY, question), answer.max(question + 1), START + 5 * at);
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
    fn what_is_no_larger_than_its_question_and_what_goes_to_a_proved_address_is_sent_and_counts_for_nothing() {
        let limiter = limiter();
        for _ in 0..1_000 {
            assert_eq!(limiter.judge(way(SOMEBODY, 800), 800, START), Verdict::Answer);
            let proved = Way {
                is_proved: true,
                ..way(SOMEBODY, 40)
            };
            assert_eq!(limiter.judge(proved, 1_232, START), Verdict::Answer);
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
}
