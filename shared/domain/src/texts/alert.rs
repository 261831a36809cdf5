//! The texts of alerts: what happened, why, and what to do about it.

use crate::{
    Timestamp,
    rules::{
        classification::{Permanence, Scope, classify},
        hold::ProfileHealth,
        retry::Outcome,
    },
    settings::{mailbox::Mailbox, profile::EmailServerProfile},
    texts::wording::{action, capitalized, reason, resolution, undone},
    words::{
        alert::{Alert, AlertAction, AlertKind, AlertScope, AlertStatus, Level},
        cause::DeliveryError,
        delivery::Delivery,
        id::ProfileId,
        policy::RetryPolicy,
    },
};

impl Alert {
    /// The alert that a failed attempt raises. `outcome` is what the retry policy made of `error`.
    #[must_use]
    pub fn of_failure(
        mailbox: &Mailbox,
        profile: &EmailServerProfile,
        delivery: Delivery,
        error: &DeliveryError,
        outcome: &Outcome,
        policy: RetryPolicy,
        now: Timestamp,
    ) -> Option<Self> {
        let kind = outcome.classification?.alert;
        let consequence = if outcome.retry_in_seconds.is_none() && !outcome.disabled {
            "It is not enabled until a test passes.".to_owned()
        } else if outcome.disabled {
            format!(
                "The mailbox has been disabled for {} and the owner of the email server profile {} has been notified.",
                delivery.purpose(),
                profile.name
            )
        } else {
            format!(
                "It will be tried again in {} seconds; this was failure {} of {} in a row.",
                outcome.retry_in_seconds.unwrap_or(policy.gap_seconds),
                outcome.state.transient_failure_count,
                policy.failures_max
            )
        };
        let mut steps = resolution(kind, profile);
        if outcome.retry_in_seconds.is_none() {
            steps.push("Then test and enable the mailbox again.".to_owned());
        }
        let what = undone(delivery, &format!("the mailbox {}", mailbox.name));
        Some(Self {
            kind,
            level: if outcome.retry_in_seconds.is_none() { Level::Error } else { Level::Warning },
            status: AlertStatus::Open,
            mailbox_id: Some(mailbox.id.clone()),
            profile_id: profile.id.clone(),
            delivery,
            scope: match outcome.classification?.scope {
                Scope::Server => AlertScope::Profile,
                Scope::Mailbox => AlertScope::Mailbox,
            },
            text: format!("{what} because {}. {consequence}", reason(kind, error, profile)),
            why: outcome.classification?.sentence(error.evidence.stage),
            action: action(kind),
            resolution: steps,
            cause: Some(error.cause),
            evidence: Some(error.evidence.clone()),
            count: 1,
            first_seen: now,
            last_seen: now,
        })
    }

    /// An open alert that says nothing yet: what those have in common that no single failure raises.
    fn open(
        kind: AlertKind,
        level: Level,
        scope: AlertScope,
        delivery: Delivery,
        profile: &ProfileId,
        now: Timestamp,
    ) -> Self {
        Self {
            kind,
            level,
            status: AlertStatus::Open,
            mailbox_id: None,
            profile_id: profile.clone(),
            delivery,
            scope,
            text: String::new(),
            why: String::new(),
            action: None,
            resolution: Vec::new(),
            cause: None,
            evidence: None,
            count: 1,
            first_seen: now,
            last_seen: now,
        }
    }

    /// The same alert as one of the profile, shared by all of its mailboxes that meet the same failure.
    #[must_use]
    pub fn shared(
        &self,
        profile: &EmailServerProfile,
        error: &DeliveryError,
        outcome: &Outcome,
        policy: RetryPolicy,
    ) -> Self {
        let purpose = self.delivery.purpose();
        let is_transient =
            outcome.classification.is_some_and(|classification| classification.permanence == Permanence::Transient);
        let consequence = if outcome.retry_in_seconds.is_none() && !outcome.disabled {
            "None that meets this is enabled until its test passes.".to_owned()
        } else if is_transient {
            format!(
                "Each is tried again after {} seconds, and the one that fails {} times in a row is disabled for {purpose}.",
                policy.gap_seconds, policy.failures_max
            )
        } else {
            format!("Each that meets this is disabled for {purpose} at once.")
        };
        let mut steps = resolution(self.kind, profile);
        steps.push("Then test and enable the mailboxes of the profile that were disabled.".to_owned());
        let what = undone(self.delivery, &format!("mailboxes of the email server profile {}", profile.name));
        let why = reason(self.kind, error, profile);
        Self {
            mailbox_id: None,
            text: format!("{what} because {why}. {consequence}"),
            resolution: steps,
            ..self.clone()
        }
    }

    /// Whether a repeat of this open alert of a profile is worth a write: it tells more than what is written, or the
    /// gap between two tries has passed since. So an outage of a thousand mailboxes is a write for each round.
    #[must_use]
    pub fn takes(&self, repeat: &Self, policy: RetryPolicy) -> bool {
        repeat.level > self.level
            || repeat.cause != self.cause
            || repeat.last_seen >= crate::seconds_after(self.last_seen, i64::from(policy.gap_seconds))
    }

    /// The one alert of a held profile, instead of one for each of its mailboxes.
    #[must_use]
    pub fn of_hold(profile: &EmailServerProfile, health: &ProfileHealth, now: Timestamp) -> Self {
        let why = reason(classify(health.error.cause, profile.credentials).alert, &health.error, profile);
        Self {
            why: classify(health.error.cause, profile.credentials).sentence(health.error.evidence.stage),
            text: format!(
                "The mailboxes of the email server profile {} are held because {why}, for {} of them so far. One mailbox \
                 tries every 5 minutes; when that works, all go on by themselves and fetch what was missed. No mailbox is \
                 disabled and no tries are spent.",
                profile.name,
                health.failing.len()
            ),
            resolution: resolution(classify(health.error.cause, profile.credentials).alert, profile),
            cause: Some(health.error.cause),
            evidence: Some(health.error.evidence.clone()),
            first_seen: health.since,
            ..Self::open(AlertKind::ProfileHeld, Level::Error, AlertScope::Profile, health.delivery, &profile.id, now)
        }
    }

    /// The alert of a profile more than half of whose mailboxes, `failing` of them, have failed within an hour.
    #[must_use]
    pub fn of_majority(profile: &EmailServerProfile, failing: usize, now: Timestamp) -> Self {
        Self {
            text: format!(
                "{failing} mailboxes of the email server profile {}, more than half of them, have failed within an hour.",
                profile.name
            ),
            resolution: vec![
                "Read the open alerts of its mailboxes: what most of them name is likely the one cause.".to_owned(),
                format!("Check that the servers of the email server profile {} are up and reachable.", profile.name),
            ],
            ..Self::open(
                AlertKind::MajorityFailing,
                Level::Error,
                AlertScope::Profile,
                Delivery::IncomingEmail,
                &profile.id,
                now,
            )
        }
    }

    /// The alert of a delivery that runs and does not fail, and has received nothing for long; `since` is when it last
    /// worked.
    #[must_use]
    pub fn of_stall(mailbox: &Mailbox, delivery: Delivery, since: Timestamp, now: Timestamp) -> Self {
        Self {
            mailbox_id: Some(mailbox.id.clone()),
            text: format!(
                "{} has not worked since {}, although nothing failed: it does not get its turn.",
                capitalized(delivery.purpose(), &mailbox.name),
                since.format("%Y-%m-%d %H:%M:%S UTC")
            ),
            resolution: vec![
                "Look at the alarms of this deployment, at the dead letters of its queues and at the functions' logs.".to_owned(),
                "Check that maximum_concurrent_connections of the email server profile lets all its mailboxes have their turn.".to_owned(),
            ],
            ..Self::open(AlertKind::Stalled, Level::Warning, AlertScope::Mailbox, delivery, &mailbox.profile_id, now)
        }
    }

    /// The alert of an email that cannot leave, because its mailbox may not send; `why` is the gate's reason.
    #[must_use]
    pub fn of_pending_send(mailbox: &Mailbox, why: &str, now: Timestamp) -> Self {
        Self {
            mailbox_id: Some(mailbox.id.clone()),
            action: Some(AlertAction::TestAgain),
            text: format!("Email of the mailbox {} waits with the status Pending Send because {why}.", mailbox.name),
            resolution: vec![
                "Open the mailbox and check that its synchronization method for outgoing email is server-side \
                 synchronization."
                    .to_owned(),
                "Read the mailbox's other alerts, mend what they name, and test and enable the mailbox again. The waiting \
                 email is then sent by itself."
                    .to_owned(),
            ],
            ..Self::open(AlertKind::EmailPendingSend, Level::Warning, AlertScope::Email, Delivery::OutgoingEmail, &mailbox.profile_id, now)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rules::retry::{Attempt, settle},
        words::{
            cause::{Cause, CredentialSource},
            evidence::{Evidence, Stage},
        },
    };

    #[test]
    fn every_failure_has_a_text_that_says_what_happened_and_a_resolution() {
        let (profile, mailbox) = crate::sample::sample();
        let policy = RetryPolicy::default();
        let now = Timestamp::from_timestamp(1_700_000_000, 0).unwrap();
        let mut texts = String::new();
        for cause in Cause::ALL {
            let error = DeliveryError::new(cause, Evidence::new(Stage::SignIn, "the server's words"));
            let state = mailbox.initial_state(Delivery::IncomingEmail);
            let outcome = settle(policy, &state, Attempt::Failed(&error, CredentialSource::Mailbox), now, now);
            let delivery = Delivery::IncomingEmail;
            let alert = Alert::of_failure(&mailbox, &profile, delivery, &error, &outcome, policy, now).unwrap();
            texts.push_str(&format!("{cause:?} [{:?}, {:?}, {:?}]\n", alert.level, alert.scope, alert.action));
            texts.push_str(&format!("  {}\n  {}\n", alert.text, alert.why));
            for step in &alert.resolution {
                texts.push_str(&format!("  - {step}\n"));
            }
            if alert.scope == AlertScope::Profile {
                texts.push_str(&format!(
                    "  Of the profile: {}\n",
                    alert.shared(&profile, &error, &outcome, policy).text
                ));
            }
        }
        insta::assert_snapshot!(texts);
    }
}
