//! Other people's clients against the real binary: dig, kdig and curl.

use crate::support::{ProviderProcess, Ran, Running, Tool, World};
use base64::Engine;
use serde_json::Value;
use std::path::PathBuf;

#[test]
fn dig_finds_what_a_record_says_in_every_type() {
    let Some(dig) = Tool::find("dig") else { return };
    let site = Site::new();
    let name = site.domain("");
    for (owner, kind, answer) in [
        ("", "A", "192.0.2.7"),
        ("", "AAAA", "2001:db8::7"),
        ("", "TXT", "\"hello there\""),
        ("www.", "TXT", "\"below\""),
        ("_https._tcp.", "SRV", &format!("0 1 443 {name}.")),
        ("mail.", "MX", "10 mx.example."),
        ("", "HTTPS", "alpn=\"h2\""),
    ] {
        let said = site.dig(&dig, &["+short", &site.domain(owner), kind]);
        assert!(said.stdout.contains(answer), "{owner} {kind}: should say {answer}\n{said}");
    }
}

#[test]
fn dig_tells_no_such_name_from_no_such_type_and_both_have_an_soa() {
    let Some(dig) = Tool::find("dig") else { return };
    let site = Site::new();
    let unknown = site.world.ok(["key", "new", "unknown.key"]).stdout.trim().to_owned() + ".dialtone.alt";
    for (domain, kind, code) in [
        (unknown.as_str(), "A", "NXDOMAIN"),
        (&site.domain("nothing."), "A", "NXDOMAIN"),
        (&site.domain(""), "MX", "NOERROR"),
        (&site.domain("www."), "A", "NOERROR"),
        // An empty non-terminal: nothing there, but something below.
        (&site.domain("_tcp."), "TXT", "NOERROR"),
    ] {
        let said = site.dig(&dig, &[domain, kind]).stdout;
        assert!(
            said.contains(&format!("status: {code}")),
            "{domain} {kind}: should be {code}\n{said}"
        );
        assert!(said.contains("ANSWER: 0"), "{said}");
        let soa = said
            .lines()
            .find(|line| line.contains("\tSOA\t"))
            .unwrap_or_else(|| panic!("no SOA for {domain} {kind}\n{said}"));
        let minimum: u32 = soa.split_whitespace().last().unwrap().parse().unwrap();
        assert!(minimum <= 10, "a new name must be seen soon: {soa}");
    }
    let mistyped = site.dig(&dig, &[&format!("{}.dialtone.alt", "y".repeat(56)), "A"]).stdout;
    assert!(mistyped.contains("status: NXDOMAIN") && mistyped.contains("EDE"), "{mistyped}");
}

#[test]
fn dig_gets_the_same_over_udp_and_tcp_and_large_answers_are_cut_off_and_asked_for_again() {
    let Some(dig) = Tool::find("dig") else { return };
    let site = Site::new();
    let name = site.domain("");
    let answers = |more: &[&str]| {
        let said = site.dig(&dig, &[&["+noall", "+answer", name.as_str(), "A"], more].concat()).stdout;
        said.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(answers(&["+notcp"]), answers(&["+tcp"]));
    let big = site.domain("big.");
    let cut = site.dig(&dig, &["+bufsize=512", "+ignore", &big, "TXT"]).stdout;
    assert!(cut.lines().any(|line| line.contains("flags:") && line.contains(" tc")), "{cut}");
    let whole = site.dig(&dig, &["+bufsize=512", "+short", &big, "TXT"]).stdout;
    assert_eq!(whole.lines().filter(|line| line.starts_with('"')).count(), 8, "{whole}");
}

#[test]
fn dig_sees_the_case_of_its_question_kept_and_any_answered_minimally() {
    let Some(dig) = Tool::find("dig") else { return };
    let site = Site::new();
    let odd: String = site
        .domain("")
        .char_indices()
        .map(|(at, letter)| if at % 3 == 0 { letter.to_ascii_uppercase() } else { letter })
        .collect();
    let said = site.dig(&dig, &[&odd, "A"]).stdout;
    assert!(
        said.contains("192.0.2.7") && said.lines().filter(|line| line.contains(&odd)).count() >= 2,
        "{said}"
    );
    let any = site.dig(&dig, &["+notcp", "+noall", "+answer", &site.domain(""), "ANY"]).stdout;
    let kinds: std::collections::BTreeSet<&str> = any.lines().filter_map(|line| line.split_whitespace().nth(3)).collect();
    assert_eq!(kinds.len(), 1, "one RRset is enough (RFC 8482)\n{any}");
}

#[test]
fn dig_gets_the_signed_record_itself_under_the_private_type() {
    let Some(dig) = Tool::find("dig") else { return };
    let site = Site::new();
    let said = site.dig(&dig, &["+tcp", "+short", &site.domain(""), "TYPE65350"]).stdout;
    let (head, digits) = said.trim().trim_start_matches("\\# ").split_once(' ').expect("RFC 3597's form");
    let digits: String = digits.split_whitespace().collect::<String>().to_lowercase();
    assert_eq!(digits.len(), head.parse::<usize>().unwrap() * 2);
    let held = site
        .world
        .ok(["resolve", &site.name, "--provider", &site.provider.url(), "--json"])
        .json();
    let record = base64::engine::general_purpose::STANDARD
        .decode(held["tree"]["record"]["record"].as_str().unwrap())
        .unwrap();
    assert_eq!(digits, record.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
}

#[test]
fn other_names_are_refused_and_alt_never_leaves() {
    let Some(dig) = Tool::find("dig") else { return };
    let site = Site::new();
    assert!(site.dig(&dig, &["www.example.com", "A"]).stdout.contains("status: REFUSED"));
    assert!(site.dig(&dig, &["something.alt", "A"]).stdout.contains("status: NXDOMAIN"));
}

#[test]
fn kdig_agrees() {
    let Some(kdig) = Tool::find("kdig") else { return };
    let site = Site::new();
    for transport in ["+notcp", "+tcp"] {
        let said = site.dig(&kdig, &["+edns", transport, &site.domain(""), "AAAA"]).stdout;
        assert!(said.contains("NOERROR") && said.contains("2001:db8::7"), "{transport}\n{said}");
    }
    let https = site.dig(&kdig, &["+short", &site.domain(""), "HTTPS"]).stdout;
    assert!(https.contains("h2"), "{https}");
    assert!(site.dig(&kdig, &[&site.domain("nothing."), "A"]).stdout.contains("NXDOMAIN"));
}

#[test]
fn a_frontend_of_one_s_own_verifies_and_knows_petnames() {
    let Some(dig) = Tool::find("dig") else { return };
    let site = Site::new();
    site.world.ok(["alias", "home.example", &site.name]);
    let mut frontend = Running::start(
        &site.world,
        &["dns", "--listen", "127.0.0.1:0", "--provider", &site.provider.url(), "--json"],
    );
    let start: Value = serde_json::from_str(&frontend.line("{")).unwrap();
    assert_eq!(start["origin"], "dialtone.alt");
    let (host, port) = start["dns"][0].as_str().unwrap().rsplit_once(':').unwrap();
    let ask = |domain: &str, kind: &str| {
        dig.run([
            "@".to_owned() + host,
            "-p".to_owned(),
            port.to_owned(),
            "+short".into(),
            domain.into(),
            kind.into(),
        ])
        .stdout
    };
    assert_eq!(ask(&site.domain(""), "A").trim(), "192.0.2.7");
    assert!(ask("home.example", "AAAA").contains("2001:db8::7"));
    assert_eq!(frontend.signal("TERM").code(), Some(0));
}

#[test]
fn curl_meets_every_status_of_a_put_and_a_get() {
    let Some(curl) = Tool::find("curl") else { return };
    let site = Site::new();
    let (base, url) = (site.provider.url(), format!("{}/v1/records/{}", site.provider.url(), site.name));
    let json = |ran: &Ran| -> Value { serde_json::from_str(body(ran)).unwrap_or_else(|error| panic!("{error}\n{ran}")) };
    let put_as = |media_type: &str, to: &str, file: &PathBuf, more: &[&str]| {
        let (data, media_type) = (format!("@{}", file.display()), format!("Content-Type: {media_type}"));
        let args = ["-s", "-i", "-X", "PUT", "-H", &media_type, "--data-binary", &data, to];
        curl.run([&args[..], more].concat())
    };
    let put = |to: &str, file: &PathBuf, more: &[&str]| put_as("application/vnd.dialtone.record", to, file, more);
    let get = |to: &str, more: &[&str]| curl.run([&["-s", "-i", to], more].concat());

    // Gets.
    let found = get(&url, &[]);
    let etag = header(&found, "etag").expect("a rank");
    assert_eq!(status(&found), 200);
    assert_eq!(status(&get(&url, &["-H", &format!("If-None-Match: {etag}")])), 304);
    let spelt_out = json(&get(&url, &["-H", "Accept: application/json"]));
    assert_eq!(
        (&spelt_out["verified"], &spelt_out["name"]),
        (&true.into(), &site.name.as_str().into())
    );
    assert_eq!(status(&get(&format!("{url}/status"), &[])), 200);
    assert_eq!(status(&get(&format!("{base}/v1/resolve/{}", site.name), &[])), 200);
    assert_eq!(json(&get(&format!("{base}/v1/info"), &[]))["name"], site.provider.name());
    assert_eq!(status(&get(&format!("{base}/healthz"), &[])), 200);
    assert!(body(&get(&format!("{base}/metrics"), &[])).contains("# TYPE"));
    let wrong = get(&format!("{base}/v1/records/nobody"), &[]);
    assert_eq!(
        (status(&wrong), header(&wrong, "content-type")),
        (400, Some("application/problem+json".to_owned()))
    );
    let absent = site.world.ok(["key", "new", "absent.key"]).stdout;
    assert_eq!(status(&get(&format!("{base}/v1/records/{}", absent.trim()), &[])), 404);
    assert_eq!(status(&get(&format!("{base}/v2/records"), &[])), 404);
    // A path of one part is a key of pkarr's, or meant to be.
    assert_eq!(status(&get(&format!("{base}/v2"), &[])), 400);
    assert_eq!(status(&curl.run(["-s", "-i", "-X", "DELETE", &url])), 405);

    // Puts.
    site.world.ok(["key", "new", "bob.key"]);
    let (bob, older) = signed(&site.world, "bob.key", "older");
    let (_, newer) = signed(&site.world, "bob.key", "newer");
    let url = format!("{base}/v1/records/{bob}");
    assert_eq!(status(&put(&url, &newer, &["-H", "If-None-Match: *"])), 201);
    assert_eq!(status(&put(&url, &newer, &[])), 200);
    assert_eq!(status(&put(&url, &older, &[])), 409);
    assert_eq!(status(&put(&url, &newer, &["-H", "If-None-Match: *"])), 412);
    assert_eq!(status(&put(&url, &newer, &["-H", &format!("If-Match: {etag}")])), 412);
    assert_eq!(status(&put(&url, &newer, &["-H", "If-Match: rank"])), 400);
    assert_eq!(status(&put_as("text/plain", &url, &newer, &[])), 415);
    let other = put(&format!("{base}/v1/records/{}", site.name), &newer, &[]);
    assert_eq!(
        (status(&other), json(&other)["type"].clone()),
        (422, "urn:dialtone:problem:other-name".into())
    );
    assert_eq!(status(&put(&url, &site.world.write("big", [0; 5_000]), &[])), 413);
    let mut bytes = std::fs::read(&newer).unwrap();
    assert_eq!(status(&put(&url, &site.world.write("cut", &bytes[..bytes.len() - 1]), &[])), 400);
    assert_eq!(
        status(&put(
            &url,
            &site
                .world
                .write("garbage", "no record at all, but as long as one must be: ".repeat(4)),
            &[]
        )),
        400
    );
    // A forgery that would win if it were believed; an older one is turned away before anybody looks at its signature.
    let (_, latest) = signed(&site.world, "bob.key", "latest");
    bytes = std::fs::read(&latest).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(status(&put(&url, &site.world.write("forged", &bytes), &[])), 422);
    assert_eq!(
        status(&put("nonsense", &newer, &[])),
        0,
        "curl itself is asked something impossible"
    );
    let kept = get(&url, &[]);
    assert!(
        status(&kept) == 200 && kept.stdout.contains(header(&kept, "etag").unwrap().as_str()),
        "what was refused changed nothing"
    );
}

#[test]
fn curl_meets_the_statuses_of_strangers_of_haste_and_of_uncertainty() {
    let Some(curl) = Tool::find("curl") else { return };
    let world = World::new();
    world.ok(["key", "new", "bob.key"]);
    let (bob, record) = signed(&world, "bob.key", "record");
    let data = format!("@{}", record.display());
    let put = |to: &ProviderProcess, more: &[&str]| {
        let url = format!("{}/v1/records/{bob}", to.url());
        let args = [
            "-s",
            "-i",
            "-X",
            "PUT",
            "-H",
            "Content-Type: application/vnd.dialtone.record",
            "--data-binary",
            &data,
            &url,
        ];
        curl.run([&args[..], more].concat())
    };
    let ports = "dns.listen = ['127.0.0.1:0']\npeering.listen = '127.0.0.1:0'\n";
    let closed = ProviderProcess::start(
        &world,
        "closed",
        &format!("{ports}[http]\nlisten = ['127.0.0.1:0']\nanonymous_puts = 'no'\n"),
    );
    assert_eq!(status(&put(&closed, &[])), 401);
    assert_eq!(status(&put(&closed, &["-H", "Authorization: Bearer wrong"])), 401);

    let slow = format!("{ports}http.listen = ['127.0.0.1:0']\nlimits.local_puts_per_second = 1\n");
    let slow = ProviderProcess::start(&world, "slow", &slow);
    // One curl, one connection, twelve puts: five may come at once.
    let url = format!("{}/v1/records/{bob}", slow.url());
    let mut haste: Vec<String> = Vec::new();
    for number in 0..12 {
        let (_, record) = signed(&world, "bob.key", &format!("record-{number}"));
        if number > 0 {
            haste.push("--next".to_owned());
        }
        let data = format!("@{}", record.display());
        let args = [
            "-s",
            "-o",
            "/dev/null",
            "-D",
            "-",
            "-X",
            "PUT",
            "-H",
            "Content-Type: application/vnd.dialtone.record",
        ];
        haste.extend(args.iter().chain(&["--data-binary", &data, &url]).map(|arg| (*arg).to_owned()));
    }
    let limited = curl.run(haste);
    let answers: Vec<&str> = limited.stdout.split("HTTP/1.1 ").skip(1).collect();
    assert!(
        answers.len() == 12 && answers[0].starts_with("201") && answers[11].starts_with("429"),
        "{limited}"
    );
    let wait = answers[11]
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("retry-after: ").map(str::to_owned));
    assert!(wait.is_some_and(|secs| secs.trim().parse::<u64>().is_ok()), "{limited}");

    let peer = world.ok(["key", "new", "peer.key", "--chain", "0"]).stdout;
    let lonely = format!("{ports}http.listen = ['127.0.0.1:0']\n[[peer]]\nname = '{}'\n", peer.trim());
    let lonely = ProviderProcess::start(&world, "lonely", &lonely);
    let unsure = curl.run(["-s", "-i", &format!("{}/v1/records/{bob}", lonely.url())]);
    assert_eq!(
        status(&unsure),
        503,
        "a peer that is away may hold it: absent cannot be said\n{unsure}"
    );
    assert_eq!(status(&put(&lonely, &[])), 201, "and yet puts are taken");
}

/// A provider with one record that says a bit of everything.
struct Site {
    world: World,
    provider: ProviderProcess,
    name: String,
}

impl Site {
    fn new() -> Self {
        let world = World::new();
        let provider = ProviderProcess::alone(&world);
        let name = world.ok(["key", "new", "alice.key"]).stdout.trim().to_owned();
        let big: String = (0..8)
            .map(|line| format!("big 60 IN TXT \"{line}{}\"\n", "x".repeat(150)))
            .collect();
        world.write(
            "alice.zone",
            format!("$TTL 60\n@ IN A 192.0.2.7\n@ IN TXT \"hello there\"\nmail IN MX 10 mx.example.\n{big}"),
        );
        world.ok([
            "publish",
            "--key",
            "alice.key",
            "--address",
            "2001:db8::7",
            "--service",
            "https:tcp:443,alpn=h2",
            "--dns",
            "www 300 TXT below",
            "--zone",
            "alice.zone",
            "--provider",
            &provider.url(),
        ]);
        Self { world, provider, name }
    }

    fn domain(&self, owner: &str) -> String {
        format!("{owner}{}.dialtone.alt", self.name)
    }

    /// Runs dig or kdig at the provider's DNS.
    fn dig(&self, tool: &Tool, question: &[&str]) -> Ran {
        let (host, port) = self.provider.dns();
        let at = format!("@{host}");
        let ran = tool.run([&[at.as_str(), "-p", &port], question].concat());
        assert_eq!(ran.status, Some(0), "{ran}");
        ran
    }
}

/// Signs a record without putting it; each is later than the one before.
fn signed(world: &World, key: &str, file: &str) -> (String, PathBuf) {
    let printed = world
        .ok(["publish", "--key", key, "--address", "192.0.2.1", "--dry-run", "--json"])
        .json();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(printed["record"].as_str().unwrap())
        .unwrap();
    (printed["name"].as_str().unwrap().to_owned(), world.write(file, bytes))
}

/// The status of the last answer; 0 if there was none.
fn status(ran: &Ran) -> u16 {
    let last = ran.stdout.lines().rfind(|line| line.starts_with("HTTP/"));
    last.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

fn header(ran: &Ran, name: &str) -> Option<String> {
    let lines = ran.stdout.lines().take_while(|line| !line.trim().is_empty());
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
}

fn body(ran: &Ran) -> &str {
    ran.stdout.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}
