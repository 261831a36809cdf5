//! One signed-in POP3 session over a maildrop.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::{Bytes, BytesMut};
use mailrail_connect::Connector;
use mailrail_domain::{
    email::{
        pop3::{Listed, Pop3Position, SeenUidls, listing_digest},
        position::Position,
    },
    rules::retry::Pace,
    settings::profile::{Authentication, Security, ServerLocation},
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::{
    limits::{CHUNK_BYTES, UNCOUNTED_BYTES, WHOLE_MESSAGE_BYTES_MAX},
    ports::{Access, Arrival, Content, Look, MemoryBudget, RemoteId},
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::cause::refusal;
use crate::{
    sasl,
    wire::{SecureWire, Wire},
};

/// The protocol whose positions and message names these are.
const PROTOCOL: &str = "pop3";
/// Longest line of a reply (RFC 2449 section 4 says 512; real servers exceed it).
const LINE_BYTES_MAX: usize = 8_192;
/// Messages in one maildrop.
const MESSAGES_MAX: usize = 1_000_000;
/// Lines of a capability list.
const CAPABILITIES_MAX: usize = 200;
/// Longest unique id (RFC 1939 section 7 says 70; real servers exceed it).
const UIDL_BYTES_MAX: usize = 512;
/// How many of the newest messages are searched for a message that has just come.
const NEWEST: usize = 20;
/// RETR commands that are under way at once, where the server has PIPELINING.
const PIPELINE: usize = 64;
/// Most bytes of content that are under way at once, unless one message alone is larger. All of them have to be
/// received before another command can be answered.
const PIPELINE_BYTES: u64 = CHUNK_BYTES as u64;

/// A signed-in session.
#[derive(Debug)]
pub struct Session {
    wire: SecureWire,
    memory: MemoryBudget,
    capabilities: BTreeSet<String>,
    listing: Vec<Listed>,
    /// The messages that are done, from the notes of this mailbox.
    seen: SeenUidls,
    /// Messages to read, with their sizes.
    waiting: VecDeque<(Listed, u64)>,
    /// Messages whose RETR was sent, oldest first.
    asked: VecDeque<(Listed, u64)>,
    /// Whether messages are read one by one.
    singly: bool,
    /// The message that is being read, where messages are read one by one.
    reading: Option<Listed>,
    /// The name of the message that is handed out as missing, and why.
    left_out: Option<(String, DeliveryError)>,
    /// Whether a large message is being read in pieces.
    in_pieces: bool,
    /// Whether what comes next continues a line whose beginning was copied already.
    in_line: bool,
    deletions: Vec<u32>,
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
        let mut wire = match location.security {
            Security::Tls => {
                let mut wire = Wire::new(connector.tls(tcp, access, location).await?, access.timeout);
                access.progress.reach(Stage::Greeting);
                greeted(&mut wire).await?;
                wire
            }
            Security::Starttls => {
                let mut plain = Wire::new(tcp, access.timeout);
                access.progress.reach(Stage::Greeting);
                greeted(&mut plain).await?;
                plain.stage = Stage::Tls;
                plain.write(b"STLS\r\n").await?;
                let line = plain.line(LINE_BYTES_MAX).await?;
                if line.starts_with(b"-ERR") {
                    let evidence = Evidence::new(Stage::Tls, &String::from_utf8_lossy(&line)).with_code("-ERR");
                    return Err(DeliveryError::new(Cause::TlsNotOffered, evidence));
                }
                check_is_reply(&plain, &line)?;
                Wire::new(connector.tls(plain.into_plain()?, access, location).await?, access.timeout)
            }
        };
        access.progress.reach(Stage::SignIn);
        wire.stage = Stage::SignIn;
        wire.write(b"CAPA\r\n").await?;
        let mut capabilities = BTreeSet::new();
        // A server without CAPA answers -ERR, which means that it can do nothing beyond RFC 1939.
        if wire.line(LINE_BYTES_MAX).await?.starts_with(b"+OK") {
            while let Some(line) = list_line(&mut wire).await? {
                let line = String::from_utf8_lossy(&line).to_ascii_uppercase();
                let mut words = line.split_ascii_whitespace();
                if let Some(name) = words.next() {
                    capabilities.insert(name.to_owned());
                    capabilities.extend(words.map(|word| format!("{name} {word}")));
                }
                if capabilities.len() > CAPABILITIES_MAX {
                    return Err(wire.violation("the server's list of capabilities does not end"));
                }
            }
        }
        let mut session = Self {
            wire,
            memory: memory.clone(),
            capabilities,
            listing: Vec::new(),
            seen: SeenUidls::default(),
            waiting: VecDeque::new(),
            asked: VecDeque::new(),
            singly: false,
            reading: None,
            left_out: None,
            in_pieces: false,
            in_line: false,
            deletions: Vec::new(),
        };
        session.sign_in(access).await?;
        Ok(session)
    }

    async fn sign_in(&mut self, access: &Access) -> Result<(), DeliveryError> {
        match access.authentication {
            Authentication::Xoauth2 if self.can("SASL XOAUTH2") => {
                self.authenticate("XOAUTH2", sasl::xoauth2(access).expose()).await
            }
            Authentication::Password if self.can("SASL PLAIN") => {
                match self.authenticate("PLAIN", sasl::plain(access).expose()).await {
                    // Without a code, the server may refuse the mechanism and not the account.
                    Err(DeliveryError { cause: Cause::SignInFailed, .. }) => self.user_and_pass(access).await,
                    answer => answer,
                }
            }
            Authentication::Password => self.user_and_pass(access).await,
            // The other ways to sign in are not SASL, and no profile of internet mail has them.
            Authentication::Xoauth2
            | Authentication::Ntlm
            | Authentication::ClientSecret
            | Authentication::ClientCertificate => {
                let evidence = Evidence::new(Stage::SignIn, "the server does not offer XOAUTH2");
                Err(DeliveryError::new(Cause::AuthenticationNotOffered, evidence))
            }
        }
    }

    /// RFC 5034. The response is sent after the server's `+`, because a command that includes it may be too long.
    async fn authenticate(&mut self, mechanism: &str, response: &str) -> Result<(), DeliveryError> {
        self.wire.write(format!("AUTH {mechanism}\r\n").as_bytes()).await?;
        let mut given = false;
        loop {
            let line = self.wire.line(LINE_BYTES_MAX).await?;
            if line.starts_with(b"+OK") {
                return Ok(());
            }
            if !line.starts_with(b"+ ") && line.as_ref() != b"+" {
                return Err(refusal(Stage::SignIn, &line));
            }
            // A second challenge carries the error of a token, and the server says -ERR only after an empty answer.
            let answer = if given { "\r\n".to_owned() } else { format!("{response}\r\n") };
            given = true;
            self.wire.write(answer.as_bytes()).await?;
        }
    }

    async fn user_and_pass(&mut self, access: &Access) -> Result<(), DeliveryError> {
        let fits = |text: &str| !text.contains(['\r', '\n', '\0']);
        if !fits(&access.username) || !fits(access.secret.expose()) {
            let evidence = Evidence::new(Stage::SignIn, "user name or password contains a line end");
            return Err(DeliveryError::new(Cause::AuthenticationNotOffered, evidence));
        }
        for command in [format!("USER {}\r\n", access.username), format!("PASS {}\r\n", access.secret.expose())] {
            self.wire.write(command.as_bytes()).await?;
            let line = self.wire.line(LINE_BYTES_MAX).await?;
            check_is_reply(&self.wire, &line)?;
            if !line.starts_with(b"+OK") {
                return Err(refusal(Stage::SignIn, &line));
            }
        }
        Ok(())
    }

    fn can(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    /// Reads the lines of UIDL. A line that cannot be read is passed over, because the other messages can be read.
    async fn read_listing(&mut self) -> Result<(), DeliveryError> {
        let (mut times, mut unread) = (HashMap::new(), 0);
        while let Some(line) = list_line(&mut self.wire).await? {
            let Some((number, uidl)) = number_and_rest(&line).filter(|(_, uidl)| !uidl.is_empty()) else {
                unread += 1;
                continue;
            };
            if uidl.len() > UIDL_BYTES_MAX || self.listing.len() >= MESSAGES_MAX {
                return Err(self.wire.violation("the listing of UIDL exceeds what a maildrop may have"));
            }
            let uidl = uidl.escape_ascii().to_string();
            let seen: &mut u32 = times.entry(uidl.clone()).or_default();
            *seen += 1;
            // Servers give several messages one UIDL, although RFC 1939 section 7 forbids it. A UIDL has no blank.
            let uidl = if *seen == 1 { uidl } else { format!("{uidl} {seen}") };
            self.listing.push(Listed { number, uidl });
        }
        match (unread, self.listing.is_empty()) {
            (1.., true) => Err(self.wire.violation("no line of the UIDL reply can be read")),
            (1.., false) => {
                tracing::warn!(unread, "lines of the UIDL reply cannot be read, and their messages are not looked at");
                Ok(())
            }
            (_, _) => Ok(()),
        }
    }

    /// Checks that the maildrop is empty, where the server refuses to list it: some servers do so if it is.
    async fn check_is_empty(&mut self, refusal: DeliveryError) -> Result<(), DeliveryError> {
        if refusal.cause != Cause::Unknown {
            return Err(refusal);
        }
        if !self.capabilities.is_empty() && !self.can("UIDL") {
            return Err(DeliveryError { cause: Cause::CapabilityMissing, ..refusal });
        }
        self.wire.write(b"STAT\r\n").await?;
        let line = self.wire.line(LINE_BYTES_MAX).await?;
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        if matches!(words[..], [b"+OK", b"0", ..]) { Ok(()) } else { Err(refusal) }
    }

    /// Reads the listing and compares it with the last one.
    pub(crate) async fn look(&mut self, position: Option<&Position>) -> Result<Look, DeliveryError> {
        self.wire.stage = Stage::List;
        self.wire.write(b"UIDL\r\n").await?;
        let line = self.wire.line(LINE_BYTES_MAX).await?;
        self.listing.clear();
        if !line.starts_with(b"+OK") {
            self.check_is_empty(refusal(Stage::List, &line)).await?;
        } else {
            self.read_listing().await?;
        }
        let known: Option<Pop3Position> = position.and_then(|position| position.read(PROTOCOL));
        Ok(match known {
            Some(known) if known.listing == listing_digest(&self.listing) => {
                Look::Nothing(Position::of(PROTOCOL, &known))
            }
            Some(_) | None => Look::Something,
        })
    }

    /// Finds what is to be read. If the notes cannot be read, messages are read again, and their records are
    /// recognized.
    pub(crate) async fn begin(&mut self, notes: Option<&[u8]>, pace: Pace) -> Result<usize, DeliveryError> {
        self.seen = notes.and_then(SeenUidls::from_bytes).unwrap_or_default();
        self.seen.prune(&self.listing);
        self.singly = pace != Pace::Pages;
        self.wire.stage = Stage::List;
        let unseen = self.seen.unseen(&self.listing);
        if unseen.is_empty() {
            return Ok(0);
        }
        self.wire.write(b"LIST\r\n").await?;
        let line = self.wire.line(LINE_BYTES_MAX).await?;
        if !line.starts_with(b"+OK") {
            return Err(refusal(Stage::List, &line));
        }
        let mut sizes = HashMap::new();
        while let Some(line) = list_line(&mut self.wire).await? {
            let (number, size) =
                number_and_rest(&line).ok_or_else(|| self.wire.violation("a line of the LIST reply cannot be read"))?;
            let size = size.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            sizes.insert(number, std::str::from_utf8(size).ok().and_then(|s| s.parse().ok()).unwrap_or(0_u64));
            if sizes.len() > MESSAGES_MAX {
                return Err(self.wire.violation("the listing does not end"));
            }
        }
        self.waiting = unseen
            .into_iter()
            .map(|listed| {
                let size = sizes.get(&listed.number).copied().unwrap_or(0);
                (listed, size)
            })
            .collect();
        self.wire.stage = Stage::Fetch;
        Ok(self.waiting.len())
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Result<Option<Arrival>, DeliveryError> {
        if let Some((listed, size)) = self.waiting.front()
            && let Some((_, because)) = self.left_out.take_if(|(name, _)| *name == listed.uidl)
        {
            let (remote, size) = (remote(listed.clone()), *size);
            self.waiting.pop_front();
            return Ok(Some(Arrival { remote, received_at: None, size, content: Content::Missing(because) }));
        }
        self.ask_for_more().await?;
        let Some((listed, size)) = self.asked.pop_front() else {
            return Ok(None);
        };
        self.reading = Some(listed.clone()).filter(|_| self.singly);
        let line = self.wire.line(LINE_BYTES_MAX).await?;
        let remote = remote(listed);
        let arrival = |content| Ok(Some(Arrival { remote, received_at: None, size, content }));
        if !line.starts_with(b"+OK") {
            let error = refusal(Stage::Fetch, &line);
            // One bad message does not stop the next messages; a failing server does.
            let is_bad_message = error.cause == Cause::Unknown;
            return if is_bad_message { arrival(Content::Missing(error)) } else { Err(error) };
        }
        if size > WHOLE_MESSAGE_BYTES_MAX {
            self.in_pieces = true;
            return arrival(Content::Pieces);
        }
        let share = self.memory.reserve(size).await;
        let mut message = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
        while self.copy_lines(&mut message).await? {
            // Servers count bytes in LIST differently, so a message may exceed its size, but not without limit.
            if message.len() as u64 > size.max(UNCOUNTED_BYTES).saturating_mul(2) {
                return Err(self.wire.violation("the server sends more of a message than it has listed"));
            }
        }
        arrival(Content::Whole(message.freeze(), share))
    }

    /// Keeps the pipeline full.
    async fn ask_for_more(&mut self) -> Result<(), DeliveryError> {
        let most = if self.can("PIPELINING") && !self.singly { PIPELINE } else { 1 };
        if self.asked.len() > most / 2 {
            return Ok(());
        }
        let mut commands = String::new();
        let mut bytes: u64 = self.asked.iter().map(|(_, size)| size).sum();
        while self.asked.len() < most
            && let Some((listed, size)) =
                self.waiting.pop_front_if(|(_, size)| bytes == 0 || bytes.saturating_add(*size) <= PIPELINE_BYTES)
        {
            bytes = bytes.saturating_add(size);
            commands.push_str(&format!("RETR {}\r\n", listed.number));
            self.asked.push_back((listed, size));
        }
        if commands.is_empty() { Ok(()) } else { self.wire.write(commands.as_bytes()).await }
    }

    /// Whether one of the newest messages has this Message-ID; `None` if the server has no TOP (RFC 1939 section 7).
    pub(crate) async fn has(&mut self, message_id: &str) -> Result<Option<bool>, DeliveryError> {
        if !self.can("TOP") {
            return Ok(None);
        }
        self.look(None).await?;
        let wanted = format!("<{message_id}>");
        let newest: Vec<u32> = self.listing.iter().rev().take(NEWEST).map(|listed| listed.number).collect();
        let mut found = false;
        for number in newest {
            self.wire.write(format!("TOP {number} 0\r\n").as_bytes()).await?;
            let line = self.wire.line(LINE_BYTES_MAX).await?;
            if !line.starts_with(b"+OK") {
                continue;
            }
            while let Some(line) = list_line(&mut self.wire).await? {
                let field = String::from_utf8_lossy(&line);
                found |= field.trim_end().ends_with(&wanted) && field.to_ascii_lowercase().starts_with("message-id:");
            }
        }
        Ok(Some(found))
    }

    /// The message that was being read when the session ended.
    pub(crate) fn unread(&mut self) -> Option<RemoteId> {
        self.reading.take().map(remote)
    }

    /// Hands this message out as missing, without asking for it.
    pub(crate) fn leave_out(&mut self, message: &RemoteId, because: DeliveryError) {
        self.left_out = Some((message.name.clone(), because));
    }

    /// Asks for one message that an earlier session named so.
    pub(crate) async fn again(&mut self, remote_id: &str) -> Result<Option<Arrival>, DeliveryError> {
        let name = RemoteId::name_in(PROTOCOL, remote_id);
        let Some(listed) = self.listing.iter().find(|listed| Some(listed.uidl.as_str()) == name).cloned() else {
            return Ok(None);
        };
        self.wire.stage = Stage::Fetch;
        self.wire.write(format!("LIST {}\r\n", listed.number).as_bytes()).await?;
        let line = self.wire.line(LINE_BYTES_MAX).await?;
        let size =
            line.split(|byte| *byte == b' ').nth(2).and_then(|size| std::str::from_utf8(size).ok()?.parse().ok());
        self.left_out = None;
        self.waiting = VecDeque::from([(listed, size.unwrap_or(0))]);
        self.next().await
    }

    /// The next piece of a large message.
    pub(crate) async fn read(&mut self) -> Result<Option<Bytes>, DeliveryError> {
        if !self.in_pieces {
            return Ok(None);
        }
        let mut piece = BytesMut::with_capacity(CHUNK_BYTES);
        while self.in_pieces && piece.len() < CHUNK_BYTES {
            self.in_pieces = self.copy_lines(&mut piece).await?;
        }
        Ok((!piece.is_empty()).then(|| piece.freeze()))
    }

    /// Copies the lines that have come, without their dot stuffing. `false` at the end of the message.
    async fn copy_lines(&mut self, into: &mut BytesMut) -> Result<bool, DeliveryError> {
        let mut taken = 0;
        let mut at_end = false;
        let available = self.wire.available().await?;
        while let Some(length) = memchr::memchr(b'\n', available.get(taken..).unwrap_or_default()) {
            let line = available.get(taken..=taken + length).unwrap_or_default();
            taken += length + 1;
            if !self.in_line && (line == b".\r\n" || line == b".\n") {
                at_end = true;
                break;
            }
            into.extend_from_slice(unstuffed(line, self.in_line));
            self.in_line = false;
        }
        if taken == 0 && available.len() > LINE_BYTES_MAX {
            // The end of the line is far away, so the part that has come is copied already. It is not the final dot,
            // because that line is much shorter.
            into.extend_from_slice(unstuffed(available, self.in_line));
            taken = available.len();
            self.in_line = true;
        }
        self.wire.consume(taken);
        if taken == 0 {
            self.wire.fill().await?;
        }
        Ok(!at_end)
    }

    /// How far the maildrop has been read.
    pub(crate) fn position(&self, last: Option<&RemoteId>) -> Position {
        let listing = match last {
            // Messages that are to be deleted stay open until QUIT has succeeded.
            None if self.deletions.is_empty() => listing_digest(&self.listing),
            Some(_) | None => String::new(),
        };
        Position::of(PROTOCOL, &Pop3Position { listing })
    }

    /// Notes that these messages are done.
    pub(crate) fn note(&mut self, messages: &[RemoteId]) {
        for message in messages {
            self.seen.insert(&message.name);
        }
    }

    /// The UIDLs whose messages are done, see [`SeenUidls::to_bytes`].
    pub(crate) fn notes(&self) -> Vec<u8> {
        self.seen.to_bytes()
    }

    /// Marks messages to be deleted when the session is closed.
    pub(crate) fn delete(&mut self, messages: &[RemoteId]) {
        self.deletions.extend(messages.iter().filter_map(|remote| u32::try_from(remote.number).ok()));
    }

    /// Deletes what is marked, which takes effect only at QUIT, and ends the session.
    pub(crate) async fn close(mut self) -> Result<(), DeliveryError> {
        self.waiting.clear();
        // If something is to be deleted, messages that are still on their way are received first; the next run reads
        // them.
        while !self.deletions.is_empty() && self.next().await?.is_some() {
            while self.read().await?.is_some() {}
        }
        if !self.asked.is_empty() {
            return Ok(());
        }
        let deletions = std::mem::take(&mut self.deletions);
        let per_write = if self.can("PIPELINING") { PIPELINE } else { 1 };
        for numbers in deletions.chunks(per_write) {
            let commands: String = numbers.iter().map(|number| format!("DELE {number}\r\n")).collect();
            self.wire.write(commands.as_bytes()).await?;
            for _ in numbers {
                let line = self.wire.line(LINE_BYTES_MAX).await?;
                if !line.starts_with(b"+OK") {
                    return Err(refusal(Stage::Fetch, &line));
                }
            }
        }
        self.wire.write(b"QUIT\r\n").await?;
        if deletions.is_empty() {
            return Ok(());
        }
        let line = self.wire.line(LINE_BYTES_MAX).await?;
        if line.starts_with(b"+OK") { Ok(()) } else { Err(refusal(Stage::Fetch, &line)) }
    }
}

/// A line, or the rest of one, without the dot that was put before a dot (RFC 1939 section 3).
fn unstuffed(line: &[u8], is_rest: bool) -> &[u8] {
    if is_rest { line } else { line.strip_prefix(b".").unwrap_or(line) }
}

async fn greeted<S: AsyncRead + AsyncWrite + Unpin + Send>(wire: &mut Wire<S>) -> Result<(), DeliveryError> {
    let line = wire.line(LINE_BYTES_MAX).await?;
    if line.starts_with(b"+OK") {
        Ok(())
    } else if line.starts_with(b"-ERR") {
        Err(refusal(Stage::Greeting, &line))
    } else {
        Err(wire.violation(&format!("not a POP3 greeting: {}", String::from_utf8_lossy(&line))))
    }
}

/// A line that is neither `+OK` nor `-ERR` says nothing about what was asked.
fn check_is_reply<S: AsyncRead + AsyncWrite + Unpin + Send>(wire: &Wire<S>, line: &[u8]) -> Result<(), DeliveryError> {
    if line.starts_with(b"+OK") || line.starts_with(b"-ERR") {
        return Ok(());
    }
    Err(wire.violation(&format!("not a reply of a POP3 server: {}", String::from_utf8_lossy(line))))
}

/// The next line of a multi-line reply, or `None` at its end.
async fn list_line(wire: &mut SecureWire) -> Result<Option<Bytes>, DeliveryError> {
    let line = wire.line(LINE_BYTES_MAX).await?;
    if line.as_ref() == b"." {
        return Ok(None);
    }
    Ok(Some(if line.starts_with(b".") { line.slice(1..) } else { line }))
}

fn remote(listed: Listed) -> RemoteId {
    let number = usize::try_from(listed.number).unwrap_or(usize::MAX);
    RemoteId { protocol: PROTOCOL, name: listed.uidl, number }
}

fn number_and_rest(line: &[u8]) -> Option<(u32, &[u8])> {
    let line = line.trim_ascii();
    let at = line.iter().position(u8::is_ascii_whitespace)?;
    let number = std::str::from_utf8(line.get(..at)?).ok()?.parse().ok()?;
    Some((number, line.get(at + 1..)?.trim_ascii()))
}
