//! One handler, two triggers: a batch that an event source mapping brings, or an invocation that fetches its own.

use mailrail_domain::delivery::Delivery;
use mailrail_engine::{
    Deadline, Engine,
    batch::Handled,
    outage::Outage,
    ports::{Ports, Wake},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An event of SQS, as far as it is needed.
#[derive(Debug, Deserialize)]
struct SqsEvent {
    #[serde(rename = "Records")]
    records: Vec<SqsRecord>,
}

#[derive(Debug, Deserialize)]
struct SqsRecord {
    #[serde(rename = "messageId")]
    message_id: String,
    #[serde(default)]
    body: String,
}

/// The messages of a batch that are to come again (`ReportBatchItemFailures`).
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct BatchResponse {
    /// By message id. Never with an empty one: AWS would take the whole batch for failed.
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<Failure>,
}

/// A message that is to come again.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its id.
    #[serde(rename = "itemIdentifier")]
    pub id: String,
}

/// Answers an event: runs the batch that it brings, or, where it brings none (a schedule, a hand), batches from the
/// queue of `delivery` until the time is up.
pub async fn answer<P: Ports>(
    engine: &Engine<P>,
    delivery: Delivery,
    event: Value,
    deadline: Deadline,
) -> Result<Value, Outage> {
    if event.get("Records").is_none() {
        let drained = engine.drain(delivery, deadline).await?;
        return Ok(json!({ "done": drained.done, "left": drained.left }));
    }
    let event: SqsEvent =
        serde_json::from_value(event).map_err(|error| Outage::because("the event is not one of SQS", error))?;
    let response = run_records(engine, event, deadline).await;
    serde_json::to_value(response).map_err(|error| Outage::because("the answer cannot be written", error))
}

async fn run_records<P: Ports>(engine: &Engine<P>, event: SqsEvent, deadline: Deadline) -> BatchResponse {
    let mut wakes: Vec<Wake> = Vec::new();
    let mut ids = Vec::new();
    let mut failures = Vec::new();
    for record in event.records {
        match mailrail_queue::decode(&record.body) {
            Ok(wake) => {
                wakes.push(wake);
                ids.push(record.message_id);
            }
            Err(problem) => {
                tracing::error!(message_id = record.message_id, problem, "left to the dead letters");
                failures.push(Failure { id: record.message_id });
            }
        }
    }
    let handled = engine.run_batch(&wakes, deadline).await;
    let again = ids.into_iter().zip(handled).filter(|(_, handled)| matches!(handled, Handled::Again));
    failures.extend(again.map(|(id, _)| Failure { id }));
    BatchResponse { failures }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_form_that_the_mapping_reads() {
        let response = BatchResponse { failures: vec![Failure { id: "m-1".into() }] };
        assert_eq!(
            serde_json::to_value(response).unwrap(),
            json!({ "batchItemFailures": [{ "itemIdentifier": "m-1" }] })
        );
    }

    #[test]
    fn a_record_without_an_id_is_no_event() {
        assert!(serde_json::from_value::<SqsEvent>(json!({ "Records": [{ "body": "x" }] })).is_err());
    }
}
