//! An engine whose stores are in memory, whose clock is turned by hand and whose mail servers are real.

use std::{
    cell::Cell,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use mailrail_boot::Servers;
use mailrail_connect::{Connector, InternalHosts};
use mailrail_domain::{
    Timestamp,
    email::{
        identity::sent_email_id,
        quarantine::Quarantined,
        record::{Direction, Email, EmailStatus, Outgoing, Recipient},
    },
    seconds_after,
    settings::{
        mailbox::Mailbox,
        profile::{EmailServerProfile, IncomingProtocol, Security, ServerLocation},
    },
    words::{
        address::EmailAddress,
        alert::Alert,
        delivery::Delivery,
        evidence::Evidence,
        id::{EmailId, MailboxId},
        notice::{Notice, NoticeStatus},
        state::DeliveryState,
        trial::MailboxTest,
    },
};
use mailrail_engine::{
    Deadline, Engine, Settings,
    access::mailbox_owner,
    alerts::alerts_of_mailbox,
    batch::Handled,
    mime::{Composition, compose},
    outbox::Outbox,
    ports::{
        BodyStore, Closing, DeliveryRow, Directory, EmailRecords, MailboxStore, NoticeStore, PageRequest,
        QuarantineStore, QueueName, Secret, StoredMailbox, StoredProfile, TestStore, Vault, Wake, Written,
    },
    trial::Asked,
};
use mailrail_exchange_online::Hosts;
use mailrail_test_support::{build, fakes::MemoryPorts};
use rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::stack::{Account, Server, stack};

/// How long an invocation under test may take; far more than any needs.
const INVOCATION: Duration = Duration::from_secs(120);
/// What passes between two runs of a mailbox: more than the polling interval and the gap between two tries.
pub const BETWEEN_RUNS_SECONDS: i64 = 600;
/// Entries of a list that are read at once.
const ALL: usize = 100_000;

static NUMBER: AtomicU32 = AtomicU32::new(1);

thread_local! {
    /// Each test has a thread, so each turns a clock of its own.
    static AHEAD_SECONDS: Cell<i64> = const { Cell::new(0) };
}

/// The test's clock.
#[must_use]
pub fn now() -> Timestamp {
    seconds_after(build::clock(), AHEAD_SECONDS.get())
}

/// Lets time pass.
pub fn pass(seconds: i64) {
    AHEAD_SECONDS.set(AHEAD_SECONDS.get() + seconds);
}

/// TLS as the functions configure it, with these authorities.
#[must_use]
pub fn trusting(authorities: impl IntoIterator<Item = CertificateDer<'static>>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).expect("a certificate of an authority");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let versions = builder.with_safe_default_protocol_versions().expect("versions that the provider has");
    Arc::new(versions.with_root_certificates(roots).with_no_client_auth())
}

fn local_authority(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).expect("the certificate of the local authority")
}

/// An email of these bytes that is Pending Send, as the API leaves it.
pub async fn pend_raw<S>(
    engine: &Engine<MemoryPorts<S>>,
    mailbox: &MailboxId,
    message_id: &str,
    subject: &str,
    recipients: Vec<EmailAddress>,
    raw: Vec<u8>,
) -> EmailId {
    let id = sent_email_id(message_id);
    let draft = Email {
        id: id.clone(),
        direction: Direction::Outgoing,
        status: EmailStatus::Draft,
        raw_key: format!("emails/{id}/raw"),
        subject: subject.to_owned(),
        received_at: now(),
        outgoing: Some(Outgoing {
            recipients: recipients.into_iter().map(Recipient::new).collect(),
            ..Outgoing::default()
        }),
        ..build::received(mailbox, message_id, 0)
    };
    let ports = &engine.ports;
    ports.bodies.put(&draft.raw_key, raw.into(), "message/rfc822").await.expect("a store that works");
    assert!(ports.records.insert_draft(&draft).await.expect("a store that works"));
    let stored = ports.records.email(&draft.id).await.expect("a store that works").expect("the draft");
    let pending = Email { status: EmailStatus::PendingSend, ..draft };
    let outbox = Outbox::of(&ports.state, &ports.records, now());
    let written = outbox.update(&pending, &stored.revision).await;
    assert!(written.expect("a store that works").is_some());
    id
}

/// An organization with its engine.
#[derive(Debug)]
pub struct World {
    /// The engine.
    pub engine: Engine<MemoryPorts<Servers>>,
}

impl World {
    /// An empty organization that trusts the local servers.
    #[must_use]
    pub fn new() -> Self {
        Self::with_tls(trusting([local_authority(&stack().mail.ca_pem)]))
    }

    /// An empty organization that trusts what `tls` trusts.
    #[must_use]
    pub fn with_tls(tls: Arc<ClientConfig>) -> Self {
        Self::with_exchange_online(tls, Hosts::Microsoft)
    }

    /// The same with Exchange Online at `hosts`.
    #[must_use]
    pub fn with_exchange_online(tls: Arc<ClientConfig>, hosts: Hosts) -> Self {
        Self::connecting(Connector::new(tls, InternalHosts::Allow), hosts)
    }

    /// An empty organization that connects so, with Exchange Online at `hosts`.
    #[must_use]
    pub fn connecting(connector: Connector, hosts: Hosts) -> Self {
        AHEAD_SECONDS.set(0);
        let servers = Servers::new(connector, hosts, now).expect("a client of HTTP");
        Self { engine: Engine::new(MemoryPorts::new(servers), Settings::default(), now) }
    }

    /// A mailbox for `account` under a profile of its own.
    pub async fn mailbox(&self, account: &Account, profile: &EmailServerProfile) -> MailboxId {
        let id = account.address.replace(['@', '.'], "-");
        self.add(&build::mailbox(&id, &account.address, profile), profile, &account.password).await
    }

    /// A mailbox that reads `account` from `server`.
    pub async fn reader(&self, server: Server, account: &Account) -> MailboxId {
        self.mailbox(account, &incoming(server, account)).await
    }

    /// A mailbox with its profile and its password, or token, whose deliveries run.
    pub async fn add(&self, mailbox: &Mailbox, profile: &EmailServerProfile, secret: &str) -> MailboxId {
        let id = self.untested(mailbox, profile, secret).await;
        for delivery in Delivery::ALL {
            let audit = build::audit_at(now());
            assert!(self.engine.ports.state.enable(&id, delivery, 5, &audit).await.expect("a store that works"));
        }
        id
    }

    /// A mailbox with its profile and its password, or token, as it is created.
    pub async fn untested(&self, mailbox: &Mailbox, profile: &EmailServerProfile, secret: &str) -> MailboxId {
        self.put_profile(profile).await;
        let owner = mailbox_owner(&mailbox.id);
        let sealed = self.engine.ports.vault.seal(&owner, &owner, &Secret::new(secret)).await;
        let credentials = Some(sealed.expect("a vault that works"));
        let stored = StoredMailbox { mailbox: mailbox.clone(), credentials, revision: 0 };
        let state = &self.engine.ports.state;
        let created = state.create_mailbox(&stored, &build::audit()).await.expect("a store that works");
        assert_eq!(created, Written::Done);
        mailbox.id.clone()
    }

    /// Gives a mailbox another password.
    pub async fn change_password(&self, mailbox: &MailboxId, password: &str) {
        let state = &self.engine.ports.state;
        let before = state.mailbox(mailbox).await.expect("a store that works").expect("the mailbox");
        let owner = mailbox_owner(mailbox);
        let sealed = self.engine.ports.vault.seal(&owner, &owner, &Secret::new(password)).await;
        let credentials = Some(sealed.expect("a vault that works"));
        let after = StoredMailbox { credentials, ..before.stored.clone() };
        let written = state.change_mailbox(&before, &after, &build::audit()).await.expect("a store that works");
        assert_eq!(written, Written::Done);
    }

    /// Writes a profile, new or changed.
    pub async fn put_profile(&self, profile: &EmailServerProfile) {
        profile.validate().expect("a profile that the API would accept");
        let state = &self.engine.ports.state;
        let before = state.profile(&profile.id).await.expect("a store that works");
        let (revision, credentials) = before.map_or((0, None), |before| (before.revision, before.credentials));
        let stored = StoredProfile { profile: profile.clone(), credentials, revision };
        let written = state.put_profile(&stored, &build::audit()).await.expect("a store that works");
        assert_eq!(written, Written::Done);
    }

    /// Runs a delivery once, some time after the run before.
    pub async fn run(&self, mailbox: &MailboxId, delivery: Delivery) {
        pass(BETWEEN_RUNS_SECONDS);
        let wake = Wake { mailbox: mailbox.clone(), delivery };
        let handled = self.engine.run_batch(&[wake.into()], Deadline::after(INVOCATION)).await;
        assert!(matches!(handled[..], [Handled::Done(_)]), "an outage or a panic: {handled:?}");
    }

    /// Asks for the test of a mailbox, runs it, and gives what it came to.
    pub async fn tested(&self, mailbox: &MailboxId) -> MailboxTest {
        let asked = Asked { by: "ann".to_owned(), items_with_this_organization_only: false };
        assert!(self.engine.request_test(mailbox, &asked, &build::audit_at(now())).await.expect("no outage"));
        self.engine.drain(QueueName::Trials, Deadline::after(INVOCATION)).await.expect("no outage");
        self.engine.ports.state.test(mailbox).await.expect("a store that works").expect("a test")
    }

    /// Receives once; it must succeed.
    pub async fn receive(&self, mailbox: &MailboxId) {
        self.run(mailbox, Delivery::IncomingEmail).await;
        self.check_succeeded(mailbox, Delivery::IncomingEmail).await;
    }

    /// Sends once; the server must not have failed, whatever it said to an email.
    pub async fn send(&self, mailbox: &MailboxId) {
        self.run(mailbox, Delivery::OutgoingEmail).await;
        self.check_succeeded(mailbox, Delivery::OutgoingEmail).await;
    }

    /// An email of `mailbox` that is Pending Send, as the API leaves it.
    pub async fn pend(&self, mailbox: &MailboxId, outbound: &Outbound<'_>) -> EmailId {
        let sender = self.row(mailbox, Delivery::OutgoingEmail).await.mailbox;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let from = sender.address.as_ref().expect("a mailbox with an address");
        let message_id = format!("sent-{number:06}@{}", from.domain());
        let [to, cc, bcc] = [outbound.to, outbound.cc, outbound.bcc].map(addresses);
        let raw = compose(&Composition {
            from: Some((&sender.name, from)),
            to: &to,
            cc: &cc,
            subject: outbound.subject,
            text: "Text of an email.",
            message_id: &message_id,
            ..Composition::default()
        });
        let recipients = to.into_iter().chain(cc).chain(bcc).collect();
        pend_raw(&self.engine, mailbox, &message_id, outbound.subject, recipients, raw).await
    }

    /// An email record.
    pub async fn email(&self, id: &EmailId) -> Email {
        let stored = self.engine.ports.records.email(id).await.expect("a store that works");
        stored.expect("a record that is there").email
    }

    /// Works off the queue as an invocation by the schedule does.
    pub async fn drain(&self, delivery: Delivery) -> usize {
        let drained = self.engine.drain(delivery.into(), Deadline::after(INVOCATION)).await.expect("fakes that work");
        assert_eq!(drained.left, 0, "an outage or a panic");
        drained.done
    }

    async fn check_succeeded(&self, mailbox: &MailboxId, delivery: Delivery) {
        let state = self.state(mailbox, delivery).await;
        let alerts = self.alerts(mailbox).await;
        assert!(state.enabled && state.transient_failure_count == 0 && state.open_alerts.is_empty(), "{alerts:#?}");
    }

    /// The row of a delivery.
    pub async fn row(&self, mailbox: &MailboxId, delivery: Delivery) -> DeliveryRow {
        let row = self.engine.ports.state.load(mailbox, delivery).await.expect("a store that works");
        row.expect("a delivery of a mailbox that is there")
    }

    /// Writes the state of a delivery, as a run would have left it.
    pub async fn write_state(&self, mailbox: &MailboxId, delivery: Delivery, state: DeliveryState) {
        let row = self.row(mailbox, delivery).await;
        let closing = Closing {
            state,
            position: None,
            alerts: Vec::new(),
            notice: None,
            audit: None,
            interval_minutes: row.interval_minutes.unwrap_or(5),
            previous_interval_minutes: row.interval_minutes,
        };
        let written = self.engine.ports.state.commit(&row.claim, &closing).await;
        assert!(written.expect("a store that works"));
    }

    /// The state of a delivery.
    pub async fn state(&self, mailbox: &MailboxId, delivery: Delivery) -> DeliveryState {
        self.row(mailbox, delivery).await.state
    }

    /// The records of a mailbox, by subject.
    pub async fn emails(&self, mailbox: &MailboxId) -> Vec<Email> {
        let mut emails = self.engine.ports.records.emails(mailbox, &everything()).await.expect("a store").items;
        emails.sort_by(|a, b| a.subject.cmp(&b.subject));
        emails
    }

    /// The only record of a mailbox.
    pub async fn only_email(&self, mailbox: &MailboxId) -> Email {
        let emails = self.emails(mailbox).await;
        assert_eq!(emails.len(), 1, "{:?}", emails.iter().map(|email| &email.subject).collect::<Vec<_>>());
        emails.into_iter().next().expect("one")
    }

    /// The subjects of a mailbox's records, in order.
    pub async fn subjects(&self, mailbox: &MailboxId) -> Vec<String> {
        self.emails(mailbox).await.into_iter().map(|email| email.subject).collect()
    }

    /// The quarantine of a mailbox.
    pub async fn quarantined(&self, mailbox: &MailboxId) -> Vec<Quarantined> {
        self.engine.ports.state.quarantined(mailbox, &everything()).await.expect("a store that works").items
    }

    /// The alerts of a mailbox, its own and those of its profile that it refers to.
    pub async fn alerts(&self, mailbox: &MailboxId) -> Vec<Alert> {
        alerts_of_mailbox(&self.engine.ports.state, mailbox, &everything()).await.expect("a store that works").items
    }

    /// What was seen when a mailbox last failed.
    pub async fn evidence(&self, mailbox: &MailboxId) -> Option<Evidence> {
        self.alerts(mailbox).await.into_iter().max_by_key(|alert| alert.last_seen).and_then(|alert| alert.evidence)
    }

    /// The notices in a status.
    pub async fn notices(&self, status: NoticeStatus) -> Vec<Notice> {
        self.engine.ports.state.notices(status, &everything()).await.expect("a store that works").items
    }

    /// An object.
    pub async fn object(&self, key: &str) -> Vec<u8> {
        let object = self.engine.ports.bodies.get(key, u64::MAX).await.expect("a store that works");
        object.unwrap_or_else(|| panic!("no object {key}")).to_vec()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// What an outgoing email is made of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outbound<'a> {
    /// To.
    pub to: &'a [&'a str],
    /// Cc.
    pub cc: &'a [&'a str],
    /// Bcc.
    pub bcc: &'a [&'a str],
    /// Its subject.
    pub subject: &'a str,
}

fn addresses(list: &[&str]) -> Vec<EmailAddress> {
    list.iter().map(|address| build::address(address)).collect()
}

fn everything() -> PageRequest {
    PageRequest { limit: ALL, cursor: None }
}

/// A profile that reads from `server`.
#[must_use]
pub fn incoming(server: Server, account: &Account) -> EmailServerProfile {
    incoming_at(server.protocol(), server.location(), account)
}

/// A profile that sends through Postfix, secured in this way.
#[must_use]
pub fn outgoing(security: Security, account: &Account) -> EmailServerProfile {
    let mail = &stack().mail;
    let port = match security {
        Security::Tls => mail.submissions,
        Security::Starttls => mail.submission,
    };
    outgoing_at(build::location(&mail.host, port, security), account)
}

/// A profile that sends through a server at `location`.
#[must_use]
pub fn outgoing_at(location: ServerLocation, account: &Account) -> EmailServerProfile {
    build::profile(&profile_id(account), None, Some(location))
}

fn profile_id(account: &Account) -> String {
    format!("of-{}", account.address.replace(['@', '.'], "-"))
}

/// A profile that reads from a server at `location`.
#[must_use]
pub fn incoming_at(protocol: IncomingProtocol, location: ServerLocation, account: &Account) -> EmailServerProfile {
    build::profile(&profile_id(account), Some((protocol, location)), None)
}
