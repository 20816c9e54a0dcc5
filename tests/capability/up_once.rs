//! `dialtone up`: the whole round in one command.

use crate::support::{Running, World};

#[test]
fn one_round_works_and_says_how_long_each_step_took() {
    let world = World::new();
    let ran = world.ok(["up", "--once"]);
    for step in [
        "provider 1",
        "provider 2",
        "put",
        "visible",
        "stub",
        "layers",
        "DNS A",
        "DNS AAAA",
        "192.0.2.10",
        "2001:db8::10",
        " ms",
    ] {
        assert!(ran.stdout.contains(step), "{step:?} is not in\n{ran}");
    }
    assert_eq!(std::fs::read_dir(world.path("")).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_round_with_three_providers_is_one_json_object_for_scripts() {
    let world = World::new();
    let all = world.ok(["up", "--once", "--providers", "3", "--json", "--data", "here"]).json();
    assert_eq!((&all["ok"], all["providers"].as_array().unwrap().len()), (&true.into(), 3));
    assert_eq!(all["sample"]["name"].as_str().unwrap().len(), 56);
    let shown = world.ok(["key", "show", "here/sample.pub", "--json"]).json();
    assert_eq!(shown["name"], all["sample"]["name"]);
    let steps: Vec<&str> = all["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["peered", "put", "visible", "stub", "layers", "DNS A", "DNS AAAA"]);
    let again = world.ok(["up", "--once", "--providers", "3", "--json", "--data", "here"]).json();
    assert_eq!(again["sample"]["name"], all["sample"]["name"], "keys are used again");
    assert_eq!(again["providers"][2]["name"], all["providers"][2]["name"]);
}

#[test]
fn it_stays_until_it_is_told_to_go_and_its_lines_can_be_copied() {
    let world = World::new();
    let mut up = Running::start(
        &world,
        &["up", "--data", "here", "--http-port", "0", "--dns-port", "0", "--peering-port", "0"],
    );
    up.line("in another terminal");
    let resolve = up.line(" resolve ");
    let words: Vec<&str> = resolve.split_whitespace().skip(1).collect();
    assert!(world.ok(&words).stdout.contains("192.0.2.10"), "{resolve}");
    let publish = up.line(" publish ");
    let words: Vec<&str> = publish.split_whitespace().skip(1).collect();
    assert!(world.ok(&words).stdout.contains("visible"), "{publish}");
    assert!(world.ok(resolve.split_whitespace().skip(1)).stdout.contains("192.0.2.99"));
    let doctor = up.line(" doctor ");
    world.ok(doctor.split_whitespace().skip(1));
    assert_eq!(up.signal("INT").code(), Some(0));
}

#[test]
fn networks_of_every_shape_are_coherent() {
    let world = World::new();
    for shape in ["ring", "star", "line", "transit"] {
        let all = world.ok(["up", "--once", "--providers", "5", "--topology", shape, "--json"]).json();
        assert_eq!(
            (&all["ok"], all["providers"].as_array().unwrap().len()),
            (&true.into(), 5),
            "{shape}"
        );
    }
}

#[test]
fn a_network_is_shown_while_it_runs() {
    let world = World::new();
    let mut up = Running::start(
        &world,
        &[
            "up",
            "--providers",
            "4",
            "--topology",
            "transit",
            "--live",
            "--traffic",
            "50",
            "--data",
            "here",
            "--http-port",
            "0",
            "--dns-port",
            "0",
            "--peering-port",
            "0",
        ],
    );
    up.line("peers as");
    let link = up.line("1 — 2");
    assert!(link.contains("peer") && link.contains("values / values"), "{link}");
    let customer = up.line("2 — 4");
    assert!(customer.contains("customer"), "{customer}");
    assert_eq!(up.signal("TERM").code(), Some(0));
}
