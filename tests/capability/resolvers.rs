//! Other people's resolvers in front of ours: they are told in two lines where flat names are, and their clients find them.

use crate::support::{DnsServer, ProviderProcess, Running, Tool, World, asking, exchange, free_port};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// A provider with a name, and a frontend before it over UDP, TCP and TLS.
struct Site {
    world: World,
    provider: ProviderProcess,
    _frontend: Running,
    start: Value,
    domain: String,
}

impl Site {
    fn new() -> Self {
        let world = World::new();
        let provider = ProviderProcess::alone(&world);
        let name = world.ok(["key", "new", "site.key"]).stdout.trim().to_owned();
        let url = provider.url();
        world.ok([
            "publish",
            "--key",
            "site.key",
            "--provider",
            &url,
            "--address",
            "192.0.2.7",
            "--dns",
            "www 60 CNAME @",
        ]);
        let any = "127.0.0.1:0";
        let mut frontend = Running::start(&world, &["dns", "--provider", &url, "--listen", any, "--tls", any, "--json"]);
        let start: Value = serde_json::from_str(&frontend.line("{")).expect("one JSON object");
        let domain = format!("{name}.{}", start["origin"].as_str().expect("an origin"));
        Self {
            world,
            provider,
            _frontend: frontend,
            start,
            domain,
        }
    }

    fn at(&self, kind: &str) -> SocketAddr {
        self.start[kind][0].as_str().expect("an address").parse().expect("an address")
    }

    /// What a resolver must say to its clients.
    fn is_found_through(&self, resolver: &DnsServer) {
        let socket = asking(resolver.at);
        for (owner, kind, code, answers) in [
            ("", RecordType::A, ResponseCode::NoError, 1),
            ("www.", RecordType::A, ResponseCode::NoError, 2),
            ("", RecordType::AAAA, ResponseCode::NoError, 0),
            ("none.", RecordType::A, ResponseCode::NXDomain, 0),
        ] {
            let mut question = Message::query();
            question.metadata.recursion_desired = true;
            question.add_query(Query::query(
                Name::from_ascii(format!("{owner}{}.", self.domain)).expect("a name"),
                kind,
            ));
            let answer = exchange(&socket, &question, PATIENCE).expect("an answer");
            let said = (answer.metadata.response_code, answer.answers.len());
            assert_eq!(said, (code, answers), "{owner} {kind}: {answer}");
        }
    }
}

#[test]
fn unbound_forwards_flat_names_over_udp_and_over_tls_with_the_certificate_checked() {
    let site = Site::new();
    let (dns, tls) = (site.at("dns"), site.at("tls"));
    let plain = format!("forward-zone:\n name: \"dialtone.alt\"\n forward-addr: {}@{}", dns.ip(), dns.port());
    let known = " local-zone: \"alt.\" nodefault\n domain-insecure: \"dialtone.alt\"";
    let Some(unbound) = DnsServer::unbound(&site.world, "plain", known, &plain, &site.domain) else {
        return;
    };
    site.is_found_through(&unbound);

    let certificate = site.world.path(site.start["certificate"]["file"].as_str().expect("a file"));
    let secure = format!("{known}\n tls-cert-bundle: \"{}\"", certificate.display());
    let over_tls = format!(
        "forward-zone:\n name: \"dialtone.alt\"\n forward-addr: {}@{}#localhost\n forward-tls-upstream: yes",
        tls.ip(),
        tls.port()
    );
    let Some(unbound) = DnsServer::unbound(&site.world, "tls", &secure, &over_tls, &site.domain) else {
        return;
    };
    site.is_found_through(&unbound);
}

#[test]
fn dnsmasq_forwards_flat_names() {
    let site = Site::new();
    let dns = site.at("dns");
    let server = format!("--server=/dialtone.alt/{}#{}", dns.ip(), dns.port());
    let Some(dnsmasq) = DnsServer::dnsmasq(&[&server], &site.domain) else {
        return;
    };
    site.is_found_through(&dnsmasq);
}

#[test]
fn other_names_are_asked_of_unbound_over_tls_and_of_nobody_who_has_another_key() {
    let site = Site::new();
    let shown = &site.start["certificate"];
    let certificate = site.world.path(shown["file"].as_str().expect("a file"));
    let key = certificate.with_file_name("dns-certificate-key.pem");
    let port = free_port();
    let server = format!(
        " interface: 127.0.0.1@{port}\n tls-port: {port}\n tls-service-pem: \"{}\"\n tls-service-key: \"{}\"\n local-data: \"www.example. 300 A 192.0.2.9\"",
        certificate.display(),
        key.display()
    );
    let Some(_unbound) = DnsServer::unbound(&site.world, "upstream", &server, "", "www.example.") else {
        return;
    };
    let url = site.provider.url();
    let pin = shown["pin"].as_str().expect("a pin");
    for (pin, code, answers) in [(pin, ResponseCode::NoError, 1), (OTHER_PIN, ResponseCode::ServFail, 0)] {
        let forward = format!("tls://127.0.0.1:{port}#sha256/{pin}");
        let told = [
            "dns",
            "--provider",
            &url,
            "--listen",
            "127.0.0.1:0",
            "--forward",
            &forward,
            "--json",
        ];
        let mut frontend = Running::start(&site.world, &told);
        let start: Value = serde_json::from_str(&frontend.line("{")).expect("one JSON object");
        let socket = asking(start["dns"][0].as_str().expect("an address").parse().expect("an address"));
        for _ in 0..2 {
            let mut question = Message::query();
            question.metadata.recursion_desired = true;
            question.add_query(Query::query(Name::from_ascii("www.example.").expect("a name"), RecordType::A));
            let answer = exchange(&socket, &question, PATIENCE).expect("an answer");
            assert_eq!((answer.metadata.response_code, answer.answers.len()), (code, answers), "{answer}");
        }
    }
}

#[test]
fn knot_resolver_forwards_flat_names() {
    let site = Site::new();
    let dns = site.at("dns");
    let policy = format!(
        "policy.add(policy.suffix(policy.STUB('{}@{}'), {{todname('dialtone.alt.')}}))",
        dns.ip(),
        dns.port()
    );
    let Some(kresd) = DnsServer::kresd(&site.world, &policy, &site.domain) else {
        return;
    };
    site.is_found_through(&kresd);
}

#[test]
fn delv_finds_a_flat_name() {
    let Some(delv) = Tool::find("delv") else { return };
    let site = Site::new();
    let (at, port) = (site.at("dns"), site.at("dns").port().to_string());
    let said = delv.run([&format!("@{}", at.ip()), "-p", &port, "-i", &site.domain, "A"]);
    assert!(said.stdout.contains("192.0.2.7"), "{said}");
}

#[test]
fn a_flood_of_dnsperf_is_answered_to_the_last_question() {
    let Some(dnsperf) = Tool::find("dnsperf") else { return };
    let site = Site::new();
    let none = (0..500)
        .map(|number| format!("n{number}.{} AAAA\n", site.domain))
        .collect::<String>();
    let questions = format!("{0} A\nwww.{0} A\n{0} TXT\n{none}", site.domain);
    let file = site.world.write("questions", questions);
    let (at, port) = (site.at("dns"), site.at("dns").port().to_string());
    let file = file.to_str().expect("text");
    let said = dnsperf.run([
        "-s",
        &at.ip().to_string(),
        "-p",
        &port,
        "-d",
        file,
        "-n",
        "40",
        "-q",
        "50",
        "-t",
        "20",
    ]);
    assert!(said.stdout.contains("Queries lost:         0 "), "{said}");
    assert!(
        said.stdout.contains("NOERROR") && said.stdout.contains("NXDOMAIN") && !said.stdout.contains("SERVFAIL"),
        "{said}"
    );
}

const PATIENCE: Duration = Duration::from_secs(20);

/// The pin of a key that nobody has.
const OTHER_PIN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
