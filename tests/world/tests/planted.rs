//! The watch bites: each of these bugs, planted, is found by the random faults within 100 seeds.

use dialtone_provider::planted::{Bug, plant};
use dialtone_world::hosts;
use dialtone_world::story::{self, Script};

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
fn the_network_code_on_simulated_hosts_shows_them_too() {
    for bug in [Bug::NoTieBreak, Bug::AckBeforeDurable] {
        found(bug, 100, |seed| hosts::live(seed).map(drop));
    }
}
