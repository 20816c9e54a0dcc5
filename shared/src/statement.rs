//! What a provider says crossed its link with another, hour by hour, under its signature; and where two of them differ.
//!
//! ```text
//! statement = envelope over {1: 1, 2: genesis, ? 3: chain, 4: time µs, 5: peer, 6: first, 7: end, 8: [* row]}, "dialtone/statement/v1"
//! row       = [start, hours, price class or null, records held, [* [category, given, taken]]]
//! ```
//!
//! Hours are counted since 1970, in UTC. A row is of one hour, or of the 24 of a day. `given` went from who signs to the peer, `taken` came
//! from it. Rows ascend, and so do their lines; what is not listed is zero.
//!
//! Two honest sides differ a little: their clocks cut the hours at different moments, and what was under way when a link broke was counted
//! by its sender alone. [`within`] says how little.

use crate::cbor::{CborError, Reader, Writer};
use crate::limits::{PRICE_BYTES_MAX, STATEMENT_ROWS_MAX, UNCRITICAL_FROM};
use crate::name::Name;
use crate::receipt::{ReceiptError, Signer, expect, open, read_name};
use crate::time::UnixMicros;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What one provider says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// Who says so.
    pub provider: Name,
    /// Of the link with whom.
    pub peer: Name,
    /// Said when. The hour of that moment is not over.
    pub time: UnixMicros,
    /// The first hour that it covers.
    pub first: u64,
    /// The hour after the last that it covers.
    pub end: u64,
    /// Ascending.
    pub rows: Vec<Row>,
}

/// What crossed in an hour or a day, under one price class.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The hour in which it begins.
    pub start: u64,
    /// How many hours it is of: 1 or 24.
    pub hours: u64,
    /// A label of the agreement. Nothing here depends on it.
    pub price: Option<String>,
    /// Records held from the peer at the end of it.
    pub held: u64,
    /// What crossed.
    pub crossed: Crossed,
}

/// Amounts by category, both ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Crossed([[u64; 2]; Category::ALL.len()]);

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Category {
    /// Records sent whole, repeats too.
    Records = 1,
    /// Of all records, pointers and mentions: new to the receiver, and kept.
    Kept = 2,
    /// Of them: refused by the receiver, for what they are or for the limits agreed.
    Refused = 3,
    /// Pointers sent.
    Pointers = 4,
    /// Names mentioned for a digest.
    Mentions = 5,
    /// Bytes of frames.
    Bytes = 6,
    /// Questions asked.
    Queries = 7,
    /// Questions answered, by a yes or a no.
    Answers = 8,
    /// Of them: with a record.
    Hits = 9,
}

/// Which way something crossed, as who compares sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Way {
    /// From us to the peer.
    Given = 0,
    /// From the peer to us.
    Taken = 1,
}

/// What two statements come to, over the hours that both cover.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// The first hour that both cover.
    pub first: u64,
    /// The hour after the last that both cover.
    pub end: u64,
    /// All that crossed, as we counted it.
    pub ours: Crossed,
    /// The same as the peer counted it, seen from our side.
    pub theirs: Crossed,
    /// Where the two differ by more than honest sides do; by time, then category, then way.
    pub differences: Vec<Difference>,
    /// The price classes of both sides, if they are not the same.
    pub prices: Option<[Vec<String>; 2]>,
}

/// One amount on which two sides do not agree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Difference {
    /// The hour in which the time begins.
    pub start: u64,
    /// How many hours it lasts.
    pub hours: u64,
    /// What is counted.
    pub category: Category,
    /// Which way it crossed, as we see it.
    pub way: Way,
    /// What we say.
    pub ours: u64,
    /// What the peer says.
    pub theirs: u64,
    /// Whether that time was not over for one of the two: the later of them may only have counted for longer.
    pub open: bool,
}

/// Why two statements cannot be compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Incomparable {
    /// They are not of one link.
    #[error("the other statement is what {0} says of its link with {1}: another link")]
    OtherLink(Name, Name),
    /// No hour is in both.
    #[error("no hour is covered by both")]
    NoOverlap,
}

impl Statement {
    /// Signs what `signer` says of its link with `peer` from the hour `first` to before the hour `end`.
    pub fn sign(signer: &Signer, time: UnixMicros, peer: &Name, (first, end): (u64, u64), rows: &[Row]) -> Bytes {
        let fill = |w: &mut Writer| {
            w.uint(4).uint(time.0).uint(5).bytes(peer.as_bytes());
            w.uint(6).uint(first).uint(7).uint(end).uint(8).array(rows.len());
            rows.iter().for_each(|row| row.write(w));
        };
        signer.sign(STATEMENT_DOMAIN, fill, 5)
    }

    /// Checks the signature and every rule, and says what was stated.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn verify(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let (provider, time, (peer, first, end, rows)) = open(STATEMENT_DOMAIN, bytes, |r, fields| {
            expect(fields.next(r)?, 5, r)?;
            let peer = read_name(r)?;
            expect(fields.next(r)?, 6, r)?;
            let first = r.uint()?;
            expect(fields.next(r)?, 7, r)?;
            let end = r.uint()?;
            expect(fields.next(r)?, 8, r)?;
            let at = r.position();
            let count = r.array()?;
            if count > STATEMENT_ROWS_MAX as u64 || first > end || end > u64::from(u32::MAX) {
                return Err(CborError::Type(at));
            }
            let mut rows: Vec<Row> = Vec::new();
            for _ in 0..count {
                let at = r.position();
                let row = Row::read(r)?;
                let inside = row.start >= first && row.end().is_some_and(|row_end| row_end <= end);
                if !inside || rows.last().is_some_and(|before| before.place() >= row.place()) {
                    return Err(CborError::Type(at));
                }
                rows.push(row);
            }
            Ok((peer, first, end, rows))
        })?;
        Ok(Self {
            provider,
            peer,
            time,
            first,
            end,
            rows,
        })
    }

    /// One statement of several by one provider about one link, each of which goes on where another ends; `None` if they do not. It was said
    /// when the latest of them was.
    pub fn join(mut parts: Vec<Self>) -> Option<Self> {
        parts.sort_by_key(|part| part.first);
        let mut parts = parts.into_iter();
        let mut whole = parts.next()?;
        for part in parts {
            if (part.provider, part.peer, part.first) != (whole.provider, whole.peer, whole.end) {
                return None;
            }
            whole.end = part.end;
            whole.time = whole.time.max(part.time);
            whole.rows.extend(part.rows);
        }
        Some(whole)
    }

    /// All that crossed.
    pub fn total(&self) -> Crossed {
        let mut total = Crossed::default();
        self.rows.iter().for_each(|row| total.add(&row.crossed));
        total
    }

    /// The hour that was not over when this was said.
    fn now(&self) -> u64 {
        hour_of(self.time)
    }

    /// What crossed in each hour, or each day of `days`, that lies within `first..end`.
    fn by_time(&self, days: &BTreeSet<u64>, first: u64, end: u64) -> BTreeMap<(u64, u64), Crossed> {
        let mut sums = BTreeMap::<_, Crossed>::new();
        for row in &self.rows {
            let day = row.start / DAY_HOURS;
            let (start, hours) = if days.contains(&day) {
                (day * DAY_HOURS, DAY_HOURS)
            } else {
                (row.start, row.hours)
            };
            if start >= first && start.saturating_add(hours) <= end {
                sums.entry((start, hours)).or_default().add(&row.crossed);
            }
        }
        sums
    }

    fn days(&self) -> impl Iterator<Item = u64> {
        self.rows
            .iter()
            .filter(|row| row.hours == DAY_HOURS)
            .map(|row| row.start / DAY_HOURS)
    }

    fn prices(&self, first: u64, end: u64) -> Vec<String> {
        let within = |row: &&Row| row.start >= first && row.start < end;
        let prices: BTreeSet<_> = self.rows.iter().filter(within).filter_map(|row| row.price.clone()).collect();
        prices.into_iter().collect()
    }
}

impl Row {
    /// The hour after its last.
    fn end(&self) -> Option<u64> {
        self.start.checked_add(self.hours)
    }

    /// Where it stands among the rows of a statement.
    pub fn place(&self) -> (u64, u64, Option<&str>) {
        (self.start, self.hours, self.price.as_deref())
    }

    fn write(&self, w: &mut Writer) {
        w.array(5).uint(self.start).uint(self.hours);
        match &self.price {
            None => w.null(),
            Some(price) => w.text(price),
        };
        w.uint(self.held);
        self.crossed.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        let at = r.position();
        r.array_exact(5)?;
        let (start, hours) = (r.uint()?, r.uint()?);
        let price = if r.null() { None } else { Some(r.text()?.to_owned()) };
        let whole = hours == 1 || hours == DAY_HOURS && start.is_multiple_of(DAY_HOURS);
        if !whole || !price.as_deref().is_none_or(is_price) {
            return Err(CborError::Type(at));
        }
        Ok(Self {
            start,
            hours,
            price,
            held: r.uint()?,
            crossed: Crossed::read(r)?,
        })
    }
}

impl Crossed {
    /// How much of `category` went one way.
    pub fn of(&self, category: Category, way: Way) -> u64 {
        self.0[category as usize - 1][way as usize]
    }

    /// With `[given, taken]` of `category`.
    pub fn with(mut self, category: Category, amounts: [u64; 2]) -> Self {
        self.0[category as usize - 1] = amounts;
        self
    }

    /// Adds what crossed at another time.
    pub fn add(&mut self, other: &Self) {
        self.each(other, u64::saturating_add);
    }

    /// What has come since `earlier`, if both go on counting from the same beginning; a count that is lower than before has begun anew.
    pub fn since(mut self, earlier: &Self) -> Self {
        self.each(earlier, |now, before| now.checked_sub(before).unwrap_or(now));
        self
    }

    /// Whether nothing crossed.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// As the other side sees it.
    pub fn mirrored(mut self) -> Self {
        self.0.iter_mut().for_each(|amounts| amounts.reverse());
        self
    }

    fn each(&mut self, other: &Self, join: fn(u64, u64) -> u64) {
        for (mine, others) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            *mine = join(*mine, *others);
        }
    }

    /// Its lines: `[* [category, given, taken]]`.
    pub fn write(&self, w: &mut Writer) {
        let lines = || Category::ALL.iter().zip(self.0).filter(|(_, amounts)| *amounts != [0, 0]);
        w.array(lines().count());
        for (category, [given, taken]) in lines() {
            w.array(3).uint(*category as u64).uint(given).uint(taken);
        }
    }

    /// Reads what [`Crossed::write`] writes. Categories from 64 on that are not known are passed over.
    ///
    /// # Errors
    /// [`CborError`]: also a line that says nothing, is out of order, or is of a category below 64 that is not known.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CborError> {
        let (mut crossed, mut last) = (Self::default(), 0);
        for _ in 0..r.array()? {
            let at = r.position();
            r.array_exact(3)?;
            let (number, amounts) = (r.uint()?, [r.uint()?, r.uint()?]);
            if number <= last || amounts == [0, 0] {
                return Err(CborError::Type(at));
            }
            last = number;
            match Category::ALL.iter().find(|category| **category as u64 == number) {
                Some(category) => crossed = crossed.with(*category, amounts),
                None if number < UNCRITICAL_FROM => return Err(CborError::Type(at)),
                None => {}
            }
        }
        Ok(crossed)
    }
}

impl Category {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::Records,
        Self::Kept,
        Self::Refused,
        Self::Pointers,
        Self::Mentions,
        Self::Bytes,
        Self::Queries,
        Self::Answers,
        Self::Hits,
    ];

    /// What it is called in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Kept => "kept",
            Self::Refused => "refused",
            Self::Pointers => "pointers",
            Self::Mentions => "mentions",
            Self::Bytes => "bytes",
            Self::Queries => "queries",
            Self::Answers => "answers",
            Self::Hits => "hits",
        }
    }

    /// How much two honest sides may differ in one row, whatever its size: what one of them counts in the seconds by which their hours differ
    /// while little happens, and what was under way when a link broke.
    fn slack(self) -> u64 {
        match self {
            Self::Bytes => SLACK_BYTES,
            _ => SLACK,
        }
    }
}

impl Way {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Given, Self::Taken];

    /// What it is called in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Taken => "taken",
        }
    }
}

impl Comparison {
    /// Whether the two sides agree.
    pub fn agrees(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Whether honest sides may differ by `difference` where the larger says `most`: by 1 in 100, and always by 256 (by 256 KiB of bytes).
pub fn within(category: Category, difference: u128, most: u64) -> bool {
    difference <= u128::from(category.slack().max(most / 100))
}

/// Where two statements of one link differ. What one side has in one hour and the other in the next is no difference: their clocks are not
/// one. Days that one of them tells as a whole are compared as a whole.
///
/// # Errors
/// [`Incomparable`].
pub fn compare(ours: &Statement, theirs: &Statement) -> Result<Comparison, Incomparable> {
    if (ours.provider, ours.peer) != (theirs.peer, theirs.provider) {
        return Err(Incomparable::OtherLink(theirs.provider, theirs.peer));
    }
    let (first, end) = (ours.first.max(theirs.first), ours.end.min(theirs.end));
    if first >= end {
        return Err(Incomparable::NoOverlap);
    }
    let days = ours.days().chain(theirs.days()).collect();
    let mut pairs = BTreeMap::<_, [Crossed; 2]>::new();
    for (at, crossed) in ours.by_time(&days, first, end) {
        pairs.entry(at).or_default()[0] = crossed;
    }
    for (at, crossed) in theirs.by_time(&days, first, end) {
        pairs.entry(at).or_default()[1] = crossed.mirrored();
    }
    let mut sums = [Crossed::default(); 2];
    for pair in pairs.values() {
        sums[0].add(&pair[0]);
        sums[1].add(&pair[1]);
    }
    let over_before = ours.now().min(theirs.now());
    let mut differences = Vec::new();
    for category in Category::ALL {
        for way in Way::BOTH {
            let rows = pairs
                .iter()
                .map(|((start, hours), [ours, theirs])| (*start, *hours, ours.of(category, way), theirs.of(category, way)));
            let found = disputed(category, rows).into_iter().map(|(start, hours, ours, theirs)| Difference {
                start,
                hours,
                category,
                way,
                ours,
                theirs,
                open: start.saturating_add(hours) > over_before,
            });
            differences.extend(found);
        }
    }
    differences.sort_unstable();
    let prices = [ours.prices(first, end), theirs.prices(first, end)];
    Ok(Comparison {
        first,
        end,
        ours: sums[0],
        theirs: sums[1],
        differences,
        prices: (prices[0] != prices[1]).then_some(prices),
    })
}

/// One line of a row on both sides: start, hours, ours, theirs.
type Pair = (u64, u64, u64, u64);

/// The rows on which two sides differ, unless the next row makes up for it.
fn disputed(category: Category, rows: impl Iterator<Item = Pair>) -> Vec<Pair> {
    let mut disputed = Vec::new();
    let mut pending: Option<Pair> = None;
    for row in rows {
        if let Some(before) = pending.take() {
            let adjacent = before.0.saturating_add(before.1) == row.0;
            let both = (row.0, row.1, before.2.saturating_add(row.2), before.3.saturating_add(row.3));
            if adjacent && agrees(category, &both) {
                continue;
            }
            disputed.push(before);
        }
        if !agrees(category, &row) {
            pending = Some(row);
        }
    }
    disputed.extend(pending);
    disputed
}

fn agrees(category: Category, (_, _, ours, theirs): &Pair) -> bool {
    within(category, u128::from(ours.abs_diff(*theirs)), *ours.max(theirs))
}

/// Whether `label` can be a price class: short, and of printable ASCII without spaces, so that it stands in keys and tables as it is.
pub fn is_price(label: &str) -> bool {
    (1..=PRICE_BYTES_MAX).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The hour of a moment, counted since 1970.
pub fn hour_of(time: UnixMicros) -> u64 {
    time.0 / 3_600_000_000
}

/// Hours of a day in UTC, which has no other days.
pub const DAY_HOURS: u64 = 24;
/// The external_aad of a statement.
pub const STATEMENT_DOMAIN: &str = "dialtone/statement/v1";
/// See [`within`]: one batch that was under way.
const SLACK: u64 = 256;
/// See [`within`]: one batch of largish records.
const SLACK_BYTES: u64 = 256 << 10;
