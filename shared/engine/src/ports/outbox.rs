//! Outboxes: which emails of a mailbox wait to be sent. The emails themselves are the customer's records.

use mailrail_domain::{
    Timestamp,
    words::id::{EmailId, MailboxId},
};

use super::directory::{Page, PageRequest};
use crate::outage::Outage;

/// An email's place in the outbox of its mailbox.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutboxPlace {
    /// When the email was written, to the millisecond: the oldest comes first.
    pub received_at: Timestamp,
    /// The email.
    pub email: EmailId,
}

/// Outboxes.
pub trait OutboxStore: Send + Sync {
    /// Puts an email into its mailbox's outbox. An email that is there already has now entered it again.
    fn enter_outbox(
        &self,
        mailbox: &MailboxId,
        place: &OutboxPlace,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Takes an email that is sent or has failed out of its mailbox's outbox, if it is there.
    fn leave_outbox(&self, mailbox: &MailboxId, place: &OutboxPlace)
    -> impl Future<Output = Result<(), Outage>> + Send;

    /// Takes an email out of its mailbox's outbox unless it has entered it, for the last time, after `entered_by` (in
    /// whole seconds).
    fn clear_outbox(
        &self,
        mailbox: &MailboxId,
        place: &OutboxPlace,
        entered_by: Timestamp,
    ) -> impl Future<Output = Result<(), Outage>> + Send;

    /// A page of a mailbox's outbox, the oldest email first.
    fn outbox(
        &self,
        mailbox: &MailboxId,
        page: &PageRequest,
    ) -> impl Future<Output = Result<Page<OutboxPlace>, Outage>> + Send;
}
