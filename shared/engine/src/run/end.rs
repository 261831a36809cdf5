//! The end of a run: what the rules make of it, written in one transaction, then told to the queue.
//!
//! Commit comes before enqueue: a crash between the two is repaired by the schedule, which finds the row as it was
//! committed.

use mailrail_domain::{
    email::position::Position,
    rules::{
        run::end::{AlertChange, End, Mode, Ran as Concluded, Terms, Whom, end},
        story::Story,
    },
    settings::{organization::Organization, profile::EmailServerProfile},
    texts::{
        alert::{About, alert_on},
        notice::notice_of,
    },
    words::{alert::Alert, audit::AuditEntry, event::Event, state::DeliveryState, trial::MailboxTest},
};

use super::{Run, profiles::ProfileInUse};
use crate::{
    Engine,
    limits::{DELIVERY_WRITES_MAX, QUEUE_DELAY_SECONDS_MAX},
    outage::Outage,
    ports::{AlertWrite, Claim, Closing, DeliveryRow, HealthStore, JobQueue, MailboxStore, Ports, Wake},
};

impl<P: Ports> Engine<P> {
    /// Ends a run. What happened, or `None` if somebody else wrote since, so that nothing was written. The result of a
    /// test is written again over what was written meanwhile, because a person waits for it.
    pub(super) async fn conclude(
        &self,
        (row, claim): (&DeliveryRow, &Claim),
        profile: &ProfileInUse,
        organization: &Organization,
        position: Option<Position>,
        ran: &Concluded<'_>,
        test: Option<&MailboxTest>,
    ) -> Result<Option<Vec<Event>>, Outage> {
        let credentials = profile.profile().credentials;
        let terms = Terms { policy: self.settings.retry, organization, hold: profile.hold, credentials };
        // Somebody else took the lease before this run was loaded, and this run has none. The end of the other run counts.
        if ran.mode != Mode::Trial && claim.version == row.claim.version && self.is_in_use(row) {
            return Ok(None);
        }
        let closing = |before: &DeliveryState| end(before, ran, &terms, self.now());
        let enabling = |ended: &End, before: &DeliveryState| {
            let is_enabled = ended.state.enabled && !before.enabled;
            test.filter(|_| is_enabled).map(|test| self.enabled_by_test(test, claim.delivery))
        };
        let ended = closing(&row.state);
        let (events, audit) = (ended.events.clone(), enabling(&ended, &row.state));
        if self.commit(row, claim, profile.profile(), position, ended, audit).await? {
            return Ok(Some(events));
        }
        if ran.mode != Mode::Trial {
            return Ok(None);
        }
        for _ in 0..DELIVERY_WRITES_MAX {
            let Some(there) = self.ports.mailboxes().load(&claim.mailbox, claim.delivery).await? else {
                return Ok(None);
            };
            let ended = closing(&there.state);
            let (events, audit) = (ended.events.clone(), enabling(&ended, &there.state));
            if self.commit(&there, &there.claim, profile.profile(), None, ended, audit).await? {
                return Ok(Some(events));
            }
        }
        Err(Outage::new("the delivery was changed again and again while its test was written"))
    }

    /// Whether somebody held the lease of a delivery when it was loaded. Whoever has no lease leaves such a row alone, because
    /// every write ends the lease.
    pub(crate) fn is_in_use(&self, row: &DeliveryRow) -> bool {
        row.leased_until.is_some_and(|until| until > self.now())
    }

    /// Writes an end, tells its alerts and its notice, and wakes the delivery where it is to be woken. `false` if somebody
    /// else wrote since.
    pub(crate) async fn commit(
        &self,
        row: &DeliveryRow,
        claim: &Claim,
        profile: &EmailServerProfile,
        position: Option<Position>,
        ended: End,
        audit: Option<AuditEntry>,
    ) -> Result<bool, Outage> {
        let (now, delivery) = (self.now(), claim.delivery);
        let policy = self.settings.retry;
        let about = About { profile, mailbox: Some(&row.mailbox), delivery, policy, now };
        let closed = ended.closed();
        let mut alerts = Vec::new();
        for change in ended.alerts {
            match change {
                AlertChange::Raise(story, Whom::Mailbox) => {
                    alerts.push(AlertWrite::Raise(Box::new(alert_on(Whom::Mailbox, &story, &about))));
                }
                AlertChange::Raise(story, Whom::Profile) => self.raise_on_profile(&story, &about).await?,
                AlertChange::Close(kind) => alerts.push(AlertWrite::Close(kind, now)),
            }
        }
        let closing = Closing {
            state: ended.state,
            position,
            alerts,
            notice: ended.notice.map(|to_write| notice_of(&to_write, &about)),
            audit,
            interval_minutes: self.interval(delivery, profile),
            previous_interval_minutes: row.interval_minutes,
        };
        if !self.ports.mailboxes().commit(claim, &closing).await? {
            return Ok(false);
        }
        self.unshare(&profile.id, delivery, &closed).await?;
        // A longer wait than the queue allows lives in the row alone.
        if let Some(seconds) = ended.wake_in_seconds.filter(|seconds| *seconds <= QUEUE_DELAY_SECONDS_MAX) {
            let wake = Wake { mailbox: claim.mailbox.clone(), delivery };
            self.ports.queue().send(&[wake.into()], seconds).await?;
        }
        Ok(true)
    }

    /// Opens, or repeats, the alert of a profile whose mailboxes meet the same failure. It is raised before the run is
    /// committed: a crash in between leaves an alert to which no mailbox refers, and the look every ten minutes closes it;
    /// the other order would leave references to no alert.
    async fn raise_on_profile(&self, story: &Story, about: &About<'_>) -> Result<(), Outage> {
        let store = self.ports.mailboxes();
        let mut told: Alert = alert_on(Whom::Profile, story, about);
        match store.open_alert(&told.profile_id, told.delivery, told.kind).await? {
            Some(open) if !open.takes(&told, about.policy) => return Ok(()),
            Some(open) => told.level = told.level.max(open.level),
            None => {}
        }
        store.raise(&told, None).await
    }

    /// Gives back the lease of a run that has nothing to write.
    pub(super) async fn give_back(&self, run: &Run<'_, P>) -> Result<(), Outage> {
        let closing = Closing {
            state: run.row.state.clone(),
            position: None,
            alerts: Vec::new(),
            notice: None,
            audit: None,
            interval_minutes: self.interval(run.claim.delivery, run.profile.profile()),
            previous_interval_minutes: run.row.interval_minutes,
        };
        self.ports.mailboxes().commit(&run.claim, &closing).await?;
        Ok(())
    }
}
