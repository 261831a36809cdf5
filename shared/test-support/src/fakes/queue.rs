//! Queues in memory, whose delays pass when the test says so.

use std::{collections::BTreeMap, sync::Mutex};

use mailrail_domain::words::{delivery::Delivery, trial::TestRequest};
use mailrail_engine::{
    limits::{QUEUE_BATCH, QUEUE_DELAY_SECONDS_MAX},
    outage::Outage,
    ports::{MailboxQueue, ReceivedTest, ReceivedWake, TestQueue, Wake},
};

use super::lock;
use crate::conformance::queue::PassTime;

/// Queues with their messages: receipt, wake, seconds of delay that are left.
#[derive(Debug, Default)]
pub struct MemoryQueue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    stuck: Option<QueueCall>,
    next: u64,
    messages: BTreeMap<u64, Message>,
    tests: BTreeMap<u64, TestRequest>,
}

/// A call that a test can let hang, so that whoever makes it can be killed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueCall {
    /// Sending wakes.
    Send,
    /// Deleting messages.
    Delete,
}

#[derive(Debug, Clone)]
struct Message {
    wake: Wake,
    delay_seconds: u32,
    in_flight: bool,
}

impl MemoryQueue {
    /// Every message that is there, with the seconds it is still delayed.
    pub fn waiting(&self, delivery: Delivery) -> Vec<(Wake, u32)> {
        let state = lock(&self.0);
        let of_delivery = state.messages.values().filter(|m| m.wake.delivery == delivery);
        of_delivery.map(|m| (m.wake.clone(), m.delay_seconds)).collect()
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

impl TestQueue for MemoryQueue {
    async fn send_tests(&self, requests: &[TestRequest], _: u32) -> Result<(), Outage> {
        let mut state = lock(&self.0);
        for request in requests {
            state.next += 1;
            let receipt = state.next;
            state.tests.insert(receipt, request.clone());
        }
        Ok(())
    }

    async fn receive_tests(&self) -> Result<Vec<ReceivedTest>, Outage> {
        let state = lock(&self.0);
        let batch = state.tests.iter().take(QUEUE_BATCH);
        Ok(batch.map(|(n, request)| ReceivedTest { request: Ok(request.clone()), receipt: n.to_string() }).collect())
    }

    async fn delete_tests(&self, receipts: &[String]) -> Result<(), Outage> {
        let mut state = lock(&self.0);
        for receipt in receipts {
            state.tests.remove(&receipt.parse().expect("a receipt of this queue"));
        }
        Ok(())
    }
}

impl MailboxQueue for MemoryQueue {
    async fn send(&self, delivery: Delivery, wakes: &[Wake], delay_seconds: u32) -> Result<(), Outage> {
        self.hang_if(QueueCall::Send).await;
        assert!(wakes.len() <= QUEUE_BATCH && delay_seconds <= QUEUE_DELAY_SECONDS_MAX, "what SQS would refuse");
        assert!(wakes.iter().all(|wake| wake.delivery == delivery), "a wake on the queue of another delivery");
        let mut state = lock(&self.0);
        for wake in wakes {
            state.next += 1;
            let receipt = state.next;
            state.messages.insert(receipt, Message { wake: wake.clone(), delay_seconds, in_flight: false });
        }
        Ok(())
    }

    async fn receive(&self, delivery: Delivery) -> Result<Vec<ReceivedWake>, Outage> {
        let mut state = lock(&self.0);
        let visible = state
            .messages
            .iter_mut()
            .filter(|(_, m)| m.wake.delivery == delivery && m.delay_seconds == 0 && !m.in_flight);
        let batch = visible.take(QUEUE_BATCH).map(|(receipt, message)| {
            message.in_flight = true;
            ReceivedWake { wake: Ok(message.wake.clone()), receipt: receipt.to_string() }
        });
        Ok(batch.collect())
    }

    async fn delete(&self, _: Delivery, receipts: &[String]) -> Result<(), Outage> {
        self.hang_if(QueueCall::Delete).await;
        let mut state = lock(&self.0);
        for receipt in receipts {
            state.messages.remove(&receipt.parse().expect("a receipt of this queue"));
        }
        Ok(())
    }
}
