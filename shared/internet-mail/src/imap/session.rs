//! One signed-in IMAP session: commands, replies, and what any reply says about the server and the inbox.

use std::collections::BTreeSet;

use bytes::Bytes;
use mailrail_connect::Connector;
use mailrail_domain::{
    email::imap::FolderState,
    settings::profile::{Authentication, Security, ServerLocation},
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::{
    limits::{UNCOUNTED_BYTES, WHOLE_MESSAGE_BYTES_MAX},
    ports::{Access, Folder, MemoryBudget, Reserved},
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

/// Most replies to one command: a server that never ends a command is cut off.
pub(super) const REPLIES_MAX: usize = 5_000_000;
/// How much larger than the largest whole message a literal may be, because a message may have grown by its fields.
pub(super) const SMALL_LITERAL_BYTES: u64 = UNCOUNTED_BYTES;
/// Who we are (RFC 2971).
const INTRODUCTION: &str = concat!("ID (\"name\" \"Mailrail\" \"version\" \"", env!("CARGO_PKG_VERSION"), "\")");
/// The folder that incoming email is read from.
pub(super) const INBOX: &str = "INBOX";

/// A signed-in session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) wire: SecureWire,
    pub(super) memory: MemoryBudget,
    pub(super) capabilities: BTreeSet<String>,
    commands: u32,
    /// Whether the server is to be told who we are, before the next command.
    introduces: bool,
    /// What the server last said about the inbox.
    pub(super) folder: FolderState,
    /// How many messages the server said that the open folder has.
    pub(super) exists: Option<u32>,
    /// The UIDs that the server's last search found.
    pub(super) found: UidSet,
}

/// A reply with its literals and their share of the memory budget.
pub(super) struct Full {
    pub reply: Reply,
    pub literals: Vec<(Bytes, Reserved)>,
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
            introduces: false,
            folder: FolderState::default(),
            exists: None,
            found: UidSet::default(),
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
                match self.authenticate("PLAIN", sasl::plain(access).expose()).await {
                    Err(error) if self.takes_login(access) && is_of_the_mechanism(&error) => self.login(access).await?,
                    answer => answer?,
                }
            }
            Authentication::Password if !self.can("LOGINDISABLED") => self.login(access).await?,
            // The other ways to sign in are not SASL, and no profile of internet mail has them.
            Authentication::Password
            | Authentication::Xoauth2
            | Authentication::Ntlm
            | Authentication::ClientSecret
            | Authentication::ClientCertificate => {
                let offered: Vec<&str> = self.capabilities.iter().map(String::as_str).collect();
                let words = format!("the server offers {}", offered.join(" "));
                let evidence = Evidence::new(Stage::SignIn, &words);
                return Err(DeliveryError::new(Cause::AuthenticationNotOffered, evidence));
            }
        };
        self.introduces = self.can("ID");
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
                // The first continuation asks for the credentials, unless they were sent already. A further one carries
                // the error of a token, and the server says NO only after an empty answer.
                let answer = if given { "\r\n".to_owned() } else { format!("{initial}\r\n") };
                given = true;
                self.wire.write(answer.as_bytes()).await?;
            } else if let Some(status) = self.ended(&full.reply, &tag)? {
                return Ok(status);
            }
        }
    }

    /// Whether LOGIN is there and can carry user name and password.
    fn takes_login(&self, access: &Access) -> bool {
        let fits = |text| quoted(text).is_some();
        !self.can("LOGINDISABLED") && fits(&access.username) && fits(access.secret.expose())
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

    /// Whether a folder has a message with this Message-ID; `None` if there is no such folder.
    pub(crate) async fn has(&mut self, folder: Folder, message_id: &str) -> Result<Option<bool>, DeliveryError> {
        self.wire.stage = Stage::Open;
        let name = match folder {
            Folder::Inbox => Some(INBOX.to_owned()),
            Folder::Sent => self.sent_folder().await?,
            Folder::Drafts | Folder::Outbox => None,
        };
        let (Some(name), Some(id)) = (name, quoted(&format!("<{message_id}>"))) else {
            return Ok(None);
        };
        let tag = self.send(&format!("EXAMINE {name}")).await?;
        self.finish(&tag).await?;
        self.found = UidSet::default();
        let tag = self.send(&format!("UID SEARCH HEADER Message-ID {id}")).await?;
        self.finish(&tag).await?;
        Ok(Some(!self.found.is_empty()))
    }

    /// The quoted name of the Sent folder: the folder that is marked as such (RFC 6154), else a folder with a usual
    /// name.
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

    /// Says goodbye. It does not matter whether the server receives it.
    pub(crate) async fn close(mut self) {
        let logout = self.tag("LOGOUT");
        let _ = self.wire.write(logout.1.as_bytes()).await;
    }

    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    pub(super) fn tag(&mut self, command: &str) -> (String, String) {
        self.commands += 1;
        let tag = format!("a{}", self.commands);
        let line = format!("{tag} {command}\r\n");
        (tag, line)
    }

    pub(super) async fn send(&mut self, command: &str) -> Result<String, DeliveryError> {
        let (tag, line) = self.tag(command);
        self.write(&line).await?;
        Ok(tag)
    }

    /// Writes commands. The first write after the sign-in also says who we are (RFC 2971), because 163.com and its
    /// sisters open no folder otherwise. The answer to that tells nothing and is passed over.
    pub(super) async fn write(&mut self, commands: &str) -> Result<(), DeliveryError> {
        if std::mem::take(&mut self.introduces) {
            let (_, introduction) = self.tag(INTRODUCTION);
            return self.wire.write(format!("{introduction}{commands}").as_bytes()).await;
        }
        self.wire.write(commands.as_bytes()).await
    }

    /// Reads replies up to the end of a command, learning from each.
    pub(super) async fn finish(&mut self, tag: &str) -> Result<Status, DeliveryError> {
        self.finish_with(tag, |_| {}).await
    }

    /// The same, where `each` takes the replies before the end.
    pub(super) async fn finish_with(
        &mut self,
        tag: &str,
        mut each: impl FnMut(Full) + Send,
    ) -> Result<Status, DeliveryError> {
        for _ in 0..REPLIES_MAX {
            let full = self.reply().await?;
            if let Some(status) = self.ended(&full.reply, tag)? {
                return Ok(status);
            }
            each(full);
        }
        Err(self.wire.violation("the server does not end its answer"))
    }

    /// The status if the reply ends the command; an error if the reply refuses the command or says goodbye. Any reply
    /// may also tell something about the folder.
    pub(super) fn ended(&mut self, reply: &Reply, tag: &str) -> Result<Option<Status>, DeliveryError> {
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
            self.exists = number.number();
        } else if let (Tag::Untagged, [_, word]) = (&reply.tag, reply.tokens.as_slice())
            && word.is("EXPUNGE")
        {
            self.exists = self.exists.map(|exists| exists.saturating_sub(1));
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
            // A server may give its answer in several lines.
            self.found.extend(UidSet::of(tokens.iter().map_while(Token::number::<u32>)));
        } else if let Some(tokens) = reply.untagged("ESEARCH") {
            let all = value(tokens, "ALL").and_then(Token::text);
            self.found.extend(all.and_then(UidSet::parse).unwrap_or_default());
        }
    }

    /// The name of a message: a UID together with the UIDVALIDITY under which it was given (RFC 3501, section 2.3.1.1).
    pub(super) fn name_of(&self, uid: u32) -> String {
        format!("{}-{uid}", self.folder.uid_validity)
    }

    fn no_imap(&self, line: &[u8]) -> DeliveryError {
        self.wire.violation(&format!("not an IMAP greeting: {}", String::from_utf8_lossy(line)))
    }

    /// The next reply, with its literals.
    pub(super) async fn reply(&mut self) -> Result<Full, DeliveryError> {
        let line = self.wire.line(REPLY_BYTES_MAX).await?;
        let mut reply = parse_line(&line);
        let mut literals = Vec::new();
        let mut length = if reply.status.is_none() { literal_length(&line) } else { None };
        while let Some(bytes) = length {
            // A message may have grown by its fields since its size was asked for, but not without limit.
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

/// Whether a refusal of AUTHENTICATE leaves it open whether the account may sign in. LOGIN is then the last resort
/// (RFC 9051 section 6.2.3).
fn is_of_the_mechanism(error: &DeliveryError) -> bool {
    let says_nothing = matches!(error.cause, Cause::SignInFailed | Cause::ProtocolViolation);
    // BYE, and a connection that ends, have another cause; a code other than CANNOT is a reason.
    says_nothing && error.evidence.detail.as_deref().is_none_or(|code| code == "CANNOT")
}

/// Asks for TLS on a plain connection. Nothing that the server says before TLS is believed afterwards.
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
pub(super) fn value<'a>(tokens: &'a [Token], name: &str) -> Option<&'a Token> {
    let at = tokens.iter().position(|token| token.is(name))?;
    tokens.get(at + 1)
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_ascii_whitespace().map(str::to_ascii_uppercase)
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
    fn nothing_that_could_end_a_command_is_quoted() {
        assert_eq!(quoted("a\"b\\").as_deref(), Some("\"a\\\"b\\\\\""));
        assert_eq!(quoted("a\r\nb"), None);
        assert_eq!(quoted("é"), None);
    }
}
