//! A batch of jobs: mailboxes side by side, bounded, each fenced from the others.

use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::timeout;

use crate::{
    Deadline, Engine,
    limits::{CONNECTIONS_BUSY_SECONDS, DEADLINE_MARGIN, GIVE_UP_MARGIN, MAILBOXES_AT_ONCE},
    outage::Outage,
    ports::{Job, JobQueue, Ports, QueueName},
    run::{Concluding, Ran, profiles::Profiles},
};

/// What became of one job.
#[derive(Debug)]
pub enum Handled {
    /// It was dealt with: delivered, counted as a failure, or dropped for a reason in the row. It made these runs.
    Done(Vec<Ran>),
    /// An outage of ours, or no time left: the message is to come again.
    Again,
}

/// What one self-made round over a queue did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// Jobs that were dealt with.
    pub done: usize,
    /// Jobs that are to come again, and messages that could not be read.
    pub left: usize,
}

/// Rounds of receiving in one invocation; the deadline nearly always ends it sooner.
const ROUNDS_MAX: usize = 10_000;

impl<P: Ports> Engine<P> {
    /// Does the jobs side by side and says of each, in order, what became of it. A job's outage, or panic, is its own; the
    /// others go on.
    pub async fn run_batch(&self, jobs: &[Job], deadline: Deadline) -> Vec<Handled> {
        let profiles = Profiles::default();
        let handled = stream::iter(jobs)
            .map(|job| self.run_fenced(job, &profiles, deadline))
            .buffered(MAILBOXES_AT_ONCE)
            .collect()
            .await;
        self.return_permits(&profiles).await;
        handled
    }

    /// Receives batches from a queue and does their jobs, until it is empty or the time is up. For an invocation by a
    /// schedule or by hand, where no event source mapping brings the batch.
    pub async fn drain(&self, queue: QueueName, deadline: Deadline) -> Result<Drained, Outage> {
        let mut drained = Drained::default();
        for _ in 0..ROUNDS_MAX {
            if deadline.is_within(DEADLINE_MARGIN) {
                break;
            }
            let received = self.ports.queue().receive(queue).await?;
            if received.is_empty() {
                break;
            }
            let (mut jobs, mut receipts) = (Vec::new(), Vec::new());
            for message in received {
                match message.job {
                    Ok(job) => {
                        jobs.push(job);
                        receipts.push(message.receipt);
                    }
                    Err(problem) => {
                        tracing::error!(problem, "a queue message cannot be read and is left to the dead letters");
                        drained.left += 1;
                    }
                }
            }
            let handled = self.run_batch(&jobs, deadline).await;
            let done: Vec<String> = receipts
                .into_iter()
                .zip(&handled)
                .filter_map(|(receipt, handled)| matches!(handled, Handled::Done(_)).then_some(receipt))
                .collect();
            drained.left += handled.len() - done.len();
            drained.done += done.len();
            self.ports.queue().delete(queue, &done).await?;
        }
        Ok(drained)
    }

    /// Does one job within the margin and the time of the invocation, and catches its panic.
    async fn run_fenced(&self, job: &Job, profiles: &Profiles, deadline: Deadline) -> Handled {
        if deadline.is_within(DEADLINE_MARGIN) {
            return Handled::Again;
        }
        let time = deadline.left().saturating_sub(GIVE_UP_MARGIN);
        match timeout(time, AssertUnwindSafe(self.run_job(job, profiles, deadline)).catch_unwind()).await {
            Ok(Ok(Ok(ran))) => Handled::Done(ran),
            Ok(Ok(Err(outage))) => {
                tracing::error!(?job, error = outage.chain(), "outage; counts against no mailbox");
                Handled::Again
            }
            Ok(Err(_)) => {
                tracing::error!(?job, "panic; counts against no mailbox");
                Handled::Again
            }
            Err(_) => {
                tracing::error!(?job, "out of time; counts against no mailbox");
                Handled::Again
            }
        }
    }

    async fn run_job(&self, job: &Job, profiles: &Profiles, deadline: Deadline) -> Result<Vec<Ran>, Outage> {
        match job {
            Job::Wake(wake) => {
                let whose = (&wake.mailbox, wake.delivery);
                match self.run_delivery(whose, None, profiles, deadline).await? {
                    Concluding::Ran(ran) => Ok(vec![*ran]),
                    Concluding::Dropped => Ok(Vec::new()),
                    Concluding::Busy => {
                        // Other invocations have all connections of its profile.
                        self.ports.queue().send(std::slice::from_ref(job), CONNECTIONS_BUSY_SECONDS).await?;
                        Ok(Vec::new())
                    }
                }
            }
            Job::Trial(mailbox) => self.try_mailbox(mailbox, profiles, deadline).await,
            Job::TrialsOfProfile(tests) => self.ask_for_trials(tests).await.map(|()| Vec::new()),
        }
    }
}
