//! Ports that fail, fall silent or lose their answers at random, around ports that work.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use mailrail_domain::{
    Timestamp,
    email::{
        position::Position,
        quarantine::{QuarantineReason, Quarantined},
        record::Email,
    },
    rules::{hold::ProfileHealth, schedule::Slot},
    words::{
        alert::{Alert, AlertKind},
        audit::{AuditEntry, AuditSubject},
        delivery::{Delivery, SynchronizationMethod},
        id::{EmailId, MailboxId, ProfileId},
        notice::{Notice, NoticeStatus},
        passed_over::PassedOver,
        role::ApiToken,
        trial::MailboxTest,
    },
};
use mailrail_engine::{outage::Outage, ports::*};
use tokio::sync::Notify;

use super::{MemoryBodies, MemoryQueue, MemoryRecords, MemoryServers, MemoryState, MemoryVault, lock};

/// When calls fail.
#[derive(Debug)]
pub struct Faults {
    random: Mutex<fastrand::Rng>,
    /// Of a thousand calls, so many fail.
    per_mille: AtomicU32,
    died: Notify,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Works,
    FailsBefore,
    FailsAfter,
    DiesBefore,
    DiesAfter,
}

impl Faults {
    /// Faults in the order of this seed, of which there are none yet.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        Self { random, per_mille: AtomicU32::new(0), died: Notify::new() }
    }

    /// From now on so many of a thousand calls fail.
    pub fn set_rate(&self, per_mille: u32) {
        self.per_mille.store(per_mille, Ordering::Relaxed);
    }

    /// Waits until a call has died: whoever made it is to be killed there.
    pub async fn death(&self) {
        self.died.notified().await;
    }

    fn fate(&self) -> Fate {
        let mut random = lock(&self.random);
        if random.u32(0..1_000) >= self.per_mille.load(Ordering::Relaxed) {
            return Fate::Works;
        }
        [Fate::FailsBefore, Fate::FailsAfter, Fate::DiesBefore, Fate::DiesAfter][random.usize(0..4)]
    }

    async fn around<T>(&self, what: &'static str, call: impl Future<Output = Result<T, Outage>>) -> Result<T, Outage> {
        let fate = self.fate();
        match fate {
            Fate::Works => return call.await,
            Fate::FailsBefore => return Err(Outage::new(what)),
            Fate::DiesBefore => {}
            Fate::FailsAfter => {
                call.await?;
                return Err(Outage::new(what));
            }
            Fate::DiesAfter => {
                let _ = call.await;
            }
        }
        self.died.notify_one();
        std::future::pending().await
    }
}

/// A port whose calls fail now and then.
#[derive(Debug)]
pub struct Faulty<T> {
    /// The port beneath, which works.
    pub inner: T,
    faults: std::sync::Arc<Faults>,
}

macro_rules! faulty {
    ($port:ident { $(type $kind:ident;)* $(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)* }) => {
        impl<T: $port> $port for Faulty<T> {
            $(type $kind = T::$kind;)*
            $(
                async fn $name(&self, $($argument: $type),*) -> Result<$answer, Outage> {
                    self.faults.around(stringify!($name), self.inner.$name($($argument),*)).await
                }
            )*
        }
    };
}

faulty!(MailboxStore {
    fn load(mailbox: &MailboxId, delivery: Delivery) -> Option<DeliveryRow>;
    fn lease(claim: &Claim, until: Timestamp, now: Timestamp) -> Option<Claim>;
    fn advance(claim: &Claim, position: &Position, source: &str) -> Option<Claim>;
    fn mark_passed_over(claim: &Claim, passed_over: PassedOver) -> Option<Claim>;
    fn commit(claim: &Claim, closing: &Closing) -> bool;
    fn take_permit(profile: &ProfileId, permits: u16, until: Timestamp, now: Timestamp) -> Option<u16>;
    fn return_permit(profile: &ProfileId, number: u16, until: Timestamp) -> ();
    fn intervals() -> Vec<u16>;
    fn enqueued_until() -> Option<Timestamp>;
    fn set_enqueued_until(at: Timestamp) -> ();
    fn due(slot: Slot, cursor: Option<String>) -> DuePage;
});

faulty!(Directory {
    fn put_profile(profile: &StoredProfile, audit: &AuditEntry) -> Written;
    fn profile(id: &ProfileId) -> Option<StoredProfile>;
    fn profiles(page: &PageRequest) -> Page<StoredProfile>;
    fn delete_profile(id: &ProfileId, audit: &AuditEntry) -> ();
    fn create_mailbox(mailbox: &StoredMailbox, audit: &AuditEntry) -> Written;
    fn mailbox(id: &MailboxId) -> Option<MailboxDetails>;
    fn mailboxes(profile: Option<&ProfileId>, page: &PageRequest) -> Page<StoredMailbox>;
    fn details(profile: &ProfileId, page: &PageRequest) -> Page<MailboxDetails>;
    fn change_mailbox(before: &MailboxDetails, after: &StoredMailbox, audit: &AuditEntry) -> Written;
    fn delete_mailbox(details: &MailboxDetails, audit: &AuditEntry) -> ();
    fn enable(mailbox: &MailboxId, delivery: Delivery, interval_minutes: u16, audit: &AuditEntry) -> bool;
    fn moves_items(method: SynchronizationMethod) -> bool;
    fn hurry(mailbox: &MailboxId, delivery: Delivery) -> ();
    fn organization() -> StoredOrganization;
    fn put_organization(organization: &StoredOrganization, audit: &AuditEntry) -> Written;
    fn alerts(filter: &AlertFilter, page: &PageRequest) -> Page<Alert>;
});

faulty!(AccessStore {
    fn put_token(token: &ApiToken, sha256: &str, audit: &AuditEntry) -> ();
    fn token(sha256: &str) -> Option<ApiToken>;
    fn tokens(page: &PageRequest) -> Page<ApiToken>;
    fn delete_token(id: &str, audit: &AuditEntry) -> bool;
    fn record(entry: &AuditEntry) -> ();
    fn audit(subject: Option<(AuditSubject, &str)>, page: &PageRequest) -> Page<AuditEntry>;
});

faulty!(TestStore {
    fn request_test(test: &MailboxTest, audit: &AuditEntry) -> bool;
    fn test(mailbox: &MailboxId) -> Option<MailboxTest>;
    fn update_test(test: &MailboxTest) -> bool;
});

faulty!(HealthStore {
    fn health(profile: &ProfileId) -> Option<StoredHealth>;
    fn put_health(profile: &ProfileId, health: &ProfileHealth, version: u64, told: Option<(&Alert, &Notice)>) -> bool;
    fn clear_health(profile: &ProfileId, version: u64, over: Option<(&Alert, Timestamp, &Notice)>) -> bool;
    fn open_alert(profile: &ProfileId, delivery: Delivery, kind: AlertKind) -> Option<Alert>;
    fn raise(alert: &Alert, notice: Option<&Notice>) -> ();
    fn close(alert: &Alert, at: Timestamp, notice: Option<&Notice>) -> ();
});

faulty!(NoticeStore {
    fn notices(status: NoticeStatus, page: &PageRequest) -> Page<Notice>;
    fn update_notice(notice: &Notice, attempts: u32) -> bool;
});

faulty!(QuarantineStore {
    fn quarantine(message: &Quarantined, until: Timestamp) -> ();
    fn quarantined_message(mailbox: &MailboxId, remote_id: &str) -> Option<Quarantined>;
    fn retried(message: &Quarantined) -> ();
    fn release(message: &Quarantined, audit: &AuditEntry) -> bool;
    fn quarantined_anywhere(reason: Option<QuarantineReason>, page: &PageRequest) -> Page<Quarantined>;
    fn quarantined(mailbox: &MailboxId, page: &PageRequest) -> Page<Quarantined>;
});

faulty!(OutboxStore {
    fn enter_outbox(mailbox: &MailboxId, place: &OutboxPlace, now: Timestamp) -> ();
    fn leave_outbox(mailbox: &MailboxId, place: &OutboxPlace) -> ();
    fn clear_outbox(mailbox: &MailboxId, place: &OutboxPlace, entered_by: Timestamp) -> ();
    fn outbox(mailbox: &MailboxId, page: &PageRequest) -> Page<OutboxPlace>;
});

faulty!(QuotaStore {
    fn count_recipients(mailbox: &MailboxId, at: Timestamp, recipients: u32, most: u32) -> bool;
    fn uncount_recipients(mailbox: &MailboxId, at: Timestamp, recipients: u32) -> ();
});

faulty!(EmailRecords {
    fn insert_received(email: &Email, mailbox: &MailboxId) -> Inserted;
    fn insert_draft(email: &Email) -> bool;
    fn update_outgoing(email: &Email, revision: &Revision) -> Option<StoredEmail>;
    fn emails_with(ids: &[EmailId]) -> Vec<StoredEmail>;
    fn email(id: &EmailId) -> Option<StoredEmail>;
    fn emails(mailbox: &MailboxId, page: &PageRequest) -> Page<Email>;
    fn with_message_id(message_id: &str) -> Vec<Email>;
    fn replies(message_id: &str) -> Vec<EmailId>;
});

faulty!(BodyStore {
    type Upload;
    fn put(key: &str, content: Bytes, media_type: &str) -> ();
    fn get(key: &str, bytes_max: u64) -> Option<Bytes>;
    fn delete(key: &str) -> ();
    fn begin(key: &str, media_type: &str) -> Self::Upload;
    fn append(upload: &mut Self::Upload, piece: Bytes) -> ();
    fn finish(upload: Self::Upload) -> ();
});

faulty!(JobQueue {
    fn send(jobs: &[Job], delay_seconds: u32) -> ();
    fn receive(queue: QueueName) -> Vec<Received>;
    fn delete(queue: QueueName, receipts: &[String]) -> ();
});

faulty!(Vault {
    fn seal(owner: &str, key_context: &str, secret: &Secret) -> Sealed;
    fn open(owner: &str, sealed: &Sealed) -> Option<Secret>;
});

/// Everything in memory, with faults at any call but those to the mail servers, which have troubles of their own.
#[derive(Debug)]
pub struct FaultyPorts {
    /// Mailboxes, profiles, alerts and notices.
    pub state: Faulty<MemoryState>,
    /// Email records.
    pub records: Faulty<MemoryRecords>,
    /// Objects.
    pub bodies: Faulty<MemoryBodies>,
    /// Credentials.
    pub vault: Faulty<MemoryVault>,
    /// Queues.
    pub queue: Faulty<MemoryQueue>,
    /// Mail servers.
    pub servers: MemoryServers,
    /// When calls fail.
    pub faults: std::sync::Arc<Faults>,
}

impl FaultyPorts {
    /// Empty stores that fail in the order of this seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let faults = std::sync::Arc::new(Faults::of_seed(seed));
        fn around<T>(inner: T, faults: &std::sync::Arc<Faults>) -> Faulty<T> {
            Faulty { inner, faults: std::sync::Arc::clone(faults) }
        }
        Self {
            state: around(MemoryState::default(), &faults),
            records: around(MemoryRecords::default(), &faults),
            bodies: around(MemoryBodies::default(), &faults),
            vault: around(MemoryVault, &faults),
            queue: around(MemoryQueue::default(), &faults),
            servers: MemoryServers::default(),
            faults,
        }
    }
}

impl Ports for FaultyPorts {
    type Mailboxes = Faulty<MemoryState>;
    type Records = Faulty<MemoryRecords>;
    type Bodies = Faulty<MemoryBodies>;
    type Vault = Faulty<MemoryVault>;
    type Queue = Faulty<MemoryQueue>;
    type Incoming = MemoryServers;
    type Finder = MemoryServers;
    type Outgoing = MemoryServers;

    fn mailboxes(&self) -> &Self::Mailboxes {
        &self.state
    }
    fn records(&self) -> &Self::Records {
        &self.records
    }
    fn bodies(&self) -> &Self::Bodies {
        &self.bodies
    }
    fn vault(&self) -> &Self::Vault {
        &self.vault
    }
    fn queue(&self) -> &Self::Queue {
        &self.queue
    }
    fn incoming(&self) -> &MemoryServers {
        &self.servers
    }
    fn finder(&self) -> &MemoryServers {
        &self.servers
    }
    fn outgoing(&self) -> &MemoryServers {
        &self.servers
    }
}
