//! Folders that a server lists page by page, each page with a token under which its next changes are: what is to be read,
//! and from where the next run goes on.
//!
//! A page of which some items are not done is listed again by the next run, which recognizes what is done, so that a
//! token never passes what is open.

use std::collections::{BTreeMap, VecDeque};

/// A page of a folder's listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What was added, oldest first as far as the server does so.
    pub items: Vec<T>,
    /// Under which the folder's next changes are.
    pub token: String,
    /// Whether the server has no more for now.
    pub is_last: bool,
}

/// A folder and how far it has been read.
#[derive(Debug)]
struct Folder<T> {
    /// Its name or its identifier on the server.
    id: String,
    /// Under which its token is remembered.
    key: String,
    token: Option<String>,
    /// A page that was read and not listed yet.
    page: Option<Page<T>>,
    is_done: bool,
}

/// Which items a page had, and the folder's tokens before and after it.
#[derive(Debug)]
struct Mark {
    folder: usize,
    end: usize,
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
}

impl<T> Default for Folders<T> {
    fn default() -> Self {
        Self { folders: Vec::new(), marks: Vec::new(), waiting: VecDeque::new(), numbered: 0 }
    }
}

/// The key under which a folder's token is remembered: with its identifier, so that it need not be looked up again.
#[must_use]
pub fn key(path: &str, id: &str) -> String {
    format!("{path}#{id}")
}

/// The identifier of a folder that was found before, and its token.
#[must_use]
pub fn known<'a>(tokens: &'a BTreeMap<String, String>, path: &str) -> Option<(&'a str, &'a str)> {
    tokens.iter().find_map(|(key, token)| Some((key.strip_prefix(path)?.strip_prefix('#')?, token.as_str())))
}

impl<T> Folders<T> {
    /// Adds a folder, which goes on at `token`, or begins.
    pub fn add(&mut self, id: &str, key: String, token: Option<&str>) {
        let token = token.map(str::to_owned);
        self.folders.push(Folder { id: id.to_owned(), key, token, page: None, is_done: false });
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
        &self.folders[n].id
    }

    /// The token at which folder `n` is; none before its first page.
    #[must_use]
    pub fn token(&self, n: usize) -> Option<&str> {
        self.folders[n].token.as_deref()
    }

    /// Gives folder `n` the page at which it is.
    pub fn put(&mut self, n: usize, page: Page<T>) {
        self.folders[n].page = Some(page);
    }

    /// Begins folder `n` again: its token is not known any more.
    pub fn begin_again(&mut self, n: usize) {
        self.folders[n].token = None;
    }

    /// Leaves folder `n` out of this run, and has it looked for again by the next: it is not there any more.
    pub fn leave_out(&mut self, n: usize) {
        (self.folders[n].token, self.folders[n].is_done) = (None, true);
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
            let n = self.folders.iter().position(|folder| !folder.is_done)?;
            if self.folders[n].page.is_none() {
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

    /// Leaves an item for later that was taken last.
    pub fn put_back(&mut self, item: (usize, T)) {
        self.waiting.push_front(item);
    }

    /// The tokens under which everything after item number `last` is listed; without one, everything after what was
    /// listed.
    #[must_use]
    pub fn tokens(&self, last: Option<usize>) -> BTreeMap<String, String> {
        let done = last.map_or(usize::MAX, |number| number + 1);
        let token = |n: usize| {
            let mut of_folder = self.marks.iter().filter(|mark| mark.folder == n);
            match of_folder.find(|mark| mark.end > done) {
                Some(open) => open.before.clone(),
                None => {
                    let read = self.marks.iter().rfind(|mark| mark.folder == n).map(|mark| mark.after.clone());
                    read.or_else(|| self.folders[n].token.clone())
                }
            }
        };
        (0..self.folders.len()).filter_map(|n| Some((self.folders[n].key.clone(), token(n)?))).collect()
    }

    /// Lists the page that a folder is at, and moves it to the next.
    fn list(&mut self, n: usize) {
        let Some(page) = self.folders[n].page.take() else {
            return;
        };
        for item in page.items {
            self.waiting.push_back((self.numbered, item));
            self.numbered += 1;
        }
        let folder = &mut self.folders[n];
        let before = folder.token.replace(page.token.clone());
        folder.is_done = page.is_last;
        self.marks.push(Mark { folder: n, end: self.numbered, before, after: page.token });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(items: &[u32], token: &str, is_last: bool) -> Page<u32> {
        Page { items: items.to_vec(), token: token.to_owned(), is_last }
    }

    fn two() -> Folders<u32> {
        let mut folders = Folders::default();
        folders.add("inbox", "inbox".to_owned(), Some("i0"));
        folders.add("id-1", key("Projects", "id-1"), None);
        folders
    }

    #[test]
    fn a_token_never_passes_an_item_that_is_open() {
        let mut folders = two();
        assert_eq!(folders.wanted(), Some(0));
        folders.put(0, page(&[10, 11], "i1", true));
        folders.put(1, page(&[20], "p1", true));
        assert!(!folders.is_quiet());
        assert_eq!((folders.wanted(), folders.waiting()), (None, 2));
        let tokens = |folders: &Folders<u32>, last| folders.tokens(last).into_values().collect::<Vec<_>>();
        assert_eq!(tokens(&folders, Some(0)), ["i0"], "the second item is open, and the second folder has not begun");
        assert_eq!((folders.take(), folders.take()), (Some((0, 10)), Some((1, 11))));
        assert_eq!(folders.wanted(), None);
        assert_eq!(tokens(&folders, Some(1)), ["i1"]);
        assert_eq!(folders.take(), Some((2, 20)));
        assert_eq!((folders.wanted(), folders.take()), (None, None));
        assert_eq!(tokens(&folders, None), ["p1", "i1"]);
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
        assert_eq!(folders.tokens(None), [("inbox".to_owned(), "i2".to_owned())].into());
    }

    #[test]
    fn a_folder_that_was_found_is_known_by_its_identifier() {
        let tokens = [(key("A", "x#=="), "t".to_owned())].into();
        assert_eq!(known(&tokens, "A"), Some(("x#==", "t")));
        assert_eq!(known(&tokens, "B"), None);
    }
}
