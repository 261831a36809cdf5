//! Calm in an outage: a held profile's mailboxes wait while one of them probes, and a disabled delivery is tried again.

use mailrail_domain::{
    rules::{
        classification::classify,
        hold::{ProfileHealth, Turn, after_failure, can_hold, next_probe, turn},
        recovery::next_recovery_minutes,
        retry::settle_test,
    },
    settings::hold::RecoveryProbe,
    words::{alert::Alert, cause::DeliveryError, delivery::Delivery, notice::Notice},
};

use crate::{
    Engine,
    batch::ProfileInUse,
    limits::HEALTH_WRITES_MAX,
    outage::Outage,
    ports::{
        Access, DeliveryRow, HealthStore, IncomingServers, IncomingSession, MailboxQueue, MailboxStore,
        OutgoingServers, OutgoingSession, Ports, Progress, Settlement, StoredHealth, Wake,
    },
    settle::alert_writes,
};

impl<P: Ports> Engine<P> {
    /// What a wake of a profile's mailbox may do. Of all wakes whose turn it is to probe, one does.
    pub(crate) async fn turn(&self, profile: &ProfileInUse) -> Result<Turn, Outage> {
        let now = self.now();
        let Some(StoredHealth { health, version }) = &profile.health else {
            return Ok(Turn::Run);
        };
        let turn = turn(Some(health), now);
        if turn != Turn::Probe {
            return Ok(turn);
        }
        let probing = ProfileHealth { probe_at: Some(next_probe(now)), ..health.clone() };
        let is_ours = self.ports.mailboxes().put_health(&profile.profile().id, &probing, *version).await?;
        Ok(if is_ours { Turn::Probe } else { Turn::Held })
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
            Ok(()) if profile.health.is_some() => self.release(profile).await,
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
            if !store.put_health(id, &after, known.as_ref().map_or(0, |known| known.version)).await? {
                continue;
            }
            let was_held = before.is_some_and(|before| before.probe_at.is_some());
            if after.probe_at.is_some() && !was_held {
                let alert = Alert::of_hold(profile.profile(), &after, now);
                let notice = Notice::of_hold(profile.profile(), &alert, now);
                tracing::warn!(profile = %id, cause = ?error.cause, "the profile is held");
                store.raise(&alert, Some(&notice)).await?;
            }
            return Ok(());
        }
        // Others note the same outage; one failure less is no harm.
        Ok(())
    }

    async fn release(&self, profile: &ProfileInUse) -> Result<(), Outage> {
        let (store, id) = (self.ports.mailboxes(), &profile.profile().id);
        for _ in 0..HEALTH_WRITES_MAX {
            let Some(StoredHealth { health, version }) = store.health(id).await? else {
                return Ok(());
            };
            if !store.clear_health(id, version).await? {
                continue;
            }
            if health.probe_at.is_some() {
                let now = self.now();
                let alert = Alert::of_hold(profile.profile(), &health, now);
                let notice = Notice::of_release(profile.profile(), &alert, now);
                tracing::info!(profile = %id, "the profile is held no more");
                store.close(&alert, now, Some(&notice)).await?;
            }
            return Ok(());
        }
        Ok(())
    }

    /// Tries a delivery that a passing fault has disabled: whether its server lets it in, and nothing more.
    pub(crate) async fn probe(&self, row: &DeliveryRow, profile: &ProfileInUse) -> Result<(), Outage> {
        let works = self.lets_in(row, profile).await?;
        let (now, delivery) = (self.now(), row.claim.delivery);
        let since = row.state.failing_since.unwrap_or(now);
        let resumes = profile.hold.recovery_probe == RecoveryProbe::Resume;
        let mut state = row.state.clone();
        state.last_run = Some(now);
        let (mut alerts, mut closed) = (Vec::new(), Vec::new());
        if !works {
            state.recovery_minutes = Some(next_recovery_minutes(state.recovery_minutes));
        } else if resumes {
            let outcome = settle_test(&state, Ok(()), now);
            closed = outcome.closed();
            alerts = alert_writes(&outcome, None, now);
            state = outcome.state;
        } else {
            state.recovery_minutes = None;
        }
        let notice = works.then(|| Notice::of_recovery(&row.mailbox, profile.profile(), delivery, since, resumes, now));
        let settlement = Settlement {
            state,
            position: None,
            alerts,
            notice,
            interval_minutes: self.interval(delivery, profile.profile()),
            previous_interval_minutes: row.interval_minutes,
        };
        if self.ports.mailboxes().commit(&row.claim, &settlement).await? && works && resumes {
            self.unshare(&profile.profile().id, delivery, &closed).await?;
            let wake = Wake { mailbox: row.claim.mailbox.clone(), delivery };
            self.ports.queue().send(delivery, &[wake], crate::limits::GO_ON_SECONDS).await?;
        }
        Ok(())
    }

    /// Whether the server lets a delivery in. Its stages are noted as those of a test are, because a token that is kept
    /// would let it in without asking anybody.
    async fn lets_in(&self, row: &DeliveryRow, profile: &ProfileInUse) -> Result<bool, Outage> {
        let Some(endpoint) = profile.profile().endpoint(row.claim.delivery) else { return Ok(false) };
        let access = self.access(&row.mailbox, row.credentials.as_ref(), &profile.stored, &endpoint).await?;
        let Ok(access) = access.map(|access| Access { progress: Progress::noted(), ..access }) else {
            return Ok(false);
        };
        match row.claim.delivery {
            Delivery::IncomingEmail => {
                let Ok(mut session) = self.ports.incoming().open(&access, &self.memory).await else {
                    return Ok(false);
                };
                let works = session.look(None).await.is_ok();
                Ok(works && session.close().await.is_ok())
            }
            Delivery::OutgoingEmail => {
                let Ok(session) = self.ports.outgoing().open(&access).await else { return Ok(false) };
                session.close().await;
                Ok(true)
            }
            Delivery::AppointmentsContactsTasks => Ok(false),
        }
    }
}
