//! What a binding may hold, each and together, as strictly read as written.

use crate::records::with;
use crate::world::*;
use dialtone_shared::cbor::CborError;
use dialtone_shared::record::{Address, BindingError, Delegate, Opaque, Service, Step, Target, Transport, rdata::types};
use dialtone_shared::{Binding, Name, RecordError};

/// One row a rule: a binding that breaks it, and the field that the error names.
#[test]
fn bindings_keep_within_their_bounds() {
    let service = |change: fn(&mut Service)| {
        let mut service = Service::of("https", Transport::Tcp, 443);
        change(&mut service);
        Binding::Service(service)
    };
    let step = |dns: &str| {
        Binding::Delegate(Delegate {
            path: vec![Step::Legacy(dns.into())],
        })
    };
    let region = |region: &str| {
        let Binding::Address(mut address) = address(1) else {
            unreachable!()
        };
        address.region = Some(region.into());
        Binding::Address(address)
    };
    let opaque = |media: &str| {
        Binding::Opaque(Opaque {
            media_type: media.into(),
            bytes: Vec::new(),
        })
    };
    let mapped = Binding::Address(Address::of("::ffff:192.0.2.1".parse().unwrap()));
    let owner = |owner: &str| dns(owner, types::A, &[192, 0, 2, 1]);
    for (field, binding) in [
        ("ip", mapped),
        ("region", region("")),
        ("region", region("seventeen-letters")),
        ("region", region("EU")),
        ("label", service(|s| s.label = String::new())),
        ("label", service(|s| s.label = "HTTPS".into())),
        ("label", service(|s| s.label = "sixteen-letters-".into())),
        ("label", service(|s| s.label = "443".into())),
        ("label", service(|s| s.label = "-a".into())),
        ("label", service(|s| s.label = "a--b".into())),
        ("label", service(|s| s.label = "a.b".into())),
        ("port", service(|s| s.port = 0)),
        ("target", service(|s| s.target = Target::Name(Name::of_content(b"")))),
        ("alpn", service(|s| s.alpn = vec!["h2".into(); 9])),
        ("alpn", service(|s| s.alpn = vec![String::new()])),
        ("alpn", service(|s| s.alpn = vec!["h".repeat(33)])),
        ("alpn", service(|s| s.alpn = vec!["h 2".into()])),
        ("pins", service(|s| s.pins = vec![[0; 32]; 7])),
        ("path", Binding::Delegate(Delegate { path: Vec::new() })),
        (
            "path",
            Binding::Delegate(Delegate {
                path: vec![Step::Name(name(1)); 9],
            }),
        ),
        ("path", step("")),
        ("path", step("Example.com")),
        ("path", step("example.com.")),
        ("path", step("a..b")),
        ("path", step("192.0.2.1")),
        ("path", step(&format!("{}.com", "a".repeat(64)))),
        ("path", step(&"a.".repeat(127).replace("a.a", "aa.a"))),
        ("owner", owner("WWW")),
        ("owner", owner("www.")),
        ("owner", owner("*.")),
        ("owner", owner("a.*")),
        ("owner", owner("*a")),
        ("owner", owner("a b")),
        ("owner", owner(&"a".repeat(64))),
        ("owner", owner(&["a".repeat(50), "b".repeat(50)].join("."))),
        ("media type", opaque("")),
        ("media type", opaque("text")),
        ("media type", opaque("/")),
        ("media type", opaque("text/")),
        ("media type", opaque("text/plain\n")),
        ("media type", opaque("te xt/plain")),
        ("media type", opaque(&format!("text/{}", "a".repeat(60)))),
    ] {
        let refused = record(vec![address(9), binding.clone()]).encode_payload();
        match refused {
            Err(RecordError::Binding {
                index: 2,
                error: BindingError::Value { field: found, .. },
            }) => assert_eq!(found, field, "{binding:?}"),
            other => panic!("{binding:?}: {other:?}"),
        }
    }
    for right in [
        region("eu-central-1-aaa"),
        service(|s| s.label = "fifteen-letters".into()),
        service(|s| s.alpn = vec!["h".repeat(32); 8]),
        step(&format!("{}.1a", "a".repeat(63))),
        step("localhost"),
        owner(""),
        owner("*"),
        owner("*.a"),
        owner("_443._tcp"),
        owner(&["a".repeat(50), "b".repeat(49)].join(".")),
        opaque("a/b"),
        opaque("text/plain; charset=utf-8"),
    ] {
        verified(&record(vec![right]));
    }
}

/// The minimal record with one binding, given as bytes.
fn bound(binding: &str) -> Result<Vec<Binding>, BindingError> {
    match with("08", &format!("81{binding}")) {
        Ok(record) => Ok(record.bindings().to_vec()),
        Err(RecordError::Binding { index: 1, error }) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn bindings_are_read_as_strictly_as_they_are_written() {
    let missing = |what| Err(BindingError::Missing(what));
    let value = |result: Result<Vec<Binding>, BindingError>| match result {
        Err(BindingError::Value { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(bound("a2 0001 01 44c0000201"), Ok(vec![address(1)]));

    assert_eq!(bound("a1 0001"), missing("ip"));
    assert_eq!(bound("a1 0002"), missing("label"));
    assert_eq!(bound("a2 0002 01 6161"), missing("transport"));
    assert_eq!(bound("a3 0002 01 6161 02 06"), missing("port"));
    assert_eq!(bound("a1 0003"), missing("path"));
    assert_eq!(bound("a1 0004"), missing("owner"));
    assert_eq!(bound("a2 0004 01 60"), missing("type"));
    assert_eq!(bound("a3 0004 01 60 02 01"), missing("ttl"));
    assert_eq!(bound("a4 0004 01 60 02 01 03 00"), missing("rdata"));
    assert_eq!(bound("a1 0005"), missing("media type"));
    assert_eq!(bound("a2 0005 01 63612f62"), missing("bytes"));

    assert_eq!(value(bound("a2 0001 01 43c00002")), "ip");
    assert_eq!(value(bound("a3 0001 01 44c0000201 02 00")), "priority or weight");
    assert_eq!(value(bound("a4 0002 01 6161 02 07 03 01")), "transport");
    assert_eq!(value(bound("a5 0002 01 6161 02 06 03 01 04 4100")), "target");
    assert_eq!(value(bound("a5 0002 01 6161 02 06 03 01 05 80")), "alpn");
    assert_eq!(value(bound("a5 0002 01 6161 02 06 03 01 08 87")), "pins");
    assert_eq!(value(bound("a2 0003 01 80")), "path");
    assert_eq!(value(bound("a2 0003 01 81 4100")), "path");
    assert!(matches!(
        bound("a5 0002 01 6161 02 06 03 01 08 81 4100"),
        Err(BindingError::Cbor(CborError::Type(_)))
    ));
    assert!(matches!(
        bound("a4 0002 01 6161 02 06 03 1a00010000"),
        Err(BindingError::Cbor(CborError::Type(_)))
    ));

    assert_eq!(bound("a1 0006"), Err(BindingError::UnknownKind(6)));
    assert_eq!(bound("a1 0000"), Err(BindingError::UnknownKind(0)));
    assert_eq!(bound("a1 00 183f"), Err(BindingError::UnknownKind(63)));
    for kind in [
        "a2 0001 01 44c0000201",
        "a4 0002 01 6161 02 06 03 01",
        "a2 0003 01 81 6161",
        "a3 0005 01 63612f62 02 40",
    ] {
        let count = u8::from_str_radix(&kind[1..2], 16).unwrap();
        let extended = |field: &str| format!("a{}{}{field}00", count + 1, &kind[2..]);
        assert_eq!(bound(&extended("183f")), Err(BindingError::UnknownField(63)));
        assert_eq!(bound(&extended("1840")), bound(kind));
        assert!(bound(kind).is_ok_and(|bindings| bindings.len() == 1));
    }

    // A kind from 64 on is passed over, whatever it holds, as long as it has one spelling.
    assert_eq!(bound("a1 00 1840"), Ok(Vec::new()));
    assert_eq!(bound("a3 00 1840 01 f5 186420"), Ok(Vec::new()));
    assert!(matches!(
        bound("a2 00 1840 01 1800"),
        Err(BindingError::Cbor(CborError::NotShortest(_)))
    ));
    assert!(matches!(bound("a0"), Err(BindingError::Cbor(CborError::Type(_)))));
    assert!(matches!(bound("a1 0101"), Err(BindingError::Cbor(CborError::Type(_)))));
}

#[test]
fn bindings_that_contradict_each_other_are_refused() {
    let cname = |owner: &str| dns(owner, types::CNAME, b"\x07example\x03com\0");
    let delegate = one_of_each()[2].clone();
    let service = one_of_each()[1].clone();
    let opaque = one_of_each()[4].clone();
    let check = |bindings: Vec<Binding>| match record(bindings).encode_payload() {
        Ok(_) => None,
        Err(RecordError::Binding { index, error }) => Some((index, error)),
        Err(other) => panic!("{other}"),
    };
    let alone = |owner: &str| BindingError::CnameNotAlone(owner.into());

    assert_eq!(
        check(vec![delegate.clone(), address(1), delegate.clone()]),
        Some((3, BindingError::SecondDelegate))
    );
    for beside in [address(1), service, delegate, cname(""), dns("", types::TXT, b"\0")] {
        assert_eq!(check(vec![cname(""), beside]), Some((1, alone(""))));
    }
    assert_eq!(
        check(vec![address(1), cname("www"), dns("www", types::A, &[0; 4])]),
        Some((2, alone("www")))
    );
    assert_eq!(check(vec![cname("www"), cname("www")]), Some((1, alone("www"))));
    assert_eq!(check(vec![cname(""), opaque, dns("www", types::A, &[0; 4])]), None);
    assert_eq!(check(vec![address(1), cname("www"), cname("*")]), None);
}
