//! The twin beside the exchange, over random commands.

use super::*;

#[test]
fn the_exchange_does_what_its_plain_twin_does() {
    let mut sum = Tally::default();
    for seed in 1..=4 {
        let tally = drive(seed, 5_000);
        sum.taken += tally.taken;
        sum.refused += tally.refused;
        for (name, count) in tally.endings {
            *sum.endings.entry(name).or_default() += count;
        }
    }
    println!("{sum:?}");
    assert!(sum.taken > 5_000 && sum.refused > 500, "{sum:?}");
    assert!(sum.endings.len() >= 11, "every way to end was seen: {sum:?}");
    assert!(sum.endings["forced"] >= 10, "{sum:?}");
}

/// The long run of the acceptance: `cargo test --release --lib -- --ignored a_million`.
#[test]
#[ignore = "takes minutes; run it in release after a change of matching, margin or money"]
fn a_million_random_commands_agree_with_the_twin() {
    let (mut sum, mut forced) = (0, 0);
    // Many short lives: accounts that went broke have little left to try.
    for seed in 100..300 {
        let tally = drive(seed, 5_000);
        sum += 5_000;
        forced += tally.endings["forced"];
    }
    println!("{sum} commands, {forced} positions ended by the venue");
    assert_eq!(sum, 1_000_000);
}
