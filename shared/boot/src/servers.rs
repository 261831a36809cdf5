//! The choice of a server's adapter by the endpoint that is talked to. The set is closed, so sessions are enums.

use anyhow::Result;
use bytes::Bytes;
use mailrail_connect::Connector;
use mailrail_domain::{
    Timestamp,
    address::EmailAddress,
    cause::DeliveryError,
    email::ContentReply,
    position::{Position, SeenUidls},
    profile::Endpoint,
    retry::Pace,
};
use mailrail_engine::ports::{
    Access, Arrival, EnvelopeReply, Folder, IncomingServers, IncomingSession, Look, MemoryBudget, OutgoingServers,
    OutgoingSession, RemoteId,
};
use mailrail_exchange_online::{ExchangeOnline, Hosts, IncomingMailbox, OutgoingMailbox};
use mailrail_internet_mail::{Incoming, InternetMail, Outgoing};

/// Every server that a profile may name.
#[derive(Debug)]
pub struct Servers {
    internet_mail: InternetMail,
    exchange_online: ExchangeOnline,
}

impl Servers {
    /// Servers that are reached through `connector`, with Exchange Online at `hosts`.
    pub fn new(connector: Connector, hosts: Hosts, clock: fn() -> Timestamp) -> Result<Self> {
        let exchange_online = ExchangeOnline::new(&connector, hosts, clock)?;
        Ok(Self { internet_mail: InternetMail::new(connector), exchange_online })
    }
}

/// A session with a server of incoming email.
#[derive(Debug)]
pub enum IncomingMail {
    /// IMAP or POP3.
    Internet(Incoming),
    /// Exchange Online.
    Online(Box<IncomingMailbox>),
}

/// A session with a server of outgoing email.
#[derive(Debug)]
pub enum OutgoingMail {
    /// SMTP.
    Internet(Box<Outgoing>),
    /// Exchange Online.
    Online(OutgoingMailbox),
}

/// The same call on whichever it is.
macro_rules! either {
    ($servers:ident, $self:expr, $session:ident => $call:expr) => {
        match $self {
            $servers::Internet($session) => $call,
            $servers::Online($session) => $call,
        }
    };
}

impl IncomingSession for IncomingMail {
    async fn look(&mut self, position: Option<&Position>) -> Result<Look, DeliveryError> {
        either!(IncomingMail, self, session => session.look(position).await)
    }

    async fn begin(
        &mut self,
        position: Option<&Position>,
        seen: SeenUidls,
        start_date: Option<Timestamp>,
        pace: Pace,
    ) -> Result<usize, DeliveryError> {
        either!(IncomingMail, self, session => session.begin(position, seen, start_date, pace).await)
    }

    async fn next(&mut self) -> Result<Option<Arrival>, DeliveryError> {
        either!(IncomingMail, self, session => session.next().await)
    }

    fn pass_over(&mut self) -> Option<RemoteId> {
        either!(IncomingMail, self, session => session.pass_over())
    }

    async fn read(&mut self) -> Result<Option<Bytes>, DeliveryError> {
        either!(IncomingMail, self, session => session.read().await)
    }

    fn position(&self, last: Option<&RemoteId>, seen_key: &str) -> Position {
        either!(IncomingMail, self, session => session.position(last, seen_key))
    }

    fn prune(&self, seen: &mut SeenUidls) {
        either!(IncomingMail, self, session => session.prune(seen));
    }

    async fn delete(&mut self, messages: &[RemoteId]) -> Result<(), DeliveryError> {
        either!(IncomingMail, self, session => session.delete(messages).await)
    }

    fn requests(&self) -> u32 {
        either!(IncomingMail, self, session => session.requests())
    }

    async fn close(self) -> Result<(), DeliveryError> {
        either!(IncomingMail, self, session => session.close().await)
    }
}

impl OutgoingSession for OutgoingMail {
    async fn envelope(
        &mut self,
        from: &EmailAddress,
        recipients: &[EmailAddress],
    ) -> Result<EnvelopeReply, DeliveryError> {
        either!(OutgoingMail, self, session => session.envelope(from, recipients).await)
    }

    async fn content(&mut self, message: &[u8]) -> Result<ContentReply, DeliveryError> {
        either!(OutgoingMail, self, session => session.content(message).await)
    }

    async fn reset(&mut self) -> Result<(), DeliveryError> {
        either!(OutgoingMail, self, session => session.reset().await)
    }

    async fn close(self) {
        either!(OutgoingMail, self, session => session.close().await);
    }
}

impl IncomingServers for Servers {
    type Session = IncomingMail;

    async fn open(&self, access: &Access, memory: &MemoryBudget) -> Result<IncomingMail, DeliveryError> {
        match access.endpoint {
            Endpoint::Graph(_) => {
                let session = IncomingServers::open(&self.exchange_online, access, memory).await?;
                Ok(IncomingMail::Online(Box::new(session)))
            }
            Endpoint::Imap(_) | Endpoint::Pop3(_) | Endpoint::Smtp(_) => {
                Ok(IncomingMail::Internet(IncomingServers::open(&self.internet_mail, access, memory).await?))
            }
        }
    }

    async fn has(&self, access: &Access, folder: Folder, message_id: &str) -> Result<Option<bool>, DeliveryError> {
        match access.endpoint {
            Endpoint::Graph(_) => self.exchange_online.has(access, folder, message_id).await,
            Endpoint::Imap(_) | Endpoint::Pop3(_) | Endpoint::Smtp(_) => {
                self.internet_mail.has(access, folder, message_id).await
            }
        }
    }
}

impl OutgoingServers for Servers {
    type Session = OutgoingMail;

    async fn open(&self, access: &Access) -> Result<OutgoingMail, DeliveryError> {
        match access.endpoint {
            Endpoint::Graph(_) => Ok(OutgoingMail::Online(OutgoingServers::open(&self.exchange_online, access).await?)),
            Endpoint::Imap(_) | Endpoint::Pop3(_) | Endpoint::Smtp(_) => {
                Ok(OutgoingMail::Internet(Box::new(OutgoingServers::open(&self.internet_mail, access).await?)))
            }
        }
    }
}
