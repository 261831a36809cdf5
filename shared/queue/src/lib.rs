//! The queues (SQS): a message wakes a delivery, and its row says everything else.

mod message;

use aws_sdk_sqs::{
    error::{ProvideErrorMetadata, SdkError},
    types::{DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry},
};
use aws_smithy_types::error::display::DisplayErrorContext;
use mailrail_domain::words::{delivery::Delivery, trial::TestRequest};
use mailrail_engine::{
    limits::{QUEUE_BATCH, QUEUE_DELAY_SECONDS_MAX},
    outage::Outage,
    ports::{MailboxQueue, ReceivedTest, ReceivedWake, TestQueue, Wake},
};
pub use message::{decode, decode_test, encode, encode_test};

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

    fn url(&self, delivery: Delivery) -> Result<&str, Outage> {
        match delivery {
            Delivery::IncomingEmail => known(self.urls.incoming_email.as_deref(), "INCOMING_EMAIL_QUEUE_URL"),
            Delivery::OutgoingEmail => known(self.urls.outgoing_email.as_deref(), "OUTGOING_EMAIL_QUEUE_URL"),
            Delivery::AppointmentsContactsTasks => {
                Err(Outage::new("there is no queue for appointments, contacts, and tasks yet"))
            }
        }
    }

    fn tests_url(&self) -> Result<&str, Outage> {
        known(self.urls.tests.as_deref(), "TESTS_QUEUE_URL")
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

fn known<'a>(url: Option<&'a str>, name: &str) -> Result<&'a str, Outage> {
    url.ok_or_else(|| Outage::new(format!("{name} is not set for this function")))
}

impl MailboxQueue for Queue {
    async fn send(&self, delivery: Delivery, wakes: &[Wake], delay_seconds: u32) -> Result<(), Outage> {
        if wakes.is_empty() {
            return Ok(());
        }
        let bodies: Vec<String> = wakes.iter().map(encode).collect();
        self.put(self.url(delivery)?, &bodies, delay_seconds).await
    }

    async fn receive(&self, delivery: Delivery) -> Result<Vec<ReceivedWake>, Outage> {
        let messages = self.take(self.url(delivery)?).await?.into_iter();
        Ok(messages.map(|(body, receipt)| ReceivedWake { wake: decode(&body), receipt }).collect())
    }

    async fn delete(&self, delivery: Delivery, receipts: &[String]) -> Result<(), Outage> {
        self.remove(self.url(delivery)?, receipts).await
    }
}

impl TestQueue for Queue {
    async fn send_tests(&self, requests: &[TestRequest], delay_seconds: u32) -> Result<(), Outage> {
        let bodies: Vec<String> = requests.iter().map(encode_test).collect();
        self.put(self.tests_url()?, &bodies, delay_seconds).await
    }

    async fn receive_tests(&self) -> Result<Vec<ReceivedTest>, Outage> {
        let messages = self.take(self.tests_url()?).await?.into_iter();
        Ok(messages.map(|(body, receipt)| ReceivedTest { request: decode_test(&body), receipt }).collect())
    }

    async fn delete_tests(&self, receipts: &[String]) -> Result<(), Outage> {
        self.remove(self.tests_url()?, receipts).await
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
