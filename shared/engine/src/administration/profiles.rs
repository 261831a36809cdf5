//! Email server profiles: create, change, delete.

use mailrail_domain::{
    rules::support::{refuse_mailbox, refuse_profile},
    settings::profile::{Authentication, EmailServerProfile, ServerFields},
    words::{
        audit::{AuditAction, AuditSubject},
        delivery::Delivery,
        id::ProfileId,
        invalid::Invalid,
        role::Role,
    },
};

use super::{By, Expected, Refusal, SecretChange, check_credential, require_revision, require_written};
use crate::{
    Engine,
    access::profile_owner,
    ports::{Directory, Page, PageRequest, Ports, Secret, StoredProfile},
};

/// Pages of mailboxes that are looked at, or woken, when their profile changes. The others follow in their next round.
const CHANGED_PAGES_MAX: usize = 20;
/// Mailboxes of such a page.
const CHANGED_PAGE: usize = 100;

/// What a profile signs in with.
#[derive(Debug, Clone)]
pub enum ProfileSecret {
    /// A password, an access token or a client secret.
    Password(Secret),
    /// Certificate and private key of an application, as PEM. Whoever gives them has checked that they can be used.
    Certificate(Secret),
}

impl ProfileSecret {
    fn check(&self, authentication: Authentication) -> Result<(), Invalid> {
        match self {
            Self::Password(password) => check_credential("password", Some(password.expose())),
            Self::Certificate(_) if authentication == Authentication::ClientCertificate => Ok(()),
            Self::Certificate(_) => {
                let problem = "it is not what the application signs in with";
                Err(Invalid::new("certificate", problem, "Set authentication to client-certificate"))
            }
        }
    }

    fn into_secret(self) -> Secret {
        match self {
            Self::Password(secret) | Self::Certificate(secret) => secret,
        }
    }
}

/// A profile that somebody changes.
#[derive(Debug, Clone)]
pub struct ProfileChange {
    /// The profile as [`Engine::profile_to_change`] read it.
    pub before: StoredProfile,
    /// What it is to become. Its identifier and the moment of its creation stay.
    pub after: EmailServerProfile<ServerFields>,
    /// What becomes of its secret.
    pub secret: SecretChange<ProfileSecret>,
    /// Names of the fields that are changed, for the audit.
    pub fields: Vec<String>,
}

impl<P: Ports> Engine<P> {
    /// The profile with this identifier.
    pub async fn find_profile(&self, id: &str) -> Result<StoredProfile, Refusal> {
        let not_found = || Refusal::not_found("email server profile", id);
        let id = ProfileId::parse(id).map_err(|_| not_found())?;
        self.ports.mailboxes().profile(&id).await?.ok_or_else(not_found)
    }

    /// Lists profiles.
    pub async fn list_profiles(&self, page: &PageRequest) -> Result<Page<StoredProfile>, Refusal> {
        Ok(self.ports.mailboxes().profiles(page).await?)
    }

    /// Creates a profile.
    pub async fn create_profile(
        &self,
        by: &By,
        profile: EmailServerProfile<ServerFields>,
        secret: Option<ProfileSecret>,
    ) -> Result<StoredProfile, Refusal> {
        by.needs(Role::Administrator, "Creating an email server profile")?;
        let secret = secret.map_or(SecretChange::Remove, SecretChange::Set);
        let profile = self.checked_profile(profile, &secret).await?;
        let new = StoredProfile { profile, credentials: None, revision: 0 };
        self.put_profile(by, AuditAction::Created, new, secret, vec![]).await
    }

    /// Reads a profile that is to be changed, on condition of the revision that the person has seen.
    pub async fn profile_to_change(&self, id: &str, expected: &Expected) -> Result<StoredProfile, Refusal> {
        let stored = self.find_profile(id).await?;
        require_revision(expected, stored.revision)?;
        Ok(stored)
    }

    /// Changes a profile. Its mailboxes are woken where another interval is to hold at once.
    pub async fn change_profile(&self, by: &By, change: ProfileChange) -> Result<StoredProfile, Refusal> {
        by.needs(Role::Administrator, "Changing an email server profile")?;
        let ProfileChange { before, after, secret, fields } = change;
        let old = before.profile.clone();
        let after = EmailServerProfile { id: old.id.clone(), created_at: old.created_at, ..after };
        let profile = self.checked_profile(after, &secret).await?;
        if profile.delete_after_processing && !old.delete_after_processing {
            self.refuse_if_of_users(&profile).await?;
        }
        let next = StoredProfile { profile, ..before };
        let stored = self.put_profile(by, AuditAction::Changed, next, secret, fields).await?;
        if stored.profile.minimum_polling_interval_minutes != old.minimum_polling_interval_minutes {
            self.wake_mailboxes_of(&stored.profile.id).await?;
        }
        Ok(stored)
    }

    /// Deletes a profile that has no mailboxes.
    pub async fn delete_profile(&self, by: &By, id: &str, expected: &Expected) -> Result<(), Refusal> {
        by.needs(Role::Administrator, "Deleting an email server profile")?;
        let stored = self.profile_to_change(id, expected).await?;
        let page = PageRequest { limit: 1, cursor: None };
        let mailboxes = self.ports.mailboxes().mailboxes(Some(&stored.profile.id), &page).await?;
        if !mailboxes.items.is_empty() {
            let detail = format!("The email server profile {} has mailboxes.", stored.profile.name);
            return Err(Refusal::conflict(detail, "Delete its mailboxes, or give them another profile."));
        }
        let audit = by.audit(self.now(), AuditAction::Deleted, (AuditSubject::Profile, id), vec![]);
        Ok(self.ports.mailboxes().delete_profile(&stored.profile.id, &audit).await?)
    }

    /// The profile with its servers by their kind, once every field is checked, and all of them together.
    async fn checked_profile(
        &self,
        profile: EmailServerProfile<ServerFields>,
        secret: &SecretChange<ProfileSecret>,
    ) -> Result<EmailServerProfile, Refusal> {
        let organization = self.ports.mailboxes().organization().await?.organization;
        let profile = profile.parse(&organization)?;
        profile.validate()?;
        refuse_profile(&profile, &organization, self.settings.fips)?;
        check_credential("username", profile.username.as_deref())?;
        if let SecretChange::Set(secret) = secret {
            secret.check(profile.authentication)?;
        }
        Ok(profile)
    }

    /// Seals the secret of a profile and writes the profile on condition of its revision. What was written comes back, so
    /// that nobody reads it again.
    async fn put_profile(
        &self,
        by: &By,
        action: AuditAction,
        stored: StoredProfile,
        secret: SecretChange<ProfileSecret>,
        fields: Vec<String>,
    ) -> Result<StoredProfile, Refusal> {
        let StoredProfile { profile, credentials, revision } = stored;
        let id = &profile.id;
        let secret = secret.map(ProfileSecret::into_secret);
        let credentials = self.sealed(&profile_owner(id), id.as_str(), credentials, secret).await?;
        let audit = by.audit(self.now(), action, (AuditSubject::Profile, id.as_str()), fields);
        let stored = StoredProfile { profile, credentials, revision };
        require_written(self.ports.mailboxes().put_profile(&stored, &audit).await?)?;
        Ok(StoredProfile { revision: revision + 1, ..stored })
    }

    /// Refuses to delete email after processing while a user's mailbox is on the profile.
    async fn refuse_if_of_users(&self, profile: &EmailServerProfile) -> Result<(), Refusal> {
        let mut page = PageRequest { limit: CHANGED_PAGE, cursor: None };
        for _ in 0..CHANGED_PAGES_MAX {
            let found = self.ports.mailboxes().mailboxes(Some(&profile.id), &page).await?;
            for stored in found.items {
                let refused = refuse_mailbox(&stored.mailbox, profile);
                refused.map_err(|invalid| Invalid {
                    field: "delete_after_processing".to_owned(),
                    problem: format!("of the mailbox {}: {}", stored.mailbox.name, invalid.problem),
                    ..invalid
                })?;
            }
            page.cursor = found.cursor;
            if page.cursor.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn wake_mailboxes_of(&self, id: &ProfileId) -> Result<(), Refusal> {
        let mut page = PageRequest { limit: CHANGED_PAGE, cursor: None };
        for _ in 0..CHANGED_PAGES_MAX {
            let found = self.ports.mailboxes().mailboxes(Some(id), &page).await?;
            let mailboxes = found.items.into_iter().map(|stored| stored.mailbox.id);
            self.wake(mailboxes, Delivery::IncomingEmail, 0).await?;
            page.cursor = found.cursor;
            if page.cursor.is_none() {
                break;
            }
        }
        Ok(())
    }
}
