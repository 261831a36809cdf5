//! What the mailboxes of a batch have in common, read once: the organization's settings, and the profiles, each with the
//! bound on its connections.

use std::{collections::HashMap, sync::Arc};

use mailrail_domain::{
    Timestamp,
    settings::{hold::HoldSettings, organization::Organization, profile::EmailServerProfile},
    words::id::ProfileId,
};
use tokio::sync::{Mutex, OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::{
    Deadline, Engine,
    limits::LEASE_MARGIN,
    outage::Outage,
    ports::{Directory, HealthStore, MailboxStore, Ports, StoredHealth, StoredProfile},
};

/// The profiles and the settings of a batch.
#[derive(Debug, Default)]
pub(crate) struct Profiles {
    known: Mutex<HashMap<ProfileId, Option<Arc<ProfileInUse>>>>,
    organization: OnceCell<Organization>,
}

/// A profile as a batch uses it.
#[derive(Debug)]
pub(crate) struct ProfileInUse {
    pub stored: StoredProfile,
    /// What is done when its servers fail.
    pub hold: HoldSettings,
    /// What was known of its servers when the batch began; read only where the profile may be held.
    pub health: Option<StoredHealth>,
    connections: Arc<Semaphore>,
    permit: Permit,
}

/// Whether this invocation may connect to a profile's servers at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permit {
    /// There are connections enough for every invocation.
    Unneeded,
    /// It holds one of the few.
    Held(u16, Timestamp),
    /// All are taken by other invocations.
    Full,
}

impl ProfileInUse {
    pub(crate) fn profile(&self) -> &EmailServerProfile {
        &self.stored.profile
    }

    /// Waits for one of the profile's connections; `None` if other invocations have them all.
    pub(crate) async fn connection(&self) -> Option<OwnedSemaphorePermit> {
        match self.permit {
            Permit::Full => None,
            Permit::Unneeded | Permit::Held(..) => Arc::clone(&self.connections).acquire_owned().await.ok(),
        }
    }
}

/// The part of a profile's connections that one of several invocations may use.
fn divided(connections: u16, invocations: u16) -> usize {
    usize::from((connections / invocations.max(1)).max(1))
}

impl<P: Ports> Engine<P> {
    pub(crate) async fn organization_of<'a>(&self, profiles: &'a Profiles) -> Result<&'a Organization, Outage> {
        let read = async || Ok(self.ports.mailboxes().organization().await?.organization);
        profiles.organization.get_or_try_init(read).await
    }

    pub(crate) async fn profile_of(
        &self,
        profiles: &Profiles,
        id: &ProfileId,
        deadline: Deadline,
    ) -> Result<Option<Arc<ProfileInUse>>, Outage> {
        let mut known = profiles.known.lock().await;
        if let Some(profile) = known.get(id) {
            return Ok(profile.clone());
        }
        let in_use = match self.ports.mailboxes().profile(id).await? {
            None => None,
            Some(stored) => {
                let connections = stored.profile.maximum_concurrent_connections;
                let permit = self.permit(id, connections, deadline).await?;
                let connections = Arc::new(Semaphore::new(divided(connections, self.settings.invocations_max)));
                let hold = stored.profile.hold_settings(self.organization_of(profiles).await?);
                let health = match hold.hold_after_mailboxes {
                    0 => None,
                    _ => self.ports.mailboxes().health(id).await?,
                };
                Some(Arc::new(ProfileInUse { stored, hold, health, connections, permit }))
            }
        };
        known.insert(id.clone(), in_use.clone());
        Ok(in_use)
    }

    /// Takes a permit to connect, where the profile has fewer connections than there may be invocations. Such a profile
    /// has a permit in the table for each connection, and an invocation without a permit leaves its mailboxes alone.
    async fn permit(&self, id: &ProfileId, connections: u16, deadline: Deadline) -> Result<Permit, Outage> {
        if connections >= self.settings.invocations_max {
            return Ok(Permit::Unneeded);
        }
        let now = self.now();
        let until = deadline.as_of(now, LEASE_MARGIN);
        let taken = self.ports.mailboxes().take_permit(id, connections, until, now).await?;
        Ok(taken.map_or(Permit::Full, |number| Permit::Held(number, until)))
    }

    pub(crate) async fn return_permits(&self, profiles: &Profiles) {
        for (id, profile) in profiles.known.lock().await.iter() {
            if let Some(Permit::Held(number, until)) = profile.as_ref().map(|profile| profile.permit)
                && let Err(outage) = self.ports.mailboxes().return_permit(id, number, until).await
            {
                // It is free again when its time is up.
                tracing::error!(profile = %id, error = outage.chain(), "a permit to connect could not be returned");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profiles_connections_are_divided_among_the_invocations() {
        assert_eq!(divided(10, 10), 1);
        assert_eq!(divided(300, 10), 30);
        assert_eq!(divided(10, 0), 10);
    }
}
