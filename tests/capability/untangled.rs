//! A link that says neither where nor who: it goes on leading there, whatever changes behind it.

use crate::support::{ProviderProcess, World};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn a_link_survives_a_change_of_host_path_key_and_provider() {
    let world = World::new();
    let (mut first, second) = ProviderProcess::peered(&world);
    let key = |file: &str| world.ok(["key", "new", file, "--chain", "2"]).stdout.trim().to_owned();
    let (link, host, other) = (key("page.key"), key("host.key"), key("other.key"));
    let publish = |at: &ProviderProcess, key: &str, says: &[&str]| {
        world.ok([&["publish", "--key", key, "--ttl", "1s", "--provider", &at.url()][..], says].concat());
    };
    let leads_to = |parts: &[&str]| {
        let began = Instant::now();
        loop {
            let found = world.run(["resolve", &link, "--provider", &second.url()]);
            if found.status == Some(0) && parts.iter().all(|part| found.stdout.contains(part)) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "should lead to {parts:?}: {found}");
            sleep(Duration::from_millis(50));
        }
    };
    let on = |host: &str| format!("https:tcp:443,target={host}");
    publish(&first, "host.key", &["--address", "192.0.2.1"]);
    publish(&first, "other.key", &["--address", "198.51.100.9"]);
    publish(
        &first,
        "page.key",
        &["--service", &on(&host), "--opaque", "text/x-path:/2026/report"],
    );
    leads_to(&["192.0.2.1:443", "/2026/report"]);

    publish(&first, "host.key", &["--address", "192.0.2.2"]);
    leads_to(&["192.0.2.2:443", "/2026/report"]);
    publish(&first, "page.key", &["--service", &on(&other)]);
    leads_to(&["198.51.100.9:443", "/2026/report"]);
    publish(&first, "page.key", &["--opaque", "text/x-path:/archive/report"]);
    leads_to(&["198.51.100.9:443", "/archive/report"]);
    world.ok(["key", "rotate", "page.key", "--republish", "--provider", &first.url()]);
    publish(&first, "page.key", &["--opaque", "text/x-path:/signed/anew"]);
    leads_to(&["198.51.100.9:443", "/signed/anew"]);
    first.kill();
    publish(&second, "page.key", &["--opaque", "text/x-path:/elsewhere"]);
    leads_to(&["198.51.100.9:443", "/elsewhere"]);
}
