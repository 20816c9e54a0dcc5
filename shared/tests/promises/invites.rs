//! One line of text by which one provider asks another to peer, and one by which the other says yes.

use crate::world::*;
use dialtone_shared::invite::{INVITE_PREFIX, Invite, InviteError, Offer, is_address};
use dialtone_shared::message::{Mode, Relationship};
use dialtone_shared::receipt::{ReceiptError, Signer};
use dialtone_shared::{UnixSecs, z32};
use sha2::{Digest, Sha256};

const UNTIL: UnixSecs = UnixSecs(1_700_000_000 + DAY);

/// As 1, who offers, sees them: 2 is its customer.
const TERMS: Offer = Offer {
    relationship: Relationship::Customer,
    push: Mode::Values,
    accept: Mode::None,
    asks: false,
    answers: true,
};

fn provider(n: u8) -> Signer {
    Signer::of(key(n))
}

fn offer() -> String {
    let addresses = ["provider.example:4381".to_owned(), "[2001:db8::1]:4381".to_owned()];
    Invite::offer(&provider(1), SIGNED.micros(), UNTIL, &addresses, TERMS)
}

#[test]
fn an_invitation_tells_the_reader_who_where_and_on_what_terms_as_the_reader_sees_them() {
    let invite = Invite::parse(&offer()).unwrap();
    assert_eq!((invite.from, invite.until, invite.reply_to), (name(1), UNTIL, None));
    assert_eq!(invite.addresses, ["provider.example:4381", "[2001:db8::1]:4381"]);
    assert_eq!(invite.offer.relationship, Relationship::Upstream);
    assert_eq!((invite.offer.push, invite.offer.accept), (Mode::None, Mode::Values));
    assert!(invite.offer.asks && !invite.offer.answers);
}

#[test]
fn a_line_that_was_wrapped_and_shouted_is_read_all_the_same() {
    let line = offer();
    let (head, tail) = line.split_at(80);
    let wrapped = format!("  {head}\n\t{} \r\n", tail.to_uppercase());
    assert_eq!(Invite::parse(&wrapped), Invite::parse(&line));
    assert!(!line.contains(char::is_whitespace));
}

#[test]
fn a_reply_says_yes_to_what_was_offered_and_to_nothing_else() {
    let reply = Invite::parse(&offer()).unwrap().reply(&provider(2), SIGNED.micros(), &[]);
    let reply = Invite::parse(&reply).unwrap();
    assert_eq!((reply.from, reply.reply_to), (name(2), Some(name(1))));
    assert_eq!(reply.offer, TERMS, "as who offered sees them");
    let (own, key) = (name(1), key(1).public());
    assert_eq!(reply.check_reply(&own, &key), Ok(()));
    for terms in [
        Offer { push: Mode::None, ..TERMS },
        Offer {
            accept: Mode::Values,
            ..TERMS
        },
        Offer { asks: true, ..TERMS },
        Offer { answers: false, ..TERMS },
        Offer {
            relationship: Relationship::Upstream,
            ..TERMS
        },
    ] {
        let mut other = Invite::parse(&offer()).unwrap();
        other.offer = terms.mirrored();
        let other = Invite::parse(&other.reply(&provider(2), SIGNED.micros(), &[])).unwrap();
        assert_eq!(other.check_reply(&own, &key), Err(InviteError::OtherTerms), "{terms:?}");
    }
    let mut later = Invite::parse(&offer()).unwrap();
    later.until = UNTIL.plus(1);
    let later = Invite::parse(&later.reply(&provider(2), SIGNED.micros(), &[])).unwrap();
    assert_eq!(
        later.check_reply(&own, &key),
        Err(InviteError::OtherTerms),
        "for longer than offered"
    );
    assert_eq!(reply.check_reply(&name(3), &key), Err(InviteError::ReplyToOther(own)));
}

#[test]
fn an_invitation_is_good_until_its_time() {
    let invite = Invite::parse(&offer()).unwrap();
    assert_eq!(invite.check_time(UNTIL), Ok(()));
    assert_eq!(invite.check_time(UNTIL.plus(1)), Err(InviteError::Expired(UNTIL)));
}

#[test]
fn a_line_that_is_not_one_says_what_is_wrong_with_it() {
    let line = offer();
    let at = |position: usize, with: &str| format!("{}{with}{}", &line[..position], &line[position + 1..]);
    let swapped = if line.as_bytes()[100] == b'y' { "b" } else { "y" };
    for (text, wrong) in [
        (String::new(), InviteError::Prefix),
        (name(1).to_string(), InviteError::Prefix),
        ("http://127.0.0.1:4380".to_owned(), InviteError::Prefix),
        ("dialtone-pe\u{e9}r:ybndr".to_owned(), InviteError::Prefix),
        (INVITE_PREFIX.to_owned(), InviteError::Checksum),
        (line[..line.len() - 1].to_owned(), InviteError::Checksum),
        (line[..line.len() - 8].to_owned(), InviteError::Checksum),
        (format!("{line}yyyyyyyy"), InviteError::Checksum),
        (at(100, swapped), InviteError::Checksum),
        (at(100, "l"), InviteError::Alphabet { position: 101, found: 'l' }),
        (format!("{INVITE_PREFIX}{}", "y".repeat(1 << 20)), InviteError::TooLong),
    ] {
        assert_eq!(Invite::parse(&text), Err(wrong), "{text:.60}");
    }
}

#[test]
fn a_line_made_by_somebody_else_is_told_apart_from_a_mistyped_one() {
    let bytes = z32::decode(&offer()[INVITE_PREFIX.len()..]).unwrap();
    for bit in 0..(bytes.len() - 4) * 8 {
        let mut wrong = bytes[..bytes.len() - 4].to_vec();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let sum = Sha256::new().chain_update("dialtone/invite/v1").chain_update(&wrong).finalize();
        wrong.extend(&sum[..4]);
        let found = Invite::parse(&format!("{INVITE_PREFIX}{}", z32::encode(&wrong)));
        assert!(
            matches!(found, Err(InviteError::Forged | InviteError::Contents(_))),
            "bit {bit}: {found:?}"
        );
    }
    let receipt = Signer::of(key(1));
    let status = dialtone_shared::receipt::Status::sign(&receipt, SIGNED.micros(), &name(2), None);
    let sum = Sha256::new().chain_update("dialtone/invite/v1").chain_update(&status).finalize();
    let line = format!("{INVITE_PREFIX}{}", z32::encode(&[&status[..], &sum[..4]].concat()));
    assert!(matches!(Invite::parse(&line), Err(InviteError::Contents(ReceiptError::Cbor(_)))));
}

#[test]
fn addresses_are_hosts_with_ports_and_nothing_a_terminal_acts_upon() {
    for good in ["127.0.0.1:4381", "a.example:1", "[::1]:65535", "[fe80::1%eth0]:4381"] {
        assert!(is_address(good), "{good}");
    }
    let long = format!("{}:1", "a".repeat(300));
    for bad in [
        "",
        "host",
        "host:",
        ":4381",
        "host:0",
        "host:65536",
        "ho st:1",
        "h\u{1b}:1",
        "\"h\":1",
        &long,
    ] {
        assert!(!is_address(bad), "{bad}");
        let line = Invite::offer(&provider(1), SIGNED.micros(), UNTIL, &[bad.to_owned()], TERMS);
        assert!(matches!(Invite::parse(&line), Err(InviteError::Contents(_))), "{bad}");
    }
    let many = vec!["a.example:1".to_owned(); 9];
    assert!(Invite::parse(&Invite::offer(&provider(1), SIGNED.micros(), UNTIL, &many, TERMS)).is_err());
}
