//! Incoming email: each message that is listed as new, as MIME, several at once.
//!
//! Source: Microsoft Graph, "Get MIME content of a message".

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream::FuturesOrdered};
use mailrail_connect::{Failure, Refusal, body};
use mailrail_domain::{
    Timestamp,
    email::position::Position,
    rules::{budget::GRAPH_READS_AT_ONCE, retry::Pace},
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::{
    limits::{CHUNK_BYTES, MESSAGE_BYTES_MAX},
    ports::{Access, Arrival, Content, IncomingSession, Look, MemoryBudget, RemoteId, Reserved},
};
use reqwest::{Method, Response};
use sync_wrapper::SyncFuture;

use crate::{
    batch::Part,
    call::{IMMUTABLE_IDS, Mailbox},
    cause::GONE_CODES,
    listing::{Listed, Listing, PROTOCOL},
};

/// What became of a message that was asked for.
enum Fetched {
    /// It was moved away or deleted since it was listed.
    Gone,
    /// It is not asked for, for this reason.
    LeftOut(DeliveryError),
    BeforeStart,
    Whole(Bytes, Reserved),
    /// It is larger than expected: the part that was read, and the rest.
    Large(Rest),
}

/// The part of a message that was read, the response with the rest, and whether the response has ended.
struct Rest {
    read: BytesMut,
    response: Box<Response>,
    is_ended: bool,
    /// The share of the memory budget for the beginning of the message.
    reserved: Option<Reserved>,
}

/// Other threads may look at a session while it waits, so the wrapper makes its future `Sync`.
type Fetch = SyncFuture<Pin<Box<dyn Future<Output = (usize, Listed, Result<Fetched, Failure>)> + Send>>>;

/// A session with one mailbox.
pub struct Session {
    mailbox: Mailbox,
    memory: MemoryBudget,
    tracked_folders: Vec<String>,
    listing: Listing,
    fetching: FuturesOrdered<Fetch>,
    /// The large message that is being handed out.
    rest: Option<Rest>,
    handed: u64,
    /// The message that was asked for last, where one is read at a time.
    asked: Option<RemoteId>,
    /// The identifier of the message that is handed out as missing, and why.
    left_out: Option<(String, DeliveryError)>,
    start_date: Option<Timestamp>,
    at_once: usize,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("listing", &self.listing).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(mailbox: Mailbox, access: &Access, memory: &MemoryBudget) -> Self {
        Self {
            listing: Listing::new(mailbox.clone()),
            mailbox,
            memory: memory.clone(),
            tracked_folders: access.tracked_folders.clone(),
            fetching: FuturesOrdered::new(),
            rest: None,
            handed: 0,
            asked: None,
            left_out: None,
            start_date: None,
            at_once: GRAPH_READS_AT_ONCE,
        }
    }

    /// Asks for messages until as many are under way as allowed. Only the first waits for memory, because messages that
    /// were read already hold memory until they are handed out.
    async fn fetch_more(&mut self) -> Result<(), DeliveryError> {
        while self.fetching.len() < self.at_once {
            if self.fetching.is_empty() {
                self.listing.read_on().await?;
            }
            let Some((number, listed)) = self.listing.folders.take() else {
                return Ok(());
            };
            let bytes = MemoryBudget::needed(listed.size);
            let reserved = match self.memory.try_reserve(bytes) {
                Some(reserved) => reserved,
                None if self.fetching.is_empty() => self.memory.reserve(bytes).await,
                None => {
                    self.listing.folders.put_back((number, listed));
                    return Ok(());
                }
            };
            self.asked = Some(Self::remote(number, &listed)).filter(|_| self.at_once == 1);
            let left_out = self.left_out.take_if(|(id, _)| *id == listed.id);
            let (mailbox, start) = (self.mailbox.clone(), self.start_date);
            let fetching: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
                let is_before = start.is_some_and(|start| listed.received_at.is_some_and(|at| at < start));
                let fetched = match left_out {
                    Some((_, because)) => Ok(Fetched::LeftOut(because)),
                    None if is_before => Ok(Fetched::BeforeStart),
                    None => fetch(&mailbox, &listed, bytes, reserved).await,
                };
                (number, listed, fetched)
            });
            self.fetching.push_back(SyncFuture::new(fetching));
        }
        Ok(())
    }

    /// A message as it is handed out; `None` if it is gone.
    fn arrival(&mut self, number: usize, listed: &Listed, fetched: Fetched) -> Option<Arrival> {
        let size = listed.size.unwrap_or_default();
        let (content, size) = match fetched {
            Fetched::Gone => {
                self.asked = None;
                return None;
            }
            Fetched::LeftOut(because) => (Content::Missing(because), size),
            Fetched::BeforeStart => (Content::BeforeStart, size),
            Fetched::Whole(bytes, reserved) => {
                let size = bytes.len() as u64;
                (Content::Whole(bytes, reserved), size)
            }
            Fetched::Large(rest) => {
                let size = rest.response.content_length().unwrap_or(size).max(rest.read.len() as u64);
                self.handed = 0;
                self.rest = Some(rest);
                (Content::Pieces, size)
            }
        };
        if !matches!(content, Content::Pieces) {
            self.asked = None;
        }
        Some(Arrival { remote: Self::remote(number, listed), received_at: listed.received_at, size, content })
    }

    fn remote(number: usize, listed: &Listed) -> RemoteId {
        RemoteId { protocol: PROTOCOL, name: listed.id.clone(), number }
    }
}

/// Reads a message whole if it has no more than the `bytes` that are reserved for it.
async fn fetch(mailbox: &Mailbox, listed: &Listed, bytes: u64, reserved: Reserved) -> Result<Fetched, Failure> {
    let (stage, wait) = (Stage::Fetch, mailbox.wait());
    let request = mailbox.get(&mailbox.path(&["messages", &listed.id, "$value"]));
    let mut response = match mailbox.send(request, stage).await {
        Ok(response) => response,
        Err(failure) if failure.is(&GONE_CODES) => return Ok(Fetched::Gone),
        Err(failure) => return Err(failure),
    };
    let large = |read, response, reserved| {
        Ok(Fetched::Large(Rest { read, response: Box::new(response), is_ended: false, reserved }))
    };
    if response.content_length().is_some_and(|length| length > bytes) {
        return large(BytesMut::new(), response, None);
    }
    // Reading one byte more than expected shows whether there is more.
    let most = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(1);
    let (read, is_whole) = body(&mut response, most, stage, wait).await.map_err(Failure::Broken)?;
    if is_whole { Ok(Fetched::Whole(read.freeze(), reserved)) } else { large(read, response, Some(reserved)) }
}

impl IncomingSession for Session {
    async fn look(&mut self, position: Option<&Position>) -> Result<Look, DeliveryError> {
        self.listing.open(&self.tracked_folders, position).await?;
        if self.listing.folders.is_quiet() {
            return Ok(Look::Nothing(self.position(None)));
        }
        Ok(Look::Something)
    }

    async fn begin(
        &mut self,
        _: Option<&Position>,
        _: Option<&[u8]>,
        start_date: Option<Timestamp>,
        pace: Pace,
    ) -> Result<usize, DeliveryError> {
        self.start_date = start_date;
        self.at_once = if pace == Pace::Pages { GRAPH_READS_AT_ONCE } else { 1 };
        self.listing.read_on().await?;
        Ok(self.listing.folders.waiting())
    }

    async fn next(&mut self) -> Result<Option<Arrival>, DeliveryError> {
        loop {
            self.rest = None;
            self.fetch_more().await?;
            let Some((number, listed, fetched)) = self.fetching.next().await else {
                return Ok(None);
            };
            let fetched = fetched.map_err(|failure| failure.into_error(Stage::Fetch))?;
            if let Some(arrival) = self.arrival(number, &listed, fetched) {
                return Ok(Some(arrival));
            }
        }
    }

    fn unread(&mut self) -> Option<RemoteId> {
        self.asked.take()
    }

    fn leave_out(&mut self, message: &RemoteId, because: DeliveryError) {
        self.left_out = Some((message.name.clone(), because));
    }

    async fn again(&mut self, remote_id: &str) -> Result<Option<Arrival>, DeliveryError> {
        let Some(id) = RemoteId::name_in(PROTOCOL, remote_id) else {
            return Ok(None);
        };
        self.rest = None;
        let listed = Listed { id: id.to_owned(), received_at: None, size: None };
        let bytes = MemoryBudget::needed(listed.size);
        let reserved = self.memory.reserve(bytes).await;
        let fetched = fetch(&self.mailbox, &listed, bytes, reserved).await;
        let fetched = fetched.map_err(|failure| failure.into_error(Stage::Fetch))?;
        Ok(self.arrival(usize::MAX, &listed, fetched))
    }

    async fn read(&mut self) -> Result<Option<Bytes>, DeliveryError> {
        let Some(Rest { read, response, is_ended, reserved }) = &mut self.rest else {
            return Ok(None);
        };
        if !*is_ended && read.len() < CHUNK_BYTES {
            let bytes = CHUNK_BYTES - read.len();
            let (more, ended) = body(response, bytes, Stage::Fetch, self.mailbox.wait()).await?;
            read.extend_from_slice(&more);
            *is_ended = ended;
        }
        let piece = std::mem::take(read).freeze();
        // The share is held until the beginning is stored, which is when the next piece is asked for.
        if self.handed > 0 {
            *reserved = None;
        }
        self.handed += piece.len() as u64;
        if self.handed > 2 * MESSAGE_BYTES_MAX {
            let words = format!("the message does not end after {} bytes", self.handed);
            return Err(DeliveryError::new(Cause::ConnectionLost, Evidence::new(Stage::Fetch, &words)));
        }
        if piece.is_empty() {
            self.asked = None;
        }
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }

    fn position(&self, last: Option<&RemoteId>) -> Position {
        Position::of(PROTOCOL, &self.listing.folders.reached(last.map(|remote| remote.number)))
    }

    /// Deletes messages in batches. A message that is gone already counts as deleted.
    async fn delete(&mut self, messages: &[RemoteId]) -> Result<(), DeliveryError> {
        let part = |remote: &RemoteId| (Method::DELETE, self.mailbox.path(&["messages", &remote.name]));
        let parts: Vec<Part> = messages.iter().map(part).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let now = self.mailbox.now();
        let replies = self.mailbox.batch(&parts, IMMUTABLE_IDS, Stage::Fetch, now).await;
        for reply in replies.map_err(|failure| failure.into_error(Stage::Fetch))? {
            match reply {
                Ok(_) => {}
                Err(failure) if failure.is(&GONE_CODES) => {}
                // The refusal of one message must not stop the other messages.
                Err(Failure::Refused(Refusal { cause: Cause::Unknown, code, .. })) => {
                    tracing::warn!(code, "a message cannot be deleted, and stays");
                }
                Err(failure) => return Err(failure.into_error(Stage::Fetch)),
            }
        }
        Ok(())
    }

    async fn close(self) -> Result<(), DeliveryError> {
        Ok(())
    }
}
