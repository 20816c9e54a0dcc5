//! Legacy names whose owners have linked them to flat names, and answers that DNSSEC proves.

use crate::forwarding::{Rr, SOA, Upstream, ede, parsed, reply, without_ttl};
use crate::world::{Ask, ORIGIN, Records, frontend, name, settings};
use dialtone_resolver::dns::wire::Reader;
use dialtone_resolver::dns::{Domain, Follow, Frontend, SearchSettings};
use dialtone_shared::Binding;
use dialtone_shared::record::rdata::types;
use dialtone_shared::record::{Address, Delegate, DnsData, Step};
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

const DNSKEY: u16 = 48;
const RRSIG: u16 = 46;

/// A root zone in which all names stand, signed by one key.
struct Root(KeyPair);

impl Root {
    fn new() -> Self {
        Self(KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key"))
    }

    fn dnskey(&self) -> Vec<u8> {
        [&[1, 1, 3, 15][..], self.0.der_bytes()].concat()
    }

    /// The signature of a set of one record (RFC 4034 §3.1.8.1).
    fn rrsig(&self, Rr(owner, kind, ttl, rdata): &Rr<'_>) -> Vec<u8> {
        let key = self.dnskey();
        let sum: u32 = key
            .iter()
            .enumerate()
            .map(|(at, &byte)| if at % 2 == 0 { u32::from(byte) << 8 } else { byte.into() })
            .sum();
        let tag = (sum + (sum >> 16)) as u16;
        let now = UNIX_EPOCH.elapsed().expect("after 1970").as_secs() as u32;
        let owner = Domain::from_text(owner).expect("owner");
        let mut head = [kind.to_be_bytes(), [15, owner.labels().count() as u8]].concat();
        head.extend([*ttl, now + 86_400, now - 86_400].iter().flat_map(|number| number.to_be_bytes()));
        head.extend_from_slice(&tag.to_be_bytes());
        head.push(0);
        let mut signed = [&head, owner.as_wire(), &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes()].concat();
        signed.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        signed.extend_from_slice(rdata);
        [head, self.0.sign(&signed).expect("signed")].concat()
    }

    fn signed(&self, query: &[u8], record: Rr<'_>) -> Vec<u8> {
        let signature = self.rrsig(&record);
        let signature = Rr(record.0, RRSIG, record.2, &signature);
        reply(query, 0, &[record, signature], &[])
    }
}

fn asked(query: &[u8]) -> (String, u16) {
    let mut r = Reader::at(query, 12);
    let name = r.plain_name().expect("name").to_lower().to_string();
    (name.trim_end_matches('.').to_owned(), r.u16().expect("type"))
}

fn link_to(who: &str) -> Vec<u8> {
    let text = format!("dialtone={}", name(who));
    [&[text.len() as u8][..], text.as_bytes()].concat()
}

/// A world in which example.com is linked as `link` says, signed or not, and everything else is `192.0.2.99`.
async fn upstream(root: Arc<Root>, link: Vec<u8>, signed: bool) -> Upstream {
    Upstream::that(move |query, _| {
        vec![match asked(query) {
            (name, DNSKEY) if name.is_empty() || name == "." => root.signed(query, Rr(".", DNSKEY, 60, &root.dnskey())),
            (name, types::TXT) if name == "_dialtone.example.com" && signed => {
                root.signed(query, Rr("_dialtone.example.com", types::TXT, 60, &link))
            }
            (name, types::TXT) if name == "_dialtone.example.com" => {
                reply(query, 0, &[Rr("_dialtone.example.com", types::TXT, 60, &link)], &[])
            }
            (name, types::A) if name == "signed.example.com" => root.signed(query, Rr("signed.example.com", types::A, 60, &[192, 0, 2, 5])),
            (name, types::A) => reply(query, 0, &[Rr(&name, types::A, 300, &[192, 0, 2, 99])], &[]),
            (_, types::MX) => reply(query, 3, &[], &[]),
            _ => reply(query, 3, &[], &[SOA]),
        }]
    })
    .await
}

fn world(upstream: &Upstream, root: &Root, links: Follow, validate: bool) -> (Arc<Records>, Arc<Frontend>, tempfile::TempDir) {
    use base64::Engine;
    let folder = tempfile::tempdir().expect("folder");
    let anchors = folder.path().join("anchors");
    let key = base64::engine::general_purpose::STANDARD.encode(root.0.der_bytes());
    std::fs::write(&anchors, format!(". 3600 IN DNSKEY 257 3 15 {key}\n")).expect("written");
    let records = Arc::new(Records::default());
    let address = |last| Binding::Address(Address::of(IpAddr::from([192, 0, 2, last])));
    let www = DnsData {
        owner: "www".to_owned(),
        kind: types::A,
        ttl: dialtone_shared::Ttl(600),
        rdata: vec![192, 0, 2, 2],
    };
    records.publish("site", 600, vec![address(1), Binding::Dns(www)]);
    let mut settings = settings();
    settings.upstreams = vec![upstream.address.into()];
    settings.links = links;
    settings.validate = validate;
    settings.trust_anchors = Some(anchors);
    (Arc::clone(&records), frontend(&records, settings), folder)
}

async fn address_of(frontend: &Frontend, name: &str, dnssec_ok: bool) -> (String, Option<u16>) {
    let mut ask = Ask::of(name, types::A);
    ask.edns = Some((1_232, 0, dnssec_ok));
    let message = parsed(&ask.of_frontend(frontend).await);
    let address = without_ttl(&message.answers)
        .iter()
        .find(|line| line.contains(" A "))
        .and_then(|line| line.rsplit(' ').next().map(str::to_owned));
    (
        address.unwrap_or_else(|| format!("{:?}", message.metadata.response_code)),
        ede(&message),
    )
}

#[tokio::test]
async fn an_alias_in_a_linked_name_is_followed_to_where_it_leads_even_where_the_name_lacks_that() {
    let root = Arc::new(Root::new());
    let upstream = upstream(Arc::clone(&root), link_to("site"), false).await;
    let (records, frontend, _folder) = world(&upstream, &root, Follow::Any, false);
    let alias = |owner: &str, target: &str| {
        Binding::Dns(DnsData {
            owner: owner.to_owned(),
            kind: types::CNAME,
            ttl: dialtone_shared::Ttl(600),
            rdata: Domain::from_text(target).expect("a name").as_wire().to_vec(),
        })
    };
    let nobody = name("nobody").to_dns(crate::world::ORIGIN);
    records.publish("site", 600, vec![alias("shop", "old.example.com"), alias("dead", &nobody)]);
    for (asked, target, code, address) in [
        // Below the linked domain, and not in the name: where it was.
        ("shop.example.com", "old.example.com.".to_owned(), 0, Some("192.0.2.99")),
        // Nowhere: but the alias itself is there, and is not what the legacy zone says.
        ("dead.example.com", format!("{nobody}."), 3, None),
    ] {
        let message = parsed(&Ask::of(asked, types::A).of_frontend(&frontend).await);
        let lines = without_ttl(&message.answers);
        assert!(lines[0].ends_with(&format!("CNAME {target}")), "{asked}: {lines:?}");
        assert_eq!(u16::from(message.metadata.response_code), code, "{asked}: {lines:?}");
        assert_eq!(lines.get(1).and_then(|line| line.rsplit(' ').next()), address, "{asked}: {lines:?}");
    }
}

#[tokio::test]
async fn a_linked_domain_is_answered_for_from_its_name_and_what_that_lacks_from_where_it_was() {
    let root = Arc::new(Root::new());
    let upstream = upstream(Arc::clone(&root), link_to("site"), false).await;
    let (records, frontend, _folder) = world(&upstream, &root, Follow::Any, false);
    for (asked, address) in [
        ("example.com", "192.0.2.1"),
        ("WWW.Example.com", "192.0.2.2"),
        ("mail.example.com", "192.0.2.99"),
        ("example.org", "192.0.2.99"),
    ] {
        assert_eq!(address_of(&frontend, asked, true).await, (address.to_owned(), None), "{asked}");
    }
    // No type is left over from before, and the TTL is bounded by the link's.
    let message = parsed(&Ask::of("example.com", types::MX).of_frontend(&frontend).await);
    assert!(message.answers.is_empty() && message.authorities.len() == 1);
    assert_eq!(message.authorities[0].name.to_string(), "example.com.");
    let message = parsed(&Ask::of("example.com", types::A).of_frontend(&frontend).await);
    assert!(message.answers[0].ttl <= 60, "{}", message.answers[0].ttl);
    let links = |upstream: &Upstream| {
        upstream
            .asked()
            .iter()
            .filter(|(name, ..)| name.to_lower().to_string().starts_with("_dialtone.example.com"))
            .count()
    };
    assert_eq!(links(&upstream), 1, "kept");
    // A name that is gone: the legacy answer, and why.
    records.revoke("site");
    assert_eq!(
        address_of(&frontend, "example.com", false).await,
        ("192.0.2.99".to_owned(), Some(0))
    );
    assert_eq!(address_of(&frontend, "example.org", false).await, ("192.0.2.99".to_owned(), None));
}

#[tokio::test]
async fn links_are_looked_for_within_the_budget_of_who_asks_and_what_was_not_looked_for_is_not_said_to_be_none() {
    let root = Arc::new(Root::new());
    for links in [Follow::Any, Follow::Validated] {
        let upstream = upstream(Arc::clone(&root), link_to("site"), false).await;
        let (records, _, folder) = world(&upstream, &root, links, false);
        let mut settings = settings();
        settings.upstreams = vec![upstream.address.into()];
        settings.links = links;
        settings.trust_anchors = Some(folder.path().join("anchors"));
        settings.searches = SearchSettings {
            per_second: 1,
            burst: 20,
            private: true,
        };
        let frontend = frontend(&records, settings);
        let mut unknown = 0;
        for at in 0..60 {
            let (said, why) = address_of(&frontend, &format!("a.b.made-up-{at}.example"), false).await;
            match (said.as_str(), why) {
                ("192.0.2.99", None) | ("ServFail", Some(0)) => {}
                ("ServFail", Some(31)) => unknown += 1,
                other => panic!("{links:?} {at}: {other:?}"),
            }
        }
        assert!(unknown >= 50, "{unknown}");
        // Time passes: a few more than at once.
        assert!(upstream.asked().len() <= 40, "{links:?}: {}", upstream.asked().len());
    }
}

#[tokio::test]
async fn a_link_that_is_none_is_told_and_changes_nothing() {
    let root = Arc::new(Root::new());
    let upstream = upstream(Arc::clone(&root), b"\x0fdialtone=nobody".to_vec(), false).await;
    let (_, frontend, _folder) = world(&upstream, &root, Follow::Any, false);
    assert_eq!(
        address_of(&frontend, "example.com", false).await,
        ("192.0.2.99".to_owned(), Some(0))
    );
}

#[tokio::test]
async fn only_what_is_signed_is_followed_where_links_must_be_and_not_for_who_validates() {
    let root = Arc::new(Root::new());
    for (signed, address) in [(true, "192.0.2.1"), (false, "192.0.2.99")] {
        let upstream = upstream(Arc::clone(&root), link_to("site"), signed).await;
        let (_, frontend, _folder) = world(&upstream, &root, Follow::Validated, false);
        assert_eq!(address_of(&frontend, "example.com", false).await.0, address, "signed: {signed}");
        assert_eq!(
            address_of(&frontend, "example.com", true).await.0,
            "192.0.2.99",
            "who validates would refuse ours"
        );
    }
    // Signed by somebody else.
    let upstream = upstream(Arc::new(Root::new()), link_to("site"), true).await;
    let (_, frontend, _folder) = world(&upstream, &root, Follow::Validated, false);
    assert_eq!(address_of(&frontend, "example.com", false).await.0, "192.0.2.99");
}

#[tokio::test]
async fn what_does_not_validate_is_not_passed_on_unless_who_asks_wants_it_all_the_same() {
    let root = Arc::new(Root::new());
    let upstream = upstream(Arc::clone(&root), link_to("site"), true).await;
    let (_, frontend, _folder) = world(&upstream, &root, Follow::No, true);
    let mut ask = Ask::of("signed.example.com", types::A);
    let message = parsed(&ask.of_frontend(&frontend).await);
    assert_eq!(without_ttl(&message.answers), ["signed.example.com. IN A 192.0.2.5"]);
    assert!(!message.metadata.authentic_data, "nobody asked");
    ask.edns = Some((1_232, 0, true));
    let message = parsed(&ask.of_frontend(&frontend).await);
    assert!(message.metadata.authentic_data && message.answers.len() == 2, "{message:?}");
    let mut forged = Ask::of("forged.example.com", types::A);
    let message = parsed(&forged.of_frontend(&frontend).await);
    assert_eq!(format!("{:?}", message.metadata.response_code), "ServFail");
    assert!(matches!(ede(&message), Some(5 | 6)), "{message:?}");
    // "There is none" needs a proof as well, and so does silence.
    for kind in [types::AAAA, types::MX] {
        let message = parsed(&Ask::of("forged.example.com", kind).of_frontend(&frontend).await);
        assert_eq!(format!("{:?}", message.metadata.response_code), "ServFail", "{kind}");
    }
    // Checking disabled.
    forged.flags |= 0x0010;
    let message = parsed(&forged.of_frontend(&frontend).await);
    assert_eq!(without_ttl(&message.answers), ["forged.example.com. IN A 192.0.2.99"]);
}

#[tokio::test]
async fn what_a_flat_name_takes_from_a_legacy_one_is_validated_as_well() {
    let root = Arc::new(Root::new());
    let upstream = upstream(Arc::clone(&root), link_to("site"), true).await;
    let (records, frontend, _folder) = world(&upstream, &root, Follow::No, true);
    let alias = |owner: &str, to: &str| {
        Binding::Dns(DnsData {
            owner: owner.to_owned(),
            kind: types::CNAME,
            ttl: dialtone_shared::Ttl(60),
            rdata: Domain::from_text(to).expect(to).as_wire().to_vec(),
        })
    };
    for (of, address) in [("signed.example.com", "192.0.2.5"), ("forged.example.com", "ServFail")] {
        let path = vec![Step::Legacy(of.to_owned())];
        let text = DnsData {
            owner: String::new(),
            kind: types::TXT,
            ttl: dialtone_shared::Ttl(60),
            rdata: b"\x01x".to_vec(),
        };
        let hidden = Binding::Delegate(Delegate { path: path.clone() });
        records.publish("hidden", 60, vec![hidden, Binding::Dns(text)]);
        records.publish("shown", 60, vec![Binding::Delegate(Delegate { path }), alias("www", of)]);
        for owner in [
            name("hidden").to_string(),
            name("shown").to_string(),
            format!("www.{}", name("shown")),
        ] {
            let flat = format!("{owner}.{ORIGIN}");
            assert_eq!(address_of(&frontend, &flat, false).await.0, address, "{flat} from {of}");
            assert_eq!(address_of(&frontend, &flat, true).await.0, address, "{flat} from {of}");
        }
    }
    // Checking disabled.
    let mut ask = Ask::of(&format!("{}.{ORIGIN}", name("hidden")), types::A);
    ask.flags |= 0x0010;
    assert_eq!(parsed(&ask.of_frontend(&frontend).await).answers.len(), 1);
}

#[tokio::test]
async fn a_legacy_alias_that_is_proved_leads_to_a_flat_name_from_outside_and_from_another_one() {
    for rcode in [0, 3] {
        let root = Arc::new(Root::new());
        let signer = Arc::clone(&root);
        let upstream = Upstream::that(move |query, _| {
            let flat = Domain::from_text(&format!("{}.{ORIGIN}", name("site"))).expect("a name");
            let alias = Rr("alias.example.com", types::CNAME, 60, flat.as_wire());
            vec![match asked(query) {
                (_, DNSKEY) => signer.signed(query, Rr(".", DNSKEY, 60, &signer.dnskey())),
                (name, types::A) if name == "alias.example.com" => {
                    let signature = signer.rrsig(&alias);
                    reply(query, rcode, &[alias, Rr("alias.example.com", RRSIG, 60, &signature)], &[])
                }
                _ => reply(query, 3, &[], &[SOA]),
            }]
        })
        .await;
        let (records, frontend, _folder) = world(&upstream, &root, Follow::No, true);
        let path = vec![Step::Legacy("alias.example.com".to_owned())];
        records.publish("other", 60, vec![Binding::Delegate(Delegate { path })]);
        for asked in ["alias.example.com".to_owned(), format!("{}.{ORIGIN}", name("other"))] {
            assert_eq!(address_of(&frontend, &asked, false).await.0, "192.0.2.1", "{asked} with {rcode}");
        }
    }
}

#[tokio::test]
async fn what_was_proved_is_given_after_its_time_while_nobody_answers_and_said_to_be_old() {
    let (root, is_broken) = (Arc::new(Root::new()), Arc::new(AtomicBool::new(false)));
    let (signer, broken) = (Arc::clone(&root), Arc::clone(&is_broken));
    let upstream = Upstream::that(move |query, _| {
        vec![match asked(query) {
            _ if broken.load(Ordering::SeqCst) => reply(query, 2, &[], &[]),
            (_, DNSKEY) => signer.signed(query, Rr(".", DNSKEY, 1, &signer.dnskey())),
            _ => signer.signed(query, Rr("signed.example.com", types::A, 1, &[192, 0, 2, 5])),
        }]
    })
    .await;
    let (_records, frontend, _folder) = world(&upstream, &root, Follow::No, true);
    let proved = "192.0.2.5".to_owned();
    assert_eq!(address_of(&frontend, "signed.example.com", true).await, (proved.clone(), None));
    is_broken.store(true, Ordering::SeqCst);
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let (address, error) = address_of(&frontend, "signed.example.com", true).await;
        assert_eq!(address, proved, "there is an answer all the time");
        if error == Some(3) {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "{error:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
