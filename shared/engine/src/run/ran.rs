//! What happened in a run, as a value for its caller, which writes the log line from it.

use std::time::Duration;

use mailrail_domain::{
    rules::run::{end::Mode, moved::Moved},
    words::{
        cause::DeliveryError,
        delivery::Delivery,
        event::Event,
        id::{MailboxId, ProfileId},
    },
};

/// A run that ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its profile.
    pub profile: ProfileId,
    /// The delivery.
    pub delivery: Delivery,
    /// Why it ran.
    pub mode: Mode,
    /// What it moved.
    pub moved: Moved,
    /// The failure, if it failed.
    pub result: Result<(), DeliveryError>,
    /// What changed for the delivery.
    pub events: Vec<Event>,
    /// How long it took.
    pub took: Duration,
}

impl Ran {
    /// Writes the run's one line of log: ids and figures, and never an address or a server's words.
    pub(crate) fn log(&self) {
        let Self { mailbox, profile, mode, events, .. } = self;
        let delivery = self.delivery.as_str();
        let (done, waiting) = (self.moved.done, self.moved.waiting.unwrap_or_default());
        let milliseconds = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        match &self.result {
            Ok(()) => tracing::info!(
                %mailbox, %profile, delivery, ?mode, done, waiting, milliseconds, ?events, "ran"
            ),
            Err(error) => {
                let (cause, stage) = (error.cause, error.evidence.stage);
                tracing::warn!(
                    %mailbox, %profile, delivery, ?mode, done, waiting, milliseconds, ?cause, ?stage, ?events, "failed"
                );
            }
        }
    }
}
