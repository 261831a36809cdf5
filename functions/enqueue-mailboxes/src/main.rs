//! Once a minute: every delivery that is due is put on its queue.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mailrail_boot::{deadline, engine};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (engine, _) = engine()?;
    let engine = &engine;
    run(service_fn(|event: LambdaEvent<Value>| async move {
        let enqueued = engine.enqueue_due(deadline(&event.context)).await?;
        tracing::info!(wakes = enqueued.wakes, "enqueued");
        Ok::<_, Error>(json!({ "wakes": enqueued.wakes, "cut_short": enqueued.cut_short }))
    }))
    .await
}
