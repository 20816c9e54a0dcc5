//! The frontend over TLS, HTTPS and QUIC, as other people's clients find it.

use crate::support::{ProviderProcess, Running, Tool, World};
use serde_json::Value;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A provider with a name, and a frontend of one's own before it on every transport.
struct Site {
    world: World,
    provider: ProviderProcess,
    frontend: Running,
    start: Value,
    domain: String,
}

impl Site {
    fn new(more: &[&str]) -> Self {
        let world = World::new();
        let provider = ProviderProcess::alone(&world);
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
        let any = "127.0.0.1:0";
        let (url, fixed) = (
            provider.url(),
            ["--listen", any, "--tls", any, "--https", any, "--quic", any, "--json"],
        );
        let mut frontend = Running::start(&world, &[&["dns", "--provider", &url], &fixed[..], more].concat());
        let start: Value = serde_json::from_str(&frontend.line("{")).expect("one JSON object");
        let domain = format!("{name}.{}", start["origin"].as_str().expect("an origin"));
        Self {
            world,
            provider,
            frontend,
            start,
            domain,
        }
    }

    fn port(&self, kind: &str) -> &str {
        self.start[kind][0]
            .as_str()
            .expect("an address")
            .rsplit_once(':')
            .expect("host:port")
            .1
    }

    fn certificate(&self) -> PathBuf {
        self.world.path(self.start["certificate"]["file"].as_str().expect("a file"))
    }
}

#[test]
fn kdig_and_dig_are_answered_over_tls_https_and_quic() {
    let (Some(kdig), Some(dig)) = (Tool::find("kdig"), Tool::find("dig")) else {
        return;
    };
    let site = Site::new(&[]);
    let certificate = site.certificate();
    let pin = format!("+tls-pin={}", site.start["certificate"]["pin"].as_str().expect("a pin"));
    let trusted = format!("+tls-ca={}", certificate.display());
    let rows: [(&Tool, &str, &[&str]); 8] = [
        (&kdig, "tls", &["+tls", &pin]),
        (&kdig, "tls", &[&trusted, "+tls-hostname=localhost"]),
        (&kdig, "https", &["+https", &pin]),
        (&kdig, "https", &["+https-get", &pin]),
        (&kdig, "quic", &["+quic"]),
        (&dig, "tls", &["+tls"]),
        (&dig, "https", &["+https"]),
        (&dig, "https", &["+https-get"]),
    ];
    let kinds = kdig.run(["-h"]).stdout;
    for (tool, kind, how) in rows {
        if kind == "quic" && !kinds.contains("quic") {
            continue;
        }
        let said = tool.run([&["@127.0.0.1", "-p", site.port(kind)], how, &[&site.domain, "A"]].concat());
        assert!(
            said.stdout.contains("NOERROR") && said.stdout.contains("127.0.0.1\n"),
            "{kind} {how:?}: {said}"
        );
    }
    let keepalive = dig.run(["@127.0.0.1", "-p", site.port("dns"), "+tcp", "+keepalive", &site.domain, "A"]);
    assert!(keepalive.stdout.contains("TCP KEEPALIVE: 9"), "{keepalive}");
    assert_eq!(site.frontend.signal("TERM").code(), Some(0));
}

/// A page on this machine.
struct Page {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Page {
    fn serve() -> Self {
        let page = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = page.local_addr().expect("an address").port();
        let asked = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in page.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let mut asked = [0; 4_096];
                let _ = stream.read(&mut asked);
                let body = "<title>by name</title><h1>served by a flat name</h1>";
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Self { port, asked }
    }
}

#[test]
fn a_browser_opens_a_page_by_flat_name_with_the_frontend_as_its_dns_over_https() {
    let Some(chromium) = Tool::find_any(&["chromium", "chromium-browser", "google-chrome"]) else {
        return;
    };
    let site = Site::new(&[]);
    let page = Page::serve();
    // Secure DNS and no other: what the system knows is not asked.
    let template = format!("https://127.0.0.1:{}/dns-query", site.port("https"));
    std::fs::create_dir(site.world.path("profile")).expect("a folder");
    site.world.write(
        "profile/Local State",
        serde_json::json!({"dns_over_https": {"mode": "secure", "templates": template}}).to_string(),
    );
    let pin = site.start["certificate"]["pin"].as_str().expect("a pin");
    let flags = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking --disable-component-update --no-proxy-server";
    let own = [
        format!("--user-data-dir={}", site.world.path("profile").display()),
        format!("--ignore-certificate-errors-spki-list={pin}"),
        "--dump-dom".to_owned(),
        format!("http://{}:{}/", site.domain, page.port),
    ];
    let said = chromium.run(flags.split(' ').map(str::to_owned).chain(own));
    assert!(said.stdout.contains("<h1>served by a flat name</h1>"), "{said}");
}

#[test]
fn firefox_opens_a_page_by_flat_name_with_the_frontend_as_its_dns_over_https() {
    let (Some(firefox), Some(certutil)) = (Tool::find_any(&["firefox-esr", "firefox"]), Tool::find_any(&["certutil"])) else {
        return;
    };
    let site = Site::new(&[]);
    let (page, asked) = (Page::serve(), site.port("https"));
    let profile = site.world.path("firefox");
    std::fs::create_dir(&profile).expect("a folder");
    // Secure DNS and no other; a frontend on this machine, and pages on it.
    let settings = format!(
        "user_pref('network.trr.mode', 3);\nuser_pref('network.trr.uri', 'https://localhost:{asked}/dns-query');\nuser_pref('network.trr.bootstrapAddr', '127.0.0.1');\n\
         user_pref('network.trr.allow-rfc1918', true);\nuser_pref('network.trr.confirmationNS', 'skip');\nuser_pref('dom.security.https_first', false);\n\
         user_pref('network.connectivity-service.enabled', false);\nuser_pref('network.captive-portal-service.enabled', false);\n\
         user_pref('datareporting.policy.dataSubmissionEnabled', false);\nuser_pref('toolkit.telemetry.enabled', false);\nuser_pref('app.normandy.enabled', false);\n"
    );
    site.world.write("firefox/user.js", settings);
    let store = format!("sql:{}", profile.display());
    let certificate = site.certificate();
    certutil.run(["-N", "-d", &store, "--empty-password"]);
    certutil.run([
        "-A",
        "-n",
        "dialtone",
        "-t",
        "C,,",
        "-i",
        certificate.to_str().expect("text"),
        "-d",
        &store,
    ]);
    let picture = site.world.path("page.png");
    let url = format!("http://{}:{}/", site.domain, page.port);
    let own = [
        "--headless",
        "--no-remote",
        "--profile",
        profile.to_str().expect("text"),
        "--screenshot",
        picture.to_str().expect("text"),
        &url,
    ];
    let said = firefox.run(own);
    assert!(page.asked.load(Ordering::Relaxed) > 0, "the page was not asked for: {said}");
    assert!(picture.exists(), "{said}");
}

#[test]
fn curl_opens_a_page_by_flat_name_over_its_own_dns() {
    let Some(curl) = Tool::find("curl") else { return };
    let site = Site::new(&[]);
    let (certificate, doh) = (site.certificate(), format!("https://localhost:{}/dns-query", site.port("https")));
    let certificate = certificate.to_str().expect("text");
    let page = site.provider.url().replace("127.0.0.1", &site.domain) + "/healthz";
    let said = curl.run([
        "-s",
        "--doh-url",
        &doh,
        "--doh-insecure",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{remote_ip}",
        &page,
    ]);
    assert_eq!(said.stdout, "200 127.0.0.1", "{said}");
    // A question for example.com, which is refused here, and that is an answer too.
    let ask = format!("{doh}?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB");
    for (version, expected) in [("--http1.1", "1.1 200"), ("--http2", "2 200")] {
        let format = "%{http_version} %{http_code} %{content_type}";
        let said = curl.run(["-s", version, "--cacert", certificate, "-o", "/dev/null", "-w", format, &ask]);
        assert_eq!(said.stdout, format!("{expected} application/dns-message"), "{said}");
        let said = curl.run([
            "-s",
            version,
            "--cacert",
            certificate,
            "-d",
            "x",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &doh,
        ]);
        assert_eq!(said.stdout, "415", "{said}");
    }
}

#[test]
fn a_certificate_is_read_again_at_a_signal_and_one_that_is_no_good_is_refused_at_the_start() {
    let Some(kdig) = Tool::find("kdig") else { return };
    let world = World::new();
    world.write("broken.pem", "nothing");
    world
        .run([
            "dns",
            "--listen",
            "127.0.0.1:0",
            "--tls",
            "127.0.0.1:0",
            "--certificate",
            "broken.pem",
        ])
        .failed(8, &["broken.pem", "no certificate", "--certificate-key"]);
    // Two that were made for first use, as if they came from elsewhere.
    let (one, two) = (Site::new(&[]), Site::new(&[]));
    let copy = |from: &Site| {
        let key = from.certificate().with_file_name("dns-certificate-key.pem");
        let text = [from.certificate(), key]
            .map(|file| std::fs::read_to_string(file).expect("read"))
            .concat();
        world.write("both.pem", text)
    };
    let file = copy(&one);
    let site = Site::new(&["--certificate", file.to_str().expect("text")]);
    let asked = |site: &Site, of: &Site| {
        let pin = format!("+tls-pin={}", of.start["certificate"]["pin"].as_str().expect("a pin"));
        kdig.run(["@127.0.0.1", "-p", site.port("tls"), "+tls", &pin, &site.domain, "A"])
            .stdout
            .contains("NOERROR")
    };
    assert!(asked(&site, &one) && !asked(&site, &two));
    copy(&two);
    site.frontend.send("HUP");
    site.frontend.said("read again");
    assert!(asked(&site, &two) && !asked(&site, &one));
}

#[test]
fn a_provider_answers_over_tls_https_and_quic_by_itself_and_reads_its_certificate_again() {
    let (Some(kdig), Some(curl)) = (Tool::find("kdig"), Tool::find("curl")) else {
        return;
    };
    let world = World::new();
    let any = "['127.0.0.1:0']";
    let listens =
        format!("http.listen = {any}\npeering.listen = '127.0.0.1:0'\n[dns]\nlisten = {any}\ntls = {any}\nhttps = {any}\nquic = {any}\n");
    let start = |label, more: &str| ProviderProcess::start(&world, label, &(listens.clone() + more));
    let first = start("first", "");
    let name = world.ok(["key", "new", "site.key"]).stdout.trim().to_owned();
    let url = first.url();
    world.ok(["publish", "--key", "site.key", "--provider", &url, "--address", "127.0.0.1"]);
    let pin = |of: &ProviderProcess| of.said("/certificate/pin").as_str().expect("a pin").to_owned();
    let asked = |of: &ProviderProcess, kind: &str, pin: &str| {
        let at = of.said(&format!("/{kind}/0"));
        let port = at.as_str().and_then(|at| at.rsplit_once(':')).expect("host:port").1;
        let (domain, over, pin) = (format!("{name}.dialtone.alt"), format!("+{kind}"), format!("+tls-pin={pin}"));
        // It knows pins only over TLS and HTTPS.
        let pinned = (kind != "quic").then_some(&pin[..]);
        let words = ["@127.0.0.1", "-p", port, &over, &domain, "A"];
        kdig.run(words.into_iter().chain(pinned)).stdout
    };
    for kind in ["tls", "https", "quic"] {
        let said = asked(&first, kind, &pin(&first));
        assert!(said.contains("127.0.0.1\n"), "{kind}: {said}");
    }
    let counts = curl.run(["-s", &format!("{url}/metrics")]).stdout;
    assert!(counts.contains("dialtone_dns_questions_total{transport=\"quic\"} 1"), "{counts}");
    // The same certificate at the next start; another where one is named.
    let made = ["dns-certificate.pem", "dns-certificate-key.pem"]
        .map(|file| std::fs::read_to_string(world.path("first").join(file)).expect("made"));
    let file = world.write("both.pem", made.concat());
    let named = format!("certificate = '{}'\n", file.display());
    let second = start("second", &named);
    assert_eq!(pin(&second), pin(&first));
    let third = start("third", "");
    assert_ne!(pin(&third), pin(&first));
    let made = ["dns-certificate.pem", "dns-certificate-key.pem"]
        .map(|file| std::fs::read_to_string(world.path("third").join(file)).expect("made"));
    world.write("both.pem", made.concat());
    second.hang_up();
    second.logs("read again");
    assert!(asked(&second, "tls", &pin(&third)).contains("->>HEADER<<-"));
    assert!(!asked(&second, "tls", &pin(&first)).contains("->>HEADER<<-"));
    world.write("broken.pem", "nothing");
    world.write("broken.toml", format!("data = 'broken'\n{listens}certificate = 'broken.pem'\n"));
    world
        .run(["provider", "--config", "broken.toml"])
        .failed(8, &["broken.pem", "no certificate", "dns.certificate"]);
}
