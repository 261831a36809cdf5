//! The inbox: reads its new messages one by one, and deletes messages that are done.
//!
//! An idle check is three round trips and the goodbye: greeting, sign-in, STATUS. New messages take three more:
//! SELECT with SEARCH, the sizes of a page, the page itself. One more asks whether the listing is whole, unless its UIDs
//! show that.

mod listing;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use chrono::DateTime;
use mailrail_domain::{
    Timestamp,
    email::{
        imap::{ImapPlan, ImapPosition, plan_imap},
        position::Position,
    },
    rules::retry::Pace,
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::{
    limits::{CHUNK_BYTES, WHOLE_MESSAGE_BYTES_MAX},
    ports::{Arrival, Content, Look, RemoteId},
};

use super::{
    cause::refusal,
    reply::{Condition, Status, Token},
    session::{Full, INBOX, REPLIES_MAX, Session, value},
    uids::UidSet,
};

/// The protocol whose positions and message names these are.
const PROTOCOL: &str = "imap";
/// Messages whose sizes are asked for at once.
const PAGE: usize = 200;
/// Most bytes of content that are asked for at once, unless one message alone is larger. All of them have to be
/// received before another command can be answered.
const GROUP_BYTES: u64 = CHUNK_BYTES as u64;

/// A message of a page.
#[derive(Debug, Clone)]
struct Listed {
    uid: u32,
    size: u64,
    received_at: Option<Timestamp>,
}

/// The inbox of a signed-in session.
#[derive(Debug)]
pub struct Inbox {
    session: Session,
    /// UIDs that were found and not yet looked at.
    waiting: UidSet,
    /// Messages of the page that are still to be handed out, oldest first.
    page: VecDeque<Listed>,
    /// The FETCH that is under way: its tag and the messages it has not yet handed out.
    fetching: Option<(String, BTreeSet<u32>)>,
    /// Whether the inbox is open, rather than only looked at.
    is_open: bool,
    /// Why messages are missing in the listing, if the server lists fewer than it says it has.
    short: Option<DeliveryError>,
    /// Whether bodies are fetched one by one, because the server refused a group of them.
    one_by_one: bool,
    /// The large message that is being read in pieces: UID, next offset, whole size.
    pieces: Option<(u32, u64, u64)>,
    start_date: Option<Timestamp>,
    /// Messages that are asked about at once.
    page_size: usize,
    /// The message that is being read, where messages are read one by one.
    reading: Option<u32>,
    /// The name of the message that is handed out as missing, and why.
    left_out: Option<(String, DeliveryError)>,
    /// Everything up to this UID was done before this session.
    done_before: u32,
    /// The highest UID that was found.
    found_last: u32,
    /// Messages to delete as soon as no FETCH is under way.
    deletions: BTreeSet<u32>,
}

impl Inbox {
    /// The inbox of this session.
    pub(crate) fn of(session: Session) -> Self {
        Self {
            session,
            waiting: UidSet::default(),
            page: VecDeque::new(),
            fetching: None,
            is_open: false,
            short: None,
            one_by_one: false,
            pieces: None,
            start_date: None,
            page_size: PAGE,
            reading: None,
            left_out: None,
            done_before: 0,
            found_last: 0,
            deletions: BTreeSet::new(),
        }
    }

    /// Asks for the state of the inbox without opening it.
    pub(crate) async fn look(&mut self, position: Option<&Position>) -> Result<Look, DeliveryError> {
        self.session.wire.stage = Stage::Open;
        let unknown = self.session.capabilities.is_empty();
        // If the server did not give its capabilities after the sign-in, the same write asks for them.
        let capability = if unknown { Some(self.session.tag("CAPABILITY")) } else { None };
        let modseq = if self.session.can("CONDSTORE") { " HIGHESTMODSEQ" } else { "" };
        let status = self.session.tag(&format!("STATUS {INBOX} (UIDNEXT UIDVALIDITY{modseq})"));
        let commands = format!("{}{}", capability.as_ref().map_or("", |c| &c.1), status.1);
        self.session.write(&commands).await?;
        if let Some((tag, _)) = &capability {
            self.session.finish(tag).await?;
        }
        self.session.finish(&status.0).await?;
        if self.session.folder.uid_validity == 0 {
            // Observed with 163.com: STATUS tells nothing, and SELECT tells it.
            self.open().await?;
        }
        self.has_uid_validity()?;
        let position = read(position);
        Ok(match (self.plan(position.as_ref()), position) {
            (ImapPlan::Nothing, Some(position)) => {
                let mod_seq = self.session.folder.mod_seq.or(position.mod_seq);
                Look::Nothing(Position::of(PROTOCOL, &ImapPosition { mod_seq, ..position }))
            }
            (ImapPlan::Nothing | ImapPlan::From(_) | ImapPlan::Rescan, _) => Look::Something,
        })
    }

    /// Opens the inbox, unless it is open.
    async fn open(&mut self) -> Result<(), DeliveryError> {
        if !self.is_open {
            let select = self.session.send(&self.select()).await?;
            self.session.finish(&select).await?;
            self.is_open = true;
        }
        Ok(())
    }

    fn select(&self) -> String {
        let condstore = if self.session.can("CONDSTORE") { " (CONDSTORE)" } else { "" };
        format!("SELECT {INBOX}{condstore}")
    }

    fn has_uid_validity(&self) -> Result<(), DeliveryError> {
        if self.session.folder.uid_validity > 0 {
            return Ok(());
        }
        let evidence = Evidence::new(self.session.wire.stage, "the server gives the inbox no UIDVALIDITY");
        Err(DeliveryError::new(Cause::CapabilityMissing, evidence))
    }

    fn plan(&self, position: Option<&ImapPosition>) -> ImapPlan {
        plan_imap(position, &self.session.folder)
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
        let position = read(position);
        self.done_before = position.map_or(0, |position| position.uid_done);
        let expected = self.session.folder.uid_validity;
        let first = self.plan(position.as_ref()).first_uid().unwrap_or(1);
        let select = self.session.tag(&self.select());
        let list = self.session.tag(&self.list(first));
        self.session.write(&format!("{}{}", select.1, list.1)).await?;
        self.session.finish(&select.0).await?;
        self.is_open = true;
        self.has_uid_validity()?;
        self.session.wire.stage = Stage::List;
        self.listed(&list.0).await?;
        let mut first = first;
        if self.session.folder.uid_validity != expected {
            // The folder was replaced between STATUS and SELECT: the list began at a UID of the old folder.
            first = self.plan(position.as_ref()).first_uid().unwrap_or(1);
            let tag = self.session.send(&self.list(first)).await?;
            self.listed(&tag).await?;
        }
        self.waiting = std::mem::take(&mut self.waiting).from(first);
        if !self.is_whole(first).await? {
            self.list_by_numbers(first).await?;
        }
        self.found_last = self.waiting.last().unwrap_or(0);
        self.session.wire.stage = Stage::Fetch;
        Ok(self.waiting.len())
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
                    return self.short.take().map_or(Ok(None), Err);
                }
                self.list_page().await?;
                continue;
            };
            if let Some((_, because)) = self.left_out.take_if(|(name, _)| *name == self.session.name_of(front.uid)) {
                self.page.pop_front();
                return Ok(Some(self.arrival(&front, Content::Missing(because))));
            }
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
        Err(self.session.wire.violation("the server does not end its answer"))
    }

    fn is_before_start(&self, listed: &Listed) -> bool {
        matches!((self.start_date, listed.received_at), (Some(start), Some(at)) if at < start)
    }

    /// A UID names a message together with the UIDVALIDITY under which it was given (RFC 3501, section 2.3.1.1).
    fn remote(&self, uid: u32) -> RemoteId {
        RemoteId {
            protocol: PROTOCOL,
            name: self.session.name_of(uid),
            number: usize::try_from(uid).unwrap_or(usize::MAX),
        }
    }

    fn arrival(&self, listed: &Listed, content: Content) -> Arrival {
        Arrival { remote: self.remote(listed.uid), received_at: listed.received_at, size: listed.size, content }
    }

    /// Asks for size and date of the next messages.
    async fn list_page(&mut self) -> Result<(), DeliveryError> {
        let uids = self.waiting.take(self.page_size);
        self.reading = uids.last().filter(|_| self.page_size == 1);
        // A server may fail at the very question how large a message is.
        if let (Some(uid), Some((name, _))) = (self.reading, &self.left_out)
            && *name == self.session.name_of(uid)
        {
            self.page = VecDeque::from([Listed { uid, size: 0, received_at: None }]);
            return Ok(());
        }
        let mut listed = self.sizes(&uids).await?;
        let known: BTreeSet<u32> = listed.iter().map(|message| message.uid).collect();
        let missing = uids.without(&known);
        if !missing.is_empty() {
            // A message that is listed and then left out twice is gone.
            listed.extend(self.sizes(&missing).await?);
        }
        // Messages are read in the order of their UIDs, whatever the server's order was.
        listed.sort_unstable_by_key(|message| message.uid);
        listed.dedup_by_key(|message| message.uid);
        self.page = listed.into();
        Ok(())
    }

    /// Size and date of messages, as far as they are there.
    async fn sizes(&mut self, uids: &UidSet) -> Result<Vec<Listed>, DeliveryError> {
        let tag = self.session.send(&format!("UID FETCH {} (UID INTERNALDATE RFC822.SIZE)", uids.command())).await?;
        let mut listed = Vec::new();
        let each = |Full { reply, .. }: Full| {
            if let Some(tokens) = reply.message("FETCH")
                && let Some(uid) = value(tokens, "UID").and_then(Token::number)
                && uids.contains(uid)
                && let Some(size) = value(tokens, "RFC822.SIZE")
            {
                let size = size.number().unwrap_or(0);
                let received_at = value(tokens, "INTERNALDATE").and_then(internal_date);
                listed.push(Listed { uid, size, received_at });
            }
        };
        self.session.finish_with(&tag, each).await?;
        Ok(listed)
    }

    /// Asks for the contents of the messages at the front of the page, up to the next message that needs another
    /// treatment.
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
        let tag = self.session.send(&format!("UID FETCH {} (UID BODY.PEEK[])", set.command())).await?;
        self.fetching = Some((tag, uids));
        Ok(())
    }

    /// The next message of the FETCH that is under way; `None` when it has ended or the reply was about something else.
    async fn fetched(&mut self) -> Result<Option<Arrival>, DeliveryError> {
        let Full { reply, literals } = self.session.reply().await?;
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
            // A server may report changed flags at any time; only a reply with the body is the answer.
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
                    Some(Content::Whole(Bytes::copy_from_slice(text), self.session.memory.reserve(0).await))
                }
                Some(Token::Atom(_) | Token::Open | Token::Close) | None => None,
            };
            let content = content.unwrap_or_else(|| Content::Missing(not_handed_out("the server handed out NIL")));
            self.reading = None;
            return Ok(Some(self.arrival(&listed, content)));
        }
        if reply.status.as_ref().is_some_and(|status| status.condition == Condition::Bye)
            && let Some(status) = &reply.status
        {
            return Err(refusal(self.session.wire.stage, status));
        }
        Ok(None)
    }

    /// Handles what a FETCH did not deliver: messages that were expunged meanwhile, or that the server cannot read.
    async fn fetch_ended(
        &mut self,
        status: &Status,
        open: &BTreeSet<u32>,
        group: usize,
    ) -> Result<Option<Arrival>, DeliveryError> {
        let error = match status.condition {
            Condition::Ok => not_handed_out(&status.text),
            Condition::No | Condition::Bad | Condition::Bye | Condition::Preauth => {
                refusal(self.session.wire.stage, status)
            }
        };
        if error.cause != Cause::Unknown && error.cause != Cause::ServerUnavailable {
            return Err(error);
        }
        if open.is_empty() {
            return Ok(None);
        }
        if group > 1 || !self.one_by_one {
            // One of the messages is bad. Fetched alone, each message shows whether it is the bad one.
            self.one_by_one = true;
            return Ok(None);
        }
        let uid = open.first().copied().unwrap_or_default();
        let Some(listed) = self.page.pop_front() else {
            return Ok(None);
        };
        self.one_by_one = !self.page.is_empty();
        let tag = self.session.send(&format!("UID FETCH {uid} (UID)")).await?;
        let mut there = false;
        // A server may report the flags of other messages at any time.
        let each = |Full { reply, .. }: Full| {
            let tokens = reply.message("FETCH");
            there |= tokens.and_then(|tokens| value(tokens, "UID")).and_then(Token::number) == Some(uid);
        };
        self.session.finish_with(&tag, each).await?;
        self.reading = None;
        Ok(there.then(|| self.arrival(&listed, Content::Missing(error))))
    }

    /// The message that was being read when the session ended.
    pub(crate) fn unread(&mut self) -> Option<RemoteId> {
        self.reading.take().map(|uid| self.remote(uid))
    }

    /// Hands this message out as missing, without asking for it.
    pub(crate) fn leave_out(&mut self, message: &RemoteId, because: DeliveryError) {
        self.left_out = Some((message.name.clone(), because));
    }

    /// Asks for one message that an earlier session named so.
    pub(crate) async fn again(&mut self, remote_id: &str) -> Result<Option<Arrival>, DeliveryError> {
        let named = RemoteId::name_in(PROTOCOL, remote_id).and_then(|name| name.split_once('-'));
        let Some((uid_validity, uid)) = named.and_then(|(validity, uid)| Some((validity, uid.parse().ok()?))) else {
            return Ok(None);
        };
        self.open().await?;
        self.session.wire.stage = Stage::Fetch;
        // Under another UIDVALIDITY the message has another UID, with which it was listed.
        if self.session.folder.uid_validity.to_string() != uid_validity {
            return Ok(None);
        }
        (self.start_date, self.left_out, self.short) = (None, None, None);
        self.waiting = UidSet::of([uid]);
        self.next().await
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
        let tag = self.session.send(&format!("UID FETCH {uid} (UID BODY.PEEK[]<{offset}.{CHUNK_BYTES}>)")).await?;
        let mut piece = None;
        let each = |Full { reply, literals }: Full| {
            if reply.message("FETCH").is_some()
                && let Some((bytes, _)) = literals.into_iter().next()
            {
                piece = Some(bytes);
            }
        };
        self.session.finish_with(&tag, each).await?;
        // A server that sends less than it announced has nothing more, so the message ends here.
        let piece = piece.filter(|bytes| !bytes.is_empty());
        self.pieces = piece.as_ref().map(|bytes| (uid, offset + bytes.len() as u64, size));
        Ok(piece)
    }

    /// How far the inbox has been read.
    pub(crate) fn position(&self, last: Option<&RemoteId>) -> Position {
        let uid_validity = self.session.folder.uid_validity;
        let position = match last.map(uid) {
            Some(uid) => {
                // A server may hand messages out in another order, so never pass a message that is still open.
                let open = self.fetching.as_ref().and_then(|(_, open)| open.first().copied());
                // Never pass a message that is still to be deleted either, so that it is found again if its deletion
                // fails.
                let marked = self.deletions.first().copied();
                let waiting = self.page.iter().map(|listed| listed.uid).chain(open).chain(marked).min();
                let uid_done = waiting.map_or(uid, |first| uid.min(first.saturating_sub(1)));
                ImapPosition { uid_validity, uid_done, mod_seq: None }
            }
            None => ImapPosition {
                uid_validity,
                // Without UIDNEXT, the folder has at least the UIDs that were listed.
                uid_done: self
                    .session
                    .folder
                    .uid_next
                    .map_or(self.done_before.max(self.found_last), |n| n.saturating_sub(1)),
                mod_seq: self.session.folder.mod_seq,
            },
        };
        Position::of(PROTOCOL, &position)
    }

    /// Deletes messages as soon as no FETCH is under way.
    pub(crate) async fn delete(&mut self, messages: &[RemoteId]) -> Result<(), DeliveryError> {
        self.deletions.extend(messages.iter().map(uid));
        if self.fetching.is_none() { self.delete_marked().await } else { Ok(()) }
    }

    async fn delete_marked(&mut self) -> Result<(), DeliveryError> {
        if self.deletions.is_empty() {
            return Ok(());
        }
        let set = UidSet::of(std::mem::take(&mut self.deletions)).command();
        let tag = self.session.send(&format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)")).await?;
        self.session.finish(&tag).await?;
        // Without UIDPLUS, EXPUNGE would also remove what somebody else has marked.
        if self.session.can("UIDPLUS") {
            let tag = self.session.send(&format!("UID EXPUNGE {set}")).await?;
            self.session.finish(&tag).await?;
        }
        Ok(())
    }

    /// Deletes what is marked and says goodbye.
    pub(crate) async fn close(mut self) -> Result<(), DeliveryError> {
        while self.fetching.is_some() && !self.deletions.is_empty() {
            // The rest of the FETCH is received and dropped; the next run reads it again.
            self.fetched().await?;
        }
        self.delete_marked().await?;
        self.session.close().await;
        Ok(())
    }
}

fn read(position: Option<&Position>) -> Option<ImapPosition> {
    position.and_then(|position| position.read(PROTOCOL))
}

/// The failure of a server that does not hand a message out and gives no reason.
fn not_handed_out(words: &str) -> DeliveryError {
    DeliveryError::new(Cause::Unknown, Evidence::new(Stage::Fetch, words))
}

/// The UID of a message that this session handed out.
fn uid(remote: &RemoteId) -> u32 {
    u32::try_from(remote.number).unwrap_or(u32::MAX)
}

/// INTERNALDATE, such as `17-Jul-1996 02:44:25 -0700`, the day padded with a blank.
fn internal_date(token: &Token) -> Option<Timestamp> {
    let text = std::str::from_utf8(token.text()?).ok()?;
    DateTime::parse_from_str(text.trim(), "%d-%b-%Y %H:%M:%S %z").ok().map(|date| date.to_utc())
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
}
