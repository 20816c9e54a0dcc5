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
fn mobility_lets_every_service_follow_its_machine() {
    says(
        "mobility",
        &[
            "at 192.0.2.1",
            "at 198.51.100.1",
            "https follows: Ip(198.51.100.1)",
            "ssh follows: Ip(198.51.100.1)",
        ],
    );
}

#[test]
fn site_gateways_take_over_from_each_other() {
    says(
        "site_gateways",
        &["in order: gateway one", "one down: gateway two", "edited:   gateway two"],
    );
}

#[test]
fn middlebox_stands_in_by_consent_and_only_as_long() {
    says(
        "middlebox",
        &[
            "by consent:  the host heard hello, filtered (1 steps onward)",
            "taken back:  the host heard hello (0 steps onward)",
        ],
    );
}

#[test]
fn change_provider_keeps_the_name() {
    says(
        "change_provider",
        &["old provider: Ip(192.0.2.7)", "new provider: Ip(192.0.2.7)", "the same name: "],
    );
}

#[test]
fn discovery_knows_who_comes_and_who_leaves() {
    says(
        "discovery",
        &[
            "0 workers are up",
            "3 workers are up: {0: 7000, 1: 7001, 2: 7002}",
            "2 workers are up: {0: 7000, 2: 7002}",
        ],
    );
}

#[test]
fn web_by_name_is_authenticated_by_the_name() {
    says("web_by_name", &["hello by name", "an impostor is not spoken to"]);
}

#[test]
fn no_example_is_without_its_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let tests = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/capability/examples.rs")).unwrap();
    let tests: String = tests.split_whitespace().collect();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // What several stand on.
        if path.is_dir() {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
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
