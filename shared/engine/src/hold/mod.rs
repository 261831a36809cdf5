//! Holds: a profile whose servers fail is held, one of its mailboxes probes them, and the first success lets all go on.

pub(crate) mod majority;

use mailrail_domain::{
    rules::{
        classification::classify,
        hold::{ProfileHealth, after_failure, can_hold, next_probe},
        story::{Story, Tidings},
    },
    settings::profile::EmailServerProfile,
    texts::{
        alert::{About, alert},
        notice::notice,
    },
    words::{alert::Alert, cause::DeliveryError, delivery::Delivery},
};

use crate::{
    Engine,
    limits::HEALTH_WRITES_MAX,
    outage::Outage,
    ports::{DeliveryRow, Directory, HealthStore, Ports, StoredHealth},
    run::profiles::ProfileInUse,
};

impl<P: Ports> Engine<P> {
    /// Takes the due probe of a held profile. Only one of all runs that ask for it gets it.
    pub(crate) async fn claim_probe(&self, profile: &ProfileInUse) -> Result<bool, Outage> {
        let Some(StoredHealth { health, version }) = &profile.health else {
            return Ok(false);
        };
        let probing = ProfileHealth { probe_at: Some(next_probe(self.now())), ..health.clone() };
        self.ports.mailboxes().put_health(&profile.profile().id, &probing, *version, None).await
    }

    /// What a run of a mailbox says of its profile's servers.
    pub(crate) async fn note_health(
        &self,
        row: &DeliveryRow,
        profile: &ProfileInUse,
        result: &Result<(), DeliveryError>,
    ) -> Result<(), Outage> {
        let mailboxes = profile.hold.hold_after_mailboxes;
        if mailboxes == 0 {
            return Ok(());
        }
        match result {
            Ok(()) if profile.health.is_some() => self.release(profile.profile()).await,
            Ok(()) => Ok(()),
            Err(error) if can_hold(&classify(error.cause, profile.profile().credentials)) => {
                self.note_failure(row, profile, error, mailboxes).await
            }
            Err(_) => Ok(()),
        }
    }

    async fn note_failure(
        &self,
        row: &DeliveryRow,
        profile: &ProfileInUse,
        error: &DeliveryError,
        mailboxes: u16,
    ) -> Result<(), Outage> {
        let (store, id) = (self.ports.mailboxes(), &profile.profile().id);
        for _ in 0..HEALTH_WRITES_MAX {
            let now = self.now();
            let known = store.health(id).await?;
            let before = known.as_ref().map(|known| &known.health);
            let (mailbox, delivery) = (row.claim.mailbox.as_str(), row.claim.delivery);
            let after = after_failure(before, mailbox, delivery, error, mailboxes, now);
            if before == Some(&after) {
                return Ok(());
            }
            let version = known.as_ref().map_or(0, |known| known.version);
            let was_held = before.is_some_and(|before| before.probe_at.is_some());
            let written = if after.probe_at.is_some() && !was_held {
                let about = self.about_profile(profile.profile(), after.delivery);
                let alert = alert(&Story::Held(Box::new(after.clone())), &about);
                let notice = notice(&Tidings::Held(Box::new(after.clone())), &about);
                tracing::warn!(profile = %id, cause = ?error.cause, "the profile is held");
                store.put_health(id, &after, version, Some((&alert, &notice))).await?
            } else {
                store.put_health(id, &after, version, None).await?
            };
            if written {
                return Ok(());
            }
        }
        // Others note the same outage; one failure less is no harm.
        Ok(())
    }

    /// Forgets the failures of a profile's servers. If the profile was held, its alert ends and its owner is told.
    async fn release(&self, profile: &EmailServerProfile) -> Result<(), Outage> {
        let (store, id) = (self.ports.mailboxes(), &profile.id);
        for _ in 0..HEALTH_WRITES_MAX {
            let Some(StoredHealth { health, version }) = store.health(id).await? else {
                return Ok(());
            };
            let cleared = if health.probe_at.is_some() {
                let about = self.about_profile(profile, health.delivery);
                let notice = notice(&Tidings::Released { since: health.since }, &about);
                let alert = alert(&Story::Held(Box::new(health)), &about);
                tracing::info!(profile = %id, "the profile is held no more");
                store.clear_health(id, version, Some((&alert, about.now, &notice))).await?
            } else {
                store.clear_health(id, version, None).await?
            };
            if cleared {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Ends a hold that was switched off while the profile was held: no run of its mailboxes looks at it any more.
    async fn end_hold(&self, profile: &EmailServerProfile, alert: &Alert) -> Result<(), Outage> {
        let organization = self.ports.mailboxes().organization().await?.organization;
        if profile.hold_settings(&organization).hold_after_mailboxes > 0 {
            return Ok(());
        }
        self.release(profile).await?;
        // Without a row of health there was nothing to release, and the alert stands for nothing.
        self.ports.mailboxes().close(alert, self.now(), None).await
    }

    fn about_profile<'a>(&self, profile: &'a EmailServerProfile, delivery: Delivery) -> About<'a> {
        About { profile, mailbox: None, delivery, policy: self.settings.retry, now: self.now() }
    }
}
