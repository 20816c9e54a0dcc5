//! Who is connected: room for so many connections in all and of each client, and who makes way when there is none left.
//!
//! Where all places are taken, the connection that has been quiet for longest makes way (RFC 7766 §6.2.3 lets a server close any that is
//! idle): thousands of slow ones cost those who ask a moment at most.

use crate::dns::settings::{MAKE_WAY_AFTER, TAKEN_BACK_MAX};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// All connections of some listeners.
#[derive(Debug)]
pub(super) struct Connections {
    seats: Mutex<Seats>,
    most: usize,
    most_of_each: usize,
    left: Notify,
}

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    taken: HashMap<u64, (IpAddr, Arc<Pulse>)>,
    of_each: HashMap<IpAddr, usize>,
}

/// A connection's place among them, given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    connections: Arc<Connections>,
    number: u64,
    client: SocketAddr,
    pulse: Arc<Pulse>,
}

/// Whether there is still life in a connection: whole questions, and answers that were taken.
#[derive(Debug)]
pub(super) struct Pulse {
    opened: Instant,
    /// When the last sign of life was, in microseconds after it was opened.
    last_micros: AtomicU64,
    answered: AtomicU64,
    taken_back: AtomicU64,
    /// Whether nothing more can be written until the other side reads.
    stuck: AtomicBool,
    make_way: Notify,
}

impl Connections {
    pub(super) fn new(most: usize, most_of_each: usize) -> Self {
        Self {
            seats: Mutex::default(),
            most: most.max(1),
            most_of_each,
            left: Notify::new(),
        }
    }

    /// Waits until there is room for one more.
    pub(super) async fn room(&self) {
        loop {
            let left = self.left.notified();
            {
                let mut seats = self.lock();
                if seats.taken.len() < self.most {
                    return;
                }
                if seats.make_way(|_, _| true) {
                    return;
                }
            }
            // Whoever fell quiet meanwhile says nothing about it.
            let _ended = timeout(MAKE_WAY_AFTER / 4, left).await;
        }
    }

    /// A place for a connection of `client`; `None` if that one has its share, unless one of those has never asked anything: it makes way, so
    /// that nobody is shut out by whoever only connects from the same address.
    pub(super) fn admit(connections: &Arc<Self>, client: SocketAddr) -> Option<Seat> {
        let mut seats = connections.lock();
        let network = network_of(client.ip());
        let has_its_share = seats.of_each.get(&network).is_some_and(|&count| count >= connections.most_of_each);
        if has_its_share && !seats.make_way(|of, pulse| of == network && pulse.is_silent()) {
            return None;
        }
        *seats.of_each.entry(network).or_default() += 1;
        let pulse = Arc::new(Pulse::new());
        seats.next += 1;
        let number = seats.next;
        seats.taken.insert(number, (network, Arc::clone(&pulse)));
        drop(seats);
        Some(Seat {
            connections: Arc::clone(connections),
            number,
            client,
            pulse,
        })
    }

    /// Waits until nobody is connected, but no longer than `patience`.
    pub(super) async fn all_gone(&self, patience: Duration) {
        let gone = async {
            while !self.lock().of_each.is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(patience, gone).await.is_err() {
            tracing::warn!("stopped while questions were still being answered");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        // Nothing is left half-done by a panic in here: it could only be one of the allocator's.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// The one that has been quiet for longest, of those that are `meant`, makes way; whether there was one that has been quiet for long enough.
    fn make_way(&mut self, meant: impl Fn(IpAddr, &Pulse) -> bool) -> bool {
        let meant = self.taken.iter().filter(|(_, (of, pulse))| meant(*of, pulse));
        let quietest = meant.min_by_key(|(_, (_, pulse))| pulse.last());
        let quietest = quietest.map(|(&number, (_, pulse))| (number, Arc::clone(pulse)));
        let Some((number, pulse)) = quietest.filter(|(_, pulse)| pulse.last().elapsed() >= MAKE_WAY_AFTER) else {
            return false;
        };
        self.taken.remove(&number);
        pulse.make_way.notify_one();
        true
    }
}

impl Seat {
    pub(super) fn client(&self) -> SocketAddr {
        self.client
    }

    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let client = network_of(self.client.ip());
        let mut seats = self.connections.lock();
        seats.taken.remove(&self.number);
        if let Some(count) = seats.of_each.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                seats.of_each.remove(&client);
            }
        }
        drop(seats);
        self.connections.left.notify_one();
    }
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            last_micros: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            taken_back: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            make_way: Notify::new(),
        }
    }

    /// A whole question came. Of who reads nothing it is no sign of life: what waits to be read would wait for ever.
    pub(super) fn asked(&self) {
        if self.stuck.load(Ordering::Relaxed) {
            return;
        }
        let micros = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_micros.fetch_max(micros.max(1), Ordering::Relaxed);
    }

    /// Whether what is written cannot go out now.
    pub(super) fn is_stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::Relaxed);
    }

    /// An answer was given.
    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.asked();
    }

    /// A question was taken back before it was answered; whether that has happened too often.
    pub(super) fn taken_back(&self) -> bool {
        let taken_back = self.taken_back.fetch_add(1, Ordering::Relaxed) + 1;
        taken_back > TAKEN_BACK_MAX.saturating_add(self.answered.load(Ordering::Relaxed))
    }

    /// Whether nothing whole has come on it.
    fn is_silent(&self) -> bool {
        self.last_micros.load(Ordering::Relaxed) == 0
    }

    fn last(&self) -> Instant {
        self.opened + Duration::from_micros(self.last_micros.load(Ordering::Relaxed))
    }

    /// When it will have been quiet for `idle`.
    pub(super) fn quiet_at(&self, idle: Duration) -> Instant {
        self.last() + idle
    }

    /// Ready when a new connection needs this one's place.
    pub(super) async fn must_make_way(&self) {
        self.make_way.notified().await;
    }

    /// Ready when it has been quiet for `idle`, or must make way.
    pub(super) async fn stopped(&self, idle: Duration) {
        let quiet = async {
            loop {
                let then = self.quiet_at(idle);
                if then <= Instant::now() {
                    return;
                }
                sleep_until(then).await;
            }
        };
        tokio::select! {
            () = quiet => {}
            () = self.must_make_way() => {}
        }
    }
}

/// Who counts as one client: an IPv4 address, or an IPv6 /64, which one machine has for itself.
pub(super) fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().expect(ip), 5_353)
    }

    #[tokio::test]
    async fn the_quietest_makes_way_and_whoever_has_just_asked_does_not() {
        let (patience, idle) = (Duration::from_secs(60), Duration::from_secs(3_600));
        let connections = Arc::new(Connections::new(2, 9));
        let first = Connections::admit(&connections, from("192.0.2.1")).expect("room");
        let second = Connections::admit(&connections, from("192.0.2.2")).expect("room");
        sleep(Duration::from_millis(1)).await;
        first.pulse().asked();
        timeout(patience, connections.room()).await.expect("room after a while");
        timeout(patience, second.pulse().stopped(idle)).await.expect("told to go");
        assert!(timeout(Duration::ZERO, first.pulse().stopped(idle)).await.is_err());
        timeout(patience, first.pulse().stopped(Duration::ZERO))
            .await
            .expect("quiet for too long");
    }

    #[tokio::test]
    async fn one_client_has_its_share_and_everyone_is_forgotten_who_is_gone() {
        let connections = Arc::new(Connections::new(100, 2));
        let admit = |ip| Connections::admit(&connections, from(ip));
        let seats: Vec<Seat> = ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2:0:0:1"]
            .into_iter()
            .filter_map(admit)
            .collect();
        assert_eq!(seats.len(), 4);
        seats.iter().for_each(|seat| seat.pulse().asked());
        assert!(admit("192.0.2.1").is_none() && admit("2001:db8::3").is_none());
        drop(seats);
        assert!(admit("192.0.2.1").is_some());
        connections.all_gone(Duration::ZERO).await;
        let seats = connections.lock();
        assert!(seats.taken.is_empty() && seats.of_each.is_empty());
    }

    #[tokio::test]
    async fn who_only_connects_shuts_nobody_out_who_asks_from_the_same_address() {
        let (patience, idle) = (Duration::from_secs(60), Duration::from_secs(3_600));
        let connections = Arc::new(Connections::new(100, 2));
        let silent = Connections::admit(&connections, from("192.0.2.1")).expect("room");
        let asking = Connections::admit(&connections, from("192.0.2.1")).expect("room");
        asking.pulse().asked();
        let admitted = async {
            loop {
                match Connections::admit(&connections, from("192.0.2.1")) {
                    Some(seat) => break seat,
                    None => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        let admitted = timeout(patience, admitted).await.expect("room after a while");
        admitted.pulse().asked();
        timeout(patience, silent.pulse().stopped(idle)).await.expect("told to go");
        assert!(timeout(Duration::ZERO, asking.pulse().stopped(idle)).await.is_err());
        assert!(Connections::admit(&connections, from("192.0.2.1")).is_none(), "all of them ask");
    }

    #[tokio::test]
    async fn a_question_of_who_reads_nothing_is_no_sign_of_life() {
        let (pulse, idle) = (Pulse::new(), Duration::from_millis(5));
        pulse.is_stuck(true);
        sleep(idle).await;
        pulse.asked();
        pulse.answered();
        timeout(Duration::ZERO, pulse.stopped(idle)).await.expect("quiet for too long");
        pulse.is_stuck(false);
        pulse.asked();
        let long = Duration::from_secs(3_600);
        assert!(timeout(Duration::ZERO, pulse.stopped(long)).await.is_err() && !pulse.is_silent());
    }

    #[test]
    fn taking_back_more_than_is_answered_is_not_borne_for_long() {
        let pulse = Pulse::new();
        assert_eq!((0..TAKEN_BACK_MAX).filter(|_| pulse.taken_back()).count(), 0);
        assert!(pulse.taken_back());
        (0..9).for_each(|_| pulse.answered());
        assert_eq!((0..8).filter(|_| pulse.taken_back()).count(), 0);
        assert!(pulse.taken_back());
    }
}
