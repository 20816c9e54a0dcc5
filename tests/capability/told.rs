//! What an operator is told: of which provider, from wherever it is asked, and what helps.

use crate::support::{ProviderProcess, World};
use serde_json::Value;
use std::time::{Duration, Instant};

/// What the command prints once `is` of it.
fn eventually(world: &World, args: &[&str], is: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let ran = world.run(args);
        if is(&ran.stdout) {
            return ran.stdout;
        }
        assert!(Instant::now() < deadline, "{args:?}: {ran}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn peered(world: &World, terms: &[&str]) -> (ProviderProcess, ProviderProcess) {
    let (ada, bob) = (ProviderProcess::unpeered(world, "ada"), ProviderProcess::unpeered(world, "bob"));
    let line = world.ok([&["peer", "invite", "--data", "ada"], terms].concat()).stdout;
    let reply = world.ok(["peer", "accept", "--data", "bob", line.trim()]).stdout;
    // Bob dials Ada, who has not heard of him yet, and is told so.
    eventually(world, &["peer", "list", "--data", "bob"], |said| said.contains("no agreement with"));
    world.ok(["peer", "accept", "--data", "ada", reply.trim()]);
    (ada, bob)
}

#[test]
fn a_settings_file_means_the_same_wherever_it_is_read() {
    let world = World::new();
    std::fs::create_dir_all(world.path("a/keys")).expect("a folder");
    let name = world.ok(["key", "new", "a/keys/mine.key", "--chain", "0"]).stdout.trim().to_owned();
    // One that says where its key and its data are, one that lies in its data folder, one that leaves out where its data are.
    world.write("a/provider.toml", "data = 'd'\nidentity.key = 'keys/mine.key'\n");
    let made = world.ok(["peer", "invite", "--data", "b", "--unreachable"]).stderr;
    assert!(
        made.contains("made") && made.contains("b/identity.key"),
        "nobody becomes a provider without being told: {made}"
    );
    assert_eq!(
        world.ok(["peer", "invite", "--data", "b", "--unreachable"]).stderr,
        "",
        "it is there now"
    );
    world.write("b/provider.toml", "");
    world.ok(["peer", "invite", "--data", "c/dialtone-data", "--unreachable"]);
    world.write("c/mine.toml", "");
    let files = ["a/provider.toml", "b/provider.toml", "c/mine.toml"];
    let args = files.map(|file| format!("--settings={file}"));
    let found = world.run([&["doctor".to_owned()], &args[..]].concat());
    assert!(found.stdout.contains(&name), "{found}");
    assert!(found.stderr.is_empty(), "all of their names are known: {found}");
    let elsewhere = world.path("a/keys");
    let found = crate::support::finish(
        world
            .command()
            .current_dir(elsewhere)
            .args(["doctor", "--settings", "../provider.toml"]),
    );
    assert!(found.stdout.contains("resolves at all of them"), "{found}");
    let said = world.ok(["check-config", "a/provider.toml"]).stdout;
    assert!(said.contains("data in a/d"), "{said}");
    world
        .run(["doctor", "--settings", "a=a/provider.toml"])
        .failed(3, &["`a` is not a name"]);
}

#[test]
fn the_doctor_says_of_which_provider_it_speaks_and_what_helps() {
    let world = World::new();
    let (ada, bob) = (ProviderProcess::unpeered(&world, "ada"), ProviderProcess::unpeered(&world, "bob"));
    let own = world.ok(["doctor", "--provider", &ada.url(), "--data", "ada"]).stdout;
    assert!(
        own.contains(&format!("data folder ada: it is that of {}, named above", ada.name())),
        "{own}"
    );
    world.ok(["peer", "add", &format!("{}@{}", bob.name(), bob.peering()), "--data", "ada"]);
    let asked = ["doctor", "--provider", &bob.url(), "--data", "ada"];
    let said = eventually(&world, &asked, |said| said.contains("no agreement with"));
    assert!(
        said.contains(&format!("that of {}, which is another provider", ada.name())),
        "{said}"
    );
    assert!(
        said.contains(&format!("data folder ada: peer {}: no link stands", bob.name())),
        "{said}"
    );
    let remedy = format!("dialtone peer add {}@{}", ada.name(), ada.peering());
    assert!(said.contains(&remedy), "{said}");
    // The remedy is one.
    world.ok(["peer", "add", &format!("{}@{}", ada.name(), ada.peering()), "--data", "bob"]);
    eventually(&world, &asked, |said| said.contains("each carries names both ways"));
    // An address at which nobody is, and none at all, call for something else.
    world.ok(["peer", "add", &bob.name(), "--relationship", "customer", "--data", "ada"]);
    let said = eventually(&world, &asked, |said| said.contains("contradict"));
    assert!(said.contains("--relationship WHAT"), "{said}");
    // Whichever of the two says it first.
    let both = ["says customer of", "says mutual of"];
    let turns = ["say upstream, or the second mutual", "say mutual, or the second upstream"];
    assert!(
        both.iter().any(|part| said.contains(part)) && turns.iter().any(|part| said.contains(part)),
        "{said}"
    );
}

#[test]
fn a_list_of_peers_says_only_what_somebody_should_look_at() {
    let world = World::new();
    let (_ada, bob) = peered(&world, &["--push", "pointers"]);
    world.ok(["peer", "add", &bob.name(), "--push", "digest", "--data", "ada"]);
    let well = |said: &str| said.contains("digest") && said.contains(" up ") && said.lines().count() == 2;
    for data in ["ada", "bob"] {
        let said = eventually(&world, &["peer", "list", "--data", data], well);
        assert!(!said.contains("(!)") && !said.contains("closed the link"), "{said}");
    }
    world.ok(["peer", "add", &bob.name(), "--push", "none", "--data", "ada"]);
    eventually(&world, &["peer", "list", "--data", "bob"], |said| {
        said.contains("none (!)") && said.contains("it would push none, we accept pointers")
    });
}

#[test]
fn a_trace_names_each_provider_once() {
    let world = World::new();
    let (ada, _bob) = peered(&world, &["--push", "pointers"]);
    let name = world.ok(["key", "new", "k.key"]).stdout.trim().to_owned();
    world.ok(["publish", "--key", "k.key", "--address", "192.0.2.1", "--provider", &ada.url()]);
    let trace = ["peer", "trace", &name, "--data", "bob"];
    let said = eventually(&world, &trace, |said| said.contains("kept "));
    assert!(said.starts_with("told "), "nothing is held, so it is not newer: {said}");
    assert_eq!(said.matches(&ada.name()).count(), 1, "{said}");
    let json: Value = world.ok([&trace[..], &["--json"]].concat()).json();
    assert_eq!((&json["pointer"]["keeper"], &json["held"]), (&ada.name().into(), &Value::Null));
    let said = world.ok(["peer", "trace", &name, "--data", "ada"]).stdout;
    assert!(said.contains("put here") && !said.contains("two sides"), "{said}");
}
