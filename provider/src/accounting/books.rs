//! What crosses each link, hour by hour: what two providers settle by.
//!
//! ```text
//! note  links/hour/<hour, 10 digits>/<peer>/<price class>   [records held, [* [category, given, taken]]]   (hours since 1970, UTC)
//! note  links/day/<day, 10 digits>/<peer>/<price class>     the same, of the 24 hours of a day             (days since 1970)
//! ```
//!
//! Links count from the start of the process; the books look now and then, and book what has come since in the hour that was open. A row is
//! written whole: written twice, it says the same, so nothing is ever counted twice. What a crash loses is what came since the last
//! writing. Hours are kept for 40 days, then added up to days, which are kept for 400.

use crate::accounting::ledger::Notes;
use crate::peering::ask::tally::PeerTally;
use crate::peering::health::Progress;
use crate::store::Note;
use dialtone_shared::cbor::{CborError, Reader, Writer};
use dialtone_shared::limits::STATEMENT_ROWS_MAX;
use dialtone_shared::statement::{Category, Crossed, DAY_HOURS, Row, hour_of, is_price};
use dialtone_shared::{Name, UnixMicros, UnixSecs};
use std::collections::{BTreeMap, BTreeSet};

/// The open books: the present hour, and what is not on disk yet.
#[derive(Debug, Default)]
pub struct Books {
    /// The hour that is open; `None`: not one was opened yet.
    hour: Option<u64>,
    rows: BTreeMap<(Name, Option<String>), Line>,
    /// What every link had counted when it was last looked at.
    seen: BTreeMap<Name, Crossed>,
    /// Rows that are not known to be on disk, by key.
    unwritten: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A row of the books.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Line {
    held: u64,
    crossed: Crossed,
}

impl Books {
    /// The hour to be opened at `now`, if it is not open; its rows stand under [`hour_prefix`].
    pub fn turns(&self, now: UnixSecs) -> Option<u64> {
        let hour = hour_of(now.micros());
        (self.hour != Some(hour)).then_some(hour)
    }

    /// Opens an hour where it was left: `notes` is what is written of it. Also one that was open before, should the clock have gone back.
    pub fn turn(&mut self, hour: u64, notes: &[Note]) {
        self.hour = Some(hour);
        self.rows.clear();
        // What was not written yet is newer than what was.
        let prefix = hour_prefix(hour);
        let unwritten = self
            .unwritten
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix));
        let unwritten = unwritten.map(|(key, value)| (key.as_slice(), value.as_slice()));
        for (key, value) in notes.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).chain(unwritten) {
            if let (Some(place), Ok(line)) = (Place::of(key), Line::decode(value))
                && (place.start, place.hours) == (hour, 1)
            {
                self.rows.insert((place.peer, place.price), line);
            }
        }
    }

    /// Books what has crossed the links with `peer` since it was last looked at. `total`: all since the process began.
    pub fn count(&mut self, peer: &Name, price: Option<&str>, total: &Crossed, held: u64) {
        let Some(hour) = self.hour else { return };
        let new = total.since(self.seen.get(peer).unwrap_or(&Crossed::default()));
        self.seen.insert(*peer, *total);
        // A label that changes all the time does not make the books longer than a statement of an hour.
        let labels = self.rows.range((*peer, None)..).take_while(|((name, _), _)| name == peer).count();
        let price = price.filter(|price| labels < LABELS_MAX || self.rows.contains_key(&(*peer, Some((*price).to_owned()))));
        let line = self.rows.entry((*peer, price.map(str::to_owned))).or_default();
        let before = *line;
        line.crossed.add(&new);
        line.held = held;
        if *line != before {
            self.unwritten.insert(Place::hour(hour, peer, price).key(), line.encode());
            while self.unwritten.len() > UNWRITTEN_MAX {
                self.unwritten.pop_first();
            }
        }
    }

    /// There are agreements with these peers only: should there be one again with another, its links count from nothing.
    pub fn only(&mut self, peers: &BTreeSet<Name>) {
        self.seen.retain(|peer, _| peers.contains(peer));
    }

    /// What has to be written; none if nothing changed.
    pub fn unwritten(&self) -> Notes {
        self.unwritten
            .iter()
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .collect()
    }

    /// These are on disk.
    pub fn written(&mut self, notes: &Notes) {
        for (key, value) in notes {
            if self.unwritten.get(key) == value.as_ref() {
                self.unwritten.remove(key);
            }
        }
    }

    /// What stands in the books about `peer` from the hour `first` to before the hour `end`, ascending; `notes` is what is on disk of that
    /// time, of any peer. If those are more rows than a statement has: the latest, and from which hour on they are all.
    pub fn rows(&self, peer: &Name, (first, end): (u64, u64), notes: &[Note]) -> (u64, Vec<Row>) {
        let read = |(key, value): (&[u8], &[u8])| {
            let place = Place::of(key).filter(|place| place.peer == *peer)?;
            let line = Line::decode(value).ok()?;
            Some(((place.start, place.hours, place.price), line))
        };
        let on_disk = notes.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        let unwritten = self.unwritten.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        let mut found: BTreeMap<_, _> = on_disk.chain(unwritten).filter_map(read).collect();
        found.retain(|(start, hours, _), _| *start >= first && start + hours <= end);
        let rows = found.into_iter().map(|((start, hours, price), line)| Row {
            start,
            hours,
            price,
            held: line.held,
            crossed: line.crossed,
        });
        let mut rows: Vec<Row> = rows.collect();
        let Some(last_left_out) = rows.len().checked_sub(STATEMENT_ROWS_MAX + 1) else {
            return (first, rows);
        };
        // An hour is told as a whole or not at all.
        let first = rows[last_left_out].start + rows[last_left_out].hours;
        rows.retain(|row| row.start >= first);
        (first, rows)
    }
}

/// Where a row stands: its hours, its peer, its price class.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    start: u64,
    hours: u64,
    peer: Name,
    price: Option<String>,
}

impl Place {
    fn hour(start: u64, peer: &Name, price: Option<&str>) -> Self {
        Self {
            start,
            hours: 1,
            peer: *peer,
            price: price.map(str::to_owned),
        }
    }

    /// The row of the day in which it is.
    fn day(self) -> Self {
        Self {
            start: self.start - self.start % DAY_HOURS,
            hours: DAY_HOURS,
            ..self
        }
    }

    fn key(&self) -> Vec<u8> {
        let mut key = if self.hours == 1 {
            hour_prefix(self.start)
        } else {
            day_prefix(self.start / DAY_HOURS)
        };
        key.extend(format!("{}/{}", self.peer, self.price.as_deref().unwrap_or_default()).bytes());
        key
    }

    fn of(key: &[u8]) -> Option<Self> {
        let text = str::from_utf8(key).ok()?;
        let (rest, hours) = match (text.strip_prefix(LINK_HOURS), text.strip_prefix(LINK_DAYS)) {
            (Some(rest), _) => (rest, 1),
            (None, rest) => (rest?, DAY_HOURS),
        };
        let mut parts = rest.splitn(3, '/');
        let (start, peer, price) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            start: start.parse::<u64>().ok()?.checked_mul(hours)?,
            hours,
            peer: peer.parse().ok()?,
            price: Some(price).filter(|price| is_price(price)).map(str::to_owned),
        })
    }
}

impl Line {
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(2).uint(self.held);
        self.crossed.write(&mut w);
        w.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        r.array_exact(2)?;
        let line = Self {
            held: r.uint()?,
            crossed: Crossed::read(&mut r)?,
        };
        r.finish().map(|()| line)
    }
}

/// What a link has counted, by category. What the peer acknowledged is what it says became of what was given; what was taken, we say.
pub fn crossed(progress: &Progress, asked: &PeerTally) -> Crossed {
    let (given, taken) = (&progress.acknowledged, &progress.received);
    Crossed::default()
        .with(Category::Records, [progress.records_sent, progress.records_received])
        .with(Category::Kept, [given.stored, taken.stored])
        .with(
            Category::Refused,
            [given, taken].map(|counts| counts.refused.saturating_add(counts.limited)),
        )
        .with(Category::Pointers, [progress.pointers_sent, progress.pointers_received])
        .with(Category::Mentions, [progress.mentions_sent, progress.mentions_received])
        .with(Category::Bytes, [progress.bytes_sent, progress.bytes_received])
        .with(Category::Queries, [asked.asked, asked.served + asked.refused])
        .with(Category::Answers, [asked.served, asked.answered])
        .with(Category::Hits, [asked.served_hits, asked.hits])
}

/// The keys of the rows of days into which these rows of hours go.
pub fn days_of(hours: &[Note]) -> Vec<Vec<u8>> {
    let mut days: Vec<_> = hours.iter().filter_map(|(key, _)| Some(Place::of(key)?.day().key())).collect();
    days.dedup();
    days.sort_unstable();
    days.dedup();
    days
}

/// Adds rows of hours up to days, `days` being what is written of those, and removes them: to be written in one commit, so that no hour is
/// ever in both. A row that cannot be read is removed.
pub fn compact(hours: &[Note], days: &[Note]) -> Notes {
    let read = |(key, value): &Note| Some((key.clone(), Line::decode(value).ok()?));
    let mut sums: BTreeMap<_, _> = days.iter().filter_map(read).collect();
    for (key, value) in hours {
        if let (Some(place), Ok(line)) = (Place::of(key), Line::decode(value)) {
            let sum = sums.entry(place.day().key()).or_default();
            sum.crossed.add(&line.crossed);
            sum.held = line.held;
        }
    }
    let removed = hours.iter().map(|(key, _)| (key.clone(), None));
    sums.into_iter()
        .map(|(key, line)| (key, Some(line.encode())))
        .chain(removed)
        .collect()
}

/// The first key of an hour that is kept as such at `now`; those before it are added up to days. Always the beginning of a day.
pub fn first_hour_kept(now: UnixSecs) -> Vec<u8> {
    let day = hour_of(now.micros()) / DAY_HOURS;
    hour_prefix(day.saturating_sub(HOURS_KEEP_DAYS) * DAY_HOURS)
}

/// The first key of a day that is kept at `now`.
pub fn first_day_kept(now: UnixSecs) -> Vec<u8> {
    day_prefix((hour_of(now.micros()) / DAY_HOURS).saturating_sub(LINK_BOOKS_KEEP_DAYS))
}

/// What the keys of all rows of an hour start with.
pub fn hour_prefix(hour: u64) -> Vec<u8> {
    format!("{LINK_HOURS}{hour:010}/").into_bytes()
}

/// What the keys of all rows of a day start with.
pub fn day_prefix(day: u64) -> Vec<u8> {
    format!("{LINK_DAYS}{day:010}/").into_bytes()
}

/// The hours that a statement said at `time` covers, if it is to cover `hours` from `first` on: not those to come, and not those long over.
pub fn period(time: UnixMicros, first: u64, hours: u64) -> (u64, u64) {
    let end = hour_of(time) + 1;
    let first = first.clamp(end.saturating_sub(STATEMENT_HOURS_MAX), end);
    (first, first.saturating_add(hours).min(end))
}

/// What the keys of rows of hours start with.
pub const LINK_HOURS: &str = "links/hour/";
/// What the keys of rows of days start with.
pub const LINK_DAYS: &str = "links/day/";
/// Days that every hour is kept: a month's account can be disputed by the hour for ten days.
pub const HOURS_KEEP_DAYS: u64 = 40;
/// Days that days are kept, as customers' books are: a year's account can be made, and disputed.
pub const LINK_BOOKS_KEEP_DAYS: u64 = 400;
/// Hours that statements go back at most: all that is kept.
pub const STATEMENT_HOURS_MAX: u64 = LINK_BOOKS_KEEP_DAYS * DAY_HOURS;
/// Seconds between two writings, and so what a crash loses at most.
pub const LINK_BOOKS_EVERY_SECS: u64 = 5;
/// Price classes of one peer that are told apart in one hour; what crosses under more is booked without one.
pub const LABELS_MAX: usize = 16;
/// Rows that wait for a disk that takes none: those of 100 peers for a week. The oldest give way.
pub const UNWRITTEN_MAX: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_shared::statement::Way;

    const HOUR: u64 = 24 * 20_000;
    const NOW: UnixSecs = UnixSecs(HOUR * 3_600 + 60);

    fn peer(n: u8) -> Name {
        Name::key_set([n; 32])
    }

    fn records(given: u64, taken: u64) -> Crossed {
        Crossed::default().with(Category::Records, [given, taken])
    }

    /// A disk: what `set_notes` and `notes` do.
    #[derive(Default)]
    struct Disk(BTreeMap<Vec<u8>, Vec<u8>>);

    impl Disk {
        fn set(&mut self, notes: &Notes) {
            for (key, value) in notes {
                match value {
                    Some(value) => self.0.insert(key.clone(), value.clone()),
                    None => self.0.remove(key),
                };
            }
        }

        fn notes(&self, prefix: &[u8]) -> Vec<Note> {
            let with = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
            with.map(|(key, value)| (key.clone(), value.clone())).collect()
        }

        fn open(&self, now: UnixSecs) -> Books {
            let mut books = Books::default();
            self.turn(&mut books, now);
            books
        }

        fn turn(&self, books: &mut Books, now: UnixSecs) {
            if let Some(hour) = books.turns(now) {
                books.turn(hour, &self.notes(&hour_prefix(hour)));
            }
        }

        fn write(&mut self, books: &mut Books) {
            let notes = books.unwritten();
            self.set(&notes);
            books.written(&notes);
        }

        /// All that stands about a peer.
        fn rows(&self, books: &Books, of: &Name) -> Vec<Row> {
            books.rows(of, (0, u64::from(u32::MAX)), &self.notes(b"links/")).1
        }
    }

    #[test]
    fn what_links_counted_since_the_last_look_is_booked_in_the_hour_of_the_look() {
        let mut disk = Disk::default();
        let mut books = disk.open(NOW);
        books.count(&peer(1), None, &records(10, 1), 3);
        books.count(&peer(1), None, &records(15, 1), 4);
        books.count(&peer(2), None, &records(1, 1), 0);
        disk.write(&mut books);
        let later = NOW.plus(3_600);
        disk.turn(&mut books, later);
        books.count(&peer(1), None, &records(18, 1), 4);
        let rows = disk.rows(&books, &peer(1));
        let said: Vec<_> = rows.iter().map(|row| (row.start, row.held, row.crossed)).collect();
        assert_eq!(said, [(HOUR, 4, records(15, 1)), (HOUR + 1, 4, records(3, 0))]);
    }

    #[test]
    fn after_a_crash_the_hour_goes_on_and_nothing_is_counted_twice() {
        let mut disk = Disk::default();
        let mut books = disk.open(NOW);
        books.count(&peer(1), None, &records(10, 0), 1);
        disk.write(&mut books);
        // Written again, as after an error that left it unknown whether it was.
        disk.write(&mut books);
        books.count(&peer(1), None, &records(12, 0), 1);
        drop(books);
        let mut again = disk.open(NOW.plus(5));
        assert_eq!(
            disk.rows(&again, &peer(1))[0].crossed,
            records(10, 0),
            "the two that were not written are lost"
        );
        again.count(&peer(1), None, &records(7, 0), 1);
        disk.write(&mut again);
        assert_eq!(disk.rows(&disk.open(NOW), &peer(1))[0].crossed, records(17, 0));
    }

    #[test]
    fn what_could_not_be_written_is_written_later_and_read_meanwhile() {
        let mut disk = Disk::default();
        let mut books = disk.open(NOW);
        books.count(&peer(1), None, &records(10, 0), 1);
        disk.turn(&mut books, NOW.plus(3_600));
        books.count(&peer(1), None, &records(11, 0), 1);
        // The clock goes back into the hour that nobody has on disk.
        disk.turn(&mut books, NOW);
        books.count(&peer(1), None, &records(13, 0), 1);
        assert!(disk.0.is_empty());
        disk.write(&mut books);
        let counted: Vec<_> = disk.rows(&Books::default(), &peer(1)).into_iter().map(|row| row.crossed).collect();
        assert_eq!(counted, [records(12, 0), records(1, 0)]);
        assert!(books.unwritten().is_empty());
    }

    #[test]
    fn a_row_that_changed_while_it_was_being_written_is_written_again() {
        let mut disk = Disk::default();
        let mut books = disk.open(NOW);
        books.count(&peer(1), None, &records(10, 0), 1);
        let notes = books.unwritten();
        books.count(&peer(1), None, &records(11, 0), 1);
        disk.set(&notes);
        books.written(&notes);
        disk.write(&mut books);
        assert_eq!(disk.rows(&Books::default(), &peer(1))[0].crossed, records(11, 0));
    }

    #[test]
    fn an_idle_link_writes_nothing() {
        let mut disk = Disk::default();
        let mut books = disk.open(NOW);
        for _ in 0..10 {
            books.count(&peer(1), None, &Crossed::default(), 0);
        }
        assert!(books.unwritten().is_empty());
        books.count(&peer(1), None, &records(1, 0), 5);
        disk.write(&mut books);
        books.count(&peer(1), None, &records(1, 0), 5);
        assert!(books.unwritten().is_empty());
    }

    #[test]
    fn a_link_that_counts_anew_is_booked_from_its_beginning() {
        let disk = Disk::default();
        let mut books = disk.open(NOW);
        books.count(&peer(1), None, &records(10, 10), 0);
        books.count(&peer(1), None, &records(3, 2), 0);
        assert_eq!(disk.rows(&books, &peer(1))[0].crossed, records(13, 12));
        books.only(&BTreeSet::from([peer(2)]));
        books.count(&peer(1), None, &records(5, 5), 0);
        assert_eq!(disk.rows(&books, &peer(1))[0].crossed, records(18, 17));
    }

    #[test]
    fn another_price_class_begins_another_row() {
        let disk = Disk::default();
        let mut books = disk.open(NOW);
        books.count(&peer(1), None, &records(10, 0), 0);
        books.count(&peer(1), Some("gold/1"), &records(14, 0), 0);
        let rows = disk.rows(&books, &peer(1));
        let said: Vec<_> = rows
            .iter()
            .map(|row| (row.price.as_deref(), row.crossed.of(Category::Records, Way::Given)))
            .collect();
        assert_eq!(said, [(None, 10), (Some("gold/1"), 4)]);
    }

    #[test]
    fn old_hours_become_days_and_no_amount_is_lost_or_doubled_however_the_pages_fall() {
        for page in [1, 2, 5, 100] {
            let mut disk = Disk::default();
            for hour in 0..72 {
                let now = NOW.plus(hour * 3_600);
                let mut books = disk.open(now);
                books.count(&peer(1), None, &records(hour + 1, 0), hour);
                books.count(&peer(1), Some("gold"), &records(hour + 1, 1), hour);
                books.count(&peer(2), None, &records(1, 0), 9);
                disk.write(&mut books);
            }
            let whole: u64 = (1..=72).sum();
            let until = first_hour_kept(NOW.plus((2 + HOURS_KEEP_DAYS) * 86_400));
            loop {
                let mut hours = disk.notes(LINK_HOURS.as_bytes());
                hours.retain(|(key, _)| *key < until);
                hours.truncate(page);
                if hours.is_empty() {
                    break;
                }
                let days = days_of(&hours);
                let days: Vec<Note> = days
                    .into_iter()
                    .filter_map(|key| Some((key.clone(), disk.0.get(&key)?.clone())))
                    .collect();
                disk.set(&compact(&hours, &days));
                let sum: u64 = disk
                    .rows(&Books::default(), &peer(1))
                    .iter()
                    .map(|row| row.crossed.of(Category::Records, Way::Given))
                    .sum();
                assert_eq!(sum, whole, "between two pages of {page}");
            }
            let rows = disk.rows(&Books::default(), &peer(1));
            let days: Vec<_> = rows.iter().filter(|row| row.hours == 24).map(|row| (row.start, row.held)).collect();
            assert_eq!(days, [(HOUR, 23), (HOUR, 23), (HOUR + 24, 47), (HOUR + 24, 47)]);
            assert_eq!(rows.len(), 4 + 2 * 24, "the last day is still told by the hour");
        }
    }

    #[test]
    fn days_end_after_their_time_and_hours_end_with_a_day() {
        assert_eq!(first_hour_kept(NOW), hour_prefix(HOUR - 40 * 24));
        assert_eq!(first_hour_kept(NOW.plus(86_000)), hour_prefix(HOUR - 40 * 24));
        assert_eq!(first_day_kept(NOW), day_prefix(HOUR / 24 - 400));
        assert!(day_prefix(9) < day_prefix(10) && hour_prefix(99) < hour_prefix(100));
    }

    #[test]
    fn rows_that_wait_for_a_disk_have_an_end() {
        let mut books = Books::default();
        for hour in 0..=UNWRITTEN_MAX as u64 {
            books.turn(hour, &[]);
            books.count(&peer(1), None, &records(hour + 1, 0), 0);
        }
        assert_eq!(books.unwritten().len(), UNWRITTEN_MAX);
        assert!(books.unwritten().iter().all(|(key, _)| *key >= hour_prefix(1)));
    }

    #[test]
    fn a_statement_has_no_more_rows_than_it_may_and_they_are_the_latest() {
        let mut books = Books::default();
        let rows = STATEMENT_ROWS_MAX as u64 + 10;
        for hour in 0..rows {
            books.turn(hour, &[]);
            books.count(&peer(1), None, &records(hour + 1, 0), 0);
        }
        let (first, said) = books.rows(&peer(1), (0, rows), &[]);
        assert_eq!((first, said.len(), said[0].start), (10, STATEMENT_ROWS_MAX, 10));
        let (first, said) = books.rows(&peer(1), (5, 8), &[]);
        assert_eq!((first, said.len()), (5, 3));
    }

    #[test]
    fn an_hour_is_told_as_a_whole_or_not_at_all_and_has_so_many_labels() {
        let mut books = Books::default();
        let mut total = 0;
        for hour in 0..STATEMENT_ROWS_MAX as u64 {
            books.turn(hour, &[]);
            for label in 0..2 * LABELS_MAX {
                total += 1;
                books.count(&peer(1), Some(&format!("class-{label}")), &records(total, 0), 0);
            }
        }
        let (first, said) = books.rows(&peer(1), (0, u64::MAX), &[]);
        let hours = (STATEMENT_ROWS_MAX / (LABELS_MAX + 1)) as u64;
        assert_eq!(first, STATEMENT_ROWS_MAX as u64 - hours);
        assert_eq!(said.len() as u64, hours * (LABELS_MAX as u64 + 1));
        let of_an_hour: u64 = said
            .iter()
            .filter(|row| row.start == first)
            .map(|row| row.crossed.of(Category::Records, Way::Given))
            .sum();
        assert_eq!(of_an_hour, 2 * LABELS_MAX as u64);
    }

    #[test]
    fn a_statement_covers_the_present_hour_and_those_before_it_as_far_back_as_books_are_kept() {
        let time = UnixMicros((HOUR * 3_600 + 1) * 1_000_000);
        assert_eq!(period(time, HOUR, 1), (HOUR, HOUR + 1));
        assert_eq!(period(time, HOUR - 23, 24), (HOUR - 23, HOUR + 1));
        assert_eq!(period(time, HOUR - 23, 4), (HOUR - 23, HOUR - 19));
        assert_eq!(period(time, 0, u64::MAX), (HOUR + 1 - STATEMENT_HOURS_MAX, HOUR + 1));
        assert_eq!(period(time, u64::MAX, 1), (HOUR + 1, HOUR + 1));
    }

    #[test]
    fn keys_and_rows_that_are_not_of_these_books_are_passed_over() {
        for key in [
            &b"links/hour/"[..],
            b"links/hour/x/y/",
            b"links/day/18446744073709551615/z/",
            b"books/hour/1/",
            b"\xff",
        ] {
            assert_eq!(Place::of(key), None);
        }
        let mut books = Books::default();
        let key = Place::hour(HOUR, &peer(1), None).key();
        books.turn(HOUR, &[(key.clone(), b"nonsense".to_vec()), (b"links/hour/".to_vec(), vec![])]);
        assert!(books.rows(&peer(1), (0, u64::MAX), &[(key.clone(), vec![0xff])]).1.is_empty());
        assert_eq!(compact(&[(key.clone(), vec![0xff])], &[]), [(key, None)]);
    }
}
