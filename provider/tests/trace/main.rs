//! The trace by which CoDoNS was measured, in its shape, at the DNS frontend of a provider: a part of it, as dense as the whole. The whole is
//! `cargo bench --bench trace`.

#[path = "../../../tests/study/src/trace.rs"]
#[allow(dead_code, reason = "the study draws names from it, too")]
mod trace;

mod replay;

use dialtone_shared::Ttl;
use dialtone_shared::message::Mode;
use replay::House;
use trace::Trace;

/// 945 names and 5,639 questions in 14 minutes of the trace's time.
const SCALE: f64 = 0.02;

/// Less than the trace lasts, so that what is kept encoded also ends.
const TTL: Ttl = Ttl(300);

#[tokio::test(flavor = "multi_thread")]
async fn where_peers_push_records_nearly_all_is_answered_without_asking_anybody_and_most_as_it_was_encoded() {
    let trace = Trace::new(1, SCALE);
    let house = House::start(trace.names, TTL, Mode::Values).await;
    let replayed = house.replay(trace).await;
    assert!(replayed.local() >= 95.0, "{}% local", replayed.local());
    // A question in six is the first for its name, and what is asked for again comes back when its TTL is over.
    assert!(replayed.hot() >= 50.0, "{}% kept", replayed.hot());
    assert!(replayed.hot() < 84.0, "{}% kept: more than there can be", replayed.hot());
    house.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_peers_push_only_what_they_hold_each_name_is_asked_for_at_a_peer_and_that_is_counted() {
    let trace = Trace::new(1, SCALE);
    let names = trace.names as u64;
    let house = House::start(trace.names, TTL, Mode::Digest).await;
    let replayed = house.replay(trace).await;
    assert!(replayed.asked >= names, "{} of {names}", replayed.asked);
    assert!(replayed.local() < 95.0, "{}% local", replayed.local());
    house.shutdown().await;
}
