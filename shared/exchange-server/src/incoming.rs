//! Incoming email: the messages that are listed as new, several with each request, as MIME that is decoded while it
//! arrives.
//!
//! Source: EWS reference, "GetItem operation".

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use mailrail_connect::{Failure, Refusal, broken};
use mailrail_domain::{
    Timestamp,
    email::position::Position,
    rules::retry::Pace,
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::{
    limits::{CHUNK_BYTES, MESSAGE_BYTES_MAX, UNKNOWN_SIZE_BYTES},
    ports::{Access, Arrival, Content, IncomingSession, Look, MemoryBudget, RemoteId, Reserved},
};

use crate::{
    call::{Answer, Mailbox, one},
    carrier::Repeat,
    cause::{GONE_CODES, of_code},
    listing::{Listed, Listing, PROTOCOL},
    reply::{of_fault, of_message},
    request::{FolderRef, create_folder, delete_items, get_items, move_items},
    xml::{Document, Element, Token},
};

/// Most messages that are asked for at once. A server counts the effort towards its throttling, and the unread rest of
/// a reply that is cut off is asked for again.
const BATCH_MESSAGES: usize = 32;
/// Most bytes of messages, by their listed sizes, that are asked for at once; one message may have more.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;
/// Messages that are moved or deleted with one request.
const CHANGES_AT_ONCE: usize = 100;
/// The folder for messages that cannot be processed (source system: "Undeliverable").
const UNDELIVERABLE: &str = "Undeliverable";
/// The code that says that this folder is not there any more.
const FOLDER_TO_MOVE_TO_GONE: &str = "ErrorToFolderNotFound";
/// The folder above the inbox.
const TOP: &str = "msgfolderroot";

/// A message whose turn it is, with its number.
type Numbered = (usize, Listed);

/// The reply to a request for messages, and the messages that it has still to hand out.
#[derive(Debug)]
struct Batch {
    document: Document,
    asked: VecDeque<Numbered>,
    /// Whether the content of a message has begun and not ended.
    is_inside: bool,
}

/// What a reply says about a message.
enum Said {
    /// Its content begins.
    Content,
    Refused(Refusal),
    /// Neither content nor refusal.
    Nothing,
    /// The reply has ended.
    Over,
}

/// A message that is handed out piece by piece.
#[derive(Debug)]
struct Rest {
    read: BytesMut,
    carry: Vec<u8>,
    is_ended: bool,
    handed: u64,
    /// The share of the memory budget for the beginning of the message.
    reserved: Option<Reserved>,
}

/// A session with one mailbox.
#[derive(Debug)]
pub struct Session {
    mailbox: Mailbox,
    memory: MemoryBudget,
    tracked_folders: Vec<String>,
    listing: Listing,
    batch: Option<Batch>,
    rest: Option<Rest>,
    /// The message that was asked for last, where one is read at a time.
    asked: Option<RemoteId>,
    /// The identifier of the message that is handed out as missing, and why.
    left_out: Option<(String, DeliveryError)>,
    start_date: Option<Timestamp>,
    is_one_by_one: bool,
}

impl Session {
    pub(crate) fn new(mailbox: Mailbox, access: &Access, memory: &MemoryBudget) -> Self {
        Self {
            mailbox,
            memory: memory.clone(),
            tracked_folders: access.tracked_folders.clone(),
            listing: Listing::default(),
            batch: None,
            rest: None,
            asked: None,
            left_out: None,
            start_date: None,
            is_one_by_one: false,
        }
    }

    /// Asks for the messages that are listed next, up to one that was received before the start date.
    async fn ask_for_more(&mut self) -> Result<(), DeliveryError> {
        let most = if self.is_one_by_one { 1 } else { BATCH_MESSAGES };
        let mut asked: VecDeque<Numbered> = VecDeque::new();
        let mut bytes = 0;
        while asked.len() < most
            && let Some(next) = self.listing.folders.take()
        {
            bytes += next.1.size.unwrap_or(UNKNOWN_SIZE_BYTES);
            if self.is_before_start(&next.1) || (bytes > BATCH_BYTES && !asked.is_empty()) {
                self.listing.folders.put_back(next);
                break;
            }
            asked.push_back(next);
        }
        self.asked = asked.front().map(remote).filter(|_| self.is_one_by_one);
        self.ask_for(asked).await
    }

    async fn ask_for(&mut self, asked: VecDeque<Numbered>) -> Result<(), DeliveryError> {
        let operation = get_items(asked.iter().map(|(_, listed)| listed.id.as_str()));
        let document = self.mailbox.post(&operation, Stage::Fetch, Repeat::Freely).await;
        let document = document.map_err(|failure| failure.into_error(Stage::Fetch))?;
        self.batch = Some(Batch { document, asked, is_inside: false });
        Ok(())
    }

    fn is_before_start(&self, listed: &Listed) -> bool {
        self.start_date.is_some_and(|start| listed.received_at.is_some_and(|at| at < start))
    }

    /// The next message of the reply that is being read; none at its end.
    async fn next_of_batch(&mut self) -> Result<Option<Arrival>, DeliveryError> {
        loop {
            let Some(batch) = &mut self.batch else {
                return Ok(None);
            };
            let Some(message) = batch.asked.front().cloned() else {
                batch.finish().await?;
                self.batch = None;
                return Ok(None);
            };
            let said = batch.said().await?;
            let arrival = |content, size| {
                let (remote, received_at) = (remote(&message), message.1.received_at);
                Arrival { remote, received_at, size, content }
            };
            let listed_size = message.1.size.unwrap_or_default();
            batch.asked.pop_front();
            let content = match said {
                Said::Content => {
                    let (content, size) = self.content(message.1.size).await?;
                    return Ok(Some(arrival(content, size)));
                }
                Said::Refused(refusal) => match refused(refusal, self.mailbox.is_delegate())? {
                    None => {
                        self.asked = None;
                        continue;
                    }
                    Some(error) => error,
                },
                Said::Nothing => {
                    let words = "the server gives the message without its content";
                    DeliveryError::new(Cause::Unknown, Evidence::new(Stage::Fetch, words))
                }
                Said::Over => {
                    let words = "the reply has fewer messages than were asked for";
                    return Err(broken(Stage::Fetch, words).into_error(Stage::Fetch));
                }
            };
            return Ok(Some(arrival(Content::Missing(content), listed_size)));
        }
    }

    /// The content of a message that has just begun: whole, if it has no more bytes than are reserved for it.
    async fn content(&mut self, size: Option<u64>) -> Result<(Content, u64), DeliveryError> {
        let bytes = MemoryBudget::needed(size);
        let reserved = self.memory.reserve(bytes).await;
        let Some(batch) = &mut self.batch else {
            return Err(broken(Stage::Fetch, "no reply is being read").into_error(Stage::Fetch));
        };
        // Reading one byte more than expected shows whether there is more.
        let most = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(1);
        let mut carry = Vec::new();
        let (read, is_ended) = batch.document.base64(most, &mut carry).await?;
        let length = read.len() as u64;
        if is_ended && length <= bytes {
            batch.is_inside = false;
            return Ok((Content::Whole(read.freeze(), reserved), length));
        }
        self.rest = Some(Rest { read, carry, is_ended, handed: 0, reserved: Some(reserved) });
        Ok((Content::Pieces, size.unwrap_or_default().max(length)))
    }

    /// Drops the rest of a reply if there is only one connection, because another request needs the connection.
    /// Messages that were not handed out are asked for again.
    fn give_way(&mut self) {
        if self.mailbox.is_one_line()
            && let Some(batch) = self.batch.take()
        {
            for message in batch.asked.into_iter().rev() {
                self.listing.folders.put_back(message);
            }
        }
    }

    /// The folder for messages that cannot be processed: the known folder, a folder with this name, or a new folder.
    async fn undeliverable_folder(&mut self) -> Result<FolderRef, Failure> {
        if let Some(id) = self.mailbox.ledger().learned().undeliverable_folder {
            return Ok(FolderRef::Id(id));
        }
        let top = self.mailbox.known(TOP);
        let mut id = self.mailbox.child_folder(&top, UNDELIVERABLE).await?;
        if id.is_none() {
            let answers =
                self.mailbox.ask_with(&create_folder(&top, UNDELIVERABLE), Stage::Open, Repeat::Never).await?;
            let created = one(answers, Stage::Open)?.done().map_err(Failure::Refused)?;
            id = created.find("FolderId").and_then(|id| id.attribute("Id")).map(str::to_owned);
        }
        let id = id.ok_or_else(|| broken(Stage::Open, "a folder that was made has no identifier"))?;
        self.mailbox.ledger().learn(|learned| learned.undeliverable_folder = Some(id.clone()));
        Ok(FolderRef::Id(id))
    }

    async fn move_to(&mut self, folder: &FolderRef, ids: &[&str]) -> Result<(), Failure> {
        for chunk in ids.chunks(CHANGES_AT_ONCE) {
            changed(self.mailbox.ask(&move_items(chunk.iter().copied(), folder), Stage::Fetch).await?)?;
        }
        Ok(())
    }
}

fn remote((number, listed): &Numbered) -> RemoteId {
    RemoteId { protocol: PROTOCOL, name: listed.id.clone(), number: *number }
}

fn ids(messages: &[RemoteId]) -> Vec<&str> {
    messages.iter().map(|remote| remote.name.as_str()).collect()
}

/// Whether each of several messages was moved or deleted. A message that is gone already counts as such. A message that
/// the server refuses stays where it is, and must not stop the other messages.
fn changed(answers: Vec<Answer>) -> Result<(), Failure> {
    for answer in answers {
        if let Err(refusal) = answer.done() {
            let code = refusal.code.clone().unwrap_or_default();
            if code == FOLDER_TO_MOVE_TO_GONE || of_code(&code).is_some() {
                return Err(Failure::Refused(refusal));
            }
            if !GONE_CODES.contains(&code.as_str()) {
                tracing::warn!(code, "a message can be neither moved nor deleted, and stays");
            }
        }
    }
    Ok(())
}

/// What a refusal of one message means: `None` if the message is gone, why its content is missing, or that the server
/// fails. A code that is not known to be about the mailbox or the server is about the message, which must not stop the
/// messages behind it.
fn refused(refusal: Refusal, is_delegate: bool) -> Result<Option<DeliveryError>, DeliveryError> {
    let code = refusal.code.clone().unwrap_or_default();
    let failure = Failure::Refused(refusal);
    // The server says the same to a delegate about a message that it may not read. That message must not vanish.
    if failure.is(&GONE_CODES) && !is_delegate {
        return Ok(None);
    }
    // An account that may read the folder may be denied a single message.
    if code.is_empty() || of_code(&code).is_some_and(|cause| cause != Cause::AccessDenied) {
        return Err(failure.into_error(Stage::Fetch));
    }
    Ok(Some(failure.into_error(Stage::Fetch)))
}

impl Batch {
    /// Reads the rest of the content that has begun, which nobody wants.
    async fn leave(&mut self) -> Result<(), DeliveryError> {
        let mut carry = Vec::new();
        while self.is_inside {
            let (_, is_ended) = self.document.base64(CHUNK_BYTES, &mut carry).await?;
            self.is_inside = !is_ended;
        }
        Ok(())
    }

    /// Reads to the end of the reply, so that the connection can be used again.
    async fn finish(&mut self) -> Result<(), DeliveryError> {
        self.leave().await?;
        self.document.finish().await;
        Ok(())
    }

    /// Reads on to the content of the next message, or to what is said instead.
    async fn said(&mut self) -> Result<Said, DeliveryError> {
        self.leave().await?;
        loop {
            match self.document.next().await? {
                Token::Start(element) => match element.name.as_str() {
                    "Fault" => {
                        // The fault is about the request, not about a message.
                        let fault = self.document.rest_of(element).await?;
                        return Err(Failure::Refused(of_fault(&fault, 200)).into_error(Stage::Fetch));
                    }
                    "GetItemResponseMessage" => return self.message(element).await,
                    _ => {}
                },
                Token::Over => return Ok(Said::Over),
                Token::End | Token::Text(_) => {}
            }
        }
    }

    /// Reads a response message up to the content of its item, or to its end.
    async fn message(&mut self, message: Element) -> Result<Said, DeliveryError> {
        let Some(message) = self.document.rest_before(message, "MimeContent").await? else {
            self.is_inside = true;
            return Ok(Said::Content);
        };
        Ok(of_message(&message).map_or_else(Said::Refused, |()| Said::Nothing))
    }
}

impl IncomingSession for Session {
    async fn look(&mut self, position: Option<&Position>) -> Result<Look, DeliveryError> {
        self.listing.open(&mut self.mailbox, &self.tracked_folders, position).await?;
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
        self.is_one_by_one = pace != Pace::Pages;
        self.listing.read_on(&mut self.mailbox).await?;
        Ok(self.listing.folders.waiting())
    }

    async fn next(&mut self) -> Result<Option<Arrival>, DeliveryError> {
        loop {
            if let Some(Rest { is_ended: true, .. }) = self.rest.take()
                && let Some(batch) = &mut self.batch
            {
                batch.is_inside = false;
            }
            if let Some(arrival) = self.next_of_batch().await? {
                if !matches!(arrival.content, Content::Pieces) {
                    self.asked = None;
                }
                return Ok(Some(arrival));
            }
            self.listing.read_on(&mut self.mailbox).await?;
            let Some(next) = self.listing.folders.take() else {
                return Ok(None);
            };
            let unasked = match self.left_out.take_if(|(id, _)| *id == next.1.id) {
                Some((_, because)) => Some(Content::Missing(because)),
                None => self.is_before_start(&next.1).then_some(Content::BeforeStart),
            };
            if let Some(content) = unasked {
                let (remote, received_at) = (remote(&next), next.1.received_at);
                let size = next.1.size.unwrap_or_default();
                return Ok(Some(Arrival { remote, received_at, size, content }));
            }
            self.listing.folders.put_back(next);
            self.ask_for_more().await?;
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
        self.give_way();
        self.rest = None;
        let listed = Listed { id: id.to_owned(), received_at: None, size: None };
        self.ask_for(VecDeque::from([(usize::MAX, listed)])).await?;
        self.next_of_batch().await
    }

    async fn read(&mut self) -> Result<Option<Bytes>, DeliveryError> {
        let (Some(Rest { read, carry, is_ended, handed, reserved }), Some(batch)) = (&mut self.rest, &mut self.batch)
        else {
            return Ok(None);
        };
        if !*is_ended && read.len() < CHUNK_BYTES {
            let (more, ended) = batch.document.base64(CHUNK_BYTES - read.len(), carry).await?;
            read.extend_from_slice(&more);
            *is_ended = ended;
        }
        let piece = std::mem::take(read).freeze();
        // The share is held until the beginning is stored, which is when the next piece is asked for.
        if *handed > 0 {
            *reserved = None;
        }
        *handed += piece.len() as u64;
        if *handed > 2 * MESSAGE_BYTES_MAX {
            let words = format!("the message does not end after {handed} bytes");
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

    async fn delete(&mut self, messages: &[RemoteId]) -> Result<(), DeliveryError> {
        self.give_way();
        for chunk in ids(messages).chunks(CHANGES_AT_ONCE) {
            let answers = self.mailbox.ask(&delete_items(chunk.iter().copied()), Stage::Fetch).await;
            answers.and_then(changed).map_err(|failure| failure.into_error(Stage::Fetch))?;
        }
        Ok(())
    }

    async fn move_undeliverable(&mut self, messages: &[RemoteId]) -> Result<(), DeliveryError> {
        self.give_way();
        let ids = ids(messages);
        for is_again in [false, true] {
            let moved = match self.undeliverable_folder().await {
                Ok(folder) => self.move_to(&folder, &ids).await,
                Err(failure) => Err(failure),
            };
            match moved {
                // Somebody deleted the known folder, so a new one is made.
                Err(failure) if !is_again && failure.is(&[FOLDER_TO_MOVE_TO_GONE, "ErrorFolderNotFound"]) => {
                    self.mailbox.ledger().learn(|learned| learned.undeliverable_folder = None);
                }
                moved => return moved.map_err(|failure| failure.into_error(Stage::Fetch)),
            }
        }
        Ok(())
    }

    async fn close(self) -> Result<(), DeliveryError> {
        Ok(())
    }
}
