//! The audit: the entry of what somebody does, and the list of entries.

use mailrail_domain::{
    Timestamp,
    words::audit::{AuditAction, AuditEntry, AuditSubject},
};

use super::{By, Refusal};
use crate::{
    Engine,
    ports::{AccessStore, Page, PageRequest, Ports},
};

impl By {
    /// The entry of what is done at `at`. `fields` are names of fields or deliveries, never values.
    pub(super) fn audit(
        &self,
        at: Timestamp,
        action: AuditAction,
        (subject, id): (AuditSubject, &str),
        fields: Vec<String>,
    ) -> AuditEntry {
        let (by, subject_id) = (self.name.clone(), id.to_owned());
        AuditEntry { id: (self.new_id)(), at, by, action, subject, subject_id, fields }
    }
}

impl<P: Ports> Engine<P> {
    /// Lists the audit, the newest entry first: of one subject, or of everything.
    pub async fn list_audit(
        &self,
        subject: Option<(AuditSubject, &str)>,
        page: &PageRequest,
    ) -> Result<Page<AuditEntry>, Refusal> {
        Ok(self.ports.mailboxes().audit(subject, page).await?)
    }
}
