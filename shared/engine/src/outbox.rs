//! The outbox of a mailbox: its places are our state, its emails are the customer's records.
//!
//! The two are not written together, because the records may be kept elsewhere. An email enters the outbox before its
//! record says that it waits, and leaves it after its record says that it does not: a place without a waiting email is
//! harmless, and an email without a place would never be sent.

use mailrail_domain::{
    Timestamp,
    email::record::{Email, EmailStatus},
    seconds_after,
    words::id::MailboxId,
};

use crate::{
    outage::Outage,
    ports::{EmailRecords, OutboxPlace, OutboxStore, Page, PageRequest, Revision, StoredEmail},
};

/// Time after which a place without a waiting email is cleared. It is longer than any invocation lives, so that the
/// place of an email whose record is just being written stays.
const CLEARED_AFTER_SECONDS: i64 = 3_600;

/// The outboxes of all mailboxes.
#[derive(Debug)]
pub struct Outbox<'a, S, R> {
    state: &'a S,
    records: &'a R,
    now: Timestamp,
}

impl<'a, S: OutboxStore, R: EmailRecords> Outbox<'a, S, R> {
    /// The outboxes whose places are in `state` and whose emails are in `records`.
    pub const fn of(state: &'a S, records: &'a R, now: Timestamp) -> Self {
        Self { state, records, now }
    }

    /// Writes a changed outgoing email on condition of the revision in which it was read. An email that becomes Pending
    /// Send enters its mailbox's outbox; an email that is Sent or Failed leaves it. `None` if somebody else wrote since.
    pub async fn update(&self, email: &Email, revision: &Revision) -> Result<Option<StoredEmail>, Outage> {
        let place = OutboxPlace { received_at: email.received_at, email: email.id.clone() };
        if email.status == EmailStatus::PendingSend {
            self.state.enter_outbox(&email.mailbox_id, &place, self.now).await?;
        }
        let written = self.records.update_outgoing(email, revision).await?;
        if written.is_some() && matches!(email.status, EmailStatus::Sent | EmailStatus::Failed) {
            self.state.leave_outbox(&email.mailbox_id, &place).await?;
        }
        Ok(written)
    }

    /// A page of a mailbox's outbox, the oldest email first: Pending Send, or Sending. It may hold fewer emails than
    /// were asked for although more follow.
    pub async fn page(&self, mailbox: &MailboxId, page: &PageRequest) -> Result<Page<StoredEmail>, Outage> {
        let Page { items: places, cursor } = self.state.outbox(mailbox, page).await?;
        let ids: Vec<_> = places.iter().map(|place| place.email.clone()).collect();
        let mut waiting = self.records.emails_with(&ids).await?;
        waiting.retain(|stored| matches!(stored.email.status, EmailStatus::PendingSend | EmailStatus::Sending));
        let entered_by = seconds_after(self.now, -CLEARED_AFTER_SECONDS);
        for place in places.iter().filter(|place| !waiting.iter().any(|stored| stored.email.id == place.email)) {
            self.state.clear_outbox(mailbox, place, entered_by).await?;
        }
        Ok(Page { items: waiting, cursor })
    }
}
