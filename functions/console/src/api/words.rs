//! Words that several resources use, and how an enum of the API is written.

use mailrail_domain::{
    settings::hold,
    words::{alert, cause, delivery, evidence},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An enum of the API, whose values are strings, beside an enum of the rules with the same variants. The matches are
/// exhaustive, so that a further variant of the rules is a decision about the API.
macro_rules! api_enum {
    ($(#[$doc:meta])* $name:ident of $domain:ty { $($variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $($variant),*
        }

        impl From<$domain> for $name {
            fn from(value: $domain) -> Self {
                type Domain = $domain;
                match value {
                    $(Domain::$variant => Self::$variant),*
                }
            }
        }

        impl From<$name> for $domain {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => Self::$variant),*
                }
            }
        }

        #[cfg(test)]
        impl $name {
            /// Checks that each value is written as the rules write it, and that the description lists exactly these.
            pub fn check_values() {
                type Domain = $domain;
                let all = [$($name::$variant),*];
                let values = all.map(|value| serde_json::to_value(value).unwrap());
                assert_eq!(values, all.map(|value| serde_json::to_value(Domain::from(value)).unwrap()));
                let schema = serde_json::to_value(<$name as utoipa::PartialSchema>::schema()).unwrap();
                assert_eq!(schema["enum"].as_array().unwrap().as_slice(), values, "{schema}");
            }
        }
    };
}

/// Lets enums of the API have the default values that those of the rules have.
macro_rules! default_of_the_rules {
    ($($name:ident of $domain:ty),* $(,)?) => {
        $(
            impl Default for $name {
                fn default() -> Self {
                    <$domain>::default().into()
                }
            }
        )*
    };
}

pub(super) use api_enum;
pub(super) use default_of_the_rules;

api_enum! {
    /// What is kept in step of a mailbox.
    Delivery of delivery::Delivery { IncomingEmail, OutgoingEmail, AppointmentsContactsTasks }
}

api_enum! {
    /// What the last test, or the last run, said.
    TestStatus of delivery::TestStatus { NotRun, Success, Failure }
}

api_enum! {
    /// How serious an alert is.
    Level of alert::Level { Information, Warning, Error }
}

api_enum! {
    /// What is done about a delivery that a passing fault has disabled.
    RecoveryProbe of hold::RecoveryProbe { Off, Tell, Resume }
}

api_enum! {
    /// Where in a delivery something happened.
    Stage of evidence::Stage {
        Prepare,
        Discover,
        Resolve,
        Connect,
        Tls,
        Greeting,
        SignIn,
        Consent,
        Impersonate,
        FindUser,
        Open,
        List,
        Fetch,
        Envelope,
        Data,
        Arrive,
        Other,
    }
}

api_enum! {
    /// Why a delivery did not go through.
    Cause of cause::Cause {
        HostNotFound,
        HostNotAllowed,
        ConnectionRefused,
        TimedOut,
        ConnectionLost,
        CertificateRefused,
        HandshakeFailed,
        TlsNotOffered,
        ProtocolViolation,
        ServerUnavailable,
        ServerBusy,
        CapabilityMissing,
        AuthenticationNotOffered,
        CredentialsMissing,
        CredentialsUnreadable,
        CredentialsRefused,
        CredentialsExpired,
        ApplicationUnknown,
        PermissionMissing,
        MailboxNotEnabled,
        AccessDenied,
        SignInFailed,
        MailboxInUse,
        MailboxNotFound,
        OverQuota,
        SenderRefused,
        SenderDeferred,
        TestMessageNotArrived,
        AddressNotApproved,
        TenantApprovalMissing,
        OrganizerMissing,
        OtherPrimaryOrganization,
        Unknown,
    }
}

default_of_the_rules!(RecoveryProbe of hold::RecoveryProbe);

/// What a server said: the stage, the reply's codes and its own words.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EvidenceView {
    /// Where it happened.
    stage: Stage,
    /// Reply code as the protocol has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Enhanced or bracketed code.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The server's words, or the operating system's, without secrets.
    words: String,
}

impl From<evidence::Evidence> for EvidenceView {
    fn from(evidence: evidence::Evidence) -> Self {
        let evidence::Evidence { stage, code, detail, words } = evidence;
        Self { stage: stage.into(), code, detail, words }
    }
}

/// What is done when the servers of a profile fail.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HoldInput {
    /// Distinct mailboxes that must fail because of the server before the profile is held, 0 to 100; 0 for never.
    hold_after_mailboxes: u16,
    /// What is done about a delivery that a passing fault has disabled.
    recovery_probe: RecoveryProbe,
}

impl From<hold::HoldSettings> for HoldInput {
    fn from(settings: hold::HoldSettings) -> Self {
        let hold::HoldSettings { hold_after_mailboxes, recovery_probe } = settings;
        Self { hold_after_mailboxes, recovery_probe: recovery_probe.into() }
    }
}

impl From<HoldInput> for hold::HoldSettings {
    fn from(input: HoldInput) -> Self {
        let HoldInput { hold_after_mailboxes, recovery_probe } = input;
        Self { hold_after_mailboxes, recovery_probe: recovery_probe.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_rules() {
        Delivery::check_values();
        TestStatus::check_values();
        Level::check_values();
        RecoveryProbe::check_values();
        Stage::check_values();
        Cause::check_values();
    }
}
