//! The end of a run: what `domain` makes of its result, written in one transaction, then told to the queue.

use mailrail_domain::{
    Timestamp,
    alert::{Alert, AlertChange},
    cause::DeliveryError,
    delivery::Delivery,
    notice::Notice,
    position::Position,
    profile::EmailServerProfile,
    retry::{self, Attempt, Outcome},
    schedule,
};

use crate::{
    Engine,
    limits::{GO_ON_SECONDS, QUEUE_DELAY_SECONDS_MAX},
    outage::Outage,
    ports::{AlertWrite, Claim, DeliveryRow, MailboxQueue, MailboxStore, Ports, Settlement, Wake},
};

/// What a run came to.
pub(crate) struct Ended {
    /// How far the mailbox has been read, where it was read.
    pub position: Option<Position>,
    /// Whether there is more to do at once.
    pub more: bool,
    /// The failure, if it failed.
    pub result: Result<(), DeliveryError>,
}

impl<P: Ports> Engine<P> {
    /// Commits the end of a run, then enqueues what follows from it. The order matters: a crash between the two is
    /// repaired by the schedule, which finds the row as it was committed.
    pub(crate) async fn settle(
        &self,
        row: &DeliveryRow,
        profile: &EmailServerProfile,
        claim: &Claim,
        ended: Ended,
        started: Timestamp,
    ) -> Result<(), Outage> {
        let now = self.now();
        let delivery = claim.delivery;
        let policy = self.settings.retry;
        let attempt = match &ended.result {
            Ok(()) => Attempt::Succeeded,
            Err(error) => Attempt::Failed(error, profile.credentials),
        };
        let mut outcome = retry::settle(policy, &row.state, attempt, started, now);
        if ended.more && ended.result.is_ok() {
            // The round is not over: the gate must not take the wake that follows at once for one of the same round.
            outcome.state.last_run = row.state.last_run;
        }
        let alert = match &ended.result {
            Ok(()) => None,
            Err(error) => Alert::of_failure(&row.mailbox, profile, delivery, error, &outcome, policy, now),
        };
        let notice = alert
            .as_ref()
            .filter(|_| outcome.disabled)
            .map(|alert| Notice::of_disabling(&row.mailbox, profile, delivery, &outcome, alert, now));
        let settlement = Settlement {
            alerts: alert_writes(&outcome, alert, now),
            state: outcome.state.clone(),
            position: ended.position,
            notice,
            interval_minutes: self.interval(delivery, profile),
            previous_interval_minutes: row.interval_minutes,
        };
        if !self.ports.mailboxes().commit(claim, &settlement).await? {
            // Somebody else ran the same delivery meanwhile. What we stored is there, and theirs is the count.
            tracing::info!(mailbox = %claim.mailbox, delivery = delivery.as_str(), "superseded by another run");
            return Ok(());
        }
        report(claim, &outcome, &ended.result);
        let wake = Wake { mailbox: claim.mailbox.clone(), delivery };
        let delay = match outcome.retry_in_seconds {
            Some(seconds) if seconds <= QUEUE_DELAY_SECONDS_MAX => Some(seconds),
            Some(_) => None,
            None => ended.more.then_some(GO_ON_SECONDS).filter(|_| outcome.state.enabled),
        };
        match delay {
            Some(seconds) => self.ports.queue().send(delivery, &[wake], seconds).await,
            None => Ok(()),
        }
    }

    /// Minutes between two runs of a delivery. Sending is not polling, so a profile's polling interval does not slow it.
    pub(crate) fn interval(&self, delivery: Delivery, profile: &EmailServerProfile) -> u16 {
        interval(self.settings.polling_interval_minutes, delivery, profile)
    }
}

/// Minutes between two runs of a delivery, as the schedule counts them.
#[must_use]
pub fn interval(deployment_minutes: u16, delivery: Delivery, profile: &EmailServerProfile) -> u16 {
    match delivery {
        Delivery::IncomingEmail | Delivery::AppointmentsContactsTasks => {
            schedule::interval(deployment_minutes, profile.minimum_polling_interval_minutes)
        }
        Delivery::OutgoingEmail => schedule::interval(deployment_minutes, 0),
    }
}

pub(crate) fn alert_writes(outcome: &Outcome, alert: Option<Alert>, now: Timestamp) -> Vec<AlertWrite> {
    let close = |change: &AlertChange| match change {
        AlertChange::Close(kind) => Some(AlertWrite::Close(*kind, now)),
        AlertChange::Raise(_) => None,
    };
    let raised = alert.map(|alert| AlertWrite::Raise(Box::new(alert)));
    raised.into_iter().chain(outcome.alerts.iter().filter_map(close)).collect()
}

fn report(claim: &Claim, outcome: &Outcome, result: &Result<(), DeliveryError>) {
    let (mailbox, delivery) = (&claim.mailbox, claim.delivery.as_str());
    match result {
        Ok(()) => tracing::debug!(%mailbox, delivery, "delivered"),
        Err(error) => tracing::warn!(
            %mailbox,
            delivery,
            cause = ?error.cause,
            stage = ?error.evidence.stage,
            failures = outcome.state.transient_failure_count,
            disabled = outcome.disabled,
            "delivery failed"
        ),
    }
}
