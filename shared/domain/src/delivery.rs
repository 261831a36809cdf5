//! The three deliveries of a mailbox and the state that each keeps for itself.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, alert::AlertKind, budget::Spent};

/// What is kept in step. Each is enabled, tested, counted and disabled alone; disabling one stops nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Messages from the server become email records.
    IncomingEmail,
    /// Email records that are Pending Send are handed to the server.
    OutgoingEmail,
    /// Items of the calendar, the contacts and the task list.
    AppointmentsContactsTasks,
}

impl Delivery {
    /// Every delivery, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::IncomingEmail, Self::OutgoingEmail, Self::AppointmentsContactsTasks];

    /// The name in keys, queue messages and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IncomingEmail => "incoming-email",
            Self::OutgoingEmail => "outgoing-email",
            Self::AppointmentsContactsTasks => "appointments-contacts-tasks",
        }
    }

    /// The delivery of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|delivery| delivery.as_str() == name)
    }

    /// "disabled for …", in the words of the alerts.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::IncomingEmail => "receiving email",
            Self::OutgoingEmail => "sending email",
            Self::AppointmentsContactsTasks => "synchronizing appointments, contacts, and tasks",
        }
    }
}

/// Who moves the items of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SynchronizationMethod {
    /// Nobody.
    #[default]
    None,
    /// Outlook, on somebody's desk; of items alone.
    Outlook,
    /// Mailrail.
    ServerSideSynchronization,
}

/// What the last test, or the last run, said of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestStatus {
    /// It has never been tried.
    #[default]
    NotRun,
    /// It worked.
    Success,
    /// It did not work.
    Failure,
}

/// What a run finds out on the server and keeps for the next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Learned {
    /// Where autodiscover found the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The identifier of the folder to which messages are moved that cannot be processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undeliverable_folder: Option<String>,
}

impl Learned {
    /// Whether nothing was found out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
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
    /// When it last worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// Messages that were found at the last run and left to the next.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub backlog: u32,
    /// While messages wait: everything that was received up to here is done, so that the oldest that waits is younger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_until: Option<Timestamp>,
    /// Alerts of this delivery that are open, so that a success knows what to close without a read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_alerts: Vec<AlertKind>,
    /// Which account on which server the position belongs to, as a digest; a position of another is worth nothing, even
    /// where its numbers look right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
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
    /// How often it has been disabled; names the notice of each disabling.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub times_disabled: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the shape that serde calls
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

    /// The state after a person enabled the delivery: counts start at zero, history of success stays.
    #[must_use]
    pub fn re_enabled(&self) -> Self {
        Self {
            enabled: self.method == SynchronizationMethod::ServerSideSynchronization,
            status: TestStatus::NotRun,
            transient_failure_count: 0,
            failing_since: None,
            postponed_until: None,
            open_alerts: Vec::new(),
            last_run: None,
            recovery_minutes: None,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for delivery in Delivery::ALL {
            assert_eq!(Delivery::from_name(delivery.as_str()), Some(delivery));
            assert_eq!(serde_json::to_value(delivery).unwrap(), delivery.as_str());
        }
        assert_eq!(Delivery::from_name("email"), None);
    }

    #[test]
    fn enabling_again_starts_the_count_at_zero() {
        let failed = DeliveryState {
            transient_failure_count: 10,
            status: TestStatus::Failure,
            times_disabled: 1,
            ..DeliveryState::configured(SynchronizationMethod::ServerSideSynchronization)
        };
        let again = failed.re_enabled();
        assert_eq!((again.transient_failure_count, again.enabled, again.times_disabled), (0, true, 1));
    }
}
