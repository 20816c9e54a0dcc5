//! Several nodes under one name: real processes, one of which is killed with its disk.

use crate::support::{ProviderProcess, World, free_udp_ports};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const LABELS: [&str; 3] = ["one", "two", "three"];

/// A key, made beforehand so that its name is known, and the settings that all of its nodes share.
struct Provider {
    name: String,
    ports: Vec<u16>,
}

impl Provider {
    fn new(world: &World) -> Self {
        let name = world.ok(["key", "new", "provider.key", "--chain", "0"]).stdout.trim().to_owned();
        let ports = free_udp_ports(3);
        Self { name, ports }
    }

    /// The settings of the `index`-th node: all but where it listens is the same for all. It lists itself, too.
    fn settings(&self, index: usize) -> String {
        let addresses: Vec<_> = self.ports.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
        format!(
            "identity.key = 'provider.key'\nhttp.listen = ['127.0.0.1:0']\ndns.listen = ['127.0.0.1:0']\npeering.listen = '127.0.0.1:{}'\n\
             [[peer]]\nname = '{}'\naddresses = [{}]\nrelationship = 'sibling'\n",
            self.ports[index],
            self.name,
            addresses.join(", ")
        )
    }

    fn node(&self, world: &World, index: usize) -> ProviderProcess {
        ProviderProcess::start(world, LABELS[index], &self.settings(index))
    }
}

fn publish(world: &World, key: &str, at: &ProviderProcess) -> (String, String) {
    let name = world.ok(["key", "new", key, "--chain", "0"]).stdout.trim().to_owned();
    let mut receipt = String::new();
    // Until it has heard all the others it cannot say that there is no such name yet.
    eventually("it is published", || {
        let ran = world.run(["publish", "--key", key, "--address", "192.0.2.1", "--provider", &at.url(), "--json"]);
        if ran.status != Some(0) {
            return Err(ran.to_string());
        }
        receipt = ran.json()["kept"][0]["receipt"].as_str().expect("a receipt").to_owned();
        Ok(())
    });
    (name, receipt)
}

fn eventually(what: &str, mut is: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match is() {
            Ok(()) => return,
            Err(why) => assert!(Instant::now() < deadline, "in vain: {what}: {why}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn resolves(world: &World, name: &str, at: &ProviderProcess) {
    eventually("it resolves", || {
        let ran = world.run(["resolve", name, "--provider", &at.url()]);
        if ran.status == Some(0) { Ok(()) } else { Err(ran.to_string()) }
    });
}

/// What a node says of its only agreement.
fn peer(world: &World, data: &str) -> Value {
    world.ok(["peer", "list", "--data", data, "--json"]).json()["peers"][0].clone()
}

/// Waits until a node has links with so many others, and all that they have for it.
fn linked(world: &World, data: &str, others: usize) {
    eventually("it is linked and has caught up", || {
        let peer = peer(world, data);
        let up = |node: &&Value| node["state"] == "up" && node["received_all"] == true;
        let count = peer["nodes"].as_array().map_or(0, |nodes| nodes.iter().filter(up).count());
        if count == others { Ok(()) } else { Err(peer.to_string()) }
    });
}

fn get(at: &ProviderProcess, path: &str) -> String {
    let mut stream = TcpStream::connect(at.url().trim_start_matches("http://")).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn a_provider_of_three_nodes_loses_nothing_when_one_is_killed_and_its_disk_is_gone() {
    let world = World::new();
    let provider = Provider::new(&world);
    let mut nodes: Vec<_> = (0..3).map(|index| provider.node(&world, index)).collect();
    LABELS.iter().for_each(|data| linked(&world, data, 2));
    let mut names: Vec<_> = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| publish(&world, &format!("{index}.key"), node).0)
        .collect();
    for (name, node) in names.iter().flat_map(|name| nodes.iter().map(move |node| (name, node))) {
        resolves(&world, name, node);
    }

    nodes[1].kill();
    std::fs::remove_dir_all(world.path(LABELS[1])).expect("its disk is gone");
    names.push(publish(&world, "later.key", &nodes[2]).0);
    for (name, node) in names.iter().flat_map(|name| [&nodes[0], &nodes[2]].map(|node| (name, node))) {
        resolves(&world, name, node);
    }
    let nobody = world.ok(["key", "new", "nobody.key", "--chain", "0"]).stdout.trim().to_owned();
    eventually("what nobody put is absent, as before", || {
        let ran = world.run(["resolve", &nobody, "--provider", &nodes[0].url()]);
        if ran.status == Some(5) { Ok(()) } else { Err(ran.to_string()) }
    });

    nodes[1] = provider.node(&world, 1);
    assert_eq!(nodes[1].name(), provider.name, "the same provider, with nothing");
    linked(&world, LABELS[1], 2);
    names.iter().for_each(|name| resolves(&world, name, &nodes[1]));
}

#[test]
fn a_node_that_has_but_a_part_does_not_speak_for_one_that_nobody_has_heard() {
    let world = World::new();
    let provider = Provider::new(&world);
    let alone = provider.settings(1);
    let alone = alone.split("[[peer]]").next().expect("what comes before");
    let mut second = ProviderProcess::start(&world, LABELS[1], alone);
    let (name, _) = publish(&world, "a.key", &second);
    second.kill();
    // What follows is started with a store that holds something, and has not heard the first.
    let nodes = [1, 2].map(|index| provider.node(&world, index));
    linked(&world, LABELS[2], 1);
    resolves(&world, &name, &nodes[1]);
    let nobody = world.ok(["key", "new", "nobody.key", "--chain", "0"]).stdout.trim().to_owned();
    for node in &nodes {
        let ran = world.run(["resolve", &nobody, "--provider", &node.url()]);
        assert!(!matches!(ran.status, Some(0 | 5)), "the first may hold it: {ran}");
    }
    let first = provider.node(&world, 0);
    for node in nodes.iter().chain([&first]) {
        eventually("what nobody put is absent once all have been heard", || {
            let ran = world.run(["resolve", &nobody, "--provider", &node.url()]);
            if ran.status == Some(5) { Ok(()) } else { Err(ran.to_string()) }
        });
    }
}

#[test]
fn each_node_of_a_provider_is_listed_and_counted() {
    let world = World::new();
    let provider = Provider::new(&world);
    let mut nodes: Vec<_> = (0..3).map(|index| provider.node(&world, index)).collect();
    LABELS.iter().for_each(|data| linked(&world, data, 2));
    eventually("each is listed once", || {
        let table = world.ok(["peer", "list", "--data", "one"]).stdout;
        let is_so = table.contains("sibling") && table.contains("2 of 2 up") && table.matches("\n  node ").count() == 2;
        if is_so { Ok(()) } else { Err(table) }
    });
    let shown = world.ok(["peer", "show", &provider.name, "--data", "one"]).stdout;
    assert_eq!(shown.matches("\nnode ").count(), 2, "{shown}");
    let metrics = get(&nodes[0], "/metrics");
    assert!(
        metrics.contains(&format!("dialtone_peer_nodes{{peer=\"{}\"}} 2", provider.name)),
        "{metrics}"
    );
    assert_eq!(metrics.matches("dialtone_node_caught_up{").count(), 2, "{metrics}");

    nodes[2].kill();
    eventually("the node that is gone is named by its address", || {
        let table = world.ok(["peer", "list", "--data", "one"]).stdout;
        let gone = format!("127.0.0.1:{}", provider.ports[2]);
        let row = table.lines().find(|line| line.contains("no node reached")).unwrap_or_default();
        if row.contains(&gone) && table.contains("1 of 2 up") {
            Ok(())
        } else {
            Err(table)
        }
    });
}

#[test]
fn what_one_node_promised_no_other_denies() {
    let world = World::new();
    let provider = Provider::new(&world);
    let mut nodes: Vec<_> = (0..2).map(|index| provider.node(&world, index)).collect();
    nodes.push(provider.node(&world, 2));
    LABELS.iter().for_each(|data| linked(&world, data, 2));
    for round in 0..6 {
        let (key, receipt) = (format!("{round}.key"), format!("{round}.receipt"));
        let promised = publish(&world, &key, &nodes[round % 3]).1;
        world.write(&receipt, promised);
        let other = nodes[(round + 1) % 3].url();
        // While another address of the node is still looked at nothing is signed.
        eventually("it is said that the promise is kept", || {
            let ran = world.run(["audit", "--receipt", &receipt, "--provider", &other, "--out", "broken.proof"]);
            assert_ne!(ran.status, Some(7), "{ran}");
            if ran.status == Some(0) { Ok(()) } else { Err(ran.to_string()) }
        });
        assert!(!world.path("broken.proof").exists());
    }
    // Of a node that cannot be asked the others do not know what it promised, and say nothing.
    nodes[2].kill();
    eventually("they notice", || {
        let answer = get(&nodes[0], &format!("/v1/records/{}/status", provider.name));
        if answer.starts_with("HTTP/1.1 503") { Ok(()) } else { Err(answer) }
    });
}

#[test]
fn a_node_joins_by_a_line_of_text_if_it_has_the_key() {
    let world = World::new();
    let one = ProviderProcess::unpeered(&world, "one");
    let _stranger = ProviderProcess::unpeered(&world, "stranger");
    let invite = || {
        world
            .ok(["peer", "invite", "--relationship", "sibling", "--data", "one"])
            .stdout
            .trim()
            .to_owned()
    };
    world
        .run(["peer", "accept", "--data", "stranger", &invite()])
        .failed(3, &[&one.name(), "identity.key"]);
    world
        .run(["peer", "add", &one.name(), "--relationship", "sibling", "--data", "stranger"])
        .failed(3, &["identity.key"]);
    let mut nodes = Vec::new();
    for label in ["two", "three"] {
        std::fs::create_dir_all(world.path(label)).expect("a folder");
        std::fs::copy(world.path("one/identity.key"), world.path(format!("{label}/identity.key"))).expect("a copy of the key");
        nodes.push(ProviderProcess::unpeered(&world, label));
        let reply = world.ok(["peer", "accept", "--data", label, &invite()]).stdout;
        world.ok(["peer", "accept", "--data", "one", reply.trim()]);
    }
    assert_eq!(
        peer(&world, "one")["addresses"].as_array().map(Vec::len),
        Some(2),
        "the second is added to the first"
    );
    ["one", "two", "three"].iter().for_each(|data| linked(&world, data, 2));
    let name = publish(&world, "alice.key", &nodes[1]).0;
    resolves(&world, &name, &nodes[0]);
    resolves(&world, &name, &one);
}
