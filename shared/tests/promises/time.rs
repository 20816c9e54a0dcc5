//! Lifetimes, clocks that are ahead, and floors. Time is an argument everywhere, so each edge is one line.

use crate::world::*;
use dialtone_shared::limits::*;
use dialtone_shared::record::Timeliness;
use dialtone_shared::{Body, Record, RecordError, Ttl, UnixMicros, UnixSecs};

fn lasting(sequence: UnixMicros, expiry: UnixSecs) -> Record {
    Record {
        sequence,
        body: Body::Live {
            expiry,
            ttl: Ttl(60),
            bindings: Vec::new(),
        },
        ..record(Vec::new())
    }
}

#[test]
fn an_expiry_is_after_the_sequence_and_at_most_400_days_later() {
    let signed_at = SIGNED.micros();
    let check = |expiry| lasting(signed_at, expiry).encode_payload().map(drop);
    let refused = |expiry| Err(RecordError::Lifetime { signed: SIGNED, expiry });
    let last = SIGNED.plus(400 * DAY);

    assert_eq!(check(SIGNED.plus(1)), Ok(()));
    assert_eq!(check(last), Ok(()));
    assert_eq!(check(SIGNED), refused(SIGNED));
    assert_eq!(check(UnixSecs(0)), refused(UnixSecs(0)));
    assert_eq!(check(last.plus(1)), refused(last.plus(1)));
    assert_eq!(check(UnixSecs(u64::MAX)), refused(UnixSecs(u64::MAX)));

    // The fraction of a second in a sequence lengthens nothing.
    let late = UnixMicros(signed_at.0 + 999_999);
    assert!(lasting(late, last).encode_payload().is_ok());
    assert!(lasting(late, last.plus(1)).encode_payload().is_err());
}

#[test]
fn sequences_run_from_1_to_2_to_the_62() {
    let at = |sequence| {
        lasting(UnixMicros(sequence), UnixMicros(sequence).secs().plus(1))
            .encode_payload()
            .map(drop)
    };
    assert_eq!(at(0), Err(RecordError::Sequence(0)));
    assert_eq!(at(1), Ok(()));
    assert_eq!(at(SEQUENCE_MAX), Ok(()));
    assert_eq!(at(SEQUENCE_MAX + 1), Err(RecordError::Sequence(SEQUENCE_MAX + 1)));
    assert!(at(u64::MAX).is_err());
}

#[test]
fn a_put_may_be_ahead_by_five_minutes_and_a_peers_record_by_ten() {
    let record = record(Vec::new());
    let ahead = |secs| UnixSecs(SIGNED.0 - secs);
    assert_eq!(record.at_put(SIGNED), Timeliness::Current);
    assert_eq!(record.at_put(ahead(300)), Timeliness::Current);
    assert_eq!(record.at_put(ahead(301)), Timeliness::Future(301));
    assert_eq!(record.from_peer(ahead(301)), Timeliness::Current);
    assert_eq!(record.from_peer(ahead(600)), Timeliness::Current);
    assert_eq!(record.from_peer(ahead(601)), Timeliness::Future(601));
    assert_eq!((FUTURE_PUT_SECS, FUTURE_PEER_SECS), (300, 600));
    // A revocation is no exception: it would lock the name for ever.
    assert_eq!(revocation().at_put(ahead(301)), Timeliness::Future(301));
}

#[test]
fn a_record_expires_at_its_expiry_and_a_revocation_never() {
    let record = record(Vec::new());
    let expiry = record.expiry().unwrap();
    assert_eq!(record.at_put(UnixSecs(expiry.0 - 1)), Timeliness::Current);
    assert_eq!(record.at_put(expiry), Timeliness::Expired);
    assert_eq!(record.from_peer(UnixSecs(u64::MAX)), Timeliness::Expired);
    assert_eq!(revocation().at_put(UnixSecs(u64::MAX)), Timeliness::Current);
}

#[test]
fn a_record_is_a_floor_until_nothing_older_can_be_valid() {
    let record = record(Vec::new());
    let forget = record.forget_at().unwrap();
    assert_eq!(forget, SIGNED.plus(400 * DAY));
    // Whatever has a smaller sequence has expired by then.
    let older = UnixMicros(record.sequence.0 - 1);
    assert!(lasting(older, forget).encode_payload().is_err() || lasting(older, forget).at_put(forget) == Timeliness::Expired);
    assert_eq!(revocation().forget_at(), None);
}

#[test]
fn caches_keep_a_record_for_its_ttl_but_not_beyond_its_expiry_or_a_week() {
    let with = |ttl| Record {
        body: Body::Live {
            expiry: SIGNED.plus(30 * DAY),
            ttl: Ttl(ttl),
            bindings: Vec::new(),
        },
        ..record(Vec::new())
    };
    assert_eq!(with(60).ttl_at(SIGNED), Ttl(60));
    assert_eq!(with(0).ttl_at(SIGNED), Ttl(0));
    assert_eq!(with(u32::MAX).ttl_at(SIGNED), Ttl(TTL_SECS_MAX));
    assert_eq!(with(60).ttl_at(SIGNED.plus(30 * DAY - 7)), Ttl(7));
    assert_eq!(with(60).ttl_at(SIGNED.plus(30 * DAY)), Ttl(0));
    assert_eq!(with(60).ttl_at(UnixSecs(u64::MAX)), Ttl(0));
    assert_eq!(revocation().ttl_at(SIGNED), Ttl(TTL_SECS_DEFAULT));
}

#[test]
fn instants_cannot_overflow() {
    let end = UnixSecs(u64::MAX);
    assert_eq!(end.plus(1), end);
    assert_eq!(UnixSecs(0).since(end), 0);
    assert_eq!(end.micros(), UnixMicros(u64::MAX));
    assert_eq!(end.micros().secs(), UnixSecs(u64::MAX / 1_000_000));
    assert!(end.to_string().ends_with('Z'));
    assert_eq!((UnixSecs(DAY - 1).day(), UnixSecs(DAY).day()), (0, 1));
}
