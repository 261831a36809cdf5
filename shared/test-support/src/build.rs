//! Builders: a profile and a mailbox with everything set, to be changed where a test cares.

use std::sync::atomic::{AtomicU32, Ordering};

use mailrail_domain::{
    Timestamp,
    email::{
        identity::{MessageIdentity, received_email_id},
        record::{Direction, Email, EmailStatus},
    },
    settings::{
        approval::{Approval, ApprovalState},
        mailbox::{Mailbox, MailboxKind},
        profile::{
            Authentication, EmailServerProfile, ExchangeOnline, ExchangeServer, IncomingProtocol, IncomingServer,
            InternetMail, Security, ServerLocation, Servers,
        },
    },
    words::{
        address::EmailAddress,
        audit::{AuditAction, AuditEntry, AuditSubject},
        cause::CredentialSource,
        delivery::{Delivery, SynchronizationMethod},
        id::{MailboxId, ProfileId},
        policy::UnknownOutcome,
    },
};

/// The system's clock, for engines under test.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a test is as far out as a function")]
pub fn clock() -> Timestamp {
    chrono::Utc::now()
}

/// A fixed moment, the same in every run.
#[must_use]
pub fn moment(second: i64) -> Timestamp {
    Timestamp::from_timestamp(1_750_000_000 + second, 0).expect("a second of this century")
}

/// A mailbox id.
#[must_use]
pub fn mailbox_id(name: &str) -> MailboxId {
    MailboxId::parse(name).expect("an identifier")
}

/// An address.
#[must_use]
pub fn address(text: &str) -> EmailAddress {
    EmailAddress::parse(text).expect("an address")
}

/// A server on this machine.
#[must_use]
pub fn location(host: &str, port: u16, security: Security) -> ServerLocation {
    ServerLocation { host: host.to_owned(), port, security }
}

/// A profile with mailbox credentials.
#[must_use]
pub fn profile(
    id: &str,
    incoming: Option<(IncomingProtocol, ServerLocation)>,
    outgoing: Option<ServerLocation>,
) -> EmailServerProfile {
    EmailServerProfile {
        id: ProfileId::parse(id).expect("an identifier"),
        name: format!("Profile {id}"),
        owner_address: address("owner@example.test"),
        servers: Servers::InternetMail(InternetMail {
            incoming: incoming.map(|(protocol, location)| IncomingServer { protocol, location }),
            outgoing,
        }),
        credentials: CredentialSource::Mailbox,
        username: None,
        authentication: Authentication::Password,
        process_emails_received_after: None,
        minimum_polling_interval_minutes: 0,
        maximum_concurrent_connections: 100,
        delete_after_processing: false,
        connection_timeout_seconds: 10,
        unknown_outcome: UnknownOutcome::Hold,
        hold: None,
        created_at: moment(0),
    }
}

/// The servers of internet mail of a profile, to be changed.
pub fn internet_mail(profile: &mut EmailServerProfile) -> &mut InternetMail {
    match &mut profile.servers {
        Servers::InternetMail(servers) => servers,
        others => panic!("{:?}", others.kind()),
    }
}

/// The Exchange Online of a profile, to be changed.
pub fn exchange_online(profile: &mut EmailServerProfile) -> &mut ExchangeOnline {
    match &mut profile.servers {
        Servers::ExchangeOnline(online) => online,
        others => panic!("{:?}", others.kind()),
    }
}

/// The Exchange Server of a profile, to be changed.
pub fn exchange_server(profile: &mut EmailServerProfile) -> &mut ExchangeServer {
    match &mut profile.servers {
        Servers::ExchangeServer(server) => server,
        others => panic!("{:?}", others.kind()),
    }
}

/// An audit entry like no other.
#[must_use]
pub fn audit() -> AuditEntry {
    audit_at(clock())
}

/// An audit entry of that moment, like no other.
#[must_use]
pub fn audit_at(at: Timestamp) -> AuditEntry {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    AuditEntry {
        id: format!("{:08}", NUMBER.fetch_add(1, Ordering::Relaxed)),
        at,
        by: "ann".to_owned(),
        action: AuditAction::Changed,
        subject: AuditSubject::Mailbox,
        subject_id: "m1".to_owned(),
        fields: vec![],
    }
}

/// An approved mailbox whose incoming and outgoing email are synchronized.
#[must_use]
pub fn mailbox(id: &str, at: &str, profile: &EmailServerProfile) -> Mailbox {
    let method = |there: bool| {
        if there { SynchronizationMethod::ServerSideSynchronization } else { SynchronizationMethod::None }
    };
    Mailbox {
        id: mailbox_id(id),
        name: format!("Mailbox {id}"),
        // The only kind that a profile may delete email of.
        kind: if profile.delete_after_processing { MailboxKind::Queue } else { MailboxKind::User },
        address: Some(address(at)),
        approval: Approval { state: ApprovalState::Approved, ..Approval::default() },
        profile_id: profile.id.clone(),
        username: None,
        process_emails_received_after: None,
        incoming_email: method(profile.endpoint(Delivery::IncomingEmail).is_some()),
        outgoing_email: method(profile.endpoint(Delivery::OutgoingEmail).is_some()),
        appointments_contacts_tasks: SynchronizationMethod::None,
        created_at: moment(0),
    }
}

/// A received email of `mailbox`.
#[must_use]
pub fn received(mailbox: &MailboxId, message_id: &str, second: i64) -> Email {
    let identity = MessageIdentity { message_id: Some(message_id), date: Some(second), ..MessageIdentity::default() };
    let id = received_email_id(&identity);
    Email {
        raw_key: format!("emails/{id}/raw"),
        id,
        mailbox_id: mailbox.clone(),
        direction: Direction::Incoming,
        status: EmailStatus::Received,
        message_id: Some(message_id.to_owned()),
        in_reply_to: None,
        references: vec![],
        from: vec![],
        to: vec![],
        cc: vec![],
        bcc: vec![],
        subject: format!("Message {message_id}"),
        date: None,
        received_at: moment(second),
        size: 10,
        headers: String::new(),
        text: "text".to_owned(),
        html: String::new(),
        truncated: false,
        attachments: vec![],
        outgoing: None,
    }
}
