//! Alerts: what happened to a mailbox, why, and what to do about it. One open alert per mailbox, delivery and kind.

mod wording;

use serde::{Deserialize, Serialize};

use self::wording::{action, capitalized, reason, resolution, undone};
use crate::{
    Timestamp,
    cause::{Cause, DeliveryError},
    classification::{Permanence, Scope, classify},
    delivery::Delivery,
    evidence::Evidence,
    id::{MailboxId, ProfileId},
    mailbox::Mailbox,
    outage::ProfileHealth,
    profile::EmailServerProfile,
    retry::{Outcome, RetryPolicy},
};

/// What an alert is about. The kind decides text and resolution; repeats of a kind raise a count, not a new alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertKind {
    /// The server's name leads nowhere.
    MailboxLocationNotDetermined,
    /// No connection to the server.
    ServerNotReachable,
    /// The connection could not be secured.
    SecureConnectionFailed,
    /// The server does not speak what we need.
    ServerNotSupported,
    /// The server says it is not available or busy.
    ServerUnavailable,
    /// The server offers no way to sign in that the profile allows.
    AuthenticationNotOffered,
    /// There are no usable credentials.
    CredentialsMissing,
    /// The mailbox's own credentials are incorrect or have insufficient permissions.
    MailboxCredentialsIncorrect,
    /// The credentials of the profile are incorrect or have insufficient permissions.
    ProfileCredentialsIncorrect,
    /// Sign-in failed for a reason that the server kept to itself.
    SignInFailed,
    /// The tenant does not know the application.
    ApplicationUnknown,
    /// The application has not been granted what it needs.
    PermissionMissing,
    /// The user has no mailbox that can be used.
    MailboxNotEnabled,
    /// Somebody else holds the mailbox.
    MailboxInUse,
    /// The mailbox is not there.
    MailboxNotFound,
    /// The mailbox is over its quota.
    OverQuota,
    /// The account may not send as the mailbox's address.
    SenderRefused,
    /// The server takes no mail from the mailbox now.
    SendingDeferred,
    /// The mailbox's message to itself did not arrive.
    TestMessageNotArrived,
    /// The mailbox's address is not approved.
    AddressNotApproved,
    /// The address of a mailbox on Exchange Online is not approved by the tenant's administrator.
    TenantApprovalRequired,
    /// An appointment has no organizer.
    OrganizerMissing,
    /// The mailbox is configured with another organization as its primary one.
    OtherPrimaryOrganization,
    /// Email waits in Pending Send, because the mailbox may not send.
    EmailPendingSend,
    /// The servers of a profile fail, and its mailboxes are held until they do not.
    ProfileHeld,
    /// More than half of a profile's mailboxes fail.
    MajorityFailing,
    /// Nothing failed, and nothing was received for long.
    Stalled,
    /// An error that is in no list.
    UnknownError,
}

impl AlertKind {
    /// Whether an alert of a profile with this kind concerns those of its mailboxes alone that refer to it, and is over
    /// when none does. The others concern all of them, and end by a rule of their own.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        !matches!(self, Self::ProfileHeld | Self::MajorityFailing)
    }
}

/// How serious an alert is (source system: 1 Information, 2 Warning, 3 Error).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// For your information.
    Information,
    /// Transient: it is being tried again.
    Warning,
    /// Something stopped, and somebody has to act.
    Error,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 3] = [Self::Information, Self::Warning, Self::Error];
}

/// How far an alert reaches (source system: email, mailbox, profile).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertScope {
    /// Single emails; others of the mailbox go on.
    Email,
    /// One mailbox, whose owner has to act.
    #[default]
    Mailbox,
    /// A profile and all its mailboxes; the profile's owner has to act.
    Profile,
}

/// What mends the cause of an alert, where it can be done here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertAction {
    /// Approve the address.
    Approve,
    /// Have the tenant's administrator approve the address.
    ApproveForTenant,
    /// Enter user name and password again, in the mailbox or in the profile, then test.
    ReenterCredentials,
    /// Correct the profile, then test.
    ChangeProfile,
    /// Test and enable the mailbox with the option that its items are synchronized with this organization only.
    OverridePrimaryOrganization,
    /// Test and enable the mailbox once the cause is mended elsewhere.
    TestAgain,
}

/// Whether the cause still stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertStatus {
    /// It does, as far as we know.
    Open,
    /// It worked since, or somebody enabled the delivery again.
    Closed,
}

/// A change of the alerts of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertChange {
    /// Open an alert of this kind, or raise the count of the open one.
    Raise(AlertKind),
    /// Close the open alert of this kind.
    Close(AlertKind),
}

/// An alert as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is about.
    pub kind: AlertKind,
    /// How serious it is.
    pub level: Level,
    /// Open or closed.
    pub status: AlertStatus,
    /// The mailbox it concerns; `None` if it concerns the profile with all its mailboxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox_id: Option<MailboxId>,
    /// The profile, or that of the mailbox.
    pub profile_id: ProfileId,
    /// The delivery it concerns.
    pub delivery: Delivery,
    /// How far it reaches.
    #[serde(default)]
    pub scope: AlertScope,
    /// What happened, as a sentence.
    pub text: String,
    /// Why a failure was taken for what it was, as a sentence; empty where nothing failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What mends it, where it can be done here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<AlertAction>,
    /// What to do, step by step.
    pub resolution: Vec<String>,
    /// The cause, where a server's failure raised it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The server's own words, with stage and codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// How often it has happened since it was opened.
    pub count: u64,
    /// When it was opened.
    pub first_seen: Timestamp,
    /// When it last happened.
    pub last_seen: Timestamp,
}

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
        let kind = outcome.verdict?.alert;
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
            scope: match outcome.verdict?.scope {
                Scope::Server => AlertScope::Profile,
                Scope::Mailbox => AlertScope::Mailbox,
            },
            text: format!("{what} because {}. {consequence}", reason(kind, error, profile)),
            why: outcome.verdict?.sentence(error.evidence.stage),
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
        let is_transient = outcome.verdict.is_some_and(|verdict| verdict.permanence == Permanence::Transient);
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
        cause::CredentialSource,
        evidence::Stage,
        retry::{Attempt, settle},
    };

    #[test]
    fn every_failure_has_a_text_that_says_what_happened_and_a_resolution() {
        let (profile, mailbox) = crate::profile::sample();
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
