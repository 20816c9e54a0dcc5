//! Legacy domains on flat names: a map that covers a zone, and links that owners set.

use crate::support::{ProviderProcess, Running, Tool, World};
use serde_json::Value;

fn frontend(world: &World, provider: &ProviderProcess, more: &[&str]) -> (Running, String) {
    let url = provider.url();
    let fixed = ["dns", "--listen", "127.0.0.1:0", "--provider", &url, "--json"];
    let mut running = Running::start(world, &[&fixed[..], more].concat());
    let start: Value = serde_json::from_str(&running.line("{")).expect("one JSON object");
    (running, start["dns"][0].as_str().expect("an address").to_owned())
}

#[test]
fn a_zone_is_published_mapped_linked_and_found_by_way_of_the_link() {
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    let name = world.ok(["key", "new", "site.key"]).stdout.trim().to_owned();
    let other = world.ok(["key", "new", "other.key"]).stdout.trim().to_owned();
    let printed = world.ok(["link", "example.com", &name, "--print-only"]).stdout;
    assert_eq!(printed.trim(), format!("_dialtone.example.com. 3600 IN TXT \"dialtone={name}\""));
    let zone = format!("@ 60 A 192.0.2.1\nwww 60 A 192.0.2.2\n*.x 60 A 192.0.2.9\n_dialtone 60 TXT \"dialtone={name}\"\n");
    let zone = world.write("zone", zone);
    let zone = zone.to_str().expect("text");
    world.ok(["publish", "--key", "site.key", "--provider", &provider.url(), "--zone", zone]);

    // Who has the zone in a map is the authority for it here; who follows links asks there.
    world.ok(["alias", ".example.com", &name]);
    assert!(world.ok(["alias", "--list"]).stdout.contains(".example.com"));
    let (_mapped, at) = frontend(&world, &provider, &[]);
    let empty = world.write("no-map", "");
    let (_linked, by_link) = frontend(
        &world,
        &provider,
        &["--map", empty.to_str().expect("text"), "--forward", &at, "--links", "any"],
    );

    let there = world.ok(["link", "Example.com.", &name, "--resolver", &at]).stdout;
    assert!(there.contains("it is there, and not signed"), "{there}");
    assert_eq!(
        world.ok(["link", "example.com", &name, "--resolver", &at, "--json"]).json()["there"],
        true
    );
    let ran = world.run(["link", "example.com", &other, "--resolver", &at]);
    assert!(
        ran.status == Some(7) && ran.stderr.contains(&name) && ran.stderr.contains("add to the zone"),
        "{ran}"
    );
    let ran = world.run(["link", "www.example.com", &name, "--resolver", &at]);
    assert!(ran.status == Some(5) && ran.stderr.contains("not there yet"), "{ran}");
    world.run(["link", "com", &name, "--print-only"]).failed(3, &["two labels"]);

    let Some(dig) = Tool::find("dig") else { return };
    for server in [&at, &by_link] {
        let (host, port) = server.rsplit_once(':').expect("host:port");
        for (owner, says) in [
            ("example.com", "192.0.2.1"),
            ("www.example.com", "192.0.2.2"),
            ("a.b.x.example.com", "192.0.2.9"),
            ("none.example.com", "NXDOMAIN"),
        ] {
            let said = dig.run([&format!("@{host}"), "-p", port, owner, "A"]);
            assert!(said.stdout.contains(says), "{server} {owner}: {said}");
        }
    }
}
