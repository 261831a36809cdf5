//! Settings of the whole organization.

use serde::{Deserialize, Serialize};

use crate::id::MailboxId;

/// What holds for every mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Organization {
    /// The mailbox whose profile and credentials send notices. Without one, notices wait and are listed as pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice_mailbox_id: Option<MailboxId>,
}
