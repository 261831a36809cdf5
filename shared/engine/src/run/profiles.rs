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
    place: Place,
}

/// Whether this invocation may connect to a profile's servers at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
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
        match self.place {
            Place::Full => None,
            Place::Unneeded | Place::Held(..) => Arc::clone(&self.connections).acquire_owned().await.ok(),
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
                let place = self.place(id, connections, deadline).await?;
                let connections = Arc::new(Semaphore::new(divided(connections, self.settings.invocations_max)));
                let hold = match stored.profile.hold {
                    Some(hold) => hold,
                    None => self.organization_of(profiles).await?.hold,
                };
                let health = match hold.hold_after_mailboxes {
                    0 => None,
                    _ => self.ports.mailboxes().health(id).await?,
                };
                Some(Arc::new(ProfileInUse { stored, hold, health, connections, place }))
            }
        };
        known.insert(id.clone(), in_use.clone());
        Ok(in_use)
    }

    /// A profile with fewer connections than there may be invocations has a place for each of them in the table; an
    /// invocation without one leaves its mailboxes alone. Other profiles cost nothing here.
    async fn place(&self, id: &ProfileId, connections: u16, deadline: Deadline) -> Result<Place, Outage> {
        if connections >= self.settings.invocations_max {
            return Ok(Place::Unneeded);
        }
        let now = self.now();
        let until = deadline.as_of(now, LEASE_MARGIN);
        let taken = self.ports.mailboxes().take_place(id, connections, until, now).await?;
        Ok(taken.map_or(Place::Full, |place| Place::Held(place, until)))
    }

    pub(crate) async fn leave_places(&self, profiles: &Profiles) {
        for (id, profile) in profiles.known.lock().await.iter() {
            if let Some(Place::Held(place, until)) = profile.as_ref().map(|profile| profile.place)
                && let Err(outage) = self.ports.mailboxes().leave_place(id, place, until).await
            {
                // It is free again when its time is up.
                tracing::error!(profile = %id, error = outage.chain(), "a place could not be given back");
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
