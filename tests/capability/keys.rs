//! Keys on disk: secret, never overwritten, and readable by OpenSSL both ways.

use crate::support::{Tool, World};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_new_key_prints_its_name_and_keeps_its_secrets_to_itself() {
    let world = World::new();
    let made = world.ok(["key", "new", "alice.key"]);
    let name = made.stdout.trim();
    assert_eq!(name.len(), 56, "{made}");
    let secret = std::fs::read_to_string(world.path("alice.key")).unwrap();
    assert!(!made.stdout.contains("PRIVATE") && !made.stderr.contains(secret.lines().nth(1).unwrap()));
    let mode = |path: &str| world.path(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("alice.key"), mode("alice.offline")), (0o600, 0o700));
    let offline: Vec<_> = std::fs::read_dir(world.path("alice.offline"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    assert_eq!(offline.len(), 17, "a seed and 16 links");
    assert!(
        offline
            .iter()
            .all(|file| file.metadata().unwrap().permissions().mode() & 0o777 == 0o600)
    );
}

#[test]
fn a_name_is_shown_in_all_its_forms_alike_from_the_private_and_the_public_file() {
    let world = World::new();
    let name = world.ok(["key", "new", "alice.key", "--chain", "3"]).stdout.trim().to_owned();
    let private = world.ok(["key", "show", "alice.key", "--json"]).json();
    let public = world.ok(["key", "show", "alice.pub", "--json"]).json();
    assert_eq!(private, public);
    assert_eq!(public["name"], name);
    assert_eq!(public["uri"], format!("dialtone:{name}"));
    assert_eq!(public["dns"], format!("{name}.dialtone.alt"));
    assert_eq!(public["hex"].as_str().unwrap().len(), 66);
    assert_eq!((&public["epoch"], &public["links_left"]), (&0.into(), &3.into()));
    let people = world.ok(["key", "show", "alice.pub", "--origin", "names.example"]).stdout;
    assert!(
        people.contains(&format!("{name}.names.example")) && people.contains("links left  3"),
        "{people}"
    );
}

#[test]
fn a_key_is_never_overwritten() {
    let world = World::new();
    world.ok(["key", "new", "alice.key"]);
    let before = std::fs::read(world.path("alice.key")).unwrap();
    world
        .run(["key", "new", "alice.key"])
        .failed(9, &["alice.key", "never overwritten", "help: "]);
    assert_eq!(std::fs::read(world.path("alice.key")).unwrap(), before);
    std::fs::remove_file(world.path("alice.key")).unwrap();
    world.run(["key", "new", "alice.key"]).failed(9, &["alice.pub"]);
    assert!(!world.path("alice.key").exists(), "all of the files are made, or none");
}

#[test]
fn a_secret_that_others_can_read_is_refused_with_the_remedy() {
    let world = World::new();
    world.ok(["key", "new", "alice.key"]);
    std::fs::set_permissions(world.path("alice.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
    world
        .run(["key", "show", "alice.key"])
        .failed(9, &["alice.key", "0640", "chmod 600"]);
}

#[test]
fn one_key_owns_many_names_by_salt() {
    let world = World::new();
    world.ok(["key", "new", "alice.key"]);
    let names: Vec<String> = [("shop", "shop"), ("hex", "0x73686f70"), ("blog", "blog")]
        .iter()
        .map(|(file, salt)| {
            let file = format!("{file}.key");
            let made = world.ok(["key", "new", &file, "--from", "alice.key", "--salt", salt, "--chain", "0"]);
            made.stdout.trim().to_owned()
        })
        .collect();
    assert_eq!(names[0], names[1], "a salt is its bytes, however it is written");
    assert_ne!(names[0], names[2]);
    let shown = world.ok(["key", "show", "shop.pub", "--json"]).json();
    assert_eq!((&shown["salt"], &shown["links_left"]), (&"73686f70".into(), &0.into()));
}

#[test]
fn openssl_reads_our_keys_and_we_read_its() {
    let Some(openssl) = Tool::find("openssl") else { return };
    let world = World::new();
    world.ok(["key", "new", "alice.key"]);
    let path = |name: &str| world.path(name).display().to_string();
    let read = openssl.run(["pkey", "-in", &path("alice.key"), "-noout", "-text"]);
    assert!(read.status == Some(0) && read.stdout.contains("ED25519"), "{read}");
    let key = world.ok(["key", "show", "alice.pub", "--json"]).json()["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let printed: String = read
        .stdout
        .split("pub:")
        .nth(1)
        .unwrap()
        .chars()
        .filter(char::is_ascii_hexdigit)
        .collect();
    assert_eq!(printed, key, "OpenSSL finds the same public key");

    let made = openssl.run(["genpkey", "-algorithm", "ed25519", "-out", &path("theirs.pem")]);
    assert_eq!(made.status, Some(0), "{made}");
    std::fs::set_permissions(world.path("theirs.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
    world.ok(["key", "new", "theirs.key", "--from", "theirs.pem"]);
}

#[test]
fn what_is_no_key_is_refused_and_left_alone() {
    let world = World::new();
    world.write("notes.txt", "something dear");
    world.run(["key", "show", "notes.txt"]).failed(3, &["notes.txt", "help: "]);
    world.run(["key", "show", "nowhere.key"]).failed(9, &["nowhere.key"]);
    world
        .run(["key", "new", "alice.key", "--from", "notes.txt"])
        .failed(9, &["notes.txt"]);
    world.run(["key", "new", "alice.pub"]).failed(3, &["alice.pub", ".pub"]);
    world.run(["key", "new", "alice.key", "--chain", "33"]).failed(3, &["33"]);
    world.run(["key", "new", "alice.key", "--salt", &"s".repeat(33)]).failed(3, &["32"]);
    assert_eq!(std::fs::read_dir(world.path("")).unwrap().count(), 1, "only the notes are there");
    assert_eq!(std::fs::read(world.path("notes.txt")).unwrap(), b"something dear");
}
