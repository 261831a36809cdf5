//! Deliveries enabled, run, and tested at a person's wish.

use mailrail_domain::{
    settings::approval::Verdict,
    words::{
        audit::AuditAction,
        delivery::{Delivery, SynchronizationMethod},
        trial::{MailboxTest, TestPhase},
    },
};
use mailrail_engine::ports::{Job, JobQueue, QueueName, TestStore};
use mailrail_test_support::fakes::Reads;

use super::*;

const INCOMING: Delivery = Delivery::IncomingEmail;

/// A mailbox whose email is not to be moved.
async fn idle(world: &World, profile: &EmailServerProfile) {
    let none = SynchronizationMethod::None;
    let idle = build::mailbox("idle", "idle@example.test", profile);
    world.create_mailbox(&ann(), Mailbox { incoming_email: none, outgoing_email: none, ..idle }, None).await.unwrap();
}

#[tokio::test]
async fn a_delivery_is_enabled_once_its_address_is_approved() {
    let world = world();
    let profile = with_profile(&world).await.profile;
    with_mailbox(&world, "m1", &profile).await;
    check_conflict(world.enable_delivery(&ann(), "m1", INCOMING, &Expected::Any).await, "not approved");
    world.decide(&ann(), "m1", Verdict::Approve).await.unwrap();
    let reads = world.ports.state.reads();
    let enabled = world.enable_delivery(&ann(), "m1", INCOMING, &Expected::Any).await.unwrap();
    let expected =
        Reads { mailboxes: reads.mailboxes + 1, profiles: reads.profiles + 1, organization: reads.organization + 1 };
    assert_eq!(world.ports.state.reads(), expected, "nothing is read back, and no profile twice");
    assert_eq!(world.find_mailbox("m1").await.unwrap(), enabled.details);
    assert!(enabled.details.deliveries.iter().any(|(delivery, state)| *delivery == INCOMING && state.enabled));
    let entry = ("ann".to_owned(), AuditAction::Enabled, "m1".to_owned(), vec!["incoming-email".to_owned()]);
    assert_eq!(last_audited(&world).await, entry);
    let woken = world.ports.queue.waiting(INCOMING);
    assert_eq!(woken.iter().map(|(wake, delay)| (wake.mailbox.as_str(), *delay)).collect::<Vec<_>>(), [("m1", 1)]);
}

#[tokio::test]
async fn whoever_enables_a_mailbox_is_told_which_approval_is_missing() {
    let world = world();
    let profile = with_online(&world).await.profile;
    with_mailbox(&world, "m1", &profile).await;
    world.decide(&ann(), "m1", Verdict::Approve).await.unwrap();
    let refused = world.enable_delivery(&ann(), "m1", INCOMING, &Expected::Any).await;
    assert!(matches!(&refused, Err(Refusal::Conflict { remedy, .. }) if remedy.contains("approve-for-tenant")));
    check_conflict(refused, "no approval by the tenant's administrator");
}

#[tokio::test]
async fn what_is_not_synchronized_is_neither_enabled_nor_run() {
    let world = world();
    let profile = with_profile(&world).await.profile;
    idle(&world, &profile).await;
    check_conflict(world.enable_delivery(&ann(), "idle", INCOMING, &Expected::Any).await, "incoming-email is none");
    check_conflict(world.run_now(&ann(), "idle", INCOMING, &Expected::Any).await, "incoming-email is none");
    check_not_found(world.enable_delivery(&ann(), "m2", INCOMING, &Expected::Any).await);
    check_not_found(world.run_now(&ann(), "m2", INCOMING, &Expected::Any).await);
    check_forbidden(world.enable_delivery(&rita(), "idle", INCOMING, &Expected::Any).await);
    check_forbidden(world.run_now(&rita(), "idle", INCOMING, &Expected::Any).await);
    assert!(world.ports.queue.waiting(INCOMING).is_empty());
}

#[tokio::test]
async fn a_delivery_runs_at_once_when_somebody_asks_for_it() {
    let world = world();
    let profile = with_profile(&world).await.profile;
    with_mailbox(&world, "m1", &profile).await;
    world.run_now(&ann(), "m1", Delivery::OutgoingEmail, &Expected::Any).await.unwrap();
    assert_eq!(world.ports.queue.waiting(Delivery::OutgoingEmail).len(), 1);
}

#[tokio::test]
async fn a_test_is_asked_for_once_and_followed() {
    let world = world();
    let profile = with_profile(&world).await.profile;
    with_mailbox(&world, "m1", &profile).await;
    idle(&world, &profile).await;
    check_not_found(world.last_test("m1").await);
    world.ask_for_test(&ann(), "m1", true).await.unwrap();
    let test = world.last_test("m1").await.unwrap();
    assert_eq!((test.phase, test.requested_by.as_str()), (TestPhase::Waiting, "ann"));
    assert!(test.items_with_this_organization_only);
    assert_eq!(last_audited(&world).await, ("ann".into(), AuditAction::Tested, "m1".into(), vec![]));
    // Its message may have been lost, so that it is sent again. Once the test has begun, there is no other.
    world.ask_for_test(&ann(), "m1", true).await.unwrap();
    assert_eq!(requests(&world).await.len(), 2);
    let running = MailboxTest { phase: TestPhase::Running, ..test };
    assert!(world.ports.state.update_test(&running).await.unwrap());
    check_conflict(world.ask_for_test(&ann(), "m1", true).await, "being tested already");
    check_conflict(world.ask_for_test(&ann(), "idle", true).await, "no delivery to test");
    check_not_found(world.ask_for_test(&ann(), "m2", true).await);
    check_forbidden(world.ask_for_test(&rita(), "m1", true).await);
    assert_eq!(requests(&world).await.len(), 0);
}

#[tokio::test]
async fn tests_of_a_whole_profile_are_one_request() {
    let world = world();
    let profile = with_profile(&world).await.profile;
    assert_eq!(world.ask_for_tests_of_profile(&ann(), "p1", false).await.unwrap(), profile.id);
    let requests = requests(&world).await;
    assert!(
        matches!(&requests[..], [Job::TrialsOfProfile(tests)] if tests.profile == profile.id && tests.cursor.is_none()),
        "{requests:?}"
    );
    check_not_found(world.ask_for_tests_of_profile(&ann(), "p2", false).await);
    check_forbidden(world.ask_for_tests_of_profile(&rita(), "p1", false).await);
}

async fn requests(world: &World) -> Vec<Job> {
    let received = world.ports.queue.receive(QueueName::Trials).await.unwrap();
    received.into_iter().map(|message| message.job.expect("a request")).collect()
}
