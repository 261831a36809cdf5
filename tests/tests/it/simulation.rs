//! Seeds of the simulation: what must always hold, holds whatever fails.

use end_to_end::simulation::Simulation;

/// Seeds that every run of the tests tries. More are tried with the variable `MAILRAIL_SEEDS`.
const SEEDS: u64 = 200;

#[tokio::test]
async fn whatever_fails_nothing_is_lost_doubled_or_called_what_it_is_not() {
    let given = std::env::var("MAILRAIL_SEEDS").ok();
    let (first, count) = match given.as_deref().map(|given| given.split_once('+').unwrap_or((given, "1"))) {
        Some((first, count)) => (first.parse().expect("a seed"), count.parse().expect("a number of seeds")),
        None => (0, SEEDS),
    };
    let mut violations = Vec::new();
    for seed in first..first + count {
        violations.extend(Simulation::run(seed).await.err());
    }
    assert!(violations.is_empty(), "{} of {count} seeds: {}", violations.len(), violations[0]);
}
