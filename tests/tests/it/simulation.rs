//! Seeds of the simulation: what must always hold, holds whatever fails.

use end_to_end::simulation::Simulation;

/// Seeds that each of these tests tries.
const SEEDS: u64 = 50;
/// Seeds to try instead: the first, and after a plus sign how many, such as `1000+500`.
const VARIABLE: &str = "MAILRAIL_SEEDS";

async fn check(first: u64, count: u64) {
    let mut violations = Vec::new();
    for seed in first..first + count {
        violations.extend(Simulation::run(seed).await.err());
    }
    let first_lines: Vec<&str> = violations.iter().filter_map(|violation| violation.lines().next()).collect();
    assert!(violations.is_empty(), "{first_lines:#?}\n{}", violations[0]);
}

/// One part of the seeds, or those that are given.
async fn check_part(part: u64) {
    match std::env::var(VARIABLE) {
        Ok(given) => {
            let (first, count) = given.split_once('+').unwrap_or((&given, "1"));
            let number = |text: &str| text.parse().expect("numbers such as 1000+500");
            // Given seeds are tried by one test alone.
            check(number(first), if part == 0 { number(count) } else { 0 }).await;
        }
        Err(_) => check(part * SEEDS, SEEDS).await,
    }
}

#[tokio::test]
async fn whatever_fails_nothing_is_lost_doubled_or_called_what_it_is_not_0() {
    check_part(0).await;
}

#[tokio::test]
async fn whatever_fails_nothing_is_lost_doubled_or_called_what_it_is_not_1() {
    check_part(1).await;
}

#[tokio::test]
async fn whatever_fails_nothing_is_lost_doubled_or_called_what_it_is_not_2() {
    check_part(2).await;
}

#[tokio::test]
async fn whatever_fails_nothing_is_lost_doubled_or_called_what_it_is_not_3() {
    check_part(3).await;
}
