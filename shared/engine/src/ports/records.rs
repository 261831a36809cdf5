//! Email records: the customer's, apart from Mailrail's own state, so that they can be kept elsewhere.

use mailrail_domain::{
    email::record::Email,
    words::id::{EmailId, MailboxId},
};

use super::directory::{Page, PageRequest};
use crate::outage::Outage;

/// The state in which a record was read. The store that gave it is the only one that reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision(String);

impl Revision {
    /// A store's name for a state of a record.
    pub fn new(name: impl ToString) -> Self {
        Self(name.to_string())
    }

    /// The store's name for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An email record with the revision that a change of it is conditional on.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEmail {
    /// The record.
    pub email: Email,
    /// The state in which it was read.
    pub revision: Revision,
}

/// Whether a received message was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is a new record.
    New,
    /// The record was there already, from an earlier run or another mailbox.
    AlreadyThere,
}

/// Email records.
pub trait EmailRecords: Send + Sync {
    /// Writes the record of a received message unless it is there, and lists it under `mailbox`. Doing it again
    /// changes nothing. Its objects are written before.
    fn insert_received(
        &self,
        email: &Email,
        mailbox: &MailboxId,
    ) -> impl Future<Output = Result<Inserted, Outage>> + Send;

    /// Writes a new outgoing email as Draft. `false` if another email has its id. Doing it again changes nothing.
    fn insert_draft(&self, email: &Email) -> impl Future<Output = Result<bool, Outage>> + Send;

    /// Writes a changed outgoing email on condition of the revision in which it was read. `None` if somebody else wrote
    /// since. Only [`Outbox`](crate::outbox::Outbox) calls it, which knows the emails that wait to be sent.
    fn update_outgoing(
        &self,
        email: &Email,
        revision: &Revision,
    ) -> impl Future<Output = Result<Option<StoredEmail>, Outage>> + Send;

    /// Reads records, with everything that was written before, in the order of their ids. Records that are gone are
    /// left out.
    fn emails_with(&self, ids: &[EmailId]) -> impl Future<Output = Result<Vec<StoredEmail>, Outage>> + Send;

    /// Reads a record.
    fn email(&self, id: &EmailId) -> impl Future<Output = Result<Option<StoredEmail>, Outage>> + Send;

    /// Lists a mailbox's records, the newest first.
    fn emails(
        &self,
        mailbox: &MailboxId,
        page: &PageRequest,
    ) -> impl Future<Output = Result<Page<Email>, Outage>> + Send;

    /// The records with this Message-ID: the email that a reply answers.
    fn with_message_id(&self, message_id: &str) -> impl Future<Output = Result<Vec<Email>, Outage>> + Send;

    /// The ids of the records that may answer this Message-ID ([`Email::answered`]), whichever came first.
    fn replies(&self, message_id: &str) -> impl Future<Output = Result<Vec<EmailId>, Outage>> + Send;
}
