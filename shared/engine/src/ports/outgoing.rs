//! Servers of outgoing email, one hand-over in two steps: the envelope, then the content.

use mailrail_domain::{
    email::sending::{ContentReply, RecipientReply},
    words::{address::EmailAddress, cause::DeliveryError, evidence::Evidence},
};

use super::access::Access;

/// The server's answer to an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvelopeReply {
    /// One answer per recipient, in order.
    Recipients(Vec<(EmailAddress, RecipientReply)>),
    /// The server will not take this email, whoever it is for. It may take other emails of the mailbox.
    EmailRefused(Evidence),
}

impl EnvelopeReply {
    /// The answer in place of a server that looks at recipients only with the message: all are accepted.
    #[must_use]
    pub fn accepted(recipients: &[EmailAddress]) -> Self {
        Self::Recipients(recipients.iter().map(|one| (one.clone(), RecipientReply::Accepted)).collect())
    }
}

/// A signed-in session.
pub trait OutgoingSession: Send {
    /// Names sender and recipients. An error is the mailbox's or the server's; nothing was sent.
    fn envelope(
        &mut self,
        from: &EmailAddress,
        recipients: &[EmailAddress],
    ) -> impl Future<Output = Result<EnvelopeReply, DeliveryError>> + Send;

    /// Hands over the content for the recipients that were accepted. An error is the mailbox's or the server's; nothing
    /// was sent.
    fn content(&mut self, message: &[u8]) -> impl Future<Output = Result<ContentReply, DeliveryError>> + Send;

    /// Forgets the envelope.
    fn reset(&mut self) -> impl Future<Output = Result<(), DeliveryError>> + Send;

    /// Ends the session politely.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Servers of outgoing email.
pub trait OutgoingServers: Send + Sync {
    /// A session with one.
    type Session: OutgoingSession;

    /// Connects, secures the connection and signs in.
    fn open(&self, access: &Access) -> impl Future<Output = Result<Self::Session, DeliveryError>> + Send;
}
