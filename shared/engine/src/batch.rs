//! A batch of wakes: mailboxes side by side, bounded, each fenced from the others.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc};

use futures_util::{FutureExt, StreamExt, stream};
use mailrail_domain::{delivery::Delivery, id::ProfileId, profile::EmailServerProfile};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::{
    Deadline, Engine,
    limits::{DEADLINE_MARGIN, MAILBOXES_AT_ONCE},
    outage::Outage,
    ports::{Directory, MailboxQueue, Ports, StoredProfile, Wake},
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

/// The profiles of a batch, read once, each with the bound on its connections.
#[derive(Debug, Default)]
pub(crate) struct Profiles {
    known: Mutex<HashMap<ProfileId, Option<Arc<ProfileInUse>>>>,
}

#[derive(Debug)]
pub(crate) struct ProfileInUse {
    pub stored: StoredProfile,
    connections: Arc<Semaphore>,
}

impl ProfileInUse {
    pub fn profile(&self) -> &EmailServerProfile {
        &self.stored.profile
    }

    /// Waits for one of the profile's connections.
    pub async fn connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).acquire_owned().await.ok()
    }
}

/// A profile's share of its connections for one of several invocations: at least one, so that mail moves.
fn share(connections: u16, invocations: u16) -> usize {
    usize::from((connections / invocations.max(1)).max(1))
}

impl<P: Ports> Engine<P> {
    /// Runs the wakes side by side and says of each, in order, what became of it. A wake's outage, or panic, is its
    /// own; the others go on.
    pub async fn run_batch(&self, wakes: &[Wake], deadline: Deadline) -> Vec<Handled> {
        let profiles = Profiles::default();
        stream::iter(wakes)
            .map(|wake| self.run_fenced(wake, &profiles, deadline))
            .buffered(MAILBOXES_AT_ONCE)
            .collect()
            .await
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
        match AssertUnwindSafe(run).catch_unwind().await {
            Ok(Ok(())) => Handled::Done,
            Ok(Err(outage)) => {
                tracing::error!(%mailbox, delivery, error = outage.chain(), "outage; counts against no mailbox");
                Handled::Again
            }
            Err(_) => {
                tracing::error!(%mailbox, delivery, "panic; counts against no mailbox");
                Handled::Again
            }
        }
    }

    pub(crate) async fn profile_of(
        &self,
        profiles: &Profiles,
        id: &ProfileId,
    ) -> Result<Option<Arc<ProfileInUse>>, Outage> {
        let mut known = profiles.known.lock().await;
        if let Some(profile) = known.get(id) {
            return Ok(profile.clone());
        }
        let stored = self.ports.mailboxes().profile(id).await?;
        let in_use = stored.map(|stored| {
            let connections = share(stored.profile.maximum_concurrent_connections, self.settings.invocations_max);
            Arc::new(ProfileInUse { stored, connections: Arc::new(Semaphore::new(connections)) })
        });
        known.insert(id.clone(), in_use.clone());
        Ok(in_use)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profiles_connections_are_shared_among_the_invocations() {
        assert_eq!(share(10, 10), 1);
        assert_eq!(share(300, 10), 30);
        assert_eq!(share(1, 10), 1);
        assert_eq!(share(10, 0), 10);
    }
}
