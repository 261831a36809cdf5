//! What an adapter saw when a delivery failed: a closed list of facts, without a verdict.
//!
//! Whether a fact is permanent, whose it is and which alert it raises is decided in [`crate::rules::classification`].

use serde::{Deserialize, Serialize};

use crate::words::evidence::Evidence;

/// Why a delivery did not go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The server's name could not be looked up. The resolver does not tell "no such name" from "ask later".
    HostNotFound,
    /// The name leads to an internal address and the deployment refuses those.
    HostNotAllowed,
    /// The connection was refused, or nothing was reachable.
    ConnectionRefused,
    /// No answer in time.
    TimedOut,
    /// The connection ended in the middle.
    ConnectionLost,
    /// The server's certificate is not valid for its name, not trusted, or expired.
    CertificateRefused,
    /// The TLS handshake ended without a verdict on the certificate.
    HandshakeFailed,
    /// The server offers no TLS where the profile asks for STARTTLS.
    TlsNotOffered,
    /// The server said something that is not the protocol.
    ProtocolViolation,
    /// The server says that it is not available now.
    ServerUnavailable,
    /// The server says that it is busy, or that we ask too often.
    ServerBusy,
    /// The server lacks something without which the mailbox cannot be synchronized.
    CapabilityMissing,
    /// None of the ways to sign in that the profile allows is offered.
    AuthenticationNotOffered,
    /// No user name or password is stored.
    CredentialsMissing,
    /// The stored credentials cannot be decrypted.
    CredentialsUnreadable,
    /// The server refused the user name and password, or the token.
    CredentialsRefused,
    /// The server says that the password has expired.
    CredentialsExpired,
    /// The tenant does not know the application, or the tenant is not there.
    ApplicationUnknown,
    /// The application has not been granted what it needs, or not for this mailbox.
    PermissionMissing,
    /// The user has no mailbox that can be used: no licence, or one that is on another server.
    MailboxNotEnabled,
    /// The server knows the account and refuses it this mailbox or this use.
    AccessDenied,
    /// The server refused the sign-in without saying that the credentials are wrong.
    SignInFailed,
    /// Somebody else holds the mailbox (POP3 lock, RFC 2449 `IN-USE`).
    MailboxInUse,
    /// The mailbox does not exist, or has no inbox.
    MailboxNotFound,
    /// The mailbox is over its quota.
    OverQuota,
    /// The server will not let this account send as this address.
    SenderRefused,
    /// The server will not take mail from this sender now.
    SenderDeferred,
    /// The message that the mailbox sent to itself did not arrive in time.
    TestMessageNotArrived,
    /// Nobody has approved the mailbox's address, or somebody has rejected it.
    AddressNotApproved,
    /// The tenant's administrator has not approved the address of a mailbox on Exchange Online.
    TenantApprovalMissing,
    /// An appointment has no organizer, without which it cannot be synchronized.
    OrganizerMissing,
    /// The mailbox is set to synchronize its items with another organization.
    OtherPrimaryOrganization,
    /// Something else; said as it is, never guessed.
    #[serde(other)]
    Unknown,
}

impl Cause {
    /// Every cause, in the order of the table.
    pub const ALL: [Self; 33] = [
        Self::HostNotFound,
        Self::HostNotAllowed,
        Self::ConnectionRefused,
        Self::TimedOut,
        Self::ConnectionLost,
        Self::CertificateRefused,
        Self::HandshakeFailed,
        Self::TlsNotOffered,
        Self::ProtocolViolation,
        Self::ServerUnavailable,
        Self::ServerBusy,
        Self::CapabilityMissing,
        Self::AuthenticationNotOffered,
        Self::CredentialsMissing,
        Self::CredentialsUnreadable,
        Self::CredentialsRefused,
        Self::CredentialsExpired,
        Self::ApplicationUnknown,
        Self::PermissionMissing,
        Self::MailboxNotEnabled,
        Self::AccessDenied,
        Self::SignInFailed,
        Self::MailboxInUse,
        Self::MailboxNotFound,
        Self::OverQuota,
        Self::SenderRefused,
        Self::SenderDeferred,
        Self::TestMessageNotArrived,
        Self::AddressNotApproved,
        Self::TenantApprovalMissing,
        Self::OrganizerMissing,
        Self::OtherPrimaryOrganization,
        Self::Unknown,
    ];
}

/// Whose user name and password the attempt used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialSource {
    /// Those of the mailbox ("credentials specified by a user or queue").
    #[default]
    Mailbox,
    /// Those of the email server profile.
    Profile,
    /// None of anybody: the application's own, which the tenant trusts.
    ServerToServer,
}

/// The mailbox's or its server's failure, as seen; counted, retried or disabled by [`crate::rules::retry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{cause:?} while {}: {}", evidence.stage.doing(), evidence.words)]
pub struct DeliveryError {
    /// What it was.
    pub cause: Cause,
    /// What was seen.
    pub evidence: Evidence,
    /// How long the server asked us to stay away, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

impl DeliveryError {
    /// A failure with its evidence.
    #[must_use]
    pub const fn new(cause: Cause, evidence: Evidence) -> Self {
        Self { cause, evidence, retry_after_seconds: None }
    }
}
