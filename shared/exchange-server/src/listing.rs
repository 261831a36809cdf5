//! What is new in the folders of a mailbox, by synchronization: it reads page after page from each folder's state.
//!
//! Source: EWS reference, "SyncFolderItems operation"; "Mailbox synchronization and EWS in Exchange". Changes, removals
//! and flags are passed over, because nothing here may ever remove a record.

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
        evidence::Stage,
    },
};

use crate::{
    call::{INBOX, Mailbox, one},
    cause::{FOLDER_GONE_CODES, GONE_CODES, STALE_STATE_CODES, UNSEEN_CODES},
    request::{FolderRef, sync_folder_items},
    xml::Element,
};

/// The protocol whose positions and message names these are.
pub(crate) const PROTOCOL: &str = "ews";
/// Changes of one page (EWS reference: at most 512).
const PAGE_CHANGES: usize = 512;
/// Codes of servers that were seen to fail over a large page, and not over a small one.
const LARGE_PAGE_CODES: [&str; 2] = ["ErrorInternalServerError", "ErrorTimeoutExpired"];
/// The same, where the server fails over so many.
const SMALL_PAGE_CHANGES: usize = 32;
/// Most consecutive pages without a message in one run: fifty thousand changes of flags.
const EMPTY_PAGES_MAX: usize = 100;
/// Most bytes of the states of a mailbox, all folders together. They are kept in a row of the table, which holds 400
/// KB.
const STATE_BYTES_MAX: usize = 256 * 1024;

/// A message in the listing of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub id: String,
    pub received_at: Option<Timestamp>,
    pub size: Option<u64>,
}

impl Listed {
    /// An item of any kind from a change. Its date and size are taken if they can be read.
    fn of(item: &Element) -> Option<Self> {
        let id = item.child("ItemId")?.attribute("Id").filter(|id| !id.is_empty())?;
        // Fractions of a second of any length are RFC 3339 too.
        let received = item.text_at(&["DateTimeReceived"]).and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        Some(Self {
            id: id.to_owned(),
            received_at: received.map(|at| at.to_utc()),
            size: item.text_at(&["Size"]).and_then(|size| size.parse().ok()),
        })
    }
}

impl Item for Listed {
    fn id(&self) -> &str {
        &self.id
    }
}

/// What has been listed in a mailbox, and how far.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub folders: Folders<Listed>,
}

impl Listing {
    /// Reads the current page of the inbox and of each tracked folder.
    pub(crate) async fn open(
        &mut self,
        mailbox: &mut Mailbox,
        tracked: &[String],
        position: Option<&Position>,
    ) -> Result<(), DeliveryError> {
        self.folders = find_folders(mailbox, tracked, position).await?;
        for n in 0..self.folders.len() {
            self.read_page(mailbox, n).await?;
        }
        Ok(())
    }

    /// Lists pages until there is a message to read, or nothing more.
    pub(crate) async fn read_on(&mut self, mailbox: &mut Mailbox) -> Result<(), DeliveryError> {
        for _ in 0..EMPTY_PAGES_MAX {
            let Some(n) = self.folders.wanted() else {
                return Ok(());
            };
            self.read_page(mailbox, n).await?;
        }
        // None of these pages had a message. The next run goes on after them.
        tracing::info!("many pages in a row have no message");
        Ok(())
    }

    /// Reads the current page of a folder. If the folder's state is not known any more, the folder begins again.
    async fn read_page(&mut self, mailbox: &mut Mailbox, n: usize) -> Result<(), DeliveryError> {
        let folder = match self.folders.id(n) {
            INBOX => mailbox.known(INBOX),
            id => FolderRef::Id(id.to_owned()),
        };
        let mut result = self.page(mailbox, n, &folder, PAGE_CHANGES).await;
        if let Err(failure) = &result
            && failure.is(&LARGE_PAGE_CODES)
        {
            result = self.page(mailbox, n, &folder, SMALL_PAGE_CHANGES).await;
        }
        if let Err(failure) = &result
            && failure.is(&STALE_STATE_CODES)
            && self.folders.token(n).is_some()
        {
            tracing::info!("a synchronization state is not known any more");
            self.folders.begin_again(n);
            result = self.page(mailbox, n, &folder, PAGE_CHANGES).await;
        }
        match result {
            Ok(page) => {
                let before = self.folders.token(n).map(str::to_owned);
                self.folders.put(n, page);
                if self.folders.is_standing(n, before.as_deref()) {
                    let words = "the server says that there is more, and gives the same state again";
                    return Err(broken(Stage::List, words).into_error(Stage::List));
                }
            }
            // Where a delegate may not see a folder, the server says that it is not there. Whoever signs in for himself
            // has an inbox, so that the account is another's.
            Err(failure)
                if n == 0 && (failure.is(&GONE_CODES) || (mailbox.is_delegate() && failure.is(&UNSEEN_CODES))) =>
            {
                let evidence = failure.evidence(Stage::Open);
                return Err(DeliveryError::new(Cause::AccessDenied, evidence));
            }
            // Somebody deleted a tracked folder. This is not a failure of the mailbox. The next run looks for the
            // folder by its name.
            Err(failure)
                if n > 0
                    && (failure.is(&FOLDER_GONE_CODES) || (mailbox.is_delegate() && failure.is(&UNSEEN_CODES))) =>
            {
                self.folders.leave_out(n);
            }
            Err(failure) => return Err(failure.into_error(Stage::List)),
        }
        Ok(())
    }

    async fn page(
        &self,
        mailbox: &mut Mailbox,
        n: usize,
        folder: &FolderRef,
        changes_max: usize,
    ) -> Result<Page<Listed>, Failure> {
        let state = self.folders.token(n);
        let asked = sync_folder_items(folder, state, changes_max);
        let answer = one(mailbox.ask(&asked, Stage::List).await?, Stage::List)?;
        let page = of_changes(&answer.done().map_err(Failure::Refused)?)?;
        let others = self.folders.reached(None).tokens.values().map(String::len).sum::<usize>();
        if others - state.map_or(0, str::len).min(others) + page.token.len() > STATE_BYTES_MAX {
            return Err(broken(
                Stage::List,
                "the server's synchronization states are longer than any that can be kept",
            ));
        }
        Ok(page)
    }
}

/// A page as a response message has it.
fn of_changes(message: &Element) -> Result<Page<Listed>, Failure> {
    let state = message.text_at(&["SyncState"]);
    let state = state.ok_or_else(|| broken(Stage::List, "a page of a synchronization has no state"))?;
    let is_last = match message.text_at(&["IncludesLastItemInRange"]) {
        Some("true" | "1") => true,
        Some("false" | "0") => false,
        Some(_) | None => {
            return Err(broken(Stage::List, "a page of a synchronization does not say whether it is the last"));
        }
    };
    let created = message.child("Changes").into_iter().flat_map(|changes| changes.all("Create"));
    let listed = |created: &Element| {
        let listed = created.children.first().and_then(Listed::of);
        if listed.is_none() {
            tracing::warn!("an item without identifier is listed, and cannot be read");
        }
        listed
    };
    Ok(Page { items: created.filter_map(listed).collect(), token: state.to_owned(), is_last })
}

/// The folders of the profile, each with its state if it was read before. A folder that the mailbox does not have is
/// left out, because the profile is for many mailboxes.
async fn find_folders(
    mailbox: &mut Mailbox,
    tracked: &[String],
    position: Option<&Position>,
) -> Result<Folders<Listed>, DeliveryError> {
    let Reached { tokens: states, done } = position.and_then(|position| position.read(PROTOCOL)).unwrap_or_default();
    let mut folders = Folders::after(done);
    folders.add(INBOX, INBOX.to_owned(), states.get(INBOX).map(String::as_str));
    for path in tracked {
        if let Some((id, state)) = known(&states, path) {
            folders.add(id, key(path, id), Some(state));
        } else if let Some(id) = find_folder(mailbox, path).await.map_err(|failure| failure.into_error(Stage::Open))? {
            folders.add(&id, key(path, &id), None);
        }
    }
    Ok(folders)
}

/// The identifier of a folder below the inbox.
async fn find_folder(mailbox: &mut Mailbox, path: &str) -> Result<Option<String>, Failure> {
    let mut parent = mailbox.known(INBOX);
    let mut found = None;
    for name in path.split('/') {
        let Some(id) = mailbox.child_folder(&parent, name).await? else {
            return Ok(None);
        };
        parent = FolderRef::Id(id.clone());
        found = Some(id);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(name: &str, text: &str, children: Vec<Element>) -> Element {
        Element { name: name.to_owned(), text: text.to_owned(), attributes: vec![], children }
    }

    fn item(kind: &str, id: &str, received: &str) -> Element {
        let attributes = vec![("Id".to_owned(), id.to_owned())];
        let id = Element { name: "ItemId".to_owned(), attributes, ..Element::default() };
        element(kind, "", vec![id, element("Size", "17", vec![]), element("DateTimeReceived", received, vec![])])
    }

    #[test]
    fn items_of_every_kind_are_listed_and_other_changes_are_passed_over() {
        let created = ["Message", "MeetingRequest", "Item", "SomethingOfTomorrow"]
            .map(|kind| element("Create", "", vec![item(kind, kind, "2026-01-02T03:04:05.1234567Z")]));
        let mut changes = created.to_vec();
        changes.push(element("Update", "", vec![item("Message", "u", "")]));
        changes.push(element("Delete", "", vec![]));
        changes.push(element("Create", "", vec![]));
        let message = element(
            "m",
            "",
            vec![
                element("SyncState", " s1 ", vec![]),
                element("IncludesLastItemInRange", "true", vec![]),
                element("Changes", "", changes),
            ],
        );
        let page = of_changes(&message).unwrap();
        assert_eq!((page.items.len(), page.token.as_str(), page.is_last), (4, "s1", true));
        assert_eq!(page.items[0].received_at.map(|at| at.timestamp_subsec_micros()), Some(123_456));
        assert_eq!(page.items[0].size, Some(17));
    }

    #[test]
    fn a_page_that_leaves_out_what_matters_is_refused() {
        let last = || element("IncludesLastItemInRange", "true", vec![]);
        let state = || element("SyncState", "s", vec![]);
        assert!(of_changes(&element("m", "", vec![state(), last()])).is_ok(), "no changes");
        assert!(of_changes(&element("m", "", vec![last()])).is_err());
        assert!(of_changes(&element("m", "", vec![state()])).is_err());
        assert!(of_changes(&element("m", "", vec![state(), element("IncludesLastItemInRange", "x", vec![])])).is_err());
    }

    #[test]
    fn a_date_is_taken_if_it_can_be_read() {
        for (text, is_read) in [
            ("2026-01-02T03:04:05Z", true),
            ("2026-01-02T03:04:05.1Z", true),
            ("2026-01-02T03:04:05.123456789012Z", true),
            ("2026-01-02T03:04:05+02:00", true),
            ("2026-01-02", false),
            ("yesterday", false),
        ] {
            assert_eq!(Listed::of(&item("Message", "x", text)).unwrap().received_at.is_some(), is_read, "{text}");
        }
        assert_eq!(Listed::of(&item("Message", "", "")), None);
    }
}
