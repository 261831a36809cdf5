//! The choice of a server's adapter by the endpoint that is talked to. The set is closed, so sessions are enums.

use std::panic::AssertUnwindSafe;

use anyhow::Result;
use bytes::Bytes;
use futures_util::FutureExt;
use mailrail_connect::Connector;
use mailrail_domain::{
    Timestamp,
    email::{position::Position, sending::ContentReply},
    rules::retry::Pace,
    settings::endpoint::Endpoint,
    words::{
        address::EmailAddress,
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::ports::{
    Access, Arrival, EnvelopeReply, Finder, Folder, IncomingServers, IncomingSession, Look, MemoryBudget,
    OutgoingServers, OutgoingSession, RemoteId,
};
use mailrail_exchange_online::{ExchangeOnline, Hosts};
use mailrail_exchange_server::ExchangeServer;
use mailrail_internet_mail::{Incoming, InternetMail, Outgoing};

/// Every server that a profile may name.
#[derive(Debug)]
pub struct Servers {
    internet_mail: InternetMail,
    exchange_online: ExchangeOnline,
    exchange_server: ExchangeServer,
}

impl Servers {
    /// Servers that are reached through `connector`, with Exchange Online at `hosts`.
    pub fn new(connector: Connector, hosts: Hosts, clock: fn() -> Timestamp) -> Result<Self> {
        let exchange_server = ExchangeServer::new(&connector, hosts.login(), clock)?;
        let exchange_online = ExchangeOnline::new(&connector, hosts, clock)?;
        Ok(Self { internet_mail: InternetMail::new(connector), exchange_online, exchange_server })
    }
}

/// A session with a server of incoming email.
#[derive(Debug)]
pub enum IncomingMail {
    /// IMAP or POP3.
    Internet(Incoming),
    /// Exchange Online.
    Online(Box<mailrail_exchange_online::IncomingMailbox>),
    /// Exchange Server.
    Server(Box<mailrail_exchange_server::IncomingMailbox>),
}

/// A session with a server of outgoing email.
#[derive(Debug)]
pub enum OutgoingMail {
    /// SMTP.
    Internet(Box<Outgoing>),
    /// Exchange Online.
    Online(mailrail_exchange_online::OutgoingMailbox),
    /// Exchange Server.
    Server(Box<mailrail_exchange_server::OutgoingMailbox>),
}

/// A call that a panic beneath it does not end. Readers of other people's replies may panic at what no real server says,
/// which is then that server's failure and not ours.
async fn fenced<T>(stage: Stage, call: impl Future<Output = Result<T, DeliveryError>>) -> Result<T, DeliveryError> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_| {
        Err(DeliveryError::new(Cause::ProtocolViolation, Evidence::new(stage, "the server's reply cannot be read")))
    })
}

/// The same call on whichever it is.
macro_rules! any {
    ($servers:ident, $self:expr, $session:ident => $call:expr) => {
        match $self {
            $servers::Internet($session) => $call,
            $servers::Online($session) => $call,
            $servers::Server($session) => $call,
        }
    };
}

impl IncomingSession for IncomingMail {
    async fn look(&mut self, position: Option<&Position>) -> Result<Look, DeliveryError> {
        any!(IncomingMail, self, session => fenced(Stage::Open, session.look(position)).await)
    }

    async fn begin(
        &mut self,
        position: Option<&Position>,
        notes: Option<&[u8]>,
        start_date: Option<Timestamp>,
        pace: Pace,
    ) -> Result<usize, DeliveryError> {
        any!(IncomingMail, self, session => fenced(Stage::List, session.begin(position, notes, start_date, pace)).await)
    }

    async fn next(&mut self) -> Result<Option<Arrival>, DeliveryError> {
        any!(IncomingMail, self, session => fenced(Stage::Fetch, session.next()).await)
    }

    fn unread(&mut self) -> Option<RemoteId> {
        any!(IncomingMail, self, session => session.unread())
    }

    fn leave_out(&mut self, message: &RemoteId, because: DeliveryError) {
        any!(IncomingMail, self, session => session.leave_out(message, because));
    }

    async fn again(&mut self, remote_id: &str) -> Result<Option<Arrival>, DeliveryError> {
        any!(IncomingMail, self, session => fenced(Stage::Fetch, session.again(remote_id)).await)
    }

    async fn read(&mut self) -> Result<Option<Bytes>, DeliveryError> {
        any!(IncomingMail, self, session => fenced(Stage::Fetch, session.read()).await)
    }

    fn position(&self, last: Option<&RemoteId>) -> Position {
        any!(IncomingMail, self, session => session.position(last))
    }

    fn keeps_notes(&self) -> bool {
        any!(IncomingMail, self, session => session.keeps_notes())
    }

    fn note(&mut self, messages: &[RemoteId]) {
        any!(IncomingMail, self, session => session.note(messages));
    }

    fn notes(&self) -> Vec<u8> {
        any!(IncomingMail, self, session => session.notes())
    }

    async fn move_undeliverable(&mut self, messages: &[RemoteId]) -> Result<(), DeliveryError> {
        any!(IncomingMail, self, session => fenced(Stage::Fetch, session.move_undeliverable(messages)).await)
    }

    async fn delete(&mut self, messages: &[RemoteId]) -> Result<(), DeliveryError> {
        any!(IncomingMail, self, session => fenced(Stage::Fetch, session.delete(messages)).await)
    }

    async fn close(self) -> Result<(), DeliveryError> {
        any!(IncomingMail, self, session => fenced(Stage::Fetch, session.close()).await)
    }
}

impl OutgoingSession for OutgoingMail {
    async fn envelope(
        &mut self,
        from: &EmailAddress,
        recipients: &[EmailAddress],
    ) -> Result<EnvelopeReply, DeliveryError> {
        any!(OutgoingMail, self, session => fenced(Stage::Envelope, session.envelope(from, recipients)).await)
    }

    async fn content(&mut self, message: &[u8]) -> Result<ContentReply, DeliveryError> {
        let handed_over =
            any!(OutgoingMail, self, session => AssertUnwindSafe(session.content(message)).catch_unwind().await);
        // Nobody knows then whether the server took the email.
        handed_over.unwrap_or_else(|_| {
            Ok(ContentReply::Unknown(Evidence::new(Stage::Data, "the server's reply cannot be read")))
        })
    }

    async fn reset(&mut self) -> Result<(), DeliveryError> {
        any!(OutgoingMail, self, session => fenced(Stage::Envelope, session.reset()).await)
    }

    async fn close(self) {
        let _ = any!(OutgoingMail, self, session => AssertUnwindSafe(session.close()).catch_unwind().await);
    }
}

impl IncomingServers for Servers {
    type Session = IncomingMail;

    async fn open(&self, access: &Access, memory: &MemoryBudget) -> Result<IncomingMail, DeliveryError> {
        fenced(Stage::SignIn, self.open_incoming(access, memory)).await
    }

    fn is_exclusive(&self, endpoint: &Endpoint) -> bool {
        match endpoint {
            Endpoint::Graph(_) => self.exchange_online.is_exclusive(endpoint),
            Endpoint::Ews(_) => self.exchange_server.is_exclusive(endpoint),
            Endpoint::Imap(_) | Endpoint::Pop3(_) | Endpoint::Smtp(_) => self.internet_mail.is_exclusive(endpoint),
        }
    }
}

impl Servers {
    async fn open_incoming(&self, access: &Access, memory: &MemoryBudget) -> Result<IncomingMail, DeliveryError> {
        match access.endpoint {
            Endpoint::Graph(_) => {
                let session = IncomingServers::open(&self.exchange_online, access, memory).await?;
                Ok(IncomingMail::Online(Box::new(session)))
            }
            Endpoint::Ews(_) => {
                let session = IncomingServers::open(&self.exchange_server, access, memory).await?;
                Ok(IncomingMail::Server(Box::new(session)))
            }
            Endpoint::Imap(_) | Endpoint::Pop3(_) | Endpoint::Smtp(_) => {
                Ok(IncomingMail::Internet(IncomingServers::open(&self.internet_mail, access, memory).await?))
            }
        }
    }
}

impl Finder for Servers {
    async fn has(&self, access: &Access, folder: Folder, message_id: &str) -> Result<Option<bool>, DeliveryError> {
        fenced(Stage::Open, self.find(access, folder, message_id)).await
    }
}

impl Servers {
    async fn find(&self, access: &Access, folder: Folder, message_id: &str) -> Result<Option<bool>, DeliveryError> {
        match access.endpoint {
            Endpoint::Graph(_) => self.exchange_online.has(access, folder, message_id).await,
            Endpoint::Ews(_) => self.exchange_server.has(access, folder, message_id).await,
            Endpoint::Imap(_) | Endpoint::Pop3(_) | Endpoint::Smtp(_) => {
                self.internet_mail.has(access, folder, message_id).await
            }
        }
    }
}

impl OutgoingServers for Servers {
    type Session = OutgoingMail;

    async fn open(&self, access: &Access) -> Result<OutgoingMail, DeliveryError> {
        fenced(Stage::SignIn, self.open_outgoing(access)).await
    }
}

impl Servers {
    async fn open_outgoing(&self, access: &Access) -> Result<OutgoingMail, DeliveryError> {
        match access.endpoint {
            Endpoint::Graph(_) => Ok(OutgoingMail::Online(OutgoingServers::open(&self.exchange_online, access).await?)),
            Endpoint::Ews(_) => {
                let session = OutgoingServers::open(&self.exchange_server, access).await?;
                Ok(OutgoingMail::Server(Box::new(session)))
            }
            Endpoint::Imap(_) | Endpoint::Pop3(_) | Endpoint::Smtp(_) => {
                Ok(OutgoingMail::Internet(Box::new(OutgoingServers::open(&self.internet_mail, access).await?)))
            }
        }
    }
}
