//! What an administrator keeps: profiles, mailboxes, settings; and what he reads: alerts and notices.

use mailrail_domain::{
    Timestamp,
    alert::{Alert, AlertStatus},
    delivery::{Delivery, DeliveryState},
    id::{MailboxId, ProfileId},
    mailbox::Mailbox,
    notice::{Notice, NoticeStatus},
    organization::Organization,
    profile::EmailServerProfile,
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
}

/// A mailbox with its sealed credentials.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMailbox {
    /// The mailbox.
    pub mailbox: Mailbox,
    /// Its credentials, where it has its own.
    pub credentials: Option<Sealed>,
}

/// A mailbox with everything that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct MailboxDetails {
    /// The mailbox.
    pub stored: StoredMailbox,
    /// Its deliveries.
    pub deliveries: Vec<(Delivery, DeliveryState)>,
}

/// Whether something could be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was.
    Created,
    /// Its address belongs to this mailbox.
    AddressTaken(MailboxId),
}

/// What page of a list is wanted.
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
    /// All of the organization in this status.
    Status(AlertStatus),
}

/// Profiles, mailboxes, settings and alerts.
pub trait Directory: Send + Sync {
    /// Writes a profile, new or changed.
    fn put_profile(&self, profile: &StoredProfile) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Reads a profile.
    fn profile(&self, id: &ProfileId) -> impl Future<Output = Result<Option<StoredProfile>, Outage>> + Send;

    /// Lists profiles.
    fn profiles(&self, page: &PageRequest) -> impl Future<Output = Result<Page<StoredProfile>, Outage>> + Send;

    /// Deletes a profile that has no mailboxes; the caller has looked.
    fn delete_profile(&self, id: &ProfileId) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Creates a mailbox with its three deliveries, and puts the enabled ones into the schedule.
    fn create_mailbox(
        &self,
        mailbox: &StoredMailbox,
        interval_minutes: u16,
    ) -> impl Future<Output = Result<Created, Outage>> + Send;

    /// Reads a mailbox with its deliveries.
    fn mailbox(&self, id: &MailboxId) -> impl Future<Output = Result<Option<MailboxDetails>, Outage>> + Send;

    /// Lists mailboxes of one profile, or of all.
    fn mailboxes(
        &self,
        profile: Option<&ProfileId>,
        page: &PageRequest,
    ) -> impl Future<Output = Result<Page<StoredMailbox>, Outage>> + Send;

    /// Writes a changed mailbox. A delivery whose method changed begins anew; a changed address must be free.
    fn change_mailbox(
        &self,
        before: &MailboxDetails,
        after: &StoredMailbox,
        interval_minutes: u16,
    ) -> impl Future<Output = Result<Created, Outage>> + Send;

    /// Deletes a mailbox, its deliveries and its alerts. Its email records stay.
    fn delete_mailbox(&self, details: &MailboxDetails) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Enables a delivery again, puts it into the schedule and closes its alerts. `false` if there is no such mailbox.
    fn enable(
        &self,
        mailbox: &MailboxId,
        delivery: Delivery,
        interval_minutes: u16,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, Outage>> + Send;

    /// Lets the next wake of a delivery run, however short ago it ran; a gap between two tries stays. Takes no claim
    /// away: a run that is under way ends as it would have.
    fn hurry(&self, mailbox: &MailboxId, delivery: Delivery) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Reads the organization's settings.
    fn organization(&self) -> impl Future<Output = Result<Organization, Outage>> + Send;

    /// Writes the organization's settings.
    fn put_organization(&self, organization: &Organization) -> impl Future<Output = Result<(), Outage>> + Send;

    /// Lists alerts, the newest first.
    fn alerts(
        &self,
        filter: &AlertFilter,
        page: &PageRequest,
    ) -> impl Future<Output = Result<Page<Alert>, Outage>> + Send;
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
