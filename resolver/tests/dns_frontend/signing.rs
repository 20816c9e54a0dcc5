//! The origin signed: what is answered to those who ask for signatures, and to those who do not.

use crate::world::{Ask, ORIGIN, Records, domain, frontend, name, settings};
use dialtone_resolver::RecordSource;
use dialtone_resolver::dns::denial::types::{DNSKEY, NSEC, NXNAME, RRSIG};
use dialtone_resolver::dns::generations::Millis;
use dialtone_resolver::dns::wire::Reader;
use dialtone_resolver::dns::{Carrier, Frontend};
use dialtone_resolver::io::zone_keys::{FileKey, write_keys};
use dialtone_shared::Binding;
use dialtone_shared::Ttl;
use dialtone_shared::record::rdata::{TYPE_RECORD, types};
use dialtone_shared::record::{Address, DnsData};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tempfile::TempDir;

const DO: bool = true;

/// Names under an origin that is signed, and the same unsigned.
struct Signed {
    records: Arc<Records>,
    frontend: Arc<Frontend>,
    unsigned: Arc<Frontend>,
    _folder: TempDir,
}

impl Signed {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("origin.pem");
        write_keys(&path, vec![FileKey::new().expect("a key")], true).expect("written");
        let records = Arc::new(Records::default());
        let text = |owner: &str, kind, rdata: &[u8]| {
            Binding::Dns(DnsData {
                owner: owner.to_owned(),
                kind,
                ttl: Ttl(60),
                rdata: rdata.to_vec(),
            })
        };
        records.publish(
            "web",
            60,
            vec![
                Binding::Address(Address::of(IpAddr::from([192, 0, 2, 1]))),
                text("", types::TXT, b"\x01x"),
                text("a.deep", types::TXT, b"\x01y"),
                text("*.wild", types::TXT, b"\x01z"),
            ],
        );
        let mut with_keys = settings();
        with_keys.signing_key = Some(path);
        // Its clock stands still: what may be had at once is never made up for.
        let signing = Frontend::new(Arc::clone(&records) as Arc<dyn RecordSource>, with_keys).expect("a frontend");
        Self {
            frontend: Arc::new(signing.following(Arc::default(), Millis::new(|| 1_000))),
            unsigned: frontend(&records, settings()),
            records,
            _folder: folder,
        }
    }

    async fn ask(&self, owner: &str, kind: u16, dnssec_ok: bool) -> Answer {
        Answer::read(&asking(owner, kind, dnssec_ok).of_frontend(&self.frontend).await)
    }
}

fn asking(owner: &str, kind: u16, dnssec_ok: bool) -> Ask {
    let mut ask = Ask::of(owner, kind);
    ask.carrier = Carrier::Tcp;
    ask.edns = Some((1_232, 0, dnssec_ok));
    ask
}

/// A code, and the types in the two sections with data.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    code: u8,
    answers: Vec<u16>,
    authority: Vec<u16>,
    /// The types that an NSEC record names.
    denied: Option<Vec<u16>>,
    compact: bool,
}

impl Answer {
    fn read(message: &[u8]) -> Self {
        let mut r = Reader::new(message);
        let header = r.header().expect("a header");
        r.plain_name().and_then(|_| r.u32()).expect("a question");
        let mut denied = None;
        let mut section = |r: &mut Reader<'_>, count: u16| {
            let records: Vec<_> = (0..count).map(|_| r.record().expect("a record")).collect();
            if let Some(nsec) = records.iter().find(|record| record.kind == NSEC) {
                let mut data = Reader::new(nsec.rdata);
                let next = data.plain_name().expect("a name");
                assert_eq!(next, nsec.owner.to_lower().child(b"\0").expect("fits"));
                let mut kinds = Vec::new();
                while let (Some(window), Some(length)) = (data.u8(), data.u8()) {
                    let bits = data.take(usize::from(length)).expect("bits");
                    let set = (0..u16::from(length) * 8).filter(|low| bits[usize::from(low / 8)] << (low % 8) & 0x80 != 0);
                    kinds.extend(set.map(|low| u16::from(window) << 8 | low));
                }
                denied = Some(kinds);
            }
            records.iter().map(|record| record.kind).collect::<Vec<_>>()
        };
        let answers = section(&mut r, header.counts[1]);
        let authority = section(&mut r, header.counts[2]);
        let opt = r.record().expect("an OPT");
        Self {
            code: (header.flags & 0x0f) as u8,
            answers,
            authority,
            denied,
            compact: opt.ttl & 0x4000 != 0,
        }
    }
}

#[tokio::test]
async fn who_asks_for_signatures_gets_one_with_each_set_and_with_each_denial() {
    let signed = Signed::new();
    let web = format!("{}.{ORIGIN}", name("web"));
    let proof = vec![types::SOA, RRSIG, NSEC, RRSIG];
    for (owner, kind, answers) in [
        (web.clone(), types::A, vec![types::A, RRSIG]),
        (web.clone(), types::HIP, vec![types::HIP, RRSIG]),
        (format!("x.wild.{web}"), types::TXT, vec![types::TXT, RRSIG]),
        (ORIGIN.to_owned(), types::SOA, vec![types::SOA, RRSIG]),
        (ORIGIN.to_owned(), types::NS, vec![types::NS, RRSIG]),
        (ORIGIN.to_owned(), DNSKEY, vec![DNSKEY, RRSIG]),
        (web.clone(), NSEC, vec![NSEC, RRSIG]),
        (ORIGIN.to_owned(), NSEC, vec![NSEC, RRSIG]),
        (format!("none.{ORIGIN}"), NSEC, vec![NSEC, RRSIG]),
    ] {
        let answer = signed.ask(&owner, kind, DO).await;
        assert_eq!(
            (answer.code, &answer.answers, answer.authority.len()),
            (0, &answers, 0),
            "{owner} {kind}"
        );
    }
    let at_web = vec![
        types::A,
        types::TXT,
        RRSIG,
        NSEC,
        types::HIP,
        dialtone_shared::record::rdata::TYPE_RECORD,
    ];
    for (owner, denied) in [
        (web.clone(), at_web),
        (format!("deep.{web}"), vec![RRSIG, NSEC]),
        (format!("x.wild.{web}"), vec![types::TXT, RRSIG, NSEC]),
        (ORIGIN.to_owned(), vec![types::NS, types::SOA, RRSIG, NSEC, DNSKEY]),
        (format!("none.{web}"), vec![RRSIG, NSEC, NXNAME]),
        (format!("{}.{ORIGIN}", name("nobody")), vec![RRSIG, NSEC, NXNAME]),
        (format!("none.{ORIGIN}"), vec![RRSIG, NSEC, NXNAME]),
    ] {
        let answer = signed.ask(&owner, types::MX, DO).await;
        assert_eq!((answer.code, answer.answers.len(), &answer.authority), (0, 0, &proof), "{owner}");
        assert_eq!(answer.denied, Some(denied), "{owner}");
    }
}

#[tokio::test]
async fn nothing_changes_for_who_does_not_ask_for_signatures() {
    let signed = Signed::new();
    let web = format!("{}.{ORIGIN}", name("web"));
    for (owner, kind) in [
        (web.clone(), types::A),
        (web.clone(), types::MX),
        (web.clone(), NSEC),
        (format!("none.{web}"), types::A),
        (format!("none.{ORIGIN}"), types::A),
        (ORIGIN.to_owned(), types::SOA),
        (ORIGIN.to_owned(), types::MX),
        ("www.example.com".to_owned(), types::A),
    ] {
        for carrier in [Carrier::Udp, Carrier::Tcp] {
            let mut ask = asking(&owner, kind, !DO);
            ask.carrier = carrier;
            let bytes = ask.of_frontend(&signed.frontend).await;
            assert_eq!(bytes, ask.of_frontend(&signed.unsigned).await, "{owner} {kind}");
        }
        // Nor for who does, at what is not under the origin, or where it is not signed.
        let ask = asking("www.example.com", kind, DO);
        assert_eq!(ask.of_frontend(&signed.frontend).await, ask.of_frontend(&signed.unsigned).await);
        let plain = Answer::read(&asking(&owner, kind, DO).of_frontend(&signed.unsigned).await);
        assert!(!plain.answers.contains(&RRSIG) && !plain.authority.contains(&RRSIG));
    }
    assert_eq!(signed.ask(ORIGIN, DNSKEY, !DO).await.answers, [DNSKEY]);
    assert_eq!(signed.ask(&web, NXNAME, DO).await.code, 1, "it is no type");
}

#[tokio::test]
async fn who_knows_compact_proofs_is_told_that_there_is_no_such_name_and_who_asks_again_gets_the_same_bytes() {
    let signed = Signed::new();
    let nobody = format!("{}.{ORIGIN}", name("nobody"));
    let plain = signed.ask(&nobody, types::A, DO).await;
    assert_eq!((plain.code, plain.compact), (0, false));
    let ask = asking(&nobody, types::A, DO);
    let mut bytes = ask.bytes();
    let flags = bytes.len() - 4;
    bytes[flags] |= 0x40;
    let via = dialtone_resolver::dns::Via::new(Carrier::Tcp, ask.client);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let dialtone_resolver::dns::Reply::Send(answer) = signed.frontend.answer(&bytes, via).await else {
            panic!("no answer")
        };
        let read = Answer::read(&answer);
        assert_eq!((read.code, read.compact), (3, true));
        assert_eq!(read.denied, Some(vec![RRSIG, NSEC, NXNAME]));
        seen.push(answer);
    }
    // A signature is made by chance: the second was kept.
    assert_eq!(seen[0], seen[1]);
    assert_eq!(signed.ask(&nobody, types::A, DO).await.code, 0, "kept apart");
}

#[tokio::test]
async fn a_flood_of_names_that_nobody_has_is_signed_only_so_often_and_goes_over_tcp() {
    let signed = Signed::new();
    let somebody = SocketAddr::from(([203, 0, 113, 9], 4_000));
    let mut cut = 0;
    for nth in 0..20_000 {
        let mut ask = asking(&format!("n{nth}.{ORIGIN}"), types::A, DO);
        (ask.carrier, ask.client) = (Carrier::Udp, somebody);
        let answer = ask.of_frontend(&signed.frontend).await;
        if answer[2] & 0x02 != 0 {
            cut += 1;
            assert_eq!(answer[6..10], [0; 4], "no data");
            if cut == 100 {
                break;
            }
        }
    }
    assert_eq!(cut, 100);
    let mut ask = asking(&format!("x.{ORIGIN}"), types::A, DO);
    ask.client = somebody;
    let answer = Answer::read(&ask.of_frontend(&signed.frontend).await);
    assert_eq!((answer.code, answer.authority.len()), (0, 4), "who comes over TCP is answered");
    ask.edns = Some((1_232, 0, !DO));
    assert_eq!(
        Answer::read(&ask.of_frontend(&signed.frontend).await).code,
        3,
        "and who wants no signature"
    );
}

#[tokio::test]
async fn the_record_that_revokes_a_name_is_not_denied_by_the_proof_that_nothing_else_is_there() {
    let signed = Signed::new();
    signed.records.revoke("gone");
    let gone = format!("{}.{ORIGIN}", name("gone"));
    let mut compact = asking(&gone, types::A, DO).bytes();
    let flags = compact.len() - 4;
    compact[flags] |= 0x40;
    let via = dialtone_resolver::dns::Via::new(Carrier::Tcp, SocketAddr::from(([127, 0, 0, 1], 4_000)));
    let dialtone_resolver::dns::Reply::Send(compact) = signed.frontend.answer(&compact, via).await else {
        panic!("no answer")
    };
    for answer in [signed.ask(&gone, types::A, DO).await, Answer::read(&compact)] {
        assert_eq!((answer.code, answer.denied), (0, Some(vec![RRSIG, NSEC, TYPE_RECORD])));
    }
    assert_eq!(signed.ask(&gone, TYPE_RECORD, DO).await.answers, [TYPE_RECORD, RRSIG]);
    assert_eq!(signed.ask(&gone, types::A, !DO).await.code, 3);
    let below = signed.ask(&format!("x.{gone}"), types::A, DO).await;
    assert_eq!(below.denied, Some(vec![RRSIG, NSEC, NXNAME]));
}

#[tokio::test]
async fn an_answer_by_way_of_many_aliases_is_signed_as_seldom_as_its_signatures_cost() {
    const ALIASES: usize = 8;
    let signed = Signed::new();
    let at = |nth: usize| name(&format!("alias {nth}"));
    for nth in 0..=ALIASES {
        let binding = |kind, rdata| {
            let owner = "*".to_owned();
            let ttl = Ttl(60);
            Binding::Dns(DnsData { owner, kind, ttl, rdata })
        };
        let next = domain(&format!("x.{}.{ORIGIN}", at(nth + 1)));
        let binding = match nth {
            ALIASES => binding(types::A, vec![192, 0, 2, 1]),
            _ => binding(types::CNAME, next.as_wire().to_vec()),
        };
        signed.records.publish(&format!("alias {nth}"), 60, vec![binding]);
    }
    let signatures_for = |client: [u8; 4], nth_alias: usize| {
        let (frontend, at) = (Arc::clone(&signed.frontend), at(nth_alias));
        async move {
            let mut signatures = 0;
            for nth in 0.. {
                let mut ask = asking(&format!("n{nth}.{at}.{ORIGIN}"), types::A, DO);
                ask.client = SocketAddr::from((client, 4_000));
                let answer = Answer::read(&ask.of_frontend(&frontend).await);
                if answer.code != 0 {
                    return signatures;
                }
                signatures += answer.answers.iter().filter(|kind| **kind == RRSIG).count();
            }
            0
        }
    };
    let by_one = signatures_for([203, 0, 113, 9], ALIASES).await;
    let by_nine = signatures_for([198, 51, 100, 9], 0).await;
    assert!(by_nine <= by_one && by_nine + ALIASES >= by_one, "{by_nine} as {by_one}");
}
