//! What holds whatever happens: random faults, drawn from seeds. One again: `PEERING_SEED=7 cargo test -p dialtone-world --test faults`;
//! more: `PEERING_SEEDS=1000`, and then with `--release`.

use dialtone_world::seeds::in_worlds;
use dialtone_world::story::{self, Script};
use dialtone_world::{World, graph, parted, record};
use std::time::Duration;

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

#[test]
fn five_seconds_after_a_partition_all_is_equal_and_each_difference_has_crossed_once() {
    const NAMES: u32 = 2_000;
    let all = parted::records(NAMES);
    for seconds in [1, 8, 60, 3_600, 86_400] {
        for differences in [0, 1, 10, 100, 600] {
            let met = parted::part(seconds, &all, Duration::from_secs(seconds), differences);
            let met = met.unwrap_or_else(|why| panic!("{differences} differences, cut for {seconds} s: {why}"));
            let what = format!("{differences} differences, cut for {seconds} s: {met:?}");
            assert_eq!(met.sent, u64::from(differences), "{what}");
            // Comparing costs nothing to speak of where nothing differs, and as much for each difference.
            let most = if differences == 0 {
                1_000
            } else {
                2_048 + 72 * u64::from(differences)
            };
            assert!(met.compared_bytes <= most, "{what}");
        }
    }
}

#[test]
fn many_providers_that_are_cut_apart_for_an_hour_are_equal_five_seconds_later() {
    in_worlds("-p dialtone-world --test faults many_providers", 20, cut_apart_for_an_hour);
}

#[test]
fn what_a_comparison_found_goes_at_once_where_the_log_is_only_offered_later() {
    // In this ring a link that is no branch learns of a change while it compares.
    cut_apart_for_an_hour(253).unwrap();
}

/// Providers of which every second cannot be reached by the others for an hour, while all are put to: equal five seconds later.
fn cut_apart_for_an_hour(seed: u64) -> Result<(), String> {
    let (nodes, pairs) = graph::of_seed(seed + 12);
    let mut world = World::new(seed, nodes, &pairs);
    world.run(Duration::from_secs(5));
    let (ones, others): (Vec<_>, Vec<_>) = (0..nodes).partition(|node| node % 2 == 0);
    world.partition(&ones, &others);
    for number in 0..100 {
        let put = record(number, world.time(), &[], false);
        world.put_all(number as usize % nodes, vec![put]);
        world.try_run(Duration::from_secs(36))?;
    }
    world.heal();
    world.try_run(Duration::from_secs(5))?;
    world.check()?;
    world
        .all_equal()
        .then_some(())
        .ok_or_else(|| "not equal 5 s after the hour".to_owned())
}
