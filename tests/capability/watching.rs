//! What becomes of names is told as it happens, and nothing is missed while the provider is away.

use crate::support::{ProviderProcess, Running, World};
use serde_json::Value;

#[test]
fn a_change_put_at_one_provider_is_told_to_who_watches_at_the_other() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    let name = world.ok(["key", "new", "alice.key"]).stdout.trim().to_owned();
    let mut watch = Running::start(&world, &["watch", &name, "--json", "--provider", &second.url()]);
    assert_eq!(told(&mut watch)["event"], "absent");
    assert_eq!(told(&mut watch)["event"], "current");
    for ip in ["192.0.2.1", "192.0.2.2"] {
        world.ok(["publish", "--key", "alice.key", "--address", ip, "--provider", &first.url()]);
        let put = news(&mut watch);
        assert_eq!(
            (&put["event"], &put["record"]["bindings"][0]["ip"]),
            (&"put".into(), &ip.into()),
            "{put}"
        );
        assert_eq!(put["record"]["verified"], true);
    }
    world.ok(["key", "revoke", "alice.key", "--yes", "--provider", &first.url()]);
    assert_eq!(news(&mut watch)["event"], "revoke");
    let once = world.ok(["watch", &name, "--once", "--provider", &first.url()]).stdout;
    assert!(once.contains("revoke") && once.contains("this is all"), "{once}");
    assert_eq!(watch.signal("INT").code(), Some(0));
}

#[test]
fn what_changed_while_the_provider_was_away_is_told_when_it_is_back() {
    let world = World::new();
    let settings =
        |port: u16| format!("http.listen = ['127.0.0.1:{port}']\ndns.listen = ['127.0.0.1:0']\npeering.listen = '127.0.0.1:0'\n");
    let mut provider = ProviderProcess::start(&world, "moved", &settings(0));
    // It comes back on the port that it had, as a service does.
    let port = provider.url().rsplit(':').next().unwrap().parse().unwrap();
    world.write("moved.toml", format!("data = 'moved'\n{}", settings(port)));
    let name = world.ok(["key", "new", "alice.key"]).stdout.trim().to_owned();
    world.ok([
        "publish",
        "--key",
        "alice.key",
        "--address",
        "192.0.2.1",
        "--provider",
        &provider.url(),
    ]);
    let mut watch = Running::start(&world, &["watch", &name, "--json", "--provider", &provider.url()]);
    assert_eq!(told(&mut watch)["event"], "put");
    assert_eq!(told(&mut watch)["event"], "current");
    provider.stop();
    assert_eq!(told(&mut watch)["event"], "lost");
    provider.run(&world);
    world.ok([
        "publish",
        "--key",
        "alice.key",
        "--address",
        "192.0.2.2",
        "--provider",
        &provider.url(),
    ]);
    loop {
        let event = told(&mut watch);
        match event["event"].as_str().unwrap() {
            "put" => {
                assert_eq!(event["record"]["bindings"][0]["ip"], "192.0.2.2", "what is known is not told again");
                break;
            }
            "current" | "lost" => {}
            other => panic!("{other}: {event}"),
        }
    }
}

#[test]
fn what_cannot_be_watched_is_told_so() {
    let world = World::new();
    world.run(["watch"]).failed(2, &[]);
    world.run(["watch", "x", "--provider", "http://127.0.0.1:1"]).failed(3, &["x"]);
}

/// The next that was told of a name.
fn news(watch: &mut Running) -> Value {
    loop {
        let told = told(watch);
        // Said again whenever a link of the provider falls behind or has caught up.
        if told["event"] != "current" {
            return told;
        }
    }
}

/// The next that was told.
fn told(watch: &mut Running) -> Value {
    serde_json::from_str(&watch.line("{")).expect("one JSON object a line")
}
