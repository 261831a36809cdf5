//! Servers of incoming email, as a session that is asked what is new and then read.

use bytes::Bytes;
use mailrail_domain::{
    Timestamp, email::position::Position, rules::retry::Pace, settings::endpoint::Endpoint, words::cause::DeliveryError,
};

use super::{
    access::Access,
    bodies::{MemoryBudget, Reserved},
};

/// A message's name on its server. The adapter that gave it is the only one that reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteId {
    /// The protocol whose name it is, so that names of two protocols are never equal.
    pub protocol: &'static str,
    /// What the server calls the message.
    pub name: String,
    /// The number that the session has for it.
    pub number: usize,
}

impl RemoteId {
    /// The name of a message in the text that [`RemoteId`] prints, if it is of this protocol.
    #[must_use]
    pub fn name_in<'a>(protocol: &str, text: &'a str) -> Option<&'a str> {
        text.strip_prefix(protocol)?.strip_prefix('-')
    }
}

impl std::fmt::Display for RemoteId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.protocol, self.name)
    }
}

/// The answer to "anything new?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing; the position to keep.
    Nothing(Position),
    /// There may be; read on.
    Something,
}

/// What the server handed out of a message.
#[derive(Debug)]
pub enum Content {
    /// All of it, with its share of the memory budget.
    Whole(Bytes, Reserved),
    /// Too large to hold: read it with [`IncomingSession::read`] to its end before the next message.
    Pieces,
    /// Received before the start date; to be passed over.
    BeforeStart,
    /// The server lists it and did not hand it out, for this reason.
    Missing(DeliveryError),
}

/// A message that the server handed out.
#[derive(Debug)]
pub struct Arrival {
    /// Its name on the server.
    pub remote: RemoteId,
    /// When the server received it, where the protocol says so.
    pub received_at: Option<Timestamp>,
    /// Its size, as the server says.
    pub size: u64,
    /// What the server handed out of it.
    pub content: Content,
}

/// A signed-in session.
pub trait IncomingSession: Send {
    /// Asks whether anything came since `position`. Changes nothing.
    fn look(&mut self, position: Option<&Position>) -> impl Future<Output = Result<Look, DeliveryError>> + Send;

    /// Prepares to read what is new, oldest first. `notes` are those of the session that read last, where the sessions of
    /// a protocol keep them ([`IncomingSession::keeps_notes`]). Returns how many messages wait.
    fn begin(
        &mut self,
        position: Option<&Position>,
        notes: Option<&[u8]>,
        start_date: Option<Timestamp>,
        pace: Pace,
    ) -> impl Future<Output = Result<usize, DeliveryError>> + Send;

    /// The next message; `None` when everything was handed out.
    fn next(&mut self) -> impl Future<Output = Result<Option<Arrival>, DeliveryError>> + Send;

    /// The message that was being read when the session ended, where messages are read one by one.
    fn unread(&mut self) -> Option<RemoteId>;

    /// Hands this message out as [`Content::Missing`] for this reason, without asking the server for it.
    fn leave_out(&mut self, message: &RemoteId, because: DeliveryError);

    /// Asks for one message by the text that its [`RemoteId`] printed in an earlier session, once everything that is
    /// listed was handed out. `None` if the server has it no more. A large message is read with
    /// [`IncomingSession::read`].
    fn again(&mut self, remote_id: &str) -> impl Future<Output = Result<Option<Arrival>, DeliveryError>> + Send;

    /// The next piece of a message handed out as [`Content::Pieces`]; `None` at its end.
    fn read(&mut self) -> impl Future<Output = Result<Option<Bytes>, DeliveryError>> + Send;

    /// The position at which everything up to and including `last` is done; with `last` being `None`, everything that
    /// [`IncomingSession::begin`] found.
    fn position(&self, last: Option<&RemoteId>) -> Position;

    /// Whether a position is too small for what is to be remembered of a mailbox, so that notes are kept beside it.
    fn keeps_notes(&self) -> bool {
        false
    }

    /// Notes that these messages need not be read again.
    fn note(&mut self, messages: &[RemoteId]) {
        let _ = messages;
    }

    /// The notes, for the session that reads next.
    fn notes(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Deletes messages from the server, because the profile says so.
    fn delete(&mut self, messages: &[RemoteId]) -> impl Future<Output = Result<(), DeliveryError>> + Send;

    /// Moves messages that cannot be processed to a folder for them, where the server has folders and the profile wants
    /// it.
    fn move_undeliverable(&mut self, messages: &[RemoteId]) -> impl Future<Output = Result<(), DeliveryError>> + Send {
        let _ = messages;
        async { Ok(()) }
    }

    /// Ends the session politely, without waiting long for the answer. POP3 deletes only here.
    fn close(self) -> impl Future<Output = Result<(), DeliveryError>> + Send;
}

/// Servers of incoming email.
pub trait IncomingServers: Send + Sync {
    /// A session with one.
    type Session: IncomingSession;

    /// Connects, secures the connection and signs in.
    fn open(
        &self,
        access: &Access,
        memory: &MemoryBudget,
    ) -> impl Future<Output = Result<Self::Session, DeliveryError>> + Send;

    /// Whether a mailbox there has one reader at a time, so that a second one would be refused.
    fn is_exclusive(&self, endpoint: &Endpoint) -> bool;
}
