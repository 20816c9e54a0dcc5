//! TLS that does the same twice: as in production, but what it draws comes from a seed.
//!
//! It matters although nobody looks inside: a datagram that reaches a host which cannot open it (it has just crashed and started again)
//! is dropped here or there depending on its very bytes.

use curve25519_dalek::MontgomeryPoint;
use quinn::rustls::crypto::{ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup, ring};
use quinn::rustls::{Error, NamedGroup};
use quinn::{ConnectionId, ConnectionIdGenerator};
use quinn_proto::InvalidCid;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::time::Duration;

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

/// Connection ids as quinn makes them, of a nonce and its hash, so that those of a host's earlier start are known for what they are.
#[derive(Debug)]
pub struct Ids {
    key: [u8; 8],
}

impl Ids {
    /// Those of one start of a host.
    pub fn new() -> Self {
        Self { key: draw() }
    }

    fn hash(&self, nonce: &[u8]) -> [u8; 5] {
        let digest: [u8; 32] = Sha256::new().chain_update(self.key).chain_update(nonce).finalize().into();
        [digest[0], digest[1], digest[2], digest[3], digest[4]]
    }
}

impl Default for Ids {
    fn default() -> Self {
        Self::new()
    }
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let nonce = draw::<3>();
        ConnectionId::new(&[&nonce[..], &self.hash(&nonce)].concat())
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let (nonce, hash) = id.split_at_checked(3).ok_or(InvalidCid)?;
        (self.hash(nonce) == hash).then_some(()).ok_or(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
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
