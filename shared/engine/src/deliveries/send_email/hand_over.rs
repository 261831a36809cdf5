//! One email handed over to its server.
//!
//! The record is written as Sending, its outcome unknown, just before the content is handed over. Killed before that,
//! the email is still Pending Send and nobody has it; killed after, the record says that somebody may.

use mailrail_domain::{
    email::{
        record::{EmailStatus, Recipient},
        sending::{ContentReply, RecipientReply, SendReport, after_hanging_up, after_report},
    },
    words::{
        address::EmailAddress,
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};

use crate::{
    Engine,
    limits::OUTGOING_BYTES_MAX,
    mime::dated,
    outage::Outage,
    ports::{BodyStore, DeliveryRow, EnvelopeReply, OutgoingServers, OutgoingSession, Ports, StoredEmail},
    run::Stop,
};

impl<P: Ports> Engine<P> {
    /// Hands one email over. `None` if somebody else changed it meanwhile.
    pub(super) async fn hand_over(
        &self,
        row: &DeliveryRow,
        session: &mut <P::Outgoing as OutgoingServers>::Session,
        stored: &StoredEmail,
    ) -> Result<Option<EmailStatus>, Stop> {
        let email = &stored.email;
        let recipients: Vec<EmailAddress> = email
            .outgoing
            .iter()
            .flat_map(|o| &o.recipients)
            .filter(|r| r.is_pending())
            .map(|r: &Recipient| r.address.clone())
            .collect();
        let Some(raw) = self.ports.bodies().get(&email.raw_key, OUTGOING_BYTES_MAX).await? else {
            return Err(Outage::new("the content of an outgoing email is missing from the bucket").into());
        };
        let Some(from) = &row.mailbox.address else {
            return Err(Outage::new("a mailbox without an address was let through to send").into());
        };
        let message = dated(&raw, self.now());
        let reply = match session.envelope(from, &recipients).await {
            Ok(reply) => reply,
            Err(error) => {
                self.postpone(stored, &error).await?;
                return Err(error.into());
            }
        };
        let replies = match reply {
            EnvelopeReply::Recipients(replies) => replies,
            EnvelopeReply::EmailRefused(evidence) => {
                recipients.into_iter().map(|address| (address, RecipientReply::Refused(evidence.clone()))).collect()
            }
        };
        if !replies.iter().any(|(_, reply)| *reply == RecipientReply::Accepted) {
            let report = SendReport { recipients: replies, content: ContentReply::NotSent };
            let reset = session.reset().await;
            let status = self.record(stored, &report).await?;
            reset?;
            return Ok(status);
        }
        // From here on the server may have the email: say so first, then hand it over.
        let evidence = Evidence::new(Stage::Data, "the hand-over was cut off");
        let started = SendReport { recipients: replies.clone(), content: ContentReply::Unknown(evidence) };
        let sending = after_report(email, &started, self.settings.retry, self.now());
        let Some(claimed) = self.outbox().update(&sending, &stored.revision).await? else {
            session.reset().await?;
            return Ok(None);
        };
        let before = StoredEmail { email: email.clone(), revision: claimed.revision };
        let content = match session.content(&message).await {
            Ok(content) => content,
            Err(error) => {
                // Nothing was sent: it is Pending Send again, and no try of it is spent.
                let written = self.outbox().update(email, &before.revision).await?;
                if let Some(pending) = written {
                    self.postpone(&pending, &error).await?;
                }
                return Err(error.into());
            }
        };
        let report = SendReport { recipients: replies, content };
        let status = self.record(&before, &report).await?;
        match report.content {
            ContentReply::Unknown(evidence) => Err(DeliveryError::new(Cause::ConnectionLost, evidence).into()),
            ContentReply::Accepted | ContentReply::Refused(_) | ContentReply::Deferred(_) | ContentReply::NotSent => {
                Ok(status)
            }
        }
    }

    /// Lets the others go first after the server hung up at this email.
    async fn postpone(&self, stored: &StoredEmail, error: &DeliveryError) -> Result<(), Outage> {
        if let Some(after) = after_hanging_up(&stored.email, error, self.settings.retry, self.now()) {
            self.outbox().update(&after, &stored.revision).await?;
        }
        Ok(())
    }

    async fn record(&self, before: &StoredEmail, report: &SendReport) -> Result<Option<EmailStatus>, Outage> {
        let after = after_report(&before.email, report, self.settings.retry, self.now());
        tracing::info!(mailbox = %after.mailbox_id, email = %after.id, status = ?after.status, "outgoing email");
        let written = self.outbox().update(&after, &before.revision).await?;
        Ok(written.map(|stored| stored.email.status))
    }
}
