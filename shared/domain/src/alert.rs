//! Alerts: what happened to a mailbox, why, and what to do about it. One open alert per mailbox, delivery and kind.

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    cause::{Cause, DeliveryError},
    classification::{Scope, classify},
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
        let what = undone(delivery, &mailbox.name);
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

    /// The one alert of a held profile, instead of one for each of its mailboxes.
    #[must_use]
    pub fn of_hold(profile: &EmailServerProfile, health: &ProfileHealth, now: Timestamp) -> Self {
        let kind = AlertKind::ProfileHeld;
        let why = reason(classify(health.error.cause, profile.credentials).alert, &health.error, profile);
        Self {
            kind,
            level: Level::Error,
            status: AlertStatus::Open,
            mailbox_id: None,
            profile_id: profile.id.clone(),
            delivery: health.delivery,
            scope: AlertScope::Profile,
            why: classify(health.error.cause, profile.credentials).sentence(health.error.evidence.stage),
            action: None,
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
            count: 1,
            first_seen: health.since,
            last_seen: now,
        }
    }

    /// The alert of a profile more than half of whose mailboxes, `failing` of them, have failed within an hour.
    #[must_use]
    pub fn of_majority(profile: &EmailServerProfile, failing: usize, now: Timestamp) -> Self {
        Self {
            kind: AlertKind::MajorityFailing,
            level: Level::Error,
            status: AlertStatus::Open,
            mailbox_id: None,
            profile_id: profile.id.clone(),
            delivery: Delivery::IncomingEmail,
            scope: AlertScope::Profile,
            text: format!(
                "{failing} mailboxes of the email server profile {}, more than half of them, have failed within an hour.",
                profile.name
            ),
            why: String::new(),
            action: None,
            resolution: vec![
                "Read the open alerts of its mailboxes: what most of them name is likely the one cause.".to_owned(),
                format!("Check that the servers of the email server profile {} are up and reachable.", profile.name),
            ],
            cause: None,
            evidence: None,
            count: 1,
            first_seen: now,
            last_seen: now,
        }
    }

    /// The alert of a delivery that runs and does not fail, and has received nothing for long; `since` is when it last
    /// worked.
    #[must_use]
    pub fn of_stall(mailbox: &Mailbox, delivery: Delivery, since: Timestamp, now: Timestamp) -> Self {
        let kind = AlertKind::Stalled;
        Self {
            kind,
            level: Level::Warning,
            status: AlertStatus::Open,
            mailbox_id: Some(mailbox.id.clone()),
            profile_id: mailbox.profile_id.clone(),
            delivery,
            scope: AlertScope::Mailbox,
            text: format!(
                "{} has not worked since {}, although nothing failed: it does not get its turn.",
                capitalized(delivery.purpose(), &mailbox.name),
                since.format("%Y-%m-%d %H:%M:%S UTC")
            ),
            why: String::new(),
            action: None,
            resolution: vec![
                "Look at the alarms of this deployment, at the dead letters of its queues and at the functions' logs.".to_owned(),
                "Check that maximum_concurrent_connections of the email server profile lets all its mailboxes have their turn.".to_owned(),
            ],
            cause: None,
            evidence: None,
            count: 1,
            first_seen: now,
            last_seen: now,
        }
    }

    /// The alert of an email that cannot leave, because its mailbox may not send; `why` is the gate's reason.
    #[must_use]
    pub fn of_pending_send(mailbox: &Mailbox, why: &str, now: Timestamp) -> Self {
        let kind = AlertKind::EmailPendingSend;
        Self {
            kind,
            level: Level::Warning,
            status: AlertStatus::Open,
            mailbox_id: Some(mailbox.id.clone()),
            profile_id: mailbox.profile_id.clone(),
            delivery: Delivery::OutgoingEmail,
            scope: AlertScope::Email,
            why: String::new(),
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
            cause: None,
            evidence: None,
            count: 1,
            first_seen: now,
            last_seen: now,
        }
    }
}

fn capitalized(purpose: &str, name: &str) -> String {
    let mut letters = purpose.chars();
    let first = letters.next().map_or(String::new(), |first| first.to_uppercase().collect());
    format!("{first}{} for the mailbox {name}", letters.as_str())
}

const fn action(kind: AlertKind) -> Option<AlertAction> {
    match kind {
        AlertKind::AddressNotApproved => Some(AlertAction::Approve),
        AlertKind::TenantApprovalRequired => Some(AlertAction::ApproveForTenant),
        AlertKind::CredentialsMissing
        | AlertKind::MailboxCredentialsIncorrect
        | AlertKind::ProfileCredentialsIncorrect
        | AlertKind::SignInFailed => Some(AlertAction::ReenterCredentials),
        AlertKind::MailboxLocationNotDetermined
        | AlertKind::ServerNotReachable
        | AlertKind::SecureConnectionFailed
        | AlertKind::ServerNotSupported
        | AlertKind::AuthenticationNotOffered => Some(AlertAction::ChangeProfile),
        AlertKind::ServerUnavailable
        | AlertKind::MailboxInUse
        | AlertKind::MailboxNotFound
        | AlertKind::OverQuota
        | AlertKind::SenderRefused
        | AlertKind::SendingDeferred
        | AlertKind::TestMessageNotArrived
        | AlertKind::EmailPendingSend
        | AlertKind::UnknownError => Some(AlertAction::TestAgain),
        AlertKind::ProfileHeld | AlertKind::MajorityFailing | AlertKind::Stalled => None,
    }
}

fn undone(delivery: Delivery, name: &str) -> String {
    match delivery {
        Delivery::IncomingEmail => format!("Email cannot be received for the mailbox {name}"),
        Delivery::OutgoingEmail => format!("Email cannot be sent for the mailbox {name}"),
        Delivery::AppointmentsContactsTasks => {
            format!("Appointments, contacts, and tasks can't be synchronized for the mailbox {name}")
        }
    }
}

fn reason(kind: AlertKind, error: &DeliveryError, profile: &EmailServerProfile) -> String {
    match kind {
        AlertKind::MailboxLocationNotDetermined => "the location of the email server could not be determined".into(),
        AlertKind::ServerNotReachable => {
            format!("the email server could not be reached (while {})", error.evidence.stage.doing())
        }
        AlertKind::SecureConnectionFailed => {
            "an error occurred while establishing a secure connection to the email server".into()
        }
        AlertKind::ServerNotSupported => "the email server did not answer as its protocol requires".into(),
        AlertKind::ServerUnavailable => "the email server says that it is not available at present".into(),
        AlertKind::AuthenticationNotOffered => {
            "the email server offers no way to sign in that the email server profile allows".into()
        }
        AlertKind::CredentialsMissing => format!("no usable credentials are stored in {}", profile.credential_holder()),
        AlertKind::MailboxCredentialsIncorrect | AlertKind::ProfileCredentialsIncorrect => format!(
            "the credentials specified in {} are incorrect or have insufficient permissions",
            profile.credential_holder()
        ),
        AlertKind::SignInFailed => "the email server refused the sign-in without saying why".into(),
        AlertKind::MailboxInUse => "another program holds the mailbox on the email server".into(),
        AlertKind::MailboxNotFound => "the mailbox does not exist on the email server".into(),
        AlertKind::OverQuota => "the mailbox is over its quota on the email server".into(),
        AlertKind::SenderRefused => "the email server does not let this account send as the mailbox's address".into(),
        AlertKind::SendingDeferred => "the email server takes no email from this mailbox at present".into(),
        AlertKind::TestMessageNotArrived => "the test message that it sent to itself did not arrive in time".into(),
        AlertKind::AddressNotApproved => "the email address of the mailbox is not approved".into(),
        AlertKind::TenantApprovalRequired => {
            "the email address of the mailbox requires an approval by the tenant's administrator".into()
        }
        AlertKind::EmailPendingSend => "it may not send".into(),
        AlertKind::ProfileHeld => "the email server profile is held".into(),
        AlertKind::MajorityFailing => "more than half of the mailboxes fail".into(),
        AlertKind::Stalled => "it does not get its turn".into(),
        AlertKind::UnknownError => format!("an unknown error occurred while {}", error.evidence.stage.doing()),
    }
}

fn resolution(kind: AlertKind, profile: &EmailServerProfile) -> Vec<String> {
    let holder = profile.credential_holder();
    let name = &profile.name;
    match kind {
        AlertKind::MailboxLocationNotDetermined => {
            vec![format!("Check the server names in the email server profile {name} for a typing error, and that they resolve to a public address.")]
        }
        AlertKind::ServerNotReachable => vec![
            format!("Check server name and port in the email server profile {name} (IMAP 993 or 143, POP3 995 or 110, SMTP 465 or 587)."),
            "Check that the email server is up and that no firewall stands between.".to_owned(),
        ],
        AlertKind::SecureConnectionFailed => vec![
            "Check that the server's certificate has not expired, names the server as the profile does, and is signed by an authority that this deployment trusts.".to_owned(),
            "Check that port and security of the profile go together: TLS from the start (993, 995, 465) or STARTTLS (143, 110, 587).".to_owned(),
        ],
        AlertKind::ServerNotSupported => vec![
            format!("Check that protocol and port in the email server profile {name} are those of the server."),
            "If they are, the server lacks what synchronization needs; the server's own words say what.".to_owned(),
        ],
        AlertKind::ServerUnavailable | AlertKind::SendingDeferred => {
            vec!["Nothing, if it passes by itself. Otherwise ask the email server's administrator about its limits and its state.".to_owned()]
        }
        AlertKind::AuthenticationNotOffered => {
            vec![format!("Set the authentication of the email server profile {name} to one that the server offers (password, or XOAUTH2).")]
        }
        AlertKind::CredentialsMissing => vec![format!("Enter user name and password in {holder}.")],
        AlertKind::MailboxCredentialsIncorrect => vec![
            format!("Enter the right user name and password in {holder}. They are not tried again until then."),
            "Check that the account may use the mailbox, and that the provider allows this way of signing in (some want an app password or OAuth 2.0).".to_owned(),
        ],
        AlertKind::ProfileCredentialsIncorrect => vec![
            format!("Enter the right user name and password in {holder}. They are not tried again until then."),
            "Check that the account of the profile may use each of its mailboxes.".to_owned(),
        ],
        AlertKind::SignInFailed => {
            vec![format!("Check the credentials in {holder}, and the server's log for its reason.")]
        }
        AlertKind::MailboxInUse => vec!["Stop other programs that read this mailbox over POP3, or give it a mailbox of its own.".to_owned()],
        AlertKind::MailboxNotFound => vec!["Check the user name, and that the mailbox exists and has an inbox.".to_owned()],
        AlertKind::OverQuota => vec!["Free space in the mailbox, or raise its quota.".to_owned()],
        AlertKind::SenderRefused => {
            vec!["Give the account the right to send as the mailbox's address, or use the account that owns it.".to_owned()]
        }
        AlertKind::TestMessageNotArrived => vec![
            "Look for the test message in the mailbox, and in its folder for spam: the server took it.".to_owned(),
            "Check that mail to the mailbox's address comes into the inbox of the account that the mailbox signs in to.".to_owned(),
        ],
        AlertKind::AddressNotApproved => vec![
            "Approve the email address of the mailbox: Approve Email, for one mailbox or many.".to_owned(),
            "Or switch off, in the organization's settings, \"process emails only for approved users\" or \"process emails only for approved queues\".".to_owned(),
        ],
        AlertKind::TenantApprovalRequired => vec![
            "Have the tenant's administrator approve the email address of the mailbox. Exchange Online asks for it whatever the organization's settings are, because the approval takes the place of credentials.".to_owned(),
        ],
        AlertKind::EmailPendingSend => vec!["Enable outgoing email for the mailbox.".to_owned()],
        AlertKind::ProfileHeld => vec!["Wait until the servers answer again.".to_owned()],
        AlertKind::MajorityFailing => vec!["Read the alerts of the mailboxes.".to_owned()],
        AlertKind::Stalled => vec!["Look at the alarms of this deployment.".to_owned()],
        AlertKind::UnknownError => vec!["Read the server's own words below; they are all that is known.".to_owned()],
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
            for step in alert.resolution {
                texts.push_str(&format!("  - {step}\n"));
            }
        }
        insta::assert_snapshot!(texts);
    }
}
