//! Providers are held to what they say: compared with one another, and with their own receipts.

use crate::support::{ProviderProcess, World};

fn publish(world: &World, url: &str, ip: &str) -> serde_json::Value {
    let at = ["publish", "--key", "home.key", "--address", ip, "--provider", url, "--json"];
    world.ok(at).json()
}

fn named(world: &World) -> String {
    world.ok(["key", "new", "home.key", "--chain", "0"]).stdout.trim().to_owned()
}

/// Two providers that know nothing of each other.
fn strangers(world: &World) -> (ProviderProcess, ProviderProcess) {
    let ports = "http.listen = ['127.0.0.1:0']\ndns.listen = ['127.0.0.1:0']\npeering.listen = '127.0.0.1:0'\n";
    (
        ProviderProcess::start(world, "one", ports),
        ProviderProcess::start(world, "other", ports),
    )
}

#[test]
fn providers_that_say_the_same_agree_and_one_that_is_behind_is_named() {
    let world = World::new();
    let (one, other) = strangers(&world);
    let name = named(&world);
    let compare = || {
        let (first, second) = (one.url(), other.url());
        world.run(["audit", &name, "--provider", &first, "--provider", &second, "--json"])
    };
    let ran = compare();
    assert_eq!(
        (ran.status, &ran.json()["providers"][0]["state"]),
        (Some(5), &"absent".into()),
        "{ran}"
    );

    publish(&world, &one.url(), "192.0.2.1");
    let ran = compare();
    assert_eq!(ran.status, Some(7), "{ran}");
    let states = |ran: &crate::support::Ran| [0, 1].map(|index| ran.json()["providers"][index]["state"].as_str().map(str::to_owned));
    assert_eq!(states(&ran), [Some("agrees".to_owned()), Some("lacks it".to_owned())]);

    publish(&world, &other.url(), "192.0.2.2");
    assert_eq!(states(&compare()), [Some("behind".to_owned()), Some("agrees".to_owned())]);
    let ran = world.run(["audit", &name, "--provider", &other.url(), "--provider", "http://127.0.0.1:1"]);
    assert_eq!(ran.status, Some(6), "{ran}");
    assert!(ran.stdout.contains("agrees") && ran.stdout.contains("unreachable"), "{ran}");
}

#[test]
fn a_provider_that_lost_what_it_promised_is_proved_wrong_offline() {
    let world = World::new();
    let settings =
        "identity.key = 'provider.key'\nhttp.listen = ['127.0.0.1:0']\ndns.listen = ['127.0.0.1:0']\npeering.listen = '127.0.0.1:0'\n";
    world.ok(["key", "new", "provider.key", "--chain", "0"]);
    let mut provider = ProviderProcess::start(&world, "kept", settings);
    let name = named(&world);
    let published = publish(&world, &provider.url(), "192.0.2.1");
    let receipt = published["kept"][0]["receipt"].as_str().expect("a receipt").to_owned();
    world.write("home.receipt", &receipt);
    let audit = |provider: &ProviderProcess| {
        world.run([
            "audit",
            "--receipt",
            "home.receipt",
            "--provider",
            &provider.url(),
            "--out",
            "broken.proof",
        ])
    };
    let ran = audit(&provider);
    assert_eq!(ran.status, Some(0), "{ran}");
    assert!(ran.stdout.starts_with("kept: ") && ran.stdout.contains(&name), "{ran}");
    assert!(!world.path("broken.proof").exists());

    // The same provider, by its key, with an empty store.
    provider.stop();
    let provider = ProviderProcess::start(&world, "lost", settings);
    let ran = audit(&provider);
    assert_eq!(ran.status, Some(7), "{ran}");
    assert!(ran.stdout.starts_with("broken: "), "{ran}");
    let checked = world.ok(["audit", "--check", "broken.proof", "--json"]).json();
    assert_eq!(checked["proved"], "broken-promise");
    assert_eq!(
        (checked["of"].as_str(), checked["name"].as_str()),
        (Some(&*provider.name()), Some(&*name))
    );

    let mut proof = std::fs::read(world.path("broken.proof")).expect("a proof");
    let last = proof.len() - 1;
    proof[last] ^= 1;
    world.write("tampered.proof", &proof);
    world.run(["audit", "--check", "tampered.proof"]).failed(3, &["proves nothing"]);
    world
        .run(["audit", "--receipt", "tampered.proof", "--provider", &provider.url()])
        .failed(3, &["no receipt"]);
    let again = audit(&provider);
    assert_eq!(again.status, Some(9), "nothing is overwritten: {again}");
}

#[test]
fn another_provider_cannot_answer_for_a_promise() {
    let world = World::new();
    let (one, other) = strangers(&world);
    named(&world);
    let published = publish(&world, &one.url(), "192.0.2.1");
    world.write("home.receipt", published["kept"][0]["receipt"].as_str().expect("a receipt"));
    world
        .run(["audit", "--receipt", "home.receipt", "--provider", &other.url()])
        .failed(3, &["the receipt is of", "ask the provider that gave the receipt"]);
}
