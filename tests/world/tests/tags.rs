//! What holds of tags whatever happens, in a mix of modes. One seed again: `PEERING_SEED=7 cargo test -p dialtone-world --test tags`;
//! more: `PEERING_SEEDS=1000`, and then with `--release`.

use dialtone_world::seeds::in_worlds;
use dialtone_world::tag_story;

#[test]
fn whatever_breaks_a_tag_leads_to_no_record_that_does_not_carry_it_and_to_no_name_that_has_ended() {
    let lives = in_worlds("-p dialtone-world --test tags whatever_breaks", 8, tag_story::live);
    let sum = |of: fn(&tag_story::Searches) -> usize| lives.iter().map(of).sum::<usize>();
    let (meanwhile, led, nowhere) = (sum(|one| one.meanwhile), sum(|one| one.led), sum(|one| one.nowhere));
    println!(
        "{} lives: {meanwhile} found while things broke; at the end {led} found, {nowhere} led nowhere",
        lives.len()
    );
    assert!(meanwhile > 0 && led > 0 && nowhere > 0, "this tests nothing");
}
