//! A name outlives its keys: stolen, lost, burnt, written down on paper.

use crate::support::{ProviderProcess, World, finish};
use dialtone_resolver::edit::Says;
use dialtone_resolver::io::http::HttpClient;
use dialtone_resolver::io::publisher::Publisher;
use dialtone_resolver::io::{clock, key_files};
use dialtone_resolver::publish::{self, Account, PutIf};
use dialtone_shared::cbor::Writer;
use dialtone_shared::record::{Address, Binding, Record};
use dialtone_shared::{Genesis, Link, SecretKey, UnixMicros};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[test]
fn a_thief_with_todays_key_loses_the_name_everywhere_once_its_owner_rotates() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    let name = key(&world, "alice.key");
    // The thief has the key and its public file, publishes last.
    fs::create_dir(world.path("thief")).unwrap();
    for file in ["alice.key", "alice.pub"] {
        fs::copy(world.path(file), world.path("thief").join(file)).unwrap();
    }
    let publish = |key: &str, ip: &str, at: &ProviderProcess, seen: &ProviderProcess| {
        world.run([
            "publish",
            "--key",
            key,
            "--address",
            ip,
            "--provider",
            &at.url(),
            "--wait-visible-at",
            &seen.url(),
        ])
    };
    assert_eq!(publish("alice.key", "192.0.2.1", &first, &second).status, Some(0));
    assert_eq!(publish("thief/alice.key", "203.0.113.66", &second, &first).status, Some(0));
    assert_eq!(
        leads_to(&world, &name, &first),
        "203.0.113.66",
        "so far it is a matter of who is last"
    );

    let rotated = world.ok(["key", "rotate", "alice.key"]);
    assert!(rotated.stderr.contains("key epoch 1; 15 more keys may follow"), "{rotated}");
    assert_eq!(rotated.stdout.trim(), name, "the name is the same");
    assert_eq!(publish("alice.key", "192.0.2.2", &first, &second).status, Some(0));
    for at in [&first, &second] {
        assert_eq!(leads_to(&world, &name, at), "192.0.2.2");
        publish("thief/alice.key", "203.0.113.66", at, at).failed(4, &["higher rank"]);
    }
    // Nor does the thief rotate: the next secret was never on that machine.
    world
        .run(["key", "rotate", "thief/alice.key"])
        .failed(9, &["link-01.key", "kept apart", "--link"]);
}

#[test]
fn a_rotation_can_take_what_the_name_stands_for_with_it() {
    let world = World::new();
    let alone = ProviderProcess::alone(&world);
    let name = key(&world, "alice.key");
    let at = alone.url();
    world.ok([
        "publish",
        "--key",
        "alice.key",
        "--address",
        "192.0.2.7",
        "--service",
        "https:tcp:443,alpn=h2",
        "--ttl",
        "5m",
        "--provider",
        &at,
    ]);
    let before = world.ok(["resolve", &name, "--provider", &at, "--json"]).json();
    let looked = world.ok(["key", "rotate", "alice.key", "--republish", "--dry-run", "--provider", &at]);
    assert!(looked.stdout.contains("192.0.2.7"), "{looked}");
    assert_eq!(
        world.ok(["key", "show", "alice.pub", "--json"]).json()["epoch"],
        0,
        "looking changes nothing"
    );
    world.ok(["key", "rotate", "alice.key", "--republish", "--provider", &at]);
    let after = world.ok(["resolve", &name, "--provider", &at, "--json"]).json();
    assert_eq!(after["endpoints"], before["endpoints"]);
    assert_ne!(after, before, "signed anew");
    assert_eq!(world.ok(["key", "show", "alice.pub", "--json"]).json()["epoch"], 1);
    // There is nothing that it could take: of a name that is revoked, or was never published.
    world.ok(["key", "revoke", "alice.key", "--yes", "--provider", &at]);
    key(&world, "bob.key");
    for (file, epoch, says) in [("alice", 1, "revocation"), ("bob", 0, "no record of it")] {
        let (private, public) = (format!("{file}.key"), format!("{file}.pub"));
        world
            .run(["key", "rotate", &private, "--republish", "--provider", &at])
            .failed(5, &[says, "without --republish"]);
        assert_eq!(world.ok(["key", "show", &public, "--json"]).json()["epoch"], epoch);
    }
    // Nobody answers: nothing is changed.
    let nobody = format!("http://127.0.0.1:{}", crate::support::free_port());
    world
        .run(["key", "rotate", "alice.key", "--republish", "--provider", &nobody])
        .failed(6, &[]);
    assert_eq!(world.ok(["key", "show", "alice.pub", "--json"]).json()["epoch"], 1);
}

#[test]
fn a_rotation_that_was_interrupted_is_finished_by_the_same_command() {
    let world = World::new();
    key(&world, "alice.key");
    let old = fs::read(world.path("alice.key")).unwrap();
    world.ok(["key", "rotate", "alice.key"]);
    // As a power failure between the two files leaves them.
    fs::write(world.path("alice.key"), &old).unwrap();
    world
        .run(["publish", "--key", "alice.key", "--address", "192.0.2.1", "--dry-run"])
        .failed(3, &["not the one in force"]);
    let done = world.ok(["key", "rotate", "alice.key"]);
    assert!(done.stderr.contains("key epoch 1"), "{done}");
    world.ok(["publish", "--key", "alice.key", "--address", "192.0.2.1", "--dry-run"]);
    assert_eq!(fs::read(world.path("alice.epoch-0.key")).unwrap(), old);
}

#[test]
fn only_the_next_link_of_the_same_name_rotates_it() {
    let world = World::new();
    key(&world, "alice.key");
    key(&world, "bob.key");
    let before = fs::read(world.path("alice.pub")).unwrap();
    for (link, says) in [
        ("alice.offline/link-02.key", "it is that of link 2"),
        ("bob.offline/link-01.key", "not that of link 1"),
        ("alice.pub", "public file"),
    ] {
        world.run(["key", "rotate", "alice.key", "--link", link]).failed(3, &[says]);
    }
    assert_eq!(fs::read(world.path("alice.pub")).unwrap(), before);
    world.ok(["key", "new", "fixed.key", "--chain", "0"]);
    world.run(["key", "rotate", "fixed.key"]).failed(3, &["cannot change any more"]);
}

#[test]
fn a_revocation_from_the_drawer_burns_a_lost_key_and_a_rotation_brings_the_name_back() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    let name = key(&world, "alice.key");
    let kept = world.ok(["key", "revoke", "alice.key", "--sign-only", "alice.revocation"]);
    assert!(kept.stderr.contains("nothing is revoked yet"), "{kept}");
    let mode = world.path("alice.revocation").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "who can read it can revoke");
    world.ok([
        "publish",
        "--key",
        "alice.key",
        "--address",
        "192.0.2.1",
        "--provider",
        &first.url(),
    ]);
    world
        .run(["key", "revoke", "alice.key", "--provider", &first.url()])
        .failed(2, &["cannot be taken back", "--yes"]);
    // The key is gone; the drawer is not. It was signed before everything that it burns.
    fs::rename(world.path("alice.key"), world.path("lost.key")).unwrap();
    let visible = ["--provider", &second.url(), "--wait-visible-at", &first.url()].map(str::to_owned);
    world.ok([&["publish", "--signed", "alice.revocation"].map(str::to_owned)[..], &visible].concat());
    for at in [&first, &second] {
        let gone = world.run(["resolve", &name, "--provider", &at.url()]);
        assert_eq!(gone.status, Some(5), "{gone}");
    }
    fs::rename(world.path("lost.key"), world.path("alice.key")).unwrap();
    world
        .run([
            "publish",
            "--key",
            "alice.key",
            "--address",
            "192.0.2.9",
            "--provider",
            &first.url(),
        ])
        .failed(4, &["higher rank"]);
    world.ok(["key", "rotate", "alice.key"]);
    world.ok([
        "publish",
        "--key",
        "alice.key",
        "--address",
        "192.0.2.3",
        "--provider",
        &first.url(),
    ]);
    assert_eq!(leads_to(&world, &name, &first), "192.0.2.3");
}

#[test]
fn a_record_is_signed_on_one_machine_and_put_from_another() {
    let world = World::new();
    let alone = ProviderProcess::alone(&world);
    let name = key(&world, "alice.key");
    let signed = world.ok([
        "publish",
        "--key",
        "alice.key",
        "--address",
        "192.0.2.5",
        "--sign-only",
        "alice.record",
    ]);
    assert!(signed.stderr.contains("--signed alice.record"), "{signed}");
    world
        .run([
            "publish",
            "--key",
            "alice.key",
            "--address",
            "192.0.2.6",
            "--sign-only",
            "alice.record",
        ])
        .failed(9, &["alice.record"]);
    fs::remove_file(world.path("alice.key")).unwrap();
    world.ok(["publish", "--signed", "alice.record", "--provider", &alone.url()]);
    assert_eq!(leads_to(&world, &name, &alone), "192.0.2.5");
    let mut bytes = fs::read(world.path("alice.record")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    world.write("forged.record", &bytes);
    world.write("cut.record", &bytes[..last]);
    world.write("empty.record", "");
    for file in ["forged.record", "cut.record", "empty.record"] {
        world
            .run(["publish", "--signed", file, "--provider", &alone.url()])
            .failed(7, &[file, "--sign-only"]);
    }
    world
        .run(["publish", "--signed", "alice.record", "--address", "192.0.2.1"])
        .failed(2, &["cannot be used with"]);
}

#[test]
fn twenty_four_words_on_paper_bring_back_every_key_of_the_name() {
    let world = World::new();
    let nobody = format!("http://127.0.0.1:{}", crate::support::free_port());
    for (file, made, how) in [
        ("alice.key", &[][..], &[][..]),
        ("shop.key", &["--salt", "shop", "--chain", "3"][..], &["--salt", "shop"][..]),
        ("fixed.key", &["--chain", "0"], &[]),
    ] {
        let name = world.ok([&["key", "new", file][..], made].concat()).stdout.trim().to_owned();
        let words = world.ok(["key", "backup", file]).stdout;
        assert_eq!(words.split_whitespace().count(), 24, "{words}");
        let again = format!("again-{file}");
        let restore = |words: &str| {
            let words = world.write("words", words);
            let args = [&["key", "restore", &again, "--name", &name, "--provider", &nobody][..], how].concat();
            finish(world.command().args(args).stdin(fs::File::open(words).unwrap()))
        };
        // Two words changed places, one is no word, one is missing: nothing is written. Of words in a wrong order the checksum of
        // eight bits misses one in 256, and the name catches those.
        let list: Vec<_> = words.split_whitespace().collect();
        let refused_for = |at: usize| {
            let mut swapped = list.clone();
            swapped.swap(at, at + 1);
            let ran = restore(&swapped.join(" "));
            ran.failed(3, &["words"]);
            let by_checksum = ran.stderr.contains("the words") && ran.stderr.contains("checksum");
            assert!(by_checksum || ran.stderr.contains("do not make"), "{ran}");
            by_checksum
        };
        let mut places = (0..23).filter(|at| list[*at] != list[at + 1]);
        assert!(places.any(refused_for), "no checksum is looked at");
        for (wrong, says) in [
            (words.replacen(' ', " zzz ", 1), "25 words, not 24"),
            (format!("{} zzz", list[..23].join(" ")), "word 24 is not on the list"),
            (list[..23].join(" "), "23 words, not 24"),
        ] {
            restore(&wrong).failed(3, &["the words", says]);
        }
        let restored = restore(&words.to_uppercase().replace(' ', "\n "));
        assert_eq!((restored.status, restored.stdout.trim()), (Some(0), name.as_str()), "{restored}");
        assert!(
            restored.stderr.contains("--epoch"),
            "nobody could say how often it was rotated: {restored}"
        );
        assert_eq!(fs::read(world.path(&again)).unwrap(), fs::read(world.path(file)).unwrap());
        restore(&words).failed(9, &["never overwritten"]);
    }
    let other = world.ok(["key", "show", "shop.key", "--json"]).json()["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let words = world.write("words", world.ok(["key", "backup", "alice.key"]).stdout);
    let args = ["key", "restore", "wrong.key", "--name", &other, "--provider", &nobody];
    finish(world.command().args(args).stdin(fs::File::open(words).unwrap())).failed(3, &["do not make", "salt"]);
    assert!(!world.path("wrong.key").exists());
}

#[test]
fn a_key_that_was_rotated_is_restored_as_it_was() {
    let world = World::new();
    let name = key(&world, "alice.key");
    world.ok(["key", "rotate", "alice.key"]);
    world.ok(["key", "rotate", "alice.key"]);
    let backup = world.ok(["key", "backup", "alice.key"]);
    assert!(
        backup.stderr.contains(&format!("restore NEW.key --name {name} --epoch 2")),
        "{backup}"
    );
    let words = world.write("words", backup.stdout);
    let alone = ProviderProcess::alone(&world);
    let at = alone.url();
    let restore = |file: &str, more: &[&str]| {
        let args = [&["key", "restore", file, "--name", &name, "--provider", &at][..], more].concat();
        let ran = finish(world.command().args(args).stdin(fs::File::open(&words).unwrap()));
        assert_eq!(ran.status, Some(0), "{ran}");
        ran.stderr
    };
    let same = |file: &str| {
        for (old, new) in [("alice.key", format!("{file}.key")), ("alice.pub", format!("{file}.pub"))] {
            assert_eq!(fs::read(world.path(old)).unwrap(), fs::read(world.path(&new)).unwrap(), "{new}");
        }
    };
    restore("again.key", &["--epoch", "2"]);
    same("again");
    let said = restore("unknown.key", &[]);
    assert!(said.contains("holds no record of it") && said.contains("--epoch"), "{said}");
    // Whoever holds its record knows how often it was rotated.
    world.ok(["publish", "--key", "alice.key", "--address", "192.0.2.1", "--provider", &at]);
    let said = restore("told.key", &[]);
    assert!(said.contains("the key of epoch 2"), "{said}");
    same("told");
    let said = restore("older.key", &["--epoch", "1"]);
    assert!(said.contains("counts for nothing"), "{said}");
    world.ok(["key", "revoke", "alice.key", "--yes", "--provider", &at]);
    let said = restore("revoked.key", &[]);
    assert!(said.contains("revoked") && said.contains("key rotate"), "{said}");
}

#[test]
fn a_thief_who_publishes_first_and_without_pause_loses_at_all_providers_to_one_rotation() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    let name = key(&world, "alice.key");
    let providers = [first.url(), second.url()];
    fs::create_dir(world.path("thief")).unwrap();
    for file in ["alice.key", "alice.pub"] {
        fs::copy(world.path(file), world.path("thief").join(file)).unwrap();
    }
    let stolen = key_files::load_signer(&world.path("thief/alice.key")).unwrap();
    let (stop, kept) = (AtomicBool::new(false), AtomicUsize::new(0));
    let accounts = || {
        let account = |at: &String| Account {
            at: at.parse().unwrap(),
            token: None,
        };
        providers.iter().map(account).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let publisher = Publisher::new(accounts());
            while !stop.load(Ordering::Relaxed) {
                // As far ahead as any provider takes it, and again and again.
                let ahead = UnixMicros(clock::now_micros().0 + 240_000_000);
                let says = says([203, 0, 113, 66]);
                let record = publish::sign(&stolen, ahead, Vec::new(), says.body(ahead.secs())).unwrap();
                let puts = runtime.block_on(publisher.put(&record, PutIf::Always));
                if puts.iter().all(Result::is_ok) {
                    kept.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        // Also when something here fails: the thief has to be joined.
        let _stop = Stop(&stop);
        let deadline = Instant::now() + Duration::from_secs(60);
        while kept.load(Ordering::Relaxed) < 3 {
            assert!(Instant::now() < deadline, "the thief was never in possession");
            std::thread::sleep(Duration::from_millis(10));
        }
        world.ok(["key", "rotate", "alice.key"]);
        let back = [
            "publish",
            "--key",
            "alice.key",
            "--address",
            "192.0.2.2",
            "--provider",
            &providers[0],
        ];
        let seen = ["--wait-visible-at", &providers[0], "--wait-visible-at", &providers[1]];
        let back = world.ok([&back[..], &seen].concat());
        assert!(back.stderr.contains("an earlier key signed that"), "{back}");
        // While the thief goes on.
        for at in [&first, &second] {
            assert_eq!(leads_to(&world, &name, at), "192.0.2.2");
        }
    });
    for at in [&first, &second] {
        assert_eq!(leads_to(&world, &name, at), "192.0.2.2");
    }
    world
        .run([
            "publish",
            "--key",
            "thief/alice.key",
            "--address",
            "203.0.113.66",
            "--provider",
            &providers[1],
        ])
        .failed(4, &["later key", "rotated"]);
}

#[test]
fn a_chain_that_is_cut_reordered_forged_or_too_long_takes_a_name_nowhere() {
    let world = World::new();
    let at = ProviderProcess::alone(&world);
    let name = key(&world, "alice.key");
    key(&world, "mallory.key");
    world.ok(["key", "rotate", "alice.key"]);
    world.ok(["key", "rotate", "alice.key"]);
    world.ok(["publish", "--key", "alice.key", "--address", "192.0.2.2", "--provider", &at.url()]);
    let alice = key_files::load_signer(&world.path("alice.key")).unwrap();
    let mallory = key_files::load_signer(&world.path("mallory.key")).unwrap();
    let next = key_files::load_secret(&world.path("mallory.offline/link-01.key")).unwrap();
    let link = |secret: &SecretKey| Link {
        key: secret.public(),
        next: None,
    };
    let [one, two] = &alice.chain[..] else { panic!("two rotations") };
    let long: Vec<Link> = std::iter::repeat_n(two.clone(), 40).collect();
    let forged: [(&str, Vec<Link>, &SecretKey); 6] = [
        ("cut at its start", vec![two.clone()], &alice.secret),
        ("cut at its end, by the last key", vec![one.clone()], &alice.secret),
        ("reordered", vec![two.clone(), one.clone()], &alice.secret),
        ("forged", vec![one.clone(), link(&next)], &next),
        (
            "gone on with",
            vec![one.clone(), two.clone(), link(&mallory.secret)],
            &mallory.secret,
        ),
        ("too long", [alice.chain.clone(), long].concat(), &alice.secret),
    ];
    let put = |bytes: Vec<u8>| {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let headers = [("content-type", "application/vnd.dialtone.record")];
            let url = format!("{}/v1/records/{name}", at.url());
            let http = HttpClient::new();
            http.ask(hyper::Method::PUT, &url, &headers, bytes.into(), Duration::from_secs(60))
                .await
                .unwrap()
        })
    };
    let envelope = |chain: &[Link], secret: &SecretKey| envelope(&alice.genesis, chain, secret);
    assert_eq!(
        put(envelope(&alice.chain, &alice.secret)).status,
        201,
        "the true chain is taken in this form"
    );
    for (what, chain, secret) in forged {
        let answer = put(envelope(&chain, secret));
        let says = String::from_utf8_lossy(&answer.body).into_owned();
        assert!((400..500).contains(&answer.status), "{what}: {} {says}", answer.status);
        assert_eq!(leads_to(&world, &name, &at), "192.0.2.3", "{what}: {says}");
    }
}

#[test]
fn a_revocation_outranks_the_last_sequence_that_there_is() {
    let world = World::new();
    let at = ProviderProcess::alone(&world);
    let name = key(&world, "alice.key");
    let signer = key_files::load_signer(&world.path("alice.key")).unwrap();
    let last = UnixMicros(1 << 62);
    let says = says([203, 0, 113, 66]);
    let record = publish::sign(&signer, last, Vec::new(), says.body(last.secs())).unwrap();
    fs::write(world.path("last.record"), record.bytes()).unwrap();
    // No provider takes what is signed so far ahead, so nobody can lock a name with it.
    let at_url = ["--provider", &at.url()].map(str::to_owned);
    world
        .run([&["publish", "--signed", "last.record"].map(str::to_owned)[..], &at_url].concat())
        .failed(4, &["NTP"]);
    let revoked = publish::sign(&signer, UnixMicros(1), Vec::new(), dialtone_shared::Body::Revoked).unwrap();
    assert!(revoked.outranks(&record), "and where it is held it is outranked all the same");
    world.ok([
        &["publish", "--key", "alice.key", "--address", "192.0.2.1"].map(str::to_owned)[..],
        &at_url,
    ]
    .concat());
    world.ok([&["key", "revoke", "alice.key", "--yes"].map(str::to_owned)[..], &at_url].concat());
    assert_eq!(world.run(["resolve", &name, "--provider", &at.url()]).status, Some(5));
}

#[test]
fn one_key_has_many_names_and_its_links_rotate_each() {
    let world = World::new();
    let at = ProviderProcess::alone(&world);
    let name = key(&world, "alice.key");
    world.ok(["key", "rotate", "alice.key"]);
    let only_said = world.ok(["key", "derive", "alice.pub", "--salt", "shop"]).stdout;
    let shop = world
        .ok(["key", "derive", "alice.key", "shop.key", "--salt", "shop", "--json"])
        .json();
    assert_eq!((shop["name"].as_str(), shop["links"].as_u64()), (Some(only_said.trim()), Some(16)));
    assert_ne!(shop["name"], name);
    for (key, ip) in [("alice.key", "192.0.2.1"), ("shop.key", "192.0.2.2")] {
        world.ok(["publish", "--key", key, "--address", ip, "--provider", &at.url()]);
    }
    assert_eq!(leads_to(&world, only_said.trim(), &at), "192.0.2.2");
    assert_eq!(leads_to(&world, &name, &at), "192.0.2.1");
    world.ok([
        "key",
        "rotate",
        "shop.key",
        "--link",
        "alice.offline/link-02.key",
        "--republish",
        "--provider",
        &at.url(),
    ]);
    assert_eq!(leads_to(&world, only_said.trim(), &at), "192.0.2.2");
    world.ok(["publish", "--key", "alice.key", "--address", "192.0.2.3", "--provider", &at.url()]);
    // The words bring it back as well.
    let words = world.write("words", world.ok(["key", "backup", "alice.key"]).stdout);
    let args = [
        "key",
        "restore",
        "again.key",
        "--name",
        only_said.trim(),
        "--salt",
        "shop",
        "--epoch",
        "2",
    ];
    assert_eq!(
        finish(world.command().args(args).stdin(fs::File::open(words).unwrap())).status,
        Some(0)
    );
    assert_eq!(
        fs::read(world.path("again.pub")).unwrap(),
        fs::read(world.path("shop.pub")).unwrap()
    );
    for (args, status, says) in [
        (
            &["key", "derive", "alice.key", "shop.key", "--salt", "shop"][..],
            9,
            "never overwritten",
        ),
        (&["key", "derive", "shop.key", "--salt", "shop"], 3, "salt"),
        (&["key", "derive", "alice.pub", "new.key", "--salt", "x"], 3, "public file"),
        (&["key", "derive", "alice.key", "--salt", ""], 3, "1 to 32"),
    ] {
        world.run(args).failed(status, &[says]);
    }
}

/// Stops somebody when it goes.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A record of now with this chain, whether it holds together or not, as only somebody who means harm would write it.
fn envelope(genesis: &Genesis, chain: &[Link], secret: &SecretKey) -> Vec<u8> {
    let now = clock::now_micros();
    let record = Record {
        genesis: genesis.clone(),
        chain: Vec::new(),
        sequence: now,
        scope: Vec::new(),
        body: says([192, 0, 2, 3]).body(now.secs()),
    };
    let plain = record.encode_payload().unwrap();
    let mut links = Writer::new();
    links.uint(3).array(chain.len());
    for link in chain {
        links.map(2 + usize::from(link.next.is_some()));
        links.uint(1).int(-19).uint(2).bytes(link.key.as_bytes());
        if let Some(next) = &link.next {
            links.uint(4).bytes(&next.0);
        }
    }
    // Field 3 goes between the genesis and the sequence.
    let mut head = Writer::new();
    head.uint(1).uint(1).uint(2);
    let at = 1 + head.into_bytes().len() + genesis.encode().len();
    let mut payload = vec![plain[0] + 1];
    payload.extend(&plain[1..at]);
    payload.extend(links.into_bytes());
    payload.extend(&plain[at..]);
    let protected = [0xa1, 1, 0x32];
    let (mut signed, mut envelope) = (Writer::new(), Writer::new());
    signed.array(4).text("Signature1").bytes(&protected);
    signed.bytes(b"dialtone/record/v1").bytes(&payload);
    let signature = secret.sign(&signed.into_bytes());
    envelope
        .raw(&[0xd2, 0x84])
        .bytes(&protected)
        .raw(&[0xa0])
        .bytes(&payload)
        .bytes(&signature);
    envelope.into_bytes()
}

fn says(ip: [u8; 4]) -> Says {
    Says {
        bindings: vec![Binding::Address(Address::of(ip.into()))],
        ..Says::nothing()
    }
}

fn key(world: &World, file: &str) -> String {
    world.ok(["key", "new", file]).stdout.trim().to_owned()
}

/// The address that the name leads to at this provider.
fn leads_to(world: &World, name: &str, at: &ProviderProcess) -> String {
    let found = world.ok(["resolve", name, "--provider", &at.url(), "--json"]).json();
    found["endpoints"][0]["ip"].as_str().unwrap_or_default().to_owned()
}
