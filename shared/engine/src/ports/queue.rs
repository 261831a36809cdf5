//! Queues of jobs: a message says what to look at, and nothing else.

use mailrail_domain::words::{delivery::Delivery, id::MailboxId, trial::ProfileTest};

use crate::outage::Outage;

/// "Look at this delivery." Everything else is read from its row, so duplicates and reorderings are harmless.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wake {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The delivery, which also says which queue.
    pub delivery: Delivery,
}

/// What a message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Run a delivery.
    Wake(Wake),
    /// Test & Enable a mailbox, as its row of the test says.
    Trial(MailboxId),
    /// Ask for Test & Enable of all mailboxes of a profile, from a place in their list on.
    TrialsOfProfile(ProfileTest),
}

/// A queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueName {
    /// Of a delivery.
    Delivery(Delivery),
    /// Of Test & Enable.
    Trials,
}

impl From<Delivery> for QueueName {
    fn from(delivery: Delivery) -> Self {
        Self::Delivery(delivery)
    }
}

impl Job {
    /// The queue that it belongs on.
    #[must_use]
    pub const fn queue(&self) -> QueueName {
        match self {
            Self::Wake(wake) => QueueName::Delivery(wake.delivery),
            Self::Trial(_) | Self::TrialsOfProfile(_) => QueueName::Trials,
        }
    }
}

impl From<Wake> for Job {
    fn from(wake: Wake) -> Self {
        Self::Wake(wake)
    }
}

/// A message that was received by hand rather than by an event source mapping.
#[derive(Debug)]
pub struct Received {
    /// The job, or why the message could not be read. Such a message is left alone and ends in the dead letters.
    pub job: Result<Job, String>,
    /// What deletes it.
    pub receipt: String,
}

/// The queues.
pub trait JobQueue: Send + Sync {
    /// Puts up to [`crate::limits::QUEUE_BATCH`] jobs of one queue on it, visible after `delay_seconds` (at most
    /// [`crate::limits::QUEUE_DELAY_SECONDS_MAX`]). Part of a batch that was not taken is an outage.
    fn send(&self, jobs: &[Job], delay_seconds: u32) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Receives up to one batch; empty when there is nothing.
    fn receive(&self, queue: QueueName) -> impl Future<Output = Result<Vec<Received>, Outage>> + Send;

    /// Deletes messages that were dealt with.
    fn delete(&self, queue: QueueName, receipts: &[String]) -> impl Future<Output = Result<(), Outage>> + Send;
}
