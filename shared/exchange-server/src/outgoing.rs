//! Outgoing email: one request sends a message and keeps its copy in Sent Items. After a run that was cut off, the copy
//! is found there.
//!
//! Source: EWS reference, "CreateItem operation", with the disposition `SendAndSaveCopy`.

use mailrail_connect::{Failure, Refusal};
use mailrail_domain::{
    email::sending::ContentReply,
    words::{
        address::EmailAddress,
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::{
    mime::with_blind_copies,
    ports::{EnvelopeReply, OutgoingSession},
};

use crate::{
    call::{Mailbox, SENT_ITEMS, one},
    carrier::Repeat,
    cause::{MESSAGE_CODES, NOT_BEGUN_CODES, UNSEEN_CODES, of_code},
    request::{get_folder, send_item},
};

/// A session that sends for one mailbox.
#[derive(Debug)]
pub struct Session {
    mailbox: Mailbox,
    recipients: Vec<EmailAddress>,
    /// Whether the server has answered in this session.
    is_there: bool,
}

impl Session {
    pub(crate) const fn new(mailbox: Mailbox) -> Self {
        Self { mailbox, recipients: Vec::new(), is_there: false }
    }

    async fn send(&mut self, mime: &[u8]) -> Result<(), Failure> {
        let operation = send_item(mime, &self.mailbox.known(SENT_ITEMS));
        let answers = self.mailbox.ask_with(&operation, Stage::Data, Repeat::Never).await?;
        one(answers, Stage::Data)?.done().map_err(Failure::Refused).map(|_| ())
    }

    /// Asks for the folder of copies before the first message, so that a fault of the connection or the account shows
    /// at a request that may be repeated.
    async fn begin(&mut self) -> Result<(), DeliveryError> {
        if !self.is_there {
            let folder = self.mailbox.known(SENT_ITEMS);
            let answers = self.mailbox.ask(&get_folder(&folder), Stage::Open).await;
            let done = answers.and_then(|answers| one(answers, Stage::Open)?.done().map_err(Failure::Refused));
            if let Err(failure) = done {
                // Where a delegate may not see a folder, the server says that it is not there.
                if self.mailbox.is_delegate() && failure.is(&UNSEEN_CODES) {
                    return Err(DeliveryError::new(Cause::AccessDenied, failure.evidence(Stage::Open)));
                }
                return Err(failure.into_error(Stage::Open));
            }
            self.is_there = true;
        }
        Ok(())
    }
}

/// What a failure of the sending means. Only what says that nothing was sent is a refusal or a failure; after every other
/// answer the outcome is unknown, because the request must not be repeated.
fn of_failure(failure: Failure) -> Result<ContentReply, DeliveryError> {
    let evidence = failure.evidence(Stage::Data);
    if failure.is(&MESSAGE_CODES) || failure.has_status(413) {
        return Ok(ContentReply::Refused(evidence));
    }
    if let Failure::Broken(error) = &failure {
        // Nothing is sent before the connection is there and the account has signed in.
        let is_sent = error.evidence.stage >= Stage::Open;
        return if is_sent { Ok(ContentReply::Unknown(evidence)) } else { Err(failure.into_error(Stage::Data)) };
    }
    if matches!(&failure, Failure::Refused(refusal) if says_not_sent(refusal)) {
        return Err(failure.into_error(Stage::Data));
    }
    // With 500 or 507 and no code of web services, the server says in its own words that it failed. A server was seen that
    // files the copy in Sent Items before it fails so.
    let fails = matches!(&failure, Failure::Refused(Refusal { status: 500 | 507, code: None, .. }));
    if fails {
        return Ok(ContentReply::FailedToSend(DeliveryError::new(Cause::ServerUnavailable, evidence)));
    }
    Ok(ContentReply::Unknown(evidence))
}

/// Whether a refusal says that nothing was sent. Without a code, 401, 429 and 503 do, because the request was not carried
/// out. With a code, those do that say what the mailbox may not do, and some of a server that fails.
fn says_not_sent(refusal: &Refusal) -> bool {
    let Some(code) = refusal.code.as_deref() else {
        return [401, 429, 503].contains(&refusal.status);
    };
    let is_about_mailbox =
        of_code(code).is_some_and(|cause| cause != Cause::ServerUnavailable && cause != Cause::ConnectionLost);
    is_about_mailbox || NOT_BEGUN_CODES.contains(&code)
}

impl OutgoingSession for Session {
    /// Recipients are checked with the message; see [`OutgoingSession::content`].
    async fn envelope(
        &mut self,
        _: &EmailAddress,
        recipients: &[EmailAddress],
    ) -> Result<EnvelopeReply, DeliveryError> {
        self.begin().await?;
        self.recipients = recipients.to_vec();
        Ok(EnvelopeReply::accepted(recipients))
    }

    async fn content(&mut self, message: &[u8]) -> Result<ContentReply, DeliveryError> {
        let Some(mime) = with_blind_copies(message, &self.recipients) else {
            let evidence = Evidence::new(Stage::Data, "the message names recipients that it is not for");
            return Ok(ContentReply::Refused(evidence));
        };
        match self.send(&mime).await {
            Ok(()) => Ok(ContentReply::Accepted),
            Err(failure) => of_failure(failure),
        }
    }

    async fn reset(&mut self) -> Result<(), DeliveryError> {
        self.recipients.clear();
        Ok(())
    }

    async fn close(self) {}
}
