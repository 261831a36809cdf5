//! The organization's settings: read and change.

use mailrail_domain::{
    settings::organization::Organization,
    words::{
        audit::{AuditAction, AuditSubject},
        invalid::Invalid,
        role::Role,
    },
};

use super::{By, Expected, Refusal, require_revision, require_written};
use crate::{
    Engine,
    ports::{Directory, Ports, StoredOrganization},
};

/// The organization in the audit, which has no identifier.
const ORGANIZATION: &str = "organization";

/// Settings that somebody changes.
#[derive(Debug, Clone)]
pub struct SettingsChange {
    /// The settings as [`Engine::organization_to_change`] read them.
    pub before: StoredOrganization,
    /// What they are to become.
    pub after: Organization,
    /// Names of the fields that are changed, for the audit.
    pub fields: Vec<String>,
}

/// The refusal of settings whose notice mailbox is not there.
#[must_use]
pub fn no_such_notice_mailbox() -> Invalid {
    let problem = "there is no mailbox with this id that sends email";
    Invalid::new("notice_mailbox_id", problem, "Give the id of a mailbox")
}

impl<P: Ports> Engine<P> {
    /// Reads the organization's settings.
    pub async fn organization(&self) -> Result<StoredOrganization, Refusal> {
        Ok(self.ports.mailboxes().organization().await?)
    }

    /// Reads settings that are to be changed, on condition of the revision that the person has seen.
    pub async fn organization_to_change(&self, expected: &Expected) -> Result<StoredOrganization, Refusal> {
        let stored = self.organization().await?;
        require_revision(expected, stored.revision)?;
        Ok(stored)
    }

    /// Changes the organization's settings.
    pub async fn change_organization(&self, by: &By, change: SettingsChange) -> Result<StoredOrganization, Refusal> {
        by.needs(Role::Administrator, "Changing the organization's settings")?;
        let SettingsChange { before, after, fields } = change;
        if let Some(id) = &after.notice_mailbox_id {
            self.ports.mailboxes().mailbox(id).await?.ok_or_else(no_such_notice_mailbox)?;
        }
        after.validate()?;
        let audit = by.audit(self.now(), AuditAction::Changed, (AuditSubject::Organization, ORGANIZATION), fields);
        let stored = StoredOrganization { organization: after, revision: before.revision };
        require_written(self.ports.mailboxes().put_organization(&stored, &audit).await?)?;
        Ok(StoredOrganization { revision: stored.revision + 1, ..stored })
    }
}
