//! The total order of a name's records: replication is a join.

use dialtone_shared::cbor::{Reader, Writer};
use dialtone_shared::key::KeyChain;
use dialtone_shared::{Body, Rank, Record, SecretKey, SignedRecord, Ttl, UnixMicros, VerifiedRecord};
use proptest::collection::vec;
use proptest::prelude::*;
use std::cmp::Ordering;

/// Epoch, revoked, sequence, TTL (which only changes the bytes).
type Place = (usize, bool, u64, u32);

fn at((epoch, revoked, sequence, ttl): Place) -> VerifiedRecord {
    let seed = [7; 32];
    let KeyChain { genesis, links } = KeyChain::generate(&seed, b"", 3).unwrap();
    let sequence = UnixMicros(sequence);
    let live = Body::Live {
        expiry: sequence.secs().plus(60),
        ttl: Ttl(ttl),
        bindings: Vec::new(),
    };
    let record = Record {
        genesis,
        chain: links[..epoch].to_vec(),
        sequence,
        scope: Vec::new(),
        body: if revoked { Body::Revoked } else { live },
    };
    let secret = SecretKey::derive(&seed, epoch as u16);
    SignedRecord::sign(record, &secret).unwrap().verify().unwrap()
}

fn any_place() -> impl Strategy<Value = Place> {
    (0..3usize, any::<bool>(), 1..4u64, 0..3u32)
}

fn winner(records: &[VerifiedRecord]) -> VerifiedRecord {
    let mut held: Option<VerifiedRecord> = None;
    for record in records {
        if held.as_ref().is_none_or(|held| record.outranks(held)) {
            held = Some(record.clone());
        }
    }
    held.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_order_any_number_of_times_the_same_record_wins(
        (places, shuffled) in vec(any_place(), 1..8).prop_flat_map(|places| {
            let again = [places.clone(), places.clone()].concat();
            (Just(places), Just(again).prop_shuffle())
        })
    ) {
        let winner_of = |places: &[Place]| winner(&places.iter().map(|place| at(*place)).collect::<Vec<_>>());
        prop_assert_eq!(winner_of(&places), winner_of(&shuffled));
    }

    #[test]
    fn the_order_is_total(one in any_place(), two in any_place(), three in any_place()) {
        let (a, b, c) = (at(one), at(two), at(three));
        prop_assert_eq!(a.rank_cmp(&b), b.rank_cmp(&a).reverse());
        prop_assert_eq!(a.rank_cmp(&b) == Ordering::Equal, a.bytes() == b.bytes());
        if a.rank_cmp(&b).is_le() && b.rank_cmp(&c).is_le() {
            prop_assert!(a.rank_cmp(&c).is_le());
        }
        // What travels says the same, wherever it can say anything.
        if let Some(order) = a.rank().compare(b.rank()) {
            prop_assert_eq!(order, a.rank_cmp(&b));
        } else {
            prop_assert_eq!(a.rank().order(), b.rank().order());
            prop_assert!(a.bytes() != b.bytes());
        }
    }

    #[test]
    fn a_rank_travels_as_text_and_as_bytes(epoch in any::<u32>(), revoked: bool, sequence in any::<u64>(), digest in any::<[u8; 32]>()) {
        let rank = Rank { epoch, revoked, sequence: UnixMicros(sequence), digest };
        prop_assert_eq!(rank.to_string().parse::<Rank>(), Ok(rank));
        let mut w = Writer::new();
        rank.write(&mut w);
        let bytes = w.into_bytes();
        let mut r = Reader::new(&bytes);
        prop_assert_eq!(Rank::read(&mut r), Ok(rank));
        prop_assert_eq!(r.finish(), Ok(()));
    }

    #[test]
    fn no_text_makes_the_rank_parser_panic(text in "[0-9a-f+.-]{0,90}") {
        if let Ok(rank) = text.parse::<Rank>() {
            prop_assert_eq!(rank.to_string(), text);
        }
    }
}

#[test]
fn epoch_beats_revocation_beats_sequence_beats_bytes() {
    let ascending = [
        at((0, false, 1, 0)),
        at((0, false, 2, 0)),
        at((0, false, 1 << 62, 0)),
        at((0, true, 1, 0)),
        at((0, true, 2, 0)),
        at((1, false, 1, 0)),
        at((1, true, 1, 0)),
        at((2, false, 1, 0)),
    ];
    for pair in ascending.windows(2) {
        assert!(pair[1].outranks(&pair[0]) && !pair[0].outranks(&pair[1]));
    }
    let (one, two) = (at((0, false, 5, 1)), at((0, false, 5, 2)));
    assert_eq!(one.rank().compare(two.rank()), None);
    assert_eq!(one.outranks(&two), one.bytes() > two.bytes());
    assert!(!one.outranks(&one));
}

#[test]
fn a_rank_has_one_text() {
    let digits = "ab".repeat(32);
    let rank: Rank = format!("1.0.25.{digits}").parse().unwrap();
    assert_eq!((rank.epoch, rank.revoked, rank.sequence), (1, false, UnixMicros(25)));
    for wrong in [
        String::new(),
        "1.0.25".into(),
        format!("1.0.25.{digits}."),
        format!("1.2.25.{digits}"),
        format!("+1.0.25.{digits}"),
        format!("01.0.25.{digits}"),
        format!("1.0.+25.{digits}"),
        format!("1.0.025.{digits}"),
        format!("1.0..{digits}"),
        format!("1.0.-1.{digits}"),
        format!("4294967296.0.25.{digits}"),
        format!("1.0.18446744073709551616.{digits}"),
        format!("1.0.25.{}", digits.to_uppercase()),
        format!("1.0.25.{}", &digits[1..]),
        format!("1.0.25.{}é", &digits[2..]),
        format!("1.0.25.+{}", &digits[1..]),
    ] {
        assert!(wrong.parse::<Rank>().is_err(), "{wrong}");
    }
}
