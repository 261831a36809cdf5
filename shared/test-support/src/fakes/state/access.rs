//! API tokens, the audit and tests of mailboxes, in memory.

use mailrail_domain::words::{
    audit::{AuditEntry, AuditSubject},
    id::MailboxId,
    role::ApiToken,
    trial::MailboxTest,
};
use mailrail_engine::{
    outage::Outage,
    ports::{AccessStore, Page, PageRequest, TestStore},
};

use super::{
    super::{lock, page},
    MemoryState,
};

impl AccessStore for MemoryState {
    async fn put_token(&self, token: &ApiToken, sha256: &str, audit: &AuditEntry) -> Result<(), Outage> {
        let mut state = lock(&self.0);
        if state.tokens.contains_key(sha256) {
            return Err(Outage::new("there is such a token already"));
        }
        state.tokens.insert(sha256.to_owned(), token.clone());
        state.audit.push(audit.clone());
        Ok(())
    }

    async fn token(&self, sha256: &str) -> Result<Option<ApiToken>, Outage> {
        Ok(lock(&self.0).tokens.get(sha256).cloned())
    }

    async fn tokens(&self, request: &PageRequest) -> Result<Page<ApiToken>, Outage> {
        let state = lock(&self.0);
        let mut tokens: Vec<_> = state.tokens.values().map(|token| (token.id.clone(), token.clone())).collect();
        tokens.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(page(tokens, request))
    }

    async fn delete_token(&self, id: &str, audit: &AuditEntry) -> Result<bool, Outage> {
        let mut state = lock(&self.0);
        let before = state.tokens.len();
        state.tokens.retain(|_, token| token.id != id);
        let deleted = state.tokens.len() < before;
        if deleted {
            state.audit.push(audit.clone());
        }
        Ok(deleted)
    }

    async fn record(&self, entry: &AuditEntry) -> Result<(), Outage> {
        let mut state = lock(&self.0);
        if state.audit.iter().all(|known| known.id != entry.id) {
            state.audit.push(entry.clone());
        }
        Ok(())
    }

    async fn audit(
        &self,
        subject: Option<(AuditSubject, &str)>,
        request: &PageRequest,
    ) -> Result<Page<AuditEntry>, Outage> {
        let state = lock(&self.0);
        let wanted = |entry: &&AuditEntry| subject.is_none_or(|of| of == (entry.subject, entry.subject_id.as_str()));
        let mut entries: Vec<AuditEntry> = state.audit.iter().filter(wanted).cloned().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse((entry.at, entry.id.clone())));
        Ok(page((0..).map(|n: u32| format!("{n:08}")).zip(entries).collect(), request))
    }
}

impl TestStore for MemoryState {
    async fn request_test(&self, test: &MailboxTest, audit: &AuditEntry) -> Result<bool, Outage> {
        let mut state = lock(&self.0);
        if state.tests.get(&test.mailbox_id).is_some_and(|known| !known.gives_way(test.requested_at)) {
            return Ok(false);
        }
        state.tests.insert(test.mailbox_id.clone(), test.clone());
        state.audit.push(audit.clone());
        Ok(true)
    }

    async fn test(&self, mailbox: &MailboxId) -> Result<Option<MailboxTest>, Outage> {
        Ok(lock(&self.0).tests.get(mailbox).cloned())
    }

    async fn update_test(&self, test: &MailboxTest) -> Result<bool, Outage> {
        let mut state = lock(&self.0);
        let is_last = state.tests.get(&test.mailbox_id).is_some_and(|known| known.id == test.id);
        if is_last {
            state.tests.insert(test.mailbox_id.clone(), test.clone());
        }
        Ok(is_last)
    }
}
