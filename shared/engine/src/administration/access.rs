//! Access to the API: tokens are made, found, listed and deleted.

use mailrail_domain::{
    settings::profile::validate_name,
    words::{
        audit::{AuditAction, AuditSubject},
        role::{ApiToken, Role},
    },
};

use super::{By, Refusal};
use crate::{
    Engine,
    ports::{AccessStore, Page, PageRequest, Ports},
};

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its name, which stands in the audit.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// SHA-256 of what its holder sends; the token itself is kept nowhere.
    pub sha256: String,
}

impl<P: Ports> Engine<P> {
    /// The token of this SHA-256, if there is one.
    pub async fn token_of(&self, sha256: &str) -> Result<Option<ApiToken>, Refusal> {
        Ok(self.ports.mailboxes().token(sha256).await?)
    }

    /// Lists tokens.
    pub async fn list_tokens(&self, page: &PageRequest) -> Result<Page<ApiToken>, Refusal> {
        Ok(self.ports.mailboxes().tokens(page).await?)
    }

    /// Makes a token. Its role is at most the role of whoever makes it.
    pub async fn create_token(&self, by: &By, new: NewToken) -> Result<ApiToken, Refusal> {
        by.needs(Role::Administrator, "Making an API token")?;
        validate_name(&new.name)?;
        by.needs(new.role, "Making a token of this role")?;
        let (created_by, created_at) = (by.name.clone(), self.now());
        let token = ApiToken { id: (by.new_id)(), name: new.name, role: new.role, created_by, created_at };
        let subject = (AuditSubject::ApiToken, token.id.as_str());
        let audit = by.audit(created_at, AuditAction::Created, subject, vec![]);
        self.ports.mailboxes().put_token(&token, &new.sha256, &audit).await?;
        Ok(token)
    }

    /// Deletes a token; from then on it opens nothing.
    pub async fn delete_token(&self, by: &By, id: &str) -> Result<(), Refusal> {
        by.needs(Role::Administrator, "Deleting an API token")?;
        let audit = by.audit(self.now(), AuditAction::Deleted, (AuditSubject::ApiToken, id), vec![]);
        if self.ports.mailboxes().delete_token(id, &audit).await? {
            return Ok(());
        }
        Err(Refusal::not_found("API token", id))
    }
}
