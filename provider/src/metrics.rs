//! What is counted, as Prometheus reads it. No globals: two providers in one process keep two books.

pub mod scraped;

use crate::accounting::Tally;
use crate::store::Count;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::fmt;
use std::time::Duration;

/// What a provider's service counts.
pub struct Metrics {
    /// By what became of a put: created, updated, renewed, same, or the slug of its problem.
    puts: Family<Outcome, Counter>,
    /// By what became of a get.
    gets: Family<Outcome, Counter>,
    /// By HTTP status.
    http: Family<Status, Counter>,
    /// Seconds to verify a record.
    verify: Histogram,
    /// Puts that shared a commit.
    commit_puts: Histogram,
    /// Seconds from a commit's begin until it was durable.
    commit_seconds: Histogram,
    /// Puts that wait.
    pub queue_depth: Gauge,
    /// HTTP connections open now.
    pub connections: Gauge,
    /// Records forgotten after their end.
    pub forgotten: Counter,
    records: Gauge,
    bytes: Gauge,
    pointers: Gauge,
    account_names: Family<Account, Gauge>,
    account_bytes: Family<Account, Gauge>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Status {
    status: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Account {
    account: String,
}

impl Metrics {
    /// New counters, entered in `registry`.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            puts: Family::default(),
            gets: Family::default(),
            http: Family::default(),
            verify: Histogram::new(exponential_buckets(16e-6, 2.0, 10)),
            commit_puts: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_seconds: Histogram::new(exponential_buckets(125e-6, 2.0, 14)),
            queue_depth: Gauge::default(),
            connections: Gauge::default(),
            forgotten: Counter::default(),
            records: Gauge::default(),
            bytes: Gauge::default(),
            pointers: Gauge::default(),
            account_names: Family::default(),
            account_bytes: Family::default(),
        };
        let m = &metrics;
        registry.register("dialtone_puts", "Puts, by what became of them", m.puts.clone());
        registry.register("dialtone_gets", "Gets over HTTP, by what became of them", m.gets.clone());
        registry.register("dialtone_http_responses", "HTTP answers, by status", m.http.clone());
        registry.register("dialtone_verify_seconds", "Time to verify a record", m.verify.clone());
        registry.register("dialtone_commit_puts", "Puts that shared a commit", m.commit_puts.clone());
        registry.register(
            "dialtone_commit_seconds",
            "Time until a commit was durable",
            m.commit_seconds.clone(),
        );
        registry.register("dialtone_put_queue", "Puts that wait for the disk", m.queue_depth.clone());
        registry.register("dialtone_http_connections", "HTTP connections open", m.connections.clone());
        registry.register("dialtone_forgotten", "Records forgotten after their end", m.forgotten.clone());
        registry.register("dialtone_records", "Records held", m.records.clone());
        registry.register("dialtone_record_bytes", "Bytes of the records held", m.bytes.clone());
        registry.register(
            "dialtone_pointers",
            "Names that peers are said to keep newer records of",
            m.pointers.clone(),
        );
        registry.register("dialtone_account_names", "Names kept, by account", m.account_names.clone());
        registry.register("dialtone_account_bytes", "Bytes kept, by account", m.account_bytes.clone());
        metrics
    }

    /// A put ended so.
    pub fn put(&self, outcome: &'static str) {
        self.puts.get_or_create(&Outcome { outcome }).inc();
    }

    /// A get ended so.
    pub fn get(&self, outcome: &'static str) {
        self.gets.get_or_create(&Outcome { outcome }).inc();
    }

    /// An HTTP answer had this status.
    pub fn http(&self, status: u16) {
        self.http.get_or_create(&Status { status }).inc();
    }

    /// A record was verified, or not.
    pub fn verified(&self, took: Duration) {
        self.verify.observe(took.as_secs_f64());
    }

    /// A commit of so many puts was durable after so long.
    pub fn committed(&self, puts: usize, took: Duration) {
        self.commit_puts.observe(puts as f64);
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// What is held now; asked for when somebody reads the counters.
    pub fn held(&self, count: Count, standing: &[(String, Tally)]) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.records.set(gauge(count.records));
        self.bytes.set(gauge(count.bytes));
        self.pointers.set(gauge(count.pointers));
        for (account, tally) in standing {
            let label = Account {
                account: if account.is_empty() {
                    "anonymous".to_owned()
                } else {
                    account.clone()
                },
            };
            self.account_names.get_or_create(&label).set(gauge(tally.names));
            self.account_bytes.get_or_create(&label).set(gauge(tally.bytes));
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
