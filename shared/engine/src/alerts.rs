//! Alerts that the mailboxes of a profile share: raised once on the profile, shown on each mailbox by reference, and
//! closed when none refers to them any more.
//!
//! The reference is the kind in the mailbox's own delivery row, which is written anyway. So a server that fails a
//! thousand mailboxes writes one alert and no row besides those of the tries.

use std::collections::BTreeSet;

use mailrail_domain::{
    Timestamp,
    words::{
        alert::{Alert, AlertKind, AlertStatus},
        delivery::Delivery,
        id::{MailboxId, ProfileId},
    },
};

use crate::{
    Engine,
    limits::{LOOKUP_PAGE, REFERENCES_AT_ONCE_MAX},
    outage::Outage,
    ports::{AlertFilter, Directory, HealthStore, MailboxDetails, Page, PageRequest, Ports},
};

/// The alerts of a mailbox. Its first page begins with the alerts of its profile that the mailbox refers to, or that
/// concern all mailboxes.
pub async fn alerts_of_mailbox<S: Directory>(
    store: &S,
    mailbox: &MailboxId,
    page: &PageRequest,
) -> Result<Page<Alert>, Outage> {
    let mut alerts = store.alerts(&AlertFilter::Mailbox(mailbox.clone()), page).await?;
    if page.cursor.is_none()
        && let Some(details) = store.mailbox(mailbox).await?
    {
        let filter = AlertFilter::Profile(details.stored.mailbox.profile_id.clone());
        let mut of_profile = store.alerts(&filter, page).await?.items;
        of_profile.retain(|alert| alert.status == AlertStatus::Open && concerns(alert, &details));
        alerts.items.splice(0..0, of_profile);
    }
    Ok(alerts)
}

fn concerns(alert: &Alert, mailbox: &MailboxDetails) -> bool {
    !alert.kind.is_shared() || references(mailbox).any(|reference| reference == (alert.delivery, alert.kind))
}

fn references(mailbox: &MailboxDetails) -> impl Iterator<Item = (Delivery, AlertKind)> {
    let of = |(delivery, kinds): (Delivery, Vec<AlertKind>)| kinds.into_iter().map(move |kind| (delivery, kind));
    mailbox.deliveries.iter().map(|(delivery, state)| (*delivery, state.open_alerts.clone())).flat_map(of)
}

/// How the mailboxes of a profile stand.
#[derive(Default)]
pub(crate) struct Standing {
    /// How many there are.
    pub mailboxes: usize,
    /// Those that have failed since a given moment.
    pub failing: BTreeSet<MailboxId>,
    /// The alerts of the profile that any of them refers to.
    pub referenced: BTreeSet<(Delivery, AlertKind)>,
    /// Whether there are more than were looked at.
    pub cut_short: bool,
}

impl<P: Ports> Engine<P> {
    /// Closes those alerts of a profile to which a mailbox has ceased to refer, unless another does. In a profile with
    /// more mailboxes than are looked at here, [`Engine::check_profiles`] does it.
    pub async fn unshare(&self, profile: &ProfileId, delivery: Delivery, kinds: &[AlertKind]) -> Result<(), Outage> {
        let store = self.ports.mailboxes();
        let mut open = Vec::new();
        for kind in kinds.iter().filter(|kind| kind.is_shared()) {
            open.extend(store.open_alert(profile, delivery, *kind).await?);
        }
        if open.is_empty() {
            return Ok(());
        }
        let standing = self.profile_standing(profile, self.now(), REFERENCES_AT_ONCE_MAX).await?;
        self.close_unreferenced(&open, &standing).await
    }

    /// The same for a mailbox that was changed, enabled or deleted by a person; `before` is how it stood.
    pub async fn unshare_all(&self, before: &MailboxDetails) -> Result<(), Outage> {
        for (delivery, state) in &before.deliveries {
            self.unshare(&before.stored.mailbox.profile_id, *delivery, &state.open_alerts).await?;
        }
        Ok(())
    }

    /// Closes what no mailbox refers to any more.
    pub(crate) async fn close_unreferenced(&self, open: &[Alert], standing: &Standing) -> Result<(), Outage> {
        if standing.cut_short {
            return Ok(());
        }
        for alert in open.iter().filter(|alert| !standing.referenced.contains(&(alert.delivery, alert.kind))) {
            self.ports.mailboxes().close(alert, self.now(), None).await?;
        }
        Ok(())
    }

    /// How up to `most` mailboxes of a profile stand; a failure counts if it was at `since` or later.
    pub(crate) async fn profile_standing(
        &self,
        profile: &ProfileId,
        since: Timestamp,
        most: usize,
    ) -> Result<Standing, Outage> {
        let mut standing = Standing::default();
        let mut page = PageRequest { limit: LOOKUP_PAGE.min(most), cursor: None };
        for _ in 0..most.div_ceil(page.limit) {
            let found = self.ports.mailboxes().details(profile, &page).await?;
            for mailbox in found.items {
                standing.mailboxes += 1;
                standing.referenced.extend(references(&mailbox));
                if mailbox.deliveries.iter().any(|(_, state)| state.has_failed_since(since)) {
                    standing.failing.insert(mailbox.stored.mailbox.id);
                }
            }
            page.cursor = found.cursor;
            if page.cursor.is_none() {
                return Ok(standing);
            }
        }
        standing.cut_short = true;
        Ok(standing)
    }
}
