//! Answers kept as they are sent, found by the question's bytes. Pure: time is an argument; one owner, so no lock.
//!
//! An answer is kept with the places of its TTLs and the slots of the names it was made from, in one piece of memory; its own question is
//! the key. Handing one out is a copy and a few bytes written over it: id, the letters as they were asked, and TTLs by the time gone by.
//! Memory is bounded in bytes: what was not asked for since the hand last came by goes first (second chance).

use crate::dns::counts::EXTENDED_ERRORS;
use crate::dns::edns::extended_error;
use crate::dns::generations::Generations;
use crate::dns::glance::Key;
use crate::dns::wire::{HEADER_BYTES, Reader, flags};
use dialtone_shared::record::rdata::types;
use hashbrown::HashTable;
use std::hint::black_box;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Encoded answers, at most so many bytes of them.
#[derive(Debug)]
pub struct Answers {
    /// Where in `entries` a question's answer is.
    places: HashTable<u32>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    hand: usize,
    bytes: usize,
    bytes_max: usize,
    seed: u64,
    /// Answers given that have an extended error, by its code.
    errors: [u64; EXTENDED_ERRORS],
    has_errors: bool,
}

/// Where an answer seems to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Near {
    hash: u64,
    place: u32,
}

/// `[answer][place of a TTL u16]*[slot of a name u32]*`
///
/// It lies in one line of the processor's cache, and never in two.
#[derive(Debug)]
#[repr(align(64))]
struct Entry {
    bytes: Box<[u8]>,
    hash: u64,
    begun: u64,
    since_millis: u64,
    ttl_secs: u32,
    answer: u16,
    question: u16,
    ttls: u16,
    variant: u8,
    asked: bool,
    /// One more than the place in `errors` of its extended error; 0: none.
    error: u8,
}

/// An answer that may be kept: made the long way, for whoever asks the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fill {
    /// The answer, without what its transport adds.
    pub answer: Vec<u8>,
    /// The slots of the names it was made from.
    pub slots: Vec<u32>,
    /// The generation at which asking began.
    pub begun: u64,
}

impl Answers {
    /// None yet, and never more than `bytes_max` bytes. `seed`: by chance, so that nobody can choose questions that meet in one place.
    pub fn new(bytes_max: usize, seed: u64) -> Self {
        Self {
            places: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            bytes_max,
            seed,
            errors: [0; EXTENDED_ERRORS],
            has_errors: false,
        }
    }

    /// How many answers with an extended error were given, by its code, since this was last asked; `None`: none was.
    pub(crate) fn take_errors(&mut self) -> Option<[u64; EXTENDED_ERRORS]> {
        std::mem::take(&mut self.has_errors).then(|| std::mem::replace(&mut self.errors, [0; EXTENDED_ERRORS]))
    }

    /// Where the answers to `keys` seem to be, one place each: found side by side, so that what is looked up next need not wait until what was
    /// looked up before has come from memory. Nothing is promised: [`answer_near`](Self::answer_near) looks whether it is there.
    pub(crate) fn seek<'a>(&self, keys: impl Iterator<Item = Option<&'a Key>>, near: &mut Vec<Near>, generations: &Generations) {
        near.clear();
        near.extend(keys.map(|key| Near {
            hash: key.map_or(0, |key| self.hash(key)),
            place: if key.is_some() { SOMEWHERE } else { NOWHERE },
        }));
        for near in &mut *near {
            if near.place == SOMEWHERE {
                let is_of_hash = |&place: &u32| self.entries[place as usize].as_ref().is_some_and(|entry| entry.hash == near.hash);
                near.place = self.places.find(near.hash, is_of_hash).copied().unwrap_or(NOWHERE);
            }
        }
        let mut touched = 0;
        for near in &*near {
            if let Some(Some(entry)) = self.entries.get(near.place as usize) {
                let lines = entry.bytes.chunks(CACHE_LINE_BYTES).filter_map(|line| line.first());
                touched ^= lines.chain(entry.bytes.last()).fold(0, |all, &byte| all ^ u64::from(byte));
            }
        }
        for near in &*near {
            if let Some(Some(entry)) = self.entries.get(near.place as usize) {
                touched ^= generations.touch(entry.slots());
            }
        }
        // What is read for its own sake must not be left out.
        black_box(touched);
    }

    /// As [`answer`](Self::answer), with a place that [`seek`](Self::seek) said for this key, before whatever was kept since.
    pub(crate) fn answer_near(
        &mut self,
        near: Near,
        key: &Key,
        message: &[u8],
        generations: &Generations,
        now_millis: u64,
        out: &mut [u8],
    ) -> Option<usize> {
        let place = match self.entries.get(near.place as usize) {
            Some(Some(entry)) if entry.is_of(key) => near.place,
            _ => self.place(key, near.hash)?,
        };
        self.answer_at(place, message, generations, now_millis, out)
    }

    /// Writes the answer to `message`, whose key is `key`, at the start of `out`, and says its length; `None` if none is kept that holds.
    pub fn answer(&mut self, key: &Key, message: &[u8], generations: &Generations, now_millis: u64, out: &mut [u8]) -> Option<usize> {
        self.answer_near(self.near(key), key, message, generations, now_millis, out)
    }

    /// Where the answer to one question is looked for.
    pub(crate) fn near(&self, key: &Key) -> Near {
        Near {
            hash: self.hash(key),
            place: NOWHERE,
        }
    }

    fn answer_at(&mut self, place: u32, message: &[u8], generations: &Generations, now_millis: u64, out: &mut [u8]) -> Option<usize> {
        let entry = self.entries.get_mut(place as usize)?.as_mut()?;
        // A clock that was set back says nothing of what was before.
        let age_secs = now_millis.checked_sub(entry.since_millis).map(|millis| millis / 1_000);
        let Some(age_secs) = age_secs.filter(|&age| age < u64::from(entry.ttl_secs) && generations.hold(entry.slots(), entry.begun)) else {
            self.remove(place);
            return None;
        };
        entry.asked = true;
        if let Some(count) = usize::from(entry.error).checked_sub(1).and_then(|nth| self.errors.get_mut(nth)) {
            *count += 1;
            self.has_errors = true;
        }
        let length = usize::from(entry.answer);
        let question = HEADER_BYTES..HEADER_BYTES + usize::from(entry.question);
        let (out, asked) = (out.get_mut(..length)?, message.get(question.clone())?);
        out.copy_from_slice(&entry.bytes[..length]);
        out[..2].copy_from_slice(&message[..2]);
        out[question].copy_from_slice(asked);
        if age_secs > 0 {
            for at in entry.ttl_places() {
                if let Some(ttl) = out.get_mut(at..at + 4) {
                    let was = u32::from_be_bytes([ttl[0], ttl[1], ttl[2], ttl[3]]);
                    ttl.copy_from_slice(&was.saturating_sub(age_secs as u32).to_be_bytes());
                }
            }
        }
        Some(length)
    }

    /// Keeps what was answered to a question with this key; unless it is not for keeping, or larger than all there is room for.
    pub fn keep(&mut self, key: &Key, fill: &Fill, generations: &Generations, now_millis: u64) {
        let Some((ttl_places, ttl_secs)) = ttls_of(&fill.answer) else {
            return;
        };
        let question = HEADER_BYTES..HEADER_BYTES + key.question().len();
        let is_of_key = fill
            .answer
            .get(question)
            .is_some_and(|question| question.eq_ignore_ascii_case(key.question()));
        if !is_of_key || !key.fits(fill.answer.len()) || !generations.hold(fill.slots.iter().copied(), fill.begun) {
            return;
        }
        let mut bytes = Vec::with_capacity(fill.answer.len() + 2 * ttl_places.len() + 4 * fill.slots.len());
        bytes.extend_from_slice(&fill.answer);
        bytes[HEADER_BYTES..HEADER_BYTES + key.question().len()].copy_from_slice(key.question());
        bytes.extend(ttl_places.iter().flat_map(|at| at.to_ne_bytes()));
        bytes.extend(fill.slots.iter().flat_map(|slot| slot.to_ne_bytes()));
        let cost = bytes.len() + ENTRY_BYTES;
        if cost > self.bytes_max {
            return;
        }
        let hash = self.hash(key);
        if let Some(place) = self.place(key, hash) {
            self.remove(place);
        }
        while self.bytes + cost > self.bytes_max {
            self.make_room();
        }
        let entry = Entry {
            bytes: bytes.into_boxed_slice(),
            hash,
            begun: fill.begun,
            since_millis: now_millis,
            ttl_secs,
            answer: fill.answer.len() as u16,
            question: key.question().len() as u16,
            ttls: ttl_places.len() as u16,
            variant: key.variant(),
            asked: false,
            error: extended_error(&fill.answer).map_or(0, |code| code.min(EXTENDED_ERRORS as u16 - 1) as u8 + 1),
        };
        self.bytes += cost;
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.entries.push(None);
                (self.entries.len() - 1) as u32
            }
        };
        self.entries[place as usize] = Some(entry);
        let entries = &self.entries;
        self.places
            .insert_unique(hash, place, |&place| entries[place as usize].as_ref().map_or(0, |entry| entry.hash));
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn hash(&self, key: &Key) -> u64 {
        xxh3_64_with_seed(key.question(), self.seed.wrapping_add(u64::from(key.variant())))
    }

    fn place(&self, key: &Key, hash: u64) -> Option<u32> {
        let is_of_key = |&place: &u32| {
            let entry = self.entries[place as usize].as_ref();
            entry.is_some_and(|entry| entry.hash == hash && entry.is_of(key))
        };
        self.places.find(hash, is_of_key).copied()
    }

    fn remove(&mut self, place: u32) {
        let Some(entry) = self.entries.get_mut(place as usize).and_then(Option::take) else {
            return;
        };
        if let Ok(found) = self.places.find_entry(entry.hash, |&at| at == place) {
            found.remove();
        }
        self.bytes -= entry.bytes.len() + ENTRY_BYTES;
        self.free.push(place);
    }

    /// Moves the hand on by one.
    fn make_room(&mut self) {
        if self.hand >= self.entries.len() {
            self.hand = 0;
        }
        let place = self.hand as u32;
        self.hand += 1;
        match self.entries.get_mut(place as usize) {
            Some(Some(entry)) if entry.asked => entry.asked = false,
            Some(Some(_)) => self.remove(place),
            Some(None) | None => {}
        }
    }
}

impl Entry {
    fn is_of(&self, key: &Key) -> bool {
        self.variant == key.variant() && self.question_bytes() == key.question()
    }

    fn question_bytes(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..HEADER_BYTES + usize::from(self.question)]
    }

    fn ttl_places(&self) -> impl Iterator<Item = usize> + '_ {
        let start = usize::from(self.answer);
        let places = self.bytes[start..start + 2 * usize::from(self.ttls)].chunks_exact(2);
        places.map(|at| usize::from(u16::from_ne_bytes([at[0], at[1]])))
    }

    fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        let start = usize::from(self.answer) + 2 * usize::from(self.ttls);
        let slots = self.bytes[start..].chunks_exact(4);
        slots.map(|slot| u32::from_ne_bytes([slot[0], slot[1], slot[2], slot[3]]))
    }
}

/// Where the TTLs of an answer stand, and for how many seconds it may be kept: as long as its shortest; `None` if it may not be: errors, what
/// was cut, and what has no TTL or one of 0.
fn ttls_of(answer: &[u8]) -> Option<(Vec<u16>, u32)> {
    let mut r = Reader::new(answer);
    let header = r.header()?;
    let is_final = matches!(header.flags & flags::RCODE, 0 | 3);
    if !is_final || header.flags & flags::TC != 0 || header.counts[0] != 1 {
        return None;
    }
    r.plain_name()?;
    r.u32()?;
    let (mut places, mut shortest) = (Vec::new(), u32::MAX);
    for _ in 0..header.counts[1..].iter().map(|&count| u32::from(count)).sum() {
        let record = r.record()?;
        if record.kind != types::OPT {
            places.push(u16::try_from(record.ttl_at).ok()?);
            shortest = shortest.min(record.ttl);
        }
    }
    (r.is_at_end() && !places.is_empty() && shortest > 0).then_some((places, shortest))
}

/// What an answer takes beside its bytes: its entry (64), its share of the table (10), and what the allocator adds.
const ENTRY_BYTES: usize = 96;

/// No place: there are never so many entries.
const NOWHERE: u32 = u32::MAX;

/// It was not looked for yet.
const SOMEWHERE: u32 = u32::MAX - 1;

/// How much comes from memory at once on most machines; where it is more or less, only time is lost.
const CACHE_LINE_BYTES: usize = 64;

const _: () = assert!(size_of::<Option<Entry>>() <= 64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::generations::Trace;
    use dialtone_shared::Name;

    fn question(of: u32) -> Vec<u8> {
        let mut message = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x08".to_vec();
        message.extend_from_slice(format!("n{of:07}").as_bytes());
        message.extend_from_slice(b"\x03alt\0\0\x01\0\x01");
        message
    }

    fn answer(of: u32, ttl: u32) -> Vec<u8> {
        let mut message = question(of);
        message[2] |= 0x80;
        message[7] = 1;
        message.extend_from_slice(b"\xc0\x0c\0\x01\0\x01");
        message.extend_from_slice(&ttl.to_be_bytes());
        message.extend_from_slice(b"\0\x04\xc0\0\x02\x01");
        message
    }

    fn fill(of: u32, ttl: u32, generations: &Generations) -> Fill {
        let trace = Trace::default();
        trace.consulted(&Name::of_content(&of.to_be_bytes()), generations);
        trace.known();
        Fill {
            answer: answer(of, ttl),
            slots: trace.into_slots().expect("kept"),
            begun: generations.begin(),
        }
    }

    fn ask(answers: &mut Answers, message: &[u8], generations: &Generations, now_millis: u64) -> Option<Vec<u8>> {
        let mut out = [0; 1_232];
        let key = Key::of(message, false).expect("ordinary");
        let length = answers.answer(&key, message, generations, now_millis, &mut out)?;
        Some(out[..length].to_vec())
    }

    fn with_one(ttl: u32) -> (Answers, Generations) {
        let (mut answers, generations) = (Answers::new(1 << 20, 1), Generations::new());
        let key = Key::of(&question(1), false).expect("ordinary");
        answers.keep(&key, &fill(1, ttl, &generations), &generations, 500);
        (answers, generations)
    }

    #[test]
    fn what_is_kept_is_given_back_with_the_id_the_letters_and_the_time_of_who_asks() {
        let (mut answers, generations) = with_one(60);
        assert_eq!(ask(&mut answers, &question(1), &generations, 500), Some(answer(1, 60)));
        let mut other = question(1);
        other[..2].copy_from_slice(&[7, 7]);
        other[13] = b'N';
        let mut expected = answer(1, 50);
        expected[..2].copy_from_slice(&[7, 7]);
        expected[13] = b'N';
        assert_eq!(ask(&mut answers, &other, &generations, 10_500), Some(expected));
    }

    #[test]
    fn it_lasts_as_long_as_its_shortest_ttl_and_not_a_millisecond_more() {
        let (mut answers, generations) = with_one(60);
        assert_eq!(ask(&mut answers, &question(1), &generations, 60_499), Some(answer(1, 1)));
        assert_eq!(ask(&mut answers, &question(1), &generations, 60_500), None);
        assert!(answers.is_empty());
        assert_eq!(answers.bytes(), 0);
    }

    #[test]
    fn a_change_of_the_name_ends_it_and_a_fill_from_before_the_change_is_not_kept() {
        let (mut answers, generations) = with_one(60);
        let late = fill(1, 60, &generations);
        generations.changed(&Name::of_content(&1_u32.to_be_bytes()));
        assert_eq!(ask(&mut answers, &question(1), &generations, 600), None);
        let key = Key::of(&question(1), false).expect("ordinary");
        answers.keep(&key, &late, &generations, 700);
        assert!(answers.is_empty());
        answers.keep(&key, &fill(1, 60, &generations), &generations, 700);
        assert_eq!(answers.len(), 1);
    }

    #[test]
    fn a_place_that_was_sought_is_only_where_to_look_first() {
        let (mut answers, generations) = with_one(60);
        let key = |of| Key::of(&question(of), false);
        let (one, two) = (key(1), key(2));
        let mut near = Vec::new();
        answers.seek([one.as_ref(), None, two.as_ref()].into_iter(), &mut near, &generations);
        assert_eq!((near.len(), near[1].place, near[2].place), (3, NOWHERE, NOWHERE));
        let (sought, missed) = (near[0], near[2]);
        let given = |answers: &mut Answers, near, of| {
            let mut out = [0; 1_232];
            let length = answers.answer_near(near, &key(of)?, &question(of), &generations, 500, &mut out)?;
            Some(out[..length].to_vec())
        };
        assert_eq!(given(&mut answers, sought, 1), Some(answer(1, 60)));
        assert_eq!(given(&mut answers, missed, 2), None);
        // Two of one hash.
        let met = Near {
            place: sought.place,
            ..missed
        };
        assert_eq!(given(&mut answers, met, 2), None, "another question's answer");
        // Before it is used something else takes the place, and the answer moves elsewhere.
        answers.remove(sought.place);
        for of in [2, 1] {
            answers.keep(&key(of).expect("ordinary"), &fill(of, 60, &generations), &generations, 500);
        }
        assert_eq!(given(&mut answers, sought, 1), Some(answer(1, 60)));
        assert_eq!(given(&mut answers, missed, 2), Some(answer(2, 60)), "kept since");
        generations.changed(&Name::of_content(&1_u32.to_be_bytes()));
        assert_eq!(given(&mut answers, sought, 1), None, "it changed after it was sought");
    }

    #[test]
    fn errors_and_what_was_cut_and_what_has_no_time_are_not_kept() {
        let (mut answers, generations) = (Answers::new(1 << 20, 1), Generations::new());
        let key = Key::of(&question(1), false).expect("ordinary");
        let good = fill(1, 60, &generations);
        for (at, bits) in [(3, 2), (2, 2), (5, 3)] {
            let mut bad = good.clone();
            bad.answer[at] |= bits;
            answers.keep(&key, &bad, &generations, 0);
        }
        answers.keep(&key, &fill(1, 0, &generations), &generations, 0);
        answers.keep(&key, &fill(2, 60, &generations), &generations, 0);
        assert!(answers.is_empty());
    }

    #[test]
    fn there_are_never_more_than_there_is_room_for_and_what_is_asked_for_stays() {
        let room = 100 * (answer(0, 60).len() + 2 + 4 + ENTRY_BYTES);
        let (mut answers, generations) = (Answers::new(room, 1), Generations::new());
        for of in 0..10_000 {
            let key = Key::of(&question(of), false).expect("ordinary");
            answers.keep(&key, &fill(of, 60, &generations), &generations, 0);
            assert!(answers.bytes() <= room);
            assert!(ask(&mut answers, &question(0), &generations, 0).is_some(), "gone at {of}");
        }
        assert_eq!(answers.len(), 100);
        assert!(answers.entries.len() <= 101);
    }
}
