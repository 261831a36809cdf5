//! Tests of mailboxes, the last of each.

use mailrail_domain::{
    seconds_after,
    words::{
        audit::AuditEntry,
        id::MailboxId,
        trial::{MailboxTest, TEST_SECONDS_MAX, TestPhase},
    },
};
use mailrail_engine::{
    outage::Outage,
    ports::{TestStore, Written},
};

use mailrail_table::{Item, decode, encode, number, text};

use crate::{Store, keys, rows::TestRow};

impl TestStore for Store {
    async fn request_test(&self, test: &MailboxTest, audit: &AuditEntry) -> Result<bool, Outage> {
        let until = seconds_after(test.requested_at, -TEST_SECONDS_MAX).timestamp();
        let put = self.table.putting_where(
            item(test)?,
            "attribute_not_exists(pk) OR test.phase = :finished OR asked_at <= :until",
            Item::from([(":finished".to_owned(), phase(TestPhase::Finished)?), (":until".to_owned(), number(until))]),
        )?;
        Ok(self.write_audited(vec![put], audit).await? == Written::Done)
    }

    async fn test(&self, mailbox: &MailboxId) -> Result<Option<MailboxTest>, Outage> {
        let item = self.table.get(keys::test(mailbox), true).await?;
        Ok(item.map(decode::<TestRow>).transpose()?.map(|row| row.test))
    }

    async fn update_test(&self, test: &MailboxTest) -> Result<bool, Outage> {
        let request = self
            .table
            .replacing(item(test)?)
            .condition_expression("test.id = :id")
            .expression_attribute_values(":id", text(&test.id));
        self.table.put_if(request, "writing a test").await
    }
}

fn item(test: &MailboxTest) -> Result<Item, Outage> {
    let row = TestRow { test: test.clone(), asked_at: test.requested_at.timestamp() };
    encode(keys::test(&test.mailbox_id), &row)
}

fn phase(phase: TestPhase) -> Result<aws_sdk_dynamodb::types::AttributeValue, Outage> {
    serde_dynamo::to_attribute_value(phase).map_err(|error| Outage::because("a value cannot be written", error))
}
