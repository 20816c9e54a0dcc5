//! The JavaScript client: an implementation of its own, held against the vectors and against this binary.

use crate::support::{Ran, finish};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn a_second_implementation_passes_all_vectors_and_resolves_at_one_provider_what_the_command_published_at_another() {
    if let Some(ran) = run(|file| file != BROWSER) {
        assert!(count(&ran, "pass") > 50, "{ran}");
    }
}

#[test]
fn in_a_real_browser_the_page_that_a_provider_serves_checks_every_signature() {
    let Some(ran) = run(|file| file == BROWSER) else { return };
    if ran.stderr.contains("NOT TRIED") {
        println!("there is no Chromium: this test passes without having tried it");
    } else {
        assert!(count(&ran, "pass") > 8, "{ran}");
    }
}

/// Runs those test files of the client against this binary; `None` where there is no Node.
fn run(which: impl Fn(&str) -> bool) -> Option<Ran> {
    let mut files = tests_of_the_client()?;
    files.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&which));
    let mut command = Command::new("node");
    command
        .arg("--test")
        .args(files)
        .env("DIALTONE_BIN", env!("CARGO_BIN_EXE_dialtone"));
    let ran = finish(command.current_dir(client()));
    assert_eq!(ran.status, Some(0), "{ran}");
    assert_eq!(["fail", "skipped", "todo"].map(|what| count(&ran, what)), [0; 3], "{ran}");
    Some(ran)
}

/// The test files; `None` where Node is missing or too old, which is said, and which CI must not be.
fn tests_of_the_client() -> Option<Vec<PathBuf>> {
    let version = Command::new("node").arg("--version").output();
    let version = version
        .map(|ran| String::from_utf8_lossy(&ran.stdout).trim().to_owned())
        .unwrap_or_default();
    let major = version
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_LEAST) {
        assert!(std::env::var_os("CI").is_none(), "CI must have Node {NODE_LEAST}, not {version:?}");
        println!("Node {NODE_LEAST} is not installed (found: {version:?}): this test passes without having tried it");
        return None;
    }
    let entries = std::fs::read_dir(client().join("test")).expect("the client's tests");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(".test.js"));
    files.sort();
    assert!(files.len() > 5, "{files:?}");
    Some(files)
}

/// What Node counts at the end: a line of the TAP or of the readable report.
fn count(ran: &Ran, what: &str) -> u32 {
    let mut lines = ran.stdout.lines().rev();
    let number = lines.find_map(|line| line.trim_start_matches(['#', 'ℹ', ' ']).strip_prefix(what)?.trim().parse().ok());
    number.unwrap_or_else(|| panic!("no count of {what}\n{ran}"))
}

fn client() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/js")
}

const BROWSER: &str = "browser.test.js";
/// The first with Ed25519 in WebCrypto as a global, and what else the client uses.
const NODE_LEAST: u32 = 20;
