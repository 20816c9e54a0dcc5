//! The main job over real processes: signed here, put at one provider, resolved and verified at another, whatever happens to either.

use crate::support::{ProviderProcess, World, free_port};
use dialtone_resolver::io::publisher::Publisher;
use dialtone_resolver::io::{clock, key_files};
use dialtone_resolver::publish::{self, Account, PutIf};
use dialtone_shared::Body;
use serde_json::Value;
use std::time::{Duration, Instant};

#[test]
fn a_record_put_at_one_provider_resolves_at_the_other_and_is_verified() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    let name = key(&world, "alice.key");
    let put = world
        .ok([
            "publish",
            "--key",
            "alice.key",
            "--address",
            "192.0.2.7,region=eu",
            "--service",
            "https:tcp:443,alpn=h2",
            "--opaque",
            "text/plain:hello",
            "--provider",
            &first.url(),
            "--wait-visible-at",
            &second.url(),
            "--json",
        ])
        .json();
    assert_eq!(
        (&put["name"], &put["kept"][0]["name"]),
        (&name.as_str().into(), &first.name().into())
    );
    let found = resolve(&world, &name, &second);
    assert_eq!(found["tree"]["record"]["rank"], put["rank"]);
    assert_eq!(found["tree"]["record"]["verified"], true);
    assert_eq!(found["endpoints"][0]["ip"], "192.0.2.7");
    assert_eq!(
        (&found["endpoints"][0]["port"], &found["endpoints"][0]["alpn"][0]),
        (&443.into(), &"h2".into())
    );
    let people = world.ok(["resolve", &name, "--provider", &second.url()]).stdout;
    for part in [
        "✓ signed",
        "ttl 60 s",
        "service  https  tcp/443",
        "opaque   text/plain  hello",
        "1. 192.0.2.7:443",
        &second.url(),
    ] {
        assert!(people.contains(part), "{part:?} is not in\n{people}");
    }
}

#[test]
fn the_later_record_wins_everywhere_and_a_condition_keeps_writers_apart() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    let name = key(&world, "alice.key");
    let old = put(&world, &["--address", "192.0.2.1"], &first, &second);
    let new = put(
        &world,
        &["--address", "192.0.2.2", "--if-match", old["rank"].as_str().unwrap()],
        &first,
        &second,
    );
    assert_eq!(resolve(&world, &name, &second)["endpoints"][0]["ip"], "192.0.2.2");
    world
        .run([
            "publish",
            "--key",
            "alice.key",
            "--address",
            "192.0.2.3",
            "--if-match",
            old["rank"].as_str().unwrap(),
            "--provider",
            &second.url(),
        ])
        .failed(4, &["--if-match", new["rank"].as_str().unwrap(), "dialtone resolve"]);
    assert_eq!(resolve(&world, &name, &second)["endpoints"][0]["ip"], "192.0.2.2");
    // The other way round: what is put at the second is seen at the first.
    put(&world, &["--address", "192.0.2.4"], &second, &first);
    assert_eq!(resolve(&world, &name, &first)["endpoints"][0]["ip"], "192.0.2.4");
}

#[test]
fn a_withdrawn_name_still_exists_and_stands_for_nothing() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    let name = key(&world, "alice.key");
    put(&world, &["--address", "192.0.2.1"], &first, &second);
    world.ok([
        "unpublish",
        "--key",
        "alice.key",
        "--provider",
        &first.url(),
        "--wait-visible-at",
        &second.url(),
    ]);
    let found = resolve(&world, &name, &second);
    assert_eq!(
        (found["endpoints"].as_array().unwrap().len(), &found["tree"]["said"]),
        (0, &"record".into())
    );
    let people = world.ok(["resolve", &name, "--provider", &second.url()]).stdout;
    assert!(people.contains("stands for nothing"), "{people}");
}

#[test]
fn a_name_that_nobody_published_is_absent() {
    let world = World::new();
    let alone = ProviderProcess::alone(&world);
    let name = key(&world, "alice.key");
    let ran = world.run(["resolve", &name, "--provider", &alone.url()]);
    assert_eq!(ran.status, Some(5), "{ran}");
    assert!(ran.stderr.contains("no record") && ran.stderr.contains("help: "), "{ran}");
}

#[test]
fn what_was_acknowledged_survives_sigterm_and_kill_9_and_reaches_a_peer_that_was_away() {
    let world = World::new();
    let (mut first, mut second) = ProviderProcess::peered(&world);
    let name = key(&world, "alice.key");
    put(&world, &["--address", "192.0.2.1"], &first, &second);
    second.stop();
    let kept = world
        .ok([
            "publish",
            "--key",
            "alice.key",
            "--address",
            "192.0.2.2",
            "--provider",
            &first.url(),
            "--json",
        ])
        .json();
    first.kill();
    first.run(&world);
    assert_eq!(resolve(&world, &name, &first)["tree"]["record"]["rank"], kept["rank"]);
    second.run(&world);
    // It was away: what it missed comes by itself.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let ran = world.run(["resolve", &name, "--provider", &second.url(), "--json"]);
        if ran.status == Some(0) && ran.json()["tree"]["record"]["rank"] == kept["rank"] {
            break;
        }
        assert!(Instant::now() < deadline, "the peer did not catch up: {ran}");
    }
    put(&world, &["--address", "192.0.2.3"], &first, &second);
    second.kill();
    second.run(&world);
    assert_eq!(resolve(&world, &name, &second)["endpoints"][0]["ip"], "192.0.2.3");
    first.stop();
    second.stop();
}

#[test]
fn layers_are_followed_through_targets_and_delegates() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    let host = key(&world, "host.key");
    let shop = key(&world, "shop.key");
    let door = key(&world, "door.key");
    let say = |key: &str, says: &[&str]| {
        let (url, seen_at) = (first.url(), second.url());
        let args = [&["publish", "--key", key, "--provider", &url, "--wait-visible-at", &seen_at], says].concat();
        world.ok(args);
    };
    say("host.key", &["--address", "192.0.2.1,priority=2", "--address", "2001:db8::1"]);
    say("shop.key", &["--service", &format!("https:tcp:8443,target={host}")]);
    say("door.key", &["--delegate", &shop]);
    let found = resolve(&world, &door, &second);
    let ends: Vec<(&Value, &Value)> = found["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|end| (&end["ip"], &end["port"]))
        .collect();
    assert_eq!(ends, [(&"2001:db8::1".into(), &8443.into()), (&"192.0.2.1".into(), &8443.into())]);
    assert_eq!(found["endpoints"][0]["path"], serde_json::json!([door, shop, host]));
    let people = world
        .ok(["resolve", &door, "--provider", &second.url(), "--service", "https"])
        .stdout;
    assert!(
        people.matches("✓ signed").count() == 3 && people.contains("1. [2001:db8::1]:8443"),
        "{people}"
    );
    let none = world.run(["resolve", &door, "--provider", &second.url(), "--service", "ssh"]);
    assert!(none.status == Some(5) && none.stderr.contains("ssh"), "{none}");
}

#[test]
fn a_petname_resolves_like_the_name_it_stands_for() {
    let world = World::new();
    let alone = ProviderProcess::alone(&world);
    let name = key(&world, "alice.key");
    world.ok([
        "publish",
        "--key",
        "alice.key",
        "--address",
        "192.0.2.1",
        "--provider",
        &alone.url(),
    ]);
    world.ok(["alias", "home", &format!("dialtone:{name}")]);
    assert_eq!(resolve(&world, "home", &alone)["name"], name);
    assert_eq!(
        world.ok(["alias", "--list"]).stdout.split_whitespace().collect::<Vec<_>>(),
        ["home", &name]
    );
    world.ok(["alias", "--remove", "home"]);
    world.run(["alias", "--remove", "home"]).failed(5, &["home"]);
    world
        .run(["resolve", "home", "--provider", &alone.url()])
        .failed(3, &["dialtone alias"]);
}

#[test]
fn resolve_says_who_answered_not_who_might_have() {
    let world = World::new();
    let alone = ProviderProcess::alone(&world);
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let name = key(&world, "alice.key");
    world.ok([
        "publish",
        "--key",
        "alice.key",
        "--address",
        "192.0.2.1",
        "--provider",
        &alone.url(),
    ]);
    let said = world
        .ok(["resolve", &name, "--provider", &nobody, "--provider", &alone.url()])
        .stdout;
    assert!(said.contains(&format!("answered by {} in", alone.url())), "{said}");
}

#[test]
fn a_scope_keeps_a_record_where_it_belongs() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    let (private, public) = (key(&world, "alice.key"), key(&world, "public.key"));
    world.ok([
        "publish",
        "--key",
        "alice.key",
        "--address",
        "192.0.2.1",
        "--scope",
        &first.name(),
        "--provider",
        &first.url(),
    ]);
    // What was put later has arrived: so would have what was put before.
    world.ok([
        "publish",
        "--key",
        "public.key",
        "--address",
        "192.0.2.2",
        "--provider",
        &first.url(),
        "--wait-visible-at",
        &second.url(),
    ]);
    assert_eq!(resolve(&world, &private, &first)["endpoints"][0]["ip"], "192.0.2.1");
    assert_eq!(resolve(&world, &public, &second)["endpoints"][0]["ip"], "192.0.2.2");
    assert_eq!(world.run(["resolve", &private, "--provider", &second.url()]).status, Some(5));
    world
        .run([
            "publish",
            "--key",
            "alice.key",
            "--address",
            "192.0.2.1",
            "--scope",
            &first.name(),
            "--provider",
            &second.url(),
        ])
        .failed(4, &[&second.url()]);
}

#[test]
fn a_provider_that_holds_newer_records_back_is_caught() {
    let world = World::new();
    let ports = "http.listen = ['127.0.0.1:0']\ndns.listen = ['127.0.0.1:0']\npeering.listen = '127.0.0.1:0'\n";
    let honest = ProviderProcess::start(&world, "honest", ports);
    let stale = ProviderProcess::start(&world, "stale", ports);
    let name = key(&world, "alice.key");
    for (address, at) in [("192.0.2.1", &stale), ("192.0.2.2", &honest)] {
        world.ok(["publish", "--key", "alice.key", "--address", address, "--provider", &at.url()]);
    }
    assert_eq!(
        resolve(&world, &name, &stale)["endpoints"][0]["ip"],
        "192.0.2.1",
        "nothing newer was seen yet"
    );
    assert_eq!(resolve(&world, &name, &honest)["endpoints"][0]["ip"], "192.0.2.2");
    world
        .run(["resolve", &name, "--provider", &stale.url()])
        .failed(7, &["older", "--provider"]);
}

#[test]
fn a_provider_that_is_away_is_passed_over_but_a_put_at_it_is_not_forgotten() {
    let world = World::new();
    let alone = ProviderProcess::alone(&world);
    let name = key(&world, "alice.key");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let put = world.run([
        "publish",
        "--key",
        "alice.key",
        "--address",
        "192.0.2.1",
        "--provider",
        &nobody,
        "--provider",
        &alone.url(),
    ]);
    assert_eq!(put.status, Some(6), "{put}");
    assert!(
        put.stdout.contains(&format!("kept     by {}", alone.url())) && put.stderr.contains(&nobody),
        "{put}"
    );
    let found = world
        .ok(["resolve", &name, "--provider", &nobody, "--provider", &alone.url(), "--json"])
        .json();
    assert_eq!(found["endpoints"][0]["ip"], "192.0.2.1");
}

#[test]
fn a_revoked_name_is_said_to_be_revoked_and_leads_nowhere() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    let name = key(&world, "alice.key");
    put(&world, &["--address", "192.0.2.1"], &first, &second);
    let signer = key_files::load_signer(&world.path("alice.key")).unwrap();
    let revocation = publish::sign(&signer, clock::now_micros(), Vec::new(), Body::Revoked).unwrap();
    let account = Account {
        at: first.url().parse().unwrap(),
        token: None,
    };
    let everywhere = [first.url().parse().unwrap(), second.url().parse().unwrap()];
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let publisher = Publisher::new(vec![account]);
        publisher.put(&revocation, PutIf::Always).await.remove(0).unwrap();
        publisher
            .wait_until_visible(revocation.name(), revocation.rank(), &everywhere, Duration::from_secs(30))
            .await
            .unwrap();
    });
    let ran = world.run(["resolve", &name, "--provider", &second.url()]);
    assert_eq!(ran.status, Some(5), "{ran}");
    assert!(ran.stdout.contains("REVOKED") && ran.stderr.contains("revoked"), "{ran}");
    world
        .run([
            "publish",
            "--key",
            "alice.key",
            "--address",
            "192.0.2.2",
            "--provider",
            &second.url(),
        ])
        .failed(4, &["higher rank"]);
}

fn key(world: &World, file: &str) -> String {
    world.ok(["key", "new", file]).stdout.trim().to_owned()
}

/// Publishes under alice.key at one provider and waits until another has it.
fn put(world: &World, says: &[&str], at: &ProviderProcess, seen_at: &ProviderProcess) -> Value {
    let (at, seen_at) = (at.url(), seen_at.url());
    let args = [
        "publish",
        "--key",
        "alice.key",
        "--provider",
        &at,
        "--wait-visible-at",
        &seen_at,
        "--json",
    ];
    world.ok([&args[..], says].concat()).json()
}

fn resolve(world: &World, name: &str, at: &ProviderProcess) -> Value {
    world.ok(["resolve", name, "--provider", &at.url(), "--json"]).json()
}
