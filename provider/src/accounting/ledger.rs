//! The names and bytes that each customer keeps, and the books of every hour.
//!
//! ```text
//! note  books/standing/<account>               [names, bytes]
//! note  books/hour/<hour, 10 digits>/<account> [puts, bytes, refused, names, bytes kept]    (hours since 1970)
//! note  books/closed                           present after a clean stop: the standing is exact
//! ```
//!
//! `<account>` is empty for all who have none. What is kept is followed put by put, and counted anew by a slow walk over the
//! store, since expiry and peers change it too: exact after a walk, close in between.

use crate::store::{Class, Held};
use dialtone_shared::cbor::{CborError, Reader, Writer};
use dialtone_shared::{Name, UnixSecs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The books of a provider.
#[derive(Debug)]
pub struct Ledger {
    /// Account names in the order of the settings; the last is empty, for all who have none.
    payers: Vec<String>,
    books: Mutex<Books>,
}

/// What somebody keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Names.
    pub names: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

/// Room for one more name, held until it is in the store or refused.
#[derive(Debug)]
pub struct Place {
    ledger: Arc<Ledger>,
    payer: usize,
}

/// What somebody did in an hour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hour {
    /// Records put and kept.
    pub puts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Puts refused for want of rate or quota.
    pub refused: u64,
    /// What was kept at the end of it.
    pub kept: Tally,
}

/// Notes to set, in the store's form.
pub type Notes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

#[derive(Debug)]
struct Books {
    hour: u64,
    rows: Vec<Row>,
    walk: Option<Walk>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    kept: Tally,
    /// New names that are on their way into the store.
    coming: u64,
    hour: Hour,
    changed: bool,
}

/// A count under way: names up to `at` are in `tallies`.
#[derive(Debug)]
struct Walk {
    at: Option<Name>,
    tallies: Vec<Tally>,
}

impl Ledger {
    /// Empty books for these accounts.
    pub fn new<'a>(accounts: impl IntoIterator<Item = &'a str>, now: UnixSecs) -> Self {
        let mut payers: Vec<String> = accounts.into_iter().map(str::to_owned).collect();
        payers.push(String::new());
        let rows = vec![Row::default(); payers.len()];
        Self {
            payers,
            books: Mutex::new(Books {
                hour: hour_of(now),
                rows,
                walk: None,
            }),
        }
    }

    /// The keys of the notes that [`Ledger::restore`] wants, in the order of payers: standing, then this hour.
    pub fn wanted(&self) -> Vec<[Vec<u8>; 2]> {
        let hour = self.books().hour;
        let keys = |payer: &String| [standing_key(payer), hour_key(hour, payer)];
        self.payers.iter().map(keys).collect()
    }

    /// Goes on from what was written. What cannot be read counts as nothing: the walk will correct it.
    pub fn restore(&self, notes: &[[Option<Vec<u8>>; 2]]) {
        let mut books = self.books();
        for (row, [standing, hour]) in books.rows.iter_mut().zip(notes) {
            let kept = standing.as_deref().and_then(|bytes| Tally::decode(bytes).ok());
            row.kept = kept.unwrap_or_default();
            row.hour = hour.as_deref().and_then(|bytes| Hour::decode(bytes).ok()).unwrap_or_default();
        }
    }

    /// What an account (`None`: all who have none) keeps.
    pub fn kept(&self, account: Option<&str>) -> Tally {
        let payer = self.payer(account);
        payer.map_or_else(Tally::default, |payer| self.books().rows[payer].kept)
    }

    /// Room for one more name of an account that may keep `most`, those on their way counted too; `None`: there is none.
    pub fn place(self: &Arc<Self>, account: Option<&str>, most: u64) -> Option<Place> {
        let payer = self.payer(account)?;
        let row = &mut self.books().rows[payer];
        if row.kept.names + row.coming >= most {
            return None;
        }
        row.coming += 1;
        Some(Place {
            ledger: Arc::clone(self),
            payer,
        })
    }

    /// What every payer keeps; the empty name is all who have no account.
    pub fn standing(&self) -> Vec<(String, Tally)> {
        let books = self.books();
        let kept = |(payer, row): (&String, &Row)| (payer.clone(), row.kept);
        self.payers.iter().zip(&books.rows).map(kept).collect()
    }

    /// A record of `bytes` was stored for `account` in the place of `before`.
    pub fn stored(&self, name: &Name, account: Option<&str>, bytes: usize, before: Option<&Held>) {
        let payer = self.payer(account);
        let was = before.and_then(|held| self.payer_of(held).map(|payer| (payer, held.record.bytes().len() as u64)));
        let mut books = self.books();
        if let Some(row) = payer.and_then(|payer| books.rows.get_mut(payer)) {
            row.hour.puts += 1;
            row.hour.bytes += bytes as u64;
            row.changed = true;
        }
        let counted = books.walk.as_ref().is_some_and(|walk| walk.at.as_ref() >= Some(name));
        let Books { rows, walk, .. } = &mut *books;
        let mut change = |payer: usize, change: fn(&mut Tally, u64), bytes: u64| {
            if let Some(row) = rows.get_mut(payer) {
                change(&mut row.kept, bytes);
                row.changed = true;
            }
            if let Some(tally) = walk.as_mut().filter(|_| counted).and_then(|walk| walk.tallies.get_mut(payer)) {
                change(tally, bytes);
            }
        };
        if let Some((payer, bytes)) = was {
            change(payer, Tally::less, bytes);
        }
        if let Some(payer) = payer {
            change(payer, Tally::more, bytes as u64);
        }
    }

    /// A put of `account` was refused for want of rate or quota.
    pub fn refused(&self, account: Option<&str>) {
        if let Some(payer) = self.payer(account) {
            let row = &mut self.books().rows[payer];
            row.hour.refused += 1;
            row.changed = true;
        }
    }

    /// Begins to count anew. Feed it with [`Ledger::walked`] until that says so.
    pub fn begin_walk(&self) {
        self.books().walk = Some(Walk {
            at: None,
            tallies: vec![Tally::default(); self.payers.len()],
        });
    }

    /// Takes the next page of what is held, ascending; an empty one ends the walk, and its count holds from then on.
    pub fn walked(&self, page: &[Held]) {
        let mut books = self.books();
        let Some(walk) = &mut books.walk else { return };
        for held in page {
            if let Some(tally) = self.payer_of(held).and_then(|payer| walk.tallies.get_mut(payer)) {
                tally.more(held.record.bytes().len() as u64);
            }
        }
        if let Some(last) = page.last() {
            walk.at = Some(*last.record.name());
            return;
        }
        let tallies = std::mem::take(&mut walk.tallies);
        books.walk = None;
        for (row, tally) in books.rows.iter_mut().zip(tallies) {
            row.changed |= row.kept != tally;
            row.kept = tally;
        }
    }

    /// The notes that bring the written books up to now; none if nothing changed. A new hour starts new rows.
    pub fn write(&self, now: UnixSecs) -> Notes {
        let mut books = self.books();
        let hour = books.hour;
        let mut notes = Notes::new();
        for (payer, row) in self.payers.iter().zip(&mut books.rows) {
            if !std::mem::take(&mut row.changed) {
                continue;
            }
            row.hour.kept = row.kept;
            notes.push((standing_key(payer), Some(row.kept.encode())));
            notes.push((hour_key(hour, payer), Some(row.hour.encode())));
        }
        if hour_of(now) != hour {
            books.hour = hour_of(now);
            books.rows.iter_mut().for_each(|row| row.hour = Hour::default());
        }
        notes
    }

    /// Who pays for a held record; `None`: nobody here (a peer brought it, or its account is gone from the settings).
    fn payer_of(&self, held: &Held) -> Option<usize> {
        if held.account.is_none() && (held.class != Class::Customer || held.from.is_some()) {
            return None;
        }
        self.payer(held.account.as_deref())
    }

    fn payer(&self, account: Option<&str>) -> Option<usize> {
        match account {
            None => Some(self.payers.len() - 1),
            Some(account) => self.payers[..self.payers.len() - 1].iter().position(|payer| payer == account),
        }
    }

    /// A panic elsewhere leaves numbers: still good, and the walk corrects them.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let row = &mut self.ledger.books().rows[self.payer];
        row.coming = row.coming.saturating_sub(1);
    }
}

impl Tally {
    fn more(&mut self, bytes: u64) {
        self.names += 1;
        self.bytes += bytes;
    }

    fn less(&mut self, bytes: u64) {
        self.names = self.names.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn encode(self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(2).uint(self.names).uint(self.bytes);
        w.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        r.array_exact(2)?;
        let tally = Self {
            names: r.uint()?,
            bytes: r.uint()?,
        };
        r.finish().map(|()| tally)
    }
}

impl Hour {
    fn encode(self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(5).uint(self.puts).uint(self.bytes).uint(self.refused);
        w.uint(self.kept.names).uint(self.kept.bytes);
        w.into_bytes()
    }

    /// Reads a row of the books.
    ///
    /// # Errors
    /// [`CborError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        r.array_exact(5)?;
        let hour = Self {
            puts: r.uint()?,
            bytes: r.uint()?,
            refused: r.uint()?,
            kept: Tally {
                names: r.uint()?,
                bytes: r.uint()?,
            },
        };
        r.finish().map(|()| hour)
    }
}

/// The first key of an hour's rows; rows of earlier hours sort before it.
pub fn hours_from(now: UnixSecs) -> Vec<u8> {
    hour_key(hour_of(now), "")
}

fn hour_of(now: UnixSecs) -> u64 {
    now.0 / 3_600
}

fn standing_key(payer: &str) -> Vec<u8> {
    format!("books/standing/{payer}").into_bytes()
}

fn hour_key(hour: u64, payer: &str) -> Vec<u8> {
    format!("{HOURS}{hour:010}/{payer}").into_bytes()
}

/// What the keys of hourly rows start with.
pub const HOURS: &str = "books/hour/";
/// The note that says that the standing is exact.
pub const CLOSED: &[u8] = b"books/closed";

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_shared::{Body, Genesis, Record, SecretKey, SignedRecord, Ttl};

    const NOW: UnixSecs = UnixSecs(1_700_000_000);

    fn held(seed: u8, account: Option<&str>) -> Held {
        let secret = SecretKey::from_seed(&[seed; 32]);
        let record = Record {
            genesis: Genesis::of(secret.public()),
            chain: Vec::new(),
            sequence: NOW.micros(),
            scope: Vec::new(),
            body: Body::Live {
                expiry: NOW.plus(1_000),
                ttl: Ttl(60),
                bindings: Vec::new(),
            },
        };
        Held {
            record: SignedRecord::sign(record, &secret).unwrap().verify().unwrap(),
            class: Class::Customer,
            keep_until: NOW,
            from: None,
            account: account.map(str::to_owned),
        }
    }

    fn store(ledger: &Ledger, held: &Held, before: Option<&Held>) {
        ledger.stored(held.record.name(), held.account.as_deref(), held.record.bytes().len(), before);
    }

    #[test]
    fn a_name_is_charged_to_who_put_it_last() {
        let ledger = Ledger::new(["one", "two"], NOW);
        let (ones, twos) = (held(1, Some("one")), held(1, Some("two")));
        store(&ledger, &ones, None);
        store(&ledger, &ones, Some(&ones));
        assert_eq!(ledger.kept(Some("one")).names, 1);
        store(&ledger, &twos, Some(&ones));
        assert_eq!((ledger.kept(Some("one")), ledger.kept(Some("two")).names), (Tally::default(), 1));
        assert_eq!(ledger.kept(None), Tally::default());
    }

    #[test]
    fn places_are_given_back_or_become_names() {
        let ledger = Arc::new(Ledger::new(["one"], NOW));
        let places: Vec<_> = (0..3).map(|_| ledger.place(Some("one"), 2)).collect();
        assert_eq!(places.iter().flatten().count(), 2);
        store(&ledger, &held(1, Some("one")), None);
        drop(places);
        let place = ledger.place(Some("one"), 2);
        assert!(place.is_some() && ledger.place(Some("one"), 2).is_none());
        assert!(ledger.place(Some("gone"), 2).is_none(), "an account that there is not has no room");
    }

    #[test]
    fn what_a_peer_brought_is_nobodys() {
        let ledger = Ledger::new([], NOW);
        let brought = Held {
            class: Class::Peer,
            from: Some(Name::of_content(b"a peer")),
            ..held(1, None)
        };
        store(&ledger, &held(1, None), Some(&brought));
        assert_eq!(ledger.kept(None).names, 1);
    }

    #[test]
    fn books_are_read_back_as_written() {
        let ledger = Ledger::new(["one"], NOW);
        store(&ledger, &held(1, Some("one")), None);
        store(&ledger, &held(2, None), None);
        ledger.refused(Some("one"));
        let notes = ledger.write(NOW);
        assert!(ledger.write(NOW).is_empty(), "nothing changed since");
        let again = Ledger::new(["one"], NOW);
        let find = |key: &Vec<u8>| notes.iter().find(|(found, _)| found == key).and_then(|(_, value)| value.clone());
        let wanted: Vec<_> = again.wanted().iter().map(|[standing, hour]| [find(standing), find(hour)]).collect();
        again.restore(&wanted);
        assert_eq!(again.standing(), ledger.standing());
        again.refused(Some("one"));
        let notes = again.write(NOW);
        let hour = notes.iter().find(|(key, _)| key.starts_with(HOURS.as_bytes())).unwrap();
        let hour = Hour::decode(hour.1.as_ref().unwrap()).unwrap();
        assert_eq!(
            (hour.puts, hour.refused, hour.kept.names),
            (1, 2, 1),
            "the hour goes on after a restart"
        );
    }

    #[test]
    fn a_new_hour_starts_new_rows() {
        let ledger = Ledger::new([], NOW);
        store(&ledger, &held(1, None), None);
        ledger.write(NOW.plus(3_600));
        store(&ledger, &held(2, None), None);
        let notes = ledger.write(NOW.plus(3_600));
        let (key, value) = &notes[1];
        assert!(key >= &hours_from(NOW.plus(3_600)) && key > &hours_from(NOW));
        let hour = Hour::decode(value.as_ref().unwrap()).unwrap();
        assert_eq!((hour.puts, hour.kept.names), (1, 2));
    }

    #[test]
    fn a_walk_corrects_what_was_missed_and_counts_what_happens_meanwhile() {
        let ledger = Ledger::new(["one"], NOW);
        let mut all: Vec<Held> = (1..=6).map(|seed| held(seed, Some("one"))).collect();
        all.sort_by_key(|held| *held.record.name());
        store(&ledger, &held(99, Some("one")), None);
        ledger.begin_walk();
        ledger.walked(&all[..3]);
        // While the walk is at 3: one before it is replaced, one after it comes new and will be met.
        store(&ledger, &all[1], Some(&all[1]));
        store(&ledger, &all[5], None);
        ledger.walked(&all[3..]);
        ledger.walked(&[]);
        assert_eq!(ledger.kept(Some("one")).names, 6);
        assert_eq!(
            ledger.kept(Some("one")).bytes,
            all.iter().map(|held| held.record.bytes().len() as u64).sum::<u64>()
        );
    }
}
