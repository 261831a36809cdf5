//! A server that fails: a thousand mailboxes of one profile over hours of virtual time, and single ones that recover.

use std::time::Duration;

use end_to_end::{
    letter::Letter,
    world::{now, pass},
};
use mailrail_domain::{
    settings::{
        hold::{HoldSettings, RecoveryProbe},
        organization::Organization,
        profile::{EmailServerProfile, IncomingProtocol, Security},
    },
    words::{
        alert::{Alert, AlertAction, AlertKind, AlertScope, AlertStatus, Level},
        delivery::{Delivery, SynchronizationMethod},
        id::MailboxId,
        notice::{Notice, NoticeKind, NoticeStatus},
    },
};
use mailrail_engine::{
    Deadline, Engine, Settings,
    access::mailbox_owner,
    alerts::alerts_of_mailbox,
    ports::{
        AlertFilter, Directory, HealthStore, MailboxStore, NoticeStore, PageRequest, RecordStore, Secret,
        StoredMailbox, StoredOrganization, StoredProfile, Vault, Written,
    },
};
use mailrail_test_support::{
    build,
    fakes::{MemoryPorts, MemoryServers},
};

const INCOMING: Delivery = Delivery::IncomingEmail;
const INVOCATION: Duration = Duration::from_secs(600);
const MINUTE: i64 = 60;
const ALL: usize = 100_000;
/// How long the server is away, in minutes: longer than ten tries of five minutes last.
const OUTAGE_MINUTES: u32 = 55;
const MAILBOXES: usize = 1_000;

/// An organization with one profile, whose servers are in memory.
struct Fleet {
    engine: Engine<MemoryPorts<MemoryServers>>,
    mailboxes: Vec<MailboxId>,
}

impl Fleet {
    async fn of(mailboxes: usize, hold: HoldSettings) -> Self {
        let ports = MemoryPorts::new(MemoryServers::default());
        let settings = Settings { invocations_max: 1, ..Settings::default() };
        let mut fleet = Self { engine: Engine::new(ports, settings, now), mailboxes: Vec::new() };
        let location = build::location("mail.example.test", 993, Security::Tls);
        let incoming = Some((IncomingProtocol::Imap, location.clone()));
        let profile = build::profile("fleet", incoming, Some(location.clone()));
        fleet.put_profile(&profile).await;
        let desk = EmailServerProfile { incoming: None, ..build::profile("desk", None, Some(location)) };
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

    async fn add(&self, name: &str, profile: &EmailServerProfile) -> MailboxId {
        let mut mailbox = build::mailbox(name, &format!("{name}@example.test"), profile);
        if profile.incoming.is_some() {
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

    /// Lets a minute pass, with its tick, its queue and its notices.
    async fn minute(&self) {
        pass(MINUTE);
        self.engine.ports.queue.pass(60);
        self.engine.enqueue_due(Deadline::after(INVOCATION)).await.expect("no outage");
        for delivery in [INCOMING, Delivery::OutgoingEmail] {
            let drained = self.engine.drain(delivery.into(), Deadline::after(INVOCATION)).await.expect("no outage");
            assert_eq!(drained.left, 0);
        }
        self.engine.notify(Deadline::after(INVOCATION)).await.expect("no outage");
        self.engine.check_profiles(Deadline::after(INVOCATION)).await.expect("no outage");
    }

    async fn minutes(&self, count: u32) {
        for _ in 0..count {
            self.minute().await;
        }
    }

    fn servers(&self) -> &MemoryServers {
        &self.engine.ports.servers
    }

    fn deliver_to_all(&self, subject: &str) {
        for id in &self.mailboxes {
            let mut letter = Letter::new(subject);
            letter.message_id = Some(format!("{subject}.{id}@sender.test"));
            self.servers().deliver(&format!("{id}@example.test"), &String::from_utf8(letter.raw()).expect("text"));
        }
    }

    /// How many mailboxes have so many records.
    async fn with_records(&self, records: usize) -> usize {
        let page = PageRequest { limit: ALL, cursor: None };
        let mut count = 0;
        for id in &self.mailboxes {
            let emails = self.engine.ports.records.emails(id, &page).await.expect("a store that works").items;
            count += usize::from(emails.len() == records);
        }
        count
    }

    async fn enabled(&self) -> usize {
        let mut count = 0;
        for id in &self.mailboxes {
            let row = self.engine.ports.state.load(id, INCOMING).await.expect("a store that works");
            count += usize::from(row.expect("a delivery").state.enabled);
        }
        count
    }

    async fn profile_alerts(&self) -> Vec<Alert> {
        let filter = AlertFilter::Profile(build::profile("fleet", None, None).id);
        let page = PageRequest { limit: ALL, cursor: None };
        self.engine.ports.state.alerts(&filter, &page).await.expect("a store that works").items
    }

    /// Alerts that are rows of a mailbox.
    async fn own_alerts(&self) -> Vec<Alert> {
        let mut own = Vec::new();
        for id in &self.mailboxes {
            let page = PageRequest { limit: ALL, cursor: None };
            let alerts = self.engine.ports.state.alerts(&AlertFilter::Mailbox(id.clone()), &page).await;
            own.extend(alerts.expect("a store that works").items);
        }
        own
    }

    async fn notices(&self, kind: NoticeKind) -> Vec<Notice> {
        let mut notices = Vec::new();
        for status in [NoticeStatus::Pending, NoticeStatus::Sent] {
            let page = PageRequest { limit: ALL, cursor: None };
            let found = self.engine.ports.state.notices(status, &page).await.expect("a store that works");
            notices.extend(found.items.into_iter().filter(|notice| notice.kind == kind));
        }
        notices
    }

    /// Subjects of the emails that went to the owner.
    fn told(&self) -> Vec<String> {
        let subject = |message: String| -> String {
            let message = mail_parser::MessageParser::default().parse(&message).expect("a message of ours");
            message.subject().unwrap_or_default().to_owned()
        };
        self.servers().sent().into_iter().map(|(_, message)| subject(message)).collect()
    }
}

#[tokio::test]
async fn with_the_hold_on_an_outage_is_one_alert_and_one_notice_and_disables_nobody() {
    let hold = HoldSettings { hold_after_mailboxes: 10, ..HoldSettings::default() };
    let fleet = Fleet::of(MAILBOXES, hold).await;
    fleet.deliver_to_all("before");
    fleet.minutes(6).await;
    assert_eq!(fleet.with_records(1).await, MAILBOXES, "every mailbox is polled within a cycle");

    fleet.servers().set_down(true);
    let before = fleet.servers().connections();
    fleet.deliver_to_all("meanwhile");
    fleet.minutes(OUTAGE_MINUTES).await;
    assert_eq!(fleet.enabled().await, MAILBOXES, "nobody is disabled");
    let alerts = fleet.profile_alerts().await;
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!((alerts[0].kind, alerts[0].status), (AlertKind::ProfileHeld, AlertStatus::Open));
    assert_eq!(fleet.notices(NoticeKind::Held).await.len(), 1);
    assert_eq!(fleet.told().len(), 1, "{:?}", fleet.told());
    let tries = fleet.servers().connections() - before;
    // Those of the batch in which the hold began, and a probe every five minutes.
    assert!(tries <= 10 + 10 + 55 / 5, "{tries} connections to a dead server");
    for id in &fleet.mailboxes {
        let row = fleet.engine.ports.state.load(id, INCOMING).await.expect("a store that works").expect("a delivery");
        assert!(row.state.transient_failure_count <= 1, "{row:?}");
    }

    fleet.servers().set_down(false);
    fleet.minutes(10).await;
    assert_eq!(fleet.with_records(2).await, MAILBOXES, "all resumed within two cycles, and no message is missed");
    assert!(fleet.profile_alerts().await.iter().all(|alert| alert.status == AlertStatus::Closed));
    assert_eq!(fleet.notices(NoticeKind::Released).await.len(), 1);
    assert_eq!(fleet.notices(NoticeKind::Disabled).await.len(), 0);
}

#[tokio::test]
async fn with_the_hold_off_each_is_tried_ten_times_and_disabled_and_one_digest_tells_of_all() {
    let fleet = Fleet::of(MAILBOXES, HoldSettings::default()).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    let before = fleet.servers().connections();
    fleet.minutes(OUTAGE_MINUTES).await;
    assert_eq!(fleet.enabled().await, 0, "every one is disabled");
    assert_eq!(fleet.servers().connections() - before, 10 * MAILBOXES, "exactly ten tries each");
    let alerts = fleet.profile_alerts().await;
    let kinds: Vec<_> = alerts.iter().map(|alert| (alert.kind, alert.status, alert.level)).collect();
    let told = [AlertKind::MajorityFailing, AlertKind::ServerNotReachable];
    assert_eq!(kinds, told.map(|kind| (kind, AlertStatus::Open, Level::Error)));
    assert!(alerts[1].count <= 11, "once for each round and when the first is disabled: {}", alerts[1].count);
    assert!(fleet.own_alerts().await.is_empty(), "no row of any mailbox");
    fleet.servers().set_down(false);
    fleet.minutes(15).await;
    assert_eq!(fleet.servers().connections() - before, 10 * MAILBOXES, "nothing goes on by itself");
    assert_eq!(fleet.notices(NoticeKind::Disabled).await.len(), MAILBOXES, "each disabling is in the API");
    let told = fleet.told();
    let disabled: Vec<&String> = told.iter().filter(|subject| subject.contains("have been disabled")).collect();
    assert_eq!(disabled, ["1000 mailboxes have been disabled for receiving email"], "{told:?}");
    let warned = told.iter().filter(|subject| subject.contains("about to be disabled")).count();
    let majority = told.iter().filter(|subject| subject.starts_with("More than half")).count();
    assert_eq!((warned, majority, told.len()), (1, 1, 3), "one digest warned before, and one notice of most: {told:?}");
    assert!(fleet.notices(NoticeKind::Disabled).await.iter().all(|notice| notice.status == NoticeStatus::Sent));
}

#[tokio::test]
async fn an_owner_is_warned_at_the_eighth_failure_and_told_of_the_recovery() {
    let fleet = Fleet::of(1, HoldSettings::default()).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    for _ in 0..60 {
        fleet.minute().await;
        if !fleet.notices(NoticeKind::Warning).await.is_empty() {
            break;
        }
    }
    let row = fleet.engine.ports.state.load(&fleet.mailboxes[0], INCOMING).await.expect("a store that works");
    assert_eq!(row.expect("a delivery").state.transient_failure_count, 8);
    let warnings = fleet.notices(NoticeKind::Warning).await;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].text.contains("2 tries are left"), "{}", warnings[0].text);
    fleet.servers().set_down(false);
    fleet.minutes(8).await;
    assert_eq!(fleet.enabled().await, 1);
    assert_eq!(fleet.notices(NoticeKind::Recovered).await.len(), 1);
    assert_eq!(fleet.notices(NoticeKind::Disabled).await.len(), 0);
    fleet.minutes(10).await;
    assert_eq!(fleet.told().len(), 2, "{:?}", fleet.told());
}

#[tokio::test]
async fn an_owner_who_was_warned_is_told_of_a_recovery_that_brings_mail() {
    let fleet = Fleet::of(1, HoldSettings::default()).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    for _ in 0..60 {
        fleet.minute().await;
        if !fleet.notices(NoticeKind::Warning).await.is_empty() {
            break;
        }
    }
    fleet.deliver_to_all("meanwhile");
    fleet.servers().set_down(false);
    fleet.minutes(8).await;
    assert_eq!((fleet.enabled().await, fleet.with_records(1).await), (1, 1));
    assert_eq!(fleet.notices(NoticeKind::Recovered).await.len(), 1);
}

#[tokio::test]
async fn a_probe_of_a_held_profile_is_not_spent_where_all_connections_are_taken() {
    let hold = HoldSettings { hold_after_mailboxes: 2, ..HoldSettings::default() };
    let mut fleet = Fleet::of(3, hold).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    fleet.minutes(6).await;
    let id = build::profile("fleet", None, None).id;
    let health = fleet.engine.ports.state.health(&id).await.expect("a store that works").expect("a held profile");
    assert!(health.health.probe_at.is_some());
    // Other invocations have every connection of the profile for an hour.
    fleet.engine.settings.invocations_max = 200;
    let connections = build::profile("fleet", None, None).maximum_concurrent_connections;
    for _ in 0..connections {
        let until = mailrail_domain::seconds_after(now(), 3_600);
        let taken = fleet.engine.ports.state.take_place(&id, connections, until, now()).await;
        assert!(taken.expect("a store that works").is_some());
    }
    let tries = fleet.servers().connections();
    fleet.minutes(12).await;
    let after = fleet.engine.ports.state.health(&id).await.expect("a store that works");
    assert_eq!((after, fleet.servers().connections()), (Some(health), tries), "the probe is still to be made");
    fleet.engine.settings.invocations_max = 1;
    fleet.servers().set_down(false);
    fleet.minutes(2).await;
    assert_eq!(fleet.engine.ports.state.health(&id).await.expect("a store that works"), None, "it was made at once");
}

/// A mailbox that an outage has disabled, under these settings.
async fn disabled(recovery_probe: RecoveryProbe) -> Fleet {
    let fleet = Fleet::of(1, HoldSettings { recovery_probe, ..HoldSettings::default() }).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    fleet.minutes(OUTAGE_MINUTES).await;
    assert_eq!(fleet.enabled().await, 0);
    fleet.deliver_to_all("meanwhile");
    fleet
}

#[tokio::test]
async fn a_disabled_delivery_resumes_by_itself_and_fetches_what_was_missed() {
    let fleet = disabled(RecoveryProbe::Resume).await;
    fleet.minutes(30).await;
    assert_eq!(fleet.enabled().await, 0, "its server is away still");
    fleet.servers().set_down(false);
    fleet.minutes(61).await;
    assert_eq!((fleet.enabled().await, fleet.with_records(1).await), (1, 1));
    assert_eq!(fleet.notices(NoticeKind::Recovered).await.len(), 1);
}

#[tokio::test]
async fn the_owner_of_a_disabled_delivery_is_told_that_it_would_work_again() {
    let fleet = disabled(RecoveryProbe::Tell).await;
    fleet.servers().set_down(false);
    fleet.minutes(31).await;
    assert_eq!((fleet.enabled().await, fleet.with_records(0).await), (0, 1), "it waits for a person");
    let told = fleet.notices(NoticeKind::Recovered).await;
    assert_eq!(told.len(), 1);
    assert!(told[0].text.contains("test and enable"), "{}", told[0].text);
    let connections = fleet.servers().connections();
    fleet.minutes(120).await;
    assert_eq!(fleet.servers().connections(), connections, "told once, it is not tried any more");
}

#[tokio::test]
async fn without_a_recovery_probe_a_disabled_delivery_is_left_alone() {
    let fleet = disabled(RecoveryProbe::Off).await;
    let connections = fleet.servers().connections();
    fleet.minutes(120).await;
    assert_eq!(fleet.servers().connections(), connections);
}

#[tokio::test]
async fn a_mailbox_owner_gets_a_copy_where_the_organization_says_so() {
    let fleet = Fleet::of(1, HoldSettings::default()).await;
    let state = &fleet.engine.ports.state;
    let mut stored = state.organization().await.expect("a store that works");
    stored.organization.notify_mailbox_owners = true;
    state.put_organization(&stored, &build::audit()).await.expect("a store that works");
    fleet.servers().set_down(true);
    fleet.minutes(OUTAGE_MINUTES + 10).await;
    let sent = fleet.servers().sent();
    let to: Vec<&str> = sent.last().expect("a notice").0.iter().map(|address| address.as_str()).collect();
    assert_eq!(to, ["owner@example.test", "m0000@example.test"]);
}

/// Changes the organization's settings.
async fn set(fleet: &Fleet, change: impl FnOnce(&mut Organization)) {
    let state = &fleet.engine.ports.state;
    let mut stored = state.organization().await.expect("a store that works");
    change(&mut stored.organization);
    let written = state.put_organization(&stored, &build::audit()).await.expect("a store that works");
    assert_eq!(written, Written::Done);
}

async fn alerts(fleet: &Fleet) -> Vec<Alert> {
    let page = PageRequest { limit: ALL, cursor: None };
    let found = alerts_of_mailbox(&fleet.engine.ports.state, &fleet.mailboxes[0], &page).await;
    found.expect("a store that works").items
}

/// Lets an hour pass in which nothing runs but the look at how fresh all is.
async fn hour_without_runs(fleet: &Fleet) {
    for _ in 0..60 {
        pass(MINUTE);
        fleet.engine.check_freshness(Deadline::after(INVOCATION)).await.expect("no outage");
    }
}

#[tokio::test]
async fn a_delivery_that_does_not_get_its_turn_is_reported_once_and_its_next_success_closes_it() {
    let fleet = Fleet::of(1, HoldSettings::default()).await;
    fleet.minutes(6).await;
    hour_without_runs(&fleet).await;
    hour_without_runs(&fleet).await;
    hour_without_runs(&fleet).await;
    let open = alerts(&fleet).await;
    assert_eq!(open.iter().map(|alert| (alert.kind, alert.count)).collect::<Vec<_>>(), [(AlertKind::Stalled, 1)]);
    assert_eq!(fleet.enabled().await, 1, "it is a report and no failure");
    fleet.minutes(6).await;
    assert_eq!(alerts(&fleet).await[0].status, AlertStatus::Closed);

    set(&fleet, |organization| organization.stall_minutes = 0).await;
    hour_without_runs(&fleet).await;
    hour_without_runs(&fleet).await;
    assert_eq!(alerts(&fleet).await.len(), 1, "0 is never");
}

#[tokio::test]
async fn only_levels_that_the_organization_records_become_alerts() {
    let fleet = Fleet::of(1, HoldSettings::default()).await;
    set(&fleet, |organization| organization.recorded_alert_levels = vec![Level::Error]).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    fleet.minutes(20).await;
    assert_eq!(alerts(&fleet).await, [], "a transient failure is a warning");
    fleet.minutes(OUTAGE_MINUTES).await;
    let kinds: Vec<_> = alerts(&fleet).await.iter().map(|alert| (alert.kind, alert.level)).collect();
    assert_eq!(kinds, [(AlertKind::ServerNotReachable, Level::Error)]);
    assert_eq!(fleet.notices(NoticeKind::Disabled).await.len(), 1, "a notice is no alert");
}

#[tokio::test]
async fn closed_alerts_are_not_kept_where_the_organization_says_so() {
    for (days, kept) in [(30, 1), (0, 0)] {
        let fleet = Fleet::of(1, HoldSettings::default()).await;
        set(&fleet, |organization| organization.closed_alert_days = days).await;
        fleet.servers().set_down(true);
        fleet.minutes(12).await;
        assert_eq!(fleet.profile_alerts().await.len(), 1);
        fleet.servers().set_down(false);
        fleet.minutes(6).await;
        let left = fleet.profile_alerts().await;
        assert_eq!(left.len(), kept, "{days} days");
        assert!(left.iter().all(|alert| alert.status == AlertStatus::Closed));
    }
}

#[tokio::test]
async fn every_alert_says_how_far_it_reaches_why_it_was_classed_so_and_what_mends_it() {
    let fleet = Fleet::of(1, HoldSettings::default()).await;
    fleet.servers().set_down(true);
    fleet.minutes(6).await;
    let alert = alerts(&fleet).await.remove(0);
    assert_eq!((alert.scope, alert.action), (AlertScope::Profile, Some(AlertAction::ChangeProfile)));
    assert!(alert.why.contains("connecting to the server") && alert.why.contains("transient"), "{}", alert.why);
    assert!(alert.evidence.is_some() && !alert.resolution.is_empty());
}

#[tokio::test]
async fn more_than_half_of_a_profile_failing_is_one_notice_of_its_own() {
    for (mailboxes, failing, expected) in [(12, 7, 1), (12, 6, 0), (4, 4, 0)] {
        let fleet = Fleet::of(mailboxes, HoldSettings::default()).await;
        fleet.minutes(6).await;
        for id in &fleet.mailboxes[..failing] {
            fleet.servers().refuse(&format!("{id}@example.test"));
        }
        fleet.minutes(40).await;
        let told = fleet.notices(NoticeKind::MajorityFailing).await;
        assert_eq!(told.len(), expected, "{failing} of {mailboxes}");
        let alerts = fleet.profile_alerts().await;
        let open: Vec<_> = alerts.iter().map(|alert| (alert.kind, alert.status)).collect();
        assert_eq!(open, vec![(AlertKind::MajorityFailing, AlertStatus::Open); expected]);
        fleet.minutes(90).await;
        assert!(fleet.profile_alerts().await.iter().all(|alert| alert.status == AlertStatus::Closed));
        assert_eq!(fleet.notices(NoticeKind::MajorityFailing).await.len(), expected, "told once");
    }
}

#[tokio::test]
async fn what_is_the_servers_is_one_alert_of_the_profile_to_which_its_mailboxes_refer_until_the_last_works() {
    let fleet = Fleet::of(3, HoldSettings::default()).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    fleet.minutes(6).await;
    let [alert] = &fleet.profile_alerts().await[..] else { panic!("one alert: {:?}", fleet.profile_alerts().await) };
    assert_eq!((alert.kind, alert.level, &alert.mailbox_id), (AlertKind::ServerNotReachable, Level::Warning, &None));
    assert!(alert.text.contains("mailboxes of the email server profile"), "{}", alert.text);
    assert_eq!(fleet.own_alerts().await, []);
    assert_eq!(alerts(&fleet).await, std::slice::from_ref(alert), "a mailbox shows it by reference");

    let stranger = fleet.add("stranger", &build::profile("fleet", None, None)).await;
    let page = PageRequest { limit: ALL, cursor: None };
    let of_stranger = alerts_of_mailbox(&fleet.engine.ports.state, &stranger, &page).await;
    assert_eq!(of_stranger.expect("a store that works").items, [], "a mailbox that has not met it does not");

    fleet.servers().set_down(false);
    let mut statuses = Vec::new();
    for _ in 0..10 {
        fleet.minute().await;
        let mut referring = 0;
        for id in &fleet.mailboxes {
            let row = fleet.engine.ports.state.load(id, INCOMING).await.expect("a store that works");
            referring += usize::from(!row.expect("a delivery").state.open_alerts.is_empty());
        }
        let [alert] = &fleet.profile_alerts().await[..] else { panic!("one alert") };
        assert_eq!(alert.status == AlertStatus::Open, referring > 0, "{referring} refer to it");
        statuses.push(alert.status);
    }
    assert_eq!(statuses.last(), Some(&AlertStatus::Closed));
}

#[tokio::test]
async fn a_shared_alert_is_closed_in_a_profile_of_many_too_and_when_its_last_mailbox_is_deleted() {
    let fleet = Fleet::of(60, HoldSettings::default()).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    fleet.minutes(6).await;
    fleet.servers().set_down(false);
    fleet.minutes(20).await;
    let alerts = fleet.profile_alerts().await;
    assert!(alerts.iter().all(|alert| alert.status == AlertStatus::Closed) && !alerts.is_empty(), "{alerts:?}");

    let fleet = Fleet::of(1, HoldSettings::default()).await;
    fleet.servers().set_down(true);
    fleet.minutes(6).await;
    assert_eq!(fleet.profile_alerts().await[0].status, AlertStatus::Open);
    let state = &fleet.engine.ports.state;
    let details = state.mailbox(&fleet.mailboxes[0]).await.expect("a store that works").expect("a mailbox");
    state.delete_mailbox(&details, &build::audit()).await.expect("a store that works");
    fleet.minutes(10).await;
    assert_eq!(fleet.profile_alerts().await[0].status, AlertStatus::Closed);
}
