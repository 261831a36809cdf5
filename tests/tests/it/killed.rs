//! Functions that are killed: between commit, enqueue and delete, while sending, and anywhere.
//!
//! A run is killed by dropping it at a call that hangs, or after some time: whatever it had done by then stays done,
//! and nothing of it happens later, as when Lambda ends a process.

use std::time::Duration;

use end_to_end::{
    letter::Letter,
    stack::{Server, account, stack},
    world::{BETWEEN_RUNS_SECONDS, Outbound, World, incoming_at, outgoing, pass},
};
use mailrail_domain::{
    email::record::EmailStatus,
    rules::schedule::Slot,
    settings::profile::{IncomingProtocol, Security},
    words::{
        delivery::Delivery,
        id::MailboxId,
        policy::{GAP_SECONDS, UnknownOutcome},
    },
};
use mailrail_engine::{
    Deadline,
    ports::{MailboxStore, Wake},
};
use mailrail_test_support::{build, fakes::QueueCall};
use tokio::time::timeout;

const INCOMING: Delivery = Delivery::IncomingEmail;
const OUTGOING: Delivery = Delivery::OutgoingEmail;
/// Long enough for a run to reach the call at which it is killed.
const TO_THE_CALL: Duration = Duration::from_secs(5);
const INVOCATION: Duration = Duration::from_secs(120);

/// Runs a delivery and kills the run after `time`; whether it was still running.
async fn kill_after(world: &World, mailbox: &MailboxId, delivery: Delivery, time: Duration) -> bool {
    pass(BETWEEN_RUNS_SECONDS);
    let wake = [Wake { mailbox: mailbox.clone(), delivery }.into()];
    timeout(time, world.engine.run_batch(&wake, Deadline::after(INVOCATION))).await.is_err()
}

async fn failing_mailbox(world: &World) -> MailboxId {
    let account = account();
    let closed = build::location(&stack().mail.host, 1, Security::Tls);
    world.mailbox(&account, &incoming_at(IncomingProtocol::Imap, closed, &account)).await
}

#[tokio::test]
async fn killed_between_commit_and_enqueue_the_next_tick_repairs_it() {
    let world = World::new();
    let mailbox = failing_mailbox(&world).await;
    let queue = &world.engine.ports.queue;
    queue.stick(Some(QueueCall::Send));
    assert!(kill_after(&world, &mailbox, INCOMING, TO_THE_CALL).await, "it was to be killed while enqueueing");
    queue.stick(None);
    assert_eq!(world.state(&mailbox, INCOMING).await.transient_failure_count, 1, "the failure is committed");
    assert!(queue.waiting(INCOMING).is_empty(), "and nobody was told");

    pass(i64::from(GAP_SECONDS));
    let interval = world.row(&mailbox, INCOMING).await.interval_minutes.expect("a place in the schedule");
    let due = world.engine.ports.state.due(Slot::of(&mailbox, INCOMING, interval), None).await.expect("a store");
    assert!(due.wakes.contains(&Wake { mailbox: mailbox.clone(), delivery: INCOMING }));
    world.run(&mailbox, INCOMING).await;
    assert_eq!(world.state(&mailbox, INCOMING).await.transient_failure_count, 2);
    assert_eq!(queue.waiting(INCOMING).len(), 1);
}

#[tokio::test]
async fn killed_between_enqueue_and_delete_the_failure_is_counted_once() {
    let world = World::new();
    let mailbox = failing_mailbox(&world).await;
    let queue = &world.engine.ports.queue;
    let wake = Wake { mailbox: mailbox.clone(), delivery: INCOMING };
    mailrail_engine::ports::JobQueue::send(queue, &[wake.into()], 0).await.expect("a queue");
    queue.stick(Some(QueueCall::Delete));
    let draining = world.engine.drain(INCOMING.into(), Deadline::after(INVOCATION));
    assert!(timeout(TO_THE_CALL, draining).await.is_err(), "it was to be killed while deleting");
    queue.stick(None);
    assert_eq!(queue.waiting(INCOMING).len(), 2, "the message that was not deleted, and the retry");

    queue.pass(1);
    world.drain(INCOMING).await;
    assert_eq!(world.state(&mailbox, INCOMING).await.transient_failure_count, 1, "the message came again too early");
    assert_eq!(queue.waiting(INCOMING).len(), 1, "the retry is still to come");
}

#[tokio::test]
async fn killed_before_the_content_leaves_the_email_is_sent_once_later() {
    let world = World::new();
    let (from, to) = (account(), account());
    let mailbox = world.mailbox(&from, &outgoing(Security::Tls, &from)).await;
    let id = world.pend(&mailbox, &Outbound { to: &[&to.address], subject: "once", ..Outbound::default() }).await;
    world.engine.ports.records.stick_after_updates(Some(0));
    assert!(kill_after(&world, &mailbox, OUTGOING, TO_THE_CALL).await, "it was to be killed before the content");
    world.engine.ports.records.stick_after_updates(None);
    assert_eq!(world.email(&id).await.status, EmailStatus::PendingSend);
    world.send(&mailbox).await;
    assert_eq!(world.email(&id).await.status, EmailStatus::Sent);
    to.wait_for_files(1).await;
}

#[tokio::test]
async fn killed_after_the_content_left_the_email_is_neither_doubled_nor_called_sent() {
    for policy in [UnknownOutcome::Hold, UnknownOutcome::SendAgain] {
        let world = World::new();
        let (from, to) = (account(), account());
        let mut profile = outgoing(Security::Tls, &from);
        profile.unknown_outcome = policy;
        let mailbox = world.mailbox(&from, &profile).await;
        let id = world.pend(&mailbox, &Outbound { to: &[&to.address], subject: "lost", ..Outbound::default() }).await;
        world.engine.ports.records.stick_after_updates(Some(1));
        assert!(kill_after(&world, &mailbox, OUTGOING, TO_THE_CALL).await, "it was to be killed after the content");
        world.engine.ports.records.stick_after_updates(None);
        to.wait_for_files(1).await;
        let unknown = world.email(&id).await;
        assert_eq!(unknown.status, EmailStatus::Sending);
        assert_eq!(unknown.outgoing.expect("an outgoing email").outcome_unknown.len(), 1);

        world.run(&mailbox, OUTGOING).await;
        match policy {
            UnknownOutcome::Hold => {
                assert_eq!(world.email(&id).await.status, EmailStatus::Failed);
                to.wait_for_files(1).await;
            }
            UnknownOutcome::SendAgain => {
                world.run(&mailbox, OUTGOING).await;
                assert_eq!(world.email(&id).await.status, EmailStatus::Sent);
                to.wait_for_files(2).await;
            }
        }
    }
}

#[tokio::test]
async fn killed_anywhere_in_a_first_synchronization_every_message_is_one_record() {
    const MESSAGES: usize = 250;
    for server in [Server::Imaps, Server::Pop3s] {
        let world = World::new();
        let account = server.account();
        for number in 0..MESSAGES {
            account.deliver(&Letter::new(&format!("message {number:04}")));
        }
        let mailbox = world.reader(server, &account).await;
        let mut killed = 0;
        for milliseconds in (5..400).step_by(15) {
            killed += u32::from(kill_after(&world, &mailbox, INCOMING, Duration::from_millis(milliseconds)).await);
        }
        assert!(killed > 0, "no run was slow enough to be killed");
        world.receive(&mailbox).await;
        assert_eq!(world.subjects(&mailbox).await.len(), MESSAGES, "{server:?} after {killed} kills");
        let state = world.state(&mailbox, INCOMING).await;
        assert_eq!((state.transient_failure_count, state.enabled), (0, true), "a kill is nobody's failure");
    }
}
