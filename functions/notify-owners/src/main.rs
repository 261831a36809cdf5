//! Once a minute: notices that wait are sent to the owners of email server profiles, and stalled deliveries are reported.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mailrail_boot::{deadline, engine};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (engine, _) = engine()?;
    let engine = &engine;
    run(service_fn(|event: LambdaEvent<Value>| async move {
        let deadline = deadline(&event.context);
        let notified = engine.notify(deadline).await?;
        let stalled = engine.check_freshness(deadline).await?;
        engine.check_profiles(deadline).await?;
        Ok::<_, Error>(json!({ "sent": notified.sent, "waiting": notified.waiting, "stalled": stalled }))
    }))
    .await
}
