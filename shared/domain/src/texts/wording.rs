//! The words of alerts: what could not be done, why, and what to do about it.

use crate::{
    Timestamp,
    settings::profile::{EmailServerProfile, ServerType},
    words::{
        alert::{AlertAction, AlertKind},
        cause::DeliveryError,
        delivery::Delivery,
    },
};

pub(super) fn capitalized(purpose: &str, name: &str) -> String {
    let mut letters = purpose.chars();
    let first = letters.next().map_or(String::new(), |first| first.to_uppercase().collect());
    format!("{first}{} for the mailbox {name}", letters.as_str())
}

pub(super) const fn action(kind: AlertKind) -> Option<AlertAction> {
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
        | AlertKind::AuthenticationNotOffered
        | AlertKind::ApplicationUnknown => Some(AlertAction::ChangeProfile),
        AlertKind::OtherPrimaryOrganization => Some(AlertAction::OverridePrimaryOrganization),
        AlertKind::ServerUnavailable
        | AlertKind::OrganizerMissing
        | AlertKind::PermissionMissing
        | AlertKind::MailboxNotEnabled
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

/// What cannot be done for `whom`: a mailbox, or those of a profile.
pub(super) fn undone(delivery: Delivery, whom: &str) -> String {
    match delivery {
        Delivery::IncomingEmail => format!("Email cannot be received for {whom}"),
        Delivery::OutgoingEmail => format!("Email cannot be sent for {whom}"),
        Delivery::AppointmentsContactsTasks => {
            format!("Appointments, contacts, and tasks can't be synchronized for {whom}")
        }
    }
}

pub(super) fn reason(kind: AlertKind, error: &DeliveryError, profile: &EmailServerProfile) -> String {
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
        AlertKind::ApplicationUnknown => "the tenant does not know the application of the email server profile".into(),
        AlertKind::PermissionMissing => "the application has no permission for the mailbox".into(),
        AlertKind::MailboxNotEnabled => match profile.server_type() {
            ServerType::InternetMail | ServerType::ExchangeOnline => {
                "the user has no mailbox in Exchange Online that can be used".into()
            }
            ServerType::ExchangeServer => "the user has no mailbox on the server that can be used".into(),
        },
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
        AlertKind::OrganizerMissing => "the Organizer field is not present".into(),
        AlertKind::OtherPrimaryOrganization => {
            "the email address of the mailbox is configured with another organization".into()
        }
        AlertKind::EmailPendingSend => "it may not send".into(),
        AlertKind::ProfileHeld => "the email server profile is held".into(),
        AlertKind::MajorityFailing => "more than half of the mailboxes fail".into(),
        AlertKind::Stalled => "it does not get its turn".into(),
        AlertKind::UnknownError => format!("an unknown error occurred while {}", error.evidence.stage.doing()),
    }
}

pub(super) fn resolution(kind: AlertKind, profile: &EmailServerProfile) -> Vec<String> {
    let holder = profile.credential_holder();
    let name = &profile.name;
    let (right, some) = match profile.server_type() {
        ServerType::InternetMail | ServerType::ExchangeServer => {
            ("the right user name and password", "a user name and a password")
        }
        ServerType::ExchangeOnline => (
            "a valid client secret or certificate of the application",
            "a client secret or certificate of the application",
        ),
    };
    match kind {
        AlertKind::MailboxLocationNotDetermined if profile.is_discovered() => vec![
            "Ask the administrator of Exchange to mend autodiscover for the mailbox's domain. The server's words say what was seen at each place.".to_owned(),
            format!("Or set autodiscover of the email server profile {name} to false, and give the location of the Exchange web services."),
        ],
        AlertKind::MailboxLocationNotDetermined if profile.server_type() == ServerType::ExchangeOnline => vec![
            "Check that this deployment resolves login.microsoftonline.com and graph.microsoft.com, or those of the tenant's cloud, to public addresses.".to_owned(),
        ],
        AlertKind::MailboxLocationNotDetermined => {
            vec![format!("Check the server names in the email server profile {name} for typing errors, and check that they resolve to a public address.")]
        }
        AlertKind::ServerNotReachable => vec![
            match profile.server_type() {
                ServerType::InternetMail => format!("Check server name and port in the email server profile {name} (IMAP 993 or 143, POP3 995 or 110, SMTP 465 or 587)."),
                ServerType::ExchangeOnline => "Check that this deployment can reach login.microsoftonline.com and graph.microsoft.com, or those of the tenant's cloud.".to_owned(),
                ServerType::ExchangeServer => format!("Check the location in the email server profile {name}, such as https://mail.example.com/EWS/Exchange.asmx."),
            },
            "Check that the email server is up and that no firewall blocks the connection.".to_owned(),
        ],
        AlertKind::SecureConnectionFailed => vec![
            "Check that the server's certificate has not expired, names the server as the profile does, and is signed by an authority that this deployment trusts.".to_owned(),
            match profile.server_type() {
                ServerType::InternetMail => "Check that port and security of the profile go together: TLS from the start (993, 995, 465) or STARTTLS (143, 110, 587).",
                ServerType::ExchangeOnline | ServerType::ExchangeServer => "Check that no proxy between this deployment and the server decrypts TLS.",
            }.to_owned(),
        ],
        AlertKind::ServerNotSupported => vec![
            match profile.server_type() {
                ServerType::InternetMail | ServerType::ExchangeOnline => format!("Check that protocol and port in the email server profile {name} are those of the server."),
                ServerType::ExchangeServer => format!("Check that the location in the email server profile {name} is that of the Exchange web services, and that the server is Exchange Server 2013 SP1 or later."),
            },
            "If they are, the server lacks something that synchronization needs. The server's words say what it lacks.".to_owned(),
        ],
        AlertKind::ServerUnavailable | AlertKind::SendingDeferred => {
            vec!["If the error does not pass by itself, ask the administrator of the email server about its limits and its state.".to_owned()]
        }
        AlertKind::AuthenticationNotOffered => {
            let ways = match profile.server_type() {
                ServerType::InternetMail | ServerType::ExchangeOnline => "password, or XOAUTH2",
                ServerType::ExchangeServer => "password for Basic, ntlm, or client-certificate",
            };
            vec![format!("Set the authentication of the email server profile {name} to one that the server offers ({ways}).")]
        }
        AlertKind::CredentialsMissing => vec![format!("Enter {some} in {holder}.")],
        AlertKind::MailboxCredentialsIncorrect => vec![
            format!("Enter the right user name and password in {holder}. The present ones are not tried again."),
            "Check that the account may use the mailbox, and that the provider allows this way of signing in (some providers require an app password or OAuth 2.0).".to_owned(),
        ],
        AlertKind::ProfileCredentialsIncorrect => vec![
            format!("Enter {right} in {holder}. What is stored now is not tried again."),
            match profile.server_type() {
                ServerType::InternetMail | ServerType::ExchangeOnline => "Check that the account of the profile, or its application, may use each of its mailboxes.",
                ServerType::ExchangeServer => "Give the account of the profile the role ApplicationImpersonation, or full access to each mailbox, and check that Exchange web services are enabled for the mailbox and the organization (Get-CASMailbox, Get-OrganizationConfig).",
            }.to_owned(),
        ],
        AlertKind::SignInFailed => {
            vec![format!("Check the credentials in {holder}. If they are right, look for the reason in the server's log.")]
        }
        AlertKind::ApplicationUnknown => vec![
            format!("Check tenant_id, client_id and cloud of the email server profile {name} against the application's registration in Microsoft Entra ID."),
            "If the application is registered in another tenant, have an administrator of this one consent to it.".to_owned(),
        ],
        AlertKind::PermissionMissing => vec![
            "In Microsoft Entra ID, give the application the application permissions Mail.ReadWrite and Mail.Send of Microsoft Graph, and grant admin consent.".to_owned(),
            "If the application is narrowed to some mailboxes, by role-based access control for applications or an application access policy, add this mailbox to its scope. Changes can take up to two hours.".to_owned(),
        ],
        AlertKind::MailboxNotEnabled if profile.server_type() == ServerType::ExchangeServer => {
            vec!["Check that the user's account is not disabled and has a mailbox on this server.".to_owned()]
        }
        AlertKind::MailboxNotEnabled => vec![
            "Give the user a licence with Exchange Online, or make the mailbox a shared one.".to_owned(),
            "If the mailbox is on a server of your own, use a profile of Exchange Server. A mailbox that was just made can take a day to be ready.".to_owned(),
        ],
        AlertKind::MailboxInUse => vec!["Stop the other programs that read this mailbox over POP3, or let them read another mailbox.".to_owned()],
        AlertKind::MailboxNotFound => vec!["Check the user name, and check that the mailbox exists and has an inbox.".to_owned()],
        AlertKind::OverQuota => vec!["Free space in the mailbox, or raise its quota.".to_owned()],
        AlertKind::SenderRefused => {
            vec!["Give the account the right to send as the mailbox's address (on Exchange: Send As, or Send on Behalf), or use the account that owns it.".to_owned()]
        }
        AlertKind::TestMessageNotArrived => vec![
            "Look for the test message in the mailbox and in its spam folder, because the server accepted it.".to_owned(),
            "Check that email to the mailbox's address arrives in the inbox of the account that the mailbox signs in to.".to_owned(),
        ],
        AlertKind::AddressNotApproved => vec![
            "Approve the email address of the mailbox: Approve Email, for one mailbox or many.".to_owned(),
            "Or switch off, in the organization's settings, \"process emails only for approved users\" or \"process emails only for approved queues\".".to_owned(),
        ],
        AlertKind::TenantApprovalRequired => vec![
            "Have the tenant's administrator approve the email address of the mailbox. Exchange Online requires this approval whatever the organization's settings are, because it takes the place of credentials.".to_owned(),
        ],
        AlertKind::OrganizerMissing => vec![
            "Make sure that the application that writes the appointments sets their organizer.".to_owned(),
        ],
        AlertKind::OtherPrimaryOrganization => vec![
            "If this is the mailbox's primary organization, test and enable it with items_with_this_organization_only, which overwrites the setting. The other organization then no longer synchronizes its items.".to_owned(),
            "Otherwise set the synchronization method for appointments, contacts, and tasks to none here.".to_owned(),
        ],
        AlertKind::EmailPendingSend => vec![
            "Open the mailbox and check that its synchronization method for outgoing email is server-side synchronization.".to_owned(),
            "Read the other alerts of the mailbox, mend what they name, and test and enable the mailbox again. The waiting email is then sent by itself.".to_owned(),
        ],
        AlertKind::ProfileHeld => vec!["Check that the servers of the profile are up and reachable.".to_owned()],
        AlertKind::MajorityFailing => vec![
            "Read the open alerts of the mailboxes of the profile. Begin with the cause that most of them name.".to_owned(),
            format!("Check that the servers of the email server profile {name} are up and reachable."),
        ],
        AlertKind::Stalled => vec![
            "Look at the alarms of this deployment, at the dead letters of its queues and at the logs of its functions.".to_owned(),
            format!("Check that maximum_concurrent_connections of the email server profile {name} is high enough for the number of its mailboxes."),
        ],
        AlertKind::UnknownError => vec!["Read the server's words below. Nothing else is known about this error.".to_owned()],
    }
}

/// A time as a person says it: in seconds up to two minutes, then in minutes.
pub(super) fn duration(seconds: u32) -> String {
    match seconds {
        1 => "1 second".to_owned(),
        0..120 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// A moment, to the second, in UTC.
pub(super) fn moment(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
