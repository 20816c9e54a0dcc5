//! Only one spelling of CBOR is read: the one that would be written.

use crate::world::*;
use coset::cbor::value::Value;
use dialtone_shared::cbor::{CborError, Reader, Writer};
use proptest::collection::vec;
use proptest::prelude::*;

/// A value of the profile.
#[derive(Clone, Debug)]
enum Item {
    Uint(u64),
    Nint(i64),
    Bytes(Vec<u8>),
    Text(String),
    List(Vec<Item>),
    Map(Vec<(Item, Item)>),
    Bool(bool),
    Null,
}

impl Item {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::Uint(value) => w.uint(*value),
            Self::Nint(value) => w.int(-1 - *value),
            Self::Bytes(bytes) => w.bytes(bytes),
            Self::Text(text) => w.text(text),
            Self::Bool(value) => w.bool(*value),
            Self::Null => w.null(),
            Self::List(items) => items.iter().fold(w.array(items.len()), |w, item| {
                item.write(w);
                w
            }),
            Self::Map(pairs) => {
                let mut pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.encode(), value.encode())).collect();
                pairs.sort();
                pairs.dedup_by(|one, other| one.0 == other.0);
                pairs.iter().fold(w.map(pairs.len()), |w, (key, value)| w.raw(key).raw(value))
            }
        };
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.write(&mut w);
        w.into_bytes()
    }
}

fn any_item() -> impl Strategy<Value = Item> {
    let leaf = prop_oneof![
        prop_oneof![0..30u64, 0..70_000u64, any::<u64>()].prop_map(Item::Uint),
        prop_oneof![0..30i64, 0..70_000i64, 0..=i64::MAX].prop_map(Item::Nint),
        vec(any::<u8>(), 0..30).prop_map(Item::Bytes),
        any::<String>().prop_map(Item::Text),
        any::<bool>().prop_map(Item::Bool),
        Just(Item::Null),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Item::List),
            vec((inner.clone(), inner), 0..5).prop_map(Item::Map),
        ]
    })
}

fn accepts(bytes: &[u8]) -> Result<(), CborError> {
    let mut reader = Reader::new(bytes);
    reader.skip()?;
    reader.finish()
}

/// Asks another implementation what `bytes` say, and to write it again: definite lengths, shortest heads.
fn rewritten(bytes: &[u8]) -> Vec<u8> {
    let value: Value = coset::cbor::from_reader(bytes).expect("what we accept is CBOR to others");
    let mut out = Vec::new();
    coset::cbor::into_writer(&value, &mut out).unwrap();
    out
}

proptest! {
    #[test]
    fn what_is_written_is_read(item in any_item()) {
        let bytes = item.encode();
        prop_assert_eq!(accepts(&bytes), Ok(()));
        prop_assert_eq!(rewritten(&bytes), bytes);
    }

    #[test]
    fn what_is_accepted_has_no_other_spelling(item in any_item(), at in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0..3) {
        let mut bytes = item.encode();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
        if accepts(&bytes).is_ok() {
            prop_assert_eq!(rewritten(&bytes), bytes);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..64), steps in vec(0..10u8, 0..20)) {
        let mut r = Reader::new(&bytes);
        for step in steps {
            match step {
                0 => drop(r.uint()),
                1 => drop(r.int()),
                2 => drop(r.bytes()),
                3 => drop(r.text()),
                4 => drop(r.array()),
                5 => drop(r.map().and_then(|mut fields| fields.next(&mut r))),
                6 => drop(r.bool()),
                7 => drop(r.array_of::<4>()),
                8 => drop(r.null()),
                _ => drop(r.skip()),
            }
            prop_assert!(r.position() <= bytes.len());
        }
    }
}

#[test]
fn numbers_are_read_in_their_shortest_spelling_only() {
    for (value, shortest, longer) in [
        (0, "00", ["1800", "190000", "1a00000000", "1b0000000000000000"].as_slice()),
        (23, "17", &["1817"]),
        (24, "1818", &["190018"]),
        (255, "18ff", &["1900ff"]),
        (256, "190100", &["1a00000100"]),
        (65_535, "19ffff", &["1a0000ffff"]),
        (65_536, "1a00010000", &["1b0000000000010000"]),
        (u64::from(u32::MAX), "1affffffff", &["1b00000000ffffffff"]),
        (u64::from(u32::MAX) + 1, "1b0000000100000000", &[]),
        (u64::MAX, "1bffffffffffffffff", &[]),
    ] {
        assert_eq!(Reader::new(&unhex(shortest)).uint(), Ok(value));
        let mut w = Writer::new();
        w.uint(value);
        assert_eq!(w.into_bytes(), unhex(shortest));
        for spelling in longer {
            assert_eq!(Reader::new(&unhex(spelling)).uint(), Err(CborError::NotShortest(0)), "{spelling}");
        }
    }
    assert_eq!(Reader::new(&unhex("3b7fffffffffffffff")).int(), Ok(i64::MIN));
    assert_eq!(Reader::new(&unhex("3b8000000000000000")).int(), Err(CborError::Type(0)));
    assert_eq!(Reader::new(&unhex("32")).int(), Ok(-19));
    assert_eq!(Reader::new(&unhex("190100")).uint_as::<u8>(), Err(CborError::Type(0)));
}

#[test]
fn each_second_spelling_is_refused_by_name() {
    for (bytes, error) in [
        ("", CborError::Truncated(0)),
        ("18", CborError::Truncated(1)),
        ("42ff", CborError::Truncated(2)),
        ("5bffffffffffffffff00", CborError::Truncated(10)),
        ("9bffffffffffffffff", CborError::Truncated(9)),
        ("5f4100ff", CborError::Indefinite(0)),
        ("9f00ff", CborError::Indefinite(0)),
        ("bf0000ff", CborError::Indefinite(0)),
        ("81ff", CborError::Profile(1)),
        ("580100", CborError::NotShortest(0)),
        ("a2010001 00", CborError::KeyOrder(3)),
        ("a2020001 00", CborError::KeyOrder(3)),
        ("a2200018 6400", CborError::KeyOrder(3)), // -1 before 100: bytewise order, not by length (RFC 8949 §4.2.1)
        ("c000", CborError::Profile(0)),
        ("f90000", CborError::Profile(0)),
        ("f7", CborError::Profile(0)),
        ("f818", CborError::Profile(0)),
        ("1c", CborError::Profile(0)),
        ("62c328", CborError::Utf8(0)),
        ("818181818181818100", CborError::Depth(8)),
        ("0000", CborError::Trailing(1)),
    ] {
        let bytes = unhex(bytes);
        assert_eq!(accepts(&bytes), Err(error), "{bytes:02x?}");
    }
    assert_eq!(accepts(&unhex("8181818181818180")), Ok(()));
    assert_eq!(accepts(&unhex("a60a001864002000617a0062616100f400")), Ok(())); // keys 10, 100, -1, "z", "aa", false
}

#[test]
fn a_map_may_not_end_early() {
    let bytes = unhex("a201000200");
    let mut r = Reader::new(&bytes);
    let mut fields = r.map().unwrap();
    assert_eq!(fields.next(&mut r), Ok(Some(1)));
    r.skip().unwrap();
    assert!(fields.end(&r).is_err());
    assert_eq!(fields.next(&mut r), Ok(Some(2)));
    r.skip().unwrap();
    assert_eq!((fields.next(&mut r), fields.end(&r)), (Ok(None), Ok(())));
}
