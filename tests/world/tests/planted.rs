//! The watch bites: each of these bugs, planted, is found by the random faults within 100 seeds.

use dialtone_provider::planted::{Bug, plant};
use dialtone_world::hosts;
use dialtone_world::seeds::in_worlds;
use dialtone_world::story::{self, Script};
use dialtone_world::tag_story;
use std::process::Command;

/// The first seed that turns red, and why.
fn found(bug: Bug, seeds: u64, live: impl Fn(u64) -> Result<(), String>) -> (u64, String) {
    plant(Some(bug));
    let red = (0..seeds).find_map(|seed| live(seed).err().map(|why| (seed, why)));
    plant(None);
    let (seed, why) = red.unwrap_or_else(|| panic!("{bug:?} is not found within {seeds} seeds"));
    println!("{bug:?}: seed {seed}: {why}");
    (seed, why)
}

fn lives(seed: u64) -> Result<(), String> {
    Script::of(seed).play().map(drop)
}

#[test]
fn a_store_without_a_tie_break_is_found() {
    found(Bug::NoTieBreak, 100, lives);
}

#[test]
fn an_acknowledgement_before_the_commit_is_durable_is_found() {
    let (_, why) = found(Bug::AckBeforeDurable, 100, lives);
    assert!(why.contains("which it had acknowledged"), "{why}");
}

#[test]
fn a_leak_against_policy_is_found() {
    let (_, why) = found(Bug::Leak, 100, lives);
    assert!(why.contains("through a valley"), "{why}");
}

#[test]
fn a_store_without_floors_is_found() {
    let (_, why) = found(Bug::NoFloor, 100, |seed| story::of_replays(seed).map(drop));
    assert!(why.contains("which it had acknowledged"), "{why}");
}

#[test]
fn an_offer_that_is_acknowledged_and_not_taken_is_found() {
    let (_, why) = found(Bug::OffersTaken, 100, lives);
    assert!(why.contains("neither holds nor asked for"), "{why}");
}

#[test]
fn a_tag_that_leads_to_a_name_whose_key_was_replaced_or_that_has_ended_is_found() {
    for wrong in ["whose key has another", "which is a revocation"] {
        found(Bug::AnyTag, 100, |seed| match tag_story::live(seed) {
            Err(why) if why.contains(wrong) => Err(why),
            Ok(_) | Err(_) => Ok(()),
        });
    }
}

#[test]
fn the_network_code_on_simulated_hosts_shows_them_too() {
    for bug in [Bug::NoTieBreak, Bug::AckBeforeDurable] {
        found(bug, 100, |seed| hosts::live(seed).map(drop));
    }
}

#[test]
fn a_seed_that_fails_prints_the_one_line_that_runs_it_again() {
    const NAME: &str = "a_seed_that_fails_prints_the_one_line_that_runs_it_again";
    let line = format!("-p dialtone-world --test planted {NAME}");
    if std::env::var_os(PROVOKED).is_some() {
        plant(Some(Bug::AckBeforeDurable));
        in_worlds(&line, 100, lives);
        return;
    }
    let provoke = |seed: Option<&str>| {
        let mut test = Command::new(std::env::current_exe().expect("this test"));
        test.args(["--exact", NAME, "--nocapture"])
            .env(PROVOKED, "1")
            .env_remove("PEERING_SEEDS");
        match seed {
            Some(seed) => test.env("PEERING_SEED", seed),
            None => test.env_remove("PEERING_SEED"),
        };
        let run = test.output().expect("it runs");
        assert!(!run.status.success(), "nothing was found");
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        let why = said.lines().find(|line| line.starts_with("seed ")).expect("a reason").to_owned();
        let again: Vec<_> = said
            .lines()
            .filter(|said| said.starts_with("once more: "))
            .map(str::to_owned)
            .collect();
        (why, again)
    };
    let (why, again) = provoke(None);
    let [once_more] = &again[..] else {
        panic!("not one line: {again:?}")
    };
    let seed = once_more
        .strip_prefix("once more: PEERING_SEED=")
        .and_then(|rest| rest.strip_suffix(&format!(" cargo test {line}")));
    // It tells the truth: that seed alone fails for the same reason.
    assert_eq!(provoke(Some(seed.expect("a seed and how to run it"))), (why, again));
}

/// Tells a run of this file that it is to fail.
const PROVOKED: &str = "PLANTED_PROVOKED";
