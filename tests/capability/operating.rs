//! What an operator relies on: accounts, backups, a doctor, logs for machines, settings that win over one another.

use crate::support::{ProviderProcess, Running, Tool, World};
use serde_json::Value;
use std::time::{Duration, Instant};

#[test]
fn a_provider_that_wants_accounts_refuses_strangers_and_takes_its_customers() {
    let world = World::new();
    let account = world.ok(["account", "new", "alice", "--json"]).json();
    let settings = format!(
        "http = {{ listen = ['127.0.0.1:0'], anonymous_puts = 'no' }}\ndns.listen = ['127.0.0.1:0']\npeering.listen = '127.0.0.1:0'\n{}",
        account["settings"].as_str().unwrap()
    );
    let provider = ProviderProcess::start(&world, "closed", &settings);
    key(&world, "alice.key");
    let args = [
        "publish",
        "--key",
        "alice.key",
        "--address",
        "192.0.2.1",
        "--provider",
        &provider.url(),
    ];
    world.run(args).failed(4, &[&provider.url(), "DIALTONE_TOKEN"]);
    let doctor = world.ok(["doctor", "--provider", &provider.url()]).stdout;
    assert!(doctor.contains("only from customers"), "{doctor}");
    world.write("token", account["token"].as_str().unwrap());
    world.write("client.toml", "token_file = 'token'\n");
    world.ok([&args[..], &["--client-config", "client.toml"]].concat());
}

#[test]
fn a_backup_taken_while_running_restores_to_the_same_records() {
    let world = World::new();
    let mut alone = ProviderProcess::alone(&world);
    let name = key(&world, "alice.key");
    let put = world
        .ok([
            "publish",
            "--key",
            "alice.key",
            "--address",
            "192.0.2.1",
            "--provider",
            &alone.url(),
            "--json",
        ])
        .json();
    world.ok(["provider", "backup", "--data", "alone", "--to", "running.backup"]);
    world
        .run(["provider", "backup", "--data", "alone", "--to", "running.backup"])
        .failed(9, &["running.backup", "overwritten"]);
    alone.stop();
    world.ok(["provider", "backup", "--data", "alone", "--to", "stopped.backup"]);
    world
        .run(["provider", "backup", "--data", "nowhere", "--to", "x.backup"])
        .failed(9, &["nowhere", "--data"]);
    for (label, backup) in [("again", "running.backup"), ("twice", "stopped.backup")] {
        world.ok(["provider", "restore", "--from", backup, "--data", label]);
        std::fs::copy(world.path("alone/identity.key"), world.path(format!("{label}/identity.key"))).unwrap();
        let ports = "http.listen = ['127.0.0.1:0']\ndns.listen = ['127.0.0.1:0']\npeering.listen = '127.0.0.1:0'\n";
        let restored = ProviderProcess::start(&world, label, ports);
        assert_eq!(restored.name(), alone.name());
        assert_eq!(resolve(&world, &name, &restored)["tree"]["record"]["rank"], put["rank"]);
    }
    let mut cut = std::fs::read(world.path("running.backup")).unwrap();
    cut.truncate(cut.len() - 40);
    world.write("cut.backup", cut);
    world
        .run(["provider", "restore", "--from", "cut.backup", "--data", "cut"])
        .failed(3, &["cut.backup"]);
}

#[test]
fn doctor_finds_a_healthy_provider_healthy_and_says_how_fast() {
    let world = World::new();
    let alone = ProviderProcess::alone(&world);
    key(&world, "alice.key");
    let args = ["doctor", "--provider", &alone.url(), "--key", "alice.key"];
    let said = world.ok(args).stdout;
    for part in [
        &alone.name(),
        "ms",
        "the clocks agree",
        "would be kept",
        "caught up",
        "over UDP",
        "over TCP",
        "alice.key",
    ] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    let json = world.ok([&args[..], &["--json"]].concat()).json();
    assert!(
        json["good"] == true
            && json["findings"]
                .as_array()
                .unwrap()
                .iter()
                .all(|finding| finding["state"] == "good"),
        "{json}"
    );
}

#[test]
fn results_go_to_standard_output_and_a_reader_that_leaves_is_no_failure() {
    let world = World::new();
    key(&world, "alice.key");
    let mut child = world
        .command()
        .args(["template", "provider"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()),
        (Some(0), "")
    );
}

#[test]
fn doctor_says_when_a_peer_is_away_and_which() {
    let world = World::new();
    let (first, mut second) = ProviderProcess::peered(&world);
    let healthy = world.ok(["doctor", "--provider", &first.url(), "--provider", &second.url()]);
    assert!(healthy.stdout.lines().all(|line| !line.starts_with("bad")), "{healthy}");
    second.stop();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let ran = world.ok(["doctor", "--provider", &first.url()]);
        if ran
            .stdout
            .lines()
            .any(|line| line.starts_with("odd") && line.contains(&second.name()))
        {
            break;
        }
        assert!(Instant::now() < deadline, "{ran}");
    }
}

#[test]
fn doctor_says_of_planned_providers_what_would_not_resolve_where_and_who_is_to_change_what() {
    let world = World::new();
    let names: Vec<String> = ["a.key", "b.key", "c.key"]
        .iter()
        .map(|key| world.ok(["key", "new", key]).stdout.trim().to_owned())
        .collect();
    let file = |own: usize, peers: &[(usize, &str)]| {
        let block = |(peer, what): &(usize, &str)| {
            format!(
                "[[peer]]\nname = \"{}\"\naddresses = [\"p.example:4381\"]\nrelationship = \"{what}\"\n",
                names[*peer]
            )
        };
        let label = format!("{own}.toml");
        world.write(&label, peers.iter().map(block).collect::<String>());
        format!("--settings={}={label}", names[own])
    };
    let chain = [
        file(0, &[(1, "peer")]),
        file(1, &[(0, "peer"), (2, "peer")]),
        file(2, &[(1, "peer")]),
    ];
    let bad = world.run([&["doctor".to_owned()], &chain[..]].concat());
    assert!(bad.status != Some(0) && bad.stdout.contains("neither is its customer"), "{bad}");
    assert!(names.iter().all(|name| bad.stdout.contains(name.as_str())), "{bad}");
    assert!(bad.stdout.contains("peer with each other"), "{bad}");
    let under_one = [
        file(0, &[(1, "upstream")]),
        file(1, &[(0, "customer"), (2, "customer")]),
        file(2, &[(1, "upstream")]),
    ];
    let good = world.ok([&["doctor".to_owned()], &under_one[..]].concat());
    assert!(good.stdout.contains("at any of the 3 resolves at all"), "{good}");
    let unnamed = world.run(["doctor", "--settings", "0.toml"]);
    assert!(unnamed.status != Some(0) && unnamed.stderr.contains("NAME=FILE"), "{unnamed}");
}

#[test]
fn the_log_says_when_a_link_comes_when_it_goes_and_why_it_does_not_come_back() {
    let world = World::new();
    let (mut first, second) = ProviderProcess::peered(&world);
    first.logs("a link stands");
    second.logs("a link stands");
    first.stop();
    second.logs("a link ended");
    second.logs("a peer cannot be reached");
}

#[test]
fn log_lines_are_json_for_machines_and_standard_output_stays_clean() {
    let world = World::new();
    let settings = "http.listen = ['127.0.0.1:0']\ndns.listen = ['127.0.0.1:0']\npeering.listen = '127.0.0.1:0'\nlog.format = 'json'\n";
    world.write("p.toml", format!("data = 'd'\n{settings}"));
    let mut provider = Running::start(&world, &["provider", "--config", "p.toml", "--json"]);
    let start: Value = serde_json::from_str(&provider.line("{")).unwrap();
    provider.said("the provider runs");
    let log = provider.stderr();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
    assert!(log.contains(start["name"].as_str().unwrap()));
    let status = provider.signal("TERM");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let world = World::new();
    world.write(
        "p.toml",
        "data = 'of-the-file'\nhttp.listen = ['127.0.0.1:0']\ndns.listen = ['127.0.0.1:0']\npeering.listen = '127.0.0.1:0'\ndns.origin = 'file.example'\n",
    );
    let start = |args: &[&str], data: Option<&str>| {
        let mut command = world.command();
        command.args(["provider", "--config", "p.toml", "--json"]).args(args);
        if let Some(data) = data {
            command.env("DIALTONE_DATA", data);
        }
        let start: Value = serde_json::from_str(&Running::spawn(&mut command).line("{")).unwrap();
        (
            start["data"].as_str().unwrap().to_owned(),
            start["origin"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(start(&[], None), ("of-the-file".into(), "file.example".into()));
    assert_eq!(start(&[], Some("of-the-env")), ("of-the-env".into(), "file.example".into()));
    let said = start(&["--data", "of-the-flag", "--origin", "flag.example"], Some("of-the-env"));
    assert_eq!(said, ("of-the-flag".into(), "flag.example".into()));
}

#[test]
fn a_frontend_of_ones_own_tells_what_it_answered_and_whether_a_provider_answers_it() {
    let (Some(curl), Some(dig)) = (Tool::find("curl"), Tool::find("dig")) else {
        return;
    };
    let world = World::new();
    let mut provider = ProviderProcess::alone(&world);
    let any = "127.0.0.1:0";
    let mut frontend = Running::start(
        &world,
        &["dns", "--provider", &provider.url(), "--listen", any, "--metrics", any, "--json"],
    );
    let start: Value = serde_json::from_str(&frontend.line("{")).expect("one JSON object");
    let at = |kind: &Value| kind.as_str().expect("an address").to_owned();
    let (dns, metrics) = (at(&start["dns"][0]), at(&start["metrics"]));
    let get = |path: &str| curl.run(["-s", "-w", "%{http_code}", &format!("http://{metrics}{path}")]).stdout;
    assert_eq!(get("/healthz"), "ok\n200");
    let port = dns.rsplit_once(':').expect("host:port").1;
    let asked = dig.run(["@127.0.0.1", "-p", port, "+noedns", "dialtone.alt", "SOA"]);
    assert!(asked.stdout.contains("NOERROR"), "{asked}");
    let counts = get("/metrics");
    assert!(counts.contains("dialtone_dns_questions_total{transport=\"udp\"} 1"), "{counts}");
    assert!(
        counts.contains("dialtone_dns_answers_total{rcode=\"noerror\"} 1") && counts.ends_with("# EOF\n200"),
        "{counts}"
    );
    let took = "dialtone_dns_answer_seconds_count{transport=\"udp\",found=";
    assert!(counts.contains(&format!("{took}\"local\"}} 1\n")), "{counts}");
    let code = |count: u32| format!("dialtone_dns_extended_errors_total{{code=\"20\"}} {count}\n");
    assert!(!counts.contains(&code(1)), "{counts}");
    // A name that a provider is asked for, and one that is answered for nowhere here.
    let unknown = format!("{}.dialtone.alt", key(&world, "unknown.key"));
    let ask = |domain: &str, says: &str| {
        let asked = dig.run(["@127.0.0.1", "-p", port, domain, "A"]);
        assert!(asked.stdout.contains(says), "{asked}");
    };
    ask(&unknown, "NXDOMAIN");
    ask("example.com", "REFUSED");
    ask("example.com", "REFUSED");
    let counts = get("/metrics");
    assert!(
        counts.contains(&format!("{took}\"searched\"}} 1\n")) && counts.contains(&code(2)),
        "{counts}"
    );
    assert!(get("/elsewhere").ends_with("404"));

    provider.stop();
    // What it said of the name that is asked for is believed for some seconds more.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let said = get("/healthz");
        if said.contains("no provider answers") && said.ends_with("503") {
            break;
        }
        assert!(said == "ok\n200" && Instant::now() < deadline, "{said}");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(frontend.signal("TERM").code(), Some(0));
}

fn key(world: &World, file: &str) -> String {
    world.ok(["key", "new", file]).stdout.trim().to_owned()
}

fn resolve(world: &World, name: &str, at: &ProviderProcess) -> Value {
    world.ok(["resolve", name, "--provider", &at.url(), "--json"]).json()
}
