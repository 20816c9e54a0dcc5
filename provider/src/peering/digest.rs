//! A digest: a compact filter of the names that a provider holds, small enough to be sent whole. It says "no" for certain and "yes" with about
//! one mistake in a hundred.
//!
//! ```text
//! hash       XXH3-64 of the 33 bytes of the name, or of the 16 bytes of a Host Identity Tag, under the digest's seed
//! positions  h, then h' = rotate-left(h, 5) + h0 · 0x517cc1b727220a95 from the one before, h0 being the hash: as many as `hashes` says;
//!            of m bits each sets bit floor(h · m / 2^64)
//! bits       bit i is bit i mod 64 of word floor(i / 64); words are 8 bytes, little-endian
//! ```
//!
//! Beside each name stands the tag of its record's key, if it has one. Names that come later are told as bare hashes, which both sides put into the filter that was sent. A filter
//! has room for a quarter more names than it was made of, and 1,024 at least; when as many were told, a new one is due, under a new seed. Nothing is ever taken out of a filter.

use super::limits::{DIGEST_BYTES_MAX, DIGEST_CHUNK_BYTES, DIGEST_NAMES_MIN};
use crate::store::pointer::has_key;
use bytes::Bytes;
use dialtone_shared::Name;
use dialtone_shared::hip::Hit;
use dialtone_shared::message::{self, Mention};
use fastbloom::AtomicBloomFilter;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A filter of names. Shared: it is asked while hashes are put in.
pub struct Digest {
    seed: u64,
    names: u64,
    filter: AtomicBloomFilter,
    /// Whether the tags of all the names are in it.
    tags: AtomicBool,
}

impl Digest {
    /// What is told under `seed` of a name whose record's key has this tag; `None`: it has no key, or the tag is not known.
    pub fn mention_of(seed: u64, name: &Name, tag: Option<&Hit>) -> Mention {
        let hash = Self::hash(seed, name);
        let tag = match tag {
            Some(tag) => Some(xxh3_64_with_seed(tag.as_bytes(), seed)),
            None => (!has_key(name)).then_some(hash),
        };
        Mention { name: hash, tag }
    }

    /// The hash of `name` under `seed`: what is told of a name in between.
    pub fn hash(seed: u64, name: &Name) -> u64 {
        xxh3_64_with_seed(name.as_bytes(), seed)
    }

    /// The digest of the names that are told so under `seed`. Where one of the tags is not known, it does not say what tags there are.
    pub fn of(seed: u64, mentions: &[Mention]) -> Self {
        let bits = fastbloom::optimal_size(KEYS_A_NAME * room_for(mentions.len()), FALSE_POSITIVES);
        let digest = Self {
            seed,
            names: mentions.len() as u64,
            filter: AtomicBloomFilter::with_num_bits(bits).hashes(HASHES),
            tags: AtomicBool::new(true),
        };
        mentions.iter().for_each(|mention| digest.insert(*mention));
        digest
    }

    /// The seed of its hashes.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many names it was made of.
    pub fn names(&self) -> u64 {
        self.names
    }

    /// Bytes of the whole filter.
    pub fn size_bytes(&self) -> usize {
        self.filter.num_bits() / 8
    }

    /// Puts in a name that was told. Where its tag was not, the digest no longer says what tags there are.
    pub fn insert(&self, mention: Mention) {
        self.filter.insert_hash(mention.name);
        match mention.tag {
            Some(tag) if tag != mention.name => {
                self.filter.insert_hash(tag);
            }
            Some(_) => {}
            None => self.tags.store(false, Ordering::Relaxed),
        }
    }

    /// Whether `name` may be among the names; `false` is certain.
    pub fn contains(&self, name: &Name) -> bool {
        self.filter.contains_hash(Self::hash(self.seed, name))
    }

    /// Whether a name with this tag may be among the names; `false` is certain, `None`: it does not say.
    pub fn contains_tag(&self, tag: &Hit) -> Option<bool> {
        let says = self.tags.load(Ordering::Relaxed);
        says.then(|| self.filter.contains_hash(xxh3_64_with_seed(tag.as_bytes(), self.seed)))
    }

    /// The chunk at `offset`, in bytes; `None` beyond the end.
    pub fn chunk(&self, offset: usize) -> Option<message::Digest> {
        let words = self.filter.as_slice().get(offset / WORD..).filter(|words| !words.is_empty())?;
        let words = &words[..words.len().min(DIGEST_CHUNK_BYTES / WORD)];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        Some(message::Digest {
            seed: self.seed,
            names: self.names,
            hashes: self.filter.num_hashes() as u8,
            total: self.size_bytes() as u64,
            offset: offset as u64,
            bytes: Bytes::from(bytes),
            tags: self.tags.load(Ordering::Relaxed),
        })
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digest")
            .field("names", &self.names)
            .field("size_bytes", &self.size_bytes())
            .finish_non_exhaustive()
    }
}

/// A digest that is arriving. It takes no more memory than has arrived.
#[derive(Debug)]
pub struct Arriving {
    head: Head,
    words: Vec<u64>,
}

/// What all chunks of one digest must agree in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head {
    seed: u64,
    names: u64,
    hashes: u8,
    total: u64,
    tags: bool,
}

/// What the chunk of a digest came to.
#[derive(Debug)]
pub enum Arrival {
    /// More is to come.
    Part(Arriving),
    /// That was the last.
    Whole(Digest),
    /// It is larger than we keep for this peer: whoever sends it is asked as if it had sent none.
    TooLarge,
    /// Of a digest whose beginning was not taken: one that was on its way when what is agreed changed.
    Stray,
}

/// A chunk that cannot be what it says. The peer's bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DigestError {
    /// The numbers are out of bounds.
    #[error("sent a digest of {total} bytes with {hashes} hashes a name")]
    Bounds {
        /// Bytes of the whole.
        total: u64,
        /// Hashes a name.
        hashes: u8,
    },
    /// Not the next chunk.
    #[error("sent the chunk at byte {found} of a digest, where the one at {wanted} was next")]
    Order {
        /// Where the chunk stands.
        found: u64,
        /// Where the next one stands.
        wanted: u64,
    },
    /// Too long, empty, cut within a word, or beyond the end.
    #[error("sent a chunk of {0} bytes of a digest")]
    Length(usize),
}

impl Arriving {
    /// Takes a chunk: the first of a digest, or the next of the one that is arriving. At most `max` bytes are kept.
    ///
    /// # Errors
    /// [`DigestError`].
    pub fn take(arriving: Option<Self>, chunk: &message::Digest, max: usize) -> Result<Arrival, DigestError> {
        let head = Head {
            seed: chunk.seed,
            names: chunk.names,
            hashes: chunk.hashes,
            total: chunk.total,
            tags: chunk.tags,
        };
        if head.total == 0 || !head.total.is_multiple_of(WORD as u64) || !(1..=HASHES_MAX).contains(&head.hashes) {
            return Err(DigestError::Bounds {
                total: head.total,
                hashes: head.hashes,
            });
        }
        let mut arriving = match arriving.filter(|arriving| chunk.offset > 0 && arriving.head == head) {
            Some(arriving) => arriving,
            None if head.total > max.min(DIGEST_BYTES_MAX) as u64 => return Ok(Arrival::TooLarge),
            None if chunk.offset > 0 => return Ok(Arrival::Stray),
            None => Self { head, words: Vec::new() },
        };
        let wanted = (arriving.words.len() * WORD) as u64;
        if chunk.offset != wanted {
            let found = chunk.offset;
            return Err(DigestError::Order { found, wanted });
        }
        let length = chunk.bytes.len();
        let (words, rest) = chunk.bytes.as_chunks::<WORD>();
        if words.is_empty() || !rest.is_empty() || length > DIGEST_CHUNK_BYTES || wanted + length as u64 > head.total {
            return Err(DigestError::Length(length));
        }
        arriving.words.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
        if (arriving.words.len() * WORD) as u64 != head.total {
            return Ok(Arrival::Part(arriving));
        }
        Ok(Arrival::Whole(Digest {
            seed: head.seed,
            names: head.names,
            filter: AtomicBloomFilter::from_vec(arriving.words).hashes(u32::from(head.hashes)),
            tags: AtomicBool::new(head.tags),
        }))
    }
}

/// Most bytes of a digest of this many names, of which there is to be no more: what a peer with that limit may have us keep.
pub fn bytes_for(names: u64) -> usize {
    let names = usize::try_from(names).unwrap_or(usize::MAX).min(NAMES_MAX);
    fastbloom::optimal_size(KEYS_A_NAME * room_for(names), FALSE_POSITIVES).div_ceil(64) * WORD
}

/// How many names a digest of this many has room for: those that are told until the next one.
fn room_for(names: usize) -> usize {
    names + (names / 4).max(DIGEST_NAMES_MIN)
}

/// What is put in of each name: itself, and the tag of its record's key.
const KEYS_A_NAME: usize = 2;
/// What a full filter is wrong about: 9.6 bits a key, 19.2 a name.
const FALSE_POSITIVES: f64 = 0.01;
/// The best number for that.
const HASHES: u32 = 7;
/// More would be slow to ask and serve nobody.
const HASHES_MAX: u8 = 16;
/// Bytes of a word.
const WORD: usize = 8;
/// Of more names than this no digest is small enough.
const NAMES_MAX: usize = DIGEST_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u64) -> Name {
        let mut digest = [3; 32];
        digest[..8].copy_from_slice(&n.to_be_bytes());
        Name::key_set(digest)
    }

    fn tag(n: u64) -> Hit {
        let mut hash = [4; 12];
        hash[..8].copy_from_slice(&n.to_be_bytes());
        Hit::from_hash(hash)
    }

    fn mention(seed: u64, n: u64) -> Mention {
        Digest::mention_of(seed, &name(n), Some(&tag(n)))
    }

    fn digest(seed: u64, names: std::ops::Range<u64>) -> Digest {
        let mentions: Vec<_> = names.map(|n| mention(seed, n)).collect();
        Digest::of(seed, &mentions)
    }

    fn travel(digest: &Digest, max: usize) -> Arrival {
        let (mut arriving, mut offset) = (None, 0);
        while let Some(chunk) = digest.chunk(offset) {
            offset += chunk.bytes.len();
            match Arriving::take(arriving.take(), &chunk, max).unwrap() {
                Arrival::Part(part) => arriving = Some(part),
                done => return done,
            }
        }
        panic!("it never comes to an end")
    }

    #[test]
    fn every_name_is_found_and_one_of_a_hundred_others_is_too() {
        let digest = digest(9, 0..20_000);
        assert!((0..20_000).all(|n| digest.contains(&name(n))));
        let mistakes = |digest: &Digest| (100_000..200_000).filter(|n| digest.contains(&name(*n))).count();
        // With a quarter of its room left it is better than when it is full.
        let fresh = mistakes(&digest);
        assert!(fresh < 700, "{fresh} of 100000");
        (20_000..25_000).for_each(|n| digest.insert(mention(9, n)));
        assert!((0..25_000).all(|n| digest.contains(&name(n))));
        let full = mistakes(&digest);
        assert!((800..1_200).contains(&full), "{full} of 100000");
        assert!((0..25_000).all(|n| digest.contains_tag(&tag(n)) == Some(true)));
        let wrong = (100_000..200_000).filter(|n| digest.contains_tag(&tag(*n)) == Some(true)).count();
        assert!((800..1_200).contains(&wrong), "{wrong} of 100000 tags");
        // 9.6 bits for each name that it has room for, and as many for its tag.
        let bits = digest.size_bytes() as f64 * 8.0 / 25_000.0;
        assert!((19.0..19.4).contains(&bits), "{bits} bits a name");
    }

    #[test]
    fn a_digest_arrives_as_it_was_sent() {
        let sent = digest(u64::MAX, 0..500_000);
        assert!(sent.size_bytes() > 2 * DIGEST_CHUNK_BYTES, "several chunks");
        let Arrival::Whole(arrived) = travel(&sent, DIGEST_BYTES_MAX) else {
            panic!("whole")
        };
        assert_eq!((arrived.seed(), arrived.names()), (u64::MAX, 500_000));
        assert_eq!(arrived.size_bytes(), sent.size_bytes());
        for n in 0..600_000 {
            assert_eq!(arrived.contains(&name(n)), sent.contains(&name(n)));
        }
        // What is told afterwards means the same on both sides.
        assert!((0..600_000).all(|n| arrived.contains_tag(&tag(n)) == sent.contains_tag(&tag(n))));
        arrived.insert(mention(u64::MAX, 700_000));
        assert!(arrived.contains(&name(700_000)) && arrived.contains_tag(&tag(700_000)) == Some(true));
        let Arrival::Whole(empty) = travel(&digest(1, 0..0), DIGEST_BYTES_MAX) else {
            panic!("whole")
        };
        assert!((0..100).all(|n| !empty.contains(&name(n))));
    }

    #[test]
    fn a_digest_says_nothing_of_tags_once_a_name_was_told_without_its_own() {
        let (whole, content) = (digest(5, 0..10), Name::of_content(b"a value"));
        whole.insert(Digest::mention_of(5, &content, None));
        assert_eq!(
            (whole.contains_tag(&tag(3)), whole.contains(&content)),
            (Some(true), true),
            "a value has no tag"
        );
        assert_eq!(whole.contains_tag(&tag(99)), Some(false));
        whole.insert(Digest::mention_of(5, &name(11), None));
        assert_eq!((whole.contains_tag(&tag(3)), whole.contains_tag(&tag(99))), (None, None));
        assert!(whole.contains(&name(11)));
        let Arrival::Whole(arrived) = travel(&whole, DIGEST_BYTES_MAX) else {
            panic!("whole")
        };
        assert_eq!(arrived.contains_tag(&tag(3)), None, "nor does one that is sent then");
    }

    /// Both sides compute positions by themselves: another way to do it would be another protocol.
    #[test]
    fn the_bits_of_a_name_are_where_the_protocol_says() {
        let (seed, name) = (77, Name::key_set([5; 32]));
        let hash = xxh3_64_with_seed(name.as_bytes(), seed);
        assert_eq!(Digest::hash(seed, &name), hash);
        // A value has no key: it counts once.
        let digest = Digest::of(
            seed,
            &[Mention {
                name: hash,
                tag: Some(hash),
            }],
        );
        let chunk = digest.chunk(0).unwrap();
        assert_eq!((chunk.total, chunk.hashes), (2_464, 7));
        let bits = u128::from(chunk.total) * 8;
        let (mut expected, mut position) = (vec![0; chunk.total as usize], hash);
        for _ in 0..7 {
            let bit = ((u128::from(position) * bits) >> 64) as usize;
            expected[bit / 8] |= 1_u8 << (bit % 8);
            position = position.rotate_left(5).wrapping_add(hash.wrapping_mul(0x517c_c1b7_2722_0a95));
        }
        assert_eq!(chunk.bytes, expected);
    }

    #[test]
    fn a_digest_is_never_larger_than_was_agreed() {
        let sent = digest(1, 0..10_000);
        assert!(matches!(travel(&sent, bytes_for(10_000)), Arrival::Whole(_)));
        assert!(matches!(travel(&sent, bytes_for(5_000)), Arrival::TooLarge));
        assert!(bytes_for(u64::MAX) > DIGEST_BYTES_MAX, "which is the end in any case");
    }

    #[test]
    fn chunks_that_cannot_be_are_refused_and_nothing_is_kept_for_a_promise() {
        let good = digest(1, 0..400_000).chunk(0).unwrap();
        let take = |change: &dyn Fn(&mut message::Digest)| {
            let mut chunk = good.clone();
            change(&mut chunk);
            Arriving::take(None, &chunk, usize::MAX)
        };
        assert!(matches!(take(&|chunk| chunk.total = 0), Err(DigestError::Bounds { .. })));
        assert!(matches!(take(&|chunk| chunk.total += 1), Err(DigestError::Bounds { .. })));
        assert!(matches!(take(&|chunk| chunk.hashes = 0), Err(DigestError::Bounds { .. })));
        assert!(matches!(take(&|chunk| chunk.hashes = 17), Err(DigestError::Bounds { .. })));
        assert!(matches!(take(&|chunk| chunk.offset = 8), Ok(Arrival::Stray)));
        assert!(matches!(take(&|chunk| chunk.bytes = Bytes::new()), Err(DigestError::Length(0))));
        assert!(matches!(take(&|chunk| chunk.bytes.truncate(9)), Err(DigestError::Length(9))));
        assert!(matches!(take(&|chunk| chunk.total = 8), Err(DigestError::Length(_))));
        assert!(matches!(take(&|chunk| chunk.total = 1 << 60), Ok(Arrival::TooLarge)));
        let Ok(Arrival::Part(part)) = take(&|chunk| chunk.total = DIGEST_BYTES_MAX as u64) else {
            panic!("a part")
        };
        assert!(
            part.words.capacity() * WORD <= 2 * DIGEST_CHUNK_BYTES,
            "only what has arrived is kept"
        );
        // A chunk of another digest in the middle of one.
        let Ok(Arrival::Part(part)) = take(&|_| {}) else { panic!("a part") };
        let mut other = good.clone();
        (other.seed, other.offset) = (2, good.bytes.len() as u64);
        assert!(matches!(Arriving::take(Some(part), &other, usize::MAX), Ok(Arrival::Stray)));
        let Ok(Arrival::Part(part)) = take(&|_| {}) else { panic!("a part") };
        let mut skipped = good.clone();
        skipped.offset = 2 * good.bytes.len() as u64;
        let skipped = Arriving::take(Some(part), &skipped, usize::MAX);
        assert!(matches!(skipped, Err(DigestError::Order { .. })), "{skipped:?}");
        // A new one may begin before the last has ended.
        let Ok(Arrival::Part(part)) = take(&|_| {}) else { panic!("a part") };
        other.offset = 0;
        assert!(matches!(Arriving::take(Some(part), &other, usize::MAX), Ok(Arrival::Part(_))));
    }
}
