//! Quotas: recipients of a mailbox in an hour.

use aws_sdk_dynamodb::types::{TransactWriteItem, builders::UpdateBuilder};
use mailrail_domain::{Timestamp, words::id::MailboxId};
use mailrail_engine::{outage::Outage, ports::QuotaStore};
use mailrail_table::number;

use crate::{Store, keys};

/// A count of recipients is kept for two hours, although only the first hour asks for it.
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
        let update = self
            .table
            .update(keys::recipients(mailbox, at))
            .update_expression("SET expires_at = :end ADD recipients :n")
            .condition_expression("attribute_not_exists(recipients) OR recipients <= :room")
            .expression_attribute_values(":n", number(recipients))
            .expression_attribute_values(":room", number(room))
            .expression_attribute_values(":end", number(at.timestamp() + COUNTED_SECONDS));
        self.count_once(update).await
    }

    async fn uncount_recipients(&self, mailbox: &MailboxId, at: Timestamp, recipients: u32) -> Result<(), Outage> {
        let update = self
            .table
            .update(keys::recipients(mailbox, at))
            .update_expression("SET recipients = recipients - :n")
            .condition_expression("recipients >= :n")
            .expression_attribute_values(":n", number(recipients));
        self.count_once(update).await?;
        Ok(())
    }
}

impl Store {
    /// A transaction, although it is one write: it has a token, by which the table does not count a repeated request again.
    async fn count_once(&self, update: UpdateBuilder) -> Result<bool, Outage> {
        let update = update.build().map_err(|error| Outage::because("counting recipients", error))?;
        Ok(self.table.transact(vec![TransactWriteItem::builder().update(update).build()]).await?.is_none())
    }
}
