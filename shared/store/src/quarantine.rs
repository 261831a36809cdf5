//! The quarantine: messages that could not become records.

use mailrail_domain::{
    Timestamp,
    email::quarantine::{QuarantineReason, Quarantined},
    words::{audit::AuditEntry, id::MailboxId},
};
use mailrail_engine::{
    outage::Outage,
    ports::{Page, PageRequest, QuarantineStore, Written},
};

use mailrail_table::{Item, Question, conditional, decode, encode, expiring, key_of, listed, text, text_of};

use crate::{Store, keys, rows::QuarantineRow};

impl QuarantineStore for Store {
    async fn quarantine(&self, message: &Quarantined, until: Timestamp) -> Result<(), Outage> {
        let put = self.table.replacing(expiring(quarantine_item(message)?, until));
        // A message whose bytes come at last takes the place of its entry without them.
        let condition = match message.raw_key.is_empty() {
            true => put.condition_expression("attribute_not_exists(pk)"),
            false => put
                .condition_expression("attribute_not_exists(pk) OR #message.raw_key = :none")
                .expression_attribute_names("#message", "message")
                .expression_attribute_values(":none", text("")),
        };
        self.table.put_if(condition, "writing the quarantine").await?;
        Ok(())
    }

    async fn quarantined_message(&self, mailbox: &MailboxId, remote_id: &str) -> Result<Option<Quarantined>, Outage> {
        let item = self.table.get(keys::quarantined(mailbox, remote_id), true).await?;
        Ok(item.map(decode::<QuarantineRow>).transpose()?.map(|row| row.message))
    }

    async fn retried(&self, message: &Quarantined) -> Result<(), Outage> {
        let row = serde_dynamo::to_attribute_value(message)
            .map_err(|error| Outage::because("a value cannot be written", error))?;
        let (list, place) = keys::quarantine_place(message);
        let request = self
            .table
            .updating(keys::quarantined(&message.mailbox_id, &message.remote_id))
            .update_expression("SET message = :message, list_pk = :list, list_sk = :place")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":message", row)
            .expression_attribute_values(":list", text(list))
            .expression_attribute_values(":place", text(place));
        conditional(request.send().await, "writing another try")?;
        Ok(())
    }

    async fn release(&self, message: &Quarantined, audit: &AuditEntry) -> Result<bool, Outage> {
        let key = keys::quarantined(&message.mailbox_id, &message.remote_id);
        Ok(self.write_audited(vec![self.table.deleting_existing(key)?], audit).await? == Written::Done)
    }

    async fn quarantined_anywhere(
        &self,
        reason: Option<QuarantineReason>,
        page: &PageRequest,
    ) -> Result<Page<Quarantined>, Outage> {
        let reasons: Vec<QuarantineReason> = reason.map_or(QuarantineReason::ALL.to_vec(), |reason| vec![reason]);
        let lists = reasons.iter().flat_map(|reason| (0..keys::SHARDS).map(|n| keys::quarantine_in(*reason, n)));
        let (keys, cursor) = self.merged(lists.collect(), page, true).await?;
        let rows = self.table.get_all(keys, false).await?.into_iter().map(decode::<QuarantineRow>);
        Ok(Page { items: rows.map(|row| row.map(|row| row.message)).collect::<Result<_, _>>()?, cursor })
    }

    async fn quarantined(&self, mailbox: &MailboxId, page: &PageRequest) -> Result<Page<Quarantined>, Outage> {
        let partition = keys::quarantine_of(mailbox);
        let question = Question {
            limit: Some(page.limit),
            after: page.cursor.clone().map(|sort| key_of((partition.clone(), sort))),
            ..Question::of(partition)
        };
        let (items, next) = self.table.query(question).await?;
        let rows = items.into_iter().map(|item| decode::<QuarantineRow>(item).map(|row| row.message));
        let items = rows.collect::<Result<_, _>>()?;
        Ok(Page { items, cursor: next.and_then(|key| text_of(&key, "sk").map(str::to_owned)) })
    }
}

fn quarantine_item(message: &Quarantined) -> Result<Item, Outage> {
    let key = keys::quarantined(&message.mailbox_id, &message.remote_id);
    let item = encode(key, &QuarantineRow { message: message.clone() })?;
    Ok(listed(item, keys::quarantine_place(message)))
}
