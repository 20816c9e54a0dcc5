//! A frontend of one's own keeps what it has live: it watches what it holds, so a change is answered at once, however long the TTL.

use crate::support::{ProviderProcess, Running, Tool, World};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn a_change_is_answered_long_before_the_ttl_of_what_it_replaces_has_ended() {
    let Some(dig) = Tool::find("dig") else { return };
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    let name = world.ok(["key", "new", "alice.key"]).stdout.trim().to_owned();
    let mut frontend = Running::start(&world, &["dns", "--listen", "127.0.0.1:0", "--provider", &provider.url(), "--json"]);
    let start: serde_json::Value = serde_json::from_str(&frontend.line("{")).expect("one JSON object");
    let port = start["dns"][0]
        .as_str()
        .expect("an address")
        .rsplit_once(':')
        .expect("a port")
        .1
        .to_owned();
    let domain = format!("{name}.dialtone.alt");
    let asked = || {
        dig.run(["@127.0.0.1", "-p", &port, "+short", &domain, "A"])
            .stdout
            .trim()
            .to_owned()
    };
    // An hour: without being told nobody would ask again in time.
    publish(&world, &provider, "192.0.2.1");
    assert_eq!(asked(), "192.0.2.1");
    // It is watched a moment after it was first asked for; a change before that is told as what is true then.
    for round in 2..5 {
        let address = format!("192.0.2.{round}");
        publish(&world, &provider, &address);
        until(|| asked() == address);
    }
    world.ok(["unpublish", "--key", "alice.key", "--provider", &provider.url()]);
    until(|| asked().is_empty());
}

fn publish(world: &World, at: &ProviderProcess, address: &str) {
    let args = ["--address", address, "--ttl", "3600", "--provider", &at.url()];
    world.ok([&["publish", "--key", "alice.key"][..], &args[..]].concat());
}

/// Waits until it is so, for a minute.
fn until(mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(60), "it did not come about");
        sleep(Duration::from_millis(20));
    }
}
