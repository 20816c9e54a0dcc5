//! A name that is kept: it follows its machine, outlives its own expiry, and is there again wherever it was lost.

use crate::support::{ProviderProcess, Running, World, free_port};
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_host_that_moves_is_followed_at_every_provider_and_what_else_is_said_stays() {
    let world = World::new();
    let (first, second) = (
        ProviderProcess::unpeered(&world, "first"),
        ProviderProcess::unpeered(&world, "second"),
    );
    let name = key(&world);
    world.ok([
        "publish",
        "--key",
        "alice.key",
        "--service",
        "https:tcp:443",
        "--provider",
        &first.url(),
    ]);
    world.write("here", "192.0.2.1\n");
    let at = [first.url(), second.url()];
    let mut keeper = keep(&world, &at, &["--follow", "file:here", "--dns", "@ 60 TXT \"kept\""]);
    keeper.line(&format!("kept     by {}", at[0]));
    for at in [&first, &second] {
        until(&world, &name, at, "192.0.2.1");
    }
    for here in ["192.0.2.2,region=eu # the train", "2001:db8::3"] {
        fs::write(world.path("here"), here).unwrap();
        let ip = here.split([',', ' ']).next().unwrap();
        for at in [&first, &second] {
            let held = until(&world, &name, at, ip);
            assert_eq!(kinds(&held), ["address", "dns", "service"], "{held}");
        }
    }
    // Between two networks it has not moved to nowhere.
    fs::write(world.path("here"), "").unwrap();
    keeper.said("where this machine is is not known: there is no address");
    fs::remove_file(world.path("here")).unwrap();
    keeper.said("No such file");
    assert_eq!(addresses(&held(&world, &name, &first)), ["2001:db8::3"]);
    fs::write(world.path("here"), "192.0.2.4").unwrap();
    until(&world, &name, &second, "192.0.2.4");
    let ended = keeper.signal("TERM");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(addresses(&held(&world, &name, &first)), ["192.0.2.4"], "it stays until it expires");
}

#[test]
fn a_kept_record_is_signed_anew_before_it_expires() {
    let world = World::new();
    let at = ProviderProcess::alone(&world);
    let name = key(&world);
    let mut keeper = keep(&world, &[at.url()], &["--address", "192.0.2.1", "--expires", "6s", "--json"]);
    let kept: Vec<Value> = (0..3).map(|_| serde_json::from_str(&keeper.line("{")).unwrap()).collect();
    assert!(
        kept.is_sorted_by(|one, other| one["expiry"].as_u64() < other["expiry"].as_u64()),
        "{kept:?}"
    );
    assert_eq!(kept[2]["changes"]["kept"][0]["ip"], "192.0.2.1");
    // Somebody else's change of something else is kept alive, too.
    world.ok([
        "publish",
        "--key",
        "alice.key",
        "--service",
        "https:tcp:443",
        "--provider",
        &at.url(),
    ]);
    let deadline = Instant::now() + PATIENCE;
    while kinds(&held(&world, &name, &at)) != ["address", "service"] {
        assert!(Instant::now() < deadline, "{}", keeper.stderr());
    }
    let kept: Vec<Value> = (0..2)
        .map(|_| serde_json::from_str(&keeper.line("\"label\":\"https\"")).unwrap())
        .collect();
    assert!(kept[0]["expiry"].as_u64() < kept[1]["expiry"].as_u64(), "{kept:?}");
}

#[test]
fn a_provider_that_is_not_there_yet_or_comes_back_with_nothing_gets_the_record() {
    let world = World::new();
    let name = key(&world);
    let port = free_port();
    let mut keeper = keep(&world, &[format!("http://127.0.0.1:{port}")], &["--address", "192.0.2.1"]);
    keeper.said("error: ");
    let mut at = ProviderProcess::at_port(&world, "late", port);
    keeper.line("kept     by ");
    until(&world, &name, &at, "192.0.2.1");
    at.kill();
    fs::remove_dir_all(world.path("late")).unwrap();
    at.run(&world);
    until(&world, &name, &at, "192.0.2.1");
    keeper.said("put again at");
    assert_eq!(keeper.signal("INT").code(), Some(0));
}

#[test]
fn a_keeper_that_starts_again_goes_on_where_the_last_one_was() {
    let world = World::new();
    let at = ProviderProcess::alone(&world);
    let name = key(&world);
    world.write("here", "192.0.2.1");
    let follow = ["--add", "--follow", "file:here"];
    let mut keeper = keep(&world, &[at.url()], &follow);
    keeper.line("kept");
    keeper.signal("KILL");
    // By another hand meanwhile; and it adds to that, and takes away only what it added.
    world.ok([
        "publish",
        "--key",
        "alice.key",
        "--add",
        "--address",
        "203.0.113.9",
        "--provider",
        &at.url(),
    ]);
    let mut keeper = keep(&world, &[at.url()], &follow);
    keeper.line("kept");
    fs::write(world.path("here"), "192.0.2.2").unwrap();
    let held = until(&world, &name, &at, "192.0.2.2");
    assert_eq!(addresses(&held), ["203.0.113.9", "192.0.2.2"]);
}

#[test]
fn two_keepers_of_one_name_do_not_take_it_from_each_other_in_turns() {
    let world = World::new();
    let at = ProviderProcess::alone(&world);
    let name = key(&world);
    world.write("one", "192.0.2.1");
    world.write("two", "192.0.2.2");
    let mut one = keep(&world, &[at.url()], &["--follow", "file:one", "--expires", "8s"]);
    one.line("kept");
    let mut two = keep(&world, &[at.url()], &["--follow", "file:two", "--expires", "90d"]);
    two.line("kept");
    one.said("somebody else changed the addresses");
    assert_eq!(addresses(&held(&world, &name, &at)), ["192.0.2.2"]);
    // Whoever moves says so.
    fs::write(world.path("one"), "192.0.2.11").unwrap();
    until(&world, &name, &at, "192.0.2.11");
}

#[test]
fn a_keeper_whose_key_was_rotated_away_ends() {
    let world = World::new();
    let at = ProviderProcess::alone(&world);
    key(&world);
    let mut keeper = keep(&world, &[at.url()], &["--address", "192.0.2.1", "--expires", "6s"]);
    keeper.line("kept");
    world.ok(["key", "rotate", "alice.key", "--republish", "--provider", &at.url()]);
    assert_eq!(keeper.wait().code(), Some(4), "{}", keeper.stderr());
    assert!(keeper.stderr().contains("rotated"), "{}", keeper.stderr());
}

fn key(world: &World) -> String {
    world.ok(["key", "new", "alice.key"]).stdout.trim().to_owned()
}

fn keep(world: &World, at: &[String], says: &[&str]) -> Running {
    let mut args = vec!["publish", "--key", "alice.key", "--keep"];
    at.iter().for_each(|at| args.extend(["--provider", at]));
    args.extend(says);
    Running::start(world, &args)
}

/// Waits until the provider serves this as the name's last address.
fn until(world: &World, name: &str, at: &ProviderProcess, ip: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let held = held(world, name, at);
        if addresses(&held).last().is_some_and(|last| last == ip) {
            return held;
        }
        assert!(Instant::now() < deadline, "{ip} is not at {}: {held}", at.url());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the provider itself serves; null for nothing.
fn held(world: &World, name: &str, at: &ProviderProcess) -> Value {
    let fresh = world.path("fresh");
    let mut command = world.command();
    // Whatever was seen elsewhere.
    command
        .env("DIALTONE_STATE", &fresh)
        .args(["resolve", name, "--json", "--provider", &at.url()]);
    let _ = fs::remove_dir_all(&fresh);
    let found = crate::support::finish(&mut command);
    match found.status {
        Some(0) => found.json()["tree"]["record"].clone(),
        _ => Value::Null,
    }
}

fn addresses(held: &Value) -> Vec<String> {
    let bindings = held["bindings"].as_array().into_iter().flatten();
    bindings.filter_map(|binding| Some(binding["ip"].as_str()?.to_owned())).collect()
}

fn kinds(held: &Value) -> Vec<&str> {
    let bindings = held["bindings"].as_array().into_iter().flatten();
    let mut kinds: Vec<&str> = bindings.filter_map(|binding| binding["kind"].as_str()).collect();
    kinds.sort_unstable();
    kinds
}

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
