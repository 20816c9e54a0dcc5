//! What holds whatever happens: random faults, drawn from seeds. One again: `PEERING_SEED=7 cargo test -p dialtone-world --test faults`;
//! more: `PEERING_SEEDS=1000`, and then with `--release`.

use dialtone_world::seeds::in_worlds;
use dialtone_world::story::{self, Script};

#[test]
fn no_fault_breaks_a_promise_and_a_minute_after_the_last_all_is_well() {
    let test = "-p dialtone-world --test faults no_fault_breaks_a_promise_and_a_minute_after_the_last_all_is_well";
    let lives = in_worlds(test, 100, |seed| Script::of(seed).play());
    let mut took: Vec<_> = lives.iter().map(|life| life.converged).collect();
    took.sort();
    let events: u64 = lives.iter().map(|life| life.events).sum();
    println!(
        "{} lives, {events} events; well again after {:?} in the middle, {:?} at worst",
        lives.len(),
        took[took.len() / 2],
        took[took.len() - 1],
    );
}

#[test]
fn what_has_expired_or_was_stolen_does_not_come_back_in_400_days() {
    let test = "-p dialtone-world --test faults what_has_expired_or_was_stolen_does_not_come_back_in_400_days";
    let sent = in_worlds(test, 2, story::of_replays);
    assert!(sent.iter().all(|sent| *sent > 5_000), "the liar said too little: {sent:?}");
}
