//! The end of a run: what `domain` makes of its result, written in one transaction, then told to the queue.

use mailrail_domain::{
    Timestamp,
    email::position::Position,
    rules::{
        classification::{Permanence, classify},
        hold::{Turn, can_hold},
        recovery::next_recovery_minutes,
        retry::{self, Attempt, Outcome},
        schedule,
    },
    settings::{hold::RecoveryProbe, organization::Organization, profile::EmailServerProfile},
    words::{alert::Alert, cause::DeliveryError, delivery::Delivery, notice::Notice, policy::RetryPolicy},
};

use crate::{
    Engine,
    batch::ProfileInUse,
    limits::{GO_ON_SECONDS, QUEUE_DELAY_SECONDS_MAX},
    outage::Outage,
    ports::{AlertWrite, Claim, DeliveryRow, MailboxQueue, MailboxStore, Ports, Settlement, Wake},
};

/// Failures that are left when an owner is warned: at the eighth of ten.
const LEFT_AT_WARNING: u32 = 2;

/// What a run came to.
pub(crate) struct Ended {
    /// How far the mailbox has been read, where it was read.
    pub position: Option<Position>,
    /// Whether there is more to do at once.
    pub more: bool,
    /// When the next run may be, where a budget of the provider's is used up.
    pub resume_at: Option<Timestamp>,
    /// Messages that were found and are left to the next run.
    pub backlog: u32,
    /// When the last message that is done was received, where there are such.
    pub done_until: Option<Timestamp>,
    /// The failure, if it failed.
    pub result: Result<(), DeliveryError>,
}

impl Ended {
    /// A run that read and sent nothing.
    pub(crate) const fn nothing(backlog: u32, result: Result<(), DeliveryError>) -> Self {
        Self { position: None, more: false, resume_at: None, backlog, done_until: None, result }
    }
}

impl<P: Ports> Engine<P> {
    /// Ends a run whose profile may be held: a probe that its servers fail spends no try of the mailbox, and what was
    /// seen of the servers is noted for the others.
    #[allow(clippy::too_many_arguments)] // what a run has at its end
    pub(crate) async fn settle_turn(
        &self,
        row: &DeliveryRow,
        profile: &ProfileInUse,
        organization: &Organization,
        claim: &Claim,
        ended: Ended,
        started: Timestamp,
        turn: Turn,
    ) -> Result<(), Outage> {
        let result = ended.result.clone();
        let can_hold = |error: &DeliveryError| can_hold(&classify(error.cause, profile.profile().credentials));
        if turn == Turn::Probe && result.as_ref().err().is_some_and(can_hold) {
            // Written back as it was, which gives the lease back.
            let settlement = Settlement {
                state: row.state.clone(),
                position: ended.position,
                alerts: Vec::new(),
                notice: None,
                interval_minutes: self.interval(claim.delivery, profile.profile()),
                previous_interval_minutes: row.interval_minutes,
            };
            self.ports.mailboxes().commit(claim, &settlement).await?;
        } else {
            self.settle(row, profile, organization, claim, ended, started).await?;
        }
        self.note_health(row, profile, &result).await
    }

    /// Commits the end of a run, then enqueues what follows from it. The order matters: a crash between the two is
    /// repaired by the schedule, which finds the row as it was committed.
    pub(crate) async fn settle(
        &self,
        row: &DeliveryRow,
        in_use: &ProfileInUse,
        organization: &Organization,
        claim: &Claim,
        ended: Ended,
        started: Timestamp,
    ) -> Result<(), Outage> {
        let profile = in_use.profile();
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
        let resume_at = ended.resume_at.filter(|at| *at > now && ended.result.is_ok());
        if resume_at.is_some() {
            outcome.state.postponed_until = resume_at;
        }
        let alert = match &ended.result {
            Ok(()) => None,
            Err(error) => Alert::of_failure(&row.mailbox, profile, delivery, error, &outcome, policy, now),
        };
        if outcome.disabled
            && in_use.hold.recovery_probe != RecoveryProbe::Off
            && outcome.classification.is_some_and(|classification| classification.permanence == Permanence::Transient)
        {
            // Never where a permanent error disabled it: a password known to be wrong is not tried again.
            outcome.state.recovery_minutes = Some(next_recovery_minutes(None));
        }
        let notice = notice(row, profile, organization, &outcome, alert.as_ref(), policy, now);
        outcome.state.backlog = ended.backlog;
        // Without anything done it is where it was.
        outcome.state.done_until = ended.done_until.or(row.state.done_until).filter(|_| ended.backlog > 0);
        let recorded = alert.filter(|alert| organization.records(alert.level));
        if recorded.is_none() {
            // What is not recorded has nothing to be closed.
            outcome.state.open_alerts.clone_from(&row.state.open_alerts);
            if ended.result.is_ok() {
                outcome.state.open_alerts.clear();
            }
        }
        let own = self.share(recorded, in_use, ended.result.as_ref().err(), &outcome, policy).await?;
        let settlement = Settlement {
            alerts: alert_writes(&outcome, own, now),
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
        self.unshare(&profile.id, delivery, &outcome.closed()).await?;
        let wake = Wake { mailbox: claim.mailbox.clone(), delivery };
        let delay = match outcome.retry_in_seconds {
            Some(seconds) if seconds <= QUEUE_DELAY_SECONDS_MAX => Some(seconds),
            Some(_) => None,
            None => {
                let wait = resume_at.map_or(GO_ON_SECONDS, |at| seconds_between(now, at));
                ended.more.then_some(wait.min(QUEUE_DELAY_SECONDS_MAX)).filter(|_| outcome.state.enabled)
            }
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

/// Whole seconds from one moment to a later one, rounded up.
fn seconds_between(from: Timestamp, to: Timestamp) -> u32 {
    u32::try_from(((to - from).num_milliseconds().max(0) + 999) / 1_000).unwrap_or(u32::MAX)
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
    let raised = alert.map(|alert| AlertWrite::Raise(Box::new(alert)));
    raised.into_iter().chain(outcome.closed().into_iter().map(|kind| AlertWrite::Close(kind, now))).collect()
}

/// What the owner is told at the end of a run: of a disabling, of the eighth failure, or that what he was warned of is
/// over.
fn notice(
    row: &DeliveryRow,
    profile: &EmailServerProfile,
    organization: &Organization,
    outcome: &Outcome,
    alert: Option<&Alert>,
    policy: RetryPolicy,
    now: Timestamp,
) -> Option<Notice> {
    let delivery = row.claim.delivery;
    let warned_at = policy.failures_max.saturating_sub(LEFT_AT_WARNING);
    let (before, after) = (&row.state, &outcome.state);
    let notice = match alert {
        Some(alert) if outcome.disabled => Notice::of_disabling(&row.mailbox, profile, delivery, outcome, alert, now),
        Some(alert)
            if organization.warn_before_disabling
                && after.transient_failure_count == warned_at
                && before.transient_failure_count < warned_at =>
        {
            Notice::of_warning(&row.mailbox, profile, delivery, outcome, alert, now)
        }
        None if organization.warn_before_disabling && before.transient_failure_count >= warned_at => {
            let since = before.failing_since.unwrap_or(now);
            Notice::of_recovery(&row.mailbox, profile, delivery, since, true, now)
        }
        Some(_) | None => return None,
    };
    let notice = notice.gathered(outcome, policy.gap_seconds);
    Some(if organization.notify_mailbox_owners { notice.copied(&row.mailbox) } else { notice })
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
