//! Flat names, their text forms, and each way of mistyping one.

use crate::world::*;
use dialtone_shared::{Name, NameError, Scheme, z32};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

proptest! {
    #[test]
    fn what_is_printed_parses_back(name in any_name()) {
        let text = name.to_string();
        prop_assert_eq!(text.len(), Name::TEXT_CHARS);
        prop_assert_eq!(text.parse::<Name>(), Ok(name));
        prop_assert_eq!(text.to_uppercase().parse::<Name>(), Ok(name));
        prop_assert_eq!(name.to_uri().parse::<Name>(), Ok(name));
        prop_assert_eq!(Name::from_dns(&name.to_dns("dialtone.alt"), "dialtone.alt"), Ok(name));
        prop_assert_eq!(Name::from_bytes(name.as_bytes()), Ok(name));
        prop_assert_eq!(Name::new(name.scheme(), name.digest()), name);
    }

    #[test]
    fn one_mistyped_character_is_noticed_but_for_one_in_65536(name in any_name(), at in 0..56usize, shift in 1..32usize) {
        let mut text = name.to_string().into_bytes();
        let value = z32::ALPHABET.iter().position(|c| *c == text[at]).unwrap();
        text[at] = z32::ALPHABET[(value + shift) % 32];
        let text = String::from_utf8(text).unwrap();
        // Whatever is accepted is a name of its own, never an alias of the first.
        match text.parse::<Name>() {
            Ok(other) => prop_assert!(other != name && other.to_string() == text),
            Err(error) => prop_assert!(matches!(error, NameError::Checksum | NameError::Scheme(_))),
        }
    }

    #[test]
    fn no_text_at_all_makes_the_parser_panic(text in any::<String>(), origin in any::<String>()) {
        let _ = text.parse::<Name>();
        let _ = format!("dialtone:{text}").parse::<Name>();
        let _ = Name::from_dns(&text, &origin);
        let _ = z32::decode(&text);
    }

    #[test]
    fn z_base_32_has_one_text_for_each_run_of_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let text = z32::encode(&bytes);
        prop_assert_eq!(z32::decode(&text), Ok(bytes));
        prop_assert_eq!(text.len(), text.trim().len());
    }

    #[test]
    fn z_base_32_accepts_nothing_that_it_would_not_write(text in "[ybndrfg8ejkmcpqxot1uwisza345h769]{0,60}") {
        if let Ok(bytes) = z32::decode(&text) {
            prop_assert_eq!(z32::encode(&bytes), text);
        }
    }
}

#[test]
fn each_wrong_way_has_an_error_of_its_own() {
    let right = name(1).to_string();
    let parse = |text: &str| text.parse::<Name>().unwrap_err();

    assert_eq!(parse(""), NameError::Length(0));
    assert_eq!(parse(&right[1..]), NameError::Length(55));
    assert_eq!(parse(&format!("{right}y")), NameError::Length(57));
    assert_eq!(parse(&format!("{right} ")), NameError::Length(57));

    let mut wrong = right.clone();
    wrong.replace_range(11..12, "l");
    assert_eq!(parse(&wrong), NameError::Alphabet { position: 12, found: 'l' });
    assert!(parse(&wrong).to_string().contains("'l' at position 12"));
    let wrong: String = right.chars().take(55).chain(['é']).collect();
    assert_eq!(parse(&wrong), NameError::Alphabet { position: 56, found: 'é' });

    let swapped: String = [&right[..20], &right[21..22], &right[20..21], &right[22..]].concat();
    assert_ne!(swapped, right);
    assert_eq!(parse(&swapped), NameError::Checksum);

    let mut unknown = [9; 35];
    let sum = Sha256::new()
        .chain_update(b"dialtone/name/v1")
        .chain_update(&unknown[..33])
        .finalize();
    unknown[33..].copy_from_slice(&sum[..2]);
    assert_eq!(parse(&z32::encode(&unknown)), NameError::Scheme(9));

    assert_eq!(Name::from_bytes(&[1; 32]), Err(NameError::Bytes(32)));
    assert_eq!(Name::from_bytes(&[1; 34]), Err(NameError::Bytes(34)));
    assert_eq!(Name::from_bytes(&[0; 33]), Err(NameError::Scheme(0)));
}

#[test]
fn a_pkarr_key_is_a_name_as_pkarr_writes_it_and_its_alias_is_called_one() {
    for vector in list(&vectors(include_str!("../vectors/z32.json")), "keys") {
        let (key, alias) = (text(vector, "zbase32"), text(vector, "noncanonical_alias_must_reject"));
        let name: Name = key.parse().unwrap();
        assert_eq!(
            (name.scheme(), &name.digest()[..]),
            (Scheme::Pkarr, &bytes(vector, "public_key")[..])
        );
        assert_eq!((name.to_string().as_str(), key.to_uppercase().parse()), (key, Ok(name)));
        assert_eq!(Name::from_dns(&name.to_dns("dialtone.alt"), "dialtone.alt"), Ok(name));
        assert_eq!(Name::from_bytes(name.as_bytes()), Ok(name));
        assert_eq!(alias.parse::<Name>(), Err(NameError::NonCanonical));
        assert_eq!(z32::encode(&bytes(vector, "public_key")), key);
        assert_eq!(z32::decode(key), Ok(bytes(vector, "public_key")));
        assert_eq!(z32::decode(alias), Err(z32::Z32Error::NonCanonical));
    }
}

#[test]
fn z_base_32_agrees_with_its_specification() {
    for vector in list(&vectors(include_str!("../vectors/z32.json")), "bits") {
        // The specification counts bits, this protocol whole bytes, zero padded: the texts agree as far as the bits go.
        let ours = z32::encode(&bytes(vector, "hex"));
        let theirs = text(vector, "zbase32");
        assert_eq!(&ours[..theirs.len()], theirs, "{vector}");
        if vector["bits"].as_u64().unwrap() % 8 == 0 {
            assert_eq!(ours, theirs);
        }
    }
    for (length, chars) in [(1, 2), (2, 4), (3, 5), (4, 7), (5, 8), (32, 52), (35, 56)] {
        assert_eq!(z32::encode(&vec![0xa5; length]).len(), chars);
    }
    for chars in [1, 3, 6] {
        assert_eq!(z32::decode(&"y".repeat(chars)), Err(z32::Z32Error::Length(chars)));
    }
}

#[test]
fn upper_and_lower_case_are_alike_in_every_form() {
    let name = name(1);
    for form in [name.to_string(), name.to_uri()] {
        assert_eq!(form.to_uppercase().parse(), Ok(name));
    }
    let dns = name.to_dns("Dialtone.ALT.");
    for form in [dns.to_lowercase(), dns.to_uppercase(), format!("{dns}.")] {
        assert_eq!(Name::from_dns(&form, "dialtone.alt"), Ok(name), "{form}");
    }
}

#[test]
fn a_dns_name_is_a_flat_name_only_directly_under_the_origin() {
    let name = name(1);
    let outside = Err(NameError::Origin("dialtone.alt".into()));
    for dns in [
        name.to_dns("example.org"),
        name.to_string(),
        format!("{name}dialtone.alt"),
        format!("{name}.xdialtone.alt"),
        "dialtone.alt".into(),
        ".dialtone.al".into(),
        String::new(),
        ".".into(),
    ] {
        assert_eq!(Name::from_dns(&dns, "dialtone.alt"), outside, "{dns}");
    }
    assert_eq!(Name::from_dns(".dialtone.alt", "dialtone.alt"), Err(NameError::Length(0)));
    assert_eq!(
        Name::from_dns(&format!("www.{name}.dialtone.alt"), "dialtone.alt"),
        Err(NameError::Length(60))
    );
    assert_eq!(Name::from_dns(&format!("{name}.dialtone.alt"), ".dialtone.alt."), Ok(name));
}

#[test]
fn content_is_named_by_its_digest() {
    let name = Name::of_content(b"hello");
    assert_eq!(name.scheme(), Scheme::Content);
    assert_eq!(name.digest(), <[u8; 32]>::from(Sha256::digest(b"hello")));
    assert_ne!(name, Name::key_set(name.digest()));
}
