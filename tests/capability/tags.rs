//! The Host Identity Protocol's side of a name: found by the tag of its key, and shown in DNS.

use crate::support::{ProviderProcess, Ran, Running, Tool, World};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn a_name_is_found_by_the_tag_of_its_key_at_a_provider_that_it_was_not_put_at() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    world.ok(["key", "new", "alice.key"]);
    let shown = world.ok(["key", "show", "alice.key", "--json"]).json();
    let (name, hit) = (shown["name"].as_str().unwrap(), shown["hit"].as_str().unwrap());
    assert!(hit.starts_with("2001:25:"), "{shown}");
    assert!(world.ok(["key", "show", "alice.key"]).stdout.contains(hit));
    let asked = ["resolve", hit, "--json", "--provider", &second.url()];
    publish(&world, "192.0.2.7", &first, &second);
    let found = world.ok(asked).json();
    assert_eq!((&found["name"], &found["endpoints"][0]["ip"]), (&name.into(), &"192.0.2.7".into()));

    // The tag is the key's: the next key has another, and the old one leads nowhere.
    world.ok([
        "key",
        "rotate",
        "alice.key",
        "--republish",
        "--provider",
        &first.url(),
        "--wait-visible-at",
        &second.url(),
    ]);
    let after = world.ok(["key", "show", "alice.key", "--json"]).json();
    let next = after["hit"].as_str().unwrap();
    assert_ne!(next, hit);
    until(|| world.run(asked), |ran| ran.status != Some(10)).failed(5, &[hit]);
    let found = world.ok(["resolve", next, "--json", "--provider", &second.url()]).json();
    assert_eq!(found["name"], name);
    world
        .run(["resolve", "2001:db8::1", "--provider", &second.url()])
        .failed(3, &["Host Identity Tag"]);
}

#[test]
fn dig_finds_the_host_identity_of_a_name_and_the_name_of_a_tag() {
    let Some(dig) = Tool::find("dig") else { return };
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    world.ok(["key", "new", "alice.key"]);
    let shown = world.ok(["key", "show", "alice.key", "--json"]).json();
    let (name, hit) = (shown["name"].as_str().unwrap(), shown["hit"].as_str().unwrap());
    let frontend = Running::start(&world, &["dns", "--listen", "127.0.0.1:0", "--provider", &second.url(), "--json"]);
    let mut frontend = frontend;
    let listens: serde_json::Value = serde_json::from_str(&frontend.line("{")).unwrap();
    let alone = listens["dns"][0].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let ports = [second.dns().1, alone];
    for port in &ports {
        // Until the link stands and all has come over it, nothing is said to be absent.
        let said = until(
            || dig.run(["@127.0.0.1", "-p", port, "-x", hit]),
            |said| !said.stdout.contains("SERVFAIL"),
        );
        assert!(said.stdout.contains("NXDOMAIN") && said.stdout.contains("SOA"), "{said}");
    }
    publish(&world, "192.0.2.7", &first, &second);
    let key = shown["key"].as_str().unwrap().to_uppercase();
    for port in &ports {
        let said = dig.run(["@127.0.0.1", "-p", port, "+short", "-x", hit]).stdout;
        assert_eq!(said.trim(), format!("{name}.dialtone.alt."));
        // HIP in the form of RFC 3597: length of the tag, algorithm, length of the key, tag, key.
        let said = dig
            .run(["@127.0.0.1", "-p", port, "+short", "+unknownformat", said.trim(), "TYPE55"])
            .stdout;
        assert!(said.contains("\\# 52 10040020") && said.replace(' ', "").contains(&key), "{said}");
        let said = dig.run(["@127.0.0.1", "-p", port, "-t", "HIP", "-x", hit]).stdout;
        let words: Vec<&str> = said.split_whitespace().collect();
        assert!(
            words
                .windows(3)
                .any(|three| three[..2] == ["HIP", "4"] && three[2].starts_with("20010025")),
            "{said}"
        );
    }
}

/// Does it again until it comes out so, for a minute at most.
fn until(run: impl Fn() -> Ran, done: impl Fn(&Ran) -> bool) -> Ran {
    let began = Instant::now();
    loop {
        let ran = run();
        if done(&ran) || began.elapsed() > Duration::from_secs(60) {
            return ran;
        }
        sleep(Duration::from_millis(50));
    }
}

fn publish(world: &World, address: &str, at: &ProviderProcess, visible_at: &ProviderProcess) {
    world.ok([
        "publish",
        "--key",
        "alice.key",
        "--address",
        address,
        "--provider",
        &at.url(),
        "--wait-visible-at",
        &visible_at.url(),
    ]);
}
