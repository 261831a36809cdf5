//! What the use cases need from outside, as traits. Each has a fake in `test-support` that passes the same
//! conformance suite as the real one.

mod access;
mod bodies;
mod directory;
mod finder;
mod incoming;
mod mailboxes;
mod outbox;
mod outgoing;
mod quarantine;
mod queue;
mod quota;
mod records;
mod vault;

pub use access::{Access, Ledger, Progress};
pub use bodies::{BodyStore, MemoryBudget, Reserved};
pub use directory::{
    AccessStore, AlertFilter, Directory, HealthStore, MailboxDetails, NoticeStore, Page, PageRequest, StoredHealth,
    StoredMailbox, StoredOrganization, StoredProfile, TestStore, Written,
};
pub use finder::{Finder, Folder};
pub use incoming::{Arrival, Content, IncomingServers, IncomingSession, Look, RemoteId};
pub use mailboxes::{AlertWrite, Claim, Closing, DeliveryRow, DuePage, MailboxStore};
pub use outbox::{OutboxPlace, OutboxStore};
pub use outgoing::{EnvelopeReply, OutgoingServers, OutgoingSession};
pub use quarantine::QuarantineStore;
pub use queue::{Job, JobQueue, QueueName, Received, Wake};
pub use quota::QuotaStore;
pub use records::{EmailRecords, Inserted, Revision, StoredEmail};
pub use vault::{Sealed, Secret, Vault};

/// One set of everything outside: the real one in `boot`, the fakes in `test-support`.
pub trait Ports: Send + Sync {
    /// State of mailboxes.
    type Mailboxes: MailboxStore
        + Directory
        + NoticeStore
        + AccessStore
        + TestStore
        + HealthStore
        + OutboxStore
        + QuarantineStore
        + QuotaStore;
    /// Email records.
    type Records: EmailRecords;
    /// Message bodies.
    type Bodies: BodyStore;
    /// Credentials.
    type Vault: Vault;
    /// Queues of jobs.
    type Queue: JobQueue;
    /// Servers of incoming email.
    type Incoming: IncomingServers;
    /// Servers whose folders can be asked for a message.
    type Finder: Finder;
    /// Servers of outgoing email.
    type Outgoing: OutgoingServers;

    /// State of mailboxes.
    fn mailboxes(&self) -> &Self::Mailboxes;
    /// Email records.
    fn records(&self) -> &Self::Records;
    /// Message bodies.
    fn bodies(&self) -> &Self::Bodies;
    /// Credentials.
    fn vault(&self) -> &Self::Vault;
    /// Queues of jobs.
    fn queue(&self) -> &Self::Queue;
    /// Servers of incoming email.
    fn incoming(&self) -> &Self::Incoming;
    /// Servers whose folders can be asked for a message.
    fn finder(&self) -> &Self::Finder;
    /// Servers of outgoing email.
    fn outgoing(&self) -> &Self::Outgoing;
}
