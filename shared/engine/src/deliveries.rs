//! The deliveries: the one table that chooses what a delivery's runs do.

pub(crate) mod receive_email;
pub(crate) mod send_email;

use mailrail_domain::{
    rules::story::Story,
    settings::endpoint::Endpoint,
    words::{
        cause::{Cause, DeliveryError},
        delivery::Delivery,
        evidence::{Evidence, Stage},
        id::MailboxId,
    },
};

use self::{receive_email::ReceiveEmail, send_email::SendEmail};
use crate::{
    Deadline, Engine,
    outage::Outage,
    ports::{DeliveryRow, Ports},
    run::{Concluding, Run, Stages, Stop, Whose, Work, profiles::Profiles},
};

impl<P: Ports> Engine<P> {
    /// Runs a delivery once: to synchronize, or, with `stages`, for Test & Enable.
    pub(crate) async fn run_delivery(
        &self,
        (mailbox, delivery): (&MailboxId, Delivery),
        stages: Option<&mut Stages<'_>>,
        profiles: &Profiles,
        deadline: Deadline,
    ) -> Result<Concluding, Outage> {
        let whose = (mailbox, delivery);
        // Boxed, as is every way to a mail server: the compiler lays nested futures out no deeper than 128 levels.
        match delivery {
            Delivery::IncomingEmail => Box::pin(self.run(ReceiveEmail, whose, stages, profiles, deadline)).await,
            Delivery::OutgoingEmail => {
                Box::pin(self.run(SendEmail::default(), whose, stages, profiles, deadline)).await
            }
            Delivery::AppointmentsContactsTasks => {
                Box::pin(self.run(NoClient(delivery), whose, stages, profiles, deadline)).await
            }
        }
    }
}

/// The work of a delivery for which this version has no client: it fails, and says so.
struct NoClient(Delivery);

impl NoClient {
    fn stop(&self) -> Stop {
        let words = format!("this version has no client for {}", self.0.purpose());
        DeliveryError::new(Cause::CapabilityMissing, Evidence::new(Stage::Prepare, &words)).into()
    }
}

impl<P: Ports> Work<P> for NoClient {
    fn polls(&self) -> bool {
        true
    }

    async fn is_due(&mut self, _: &Engine<P>, _: &DeliveryRow) -> Result<bool, Outage> {
        Ok(true)
    }

    fn story_of_waiting(&self, _: &'static str) -> Option<Story> {
        None
    }

    fn leases_first(&self, _: &Engine<P>, _: &Endpoint) -> bool {
        false
    }

    async fn work(&mut self, _: &mut Run<'_, P>) -> Result<Whose, Stop> {
        Err(self.stop())
    }

    async fn enter(&mut self, _: &Run<'_, P>) -> Result<(), Stop> {
        Err(self.stop())
    }

    async fn try_out(&mut self, _: &Run<'_, P>, _: &mut Stages<'_>) -> Result<(), Stop> {
        Err(self.stop())
    }
}
