//! Quotas: recipients of a mailbox in an hour.

use mailrail_domain::{Timestamp, words::id::MailboxId};
use mailrail_engine::{outage::Outage, ports::QuotaStore};
use mailrail_table::{conditional, number};

use crate::{Store, keys};

/// A count of recipients is kept for two hours, of which it is asked for in the first.
const COUNTED_SECONDS: i64 = 7_200;

impl QuotaStore for Store {
    async fn count_recipients(
        &self,
        mailbox: &MailboxId,
        at: Timestamp,
        recipients: u32,
        most: u32,
    ) -> Result<bool, Outage> {
        let Some(room) = most.checked_sub(recipients) else {
            return Ok(false);
        };
        let request = self
            .table
            .updating(keys::recipients(mailbox, at))
            .update_expression("ADD recipients :n SET expires_at = :end")
            .condition_expression("attribute_not_exists(recipients) OR recipients <= :room")
            .expression_attribute_values(":n", number(recipients))
            .expression_attribute_values(":room", number(room))
            .expression_attribute_values(":end", number(at.timestamp() + COUNTED_SECONDS));
        conditional(request.send().await, "counting recipients")
    }

    async fn uncount_recipients(&self, mailbox: &MailboxId, at: Timestamp, recipients: u32) -> Result<(), Outage> {
        let request = self
            .table
            .updating(keys::recipients(mailbox, at))
            .update_expression("SET recipients = recipients - :n")
            .condition_expression("recipients >= :n")
            .expression_attribute_values(":n", number(recipients));
        conditional(request.send().await, "giving counted recipients back")?;
        Ok(())
    }
}
