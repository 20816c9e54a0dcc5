//! The origin signed while it is asked for: DNSSEC with ECDSA P-256 (RFC 4035, RFC 6605), and proofs of what is not there (RFC 9824).
//!
//! Only who asks for signatures gets them, and each answer is signed once for as long as it is kept. A name made from a wildcard is signed as if it stood
//! there. All keys are shown, and all sign the set of keys, so that whoever knows one of them knows the first, which signs everything else.

use crate::dns::canonical;
use crate::dns::denial::types::{DNSKEY, NSEC, RRSIG};
use crate::dns::domain::Domain;
use crate::dns::rcode::Rcode;
use crate::dns::response::{Rdata, Response, Rr};
use crate::dns::wire::CLASS_IN;
use bytes::Bytes;
use dialtone_shared::UnixSecs;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A key that signs.
pub trait ZoneKey: fmt::Debug + Send + Sync {
    /// Its point: `[x 32][y 32]` (RFC 6605 §4).
    fn public(&self) -> [u8; 64];

    /// The signature of a message: `[r 32][s 32]`; `None` if chance fails.
    fn sign(&self, message: &[u8]) -> Option<[u8; 64]>;
}

/// A key as a zone shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownKey {
    /// `[flags u16][protocol u8][algorithm u8][x][y]`
    rdata: Vec<u8>,
}

/// The keys of a zone, in the order of their file.
#[derive(Debug)]
pub struct Signing {
    origin: Domain,
    keys: Vec<(Arc<dyn ZoneKey>, ShownKey)>,
    /// Signatures of what stands at the origin itself, which go with many answers.
    kept: Mutex<Vec<Kept>>,
}

/// The data of a set of records, each in the form that is signed, in order, and its signatures.
#[derive(Debug)]
struct Kept {
    made: UnixSecs,
    kind: u16,
    original_ttl: u32,
    data: Vec<Vec<u8>>,
    signatures: Vec<Bytes>,
}

impl ShownKey {
    /// The key with this point.
    pub fn new(public: &[u8; 64]) -> Self {
        let mut rdata = FLAGS.to_be_bytes().to_vec();
        rdata.extend_from_slice(&[PROTOCOL, ALGORITHM]);
        rdata.extend_from_slice(public);
        Self { rdata }
    }

    /// What the DNSKEY record says.
    pub fn rdata(&self) -> &[u8] {
        &self.rdata
    }

    /// By which signatures name it: not always one of a kind (RFC 4034 appendix B).
    pub fn tag(&self) -> u16 {
        let pairs = self
            .rdata
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
        let sum: u32 = pairs.sum();
        (sum + (sum >> 16)) as u16
    }

    /// What the DS record says that the parent of `zone` has for it, with SHA-256: `[tag u16][algorithm u8][digest type u8][digest]` (RFC 4509).
    pub fn ds(&self, zone: &Domain) -> Vec<u8> {
        let digest = Sha256::new()
            .chain_update(zone.to_lower().as_wire())
            .chain_update(&self.rdata)
            .finalize();
        let mut rdata = self.tag().to_be_bytes().to_vec();
        rdata.extend_from_slice(&[ALGORITHM, DIGEST_SHA256]);
        rdata.extend_from_slice(&digest);
        rdata
    }
}

impl Signing {
    /// Signs what stands under `origin` with the first of `keys`.
    pub fn new(origin: &Domain, keys: impl IntoIterator<Item = Arc<dyn ZoneKey>>) -> Self {
        Self {
            origin: origin.to_lower(),
            keys: keys
                .into_iter()
                .map(|key| (Arc::clone(&key), ShownKey::new(&key.public())))
                .collect(),
            kept: Mutex::default(),
        }
    }

    /// The keys as the zone shows them.
    pub fn shown(&self) -> impl Iterator<Item = &ShownKey> {
        self.keys.iter().map(|(_, shown)| shown)
    }

    /// The DNSKEY records of the origin, with `owner` written over them.
    pub fn dnskeys(&self, owner: &Domain, ttl: u32) -> Vec<Rr> {
        let record = |shown: &ShownKey| Rr {
            owner: owner.clone(),
            kind: DNSKEY,
            ttl,
            rdata: Rdata::Bytes(Bytes::copy_from_slice(shown.rdata())),
        };
        self.shown().map(record).collect()
    }

    /// How many signatures `response` is to have, those not counted that are kept; `None`: nothing in it is to be signed.
    pub fn wanted(&self, response: &Response) -> Option<usize> {
        let denied = response.denial.iter().map(|denial| &denial.owner);
        let sections = [&response.answers, &response.authority];
        let sets = sections.into_iter().flat_map(|section| sets(section)).filter_map(<[Rr]>::first);
        let ours = denied
            .chain(sets.map(|first| &first.owner))
            .filter(|owner| owner.is_within(&self.origin));
        ours.fold(None, |wanted, owner| Some(wanted.unwrap_or(0) + usize::from(*owner != self.origin)))
    }

    /// Adds to the answer to a question for `kind` the signatures of all that stands under the origin, and the proof of what does not. `compact`: who asks
    /// takes "there is no such name" with such a proof (the CO bit); others are told that there is no data. `None`: nothing could be signed.
    pub fn prove(&self, response: &mut Response, kind: u16, compact: bool, now: UnixSecs) -> Option<()> {
        response.compact = compact;
        if let Some(denial) = response.denial.take().filter(|denial| denial.owner.is_within(&self.origin)) {
            let ttl = response.authority.iter().map(|soa| soa.ttl).min().unwrap_or_default();
            let (nsec, is_denied) = (denial.nsec(kind, ttl)?, compact && !denial.exists);
            if kind == NSEC {
                // Asked for by its type it is there, at whatever name.
                response.rcode = Rcode::NoError;
                response.authority.clear();
                response.answers.push(nsec);
            } else {
                response.authority.push(nsec);
                if response.rcode == Rcode::NxDomain && !is_denied {
                    response.rcode = Rcode::NoError;
                }
            }
        }
        response.answers = self.signed(&response.answers, now)?;
        response.authority = self.signed(&response.authority, now)?;
        Some(())
    }

    fn signed(&self, records: &[Rr], now: UnixSecs) -> Option<Vec<Rr>> {
        let mut signed = Vec::with_capacity(2 * records.len());
        for set in sets(records) {
            let Some(first) = set.first().filter(|first| first.owner.is_within(&self.origin)) else {
                signed.extend_from_slice(set);
                continue;
            };
            let ttl = set.iter().map(|record| record.ttl).min().unwrap_or_default().min(TTL_SECS_MAX);
            signed.extend(set.iter().map(|record| Rr { ttl, ..record.clone() }));
            let original_ttl = match &first.rdata {
                // It goes with answers that hold for less, and is signed once for all.
                Rdata::Soa(soa) => ttl.max(soa.minimum),
                Rdata::Bytes(_) | Rdata::Name(_) => ttl,
            };
            let mut data: Vec<_> = set.iter().map(|record| canonical::rdata(record.kind, &record.rdata)).collect();
            data.sort_unstable();
            data.dedup();
            let signatures = self.signatures(&first.owner, first.kind, original_ttl, data, now)?;
            signed.extend(signatures.into_iter().map(|rdata| Rr {
                owner: first.owner.clone(),
                kind: RRSIG,
                ttl,
                rdata: Rdata::Bytes(rdata),
            }));
        }
        Some(signed)
    }

    fn signatures(&self, owner: &Domain, kind: u16, original_ttl: u32, data: Vec<Vec<u8>>, now: UnixSecs) -> Option<Vec<Bytes>> {
        let is_kept = *owner == self.origin;
        if is_kept {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            // Before it was made the clock was set back: then it may hold for longer than it says.
            kept.retain(|kept| kept.made <= now && now.since(kept.made) < KEPT_SECS);
            let of_this = |kept: &&Kept| kept.kind == kind && kept.original_ttl == original_ttl && kept.data == data;
            if let Some(found) = kept.iter().find(of_this) {
                return Some(found.signatures.clone());
            }
        }
        let signers = if kind == DNSKEY { self.keys.len() } else { 1 };
        let mut signatures = Vec::with_capacity(signers);
        for (key, shown) in self.keys.iter().take(signers) {
            let mut rdata = head(&self.origin, shown.tag(), owner, kind, original_ttl, now);
            let signature = key.sign(&message(&rdata, owner, kind, original_ttl, &data))?;
            rdata.extend_from_slice(&signature);
            signatures.push(Bytes::from(rdata));
        }
        if is_kept {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= KEPT_MAX {
                kept.remove(0);
            }
            kept.push(Kept {
                made: now,
                kind,
                original_ttl,
                data,
                signatures: signatures.clone(),
            });
        }
        Some(signatures)
    }
}

/// The sets of records that have one signature each.
fn sets(records: &[Rr]) -> impl Iterator<Item = &[Rr]> {
    records.chunk_by(|one, next| one.kind == next.kind && one.owner == next.owner)
}

/// An RRSIG but for the signature: `[type u16][algorithm u8][labels u8][ttl u32][until u32][from u32][tag u16][signer]` (RFC 4034 §3.1).
fn head(signer: &Domain, tag: u16, owner: &Domain, kind: u16, original_ttl: u32, now: UnixSecs) -> Vec<u8> {
    let mut head = kind.to_be_bytes().to_vec();
    head.extend_from_slice(&[ALGORITHM, canonical::labels(owner)]);
    head.extend_from_slice(&original_ttl.to_be_bytes());
    // They count modulo 2^32 (RFC 4034 §3.1.5).
    head.extend_from_slice(&(now.plus(VALID_SECS).0 as u32).to_be_bytes());
    head.extend_from_slice(&(now.0.saturating_sub(SKEW_SECS) as u32).to_be_bytes());
    head.extend_from_slice(&tag.to_be_bytes());
    head.extend_from_slice(signer.as_wire());
    head
}

/// What is signed (RFC 4034 §3.1.8.1).
fn message(head: &[u8], owner: &Domain, kind: u16, original_ttl: u32, data: &[Vec<u8>]) -> Vec<u8> {
    let owner = owner.to_lower();
    let mut message = head.to_vec();
    for rdata in data {
        message.extend_from_slice(owner.as_wire());
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&CLASS_IN.to_be_bytes());
        message.extend_from_slice(&original_ttl.to_be_bytes());
        // An answer has no more.
        message.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        message.extend_from_slice(rdata);
    }
    message
}

/// A zone's key that its parent may name (RFC 4034 §2.1.1).
const FLAGS: u16 = 257;
const PROTOCOL: u8 = 3;
/// ECDSA on the curve P-256 with SHA-256 (RFC 6605): small, quick to make, and known to every validator.
const ALGORITHM: u8 = 13;
const DIGEST_SHA256: u8 = 2;

/// For how long a signature holds, in seconds: two days. Whoever keeps an answer may keep it for the half, and our own signatures are kept for the other.
const VALID_SECS: u64 = 2 * 86_400;

/// Longest that a signed answer may be kept, in seconds.
const TTL_SECS_MAX: u32 = (VALID_SECS / 2) as u32;

/// For how long signatures of what stands at the origin are given, in seconds.
const KEPT_SECS: u64 = VALID_SECS / 2;

/// How slow a clock may go that finds a signature valid, in seconds (RFC 6781 §4.4.2.1 has an hour).
const SKEW_SECS: u64 = 3_600;

/// Most sets whose signatures are kept: SOA with both of its TTLs, NS, DNSKEY, NSEC, HINFO, and room.
const KEPT_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::denial::Denial;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use dialtone_shared::record::rdata::types;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const NOW: UnixSecs = UnixSecs(1_800_000_000);

    /// A key made for a test, which counts what it signs.
    #[derive(Debug)]
    struct TestKey(EcdsaKeyPair, Arc<AtomicUsize>);

    impl ZoneKey for TestKey {
        fn public(&self) -> [u8; 64] {
            self.0.public_key().as_ref()[1..].try_into().expect("a point")
        }

        fn sign(&self, message: &[u8]) -> Option<[u8; 64]> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0
                .sign(&ring::rand::SystemRandom::new(), message)
                .ok()?
                .as_ref()
                .try_into()
                .ok()
        }
    }

    fn signing(keys: usize) -> (Signing, Arc<AtomicUsize>) {
        let signed = Arc::new(AtomicUsize::new(0));
        let key = |_| {
            let chance = ring::rand::SystemRandom::new();
            let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &chance).expect("a key");
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &chance).expect("a key");
            Arc::new(TestKey(pair, Arc::clone(&signed))) as Arc<dyn ZoneKey>
        };
        (Signing::new(&domain("Names.Example"), (0..keys).map(key)), signed)
    }

    fn domain(text: &str) -> Domain {
        Domain::from_text(text).expect("a domain")
    }

    fn rr(owner: &str, kind: u16, ttl: u32, rdata: &[u8]) -> Rr {
        Rr {
            owner: domain(owner),
            kind,
            ttl,
            rdata: Rdata::Bytes(Bytes::copy_from_slice(rdata)),
        }
    }

    fn soa(ttl: u32) -> Rr {
        let rdata = Rdata::Soa(crate::dns::response::SoaData {
            mname: domain("ns.example"),
            rname: domain("nobody.example"),
            serial: 1,
            refresh: 2,
            retry: 3,
            expire: 4,
            minimum: 10,
        });
        Rr {
            owner: domain("names.example"),
            kind: types::SOA,
            ttl,
            rdata,
        }
    }

    fn rdata(record: &Rr) -> Vec<u8> {
        canonical::rdata(record.kind, &record.rdata)
    }

    /// Whether the signature `rrsig` is one of `set` by this key, reckoned anew.
    fn holds(shown: &ShownKey, set: &[Rr], rrsig: &Rr) -> bool {
        let bytes = rdata(rrsig);
        let head = bytes.len() - 64;
        let original_ttl = u32::from_be_bytes(bytes[4..8].try_into().expect("four"));
        let mut data: Vec<_> = set.iter().map(rdata).collect();
        data.sort();
        let message = message(&bytes[..head], &set[0].owner, set[0].kind, original_ttl, &data);
        let point = [&[4], &shown.rdata()[4..]].concat();
        bytes[16..18] == shown.tag().to_be_bytes()
            && UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(&message, &bytes[head..])
                .is_ok()
    }

    #[test]
    fn the_example_of_rfc_6605_comes_out_as_it_stands_there() {
        let decoded = |text: &str| STANDARD.decode(text).expect("base64");
        let public = decoded("GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==");
        let shown = ShownKey::new(&public.try_into().expect("a point"));
        assert_eq!(shown.tag(), 55_648);
        let ds = hex::decode("d9600d02b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17").expect("hex");
        assert_eq!(shown.ds(&domain("Example.net")), ds);
        // Made at the time from which it holds: until then are 28 days.
        let made = UnixSecs(1_281_607_479 + SKEW_SECS);
        let owner = domain("www.example.net");
        let mut rrsig = head(&domain("example.net"), shown.tag(), &owner, types::A, 3_600, made);
        rrsig[8..12].copy_from_slice(&1_284_026_679_u32.to_be_bytes());
        rrsig.extend(decoded(
            "qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==",
        ));
        let set = [rr("WWW.example.net", types::A, 3_600, &[192, 0, 2, 1])];
        assert!(holds(&shown, &set, &rr("www.example.net", RRSIG, 3_600, &rrsig)));
        let other = [rr("www.example.net", types::A, 3_600, &[192, 0, 2, 2])];
        assert!(!holds(&shown, &other, &rr("www.example.net", RRSIG, 3_600, &rrsig)));
    }

    #[test]
    fn each_set_under_the_origin_is_signed_and_nothing_else_is() {
        let (signing, _) = signing(1);
        let key = signing.shown().next().expect("a key").clone();
        let mut response = Response::code(Rcode::NoError, None);
        let sets = [
            vec![rr("a.names.example", types::CNAME, 60, domain("B.names.example").as_wire())],
            vec![
                rr("b.Names.example", types::A, 60, &[2; 4]),
                rr("b.Names.example", types::A, 60, &[1; 4]),
            ],
        ];
        response.answers = sets.concat();
        response.answers.push(rr("www.example", types::A, 60, &[3; 4]));
        assert_eq!(signing.wanted(&response), Some(2));
        signing.prove(&mut response, types::A, false, NOW).expect("signed");
        let kinds: Vec<u16> = response.answers.iter().map(|record| record.kind).collect();
        assert_eq!(kinds, [types::CNAME, RRSIG, types::A, types::A, RRSIG, types::A]);
        assert!(holds(&key, &sets[0], &response.answers[1]) && holds(&key, &sets[1], &response.answers[4]));
        assert!(!holds(&key, &sets[1][..1], &response.answers[4]));
        assert!(!response.compact);
        let foreign = Response {
            answers: vec![rr("www.example", types::A, 60, &[3; 4])],
            ..Response::code(Rcode::NoError, None)
        };
        assert_eq!(signing.wanted(&foreign), None);
    }

    #[test]
    fn no_answer_may_be_kept_for_longer_than_its_signature_holds() {
        let (signing, _) = signing(1);
        let mut response = Response::code(Rcode::NoError, None);
        response.answers = vec![rr("b.names.example", types::A, 7 * 86_400, &[2; 4])];
        signing.prove(&mut response, types::A, false, NOW).expect("signed");
        let signature = rdata(&response.answers[1]);
        let number = |at: usize| u64::from(u32::from_be_bytes(signature[at..at + 4].try_into().expect("four")));
        let ttl = u64::from(response.answers[0].ttl);
        assert_eq!((response.answers[0].ttl, response.answers[1].ttl), (TTL_SECS_MAX, TTL_SECS_MAX));
        assert!(number(8) >= NOW.0 + ttl && number(12) < NOW.0 && number(4) == ttl);
    }

    #[test]
    fn what_is_not_there_is_proved_and_the_code_says_so_only_to_who_knows_such_proofs() {
        let (signing, _) = signing(1);
        let key = signing.shown().next().expect("a key").clone();
        let asked = |kind, compact| {
            let mut response = Response::code(Rcode::NxDomain, None);
            response.authority = vec![soa(7)];
            response.denial = Some(Box::new(Denial {
                owner: domain("no.names.example"),
                exists: false,
                kinds: Vec::new(),
            }));
            signing.prove(&mut response, kind, compact, NOW).expect("signed");
            response
        };
        for (compact, code) in [(false, Rcode::NoError), (true, Rcode::NxDomain)] {
            let response = asked(types::A, compact);
            assert_eq!((response.rcode, response.compact, response.answers.len()), (code, compact, 0));
            let [soa, soa_signature, nsec, signature] = &response.authority[..] else {
                panic!("{response:?}")
            };
            assert_eq!((nsec.kind, nsec.ttl), (NSEC, 7));
            assert!(holds(&key, std::slice::from_ref(soa), soa_signature) && holds(&key, std::slice::from_ref(nsec), signature));
        }
        let response = asked(NSEC, true);
        assert_eq!(
            (response.rcode, response.answers.len(), response.authority.len()),
            (Rcode::NoError, 2, 0)
        );
    }

    #[test]
    fn what_stands_at_the_origin_is_signed_once_for_a_day_whatever_is_left_of_its_ttl() {
        let (signing, signed) = signing(1);
        let ask = |ttl, now| {
            let mut response = Response::code(Rcode::NoError, None);
            response.authority = vec![soa(ttl)];
            signing.prove(&mut response, types::A, false, now).expect("signed");
            assert_eq!(response.authority[1].ttl, ttl);
            response.authority[1].rdata.clone()
        };
        let first = ask(10, NOW);
        assert_eq!(ask(3, NOW.plus(KEPT_SECS - 1)), first);
        assert_eq!(signed.load(Ordering::Relaxed), 1);
        assert_ne!(ask(3, NOW.plus(KEPT_SECS)), first);
        assert_ne!(ask(3, NOW), first, "the clock was set back");
        assert_eq!(signed.load(Ordering::Relaxed), 3);
        for minimum in 0..100 {
            let mut response = Response::code(Rcode::NoError, None);
            response.answers = vec![rr("names.example", types::A, minimum, &[1; 4])];
            signing.prove(&mut response, types::A, false, NOW).expect("signed");
        }
        assert_eq!(signing.kept.lock().expect("kept").len(), KEPT_MAX);
    }

    #[test]
    fn all_keys_are_shown_and_sign_each_other_and_the_first_signs_the_rest() {
        let (signing, _) = signing(2);
        let keys: Vec<_> = signing.shown().cloned().collect();
        let mut response = Response::code(Rcode::NoError, None);
        response.answers = signing.dnskeys(&domain("names.example"), 3_600);
        let set = response.answers.clone();
        signing.prove(&mut response, DNSKEY, false, NOW).expect("signed");
        assert_eq!(response.answers.len(), 4);
        assert!(holds(&keys[0], &set, &response.answers[2]) && holds(&keys[1], &set, &response.answers[3]));
        response.answers = vec![rr("a.names.example", types::A, 60, &[1; 4])];
        let set = response.answers.clone();
        signing.prove(&mut response, types::A, false, NOW).expect("signed");
        assert_eq!(response.answers.len(), 2);
        assert!(holds(&keys[0], &set, &response.answers[1]));
    }
}
