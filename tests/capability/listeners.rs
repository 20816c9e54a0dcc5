//! What a frontend says at which of its listeners, and of them.

use crate::support::{ProviderProcess, Running, Tool, World};
use serde_json::Value;

fn parts(at: &Value) -> (String, String) {
    let (host, port) = at.as_str().and_then(|at| at.rsplit_once(':')).expect("host:port");
    (format!("@{host}"), port.to_owned())
}

#[test]
fn who_is_answered_at_one_listener_is_not_who_is_answered_at_another() {
    let Some(dig) = Tool::find("dig") else { return };
    let world = World::new();
    let settings = "http.listen = ['127.0.0.1:0']\npeering.listen = '127.0.0.1:0'\n[dns]\nlisten = ['127.0.0.1:0', '127.0.0.2:0', '127.0.0.3:0']\nnsid = 'here'\n\
                    [dns.access]\ndeny = ['198.51.100.0/24']\n\
                    [[dns.view]]\nlisten = ['127.0.0.2:0']\nallow = ['192.0.2.0/24']\n\
                    [[dns.view]]\nlisten = ['127.0.0.3:0']\ndeny = ['127.0.0.0/8']\ndenied = 'drop'\n";
    let provider = ProviderProcess::start(&world, "views", settings);
    // Also what is kept: each is asked twice, by either transport.
    for round in 0..2 {
        for transport in ["+notcp", "+tcp"] {
            let ask = |nth: usize| {
                let (host, port) = parts(&provider.said(&format!("/dns/{nth}")));
                let words = [&host, "-p", &port, "dialtone.alt", "SOA", "+nsid", "+tries=1", "+time=2", transport];
                dig.run(words).stdout
            };
            let (open, closed, silent) = (ask(0), ask(1), ask(2));
            assert!(
                open.contains("status: NOERROR") && open.contains("(\"here\")"),
                "{round} {transport}: {open}"
            );
            assert!(closed.contains("status: REFUSED"), "{round} {transport}: {closed}");
            assert!(!silent.contains("status:"), "{round} {transport}: {silent}");
        }
    }
    world.write(
        "wrong.toml",
        "[dns]\nlisten = ['127.0.0.1:5300']\n[[dns.view]]\nlisten = ['127.0.0.1:5301']\n",
    );
    world
        .run(["check-config", "wrong.toml"])
        .failed(8, &["dns.view", "nothing listens on 127.0.0.1:5301"]);
    world.write("wrong-dns.toml", "listen = ['127.0.0.1:5300']\n[[view]]\nallow = ['127.0.0.1']\n");
    world
        .run(["check-config", "wrong-dns.toml"])
        .failed(8, &["view", "names no listener"]);
}

#[test]
fn clients_that_know_an_address_alone_are_told_of_the_encrypted_listeners_behind_it() {
    let Some(kdig) = Tool::find("kdig") else { return };
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    let settings = format!(
        "listen = ['127.0.0.1:0']\ntls = ['127.0.0.1:0']\nhttps = ['127.0.0.1:0']\nproviders = ['{}']\nstate = 'state'\nresolver_name = 'dns.example'\n",
        provider.url()
    );
    world.write("dns.toml", &settings);
    let mut frontend = Running::start(&world, &["dns", "--config", "dns.toml", "--json"]);
    let start: Value = serde_json::from_str(&frontend.line("{")).expect("one JSON object");
    let (host, port) = parts(&start["dns"][0]);
    let told = kdig.run([&host, "-p", &port, "+short", "_dns.resolver.arpa", "TYPE64"]).stdout;
    let (_, tls) = parts(&start["tls"][0]);
    let (_, https) = parts(&start["https"][0]);
    for (order, alpn, port) in [(1, "dot", &tls), (2, "h2", &https)] {
        let line = told
            .lines()
            .find(|line| line.starts_with(&format!("{order} dns.example. ")))
            .expect("a service");
        assert!(
            line.contains(&format!("alpn={alpn}")) && line.contains(&format!("port={port}")),
            "{told}"
        );
        assert!(line.contains("ipv4hint=127.0.0.1"), "{told}");
    }
    assert!(told.contains("dohpath=/dns-query{?dns}") || told.contains("key7="), "{told}");
    // What is told is true.
    let soa = kdig.run([&host, "-p", &tls, "+tls", "dialtone.alt", "SOA"]).stdout;
    assert!(soa.contains("NOERROR"), "{soa}");
    assert_eq!(frontend.signal("TERM").code(), Some(0));
}
