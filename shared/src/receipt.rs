//! What a provider says about what it holds: a receipt for a put, and a signed status of a name.
//!
//! ```text
//! body    = {1: 1, 2: provider, 3: name, 4: rank, 5: time µs, ? 6: keep-until s}
//! leaf    = SHA-256(0x00 ‖ body), node = SHA-256(0x01 ‖ left ‖ right)          (the tree of RFC 9162 §2.1)
//! root    = envelope over {1: 1, 2: genesis, ? 3: chain, 4: time µs, 5: leaves, 6: root}, "dialtone/receipts/v1"
//! receipt = [body, index, [* node], root]
//! status  = envelope over {1: 1, 2: genesis, ? 3: chain, 4: time µs, 5: name, ? 6: rank}, "dialtone/status/v1"
//! ```
//!
//! One signature covers all puts of a commit, so receipts cost hashes. A receipt and a later status together prove
//! a broken promise to anyone, offline: both name the provider by its genesis.

use crate::cbor::{CborError, Reader, Writer};
use crate::key::{self, Genesis, KeyError, Link, SecretKey};
use crate::limits::CHAIN_LINKS_MAX;
use crate::name::Name;
use crate::record::rank::Rank;
use crate::record::signed::{envelope, open_envelope, to_be_signed};
use crate::time::{UnixMicros, UnixSecs};
use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Who signs: a name's genesis, its revealed links, and the secret in force.
#[derive(Clone, Debug)]
pub struct Signer {
    /// What the name commits to.
    pub genesis: Genesis,
    /// The rotations so far.
    pub chain: Vec<Link>,
    /// The key in force.
    pub secret: SecretKey,
}

/// What a receipt promises.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Promise {
    /// Who promises.
    pub provider: Name,
    /// To hold what name's record.
    pub name: Name,
    /// At least at this rank.
    pub rank: Rank,
    /// Said when.
    pub time: UnixMicros,
    /// Until when; `None` for a revocation: for ever.
    pub keep_until: Option<UnixSecs>,
}

/// A promise with its proof, as it travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    body: Vec<u8>,
    index: u64,
    path: Vec<[u8; 32]>,
    root: Bytes,
}

/// What a provider says it holds of a name at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Who says so.
    pub provider: Name,
    /// Of what name.
    pub name: Name,
    /// The rank held; `None`: nothing.
    pub rank: Option<Rank>,
    /// Said when.
    pub time: UnixMicros,
}

/// Why a receipt, a status, a statement or an invitation proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReceiptError {
    /// Not the shape.
    #[error("malformed: {0}")]
    Cbor(#[from] CborError),
    /// Not the one envelope.
    #[error("malformed envelope at byte {0}")]
    Envelope(usize),
    /// The provider's key chain does not hold together.
    #[error("the provider's keys: {0}")]
    Key(#[from] KeyError),
    /// Not signed by the provider it names.
    #[error("the signature is not the provider's")]
    Signature,
    /// The promise is not among those that were signed.
    #[error("the promise is not under the signed root")]
    NotIncluded,
    /// The promise is another provider's.
    #[error("the promise names {0}, another signed it")]
    OtherProvider(Name),
}

impl Signer {
    /// A signer whose name cannot rotate.
    pub fn of(secret: SecretKey) -> Self {
        Self {
            genesis: Genesis::of(secret.public()),
            chain: Vec::new(),
            secret,
        }
    }

    /// The name it signs for.
    pub fn name(&self) -> Name {
        self.genesis.name()
    }

    pub(crate) fn sign(&self, domain: &str, fill: impl FnOnce(&mut Writer), fields: usize) -> Bytes {
        let mut w = Writer::new();
        w.map(2 + usize::from(!self.chain.is_empty()) + fields).uint(1).uint(1).uint(2);
        self.genesis.write(&mut w);
        if !self.chain.is_empty() {
            w.uint(3).array(self.chain.len());
            self.chain.iter().for_each(|link| link.write(&mut w));
        }
        fill(&mut w);
        let payload = w.into_bytes();
        let signature = self.secret.sign(&to_be_signed(domain, &payload));
        Bytes::from(envelope(&payload, &signature))
    }
}

/// Receipts for everything of one commit, in the order given: one signature in all.
pub fn issue(signer: &Signer, time: UnixMicros, kept: &[(Name, Rank, Option<UnixSecs>)]) -> Vec<Receipt> {
    if kept.is_empty() {
        return Vec::new();
    }
    let provider = signer.name();
    let bodies: Vec<Vec<u8>> = kept
        .iter()
        .map(|(name, rank, keep_until)| {
            Promise {
                provider,
                name: *name,
                rank: *rank,
                time,
                keep_until: *keep_until,
            }
            .encode()
        })
        .collect();
    let levels = tree(&bodies);
    let top = levels[levels.len() - 1][0];
    let root = signer.sign(
        ROOT_DOMAIN,
        |w| {
            w.uint(4).uint(time.0).uint(5).uint(bodies.len() as u64).uint(6).bytes(&top);
        },
        3,
    );
    let path_of = |index: usize| {
        let mut at = index;
        levels
            .iter()
            .filter_map(|level| {
                let sibling = level.get(at ^ 1).copied();
                at >>= 1;
                sibling
            })
            .collect()
    };
    bodies
        .into_iter()
        .enumerate()
        .map(|(index, body)| Receipt {
            body,
            index: index as u64,
            path: path_of(index),
            root: root.clone(),
        })
        .collect()
}

impl Receipt {
    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_room(32 + self.body.len() + 34 * self.path.len() + self.root.len());
        w.array(4).bytes(&self.body).uint(self.index).array(self.path.len());
        for node in &self.path {
            w.bytes(node);
        }
        w.bytes(&self.root);
        w.into_bytes()
    }

    /// Reads what [`Receipt::encode`] writes. Proves nothing yet.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        r.array_exact(4)?;
        let (body, index) = (r.bytes()?.to_vec(), r.uint()?);
        let at = r.position();
        let nodes = r.array()?;
        if nodes > 64 {
            return Err(CborError::Type(at));
        }
        let path = (0..nodes).map(|_| r.array_of()).collect::<Result<_, _>>()?;
        let root = Bytes::copy_from_slice(r.bytes()?);
        r.finish()?;
        Ok(Self { body, index, path, root })
    }

    /// What it claims was promised. Nothing of it is checked.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn claims(&self) -> Result<Promise, CborError> {
        Promise::decode(&self.body)
    }

    /// Checks the signature and that the promise is under it, and says what was promised.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn verify(&self) -> Result<Promise, ReceiptError> {
        let promise = Promise::decode(&self.body)?;
        let (signed_by, time, (leaves, root)) = open(ROOT_DOMAIN, &self.root, |r, fields| {
            expect(fields.next(r)?, 5, r)?;
            let leaves = r.uint()?;
            expect(fields.next(r)?, 6, r)?;
            Ok((leaves, r.array_of::<32>()?))
        })?;
        if signed_by != promise.provider {
            return Err(ReceiptError::OtherProvider(promise.provider));
        }
        let included = fold(leaf(&self.body), self.index, leaves, &self.path) == Some(root);
        if included && time == promise.time {
            Ok(promise)
        } else {
            Err(ReceiptError::NotIncluded)
        }
    }
}

impl Promise {
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_room(160);
        w.map(5 + usize::from(self.keep_until.is_some())).uint(1).uint(1);
        w.uint(2)
            .bytes(self.provider.as_bytes())
            .uint(3)
            .bytes(self.name.as_bytes())
            .uint(4);
        self.rank.write(&mut w);
        w.uint(5).uint(self.time.0);
        if let Some(until) = self.keep_until {
            w.uint(6).uint(until.0);
        }
        w.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        let mut fields = r.map()?;
        expect(fields.next(&mut r)?, 1, &r)?;
        expect(Some(r.uint()?), 1, &r)?;
        expect(fields.next(&mut r)?, 2, &r)?;
        let provider = read_name(&mut r)?;
        expect(fields.next(&mut r)?, 3, &r)?;
        let name = read_name(&mut r)?;
        expect(fields.next(&mut r)?, 4, &r)?;
        let rank = Rank::read(&mut r)?;
        expect(fields.next(&mut r)?, 5, &r)?;
        let time = UnixMicros(r.uint()?);
        let keep_until = match fields.next(&mut r)? {
            None => None,
            key => {
                expect(key, 6, &r)?;
                Some(UnixSecs(r.uint()?))
            }
        };
        fields.end(&r)?;
        r.finish()?;
        Ok(Self {
            provider,
            name,
            rank,
            time,
            keep_until,
        })
    }
}

impl Status {
    /// Signs what is held of `name` at `time`.
    pub fn sign(signer: &Signer, time: UnixMicros, name: &Name, rank: Option<&Rank>) -> Bytes {
        let fill = |w: &mut Writer| {
            w.uint(4).uint(time.0).uint(5).bytes(name.as_bytes());
            if let Some(rank) = rank {
                w.uint(6);
                rank.write(w);
            }
        };
        signer.sign(STATUS_DOMAIN, fill, 2 + usize::from(rank.is_some()))
    }

    /// Checks the signature and says what was stated.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn verify(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let (provider, time, (name, rank)) = open(STATUS_DOMAIN, bytes, |r, fields| {
            expect(fields.next(r)?, 5, r)?;
            let name = read_name(r)?;
            let rank = match fields.next(r)? {
                None => None,
                key => {
                    expect(key, 6, r)?;
                    Some(Rank::read(r)?)
                }
            };
            Ok((name, rank))
        })?;
        Ok(Self {
            provider,
            name,
            rank,
            time,
        })
    }
}

/// Opens a provider's signed statement: who says it, when, and what `read` makes of the rest.
pub(crate) fn open<T>(
    domain: &str,
    bytes: &[u8],
    read: impl FnOnce(&mut Reader<'_>, &mut crate::cbor::Fields) -> Result<T, CborError>,
) -> Result<(Name, UnixMicros, T), ReceiptError> {
    let payload = &bytes[open_envelope(bytes).map_err(ReceiptError::Envelope)?];
    let mut r = Reader::new(payload);
    let mut fields = r.map()?;
    expect(fields.next(&mut r)?, 1, &r)?;
    expect(Some(r.uint()?), 1, &r)?;
    expect(fields.next(&mut r)?, 2, &r)?;
    let genesis = Genesis::read(&mut r)?;
    let mut chain = Vec::new();
    let mut key = fields.next(&mut r)?;
    if key == Some(3) {
        let count = r.array()?;
        if count == 0 || count > CHAIN_LINKS_MAX as u64 {
            return Err(CborError::Type(r.position()).into());
        }
        chain = (0..count).map(|_| Link::read(&mut r)).collect::<Result<_, _>>()?;
        key = fields.next(&mut r)?;
    }
    expect(key, 4, &r)?;
    let time = UnixMicros(r.uint()?);
    let rest = read(&mut r, &mut fields)?;
    fields.end(&r)?;
    r.finish()?;
    let signature = bytes.last_chunk().ok_or(ReceiptError::Signature)?;
    if !key::current_key(&genesis, &chain)?.verify(&to_be_signed(domain, payload), signature)? {
        return Err(ReceiptError::Signature);
    }
    Ok((genesis.name(), time, rest))
}

pub(crate) fn expect(found: Option<u64>, wanted: u64, r: &Reader<'_>) -> Result<(), CborError> {
    if found == Some(wanted) {
        Ok(())
    } else {
        Err(CborError::Type(r.position()))
    }
}

pub(crate) fn read_name(r: &mut Reader<'_>) -> Result<Name, CborError> {
    let at = r.position();
    Name::from_bytes(r.bytes()?).map_err(|_| CborError::Type(at))
}

fn leaf(body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update([0]).chain_update(body).finalize().into()
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// All levels, leaves first. A node without a sibling rises unchanged, which is the tree of RFC 9162 §2.1.
fn tree(bodies: &[Vec<u8>]) -> Vec<Vec<[u8; 32]>> {
    let mut levels = vec![bodies.iter().map(|body| leaf(body)).collect::<Vec<_>>()];
    while let Some(level) = levels.last().filter(|level| level.len() > 1) {
        let above = level
            .chunks(2)
            .map(|pair| if let [left, right] = pair { node(left, right) } else { pair[0] })
            .collect();
        levels.push(above);
    }
    levels
}

/// The root that `path` leads to from leaf `index` of `leaves` (RFC 9162 §2.1.3.2); `None` if it does not fit.
fn fold(leaf: [u8; 32], index: u64, leaves: u64, path: &[[u8; 32]]) -> Option<[u8; 32]> {
    if index >= leaves {
        return None;
    }
    let (mut at, mut last, mut hash) = (index, leaves - 1, leaf);
    for sibling in path {
        while at & 1 == 0 && at == last && last > 0 {
            at >>= 1;
            last >>= 1;
        }
        if last == 0 {
            return None;
        }
        hash = if at & 1 == 1 { node(sibling, &hash) } else { node(&hash, sibling) };
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// The external_aad of a signed root of receipts.
pub const ROOT_DOMAIN: &str = "dialtone/receipts/v1";
/// The external_aad of a status.
pub const STATUS_DOMAIN: &str = "dialtone/status/v1";
