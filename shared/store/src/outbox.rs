//! Outboxes: which emails of a mailbox wait to be sent.

use mailrail_domain::{
    Timestamp,
    words::id::{EmailId, MailboxId},
};
use mailrail_engine::{
    outage::Outage,
    ports::{OutboxPlace, OutboxStore, Page, PageRequest},
};
use mailrail_table::{Item, Question, conditional, key_of, number, text, text_of};

use crate::{Store, keys};

impl OutboxStore for Store {
    async fn enter_outbox(&self, mailbox: &MailboxId, place: &OutboxPlace, now: Timestamp) -> Result<(), Outage> {
        let mut item = key_of(keys::outbox_place(mailbox, place));
        item.insert("email_id".to_owned(), text(place.email.as_str()));
        item.insert("entered_at".to_owned(), number(now.timestamp()));
        self.table.put(item).await
    }

    async fn leave_outbox(&self, mailbox: &MailboxId, place: &OutboxPlace) -> Result<(), Outage> {
        let request = self.table.removing(keys::outbox_place(mailbox, place));
        conditional(request.send().await, "taking an email from an outbox")?;
        Ok(())
    }

    async fn clear_outbox(
        &self,
        mailbox: &MailboxId,
        place: &OutboxPlace,
        entered_by: Timestamp,
    ) -> Result<(), Outage> {
        let request = self
            .table
            .removing(keys::outbox_place(mailbox, place))
            // The release before wrote no moment, and wrote the record with its place in one transaction.
            .condition_expression("attribute_not_exists(entered_at) OR entered_at <= :by")
            .expression_attribute_values(":by", number(entered_by.timestamp()));
        conditional(request.send().await, "clearing an outbox")?;
        Ok(())
    }

    async fn outbox(&self, mailbox: &MailboxId, page: &PageRequest) -> Result<Page<OutboxPlace>, Outage> {
        // What was just put here is about to be sent.
        let question = Question { consistent: true, ..Question::of(keys::outbox_of(mailbox)) };
        let (items, cursor) = self.table.page(question, page).await?;
        Ok(Page { items: items.iter().filter_map(place).collect(), cursor })
    }
}

/// The place that a row stands for. When its email was written is in the sort key.
fn place(item: &Item) -> Option<OutboxPlace> {
    let milliseconds = text_of(item, "sk")?.split('#').next()?.parse().ok()?;
    let email = EmailId::parse(text_of(item, "email_id")?).ok()?;
    Some(OutboxPlace { email, received_at: Timestamp::from_timestamp_millis(milliseconds)? })
}
