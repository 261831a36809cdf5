//! Putting every delivery that is due on its queue.

use futures_util::{StreamExt, TryStreamExt, stream};
use mailrail_domain::{rules::schedule, words::delivery::Delivery};

use crate::{
    Deadline, Engine,
    limits::{DEADLINE_MARGIN, DUE_PAGES_MAX, QUEUE_BATCH, QUEUE_BATCHES_AT_ONCE},
    outage::Outage,
    ports::{Job, JobQueue, MailboxStore, Ports, Wake},
};

/// What one tick did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Enqueued {
    /// Deliveries that were put on their queues.
    pub wakes: usize,
    /// Whether the tick ended before all of them were.
    pub cut_short: bool,
}

impl<P: Ports> Engine<P> {
    /// Enqueues the deliveries of every slot that fell due since the last tick that was completed. Reads the schedule
    /// and no mailbox. Whatever a tick could not do, the next makes up for.
    pub async fn enqueue_due(&self, deadline: Deadline) -> Result<Enqueued, Outage> {
        let now = self.now();
        let mailboxes = self.ports.mailboxes();
        let (intervals, last) = tokio::try_join!(mailboxes.intervals(), mailboxes.enqueued_until())?;
        let mut enqueued = Enqueued::default();
        for slot in schedule::due_since(&intervals, last, now) {
            let mut cursor = None;
            for _ in 0..DUE_PAGES_MAX {
                if deadline.is_within(DEADLINE_MARGIN) {
                    tracing::error!("the tick ended before everything due was enqueued; the next goes on");
                    enqueued.cut_short = true;
                    return Ok(enqueued);
                }
                let page = mailboxes.due(slot, cursor).await?;
                enqueued.wakes += page.wakes.len();
                self.enqueue(page.wakes).await?;
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
        }
        mailboxes.set_enqueued_until(now).await?;
        Ok(enqueued)
    }

    async fn enqueue(&self, wakes: Vec<Wake>) -> Result<(), Outage> {
        let mut batches: Vec<Vec<Job>> = Vec::new();
        for delivery in Delivery::ALL {
            let of_delivery = wakes.iter().filter(|w| w.delivery == delivery);
            let jobs: Vec<Job> = of_delivery.cloned().map(Job::Wake).collect();
            batches.extend(jobs.chunks(QUEUE_BATCH).map(<[Job]>::to_vec));
        }
        stream::iter(batches)
            .map(|batch| async move { self.ports.queue().send(&batch, 0).await })
            .buffer_unordered(QUEUE_BATCHES_AT_ONCE)
            .try_collect()
            .await
    }
}
