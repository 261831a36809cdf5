//! Email records: a person reads them, writes a draft and sends it.

use bytes::Bytes;
use mailrail_domain::{
    Timestamp,
    email::{
        identity::sent_email_id,
        record::{
            Correspondent, Direction, Email, EmailStatus, HTML_PREVIEW_BYTES_MAX, Outgoing, RECIPIENTS_MAX,
            REFERENCES_MAX, Recipient, SUBJECT_CHARS_MAX, TEXT_PREVIEW_BYTES_MAX,
        },
    },
    words::{
        address::EmailAddress,
        delivery::Delivery,
        id::{EmailId, MailboxId},
        invalid::Invalid,
        role::Role,
    },
};

use super::{By, Refusal};
use crate::{
    Engine,
    mime::{Composition, MESSAGE_TYPE, beginning, clean_html, compose},
    outage::Outage,
    ports::{BodyStore, Directory, EmailRecords, Page, PageRequest, Ports, QuotaStore, StoredEmail},
};

/// Emails of an outbox that are counted.
const WAITING_MAX: usize = 100;

/// An email to be written.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// The mailbox that sends it.
    pub mailbox_id: String,
    /// To.
    pub to: Vec<EmailAddress>,
    /// Cc.
    pub cc: Vec<EmailAddress>,
    /// Bcc: these recipients get it and stand in no header.
    pub bcc: Vec<EmailAddress>,
    /// Subject.
    pub subject: String,
    /// Text.
    pub text: String,
    /// HTML, where there is any besides the text.
    pub html: Option<String>,
    /// The email record that it answers.
    pub answers: Option<String>,
}

/// An email record with the records that it answers and that answer it.
#[derive(Debug, Clone)]
pub struct InThread {
    /// The record.
    pub email: Email,
    /// The record that it answers, if that is here.
    pub answers: Option<EmailId>,
    /// The records that answer it.
    pub replies: Vec<EmailId>,
}

/// What waits in an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Emails, counted as far as a hundred.
    pub emails: u32,
    /// Since when the oldest waits.
    pub oldest: Option<Timestamp>,
}

impl<P: Ports> Engine<P> {
    /// The email record with this identifier.
    pub async fn find_email(&self, id: &str) -> Result<StoredEmail, Refusal> {
        let not_found = || Refusal::not_found("email", id);
        let id = EmailId::parse(id).map_err(|_| not_found())?;
        self.ports.records().email(&id).await?.ok_or_else(not_found)
    }

    /// Lists a mailbox's email records, the newest first.
    pub async fn list_emails(&self, mailbox: &MailboxId, page: &PageRequest) -> Result<Page<Email>, Refusal> {
        let found = self.ports.records().emails(mailbox, page).await?;
        // The records of a mailbox that was deleted stay.
        if found.items.is_empty() && page.cursor.is_none() {
            self.find_mailbox(mailbox.as_str()).await?;
        }
        Ok(found)
    }

    /// The email record with this identifier, with what it answers and what answers it.
    pub async fn email_in_thread(&self, id: &str) -> Result<InThread, Refusal> {
        let email = self.find_email(id).await?.email;
        let records = self.ports.records();
        let answers = self.nearest_answered(&email).await?;
        let mut replies = Vec::new();
        if let Some(message_id) = &email.message_id {
            let may_answer = records.replies(message_id).await?;
            for reply in records.emails_with(&may_answer).await? {
                // It answers this one unless a nearer one is here.
                let is_direct = reply.email.answered().first() == Some(&message_id.as_str());
                if is_direct || self.nearest_answered(&reply.email).await?.as_ref() == Some(&email.id) {
                    replies.push(reply.email.id);
                }
            }
        }
        Ok(InThread { email, answers, replies })
    }

    /// Of the records that an email may answer, the nearest that is here.
    async fn nearest_answered(&self, email: &Email) -> Result<Option<EmailId>, Outage> {
        for message_id in email.answered() {
            let found = self.ports.records().with_message_id(message_id).await?;
            if let Some(answered) = found.into_iter().next() {
                return Ok(Some(answered.id));
            }
        }
        Ok(None)
    }

    /// The raw message of a record, of at most `bytes_max`.
    pub async fn raw_message(&self, email: &Email, bytes_max: u64) -> Result<Bytes, Refusal> {
        let content = self.ports.bodies().get(&email.raw_key, bytes_max).await?;
        content.ok_or_else(|| Refusal::not_found("raw message of", email.id.as_str()))
    }

    /// What waits in the outbox of a mailbox.
    pub(super) async fn waiting(&self, mailbox: &MailboxId) -> Result<Waiting, Outage> {
        let page = PageRequest { limit: WAITING_MAX, cursor: None };
        let outbox = self.outbox().page(mailbox, &page).await?.items;
        let emails = u32::try_from(outbox.len()).unwrap_or(u32::MAX);
        Ok(Waiting { emails, oldest: outbox.first().map(|stored| stored.email.received_at) })
    }

    /// Writes an email as a draft.
    pub async fn create_draft(&self, by: &By, draft: Draft) -> Result<Email, Refusal> {
        by.needs(Role::Administrator, "Writing an email")?;
        let unknown = || Invalid::new("mailbox_id", "there is no mailbox with this id", "Give the id of a mailbox");
        let sender = MailboxId::parse(draft.mailbox_id.as_str()).map_err(|_| unknown())?;
        let sender = self.ports.mailboxes().mailbox(&sender).await?.ok_or_else(unknown)?.stored.mailbox;
        let Some(from) = &sender.address else {
            let problem = "the mailbox has no address";
            return Err(Invalid::new("mailbox_id", problem, "Give it an address, or choose another mailbox").into());
        };
        let recipients = recipients(&[&draft.to, &draft.cc, &draft.bcc])?;
        if draft.subject.chars().count() > SUBJECT_CHARS_MAX {
            let remedy = format!("Give at most {SUBJECT_CHARS_MAX} characters");
            return Err(Invalid::new("subject", "it is too long", remedy).into());
        }
        let references = match &draft.answers {
            Some(id) => references(&self.find_email(id).await.map_err(|refusal| refusal.named_by("answers"))?.email),
            None => Vec::new(),
        };
        let message_id = format!("{}@{}", (by.new_id)(), from.domain());
        let raw = compose(&Composition {
            from: Some((&sender.name, from)),
            to: &draft.to,
            cc: &draft.cc,
            subject: &draft.subject,
            text: &draft.text,
            html: draft.html.as_deref(),
            message_id: &message_id,
            references: &references,
        });
        let id = sent_email_id(&message_id);
        let (html, cut) = clean_html(draft.html.as_deref().unwrap_or_default(), HTML_PREVIEW_BYTES_MAX);
        let text = beginning(&draft.text, TEXT_PREVIEW_BYTES_MAX);
        let email = Email {
            raw_key: format!("emails/{id}/raw"),
            id,
            mailbox_id: sender.id.clone(),
            direction: Direction::Outgoing,
            status: EmailStatus::Draft,
            message_id: Some(message_id),
            in_reply_to: references.last().cloned(),
            references,
            from: vec![Correspondent { name: Some(sender.name.clone()), address: from.as_str().to_owned() }],
            to: correspondents(&draft.to),
            cc: correspondents(&draft.cc),
            bcc: correspondents(&draft.bcc),
            subject: draft.subject,
            date: None,
            received_at: self.now(),
            size: raw.len() as u64,
            headers: String::new(),
            truncated: cut || text.len() < draft.text.len(),
            text: text.to_owned(),
            html,
            attachments: Vec::new(),
            outgoing: Some(Outgoing { recipients, ..Outgoing::default() }),
        };
        self.ports.bodies().put(&email.raw_key, Bytes::from(raw), MESSAGE_TYPE).await?;
        if !self.ports.records().insert_draft(&email).await? {
            return Err(Refusal::conflict("There is an email with this Message-ID already.", "Create it again."));
        }
        Ok(email)
    }

    /// Sends a draft as [`Engine::find_email`] read it: it becomes Pending Send, and its mailbox is woken.
    ///
    /// Its recipients are counted before it is written, so that no two that are sent at the same moment exceed the limit
    /// together. If somebody else wrote first, the count is given back. An outage between the two leaves them counted,
    /// because nobody knows then whether the email was written.
    pub async fn send_draft(&self, by: &By, draft: StoredEmail) -> Result<Email, Refusal> {
        by.needs(Role::Administrator, "Sending an email")?;
        let StoredEmail { mut email, revision } = draft;
        if email.status != EmailStatus::Draft {
            let detail = format!("The email is not a draft; its status is {:?}.", email.status);
            return Err(Refusal::conflict(detail, "Create another email."));
        }
        let recipients = email.outgoing.as_ref().map_or(0, |outgoing| outgoing.recipients.len());
        if recipients == 0 {
            return Err(Invalid::new("to", "the email has no recipient", "Give at least one in to, cc or bcc").into());
        }
        let (now, recipients) = (self.now(), u32::try_from(recipients).unwrap_or(u32::MAX));
        let most = self.ports.mailboxes().organization().await?.organization.recipients_per_hour;
        let quotas = self.ports.mailboxes();
        if !quotas.count_recipients(&email.mailbox_id, now, recipients, most).await? {
            let detail = format!(
                "The mailbox would send to more than {most} recipients in this hour, and mass email is not supported."
            );
            let remedy = "Send it in another hour, use a service for bulk email, or raise recipients_per_hour.";
            return Err(Refusal::TooMany { detail, remedy: remedy.to_owned() });
        }
        email.status = EmailStatus::PendingSend;
        // Row first, message second: should the message be lost, the schedule finds the row.
        let Some(stored) = self.outbox().update(&email, &revision).await? else {
            quotas.uncount_recipients(&email.mailbox_id, now, recipients).await?;
            return Err(Refusal::conflict("The email was changed at the same moment.", "Look at it again."));
        };
        self.wake([stored.email.mailbox_id.clone()], Delivery::OutgoingEmail, 0).await?;
        Ok(stored.email)
    }
}

/// Every recipient once, in the order in which they were given.
fn recipients(lists: &[&[EmailAddress]]) -> Result<Vec<Recipient>, Invalid> {
    let mut seen = std::collections::BTreeSet::new();
    let all = lists.iter().flat_map(|list| list.iter()).filter(|address| seen.insert(address.normalized()));
    let recipients: Vec<Recipient> = all.cloned().map(Recipient::new).collect();
    if recipients.len() > RECIPIENTS_MAX {
        let problem = format!("the email has {} recipients", recipients.len());
        return Err(Invalid::new("to", problem, format!("Give at most {RECIPIENTS_MAX} in to, cc and bcc")));
    }
    Ok(recipients)
}

fn correspondents(addresses: &[EmailAddress]) -> Vec<Correspondent> {
    addresses.iter().map(|a| Correspondent { name: None, address: a.as_str().to_owned() }).collect()
}

/// References of an answer: those of the answered email and its own Message-ID (RFC 5322 section 3.6.4).
fn references(answered: &Email) -> Vec<String> {
    let mut references = answered.references.clone();
    references.extend(answered.message_id.clone());
    references.drain(..references.len().saturating_sub(REFERENCES_MAX));
    references
}
