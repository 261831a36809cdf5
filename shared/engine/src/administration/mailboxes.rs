//! Mailboxes: create, change, delete, and show with everything that is known of them.

use std::collections::BTreeMap;

use mailrail_domain::{
    Timestamp,
    rules::{
        schedule::Slot,
        support::{check_mailbox, mixing_warning},
    },
    settings::{approval::Approval, mailbox::Mailbox, profile::EmailServerProfile},
    words::{
        audit::{AuditAction, AuditSubject},
        delivery::{Delivery, SynchronizationMethod},
        id::{MailboxId, ProfileId},
        invalid::Invalid,
        role::Role,
        state::DeliveryState,
    },
};

use super::{
    By, Expected, Refusal, SecretChange, check_credential, emails::Waiting, require_revision, require_written,
};
use crate::{
    Engine,
    access::mailbox_owner,
    ports::{Directory, MailboxDetails, Page, PageRequest, Ports, Secret, StoredMailbox},
};

/// A mailbox that somebody changes.
#[derive(Debug, Clone)]
pub struct MailboxChange {
    /// The mailbox as [`Engine::mailbox_to_change`] read it.
    pub before: MailboxDetails,
    /// What it is to become. Its identifier and the moment of its creation stay, and its approval while its address does.
    pub after: Mailbox,
    /// What becomes of its password.
    pub password: SecretChange<Secret>,
    /// Names of the fields that are changed, for the audit.
    pub fields: Vec<String>,
}

/// A mailbox as it was read or written, with its profile, so that neither need be read again.
#[derive(Debug, Clone)]
pub struct KnownMailbox {
    /// The mailbox with its deliveries.
    pub details: MailboxDetails,
    /// Its profile, if that is there.
    pub profile: Option<EmailServerProfile>,
}

/// A mailbox with everything that is known of it.
#[derive(Debug, Clone)]
pub struct MailboxOverview {
    /// The mailbox with its deliveries.
    pub details: MailboxDetails,
    /// Settings that are allowed and not advisable.
    pub warnings: Vec<&'static str>,
    /// When each enabled delivery is next due.
    pub next_due: BTreeMap<Delivery, Timestamp>,
    /// What waits in its outbox.
    pub outbox: Waiting,
}

impl<P: Ports> Engine<P> {
    /// The mailbox with this identifier, with its deliveries.
    pub async fn find_mailbox(&self, id: &str) -> Result<MailboxDetails, Refusal> {
        let not_found = || Refusal::not_found("mailbox", id);
        let id = MailboxId::parse(id).map_err(|_| not_found())?;
        self.ports.mailboxes().mailbox(&id).await?.ok_or_else(not_found)
    }

    /// Lists mailboxes of one profile, or of all.
    pub async fn list_mailboxes(
        &self,
        profile: Option<&ProfileId>,
        page: &PageRequest,
    ) -> Result<Page<StoredMailbox>, Refusal> {
        Ok(self.ports.mailboxes().mailboxes(profile, page).await?)
    }

    /// The mailbox with this identifier, and its profile.
    pub async fn know_mailbox(&self, id: &str) -> Result<KnownMailbox, Refusal> {
        let details = self.find_mailbox(id).await?;
        let profile = self.ports.mailboxes().profile(&details.stored.mailbox.profile_id).await?;
        Ok(KnownMailbox { details, profile: profile.map(|stored| stored.profile) })
    }

    /// Everything that there is to show of a mailbox.
    pub async fn overview(&self, known: KnownMailbox) -> Result<MailboxOverview, Refusal> {
        let KnownMailbox { details, profile } = known;
        let mailbox = &details.stored.mailbox;
        let mut warnings = Vec::new();
        for others in [SynchronizationMethod::Outlook, SynchronizationMethod::ServerSideSynchronization] {
            if let Some(warning) = mixing_warning(mailbox.appointments_contacts_tasks, others)
                && self.ports.mailboxes().moves_items(others).await?
            {
                warnings.push(warning);
            }
        }
        let mut next_due = BTreeMap::new();
        for (delivery, state) in &details.deliveries {
            let minutes = profile.as_ref().and_then(|profile| state.scheduled(self.interval(*delivery, profile)));
            if let Some(minutes) = minutes {
                let next = Slot::of(&mailbox.id, *delivery, minutes).next(self.now());
                next_due.insert(*delivery, state.postponed_until.map_or(next, |until| until.max(self.now())));
            }
        }
        let outbox = self.waiting(&mailbox.id).await?;
        Ok(MailboxOverview { details, warnings, next_due, outbox })
    }

    /// Creates a mailbox. Its address waits for approval, and its deliveries run once they are enabled.
    pub async fn create_mailbox(
        &self,
        by: &By,
        mailbox: Mailbox,
        password: Option<Secret>,
    ) -> Result<KnownMailbox, Refusal> {
        by.needs(Role::Administrator, "Creating a mailbox")?;
        let approval = Approval::undecided(mailbox.address.is_some());
        let mailbox = Mailbox { approval, ..mailbox };
        let profile = self.checked_against_profile(&mailbox, password.as_ref()).await?;
        let password = password.map_or(SecretChange::Remove, SecretChange::Set);
        let credentials = self.sealed(&mailbox_owner(&mailbox.id), mailbox.profile_id.as_str(), None, password).await?;
        let stored = StoredMailbox { mailbox, credentials, revision: 0 };
        let id = &stored.mailbox.id;
        let audit = by.audit(self.now(), AuditAction::Created, (AuditSubject::Mailbox, id.as_str()), vec![]);
        require_written(self.ports.mailboxes().create_mailbox(&stored, &audit).await?)?;
        let deliveries = Delivery::ALL.map(|delivery| (delivery, stored.mailbox.initial_state(delivery))).to_vec();
        let details = MailboxDetails { stored: StoredMailbox { revision: 1, ..stored }, deliveries };
        Ok(KnownMailbox { details, profile: Some(profile) })
    }

    /// Reads a mailbox that is to be changed, on condition of the revision that the person has seen.
    pub async fn mailbox_to_change(&self, id: &str, expected: &Expected) -> Result<MailboxDetails, Refusal> {
        let details = self.find_mailbox(id).await?;
        require_revision(expected, details.stored.revision)?;
        Ok(details)
    }

    /// Changes a mailbox. A delivery whose method changes begins anew; with another address all do, and the address waits
    /// for approval.
    pub async fn change_mailbox(&self, by: &By, change: MailboxChange) -> Result<KnownMailbox, Refusal> {
        by.needs(Role::Administrator, "Changing a mailbox")?;
        let MailboxChange { before, after, password, fields } = change;
        let old = &before.stored.mailbox;
        let approval = match old.has_same_address(&after) {
            true => old.approval.clone(),
            false => Approval::undecided(after.address.is_some()),
        };
        let mailbox = Mailbox { id: old.id.clone(), created_at: old.created_at, approval, ..after };
        let given = if let SecretChange::Set(password) = &password { Some(password) } else { None };
        let profile = self.checked_against_profile(&mailbox, given).await?;
        let (owner, sealed) = (mailbox_owner(&mailbox.id), before.stored.credentials.clone());
        let credentials = self.sealed(&owner, mailbox.profile_id.as_str(), sealed, password).await?;
        let after = StoredMailbox { mailbox, credentials, revision: before.stored.revision };
        let subject = (AuditSubject::Mailbox, after.mailbox.id.as_str());
        let audit = by.audit(self.now(), AuditAction::Changed, subject, fields);
        require_written(self.ports.mailboxes().change_mailbox(&before, &after, &audit).await?)?;
        self.unshare_all(&before).await?;
        if before.stored.mailbox.profile_id != after.mailbox.profile_id {
            // The other profile has another interval, which holds from the next run on.
            self.wake_enabled(&before).await?;
        }
        let deliveries = states_after(&before, &after.mailbox);
        let stored = StoredMailbox { revision: after.revision + 1, ..after };
        Ok(KnownMailbox { details: MailboxDetails { stored, deliveries }, profile: Some(profile) })
    }

    /// Deletes a mailbox. Its email records stay.
    pub async fn delete_mailbox(&self, by: &By, id: &str, expected: &Expected) -> Result<(), Refusal> {
        by.needs(Role::Administrator, "Deleting a mailbox")?;
        let details = self.mailbox_to_change(id, expected).await?;
        let audit = by.audit(self.now(), AuditAction::Deleted, (AuditSubject::Mailbox, id), vec![]);
        self.ports.mailboxes().delete_mailbox(&details, &audit).await?;
        Ok(self.unshare_all(&details).await?)
    }

    /// The profile of a mailbox, once the mailbox is checked by itself and against it.
    async fn checked_against_profile(
        &self,
        mailbox: &Mailbox,
        password: Option<&Secret>,
    ) -> Result<EmailServerProfile, Refusal> {
        let profile = self.ports.mailboxes().profile(&mailbox.profile_id).await?.ok_or_else(no_such_profile)?.profile;
        check_mailbox(mailbox, &profile)?;
        check_credential("username", mailbox.username.as_deref())?;
        check_credential("password", password.map(Secret::expose))?;
        Ok(profile)
    }
}

/// The refusal of a mailbox whose profile is not there.
#[must_use]
pub fn no_such_profile() -> Invalid {
    let problem = "there is no email server profile with this id";
    Invalid::new("profile_id", problem, "Give the id of a profile, see /v1/profiles")
}

/// The deliveries of a mailbox after a change.
fn states_after(before: &MailboxDetails, after: &Mailbox) -> Vec<(Delivery, DeliveryState)> {
    let old = &before.stored.mailbox;
    let state = |(delivery, state): &(Delivery, DeliveryState)| match old.begins_anew(after, *delivery) {
        true => (*delivery, after.state_begun_anew(*delivery, state)),
        false => (*delivery, state.clone()),
    };
    before.deliveries.iter().map(state).collect()
}
