//! One signed-in IMAP session over the inbox.
//!
//! An idle check is three round trips and the goodbye: greeting, sign-in, STATUS. New messages take three more:
//! SELECT with SEARCH, the sizes of a page, the page itself.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use chrono::DateTime;
use mailrail_connect::Connector;
use mailrail_domain::{
    Timestamp,
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
    position::{FolderState, ImapPlan, ImapPosition, Position, plan_imap},
    profile::{Authentication, Security, ServerLocation},
    retry::Pace,
};
use mailrail_engine::{
    limits::{CHUNK_BYTES, UNCOUNTED_BYTES, WHOLE_MESSAGE_BYTES_MAX},
    ports::{Access, Arrival, Content, Folder, Look, MemoryBudget, RemoteId, Reserved},
};

use super::{
    cause::refusal,
    reply::{
        Condition, LITERALS_MAX, REPLY_BYTES_MAX, Reply, Status, Tag, Token, literal_length, parse_line, push_line,
    },
    uids::UidSet,
};
use crate::{
    sasl,
    wire::{SecureWire, Wire},
};

/// Messages whose sizes are asked for at once.
const PAGE: usize = 200;
/// Content that is asked for at once, unless one message alone is larger: what has to be heard out before another
/// command can be answered.
const GROUP_BYTES: u64 = CHUNK_BYTES as u64;
/// Replies to one command that are not about it, at most: a server that never ends a command is cut off.
const REPLIES_MAX: usize = 5_000_000;
/// Literals of this size and below are taken without asking the budget; headers and names are this small.
const SMALL_LITERAL_BYTES: u64 = UNCOUNTED_BYTES;
/// The folder that incoming email is read from.
const INBOX: &str = "INBOX";

/// A signed-in session.
#[derive(Debug)]
pub struct Session {
    wire: SecureWire,
    memory: MemoryBudget,
    capabilities: BTreeSet<String>,
    commands: u32,
    /// What the server last said about the inbox.
    folder: FolderState,
    /// Whether the server said that the inbox has no message.
    is_empty: bool,
    /// UIDs that were found and not yet looked at.
    waiting: UidSet,
    /// Messages of the page that are still to be handed out, oldest first.
    page: VecDeque<Listed>,
    /// The FETCH that is under way: its tag and the messages it has not yet handed out.
    fetching: Option<(String, BTreeSet<u32>)>,
    /// Whether bodies are fetched one by one, because the server refused a group of them.
    one_by_one: bool,
    /// The large message that is being read in pieces: UID, next offset, whole size.
    pieces: Option<(u32, u64, u64)>,
    start_date: Option<Timestamp>,
    /// Messages that are asked about at once.
    page_size: usize,
    /// The message that is being read, where messages are read one by one.
    reading: Option<u32>,
    /// Everything up to this UID was done before this session.
    done_before: u32,
    /// The highest UID that was found.
    found_last: u32,
    /// Messages to delete as soon as no FETCH is under way.
    deletions: BTreeSet<u32>,
}

/// A message of a page.
#[derive(Debug, Clone)]
struct Listed {
    uid: u32,
    size: u64,
    received_at: Option<Timestamp>,
}

/// A reply with its literals and their share of the memory budget.
struct Full {
    reply: Reply,
    literals: Vec<(Bytes, Reserved)>,
}

impl Session {
    /// Connects, secures the connection and signs in.
    pub(crate) async fn open(
        connector: &Connector,
        access: &Access,
        location: &ServerLocation,
        memory: &MemoryBudget,
    ) -> Result<Self, DeliveryError> {
        let tcp = connector.tcp(access, location).await?;
        let (wire, greeted) = match location.security {
            Security::Tls => (Wire::new(connector.tls(tcp, access, location).await?, access.timeout), None),
            Security::Starttls => {
                let mut plain = Wire::new(tcp, access.timeout);
                start_tls(&mut plain).await?;
                let stream = connector.tls(plain.into_plain()?, access, location).await?;
                (Wire::new(stream, access.timeout), Some(()))
            }
        };
        let mut session = Self {
            wire,
            memory: memory.clone(),
            capabilities: BTreeSet::new(),
            commands: 0,
            folder: FolderState::default(),
            is_empty: false,
            waiting: UidSet::default(),
            page: VecDeque::new(),
            fetching: None,
            one_by_one: false,
            pieces: None,
            start_date: None,
            page_size: PAGE,
            reading: None,
            done_before: 0,
            found_last: 0,
            deletions: BTreeSet::new(),
        };
        let preauth = match greeted {
            Some(()) => false,
            None => {
                access.progress.reach(Stage::Greeting);
                let line = session.wire.line(REPLY_BYTES_MAX).await?;
                let status = greeting(&line).map_err(|error| error.unwrap_or_else(|| session.no_imap(&line)))?;
                session.learn(&status);
                status.condition == Condition::Preauth
            }
        };
        access.progress.reach(Stage::SignIn);
        if !preauth {
            session.sign_in(access).await?;
        }
        Ok(session)
    }

    async fn sign_in(&mut self, access: &Access) -> Result<(), DeliveryError> {
        self.wire.stage = Stage::SignIn;
        if self.capabilities.is_empty() {
            let tag = self.send("CAPABILITY").await?;
            self.finish(&tag).await?;
        }
        let status = match access.authentication {
            Authentication::Xoauth2 if self.can("AUTH=XOAUTH2") => {
                self.authenticate("XOAUTH2", sasl::xoauth2(access).expose()).await?
            }
            Authentication::Password if self.can("AUTH=PLAIN") => {
                self.authenticate("PLAIN", sasl::plain(access).expose()).await?
            }
            Authentication::Password if !self.can("LOGINDISABLED") => self.login(access).await?,
            // The others are not of SASL, and no profile of internet mail has them.
            Authentication::Password
            | Authentication::Xoauth2
            | Authentication::ClientSecret
            | Authentication::ClientCertificate => {
                let offered: Vec<&str> = self.capabilities.iter().map(String::as_str).collect();
                let words = format!("the server offers {}", offered.join(" "));
                let evidence = Evidence::new(Stage::SignIn, &words);
                return Err(DeliveryError::new(Cause::AuthenticationNotOffered, evidence));
            }
        };
        // What a server can do differs before and after signing in (RFC 3501 section 6.2).
        self.capabilities.clear();
        self.learn(&status);
        Ok(())
    }

    async fn authenticate(&mut self, mechanism: &str, initial: &str) -> Result<Status, DeliveryError> {
        let at_once = self.can("SASL-IR");
        let command =
            if at_once { format!("AUTHENTICATE {mechanism} {initial}") } else { format!("AUTHENTICATE {mechanism}") };
        let tag = self.send(&command).await?;
        let mut given = at_once;
        loop {
            let full = self.reply().await?;
            if full.reply.tag == Tag::Continuation {
                // The first asks for the credentials, unless they are there; a further one carries the error of a
                // token and wants an empty answer before the server says NO.
                let answer = if given { "\r\n".to_owned() } else { format!("{initial}\r\n") };
                given = true;
                self.wire.write(answer.as_bytes()).await?;
            } else if let Some(status) = self.ended(&full.reply, &tag)? {
                return Ok(status);
            }
        }
    }

    async fn login(&mut self, access: &Access) -> Result<Status, DeliveryError> {
        let (user, password) = (quoted(&access.username), quoted(access.secret.expose()));
        let (Some(user), Some(password)) = (user, password) else {
            let words = "the server offers LOGIN only, which takes no line end, zero byte or letter outside ASCII";
            return Err(DeliveryError::new(Cause::AuthenticationNotOffered, Evidence::new(Stage::SignIn, words)));
        };
        let tag = self.send(&format!("LOGIN {user} {password}")).await?;
        self.finish(&tag).await
    }

    /// Asks for the state of the inbox without opening it.
    pub(crate) async fn look(&mut self, position: Option<&Position>) -> Result<Look, DeliveryError> {
        self.wire.stage = Stage::Open;
        let unknown = self.capabilities.is_empty();
        // Where the server did not say after signing in what it can do, it is asked in the same breath.
        let capability = if unknown { Some(self.tag("CAPABILITY")) } else { None };
        let modseq = if self.can("CONDSTORE") { " HIGHESTMODSEQ" } else { "" };
        let status = self.tag(&format!("STATUS {INBOX} (UIDNEXT UIDVALIDITY{modseq})"));
        let commands = format!("{}{}", capability.as_ref().map_or("", |c| &c.1), status.1);
        self.wire.write(commands.as_bytes()).await?;
        if let Some((tag, _)) = &capability {
            self.finish(tag).await?;
        }
        self.finish(&status.0).await?;
        self.has_uid_validity()?;
        Ok(match (self.plan(position), self.imap_position(position)) {
            (ImapPlan::Nothing, Some(position)) => {
                let mod_seq = self.folder.mod_seq.or(position.mod_seq);
                Look::Nothing(Position::Imap(ImapPosition { mod_seq, ..position }))
            }
            (ImapPlan::Nothing | ImapPlan::From(_) | ImapPlan::Rescan, _) => Look::Something,
        })
    }

    fn has_uid_validity(&self) -> Result<(), DeliveryError> {
        if self.folder.uid_validity > 0 {
            return Ok(());
        }
        let evidence = Evidence::new(self.wire.stage, "the server gives the inbox no UIDVALIDITY");
        Err(DeliveryError::new(Cause::CapabilityMissing, evidence))
    }

    fn imap_position(&self, position: Option<&Position>) -> Option<ImapPosition> {
        match position {
            Some(Position::Imap(position)) => Some(*position),
            // The profile was changed from something else: read again; the records are recognized.
            Some(Position::Pop3(_) | Position::Graph(_)) | None => None,
        }
    }

    fn plan(&self, position: Option<&Position>) -> ImapPlan {
        plan_imap(self.imap_position(position).as_ref(), &self.folder)
    }

    /// Opens the inbox and finds what is to be read.
    pub(crate) async fn begin(
        &mut self,
        position: Option<&Position>,
        start_date: Option<Timestamp>,
        pace: Pace,
    ) -> Result<usize, DeliveryError> {
        self.start_date = start_date;
        self.page_size = if pace == Pace::Pages { PAGE } else { 1 };
        self.done_before = self.imap_position(position).map_or(0, |position| position.uid_done);
        let expected = self.folder.uid_validity;
        let first = self.plan(position).first_uid().unwrap_or(1);
        let condstore = if self.can("CONDSTORE") { " (CONDSTORE)" } else { "" };
        let select = self.tag(&format!("SELECT {INBOX}{condstore}"));
        let list = self.tag(&self.list(first));
        self.wire.write(format!("{}{}", select.1, list.1).as_bytes()).await?;
        self.finish(&select.0).await?;
        self.has_uid_validity()?;
        self.wire.stage = Stage::List;
        self.listed(&list.0).await?;
        let mut first = first;
        if self.folder.uid_validity != expected {
            // The folder was replaced between STATUS and SELECT: the list was of UIDs of the old one.
            first = self.plan(position).first_uid().unwrap_or(1);
            let tag = self.send(&self.list(first)).await?;
            self.listed(&tag).await?;
        }
        self.waiting = std::mem::take(&mut self.waiting).from(first);
        self.found_last = self.waiting.last().unwrap_or(0);
        self.wire.stage = Stage::Fetch;
        Ok(self.waiting.len())
    }

    /// The command that lists the UIDs from `first` on.
    fn list(&self, first: u32) -> String {
        // SINCE knows days alone, and in the server's time zone: a day more is asked for, and each message's own time
        // is compared.
        let day_before = self.start_date.map(|date| mailrail_domain::seconds_after(date, -86_400));
        let since = day_before.map(|date| format!("SINCE {}", date.format("%-d-%b-%Y")));
        match since {
            since if self.can("ESEARCH") => {
                let since = since.map_or(String::new(), |since| format!(" {since}"));
                format!("UID SEARCH RETURN (ALL) UID {first}:*{since}")
            }
            // Observed with GNU imap4d 3.15: the search key UID finds nothing, and a range in FETCH works.
            Some(since) => format!("UID SEARCH {since}"),
            None => format!("UID FETCH {first}:* (UID)"),
        }
    }

    /// Reads the answer to [`Self::list`].
    async fn listed(&mut self, tag: &str) -> Result<(), DeliveryError> {
        self.waiting = UidSet::default();
        let mut fetched = Vec::new();
        for _ in 0..REPLIES_MAX {
            let full = self.reply().await?;
            // Observed with Proton Bridge: asked for a range in an empty folder, it says NO.
            if self.is_empty && full.reply.ends(tag).is_some() {
                return Ok(());
            }
            if self.ended(&full.reply, tag)?.is_some() {
                if !fetched.is_empty() {
                    self.waiting = UidSet::of(fetched);
                }
                return Ok(());
            }
            if let Some(tokens) = full.reply.message("FETCH") {
                fetched.extend(value(tokens, "UID").and_then(Token::number::<u32>));
            }
        }
        Err(self.wire.violation("the server does not end its answer"))
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Result<Option<Arrival>, DeliveryError> {
        for _ in 0..REPLIES_MAX {
            if self.fetching.is_some() {
                if let Some(arrival) = self.fetched().await? {
                    return Ok(Some(arrival));
                }
                continue;
            }
            self.delete_marked().await?;
            let Some(front) = self.page.front().cloned() else {
                if self.waiting.is_empty() {
                    return Ok(None);
                }
                self.list_page().await?;
                continue;
            };
            if self.is_before_start(&front) {
                self.page.pop_front();
                return Ok(Some(self.arrival(&front, Content::BeforeStart)));
            }
            if front.size > WHOLE_MESSAGE_BYTES_MAX {
                self.page.pop_front();
                self.pieces = Some((front.uid, 0, front.size));
                return Ok(Some(self.arrival(&front, Content::Pieces)));
            }
            self.fetch_group().await?;
        }
        Err(self.wire.violation("the server does not end its answer"))
    }

    fn is_before_start(&self, listed: &Listed) -> bool {
        matches!((self.start_date, listed.received_at), (Some(start), Some(at)) if at < start)
    }

    fn arrival(&self, listed: &Listed, content: Content) -> Arrival {
        Arrival {
            remote: RemoteId::Imap { uid_validity: self.folder.uid_validity, uid: listed.uid },
            received_at: listed.received_at,
            size: listed.size,
            content,
        }
    }

    /// Asks for size and date of the next messages.
    async fn list_page(&mut self) -> Result<(), DeliveryError> {
        let uids = self.waiting.take(self.page_size);
        self.reading = uids.last().filter(|_| self.page_size == 1);
        let tag = self.send(&format!("UID FETCH {} (UID INTERNALDATE RFC822.SIZE)", uids.command())).await?;
        let mut listed = Vec::new();
        for _ in 0..REPLIES_MAX {
            let full = self.reply().await?;
            if self.ended(&full.reply, &tag)?.is_some() {
                // In the order of their UIDs, whatever the server's order was. What is not there any more is not read.
                listed.sort_unstable_by_key(|message: &Listed| message.uid);
                listed.dedup_by_key(|message| message.uid);
                self.page = listed.into();
                return Ok(());
            }
            if let Some(tokens) = full.reply.message("FETCH")
                && let Some(uid) = value(tokens, "UID").and_then(Token::number)
                && let Some(size) = value(tokens, "RFC822.SIZE")
            {
                let size = size.number().unwrap_or(0);
                let received_at = value(tokens, "INTERNALDATE").and_then(internal_date);
                listed.push(Listed { uid, size, received_at });
            }
        }
        Err(self.wire.violation("the server does not end its answer"))
    }

    /// Asks for the contents of the messages at the front of the page, up to the next that needs another treatment.
    async fn fetch_group(&mut self) -> Result<(), DeliveryError> {
        let ordinary = |listed: &&Listed| listed.size <= WHOLE_MESSAGE_BYTES_MAX && !self.is_before_start(listed);
        let most = if self.one_by_one { 1 } else { self.page_size };
        let mut bytes = 0;
        let fits = |listed: &&Listed| {
            let is_first = bytes == 0;
            bytes += listed.size.max(1);
            is_first || bytes <= GROUP_BYTES
        };
        let group = self.page.iter().take_while(ordinary).take_while(fits).take(most);
        let uids: BTreeSet<u32> = group.map(|listed| listed.uid).collect();
        let set = UidSet::of(uids.iter().copied());
        let tag = self.send(&format!("UID FETCH {} (UID BODY.PEEK[])", set.command())).await?;
        self.fetching = Some((tag, uids));
        Ok(())
    }

    /// The next message of the FETCH that is under way; `None` when it has ended or the reply was about something else.
    async fn fetched(&mut self) -> Result<Option<Arrival>, DeliveryError> {
        let Full { reply, literals } = self.reply().await?;
        let Some((tag, open)) = &mut self.fetching else {
            return Ok(None);
        };
        if let Some(status) = reply.ends(tag) {
            let open = std::mem::take(open);
            let (status, group) = (status.clone(), open.len());
            self.fetching = None;
            return self.fetch_ended(&status, &open, group).await;
        }
        if let Some(tokens) = reply.message("FETCH")
            && let Some(uid) = value(tokens, "UID").and_then(Token::number::<u32>)
            // A server may tell of changed flags at any time; only what carries the body is the answer.
            && value(tokens, "BODY[]").is_some()
            && open.remove(&uid)
            && let Some(at) = self.page.iter().position(|listed| listed.uid == uid)
            && let Some(listed) = self.page.remove(at)
        {
            let content = match value(tokens, "BODY[]") {
                Some(Token::Literal(n)) => {
                    literals.into_iter().nth(*n).map(|(bytes, share)| Content::Whole(bytes, share))
                }
                // A short message may come as a quoted string; it needs no share of the budget.
                Some(Token::Quoted(text)) => {
                    Some(Content::Whole(Bytes::copy_from_slice(text), self.memory.reserve(0).await))
                }
                Some(Token::Atom(_) | Token::Open | Token::Close) | None => None,
            };
            let content = content.unwrap_or_else(|| Content::Missing("the server handed out NIL".to_owned()));
            self.reading = None;
            return Ok(Some(self.arrival(&listed, content)));
        }
        if reply.status.as_ref().is_some_and(|status| status.condition == Condition::Bye)
            && let Some(status) = &reply.status
        {
            return Err(refusal(self.wire.stage, status));
        }
        Ok(None)
    }

    /// What remains of a FETCH that has ended: messages that were expunged meanwhile, or that the server cannot read.
    async fn fetch_ended(
        &mut self,
        status: &Status,
        open: &BTreeSet<u32>,
        group: usize,
    ) -> Result<Option<Arrival>, DeliveryError> {
        if status.condition != Condition::Ok {
            let error = refusal(self.wire.stage, status);
            if error.cause != Cause::Unknown && error.cause != Cause::ServerUnavailable {
                return Err(error);
            }
        }
        if open.is_empty() {
            return Ok(None);
        }
        if group > 1 || !self.one_by_one {
            // One of them is bad; alone, each shows whether it is the one.
            self.one_by_one = true;
            return Ok(None);
        }
        let uid = open.first().copied().unwrap_or_default();
        let Some(listed) = self.page.pop_front() else {
            return Ok(None);
        };
        self.one_by_one = !self.page.is_empty();
        let tag = self.send(&format!("UID FETCH {uid} (UID)")).await?;
        let mut there = false;
        for _ in 0..REPLIES_MAX {
            let full = self.reply().await?;
            if self.ended(&full.reply, &tag)?.is_some() {
                let words = Evidence::new(self.wire.stage, &status.text).words;
                return Ok(there.then(|| self.arrival(&listed, Content::Missing(words))));
            }
            there |= full.reply.message("FETCH").is_some();
        }
        Err(self.wire.violation("the server does not end its answer"))
    }

    /// The message that was being read when the session ended, which from now on counts as handed out.
    pub(crate) fn pass_over(&mut self) -> Option<RemoteId> {
        let uid = self.reading.take()?;
        self.fetching = None;
        self.page.retain(|listed| listed.uid != uid);
        Some(RemoteId::Imap { uid_validity: self.folder.uid_validity, uid })
    }

    /// The next piece of a large message.
    pub(crate) async fn read(&mut self) -> Result<Option<Bytes>, DeliveryError> {
        let Some((uid, offset, size)) = self.pieces else {
            return Ok(None);
        };
        if offset >= size {
            self.pieces = None;
            return Ok(None);
        }
        let tag = self.send(&format!("UID FETCH {uid} (UID BODY.PEEK[]<{offset}.{CHUNK_BYTES}>)")).await?;
        let mut piece = None;
        for _ in 0..REPLIES_MAX {
            let Full { reply, literals } = self.reply().await?;
            if self.ended(&reply, &tag)?.is_some() {
                break;
            }
            if reply.message("FETCH").is_some()
                && let Some((bytes, _)) = literals.into_iter().next()
            {
                piece = Some(bytes);
            }
        }
        // A server that has less than it said has nothing more: the message ends here.
        let piece = piece.filter(|bytes| !bytes.is_empty());
        self.pieces = piece.as_ref().map(|bytes| (uid, offset + bytes.len() as u64, size));
        Ok(piece)
    }

    /// How far the inbox has been read.
    pub(crate) fn position(&self, last: Option<&RemoteId>) -> Position {
        let uid_validity = self.folder.uid_validity;
        let position = match last {
            Some(RemoteId::Imap { uid, .. }) => {
                // A server may hand messages out in another order: never pass one that is still open.
                let open = self.fetching.as_ref().and_then(|(_, open)| open.first().copied());
                // Nor one that is still to be deleted: where that fails, it is found again.
                let marked = self.deletions.first().copied();
                let waiting = self.page.iter().map(|listed| listed.uid).chain(open).chain(marked).min();
                let uid_done = waiting.map_or(*uid, |first| (*uid).min(first.saturating_sub(1)));
                ImapPosition { uid_validity, uid_done, mod_seq: None }
            }
            Some(RemoteId::Pop3 { .. } | RemoteId::Graph { .. }) | None => ImapPosition {
                uid_validity,
                // A server without UIDNEXT has at least what it listed.
                uid_done: self.folder.uid_next.map_or(self.done_before.max(self.found_last), |n| n.saturating_sub(1)),
                mod_seq: self.folder.mod_seq,
            },
        };
        Position::Imap(position)
    }

    /// Deletes messages, at the next moment when no FETCH is under way.
    pub(crate) async fn delete(&mut self, messages: &[RemoteId]) -> Result<(), DeliveryError> {
        self.deletions.extend(messages.iter().filter_map(|remote| match remote {
            RemoteId::Imap { uid, .. } => Some(*uid),
            RemoteId::Pop3 { .. } | RemoteId::Graph { .. } => None,
        }));
        if self.fetching.is_none() { self.delete_marked().await } else { Ok(()) }
    }

    async fn delete_marked(&mut self) -> Result<(), DeliveryError> {
        if self.deletions.is_empty() {
            return Ok(());
        }
        let set = UidSet::of(std::mem::take(&mut self.deletions)).command();
        let tag = self.send(&format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)")).await?;
        self.finish(&tag).await?;
        // Without UIDPLUS, EXPUNGE would also remove what somebody else has marked.
        if self.can("UIDPLUS") {
            let tag = self.send(&format!("UID EXPUNGE {set}")).await?;
            self.finish(&tag).await?;
        }
        Ok(())
    }

    /// Whether a folder has a message with this Message-ID; `None` if there is no such folder.
    pub(crate) async fn has(&mut self, folder: Folder, message_id: &str) -> Result<Option<bool>, DeliveryError> {
        self.wire.stage = Stage::Open;
        let name = match folder {
            Folder::Inbox => Some(INBOX.to_owned()),
            Folder::Sent => self.sent_folder().await?,
            Folder::Drafts => None,
        };
        let (Some(name), Some(id)) = (name, quoted(&format!("<{message_id}>"))) else {
            return Ok(None);
        };
        let tag = self.send(&format!("EXAMINE {name}")).await?;
        self.finish(&tag).await?;
        self.waiting = UidSet::default();
        let tag = self.send(&format!("UID SEARCH HEADER Message-ID {id}")).await?;
        self.finish(&tag).await?;
        Ok(Some(!self.waiting.is_empty()))
    }

    /// The name of the Sent folder, quoted: the one that is marked so (RFC 6154), else one of a usual name.
    async fn sent_folder(&mut self) -> Result<Option<String>, DeliveryError> {
        let tag = self.send("LIST \"\" \"*\"").await?;
        let mut folders: Vec<(bool, Vec<u8>)> = Vec::new();
        for _ in 0..REPLIES_MAX {
            let Full { reply, literals } = self.reply().await?;
            if self.ended(&reply, &tag)?.is_some() {
                break;
            }
            if let Some(tokens) = reply.untagged("LIST") {
                let special = tokens.iter().any(|token| token.is("\\Sent"));
                let after_flags = tokens.iter().position(|token| *token == Token::Close).map_or(0, |at| at + 1);
                let name = match tokens.get(after_flags + 1) {
                    Some(Token::Literal(n)) => literals.get(*n).map(|(bytes, _)| bytes.to_vec()),
                    other => other.and_then(Token::text).map(<[u8]>::to_vec),
                };
                folders.extend(name.map(|name| (special, name)));
            }
        }
        let usual = |name: &[u8]| {
            ["Sent", "Sent Items", "Sent Messages", "INBOX.Sent"]
                .iter()
                .any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
        };
        let sent =
            folders.iter().find(|(special, _)| *special).or_else(|| folders.iter().find(|(_, name)| usual(name)));
        Ok(sent.and_then(|(_, name)| std::str::from_utf8(name).ok()).and_then(quoted))
    }

    /// Deletes what is marked and says goodbye. Whether the goodbye is heard does not matter.
    pub(crate) async fn close(mut self) -> Result<(), DeliveryError> {
        while self.fetching.is_some() && !self.deletions.is_empty() {
            // What is left of the FETCH is heard and forgotten; it is read again next time.
            self.fetched().await?;
        }
        self.delete_marked().await?;
        let logout = self.tag("LOGOUT");
        let _ = self.wire.write(logout.1.as_bytes()).await;
        Ok(())
    }

    fn can(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    fn tag(&mut self, command: &str) -> (String, String) {
        self.commands += 1;
        let tag = format!("a{}", self.commands);
        let line = format!("{tag} {command}\r\n");
        (tag, line)
    }

    async fn send(&mut self, command: &str) -> Result<String, DeliveryError> {
        let (tag, line) = self.tag(command);
        self.wire.write(line.as_bytes()).await?;
        Ok(tag)
    }

    /// Reads replies up to the end of a command, learning from each.
    async fn finish(&mut self, tag: &str) -> Result<Status, DeliveryError> {
        for _ in 0..REPLIES_MAX {
            let full = self.reply().await?;
            if let Some(status) = self.ended(&full.reply, tag)? {
                return Ok(status);
            }
        }
        Err(self.wire.violation("the server does not end its answer"))
    }

    /// The status if the reply ends the command; an error if it refuses it or says goodbye. Any reply may also tell
    /// something about the folder.
    fn ended(&mut self, reply: &Reply, tag: &str) -> Result<Option<Status>, DeliveryError> {
        self.learn_from(reply);
        match (&reply.status, reply.ends(tag)) {
            (_, Some(status)) if status.condition == Condition::Ok => {
                let status = status.clone();
                self.learn(&status);
                Ok(Some(status))
            }
            (_, Some(status)) => Err(refusal(self.wire.stage, status)),
            (Some(status), None) if status.condition == Condition::Bye => Err(refusal(self.wire.stage, status)),
            (Some(status), None) => {
                self.learn(&status.clone());
                Ok(None)
            }
            (None, None) => Ok(None),
        }
    }

    /// Learns from a status reply's code.
    fn learn(&mut self, status: &Status) {
        let Some(code) = &status.code else {
            return;
        };
        match code.name.as_str() {
            "CAPABILITY" => self.capabilities = words(&code.argument).collect(),
            "UIDVALIDITY" => self.folder.uid_validity = code.argument.parse().unwrap_or(0),
            "UIDNEXT" => self.folder.uid_next = code.argument.parse().ok(),
            "HIGHESTMODSEQ" => self.folder.mod_seq = code.argument.parse().ok(),
            "NOMODSEQ" => self.folder.mod_seq = None,
            _ => {}
        }
    }

    /// Learns from an untagged reply.
    fn learn_from(&mut self, reply: &Reply) {
        if let (Tag::Untagged, [number, word]) = (&reply.tag, reply.tokens.as_slice())
            && word.is("EXISTS")
        {
            self.is_empty = number.number() == Some(0_u32);
        } else if let Some(tokens) = reply.untagged("CAPABILITY") {
            let texts = tokens.iter().filter_map(Token::text);
            self.capabilities = texts.map(|word| String::from_utf8_lossy(word).to_ascii_uppercase()).collect();
        } else if let Some(tokens) = reply.untagged("STATUS")
            && tokens.first().and_then(Token::text).is_none_or(|name| name.eq_ignore_ascii_case(INBOX.as_bytes()))
        {
            let number = |name| value(tokens, name).and_then(Token::number::<u64>);
            self.folder = FolderState {
                uid_validity: number("UIDVALIDITY").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
                uid_next: number("UIDNEXT").and_then(|n| u32::try_from(n).ok()),
                mod_seq: number("HIGHESTMODSEQ").filter(|n| *n > 0),
            };
        } else if let Some(tokens) = reply.untagged("SEARCH") {
            self.waiting = UidSet::of(tokens.iter().map_while(Token::number::<u32>));
        } else if let Some(tokens) = reply.untagged("ESEARCH") {
            let all = value(tokens, "ALL").and_then(Token::text);
            self.waiting = all.and_then(UidSet::parse).unwrap_or_default();
        }
    }

    fn no_imap(&self, line: &[u8]) -> DeliveryError {
        self.wire.violation(&format!("not an IMAP greeting: {}", String::from_utf8_lossy(line)))
    }

    /// The next reply, with its literals.
    async fn reply(&mut self) -> Result<Full, DeliveryError> {
        let line = self.wire.line(REPLY_BYTES_MAX).await?;
        let mut reply = parse_line(&line);
        let mut literals = Vec::new();
        let mut length = if reply.status.is_none() { literal_length(&line) } else { None };
        while let Some(bytes) = length {
            // A message may have grown by its fields since its size was asked for, but not beyond all measure.
            if bytes > WHOLE_MESSAGE_BYTES_MAX + SMALL_LITERAL_BYTES || literals.len() >= LITERALS_MAX {
                return Err(self.wire.violation(&format!("the server announces {bytes} bytes in one piece")));
            }
            let share = self.memory.reserve(bytes).await;
            let content = self.wire.exactly(usize::try_from(bytes).unwrap_or(usize::MAX)).await?;
            literals.push((content, share));
            let rest = self.wire.line(REPLY_BYTES_MAX).await?;
            push_line(&mut reply.tokens, &rest, literals.len());
            length = literal_length(&rest);
        }
        Ok(Full { reply, literals })
    }
}

/// Asks for TLS on a plain connection. Nothing that is said before it is believed afterwards.
async fn start_tls(plain: &mut Wire<tokio::net::TcpStream>) -> Result<(), DeliveryError> {
    let line = plain.line(REPLY_BYTES_MAX).await?;
    let no_imap = format!("not an IMAP greeting: {}", String::from_utf8_lossy(&line));
    greeting(&line).map_err(|error| error.unwrap_or_else(|| plain.violation(&no_imap)))?;
    plain.stage = Stage::Tls;
    plain.write(b"s1 STARTTLS\r\n").await?;
    for _ in 0..LITERALS_MAX {
        let line = plain.line(REPLY_BYTES_MAX).await?;
        let reply = parse_line(&line);
        match reply.ends("s1") {
            Some(status) if status.condition == Condition::Ok => return Ok(()),
            Some(status) => {
                let evidence = Evidence::new(Stage::Tls, &status.text).with_code(status.condition.as_str());
                return Err(DeliveryError::new(Cause::TlsNotOffered, evidence));
            }
            None => {}
        }
    }
    Err(plain.violation("the server does not answer STARTTLS"))
}

/// The greeting's status; `Err(None)` if it is no IMAP greeting at all.
fn greeting(line: &[u8]) -> Result<Status, Option<DeliveryError>> {
    let reply = parse_line(line);
    match (reply.tag, reply.status) {
        (Tag::Untagged, Some(status)) => match status.condition {
            Condition::Ok | Condition::Preauth => Ok(status),
            Condition::No | Condition::Bad | Condition::Bye => Err(Some(refusal(Stage::Greeting, &status))),
        },
        (Tag::Untagged | Tag::Continuation | Tag::Command(_), _) => Err(None),
    }
}

/// The token that follows the name in a list of names and values.
fn value<'a>(tokens: &'a [Token], name: &str) -> Option<&'a Token> {
    let at = tokens.iter().position(|token| token.is(name))?;
    tokens.get(at + 1)
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_ascii_whitespace().map(str::to_ascii_uppercase)
}

/// INTERNALDATE, such as `17-Jul-1996 02:44:25 -0700`, the day padded with a blank.
fn internal_date(token: &Token) -> Option<Timestamp> {
    let text = std::str::from_utf8(token.text()?).ok()?;
    DateTime::parse_from_str(text.trim(), "%d-%b-%Y %H:%M:%S %z").ok().map(|date| date.to_utc())
}

/// A quoted string, if the text can stand in one.
fn quoted(text: &str) -> Option<String> {
    let fits = text.chars().all(|c| c.is_ascii() && !matches!(c, '\r' | '\n' | '\0'));
    fits.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_dates_are_read_with_their_zone() {
        let date = |text: &str| internal_date(&Token::Quoted(text.as_bytes().to_vec())).map(|d| d.to_rfc3339());
        assert_eq!(date("17-Jul-1996 02:44:25 -0700").as_deref(), Some("1996-07-17T09:44:25+00:00"));
        assert_eq!(date(" 7-Jul-1996 02:44:25 +0000").as_deref(), Some("1996-07-07T02:44:25+00:00"));
        assert_eq!(date("yesterday"), None);
    }

    #[test]
    fn nothing_that_could_end_a_command_is_quoted() {
        assert_eq!(quoted("a\"b\\").as_deref(), Some("\"a\\\"b\\\\\""));
        assert_eq!(quoted("a\r\nb"), None);
        assert_eq!(quoted("é"), None);
    }
}
