//! What a frontend has answered so far, for whoever watches it.

use crate::dns::edns::extended_error;
use crate::dns::frontend::Carrier;
use crate::dns::latency::{Found, Latency, LatencyCounts};
use crate::dns::wire::flags;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrontendCounts {
    /// Messages that came.
    pub questions: u64,
    /// Of these by [`Carrier::ALL`].
    pub by_carrier: [u64; 5],
    /// Messages that got no answer: responses, and what is too short.
    pub dropped: u64,
    /// Answers by code: NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, any other.
    pub by_rcode: [u64; 7],
    /// Answers with an extended error (RFC 8914), by its code; the last: any code from there on.
    pub by_extended_error: [u64; EXTENDED_ERRORS],
    /// Answers with TC set.
    pub truncated: u64,
    /// Questions that were for upstream resolvers, from the cache or not.
    pub forwarded: u64,
    /// Answers that were kept as they are sent.
    pub hot: u64,
    /// Answers by UDP to networks beyond their rate: sent without data, and not sent.
    pub limited: [u64; 2],
    /// Questions of networks that are not answered.
    pub denied: u64,
    /// Questions that others would have had to be asked for, of networks beyond what they may cause.
    pub unsearched: u64,
    /// How many answers are kept now as they are sent: by all cores, and for all connections.
    pub kept: u64,
    /// What these take, in bytes.
    pub kept_bytes: u64,
    /// Messages sent to upstream resolvers.
    pub upstream_sent: u64,
    /// Messages by UDP from where they are, or as if from there, that were no reply to what was asked.
    pub upstream_unwanted: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    by_carrier: [AtomicU64; 5],
    dropped: AtomicU64,
    by_rcode: [AtomicU64; 7],
    by_extended_error: [AtomicU64; EXTENDED_ERRORS],
    latency: Latency,
    truncated: AtomicU64,
    forwarded: AtomicU64,
    hot: AtomicU64,
    limited: [AtomicU64; 2],
    denied: AtomicU64,
    kept: AtomicU64,
    kept_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn forwarded(&self) {
        self.forwarded.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts how long an answer took that was not [kept by a core](Self::answered_again).
    pub(crate) fn took(&self, carrier: Carrier, found: Found, each: Duration) {
        self.latency.took(carrier, found, 1, each);
    }

    /// How long answers took.
    pub(crate) fn latency(&self) -> Vec<LatencyCounts> {
        self.latency.read()
    }

    /// Counts a question and what became of it.
    pub(crate) fn answered(&self, carrier: Carrier, reply: Option<&[u8]>) {
        self.by_carrier[carrier as usize].fetch_add(1, Ordering::Relaxed);
        let Some(&[high, low]) = reply.and_then(|reply| reply.get(2..4)) else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let bits = u16::from_be_bytes([high, low]);
        let rcode = usize::from(bits & flags::RCODE).min(self.by_rcode.len() - 1);
        self.by_rcode[rcode].fetch_add(1, Ordering::Relaxed);
        if bits & flags::TC != 0 {
            self.truncated.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(code) = reply.and_then(extended_error) {
            self.by_extended_error[usize::from(code).min(EXTENDED_ERRORS - 1)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a question of a network that is not answered.
    pub(crate) fn denied(&self) {
        self.denied.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer to a network beyond its rate: sent without data, or not at all.
    pub(crate) fn limited(&self, is_sent: bool) {
        self.limited[usize::from(!is_sent)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what a core answered by UDP from what it keeps, by code: as many as since it last said so. Each took as long as the batch that
    /// it was sent with.
    pub(crate) fn answered_again(&self, by_rcode: [u64; 16], took: Duration) {
        let total = by_rcode.iter().sum();
        self.latency.took(Carrier::Udp, Found::Kept, total, took);
        self.by_carrier[Carrier::Udp as usize].fetch_add(total, Ordering::Relaxed);
        for (rcode, count) in by_rcode.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            self.by_rcode[rcode.min(self.by_rcode.len() - 1)].fetch_add(count, Ordering::Relaxed);
        }
        self.hot.fetch_add(total, Ordering::Relaxed);
    }

    /// Counts the extended errors of what a core answered by UDP from what it keeps, by code.
    pub(crate) fn extended_errors(&self, by_code: [u64; EXTENDED_ERRORS]) {
        for (counter, count) in self.by_extended_error.iter().zip(by_code).filter(|(_, count)| *count > 0) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Counts an answer over a connection that was kept, beside [`Counters::answered`].
    pub(crate) fn kept_was_sent(&self) {
        self.hot.fetch_add(1, Ordering::Relaxed);
    }

    /// Who kept `before` keeps `now`: answers, and their bytes.
    pub(crate) fn keeps(&self, before: (usize, usize), now: (usize, usize)) {
        let add = |counter: &AtomicU64, before: usize, now: usize| {
            // Adding what is less than nothing goes round and comes out right.
            counter.fetch_add((now as u64).wrapping_sub(before as u64), Ordering::Relaxed);
        };
        add(&self.kept, before.0, now.0);
        add(&self.kept_bytes, before.1, now.1);
    }

    pub(crate) fn read(&self, (upstream_sent, upstream_unwanted): (u64, u64), unsearched: u64) -> FrontendCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let by_carrier = self.by_carrier.each_ref().map(load);
        FrontendCounts {
            questions: by_carrier.iter().sum(),
            by_carrier,
            dropped: load(&self.dropped),
            by_rcode: self.by_rcode.each_ref().map(load),
            by_extended_error: self.by_extended_error.each_ref().map(load),
            truncated: load(&self.truncated),
            forwarded: load(&self.forwarded),
            hot: load(&self.hot),
            limited: self.limited.each_ref().map(load),
            denied: load(&self.denied),
            unsearched,
            kept: load(&self.kept),
            kept_bytes: load(&self.kept_bytes),
            upstream_sent,
            upstream_unwanted,
        }
    }
}

/// Extended errors that are told apart: those that are assigned (0 to 30), ours among them, and all others together.
pub const EXTENDED_ERRORS: usize = 32;
