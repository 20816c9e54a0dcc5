//! A site keeps its organisation's own names, and answers them while it is cut off from every provider.

use crate::support::{ProviderProcess, Running, Tool, World, free_port};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A service on a host of its own, in the map by its petname, and somebody else's name that is not.
struct Organisation {
    world: World,
    provider: ProviderProcess,
    service: String,
    host: String,
    stranger: String,
}

impl Organisation {
    fn new() -> Option<Self> {
        Tool::find("dig")?;
        let world = World::new();
        let provider = ProviderProcess::at_port(&world, "provider", free_port());
        let key = |file: &str| world.ok(["key", "new", file, "--chain", "0"]).stdout.trim().to_owned();
        let (service, host, stranger) = (key("service.key"), key("host.key"), key("stranger.key"));
        world.write("names", format!("intranet  {service}\n"));
        let organisation = Self {
            world,
            provider,
            service,
            host,
            stranger,
        };
        organisation.publish("host.key", &["--address", "192.0.2.1"]);
        organisation.publish("stranger.key", &["--address", "192.0.2.99"]);
        let at = format!("https:tcp:443,target={}", organisation.host);
        organisation.publish("service.key", &["--service", &at]);
        Some(organisation)
    }

    fn publish(&self, key: &str, what: &[&str]) {
        let provider = self.provider.url();
        self.world
            .ok([&["publish", "--key", key, "--ttl", "3600", "--provider", &provider][..], what].concat());
    }

    fn site(&self) -> Site {
        self.site_of(&self.provider.url())
    }

    fn site_of(&self, url: &str) -> Site {
        let args = [
            "dns",
            "--listen",
            "127.0.0.1:0",
            "--metrics",
            "127.0.0.1:0",
            "--provider",
            url,
            "--map",
            "names",
            "--site",
            "site",
            "--json",
        ];
        let mut running = Running::start(&self.world, &args);
        let start: serde_json::Value = serde_json::from_str(&running.line("{")).expect("one JSON object");
        let at = start["dns"][0].as_str().expect("an address");
        let port = at.rsplit_once(':').expect("a port").1.to_owned();
        Site {
            running,
            port,
            health: format!("http://{}/healthz", start["metrics"].as_str().expect("an address")),
            dig: Tool::find("dig").expect("it was there"),
        }
    }

    /// Waits until what lies on the disk of `name` is another file than `before`.
    fn kept(&self, name: &str, before: Option<&[u8]>) -> Vec<u8> {
        let path = self.world.path("site").join(format!("{name}.record"));
        let mut bytes = Vec::new();
        until(|| {
            bytes = std::fs::read(&path).unwrap_or_default();
            !bytes.is_empty() && Some(&bytes[..]) != before
        });
        bytes
    }
}

struct Site {
    running: Running,
    port: String,
    health: String,
    dig: Tool,
}

impl Site {
    /// All that dig says of the A records there.
    fn asked(&self, name: &str) -> String {
        let domain = if name == "intranet" {
            name.to_owned()
        } else {
            format!("{name}.dialtone.alt")
        };
        self.dig
            .run(["@127.0.0.1", "-p", &self.port, "+tries=1", "+time=20", &domain, "A"])
            .stdout
    }

    fn until_says(&self, name: &str, address: &str) {
        until(|| self.asked(name).contains(address));
    }

    fn stop(self) {
        assert_eq!(self.running.signal("TERM").code(), Some(0));
    }
}

#[test]
fn a_site_that_is_cut_off_answers_its_own_names_also_after_a_restart_and_follows_at_once_when_the_provider_is_back() {
    let Some(mut at) = Organisation::new() else { return };
    let site = at.site();
    let first = at.kept(&at.host, None);
    at.kept(&at.service, None);
    site.until_says("intranet", "192.0.2.1");
    assert!(
        !site.asked("intranet").contains("EDE"),
        "what a provider answers is not called outdated"
    );
    assert!(site.asked(&at.stranger).contains("192.0.2.99"), "other names are asked for as ever");
    site.stop();
    at.provider.kill();

    let site = at.site();
    let said = site.asked("intranet");
    assert!(
        said.contains("192.0.2.1") && said.contains("kept here: no provider answers"),
        "{said}"
    );
    assert!(said.contains("EDE: 3"), "{said}");
    let tag = at.world.ok(["key", "show", "service.pub", "--json"]).json()["hit"]
        .as_str()
        .expect("a tag")
        .to_owned();
    let said = site.dig.run(["@127.0.0.1", "-p", &site.port, "-x", &tag]).stdout;
    assert!(said.contains(&at.service), "they are found by tag, too: {said}");
    let said = site.asked(&at.stranger);
    assert!(said.contains("SERVFAIL"), "nobody else's names are kept: {said}");
    if let Some(curl) = Tool::find("curl") {
        let well = curl.run(["-s", "-w", "%{http_code}", &site.health]).stdout;
        assert!(well.ends_with("200") && well.contains("own names alone"), "{well}");
        let counts = curl.run(["-s", &site.health.replace("healthz", "metrics")]).stdout;
        for count in ["dialtone_site_names 2", "dialtone_site_kept 2", "dialtone_site_cut_off 1"] {
            assert!(counts.contains(count), "{counts}");
        }
    }

    at.provider.run(&at.world);
    at.publish("host.key", &["--address", "192.0.2.2"]);
    site.until_says("intranet", "192.0.2.2");
    until(|| !site.asked("intranet").contains("EDE"));
    let second = at.kept(&at.host, Some(&first));
    at.world
        .ok(["key", "revoke", "host.key", "--yes", "--provider", &at.provider.url()]);
    until(|| site.asked(&at.host).contains("NXDOMAIN"));
    at.kept(&at.host, Some(&second));
    site.stop();
    at.provider.kill();

    let site = at.site();
    let said = site.asked(&at.host);
    assert!(
        said.contains("NXDOMAIN") && said.contains("revoked"),
        "a revocation outlives the provider: {said}"
    );
    site.stop();
    // Who lays the old record back turns back nothing.
    std::fs::write(at.world.path("site").join(format!("{}.record", at.host)), &second).expect("written");
    let site = at.site();
    let said = site.asked(&at.host);
    assert!(said.contains("SERVFAIL") && !said.contains("192.0.2.2"), "{said}");
}

#[test]
fn a_site_keeps_its_names_also_where_they_cannot_be_watched() {
    let Some(mut at) = Organisation::new() else { return };
    let (host, port) = at.provider.dns();
    let site = at.site_of(&format!("dns://{host}:{port}/dialtone.alt"));
    at.kept(&at.host, None);
    at.kept(&at.service, None);
    at.provider.kill();
    site.stop();
    let site = at.site_of(&format!("dns://{host}:{port}/dialtone.alt"));
    site.until_says("intranet", "192.0.2.1");
}

#[test]
fn a_record_laid_into_the_folder_by_hand_is_answered_while_cut_off_and_a_forged_one_is_not() {
    let Some(mut at) = Organisation::new() else { return };
    let site = at.site();
    let kept = at.kept(&at.host, None);
    at.kept(&at.service, None);
    site.until_says("intranet", "192.0.2.1");
    site.stop();
    at.provider.kill();
    let site = at.site();
    assert!(site.asked("intranet").contains("192.0.2.1"));
    let file = at.world.path("site").join(format!("{}.record", at.host));
    let mut forged = kept.clone();
    let address = forged.windows(4).position(|bytes| bytes == [192, 0, 2, 1]).expect("its address");
    forged[address + 3] = 66;
    std::fs::write(&file, forged).expect("written");
    site.running.send("HUP");
    site.running.said("does not hold a record of its name");
    assert!(site.asked("intranet").contains("192.0.2.1"));
    until(|| std::fs::read(&file).is_ok_and(|now| now == kept)); // it is mended, too
    at.world.ok([
        "publish",
        "--key",
        "host.key",
        "--replace",
        "--address",
        "192.0.2.3",
        "--sign-only",
        "moved.record",
    ]);
    std::fs::copy(at.world.path("moved.record"), &file).expect("copied");
    site.running.send("HUP");
    site.until_says("intranet", "192.0.2.3");
}

#[test]
fn a_site_never_heard_of_and_names_without_a_folder_are_refused_with_the_remedy() {
    let world = World::new();
    let gone = format!("http://127.0.0.1:{}", free_port());
    world
        .run(["dns", "--listen", "127.0.0.1:0", "--provider", &gone, "--site", "site"])
        .failed(8, &["has not heard from one yet", "--origin"]);
    let name = world.ok(["key", "new", "a.key", "--chain", "0"]).stdout;
    world
        .run(["dns", "--listen", "127.0.0.1:0", "--site-name", name.trim()])
        .failed(8, &["without a folder", "--site"]);
    world
        .run(["dns", "--listen", "127.0.0.1:0", "--site", "site", "--site-name", "intranet"])
        .failed(8, &["intranet", "map file"]);
}

/// Waits until it is so, for a minute.
fn until(mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(60), "it did not come about");
        sleep(Duration::from_millis(20));
    }
}
