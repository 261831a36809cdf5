//! What the test server's organization holds: accounts, mailboxes, folders, messages, and the log of changes that
//! synchronization reads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base64::{Engine, engine::general_purpose::STANDARD};
use mail_parser::MessageParser;
use mailrail_domain::Timestamp;

/// An account of the directory.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Its password.
    pub password: String,
    /// The address of its mailbox, if it has one.
    pub address: Option<String>,
    /// Whether it has the role ApplicationImpersonation.
    pub may_impersonate: bool,
}

/// What a place of Autodiscover says.
#[derive(Debug, Clone)]
pub enum Place {
    /// Where the web services are.
    Location(String),
    /// Ask for this address.
    Address(String),
    /// Ask there.
    Url(String),
    /// An HTTP status, and where it leads to.
    Http(u16, Option<String>),
    /// Something that is no answer, as it is.
    Body(String),
}

/// What is said instead of an answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// An HTTP status with a body of this media type, and with these headers.
    Http(u16, &'static str, String, Vec<(&'static str, String)>),
    /// A SOAP fault with this code, and how long to stay away.
    Fault(&'static str, Option<u64>),
    /// The part of this number of the reply says so.
    Part(usize, &'static str, Option<u64>),
    /// The same, and the parts behind it warn that they were not processed.
    Stopped(usize, &'static str),
}

/// Something that is to go wrong.
#[derive(Debug, Clone)]
pub struct Fault {
    /// At this operation.
    pub operation: &'static str,
    /// How many such requests pass before it.
    pub after: usize,
    /// What is said.
    pub answer: Answer,
    /// Whether the request takes effect all the same.
    pub takes_effect: bool,
}

impl Fault {
    /// This answer at the next request of an operation, which takes no effect.
    #[must_use]
    pub const fn of(operation: &'static str, answer: Answer) -> Self {
        Self { operation, after: 0, answer, takes_effect: false }
    }
}

/// A request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its operation.
    pub operation: String,
    /// Who signed in.
    pub account: String,
    /// Whose rights were taken.
    pub impersonated: Option<String>,
    /// Its header `X-AnchorMailbox`.
    pub anchor: Option<String>,
    /// The document.
    pub body: String,
}

/// An email that left.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The account that sent it.
    pub account: String,
    /// Its sender.
    pub from: String,
    /// To whom.
    pub recipients: BTreeSet<String>,
}

/// What kind of item a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// An email.
    #[default]
    Message,
    /// A request for a meeting.
    MeetingRequest,
    /// A report on delivery.
    Report,
    /// One that only a later version knows.
    Other,
    /// An email whose content the server cannot give.
    Unconvertible,
    /// An email that the server gives without its content.
    Empty,
    /// An email at which the server fails, whenever it is asked for.
    Failing,
}

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its number in the mailbox.
    pub number: usize,
    /// The folder that it is in.
    pub folder: String,
    /// As MIME.
    pub mime: Vec<u8>,
    /// When it was received.
    pub received: Timestamp,
    /// What it is.
    pub kind: Kind,
}

impl Message {
    /// Its Message-ID with angle brackets.
    #[must_use]
    pub fn message_id(&self) -> Option<String> {
        let parsed = MessageParser::default().parse_headers(&self.mime)?;
        parsed.message_id().map(|id| format!("<{id}>"))
    }

    /// Its subject.
    #[must_use]
    pub fn subject(&self) -> String {
        let parsed = MessageParser::default().parse_headers(&self.mime);
        parsed.and_then(|parsed| parsed.subject().map(str::to_owned)).unwrap_or_default()
    }
}

/// What happened to a message in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Created,
    Updated,
    Deleted,
}

/// A mailbox.
#[derive(Debug, Default)]
pub struct Mailbox {
    /// Folders by key: display name and parent.
    pub folders: BTreeMap<String, (String, String)>,
    /// Messages by number, which changes when one is moved.
    pub messages: BTreeMap<usize, Message>,
    pub(super) log: Vec<(String, usize, Change)>,
    /// Synchronization states of an earlier generation are not known any more.
    pub generation: u32,
    /// Accounts that have full access.
    pub full_access: BTreeSet<String>,
    /// Addresses that its own user may send as, besides its own.
    pub may_send_as: BTreeSet<String>,
    /// Accounts that may send as it.
    pub send_as: BTreeSet<String>,
    /// Accounts that may send on its behalf, which recipients see.
    pub send_on_behalf: BTreeSet<String>,
    next: usize,
}

/// Folders that every mailbox has, with the name that people see and the folder above.
const KNOWN: [(&str, &str, &str); 7] = [
    ("root", "", ""),
    ("msgfolderroot", "Top of Information Store", "root"),
    ("inbox", "Inbox", "msgfolderroot"),
    ("sentitems", "Sent Items", "msgfolderroot"),
    ("drafts", "Drafts", "msgfolderroot"),
    ("outbox", "Outbox", "msgfolderroot"),
    ("deleteditems", "Deleted Items", "msgfolderroot"),
];

impl Mailbox {
    fn with_folders() -> Self {
        let folders = KNOWN.map(|(key, name, parent)| (key.to_owned(), (name.to_owned(), parent.to_owned())));
        Self { folders: folders.into(), ..Self::default() }
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    /// Makes a folder below another and gives its key.
    pub fn add_folder(&mut self, name: &str, parent: &str) -> String {
        let key = format!("folder/{}+", self.number());
        self.folders.insert(key.clone(), (name.to_owned(), parent.to_owned()));
        key
    }

    /// The key of a folder by the name that people see.
    #[must_use]
    pub fn folder_named(&self, name: &str) -> Option<String> {
        self.folders.iter().find(|(_, (known, _))| known == name).map(|(key, _)| key.clone())
    }

    /// Puts a message into a folder and gives its number.
    pub fn deliver(&mut self, folder: &str, mime: &[u8], received: Timestamp) -> usize {
        let number = self.number();
        let message = Message { number, folder: folder.to_owned(), mime: mime.to_vec(), received, kind: Kind::Message };
        self.messages.insert(number, message);
        self.log.push((folder.to_owned(), number, Change::Created));
        number
    }

    /// Changes a message's flags.
    pub fn touch(&mut self, number: usize) {
        if let Some(message) = self.messages.get(&number) {
            self.log.push((message.folder.clone(), number, Change::Updated));
        }
    }

    /// Removes a message.
    pub fn delete(&mut self, number: usize) -> Option<Message> {
        let message = self.messages.remove(&number)?;
        self.log.push((message.folder.clone(), number, Change::Deleted));
        Some(message)
    }

    /// Moves a message, whose number changes.
    pub fn move_to(&mut self, number: usize, folder: &str) -> Option<usize> {
        let message = self.delete(number)?;
        let moved = self.deliver(folder, &message.mime, message.received);
        self.messages.get_mut(&moved)?.kind = message.kind;
        Some(moved)
    }

    /// The messages of a folder, oldest first.
    #[must_use]
    pub fn of_folder(&self, folder: &str) -> Vec<&Message> {
        self.messages.values().filter(|message| message.folder == folder).collect()
    }
}

/// The organization.
#[derive(Debug)]
pub struct Exchange {
    /// Accounts by user name, in lower case.
    pub accounts: BTreeMap<String, Account>,
    /// Mailboxes by address, in lower case.
    pub mailboxes: BTreeMap<String, Mailbox>,
    /// The ways to sign in that are offered.
    pub offers: Vec<&'static str>,
    /// The server's version: major, minor, build; none if replies have no header.
    pub version: Option<(u32, u32, u32)>,
    /// Places of Autodiscover by host and by `svc` or `xml`.
    pub places: BTreeMap<(String, &'static str), Place>,
    /// Where hosts lead to that are asked without TLS.
    pub redirections: BTreeMap<String, String>,
    /// What is to go wrong.
    pub faults: VecDeque<Fault>,
    /// Requests so far.
    pub calls: Vec<Call>,
    /// What left.
    pub sent: Vec<Sent>,
    /// Whether content differs in bytes each time that it is given, as it is made anew from the store.
    pub remakes_mime: bool,
    /// Whether times have fractions of a second, of whatever length.
    pub has_fractions: bool,
    /// Whether a message that is sent waits among the drafts, because transport is down.
    pub holds_sent: bool,
    /// Requests larger than this end the connection.
    pub closes_after_bytes: usize,
    /// Most changes of a page, whatever is asked for.
    pub page_changes: usize,
    /// Requests to Autodiscover so far: host, page, and whether credentials came with it.
    pub asked: Vec<(String, String, bool)>,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            accounts: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            offers: vec!["Basic"],
            version: Some((15, 2, 1544)),
            places: BTreeMap::new(),
            redirections: BTreeMap::new(),
            faults: VecDeque::new(),
            calls: Vec::new(),
            sent: Vec::new(),
            remakes_mime: false,
            has_fractions: false,
            holds_sent: false,
            closes_after_bytes: usize::MAX,
            page_changes: 512,
            asked: Vec::new(),
        }
    }
}

impl Exchange {
    /// The mailbox of this address, made if there is none.
    pub fn mailbox(&mut self, address: &str) -> &mut Mailbox {
        self.mailboxes.entry(address.to_ascii_lowercase()).or_insert_with(Mailbox::with_folders)
    }

    /// How often an operation was asked for.
    #[must_use]
    pub fn count(&self, operation: &str) -> usize {
        self.calls.iter().filter(|call| call.operation == operation).count()
    }

    /// The account of a user name and a password, as Basic has them.
    pub(super) fn by_password(&self, pair: &str) -> Option<String> {
        let pair = String::from_utf8(STANDARD.decode(pair).ok()?).ok()?;
        let (name, password) = pair.split_once(':')?;
        let name = name.to_ascii_lowercase();
        self.accounts.get(&name).filter(|account| account.password == password).map(|_| name)
    }

    /// The fault that is due at an operation.
    pub(super) fn due(&mut self, operation: &str) -> Option<Fault> {
        let found = self.faults.iter_mut().position(|fault| {
            let is_meant = fault.operation == operation;
            let is_due = is_meant && fault.after == 0;
            fault.after -= usize::from(is_meant && !is_due);
            is_due
        })?;
        self.faults.remove(found)
    }
}
