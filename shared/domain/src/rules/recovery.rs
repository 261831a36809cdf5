//! How often a delivery that a transient error has disabled is tried again.

use crate::rules::schedule::INTERVALS_MINUTES;

/// First interval between two probes of a disabled delivery, in minutes; it doubles, as far as the schedule has it.
pub const RECOVERY_MINUTES_MIN: u16 = 15;

/// Longest interval between two such probes, in minutes: six hours.
pub const RECOVERY_MINUTES_MAX: u16 = 360;

/// The interval of the next probe of a disabled delivery.
#[must_use]
pub fn next_recovery_minutes(before: Option<u16>) -> u16 {
    let wanted = before.map_or(RECOVERY_MINUTES_MIN, |minutes| minutes.saturating_mul(2)).min(RECOVERY_MINUTES_MAX);
    INTERVALS_MINUTES.into_iter().find(|minutes| *minutes >= wanted).unwrap_or(RECOVERY_MINUTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_of_a_disabled_delivery_grow_from_a_quarter_of_an_hour_to_six_hours() {
        let mut minutes = vec![next_recovery_minutes(None)];
        for _ in 0..7 {
            minutes.push(next_recovery_minutes(minutes.last().copied()));
        }
        assert_eq!(minutes, [15, 30, 60, 120, 240, 360, 360, 360]);
    }
}
