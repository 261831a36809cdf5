//! Email records in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use mailrail_domain::{
    Timestamp,
    email::{
        identity::message_key,
        quarantine::{QuarantineReason, Quarantined},
        record::{Email, EmailStatus},
    },
    words::id::{EmailId, MailboxId},
};
use mailrail_engine::{
    outage::Outage,
    ports::{Inserted, Page, PageRequest, RecordStore, StoredEmail},
};

use super::{lock, page};

/// Email records.
#[derive(Debug, Default)]
pub struct MemoryRecords(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    updates_left: Option<u32>,
    emails: BTreeMap<EmailId, StoredEmail>,
    listed: BTreeSet<(MailboxId, EmailId)>,
    replies: BTreeSet<(String, EmailId)>,
    quarantine: BTreeMap<(MailboxId, String), Quarantined>,
    recipients: BTreeMap<(MailboxId, i64), u32>,
}

impl State {
    fn insert(&mut self, email: &Email, mailbox: &MailboxId) -> bool {
        let new = !self.emails.contains_key(&email.id);
        if new {
            self.emails.insert(email.id.clone(), StoredEmail { email: email.clone(), revision: 1 });
            self.replies.extend(email.answers().map(|answered| (message_key(answered), email.id.clone())));
        }
        self.listed.insert((mailbox.clone(), email.id.clone()));
        new
    }
}

impl MemoryRecords {
    /// Lets updates of outgoing emails hang after this many more, so that whoever makes them can be killed there.
    pub fn stick_after_updates(&self, updates: Option<u32>) {
        lock(&self.0).updates_left = updates;
    }

    async fn count_update(&self) {
        let stuck = {
            let mut state = lock(&self.0);
            let stuck = state.updates_left == Some(0);
            state.updates_left = state.updates_left.map(|left| left.saturating_sub(1));
            stuck
        };
        if stuck {
            std::future::pending::<()>().await;
        }
    }

    /// Every record.
    pub fn all(&self) -> Vec<Email> {
        lock(&self.0).emails.values().map(|stored| stored.email.clone()).collect()
    }
}

impl RecordStore for MemoryRecords {
    async fn insert_received(&self, email: &Email, mailbox: &MailboxId) -> Result<Inserted, Outage> {
        let new = lock(&self.0).insert(email, mailbox);
        Ok(if new { Inserted::New } else { Inserted::AlreadyThere })
    }

    async fn insert_draft(&self, email: &Email) -> Result<bool, Outage> {
        let mut state = lock(&self.0);
        Ok(!state.emails.contains_key(&email.id) && state.insert(email, &email.mailbox_id))
    }

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

    async fn update_outgoing(&self, email: &Email, revision: u64) -> Result<Option<StoredEmail>, Outage> {
        self.count_update().await;
        let mut state = lock(&self.0);
        Ok(state.emails.get_mut(&email.id).filter(|stored| stored.revision == revision).map(|stored| {
            *stored = StoredEmail { email: email.clone(), revision: revision + 1 };
            stored.clone()
        }))
    }

    async fn outbox(&self, mailbox: &MailboxId, request: &PageRequest) -> Result<Page<StoredEmail>, Outage> {
        let state = lock(&self.0);
        let waits = |stored: &&StoredEmail| {
            stored.email.mailbox_id == *mailbox
                && matches!(stored.email.status, EmailStatus::PendingSend | EmailStatus::Sending)
        };
        let mut waiting: Vec<StoredEmail> = state.emails.values().filter(waits).cloned().collect();
        waiting.sort_by_key(|stored| (stored.email.received_at, stored.email.id.clone()));
        let place = |stored: StoredEmail| {
            (format!("{:014}#{}", stored.email.received_at.timestamp_millis(), stored.email.id), stored)
        };
        Ok(page(waiting.into_iter().map(place).collect(), request))
    }

    async fn email(&self, id: &EmailId) -> Result<Option<StoredEmail>, Outage> {
        Ok(lock(&self.0).emails.get(id).cloned())
    }

    async fn emails(&self, mailbox: &MailboxId, request: &PageRequest) -> Result<Page<Email>, Outage> {
        let state = lock(&self.0);
        let of_mailbox = state.listed.iter().filter(|(listed, _)| listed == mailbox);
        let mut emails: Vec<Email> =
            of_mailbox.filter_map(|(_, id)| state.emails.get(id)).map(|stored| stored.email.clone()).collect();
        emails.sort_by_key(|email| std::cmp::Reverse((email.received_at, email.id.clone())));
        let numbered = emails.into_iter().enumerate().map(|(number, email)| (format!("{number:08}"), email));
        Ok(page(numbered.collect(), request))
    }

    async fn with_message_id(&self, message_id: &str) -> Result<Vec<Email>, Outage> {
        let key = message_key(message_id);
        let state = lock(&self.0);
        let found = state.emails.values().filter(|stored| stored.email.id.as_str().starts_with(&key));
        Ok(found.map(|stored| stored.email.clone()).collect())
    }

    async fn replies(&self, message_id: &str) -> Result<Vec<EmailId>, Outage> {
        let key = message_key(message_id);
        let state = lock(&self.0);
        Ok(state.replies.iter().filter(|(answered, _)| *answered == key).map(|(_, id)| id.clone()).collect())
    }

    async fn quarantine(&self, message: &Quarantined, _: Timestamp) -> Result<(), Outage> {
        let key = (message.mailbox_id.clone(), message.remote_id.clone());
        lock(&self.0).quarantine.entry(key).or_insert_with(|| message.clone());
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

    async fn release(&self, message: &Quarantined) -> Result<(), Outage> {
        lock(&self.0).quarantine.remove(&(message.mailbox_id.clone(), message.remote_id.clone()));
        Ok(())
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
