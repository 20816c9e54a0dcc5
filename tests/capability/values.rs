//! Bytes that their own hash names: put at one provider, got at another, checked by whoever gets them.

use crate::support::{ProviderProcess, World, finish};
use std::process::Stdio;

#[test]
fn a_file_that_is_put_at_one_provider_is_got_at_another_byte_for_byte() {
    let world = World::new();
    let (first, second) = ProviderProcess::peered(&world);
    // Not text, and as large as a value can be.
    let value: Vec<u8> = (0..60_000u32).map(|at| (at * 7 + at / 256) as u8).collect();
    let file = world.write("logo.png", &value);
    let file = file.to_str().unwrap();
    let (at, there) = (first.url(), second.url());
    let dry = world.ok(["put", file, "--dry-run", "--json", "--provider", &at]).json();
    let put = world
        .ok(["put", file, "--json", "--provider", &at, "--wait-visible-at", &there])
        .json();
    let name = put["name"].as_str().unwrap();
    assert_eq!(dry["name"], name, "the name is made from the bytes alone");
    world.ok(["get", name, "--output", "got.png", "--provider", &there]);
    assert!(std::fs::read(world.path("got.png")).unwrap() == value);
    world
        .run(["get", name, "--output", "got.png", "--provider", &there])
        .failed(9, &["got.png", "not overwritten", "--force"]);
    world.write("got.png", "something else");
    world.ok(["get", name, "--output", "got.png", "--force", "--provider", &there]);
    assert!(std::fs::read(world.path("got.png")).unwrap() == value);
    assert_eq!(world.ok(["get", name, "--output", "/dev/null", "--provider", &there]).stdout, "");
    let resolved = world.ok(["resolve", name, "--provider", &there]).stdout;
    assert!(
        resolved.contains("a value of 60000 bytes") && resolved.contains("dialtone get"),
        "{resolved}"
    );
    // Again is the same name, and a longer lease.
    let again = world.ok(["put", file, "--json", "--provider", &there]).json();
    assert_eq!(again["name"], name);

    let text = world.write("note.txt", "hello there\n");
    let note = world
        .ok([
            "put",
            text.to_str().unwrap(),
            "--json",
            "--provider",
            &at,
            "--wait-visible-at",
            &there,
        ])
        .json();
    let told = world.ok(["put", text.to_str().unwrap(), "--provider", &at]);
    assert!(
        told.stdout.contains(" days)") && told.stderr.contains("puts the same bytes again"),
        "{told}"
    );
    let note = note["name"].as_str().unwrap();
    assert_eq!(world.ok(["get", note, "--provider", &there]).stdout, "hello there\n");
    let piped = finish(
        world
            .command()
            .args(["put", "-", "--dry-run", "--json"])
            .stdin(Stdio::from(std::fs::File::open(text).unwrap())),
    );
    assert_eq!(piped.json()["name"], note);
}

#[test]
fn what_is_no_value_is_refused_before_anybody_is_asked_and_what_nobody_keeps_is_said() {
    let world = World::new();
    let provider = ProviderProcess::alone(&world);
    let at = provider.url();
    for bytes in [vec![], vec![1; 60_001]] {
        let file = world.write("wrong", bytes);
        world
            .run(["put", file.to_str().unwrap(), "--provider", &at])
            .failed(3, &["1 to 60000 bytes"]);
    }
    world.run(["put", "nothing-there", "--provider", &at]).failed(9, &["nothing-there"]);
    let file = world.write("note.txt", "never put");
    let name = world
        .ok(["put", file.to_str().unwrap(), "--dry-run", "--json", "--provider", &at])
        .json();
    let name = name["name"].as_str().unwrap();
    world.run(["get", name, "--provider", &at]).failed(5, &["nobody keeps this value"]);
    let other = world.ok(["key", "new", "alice.key"]).stdout;
    world
        .run(["get", other.trim(), "--provider", &at])
        .failed(3, &["not the name of a value"]);
}
