//! What was measured, as it is kept beside the plots: the document and the plots are made of this and of nothing else.

use serde::{Deserialize, Serialize};

/// Everything.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct Study {
    /// Separate processes on loopback, and the simulated world.
    pub rows: Vec<Row>,
    /// One ring of all providers: point A.
    pub rings: Vec<Ring>,
    /// What each would store of the whole trace.
    pub stored: Vec<Stored>,
    /// Hit rate against population.
    pub populations: Vec<Population>,
    /// How these three were computed.
    pub trace: Option<Run>,
}

/// How something was measured.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Run {
    /// Which part of the trace: 1 is all of it.
    pub scale: f64,
    /// Names in it, each put once.
    pub names: usize,
    /// Queries in it, each a get.
    pub queries: usize,
    /// The day, in UTC.
    pub day: String,
    /// What the program is of: `git describe`, where it can be told.
    pub version: String,
}

/// Where something was measured.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// Separate processes, loopback.
    Real,
    /// The simulated world, virtual time.
    World,
}

/// How providers are linked.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Shape {
    /// Every one with every other, as mutual peers: everything is passed on.
    Mesh,
    /// Every one with every other, as peers: what comes from a peer goes to customers only, of which there are none.
    Peers,
    /// Connected, by chance, so many peers each on average.
    Random(usize),
}

/// In what form all push. Least first, as providers order them.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Form {
    /// Nothing: queries only.
    None,
    /// Filters of names.
    Digest,
    /// Who keeps what.
    Pointers,
    /// Records.
    Values,
}

/// A network.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// How many providers.
    pub providers: usize,
    /// How they are linked.
    pub shape: Shape,
    /// How many only take.
    pub riders: usize,
}

/// How many of so many ride for free, where anybody does: one in ten, which is nobody of fewer than five.
pub fn riders(providers: usize) -> Option<usize> {
    (providers >= 5).then(|| (providers as f64 / 10.0).round() as usize)
}

/// One network of providers that all peer in the same form.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Row {
    /// Where.
    pub place: Place,
    /// In what form all push.
    pub form: Form,
    /// How many providers.
    pub providers: usize,
    /// How they are linked.
    pub shape: Shape,
    /// How many of them only take: they push nothing and answer nothing.
    pub riders: usize,
    /// Of which part of the trace, when, and by which version.
    pub run: Run,
    /// Entries of feeds (records, pointers or mentions) sent between providers for each put.
    pub put_messages: f64,
    /// Bytes of feed frames sent between providers for each put.
    pub put_bytes: f64,
    /// Questions between providers for each get.
    pub get_messages: f64,
    /// Bytes of questions and answers for each get.
    pub get_bytes: f64,
    /// Questions between providers for each get of a name that nobody has.
    pub absent_messages: f64,
    /// The share of gets of names that nobody has of which it could be said that nobody has them.
    pub absent_certain: f64,
    /// Records held, a provider on average.
    pub held: f64,
    /// Bytes held, a provider on average: of records, pointers and digests.
    pub held_bytes: f64,
    /// The share of gets that were answered without asking a peer.
    pub local: f64,
    /// The share of gets that were answered with the record.
    pub found: f64,
    /// How long a get took, in microseconds.
    pub latency_us: Quantiles,
    /// From a put to the first get elsewhere that has it, in milliseconds.
    pub stale_ms: Quantiles,
    /// Of the updates watched, those never seen while they were watched.
    pub unseen: usize,
    /// Processor time of all providers for each put, in microseconds. Real ones only.
    pub put_cpu_us: Option<f64>,
    /// The same for each get.
    pub get_cpu_us: Option<f64>,
    /// The share of the machine that other programs had while gets were made. Real ones only: virtual time does not mind.
    pub others_cpu: Option<f64>,
    /// Questions answered, for each get of the whole network: by a provider that gives, on average.
    pub work: f64,
    /// The share of gets answered with the record, among those of names that were put at providers that give.
    pub found_of_givers: f64,
}

/// Of a sorted list.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug, Default)]
pub struct Quantiles {
    /// How many.
    pub count: usize,
    /// Half are no more.
    pub p50: f64,
    /// 99 of 100 are no more.
    pub p99: f64,
}

/// One ring of all providers, blind to who runs which part.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Ring {
    /// How many providers.
    pub providers: usize,
    /// The share of puts whose home is another provider.
    pub puts_crossing: f64,
    /// The share of gets whose home is another provider.
    pub gets_crossing: f64,
    /// Records held, a provider on average.
    pub held: f64,
    /// Gets that the busiest provider serves, to what one serves on average.
    pub busiest: f64,
}

/// What a provider stores of the whole trace.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Stored {
    /// How many providers share the names.
    pub providers: usize,
    /// Bytes, in the order of [`Form::ALL`].
    pub bytes: [usize; 4],
}

/// Clients that share a cache, and caches that share.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Population {
    /// The share of all clients that are behind one provider.
    pub clients: f64,
    /// Queries of these.
    pub queries: usize,
    /// For each TTL in seconds (0: for ever), the share of them found in that provider's own copies.
    pub hits: Vec<(u64, f64)>,
    /// The same, if it may ask all other providers for their copies too.
    pub together: Vec<(u64, f64)>,
}

impl Quantiles {
    /// Of these, in any order.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (values.len() as f64 * share).ceil() as usize;
            values.get(index.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self {
            count: values.len(),
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

impl Form {
    /// All, most first: as the tables have them.
    pub const ALL: [Self; 4] = [Self::Values, Self::Pointers, Self::Digest, Self::None];

    /// As settings spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Digest => "digest",
            Self::Pointers => "pointers",
            Self::Values => "values",
        }
    }
}

impl Place {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Real => "processes",
            Self::World => "simulated",
        }
    }
}

impl Shape {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mesh => "all linked, mutual",
            Self::Peers => "all linked, peers",
            Self::Random(_) => "few links, mutual",
        }
    }
}

impl Row {
    /// What tells two rows apart.
    fn key(&self) -> (Place, usize, Shape, usize, Form) {
        (self.place, self.providers, self.shape, self.riders, self.form)
    }
}

impl Study {
    /// Takes a row in, in the place of one that was measured before.
    pub fn enter(&mut self, row: Row) {
        self.rows.retain(|other| other.key() != row.key());
        self.rows.push(row);
        self.rows.sort_by_key(|row| {
            let (place, providers, shape, riders, form) = row.key();
            (place, riders > 0, shape, providers, std::cmp::Reverse(form))
        });
    }

    /// The network of this kind in this form, where nobody rides for free.
    pub fn network(&self, place: Place, shape: Shape, providers: usize, form: Form) -> Option<&Row> {
        let key = (place, providers, shape, 0, form);
        self.rows.iter().find(|row| row.key() == key)
    }

    /// The rows without or with providers that only take.
    pub fn rows(&self, place: Place, riders: bool) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.place == place && (row.riders > 0) == riders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let of = |values: &[f64]| Quantiles::of(values.to_vec());
        assert_eq!(
            of(&[3.0, 1.0, 2.0]),
            Quantiles {
                count: 3,
                p50: 2.0,
                p99: 3.0
            }
        );
        assert_eq!(Quantiles::of((1..=1_000).map(f64::from).collect()).p99, 990.0);
        assert_eq!(of(&[]), Quantiles::default());
    }
}
