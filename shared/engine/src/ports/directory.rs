//! What an administrator keeps (profiles, mailboxes, settings) and reads (alerts, notices).

use mailrail_domain::{
    Timestamp,
    rules::hold::ProfileHealth,
    settings::{mailbox::Mailbox, organization::Organization, profile::EmailServerProfile},
    words::{
        alert::{Alert, AlertKind, AlertStatus},
        audit::{AuditEntry, AuditSubject},
        delivery::{Delivery, SynchronizationMethod},
        id::{MailboxId, ProfileId},
        notice::{Notice, NoticeStatus},
        role::ApiToken,
        state::DeliveryState,
        trial::MailboxTest,
    },
};

use super::vault::Sealed;
use crate::outage::Outage;

/// A profile with its sealed credentials.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredProfile {
    /// The profile.
    pub profile: EmailServerProfile,
    /// Its credentials, where it has its own.
    pub credentials: Option<Sealed>,
    /// How often it has been written; a change is conditional on it. 0 before it is created.
    pub revision: u64,
}

/// A mailbox with its sealed credentials.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMailbox {
    /// The mailbox.
    pub mailbox: Mailbox,
    /// Its credentials, where it has its own.
    pub credentials: Option<Sealed>,
    /// How often it has been written; a change is conditional on it. 0 before it is created.
    pub revision: u64,
}

/// The organization's settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoredOrganization {
    /// The settings.
    pub organization: Organization,
    /// How often they have been written; a change is conditional on it.
    pub revision: u64,
}

/// A mailbox with everything that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct MailboxDetails {
    /// The mailbox.
    pub stored: StoredMailbox,
    /// Its deliveries.
    pub deliveries: Vec<(Delivery, DeliveryState)>,
}

/// Whether something could be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It was.
    Done,
    /// Its address belongs to this mailbox. Nothing was written.
    AddressTaken(MailboxId),
    /// Somebody else wrote, or deleted it, since it was read. Nothing was written.
    Superseded,
    /// Its profile is not there any more. Nothing was written.
    ProfileGone,
}

/// The page of a list that is wanted.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// Most entries of the page.
    pub limit: usize,
    /// Where it begins: what the page before ended with.
    pub cursor: Option<String>,
}

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// Its entries.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub cursor: Option<String>,
}

/// Which alerts are wanted.
#[derive(Debug, Clone)]
pub enum AlertFilter {
    /// All of one mailbox, open and closed.
    Mailbox(MailboxId),
    /// All of a profile itself, open and closed.
    Profile(ProfileId),
    /// All of the organization in this status.
    Status(AlertStatus),
}

/// Profiles, mailboxes, settings and alerts. Whatever a person changes is written together with its audit entry.
pub trait Directory: Send + Sync {
    /// Writes a profile, new or changed, on condition of its revision.
    fn put_profile(
        &self,
        profile: &StoredProfile,
        audit: &AuditEntry,
    ) -> impl Future<Output = Result<Written, Outage>> + Send;

    /// Reads a profile.
    fn profile(&self, id: &ProfileId) -> impl Future<Output = Result<Option<StoredProfile>, Outage>> + Send;

    /// Lists profiles.
    fn profiles(&self, page: &PageRequest) -> impl Future<Output = Result<Page<StoredProfile>, Outage>> + Send;

    /// Deletes a profile that has no mailboxes; the caller has looked.
    fn delete_profile(&self, id: &ProfileId, audit: &AuditEntry) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Creates a mailbox with its three deliveries, none of them enabled. Its profile has to be there.
    fn create_mailbox(
        &self,
        mailbox: &StoredMailbox,
        audit: &AuditEntry,
    ) -> impl Future<Output = Result<Written, Outage>> + Send;

    /// Reads a mailbox with its deliveries.
    fn mailbox(&self, id: &MailboxId) -> impl Future<Output = Result<Option<MailboxDetails>, Outage>> + Send;

    /// Lists mailboxes of one profile, or of all.
    fn mailboxes(
        &self,
        profile: Option<&ProfileId>,
        page: &PageRequest,
    ) -> impl Future<Output = Result<Page<StoredMailbox>, Outage>> + Send;

    /// Lists mailboxes of a profile with everything that is known of them.
    fn details(
        &self,
        profile: &ProfileId,
        page: &PageRequest,
    ) -> impl Future<Output = Result<Page<MailboxDetails>, Outage>> + Send;

    /// Writes a changed mailbox, on condition of the revision of `after`. A delivery whose method changed begins anew,
    /// with its alerts closed; if the address changed, all of them do. A changed address must be free.
    fn change_mailbox(
        &self,
        before: &MailboxDetails,
        after: &StoredMailbox,
        audit: &AuditEntry,
    ) -> impl Future<Output = Result<Written, Outage>> + Send;

    /// Deletes a mailbox, its deliveries and its alerts. Its email records stay.
    fn delete_mailbox(
        &self,
        details: &MailboxDetails,
        audit: &AuditEntry,
    ) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Enables a delivery, puts it into the schedule and closes its alerts. `false` if there is no such mailbox.
    fn enable(
        &self,
        mailbox: &MailboxId,
        delivery: Delivery,
        interval_minutes: u16,
        audit: &AuditEntry,
    ) -> impl Future<Output = Result<bool, Outage>> + Send;

    /// Whether there is a mailbox whose items are moved by this method.
    fn moves_items(&self, method: SynchronizationMethod) -> impl Future<Output = Result<bool, Outage>> + Send;

    /// Lets the next wake of a delivery run, however short ago it ran; a gap between two tries stays. Takes no claim
    /// away: a run that is under way ends as it would have.
    fn hurry(&self, mailbox: &MailboxId, delivery: Delivery) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Reads the organization's settings.
    fn organization(&self) -> impl Future<Output = Result<StoredOrganization, Outage>> + Send;

    /// Writes the organization's settings, on condition of their revision.
    fn put_organization(
        &self,
        organization: &StoredOrganization,
        audit: &AuditEntry,
    ) -> impl Future<Output = Result<Written, Outage>> + Send;

    /// Lists alerts, the newest first.
    fn alerts(
        &self,
        filter: &AlertFilter,
        page: &PageRequest,
    ) -> impl Future<Output = Result<Page<Alert>, Outage>> + Send;
}

/// API tokens and the audit.
pub trait AccessStore: Send + Sync {
    /// Writes a new token, to be found by the SHA-256 of what its holder sends.
    fn put_token(
        &self,
        token: &ApiToken,
        sha256: &str,
        audit: &AuditEntry,
    ) -> impl Future<Output = Result<(), Outage>> + Send;

    /// The token of this SHA-256.
    fn token(&self, sha256: &str) -> impl Future<Output = Result<Option<ApiToken>, Outage>> + Send;

    /// Lists tokens.
    fn tokens(&self, page: &PageRequest) -> impl Future<Output = Result<Page<ApiToken>, Outage>> + Send;

    /// Deletes a token, which opens nothing any more. `false` if there is none.
    fn delete_token(&self, id: &str, audit: &AuditEntry) -> impl Future<Output = Result<bool, Outage>> + Send;

    /// Writes an entry of something that was done without a person's call.
    fn record(&self, entry: &AuditEntry) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Lists the audit, the newest entry first: of one subject, or of everything.
    fn audit(
        &self,
        subject: Option<(AuditSubject, &str)>,
        page: &PageRequest,
    ) -> impl Future<Output = Result<Page<AuditEntry>, Outage>> + Send;
}

/// Tests of mailboxes, the last of each.
pub trait TestStore: Send + Sync {
    /// Writes a test that is asked for, unless another is under way at its time. `false` if one is.
    fn request_test(&self, test: &MailboxTest, audit: &AuditEntry)
    -> impl Future<Output = Result<bool, Outage>> + Send;

    /// The last test of a mailbox.
    fn test(&self, mailbox: &MailboxId) -> impl Future<Output = Result<Option<MailboxTest>, Outage>> + Send;

    /// Writes how far a test is. `false` if another was asked for since.
    fn update_test(&self, test: &MailboxTest) -> impl Future<Output = Result<bool, Outage>> + Send;
}

/// What is known of a profile's servers, with the version that a write of it is conditional on.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredHealth {
    /// The health.
    pub health: ProfileHealth,
    /// How often it has been written.
    pub version: u64,
}

/// The health of profiles' servers, and what is told of a profile rather than of a mailbox.
pub trait HealthStore: Send + Sync {
    /// What is known of a profile's servers; `None` while all is well.
    fn health(&self, profile: &ProfileId) -> impl Future<Output = Result<Option<StoredHealth>, Outage>> + Send;

    /// Writes what is known, on condition of the version that was read (0 for none), and what is told because of it: all or
    /// nothing. `false` if somebody else wrote since.
    fn put_health(
        &self,
        profile: &ProfileId,
        health: &ProfileHealth,
        version: u64,
        told: Option<(&Alert, &Notice)>,
    ) -> impl Future<Output = Result<bool, Outage>> + Send;

    /// Forgets what is known, on condition of the version. In the same transaction it closes the open alert of the same
    /// profile, delivery and kind as the one in `over`, and tells its notice. `false` if somebody else wrote since.
    fn clear_health(
        &self,
        profile: &ProfileId,
        version: u64,
        over: Option<(&Alert, Timestamp, &Notice)>,
    ) -> impl Future<Output = Result<bool, Outage>> + Send;

    /// The open alert of a profile for a delivery, of a kind.
    fn open_alert(
        &self,
        profile: &ProfileId,
        delivery: Delivery,
        kind: AlertKind,
    ) -> impl Future<Output = Result<Option<Alert>, Outage>> + Send;

    /// Opens an alert of a profile, or raises count and last time of the open one, with its notice.
    fn raise(&self, alert: &Alert, notice: Option<&Notice>) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Closes the open alert of the same profile, delivery and kind, if there is one, and tells its notice.
    fn close(
        &self,
        alert: &Alert,
        at: Timestamp,
        notice: Option<&Notice>,
    ) -> impl Future<Output = Result<(), Outage>> + Send;
}

/// Notices that wait to be sent, and those that were.
pub trait NoticeStore: Send + Sync {
    /// Lists notices in a status, the oldest first.
    fn notices(
        &self,
        status: NoticeStatus,
        page: &PageRequest,
    ) -> impl Future<Output = Result<Page<Notice>, Outage>> + Send;

    /// Writes a notice, on condition that `attempts` of it have been made so far. `false` if somebody was quicker.
    fn update_notice(&self, notice: &Notice, attempts: u32) -> impl Future<Output = Result<bool, Outage>> + Send;
}
