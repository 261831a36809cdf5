//! Incoming email by delta query: what was added to each folder since its link, then each message as MIME.
//!
//! Source: Microsoft Graph, "message: delta", "Get MIME content of a message", "Immutable identifiers". A message that
//! is listed as removed is passed over: nothing here ever means that a record should go.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
};

use bytes::{Bytes, BytesMut};
use chrono::DateTime;
use futures_util::{StreamExt, stream::FuturesOrdered};
use mailrail_connect::body;
use mailrail_domain::{
    Timestamp,
    budget::GRAPH_READS_AT_ONCE,
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
    position::{GraphPosition, Position, SeenUidls},
    retry::Pace,
};
use mailrail_engine::{
    limits::{CHUNK_BYTES, MESSAGE_BYTES_MAX, UNCOUNTED_BYTES, WHOLE_MESSAGE_BYTES_MAX},
    ports::{Access, Arrival, Content, IncomingSession, Look, MemoryBudget, RemoteId, Reserved},
};
use reqwest::{Method, Response};
use serde_json::Value;
use sync_wrapper::SyncFuture;

use crate::{
    batch::Part,
    call::{Failure, Mailbox, broken},
    cause::{FOLDER_GONE_CODES, GONE_CODES, STALE_TOKEN_CODES},
};

/// The folder that is always read.
const INBOX: &str = "inbox";
/// Messages of one page of a delta query.
const PAGE_MESSAGES: usize = 50;
/// Pages without a message that follow each other before it is taken for a loop.
const EMPTY_PAGES_MAX: usize = 200;
/// The size of a message in the store (PidTagMessageSize), as Graph names properties.
const SIZE_PROPERTY: &str = "Integer 0xe08";
/// What a message is taken to have, where nothing says its size, until it has more.
const UNKNOWN_SIZE_BYTES: u64 = 1024 * 1024;

/// A message in the listing of a folder.
#[derive(Debug, Clone)]
struct Listed {
    number: usize,
    id: String,
    received_at: Option<Timestamp>,
    size: Option<u64>,
}

impl Listed {
    /// A message as a listing has it. What it says of date and size is taken if it can be read.
    fn of(message: &Value, number: usize) -> Option<Self> {
        let id = message["id"].as_str().filter(|id| !id.is_empty())?;
        let received = message["receivedDateTime"].as_str();
        let size = message["singleValueExtendedProperties"][0]["value"].as_str();
        Some(Self {
            number,
            id: id.to_owned(),
            received_at: received.and_then(|at| DateTime::parse_from_rfc3339(at).ok()).map(|at| at.to_utc()),
            size: size.and_then(|size| size.parse().ok()),
        })
    }
}

/// A page of a delta query.
#[derive(Debug)]
struct Page {
    messages: Vec<Value>,
    /// Path of the page that follows, or of the next round.
    link: String,
    /// Whether this was the last page of the round.
    is_last: bool,
}

/// A folder and how far it has been read.
#[derive(Debug)]
struct Folder {
    /// Its well-known name or its identifier.
    name: String,
    /// Under which its link is remembered: with its identifier, so that it need not be looked up.
    key: String,
    /// Where the next page is; `None` before the first.
    link: Option<String>,
    /// A page that was read and not listed yet.
    page: Option<Page>,
    is_done: bool,
}

/// Which messages of this session a page had, and the folder's links before and after it.
#[derive(Debug)]
struct Mark {
    folder: usize,
    end: usize,
    before: Option<String>,
    after: String,
}

/// What became of a message that was asked for.
enum Fetched {
    /// It was moved away or deleted since it was listed.
    Gone,
    BeforeStart,
    Whole(Bytes, Reserved),
    /// It is larger than was thought: what was read of it, and the rest.
    Large(Rest),
}

/// What was read of a message, what is to come, and whether that is anything.
struct Rest {
    read: BytesMut,
    response: Box<Response>,
    is_ended: bool,
    /// The share of the memory budget that the beginning has.
    reserved: Option<Reserved>,
}

/// A session may be looked at from elsewhere while it waits, so what it waits for is wrapped for that.
type Fetch = SyncFuture<Pin<Box<dyn Future<Output = (Listed, Result<Fetched, Failure>)> + Send>>>;

/// A session with one mailbox.
pub struct Session {
    mailbox: Mailbox,
    memory: MemoryBudget,
    tracked_folders: Vec<String>,
    folders: Vec<Folder>,
    marks: Vec<Mark>,
    waiting: VecDeque<Listed>,
    fetching: FuturesOrdered<Fetch>,
    /// The large message that is being handed out.
    rest: Option<Rest>,
    handed: u64,
    /// The message that was asked for last, where one is read at a time.
    asked: Option<RemoteId>,
    start_date: Option<Timestamp>,
    at_once: usize,
    numbered: usize,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("folders", &self.folders).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(mailbox: Mailbox, access: &Access, memory: &MemoryBudget) -> Self {
        Self {
            mailbox,
            memory: memory.clone(),
            tracked_folders: access.tracked_folders.clone(),
            folders: Vec::new(),
            marks: Vec::new(),
            waiting: VecDeque::new(),
            fetching: FuturesOrdered::new(),
            rest: None,
            handed: 0,
            asked: None,
            start_date: None,
            at_once: GRAPH_READS_AT_ONCE,
            numbered: 0,
        }
    }

    /// The path of a folder's first page: only what was added, and only the fields that are needed.
    fn first_page(&self, folder: &str) -> String {
        let path = self.mailbox.path(&["mailFolders", folder, "messages", "delta"]);
        let size = format!("singleValueExtendedProperties($filter=id%20eq%20'{}')", SIZE_PROPERTY.replace(' ', "%20"));
        format!("{path}?changeType=created&$select=id,receivedDateTime&$expand={size}")
    }

    fn prefer() -> String {
        format!("IdType=\"ImmutableId\", odata.maxpagesize={PAGE_MESSAGES}")
    }

    /// Reads the page that each folder is at: of one folder by itself, of several in a batch.
    async fn read_pages(&self, paths: &[String]) -> Result<Vec<Result<Page, Failure>>, Failure> {
        let page = |reply: Value| self.page(&reply);
        if let [path] = paths {
            let request = self.mailbox.get(path).header("Prefer", format!("odata.maxpagesize={PAGE_MESSAGES}"));
            let reply = self.mailbox.json(request, Stage::List).await;
            return Ok(vec![reply.and_then(page)]);
        }
        let parts: Vec<Part> = paths.iter().map(|path| (Method::GET, path.clone())).collect();
        let now = self.mailbox.now();
        let replies = self.mailbox.batch(&parts, &Self::prefer(), Stage::List, now).await?;
        Ok(replies.into_iter().map(|reply| reply.and_then(page)).collect())
    }

    fn page(&self, reply: &Value) -> Result<Page, Failure> {
        let messages = reply["value"].as_array().cloned();
        let messages = messages.ok_or_else(|| broken(Stage::List, "a page of a delta query has no list"))?;
        let (link, is_last) = match (reply["@odata.nextLink"].as_str(), reply["@odata.deltaLink"].as_str()) {
            (Some(next), _) => (next, false),
            (None, Some(delta)) => (delta, true),
            (None, None) => return Err(broken(Stage::List, "a page of a delta query has no link")),
        };
        Ok(Page { messages, link: self.mailbox.path_of(link, Stage::List)?, is_last })
    }

    /// The pages at which the folders are, from the start again where a link is not known any more.
    async fn pages_of(&mut self, which: &[usize]) -> Result<(), DeliveryError> {
        let first = |session: &Self, n: usize| session.first_page(&session.folders[n].name);
        let mut wanted: Vec<usize> = which.to_vec();
        for is_again in [false, true] {
            let paths: Vec<String> =
                wanted.iter().map(|n| self.folders[*n].link.clone().unwrap_or_else(|| first(self, *n))).collect();
            if paths.is_empty() {
                return Ok(());
            }
            let replies = self.read_pages(&paths).await.map_err(|failure| failure.into_error(Stage::List))?;
            let mut stale = Vec::new();
            for (n, reply) in wanted.into_iter().zip(replies) {
                match reply {
                    Ok(page) => self.folders[n].page = Some(page),
                    Err(failure) if !is_again && is_stale(&failure) && self.folders[n].link.is_some() => {
                        tracing::info!(folder = self.folders[n].name, "the delta link is not known any more");
                        self.folders[n].link = None;
                        stale.push(n);
                    }
                    // Somebody deleted a tracked folder. It is looked for again by its name, and no failure of the mailbox.
                    Err(failure) if n > 0 && (failure.is(&FOLDER_GONE_CODES) || failure.is(&GONE_CODES)) => {
                        let folder = &mut self.folders[n];
                        (folder.link, folder.is_done) = (None, true);
                    }
                    Err(failure) => return Err(failure.into_error(Stage::List)),
                }
            }
            wanted = stale;
        }
        Ok(())
    }

    /// The folders of the profile, each with its link if it was read before. A folder that the mailbox does not have is
    /// left out: the profile is for many.
    async fn folders(&self, position: Option<&Position>) -> Result<Vec<Folder>, DeliveryError> {
        let links = match position {
            Some(Position::Graph(GraphPosition { links })) => links.clone(),
            // The profile was changed from something else: read again; the records are recognized.
            Some(Position::Imap(_) | Position::Pop3(_)) | None => BTreeMap::new(),
        };
        let folder = |name: &str, key: String, link: Option<&String>| Folder {
            name: name.to_owned(),
            key,
            link: link.cloned(),
            page: None,
            is_done: false,
        };
        let mut folders = vec![folder(INBOX, INBOX.to_owned(), links.get(INBOX))];
        for path in &self.tracked_folders {
            let known = links.iter().find_map(|(key, link)| Some((key.strip_prefix(path)?.strip_prefix('#')?, link)));
            match known {
                Some((id, link)) => folders.push(folder(id, format!("{path}#{id}"), Some(link))),
                None => {
                    let id = self.find_folder(path).await.map_err(|failure| failure.into_error(Stage::Open))?;
                    folders.extend(id.map(|id| folder(&id, format!("{path}#{id}"), None)));
                }
            }
        }
        Ok(folders)
    }

    /// The identifier of a folder below the inbox.
    async fn find_folder(&self, path: &str) -> Result<Option<String>, Failure> {
        let mut parent = INBOX.to_owned();
        for name in path.split('/') {
            let filter = format!("displayName eq '{}'", name.replace('\'', "''"));
            let children = self.mailbox.path(&["mailFolders", &parent, "childFolders"]);
            let request = self.mailbox.get(&children).query(&[("$filter", filter.as_str()), ("$select", "id")]);
            let found: Value = self.mailbox.json(request, Stage::Open).await?;
            match found["value"][0]["id"].as_str() {
                Some(id) => parent = id.to_owned(),
                None => return Ok(None),
            }
        }
        Ok(Some(parent))
    }

    /// Lists the page that a folder is at, and moves it to the next.
    fn list(&mut self, n: usize) {
        let Some(page) = self.folders[n].page.take() else {
            return;
        };
        for message in &page.messages {
            if !message["@removed"].is_null() {
                continue;
            }
            match Listed::of(message, self.numbered) {
                Some(listed) => {
                    self.waiting.push_back(listed);
                    self.numbered += 1;
                }
                None => tracing::warn!("a message without identifier is listed, and cannot be read"),
            }
        }
        let folder = &mut self.folders[n];
        let before = folder.link.replace(page.link.clone());
        folder.is_done = page.is_last;
        self.marks.push(Mark { folder: n, end: self.numbered, before, after: page.link });
    }

    /// Lists pages until there is a message to read, or nothing more.
    async fn list_more(&mut self) -> Result<(), DeliveryError> {
        let mut empty = 0;
        while self.waiting.is_empty() {
            let Some(n) = self.folders.iter().position(|folder| !folder.is_done) else {
                return Ok(());
            };
            if self.folders[n].page.is_none() {
                self.pages_of(&[n]).await?;
            }
            self.list(n);
            empty += 1;
            if empty > EMPTY_PAGES_MAX {
                let words = "page follows page without a message";
                return Err(DeliveryError::new(Cause::ProtocolViolation, Evidence::new(Stage::List, words)));
            }
        }
        Ok(())
    }

    /// Asks for messages until as many are under way as may be. Only the first waits for memory: what is read already
    /// holds some until it is handed out.
    async fn fetch_more(&mut self) -> Result<(), DeliveryError> {
        while self.fetching.len() < self.at_once {
            if self.waiting.is_empty() && self.fetching.is_empty() {
                self.list_more().await?;
            }
            let Some(listed) = self.waiting.pop_front() else {
                return Ok(());
            };
            let bytes = share(listed.size.unwrap_or(UNKNOWN_SIZE_BYTES)).min(WHOLE_MESSAGE_BYTES_MAX);
            let reserved = match self.memory.try_reserve(bytes) {
                Some(reserved) => reserved,
                None if self.fetching.is_empty() => self.memory.reserve(bytes).await,
                None => {
                    self.waiting.push_front(listed);
                    return Ok(());
                }
            };
            self.asked = Some(Self::remote(&listed)).filter(|_| self.at_once == 1);
            let (mailbox, start) = (self.mailbox.clone(), self.start_date);
            let fetching: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
                let is_before = start.is_some_and(|start| listed.received_at.is_some_and(|at| at < start));
                let fetched = match is_before {
                    true => Ok(Fetched::BeforeStart),
                    false => fetch(&mailbox, &listed, bytes, reserved).await,
                };
                (listed, fetched)
            });
            self.fetching.push_back(SyncFuture::new(fetching));
        }
        Ok(())
    }

    fn remote(listed: &Listed) -> RemoteId {
        RemoteId::Graph { id: listed.id.clone(), number: listed.number }
    }
}

fn is_stale(failure: &Failure) -> bool {
    failure.has_status(410) || failure.is(&STALE_TOKEN_CODES)
}

/// What a message takes in memory as MIME, at most, given its size in the store: attachments are base64 there, in lines,
/// and texts are encoded.
fn share(size: u64) -> u64 {
    size.saturating_mul(2).saturating_add(UNCOUNTED_BYTES)
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
    // One byte more than is expected shows that there is more.
    let most = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(1);
    let (read, is_whole) = body(&mut response, most, stage, wait).await.map_err(Failure::Broken)?;
    if is_whole { Ok(Fetched::Whole(read.freeze(), reserved)) } else { large(read, response, Some(reserved)) }
}

impl IncomingSession for Session {
    async fn look(&mut self, position: Option<&Position>) -> Result<Look, DeliveryError> {
        self.folders = self.folders(position).await?;
        let all: Vec<usize> = (0..self.folders.len()).collect();
        self.pages_of(&all).await?;
        let is_quiet = |folder: &Folder| {
            let page = folder.page.as_ref();
            folder.is_done
                || page.is_some_and(|page| {
                    page.is_last && page.messages.iter().all(|message| !message["@removed"].is_null())
                })
        };
        if self.folders.iter().all(is_quiet) {
            all.into_iter().for_each(|n| self.list(n));
            return Ok(Look::Nothing(self.position(None, "")));
        }
        Ok(Look::Something)
    }

    async fn begin(
        &mut self,
        _: Option<&Position>,
        _: SeenUidls,
        start_date: Option<Timestamp>,
        pace: Pace,
    ) -> Result<usize, DeliveryError> {
        self.start_date = start_date;
        self.at_once = if pace == Pace::Pages { GRAPH_READS_AT_ONCE } else { 1 };
        self.list_more().await?;
        Ok(self.waiting.len())
    }

    async fn next(&mut self) -> Result<Option<Arrival>, DeliveryError> {
        loop {
            self.rest = None;
            self.fetch_more().await?;
            let Some((listed, fetched)) = self.fetching.next().await else {
                return Ok(None);
            };
            let size = listed.size.unwrap_or_default();
            let (content, size) = match fetched.map_err(|failure| failure.into_error(Stage::Fetch))? {
                Fetched::Gone => continue,
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
            self.asked = None;
            let remote = Self::remote(&listed);
            return Ok(Some(Arrival { remote, received_at: listed.received_at, size, content }));
        }
    }

    fn pass_over(&mut self) -> Option<RemoteId> {
        self.asked.take()
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
        *reserved = None;
        self.handed += piece.len() as u64;
        if self.handed > 2 * MESSAGE_BYTES_MAX {
            let words = format!("the message does not end after {} bytes", self.handed);
            return Err(DeliveryError::new(Cause::ConnectionLost, Evidence::new(Stage::Fetch, &words)));
        }
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }

    /// The links under which everything after `last` is listed. A page of which some messages are not done is listed
    /// again; those that are done are recognized.
    fn position(&self, last: Option<&RemoteId>, _: &str) -> Position {
        let done = match last {
            Some(RemoteId::Graph { number, .. }) => number + 1,
            Some(RemoteId::Imap { .. } | RemoteId::Pop3 { .. }) | None => usize::MAX,
        };
        let link = |n: usize| {
            let mut of_folder = self.marks.iter().filter(|mark| mark.folder == n);
            let open = of_folder.find(|mark| mark.end > done);
            match open {
                Some(mark) => mark.before.clone(),
                None => {
                    let read = self.marks.iter().rfind(|mark| mark.folder == n).map(|mark| mark.after.clone());
                    read.or_else(|| self.folders[n].link.clone())
                }
            }
        };
        let links = (0..self.folders.len()).filter_map(|n| Some((self.folders[n].key.clone(), link(n)?))).collect();
        Position::Graph(GraphPosition { links })
    }

    fn prune(&self, _: &mut SeenUidls) {}

    /// Deletes messages in batches. One that is gone already is as good as deleted.
    async fn delete(&mut self, messages: &[RemoteId]) -> Result<(), DeliveryError> {
        let path = |remote: &RemoteId| match remote {
            RemoteId::Graph { id, .. } => Some((Method::DELETE, self.mailbox.path(&["messages", id]))),
            RemoteId::Imap { .. } | RemoteId::Pop3 { .. } => None,
        };
        let parts: Vec<Part> = messages.iter().filter_map(path).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let now = self.mailbox.now();
        let replies = self.mailbox.batch(&parts, &Self::prefer(), Stage::Fetch, now).await;
        for reply in replies.map_err(|failure| failure.into_error(Stage::Fetch))? {
            match reply {
                Ok(_) => {}
                Err(failure) if failure.is(&GONE_CODES) => {}
                Err(failure) => return Err(failure.into_error(Stage::Fetch)),
            }
        }
        Ok(())
    }

    fn requests(&self) -> u32 {
        self.mailbox.requests()
    }

    async fn close(self) -> Result<(), DeliveryError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_more_in_memory_than_in_the_store() {
        assert!(share(10_000_000) > 10_000_000 * 4 / 3);
        assert_eq!(share(u64::MAX), u64::MAX);
    }

    #[test]
    fn microsofts_samples_of_messages_are_read_without_loss() {
        let shelf = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/reference/contracts/graph-docs-samples.json");
        let Ok(text) = std::fs::read_to_string(shelf) else {
            println!("NOT RUN: Microsoft's samples are in ../shared, which is not beside this checkout");
            return;
        };
        let samples: Vec<Value> = serde_json::from_str(&text).unwrap();
        let mut read = 0;
        for sample in &samples {
            let url = sample["request"]["url"].as_str().unwrap_or_default();
            let body = &sample["response"]["body"];
            let of_mail =
                url.contains("/me/messages") || (url.contains("/me/mailFolders") && url.contains("/messages"));
            let many = body["value"].as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
            for message in many.iter().filter(|message| of_mail && message["id"].is_string()) {
                let listed = Listed::of(message, 0).unwrap();
                assert_eq!(Some(listed.id.as_str()), message["id"].as_str(), "{url}");
                assert_eq!(listed.received_at.is_some(), message["receivedDateTime"].is_string(), "{url}");
                read += 1;
            }
        }
        assert!(read >= 10, "{read} messages in {} samples", samples.len());
    }
}
