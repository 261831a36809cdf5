//! Email records in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use mailrail_domain::{
    email::{identity::message_key, record::Email},
    words::id::{EmailId, MailboxId},
};
use mailrail_engine::{
    outage::Outage,
    ports::{EmailRecords, Inserted, Page, PageRequest, Revision, StoredEmail},
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
}

impl State {
    fn insert(&mut self, email: &Email, mailbox: &MailboxId) -> bool {
        let new = !self.emails.contains_key(&email.id);
        if new {
            self.emails.insert(email.id.clone(), StoredEmail { email: email.clone(), revision: Revision::new(1) });
            let ties = email.answered().into_iter().map(|answered| (message_key(answered), email.id.clone()));
            self.replies.extend(ties);
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

impl EmailRecords for MemoryRecords {
    async fn insert_received(&self, email: &Email, mailbox: &MailboxId) -> Result<Inserted, Outage> {
        let new = lock(&self.0).insert(email, mailbox);
        Ok(if new { Inserted::New } else { Inserted::AlreadyThere })
    }

    async fn insert_draft(&self, email: &Email) -> Result<bool, Outage> {
        let mut state = lock(&self.0);
        Ok(match state.emails.get(&email.id) {
            Some(there) => there.email == *email,
            None => state.insert(email, &email.mailbox_id),
        })
    }

    async fn update_outgoing(&self, email: &Email, revision: &Revision) -> Result<Option<StoredEmail>, Outage> {
        self.count_update().await;
        let mut state = lock(&self.0);
        Ok(state.emails.get_mut(&email.id).filter(|stored| stored.revision == *revision).map(|stored| {
            let revision = Revision::new(format!("{}'", revision.as_str()));
            *stored = StoredEmail { email: email.clone(), revision };
            stored.clone()
        }))
    }

    async fn emails_with(&self, ids: &[EmailId]) -> Result<Vec<StoredEmail>, Outage> {
        let state = lock(&self.0);
        Ok(ids.iter().filter_map(|id| state.emails.get(id)).cloned().collect())
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
}
