//! What a delivery remembers between two runs.

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    words::{
        alert::AlertKind,
        delivery::{Learned, SynchronizationMethod, TestStatus},
        passed_over::PassedOver,
        spent::{Account, Spent},
    },
};

impl Account {
    /// The account in a delivery's state.
    pub const fn of(self, state: &mut DeliveryState) -> &mut Option<Spent> {
        match self {
            Self::Requests => &mut state.spent,
            Self::Recipients => &mut state.spent_recipients,
        }
    }

    /// What the account says.
    #[must_use]
    pub const fn read(self, state: &DeliveryState) -> Option<Spent> {
        match self {
            Self::Requests => state.spent,
            Self::Recipients => state.spent_recipients,
        }
    }
}

/// Everything a delivery remembers between two runs, but for its position in the mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeliveryState {
    /// Who moves the items.
    pub method: SynchronizationMethod,
    /// Whether it may run at all. Cleared by the retry policy, set by a person.
    pub enabled: bool,
    /// What the last run said.
    #[serde(default)]
    pub status: TestStatus,
    /// Transient failures in a row.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub transient_failure_count: u32,
    /// When the present row of failures began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Not before this moment: the gap between two tries, or what the server asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postponed_until: Option<Timestamp>,
    /// When the last run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<Timestamp>,
    /// When it was last enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled_at: Option<Timestamp>,
    /// When it last worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// Messages that were found at the last run and left to the next.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub backlog: u32,
    /// Set while messages wait: everything that was received up to here is done, so the oldest message that waits is younger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_until: Option<Timestamp>,
    /// Alerts of this delivery that are open, so that a success knows what to close without a read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_alerts: Vec<AlertKind>,
    /// Which account on which server the position belongs to, as a digest. The position of another account is worth
    /// nothing, even if its numbers look right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Messages that were passed over, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_over: Option<PassedOver>,
    /// Minutes between two probes, if it was disabled by a passing fault and is probed until it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_minutes: Option<u16>,
    /// What was found out on the server and need not be looked up again.
    #[serde(default, skip_serializing_if = "Learned::is_empty")]
    pub learned: Learned,
    /// What was spent of the provider's budget of requests, or of messages that are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<Spent>,
    /// What was spent of the provider's budget of recipients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent_recipients: Option<Spent>,
    /// Since when it had failed when its owner was warned; empty once the owner has been told how that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warned_since: Option<Timestamp>,
    /// How often it has been disabled; names the notice of each disabling.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub times_disabled: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl DeliveryState {
    /// The state of a delivery that was just configured: not enabled, for nobody knows yet whether it works.
    #[must_use]
    pub fn configured(method: SynchronizationMethod) -> Self {
        Self { method, ..Self::default() }
    }

    /// The interval under which it stands in the schedule, where `interval_minutes` is that of its mailbox; `None` if it
    /// does not.
    #[must_use]
    pub fn scheduled(&self, interval_minutes: u16) -> Option<u16> {
        if self.enabled { Some(interval_minutes) } else { self.recovery_minutes }
    }

    /// Whether it has failed at `since` or later and has not worked since.
    #[must_use]
    pub fn has_failed_since(&self, since: Timestamp) -> bool {
        self.status == TestStatus::Failure
            && !self.open_alerts.is_empty()
            && self.last_run.is_some_and(|last_run| last_run >= since)
    }

    /// The state after a person enabled the delivery at `now`: counts start at zero, and the history of success stays.
    #[must_use]
    pub fn re_enabled(&self, now: Timestamp) -> Self {
        Self {
            enabled_at: Some(now),
            enabled: self.method == SynchronizationMethod::ServerSideSynchronization,
            status: TestStatus::NotRun,
            transient_failure_count: 0,
            failing_since: None,
            postponed_until: None,
            open_alerts: Vec::new(),
            last_run: None,
            recovery_minutes: None,
            warned_since: None,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::delivery::{SynchronizationMethod, TestStatus};

    #[test]
    fn enabling_again_starts_the_count_at_zero() {
        let failed = DeliveryState {
            transient_failure_count: 10,
            status: TestStatus::Failure,
            times_disabled: 1,
            ..DeliveryState::configured(SynchronizationMethod::ServerSideSynchronization)
        };
        let again = failed.re_enabled(Timestamp::default());
        assert_eq!((again.transient_failure_count, again.enabled, again.times_disabled), (0, true, 1));
    }
}
