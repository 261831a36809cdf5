//! Test & Enable on real servers: each stage is shown, and exactly what passed is enabled.

use end_to_end::{
    stack::{Account, Server, account},
    world::{World, incoming, now, outgoing, pass},
};
use mailrail_domain::{
    settings::{
        approval::Approval,
        profile::{EmailServerProfile, Security},
    },
    words::{
        alert::{AlertKind, AlertStatus, Level},
        audit::{AuditAction, AuditSubject},
        cause::Cause,
        delivery::{Delivery, SynchronizationMethod, TestStatus},
        evidence::Stage,
        id::MailboxId,
        notice::NoticeStatus,
        trial::{MailboxTest, ProfileTest, TEST_SUBJECT, TestPhase},
    },
};
use mailrail_engine::{
    Deadline,
    ports::{AccessStore, Directory, Job, JobQueue, PageRequest, QueueName, TestStore},
    trial::Asked,
};
use mailrail_test_support::{
    build,
    proxy::{Mischief, Proxy},
};

const INCOMING: Delivery = Delivery::IncomingEmail;
const OUTGOING: Delivery = Delivery::OutgoingEmail;
const CONNECTING: [Stage; 5] = [Stage::Resolve, Stage::Connect, Stage::Tls, Stage::Greeting, Stage::SignIn];
const INVOCATION: std::time::Duration = std::time::Duration::from_secs(120);

fn asked() -> Asked {
    Asked { by: "ann".to_owned(), items_with_this_organization_only: true }
}

fn with_outgoing(server: Server, account: &Account) -> EmailServerProfile {
    let mut profile = incoming(server, account);
    let sending = build::internet_mail(&mut outgoing(Security::Starttls, account)).outgoing.clone();
    build::internet_mail(&mut profile).outgoing = sending;
    profile
}

/// A profile that reads from and sends through the local servers.
fn both(account: &Account) -> EmailServerProfile {
    with_outgoing(Server::Imaps, account)
}

async fn untested(world: &World, account: &Account, profile: &EmailServerProfile) -> MailboxId {
    let id = account.address.replace(['@', '.'], "-");
    world.untested(&build::mailbox(&id, &account.address, profile), profile, &account.password).await
}

async fn ask(world: &World, mailbox: &MailboxId) -> bool {
    world.engine.request_test(mailbox, &asked(), &build::audit_at(now())).await.expect("no outage")
}

/// Asks for the test of a mailbox and runs what is on the queue.
async fn tested(world: &World, mailbox: &MailboxId) -> MailboxTest {
    pass(1);
    assert!(ask(world, mailbox).await);
    run(world).await;
    last(world, mailbox).await
}

async fn run(world: &World) {
    world.engine.drain(QueueName::Trials, Deadline::after(INVOCATION)).await.expect("no outage");
}

async fn last(world: &World, mailbox: &MailboxId) -> MailboxTest {
    world.engine.ports.state.test(mailbox).await.expect("a store that works").expect("a test")
}

fn stages(test: &MailboxTest, delivery: Delivery) -> Vec<(Stage, TestStatus)> {
    let part = test.deliveries.iter().find(|part| part.delivery == delivery).expect("a part of the delivery");
    part.stages.iter().map(|report| (report.stage, report.status)).collect()
}

fn passed(stages: &[Stage]) -> Vec<(Stage, TestStatus)> {
    stages.iter().map(|stage| (*stage, TestStatus::Success)).collect()
}

#[tokio::test]
async fn a_mailbox_that_works_passes_every_stage_and_is_enabled() {
    let (world, account) = (World::new(), account());
    let mailbox = untested(&world, &account, &both(&account)).await;
    for delivery in [INCOMING, OUTGOING] {
        assert!(!world.state(&mailbox, delivery).await.enabled, "nothing runs untested");
    }
    let test = tested(&world, &mailbox).await;
    assert_eq!(
        (test.phase, test.requested_by.as_str(), test.items_with_this_organization_only),
        (TestPhase::Finished, "ann", true)
    );
    assert_eq!(stages(&test, INCOMING), passed(&[&CONNECTING[..], &[Stage::Open, Stage::List]].concat()));
    let sent = [&CONNECTING[..], &[Stage::Envelope, Stage::Data, Stage::Arrive]].concat();
    assert_eq!(stages(&test, OUTGOING), passed(&sent));
    for delivery in [INCOMING, OUTGOING] {
        let state = world.state(&mailbox, delivery).await;
        assert_eq!((state.enabled, state.status), (true, TestStatus::Success));
    }
    let arrived = account.wait_for_files(1).await;
    let text = std::fs::read_to_string(&arrived[0]).expect("a message");
    assert!(text.contains(TEST_SUBJECT), "{text}");
    let page = PageRequest { limit: 10, cursor: None };
    let subject = Some((AuditSubject::Mailbox, mailbox.as_str()));
    let audit = world.engine.ports.state.audit(subject, &page).await.expect("a store that works").items;
    let enabled: Vec<_> = audit.iter().filter(|entry| entry.action == AuditAction::Enabled).collect();
    assert_eq!(enabled.len(), 2, "who enabled it is known: {audit:?}");
    assert!(enabled.iter().all(|entry| entry.by == "ann"));
    world.run(&mailbox, INCOMING).await;
    assert_eq!(world.emails(&mailbox).await.len(), 1, "what was enabled runs");
}

#[tokio::test]
async fn a_pop3_mailbox_passes_and_sees_its_message_arrive() {
    for server in [Server::Pop3s, Server::Pop3Stls] {
        let (world, account) = (World::new(), account());
        let profile = with_outgoing(server, &account);
        let mailbox = untested(&world, &account, &profile).await;
        let test = tested(&world, &mailbox).await;
        let last = stages(&test, OUTGOING).last().copied();
        assert_eq!(last, Some((Stage::Arrive, TestStatus::Success)), "{server:?} {test:?}");
        assert!(test.deliveries.iter().all(|part| part.status == TestStatus::Success), "{server:?} {test:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_fails_at_signing_in_with_the_servers_words_and_enables_nothing() {
    let (world, account) = (World::new(), account());
    let wrong = Account { password: "wrong".to_owned(), ..account };
    let mailbox = untested(&world, &wrong, &both(&wrong)).await;
    let test = tested(&world, &mailbox).await;
    for delivery in [INCOMING, OUTGOING] {
        let mut expected = passed(&CONNECTING);
        expected[4].1 = TestStatus::Failure;
        assert_eq!(stages(&test, delivery), expected, "{delivery:?}");
        let part = test.deliveries.iter().find(|part| part.delivery == delivery).expect("a part");
        assert_eq!(part.cause, Some(Cause::CredentialsRefused));
        let evidence = part.stages[4].evidence.as_ref().expect("evidence");
        assert!(!evidence.words.is_empty() && !evidence.words.contains("wrong"), "{evidence:?}");
        let state = world.state(&mailbox, delivery).await;
        assert_eq!((state.enabled, state.status, state.times_disabled), (false, TestStatus::Failure, 0));
    }
    let alerts = world.alerts(&mailbox).await;
    assert_eq!(alerts.len(), 2);
    for alert in alerts {
        assert_eq!(
            (alert.kind, alert.level, alert.status),
            (AlertKind::MailboxCredentialsIncorrect, Level::Error, AlertStatus::Open)
        );
        assert!(alert.text.contains("is enabled for"), "{}", alert.text);
    }
    assert_eq!(world.notices(NoticeStatus::Pending).await.len(), 0, "nothing was disabled that ran");
}

#[tokio::test]
async fn exactly_what_passed_is_enabled() {
    let (world, account) = (World::new(), account());
    let mut profile = both(&account);
    let proxy = Proxy::start(Server::Imaps.port(), Mischief::Drop).await;
    build::internet_mail(&mut profile).incoming.as_mut().expect("incoming").location.port = proxy.port();
    let mailbox = untested(&world, &account, &profile).await;
    let test = tested(&world, &mailbox).await;
    let statuses: Vec<_> = test.deliveries.iter().map(|part| (part.delivery, part.status)).collect();
    assert_eq!(statuses, [(INCOMING, TestStatus::Failure), (OUTGOING, TestStatus::Success)], "{test:?}");
    assert!(!world.state(&mailbox, INCOMING).await.enabled);
    assert!(world.state(&mailbox, OUTGOING).await.enabled);
}

#[tokio::test]
async fn a_passed_test_closes_the_alerts_of_a_disabling() {
    let (world, account) = (World::new(), account());
    let wrong = Account { password: "wrong".to_owned(), ..account.clone() };
    let mut profile = incoming(Server::Imaps, &account);
    profile.id = mailrail_domain::words::id::ProfileId::parse("p-test").expect("an id");
    let mailbox = world.mailbox(&wrong, &profile).await;
    world.run(&mailbox, INCOMING).await;
    assert!(!world.state(&mailbox, INCOMING).await.enabled);
    world.change_password(&mailbox, &account.password).await;
    let test = tested(&world, &mailbox).await;
    assert_eq!(test.deliveries[0].status, TestStatus::Success, "{test:?}");
    assert!(world.state(&mailbox, INCOMING).await.enabled);
    assert!(world.alerts(&mailbox).await.iter().all(|alert| alert.status == AlertStatus::Closed));
}

#[tokio::test]
async fn a_running_delivery_whose_test_fails_is_disabled_and_the_owner_is_told() {
    let (world, account) = (World::new(), account());
    let mailbox = world.mailbox(&account, &incoming(Server::Imaps, &account)).await;
    world.run(&mailbox, INCOMING).await;
    world.change_password(&mailbox, "wrong").await;
    let test = tested(&world, &mailbox).await;
    assert_eq!(test.deliveries[0].cause, Some(Cause::CredentialsRefused));
    let state = world.state(&mailbox, INCOMING).await;
    assert_eq!((state.enabled, state.times_disabled), (false, 1));
    assert_eq!(world.notices(NoticeStatus::Pending).await.len(), 1);
}

#[tokio::test]
async fn an_unapproved_address_fails_before_anything_is_connected_to() {
    let (world, account) = (World::new(), account());
    let profile = incoming(Server::Imaps, &account);
    let mut mailbox = build::mailbox("unapproved", &account.address, &profile);
    mailbox.approval = Approval::undecided(true);
    let id = world.untested(&mailbox, &profile, &account.password).await;
    let test = tested(&world, &id).await;
    assert_eq!(stages(&test, INCOMING), [(Stage::Prepare, TestStatus::Failure)]);
    assert_eq!(test.deliveries[0].cause, Some(Cause::AddressNotApproved));
    assert_eq!(world.alerts(&id).await[0].kind, AlertKind::AddressNotApproved);
}

#[tokio::test]
async fn a_mailbox_under_test_is_not_tested_twice_and_a_deleted_one_is_left_alone() {
    let (world, account) = (World::new(), account());
    let mailbox = untested(&world, &account, &incoming(Server::Imaps, &account)).await;
    assert!(ask(&world, &mailbox).await);
    assert!(!ask(&world, &mailbox).await, "one is under way");
    run(&world).await;
    let first = last(&world, &mailbox).await;
    // A request that comes twice finds the test finished.
    world.engine.ports.queue.send(&[Job::Trial(mailbox.clone())], 0).await.expect("a queue that works");
    run(&world).await;
    assert_eq!(last(&world, &mailbox).await, first);

    assert!(ask(&world, &mailbox).await);
    let state = &world.engine.ports.state;
    let details = state.mailbox(&mailbox).await.expect("a store that works").expect("the mailbox");
    state.delete_mailbox(&details, &build::audit()).await.expect("a store that works");
    run(&world).await;
    assert_eq!(state.test(&mailbox).await.expect("a store that works"), None);
}

#[tokio::test]
async fn all_mailboxes_of_a_profile_are_tested() {
    let world = World::new();
    let accounts = [account(), account(), account()];
    let profile = incoming(Server::Imaps, &accounts[0]);
    let mut ids = Vec::new();
    for account in &accounts {
        ids.push(untested(&world, account, &profile).await);
    }
    let request = Job::TrialsOfProfile(ProfileTest {
        profile: profile.id.clone(),
        requested_by: "ann".to_owned(),
        items_with_this_organization_only: false,
        cursor: None,
    });
    world.engine.ports.queue.send(&[request], 0).await.expect("a queue that works");
    run(&world).await;
    for id in &ids {
        assert_eq!(last(&world, id).await.phase, TestPhase::Finished);
        assert!(world.state(id, INCOMING).await.enabled);
    }
}

#[tokio::test]
async fn a_delivery_that_nobody_moves_is_not_tested() {
    let (world, account) = (World::new(), account());
    let mut profile = both(&account);
    profile.id = mailrail_domain::words::id::ProfileId::parse("p-half").expect("an id");
    let mut mailbox = build::mailbox("half", &account.address, &profile);
    mailbox.outgoing_email = SynchronizationMethod::None;
    let id = world.untested(&mailbox, &profile, &account.password).await;
    let test = tested(&world, &id).await;
    assert_eq!(test.deliveries.iter().map(|part| part.delivery).collect::<Vec<_>>(), [INCOMING]);
    assert!(!world.state(&id, OUTGOING).await.enabled);
}
