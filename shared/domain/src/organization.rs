//! Settings of the whole organization.

use serde::{Deserialize, Serialize};

use crate::id::MailboxId;

/// What holds for every mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Organization {
    /// The mailbox whose profile and credentials send notices. Without one, notices wait and are listed as pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice_mailbox_id: Option<MailboxId>,
    /// Email of a user's mailbox is processed only once its address is approved.
    pub process_emails_only_for_approved_users: bool,
    /// Email of a queue's mailbox is processed only once its address is approved.
    pub process_emails_only_for_approved_queues: bool,
}

impl Default for Organization {
    fn default() -> Self {
        Self {
            notice_mailbox_id: None,
            process_emails_only_for_approved_users: true,
            process_emails_only_for_approved_queues: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_before_these_settings_has_their_defaults() {
        let read: Organization = serde_json::from_str("{}").unwrap();
        assert_eq!(read, Organization::default());
    }
}
