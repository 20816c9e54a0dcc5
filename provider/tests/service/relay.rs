//! pkarr's relay API: what its clients and iroh's put and get unchanged.

use crate::dns;
use crate::world::{Publisher, Reply, ShiftedClock, World, path_of, until};
use dialtone_provider::identity;
use dialtone_provider::settings::{AnonymousPuts, PeerSettings};
use dialtone_provider::store::{Class, MemoryStore};
use dialtone_shared::record::pkarr::{self, Packet};
use dialtone_shared::{Name, SecretKey, SignedRecord, UnixMicros};

/// A relay payload and its name: one TXT at the key.
fn payload(secret: &SecretKey, timestamp: u64, text: &str) -> (Name, Vec<u8>) {
    let name = Name::pkarr(*secret.public().as_bytes());
    let mut dns = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0, 52];
    dns.extend(name.to_string().as_bytes());
    dns.extend([0, 0, 16, 0, 1, 0, 0, 0, 30, 0, text.len() as u8 + 1, text.len() as u8]);
    dns.extend(text.as_bytes());
    let envelope = pkarr::sign(secret, UnixMicros(timestamp), &dns).unwrap();
    (name, Packet::open(&envelope).unwrap().to_relay())
}

fn secret(seed: u64) -> SecretKey {
    Publisher::number(seed).secret
}

async fn put(world: &World, path: &str, body: &[u8]) -> Reply {
    world.ask("PUT", path, &[], body.to_vec()).await
}

fn micros(world: &World) -> u64 {
    world.now().micros().0
}

#[tokio::test]
async fn a_packet_is_put_and_got_as_it_was_sent_and_is_a_record_of_its_key() {
    let world = World::start().await;
    for (seed, base) in [(1, ""), (2, "/pkarr")] {
        let (name, sent) = payload(&secret(seed), micros(&world), "here");
        let path = format!("{base}/{name}");
        let miss = world.get(&path).await;
        assert_eq!(
            (miss.status.as_u16(), miss.header("content-type")),
            (404, "text/plain; charset=utf-8")
        );
        let reply = put(&world, &path, &sent).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("pkarr-dht-stored-nodes"), reply.body.len()),
            (204, "1", 0)
        );
        assert_eq!(put(&world, &path, &sent).await.status, 204, "again");
        for path in [
            path,
            format!("/{name}"),
            format!("/pkarr/{}?policy=NetworkOnly", name.to_string().to_uppercase()),
        ] {
            let got = world.get(&path).await;
            assert_eq!((got.status.as_u16(), &got.body[..]), (200, &sent[..]), "{path}");
            assert_eq!(got.header("content-type"), "application/pkarr.org/relays#payload");
            assert_eq!(got.header("cache-control"), "public, max-age=300");
            let now = httpdate::parse_http_date(got.header("memento-datetime")).unwrap();
            let signed = httpdate::parse_http_date(got.header("last-modified")).unwrap();
            assert!(now >= signed, "{got:?}");
        }
        let record = world.get(&path_of(&name)).await;
        let signed = SignedRecord::decode(record.body).unwrap().verify_for(&name).unwrap();
        assert_eq!(signed.packet().unwrap().to_relay(), sent);
        let held = world.held(&name).await.unwrap();
        assert_eq!(held.class, Class::Customer);
        let (code, answer) = dns::ask(world.provider.addresses().dns[0], &dns::dns_of(&name)).await;
        assert_eq!((code, answer.is_empty()), (0, false), "NODATA for A, with an SOA");
        let text = dns::ask_for(world.provider.addresses().dns[0], &dns::dns_of(&name), 16).await;
        assert!(text.1.windows(5).any(|window| window == b"\x04here"), "{text:?}");
    }
    let metrics = world.metrics().await;
    assert!(
        metrics.contains("dialtone_verify_seconds_count 2"),
        "each is verified once, however often it comes: {metrics}"
    );
}

#[tokio::test]
async fn the_newest_wins_and_iroh_is_not_told_off_for_an_older_one() {
    let world = World::start().await;
    let now = micros(&world);
    let (name, new) = payload(&secret(1), now, "new");
    let (_, old) = payload(&secret(1), now - 1, "old");
    let (_, newest) = payload(&secret(1), now + 1, "newest");
    let (_, smaller) = payload(&secret(1), now, "neu");
    let (root, iroh) = (format!("/{name}"), format!("/pkarr/{name}"));
    assert_eq!(put(&world, &root, &new).await.status, 204);
    for old in [&old, &smaller] {
        let refused = put(&world, &root, old).await;
        assert_eq!((refused.status.as_u16(), refused.header("dialtone-problem")), (409, "older"));
        assert!(String::from_utf8_lossy(&refused.body).contains("higher rank"));
        let passed_over = put(&world, &iroh, old).await;
        assert_eq!(
            (passed_over.status.as_u16(), passed_over.header("dialtone-problem")),
            (204, "older")
        );
        assert_eq!(world.get(&root).await.body, new);
    }
    assert_eq!(put(&world, &iroh, &newest).await.status, 204);
    assert_eq!(world.get(&root).await.body, newest);
    world.until_counted("dialtone_puts_total{outcome=\"older\"}", 4).await;
}

#[tokio::test]
async fn clients_of_before_pkarr_7_compare_and_swap() {
    let world = World::start().await;
    let now = micros(&world) - 10_000_000;
    let (name, first) = payload(&secret(1), now, "1");
    let (_, second) = payload(&secret(1), now + 2_000_000, "2");
    let path = format!("/{name}");
    let with = async |header: &str, value: &str, body: &[u8]| {
        let reply = world.ask("PUT", &path, &[(header, value)], body.to_vec()).await;
        reply.status.as_u16()
    };
    assert_eq!(
        with("if-match", "7", &first).await,
        204,
        "where nothing is held nothing is overwritten"
    );
    assert_eq!(with("if-match", "7", &second).await, 412);
    let date = |secs: u64| httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(secs));
    assert_eq!(with("if-unmodified-since", &date(now / 1_000_000 - 1), &second).await, 412);
    assert_eq!(with("if-match", "seven", &second).await, 400);
    assert_eq!(world.get(&path).await.body, first);
    assert_eq!(with("if-match", &now.to_string(), &second).await, 204);
    assert_eq!(
        with(
            "if-unmodified-since",
            &date(now / 1_000_000 + 2),
            &payload(&secret(1), now + 3_000_000, "3").1
        )
        .await,
        204
    );
}

#[tokio::test]
async fn not_modified_is_said_only_when_it_is_so_to_the_microsecond() {
    let world = World::start().await;
    let secs = world.now().0 - 100;
    let (name, sent) = payload(&secret(1), secs * 1_000_000 + 1, "x");
    put(&world, &format!("/{name}"), &sent).await;
    let since = async |secs: u64| {
        let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(secs));
        let reply = world
            .ask("GET", &format!("/pkarr/{name}"), &[("if-modified-since", &date)], "")
            .await;
        (reply.status.as_u16(), reply.body.len(), reply.header("last-modified").is_empty())
    };
    assert_eq!(since(secs).await, (200, sent.len(), false), "a microsecond later than that second");
    assert_eq!(since(secs + 1).await, (304, 0, false));
    let odd = world
        .ask("GET", &format!("/{name}"), &[("if-modified-since", "yesterday")], "")
        .await;
    assert_eq!(odd.status, 200);
    assert_eq!(world.ask("HEAD", &format!("/{name}"), &[], "").await.status, 200);
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_changes_nothing() {
    let world = World::start().await;
    let now = micros(&world);
    let (name, right) = payload(&secret(1), now, "x");
    let path = format!("/{name}");
    let code = async |path: &str, body: &[u8]| put(&world, path, body).await.status.as_u16();
    for length in 0..right.len() {
        assert_eq!(code(&path, &right[..length]).await, 400, "cut at {length}");
    }
    let mut forged = right.clone();
    forged[3] ^= 1;
    assert_eq!(code(&path, &forged).await, 400);
    let (other, others) = payload(&secret(2), now, "x");
    assert_eq!(code(&path, &others).await, 400, "of another key");
    for (length, wanted) in [(1_073, 400), (1_104, 400), (1_105, 413), (100_000, 413)] {
        assert_eq!(code(&path, &vec![0; length]).await, wanted, "{length} bytes");
    }
    for (timestamp, wanted) in [(now + 400_000_000, 400), (u64::MAX, 400), (0, 400), (1, 204)] {
        let (other, body) = if timestamp == 0 || timestamp > 1 << 62 {
            (other, unsound(timestamp))
        } else {
            payload(&secret(2), timestamp, "x")
        };
        assert_eq!(code(&format!("/pkarr/{other}"), &body).await, wanted, "{timestamp}");
    }
    let text = name.to_string();
    let alias = format!("{}b", &text[..51]);
    let key_set = Publisher::number(1).name().to_string();
    let no_key = Name::pkarr([0xff; 32]).to_string();
    for wrong in [
        alias.as_str(),
        &text[1..],
        "x",
        "%ff",
        &key_set,
        &no_key,
        "c1bkg8tfsyy8wcedtmw4fwhdmm7bbzhgg3z58tf43m5ow8w9mbus",
    ] {
        for base in ["", "/pkarr"] {
            let path = format!("{base}/{wrong}");
            assert_eq!(
                (code(&path, &right).await, world.get(&path).await.status.as_u16()),
                (400, 400),
                "{path}"
            );
        }
    }
    assert_eq!(world.get(&format!("{path}?policy=cachefirst")).await.status, 400);
    assert_eq!(world.get(&path).await.status, 404);
    assert_eq!(world.ask("DELETE", &path, &[], "").await.status, 405);
}

/// A well-signed packet that no `sign` would make.
fn unsound(timestamp: u64) -> Vec<u8> {
    let dns = [0, 0, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let signed = [format!("3:seqi{timestamp}e1:v12:").as_bytes(), &dns].concat();
    [&secret(2).sign(&signed)[..], &timestamp.to_be_bytes(), &dns].concat()
}

#[tokio::test]
async fn a_page_of_any_origin_may_use_it() {
    let world = World::with(MemoryStore::new(), |settings| settings.http.anonymous_puts = AnonymousPuts::Yes).await;
    let (name, sent) = payload(&secret(1), micros(&world), "x");
    let (path, origin) = (format!("/pkarr/{name}"), ("origin", "https://app.example"));
    let asked = [
        origin,
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "cache-control, if-modified-since"),
    ];
    let may = world.ask("OPTIONS", &path, &asked, "").await;
    assert_eq!(may.status, 200);
    assert_eq!(may.header("access-control-allow-origin"), origin.1);
    assert_eq!(may.header("access-control-allow-methods"), "PUT");
    assert_eq!(may.header("access-control-allow-headers"), asked[2].1);
    let stored = world.ask("PUT", &path, &[origin], sent.clone()).await;
    assert_eq!(
        (stored.status.as_u16(), stored.header("access-control-allow-origin")),
        (204, origin.1)
    );
    for reply in [stored, world.ask("GET", &path, &[origin], "").await] {
        assert!(
            reply.header("access-control-expose-headers").contains("pkarr-dht-stored-nodes"),
            "{reply:?}"
        );
        assert!(reply.header("vary").contains("origin"));
    }
}

#[tokio::test]
async fn quotas_and_tokens_are_those_of_all_records() {
    let world = World::with(MemoryStore::new(), |settings| {
        settings.http.anonymous_puts = AnonymousPuts::No;
    })
    .await;
    let (name, sent) = payload(&secret(1), micros(&world), "x");
    let reply = put(&world, &format!("/pkarr/{name}"), &sent).await;
    assert_eq!((reply.status.as_u16(), reply.header("dialtone-problem")), (401, "token"));
    assert_eq!(world.held(&name).await, None);
}

#[tokio::test]
async fn an_old_packet_is_kept_while_it_is_leased_and_no_older_one_comes_back() {
    let world = World::on(ShiftedClock::by(0), MemoryStore::new()).await;
    let now = micros(&world);
    let year = 365 * 86_400;
    let (name, old) = payload(&secret(1), now - year * 1_000_000, "a year old");
    let path = format!("/{name}");
    assert_eq!(put(&world, &path, &old).await.status, 204);
    let lease = world.held(&name).await.unwrap().keep_until;
    assert!(lease > world.now(), "leased from now on, not from when it was signed");
    let to_end = i64::try_from(lease.0 - world.now().0).unwrap();
    world.clock.shift(to_end - 3_600);
    assert_eq!(world.get(&path).await.status, 200);
    world.clock.shift(3_600);
    assert_eq!(world.get(&path).await.status, 404, "the lease is over");
    assert_eq!(
        put(&world, &path, &payload(&secret(1), now - (year + 1) * 1_000_000, "older").1)
            .await
            .status,
        409
    );
    assert_eq!(put(&world, &path, &old).await.status, 204);
    assert_eq!(world.get(&path).await.status, 200, "leased again");
}

#[tokio::test]
async fn what_is_put_at_one_provider_is_got_at_its_peer() {
    let keys = tempfile::tempdir().unwrap();
    let key = |file: &str| {
        let path = keys.path().join(file);
        let name = identity::open(&path, true).unwrap().name();
        (path, name)
    };
    let ((one_key, one_name), (two_key, two_name)) = (key("one.key"), key("two.key"));
    let one = World::with(MemoryStore::new(), |settings| {
        settings.identity.key = Some(one_key);
        settings.peers = vec![PeerSettings::mutual(two_name, Vec::new())];
    })
    .await;
    let (name, first) = payload(&secret(1), micros(&one), "before the link");
    assert_eq!(put(&one, &format!("/pkarr/{name}"), &first).await.status, 204);
    let at = one.provider.addresses().peering.unwrap().to_string();
    let two = World::with(MemoryStore::new(), |settings| {
        settings.identity.key = Some(two_key);
        settings.peers = vec![PeerSettings::mutual(one_name, vec![at])];
    })
    .await;
    let path = format!("/{name}");
    until(async || two.get(&path).await.body == first).await;
    let (_, second) = payload(&secret(1), micros(&one) + 1, "after");
    assert_eq!(put(&two, &path, &second).await.status, 204);
    until(async || one.get(&path).await.body == second).await;
    let held = one.held(&name).await.unwrap();
    assert_eq!((held.class, held.from), (Class::Peer, Some(two_name)));
}

#[tokio::test]
async fn a_packet_survives_a_restart() {
    let world = World::in_folder(tempfile::tempdir().unwrap()).await;
    let (name, sent) = payload(&secret(1), micros(&world), "x");
    assert_eq!(put(&world, &format!("/{name}"), &sent).await.status, 204);
    let world = World::in_folder(world.stop().await).await;
    assert_eq!(world.get(&format!("/{name}")).await.body, sent);
}
