//! Deliveries that a person enables, or lets run at once.

use futures_util::{StreamExt, TryStreamExt, stream};
use mailrail_domain::{
    rules::admission,
    settings::mailbox::Mailbox,
    words::{
        audit::{AuditAction, AuditSubject},
        cause::Cause,
        delivery::{Delivery, SynchronizationMethod},
        id::MailboxId,
        role::Role,
    },
};

use super::{By, Expected, Refusal, mailboxes::KnownMailbox};
use crate::{
    Engine,
    limits::{QUEUE_BATCH, QUEUE_BATCHES_AT_ONCE, WAKE_DELAY_SECONDS},
    outage::Outage,
    ports::{Directory, Job, JobQueue, MailboxDetails, Ports, Wake},
};

impl<P: Ports> Engine<P> {
    /// Enables a delivery again: its failures are forgotten, its alerts closed, and it runs at once.
    pub async fn enable_delivery(
        &self,
        by: &By,
        id: &str,
        delivery: Delivery,
        expected: &Expected,
    ) -> Result<KnownMailbox, Refusal> {
        by.needs(Role::Administrator, "Enabling a delivery")?;
        let mut details = self.mailbox_with_delivery(id, delivery, expected).await?;
        let mailbox = details.stored.mailbox.clone();
        let profile = self.find_profile(mailbox.profile_id.as_str()).await?.profile;
        let organization = self.ports.mailboxes().organization().await?.organization;
        if let Some(lacking) = admission::lacking(&mailbox, &profile, &organization) {
            return Err(unapproved(&mailbox, lacking));
        }
        let minutes = self.interval(delivery, &profile);
        let fields = vec![delivery.as_str().to_owned()];
        let subject = (AuditSubject::Mailbox, mailbox.id.as_str());
        let audit = by.audit(self.now(), AuditAction::Enabled, subject, fields);
        if !self.ports.mailboxes().enable(&mailbox.id, delivery, minutes, &audit).await? {
            return Err(Refusal::not_found("mailbox", id));
        }
        self.unshare_all(&details).await?;
        self.wake([mailbox.id], delivery, WAKE_DELAY_SECONDS).await?;
        for (of, state) in &mut details.deliveries {
            if *of == delivery {
                *state = state.re_enabled(audit.at);
            }
        }
        Ok(KnownMailbox { details, profile: Some(profile) })
    }

    /// Runs a delivery now, whatever its polling interval; a gap between two tries stays.
    pub async fn run_now(&self, by: &By, id: &str, delivery: Delivery, expected: &Expected) -> Result<(), Refusal> {
        by.needs(Role::Administrator, "Running a delivery")?;
        let mailbox = self.mailbox_with_delivery(id, delivery, expected).await?.stored.mailbox.id;
        self.ports.mailboxes().hurry(&mailbox, delivery).await?;
        Ok(self.wake([mailbox], delivery, WAKE_DELAY_SECONDS).await?)
    }

    async fn mailbox_with_delivery(
        &self,
        id: &str,
        delivery: Delivery,
        expected: &Expected,
    ) -> Result<MailboxDetails, Refusal> {
        let details = self.mailbox_to_change(id, expected).await?;
        if !delivery.is_moved() {
            let detail = "Appointments, contacts and tasks are not synchronized yet.";
            return Err(Refusal::conflict(
                detail,
                "Leave them to Outlook, or set their synchronization method to none.",
            ));
        }
        if details.stored.mailbox.method(delivery) == SynchronizationMethod::None {
            let detail = format!("The synchronization method of {} is none.", delivery.as_str());
            return Err(Refusal::conflict(detail, "Set it to server-side-synchronization first."));
        }
        Ok(details)
    }

    /// Lets the enabled deliveries of a mailbox run at once, so that each is looked at and scheduled as it is set up now.
    pub(super) async fn wake_enabled(&self, details: &MailboxDetails) -> Result<(), Outage> {
        let id = &details.stored.mailbox.id;
        for (delivery, _) in details.deliveries.iter().filter(|(_, state)| state.enabled) {
            self.ports.mailboxes().hurry(id, *delivery).await?;
            self.wake([id.clone()], *delivery, WAKE_DELAY_SECONDS).await?;
        }
        Ok(())
    }

    /// Wakes a delivery of each of these mailboxes, as many at once as the queue takes.
    pub(super) async fn wake(
        &self,
        mailboxes: impl IntoIterator<Item = MailboxId>,
        delivery: Delivery,
        delay_seconds: u32,
    ) -> Result<(), Outage> {
        let wakes: Vec<Job> = mailboxes.into_iter().map(|mailbox| Wake { mailbox, delivery }.into()).collect();
        let batches: Vec<Vec<Job>> = wakes.chunks(QUEUE_BATCH).map(<[Job]>::to_vec).collect();
        let send = |batch: Vec<Job>| async move { self.ports.queue().send(&batch, delay_seconds).await };
        stream::iter(batches).map(send).buffer_unordered(QUEUE_BATCHES_AT_ONCE).try_collect().await
    }
}

/// The refusal to enable a mailbox that lacks an approval.
fn unapproved(mailbox: &Mailbox, lacking: Cause) -> Refusal {
    let name = &mailbox.name;
    match lacking {
        Cause::TenantApprovalMissing => Refusal::conflict(
            format!("The email address of the mailbox {name} has no approval by the tenant's administrator."),
            "Have the tenant's administrator give it first: POST /v1/mailboxes/approval with the verdict approve-for-tenant.",
        ),
        _ => Refusal::conflict(
            format!("The email address of the mailbox {name} is not approved."),
            "Approve it first: POST /v1/mailboxes/approval.",
        ),
    }
}
