//! Wrong use gets a clear error with a remedy and the right exit status, and changes nothing.

use crate::support::{ProviderProcess, Running, World, free_port};
use dialtone_shared::Name;
use std::net::TcpListener;

#[test]
fn a_wrong_verb_or_flag_is_usage() {
    let world = World::new();
    world.run(["conjure"]).failed(2, &["conjure", "--help"]);
    world.run(["resolve"]).failed(2, &["NAME"]);
    world.run(["provider", "--htpp", "127.0.0.1:0"]).failed(2, &["--htpp", "--http"]);
    world.run(["up", "--topology"]).failed(2, &["--topology"]);
    assert_eq!(world.run(["--help"]).status, Some(0));
    assert_eq!(world.run(["--version"]).status, Some(0));
}

#[test]
fn a_wrong_value_is_bad_input_wherever_it_stands() {
    let world = World::new();
    world.run(["up", "--providers", "1"]).failed(3, &["--providers"]);
    world.run(["up", "--providers", "17"]).failed(3, &["--providers"]);
    world.run(["up", "--topology", "bus"]).failed(3, &["bus", "ring"]);
    world.run(["resolve", "x", "--provider", "127.0.0.1:1"]).failed(3, &["http://"]);
    world.run(["resolve", "nobody"]).failed(3, &["nobody"]);
    world.run(["peer", "show", "nobody"]).failed(3, &["nobody"]);
}

#[test]
fn a_wrong_binding_says_what_would_be_right() {
    let world = World::new();
    world.ok(["key", "new", "a.key"]);
    for (flag, value, says) in [
        ("--address", "localhost", "192.0.2.7"),
        ("--address", "192.0.2.7,weight=x", "0 to 65535"),
        ("--service", "https:443", "https:tcp:443"),
        ("--service", "https:tcp:443,pin=12", "64 hexadecimal digits"),
        ("--delegate", "a b.example", "DNS name"),
        ("--opaque", "hello", "TYPE/SUBTYPE"),
        ("--expires", "401d", "400 days"),
        ("--ttl", "8d", "7d"),
        ("--scope", "nobody", "56 characters"),
        ("--if-match", "7", "rank"),
        ("--dns", "@ 60 A 192.0.2", "192.0.2"),
    ] {
        world
            .run(["publish", "--key", "a.key", "--dry-run", flag, value])
            .failed(3, &[flag, says]);
    }
}

#[test]
fn a_wrong_name_is_told_apart_by_what_is_wrong() {
    let world = World::new();
    let name = world.ok(["key", "new", "a.key"]).stdout.trim().to_owned();
    let (swapped, alphabet, uri) = (swap(&name), name.replacen(&name[9..10], "l", 1), format!("dialtone:{}", &name[1..]));
    for (typed, says) in [
        (&name[1..], "56 characters"),
        (&format!("{name}y"), "57"),
        (&swapped, "checksum"),
        (&alphabet, "z-base-32"),
        (&uri, "55"),
        (&format!("{}b", "y".repeat(51)), "not canonical"),
        ("nobody", "dialtone alias"),
        ("\u{1b}[2J", "\\u{1b}"),
        ("", "this has 0"),
        (&format!("www.{name}.dialtone.alt"), &format!("resolve {name}")),
    ] {
        let ran = world.run(["resolve", typed]);
        ran.failed(3, &[says, "help: "]);
        assert!(!ran.stderr.contains('\u{1b}'));
    }
}

#[test]
fn nobody_at_the_provider_s_address_is_a_network_error() {
    let world = World::new();
    let name = world.ok(["key", "new", "a.key"]).stdout.trim().to_owned();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    world
        .run(["resolve", &name, "--provider", &nobody])
        .failed(6, &[&nobody, "dialtone up"]);
    world
        .run(["publish", "--key", "a.key", "--address", "192.0.2.7", "--provider", &nobody])
        .failed(6, &[&nobody]);
    let doctor = world.run(["doctor", "--provider", &nobody]);
    assert_eq!(doctor.status, Some(6), "{doctor}");
    assert!(doctor.stdout.contains(&nobody) && doctor.stdout.contains("dialtone up"), "{doctor}");
}

#[test]
fn what_a_record_cannot_say_is_refused_before_anything_is_sent() {
    let world = World::new();
    world.ok(["key", "new", "a.key"]);
    let publish = |more: &[&str]| world.run([&["publish", "--key", "a.key", "--dry-run"], more].concat());
    world.write("big", vec![b'x'; 5_000]);
    publish(&["--opaque", "text/plain:@big"]).failed(3, &["4096"]);
    publish(&["--opaque", "text/plain:@nowhere"]).failed(9, &["nowhere"]);
    publish(&["--dns", "@ 60 NS ns.example."]).failed(3, &["NS"]);
    publish(&["--dns", "@ 60 A 192.0.2"]).failed(3, &["--dns", "192.0.2"]);
    publish(&["--dns", "@ 60 CNAME other.example.", "--address", "192.0.2.7"]).failed(3, &["CNAME"]);
    world.write("bad.zone", "@ 60 IN A 192.0.2.7\nwww 60 IN A nowhere\n");
    publish(&["--zone", "bad.zone"]).failed(3, &["bad.zone", "line 2"]);
    publish(&["--zone", "no.zone"]).failed(9, &["no.zone"]);
    world
        .run(["publish", "--key", "b.key", "--address", "192.0.2.7"])
        .failed(9, &["b.key"]);
    world
        .run(["publish", "--key", "a.pub", "--address", "192.0.2.7"])
        .failed(3, &["a.pub", "private"]);
}

#[test]
fn a_port_in_use_is_named_with_the_setting_to_change() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    world
        .run([
            "provider",
            "--data",
            "d",
            "--http",
            &address,
            "--dns",
            "127.0.0.1:0",
            "--peering",
            "127.0.0.1:0",
        ])
        .failed(9, &[&address, "in use", "http.listen"]);
    assert!(!world.path("d").exists(), "nothing was begun");
    world
        .run([
            "dns",
            "--listen",
            &address,
            "--origin",
            "dialtone.alt",
            "--provider",
            "dns://127.0.0.1:1/dialtone.alt",
        ])
        .failed(9, &[&address, "in use", "--listen"]);
    for flag in ["--tls", "--https"] {
        let free = ["dns", "--listen", "127.0.0.1:0", "--origin", "dialtone.alt"];
        let elsewhere = ["--provider", "dns://127.0.0.1:1/dialtone.alt", flag, &address];
        world.run([&free[..], &elsewhere].concat()).failed(9, &[&address, "in use", flag]);
    }
}

#[test]
fn where_to_listen_is_an_address_with_a_port() {
    let world = World::new();
    for verb in [["dns", "--quic"], ["provider", "--http"]] {
        for wrong in ["localhost", "127.0.0.1", "127.0.0.1:99999"] {
            world.run([verb[0], verb[1], wrong]).failed(3, &[wrong, verb[1], "127.0.0.1:4353"]);
        }
    }
}

#[test]
fn ports_that_up_was_told_to_use_are_used_or_it_says_why_not() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    world
        .run(["up", "--once", "--http-port", &port])
        .failed(9, &[&format!("127.0.0.1:{port}"), "in use"]);
    world.run(["up", "--once", "--http-port", "65530"]).failed(3, &["65530", "lower"]);
}

#[test]
fn a_data_folder_that_cannot_be_is_named_with_the_remedy() {
    let world = World::new();
    world.write("file", "not a folder");
    world
        .run([&["provider", "--data", "file/data"][..], &FREE_PORTS].concat())
        .failed(9, &["file/data", "help: "]);
    world.run(["up", "--once", "--data", "file/data"]).failed(9, &["file/data"]);
    assert_eq!(std::fs::read(world.path("file")).unwrap(), b"not a folder");
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let world = World::new();
    let provider = [&["provider", "--data", "d"][..], &FREE_PORTS].concat();
    let mut first = Running::start(&world, &provider);
    first.line("provider");
    world.run(&provider).failed(9, &["d", "another process", "data"]);
    let mut up = Running::start(&world, &["up", "--data", "u", "--json"]);
    up.line("{");
    world.run(["up", "--data", "u", "--once"]).failed(9, &["another process", "--data"]);
}

#[test]
fn unknown_settings_are_refused_where_they_are_used() {
    let world = World::new();
    world.write("p.toml", "[http]\nlistne = ['127.0.0.1:0']\n");
    world
        .run(["provider", "--config", "p.toml"])
        .failed(8, &["p.toml, line 2", "listne"]);
    world.write("d.toml", "listne = ['127.0.0.1:0']\n");
    world.run(["dns", "--config", "d.toml"]).failed(8, &["d.toml, line 1", "listne"]);
    world.write("c.toml", "provider = 'x'\n");
    world
        .run(["resolve", "x", "--client-config", "c.toml"])
        .failed(8, &["c.toml, line 1", "provider"]);
    world.run(["provider", "--config", "nowhere.toml"]).failed(8, &["nowhere.toml"]);
    assert!(!world.path("dialtone-data").exists(), "nothing was made");
}

#[test]
fn a_peer_with_another_key_than_agreed_is_not_believed() {
    let world = World::new();
    let (stranger, agreed) = (ProviderProcess::unpeered(&world, "there"), world.ok(["key", "new", "g.key"]));
    assert_ne!(stranger.name(), agreed.stdout.trim());
    let peer = format!("{}@{}", agreed.stdout.trim(), stranger.peering());
    let mut here = Running::start(
        &world,
        &[&["provider", "--data", "here", "--peer", &peer][..], &FREE_PORTS].concat(),
    );
    here.line("provider");
    here.said(agreed.stdout.trim());
    assert!(here.signal("TERM").success());
}

/// Nothing else on this machine has them.
const FREE_PORTS: [&str; 6] = ["--http", "127.0.0.1:0", "--dns", "127.0.0.1:0", "--peering", "127.0.0.1:0"];

/// Two neighbouring characters exchanged: a slip of the fingers.
fn swap(name: &str) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    let at = (20..54).find(|&at| letters[at] != letters[at + 1]).expect("no name is one letter");
    letters.swap(at, at + 1);
    letters.into_iter().collect()
}

#[test]
fn settings_that_a_start_would_refuse_are_refused_by_who_checks_them() {
    let world = World::new();
    for (file, text, says) in [
        (
            "dns.toml",
            "listen = ['127.0.0.1:5399']\ntls = ['127.0.0.1:5399']",
            "127.0.0.1:5399",
        ),
        (
            "dns.toml",
            "listen = ['127.0.0.1:5399']\nquic = ['127.0.0.1:5399']",
            "127.0.0.1:5399",
        ),
        ("dns.toml", "listen = ['127.0.0.1:5399']\n[log]\nfilter = 'loud'", "loud"),
        (
            "dns.toml",
            "listen = ['127.0.0.1:5399']\nresolver_name = 'a b'",
            "no name of a host",
        ),
        (
            "provider.toml",
            "[dns]\nlisten = ['127.0.0.1:5399']\nhttps = ['127.0.0.1:5399']",
            "127.0.0.1:5399",
        ),
        ("provider.toml", "data = 'd'\n[log]\nfilter = 'info,loud'", "loud"),
        ("client.toml", "providers = ['x']", "`providers`"),
    ] {
        world.write(file, text);
        world.run(["check-config", file]).failed(8, &[says]);
    }
    world.write(
        "dns.toml",
        "listen = ['127.0.0.1:0', '127.0.0.1:0']\ntls = ['127.0.0.1:0']\n[log]\nfilter = 'info,dialtone_provider=debug'",
    );
    world.ok(["check-config", "dns.toml"]);
}

#[test]
fn a_name_with_a_slip_is_not_taken_for_a_petname() {
    let world = World::new();
    let name = Name::of_content(b"a page").to_string();
    for (typed, says) in [
        (name[1..].to_owned(), "copy the name again"),
        (format!("http://{name}.dialtone.alt:8000/"), "leave out"),
    ] {
        let ran = world.run(["resolve", &typed]);
        ran.failed(3, &[says]);
        assert!(!ran.stderr.contains("dialtone alias"), "{ran}");
    }
    world.run(["resolve", "home"]).failed(3, &["dialtone alias home"]);
    world
        .run(["resolve", "example.org"])
        .failed(3, &["no flat name stands", "dialtone alias example.org"]);
}

#[test]
fn an_address_of_another_machine_is_not_said_to_be_in_use() {
    let world = World::new();
    // Of documentation (RFC 5737): no machine has it.
    for words in [
        ["provider", "--http", "192.0.2.99:4380"],
        ["dns", "--listen", "192.0.2.99:4380"],
        ["dns", "--quic", "192.0.2.99:4380"],
    ] {
        let free = ["--dns", "127.0.0.1:0", "--peering", "127.0.0.1:0", "--data", "d"];
        let elsewhere = ["--origin", "dialtone.alt", "--provider", "dns://127.0.0.1:1/dialtone.alt"];
        let rest = if words[0] == "provider" { &free[..] } else { &elsewhere[..] };
        let also = if words[1] == "--quic" {
            &["--listen", "127.0.0.1:0"][..]
        } else {
            &[]
        };
        let ran = world.run([&words[..], also, rest].concat());
        ran.failed(9, &["192.0.2.99:4380", "no address of this machine", words[1]]);
        assert!(!ran.stderr.contains("is using it"), "{ran}");
    }
}

#[test]
fn a_file_in_the_place_of_a_data_folder_is_said_to_be_one() {
    let world = World::new();
    world.write("data", "");
    world
        .run([
            "provider",
            "--data",
            "data",
            "--http",
            "127.0.0.1:0",
            "--dns",
            "127.0.0.1:0",
            "--peering",
            "127.0.0.1:0",
        ])
        .failed(9, &["data", "is a file", "--data"]);
}

#[test]
fn the_size_of_a_value_is_compared_with_what_a_value_may_have() {
    let world = World::new();
    world.write("value", "x".repeat(5_000));
    let shown = world.ok(["put", "value", "--dry-run"]).stdout;
    assert!(shown.contains("of at most 60001 bytes"), "{shown}");
}
