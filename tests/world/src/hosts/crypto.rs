//! TLS that does the same twice: as in production, but what it draws comes from a seed.
//!
//! It matters although nobody looks inside: a datagram that reaches a host which cannot open it (it has just crashed and started again)
//! is dropped here or there depending on its very bytes.

use curve25519_dalek::MontgomeryPoint;
use quinn::rustls::crypto::{ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup, ring};
use quinn::rustls::{Error, NamedGroup};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cell::RefCell;

thread_local! {
    /// A simulation has one thread; all its hosts draw from this, each in its turn.
    static DRAWN: RefCell<StdRng> = RefCell::new(StdRng::seed_from_u64(0));
}

/// From now on this thread draws from `seed`.
pub fn seed(seed: u64) {
    DRAWN.with_borrow_mut(|rng| *rng = StdRng::seed_from_u64(seed));
}

/// The next bytes.
pub fn draw<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    DRAWN.with_borrow_mut(|rng| rng.fill_bytes(&mut bytes));
    bytes
}

/// What TLS is to use.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![&X25519],
        secure_random: &Drawn,
        ..ring::default_provider()
    }
}

#[derive(Debug)]
struct Drawn;

impl SecureRandom for Drawn {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        DRAWN.with_borrow_mut(|rng| rng.fill_bytes(buffer));
        Ok(())
    }
}

/// RFC 7748, whose secrets are drawn.
#[derive(Debug)]
struct X25519;

struct Exchange {
    secret: [u8; 32],
    public: [u8; 32],
}

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let secret = draw();
        let public = MontgomeryPoint::mul_base_clamped(secret).to_bytes();
        Ok(Box::new(Exchange { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = peer.try_into().map_err(|_| Error::General("not a key of X25519".to_owned()))?;
        let shared = MontgomeryPoint(peer).mul_clamped(self.secret).to_bytes();
        Ok(SharedSecret::from(&shared[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
