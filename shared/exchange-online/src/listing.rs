//! What is new in the folders of a mailbox, by delta query: page after page since each folder's link, and the links from
//! which the next run goes on.
//!
//! Source: Microsoft Graph, "message: delta". A message that is listed as removed is passed over: nothing here ever means
//! that a record should go.

use std::collections::{BTreeMap, VecDeque};

use chrono::DateTime;
use mailrail_domain::{
    Timestamp,
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
    position::{GraphPosition, Position},
};
use reqwest::Method;
use serde_json::Value;

use crate::{
    batch::Part,
    call::{Failure, IMMUTABLE_IDS, Mailbox, broken},
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
/// A message in the listing of a folder.
#[derive(Debug)]
pub(crate) struct Listed {
    pub number: usize,
    pub id: String,
    pub received_at: Option<Timestamp>,
    pub size: Option<u64>,
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

/// What is listed of a mailbox, and how far.
#[derive(Debug)]
pub(crate) struct Listing {
    mailbox: Mailbox,
    folders: Vec<Folder>,
    marks: Vec<Mark>,
    waiting: VecDeque<Listed>,
    numbered: usize,
}

impl Listing {
    /// Nothing yet.
    pub const fn new(mailbox: Mailbox) -> Self {
        Self { mailbox, folders: Vec::new(), marks: Vec::new(), waiting: VecDeque::new(), numbered: 0 }
    }

    /// Reads the page that the inbox and each tracked folder are at.
    pub async fn open(&mut self, tracked: &[String], position: Option<&Position>) -> Result<(), DeliveryError> {
        self.folders = self.folders(tracked, position).await?;
        let all: Vec<usize> = (0..self.folders.len()).collect();
        self.pages_of(&all).await
    }

    /// Whether those pages have nothing new and are the last. If so they are done.
    pub fn is_quiet(&mut self) -> bool {
        let is_quiet = |folder: &Folder| {
            let page = folder.page.as_ref();
            folder.is_done
                || page.is_some_and(|page| {
                    page.is_last && page.messages.iter().all(|message| !message["@removed"].is_null())
                })
        };
        let is_quiet = self.folders.iter().all(is_quiet);
        if is_quiet {
            (0..self.folders.len()).for_each(|n| self.list(n));
        }
        is_quiet
    }

    /// Messages that are listed and not taken yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The next of them.
    pub fn next(&mut self) -> Option<Listed> {
        self.waiting.pop_front()
    }

    /// Leaves a message for later that was taken last.
    pub fn put_back(&mut self, listed: Listed) {
        self.waiting.push_front(listed);
    }

    /// The links under which everything after the message of number `last` is listed; without one, everything after what
    /// was listed. A page of which some messages are not done is listed again; those that are done are recognized.
    pub fn position(&self, last: Option<usize>) -> GraphPosition {
        let done = last.map_or(usize::MAX, |number| number + 1);
        let link = |n: usize| {
            let mut of_folder = self.marks.iter().filter(|mark| mark.folder == n);
            match of_folder.find(|mark| mark.end > done) {
                Some(open) => open.before.clone(),
                None => {
                    let read = self.marks.iter().rfind(|mark| mark.folder == n).map(|mark| mark.after.clone());
                    read.or_else(|| self.folders[n].link.clone())
                }
            }
        };
        let links = (0..self.folders.len()).filter_map(|n| Some((self.folders[n].key.clone(), link(n)?)));
        GraphPosition { links: links.collect() }
    }

    /// The path of a folder's first page: only what was added, and only the fields that are needed.
    fn first_page(&self, folder: &str) -> String {
        let path = self.mailbox.path(&["mailFolders", folder, "messages", "delta"]);
        let size = format!("singleValueExtendedProperties($filter=id%20eq%20'{}')", SIZE_PROPERTY.replace(' ', "%20"));
        format!("{path}?changeType=created&$select=id,receivedDateTime&$expand={size}")
    }

    /// Reads the page that each folder is at: of one folder by itself, of several in a batch.
    async fn read_pages(&self, paths: &[String]) -> Result<Vec<Result<Page, Failure>>, Failure> {
        let page = |reply: Value| self.page(&reply);
        let page_size = format!("odata.maxpagesize={PAGE_MESSAGES}");
        if let [path] = paths {
            let request = self.mailbox.get(path).header("Prefer", page_size);
            let reply = self.mailbox.json(request, Stage::List).await;
            return Ok(vec![reply.and_then(page)]);
        }
        let parts: Vec<Part> = paths.iter().map(|path| (Method::GET, path.clone())).collect();
        let now = self.mailbox.now();
        let replies = self.mailbox.batch(&parts, &format!("{IMMUTABLE_IDS}, {page_size}"), Stage::List, now).await?;
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
    async fn folders(&self, tracked: &[String], position: Option<&Position>) -> Result<Vec<Folder>, DeliveryError> {
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
        for path in tracked {
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
    pub async fn read_on(&mut self) -> Result<(), DeliveryError> {
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
}

fn is_stale(failure: &Failure) -> bool {
    failure.has_status(410) || failure.is(&STALE_TOKEN_CODES)
}

#[cfg(test)]
mod tests {
    use super::*;

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
