//! What becomes of the emails of one outbox when the server fails at one of them: over servers in memory.

use end_to_end::fleet::Fleet;
use mailrail_domain::{
    email::record::{EmailStatus, RecipientStatus},
    settings::hold::HoldSettings,
    words::{delivery::Delivery, id::EmailId},
};
use mailrail_engine::ports::{Directory, MailboxStore};
use mailrail_test_support::build;

const OUTGOING: Delivery = Delivery::OutgoingEmail;
const BAD: &str = "bad@example.test";

async fn status(fleet: &Fleet, id: &EmailId) -> (EmailStatus, u32) {
    let email = fleet.email(id).await;
    (email.status, email.outgoing.map_or(0, |outgoing| outgoing.attempts))
}

#[tokio::test]
async fn an_email_at_which_the_server_hangs_up_lets_the_others_go_and_disables_nothing() {
    let fleet = Fleet::of(0, HoldSettings::default()).await;
    let mailbox = fleet.sender("sender").await;
    fleet.servers().hang_up_at(build::address(BAD));
    let bad = fleet.pend(&mailbox, "a-bad", &["a@example.test", BAD]).await;
    let good = fleet.pend(&mailbox, "b-good", &["b@example.test"]).await;
    fleet.send(&mailbox).await;
    assert_eq!(status(&fleet, &good).await, (EmailStatus::Sent, 0));
    assert_eq!(status(&fleet, &bad).await, (EmailStatus::PendingSend, 1), "the failure was the email's");
    assert_eq!(fleet.sending(&mailbox).await.transient_failure_count, 0);
    for _ in 2..=10 {
        fleet.send(&mailbox).await;
    }
    let given_up = fleet.email(&bad).await;
    assert_eq!(given_up.status, EmailStatus::Failed);
    let recipients = given_up.outgoing.expect("an outgoing email").recipients;
    assert!(recipients.iter().all(
        |recipient| matches!(&recipient.status, RecipientStatus::Refused { evidence } if evidence.words.contains("hung up"))
    ));
    let state = fleet.sending(&mailbox).await;
    assert!(state.enabled, "{state:?}");
    let last = fleet.pend(&mailbox, "c-last", &["c@example.test"]).await;
    fleet.send(&mailbox).await;
    assert_eq!(status(&fleet, &last).await.0, EmailStatus::Sent);
    assert_eq!(fleet.sending(&mailbox).await.transient_failure_count, 0);
}

#[tokio::test]
async fn what_two_emails_meet_is_the_servers_failure_and_spends_no_try_of_theirs() {
    let fleet = Fleet::of(0, HoldSettings::default()).await;
    let mailbox = fleet.sender("sender").await;
    fleet.servers().hang_up_at(build::address(BAD));
    let emails = [fleet.pend(&mailbox, "a", &[BAD]).await, fleet.pend(&mailbox, "b", &[BAD]).await];
    fleet.send(&mailbox).await;
    for id in &emails {
        assert_eq!(status(&fleet, id).await, (EmailStatus::PendingSend, 0));
    }
    assert_eq!(fleet.sending(&mailbox).await.transient_failure_count, 1);
    fleet.servers().hang_up_at_nobody();
    fleet.send(&mailbox).await;
    for id in &emails {
        assert_eq!(status(&fleet, id).await.0, EmailStatus::Sent);
    }
    assert_eq!(fleet.sending(&mailbox).await.transient_failure_count, 0);
}

#[tokio::test]
async fn a_failure_that_is_over_does_not_stand_because_the_outbox_is_empty() {
    let fleet = Fleet::of(0, HoldSettings::default()).await;
    let mailbox = fleet.sender("sender").await;
    let store = &fleet.engine.ports.state;
    fleet.servers().hang_up_at(build::address(BAD));
    let id = fleet.pend(&mailbox, "a", &[BAD]).await;
    fleet.send(&mailbox).await;
    assert_eq!(fleet.sending(&mailbox).await.transient_failure_count, 1);
    // The email goes out in a run whose end is lost: its record says so, and its place in the outbox is gone.
    let stored = mailrail_engine::ports::EmailRecords::email(&fleet.engine.ports.records, &id).await.unwrap().unwrap();
    let sent = mailrail_domain::email::record::Email { status: EmailStatus::Sent, ..stored.email };
    let outbox = mailrail_engine::outbox::Outbox::of(store, &fleet.engine.ports.records, end_to_end::world::now());
    outbox.update(&sent, &stored.revision).await.unwrap();
    fleet.servers().hang_up_at_nobody();
    fleet.send(&mailbox).await;
    let state = fleet.sending(&mailbox).await;
    assert_eq!((state.transient_failure_count, state.open_alerts.len()), (0, 0));
}

#[tokio::test]
async fn a_mailbox_that_is_deleted_while_it_sends_sends_nothing_more() {
    let fleet = Fleet::of(0, HoldSettings::default()).await;
    let mailbox = fleet.sender("sender").await;
    for number in 0..10 {
        fleet.pend(&mailbox, &format!("m{number}"), &["a@example.test"]).await;
    }
    let store = &fleet.engine.ports.state;
    let before = store.mailbox(&mailbox).await.unwrap().unwrap();
    let sending = fleet.send(&mailbox);
    let deleting = async {
        while fleet.servers().sent().len() < 3 {
            tokio::task::yield_now().await;
        }
        store.delete_mailbox(&before, &build::audit()).await.unwrap();
    };
    tokio::join!(sending, deleting);
    assert!(fleet.servers().sent().len() < 10, "{}", fleet.servers().sent().len());
    assert!(store.load(&mailbox, OUTGOING).await.unwrap().is_none());
}

#[tokio::test]
async fn an_enabling_while_an_email_is_handed_over_neither_doubles_it_nor_gives_it_up() {
    let fleet = Fleet::of(0, HoldSettings::default()).await;
    let mailbox = fleet.sender("sender").await;
    let ids =
        [fleet.pend(&mailbox, "a", &["a@example.test"]).await, fleet.pend(&mailbox, "b", &["b@example.test"]).await];
    let store = &fleet.engine.ports.state;
    fleet.servers().set_slow(true);
    let enabling = async {
        // The first email has left, and its answer has not come.
        while fleet.email(&ids[0]).await.status != EmailStatus::Sending {
            tokio::task::yield_now().await;
        }
        let audit = build::audit_at(end_to_end::world::now());
        assert!(store.enable(&mailbox, OUTGOING, 5, &audit).await.unwrap());
        fleet.wake(&mailbox).await;
        fleet.servers().set_slow(false);
    };
    tokio::join!(fleet.send(&mailbox), enabling);
    for _ in 0..3 {
        fleet.send(&mailbox).await;
    }
    for id in &ids {
        assert_eq!(status(&fleet, id).await.0, EmailStatus::Sent);
    }
    assert_eq!(fleet.servers().sent().len(), 2, "each went out once");
}
