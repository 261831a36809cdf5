//! The quarantine: messages that could not become records, each with its reason.

use mailrail_domain::{
    Timestamp,
    email::quarantine::{QuarantineReason, Quarantined},
    words::{audit::AuditEntry, id::MailboxId},
};

use super::directory::{Page, PageRequest};
use crate::outage::Outage;

/// Messages that could not become records.
pub trait QuarantineStore: Send + Sync {
    /// Puts a message into quarantine; the same message twice is one entry. An entry without bytes gives way to one that
    /// has them.
    fn quarantine(&self, message: &Quarantined, until: Timestamp) -> impl Future<Output = Result<(), Outage>> + Send;

    /// A message in quarantine.
    fn quarantined_message(
        &self,
        mailbox: &MailboxId,
        remote_id: &str,
    ) -> impl Future<Output = Result<Option<Quarantined>, Outage>> + Send;

    /// Writes what another try to make a record of a message came to, if it is in quarantine still.
    fn retried(&self, message: &Quarantined) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Takes a message out of quarantine, because a record has it, and writes who tried it again. `false` if it was not
    /// there, and nothing was written.
    fn release(&self, message: &Quarantined, audit: &AuditEntry) -> impl Future<Output = Result<bool, Outage>> + Send;

    /// Lists the quarantine of all mailboxes, the newest first; of one reason, or of all.
    fn quarantined_anywhere(
        &self,
        reason: Option<QuarantineReason>,
        page: &PageRequest,
    ) -> impl Future<Output = Result<Page<Quarantined>, Outage>> + Send;

    /// Lists a mailbox's quarantine.
    fn quarantined(
        &self,
        mailbox: &MailboxId,
        page: &PageRequest,
    ) -> impl Future<Output = Result<Page<Quarantined>, Outage>> + Send;
}
