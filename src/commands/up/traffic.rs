//! A little traffic, so that there is something to see: names that change at one provider or another, and are looked up at all.

use super::world::World;
use dialtone_resolver::io::clock;
use dialtone_resolver::io::publisher::Publisher;
use dialtone_resolver::publish::{self, Account, PutIf};
use dialtone_resolver::{Lookup, ProviderAt};
use dialtone_shared::receipt::Signer;
use dialtone_shared::record::Address;
use dialtone_shared::{Binding, Body, SecretKey, Ttl};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::Ipv4Addr;

/// The publishers and who looks their names up.
#[derive(Debug)]
pub struct Traffic {
    rng: StdRng,
    publishers: Vec<Signer>,
    /// How many of them have published.
    known: usize,
    seen: Vec<Seen>,
}

/// What happened at one provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Records put there.
    pub puts: u64,
    /// Lookups there of names that were put somewhere.
    pub gets: u64,
    /// Those that were answered with the record.
    pub found: u64,
}

impl Traffic {
    /// Nothing yet.
    pub fn new(providers: usize) -> Self {
        let mut rng = StdRng::from_rng(&mut rand::rng());
        let publishers = (0..NAMES).map(|_| Signer::of(SecretKey::from_seed(&rng.random()))).collect();
        Self {
            rng,
            publishers,
            known: 0,
            seen: vec![Seen::default(); providers],
        }
    }

    /// What happened so far, by provider.
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// One put at some provider, and some lookups at others. What does not work shows in the counts.
    pub async fn step(&mut self, world: &World) {
        let providers = world.providers.len();
        let at = self.rng.random_range(0..providers);
        let publisher = self.rng.random_range(0..self.publishers.len().min(self.known + 1));
        if self.put(world, at, publisher).await {
            self.known = self.known.max(publisher + 1);
            self.seen[at].puts += 1;
        }
        for _ in 0..GETS_A_PUT.min(self.known * GETS_A_PUT) {
            let (at, publisher) = (self.rng.random_range(0..providers), self.rng.random_range(0..self.known));
            let name = self.publishers[publisher].name();
            let found = world.providers[at].provider.source().lookup(&name).await;
            self.seen[at].gets += 1;
            self.seen[at].found += u64::from(matches!(found, Ok(Lookup::Found { .. })));
        }
    }

    async fn put(&mut self, world: &World, at: usize, publisher: usize) -> bool {
        let now = clock::now_micros();
        let address = Ipv4Addr::new(192, 0, 2, self.rng.random());
        let body = Body::Live {
            expiry: now.secs().plus(LIFE_SECS),
            ttl: Ttl(60),
            bindings: vec![Binding::Address(Address::of(address.into()))],
        };
        let Ok(record) = publish::sign(&self.publishers[publisher], now, Vec::new(), body) else {
            return false;
        };
        let account = Account {
            at: ProviderAt::Http(world.providers[at].url.clone()),
            token: None,
        };
        let put = Publisher::new(vec![account]).put(&record, PutIf::Always).await;
        put.iter().all(Result::is_ok)
    }
}

/// Names that take part.
const NAMES: usize = 200;
/// Lookups for each put.
const GETS_A_PUT: usize = 5;
/// An hour: the traffic leaves nothing behind for long.
const LIFE_SECS: u64 = 3_600;
