//! A simulation from a seed: the engine over hours of virtual time, with faults at any of its calls, troubled mail servers,
//! wakes that are lost, doubled or late, and people who act meanwhile. What must always hold is asked when all is calm.

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use mailrail_domain::{
    Timestamp,
    email::{
        identity::sent_email_id,
        quarantine::Quarantined,
        record::{Direction, Email, EmailStatus, Outgoing, Recipient, RecipientStatus},
    },
    rules::classification::{Permanence, classify},
    settings::{
        hold::{HoldSettings, RecoveryProbe},
        organization::Organization,
        profile::{EmailServerProfile, IncomingProtocol, Security},
    },
    words::{
        alert::AlertStatus,
        cause::CredentialSource,
        delivery::Delivery,
        id::{EmailId, MailboxId},
        notice::NoticeStatus,
        policy::{FAILURES_MAX, UnknownOutcome},
        state::DeliveryState,
    },
};
use mailrail_engine::{
    Deadline, Engine, Settings,
    access::mailbox_owner,
    outbox::Outbox,
    ports::{
        AlertFilter, BodyStore, Directory, EmailRecords, HealthStore, MailboxStore, NoticeStore, PageRequest,
        QuarantineStore, QueueName, Secret, StoredMailbox, StoredOrganization, StoredProfile, Vault, Wake,
    },
    trial::Asked,
};
use mailrail_test_support::{
    build,
    fakes::{FaultyPorts, Withheld},
};

use crate::letter::Letter;

thread_local! {
    /// A seed has a clock of its own, so that it goes the same way whenever it is run.
    static SECONDS: Cell<i64> = const { Cell::new(0) };
}

fn now() -> Timestamp {
    build::moment(SECONDS.get())
}

fn pass(seconds: i64) {
    SECONDS.set(SECONDS.get() + seconds);
}

const INVOCATION: Duration = Duration::from_secs(600);
const MINUTE: i64 = 60;
/// Minutes of trouble.
const TROUBLED_MINUTES: u32 = 240;
/// Minutes of calm, after which everything has to be as it should: longer than a day, because a message that was passed
/// over is asked for again after at most a day.
const CALM_MINUTES: u32 = 26 * 60;
const MAILBOXES: usize = 4;
const POLLING_MINUTES: u16 = 5;
const ALL: usize = 10_000;

/// One simulation.
pub struct Simulation {
    engine: Engine<FaultyPorts>,
    random: fastrand::Rng,
    mailboxes: Vec<MailboxId>,
    /// Subjects of what was delivered to each mailbox.
    delivered: BTreeMap<MailboxId, Vec<String>>,
    /// Emails that were to be sent.
    emails: Vec<EmailId>,
    /// How each delivery stood when it was last looked at.
    seen: BTreeMap<(MailboxId, Delivery), DeliveryState>,
    /// What happened, for whoever reads a violation.
    history: Vec<String>,
}

impl Simulation {
    /// Runs the simulation of a seed. What did not hold, with its history, or nothing.
    pub async fn run(seed: u64) -> Result<(), String> {
        let mut simulation = Self::of_seed(seed).await;
        let told = |simulation: &Self, violation: String| {
            let last = simulation.history.len().saturating_sub(40);
            format!("seed {seed}: {violation}\n{}", simulation.history[last..].join("\n"))
        };
        for minute in 0..TROUBLED_MINUTES {
            simulation.act(minute).await;
            simulation.minute().await;
            if let Err(violation) = simulation.look().await {
                return Err(told(&simulation, violation));
            }
        }
        simulation.calm().await;
        for _ in 0..CALM_MINUTES {
            simulation.minute().await;
        }
        let checked = simulation.check().await;
        checked.map_err(|violation| told(&simulation, violation))
    }

    async fn of_seed(seed: u64) -> Self {
        SECONDS.set(0);
        let mut random = fastrand::Rng::with_seed(seed);
        let ports = FaultyPorts::of_seed(seed);
        let settings = Settings { invocations_max: 1, ..Settings::default() };
        let mut simulation = Self {
            engine: Engine::new(ports, settings, now),
            mailboxes: Vec::new(),
            delivered: BTreeMap::new(),
            emails: Vec::new(),
            seen: BTreeMap::new(),
            history: Vec::new(),
            random: random.fork(),
        };
        let hold_after_mailboxes = if random.bool() { 3 } else { 0 };
        let recovery_probe = if random.bool() { RecoveryProbe::Resume } else { RecoveryProbe::Off };
        let location = build::location("mail.example.test", 993, Security::Tls);
        let incoming = Some((IncomingProtocol::Imap, location.clone()));
        let unknown_outcome = if random.bool() { UnknownOutcome::Hold } else { UnknownOutcome::SendAgain };
        let fleet = build::profile("fleet", incoming, Some(location.clone()));
        let fleet = EmailServerProfile { unknown_outcome, minimum_polling_interval_minutes: POLLING_MINUTES, ..fleet };
        let desk = build::profile("desk", None, Some(location));
        for profile in [&fleet, &desk] {
            let stored = StoredProfile { profile: profile.clone(), credentials: None, revision: 0 };
            simulation.state().put_profile(&stored, &build::audit()).await.expect("a store that works");
        }
        let sender = simulation.add("desk-mailbox", &desk).await;
        let hold = HoldSettings { hold_after_mailboxes, recovery_probe };
        let organization = Organization { notice_mailbox_id: Some(sender), hold, ..Organization::default() };
        let stored = StoredOrganization { organization, revision: 0 };
        simulation.state().put_organization(&stored, &build::audit()).await.expect("a store that works");
        for number in 0..MAILBOXES {
            let id = simulation.add(&format!("m{number}"), &fleet).await;
            simulation.mailboxes.push(id);
        }
        if random.bool() {
            simulation.engine.ports.servers.keep_copies();
        }
        simulation.engine.ports.servers.set_trouble(seed, random.u32(0..80));
        simulation.engine.ports.faults.set_rate(random.u32(0..12));
        simulation
    }

    fn state(&self) -> &mailrail_test_support::fakes::MemoryState {
        &self.engine.ports.state.inner
    }

    async fn add(&self, name: &str, profile: &EmailServerProfile) -> MailboxId {
        let mailbox = build::mailbox(name, &address(name), profile);
        let owner = mailbox_owner(&mailbox.id);
        let sealed = self.engine.ports.vault.inner.seal(&owner, &owner, &Secret::new("secret")).await;
        let credentials = Some(sealed.expect("a vault that works"));
        let id = mailbox.id.clone();
        let stored = StoredMailbox { mailbox, credentials, revision: 0 };
        self.state().create_mailbox(&stored, &build::audit()).await.expect("a store that works");
        self.enable(&id).await;
        id
    }

    async fn enable(&self, mailbox: &MailboxId) {
        for delivery in [Delivery::IncomingEmail, Delivery::OutgoingEmail] {
            let audit = build::audit_at(now());
            self.state().enable(mailbox, delivery, POLLING_MINUTES, &audit).await.expect("a store that works");
        }
    }

    fn note(&mut self, what: String) {
        self.history.push(format!("{} {what}", now().format("%H:%M")));
    }

    /// What happens in a minute besides the schedule.
    async fn act(&mut self, minute: u32) {
        let index = self.random.usize(0..self.mailboxes.len());
        let id = self.mailboxes[index].clone();
        let username = address(id.as_str());
        match self.random.u32(0..40) {
            0..10 => {
                let number = self.delivered.get(&id).map_or(0, Vec::len);
                let subject = format!("{id} message {number}");
                let mut letter = Letter::new(&subject).at(now());
                letter.message_id = Some(format!("{id}.{number}@sender.test"));
                let raw = String::from_utf8(letter.raw()).expect("text");
                self.engine.ports.servers.deliver(&username, &raw);
                self.delivered.entry(id.clone()).or_default().push(subject);
                self.note(format!("a message for {id}"));
            }
            10..14 => self.pend(&id, minute).await,
            14 => {
                self.engine.ports.servers.set_down(true);
                self.note("the server is down".to_owned());
            }
            15 | 16 => {
                self.engine.ports.servers.set_down(false);
                self.note("the server is up".to_owned());
            }
            17 => {
                self.engine.ports.servers.refuse(&username);
                self.note(format!("{id} is refused"));
            }
            18 | 19 => {
                self.engine.ports.servers.accept(&username);
                self.enable(&id).await;
                self.note(format!("{id} is accepted and enabled"));
            }
            20 => {
                let waiting = self.delivered.get(&id).map_or(0, Vec::len);
                let number = u32::try_from(waiting + 1).unwrap_or(1);
                let kind = if self.random.bool() { Withheld::Refused } else { Withheld::HungUp };
                self.engine.ports.servers.withhold(&username, number, Some(kind));
                self.note(format!("message {number} of {id} will be withheld: {kind:?}"));
            }
            21 | 22 => {
                let asked = Asked { by: "ann".to_owned(), items_with_this_organization_only: false };
                let audit = build::audit_at(now());
                let asked = tokio::select! {
                    biased;
                    asked = self.engine.request_test(&id, &asked, &audit) => Some(asked),
                    () = self.engine.ports.faults.death() => None,
                };
                self.note(format!("a test of {id}: {asked:?}"));
            }
            23 => self.change_password(&id).await,
            24..28 => {
                self.engine.ports.queue.inner.disturb(&mut self.random);
                self.note("a wake is lost, doubled or late".to_owned());
            }
            _ => {}
        }
    }

    async fn pend(&mut self, mailbox: &MailboxId, minute: u32) {
        let message_id = format!("{mailbox}.{minute}@example.test");
        let id = sent_email_id(&message_id);
        let to = ["a@other.test", "b@other.test"].map(build::address);
        let recipients = to.into_iter().take(self.random.usize(1..=2)).map(Recipient::new).collect();
        let mut letter = Letter::new("Out");
        letter.message_id = Some(message_id.clone());
        let draft = Email {
            id: id.clone(),
            direction: Direction::Outgoing,
            status: EmailStatus::Draft,
            raw_key: format!("emails/{id}/raw"),
            received_at: now(),
            outgoing: Some(Outgoing { recipients, ..Outgoing::default() }),
            ..build::received(mailbox, &message_id, 0)
        };
        let ports = &self.engine.ports;
        ports
            .bodies
            .inner
            .put(&draft.raw_key, letter.raw().into(), "message/rfc822")
            .await
            .expect("a store that works");
        ports.records.inner.insert_draft(&draft).await.expect("a store that works");
        let stored = ports.records.inner.email(&id).await.expect("a store that works").expect("the draft");
        let pending = Email { status: EmailStatus::PendingSend, ..draft };
        let outbox = Outbox::of(&ports.state.inner, &ports.records.inner, now());
        outbox.update(&pending, &stored.revision).await.expect("a store that works");
        let wake = Wake { mailbox: mailbox.clone(), delivery: Delivery::OutgoingEmail };
        let _ = mailrail_engine::ports::JobQueue::send(&ports.queue.inner, &[wake.into()], 0).await;
        self.emails.push(id);
        self.note(format!("an email of {mailbox}: {message_id}"));
    }

    async fn change_password(&mut self, id: &MailboxId) {
        let before = self.state().mailbox(id).await.expect("a store that works").expect("a mailbox");
        let owner = mailbox_owner(id);
        let secret = Secret::new(format!("secret {}", self.random.u32(..)));
        let sealed = self.engine.ports.vault.inner.seal(&owner, &owner, &secret).await.expect("a vault that works");
        let after = StoredMailbox { credentials: Some(sealed), ..before.stored.clone() };
        let written = self.state().change_mailbox(&before, &after, &build::audit_at(now())).await;
        self.note(format!("the password of {id}: {written:?}"));
    }

    /// A minute of the schedule, each part of which may be killed.
    async fn minute(&mut self) {
        let seconds = MINUTE + self.random.i64(-20..20);
        pass(seconds);
        self.engine.ports.queue.inner.pass(u32::try_from(seconds).unwrap_or_default());
        let deadline = || Deadline::after(INVOCATION);
        let ports = &self.engine.ports;
        let death = || ports.faults.death();
        let killed: [bool; 6] = [
            tokio::select! { biased; _ = self.engine.enqueue_due(deadline()) => false, () = death() => true },
            // Two invocations of one function, side by side.
            tokio::select! {
                biased;
                _ = async {
                    tokio::join!(
                        self.engine.drain(Delivery::IncomingEmail.into(), deadline()),
                        self.engine.drain(Delivery::OutgoingEmail.into(), deadline()),
                        self.engine.drain(QueueName::Trials, deadline()),
                        self.engine.drain(Delivery::IncomingEmail.into(), deadline()),
                    )
                } => false,
                () = death() => true,
            },
            tokio::select! { biased; _ = self.engine.drain(Delivery::OutgoingEmail.into(), deadline()) => false, () = death() => true },
            tokio::select! { biased; _ = self.engine.notify(deadline()) => false, () = death() => true },
            tokio::select! { biased; _ = self.engine.check_profiles(deadline()) => false, () = death() => true },
            tokio::select! { biased; _ = self.engine.check_freshness(deadline()) => false, () = death() => true },
        ];
        if killed.contains(&true) {
            self.note(format!("killed: {killed:?}"));
        }
    }

    async fn deliveries(&self) -> Vec<(MailboxId, Delivery, DeliveryState, Option<Timestamp>)> {
        let mut found = Vec::new();
        for id in &self.mailboxes {
            for delivery in [Delivery::IncomingEmail, Delivery::OutgoingEmail] {
                let row = self.state().load(id, delivery).await.expect("a store that works").expect("a delivery");
                found.push((id.clone(), delivery, row.state, row.leased_until));
            }
        }
        found
    }

    /// What holds at every moment: nothing is disabled but by a permanent cause or the tenth failure in a row.
    async fn look(&mut self) -> Result<(), String> {
        for (id, delivery, state, _) in self.deliveries().await {
            let before = self.seen.insert((id.clone(), delivery), state.clone());
            let was_enabled = before.is_some_and(|before| before.enabled);
            if !was_enabled || state.enabled {
                continue;
            }
            self.note(format!("{id} {} is disabled", delivery.as_str()));
            let filter = AlertFilter::Mailbox(id.clone());
            let page = PageRequest { limit: ALL, cursor: None };
            let alerts = self.state().alerts(&filter, &page).await.expect("a store that works").items;
            let is_permanent = alerts
                .iter()
                .filter(|alert| alert.status == AlertStatus::Open && alert.delivery == delivery)
                .filter_map(|alert| alert.cause)
                .any(|cause| classify(cause, CredentialSource::Mailbox).permanence == Permanence::Permanent);
            if state.transient_failure_count < FAILURES_MAX && !is_permanent {
                return Err(format!("{id} {} is disabled for no reason: {state:?}", delivery.as_str()));
            }
        }
        Ok(())
    }

    /// Ends every trouble, and has a person enable everything.
    async fn calm(&mut self) {
        let ports = &self.engine.ports;
        ports.faults.set_rate(0);
        ports.servers.set_trouble(0, 0);
        ports.servers.set_down(false);
        for id in self.mailboxes.clone() {
            let username = address(id.as_str());
            self.engine.ports.servers.accept(&username);
            for number in 1..=1_000 {
                self.engine.ports.servers.withhold(&username, number, None);
            }
            self.enable(&id).await;
        }
        self.note("all is calm".to_owned());
    }

    /// What has to hold when all has been calm for long.
    async fn check(&self) -> Result<(), String> {
        let page = PageRequest { limit: ALL, cursor: None };
        for (id, subjects) in &self.delivered {
            let emails = self.engine.ports.records.inner.emails(id, &page).await.expect("a store that works").items;
            for subject in subjects {
                let records = emails.iter().filter(|email| email.subject == *subject).count();
                if records != 1 {
                    let left = self.state().quarantined(id, &page).await.expect("a store that works").items;
                    let left: Vec<_> = left.into_iter().map(|message| (message.remote_id, message.reason)).collect();
                    let row = self.state().load(id, Delivery::IncomingEmail).await.expect("a store that works");
                    let row = row.map(|row| (row.state, row.position));
                    return Err(format!("{subject:?} has {records} records; in quarantine: {left:?}; {row:?}"));
                }
            }
        }
        for id in &self.mailboxes {
            let left: Vec<Quarantined> = self.state().quarantined(id, &page).await.expect("a store that works").items;
            if !left.is_empty() {
                return Err(format!("in quarantine still: {left:?}"));
            }
        }
        for (id, delivery, state, leased_until) in self.deliveries().await {
            let is_well = state.enabled && state.transient_failure_count == 0 && state.open_alerts.is_empty();
            if !is_well || leased_until.is_some_and(|until| until > now()) {
                return Err(format!("{id} {} is not well: {state:?} {leased_until:?}", delivery.as_str()));
            }
            let is_fresh =
                state.last_run.is_some_and(|at| (now() - at).num_minutes() <= 2 * i64::from(POLLING_MINUTES));
            if delivery == Delivery::IncomingEmail && !is_fresh {
                return Err(format!("{id} was last looked at {:?}, and it is {}", state.last_run, now()));
            }
        }
        let open = AlertFilter::Status(AlertStatus::Open);
        let alerts = self.state().alerts(&open, &page).await.expect("a store that works").items;
        if !alerts.is_empty() {
            return Err(format!("open still: {alerts:#?}"));
        }
        let pending = self.state().notices(NoticeStatus::Pending, &page).await.expect("a store that works").items;
        if !pending.is_empty() {
            return Err(format!("never sent: {:?}", pending[0]));
        }
        let health = self.state().health(&build::profile("fleet", None, None).id).await.expect("a store that works");
        if health.is_some() {
            return Err(format!("held still: {health:?}"));
        }
        self.check_emails().await
    }

    /// No email is lost, called what it is not, or sent twice without the profile allowing it.
    async fn check_emails(&self) -> Result<(), String> {
        let sent = self.engine.ports.servers.sent();
        let profile = build::profile("fleet", None, None).id;
        let profile = self.state().profile(&profile).await.expect("a store that works").expect("a profile").profile;
        for id in &self.emails {
            let email = self.engine.ports.records.inner.email(id).await.expect("a store that works").expect("a record");
            let email = email.email;
            let own = format!("<{}>", email.message_id.clone().unwrap_or_default());
            if matches!(email.status, EmailStatus::PendingSend | EmailStatus::Sending) {
                return Err(format!("{own} waits still: {email:?}"));
            }
            for recipient in email.outgoing.iter().flat_map(|outgoing| &outgoing.recipients) {
                let copies =
                    sent.iter().filter(|(to, message)| to.contains(&recipient.address) && message.contains(&own));
                let copies = copies.count();
                let is_sent = recipient.status == RecipientStatus::Sent;
                if !is_sent && profile.unknown_outcome == UnknownOutcome::SendAgain {
                    return Err(format!("{own} never went to {}: {email:?}", recipient.address.as_str()));
                }
                if is_sent && copies == 0 {
                    return Err(format!("{own} is called sent to {}, and was not", recipient.address.as_str()));
                }
                if copies > 1 && profile.unknown_outcome == UnknownOutcome::Hold {
                    return Err(format!("{own} went {copies} times to {}", recipient.address.as_str()));
                }
            }
        }
        Ok(())
    }
}

fn address(name: &str) -> String {
    format!("{name}@example.test")
}
