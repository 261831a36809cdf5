//! A batch of wakes: mailboxes side by side, bounded, each fenced from the others.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc};

use futures_util::{FutureExt, StreamExt, stream};
use mailrail_domain::{
    Timestamp,
    settings::{hold::HoldSettings, organization::Organization, profile::EmailServerProfile},
    words::{delivery::Delivery, id::ProfileId},
};
use tokio::{
    sync::{Mutex, OnceCell, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    Deadline, Engine,
    limits::{CONNECTIONS_BUSY_SECONDS, DEADLINE_MARGIN, GIVE_UP_MARGIN, LEASE_MARGIN, MAILBOXES_AT_ONCE},
    outage::Outage,
    ports::{Directory, HealthStore, MailboxQueue, MailboxStore, Ports, StoredHealth, StoredProfile, Wake},
};

/// What became of one wake.
#[derive(Debug)]
pub enum Handled {
    /// It was dealt with: delivered, counted as a failure, or dropped for a reason in the row.
    Done,
    /// An outage of ours, or no time left: the message is to come again.
    Again,
}

/// What one self-made round over a queue did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// Wakes that were dealt with.
    pub done: usize,
    /// Wakes that are to come again, and messages that could not be read.
    pub left: usize,
}

/// Rounds of receiving in one invocation; the deadline nearly always ends it sooner.
const ROUNDS_MAX: usize = 10_000;

/// What the mailboxes of a batch have in common, read once: the organization's settings, and the profiles, each with the
/// bound on its connections.
#[derive(Debug, Default)]
pub(crate) struct Profiles {
    known: Mutex<HashMap<ProfileId, Option<Arc<ProfileInUse>>>>,
    organization: OnceCell<Organization>,
}

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
    pub fn profile(&self) -> &EmailServerProfile {
        &self.stored.profile
    }

    /// Waits for one of the profile's connections; `None` if other invocations have them all.
    pub async fn connection(&self) -> Option<OwnedSemaphorePermit> {
        match self.place {
            Place::Full => None,
            Place::Unneeded | Place::Held(..) => Arc::clone(&self.connections).acquire_owned().await.ok(),
        }
    }
}

/// A profile's share of its connections for one of several invocations.
fn share(connections: u16, invocations: u16) -> usize {
    usize::from((connections / invocations.max(1)).max(1))
}

impl<P: Ports> Engine<P> {
    /// Runs the wakes side by side and says of each, in order, what became of it. A wake's outage, or panic, is its
    /// own; the others go on.
    pub async fn run_batch(&self, wakes: &[Wake], deadline: Deadline) -> Vec<Handled> {
        let profiles = Profiles::default();
        let handled = stream::iter(wakes)
            .map(|wake| self.run_fenced(wake, &profiles, deadline))
            .buffered(MAILBOXES_AT_ONCE)
            .collect()
            .await;
        self.leave_places(&profiles).await;
        handled
    }

    /// Receives batches from the queue of `delivery` and runs them, until it is empty or the time is up. For an
    /// invocation by a schedule or by hand, where no event source mapping brings the batch.
    pub async fn drain(&self, delivery: Delivery, deadline: Deadline) -> Result<Drained, Outage> {
        let mut drained = Drained::default();
        for _ in 0..ROUNDS_MAX {
            if deadline.is_within(DEADLINE_MARGIN) {
                break;
            }
            let received = self.ports.queue().receive(delivery).await?;
            if received.is_empty() {
                break;
            }
            let mut wakes = Vec::new();
            let mut receipts = Vec::new();
            for message in received {
                match message.wake {
                    Ok(wake) => {
                        wakes.push(wake);
                        receipts.push(message.receipt);
                    }
                    Err(problem) => {
                        tracing::error!(problem, "a queue message cannot be read and is left to the dead letters");
                        drained.left += 1;
                    }
                }
            }
            let handled = self.run_batch(&wakes, deadline).await;
            let done: Vec<String> = receipts
                .into_iter()
                .zip(&handled)
                .filter_map(|(receipt, handled)| matches!(handled, Handled::Done).then_some(receipt))
                .collect();
            drained.left += handled.len() - done.len();
            drained.done += done.len();
            self.ports.queue().delete(delivery, &done).await?;
        }
        Ok(drained)
    }

    async fn run_fenced(&self, wake: &Wake, profiles: &Profiles, deadline: Deadline) -> Handled {
        if deadline.is_within(DEADLINE_MARGIN) {
            return Handled::Again;
        }
        let run = async {
            match wake.delivery {
                Delivery::IncomingEmail => self.receive(wake, profiles, deadline).await,
                Delivery::OutgoingEmail => self.send(wake, profiles, deadline).await,
                Delivery::AppointmentsContactsTasks => {
                    Err(Outage::new("no function synchronizes appointments, contacts, and tasks yet"))
                }
            }
        };
        let (mailbox, delivery) = (&wake.mailbox, wake.delivery.as_str());
        let time = deadline.left().saturating_sub(GIVE_UP_MARGIN);
        match timeout(time, AssertUnwindSafe(run).catch_unwind()).await {
            Err(_) => {
                tracing::error!(%mailbox, delivery, "out of time; counts against no mailbox");
                Handled::Again
            }
            Ok(Ok(Ok(()))) => Handled::Done,
            Ok(Ok(Err(outage))) => {
                tracing::error!(%mailbox, delivery, error = outage.chain(), "outage; counts against no mailbox");
                Handled::Again
            }
            Ok(Err(_)) => {
                tracing::error!(%mailbox, delivery, "panic; counts against no mailbox");
                Handled::Again
            }
        }
    }

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
                let connections = Arc::new(Semaphore::new(share(connections, self.settings.invocations_max)));
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

    /// Puts a wake back for a while, because other invocations have all connections of its profile.
    pub(crate) async fn put_back(&self, wake: &Wake) -> Result<(), Outage> {
        self.ports.queue().send(wake.delivery, std::slice::from_ref(wake), CONNECTIONS_BUSY_SECONDS).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profiles_connections_are_shared_among_the_invocations() {
        assert_eq!(share(10, 10), 1);
        assert_eq!(share(300, 10), 30);
        assert_eq!(share(10, 0), 10);
    }
}
