//! Quotas: how much of each limit has been used.

use mailrail_domain::{Timestamp, words::id::MailboxId};

use crate::outage::Outage;

/// What has been used of each limit.
pub trait QuotaStore: Send + Sync {
    /// Counts recipients of a mailbox in the hour of `at`, unless they would be more than `most` in that hour. `false` if
    /// they would, and nothing is counted.
    fn count_recipients(
        &self,
        mailbox: &MailboxId,
        at: Timestamp,
        recipients: u32,
        most: u32,
    ) -> impl Future<Output = Result<bool, Outage>> + Send;

    /// Gives back what was counted for an email that was then not sent, to the hour of `at`. The count never falls below
    /// zero.
    fn uncount_recipients(
        &self,
        mailbox: &MailboxId,
        at: Timestamp,
        recipients: u32,
    ) -> impl Future<Output = Result<(), Outage>> + Send;
}
