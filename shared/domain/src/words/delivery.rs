//! The three deliveries of a mailbox.

use serde::{Deserialize, Serialize};

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

    /// Whether this version moves its items. Appointments, contacts and tasks may be set up and are not moved yet.
    #[must_use]
    pub const fn is_moved(self) -> bool {
        match self {
            Self::IncomingEmail | Self::OutgoingEmail => true,
            Self::AppointmentsContactsTasks => false,
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
}
