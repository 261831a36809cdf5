//! May this delivery run now? Asked before anything is connected to.

use crate::{
    Timestamp, seconds_after,
    words::{delivery::SynchronizationMethod, state::DeliveryState},
};

/// How much earlier than the polling interval a run may begin, in seconds: the queue delivers a little late, and a run
/// that came late must not push the next one into the following round.
pub const EARLY_SECONDS: i64 = 30;

/// The gate's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// Not yet: a gap runs, or it ran a moment ago. Not a failure; the wake is dropped.
    NotYet(Timestamp),
    /// It is disabled, and may be tried to see whether it works again.
    Probe,
    /// It may not until somebody acts; the reason is a clause for a sentence.
    Closed(&'static str),
}

/// Whether a delivery in `state` may run at `now`. `interval_minutes` is the least time between two runs; 0 for none.
#[must_use]
pub fn gate(state: &DeliveryState, interval_minutes: u16, now: Timestamp) -> Gate {
    match state.method {
        SynchronizationMethod::None | SynchronizationMethod::Outlook => {
            return Gate::Closed("its synchronization method is not server-side synchronization");
        }
        SynchronizationMethod::ServerSideSynchronization => {}
    }
    if !state.enabled {
        return match state.recovery_minutes {
            None => Gate::Closed("it is disabled"),
            Some(minutes) => match due(state.last_run, minutes).filter(|at| *at > now) {
                Some(at) => Gate::NotYet(at),
                None => Gate::Probe,
            },
        };
    }
    if let Some(until) = state.postponed_until.filter(|until| *until > now) {
        return Gate::NotYet(until);
    }
    let polled_again = due(state.last_success.and(state.last_run), interval_minutes);
    match polled_again.filter(|at| *at > now && state.postponed_until.is_none()) {
        Some(at) => Gate::NotYet(at),
        None => Gate::Open,
    }
}

/// When a run is due again that began at `last`; a little early is in time.
fn due(last: Option<Timestamp>, interval_minutes: u16) -> Option<Timestamp> {
    let least = (i64::from(interval_minutes) * 60 - EARLY_SECONDS).max(0);
    last.map(|last| seconds_after(last, least))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    fn enabled() -> DeliveryState {
        DeliveryState { enabled: true, ..DeliveryState::configured(SynchronizationMethod::ServerSideSynchronization) }
    }

    #[test]
    fn a_fresh_delivery_runs_and_a_disabled_one_does_not() {
        assert_eq!(gate(&enabled(), 5, at(0)), Gate::Open);
        let disabled = DeliveryState { enabled: false, ..enabled() };
        assert!(matches!(gate(&disabled, 5, at(0)), Gate::Closed(_)));
        let unconfigured = DeliveryState { method: SynchronizationMethod::None, ..enabled() };
        assert!(matches!(gate(&unconfigured, 5, at(0)), Gate::Closed(_)));
    }

    #[test]
    fn a_disabled_delivery_that_is_to_recover_is_probed_at_its_interval() {
        let disabled = DeliveryState { enabled: false, recovery_minutes: Some(15), last_run: Some(at(0)), ..enabled() };
        assert!(matches!(gate(&disabled, 5, at(300)), Gate::NotYet(_)));
        assert_eq!(gate(&disabled, 5, at(15 * 60)), Gate::Probe);
    }

    #[test]
    fn the_gap_is_kept_to_the_second() {
        let failed = DeliveryState { postponed_until: Some(at(300)), ..enabled() };
        assert_eq!(gate(&failed, 5, at(299)), Gate::NotYet(at(300)));
        assert_eq!(gate(&failed, 5, at(300)), Gate::Open);
    }

    #[test]
    fn a_second_wake_in_the_same_round_is_dropped() {
        let ran = DeliveryState { last_run: Some(at(0)), last_success: Some(at(1)), ..enabled() };
        assert!(matches!(gate(&ran, 5, at(10)), Gate::NotYet(_)));
        assert_eq!(gate(&ran, 5, at(271)), Gate::Open);
        assert_eq!(gate(&ran, 0, at(1)), Gate::Open, "without an interval every wake runs");
    }
}
