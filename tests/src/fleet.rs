//! A fleet: the mailboxes of one profile, over hours of virtual time, against servers in memory.

use std::time::Duration;

use mailrail_domain::{
    email::record::Email,
    settings::{
        hold::HoldSettings,
        organization::Organization,
        profile::{EmailServerProfile, IncomingProtocol, Security},
    },
    words::{
        alert::Alert,
        delivery::{Delivery, SynchronizationMethod},
        id::{EmailId, MailboxId},
        notice::{Notice, NoticeKind, NoticeStatus},
        state::DeliveryState,
    },
};
use mailrail_engine::{
    Deadline, Engine, Settings,
    access::mailbox_owner,
    alerts::alerts_of_mailbox,
    batch::Handled,
    ports::{
        AlertFilter, Directory, EmailRecords, MailboxStore, NoticeStore, PageRequest, Secret, StoredMailbox,
        StoredOrganization, StoredProfile, Vault, Wake, Written,
    },
};
use mailrail_test_support::{
    build,
    fakes::{MemoryPorts, MemoryServers},
};

use crate::{
    letter::Letter,
    world::{BETWEEN_RUNS_SECONDS, now, pass, pend_raw},
};

const INVOCATION: Duration = Duration::from_secs(600);
const MINUTE: i64 = 60;
const ALL: usize = 100_000;
/// How long the server is away, in minutes: longer than ten tries of five minutes last.
pub const OUTAGE_MINUTES: u32 = 55;

/// An organization with one profile, whose servers are in memory.
pub struct Fleet {
    /// What runs it.
    pub engine: Engine<MemoryPorts<MemoryServers>>,
    /// The mailboxes of the profile `fleet`.
    pub mailboxes: Vec<MailboxId>,
}

impl Fleet {
    /// So many mailboxes of one profile, and one of another that sends the notices, all enabled.
    pub async fn of(mailboxes: usize, hold: HoldSettings) -> Self {
        let ports = MemoryPorts::new(MemoryServers::default());
        let settings = Settings { invocations_max: 1, ..Settings::default() };
        let mut fleet = Self { engine: Engine::new(ports, settings, now), mailboxes: Vec::new() };
        let location = build::location("mail.example.test", 993, Security::Tls);
        let incoming = Some((IncomingProtocol::Imap, location.clone()));
        let profile = build::profile("fleet", incoming, Some(location.clone()));
        fleet.put_profile(&profile).await;
        let desk = build::profile("desk", None, Some(location));
        fleet.put_profile(&desk).await;
        let sender = fleet.add("desk-mailbox", &desk).await;
        let organization = Organization { notice_mailbox_id: Some(sender), hold, ..Organization::default() };
        let stored = StoredOrganization { organization, revision: 0 };
        let written = fleet.engine.ports.state.put_organization(&stored, &build::audit()).await;
        assert_eq!(written.expect("a store that works"), Written::Done);
        for number in 0..mailboxes {
            let id = fleet.add(&format!("m{number:04}"), &profile).await;
            fleet.mailboxes.push(id);
        }
        fleet
    }

    async fn put_profile(&self, profile: &EmailServerProfile) {
        let stored = StoredProfile { profile: profile.clone(), credentials: None, revision: 0 };
        let written = self.engine.ports.state.put_profile(&stored, &build::audit()).await;
        assert_eq!(written.expect("a store that works"), Written::Done);
    }

    /// A further mailbox of this profile, enabled, with a password of its own.
    pub async fn add(&self, name: &str, profile: &EmailServerProfile) -> MailboxId {
        let mut mailbox = build::mailbox(name, &format!("{name}@example.test"), profile);
        if profile.endpoint(Delivery::IncomingEmail).is_some() {
            mailbox.outgoing_email = SynchronizationMethod::None;
        }
        let owner = mailbox_owner(&mailbox.id);
        let sealed = self.engine.ports.vault.seal(&owner, &owner, &Secret::new("secret")).await;
        let credentials = Some(sealed.expect("a vault that works"));
        let id = mailbox.id.clone();
        let state = &self.engine.ports.state;
        let stored = StoredMailbox { mailbox, credentials, revision: 0 };
        state.create_mailbox(&stored, &build::audit()).await.expect("a store that works");
        for delivery in Delivery::ALL {
            state.enable(&id, delivery, 5, &build::audit_at(now())).await.expect("a store that works");
        }
        id
    }

    /// A mailbox that only sends, of a profile of its own.
    pub async fn sender(&self, name: &str) -> MailboxId {
        let location = build::location("mail.example.test", 465, Security::Tls);
        let profile = build::profile(&format!("{name}-profile"), None, Some(location));
        self.put_profile(&profile).await;
        self.add(name, &profile).await
    }

    /// An email to each of these that is Pending Send.
    pub async fn pend(&self, mailbox: &MailboxId, message_id: &str, to: &[&str]) -> EmailId {
        let recipients = to.iter().map(|to| build::address(to)).collect();
        let raw = Letter::new(message_id).raw();
        pend_raw(&self.engine, mailbox, &format!("{message_id}@example.test"), message_id, recipients, raw).await
    }

    /// An email record.
    pub async fn email(&self, id: &EmailId) -> Email {
        let stored = self.engine.ports.records.email(id).await.expect("a store that works");
        stored.expect("a record that is there").email
    }

    /// Wakes the outgoing email of a mailbox after the gap between two tries.
    pub async fn send(&self, mailbox: &MailboxId) {
        pass(BETWEEN_RUNS_SECONDS);
        self.wake(mailbox).await;
    }

    /// Wakes the outgoing email of a mailbox now.
    pub async fn wake(&self, mailbox: &MailboxId) {
        let wake = Wake { mailbox: mailbox.clone(), delivery: Delivery::OutgoingEmail };
        let handled = self.engine.run_batch(&[wake.into()], Deadline::after(INVOCATION)).await;
        assert!(matches!(handled[..], [Handled::Done(_)]), "an outage or a panic: {handled:?}");
    }

    /// Where the outgoing email of a mailbox stands.
    pub async fn sending(&self, mailbox: &MailboxId) -> DeliveryState {
        let row = self.engine.ports.state.load(mailbox, Delivery::OutgoingEmail).await.expect("a store that works");
        row.expect("a delivery").state
    }

    /// Lets a minute pass, with its tick, its queue and its notices.
    pub async fn minute(&self) {
        pass(MINUTE);
        self.engine.ports.queue.pass(60);
        self.engine.enqueue_due(Deadline::after(INVOCATION)).await.expect("no outage");
        for delivery in [Delivery::IncomingEmail, Delivery::OutgoingEmail] {
            let drained = self.engine.drain(delivery.into(), Deadline::after(INVOCATION)).await.expect("no outage");
            assert_eq!(drained.left, 0);
        }
        self.engine.notify(Deadline::after(INVOCATION)).await.expect("no outage");
        self.engine.check_profiles(Deadline::after(INVOCATION)).await.expect("no outage");
    }

    /// Lets so many minutes pass.
    pub async fn minutes(&self, count: u32) {
        for _ in 0..count {
            self.minute().await;
        }
    }

    /// The servers of all mailboxes.
    pub fn servers(&self) -> &MemoryServers {
        &self.engine.ports.servers
    }

    /// Delivers one message to every mailbox.
    pub fn deliver_to_all(&self, subject: &str) {
        for id in &self.mailboxes {
            let mut letter = Letter::new(subject);
            letter.message_id = Some(format!("{subject}.{id}@sender.test"));
            self.servers().deliver(&format!("{id}@example.test"), &String::from_utf8(letter.raw()).expect("text"));
        }
    }

    /// How many mailboxes have so many records.
    pub async fn with_records(&self, records: usize) -> usize {
        let page = PageRequest { limit: ALL, cursor: None };
        let mut count = 0;
        for id in &self.mailboxes {
            let emails = self.engine.ports.records.emails(id, &page).await.expect("a store that works").items;
            count += usize::from(emails.len() == records);
        }
        count
    }

    /// How many mailboxes may receive email.
    pub async fn enabled(&self) -> usize {
        let mut count = 0;
        for id in &self.mailboxes {
            count += usize::from(self.state(id).await.enabled);
        }
        count
    }

    /// Where the incoming email of a mailbox stands.
    pub async fn state(&self, mailbox: &MailboxId) -> DeliveryState {
        let row = self.engine.ports.state.load(mailbox, Delivery::IncomingEmail).await.expect("a store that works");
        row.expect("a delivery").state
    }

    /// Enables the incoming email of a mailbox again.
    pub async fn enable(&self, mailbox: &MailboxId) {
        let audit = build::audit_at(now());
        let enabled = self.engine.ports.state.enable(mailbox, Delivery::IncomingEmail, 5, &audit).await;
        assert!(enabled.expect("a store that works"), "there is such a mailbox");
    }

    /// Alerts that are rows of the profile.
    pub async fn profile_alerts(&self) -> Vec<Alert> {
        let filter = AlertFilter::Profile(build::profile("fleet", None, None).id);
        let page = PageRequest { limit: ALL, cursor: None };
        self.engine.ports.state.alerts(&filter, &page).await.expect("a store that works").items
    }

    /// Alerts that are rows of a mailbox.
    pub async fn own_alerts(&self) -> Vec<Alert> {
        let mut own = Vec::new();
        for id in &self.mailboxes {
            let page = PageRequest { limit: ALL, cursor: None };
            let alerts = self.engine.ports.state.alerts(&AlertFilter::Mailbox(id.clone()), &page).await;
            own.extend(alerts.expect("a store that works").items);
        }
        own
    }

    /// The notices of one kind, those that wait before those that were sent.
    pub async fn notices(&self, kind: NoticeKind) -> Vec<Notice> {
        let mut notices = Vec::new();
        for status in [NoticeStatus::Pending, NoticeStatus::Sent] {
            let page = PageRequest { limit: ALL, cursor: None };
            let found = self.engine.ports.state.notices(status, &page).await.expect("a store that works");
            notices.extend(found.items.into_iter().filter(|notice| notice.kind == kind));
        }
        notices
    }

    /// Subjects of the emails that went to the owner.
    pub fn told(&self) -> Vec<String> {
        let subject = |message: String| -> String {
            let message = mail_parser::MessageParser::default().parse(&message).expect("a message of ours");
            message.subject().unwrap_or_default().to_owned()
        };
        self.servers().sent().into_iter().map(|(_, message)| subject(message)).collect()
    }

    /// Lets minutes pass until the owner has been warned.
    ///
    /// # Panics
    /// When that takes longer than ten tries do.
    pub async fn minutes_until_warned(&self) {
        for _ in 0..OUTAGE_MINUTES {
            self.minute().await;
            if !self.notices(NoticeKind::Warning).await.is_empty() {
                return;
            }
        }
        panic!("nobody was warned in {OUTAGE_MINUTES} minutes");
    }

    /// Changes the organization's settings.
    pub async fn set(&self, change: impl FnOnce(&mut Organization)) {
        let state = &self.engine.ports.state;
        let mut stored = state.organization().await.expect("a store that works");
        change(&mut stored.organization);
        let written = state.put_organization(&stored, &build::audit()).await.expect("a store that works");
        assert_eq!(written, Written::Done);
    }

    /// Alerts that the first mailbox shows.
    pub async fn alerts(&self) -> Vec<Alert> {
        self.alerts_of(&self.mailboxes[0]).await
    }

    /// Alerts that a mailbox shows: its own, and those of the profile that it has met.
    pub async fn alerts_of(&self, mailbox: &MailboxId) -> Vec<Alert> {
        let page = PageRequest { limit: ALL, cursor: None };
        let found = alerts_of_mailbox(&self.engine.ports.state, mailbox, &page).await;
        found.expect("a store that works").items
    }

    /// Lets an hour pass in which nothing runs but the look at how fresh all is.
    pub async fn hour_without_runs(&self) {
        for _ in 0..60 {
            pass(MINUTE);
            self.engine.check_freshness(Deadline::after(INVOCATION)).await.expect("no outage");
        }
    }
}
