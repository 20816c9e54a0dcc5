//! Agreements between providers that run: invited, accepted, changed, ended and settled without a restart.

use crate::support::{ProviderProcess, World};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dialtone_shared::SecretKey;
use dialtone_shared::receipt::Signer;
use dialtone_shared::statement::{Category, Crossed, Row, Statement};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Two providers that know nothing of one another.
fn strangers(world: &World) -> (ProviderProcess, ProviderProcess) {
    (ProviderProcess::unpeered(world, "ada"), ProviderProcess::unpeered(world, "bob"))
}

/// Makes them peers on `terms`, by one line each way.
fn invite(world: &World, terms: &[&str]) {
    let line = world.ok([&["peer", "invite", "--data", "ada"], terms].concat()).stdout;
    let reply = world.ok(["peer", "accept", "--data", "bob", line.trim()]).stdout;
    assert_eq!(reply.lines().count(), 1, "{reply}");
    let accepted = world.ok(["peer", "accept", "--data", "ada", reply.trim()]);
    assert!(accepted.stdout.contains("does so now"), "{accepted}");
}

fn peers(world: &World, data: &str) -> Vec<Value> {
    let listed = world.ok(["peer", "list", "--data", data, "--json"]).json();
    assert_eq!(listed["running"], true);
    listed["peers"].as_array().expect("a list").clone()
}

/// Waits until what `data` says of its one peer is as wanted.
fn until(world: &World, data: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let peers = peers(world, data);
        if let [peer] = &peers[..]
            && wanted(peer)
        {
            return peer.clone();
        }
        assert!(Instant::now() < deadline, "{data}: {peers:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn publish(world: &World, key: &str, at: &ProviderProcess) -> String {
    let name = world.ok(["key", "new", key]).stdout.trim().to_owned();
    world.ok(["publish", "--key", key, "--address", "192.0.2.1", "--provider", &at.url()]);
    name
}

fn resolves(world: &World, name: &str, at: &ProviderProcess) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let ran = world.run(["resolve", name, "--provider", &at.url()]);
        if ran.status == Some(0) {
            return;
        }
        assert!(Instant::now() < deadline, "{ran}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn two_providers_that_run_become_peers_by_one_line_each_way() {
    let world = World::new();
    let (mut ada, bob) = strangers(&world);
    world.write("ada.toml", format!("# Ada's own words\n{}", read(&world.path("ada.toml"))));
    invite(&world, &[]);
    until(&world, "ada", |peer| peer["state"] == "up" && peer["name"] == bob.name());
    let name = publish(&world, "alice.key", &ada);
    resolves(&world, &name, &bob);
    let table = world.ok(["peer", "list", "--data", "ada"]).stdout;
    assert!(
        table.contains("mutual") && table.contains("values") && table.contains(&bob.name()),
        "{table}"
    );
    let shown = world.ok(["peer", "show", &bob.name(), "--data", "ada"]).stdout;
    assert!(shown.contains("values (we allow values, it accepts values)"), "{shown}");
    let settings = read(&world.path("ada.toml"));
    assert!(
        settings.contains("# Ada's own words") && settings.contains(&bob.name()),
        "{settings}"
    );
    // What was agreed holds after a restart.
    ada.stop();
    ada.run(&world);
    until(&world, "ada", |peer| peer["state"] == "up");
}

#[test]
fn both_sides_have_the_terms_that_were_offered_each_as_it_sees_them() {
    let world = World::new();
    let (_ada, _bob) = strangers(&world);
    invite(&world, &["--relationship", "customer", "--accept", "pointers", "--asks", "false"]);
    let at_ada = until(&world, "ada", |peer| peer["state"] == "up");
    assert_eq!((&at_ada["relationship"], &at_ada["asks"]), (&"customer".into(), &false.into()));
    let at_bob = until(&world, "bob", |peer| peer["state"] == "up");
    assert_eq!(at_bob["relationship"], "upstream");
    assert_eq!(
        (&at_bob["push"]["ours"], &at_bob["accept"]["ours"]),
        (&"pointers".into(), &"values".into())
    );
    assert_eq!((&at_bob["answers"], &at_bob["asks"]), (&false.into(), &true.into()));
}

#[test]
fn a_mode_is_changed_while_the_link_stands_and_both_views_are_shown() {
    let world = World::new();
    let (_ada, bob) = strangers(&world);
    invite(&world, &[]);
    until(&world, "ada", |peer| peer["state"] == "up" && peer["links"] == 1);
    world.ok(["peer", "add", &bob.name(), "--data", "ada", "--push", "none", "--names-max", "1000"]);
    let at_ada = until(&world, "ada", |peer| peer["push"]["ours"] == "none");
    assert_eq!(
        (&at_ada["push"]["theirs"], &at_ada["push"]["holds"]),
        (&"values".into(), &"none".into())
    );
    let at_bob = until(&world, "bob", |peer| peer["accept"]["theirs"] == "none");
    assert_eq!(
        (&at_bob["accept"]["ours"], &at_bob["accept"]["holds"]),
        (&"values".into(), &"none".into())
    );
    assert_eq!(until(&world, "ada", |peer| peer["state"] == "up")["links"], 1, "the same link");
    let table = world.ok(["peer", "list", "--data", "bob"]).stdout;
    assert!(table.contains("it would push none, we accept values: the lesser holds"), "{table}");
    let settings = read(&world.path("ada.toml"));
    assert!(
        settings.contains("push = \"none\"") && settings.contains("names_max = 1000"),
        "{settings}"
    );
}

#[test]
fn every_term_of_an_agreement_can_be_set_without_an_editor_in_a_file_that_came_from_a_template() {
    let world = World::new();
    let template = world.ok(["template"]).stdout;
    world.write("provider.toml", &template);
    let names: Vec<String> = ["peer.key", "one.key", "two.key"]
        .map(|key| world.ok(["key", "new", key, "--chain", "0"]).stdout.trim().to_owned())
        .into();
    let [peer, one, two] = &names[..] else { unreachable!() };
    let add = |terms: &[&str]| {
        world.ok([&["peer", "add", peer, "--config", "provider.toml"], terms].concat());
        let text = read(&world.path("provider.toml"));
        assert!(text.starts_with(&template), "{text}");
        text[template.len()..].to_owned()
    };
    let block = add(&[
        "--only",
        one,
        "--only",
        two,
        "--except",
        two,
        "--scoped",
        "false",
        "--price",
        "gold",
        "--unreachable",
    ]);
    // In the order of the names, which is not that of their letters.
    let only = block.lines().find(|line| line.starts_with("only = [")).unwrap_or_default();
    assert!(only.contains(one.as_str()) && only.contains(two.as_str()), "{block}");
    for says in [
        format!("except = [\"{two}\"]"),
        "scoped = false".to_owned(),
        "price = \"gold\"".to_owned(),
        "addresses = []".to_owned(),
    ] {
        assert!(block.contains(&says), "{says}: {block}");
    }
    let block = add(&["--only", "none", "--price", "none", "--address", "127.0.0.1:1"]);
    assert!(
        block.contains("only = []") && block.contains(&format!("except = [\"{two}\"]")),
        "{block}"
    );
    assert!(!block.contains("price") && block.contains("127.0.0.1:1"), "{block}");
    world
        .run([
            "peer",
            "add",
            &format!("{peer}@127.0.0.1:1"),
            "--unreachable",
            "--config",
            "provider.toml",
        ])
        .failed(3, &["--unreachable"]);
    world
        .run(["peer", "add", peer, "--except", "nobody", "--config", "provider.toml"])
        .failed(3, &["--except", "56 characters"]);
    world.ok(["peer", "remove", peer, "--config", "provider.toml"]);
    assert_eq!(read(&world.path("provider.toml")).trim_end(), template.trim_end());
}

/// How many links of `data` with this peer have stood when one does and stays: where both dial at once one of two is ended, a moment later.
fn links_settled(world: &World, data: &str, name: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut before = Value::Null;
    loop {
        let peers = peers(world, data);
        let peer = peers.iter().find(|peer| peer["name"] == name && peer["state"] == "up");
        let links = peer.map_or(Value::Null, |peer| peer["links"].clone());
        if !links.is_null() && links == before {
            return links;
        }
        assert!(Instant::now() < deadline, "{data}: {peers:?}");
        before = links;
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn an_agreement_that_is_removed_ends_its_link_at_once_and_no_other() {
    let world = World::new();
    let (ada, bob) = strangers(&world);
    invite(&world, &[]);
    let carol = ProviderProcess::unpeered(&world, "carol");
    let line = world.ok(["peer", "invite", "--data", "carol"]).stdout;
    let reply = world.ok(["peer", "accept", "--data", "ada", line.trim()]).stdout;
    world.ok(["peer", "accept", "--data", "carol", reply.trim()]);
    until(&world, "carol", |peer| peer["state"] == "up");
    until(&world, "bob", |peer| peer["state"] == "up");
    let stood = links_settled(&world, "ada", &carol.name());
    world.ok(["peer", "remove", &bob.name(), "--data", "ada"]);
    until(&world, "ada", |peer| {
        peer["name"] == carol.name() && peer["state"] == "up" && peer["links"] == stood
    });
    until(&world, "bob", |peer| peer["state"] != "up" && peer["last_error"].is_string());
    let info = info(&ada);
    assert!(info.contains(&carol.name()) && !info.contains(&bob.name()), "{info}");
    world
        .run(["peer", "remove", &bob.name(), "--data", "ada"])
        .failed(5, &[&bob.name(), "peer list"]);
}

#[test]
fn an_invitation_that_cannot_be_accepted_says_why_and_changes_nothing() {
    let world = World::new();
    let (_ada, _bob) = strangers(&world);
    let line = world.ok(["peer", "invite", "--data", "ada"]).stdout.trim().to_owned();
    let accept = |data: &str, line: &str| world.run(["peer", "accept", "--data", data, line]);
    accept("bob", "nonsense").failed(3, &["dialtone-peer:"]);
    accept("bob", &line[..line.len() - 3]).failed(3, &["missing"]);
    // At one place alone: the same letters elsewhere may be those of `dialtone-peer:`.
    let slip = format!("{}ll{}", &line[..60], &line[62..]);
    accept("bob", &slip).failed(3, &["character 'l'"]);
    accept("ada", &line).failed(3, &["wrote it itself"]);
    world.run(["peer", "accept", "--data", "bob"]).failed(3, &["nothing was given"]);
    // The other way: a reply on terms that nobody offered, and one to somebody else.
    let reply = world.ok(["peer", "accept", "--data", "bob", &line]).stdout.trim().to_owned();
    let carol = ProviderProcess::unpeered(&world, "carol");
    accept("carol", &reply).failed(3, &["reply to"]);
    let pushy = world.ok(["peer", "invite", "--data", "carol"]).stdout.trim().to_owned();
    let forged = forged_reply(&world, &pushy, &carol.name());
    accept("carol", &forged).failed(4, &["other terms"]);
    world.run(["peer", "invite", "--data", "ada", "--days", "0"]).failed(3, &["days"]);
    assert!(peers(&world, "ada").is_empty() && peers(&world, "carol").is_empty());
    assert_eq!(peers(&world, "bob").len(), 1);
}

/// A reply by Bob to Carol's invitation that makes Carol his customer.
fn forged_reply(world: &World, line: &str, carol: &str) -> String {
    use dialtone_shared::invite::Invite;
    use dialtone_shared::message::Relationship;
    let mut invite = Invite::parse(line).unwrap();
    assert_eq!(invite.from.to_string(), carol);
    invite.offer.relationship = Relationship::Customer;
    invite.reply(&signer(world, "bob"), invite.time, &["127.0.0.1:1".to_owned()])
}

fn signer(world: &World, data: &str) -> Signer {
    Signer::of(SecretKey::from_pem(&read(&world.path(format!("{data}/identity.key")))).unwrap())
}

#[test]
fn an_operator_sees_by_whom_a_record_came_and_the_doctor_what_a_link_carries() {
    let world = World::new();
    let (ada, bob) = strangers(&world);
    invite(&world, &[]);
    until(&world, "bob", |peer| peer["state"] == "up");
    let name = publish(&world, "alice.key", &ada);
    resolves(&world, &name, &bob);
    let here = world.ok(["peer", "trace", &name, "--data", "ada"]).stdout;
    assert!(here.contains("put here"), "{here}");
    let there = world.ok(["peer", "trace", &name, "--data", "bob", "--json"]).json();
    assert_eq!(there["held"]["path"], serde_json::json!([ada.name()]), "{there}");
    world.run(["peer", "trace", &ada.name()[..0], "--data", "bob"]).failed(3, &["NAME"]);
    // Bob tells Ada nothing any more, and does not answer: what is put there does not resolve at Ada's.
    let doctor = ["doctor", "--provider", &ada.url(), "--data", "ada"];
    let good = world.ok(doctor).stdout;
    assert!(good.contains("each carries names both ways"), "{good}");
    world.ok(["peer", "add", &ada.name(), "--push", "none", "--answers", "false", "--data", "bob"]);
    until(&world, "ada", |peer| {
        peer["accept"]["holds"] == "none" && peer["is_answered"] == false
    });
    let bad = world.run(doctor);
    assert_eq!(
        bad.status,
        world.run(["peer", "list", "--config", "nowhere.toml"]).status,
        "that of settings: {bad}"
    );
    assert!(
        bad.stdout.contains("do not resolve here") && bad.stdout.contains("there: `push` is none"),
        "{bad}"
    );
}

#[test]
fn the_statements_of_both_sides_agree_and_a_doctored_one_shows_its_difference() {
    let world = World::new();
    let (ada, bob) = strangers(&world);
    invite(&world, &[]);
    until(&world, "ada", |peer| peer["state"] == "up");
    for key in ["1.key", "2.key", "3.key"] {
        let name = publish(&world, key, &ada);
        resolves(&world, &name, &bob);
    }
    until(&world, "ada", |peer| peer["sent_all"] == true && peer["lag"] == 0);
    let of_bob = ["peer", "statement", &bob.name(), "--data", "ada"];
    let said = world.ok([&of_bob[..], &["--save", "bobs", "--json"]].concat()).json();
    assert_eq!((&said["provider"], &said["peer"]), (&bob.name().into(), &ada.name().into()));
    assert!(said["total"]["kept"]["taken"].as_u64().unwrap() >= 3, "{said}");
    let agrees = world.ok([&of_bob[..], &["--compare"]].concat()).stdout;
    assert!(agrees.contains("the two sides agree"), "{agrees}");
    world.ok([&of_bob[..], &["--compare", "--theirs", "bobs"]].concat());
    // Bob says that he gave a thousand records more than he did.
    let bytes = STANDARD.decode(read(&world.path("bobs")).trim()).unwrap();
    let honest = Statement::verify(&bytes).unwrap();
    let row = Row {
        price: Some("zzz".to_owned()),
        crossed: Crossed::default().with(Category::Records, [1_000, 0]),
        ..honest.rows.last().unwrap().clone()
    };
    let rows = [honest.rows.clone(), vec![row]].concat();
    let doctored = Statement::sign(&signer(&world, "bob"), honest.time, &honest.peer, (honest.first, honest.end), &rows);
    world.write("doctored", STANDARD.encode(doctored));
    let ran = world.run([&of_bob[..], &["--compare", "--theirs", "doctored"]].concat());
    assert_eq!(ran.status, Some(7), "{ran}");
    assert!(
        ran.stdout.contains("differs: records taken in 1 h") && ran.stdout.contains("zzz"),
        "{ran}"
    );
    // A statement that somebody changed, or that somebody else signed, is no evidence.
    let mut changed = bytes.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    world.write("changed", STANDARD.encode(changed));
    world
        .run([&of_bob[..], &["--theirs", "changed"]].concat())
        .failed(7, &["proves nothing"]);
    let adas = Statement::sign(
        &signer(&world, "ada"),
        honest.time,
        &honest.peer,
        (honest.first, honest.end),
        &honest.rows,
    );
    world.write("adas", STANDARD.encode(adas));
    world
        .run([&of_bob[..], &["--theirs", "adas"]].concat())
        .failed(7, &["signed by", &ada.name()]);
}

#[test]
fn books_outlive_a_crash_and_statements_want_a_link() {
    let world = World::new();
    let (mut ada, mut bob) = strangers(&world);
    invite(&world, &[]);
    until(&world, "ada", |peer| peer["state"] == "up");
    let name = publish(&world, "1.key", &ada);
    resolves(&world, &name, &bob);
    let of_bob = ["peer", "statement", &bob.name(), "--data", "ada", "--json"];
    let kept = |said: &Value| said["total"]["kept"]["taken"].as_u64().unwrap();
    assert_eq!(kept(&world.ok(of_bob).json()), 1);
    // Written at the latest after five seconds.
    std::thread::sleep(Duration::from_secs(7));
    bob.kill();
    bob.run(&world);
    until(&world, "ada", |peer| peer["state"] == "up" && peer["sent_all"] == true);
    assert_eq!(kept(&world.ok(of_bob).json()), 1, "no more and no less than before");
    // What he holds from her is counted when he starts.
    let held = || world.ok(of_bob).json()["rows"].as_array().unwrap().last().unwrap()["held"].clone();
    let deadline = Instant::now() + Duration::from_secs(60);
    while held() != 1 {
        assert!(Instant::now() < deadline, "{}", held());
        std::thread::sleep(Duration::from_millis(100));
    }
    bob.stop();
    until(&world, "ada", |peer| peer["state"] != "up");
    world.run(of_bob).failed(6, &["no link"]);
    ada.stop();
    world.run(of_bob).failed(6, &["no provider runs"]);
}

#[test]
fn settings_are_read_again_on_sighup_and_wrong_ones_leave_all_as_it_was() {
    let world = World::new();
    let (ada, bob) = strangers(&world);
    invite(&world, &[]);
    until(&world, "ada", |peer| peer["state"] == "up");
    let good = read(&world.path("ada.toml"));
    world.write("ada.toml", good.replace("push = \"values\"", "push = \"everything\""));
    ada.hang_up();
    ada.logs("the settings cannot be used, so those before go on holding");
    ada.logs("everything");
    assert_eq!(peers(&world, "ada")[0]["push"]["ours"], "values");
    // A command that would change it says so too, and leaves the file alone.
    let broken = read(&world.path("ada.toml"));
    world
        .run(["peer", "add", &bob.name(), "--data", "ada", "--push", "none"])
        .failed(8, &["everything", "ada.toml"]);
    assert_eq!(read(&world.path("ada.toml")), broken);
    world.write(
        "ada.toml",
        good.replace("push = \"values\"", "push = \"digest\"") + "\n[limits]\nput_queue = 2000\n",
    );
    ada.hang_up();
    let peer = until(&world, "ada", |peer| peer["push"]["ours"] == "digest");
    assert_eq!(
        (&peer["state"], &peer["links"]),
        (&"up".into(), &1.into()),
        "the link was not touched"
    );
    ada.logs("they hold from the next start");
}

#[test]
fn agreements_are_made_before_the_first_start_and_the_data_folder_s_own_file_is_read() {
    let world = World::new();
    let ada = ProviderProcess::unpeered(&world, "ada");
    let name = ada.name();
    let added = world
        .ok(["peer", "add", &name, "--data", "bob", "--address", "127.0.0.1:4381"])
        .stdout;
    assert!(added.contains("no provider runs") && added.contains("bob/provider.toml"), "{added}");
    let listed = world.ok(["peer", "list", "--data", "bob"]);
    assert!(listed.stdout.contains("not running") && listed.stdout.contains(&name), "{listed}");
    world
        .run(["peer", "invite", "--data", "bob", "--address", "nowhere"])
        .failed(3, &["HOST:PORT"]);
    world.ok(["peer", "invite", "--data", "bob"]);
    world.write("other.toml", "data = 'ada'\n");
    world
        .run(["peer", "add", &name, "--config", "other.toml"])
        .failed(3, &["ada.toml", "--config"]);
    world.ok(["provider", "backup", "--config", "ada.toml", "--to", "ada.backup"]);
}

/// What it says of itself to anyone.
fn info(at: &ProviderProcess) -> String {
    let url = at.url();
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("it listens");
    stream
        .write_all(b"GET /v1/info HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a text file")
}
