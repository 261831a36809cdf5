//! Messages that went wrong: trying them again, and saying why one was not synchronized.

use mailrail_domain::{
    email::{
        quarantine::{Clues, QuarantineReason, Quarantined, Wanted},
        record::Email,
    },
    rules::run::end::End,
    words::{
        audit::AuditEntry,
        delivery::{Delivery, SynchronizationMethod},
        id::{EmailId, MailboxId},
        passed_over::PassedOver,
        state::DeliveryState,
    },
};

use crate::{
    Engine,
    limits::{
        DELIVERY_WRITES_MAX, LOOKUP_PAGE, LOOKUP_PAGES_MAX, QUARANTINE_PAGES_MAX, WAKE_DELAY_SECONDS,
        WHOLE_MESSAGE_BYTES_MAX,
    },
    mime::read,
    outage::Outage,
    ports::{BodyStore, Directory, EmailRecords, JobQueue, MailboxStore, PageRequest, Ports, QuarantineStore, Wake},
};

/// What trying a message again came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// A record has it, made now or before.
    Recorded(EmailId),
    /// The server did not hand it out. The next run of its mailbox, which is woken, asks for it again.
    Asked,
    /// It is in quarantine still, for this reason.
    Refused(String),
    /// It is in no quarantine.
    Gone,
}

/// What is known of a missing message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is a record.
    Recorded(Box<Email>),
    /// It is in quarantine.
    Quarantined(Box<Quarantined>),
    /// Nothing like it is here; this is how incoming email of the mailbox stands, as a sentence.
    NotHere(String),
}

impl<P: Ports> Engine<P> {
    /// Tries again to make a record of a message in quarantine, from its raw bytes. A record that is there already, since
    /// the message was synchronized meanwhile, is not doubled. `audit` is written if it becomes a record.
    pub async fn replay(&self, mailbox: &MailboxId, remote_id: &str, audit: &AuditEntry) -> Result<Replayed, Outage> {
        let quarantine = self.ports.mailboxes();
        let Some(message) = quarantine.quarantined_message(mailbox, remote_id).await? else {
            return Ok(Replayed::Gone);
        };
        let refused = |why: &str| Ok(Replayed::Refused(why.to_owned()));
        if message.reason == QuarantineReason::NotHandedOut {
            return self.ask_soon(mailbox).await;
        }
        if message.raw_key.is_empty() {
            return refused("The server handed out none of its bytes, so there is nothing to try again.");
        }
        if message.size > WHOLE_MESSAGE_BYTES_MAX {
            return refused(QuarantineReason::TooLarge.sentence());
        }
        let Some(raw) = self.ports.bodies().get(&message.raw_key, WHOLE_MESSAGE_BYTES_MAX).await? else {
            return refused("Its raw bytes are not there any more.");
        };
        let _held = self.memory.reserve(raw.len() as u64).await;
        match read(&raw, raw.len() as u64, mailbox, message.received_at, self.now()) {
            Ok(found) => {
                let id = found.email.id.clone();
                self.store(mailbox, raw, found).await?;
                quarantine.release(&message, audit).await?;
                Ok(Replayed::Recorded(id))
            }
            Err(unreadable) => {
                let again = Quarantined {
                    attempts: message.attempts.saturating_add(1),
                    last_attempt: Some(self.now()),
                    detail: unreadable.detail,
                    ..message
                };
                quarantine.retried(&again).await?;
                refused(unreadable.reason.sentence())
            }
        }
    }

    /// Has the next run of a mailbox ask for what was passed over, and wakes it.
    async fn ask_soon(&self, mailbox: &MailboxId) -> Result<Replayed, Outage> {
        let (store, delivery) = (self.ports.mailboxes(), Delivery::IncomingEmail);
        for _ in 0..DELIVERY_WRITES_MAX {
            let Some(row) = store.load(mailbox, delivery).await? else {
                return Ok(Replayed::Gone);
            };
            let Some(stored) = store.profile(&row.mailbox.profile_id).await? else {
                return Ok(Replayed::Refused("Its mailbox has no email server profile.".to_owned()));
            };
            if !row.state.enabled {
                return Ok(Replayed::Refused("Incoming email of its mailbox is disabled. Enable it first.".to_owned()));
            }
            if self.is_in_use(&row) {
                break;
            }
            let is_unproven = row.state.passed_over.is_some_and(|known| known.is_unproven);
            let passed_over = PassedOver { ask_at: self.now(), asked: 0, is_unproven };
            let state = DeliveryState { passed_over: Some(passed_over), ..row.state.clone() };
            if self.commit(&row, &row.claim, &stored.profile, None, End::quiet(state), None).await? {
                store.hurry(mailbox, delivery).await?;
                let wake = Wake { mailbox: mailbox.clone(), delivery };
                self.ports.queue().send(&[wake.into()], WAKE_DELAY_SECONDS).await?;
                return Ok(Replayed::Asked);
            }
        }
        Ok(Replayed::Refused("Its mailbox is being synchronized. Try again in a minute.".to_owned()))
    }

    /// The first `most` messages in a mailbox's quarantine that match, and whether there may be more. The store lists a
    /// mailbox's quarantine whole, so pages are read until enough match.
    pub(crate) async fn quarantined_where(
        &self,
        mailbox: &MailboxId,
        most: usize,
        matches: impl Fn(&Quarantined) -> bool + Send,
    ) -> Result<(Vec<Quarantined>, bool), Outage> {
        let mut matching = Vec::new();
        let mut page = PageRequest { limit: LOOKUP_PAGE, cursor: None };
        for _ in 0..QUARANTINE_PAGES_MAX {
            let found = self.ports.mailboxes().quarantined(mailbox, &page).await?;
            matching.extend(found.items.into_iter().filter(|message| matches(message)));
            page.cursor = found.cursor;
            if page.cursor.is_none() || matching.len() > most {
                break;
            }
        }
        let more = page.cursor.is_some() || matching.len() > most;
        matching.truncate(most);
        Ok((matching, more))
    }

    /// Why a message is not where somebody looks for it: it is a record, it is in quarantine, or it never came.
    pub async fn why_not_synchronized(&self, mailbox: &MailboxId, wanted: &Wanted) -> Result<Vec<Finding>, Outage> {
        let records = self.ports.records();
        let mut findings = Vec::new();
        let mut page = PageRequest { limit: LOOKUP_PAGE, cursor: None };
        for _ in 0..LOOKUP_PAGES_MAX {
            let found = records.emails(mailbox, &page).await?;
            let matching = found.items.into_iter().filter(|email| wanted.matches(&clues_of(email)));
            findings.extend(matching.map(|email| Finding::Recorded(Box::new(email))));
            page.cursor = found.cursor;
            if page.cursor.is_none() || findings.len() >= LOOKUP_PAGE {
                break;
            }
        }
        let matches = |message: &Quarantined| wanted.matches(&message.clues);
        let (matching, _) = self.quarantined_where(mailbox, LOOKUP_PAGE, matches).await?;
        findings.extend(matching.into_iter().map(|message| Finding::Quarantined(Box::new(message))));
        if findings.is_empty() {
            findings.push(Finding::NotHere(self.standing(mailbox).await?));
        }
        Ok(findings)
    }

    /// How incoming email of a mailbox stands, for whoever misses a message.
    async fn standing(&self, mailbox: &MailboxId) -> Result<String, Outage> {
        let directory = self.ports.mailboxes();
        let Some(details) = directory.mailbox(mailbox).await? else {
            return Ok("There is no such mailbox any more.".to_owned());
        };
        let state = details.deliveries.into_iter().find(|(delivery, _)| *delivery == Delivery::IncomingEmail);
        let Some((_, state)) = state else {
            return Ok("Incoming email of the mailbox was never configured.".to_owned());
        };
        if state.method != SynchronizationMethod::ServerSideSynchronization {
            return Ok("Incoming email of the mailbox is not synchronized: its method is none.".to_owned());
        }
        let moment = |at: mailrail_domain::Timestamp| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
        let last = state.last_success.map_or("has never worked".to_owned(), |at| format!("last worked {}", moment(at)));
        if !state.enabled {
            return Ok(format!("Incoming email of the mailbox is disabled and {last}: read its alerts."));
        }
        if state.transient_failure_count > 0 {
            return Ok(format!("Incoming email of the mailbox fails at present and {last}: read its alerts."));
        }
        let profile = directory.profile(&details.stored.mailbox.profile_id).await?;
        let start = profile.and_then(|stored| details.stored.mailbox.start_date(&stored.profile));
        let since =
            start.map_or(String::new(), |at| format!(" Messages received before {} are left alone.", moment(at)));
        Ok(format!(
            "Incoming email of the mailbox works and {last}; no such message was in its inbox then.{since} Look into the \
             mailbox's other folders, which are not read."
        ))
    }
}

fn clues_of(email: &Email) -> Clues {
    Clues {
        message_id: email.message_id.clone(),
        subject: Some(email.subject.clone()),
        sender: email.from.first().map(|from| from.address.clone()),
    }
}
