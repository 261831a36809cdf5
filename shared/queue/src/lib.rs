//! The queues (SQS): a message wakes a delivery, and its row says everything else.

mod message;

use aws_sdk_sqs::{
    error::{ProvideErrorMetadata, SdkError},
    types::{DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry},
};
use aws_smithy_types::error::display::DisplayErrorContext;
use mailrail_domain::delivery::Delivery;
use mailrail_engine::{
    limits::{QUEUE_BATCH, QUEUE_DELAY_SECONDS_MAX},
    outage::Outage,
    ports::{MailboxQueue, ReceivedWake, Wake},
};
pub use message::{decode, encode};

/// How long a hand-made receipt waits for messages, in seconds: long enough to ask every server of the queue.
const RECEIVE_WAIT_SECONDS: i32 = 1;

/// The queues by their addresses. A function knows those alone that it may use.
#[derive(Debug, Clone)]
pub struct Queue {
    client: aws_sdk_sqs::Client,
    incoming_email_url: Option<String>,
    outgoing_email_url: Option<String>,
}

impl Queue {
    /// The queues at these addresses.
    #[must_use]
    pub const fn new(
        client: aws_sdk_sqs::Client,
        incoming_email_url: Option<String>,
        outgoing_email_url: Option<String>,
    ) -> Self {
        Self { client, incoming_email_url, outgoing_email_url }
    }

    fn url(&self, delivery: Delivery) -> Result<&str, Outage> {
        let (url, name) = match delivery {
            Delivery::IncomingEmail => (&self.incoming_email_url, "INCOMING_EMAIL_QUEUE_URL"),
            Delivery::OutgoingEmail => (&self.outgoing_email_url, "OUTGOING_EMAIL_QUEUE_URL"),
            Delivery::AppointmentsContactsTasks => {
                return Err(Outage::new("there is no queue for appointments, contacts, and tasks yet"));
            }
        };
        url.as_deref().ok_or_else(|| Outage::new(format!("{name} is not set for this function")))
    }
}

impl MailboxQueue for Queue {
    async fn send(&self, delivery: Delivery, wakes: &[Wake], delay_seconds: u32) -> Result<(), Outage> {
        if wakes.is_empty() {
            return Ok(());
        }
        // The service refuses a longer delay, and with it the retry.
        let delay = i32::try_from(delay_seconds.min(QUEUE_DELAY_SECONDS_MAX)).unwrap_or_default();
        let url = self.url(delivery)?;
        for batch in wakes.chunks(QUEUE_BATCH) {
            let entries = batch.iter().enumerate().map(|(number, wake)| {
                SendMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .message_body(encode(wake))
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

    async fn receive(&self, delivery: Delivery) -> Result<Vec<ReceivedWake>, Outage> {
        let request = self.client.receive_message().queue_url(self.url(delivery)?);
        let request = request.max_number_of_messages(i32::try_from(QUEUE_BATCH).unwrap_or(1));
        let request = request.wait_time_seconds(RECEIVE_WAIT_SECONDS);
        let reply = request.send().await.map_err(outage("receiving from the queue"))?;
        let received = reply.messages.unwrap_or_default().into_iter().map(|message| ReceivedWake {
            wake: decode(message.body.as_deref().unwrap_or_default()),
            receipt: message.receipt_handle.unwrap_or_default(),
        });
        Ok(received.collect())
    }

    async fn delete(&self, delivery: Delivery, receipts: &[String]) -> Result<(), Outage> {
        let url = self.url(delivery)?;
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
