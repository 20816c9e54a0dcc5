//! Every example runs to its end and does what it says.

use crate::support::{Ran, finish};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn sign_a_record_believes_the_true_one_and_refuses_the_forged_one() {
    says("sign_a_record", &["verified 2 bindings", "refused: "]);
}

#[test]
fn resolve_a_name_finds_an_endpoint() {
    says("resolve_a_name", &["192.0.2.7", "443"]);
}

#[test]
fn provider_in_a_program_keeps_and_finds_a_record() {
    says("provider_in_a_program", &["kept ", "receipt", "found "]);
}

#[test]
fn frontend_answers_a_dns_client() {
    says("frontend", &["dig @127.0.0.1", "\n192.0.2.7\n"]);
}

#[test]
fn two_peers_simulated_share_a_record_in_the_same_simulated_time_every_time() {
    let once = says("two_peers_simulated", &["held by the second", "simulated time"]);
    assert_eq!(once.stdout, says("two_peers_simulated", &[]).stdout);
}

#[test]
fn no_example_is_without_its_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let tests = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/capability/examples.rs")).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        assert!(tests.contains(&format!("says(\"{name}\"")), "the example {name} is run by no test");
    }
}

fn says(example: &str, parts: &[&str]) -> Ran {
    let ran = finish(&mut Command::new(binary(example)));
    assert_eq!(ran.status, Some(0), "{ran}");
    for part in parts {
        assert!(ran.stdout.contains(part), "should say {part:?}\n{ran}");
    }
    ran
}

/// `cargo test` builds examples next to the binary. It does not when it is told to build one test alone (`--test capability`).
fn binary(example: &str) -> PathBuf {
    let profile = Path::new(env!("CARGO_BIN_EXE_dialtone"))
        .parent()
        .expect("the binary is in a folder");
    let path = profile.join("examples").join(example);
    assert!(
        path.exists(),
        "{} is not built: run `cargo build --examples`, or plain `cargo test`",
        path.display()
    );
    path
}
