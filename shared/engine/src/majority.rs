//! A notice of its own when more than half of a profile's mailboxes fail within an hour (source system: SendEmailAlert).
//!
//! Asked from the open alerts, of which there are few while all is well, every ten minutes.

use std::collections::{BTreeMap, BTreeSet};

use mailrail_domain::{
    alert::{Alert, AlertKind, AlertStatus},
    id::{MailboxId, ProfileId},
    notice::Notice,
    outage::{MAJORITY_MAILBOXES_MIN, MAJORITY_WINDOW_SECONDS},
    seconds_after,
};

use crate::{
    Deadline, Engine,
    limits::{DEADLINE_MARGIN, LOOKUP_PAGE, MAJORITY_ALERTS_MAX},
    outage::Outage,
    ports::{AlertFilter, Directory, HealthStore, PageRequest, Ports},
};

/// Minutes between two looks.
const EVERY_MINUTES: i64 = 10;

/// What the open alerts say of the profiles.
#[derive(Default)]
struct Open {
    /// Mailboxes that have failed within the last hour.
    failing: BTreeMap<ProfileId, BTreeSet<MailboxId>>,
    /// Alerts of majorities that were told of.
    told: BTreeMap<ProfileId, Alert>,
}

impl<P: Ports> Engine<P> {
    /// Tells the owners of profiles more than half of whose mailboxes have failed within the last hour, once for as long
    /// as it lasts. Returns how many profiles that are.
    pub async fn check_majorities(&self, deadline: Deadline) -> Result<usize, Outage> {
        let now = self.now();
        if now.timestamp().div_euclid(60).rem_euclid(EVERY_MINUTES) != 0 {
            return Ok(0);
        }
        let Open { failing, told } = self.open_alerts().await?;
        let mut majorities = BTreeSet::new();
        for (profile, mailboxes) in
            failing.into_iter().filter(|(_, mailboxes)| mailboxes.len() >= MAJORITY_MAILBOXES_MIN)
        {
            if deadline.is_within(DEADLINE_MARGIN) {
                return Ok(majorities.len());
            }
            if !self.has_fewer_than(&profile, 2 * mailboxes.len()).await? {
                continue;
            }
            let Some(stored) = self.ports.mailboxes().profile(&profile).await? else {
                continue;
            };
            let alert = Alert::of_majority(&stored.profile, mailboxes.len(), now);
            let notice = Notice::of_majority(&stored.profile, &alert, now);
            let is_new = !told.contains_key(&profile);
            self.ports.mailboxes().raise(&alert, is_new.then_some(&notice)).await?;
            majorities.insert(profile);
        }
        for (profile, alert) in told {
            if !majorities.contains(&profile) {
                self.ports.mailboxes().close(&alert, now, None).await?;
            }
        }
        Ok(majorities.len())
    }

    async fn open_alerts(&self) -> Result<Open, Outage> {
        let recent = seconds_after(self.now(), -MAJORITY_WINDOW_SECONDS);
        let mut open = Open::default();
        let mut page = PageRequest { limit: LOOKUP_PAGE, cursor: None };
        for _ in 0..MAJORITY_ALERTS_MAX.div_ceil(LOOKUP_PAGE) {
            let found = self.ports.mailboxes().alerts(&AlertFilter::Status(AlertStatus::Open), &page).await?;
            for alert in found.items {
                match &alert.mailbox_id {
                    Some(mailbox) if alert.cause.is_some() && alert.last_seen >= recent => {
                        open.failing.entry(alert.profile_id.clone()).or_default().insert(mailbox.clone());
                    }
                    None if alert.kind == AlertKind::MajorityFailing => {
                        open.told.insert(alert.profile_id.clone(), alert);
                    }
                    Some(_) | None => {}
                }
            }
            page.cursor = found.cursor;
            if page.cursor.is_none() {
                break;
            }
        }
        Ok(open)
    }

    /// Whether a profile has fewer mailboxes than that; no more of them are read than it takes to know.
    async fn has_fewer_than(&self, profile: &ProfileId, count: usize) -> Result<bool, Outage> {
        let mut page = PageRequest { limit: LOOKUP_PAGE, cursor: None };
        let mut seen = 0;
        while seen < count {
            let found = self.ports.mailboxes().mailboxes(Some(profile), &page).await?;
            seen += found.items.len();
            page.cursor = found.cursor;
            if page.cursor.is_none() {
                break;
            }
        }
        Ok(seen < count)
    }
}
