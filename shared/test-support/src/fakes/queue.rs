//! Queues in memory, whose delays pass when the test says so.

use std::{collections::BTreeMap, sync::Mutex};

use mailrail_domain::words::delivery::Delivery;
use mailrail_engine::{
    limits::{QUEUE_BATCH, QUEUE_DELAY_SECONDS_MAX},
    outage::Outage,
    ports::{Job, JobQueue, QueueName, Received, Wake},
};

use super::lock;
use crate::conformance::queue::PassTime;

/// Queues with their messages: receipt, job, seconds of delay that are left.
#[derive(Debug, Default)]
pub struct MemoryQueue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    stuck: Option<QueueCall>,
    next: u64,
    messages: BTreeMap<u64, Message>,
}

/// A call that a test can let hang, so that whoever makes it can be killed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueCall {
    /// Sending jobs.
    Send,
    /// Deleting messages.
    Delete,
}

#[derive(Debug, Clone)]
struct Message {
    job: Job,
    delay_seconds: u32,
    in_flight: bool,
}

impl MemoryQueue {
    /// Every wake of a delivery that is there, with the seconds it is still delayed.
    pub fn waiting(&self, delivery: Delivery) -> Vec<(Wake, u32)> {
        let state = lock(&self.0);
        let wake = |message: &Message| match &message.job {
            Job::Wake(wake) if wake.delivery == delivery => Some((wake.clone(), message.delay_seconds)),
            Job::Wake(_) | Job::Trial(_) | Job::TrialsOfProfile(_) => None,
        };
        state.messages.values().filter_map(wake).collect()
    }

    /// Lets a call hang from now on, or none.
    pub fn stick(&self, call: Option<QueueCall>) {
        lock(&self.0).stuck = call;
    }

    async fn hang_if(&self, call: QueueCall) {
        let stuck = lock(&self.0).stuck == Some(call);
        if stuck {
            std::future::pending::<()>().await;
        }
    }

    /// Loses, doubles or delays a message, now and then.
    pub fn disturb(&self, random: &mut fastrand::Rng) {
        let mut state = lock(&self.0);
        let Some(receipt) = random.choice(state.messages.keys().copied().collect::<Vec<_>>()) else {
            return;
        };
        match random.u8(0..3) {
            0 => {
                state.messages.remove(&receipt);
            }
            1 => {
                state.next += 1;
                let (next, double) = (state.next, state.messages[&receipt].clone());
                state.messages.insert(next, Message { in_flight: false, ..double });
            }
            _ => {
                if let Some(message) = state.messages.get_mut(&receipt) {
                    message.delay_seconds += random.u32(1..300);
                }
            }
        }
    }

    /// Lets `seconds` pass: delays run off, and what is in flight becomes visible again.
    pub fn pass(&self, seconds: u32) {
        for message in lock(&self.0).messages.values_mut() {
            message.delay_seconds = message.delay_seconds.saturating_sub(seconds);
            message.in_flight = false;
        }
    }
}

impl PassTime for MemoryQueue {
    async fn pass(&self, seconds: u32) {
        Self::pass(self, seconds);
    }
}

impl JobQueue for MemoryQueue {
    async fn send(&self, jobs: &[Job], delay_seconds: u32) -> Result<(), Outage> {
        self.hang_if(QueueCall::Send).await;
        assert!(jobs.len() <= QUEUE_BATCH && delay_seconds <= QUEUE_DELAY_SECONDS_MAX, "what SQS would refuse");
        assert!(jobs.windows(2).all(|two| two[0].queue() == two[1].queue()), "a job on the queue of another");
        let mut state = lock(&self.0);
        for job in jobs {
            state.next += 1;
            let receipt = state.next;
            state.messages.insert(receipt, Message { job: job.clone(), delay_seconds, in_flight: false });
        }
        Ok(())
    }

    async fn receive(&self, queue: QueueName) -> Result<Vec<Received>, Outage> {
        let mut state = lock(&self.0);
        let visible =
            state.messages.iter_mut().filter(|(_, m)| m.job.queue() == queue && m.delay_seconds == 0 && !m.in_flight);
        let batch = visible.take(QUEUE_BATCH).map(|(receipt, message)| {
            message.in_flight = true;
            Received { job: Ok(message.job.clone()), receipt: receipt.to_string() }
        });
        Ok(batch.collect())
    }

    async fn delete(&self, _: QueueName, receipts: &[String]) -> Result<(), Outage> {
        self.hang_if(QueueCall::Delete).await;
        let mut state = lock(&self.0);
        for receipt in receipts {
            state.messages.remove(&receipt.parse().expect("a receipt of this queue"));
        }
        Ok(())
    }
}
