//! What two providers say crossed their link, provable to anyone; and where they differ.

use crate::world::*;
use dialtone_shared::UnixMicros;
use dialtone_shared::cbor::Writer;
use dialtone_shared::limits::{PRICE_BYTES_MAX, STATEMENT_BYTES_MAX, STATEMENT_ROWS_MAX};
use dialtone_shared::receipt::Signer;
use dialtone_shared::statement::{Category, Comparison, Crossed, Incomparable, Row, Statement, Way, compare, hour_of, is_price};

/// An hour on a day's first hour.
const HOUR: u64 = 24 * 20_000;
/// Half an hour into the third hour after it.
const NOW: UnixMicros = UnixMicros((HOUR + 3) * 3_600_000_000 + 1_800_000_000);

fn provider(n: u8) -> Signer {
    Signer::of(key(n))
}

fn records(given: u64, taken: u64) -> Crossed {
    Crossed::default().with(Category::Records, [given, taken])
}

fn row(start: u64, crossed: Crossed) -> Row {
    let (hours, price, held) = (1, None, 0);
    Row {
        start,
        hours,
        price,
        held,
        crossed,
    }
}

/// What provider `from` says of its link with `of`, from [`HOUR`] to the present hour.
fn said(from: u8, of: u8, rows: &[Row]) -> Statement {
    let bytes = Statement::sign(&provider(from), NOW, &name(of), (HOUR, HOUR + 4), rows);
    Statement::verify(&bytes).unwrap()
}

/// The comparison of what 1 and 2 say, each in its own view.
fn compared(ours: &[Row], theirs: &[Row]) -> Comparison {
    compare(&said(1, 2, ours), &said(2, 1, theirs)).unwrap()
}

#[test]
fn a_statement_says_what_was_signed() {
    let rows = [
        Row {
            price: Some("gold".into()),
            held: 7,
            ..row(HOUR, records(3, 4).with(Category::Hits, [u64::MAX, 0]))
        },
        row(HOUR + 2, Crossed::default()),
    ];
    let said = said(1, 2, &rows);
    assert_eq!((said.provider, said.peer, said.time), (name(1), name(2), NOW));
    assert_eq!((said.first, said.end, &said.rows[..]), (HOUR, HOUR + 4, &rows[..]));
    assert_eq!(said.rows[0].crossed.of(Category::Records, Way::Taken), 4);
    assert_eq!(hour_of(NOW), HOUR + 3);
}

#[test]
fn no_byte_of_a_statement_can_vary() {
    let right = Statement::sign(&provider(1), NOW, &name(2), (HOUR, HOUR + 4), &[row(HOUR, records(3, 4))]);
    for bit in 0..right.len() * 8 {
        let mut wrong = right.to_vec();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(Statement::verify(&wrong).is_err(), "bit {bit}");
    }
    for end in 0..right.len() {
        assert!(Statement::verify(&right[..end]).is_err());
    }
}

#[test]
fn rows_that_break_a_rule_are_refused_though_signed() {
    let signed = |rows: &[Row]| Statement::verify(&Statement::sign(&provider(1), NOW, &name(2), (HOUR, HOUR + 24), rows));
    let good = row(HOUR, records(1, 0));
    let priced = |price: &str| Row {
        price: Some(price.into()),
        ..good.clone()
    };
    let of = |start, hours| Row {
        start,
        hours,
        ..good.clone()
    };
    assert!(signed(&[good.clone(), priced("a"), priced("b"), of(HOUR, 24), of(HOUR + 1, 1)]).is_ok());
    for (why, rows) in [
        ("out of order", vec![of(HOUR + 1, 1), good.clone()]),
        ("labels out of order", vec![priced("b"), priced("a")]),
        ("twice", vec![good.clone(), good.clone()]),
        ("before the first", vec![of(HOUR - 1, 1)]),
        ("after the end", vec![of(HOUR + 24, 1)]),
        ("neither an hour nor a day", vec![of(HOUR, 2)]),
        ("a day that is none", vec![of(HOUR + 1, 24)]),
        ("an hour without end", vec![of(u64::MAX, 1)]),
        ("an empty label", vec![priced("")]),
        ("a label with an escape", vec![priced("\u{1b}[2J")]),
        ("a long label", vec![priced(&"x".repeat(PRICE_BYTES_MAX + 1))]),
    ] {
        assert!(signed(&rows).is_err(), "{why}");
    }
    assert!(!is_price("two words") && is_price("gold/2026"));
}

#[test]
fn the_largest_statement_fits_a_response() {
    let mut crossed = Crossed::default();
    for category in Category::ALL {
        crossed = crossed.with(category, [u64::MAX; 2]);
    }
    let row = |n: usize| Row {
        start: u64::from(u32::MAX) - STATEMENT_ROWS_MAX as u64 + n as u64,
        hours: 1,
        price: Some("x".repeat(PRICE_BYTES_MAX)),
        held: u64::MAX,
        crossed,
    };
    let sign = |rows: &[Row]| Statement::sign(&provider(1), NOW, &name(2), (0, u64::from(u32::MAX)), rows);
    let mut rows: Vec<Row> = (0..STATEMENT_ROWS_MAX).map(row).collect();
    let bytes = sign(&rows);
    assert!(bytes.len() <= STATEMENT_BYTES_MAX, "{}", bytes.len());
    assert_eq!(Statement::verify(&bytes).unwrap().rows.len(), STATEMENT_ROWS_MAX);
    rows.insert(
        0,
        Row {
            start: 0,
            ..rows[0].clone()
        },
    );
    assert!(Statement::verify(&sign(&rows)).is_err(), "one row more");
}

#[test]
fn lines_are_read_in_one_spelling_and_categories_to_come_are_passed_over() {
    let read = |lines: &[[u64; 3]]| {
        let mut w = Writer::new();
        w.array(lines.len());
        for [category, given, taken] in lines {
            w.array(3).uint(*category).uint(*given).uint(*taken);
        }
        Crossed::read(&mut dialtone_shared::cbor::Reader::new(&w.into_bytes()))
    };
    assert_eq!(read(&[[1, 3, 4], [64, 1, 1]]), Ok(records(3, 4)));
    for wrong in [
        &[[1, 0, 0]][..],
        &[[0, 1, 1]],
        &[[10, 1, 1]],
        &[[2, 1, 1], [1, 1, 1]],
        &[[1, 1, 1], [1, 1, 1]],
    ] {
        assert!(read(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn two_sides_that_counted_the_same_agree() {
    let ours = [row(HOUR, records(1_000_000, 5)), row(HOUR + 2, records(7, 0))];
    let theirs = [row(HOUR, records(5, 1_000_000)), row(HOUR + 2, records(0, 7))];
    let compared = compared(&ours, &theirs);
    assert!(compared.agrees(), "{compared:?}");
    assert_eq!((compared.ours, compared.theirs), (records(1_000_007, 5), records(1_000_007, 5)));
}

#[test]
fn a_difference_is_shown_with_its_hour_its_category_and_its_way() {
    let ours = [row(HOUR, records(1_000, 5)), row(HOUR + 1, records(50_000, 5))];
    let theirs = [row(HOUR, records(5, 1_000)), row(HOUR + 1, records(5, 40_000))];
    let [found] = compared(&ours, &theirs).differences[..] else {
        panic!("one difference");
    };
    assert_eq!((found.start, found.hours, found.open), (HOUR + 1, 1, false));
    assert_eq!((found.category, found.way), (Category::Records, Way::Given));
    assert_eq!((found.ours, found.theirs), (50_000, 40_000));
    // From the other side it is the same difference, the other way.
    let [other] = compare(&said(2, 1, &theirs), &said(1, 2, &ours)).unwrap().differences[..] else {
        panic!("one difference");
    };
    assert_eq!((other.way, other.ours, other.theirs), (Way::Taken, 40_000, 50_000));
}

#[test]
fn honest_sides_may_differ_a_little_and_no_more() {
    for (ours, theirs, agrees) in [
        (0, 256, true),
        (0, 257, false),
        (100_000, 101_010, true),
        (100_000, 101_011, false),
        (u64::MAX, 0, false),
        (u64::MAX, u64::MAX - 1, true),
    ] {
        let found = compared(&[row(HOUR, records(ours, 0))], &[row(HOUR, records(0, theirs))]);
        assert_eq!(found.agrees(), agrees, "{ours} and {theirs}");
    }
    let bytes = |n| Crossed::default().with(Category::Bytes, [n, 0]);
    assert!(compared(&[row(HOUR, bytes(256 << 10))], &[]).agrees());
    assert!(!compared(&[row(HOUR, bytes((256 << 10) + 1))], &[]).agrees());
}

#[test]
fn what_stands_in_the_next_hour_on_the_other_side_is_no_difference() {
    let ours = [row(HOUR, records(90_000, 0)), row(HOUR + 1, records(10_000, 0))];
    let theirs = [row(HOUR, records(0, 70_000)), row(HOUR + 1, records(0, 30_000))];
    assert!(compared(&ours, &theirs).agrees());
    let later = [row(HOUR, records(0, 70_000)), row(HOUR + 2, records(0, 30_000))];
    assert_eq!(
        compared(&ours, &later).differences.len(),
        3,
        "an hour between is too much for any clock"
    );
}

#[test]
fn the_hour_that_is_not_over_is_marked() {
    let found = compared(&[row(HOUR + 3, records(1_000, 0))], &[]);
    assert!(found.differences[0].open);
}

#[test]
fn days_of_one_side_are_compared_with_the_hours_of_the_other() {
    let day = Row {
        hours: 24,
        ..row(HOUR, records(0, 3_000))
    };
    let hours: Vec<Row> = (0..24).map(|n| row(HOUR + n, records(125, 0))).collect();
    let sign = |from, of, rows: &[Row], end| {
        Statement::verify(&Statement::sign(&provider(from), NOW, &name(of), (HOUR, HOUR + end), rows)).unwrap()
    };
    let (ours, theirs) = (sign(1, 2, &hours, 24), sign(2, 1, std::slice::from_ref(&day), 24));
    let found = compare(&ours, &theirs).unwrap();
    assert!(found.agrees() && found.ours == records(3_000, 0), "{found:?}");
    let short = sign(2, 1, &[day.clone(), row(HOUR + 24, records(0, 9))], 25);
    let found = compare(&sign(1, 2, &hours[..20], 24), &short).unwrap();
    assert_eq!((found.differences.len(), found.differences[0].hours), (1, 24));
    assert_eq!(found.end, HOUR + 24, "what only one covers is not compared");
}

#[test]
fn price_classes_are_labels_and_their_difference_is_told_apart() {
    let gold = Row {
        price: Some("gold".into()),
        ..row(HOUR, records(5, 0))
    };
    let found = compared(&[gold], &[row(HOUR, records(0, 5))]);
    assert!(found.agrees());
    assert_eq!(found.prices, Some([vec!["gold".to_owned()], vec![]]));
}

#[test]
fn statements_of_other_links_or_other_times_are_not_compared() {
    let (ours, theirs) = (said(1, 2, &[]), said(3, 1, &[]));
    assert!(matches!(compare(&ours, &theirs), Err(Incomparable::OtherLink(..))));
    let early = Statement::verify(&Statement::sign(&provider(2), NOW, &name(1), (0, HOUR), &[])).unwrap();
    assert_eq!(compare(&ours, &early), Err(Incomparable::NoOverlap));
}

#[test]
fn parts_that_follow_one_another_join_to_one_statement() {
    let part = |from: u8, first: u64, end: u64, rows: &[Row]| {
        Statement::verify(&Statement::sign(&provider(from), NOW, &name(2), (HOUR + first, HOUR + end), rows)).unwrap()
    };
    let (early, late) = (
        part(1, 0, 2, &[row(HOUR, records(1, 0))]),
        part(1, 2, 4, &[row(HOUR + 3, records(2, 0))]),
    );
    let whole = Statement::join(vec![late.clone(), early.clone()]).unwrap();
    assert_eq!((whole.first, whole.end, whole.rows.len()), (HOUR, HOUR + 4, 2));
    assert_eq!(whole.total(), records(3, 0));
    assert_eq!(Statement::join(vec![early.clone(), part(3, 2, 4, &[])]), None, "another signer");
    assert_eq!(Statement::join(vec![early.clone(), part(1, 3, 4, &[])]), None, "an hour is missing");
    assert_eq!(Statement::join(vec![early.clone(), early]), None, "the same twice");
    assert_eq!(Statement::join(vec![]), None);
}
