//! Outboxes.

use mailrail_domain::{Timestamp, words::id::MailboxId};
use mailrail_engine::{
    outage::Outage,
    ports::{OutboxPlace, OutboxStore, Page, PageRequest},
};

use super::MemoryState;
use crate::fakes::{lock, page};

impl OutboxStore for MemoryState {
    async fn enter_outbox(&self, mailbox: &MailboxId, place: &OutboxPlace, now: Timestamp) -> Result<(), Outage> {
        lock(&self.0).outboxes.insert((mailbox.clone(), place.clone()), now);
        Ok(())
    }

    async fn leave_outbox(&self, mailbox: &MailboxId, place: &OutboxPlace) -> Result<(), Outage> {
        lock(&self.0).outboxes.remove(&(mailbox.clone(), place.clone()));
        Ok(())
    }

    async fn clear_outbox(
        &self,
        mailbox: &MailboxId,
        place: &OutboxPlace,
        entered_by: Timestamp,
    ) -> Result<(), Outage> {
        let key = (mailbox.clone(), place.clone());
        let mut state = lock(&self.0);
        if state.outboxes.get(&key).is_some_and(|entered| *entered <= entered_by) {
            state.outboxes.remove(&key);
        }
        Ok(())
    }

    async fn outbox(&self, mailbox: &MailboxId, request: &PageRequest) -> Result<Page<OutboxPlace>, Outage> {
        let state = lock(&self.0);
        let of_mailbox = state.outboxes.keys().filter(|(of, _)| of == mailbox).map(|(_, place)| place.clone());
        let key = |place: OutboxPlace| (format!("{:014}#{}", place.received_at.timestamp_millis(), place.email), place);
        Ok(page(of_mailbox.map(key).collect(), request))
    }
}
