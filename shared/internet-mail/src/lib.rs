//! Internet mail servers: IMAP and POP3 for incoming email, SMTP for outgoing.
//!
//! This crate reports what it saw, as a [`mailrail_domain::words::cause::Cause`] with its evidence. It never decides
//! whether to try again. Each protocol's `cause.rs` is the table of its replies.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::string_slice))]

mod imap;
mod pop3;
mod sasl;
mod smtp;
mod wire;

pub use smtp::Session as Outgoing;

use bytes::Bytes;
use mailrail_connect::Connector;
use mailrail_domain::{
    Timestamp,
    email::position::Position,
    rules::retry::Pace,
    settings::endpoint::Endpoint,
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::ports::{
    Access, Arrival, Finder, Folder, IncomingServers, IncomingSession, Look, MemoryBudget, OutgoingServers, RemoteId,
};

/// Internet mail servers, reached through one connector.
#[derive(Debug, Clone)]
pub struct InternetMail {
    connector: Connector,
}

impl InternetMail {
    /// Servers that are reached through `connector`.
    #[must_use]
    pub const fn new(connector: Connector) -> Self {
        Self { connector }
    }
}

/// A session with a server of incoming email. The set of protocols is closed, so this is an enum.
#[derive(Debug)]
pub enum Incoming {
    /// IMAP.
    Imap(Box<imap::Inbox>),
    /// POP3.
    Pop3(Box<pop3::Session>),
}

impl IncomingSession for Incoming {
    async fn look(&mut self, position: Option<&Position>) -> Result<Look, DeliveryError> {
        match self {
            Self::Imap(session) => session.look(position).await,
            Self::Pop3(session) => session.look(position).await,
        }
    }

    async fn begin(
        &mut self,
        position: Option<&Position>,
        notes: Option<&[u8]>,
        start_date: Option<Timestamp>,
        pace: Pace,
    ) -> Result<usize, DeliveryError> {
        match self {
            Self::Imap(session) => session.begin(position, start_date, pace).await,
            Self::Pop3(session) => session.begin(notes, pace).await,
        }
    }

    async fn next(&mut self) -> Result<Option<Arrival>, DeliveryError> {
        match self {
            Self::Imap(session) => session.next().await,
            Self::Pop3(session) => session.next().await,
        }
    }

    fn unread(&mut self) -> Option<RemoteId> {
        match self {
            Self::Imap(session) => session.unread(),
            Self::Pop3(session) => session.unread(),
        }
    }

    fn leave_out(&mut self, message: &RemoteId, because: DeliveryError) {
        match self {
            Self::Imap(session) => session.leave_out(message, because),
            Self::Pop3(session) => session.leave_out(message, because),
        }
    }

    async fn again(&mut self, remote_id: &str) -> Result<Option<Arrival>, DeliveryError> {
        match self {
            Self::Imap(session) => session.again(remote_id).await,
            Self::Pop3(session) => session.again(remote_id).await,
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, DeliveryError> {
        match self {
            Self::Imap(session) => session.read().await,
            Self::Pop3(session) => session.read().await,
        }
    }

    fn position(&self, last: Option<&RemoteId>) -> Position {
        match self {
            Self::Imap(session) => session.position(last),
            Self::Pop3(session) => session.position(last),
        }
    }

    fn keeps_notes(&self) -> bool {
        match self {
            Self::Imap(_) => false,
            Self::Pop3(_) => true,
        }
    }

    fn note(&mut self, messages: &[RemoteId]) {
        match self {
            Self::Imap(_) => {}
            Self::Pop3(session) => session.note(messages),
        }
    }

    fn notes(&self) -> Vec<u8> {
        match self {
            Self::Imap(_) => Vec::new(),
            Self::Pop3(session) => session.notes(),
        }
    }

    async fn delete(&mut self, messages: &[RemoteId]) -> Result<(), DeliveryError> {
        match self {
            Self::Imap(session) => session.delete(messages).await,
            Self::Pop3(session) => {
                session.delete(messages);
                Ok(())
            }
        }
    }

    async fn close(self) -> Result<(), DeliveryError> {
        match self {
            Self::Imap(session) => session.close().await,
            Self::Pop3(session) => session.close().await,
        }
    }
}

impl IncomingServers for InternetMail {
    type Session = Incoming;

    async fn open(&self, access: &Access, memory: &MemoryBudget) -> Result<Incoming, DeliveryError> {
        match &access.endpoint {
            Endpoint::Imap(location) => {
                let session = imap::Session::open(&self.connector, access, location, memory).await?;
                Ok(Incoming::Imap(Box::new(imap::Inbox::of(session))))
            }
            Endpoint::Pop3(location) => {
                let session = pop3::Session::open(&self.connector, access, location, memory).await?;
                Ok(Incoming::Pop3(Box::new(session)))
            }
            _ => Err(not_ours()),
        }
    }

    /// A POP3 maildrop is locked for one session (RFC 1939, section 4).
    fn is_exclusive(&self, endpoint: &Endpoint) -> bool {
        matches!(endpoint, Endpoint::Pop3(_))
    }
}

impl Finder for InternetMail {
    async fn has(&self, access: &Access, folder: Folder, message_id: &str) -> Result<Option<bool>, DeliveryError> {
        let memory = MemoryBudget::new();
        match (&access.endpoint, folder) {
            (Endpoint::Pop3(location), Folder::Inbox) => {
                let mut session = pop3::Session::open(&self.connector, access, location, &memory).await?;
                let found = session.has(message_id).await?;
                session.close().await?;
                Ok(found)
            }
            (Endpoint::Imap(location), Folder::Inbox | Folder::Sent) => {
                let mut session = imap::Session::open(&self.connector, access, location, &memory).await?;
                let found = session.has(folder, message_id).await?;
                session.close().await;
                Ok(found)
            }
            (_, Folder::Inbox | Folder::Sent | Folder::Drafts | Folder::Outbox) => Ok(None),
        }
    }
}

impl OutgoingServers for InternetMail {
    type Session = smtp::Session;

    async fn open(&self, access: &Access) -> Result<smtp::Session, DeliveryError> {
        let Endpoint::Smtp(location) = &access.endpoint else {
            return Err(not_ours());
        };
        smtp::Session::open(&self.connector, access, location).await
    }
}

/// The failure of an endpoint that was given to the wrong adapter. The profile's type rules this out.
fn not_ours() -> DeliveryError {
    let evidence = Evidence::new(Stage::Prepare, "this is not an internet mail server for this delivery");
    DeliveryError::new(Cause::CapabilityMissing, evidence)
}
