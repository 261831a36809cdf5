//! Ports in memory. They keep the contracts of the real ones, as the conformance suites show.

mod bodies;
mod faulty;
mod queue;
mod records;
mod servers;
mod state;
mod vault;

use std::sync::{Mutex, MutexGuard};

pub use bodies::MemoryBodies;
pub use faulty::{Faults, Faulty, FaultyPorts};
use mailrail_engine::ports::{Finder, IncomingServers, OutgoingServers, Page, PageRequest, Ports};
pub use queue::{MemoryQueue, QueueCall};
pub use records::MemoryRecords;
pub use servers::{Affliction, MemoryServers, Withheld};
pub use state::{MemoryState, Reads};
pub use vault::MemoryVault;

/// Everything in memory but the mail servers, which are real.
#[derive(Debug)]
pub struct MemoryPorts<S> {
    /// Mailboxes, profiles, alerts and notices.
    pub state: MemoryState,
    /// Email records.
    pub records: MemoryRecords,
    /// Objects.
    pub bodies: MemoryBodies,
    /// Credentials.
    pub vault: MemoryVault,
    /// Queues.
    pub queue: MemoryQueue,
    /// Mail servers.
    pub servers: S,
}

impl<S> MemoryPorts<S> {
    /// Empty stores around `servers`.
    pub fn new(servers: S) -> Self {
        Self {
            state: MemoryState::default(),
            records: MemoryRecords::default(),
            bodies: MemoryBodies::default(),
            vault: MemoryVault,
            queue: MemoryQueue::default(),
            servers,
        }
    }
}

impl<S: IncomingServers + Finder + OutgoingServers> Ports for MemoryPorts<S> {
    type Mailboxes = MemoryState;
    type Records = MemoryRecords;
    type Bodies = MemoryBodies;
    type Vault = MemoryVault;
    type Queue = MemoryQueue;
    type Incoming = S;
    type Finder = S;
    type Outgoing = S;

    fn mailboxes(&self) -> &MemoryState {
        &self.state
    }
    fn records(&self) -> &MemoryRecords {
        &self.records
    }
    fn bodies(&self) -> &MemoryBodies {
        &self.bodies
    }
    fn vault(&self) -> &MemoryVault {
        &self.vault
    }
    fn queue(&self) -> &MemoryQueue {
        &self.queue
    }
    fn incoming(&self) -> &S {
        &self.servers
    }
    fn finder(&self) -> &S {
        &self.servers
    }
    fn outgoing(&self) -> &S {
        &self.servers
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds a fake")
}

/// One page of a list whose entries are ordered by a key.
fn page<T>(entries: Vec<(String, T)>, request: &PageRequest) -> Page<T> {
    let after = entries.into_iter().skip_while(|(key, _)| request.cursor.as_ref().is_some_and(|c| key <= c));
    let mut taken: Vec<(String, T)> = after.take(request.limit + 1).collect();
    let more = taken.len() > request.limit;
    taken.truncate(request.limit);
    let cursor = taken.last().filter(|_| more).map(|(key, _)| key.clone());
    Page { items: taken.into_iter().map(|(_, item)| item).collect(), cursor }
}
