//! What a tenant of the test server holds: applications, mailboxes, folders, messages, and the log of changes that
//! delta queries read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mail_parser::{HeaderName, HeaderValue, MessageParser};
use serde_json::{Value, json};

/// A refusal that is to come: of the next requests whose path has `path` in it.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What the path has in it.
    pub path: String,
    /// How many such requests pass before it.
    pub after: usize,
    /// HTTP status.
    pub status: u16,
    /// Body, as it is sent; JSON or anything else.
    pub body: String,
    /// `Retry-After`, if it says so.
    pub retry_after: Option<String>,
    /// Whether the request takes effect all the same, and only its reply is the refusal.
    pub takes_effect: bool,
}

impl Fault {
    /// An error as Graph sends it, at the next request whose path has `path` in it.
    #[must_use]
    pub fn of(path: &str, status: u16, code: &str) -> Self {
        let body = json!({ "error": { "code": code, "message": format!("The server says {code}.") } }).to_string();
        Self { path: path.to_owned(), after: 0, status, body, retry_after: None, takes_effect: false }
    }
}

/// A message.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Its immutable identifier.
    pub id: String,
    /// The folder that it is in.
    pub folder: String,
    /// As MIME, with its attachments.
    pub mime: Vec<u8>,
    /// When it was received; text as it is sent, or nothing.
    pub received: Option<String>,
    /// Whether nothing of it has left.
    pub is_draft: bool,
    /// Attachments that were added to a draft.
    pub attachments: Vec<Value>,
}

/// What happened to a message in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Created,
    Updated,
    Removed,
}

/// A mailbox.
#[derive(Debug, Default)]
pub struct Mailbox {
    /// Folders by identifier: display name and parent.
    pub folders: BTreeMap<String, (String, String)>,
    /// Messages by immutable identifier.
    pub messages: BTreeMap<String, Message>,
    /// What happened, in order: folder, message, change.
    pub(super) log: Vec<(String, String, Change)>,
    /// Delta tokens of an earlier generation are not known any more.
    pub generation: u32,
    /// Whether it has no licence.
    pub is_disabled: bool,
    pub(super) in_flight: usize,
    /// Most requests that were under way at once.
    pub in_flight_most: usize,
    /// Requests so far.
    pub requests: usize,
    next: usize,
}

/// Well-known folders.
const WELL_KNOWN: [&str; 5] = ["inbox", "drafts", "outbox", "sentitems", "deleteditems"];

impl Mailbox {
    /// An empty mailbox with its well-known folders.
    #[must_use]
    pub fn with_folders() -> Self {
        let folders = WELL_KNOWN.map(|name| (name.to_owned(), (name.to_owned(), "root".to_owned())));
        Self { folders: folders.into(), ..Self::default() }
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    /// Makes a folder below another.
    pub fn add_folder(&mut self, name: &str, parent: &str) -> String {
        let id = format!("AAkAFolder{}=", self.number());
        self.folders.insert(id.clone(), (name.to_owned(), parent.to_owned()));
        id
    }

    /// Puts a message into a folder, as mail that came in.
    pub fn deliver(&mut self, folder: &str, mime: &[u8], received: Option<String>) -> String {
        let message = Message { mime: mime.to_vec(), received, ..Message::default() };
        self.insert(folder, message)
    }

    pub(super) fn insert(&mut self, folder: &str, message: Message) -> String {
        let id = format!("AAkALg-{:05}_A==", self.number());
        self.log.push((folder.to_owned(), id.clone(), Change::Created));
        self.messages.insert(id.clone(), Message { id: id.clone(), folder: folder.to_owned(), ..message });
        id
    }

    /// Moves a message, whose immutable identifier stays.
    pub fn move_to(&mut self, id: &str, folder: &str) {
        if let Some(message) = self.messages.get_mut(id) {
            self.log.push((message.folder.clone(), id.to_owned(), Change::Removed));
            self.log.push((folder.to_owned(), id.to_owned(), Change::Created));
            message.folder = folder.to_owned();
        }
    }

    /// Marks a message as read, which delta queries list as a change.
    pub fn touch(&mut self, id: &str) {
        if let Some(message) = self.messages.get(id) {
            self.log.push((message.folder.clone(), id.to_owned(), Change::Updated));
        }
    }

    /// Deletes a message.
    pub fn delete(&mut self, id: &str) -> bool {
        let Some(message) = self.messages.remove(id) else {
            return false;
        };
        self.log.push((message.folder, id.to_owned(), Change::Removed));
        true
    }

    /// The messages of a folder, oldest first.
    #[must_use]
    pub fn of_folder(&self, folder: &str) -> Vec<&Message> {
        self.messages.values().filter(|message| message.folder == folder).collect()
    }

    /// The immutable identifier behind either kind of identifier.
    pub(super) fn resolve(&self, id: &str) -> Option<String> {
        if self.messages.contains_key(id) {
            return Some(id.to_owned());
        }
        let (immutable, folder) = id.strip_prefix("AAMk")?.rsplit_once('!')?;
        self.messages.get(immutable).filter(|message| message.folder == folder).map(|message| message.id.clone())
    }
}

impl Message {
    /// The identifier as a client asks for it: one that does not change, or one of the folder that it is in.
    pub(super) fn name(&self, is_immutable: bool) -> String {
        if is_immutable { self.id.clone() } else { format!("AAMk{}!{}", self.id, self.folder) }
    }

    /// Its Message-ID, with angle brackets.
    pub(super) fn message_id(&self) -> Option<String> {
        let parsed = MessageParser::default().parse_headers(&self.mime)?;
        parsed.message_id().map(|id| format!("<{id}>"))
    }

    /// Its recipients, from its fields.
    #[must_use]
    pub fn recipients(&self) -> Vec<String> {
        let parsed = MessageParser::default().parse_headers(&self.mime);
        let lists = [HeaderName::To, HeaderName::Cc, HeaderName::Bcc];
        let lists =
            lists.into_iter().filter_map(|name| parsed.as_ref()?.header(name)).filter_map(HeaderValue::as_address);
        lists.flat_map(|list| list.iter()).filter_map(|addr| addr.address().map(str::to_lowercase)).collect()
    }

    /// Its MIME with the attachments that were added to the draft.
    pub(super) fn composed(&self) -> Vec<u8> {
        if self.attachments.is_empty() {
            return self.mime.clone();
        }
        let text = String::from_utf8_lossy(&self.mime);
        let (header, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let (mut outer, mut inner, mut is_inner) = (String::new(), String::new(), false);
        for line in header.split("\r\n") {
            if !line.starts_with([' ', '\t']) {
                let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
                is_inner = name.starts_with("content-");
                if name == "mime-version" {
                    continue;
                }
            }
            let half = if is_inner { &mut inner } else { &mut outer };
            half.push_str(line);
            half.push_str("\r\n");
        }
        let boundary = "attached-to-the-draft";
        let mut whole = format!(
            "{outer}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\n{inner}\r\n{body}\r\n"
        );
        for attachment in &self.attachments {
            let text = |name: &str| attachment[name].as_str().unwrap_or_default();
            let content = text("contentBytes").as_bytes().chunks(76).map(String::from_utf8_lossy);
            whole.push_str(&format!(
                "--{boundary}\r\nContent-Type: {}\r\nContent-Disposition: attachment; filename=\"{}\"\r\n\
                 Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
                text("contentType"),
                text("name"),
                content.collect::<Vec<_>>().join("\r\n")
            ));
        }
        whole.push_str(&format!("--{boundary}--\r\n"));
        whole.into_bytes()
    }
}

/// An application of the tenant.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// Its client secret, if it has one.
    pub secret: Option<String>,
    /// Its certificate as DER, and the public key of it (RFC 8017 `RSAPublicKey`), if it has one.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
    /// What it was granted, such as `Mail.ReadWrite`.
    pub roles: Vec<String>,
    /// Mailboxes that it is narrowed to, if it is.
    pub scope: Option<Vec<String>>,
}

/// A tenant with everything in it.
#[derive(Debug, Default)]
pub struct Tenant {
    /// Its identifier.
    pub id: String,
    /// Where clients reach the server, if that is elsewhere than it is: behind a proxy.
    pub behind: Option<String>,
    /// Where attachments are uploaded to, if that is elsewhere than Graph, as it is with Microsoft.
    pub uploads_at: Option<String>,
    /// Resources besides Microsoft Graph for which tokens are given out, as origins.
    pub resources: BTreeSet<String>,
    /// Applications by identifier.
    pub applications: BTreeMap<String, Registration>,
    /// Mailboxes by address, in lower case.
    pub mailboxes: BTreeMap<String, Mailbox>,
    /// Refusals that are to come.
    pub faults: VecDeque<Fault>,
    /// Tokens that were given out: application.
    pub tokens: BTreeMap<String, String>,
    /// How often somebody signed in.
    pub sign_ins: usize,
    /// Seconds for which a token holds.
    pub token_seconds: u64,
    /// Upload sessions: mailbox, message, announced attachment, bytes so far.
    pub uploads: BTreeMap<String, (String, String, Value, Vec<u8>)>,
    /// Of so many requests one is refused as throttled, with this `Retry-After`; 0 for none.
    pub throttle_each: (usize, u32),
    /// Requests for mailboxes so far.
    pub seen: usize,
    /// What clients asked for: method and path.
    pub calls: Vec<(String, String)>,
}

impl Tenant {
    /// The mailbox of an address.
    pub fn mailbox(&mut self, address: &str) -> &mut Mailbox {
        self.mailboxes.entry(address.to_lowercase()).or_insert_with(Mailbox::with_folders)
    }

    /// Sends a draft: into Sent Items, and to those of its recipients who have a mailbox here.
    pub(super) fn send(&mut self, from: &str, id: &str, received: String) -> bool {
        let Some(mut message) = self.mailbox(from).messages.get(id).filter(|message| message.is_draft).cloned() else {
            return false;
        };
        message.mime = message.composed();
        let recipients = message.recipients();
        // Even an immutable identifier changes when a draft is sent (Microsoft Graph, "Immutable identifiers").
        let mailbox = self.mailbox(from);
        mailbox.delete(id);
        let sent = Message { mime: message.mime.clone(), received: Some(received.clone()), ..Message::default() };
        mailbox.insert("sentitems", sent);
        for recipient in recipients {
            if let Some(inbox) = self.mailboxes.get_mut(&recipient) {
                inbox.deliver("inbox", &without_blind_copies(&message.mime), Some(received.clone()));
            }
        }
        true
    }
}

/// What others than the sender see.
fn without_blind_copies(mime: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(mime);
    let Some(rest) = text.strip_prefix("Bcc:") else {
        return mime.to_vec();
    };
    // The field and the lines that go on with it.
    let end = rest.split_inclusive("\r\n").scan(true, |first, line| {
        let belongs = std::mem::take(first) || line.starts_with(' ');
        belongs.then_some(line.len())
    });
    rest.as_bytes()[end.sum::<usize>()..].to_vec()
}
