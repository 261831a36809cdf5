//! Once a minute: notices that wait are sent to the owners of email server profiles.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mailrail_boot::{deadline, engine};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (engine, _) = engine()?;
    let engine = &engine;
    run(service_fn(|event: LambdaEvent<Value>| async move {
        let notified = engine.notify(deadline(&event.context)).await?;
        Ok::<_, Error>(json!({ "sent": notified.sent, "waiting": notified.waiting }))
    }))
    .await
}
