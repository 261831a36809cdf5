//! What becomes of one message that a server handed out: a record, or a place in quarantine with its reason.

use bytes::Bytes;
use mailrail_domain::{
    Timestamp,
    email::{
        quarantine::{Clues, QUARANTINE_DAYS, QuarantineReason, Quarantined},
        record::Email,
    },
    seconds_after,
    words::{hex::hex_of_first, id::MailboxId},
};
use sha2::{Digest, Sha256};

use crate::{
    Engine,
    limits::MESSAGE_BYTES_MAX,
    mime::{MESSAGE_TYPE, ReadMessage, Unreadable, clues, read},
    outage::Outage,
    ports::{
        Arrival, BodyStore, Content, EmailRecords, IncomingServers, IncomingSession, Inserted, Ports, QuarantineStore,
        RemoteId,
    },
    run::Stop,
};

/// Media type of an attachment that names none.
pub(crate) const BYTES_TYPE: &str = "application/octet-stream";
const SECONDS_PER_DAY: i64 = 86_400;

/// A message that this run is done with.
pub(crate) struct Taken {
    pub remote: RemoteId,
    pub end: End,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A record has it, byte for byte. Anything else stays on the server, even where the profile says to delete.
    Recorded,
    /// A record of the same identity has other bytes: a copy of another mailbox, or another content.
    OtherBytes,
    /// It is in quarantine.
    Quarantined,
    /// The server did not hand it out. It is in quarantine without its bytes, and is asked for again later.
    PassedOver,
    /// It was received before the start date.
    BeforeStart,
}

impl<P: Ports> Engine<P> {
    /// Makes a message that is held in memory a record, or puts it into quarantine.
    pub(crate) async fn take(
        &self,
        mailbox: &MailboxId,
        start_date: Option<Timestamp>,
        arrival: Arrival,
    ) -> Result<Taken, Outage> {
        let Arrival { remote, received_at, size, content } = arrival;
        let end = match content {
            Content::BeforeStart | Content::Pieces => End::BeforeStart,
            Content::Missing(error) => {
                let detail = error.evidence.words;
                let unreadable = Unreadable { reason: QuarantineReason::NotHandedOut, detail };
                self.quarantine(mailbox, &remote, (size, received_at), unreadable, None).await?;
                End::PassedOver
            }
            Content::Whole(raw, reserved) => {
                let end = match read(&raw, raw.len() as u64, mailbox, received_at, self.now()) {
                    Ok(message) if is_before_start(received_at, &message, start_date) => End::BeforeStart,
                    Ok(message) => self.store(mailbox, raw, message).await?,
                    Err(unreadable) => {
                        self.quarantine(mailbox, &remote, (size, received_at), unreadable, Some(raw)).await?;
                        End::Quarantined
                    }
                };
                drop(reserved);
                end
            }
        };
        Ok(Taken { remote, end })
    }

    /// Writes the objects first, then the row that names them. A message that is a record already leaves no objects.
    pub(crate) async fn store(&self, mailbox: &MailboxId, raw: Bytes, message: ReadMessage) -> Result<End, Outage> {
        if let Some(known) = self.ports.records().email(&message.email.id).await? {
            self.ports.records().insert_received(&message.email, mailbox).await?;
            return Ok(end_of(&known.email, &message.email));
        }
        let ReadMessage { email, attachments } = message;
        let bodies = self.ports.bodies();
        let put_attachments = async {
            for (attachment, content) in email.attachments.iter().zip(attachments) {
                bodies.put(&attachment.key, content, &attachment.content_type).await?;
            }
            Ok(())
        };
        tokio::try_join!(bodies.put(&email.raw_key, raw, MESSAGE_TYPE), put_attachments)?;
        self.write_record(&email, mailbox).await
    }

    /// Writes the record of a message whose objects are there.
    async fn write_record(&self, email: &Email, mailbox: &MailboxId) -> Result<End, Outage> {
        let records = self.ports.records();
        match records.insert_received(email, mailbox).await? {
            Inserted::New => Ok(End::Recorded),
            Inserted::AlreadyThere => {
                let known = records.email(&email.id).await?;
                Ok(known.map_or(End::OtherBytes, |known| end_of(&known.email, email)))
            }
        }
    }

    /// Streams a message that is too large to hold: its raw bytes pass through, and its record is made from its beginning.
    pub(crate) async fn take_pieces(
        &self,
        mailbox: &MailboxId,
        session: &mut <P::Incoming as IncomingServers>::Session,
        remote: &RemoteId,
        received_at: Option<Timestamp>,
        size: u64,
        start_date: Option<Timestamp>,
    ) -> Result<End, Stop> {
        let first = session.read().await?.unwrap_or_default();
        let message = if size > MESSAGE_BYTES_MAX {
            let detail = format!("{size} bytes; at most {MESSAGE_BYTES_MAX} become a record");
            Err(Unreadable { reason: QuarantineReason::TooLarge, detail })
        } else {
            read(&first, size, mailbox, received_at, self.now())
        };
        if message.as_ref().is_ok_and(|message| is_before_start(received_at, message, start_date)) {
            // The server is already sending it, so the rest has to be read.
            while session.read().await?.is_some() {}
            return Ok(End::BeforeStart);
        }
        let seen = if message.is_err() { clues(&first) } else { Clues::default() };
        let key = message.as_ref().map_or_else(|_| quarantine_key(mailbox, remote), |m| m.email.raw_key.clone());
        let bodies = self.ports.bodies();
        let mut upload = bodies.begin(&key, MESSAGE_TYPE).await?;
        let mut piece = first;
        loop {
            bodies.append(&mut upload, piece).await?;
            piece = match session.read().await? {
                Some(piece) => piece,
                None => break,
            };
        }
        bodies.finish(upload).await?;
        match message {
            Ok(message) => Ok(self.write_record(&message.email, mailbox).await?),
            Err(unreadable) => {
                self.list_quarantined(mailbox, remote, (size, received_at), unreadable, key, seen).await?;
                Ok(End::Quarantined)
            }
        }
    }

    pub(crate) async fn quarantine(
        &self,
        mailbox: &MailboxId,
        remote: &RemoteId,
        listed: (u64, Option<Timestamp>),
        unreadable: Unreadable,
        raw: Option<Bytes>,
    ) -> Result<(), Outage> {
        let (mut key, mut seen) = (String::new(), Clues::default());
        if let Some(raw) = raw {
            key = quarantine_key(mailbox, remote);
            seen = clues(&raw);
            self.ports.bodies().put(&key, raw, BYTES_TYPE).await?;
        }
        self.list_quarantined(mailbox, remote, listed, unreadable, key, seen).await
    }

    /// `listed` is what the server says of size and arrival.
    async fn list_quarantined(
        &self,
        mailbox: &MailboxId,
        remote: &RemoteId,
        listed: (u64, Option<Timestamp>),
        unreadable: Unreadable,
        raw_key: String,
        clues: Clues,
    ) -> Result<(), Outage> {
        let (at, (size, received_at)) = (self.now(), listed);
        let entry = Quarantined {
            mailbox_id: mailbox.clone(),
            remote_id: remote.to_string(),
            reason: unreadable.reason,
            detail: unreadable.detail,
            raw_key,
            received_at,
            size,
            at,
            attempts: 1,
            last_attempt: Some(at),
            clues,
        };
        tracing::warn!(%mailbox, reason = ?entry.reason, size, "a message went to quarantine");
        let until = seconds_after(at, i64::from(QUARANTINE_DAYS) * SECONDS_PER_DAY);
        self.ports.mailboxes().quarantine(&entry, until).await
    }
}

/// What became of a message whose record is `known`. The key of its bytes has their digest in it.
fn end_of(known: &Email, message: &Email) -> End {
    let is_same = known.raw_key == message.raw_key && known.size == message.size;
    if is_same { End::Recorded } else { End::OtherBytes }
}

/// A protocol that does not say when a message was received leaves it to the message's own fields.
fn is_before_start(received_at: Option<Timestamp>, message: &ReadMessage, start_date: Option<Timestamp>) -> bool {
    received_at.is_none() && start_date.is_some_and(|start| message.email.received_at < start)
}

fn quarantine_key(mailbox: &MailboxId, remote: &RemoteId) -> String {
    let name = hex_of_first(16, &Sha256::digest(remote.to_string().as_bytes()));
    format!("quarantine/{mailbox}/{name}")
}
