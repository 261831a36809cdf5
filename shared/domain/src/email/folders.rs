//! Folders that a server lists page by page, each page with a token under which its next changes are: what is to be read,
//! and from where the next run goes on.
//!
//! The next run lists a page again if some of its items are not done, so that a token never passes what is open. The items
//! that are done are remembered by their identifiers, so that a run gets on however little of a page it can do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::words::hex::hex_of_first;

/// Bytes of an item's fingerprint: long enough that two items of a page never share one.
const FINGERPRINT_BYTES: usize = 8;

/// Most items of open pages that are remembered as done.
const DONE_MAX: usize = 4_000;

/// How far folders have been read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reached {
    /// For each folder the token that asks for its next changes.
    #[serde(alias = "links", alias = "states")]
    pub tokens: BTreeMap<String, String>,
    /// Fingerprints of the items that are done, of pages that are not.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub done: BTreeSet<String>,
}

/// Something that a folder lists.
pub trait Item {
    /// Its identifier, which is the same when it is listed again.
    fn id(&self) -> &str;
}

fn fingerprint(id: &str) -> String {
    hex_of_first(FINGERPRINT_BYTES, &Sha256::digest(id.as_bytes()))
}

/// A page of a folder's listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What was added: the oldest first, where the server keeps that order.
    pub items: Vec<T>,
    /// The token that asks for the folder's next changes.
    pub token: String,
    /// Whether the server has no more for now.
    pub is_last: bool,
}

/// A folder and how far it has been read.
#[derive(Debug)]
struct Folder<T> {
    /// Its name or its identifier on the server.
    id: String,
    /// The key under which its token is remembered.
    key: String,
    token: Option<String>,
    /// A page that was read and not listed yet, without the items that earlier runs have done.
    page: Option<Page<T>>,
    /// The items that they have done.
    skipped: BTreeSet<String>,
    is_done: bool,
}

/// Which items a page had, and the folder's tokens before and after it.
#[derive(Debug)]
struct Mark {
    folder: usize,
    /// The number of its first item, and of the item that follows its last.
    start: usize,
    end: usize,
    /// Fingerprints of the items, in order, and of those that earlier runs have done.
    items: Vec<String>,
    skipped: BTreeSet<String>,
    before: Option<String>,
    after: String,
}

/// The folders of a mailbox, the first being its inbox.
#[derive(Debug)]
pub struct Folders<T> {
    folders: Vec<Folder<T>>,
    marks: Vec<Mark>,
    waiting: VecDeque<(usize, T)>,
    numbered: usize,
    /// The items that earlier runs have done, of pages that were not done.
    done: BTreeSet<String>,
}

impl<T> Default for Folders<T> {
    fn default() -> Self {
        Self { folders: Vec::new(), marks: Vec::new(), waiting: VecDeque::new(), numbered: 0, done: BTreeSet::new() }
    }
}

/// What stands between a folder's path and its identifier: no name has it in it.
const BETWEEN: char = '\n';

/// The key under which a folder's token is remembered: with its identifier, so that it need not be looked up again.
#[must_use]
pub fn key(path: &str, id: &str) -> String {
    format!("{path}{BETWEEN}{id}")
}

/// The identifier of a folder that was found before, and its token.
#[must_use]
pub fn known<'a>(tokens: &'a BTreeMap<String, String>, path: &str) -> Option<(&'a str, &'a str)> {
    tokens.iter().find_map(|(key, token)| Some((key.strip_prefix(path)?.strip_prefix(BETWEEN)?, token.as_str())))
}

impl<T: Item> Folders<T> {
    /// No folders yet, with the items that earlier runs have done of pages that were not done.
    #[must_use]
    pub fn after(done: BTreeSet<String>) -> Self {
        Self { done, ..Self::default() }
    }

    /// Adds a folder, which goes on at `token`, or begins.
    pub fn add(&mut self, id: &str, key: String, token: Option<&str>) {
        let token = token.map(str::to_owned);
        self.folders.push(Folder {
            id: id.to_owned(),
            key,
            token,
            page: None,
            skipped: BTreeSet::new(),
            is_done: false,
        });
    }

    /// How many folders there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.folders.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// The identifier of folder `n`.
    #[must_use]
    pub fn id(&self, n: usize) -> &str {
        self.folders.get(n).map_or("", |folder| &folder.id)
    }

    /// The token that folder `n` has reached; none before its first page.
    #[must_use]
    pub fn token(&self, n: usize) -> Option<&str> {
        self.folders.get(n)?.token.as_deref()
    }

    /// Gives folder `n` the page that its token asks for.
    pub fn put(&mut self, n: usize, mut page: Page<T>) {
        let mut skipped = BTreeSet::new();
        page.items.retain(|item| {
            let fingerprint = fingerprint(item.id());
            let is_done = self.done.contains(&fingerprint);
            if is_done {
                skipped.insert(fingerprint);
            }
            !is_done
        });
        if let Some(folder) = self.folders.get_mut(n) {
            (folder.page, folder.skipped) = (Some(page), skipped);
        }
    }

    /// Whether the page that folder `n` was given leads to where it was, though there is more.
    #[must_use]
    pub fn is_standing(&self, n: usize, before: Option<&str>) -> bool {
        let page = self.folders.get(n).and_then(|folder| folder.page.as_ref());
        page.is_some_and(|page| !page.is_last && before == Some(page.token.as_str()))
    }

    /// Begins folder `n` again: its token is not known any more.
    pub fn begin_again(&mut self, n: usize) {
        if let Some(folder) = self.folders.get_mut(n) {
            folder.token = None;
        }
    }

    /// Leaves folder `n` out of this run, and has it looked for again by the next: it is not there any more.
    pub fn leave_out(&mut self, n: usize) {
        if let Some(folder) = self.folders.get_mut(n) {
            (folder.token, folder.is_done) = (None, true);
        }
    }

    /// Whether the pages of all folders are empty and the last. If so they are done.
    pub fn is_quiet(&mut self) -> bool {
        let is_quiet = |folder: &Folder<T>| {
            folder.is_done || folder.page.as_ref().is_some_and(|page| page.is_last && page.items.is_empty())
        };
        let is_quiet = self.folders.iter().all(is_quiet);
        if is_quiet {
            (0..self.folders.len()).for_each(|n| self.list(n));
        }
        is_quiet
    }

    /// The folder whose next page is needed for there to be an item to read; `None` if there is one, or no more.
    pub fn wanted(&mut self) -> Option<usize> {
        while self.waiting.is_empty() {
            let (n, folder) = self.folders.iter().enumerate().find(|(_, folder)| !folder.is_done)?;
            if folder.page.is_none() {
                return Some(n);
            }
            self.list(n);
        }
        None
    }

    /// Items that are listed and not taken yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The next of them, with its number.
    pub fn take(&mut self) -> Option<(usize, T)> {
        self.waiting.pop_front()
    }

    /// Puts the item that was taken last back, to be taken again.
    pub fn put_back(&mut self, item: (usize, T)) {
        self.waiting.push_front(item);
    }

    /// How far the folders are read once item number `last` and everything before it is done. Without a number,
    /// everything that was listed is done.
    #[must_use]
    pub fn reached(&self, last: Option<usize>) -> Reached {
        let until = last.map_or(usize::MAX, |number| number + 1);
        let mut reached = Reached::default();
        for (n, folder) in self.folders.iter().enumerate() {
            let of_folder = || self.marks.iter().filter(|mark| mark.folder == n);
            let open = of_folder().find(|mark| mark.end > until);
            let token = match open {
                Some(open) => {
                    let done = until.saturating_sub(open.start);
                    let later = of_folder().filter(|mark| mark.end > until).flat_map(|mark| &mark.skipped);
                    reached.done.extend(open.items.iter().take(done).chain(later).cloned());
                    open.before.clone()
                }
                None => {
                    // What earlier runs have done of a page that was read and not listed stays done.
                    reached.done.extend(folder.skipped.iter().filter(|_| folder.page.is_some()).cloned());
                    of_folder().next_back().map(|mark| mark.after.clone()).or_else(|| folder.token.clone())
                }
            };
            if let Some(token) = token {
                reached.tokens.insert(folder.key.clone(), token);
            }
        }
        // Whatever the server's pages are, the row that this is kept in is not; less only means reading again.
        while reached.done.len() > DONE_MAX {
            reached.done.pop_first();
        }
        reached
    }

    /// Lists the page that a folder is at, and moves it to the next.
    fn list(&mut self, n: usize) {
        let Some(folder) = self.folders.get_mut(n) else { return };
        let Some(page) = folder.page.take() else { return };
        let (start, items) = (self.numbered, page.items.iter().map(|item| fingerprint(item.id())).collect());
        for item in page.items {
            self.waiting.push_back((self.numbered, item));
            self.numbered += 1;
        }
        let before = folder.token.replace(page.token.clone());
        folder.is_done = page.is_last;
        let (end, skipped) = (self.numbered, std::mem::take(&mut folder.skipped));
        self.marks.push(Mark { folder: n, start, end, items, skipped, before, after: page.token });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Item for &'static str {
        fn id(&self) -> &str {
            self
        }
    }

    type Listed = &'static str;

    fn page(items: &[Listed], token: &str, is_last: bool) -> Page<Listed> {
        Page { items: items.to_vec(), token: token.to_owned(), is_last }
    }

    fn two() -> Folders<Listed> {
        with_done(BTreeSet::new())
    }

    fn with_done(done: BTreeSet<String>) -> Folders<Listed> {
        let mut folders = Folders::after(done);
        folders.add("inbox", "inbox".to_owned(), Some("i0"));
        folders.add("id-1", key("Projects", "id-1"), None);
        folders
    }

    #[test]
    fn a_token_never_passes_an_item_that_is_open() {
        let mut folders = two();
        assert_eq!(folders.wanted(), Some(0));
        folders.put(0, page(&["a", "b"], "i1", true));
        folders.put(1, page(&["c"], "p1", true));
        assert!(!folders.is_quiet());
        assert_eq!((folders.wanted(), folders.waiting()), (None, 2));
        let tokens = |folders: &Folders<Listed>, last| folders.reached(last).tokens.into_values().collect::<Vec<_>>();
        assert_eq!(tokens(&folders, Some(0)), ["i0"], "the second item is open, and the second folder has not begun");
        assert_eq!((folders.take(), folders.take()), (Some((0, "a")), Some((1, "b"))));
        assert_eq!(folders.wanted(), None);
        assert_eq!(tokens(&folders, Some(1)), ["i1"]);
        assert_eq!(folders.take(), Some((2, "c")));
        assert_eq!((folders.wanted(), folders.take()), (None, None));
        assert_eq!(tokens(&folders, None), ["p1", "i1"]);
    }

    #[test]
    fn what_is_done_of_a_page_that_is_not_is_not_listed_again() {
        let read = |done: BTreeSet<String>| {
            let mut folders = with_done(done);
            folders.put(0, page(&["a", "b", "c"], "i1", true));
            folders.put(1, page(&["d"], "p1", true));
            assert_eq!(folders.wanted(), None);
            folders
        };
        let mut first = read(BTreeSet::new());
        assert_eq!(first.take(), Some((0, "a")));
        let reached = first.reached(Some(0));
        assert_eq!((reached.tokens["inbox"].as_str(), reached.done.len()), ("i0", 1));
        let mut second = read(reached.done);
        assert_eq!(second.take(), Some((0, "b")), "the first is done");
        let reached = second.reached(Some(0));
        assert_eq!((reached.tokens["inbox"].as_str(), reached.done.len()), ("i0", 2));
        let mut third = read(reached.done);
        assert_eq!(third.take(), Some((0, "c")));
        let reached = third.reached(Some(0));
        assert_eq!((reached.tokens["inbox"].as_str(), reached.done.len()), ("i1", 0), "the page is done");
        // What is done of a folder whose turn has not come stays so.
        let mut other = with_done([fingerprint("d")].into());
        other.put(0, page(&["a", "b"], "i1", true));
        other.put(1, page(&["d", "e"], "p1", true));
        assert_eq!((other.wanted(), other.take()), (None, Some((0, "a"))));
        assert_eq!(other.reached(Some(0)).done, [fingerprint("a"), fingerprint("d")].into());
    }

    #[test]
    fn a_page_of_which_everything_is_done_is_quiet() {
        let mut folders = with_done([fingerprint("a"), fingerprint("b")].into());
        folders.put(0, page(&["a", "b"], "i1", true));
        folders.put(1, page(&[], "p1", true));
        assert!(folders.is_quiet());
        let reached = folders.reached(None);
        assert_eq!((reached.tokens["inbox"].as_str(), reached.done.len()), ("i1", 0));
    }

    #[test]
    fn pages_without_items_are_passed_and_folders_that_are_gone_are_left_out() {
        let mut folders = two();
        folders.put(0, page(&[], "i1", false));
        folders.leave_out(1);
        assert!(!folders.is_quiet(), "there is another page");
        assert_eq!(folders.wanted(), Some(0));
        folders.put(0, page(&[], "i2", true));
        assert!(folders.is_quiet());
        assert_eq!(folders.reached(None).tokens, [("inbox".to_owned(), "i2".to_owned())].into());
    }

    #[test]
    fn a_folder_that_was_found_is_known_by_its_identifier() {
        let tokens = [(key("A", "x#=="), "t".to_owned()), (key("A#B", "y"), "u".to_owned())].into();
        assert_eq!(known(&tokens, "A"), Some(("x#==", "t")));
        assert_eq!(known(&tokens, "A#B"), Some(("y", "u")));
        assert_eq!(known(&tokens, "B"), None);
    }
}
