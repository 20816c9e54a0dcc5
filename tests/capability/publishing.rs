//! Publishing that people can live with: what is named changes and the rest stays, it is seen before it happens, and nobody's word is lost.

use crate::support::{ProviderProcess, World, finish, free_port};
use dialtone_resolver::edit::Says;
use dialtone_resolver::io::publisher::Publisher;
use dialtone_resolver::io::{clock, key_files};
use dialtone_resolver::publish::{self, Account, PutIf};
use dialtone_shared::record::{Address, Binding};
use serde_json::Value;

#[test]
fn what_is_published_takes_the_place_of_its_kind_and_the_rest_stays() {
    let world = World::new();
    let at = ProviderProcess::alone(&world);
    key(&world);
    let first = publish(
        &world,
        &at,
        &[
            "--address",
            "192.0.2.1",
            "--service",
            "https:tcp:443",
            "--dns",
            "www 300 TXT \"a\"",
            "--ttl",
            "5m",
            "--expires",
            "90d",
        ],
    );
    assert_eq!(
        (
            first["changes"]["from"].clone(),
            first["changes"]["added"].as_array().unwrap().len()
        ),
        (Value::Null, 3)
    );
    let moved = publish(&world, &at, &["--address", "192.0.2.8"]);
    assert_eq!(moved["changes"]["from"], first["rank"]);
    assert_eq!(moved["changes"]["removed"][0]["ip"], "192.0.2.1");
    let held = held(&world, &at);
    assert_eq!(held["ttl"], 300, "and so do the terms");
    let lives = held["expiry"].as_u64().unwrap() - held["sequence"].as_u64().unwrap() / 1_000_000;
    assert_eq!(lives, 90 * 86_400);
    assert_eq!(bindings(&world, &at), ["192.0.2.8", "https", "www"]);

    publish(&world, &at, &["--add", "--address", "192.0.2.9", "--remove", "dns:www"]);
    assert_eq!(bindings(&world, &at), ["192.0.2.8", "https", "192.0.2.9"]);
    publish(&world, &at, &["--remove", "service", "--remove", "address:192.0.2.8"]);
    assert_eq!(bindings(&world, &at), ["192.0.2.9"]);
    publish(&world, &at, &["--renew"]);
    assert_eq!(bindings(&world, &at), ["192.0.2.9"]);
    publish(&world, &at, &["--replace", "--service", "ssh:tcp:22"]);
    assert_eq!(bindings(&world, &at), ["ssh"]);
    run(&world, &at, &["--remove", "delegate"]).failed(5, &["there is no `delegate`"]);
    run(&world, &at, &["--remove", "delegates"]).failed(3, &["delegates", "service[:LABEL]"]);
    run(&world, &at, &["--replace"]).failed(2, &["unpublish"]);
    run(&world, &at, &[]).failed(2, &["--renew"]);
}

#[test]
fn the_difference_is_shown_before_anything_is_sent_and_a_dry_run_sends_nothing() {
    let world = World::new();
    let at = ProviderProcess::alone(&world);
    key(&world);
    publish(&world, &at, &["--address", "192.0.2.1", "--service", "https:tcp:443"]);
    let before = held(&world, &at);
    let looked = run(&world, &at, &["--address", "192.0.2.2", "--ttl", "10m", "--dry-run"]);
    assert_eq!(looked.status, Some(0), "{looked}");
    for line in [
        "  - address  192.0.2.1",
        "  + address  192.0.2.2",
        "    service  https",
        "~ ttl 60 s → 600 s",
        before["rank"].as_str().unwrap(),
    ] {
        assert!(looked.stderr.contains(line), "{line:?} is not in\n{looked}");
    }
    assert!(
        looked.stdout.contains("192.0.2.2") && !looked.stdout.contains("192.0.2.1\n"),
        "what it would say: {looked}"
    );
    assert_eq!(held(&world, &at), before);
    let renewed = run(&world, &at, &["--renew"]);
    assert!(renewed.stderr.contains("nothing changes but the time"), "{renewed}");
    // Nobody can be asked: what is held is not made up.
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let alone = world.ok([
        "publish",
        "--key",
        "alice.key",
        "--address",
        "192.0.2.3",
        "--dry-run",
        "--provider",
        &nobody,
    ]);
    assert!(alone.stderr.contains("what is held is not known"), "{alone}");
}

#[test]
fn two_laptops_that_publish_different_things_lose_neither() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    key(&world);
    publish(&world, &first, &["--address", "192.0.2.1", "--wait-visible-at", &second.url()]);
    // Both write at once, each at a provider of its own or at the same one, again and again.
    for round in 0..4_u16 {
        let writers = [&first, if round % 2 == 0 { &first } else { &second }].map(|at| at.url());
        let says = [format!("ssh:tcp:{}", 1_000 + round), format!("https:tcp:{}", 2_000 + round)];
        std::thread::scope(|scope| {
            let laptop = |number: usize| {
                let mut command = world.command();
                // Each remembers only what it published itself.
                command.env("DIALTONE_STATE", world.path(format!("laptop-{number}")));
                command.args(["publish", "--key", "alice.key", "--service", &says[number]]);
                command.args(["--provider", &writers[number]]);
                writers.iter().for_each(|seen| {
                    command.args(["--wait-visible-at", seen]);
                });
                scope.spawn(move || finish(&mut command))
            };
            let both = [laptop(0), laptop(1)];
            for writer in both {
                let ran = writer.join().unwrap();
                assert_eq!(ran.status, Some(0), "{ran}");
            }
        });
        if round % 2 == 0 {
            let ports: Vec<u64> = held(&world, &first)["bindings"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|binding| binding["port"].as_u64())
                .collect();
            let (ssh, https) = (u64::from(1_000 + round), u64::from(2_000 + round));
            assert!(ports.contains(&ssh) && ports.contains(&https), "round {round}: {ports:?}");
        }
    }
}

#[test]
fn what_somebody_else_wrote_is_shown_to_whoever_expected_something_else() {
    let world = World::new();
    let at = ProviderProcess::alone(&world);
    key(&world);
    let old = publish(&world, &at, &["--address", "192.0.2.1"]);
    let theirs = publish(&world, &at, &["--address", "192.0.2.2"]);
    let refused = run(
        &world,
        &at,
        &["--address", "192.0.2.3", "--if-match", old["rank"].as_str().unwrap()],
    );
    refused.failed(
        4,
        &[
            "--if-match",
            theirs["rank"].as_str().unwrap(),
            "    address  192.0.2.2",
            "dialtone resolve",
        ],
    );
    let now = theirs["rank"].as_str().unwrap();
    publish(&world, &at, &["--address", "192.0.2.3", "--if-match", now]);
}

#[test]
fn a_clock_that_went_back_does_not_silence_a_publisher() {
    let world = World::new();
    let at = ProviderProcess::alone(&world);
    key(&world);
    // As a laptop with a clock four minutes ahead left it.
    let signer = key_files::load_signer(&world.path("alice.key")).unwrap();
    let ahead = dialtone_shared::UnixMicros(clock::now_micros().0 + 240_000_000);
    let says = Says {
        bindings: vec![Binding::Address(Address::of([192, 0, 2, 1].into()))],
        ..Says::nothing()
    };
    let record = publish::sign(&signer, ahead, Vec::new(), says.body(ahead.secs())).unwrap();
    let account = Account {
        at: at.url().parse().unwrap(),
        token: None,
    };
    let put = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(async { Publisher::new(vec![account]).put(&record, PutIf::Absent).await.remove(0) });
    put.unwrap();
    publish(&world, &at, &["--address", "192.0.2.2"]);
    assert_eq!(held(&world, &at)["sequence"], ahead.0 + 1);
    assert_eq!(bindings(&world, &at), ["192.0.2.2"]);
}

#[test]
fn a_provider_that_shows_something_older_than_was_published_is_not_built_upon() {
    let world = World::new();
    let (stale, honest) = (
        ProviderProcess::unpeered(&world, "stale"),
        ProviderProcess::unpeered(&world, "honest"),
    );
    key(&world);
    publish(&world, &stale, &["--address", "192.0.2.1"]);
    publish(&world, &honest, &["--address", "192.0.2.1", "--service", "https:tcp:443"]);
    run(&world, &stale, &["--address", "192.0.2.2"]).failed(7, &["older than what this machine published", "--provider", "--replace"]);
    publish(&world, &stale, &["--replace", "--address", "192.0.2.2"]);
    assert_eq!(bindings(&world, &stale), ["192.0.2.2"]);
}

#[test]
fn a_record_s_scope_stays_unless_it_is_widened_and_narrowing_it_is_refused() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    let name = key(&world);
    publish(&world, &first, &["--address", "192.0.2.1", "--scope", &first.name()]);
    publish(&world, &first, &["--address", "192.0.2.2"]);
    assert_eq!(held(&world, &first)["scope"], serde_json::json!([first.name()]));
    publish(&world, &first, &["--everywhere", "--wait-visible-at", &second.url()]);
    assert_eq!(
        (held(&world, &second)["scope"].clone(), bindings(&world, &second)),
        (serde_json::json!([]), vec!["192.0.2.2".to_owned()])
    );
    run(&world, &first, &["--scope", &first.name(), "--address", "192.0.2.3"]).failed(4, &["scope"]);
    assert_eq!(bindings(&world, &first), ["192.0.2.2"], "{name}");
}

#[test]
fn of_several_providers_so_many_are_enough() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    key(&world);
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let at = ["--address", "192.0.2.1", "--provider", &nobody];
    let seen = ["--wait-visible-at", &second.url(), "--until-visible"].map(str::to_owned);
    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    assert_eq!(run(&world, &first, &at).status, Some(6), "without saying so, all are meant");
    let enough = publish(&world, &first, &[&at[..], &seen, &["2"]].concat());
    assert_eq!(enough["visible"].as_array().unwrap().len(), 2, "{enough}");
    let said = run(&world, &first, &[&at[..], &seen, &["2"]].concat());
    assert!(
        said.status == Some(0) && said.stderr.contains(&nobody),
        "who failed is said all the same: {said}"
    );
    run(&world, &first, &["--until-visible", "0"]).failed(3, &["--until-visible"]);
}

#[test]
fn a_zone_file_goes_in_and_comes_out() {
    let world = World::new();
    let at = ProviderProcess::alone(&world);
    let name = key(&world);
    world.write(
        "alice.zone",
        "$TTL 300\n@ A 192.0.2.1\nwww CNAME @\n@ MX 5 mail.example.org.\n@ TXT \"a;b\" \"c\"\n",
    );
    publish(&world, &at, &["--zone", "alice.zone", "--service", "https:tcp:443"]);
    let out = |at: &ProviderProcess| world.ok(["resolve", &name, "--zone", "--provider", &at.url()]).stdout;
    let zone = out(&at);
    assert!(
        zone.contains("@ 300 IN MX 5 mail.example.org.") && zone.contains("; service  https"),
        "{zone}"
    );
    let bound = |world: &World| held(world, &at)["bindings"].clone();
    let before = bound(&world);
    world.write("again.zone", &zone);
    publish(&world, &at, &["--replace", "--zone", "again.zone", "--service", "https:tcp:443"]);
    let sorted = |bindings: Value| {
        let mut bindings: Vec<String> = bindings.as_array().unwrap().iter().map(Value::to_string).collect();
        bindings.sort();
        bindings
    };
    assert_eq!(sorted(bound(&world)), sorted(before));
}

#[test]
fn a_lease_says_what_expires_when_and_at_whom_and_a_broken_promise_shows() {
    let world = World::new();
    let mut at = ProviderProcess::at_port(&world, "first", free_port());
    let other = ProviderProcess::unpeered(&world, "second");
    let name = key(&world);
    world.run(["lease"]).failed(5, &["no receipt"]);
    publish(&world, &at, &["--address", "192.0.2.1", "--provider", &other.url()]);
    let report = || world.run(["lease", "--json"]).json()["leases"].clone();
    let leases = report();
    assert_eq!(leases.as_array().unwrap().len(), 2, "{leases}");
    for lease in leases.as_array().unwrap() {
        assert_eq!((&lease["name"], &lease["standing"]), (&name.as_str().into(), &"kept".into()));
        assert!(lease["keep_until"].is_u64() && lease["expiry"].is_u64(), "{lease}");
    }
    let people = world.ok(["lease", &name]);
    assert!(people.stdout.contains(&format!("✓ {}  holds it", other.url())), "{people}");
    // The first comes back with its key and nothing else.
    at.stop();
    let key = std::fs::read(world.path("first/identity.key")).unwrap();
    std::fs::remove_dir_all(world.path("first")).unwrap();
    std::fs::create_dir(world.path("first")).unwrap();
    let path = world.write("first/identity.key", key);
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    at.run(&world);
    let broken = world.run(["lease"]);
    assert_eq!(broken.status, Some(7), "{broken}");
    assert!(
        broken.stdout.contains("BROKEN: holds nothing") && broken.stdout.contains("dialtone audit --receipt"),
        "{broken}"
    );
    let standing: Vec<Value> = report().as_array().unwrap().iter().map(|lease| lease["standing"].clone()).collect();
    assert!(
        standing.contains(&"broken".into()) && standing.contains(&"kept".into()),
        "{standing:?}"
    );
}

fn key(world: &World) -> String {
    world.ok(["key", "new", "alice.key"]).stdout.trim().to_owned()
}

fn run(world: &World, at: &ProviderProcess, says: &[&str]) -> crate::support::Ran {
    let at = at.url();
    world.run([&["publish", "--key", "alice.key", "--provider", &at][..], says].concat())
}

fn publish(world: &World, at: &ProviderProcess, says: &[&str]) -> Value {
    let ran = run(world, at, &[says, &["--json"]].concat());
    assert_eq!(ran.status, Some(0), "{ran}");
    ran.json()
}

/// What the provider itself holds, whatever a stub would believe.
fn held(world: &World, at: &ProviderProcess) -> Value {
    let name = world.ok(["key", "show", "alice.pub", "--json"]).json()["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let url = format!("{}/v1/records/{name}", at.url());
    let body = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let http = dialtone_resolver::io::http::HttpClient::new();
        let accept = [("accept", "application/json")];
        let patience = std::time::Duration::from_secs(60);
        let answer = http
            .ask(hyper::Method::GET, &url, &accept, bytes::Bytes::new(), patience)
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
        answer.body
    });
    serde_json::from_slice(&body).unwrap()
}

/// The bindings there, each by what tells it apart.
fn bindings(world: &World, at: &ProviderProcess) -> Vec<String> {
    let bindings = held(world, at)["bindings"].as_array().unwrap().clone();
    let word = |binding: &Value| {
        ["ip", "label", "owner"]
            .iter()
            .find_map(|field| Some(binding[field].as_str()?.to_owned()))
    };
    bindings.iter().filter_map(word).collect()
}
