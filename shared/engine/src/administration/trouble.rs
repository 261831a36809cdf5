//! What a person reads when something fails: alerts, and the notices that tell of them.

use mailrail_domain::words::{
    alert::{Alert, AlertStatus},
    id::{MailboxId, ProfileId},
    notice::{Notice, NoticeStatus},
};

use super::Refusal;
use crate::{
    Engine,
    alerts::alerts_of_mailbox,
    ports::{AlertFilter, Directory, NoticeStore, Page, PageRequest, Ports},
};

/// Which alerts are wanted.
#[derive(Debug, Clone)]
pub enum AlertsOf {
    /// Those of a mailbox, open and closed; on the first page also the open ones of its profile that concern it.
    Mailbox(MailboxId),
    /// Those of a profile itself, open and closed.
    Profile(ProfileId),
    /// All of the organization in this status.
    Everybody(AlertStatus),
}

impl<P: Ports> Engine<P> {
    /// Lists alerts, the newest first.
    pub async fn list_alerts(&self, of: AlertsOf, page: &PageRequest) -> Result<Page<Alert>, Refusal> {
        let store = self.ports.mailboxes();
        let filter = match of {
            AlertsOf::Mailbox(mailbox) => {
                self.find_mailbox(mailbox.as_str()).await?;
                return Ok(alerts_of_mailbox(store, &mailbox, page).await?);
            }
            AlertsOf::Profile(profile) => AlertFilter::Profile(self.find_profile(profile.as_str()).await?.profile.id),
            AlertsOf::Everybody(status) => AlertFilter::Status(status),
        };
        Ok(store.alerts(&filter, page).await?)
    }

    /// Lists notices in a status, the oldest first.
    pub async fn list_notices(&self, status: NoticeStatus, page: &PageRequest) -> Result<Page<Notice>, Refusal> {
        Ok(self.ports.mailboxes().notices(status, page).await?)
    }
}
