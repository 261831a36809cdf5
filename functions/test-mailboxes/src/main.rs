//! Test & Enable: mailboxes tried stage by stage, and enabled where they passed.
//!
//! The batch comes from an SQS event source mapping, or, invoked by a schedule or by hand, from the queue itself.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mailrail_boot::{QueueName, answer, deadline, engine};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (engine, _) = engine()?;
    let engine = &engine;
    run(service_fn(|event: LambdaEvent<Value>| async move {
        let deadline = deadline(&event.context);
        Ok::<_, Error>(answer(engine, QueueName::Trials, event.payload, deadline).await?)
    }))
    .await
}
