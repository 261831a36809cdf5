//! Queues of wakes: a message says which delivery to look at, and nothing else.

use mailrail_domain::words::{delivery::Delivery, id::MailboxId, trial::TestRequest};

use crate::outage::Outage;

/// "Look at this delivery." Everything else is read from its row, so duplicates and reorderings are harmless.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wake {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The delivery, which also says which queue.
    pub delivery: Delivery,
}

/// A message that was received by hand rather than by an event source mapping.
#[derive(Debug)]
pub struct ReceivedWake {
    /// The wake, or why the message could not be read. Such a message is left alone and ends in the dead letters.
    pub wake: Result<Wake, String>,
    /// What deletes it.
    pub receipt: String,
}

/// The queues, one per delivery.
pub trait MailboxQueue: Send + Sync {
    /// Puts up to [`crate::limits::QUEUE_BATCH`] wakes of one delivery on its queue, visible after `delay_seconds`
    /// (at most [`crate::limits::QUEUE_DELAY_SECONDS_MAX`]). Part of a batch that was not taken is an outage.
    fn send(
        &self,
        delivery: Delivery,
        wakes: &[Wake],
        delay_seconds: u32,
    ) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Receives up to one batch; empty when there is nothing.
    fn receive(&self, delivery: Delivery) -> impl Future<Output = Result<Vec<ReceivedWake>, Outage>> + Send;

    /// Deletes messages that were dealt with.
    fn delete(&self, delivery: Delivery, receipts: &[String]) -> impl Future<Output = Result<(), Outage>> + Send;
}

/// A request for tests that was received by hand rather than by an event source mapping.
#[derive(Debug)]
pub struct ReceivedTest {
    /// The request, or why the message could not be read.
    pub request: Result<TestRequest, String>,
    /// What deletes it.
    pub receipt: String,
}

/// The queue of Test & Enable.
pub trait TestQueue: Send + Sync {
    /// Puts requests on the queue, visible after `delay_seconds`. Part of a batch that was not taken is an outage.
    fn send_tests(
        &self,
        requests: &[TestRequest],
        delay_seconds: u32,
    ) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Receives up to one batch; empty when there is nothing.
    fn receive_tests(&self) -> impl Future<Output = Result<Vec<ReceivedTest>, Outage>> + Send;

    /// Deletes requests that were dealt with.
    fn delete_tests(&self, receipts: &[String]) -> impl Future<Output = Result<(), Outage>> + Send;
}
