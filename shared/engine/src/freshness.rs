//! Freshness: deliveries that run and do not fail, and yet have not worked for long, are reported.
//!
//! Every minute looks at one sixtieth of the schedule, so that each delivery is looked at once an hour.

use mailrail_domain::{
    rules::{freshness::stalled_since, run::end::told, schedule::Slot, story::Story},
    settings::organization::Organization,
    words::delivery::Delivery,
};

use crate::{
    Deadline, Engine,
    limits::{DEADLINE_MARGIN, DUE_PAGES_MAX},
    outage::Outage,
    ports::{Directory, HealthStore, MailboxStore, Ports, Wake},
};

/// Minutes in which the whole schedule is looked at once.
const ROUND_MINUTES: u16 = 60;

impl<P: Ports> Engine<P> {
    /// Looks at the deliveries of this minute's share of the schedule, and reports those that are stalled.
    pub async fn check_freshness(&self, deadline: Deadline) -> Result<usize, Outage> {
        let mailboxes = self.ports.mailboxes();
        let organization = mailboxes.organization().await?.organization;
        if organization.stall_minutes == 0 {
            return Ok(0);
        }
        let share = self.now().timestamp().div_euclid(60).rem_euclid(ROUND_MINUTES.into());
        let mut stalled = 0;
        for interval_minutes in mailboxes.intervals().await? {
            let phases = (0..interval_minutes).filter(|phase| i64::from(phase % ROUND_MINUTES) == share);
            for phase in phases {
                stalled += self.check_slot(Slot { interval_minutes, phase }, &organization, deadline).await?;
            }
        }
        Ok(stalled)
    }

    async fn check_slot(&self, slot: Slot, organization: &Organization, deadline: Deadline) -> Result<usize, Outage> {
        let mut stalled = 0;
        let mut cursor = None;
        for _ in 0..DUE_PAGES_MAX {
            let page = self.ports.mailboxes().due(slot, cursor).await?;
            for wake in page.wakes {
                if deadline.is_within(DEADLINE_MARGIN) {
                    return Ok(stalled);
                }
                stalled += usize::from(self.check_delivery(&wake, organization).await?);
            }
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(stalled)
    }

    async fn check_delivery(&self, wake: &Wake, organization: &Organization) -> Result<bool, Outage> {
        // An outbox without email has nothing to succeed with.
        if wake.delivery != Delivery::IncomingEmail {
            return Ok(false);
        }
        let Some(row) = self.ports.mailboxes().load(&wake.mailbox, wake.delivery).await? else {
            return Ok(false);
        };
        if self.is_in_use(&row) {
            return Ok(false);
        }
        let now = self.now();
        let Some(since) = stalled_since(&row.state, row.interval_minutes, organization.stall_minutes, now) else {
            return Ok(false);
        };
        let Some(end) = told(&row.state, Story::Stall { since }, organization) else {
            return Ok(true);
        };
        let Some(stored) = self.ports.mailboxes().profile(&row.mailbox.profile_id).await? else {
            return Ok(true);
        };
        // A held profile has an alert of its own, which says why its mailboxes wait.
        let health = self.ports.mailboxes().health(&row.mailbox.profile_id).await?;
        if health.is_some_and(|known| known.health.probe_at.is_some()) {
            return Ok(false);
        }
        tracing::warn!(mailbox = %wake.mailbox, delivery = wake.delivery.as_str(), "stalled");
        // The write is refused if a run ended meanwhile, and then the delivery is not stalled.
        self.commit(&row, &row.claim, &stored.profile, None, end, None).await?;
        Ok(true)
    }
}
