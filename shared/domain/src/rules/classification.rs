//! Which failures are permanent and which transient, whose they are, and which alert they raise.
//!
//! The source page classifies errors on two axes: permanent (such as 401 Unauthorized) or transient (such as a network
//! issue), and server (such as invalid profile credentials) or mailbox (such as invalid mailbox credentials). Here that
//! is one exhaustive `match` per question. Without evidence the answer is transient.

use serde::{Deserialize, Serialize};

use crate::words::{
    alert::AlertKind,
    cause::{Cause, CredentialSource},
};

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permanence {
    /// Somebody has to change something first: disabled at once.
    Permanent,
    /// It may pass by itself: tried again.
    Transient,
}

/// Whose error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The server's or the profile's: other mailboxes of the profile will meet it too.
    Server,
    /// This mailbox's alone.
    Mailbox,
}

/// What a cause means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classification {
    /// Whether trying again can help.
    pub permanence: Permanence,
    /// Whose error it is.
    pub scope: Scope,
    /// The alert that tells of it.
    pub alert: AlertKind,
}

/// The classification of a cause, given whose credentials the attempt used.
#[must_use]
pub const fn classify(cause: Cause, credentials: CredentialSource) -> Classification {
    Classification { permanence: permanence(cause), scope: scope(cause, credentials), alert: alert(cause, credentials) }
}

const fn permanence(cause: Cause) -> Permanence {
    match cause {
        Cause::HostNotAllowed
        | Cause::CertificateRefused
        | Cause::TlsNotOffered
        | Cause::CapabilityMissing
        | Cause::AuthenticationNotOffered
        | Cause::CredentialsMissing
        | Cause::CredentialsUnreadable
        | Cause::CredentialsRefused
        | Cause::CredentialsExpired
        | Cause::ApplicationUnknown
        | Cause::PermissionMissing
        | Cause::MailboxNotEnabled
        | Cause::AccessDenied
        | Cause::MailboxNotFound
        | Cause::SenderRefused
        | Cause::AddressNotApproved
        | Cause::TenantApprovalMissing
        | Cause::OrganizerMissing
        | Cause::OtherPrimaryOrganization => Permanence::Permanent,
        Cause::HostNotFound
        | Cause::ConnectionRefused
        | Cause::TimedOut
        | Cause::ConnectionLost
        | Cause::HandshakeFailed
        | Cause::ProtocolViolation
        | Cause::ServerUnavailable
        | Cause::ServerBusy
        | Cause::SignInFailed
        | Cause::MailboxInUse
        | Cause::OverQuota
        | Cause::SenderDeferred
        | Cause::TestMessageNotArrived
        | Cause::Unknown => Permanence::Transient,
    }
}

const fn scope(cause: Cause, credentials: CredentialSource) -> Scope {
    match cause {
        Cause::HostNotFound
        | Cause::HostNotAllowed
        | Cause::ConnectionRefused
        | Cause::TimedOut
        | Cause::ConnectionLost
        | Cause::CertificateRefused
        | Cause::HandshakeFailed
        | Cause::TlsNotOffered
        | Cause::ProtocolViolation
        | Cause::ServerUnavailable
        | Cause::ServerBusy
        | Cause::CapabilityMissing
        | Cause::AuthenticationNotOffered
        | Cause::ApplicationUnknown => Scope::Server,
        Cause::CredentialsMissing
        | Cause::CredentialsUnreadable
        | Cause::CredentialsRefused
        | Cause::CredentialsExpired
        | Cause::SignInFailed => match credentials {
            CredentialSource::Profile | CredentialSource::ServerToServer => Scope::Server,
            CredentialSource::Mailbox => Scope::Mailbox,
        },
        // It may be narrowed to some mailboxes, so that one mailbox's says nothing of the next.
        Cause::PermissionMissing
        | Cause::MailboxNotEnabled
        | Cause::AccessDenied
        | Cause::MailboxInUse
        | Cause::MailboxNotFound
        | Cause::OverQuota
        | Cause::SenderRefused
        | Cause::SenderDeferred
        | Cause::TestMessageNotArrived
        | Cause::AddressNotApproved
        | Cause::TenantApprovalMissing
        | Cause::OrganizerMissing
        | Cause::OtherPrimaryOrganization
        | Cause::Unknown => Scope::Mailbox,
    }
}

const fn alert(cause: Cause, credentials: CredentialSource) -> AlertKind {
    match cause {
        Cause::HostNotFound | Cause::HostNotAllowed => AlertKind::MailboxLocationNotDetermined,
        Cause::ConnectionRefused | Cause::TimedOut | Cause::ConnectionLost => AlertKind::ServerNotReachable,
        Cause::CertificateRefused | Cause::HandshakeFailed | Cause::TlsNotOffered => AlertKind::SecureConnectionFailed,
        Cause::ProtocolViolation | Cause::CapabilityMissing => AlertKind::ServerNotSupported,
        Cause::ServerUnavailable | Cause::ServerBusy => AlertKind::ServerUnavailable,
        Cause::AuthenticationNotOffered => AlertKind::AuthenticationNotOffered,
        Cause::CredentialsMissing | Cause::CredentialsUnreadable => AlertKind::CredentialsMissing,
        Cause::CredentialsRefused | Cause::CredentialsExpired | Cause::AccessDenied => match credentials {
            CredentialSource::Profile | CredentialSource::ServerToServer => AlertKind::ProfileCredentialsIncorrect,
            CredentialSource::Mailbox => AlertKind::MailboxCredentialsIncorrect,
        },
        Cause::ApplicationUnknown => AlertKind::ApplicationUnknown,
        Cause::PermissionMissing => AlertKind::PermissionMissing,
        Cause::MailboxNotEnabled => AlertKind::MailboxNotEnabled,
        Cause::SignInFailed => AlertKind::SignInFailed,
        Cause::MailboxInUse => AlertKind::MailboxInUse,
        Cause::MailboxNotFound => AlertKind::MailboxNotFound,
        Cause::OverQuota => AlertKind::OverQuota,
        Cause::SenderRefused => AlertKind::SenderRefused,
        Cause::SenderDeferred => AlertKind::SendingDeferred,
        Cause::TestMessageNotArrived => AlertKind::TestMessageNotArrived,
        Cause::AddressNotApproved => AlertKind::AddressNotApproved,
        Cause::TenantApprovalMissing => AlertKind::TenantApprovalRequired,
        Cause::OrganizerMissing => AlertKind::OrganizerMissing,
        Cause::OtherPrimaryOrganization => AlertKind::OtherPrimaryOrganization,
        Cause::Unknown => AlertKind::UnknownError,
    }
}

#[cfg(test)]
mod tests {
    use AlertKind as A;
    use Permanence::{Permanent, Transient};
    use Scope::{Mailbox, Server};

    use super::*;

    /// One assertion per row: the classification with mailbox credentials, and after a slash what differs with profile credentials.
    macro_rules! rows {
        ($($test:ident: $cause:ident => $permanence:ident, $scope:ident / $scope_profile:ident, $alert:ident $(/ $alert_profile:ident)?;)*) => {
            $(#[test]
            fn $test() {
                let own = classify(Cause::$cause, CredentialSource::Mailbox);
                assert_eq!(own, Classification { permanence: $permanence, scope: $scope, alert: A::$alert });
                let shared = classify(Cause::$cause, CredentialSource::Profile);
                assert_eq!(shared, Classification { scope: $scope_profile, $(alert: A::$alert_profile,)? ..own });
            })*

            #[test]
            fn every_cause_has_its_row() {
                assert_eq!(Cause::ALL.to_vec(), [$(Cause::$cause),*]);
            }
        };
    }

    rows! {
        an_unknown_host_is_tried_again: HostNotFound => Transient, Server / Server, MailboxLocationNotDetermined;
        an_internal_host_is_refused: HostNotAllowed => Permanent, Server / Server, MailboxLocationNotDetermined;
        a_refused_connection_is_not_an_authorization_error: ConnectionRefused => Transient, Server / Server, ServerNotReachable;
        a_silent_server_is_tried_again: TimedOut => Transient, Server / Server, ServerNotReachable;
        a_cut_connection_is_tried_again: ConnectionLost => Transient, Server / Server, ServerNotReachable;
        a_refused_certificate_is_permanent: CertificateRefused => Permanent, Server / Server, SecureConnectionFailed;
        a_handshake_cut_off_is_transient: HandshakeFailed => Transient, Server / Server, SecureConnectionFailed;
        no_tls_is_permanent: TlsNotOffered => Permanent, Server / Server, SecureConnectionFailed;
        a_garbled_reply_is_transient: ProtocolViolation => Transient, Server / Server, ServerNotSupported;
        unavailable_is_not_a_bad_password: ServerUnavailable => Transient, Server / Server, ServerUnavailable;
        busy_is_not_a_bad_password: ServerBusy => Transient, Server / Server, ServerUnavailable;
        a_missing_capability_is_permanent: CapabilityMissing => Permanent, Server / Server, ServerNotSupported;
        no_common_mechanism_is_permanent: AuthenticationNotOffered => Permanent, Server / Server, AuthenticationNotOffered;
        no_credentials_is_permanent: CredentialsMissing => Permanent, Mailbox / Server, CredentialsMissing;
        unreadable_credentials_are_permanent: CredentialsUnreadable => Permanent, Mailbox / Server, CredentialsMissing;
        a_wrong_password_is_permanent: CredentialsRefused => Permanent, Mailbox / Server, MailboxCredentialsIncorrect / ProfileCredentialsIncorrect;
        an_expired_password_is_permanent: CredentialsExpired => Permanent, Mailbox / Server, MailboxCredentialsIncorrect / ProfileCredentialsIncorrect;
        an_unknown_application_is_the_profiles: ApplicationUnknown => Permanent, Server / Server, ApplicationUnknown;
        a_missing_permission_is_permanent: PermissionMissing => Permanent, Mailbox / Mailbox, PermissionMissing;
        a_user_without_licence_is_permanent: MailboxNotEnabled => Permanent, Mailbox / Mailbox, MailboxNotEnabled;
        a_missing_right_is_the_mailboxs: AccessDenied => Permanent, Mailbox / Mailbox, MailboxCredentialsIncorrect / ProfileCredentialsIncorrect;
        an_unexplained_sign_in_failure_is_transient: SignInFailed => Transient, Mailbox / Server, SignInFailed;
        a_locked_maildrop_is_transient: MailboxInUse => Transient, Mailbox / Mailbox, MailboxInUse;
        a_missing_mailbox_is_permanent: MailboxNotFound => Permanent, Mailbox / Mailbox, MailboxNotFound;
        over_quota_is_not_bad_credentials: OverQuota => Transient, Mailbox / Mailbox, OverQuota;
        a_refused_sender_is_permanent: SenderRefused => Permanent, Mailbox / Mailbox, SenderRefused;
        a_deferred_sender_is_transient: SenderDeferred => Transient, Mailbox / Mailbox, SendingDeferred;
        a_test_message_that_does_not_arrive_may_still_come: TestMessageNotArrived => Transient, Mailbox / Mailbox, TestMessageNotArrived;
        an_address_without_approval_is_permanent: AddressNotApproved => Permanent, Mailbox / Mailbox, AddressNotApproved;
        an_address_without_the_tenants_approval_is_permanent: TenantApprovalMissing => Permanent, Mailbox / Mailbox, TenantApprovalRequired;
        an_appointment_without_organizer_waits_for_a_person: OrganizerMissing => Permanent, Mailbox / Mailbox, OrganizerMissing;
        another_primary_organization_waits_for_a_person: OtherPrimaryOrganization => Permanent, Mailbox / Mailbox, OtherPrimaryOrganization;
        an_unknown_error_is_transient_and_called_unknown: Unknown => Transient, Mailbox / Mailbox, UnknownError;
    }

    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        for cause in Cause::ALL {
            for credentials in [CredentialSource::Mailbox, CredentialSource::Profile] {
                let Classification { permanence, scope, alert } = classify(cause, credentials);
                let row = format!("{cause:?} with {credentials:?} credentials: {permanence:?}, {scope:?}, {alert:?}\n");
                table.push_str(&row);
            }
        }
        insta::assert_snapshot!(table);
    }
}
