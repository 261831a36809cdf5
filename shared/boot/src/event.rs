//! One handler, two triggers: a batch that an event source mapping brings, or an invocation that fetches its own.

use mailrail_engine::{
    Deadline, Engine,
    batch::Handled,
    outage::Outage,
    ports::{Job, Ports, QueueName},
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

/// Answers an event: does the jobs that it brings, or, where it brings none (a schedule, a hand), batches of jobs from
/// `queue` until the time is up.
pub async fn answer<P: Ports>(
    engine: &Engine<P>,
    queue: impl Into<QueueName>,
    event: Value,
    deadline: Deadline,
) -> Result<Value, Outage> {
    if event.get("Records").is_none() {
        let drained = engine.drain(queue.into(), deadline).await?;
        return Ok(json!({ "done": drained.done, "left": drained.left }));
    }
    let batch = Batch::read(event)?;
    let handled = engine.run_batch(&batch.jobs, deadline).await;
    batch.answered(handled)
}

/// The messages of an event: those that could be read, and the ids of those that could not.
struct Batch {
    jobs: Vec<Job>,
    ids: Vec<String>,
    unreadable: Vec<Failure>,
}

impl Batch {
    fn read(event: Value) -> Result<Self, Outage> {
        let event: SqsEvent =
            serde_json::from_value(event).map_err(|error| Outage::because("the event is not one of SQS", error))?;
        let mut batch = Self { jobs: Vec::new(), ids: Vec::new(), unreadable: Vec::new() };
        for record in event.records {
            match mailrail_queue::decode(&record.body) {
                Ok(job) => {
                    batch.jobs.push(job);
                    batch.ids.push(record.message_id);
                }
                Err(problem) => {
                    tracing::error!(message_id = record.message_id, problem, "left to the dead letters");
                    batch.unreadable.push(Failure { id: record.message_id });
                }
            }
        }
        Ok(batch)
    }

    fn answered(self, handled: Vec<Handled>) -> Result<Value, Outage> {
        let mut failures = self.unreadable;
        let again = self.ids.into_iter().zip(handled).filter(|(_, handled)| matches!(handled, Handled::Again));
        failures.extend(again.map(|(id, _)| Failure { id }));
        serde_json::to_value(BatchResponse { failures })
            .map_err(|error| Outage::because("the answer cannot be written", error))
    }
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
