//! Why a run stopped: the mailbox's failure, which is counted, or our own, which counts against nobody.

use mailrail_domain::words::cause::DeliveryError;

use crate::outage::Outage;

/// One of two failures that never mix. `Engine::run` is the one place that tells them apart.
#[derive(Debug)]
pub enum Stop {
    /// The mailbox's or its server's failure: counted, retried or disabled by the rules.
    Mailbox(DeliveryError),
    /// Our own failure: it counts against no mailbox, and the work is taken up again.
    Ours(Outage),
}

impl From<DeliveryError> for Stop {
    fn from(error: DeliveryError) -> Self {
        Self::Mailbox(error)
    }
}

impl From<Outage> for Stop {
    fn from(outage: Outage) -> Self {
        Self::Ours(outage)
    }
}
