//! Freshness: since when a delivery that runs and does not fail has not worked.

use crate::{Timestamp, words::state::DeliveryState};

/// Since when a delivery has not worked, if that is too long and nothing failed. A delivery that never worked is late from
/// the moment at which it was enabled. A long polling interval is given its time.
#[must_use]
pub fn stalled_since(
    state: &DeliveryState,
    interval_minutes: Option<u16>,
    stall_minutes: u16,
    now: Timestamp,
) -> Option<Timestamp> {
    let since = state.last_success.max(state.enabled_at)?;
    let patience = i64::from(stall_minutes.max(interval_minutes.unwrap_or_default().saturating_mul(2)));
    let is_late = (now - since).num_minutes() >= patience;
    (state.enabled && state.transient_failure_count == 0 && is_late).then_some(since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seconds_after;

    #[test]
    fn a_delivery_is_stalled_when_it_should_have_worked_and_did_not_fail() {
        let now = Timestamp::from_timestamp(1_700_000_000, 0).unwrap();
        let ago = |minutes: i64| Some(seconds_after(now, -60 * minutes));
        let state = DeliveryState { enabled: true, last_success: ago(60), ..DeliveryState::default() };
        assert_eq!(stalled_since(&state, Some(5), 60, now), ago(60));
        assert_eq!(stalled_since(&state, Some(5), 61, now), None);
        assert_eq!(stalled_since(&state, Some(60), 60, now), None, "it is polled once an hour");
        let never = DeliveryState { enabled_at: ago(60), last_success: None, ..state.clone() };
        assert_eq!(stalled_since(&never, Some(5), 60, now), ago(60));
        for other in [
            DeliveryState { enabled: false, ..state.clone() },
            DeliveryState { transient_failure_count: 1, ..state.clone() },
            DeliveryState { last_success: None, ..state.clone() },
            DeliveryState { enabled_at: ago(59), ..state.clone() },
        ] {
            assert_eq!(stalled_since(&other, Some(5), 60, now), None, "{other:?}");
        }
    }
}
