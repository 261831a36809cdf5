//! May this delivery run now? Asked before anything is connected to.

use crate::{
    Timestamp,
    rules::schedule::Slot,
    seconds_after,
    words::{
        delivery::{Delivery, SynchronizationMethod},
        id::MailboxId,
        state::DeliveryState,
    },
};

/// How much before its round a run counts as one of the round, in seconds: clocks of two functions differ a little.
const EARLY_SECONDS: i64 = 30;

/// The gate's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// Not yet: a gap runs, or it ran in this round already. Not a failure; the wake is dropped.
    NotYet(Timestamp),
    /// It is disabled, and may be tried to see whether it works again.
    Probe,
    /// It may not until somebody acts; the reason is a clause for a sentence.
    Closed(&'static str),
}

/// Whether a mailbox's delivery in `state` may run at `now`. A delivery that is polled runs once in each round of
/// `interval_minutes`; with 0 it runs at every wake.
///
/// Rounds are counted and not the time since the last run, because the schedule wakes a delivery once in a round: a run
/// off its time (after a gap, by hand, late from the queue) must not let the next wake be dropped.
#[must_use]
pub fn gate(
    (mailbox, delivery): (&MailboxId, Delivery),
    state: &DeliveryState,
    interval_minutes: u16,
    now: Timestamp,
) -> Gate {
    match state.method {
        SynchronizationMethod::None | SynchronizationMethod::Outlook => {
            return Gate::Closed("its synchronization method is not server-side synchronization");
        }
        SynchronizationMethod::ServerSideSynchronization => {}
    }
    if !state.enabled {
        return match state.recovery_minutes {
            None => Gate::Closed("it is disabled"),
            Some(minutes) => {
                match state.last_run.and_then(|last| served(Slot::of(mailbox, delivery, minutes), last, now)) {
                    Some(at) => Gate::NotYet(at),
                    None => Gate::Probe,
                }
            }
        };
    }
    if let Some(until) = state.postponed_until.filter(|until| *until > now) {
        return Gate::NotYet(until);
    }
    let polled =
        state.last_success.and(state.last_run).filter(|_| interval_minutes > 0 && state.postponed_until.is_none());
    match polled.and_then(|last| served(Slot::of(mailbox, delivery, interval_minutes), last, now)) {
        Some(at) => Gate::NotYet(at),
        None => Gate::Open,
    }
}

/// When the next round begins, if a run that began at `last` was the run of the round at `now`.
fn served(slot: Slot, last: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let round = |at| slot.round(seconds_after(at, EARLY_SECONDS));
    (round(last) >= round(now)).then(|| slot.next(seconds_after(now, EARLY_SECONDS)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    fn mailbox() -> MailboxId {
        MailboxId::parse("m1").unwrap()
    }

    fn asked(state: &DeliveryState, interval_minutes: u16, now: Timestamp) -> Gate {
        gate((&mailbox(), Delivery::IncomingEmail), state, interval_minutes, now)
    }

    fn enabled() -> DeliveryState {
        DeliveryState { enabled: true, ..DeliveryState::configured(SynchronizationMethod::ServerSideSynchronization) }
    }

    fn ran(last: Timestamp) -> DeliveryState {
        DeliveryState { last_run: Some(last), last_success: Some(last), ..enabled() }
    }

    #[test]
    fn a_fresh_delivery_runs_and_a_disabled_one_does_not() {
        assert_eq!(asked(&enabled(), 5, at(0)), Gate::Open);
        let disabled = DeliveryState { enabled: false, ..enabled() };
        assert!(matches!(asked(&disabled, 5, at(0)), Gate::Closed(_)));
        let unconfigured = DeliveryState { method: SynchronizationMethod::None, ..enabled() };
        assert!(matches!(asked(&unconfigured, 5, at(0)), Gate::Closed(_)));
    }

    #[test]
    fn a_disabled_delivery_that_is_to_recover_is_probed_once_in_a_round_of_its_interval() {
        let slot = Slot::of(&mailbox(), Delivery::IncomingEmail, 15);
        let round = slot.round(at(0));
        let disabled = DeliveryState { enabled: false, recovery_minutes: Some(15), last_run: Some(round), ..enabled() };
        assert_eq!(asked(&disabled, 5, seconds_after(round, 300)), Gate::NotYet(slot.next(round)));
        assert_eq!(asked(&disabled, 5, slot.next(round)), Gate::Probe);
    }

    #[test]
    fn the_gap_is_kept_to_the_second() {
        let failed = DeliveryState { postponed_until: Some(at(300)), ..enabled() };
        assert_eq!(asked(&failed, 5, at(299)), Gate::NotYet(at(300)));
        assert_eq!(asked(&failed, 5, at(300)), Gate::Open);
    }

    #[test]
    fn a_second_wake_in_the_same_round_is_dropped() {
        let round = Slot::of(&mailbox(), Delivery::IncomingEmail, 5).round(at(0));
        for last in [-29, 0, 100] {
            let state = ran(seconds_after(round, last));
            let again = asked(&state, 5, seconds_after(round, 200));
            assert_eq!(again, Gate::NotYet(seconds_after(round, 300)), "{last}");
        }
        assert_eq!(asked(&ran(at(0)), 0, at(1)), Gate::Open, "without an interval every wake runs");
    }

    #[test]
    fn a_wake_whose_clock_is_a_little_behind_is_one_of_its_round() {
        let round = Slot::of(&mailbox(), Delivery::IncomingEmail, 60).round(at(0));
        let state = ran(seconds_after(round, -3_600));
        assert_eq!(asked(&state, 60, seconds_after(round, -1)), Gate::Open);
        let state = ran(seconds_after(round, -1));
        assert!(matches!(asked(&state, 60, seconds_after(round, 10)), Gate::NotYet(_)));
    }

    proptest! {
        /// Whenever it ran last, in the round before or earlier, the wake of this round is not dropped.
        #[test]
        fn no_run_off_its_time_lets_the_next_round_be_dropped(
            minutes in 1_u16..1441, now in 0_i64..100_000, before in 0_i64..100_000, late in 0_i64..60
        ) {
            let slot = Slot::of(&mailbox(), Delivery::IncomingEmail, minutes);
            let round = slot.round(at(now));
            let last = seconds_after(round, -EARLY_SECONDS - 1 - before);
            prop_assert_eq!(asked(&ran(last), minutes, seconds_after(round, late)), Gate::Open);
        }
    }
}
