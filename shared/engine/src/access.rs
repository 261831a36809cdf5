//! What a connection needs: where, as whom, and with which secret.

use std::time::Duration;

use mailrail_domain::{
    settings::{endpoint::Endpoint, mailbox::Mailbox},
    words::{
        address::EmailAddress,
        cause::{Cause, CredentialSource, DeliveryError},
        evidence::{Evidence, Stage},
    },
};

use crate::{
    Engine,
    ports::{Access, Ledger, Ports, Progress, Sealed, StoredProfile, Vault},
    run::Stop,
};

/// The owner that a mailbox's secret is sealed for.
#[must_use]
pub fn mailbox_owner(id: &mailrail_domain::words::id::MailboxId) -> String {
    format!("mailbox/{id}")
}

/// The owner that a profile's secret is sealed for.
#[must_use]
pub fn profile_owner(id: &mailrail_domain::words::id::ProfileId) -> String {
    format!("profile/{id}")
}

impl<P: Ports> Engine<P> {
    /// The access of `mailbox` to `endpoint`, with the credentials that the profile says are used.
    pub(crate) async fn access(
        &self,
        mailbox: &Mailbox,
        credentials: Option<&Sealed>,
        stored: &StoredProfile,
        endpoint: &Endpoint,
    ) -> Result<Access, Stop> {
        let profile = &stored.profile;
        let (owner, username, sealed) = match profile.credentials {
            CredentialSource::Mailbox => (mailbox_owner(&mailbox.id), Some(mailbox.sign_in_name()), credentials),
            // The application acts for the mailbox that it names: it has no user name of its own.
            CredentialSource::ServerToServer => (
                profile_owner(&profile.id),
                mailbox.address.as_ref().map(EmailAddress::as_str),
                stored.credentials.as_ref(),
            ),
            CredentialSource::Profile => {
                (profile_owner(&profile.id), profile.username.as_deref(), stored.credentials.as_ref())
            }
        };
        let (Some(username), Some(sealed)) = (username, sealed) else {
            return Err(missing(Cause::CredentialsMissing, "no password is stored").into());
        };
        let Some(secret) = self.ports.vault().open(&owner, sealed).await? else {
            return Err(missing(Cause::CredentialsUnreadable, "the stored password cannot be decrypted").into());
        };
        Ok(Access {
            endpoint: endpoint.clone(),
            username: username.to_owned(),
            address: mailbox.address.clone(),
            secret,
            authentication: profile.authentication,
            timeout: Duration::from_secs(profile.connection_timeout_seconds.into()),
            tracked_folders: profile.servers.tracked_folders().to_vec(),
            ledger: Ledger::default(),
            progress: Progress::default(),
        })
    }
}

fn missing(cause: Cause, words: &str) -> DeliveryError {
    DeliveryError::new(cause, Evidence::new(Stage::Prepare, words))
}
