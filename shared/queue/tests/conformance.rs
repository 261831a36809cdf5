//! The queues keep the contract of their port, as the fake does.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::time::Duration;

use aws_sdk_sqs::{Client, types::QueueAttributeName};
use mailrail_domain::words::delivery::Delivery;
use mailrail_engine::{
    outage::Outage,
    ports::{Job, JobQueue, QueueName, Received, Wake},
};
use mailrail_queue::{Queue, QueueUrls};
use mailrail_test_support::{
    aws::account,
    build::mailbox_id,
    conformance::queue::{PassTime, VISIBILITY_SECONDS},
    queue_suite,
};

queue_suite!(queues().await);

const INCOMING: Delivery = Delivery::IncomingEmail;
/// Receptions, of a second each, in which a message has to be there.
const RECEPTIONS_MAX: usize = 30;

/// The queues of an account of their own.
struct Queues {
    client: Client,
    incoming_email_url: String,
    queue: Queue,
}

impl JobQueue for Queues {
    fn send(&self, jobs: &[Job], delay: u32) -> impl Future<Output = Result<(), Outage>> + Send {
        self.queue.send(jobs, delay)
    }

    fn receive(&self, queue: QueueName) -> impl Future<Output = Result<Vec<Received>, Outage>> + Send {
        self.queue.receive(queue)
    }

    fn delete(&self, queue: QueueName, receipts: &[String]) -> impl Future<Output = Result<(), Outage>> + Send {
        self.queue.delete(queue, receipts)
    }
}

impl PassTime for Queues {
    async fn pass(&self, seconds: u32) {
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    }
}

async fn queues() -> Queues {
    let (config, _) = account();
    let client = Client::new(&config);
    let incoming_email_url = created(&client, "incoming-email").await;
    let outgoing_email_url = created(&client, "outgoing-email").await;
    let queue = Queue::new(
        client.clone(),
        QueueUrls {
            incoming_email: Some(incoming_email_url.clone()),
            outgoing_email: Some(outgoing_email_url),
            tests: None,
        },
    );
    Queues { client, incoming_email_url, queue }
}

async fn created(client: &Client, name: &str) -> String {
    let request = client.create_queue().queue_name(name);
    let request = request.attributes(QueueAttributeName::VisibilityTimeout, VISIBILITY_SECONDS.to_string());
    request.send().await.unwrap().queue_url.unwrap()
}

/// The first messages that come, waited for within a bound.
async fn received(queues: &Queues) -> Vec<Received> {
    for _ in 0..RECEPTIONS_MAX {
        let received = queues.receive(INCOMING.into()).await.unwrap();
        if !received.is_empty() {
            return received;
        }
    }
    panic!("nothing came in {RECEPTIONS_MAX} receptions");
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_reported_and_stays_on_the_queue() {
    let queues = queues().await;
    let body = "{\"version\":99}";
    queues.client.send_message().queue_url(&queues.incoming_email_url).message_body(body).send().await.unwrap();
    for _ in 0..2 {
        let received = received(&queues).await;
        assert!(matches!(&received[..], [Received { job: Err(_), .. }]), "{received:?}");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_read_keeps_no_other_back() {
    let queues = queues().await;
    queues.client.send_message().queue_url(&queues.incoming_email_url).message_body("?").send().await.unwrap();
    let wake = Wake { mailbox: mailbox_id("m1"), delivery: INCOMING };
    queues.send(&[wake.clone().into()], 0).await.unwrap();
    for _ in 0..RECEPTIONS_MAX {
        if received(&queues).await.into_iter().any(|message| message.job == Ok(wake.clone().into())) {
            return;
        }
    }
    panic!("the wake did not come");
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_an_outage() {
    let queues = queues().await;
    let gone = format!("{}-gone", queues.incoming_email_url);
    let queue = Queue::new(queues.client.clone(), QueueUrls { incoming_email: Some(gone), ..QueueUrls::default() });
    let wake = Wake { mailbox: mailbox_id("m1"), delivery: INCOMING };
    assert!(queue.send(&[wake.into()], 0).await.is_err());
    assert!(queue.receive(INCOMING.into()).await.is_err());
    assert!(queue.receive(Delivery::OutgoingEmail.into()).await.is_err(), "one that this function does not know");
}
