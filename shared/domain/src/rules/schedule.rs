//! When a delivery is due, without an index on anything that changes at a sync.
//!
//! The schedule is a wheel: a delivery polled every *n* minutes has a fixed phase between 0 and *n* − 1, and is due in
//! every minute whose number leaves that phase as the remainder. Its place changes only when it is enabled, disabled
//! or given another interval, so an idle mailbox costs the schedule no write at all, and the mailboxes of an interval
//! spread evenly over its minutes.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::{
    Timestamp,
    settings::profile::{EmailServerProfile, POLLING_MINUTES_MAX},
    words::{delivery::Delivery, id::MailboxId},
};

/// Intervals that a wheel exists for, in minutes. Others are rounded up, so that a tick asks for at most this many.
pub const INTERVALS_MINUTES: [u16; 15] = [1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 240, 360, 480, 720, POLLING_MINUTES_MAX];

/// A place on a wheel: every delivery here is due in the same minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Minutes between two rounds; one of [`INTERVALS_MINUTES`].
    pub interval_minutes: u16,
    /// The minute within the round.
    pub phase: u16,
}

impl Slot {
    /// The slot of a delivery, the same for ever for the same interval.
    #[must_use]
    pub fn of(mailbox: &MailboxId, delivery: Delivery, interval_minutes: u16) -> Self {
        let interval_minutes = rounded(interval_minutes);
        let hash = Sha256::new().chain_update(mailbox.as_str()).chain_update(delivery.as_str()).finalize();
        let number = hash.iter().take(2).fold(0, |number: u16, byte| number << 8 | u16::from(*byte));
        Self { interval_minutes, phase: number % interval_minutes }
    }

    /// The slot of an interval that is due in the minute of `now`.
    #[must_use]
    pub fn due(interval_minutes: u16, now: Timestamp) -> Self {
        let interval_minutes = rounded(interval_minutes);
        let minute = now.timestamp().div_euclid(60);
        let phase = minute.rem_euclid(i64::from(interval_minutes));
        Self { interval_minutes, phase: u16::try_from(phase).unwrap_or(0) }
    }

    /// The beginning of the round at `now`: the last minute, up to that of `now`, in which the slot was due.
    #[must_use]
    pub fn round(self, now: Timestamp) -> Timestamp {
        let minute = now.timestamp().div_euclid(60);
        let ago = (minute - i64::from(self.phase)).rem_euclid(i64::from(self.interval_minutes));
        Timestamp::from_timestamp((minute - ago) * 60, 0).unwrap_or(now)
    }

    /// The beginning of the next minute after `now` in which the slot is due.
    #[must_use]
    pub fn next(self, now: Timestamp) -> Timestamp {
        let minute = now.timestamp().div_euclid(60) + 1;
        let round = i64::from(self.interval_minutes);
        let wait = (i64::from(self.phase) - minute).rem_euclid(round);
        Timestamp::from_timestamp((minute + wait) * 60, 0).unwrap_or(now)
    }
}

/// Minutes that a tick makes up for at most, when ticks before it were missed: the longest interval.
pub const MISSED_MINUTES_MAX: i64 = POLLING_MINUTES_MAX as i64;

/// The slots of `intervals` that fell due after `last`, up to and including the minute of `now`, each once. Without a
/// tick before, those of this minute.
#[must_use]
pub fn due_since(intervals: &[u16], last: Option<Timestamp>, now: Timestamp) -> BTreeSet<Slot> {
    let minute = |at: Timestamp| at.timestamp().div_euclid(60);
    let missed = last.map_or(0, |last| minute(now) - minute(last) - 1).clamp(0, MISSED_MINUTES_MAX - 1);
    let minutes = (0..=missed).map(|ago| crate::seconds_after(now, -60 * ago));
    minutes.flat_map(|at| intervals.iter().map(move |interval| Slot::due(*interval, at))).collect()
}

/// The interval of a mailbox: the deployment's, or the profile's where that is longer, rounded up to a wheel's.
#[must_use]
pub fn interval(deployment_minutes: u16, profile_minimum_minutes: u16) -> u16 {
    rounded(deployment_minutes.max(profile_minimum_minutes))
}

/// Minutes between two runs of a delivery, as the schedule counts them. Sending is not polling, so that a profile's
/// polling interval does not slow it.
#[must_use]
pub fn interval_of(deployment_minutes: u16, delivery: Delivery, profile: &EmailServerProfile) -> u16 {
    match delivery {
        Delivery::IncomingEmail | Delivery::AppointmentsContactsTasks => {
            interval(deployment_minutes, profile.minimum_polling_interval_minutes)
        }
        Delivery::OutgoingEmail => interval(deployment_minutes, 0),
    }
}

fn rounded(minutes: u16) -> u16 {
    INTERVALS_MINUTES.into_iter().find(|wheel| *wheel >= minutes).unwrap_or(POLLING_MINUTES_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_interval_is_never_shorter_than_the_profile_asks() {
        assert_eq!(interval(5, 0), 5);
        assert_eq!(interval(5, 7), 10);
        assert_eq!(interval(5, 1440), 1440);
        assert_eq!(interval(0, 0), 1);
    }

    #[test]
    fn phases_spread_evenly() {
        let mut per_phase = [0_u32; 5];
        for n in 0..5_000 {
            let slot = Slot::of(&MailboxId::parse(format!("m{n}")).unwrap(), Delivery::IncomingEmail, 5);
            per_phase[usize::from(slot.phase)] += 1;
        }
        assert!(per_phase.iter().all(|n| (800..1200).contains(n)), "{per_phase:?}");
    }

    #[test]
    fn missed_ticks_are_made_up_for_and_each_slot_comes_once() {
        let at = |minute: i64| Timestamp::from_timestamp(minute * 60 + 7, 0).unwrap();
        assert_eq!(due_since(&[1, 5], None, at(1_000)).len(), 2);
        assert_eq!(due_since(&[5], Some(at(999)), at(1_000)), BTreeSet::from([Slot::due(5, at(1_000))]));
        assert_eq!(due_since(&[1, 5, 60], Some(at(990)), at(1_000)).len(), 1 + 5 + 10);
        assert_eq!(due_since(&[1440], Some(at(0)), at(1_000_000)).len(), 1_440);
        assert_eq!(due_since(&[5], Some(at(1_000)), at(1_000)).len(), 1, "a tick that comes twice does no harm");
        assert_eq!(due_since(&[5], Some(at(2_000)), at(1_000)).len(), 1, "nor does a clock that was ahead");
    }

    #[test]
    fn a_slot_is_next_due_in_the_first_of_its_minutes_to_come() {
        let at = |second: i64| Timestamp::from_timestamp(second, 0).unwrap();
        let slot = Slot { interval_minutes: 5, phase: 3 };
        assert_eq!(slot.next(at(1)), at(180));
        assert_eq!(slot.next(at(180)), at(480), "this minute's tick has been");
        assert_eq!(Slot { interval_minutes: 1, phase: 0 }.next(at(59)), at(60));
    }

    proptest! {
        #[test]
        fn a_round_begins_when_the_slot_is_due_and_lasts_until_the_next(
            minutes in 1_u16..1441, now in 0_i64..4_000_000_000, name in "[a-z0-9]{1,8}"
        ) {
            let slot = Slot::of(&MailboxId::parse(name).unwrap(), Delivery::IncomingEmail, minutes);
            let now = Timestamp::from_timestamp(now, 0).unwrap();
            let begun = slot.round(now);
            prop_assert_eq!(Slot::due(slot.interval_minutes, begun), slot);
            prop_assert!(begun <= now && now < slot.next(begun));
            prop_assert_eq!(slot.next(begun), crate::seconds_after(begun, i64::from(slot.interval_minutes) * 60));
            prop_assert_eq!(slot.round(slot.next(now)), slot.next(now));
        }

        #[test]
        fn a_delivery_is_due_once_in_every_round(minutes in 0_u16..2000, start in 0_i64..4_000_000_000, name in "[a-z0-9]{1,8}") {
            let slot = Slot::of(&MailboxId::parse(name).unwrap(), Delivery::OutgoingEmail, minutes);
            let round = i64::from(slot.interval_minutes);
            let times = (0..round).filter(|m| Slot::due(slot.interval_minutes, Timestamp::from_timestamp(start + m * 60, 0).unwrap()) == slot).count();
            prop_assert_eq!(times, 1);
            prop_assert!(slot.interval_minutes >= minutes.min(POLLING_MINUTES_MAX));
        }
    }
}
