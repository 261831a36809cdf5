//! The queues (SQS): a message says what to look at, and the rows say everything else.

mod message;

use aws_sdk_sqs::{
    error::{ProvideErrorMetadata, SdkError},
    types::{DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry},
};
use aws_smithy_types::error::display::DisplayErrorContext;
use mailrail_domain::words::delivery::Delivery;
use mailrail_engine::{
    limits::{QUEUE_BATCH, QUEUE_DELAY_SECONDS_MAX},
    outage::Outage,
    ports::{Job, JobQueue, QueueName, Received},
};
pub use message::{decode, encode};

/// How long a hand-made receipt waits for messages, in seconds: long enough to ask every server of the queue.
const RECEIVE_WAIT_SECONDS: i32 = 1;

/// The queues by their addresses. A function knows those alone that it may use.
#[derive(Debug, Clone)]
pub struct Queue {
    client: aws_sdk_sqs::Client,
    urls: QueueUrls,
}

/// Addresses of the queues.
#[derive(Debug, Clone, Default)]
pub struct QueueUrls {
    /// Of incoming email.
    pub incoming_email: Option<String>,
    /// Of outgoing email.
    pub outgoing_email: Option<String>,
    /// Of tests.
    pub tests: Option<String>,
}

impl Queue {
    /// The queues at these addresses.
    #[must_use]
    pub const fn new(client: aws_sdk_sqs::Client, urls: QueueUrls) -> Self {
        Self { client, urls }
    }

    fn url(&self, queue: QueueName) -> Result<&str, Outage> {
        let (url, variable) = match queue {
            QueueName::Delivery(Delivery::IncomingEmail) => (&self.urls.incoming_email, "INCOMING_EMAIL_QUEUE_URL"),
            QueueName::Delivery(Delivery::OutgoingEmail) => (&self.urls.outgoing_email, "OUTGOING_EMAIL_QUEUE_URL"),
            QueueName::Delivery(Delivery::AppointmentsContactsTasks) => {
                return Err(Outage::new("there is no queue for appointments, contacts, and tasks yet"));
            }
            QueueName::Trials => (&self.urls.tests, "TESTS_QUEUE_URL"),
        };
        url.as_deref().ok_or_else(|| Outage::new(format!("{variable} is not set for this function")))
    }

    async fn put(&self, url: &str, bodies: &[String], delay_seconds: u32) -> Result<(), Outage> {
        // The service refuses a longer delay, and with it the retry.
        let delay = i32::try_from(delay_seconds.min(QUEUE_DELAY_SECONDS_MAX)).unwrap_or_default();
        for batch in bodies.chunks(QUEUE_BATCH) {
            let entries = batch.iter().enumerate().map(|(number, body)| {
                SendMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .message_body(body)
                    .delay_seconds(delay)
                    .build()
                    .map_err(|error| Outage::because("asking for a message", error))
            });
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            let request = self.client.send_message_batch().queue_url(url).set_entries(Some(entries));
            let reply = request.send().await.map_err(outage("sending to the queue"))?;
            if let Some(failed) = reply.failed().first() {
                let why = failed.message().unwrap_or(failed.code());
                return Err(Outage::new(format!("the queue did not take {} messages: {why}", reply.failed().len())));
            }
        }
        Ok(())
    }

    /// One batch, each message with its body and its receipt.
    async fn take(&self, url: &str) -> Result<Vec<(String, String)>, Outage> {
        let request = self.client.receive_message().queue_url(url);
        let request = request.max_number_of_messages(i32::try_from(QUEUE_BATCH).unwrap_or(1));
        let request = request.wait_time_seconds(RECEIVE_WAIT_SECONDS);
        let reply = request.send().await.map_err(outage("receiving from the queue"))?;
        let messages = reply.messages.unwrap_or_default().into_iter();
        Ok(messages.map(|m| (m.body.unwrap_or_default(), m.receipt_handle.unwrap_or_default())).collect())
    }

    async fn remove(&self, url: &str, receipts: &[String]) -> Result<(), Outage> {
        for batch in receipts.chunks(QUEUE_BATCH) {
            let entries = batch.iter().enumerate().map(|(number, receipt)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .receipt_handle(receipt)
                    .build()
                    .map_err(|error| Outage::because("asking for a deletion", error))
            });
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            let request = self.client.delete_message_batch().queue_url(url).set_entries(Some(entries));
            // A message that could not be deleted comes again and finds in its row that there is nothing to do.
            request.send().await.map_err(outage("deleting from the queue"))?;
        }
        Ok(())
    }
}

impl JobQueue for Queue {
    async fn send(&self, jobs: &[Job], delay_seconds: u32) -> Result<(), Outage> {
        let Some(first) = jobs.first() else {
            return Ok(());
        };
        let bodies: Vec<String> = jobs.iter().map(encode).collect();
        self.put(self.url(first.queue())?, &bodies, delay_seconds).await
    }

    async fn receive(&self, queue: QueueName) -> Result<Vec<Received>, Outage> {
        let messages = self.take(self.url(queue)?).await?.into_iter();
        Ok(messages.map(|(body, receipt)| Received { job: decode(&body), receipt }).collect())
    }

    async fn delete(&self, queue: QueueName, receipts: &[String]) -> Result<(), Outage> {
        self.remove(self.url(queue)?, receipts).await
    }
}

/// An outage of the queue, in the service's own code and words where it answered.
fn outage<E, R>(what: &'static str) -> impl FnOnce(SdkError<E, R>) -> Outage
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    move |error| match (error.code(), error.message()) {
        (Some(code), message) => Outage::because(what, format!("{code}: {}", message.unwrap_or_default())),
        (None, _) => Outage::because(what, DisplayErrorContext(error).to_string()),
    }
}
