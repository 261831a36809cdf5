//! Internet mail servers: IMAP and POP3 for incoming email, SMTP for outgoing.
//!
//! This crate reports what it saw, as a [`mailrail_domain::cause::Cause`] with its evidence. It never decides whether to
//! try again. Each protocol's `cause.rs` is the table of its replies.

mod connect;
mod imap;
mod pop3;
mod sasl;
mod smtp;
mod wire;

use bytes::Bytes;
pub use connect::{Connector, InternalHosts};
use mailrail_domain::{
    Timestamp,
    cause::DeliveryError,
    position::{Position, SeenUidls},
    profile::IncomingProtocol,
    retry::Pace,
};
use mailrail_engine::ports::{
    Access, Arrival, Folder, IncomingServers, IncomingSession, Look, MemoryBudget, OutgoingServers, RemoteId,
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
    Imap(Box<imap::Session>),
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
        seen: SeenUidls,
        start_date: Option<Timestamp>,
        pace: Pace,
    ) -> Result<usize, DeliveryError> {
        match self {
            Self::Imap(session) => session.begin(position, start_date, pace).await,
            Self::Pop3(session) => session.begin(&seen, pace).await,
        }
    }

    async fn next(&mut self) -> Result<Option<Arrival>, DeliveryError> {
        match self {
            Self::Imap(session) => session.next().await,
            Self::Pop3(session) => session.next().await,
        }
    }

    fn pass_over(&mut self) -> Option<RemoteId> {
        match self {
            Self::Imap(session) => session.pass_over(),
            Self::Pop3(session) => session.pass_over(),
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, DeliveryError> {
        match self {
            Self::Imap(session) => session.read().await,
            Self::Pop3(session) => session.read().await,
        }
    }

    fn position(&self, last: Option<&RemoteId>, seen_key: &str) -> Position {
        match self {
            Self::Imap(session) => session.position(last),
            Self::Pop3(session) => session.position(last, seen_key),
        }
    }

    fn prune(&self, seen: &mut SeenUidls) {
        match self {
            Self::Imap(_) => {}
            Self::Pop3(session) => session.prune(seen),
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

    async fn open(
        &self,
        protocol: IncomingProtocol,
        access: &Access,
        memory: &MemoryBudget,
    ) -> Result<Incoming, DeliveryError> {
        match protocol {
            IncomingProtocol::Imap => {
                let session = imap::Session::open(&self.connector, access, memory).await?;
                Ok(Incoming::Imap(Box::new(session)))
            }
            IncomingProtocol::Pop3 => {
                let session = pop3::Session::open(&self.connector, access, memory).await?;
                Ok(Incoming::Pop3(Box::new(session)))
            }
        }
    }

    async fn has(
        &self,
        protocol: IncomingProtocol,
        access: &Access,
        folder: Folder,
        message_id: &str,
    ) -> Result<Option<bool>, DeliveryError> {
        let memory = MemoryBudget::new();
        match (protocol, folder) {
            (IncomingProtocol::Pop3, Folder::Sent) => Ok(None),
            (IncomingProtocol::Pop3, Folder::Inbox) => {
                let mut session = pop3::Session::open(&self.connector, access, &memory).await?;
                let found = session.has(message_id).await?;
                session.close().await?;
                Ok(found)
            }
            (IncomingProtocol::Imap, _) => {
                let mut session = imap::Session::open(&self.connector, access, &memory).await?;
                let found = session.has(folder, message_id).await?;
                session.close().await?;
                Ok(found)
            }
        }
    }
}

impl OutgoingServers for InternetMail {
    type Session = smtp::Session;

    async fn open(&self, access: &Access) -> Result<smtp::Session, DeliveryError> {
        smtp::Session::open(&self.connector, access).await
    }
}
