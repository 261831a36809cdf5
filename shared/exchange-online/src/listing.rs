//! What is new in the folders of a mailbox, by delta query. It reads page after page from each folder's link, and keeps
//! the links from which the next run goes on.
//!
//! Source: Microsoft Graph, "message: delta". A message that is listed as removed is passed over, because nothing here
//! may ever remove a record.

use chrono::DateTime;
use mailrail_connect::{Failure, broken};
use mailrail_domain::{
    Timestamp,
    email::{
        folders::{Folders, Item, Page, Reached, key, known},
        position::Position,
    },
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use reqwest::Method;
use serde_json::Value;

use crate::{
    batch::Part,
    call::{IMMUTABLE_IDS, Mailbox},
    cause::{FOLDER_GONE_CODES, GONE_CODES, STALE_TOKEN_CODES},
};

/// The protocol whose positions and message names these are.
pub(crate) const PROTOCOL: &str = "graph";
/// The folder that is always read.
const INBOX: &str = "inbox";
/// Messages of one page of a delta query.
const PAGE_MESSAGES: usize = 50;
/// Most consecutive pages without a message in one run.
const EMPTY_PAGES_MAX: usize = 100;
/// The size of a message in the store (PidTagMessageSize), as Graph names properties.
const SIZE_PROPERTY: &str = "Integer 0xe08";
/// A message in the listing of a folder.
#[derive(Debug)]
pub(crate) struct Listed {
    pub id: String,
    pub received_at: Option<Timestamp>,
    pub size: Option<u64>,
}

impl Listed {
    /// A message from a listing. Its date and size are taken if they can be read.
    fn of(message: &Value) -> Option<Self> {
        let id = message["id"].as_str().filter(|id| !id.is_empty())?;
        let received = message["receivedDateTime"].as_str();
        let size = message.pointer("/singleValueExtendedProperties/0/value").and_then(Value::as_str);
        Some(Self {
            id: id.to_owned(),
            received_at: received.and_then(|at| DateTime::parse_from_rfc3339(at).ok()).map(|at| at.to_utc()),
            size: size.and_then(|size| size.parse().ok()),
        })
    }
}

impl Item for Listed {
    fn id(&self) -> &str {
        &self.id
    }
}

/// What has been listed in a mailbox, and how far.
#[derive(Debug)]
pub(crate) struct Listing {
    mailbox: Mailbox,
    pub folders: Folders<Listed>,
}

impl Listing {
    /// A listing that has read nothing yet.
    pub(crate) fn new(mailbox: Mailbox) -> Self {
        Self { mailbox, folders: Folders::default() }
    }

    /// Reads the current page of the inbox and of each tracked folder.
    pub(crate) async fn open(&mut self, tracked: &[String], position: Option<&Position>) -> Result<(), DeliveryError> {
        self.folders = self.find_folders(tracked, position).await?;
        let all: Vec<usize> = (0..self.folders.len()).collect();
        self.pages_of(&all).await
    }

    /// The path of a folder's first page: only what was added, and only the fields that are needed.
    fn first_page(&self, folder: &str) -> String {
        let path = self.mailbox.path(&["mailFolders", folder, "messages", "delta"]);
        let size = format!("singleValueExtendedProperties($filter=id%20eq%20'{}')", SIZE_PROPERTY.replace(' ', "%20"));
        format!("{path}?changeType=created&$select=id,receivedDateTime&$expand={size}")
    }

    /// Reads the current page of each folder: one folder with a request of its own, several folders in a batch.
    async fn read_pages(&self, paths: &[String]) -> Result<Vec<Result<Page<Listed>, Failure>>, Failure> {
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

    fn page(&self, reply: &Value) -> Result<Page<Listed>, Failure> {
        let messages = reply["value"].as_array();
        let messages = messages.ok_or_else(|| broken(Stage::List, "a page of a delta query has no list"))?;
        let (link, is_last) = match (reply["@odata.nextLink"].as_str(), reply["@odata.deltaLink"].as_str()) {
            (Some(next), _) => (next, false),
            (None, Some(delta)) => (delta, true),
            (None, None) => return Err(broken(Stage::List, "a page of a delta query has no link")),
        };
        let listed = |message: &Value| {
            let listed = Listed::of(message);
            if listed.is_none() {
                tracing::warn!("a message without identifier is listed, and cannot be read");
            }
            listed
        };
        let items = messages.iter().filter(|message| message["@removed"].is_null()).filter_map(listed).collect();
        Ok(Page { items, token: self.mailbox.path_of(link, Stage::List)?, is_last })
    }

    /// Reads the current pages of the folders. A folder whose link is not known any more begins again.
    async fn pages_of(&mut self, which: &[usize]) -> Result<(), DeliveryError> {
        let mut wanted: Vec<usize> = which.to_vec();
        for is_again in [false, true] {
            let path = |n: &usize| {
                let link = self.folders.token(*n).map(str::to_owned);
                link.unwrap_or_else(|| self.first_page(self.folders.id(*n)))
            };
            let paths: Vec<String> = wanted.iter().map(path).collect();
            if paths.is_empty() {
                return Ok(());
            }
            let replies = self.read_pages(&paths).await.map_err(|failure| failure.into_error(Stage::List))?;
            let mut stale = Vec::new();
            for (n, reply) in wanted.into_iter().zip(replies) {
                match reply {
                    Ok(page) => self.folders.put(n, page),
                    Err(failure) if !is_again && is_stale(&failure) && self.folders.token(n).is_some() => {
                        tracing::info!(folder = self.folders.id(n), "the delta link is not known any more");
                        self.folders.begin_again(n);
                        stale.push(n);
                    }
                    // Somebody deleted a tracked folder. This is not a failure of the mailbox. The next run looks for
                    // the folder by its name.
                    Err(failure) if n > 0 && (failure.is(&FOLDER_GONE_CODES) || failure.is(&GONE_CODES)) => {
                        self.folders.leave_out(n);
                    }
                    Err(failure) => return Err(failure.into_error(Stage::List)),
                }
            }
            wanted = stale;
        }
        Ok(())
    }

    /// The folders of the profile, each with its link if it was read before. A folder that the mailbox does not have is
    /// left out, because the profile is for many mailboxes.
    async fn find_folders(
        &self,
        tracked: &[String],
        position: Option<&Position>,
    ) -> Result<Folders<Listed>, DeliveryError> {
        let Reached { tokens: links, done } = position.and_then(|position| position.read(PROTOCOL)).unwrap_or_default();
        let mut folders = Folders::after(done);
        folders.add(INBOX, INBOX.to_owned(), links.get(INBOX).map(String::as_str));
        for path in tracked {
            if let Some((id, link)) = known(&links, path) {
                folders.add(id, key(path, id), Some(link));
            } else if let Some(id) = self.find_folder(path).await.map_err(|failure| failure.into_error(Stage::Open))? {
                folders.add(&id, key(path, &id), None);
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
            match found.pointer("/value/0/id").and_then(Value::as_str) {
                Some(id) => parent = id.to_owned(),
                None => return Ok(None),
            }
        }
        Ok(Some(parent))
    }

    /// Lists pages until there is a message to read, or nothing more.
    pub(crate) async fn read_on(&mut self) -> Result<(), DeliveryError> {
        for _ in 0..EMPTY_PAGES_MAX {
            let Some(n) = self.folders.wanted() else {
                return Ok(());
            };
            let before = self.folders.token(n).map(str::to_owned);
            self.pages_of(&[n]).await?;
            if self.folders.is_standing(n, before.as_deref()) {
                let words = "the server says that there is more, and gives the same link again";
                return Err(DeliveryError::new(Cause::ProtocolViolation, Evidence::new(Stage::List, words)));
            }
        }
        // None of these pages had a message. The next run goes on after them.
        tracing::info!("many pages in a row have no message");
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
                let listed = Listed::of(message).unwrap();
                assert_eq!(Some(listed.id.as_str()), message["id"].as_str(), "{url}");
                assert_eq!(listed.received_at.is_some(), message["receivedDateTime"].is_string(), "{url}");
                read += 1;
            }
        }
        assert!(read >= 10, "{read} messages in {} samples", samples.len());
    }
}
