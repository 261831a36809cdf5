//! The quarantine, and quotas.

use mailrail_domain::{
    Timestamp,
    email::quarantine::{QuarantineReason, Quarantined},
    words::{audit::AuditEntry, id::MailboxId},
};
use mailrail_engine::{
    outage::Outage,
    ports::{Page, PageRequest, QuarantineStore, QuotaStore},
};

use super::MemoryState;
use crate::fakes::{lock, page};

impl QuarantineStore for MemoryState {
    async fn quarantine(&self, message: &Quarantined, _: Timestamp) -> Result<(), Outage> {
        let key = (message.mailbox_id.clone(), message.remote_id.clone());
        let mut state = lock(&self.0);
        let known = state.quarantine.entry(key).or_insert_with(|| message.clone());
        if known.raw_key.is_empty() && !message.raw_key.is_empty() {
            *known = message.clone();
        }
        Ok(())
    }

    async fn quarantined_message(&self, mailbox: &MailboxId, remote_id: &str) -> Result<Option<Quarantined>, Outage> {
        Ok(lock(&self.0).quarantine.get(&(mailbox.clone(), remote_id.to_owned())).cloned())
    }

    async fn retried(&self, message: &Quarantined) -> Result<(), Outage> {
        let key = (message.mailbox_id.clone(), message.remote_id.clone());
        if let Some(known) = lock(&self.0).quarantine.get_mut(&key) {
            *known = message.clone();
        }
        Ok(())
    }

    async fn release(&self, message: &Quarantined, audit: &AuditEntry) -> Result<bool, Outage> {
        let mut state = lock(&self.0);
        let key = (message.mailbox_id.clone(), message.remote_id.clone());
        let was_there = state.quarantine.remove(&key).is_some();
        state.audit.extend(was_there.then(|| audit.clone()));
        Ok(was_there)
    }

    async fn quarantined_anywhere(
        &self,
        reason: Option<QuarantineReason>,
        request: &PageRequest,
    ) -> Result<Page<Quarantined>, Outage> {
        let state = lock(&self.0);
        let wanted = |message: &&Quarantined| reason.is_none_or(|reason| message.reason == reason);
        let mut messages: Vec<Quarantined> = state.quarantine.values().filter(wanted).cloned().collect();
        messages.sort_by_key(|m| std::cmp::Reverse((m.at, m.mailbox_id.clone(), m.remote_id.clone())));
        Ok(page((0..).map(|n: u32| format!("{n:08}")).zip(messages).collect(), request))
    }

    async fn quarantined(&self, mailbox: &MailboxId, request: &PageRequest) -> Result<Page<Quarantined>, Outage> {
        let state = lock(&self.0);
        let of_mailbox = state.quarantine.iter().filter(|((of, _), _)| of == mailbox);
        Ok(page(of_mailbox.map(|((_, remote), entry)| (remote.clone(), entry.clone())).collect(), request))
    }
}

impl QuotaStore for MemoryState {
    async fn count_recipients(
        &self,
        mailbox: &MailboxId,
        at: Timestamp,
        recipients: u32,
        most: u32,
    ) -> Result<bool, Outage> {
        let mut state = lock(&self.0);
        let hour = at.timestamp().div_euclid(3_600);
        let count = state.recipients.entry((mailbox.clone(), hour)).or_default();
        let fits = *count + recipients <= most;
        if fits {
            *count += recipients;
        }
        Ok(fits)
    }

    async fn uncount_recipients(&self, mailbox: &MailboxId, at: Timestamp, recipients: u32) -> Result<(), Outage> {
        let hour = at.timestamp().div_euclid(3_600);
        if let Some(count) = lock(&self.0).recipients.get_mut(&(mailbox.clone(), hour)) {
            *count = count.checked_sub(recipients).unwrap_or(*count);
        }
        Ok(())
    }
}
