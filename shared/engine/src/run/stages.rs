//! The stages of one delivery's test, as far as it got.

use std::time::Instant;

use mailrail_domain::words::{
    cause::DeliveryError,
    delivery::{Delivery, TestStatus},
    evidence::Stage,
    trial::{MailboxTest, StageReport},
};

use crate::{
    Engine,
    outage::Outage,
    ports::{Ports, Progress, TestStore},
};

/// The stages of one delivery's test, which are shown while it goes on.
pub(crate) struct Stages<'a> {
    test: &'a mut MailboxTest,
    delivery: Delivery,
}

impl<'a> Stages<'a> {
    /// The stages of a delivery that is about to be tried.
    pub(crate) fn begin(test: &'a mut MailboxTest, delivery: Delivery) -> Self {
        test.part(delivery);
        Self { test, delivery }
    }

    /// The test, with what is noted of it so far.
    pub(crate) const fn test(&self) -> &MailboxTest {
        self.test
    }

    /// The identifier of the test.
    pub(crate) fn test_id(&self) -> &str {
        &self.test.id
    }

    /// Shows the stages so far.
    pub(crate) async fn save<P: Ports>(&self, engine: &Engine<P>) -> Result<(), Outage> {
        engine.ports.mailboxes().update_test(self.test).await?;
        Ok(())
    }

    /// Adds what connecting came to: every stage but the last went through, and the last if nothing failed.
    pub(crate) fn connected(&mut self, progress: &Progress, error: Option<&DeliveryError>) {
        for (stage, took) in progress.stages() {
            let failed = error.filter(|error| error.evidence.stage == stage);
            self.add(stage, took.as_millis(), failed);
        }
        if let Some(error) = error {
            self.failed(error);
        }
    }

    /// Adds the stage of a failure, unless a stage tells of it already.
    pub(crate) fn failed(&mut self, error: &DeliveryError) {
        let stages = &self.test.part(self.delivery).stages;
        if !stages.iter().any(|report| report.status == TestStatus::Failure) {
            self.add(error.evidence.stage, 0, Some(error));
        }
    }

    /// Runs one step and notes it.
    pub(crate) async fn step<T>(
        &mut self,
        stage: Stage,
        step: impl Future<Output = Result<T, DeliveryError>>,
    ) -> Result<T, DeliveryError> {
        let began = Instant::now();
        let result = step.await;
        let took = began.elapsed().as_millis();
        match &result {
            Ok(_) => self.add(stage, took, None),
            Err(error) => self.add(error.evidence.stage, took, Some(error)),
        }
        result
    }

    fn add(&mut self, stage: Stage, milliseconds: u128, error: Option<&DeliveryError>) {
        let status = if error.is_some() { TestStatus::Failure } else { TestStatus::Success };
        let evidence = error.map(|error| error.evidence.clone());
        let milliseconds = u64::try_from(milliseconds).unwrap_or(u64::MAX);
        let stages = &mut self.test.part(self.delivery).stages;
        match stages.last_mut().filter(|last| last.stage == stage && last.status == TestStatus::Success) {
            // A stage that two steps go through is one: the second tells how it ended.
            Some(last) => {
                let milliseconds = last.milliseconds.saturating_add(milliseconds);
                *last = StageReport { stage, status, milliseconds, evidence };
            }
            None => stages.push(StageReport { stage, status, milliseconds, evidence }),
        }
    }
}
