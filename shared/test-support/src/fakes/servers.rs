//! Mail servers in memory, which can be taken down: for what a thousand mailboxes do over hours of virtual time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use mailrail_domain::{
    Timestamp,
    email::{
        imap::ImapPosition,
        position::Position,
        sending::{ContentReply, RecipientReply},
    },
    rules::retry::Pace,
    settings::endpoint::Endpoint,
    words::{
        address::EmailAddress,
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::ports::{
    Access, Arrival, Content, EnvelopeReply, Finder, Folder, IncomingServers, IncomingSession, Look, MemoryBudget,
    OutgoingServers, OutgoingSession, RemoteId,
};

use super::lock;

const MEMORY: &str = "memory";
const UID_VALIDITY: u32 = 1;

/// A server of incoming email that can be down, and one of outgoing email that hangs up where it is told to.
#[derive(Debug, Default)]
pub struct MemoryServers(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_down: bool,
    /// Messages by user name.
    mail: BTreeMap<String, Vec<Bytes>>,
    connections: usize,
    refused: BTreeSet<String>,
    afflicted: BTreeMap<String, Affliction>,
    /// What becomes of messages that are asked for, by user name and number.
    withheld: BTreeMap<(String, u32), Withheld>,
    sent: Vec<(Vec<EmailAddress>, String)>,
    /// Recipients at whose name the server of outgoing email hangs up.
    hangs_up_at: BTreeSet<EmailAddress>,
    /// Trouble at random: whose order it is in, and at how many of a thousand calls.
    trouble: Option<(fastrand::Rng, u32)>,
    /// Whether copies of what is sent are kept, and can be looked for.
    keeps_copies: bool,
    /// Whether the servers keep their answers back.
    is_slow: bool,
}

/// What happens to whoever connects as an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affliction {
    /// The adapter panics.
    Panic,
    /// The server never answers, and the adapter waits for ever.
    Silence,
}

/// What becomes of a message that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// The server refuses it.
    Refused,
    /// The server hangs up.
    HungUp,
}

impl State {
    /// Whether this call meets trouble, and of which of `kinds`.
    fn trouble(&mut self, kinds: u8) -> Option<u8> {
        let (random, per_mille) = self.trouble.as_mut()?;
        (random.u32(0..1_000) < *per_mille).then(|| random.u8(0..kinds))
    }
}

impl MemoryServers {
    /// Makes trouble in the order of this seed at so many of a thousand calls, or none any more.
    pub fn set_trouble(&self, seed: u64, per_mille: u32) {
        lock(&self.0).trouble = Some((fastrand::Rng::with_seed(seed), per_mille)).filter(|_| per_mille > 0);
    }

    /// Keeps copies of what is sent from now on, so that they can be looked for.
    pub fn keep_copies(&self) {
        lock(&self.0).keeps_copies = true;
    }

    /// Takes an account that was refused again.
    pub fn accept(&self, username: &str) {
        lock(&self.0).refused.remove(username);
    }

    /// Withholds a message of an account, by its number from 1 on, or hands it out again.
    pub fn withhold(&self, username: &str, number: u32, withheld: Option<Withheld>) {
        let (mut state, key) = (lock(&self.0), (username.to_owned(), number));
        match withheld {
            Some(withheld) => state.withheld.insert(key, withheld),
            None => state.withheld.remove(&key),
        };
    }

    /// Afflicts an account from now on.
    pub fn afflict(&self, username: &str, affliction: Affliction) {
        lock(&self.0).afflicted.insert(username.to_owned(), affliction);
    }

    /// Takes the server of incoming email down, or up again.
    pub fn set_down(&self, is_down: bool) {
        lock(&self.0).is_down = is_down;
    }

    /// Puts a message into a mailbox, whether its server is up or not.
    pub fn deliver(&self, username: &str, message: &str) {
        let message = Bytes::copy_from_slice(message.as_bytes());
        lock(&self.0).mail.entry(username.to_owned()).or_default().push(message);
    }

    /// Refuses an account from now on.
    pub fn refuse(&self, username: &str) {
        lock(&self.0).refused.insert(username.to_owned());
    }

    /// How often the server of incoming email was connected to, or tried to be.
    pub fn connections(&self) -> usize {
        lock(&self.0).connections
    }

    /// Hangs up whenever this recipient is named.
    pub fn hang_up_at(&self, recipient: EmailAddress) {
        lock(&self.0).hangs_up_at.insert(recipient);
    }

    /// Keeps the answers to who connects and to what is sent back, until they are let go.
    pub fn set_slow(&self, is_slow: bool) {
        lock(&self.0).is_slow = is_slow;
    }

    /// Hangs up at nobody any more.
    pub fn hang_up_at_nobody(&self) {
        lock(&self.0).hangs_up_at.clear();
    }

    /// What was sent: recipients and message.
    pub fn sent(&self) -> Vec<(Vec<EmailAddress>, String)> {
        lock(&self.0).sent.clone()
    }
}

/// A session with the server of incoming email.
#[derive(Debug)]
pub struct MemoryIncoming {
    servers: Arc<Mutex<State>>,
    messages: Vec<Bytes>,
    withheld: BTreeMap<u32, Withheld>,
    waiting: VecDeque<u32>,
    unread: Option<u32>,
    left_out: Option<(String, DeliveryError)>,
}

impl MemoryIncoming {
    fn done(position: Option<&Position>) -> u32 {
        position.and_then(|position| position.read::<ImapPosition>(MEMORY)).map_or(0, |position| position.uid_done)
    }

    fn remote(uid: u32) -> RemoteId {
        RemoteId { protocol: MEMORY, name: uid.to_string(), number: uid as usize }
    }

    fn last(&self) -> u32 {
        u32::try_from(self.messages.len()).unwrap_or(u32::MAX)
    }
}

impl IncomingSession for MemoryIncoming {
    async fn look(&mut self, position: Option<&Position>) -> Result<Look, DeliveryError> {
        Ok(match position {
            Some(known) if Self::done(position) == self.last() => Look::Nothing(known.clone()),
            Some(_) | None => Look::Something,
        })
    }

    async fn begin(
        &mut self,
        position: Option<&Position>,
        _: Option<&[u8]>,
        _: Option<Timestamp>,
        _: Pace,
    ) -> Result<usize, DeliveryError> {
        self.waiting = (Self::done(position) + 1..=self.last()).collect();
        Ok(self.waiting.len())
    }

    async fn next(&mut self) -> Result<Option<Arrival>, DeliveryError> {
        let Some(uid) = self.waiting.pop_front() else {
            return Ok(None);
        };
        let (remote, message) = (Self::remote(uid), self.messages[uid as usize - 1].clone());
        let size = message.len() as u64;
        let refusal = |cause| DeliveryError::new(cause, Evidence::new(Stage::Fetch, "no such luck"));
        let trouble = lock(&self.servers).trouble(2);
        let withheld = match trouble {
            None => self.withheld.get(&uid).copied(),
            Some(0) => Some(Withheld::Refused),
            Some(_) => Some(Withheld::HungUp),
        };
        let content = match (self.left_out.take_if(|(name, _)| *name == remote.name), withheld) {
            (Some((_, because)), _) => Content::Missing(because),
            (None, Some(Withheld::Refused)) => Content::Missing(refusal(Cause::ServerUnavailable)),
            (None, Some(Withheld::HungUp)) => {
                self.unread = Some(uid);
                return Err(refusal(Cause::ConnectionLost));
            }
            (None, None) => Content::Whole(message, MemoryBudget::new().reserve(0).await),
        };
        Ok(Some(Arrival { remote, received_at: None, size, content }))
    }

    fn unread(&mut self) -> Option<RemoteId> {
        self.unread.take().map(Self::remote)
    }

    fn leave_out(&mut self, message: &RemoteId, because: DeliveryError) {
        self.left_out = Some((message.name.clone(), because));
    }

    async fn again(&mut self, remote_id: &str) -> Result<Option<Arrival>, DeliveryError> {
        let uid: Option<u32> = RemoteId::name_in(MEMORY, remote_id).and_then(|name| name.parse().ok());
        self.waiting = uid.into_iter().filter(|uid| *uid <= self.last()).collect();
        self.next().await
    }

    async fn read(&mut self) -> Result<Option<Bytes>, DeliveryError> {
        Ok(None)
    }

    fn position(&self, last: Option<&RemoteId>) -> Position {
        let uid_done = last.and_then(|remote| u32::try_from(remote.number).ok()).unwrap_or_else(|| self.last());
        Position::of(MEMORY, &ImapPosition { uid_validity: UID_VALIDITY, uid_done, mod_seq: None })
    }

    async fn delete(&mut self, _: &[RemoteId]) -> Result<(), DeliveryError> {
        Ok(())
    }

    async fn close(self) -> Result<(), DeliveryError> {
        Ok(())
    }
}

impl IncomingServers for MemoryServers {
    type Session = MemoryIncoming;

    async fn open(&self, access: &Access, _: &MemoryBudget) -> Result<MemoryIncoming, DeliveryError> {
        let afflicted = lock(&self.0).afflicted.get(&access.username).copied();
        match afflicted {
            Some(Affliction::Panic) => panic!("the adapter panics for {}", access.username),
            Some(Affliction::Silence) => std::future::pending().await,
            None => {}
        }
        while lock(&self.0).is_slow {
            tokio::task::yield_now().await;
        }
        let mut state = lock(&self.0);
        state.connections += 1;
        if state.is_down || state.trouble(1).is_some() {
            let evidence = Evidence::new(Stage::Connect, "Connection refused");
            return Err(DeliveryError::new(Cause::ConnectionRefused, evidence));
        }
        if state.refused.contains(&access.username) {
            let evidence = Evidence::new(Stage::SignIn, "Authentication failed");
            return Err(DeliveryError::new(Cause::CredentialsRefused, evidence));
        }
        let messages = state.mail.get(&access.username).cloned().unwrap_or_default();
        let of_account = state.withheld.iter().filter(|((username, _), _)| *username == access.username);
        let withheld = of_account.map(|((_, number), withheld)| (*number, *withheld)).collect();
        let servers = Arc::clone(&self.0);
        Ok(MemoryIncoming { servers, messages, withheld, waiting: VecDeque::new(), unread: None, left_out: None })
    }

    fn is_exclusive(&self, _: &Endpoint) -> bool {
        false
    }
}

impl Finder for MemoryServers {
    async fn has(&self, _: &Access, folder: Folder, message_id: &str) -> Result<Option<bool>, DeliveryError> {
        let mut state = lock(&self.0);
        if !state.keeps_copies || folder != Folder::Sent {
            return Ok(None);
        }
        if state.trouble(1).is_some() {
            return Err(DeliveryError::new(Cause::TimedOut, Evidence::new(Stage::Open, "no answer")));
        }
        let id = format!("<{message_id}>");
        Ok(Some(state.sent.iter().any(|(_, message)| message.contains(&id))))
    }
}

/// A session with the server of outgoing email.
#[derive(Debug)]
pub struct MemoryOutgoing {
    servers: Arc<Mutex<State>>,
    recipients: Vec<EmailAddress>,
}

impl OutgoingSession for MemoryOutgoing {
    async fn envelope(
        &mut self,
        _: &EmailAddress,
        recipients: &[EmailAddress],
    ) -> Result<EnvelopeReply, DeliveryError> {
        let mut state = lock(&self.servers);
        match state.trouble(2) {
            None => {}
            Some(0) => {
                let evidence = Evidence::new(Stage::Envelope, "the connection was reset");
                return Err(DeliveryError::new(Cause::ConnectionLost, evidence));
            }
            Some(_) => {
                let put_off = |recipient: &EmailAddress| {
                    let evidence = Evidence::new(Stage::Envelope, "greylisted").with_code("450");
                    (recipient.clone(), RecipientReply::Deferred(evidence))
                };
                return Ok(EnvelopeReply::Recipients(recipients.iter().map(put_off).collect()));
            }
        }
        if recipients.iter().any(|recipient| state.hangs_up_at.contains(recipient)) {
            let evidence = Evidence::new(Stage::Envelope, "the server hung up");
            return Err(DeliveryError::new(Cause::ConnectionLost, evidence));
        }
        self.recipients = recipients.to_vec();
        Ok(EnvelopeReply::accepted(recipients))
    }

    async fn content(&mut self, message: &[u8]) -> Result<ContentReply, DeliveryError> {
        // Whoever works beside the sender has a turn.
        tokio::task::yield_now().await;
        while lock(&self.servers).is_slow {
            tokio::task::yield_now().await;
        }
        let message = String::from_utf8_lossy(message).into_owned();
        let mut state = lock(&self.servers);
        let trouble = state.trouble(2);
        if trouble != Some(0) {
            state.sent.push((std::mem::take(&mut self.recipients), message));
        }
        match trouble {
            None => Ok(ContentReply::Accepted),
            Some(_) => Ok(ContentReply::Unknown(Evidence::new(Stage::Data, "no answer"))),
        }
    }

    async fn reset(&mut self) -> Result<(), DeliveryError> {
        self.recipients.clear();
        Ok(())
    }

    async fn close(self) {}
}

impl OutgoingServers for MemoryServers {
    type Session = MemoryOutgoing;

    async fn open(&self, _: &Access) -> Result<MemoryOutgoing, DeliveryError> {
        Ok(MemoryOutgoing { servers: Arc::clone(&self.0), recipients: Vec::new() })
    }
}
