//! Alerts as they are stored and shown: what happened to a mailbox, why, and what to do about it.

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp, seconds_after,
    words::{
        cause::Cause,
        delivery::Delivery,
        evidence::Evidence,
        id::{MailboxId, ProfileId},
        policy::RetryPolicy,
    },
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
    #[serde(other)]
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
    /// Test and enable the mailbox once the cause is mended elsewhere. An action that only another release knows is read
    /// as this one, because it is right after every remedy.
    #[serde(other)]
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
    /// Whether a repeat of this open alert of a profile is worth a write: it tells more than what is written, or the
    /// gap between two tries has passed since. So a failure of a thousand mailboxes is one write in each round.
    #[must_use]
    pub fn takes(&self, repeat: &Self, policy: RetryPolicy) -> bool {
        repeat.level > self.level
            || repeat.cause != self.cause
            || repeat.last_seen >= seconds_after(self.last_seen, i64::from(policy.gap_seconds))
    }
}
