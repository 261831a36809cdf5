//! The look every ten minutes at profiles with open alerts. It tells an owner when more than half of a profile's mailboxes
//! failed within an hour (source system: SendEmailAlert), and closes shared alerts and holds that are over.
//!
//! It begins with the open alerts, because they are few while all is well.

use std::collections::BTreeMap;

use mailrail_domain::{
    rules::{
        majority::{MAJORITY_MAILBOXES_MIN, MAJORITY_WINDOW_SECONDS, is_majority},
        story::{Story, Tidings},
    },
    seconds_after,
    texts::{
        alert::{About, alert},
        notice::notice,
    },
    words::{
        alert::{Alert, AlertKind, AlertStatus},
        delivery::Delivery,
        id::ProfileId,
    },
};

use crate::{
    Deadline, Engine,
    limits::{DEADLINE_MARGIN, LOOKUP_PAGE, OPEN_ALERTS_MAX, STANDING_MAILBOXES_MAX},
    outage::Outage,
    ports::{AlertFilter, Directory, HealthStore, PageRequest, Ports},
};

/// Minutes between two looks.
const EVERY_MINUTES: i64 = 10;

/// What the open alerts say of a profile.
#[derive(Default)]
struct Open {
    /// Failures of single mailboxes.
    own: usize,
    /// Alerts that its mailboxes share.
    shared: Vec<Alert>,
    /// The alert of a majority that was told of.
    told: Option<Alert>,
    /// The alert of a hold.
    held: Option<Alert>,
}

impl<P: Ports> Engine<P> {
    /// Tells an owner, once for as long as it lasts, that more than half of a profile's mailboxes have failed within the
    /// last hour. Closes shared alerts that no mailbox refers to. Returns the number of profiles whose mailboxes mostly
    /// fail.
    pub async fn check_profiles(&self, deadline: Deadline) -> Result<usize, Outage> {
        let now = self.now();
        if now.timestamp().div_euclid(60).rem_euclid(EVERY_MINUTES) != 0 {
            return Ok(0);
        }
        let recent = seconds_after(now, -MAJORITY_WINDOW_SECONDS);
        let store = self.ports.mailboxes();
        let mut majorities = 0;
        for (profile, Open { own, shared, told, held }) in self.open_alerts().await? {
            if deadline.is_within(DEADLINE_MARGIN) {
                break;
            }
            if own < MAJORITY_MAILBOXES_MIN && shared.is_empty() && told.is_none() && held.is_none() {
                continue;
            }
            let Some(stored) = store.profile(&profile).await? else {
                // The profile was deleted, and what was told of it is over.
                for alert in shared.iter().chain(&told).chain(&held) {
                    store.close(alert, now, None).await?;
                }
                continue;
            };
            if let Some(alert) = &held {
                self.end_hold(&stored.profile, alert).await?;
            }
            let standing = self.profile_standing(&profile, recent, STANDING_MAILBOXES_MAX).await?;
            self.close_unreferenced(&shared, &standing).await?;
            let failing = standing.failing.len();
            // If the profile has more mailboxes than were looked at, these are a sample.
            let fails_mostly = is_majority(failing, standing.mailboxes);
            match told {
                Some(alert) if !fails_mostly => store.close(&alert, now, None).await?,
                Some(_) | None if !fails_mostly => {}
                told => {
                    // The alert concerns the profile, whichever delivery fails, and every alert stands under one delivery.
                    let (delivery, policy) = (Delivery::IncomingEmail, self.settings.retry);
                    let about = About { profile: &stored.profile, mailbox: None, delivery, policy, now };
                    let alert = alert(&Story::Majority { failing }, &about);
                    let notice = notice(&Tidings::Majority { failing }, &about);
                    store.raise(&alert, told.is_none().then_some(&notice)).await?;
                    majorities += 1;
                }
            }
        }
        Ok(majorities)
    }

    async fn open_alerts(&self) -> Result<BTreeMap<ProfileId, Open>, Outage> {
        let mut profiles = BTreeMap::<ProfileId, Open>::new();
        let mut page = PageRequest { limit: LOOKUP_PAGE, cursor: None };
        for _ in 0..OPEN_ALERTS_MAX.div_ceil(LOOKUP_PAGE) {
            let found = self.ports.mailboxes().alerts(&AlertFilter::Status(AlertStatus::Open), &page).await?;
            for alert in found.items {
                let open = profiles.entry(alert.profile_id.clone()).or_default();
                match &alert.mailbox_id {
                    Some(_) => open.own += usize::from(alert.cause.is_some()),
                    None if alert.kind == AlertKind::MajorityFailing => open.told = Some(alert),
                    None if alert.kind == AlertKind::ProfileHeld => open.held = Some(alert),
                    None if alert.kind.is_shared() => open.shared.push(alert),
                    None => {}
                }
            }
            page.cursor = found.cursor;
            if page.cursor.is_none() {
                break;
            }
        }
        Ok(profiles)
    }
}
