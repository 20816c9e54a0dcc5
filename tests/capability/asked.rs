//! `dialtone dns top` and `dialtone dns flush`: what a frontend that runs is asked most, and having it forget.

use crate::support::{ProviderProcess, Running, Tool, World};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The address of the frontend that says where it listens.
fn port_of(frontend: &mut Running) -> String {
    let start: Value = serde_json::from_str(&frontend.line("{")).expect("one JSON object");
    let at = start["dns"][0].as_str().expect("an address").to_owned();
    at.rsplit_once(':').expect("host:port").1.to_owned()
}

#[test]
fn what_a_frontend_is_asked_most_is_shown_with_networks_for_clients_and_only_of_the_one_that_is_meant() {
    let Some(dig) = Tool::find("dig") else { return };
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    world
        .run(["dns", "top", "--once"])
        .failed(9, &["no frontend answers there", "--state", "--data"]);
    let settings = format!(
        "listen = ['127.0.0.1:0']
providers = ['{}']
state = 'state'
",
        provider.url()
    );
    world.write("dns.toml", settings);
    let own = ["dns", "--config", "dns.toml", "--json"];
    let mut frontend = Running::start(&world, &own);
    let at_own = port_of(&mut frontend);
    let (_, at_provider) = provider.dns();
    let data = provider.said("/data").as_str().expect("a folder").to_owned();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for (port, domain) in [
                    (&at_own, "dialtone.alt"),
                    (&at_own, "Example.com"),
                    (&at_own, "example.com"),
                    (&at_provider, "example.net"),
                ] {
                    dig.run(["@127.0.0.1", "-p", port, domain, "SOA"]);
                }
            }
        });
        let ask = |which: [&str; 2]| {
            let words = ["dns", "top", "--once", "--seconds", "1", "--json"];
            world.ok(words.iter().chain(&which)).json()
        };
        let (own, its) = (ask(["--state", "state"]), ask(["--data", &data]));
        let shown = world
            .ok(["dns", "top", "--once", "--seconds", "1", "--rows", "1", "--state", "state"])
            .stdout;
        over.store(true, Ordering::Relaxed);
        let counted = |top: &Value, nth: usize| top["names"][nth][2].as_u64().expect("a count");
        assert_eq!(own["names"][0][0], "example.com", "{own}");
        assert_eq!(own["names"][0][1], "SOA");
        assert_eq!(own["names"][1][0], "dialtone.alt");
        assert!(counted(&own, 0) > counted(&own, 1), "asked twice as often: {own}");
        assert_eq!(own["clients"][0][0], "127.0.0.0/24");
        assert_eq!(own["transports"][0][0], "udp");
        assert_eq!(own["rcodes"][1][0], "REFUSED", "{own}");
        assert_eq!(its["names"][0][0], "example.net", "{its}");
        assert!(its["names"].as_array().is_some_and(|names| names.len() == 1), "{its}");
        assert!(
            shown.contains("example.com") && !shown.contains("dialtone.alt") && shown.contains("127.0.0.0/24"),
            "{shown}"
        );
    });
    // A second one with the same state folder leaves the first one's socket alone.
    let mut second = Running::start(&world, &own);
    port_of(&mut second);
    second.said("another frontend runs with this state folder");
    assert_eq!(second.signal("TERM").code(), Some(0));
    world.ok(["dns", "top", "--once", "--seconds", "1", "--state", "state"]);
    // Who names the settings that it runs with means it too.
    world.ok(["dns", "top", "--once", "--seconds", "1", "--config", "dns.toml"]);
    world.ok(["dns", "flush", "example.com", "--config", "dns.toml"]);
    assert_eq!(frontend.signal("TERM").code(), Some(0));
    assert!(!world.path("state/dns.sock").exists());
}

#[test]
fn what_is_flushed_is_asked_for_anew_and_nothing_else_is() {
    let Some(dig) = Tool::find("dig") else { return };
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    let (_, upstream) = provider.dns();
    let name = world.ok(["key", "new", "site.key"]).stdout.trim().to_owned();
    let publish = |address: &str| {
        let words = [
            "publish",
            "--key",
            "site.key",
            "--provider",
            &provider.url(),
            "--replace",
            "--address",
            address,
        ];
        world.ok(words)
    };
    publish("192.0.2.1");
    // Another frontend's origin is a legacy name here, so that its answers come from upstream.
    let forward = format!("127.0.0.1:{upstream}");
    let settings = format!(
        "listen = ['127.0.0.1:0']
providers = ['{}']
state = 'state'
origin = 'names.test'
forward = ['{forward}']
",
        provider.url()
    );
    world.write("dns.toml", settings);
    let mut frontend = Running::start(&world, &["dns", "--config", "dns.toml", "--json"]);
    let port = port_of(&mut frontend);
    let ask = |domain: &str| dig.run(["@127.0.0.1", "-p", &port, "+short", domain, "A"]).stdout.trim().to_owned();
    let (legacy, own) = (format!("{name}.dialtone.example"), format!("{name}.names.test"));
    assert_eq!(ask(&own), "192.0.2.1");
    ask(&legacy);
    let flush = |what: &[&str]| {
        let words = ["dns", "flush", "--state", "state", "--json"];
        world.ok(words.iter().chain(what)).json()
    };
    assert_eq!(flush(&["elsewhere.example", "--below"])["upstream"], 0);
    let told = flush(&["dialtone.example", "--below"]);
    assert_eq!((&told["upstream"], &told["name"]), (&1.into(), &Value::Null), "{told}");
    let told = flush(&[&name]);
    assert_eq!(
        (&told["domain"], &told["name"]),
        (&own.as_str().into(), &name.as_str().into()),
        "{told}"
    );
    assert_eq!(ask(&own), "192.0.2.1");
    assert!(
        world
            .ok(["dns", "flush", ".", "--below", "--state", "state"])
            .stdout
            .contains("forgotten")
    );
    assert_eq!(ask(&own), "192.0.2.1");
    world.run(["dns", "flush", "no..name", "--state", "state"]).failed(3, &["no..name"]);
    assert_eq!(frontend.signal("TERM").code(), Some(0));
}
