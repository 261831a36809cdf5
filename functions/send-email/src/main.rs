//! Outgoing email for a batch of mailboxes: what is Pending Send is handed over.
//!
//! The batch comes from an SQS event source mapping, or, invoked by a schedule or by hand, from the queue itself.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mailrail_boot::{answer, deadline, engine};
use mailrail_domain::words::delivery::Delivery;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (engine, _) = engine()?;
    let engine = &engine;
    run(service_fn(|event: LambdaEvent<Value>| async move {
        let deadline = deadline(&event.context);
        Ok::<_, Error>(answer(engine, Delivery::OutgoingEmail, event.payload, deadline).await?)
    }))
    .await
}
