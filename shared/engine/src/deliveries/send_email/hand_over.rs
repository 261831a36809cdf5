//! One email handed over to its server.
//!
//! The record is written as Sending, its outcome unknown, just before the content is handed over. Killed before that,
//! the email is still Pending Send and nobody has it; killed after, the record says that somebody may.

use mailrail_domain::{
    email::{
        record::{EmailStatus, Recipient},
        sending::{ContentReply, RecipientReply, SendReport, after_failure, after_hanging_up, after_report},
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
};

/// How the hand-over of one email ended.
pub(super) enum HandedOver {
    /// The server answered, and the email has this status. `None` if somebody else changed the email meanwhile.
    Answered(Option<EmailStatus>),
    /// The server failed at the email.
    Failed(Failed),
}

/// A failure at one email.
pub(super) struct Failed {
    pub error: DeliveryError,
    /// The email, if nobody can have it. An email that the server may have is Sending, and the next run settles it.
    pending: Option<Box<StoredEmail>>,
}

impl<P: Ports> Engine<P> {
    /// Hands one email over.
    pub(super) async fn hand_over(
        &self,
        row: &DeliveryRow,
        session: &mut <P::Outgoing as OutgoingServers>::Session,
        stored: &StoredEmail,
    ) -> Result<HandedOver, Outage> {
        let failed = |error, pending: Option<StoredEmail>| {
            Ok(HandedOver::Failed(Failed { error, pending: pending.map(Box::new) }))
        };
        let email = &stored.email;
        let recipients: Vec<EmailAddress> = email
            .outgoing
            .iter()
            .flat_map(|o| &o.recipients)
            .filter(|r| r.is_pending())
            .map(|r: &Recipient| r.address.clone())
            .collect();
        let Some(raw) = self.ports.bodies().get(&email.raw_key, OUTGOING_BYTES_MAX).await? else {
            return Err(Outage::new("the content of an outgoing email is missing from the bucket"));
        };
        let Some(from) = &row.mailbox.address else {
            return Err(Outage::new("a mailbox without an address was let through to send"));
        };
        let message = dated(&raw, self.now());
        let replies = match session.envelope(from, &recipients).await {
            Ok(EnvelopeReply::Recipients(replies)) => replies,
            Ok(EnvelopeReply::EmailRefused(evidence)) => {
                recipients.into_iter().map(|address| (address, RecipientReply::Refused(evidence.clone()))).collect()
            }
            Err(error) => return failed(error, Some(stored.clone())),
        };
        if !replies.iter().any(|(_, reply)| *reply == RecipientReply::Accepted) {
            let report = SendReport { recipients: replies, content: ContentReply::NotSent };
            let reset = session.reset().await;
            let status = self.record(stored, &report).await?;
            return match reset {
                Ok(()) => Ok(HandedOver::Answered(status)),
                Err(error) => failed(error, None),
            };
        }
        // From here on the server may have the email: say so first, then hand it over.
        let evidence = Evidence::new(Stage::Data, "the hand-over was cut off");
        let started = SendReport { recipients: replies.clone(), content: ContentReply::Unknown(evidence) };
        let sending = after_report(email, &started, self.settings.retry, self.now());
        let Some(claimed) = self.outbox().update(&sending, &stored.revision).await? else {
            return match session.reset().await {
                Ok(()) => Ok(HandedOver::Answered(None)),
                Err(error) => failed(error, None),
            };
        };
        let before = StoredEmail { email: email.clone(), revision: claimed.revision };
        let content = match session.content(&message).await {
            Ok(content) => content,
            // Nothing was sent, so it is Pending Send again.
            Err(error) => return failed(error, self.outbox().update(email, &before.revision).await?),
        };
        let report = SendReport { recipients: replies, content };
        let status = self.record(&before, &report).await?;
        match report.content {
            ContentReply::Unknown(evidence) => failed(DeliveryError::new(Cause::ConnectionLost, evidence), None),
            ContentReply::FailedToSend(error) => failed(error, None),
            ContentReply::Accepted | ContentReply::Refused(_) | ContentReply::Deferred(_) | ContentReply::NotSent => {
                Ok(HandedOver::Answered(status))
            }
        }
    }

    /// Puts an email off because the server or the mailbox failed at it. No try of the email is spent.
    pub(super) async fn let_others_go_first(&self, Failed { pending, .. }: Failed) -> Result<(), Outage> {
        if let Some(stored) = pending {
            let after = after_hanging_up(&stored.email, self.settings.retry, self.now());
            self.outbox().update(&after, &stored.revision).await?;
        }
        Ok(())
    }

    /// Puts an email off because the failure lies in it. A try of the email is spent. Its status, if it was put off.
    pub(super) async fn charge(&self, Failed { error, pending }: Failed) -> Result<Option<EmailStatus>, Outage> {
        let Some(stored) = pending else {
            return Ok(None);
        };
        let after = after_failure(&stored.email, &error, self.settings.retry, self.now());
        tracing::info!(mailbox = %after.mailbox_id, email = %after.id, status = ?after.status, "failed at an email");
        let written = self.outbox().update(&after, &stored.revision).await?;
        Ok(written.map(|stored| stored.email.status))
    }

    async fn record(&self, before: &StoredEmail, report: &SendReport) -> Result<Option<EmailStatus>, Outage> {
        let after = after_report(&before.email, report, self.settings.retry, self.now());
        tracing::info!(mailbox = %after.mailbox_id, email = %after.id, status = ?after.status, "outgoing email");
        let written = self.outbox().update(&after, &before.revision).await?;
        Ok(written.map(|stored| stored.email.status))
    }
}
