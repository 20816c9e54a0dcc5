//! Who is asking, and may this pass? What costs least is asked first, and everything remembered is bounded.

use super::rate::{Meter, Rate};
use crate::settings::{AccountSettings, AnonymousPuts, BURST_SECS, NETWORKS_MAX, Settings};
use dialtone_shared::limits::LIFETIME_SECS_MAX;
use dialtone_shared::{Record, UnixMicros, UnixSecs};
use lru::LruCache;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who may put how much.
#[derive(Debug)]
pub struct Admission {
    accounts: Vec<Account>,
    anonymous: Option<Terms>,
    local: Option<Terms>,
    meters: Mutex<Meters>,
}

/// Who is asking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// The account of this number in the settings.
    Account(usize),
    /// A program of this machine, without an account.
    Local,
    /// Anybody else, by network: an IPv4 address, or the first 56 bits of an IPv6 one.
    Anonymous(IpAddr),
}

/// Why a caller may not put at all. The publisher's turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthError {
    /// No token, and one is needed.
    #[error("this provider takes records only with an account's token (Authorization: Bearer <token>)")]
    TokenNeeded,
    /// A token that no account has.
    #[error("no account has this token")]
    UnknownToken,
    /// Another kind of authorization.
    #[error("only `Authorization: Bearer <token>` is understood")]
    NotBearer,
}

/// What was agreed with a kind of caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// How many puts, if limited.
    pub rate: Option<Rate>,
    /// How many names, if limited.
    pub names_max: Option<u64>,
    /// For how many days at most.
    pub keep_days: u32,
}

#[derive(Debug)]
struct Account {
    name: String,
    token_sha256: [u8; 32],
    terms: Terms,
}

#[derive(Debug)]
struct Meters {
    accounts: Vec<Meter>,
    local: Meter,
    networks: LruCache<IpAddr, Meter>,
}

impl Admission {
    /// The rules that `settings` set.
    pub fn new(settings: &Settings) -> Self {
        let limits = &settings.limits;
        let names_max = (limits.anonymous_names_max > 0).then_some(limits.anonymous_names_max);
        let anonymous = Terms {
            rate: Rate::new(limits.anonymous_puts_per_second, BURST_SECS),
            names_max,
            keep_days: limits.anonymous_keep_days,
        };
        let local = Terms {
            rate: Rate::new(limits.local_puts_per_second, BURST_SECS),
            names_max: None,
            keep_days: (LIFETIME_SECS_MAX / 86_400) as u32,
        };
        let (anonymous, local) = match settings.http.anonymous_puts {
            AnonymousPuts::Yes => (Some(anonymous), Some(local)),
            AnonymousPuts::Auto if settings.http_is_local() => (None, Some(local)),
            AnonymousPuts::Auto | AnonymousPuts::No => (None, None),
        };
        Self {
            accounts: settings.accounts.iter().map(Account::new).collect(),
            anonymous,
            local,
            meters: Mutex::new(Meters {
                accounts: vec![Meter::default(); settings.accounts.len()],
                local: Meter::default(),
                networks: LruCache::new(NonZeroUsize::new(NETWORKS_MAX).unwrap_or(NonZeroUsize::MIN)),
            }),
        }
    }

    /// Who puts: by the value of the `Authorization` header, otherwise by where the connection comes from. `forwarded`: a proxy
    /// says that it passes on somebody else's request, so that being on this machine means nothing.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn caller(&self, authorization: Option<&[u8]>, from: IpAddr, forwarded: bool) -> Result<Caller, AuthError> {
        let Some(authorization) = authorization else {
            let from = from.to_canonical();
            return match (from.is_loopback() && !forwarded, self.local, self.anonymous) {
                (true, Some(_), _) => Ok(Caller::Local),
                (false, _, Some(_)) => Ok(Caller::Anonymous(network(from))),
                _ => Err(AuthError::TokenNeeded),
            };
        };
        let (kind, token) = authorization.split_at_checked(7).ok_or(AuthError::NotBearer)?;
        if !kind.eq_ignore_ascii_case(b"bearer ") {
            return Err(AuthError::NotBearer);
        }
        let digest: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
        // Every account is looked at and every byte of it, so that time tells nothing. That digests are compared, not tokens,
        // would be enough; this costs nothing.
        let mut found = None;
        for (index, account) in self.accounts.iter().enumerate() {
            let differ = account.token_sha256.iter().zip(&digest).fold(0, |differ, (a, b)| differ | (a ^ b));
            if std::hint::black_box(differ) == 0 {
                found = Some(index);
            }
        }
        found.map(Caller::Account).ok_or(AuthError::UnknownToken)
    }

    /// What was agreed with a caller.
    pub fn terms(&self, caller: Caller) -> Terms {
        let nothing = Terms {
            rate: None,
            names_max: Some(0),
            keep_days: 1,
        };
        match caller {
            Caller::Account(index) => self.accounts.get(index).map_or(nothing, |account| account.terms),
            Caller::Local => self.local.unwrap_or(nothing),
            Caller::Anonymous(_) => self.anonymous.unwrap_or(nothing),
        }
    }

    /// The name of a caller's account.
    pub fn account(&self, caller: Caller) -> Option<&str> {
        match caller {
            Caller::Account(index) => self.accounts.get(index).map(|account| account.name.as_str()),
            Caller::Local | Caller::Anonymous(_) => None,
        }
    }

    /// Takes one put from a caller's rate.
    ///
    /// # Errors
    /// The microseconds after which one can be taken.
    pub fn take(&self, caller: Caller, now: UnixMicros) -> Result<(), u64> {
        match self.terms(caller).rate {
            None => Ok(()),
            Some(rate) => self.meters().of(caller, |meter| meter.take(&rate, now)),
        }
    }

    /// Gives a put back that changed nothing: to publish again what is held is free.
    pub fn give_back(&self, caller: Caller) {
        if let Some(rate) = self.terms(caller).rate {
            self.meters().of(caller, |meter| meter.give_back(&rate));
        }
    }

    /// A panic elsewhere leaves meters as they were: still good.
    fn meters(&self) -> MutexGuard<'_, Meters> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Terms {
    /// Until when a record put at `now` is kept: to its expiry, or to the end of the last day of the lease. Always the same instant
    /// within one day, so that puts of one day promise the same. A revocation is kept for ever.
    pub fn keep_until(&self, record: &Record, now: UnixSecs) -> UnixSecs {
        let last_day = now.day() + u64::from(self.keep_days);
        match record.expiry() {
            None if record.is_revoked() => FOR_EVER,
            Some(expiry) if expiry.day() <= last_day => expiry,
            // What says nothing of its end is leased.
            Some(_) | None => UnixSecs((last_day + 1) * 86_400 - 1),
        }
    }
}

impl Account {
    fn new(settings: &AccountSettings) -> Self {
        Self {
            name: settings.name.clone(),
            token_sha256: settings.token_sha256.0,
            terms: Terms {
                rate: Rate::new(settings.puts_per_second, BURST_SECS),
                names_max: (settings.names_max > 0).then_some(settings.names_max),
                keep_days: settings.keep_days,
            },
        }
    }
}

impl Meters {
    fn of<T>(&mut self, caller: Caller, use_it: impl FnOnce(&mut Meter) -> T) -> T {
        match caller {
            Caller::Account(index) => match self.accounts.get_mut(index) {
                Some(meter) => use_it(meter),
                None => use_it(&mut Meter::default()),
            },
            Caller::Local => use_it(&mut self.local),
            Caller::Anonymous(network) => use_it(self.networks.get_or_insert_mut(network, Meter::default)),
        }
    }
}

/// Whom an address is counted with: itself, or its /56, which is what one customer of an IPv6 network gets.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !((1 << 72) - 1))),
    }
}

/// The keep-until of what has no end.
pub const FOR_EVER: UnixSecs = UnixSecs(u64::MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TokenDigest;
    use dialtone_shared::{Body, Genesis, SecretKey, Ttl};
    use std::net::Ipv4Addr;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

    fn settings(listen: &str, anonymous_puts: AnonymousPuts) -> Settings {
        let mut settings = Settings::default();
        settings.http.listen = vec![listen.parse().unwrap()];
        settings.http.anonymous_puts = anonymous_puts;
        settings.accounts = ["one", "two"]
            .map(|name| AccountSettings {
                name: name.to_owned(),
                token_sha256: TokenDigest(Sha256::digest(format!("token of {name}")).into()),
                names_max: 3,
                puts_per_second: 2,
                keep_days: 400,
            })
            .into();
        settings
    }

    #[test]
    fn who_may_put_without_a_token() {
        use AnonymousPuts::{Auto, No, Yes};
        for (listen, rule, from, forwarded, wanted) in [
            ("127.0.0.1:1", Auto, LOOPBACK, false, Ok(Caller::Local)),
            ("[::1]:1", Auto, IpAddr::V6(Ipv6Addr::LOCALHOST), false, Ok(Caller::Local)),
            ("127.0.0.1:1", Auto, LOOPBACK, true, Err(AuthError::TokenNeeded)),
            ("0.0.0.0:1", Auto, LOOPBACK, false, Err(AuthError::TokenNeeded)),
            ("0.0.0.0:1", Auto, ELSEWHERE, false, Err(AuthError::TokenNeeded)),
            ("127.0.0.1:1", No, LOOPBACK, false, Err(AuthError::TokenNeeded)),
            ("0.0.0.0:1", Yes, ELSEWHERE, false, Ok(Caller::Anonymous(ELSEWHERE))),
            ("0.0.0.0:1", Yes, LOOPBACK, false, Ok(Caller::Local)),
            ("0.0.0.0:1", Yes, LOOPBACK, true, Ok(Caller::Anonymous(LOOPBACK))),
        ] {
            let admission = Admission::new(&settings(listen, rule));
            assert_eq!(
                admission.caller(None, from, forwarded),
                wanted,
                "{listen} {rule:?} {from} {forwarded}"
            );
        }
    }

    #[test]
    fn a_token_is_known_or_refused_wherever_it_comes_from() {
        let admission = Admission::new(&settings("127.0.0.1:1", AnonymousPuts::Auto));
        let caller = |header: &str| admission.caller(Some(header.as_bytes()), ELSEWHERE, true);
        assert_eq!(caller("Bearer token of one"), Ok(Caller::Account(0)));
        assert_eq!(caller("bearer token of two"), Ok(Caller::Account(1)));
        assert_eq!(caller("Bearer token of three"), Err(AuthError::UnknownToken));
        assert_eq!(caller("Bearer "), Err(AuthError::UnknownToken));
        assert_eq!(caller("Basic b25lOnR3bw=="), Err(AuthError::NotBearer));
        assert_eq!(caller(""), Err(AuthError::NotBearer));
    }

    #[test]
    fn an_account_that_is_over_its_rate_delays_nobody_else() {
        let admission = Admission::new(&settings("127.0.0.1:1", AnonymousPuts::Yes));
        let now = UnixMicros(1_700_000_000_000_000);
        let passed = |caller| (0..100).filter(|_| admission.take(caller, now).is_ok()).count();
        assert_eq!(passed(Caller::Account(0)), 10);
        assert_eq!(passed(Caller::Account(1)), 10);
        assert_eq!(passed(Caller::Anonymous(ELSEWHERE)), 50);
        assert_eq!(passed(Caller::Anonymous(LOOPBACK)), 50);
        assert_eq!(passed(Caller::Local), 100);
    }

    #[test]
    fn an_ipv6_customer_has_one_rate_for_its_56_bits() {
        let admission = Admission::new(&settings("0.0.0.0:1", AnonymousPuts::Yes));
        let caller = |address: &str| admission.caller(None, address.parse().unwrap(), false).unwrap();
        assert_eq!(caller("2001:db8:1:200::1"), caller("2001:db8:1:2ff:ffff::2"));
        assert_ne!(caller("2001:db8:1:200::1"), caller("2001:db8:1:300::1"));
        assert_eq!(caller("::ffff:192.0.2.7"), caller("192.0.2.7"));
    }

    #[test]
    fn networks_are_forgotten_rather_than_memory_filled() {
        let admission = Admission::new(&settings("0.0.0.0:1", AnonymousPuts::Yes));
        let now = UnixMicros(1_700_000_000_000_000);
        for address in 0..NETWORKS_MAX as u32 + 100 {
            let _ = admission.take(Caller::Anonymous(IpAddr::V4(Ipv4Addr::from_bits(address))), now);
        }
        assert_eq!(admission.meters().networks.len(), NETWORKS_MAX);
    }

    #[test]
    fn a_record_is_kept_to_its_expiry_or_to_the_end_of_the_lease() {
        let now = UnixSecs(20_000 * 86_400 + 5_000);
        let record = |days: u64| Record {
            genesis: Genesis::of(SecretKey::from_seed(&[1; 32]).public()),
            chain: Vec::new(),
            sequence: now.micros(),
            scope: Vec::new(),
            body: Body::Live {
                expiry: now.plus(days * 86_400),
                ttl: Ttl(60),
                bindings: Vec::new(),
            },
        };
        let terms = Terms {
            rate: None,
            names_max: None,
            keep_days: 30,
        };
        assert_eq!(terms.keep_until(&record(10), now), now.plus(10 * 86_400));
        assert_eq!(terms.keep_until(&record(30), now), now.plus(30 * 86_400));
        let leased = terms.keep_until(&record(300), now);
        assert!(
            leased >= now.plus(30 * 86_400) && leased.day() == now.day() + 30,
            "at least the days agreed on"
        );
        assert_eq!(leased, terms.keep_until(&record(300), now.plus(3_600)), "the same all day");
        let revoked = Record {
            body: Body::Revoked,
            ..record(1)
        };
        assert_eq!(terms.keep_until(&revoked, now), FOR_EVER);
    }
}
