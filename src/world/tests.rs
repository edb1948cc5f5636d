//! The world as a whole: the same seed is the same run, a fixed set of seeds holds every claim, and
//! the canaries are noticed.

use super::*;

fn plan(seed: u64, minutes: u64, faults: Faults) -> Plan {
    Plan { seed, for_s: minutes * 60, faults, canary: Canary::None, trace: false }
}
fn check(outcome: &Outcome) {
    if let Some(violation) = &outcome.violation {
        panic!("seed {}: {violation:?}", outcome.seed);
    }
}

#[test]
fn a_world_without_faults_trades_and_holds_every_claim() {
    let outcome = run(plan(1, 10, Faults::none()));
    check(&outcome);
    let messages_per_s = outcome.book_messages as f64 / outcome.simulated_s;
    assert!(messages_per_s >= 50.0, "{messages_per_s}");
    assert!(outcome.orders > 5 && outcome.fills > 5 && outcome.cancels > 5, "{outcome:?}");
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_another() {
    let once = run(plan(3, 6, Faults::swarm(3)));
    let again = run(plan(3, 6, Faults::swarm(3)));
    assert_eq!((once.hash, once.events), (again.hash, again.events));
    assert_ne!(once.hash, run(plan(4, 6, Faults::swarm(4))).hash);
}

#[test]
fn a_few_seeds_of_the_swarm_hold_every_claim() {
    for seed in 1_001..=1_006 {
        check(&run(plan(seed, 20, Faults::swarm(seed))));
    }
}

/// Runs the lines of the list: seed, minutes, faults; `#` ends a line.
#[test]
fn seeds_that_found_something_stay_good() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/seeds.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let mut count = 0;
    for line in text.lines() {
        let words: Vec<&str> =
            line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let [seed, minutes, faults] = words[..] else {
            assert!(words.is_empty(), "{line}: expected seed, minutes, faults");
            continue;
        };
        let seed = seed.parse().unwrap();
        let faults = match faults {
            "swarm" => Faults::swarm(seed),
            "lite" => Faults::lite(),
            "none" => Faults::none(),
            other => panic!("{other}: expected swarm, lite or none"),
        };
        check(&run(plan(seed, minutes.parse().unwrap(), faults)));
        count += 1;
    }
    assert!(count > 0);
}

/// Goal: a checker objects to an engine that is broken on purpose. The seeds are those that were
/// seen to be enough; `simulate --canary all` looks for itself.
#[test]
fn canaries_are_noticed() {
    let seeds = [
        (Canary::CidReused, 1),
        (Canary::ChecksumIgnored, 5),
        (Canary::ResentOnTimeout, 2),
        (Canary::LatchIgnored, 3),
        (Canary::LatchNotPersisted, 1),
        (Canary::RecordSkipped, 1),
        (Canary::ControlLost, 1),
        (Canary::AgeIgnored, 2),
        (Canary::StaleIgnored, 5),
        (Canary::ReconcileSkipped, 2),
        (Canary::FillTwice, 1),
        // After a restart with the clock back.
        (Canary::NonceForgotten, 10),
        (Canary::LimitIgnored, 1),
        (Canary::KillWithoutCancel, 4),
        (Canary::LossIgnored, 8),
        (Canary::TripForgotten, 1),
        (Canary::StopsLost, 5),
        (Canary::RetryAfterIgnored, 1),
        (Canary::RestLossForgotten, 18),
    ];
    assert_eq!(seeds.len(), Canary::ALL.len());
    for (canary, seed) in seeds {
        let plan = Plan { canary, ..plan(seed, 20, Faults::swarm(seed)) };
        assert!(run(plan).violation.is_some(), "{canary:?}");
    }
}
