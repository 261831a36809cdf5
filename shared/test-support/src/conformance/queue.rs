//! Queues of jobs, and what becomes of one that is not deleted.

use std::collections::HashMap;

use mailrail_domain::words::delivery::Delivery;
use mailrail_engine::{
    limits::QUEUE_BATCH,
    ports::{Job, JobQueue, Received, Wake},
};

use crate::build::mailbox_id;

/// Every test of the suite, each on a fresh `$make`: an expression of a test's asynchronous body.
///
/// What is received and not deleted has to be visible again after
/// [`conformance::queue::VISIBILITY_SECONDS`](crate::conformance::queue::VISIBILITY_SECONDS).
#[macro_export]
macro_rules! queue_suite {
    ($make:expr) => {
        $crate::conformance_tests!(queue in queue, $make, [
            an_empty_queue_gives_nothing,
            a_wake_is_received_as_it_was_sent,
            a_whole_batch_is_received,
            no_more_than_a_batch_is_received_at_once,
            sending_nothing_is_no_error,
            the_same_wake_may_be_sent_twice_in_one_batch,
            deliveries_have_queues_of_their_own,
            a_delayed_wake_is_not_received_at_once,
            a_wake_that_is_being_dealt_with_is_not_received_again,
            a_wake_that_was_not_deleted_is_received_again,
            a_wake_that_was_deleted_is_not_received_again,
            of_a_batch_only_what_was_not_deleted_is_received_again,
            deleting_nothing_is_no_error,
        ]);
    };
}

/// A queue under test, with time that passes for it: a fake turns its clock, a real one is waited for.
pub trait PassTime {
    /// Lets `seconds` pass.
    fn pass(&self, seconds: u32) -> impl Future<Output = ()> + Send;
}

/// Seconds after which what was received and not deleted is visible again, in every queue under test.
pub const VISIBILITY_SECONDS: u32 = 5;
/// Seconds for which a test delays a wake.
const DELAY_SECONDS: u32 = 5;
/// Receptions after which nothing more is expected. A queue of many servers answers for some of them at a time.
const RECEPTIONS_MAX: usize = 30;
const INCOMING: Delivery = Delivery::IncomingEmail;
const OUTGOING: Delivery = Delivery::OutgoingEmail;

fn wakes(delivery: Delivery, names: std::ops::Range<usize>) -> Vec<Wake> {
    names.map(|n| Wake { mailbox: mailbox_id(&format!("m{n}")), delivery }).collect()
}

async fn send(queue: &impl JobQueue, wakes: &[Wake], delay_seconds: u32) {
    let jobs: Vec<Job> = wakes.iter().cloned().map(Job::Wake).collect();
    queue.send(&jobs, delay_seconds).await.unwrap();
}

/// Receives until `count` wakes are there, and answers them with their receipts.
async fn receive(queue: &impl JobQueue, delivery: Delivery, count: usize) -> Vec<(Wake, String)> {
    let mut received = Vec::new();
    for _ in 0..RECEPTIONS_MAX {
        let batch = queue.receive(delivery.into()).await.unwrap();
        assert!(batch.len() <= QUEUE_BATCH, "{} at once", batch.len());
        received.extend(batch.into_iter().map(|Received { job, receipt }| match job.unwrap() {
            Job::Wake(wake) => (wake, receipt),
            other => panic!("{other:?} is no wake"),
        }));
        if received.len() >= count {
            break;
        }
    }
    received
}

fn counted(wakes: impl IntoIterator<Item = Wake>) -> HashMap<Wake, usize> {
    let mut counts = HashMap::new();
    for wake in wakes {
        *counts.entry(wake).or_default() += 1;
    }
    counts
}

fn without_receipts(received: Vec<(Wake, String)>) -> HashMap<Wake, usize> {
    counted(received.into_iter().map(|(wake, _)| wake))
}

async fn delete(queue: &impl JobQueue, delivery: Delivery, received: &[(Wake, String)]) {
    let receipts: Vec<String> = received.iter().map(|(_, receipt)| receipt.clone()).collect();
    queue.delete(delivery.into(), &receipts).await.unwrap();
}

async fn is_empty(queue: &impl JobQueue, delivery: Delivery) -> bool {
    queue.receive(delivery.into()).await.unwrap().is_empty()
}

pub async fn an_empty_queue_gives_nothing(queue: &impl JobQueue) {
    assert!(is_empty(queue, INCOMING).await);
    assert!(is_empty(queue, OUTGOING).await);
}

pub async fn a_wake_is_received_as_it_was_sent(queue: &impl JobQueue) {
    let wake = Wake { mailbox: mailbox_id("0192aBc-longer-ID"), delivery: INCOMING };
    send(queue, std::slice::from_ref(&wake), 0).await;
    assert_eq!(without_receipts(receive(queue, INCOMING, 1).await), counted([wake]));
}

pub async fn a_whole_batch_is_received(queue: &impl JobQueue) {
    let sent = wakes(INCOMING, 0..QUEUE_BATCH);
    send(queue, &sent, 0).await;
    assert_eq!(without_receipts(receive(queue, INCOMING, QUEUE_BATCH).await), counted(sent));
}

pub async fn no_more_than_a_batch_is_received_at_once(queue: &impl JobQueue) {
    let sent = wakes(INCOMING, 0..2 * QUEUE_BATCH);
    for batch in sent.chunks(QUEUE_BATCH) {
        send(queue, batch, 0).await;
    }
    assert_eq!(without_receipts(receive(queue, INCOMING, sent.len()).await), counted(sent));
}

pub async fn sending_nothing_is_no_error(queue: &impl JobQueue) {
    queue.send(&[], 0).await.unwrap();
    assert!(is_empty(queue, INCOMING).await);
}

pub async fn the_same_wake_may_be_sent_twice_in_one_batch(queue: &impl JobQueue) {
    let wake = wakes(INCOMING, 0..1).remove(0);
    send(queue, &[wake.clone(), wake.clone()], 0).await;
    // A duplicate is harmless, so whether it is one message or two is the queue's affair.
    let received = receive(queue, INCOMING, 2).await;
    assert!(!received.is_empty() && received.iter().all(|(received, _)| *received == wake));
}

pub async fn deliveries_have_queues_of_their_own(queue: &impl JobQueue) {
    for delivery in [INCOMING, OUTGOING] {
        send(queue, &wakes(delivery, 0..2), 0).await;
    }
    for delivery in [INCOMING, OUTGOING] {
        let received = receive(queue, delivery, 2).await;
        delete(queue, delivery, &received).await;
        assert_eq!(without_receipts(received), counted(wakes(delivery, 0..2)), "{delivery:?}");
        assert!(is_empty(queue, delivery).await);
    }
}

pub async fn a_delayed_wake_is_not_received_at_once(queue: &(impl JobQueue + PassTime)) {
    let (delayed, prompt) = (wakes(INCOMING, 0..1), wakes(INCOMING, 1..2));
    send(queue, &delayed, DELAY_SECONDS).await;
    send(queue, &prompt, 0).await;
    let at_once = receive(queue, INCOMING, 1).await;
    delete(queue, INCOMING, &at_once).await;
    assert_eq!(without_receipts(at_once), counted(prompt));
    assert!(is_empty(queue, INCOMING).await);
    queue.pass(DELAY_SECONDS).await;
    assert_eq!(without_receipts(receive(queue, INCOMING, 1).await), counted(delayed));
}

pub async fn a_wake_that_is_being_dealt_with_is_not_received_again(queue: &impl JobQueue) {
    send(queue, &wakes(INCOMING, 0..3), 0).await;
    assert_eq!(receive(queue, INCOMING, 3).await.len(), 3);
    assert!(is_empty(queue, INCOMING).await);
}

pub async fn a_wake_that_was_not_deleted_is_received_again(queue: &(impl JobQueue + PassTime)) {
    let sent = wakes(INCOMING, 0..3);
    send(queue, &sent, 0).await;
    assert_eq!(receive(queue, INCOMING, 3).await.len(), 3);
    queue.pass(VISIBILITY_SECONDS).await;
    assert_eq!(without_receipts(receive(queue, INCOMING, 3).await), counted(sent));
}

pub async fn a_wake_that_was_deleted_is_not_received_again(queue: &(impl JobQueue + PassTime)) {
    send(queue, &wakes(INCOMING, 0..QUEUE_BATCH), 0).await;
    let received = receive(queue, INCOMING, QUEUE_BATCH).await;
    delete(queue, INCOMING, &received).await;
    queue.pass(VISIBILITY_SECONDS).await;
    assert!(is_empty(queue, INCOMING).await);
}

pub async fn of_a_batch_only_what_was_not_deleted_is_received_again(queue: &(impl JobQueue + PassTime)) {
    send(queue, &wakes(INCOMING, 0..5), 0).await;
    let mut received = receive(queue, INCOMING, 5).await;
    let kept = received.split_off(2);
    delete(queue, INCOMING, &received).await;
    queue.pass(VISIBILITY_SECONDS).await;
    assert_eq!(without_receipts(receive(queue, INCOMING, 3).await), without_receipts(kept));
}

pub async fn deleting_nothing_is_no_error(queue: &impl JobQueue) {
    queue.delete(INCOMING.into(), &[]).await.unwrap();
}
