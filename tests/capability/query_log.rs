//! The log of questions: what it tells, of whom, and that it is turned over.

use crate::support::{ProviderProcess, Running, Tool, World};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// The lines of `file` once there are `count`.
fn lines(file: &Path, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let whole: Vec<&str> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
        if whole.len() >= count {
            assert_eq!(whole.len(), count, "{text}");
            return whole.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        }
        assert!(Instant::now() < deadline, "{count} lines: {text:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_provider_logs_questions_with_networks_for_clients_and_goes_on_in_a_new_file_at_a_signal() {
    let Some(dig) = Tool::find("dig") else { return };
    let world = World::new();
    let settings = "http.listen = ['127.0.0.1:0']\npeering.listen = '127.0.0.1:0'\n[dns]\nlisten = ['127.0.0.1:0']\n\
                    [dns.query_log]\nfile = 'queries.json'\none_in = 1\n";
    let provider = ProviderProcess::start(&world, "logging", settings);
    let name = world.ok(["key", "new", "site.key"]).stdout.trim().to_owned();
    world.ok([
        "publish",
        "--key",
        "site.key",
        "--provider",
        &provider.url(),
        "--address",
        "127.0.0.1",
    ]);
    let domain = format!("{name}.dialtone.alt");
    let (_, port) = provider.dns();
    let ask = |domain: &str, more: &[&str]| {
        let words = ["@127.0.0.1", "-p", &port, domain, "A"];
        dig.run(words.iter().chain(more));
    };
    // Made for a datagram; made for all connections, and kept for the next; refused.
    let by_tcp = &["+tcp", "+nocookie"];
    ask(&domain, &[]);
    ask(&domain, by_tcp);
    ask(&domain, by_tcp);
    ask("example.com", &[]);
    let (file, moved) = (world.path("queries.json"), world.path("queries.json.1"));
    let told = lines(&file, 4);
    for line in &told {
        assert_eq!(line["client"], "127.0.0.0/24", "{line}");
        assert!(line["unix"].as_f64().is_some() && line["micros"].as_u64().is_some(), "{line}");
    }
    let row = |line: &Value| ["transport", "found", "rcode", "name"].map(|key| line[key].as_str().unwrap_or_default().to_owned());
    let expected = [
        ["udp", "local", "NOERROR", &domain],
        ["tcp", "local", "NOERROR", &domain],
        ["tcp", "kept", "NOERROR", &domain],
        ["udp", "local", "REFUSED", "example.com"],
    ];
    assert_eq!(told.iter().map(row).collect::<Vec<_>>(), expected.map(|row| row.map(str::to_owned)));
    assert_eq!(told[3]["extended_error"], 20);

    std::fs::rename(&file, &moved).expect("moved");
    provider.hang_up();
    provider.logs("goes on in a new file");
    ask(&domain, by_tcp);
    assert_eq!(lines(&file, 1)[0]["found"], "kept");
    assert_eq!(lines(&moved, 4), told);
}

#[test]
fn a_frontend_logs_errors_alone_where_that_is_asked_and_says_at_the_start_where_it_cannot() {
    let Some(dig) = Tool::find("dig") else { return };
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    let settings = |file: &str| {
        let listen = format!("listen = ['127.0.0.1:0']\nproviders = ['{}']\n", provider.url());
        listen + &format!("[query_log]\nfile = '{file}'\none_in = 0\nerrors = true\nipv4_prefix = 32\n")
    };
    world.write("nowhere.toml", settings("nowhere/queries.json"));
    world
        .run(["dns", "--config", "nowhere.toml"])
        .failed(8, &["nowhere/queries.json", "log of questions", "query_log"]);
    world.write("dns.toml", settings("queries.json"));
    let mut frontend = Running::start(&world, &["dns", "--config", "dns.toml", "--json"]);
    let start: Value = serde_json::from_str(&frontend.line("{")).expect("one JSON object");
    let at = start["dns"][0].as_str().expect("an address").to_owned();
    let port = at.rsplit_once(':').expect("host:port").1;
    for domain in ["dialtone.alt", "example.com", "dialtone.alt"] {
        dig.run(["@127.0.0.1", "-p", port, domain, "SOA"]);
    }
    // What waits is written before it ends.
    assert_eq!(frontend.signal("TERM").code(), Some(0));
    let told = lines(&world.path("queries.json"), 1);
    assert_eq!(
        (&told[0]["name"], &told[0]["type"], &told[0]["client"]),
        (&"example.com".into(), &"SOA".into(), &"127.0.0.1".into())
    );
}
