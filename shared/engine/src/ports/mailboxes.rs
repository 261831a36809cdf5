//! The state of deliveries: read at a run's beginning, written at its end, on condition that nobody wrote between.

use mailrail_domain::{
    Timestamp,
    email::position::Position,
    rules::schedule::Slot,
    settings::mailbox::Mailbox,
    words::{
        alert::{Alert, AlertKind},
        audit::AuditEntry,
        delivery::Delivery,
        id::{MailboxId, ProfileId},
        notice::Notice,
        passed_over::PassedOver,
        state::DeliveryState,
    },
};

use super::{queue::Wake, vault::Sealed};
use crate::outage::Outage;

/// A delivery with its mailbox, as one read gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryRow {
    /// The mailbox.
    pub mailbox: Mailbox,
    /// Its own credentials, sealed.
    pub credentials: Option<Sealed>,
    /// What the delivery remembers.
    pub state: DeliveryState,
    /// How far the mailbox has been read.
    pub position: Option<Position>,
    /// The interval under which it stands in the schedule; `None` if it does not.
    pub interval_minutes: Option<u16>,
    /// Until when somebody holds the lease.
    pub leased_until: Option<Timestamp>,
    /// What a write is conditional on.
    pub claim: Claim,
}

/// The right to write a delivery: it holds as long as nobody else wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The delivery.
    pub delivery: Delivery,
    /// The row's version at the last read or write.
    pub version: u64,
}

/// What a run writes when it ends, in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Closing {
    /// The state from now on.
    pub state: DeliveryState,
    /// How far the mailbox has been read, where it was read at all.
    pub position: Option<Position>,
    /// Alerts to raise and close.
    pub alerts: Vec<AlertWrite>,
    /// The notice of a disabling.
    pub notice: Option<Notice>,
    /// The entry of what a person's test has enabled.
    pub audit: Option<AuditEntry>,
    /// The interval under which the delivery is to stand in the schedule; a disabled one leaves it.
    pub interval_minutes: u16,
    /// The interval under which it stood.
    pub previous_interval_minutes: Option<u16>,
}

/// One alert to write.
#[derive(Debug, Clone, PartialEq)]
pub enum AlertWrite {
    /// Open it, or raise count and last time of the open one.
    Raise(Box<Alert>),
    /// Close the open alert of this kind.
    Close(AlertKind, Timestamp),
}

/// One page of due deliveries.
#[derive(Debug, Default)]
pub struct DuePage {
    /// The deliveries.
    pub wakes: Vec<Wake>,
    /// Where the next page begins.
    pub cursor: Option<String>,
}

/// Deliveries and the schedule.
pub trait MailboxStore: Send + Sync {
    /// Reads a delivery with its mailbox; `None` if there is none. One read unit while the mailbox is small.
    fn load(
        &self,
        mailbox: &MailboxId,
        delivery: Delivery,
    ) -> impl Future<Output = Result<Option<DeliveryRow>, Outage>> + Send;

    /// Takes the lease until `until`; `None` if somebody holds it at `now` or wrote since.
    fn lease(
        &self,
        claim: &Claim,
        until: Timestamp,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Claim>, Outage>> + Send;

    /// Writes how far the mailbox has been read, in the middle of a run, and `source`, the account that this is a position
    /// of (see [`mailrail_domain::settings::endpoint::source`]); `None` if somebody else wrote since.
    fn advance(
        &self,
        claim: &Claim,
        position: &Position,
        source: &str,
    ) -> impl Future<Output = Result<Option<Claim>, Outage>> + Send;

    /// Writes that messages are being passed over, before they are, so that they are asked for again whatever becomes of the
    /// run; `None` if somebody else wrote since.
    fn mark_passed_over(
        &self,
        claim: &Claim,
        passed_over: PassedOver,
    ) -> impl Future<Output = Result<Option<Claim>, Outage>> + Send;

    /// Ends a run: state, position, alerts, notice, schedule and the release of the lease, all or nothing. `false` if
    /// somebody else wrote since, in which case nothing was written.
    fn commit(&self, claim: &Claim, closing: &Closing) -> impl Future<Output = Result<bool, Outage>> + Send;

    /// Takes one of a profile's permits to connect until `until`, for a profile that has fewer connections than there
    /// may be invocations; `None` if all of them are taken at `now`.
    fn take_permit(
        &self,
        profile: &ProfileId,
        permits: u16,
        until: Timestamp,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<u16>, Outage>> + Send;

    /// Returns a permit that was taken until `until`. If its time is up and another invocation has it, nothing changes.
    fn return_permit(
        &self,
        profile: &ProfileId,
        number: u16,
        until: Timestamp,
    ) -> impl Future<Output = Result<(), Outage>> + Send;

    /// The intervals that any delivery stands under.
    fn intervals(&self) -> impl Future<Output = Result<Vec<u16>, Outage>> + Send;

    /// The moment up to which everything due was enqueued; `None` before the first tick.
    fn enqueued_until(&self) -> impl Future<Output = Result<Option<Timestamp>, Outage>> + Send;

    /// Notes that everything due up to `at` was enqueued.
    fn set_enqueued_until(&self, at: Timestamp) -> impl Future<Output = Result<(), Outage>> + Send;

    /// One page of the deliveries of a slot.
    fn due(&self, slot: Slot, cursor: Option<String>) -> impl Future<Output = Result<DuePage, Outage>> + Send;
}
