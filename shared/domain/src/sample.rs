//! A profile and one of its mailboxes, for the tests of this crate.

use crate::{
    Timestamp,
    settings::{
        approval::{Approval, ApprovalState},
        mailbox::{Mailbox, MailboxKind},
        profile::{
            Application, Authentication, CONNECTIONS_DEFAULT, Cloud, EmailServerProfile, ExchangeOnline,
            ExchangeServer, IncomingProtocol, IncomingServer, InternetMail, Security, ServerLocation, Servers,
            TIMEOUT_SECONDS_DEFAULT,
        },
    },
    words::{
        address::EmailAddress,
        cause::CredentialSource,
        delivery::SynchronizationMethod,
        id::{MailboxId, ProfileId},
        policy::UnknownOutcome,
    },
};

/// A profile and one of its mailboxes, for the tests of this crate.
pub(crate) fn sample() -> (EmailServerProfile, Mailbox) {
    let created_at = Timestamp::from_timestamp(1_700_000_000, 0).unwrap();
    let location = ServerLocation { host: "mail.example.org".into(), port: 993, security: Security::Tls };
    let profile = EmailServerProfile {
        id: ProfileId::parse("p1").unwrap(),
        name: "Example IMAP".into(),
        owner_address: EmailAddress::parse("owner@example.org").unwrap(),
        servers: Servers::InternetMail(InternetMail {
            incoming: Some(IncomingServer { protocol: IncomingProtocol::Imap, location: location.clone() }),
            outgoing: Some(ServerLocation { port: 465, ..location }),
        }),
        credentials: CredentialSource::Mailbox,
        username: None,
        authentication: Authentication::Password,
        process_emails_received_after: None,
        minimum_polling_interval_minutes: 0,
        maximum_concurrent_connections: CONNECTIONS_DEFAULT,
        delete_after_processing: false,
        connection_timeout_seconds: TIMEOUT_SECONDS_DEFAULT,
        unknown_outcome: UnknownOutcome::Hold,
        hold: None,
        created_at,
    };
    let mailbox = Mailbox {
        id: MailboxId::parse("m1").unwrap(),
        name: "Sales".into(),
        kind: MailboxKind::User,
        address: EmailAddress::parse("sales@example.org").ok(),
        approval: Approval { state: ApprovalState::Approved, ..Approval::default() },
        profile_id: profile.id.clone(),
        username: None,
        process_emails_received_after: None,
        incoming_email: SynchronizationMethod::ServerSideSynchronization,
        outgoing_email: SynchronizationMethod::ServerSideSynchronization,
        appointments_contacts_tasks: SynchronizationMethod::None,
        created_at,
    };
    (profile, mailbox)
}

/// Exchange Online with an application of the tenant.
pub(crate) fn exchange_online() -> Servers {
    let application = Application {
        tenant_id: "11111111-2222-3333-4444-555555555555".into(),
        client_id: "aaaaaaaa-2222-3333-4444-555555555555".into(),
        cloud: Cloud::Global,
    };
    Servers::ExchangeOnline(ExchangeOnline { application, tracked_folders: Vec::new() })
}

/// Exchange Server that autodiscover finds.
pub(crate) fn exchange_server() -> Servers {
    Servers::ExchangeServer(ExchangeServer {
        location: None,
        exchange_version: None,
        use_impersonation: false,
        application: None,
        tracked_folders: Vec::new(),
        move_undeliverable: false,
    })
}
