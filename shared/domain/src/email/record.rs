//! Email records: what is kept of a message, and how an outgoing one moves from Draft to Sent or Failed.

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp, seconds_after,
    words::{
        address::EmailAddress,
        evidence::Evidence,
        id::{EmailId, MailboxId},
        policy::RetryPolicy,
    },
};

/// Longest subject that is kept, in characters (source system: 800).
pub const SUBJECT_CHARS_MAX: usize = 800;

/// Longest text preview, in bytes.
pub const TEXT_PREVIEW_BYTES_MAX: usize = 16_384;

/// Longest cleaned HTML preview, in bytes.
pub const HTML_PREVIEW_BYTES_MAX: usize = 32_768;

/// Longest header block that is kept in the row, in bytes; the raw message has the rest.
pub const HEADERS_BYTES_MAX: usize = 16_384;

/// Most addresses that are kept of one header field.
pub const ADDRESSES_MAX: usize = 500;

/// Most recipients of one outgoing email.
pub const RECIPIENTS_MAX: usize = 500;

/// Most attachments that are taken out of one message; the raw message has the rest.
pub const ATTACHMENTS_MAX: usize = 250;

/// Most Message-IDs that are kept of References.
pub const REFERENCES_MAX: usize = 100;

/// Longest Message-ID that is kept, in bytes (source system: 320, which real ones exceed).
pub const MESSAGE_ID_BYTES_MAX: usize = 998;

/// Which way an email went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the server to us.
    Incoming,
    /// From us to the server.
    Outgoing,
}

/// Where an email record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmailStatus {
    /// Being written.
    Draft,
    /// Waiting for its mailbox to send it.
    PendingSend,
    /// Being handed over; from here on the server may have it.
    Sending,
    /// The server took it for every recipient.
    Sent,
    /// It will not reach every recipient; the recipients say which.
    Failed,
    /// It came from the server.
    Received,
}

/// A name and an address, as a header gave them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Correspondent {
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Address, as it was written; headers of others need not be valid.
    pub address: String,
}

/// A part of a message that is an object of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// File name, as the message gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Media type.
    pub content_type: String,
    /// Content-ID, by which HTML refers to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_id: Option<String>,
    /// Decoded size in bytes.
    pub size: u64,
    /// Key of the object.
    pub key: String,
}

/// How far one recipient of an outgoing email has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum RecipientStatus {
    /// Not yet taken.
    Pending {
        /// The server's words, where it put the recipient off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Evidence>,
    },
    /// The server took the email for this recipient.
    Sent,
    /// The server refused it, in these words.
    Refused {
        /// The server's words.
        evidence: Evidence,
    },
}

/// A recipient of an outgoing email.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Where to.
    pub address: EmailAddress,
    /// How far it has come.
    #[serde(flatten)]
    pub status: RecipientStatus,
}

impl Recipient {
    /// A recipient that nothing has been tried for.
    #[must_use]
    pub const fn new(address: EmailAddress) -> Self {
        Self { address, status: RecipientStatus::Pending { evidence: None } }
    }

    /// Whether the email still has to be handed over for this recipient.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        matches!(self.status, RecipientStatus::Pending { .. })
    }
}

/// What only an outgoing email has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outgoing {
    /// Everybody it goes to, each with its own result.
    pub recipients: Vec<Recipient>,
    /// Tries in a row that left somebody pending.
    #[serde(default)]
    pub attempts: u32,
    /// Not before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
    /// The recipients of a hand-over whose end nobody saw: the server may have the email for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcome_unknown: Vec<EmailAddress>,
    /// What is to be said about its fate, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// An email record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Email {
    /// Its identity, see [`crate::email::identity`].
    pub id: EmailId,
    /// The mailbox that received it first, or sends it.
    pub mailbox_id: MailboxId,
    /// Which way it went.
    pub direction: Direction,
    /// Where it stands.
    pub status: EmailStatus,
    /// Message-ID without angle brackets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The Message-ID that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
    /// References, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// From.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Correspondent>,
    /// To.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Correspondent>,
    /// Cc.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cc: Vec<Correspondent>,
    /// Bcc.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bcc: Vec<Correspondent>,
    /// Subject, decoded.
    pub subject: String,
    /// Date, as the sender gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Timestamp>,
    /// When the server received it, or the record was written.
    pub received_at: Timestamp,
    /// Size of the raw message in bytes.
    pub size: u64,
    /// The header block, decoded as far as it is text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub headers: String,
    /// Beginning of the text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Beginning of the HTML, cleaned.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub html: String,
    /// Whether text, HTML, headers or address lists were cut; the raw message has everything.
    #[serde(default)]
    pub truncated: bool,
    /// Key of the raw message; empty while an outgoing one has not been made.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub raw_key: String,
    /// Parts that are objects of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// What only an outgoing email has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outgoing: Option<Outgoing>,
}

impl Email {
    /// The Message-ID of the email that this one answers: In-Reply-To, or the last of References.
    #[must_use]
    pub fn answers(&self) -> Option<&str> {
        self.in_reply_to.as_deref().or_else(|| self.references.last().map(String::as_str))
    }
}

/// What the server said to one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecipientReply {
    /// Taken.
    Accepted,
    /// Refused for good (5xx).
    Refused(Evidence),
    /// Put off (4xx).
    Deferred(Evidence),
}

/// What became of the content, for the recipients that were accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentReply {
    /// Taken; nothing more can go wrong on our side.
    Accepted,
    /// Refused for good (5xx).
    Refused(Evidence),
    /// Put off (4xx).
    Deferred(Evidence),
    /// The connection ended after the content was sent and before the answer came.
    Unknown(Evidence),
    /// No recipient was accepted, so it was not sent.
    NotSent,
}

/// What the server said to one hand-over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendReport {
    /// Recipients that were named, each with its reply.
    pub recipients: Vec<(EmailAddress, RecipientReply)>,
    /// The answer to the content.
    pub content: ContentReply,
}

/// The email after a hand-over: each recipient by its own reply, and the status that follows from all of them.
#[must_use]
pub fn after_report(email: &Email, report: &SendReport, policy: RetryPolicy, now: Timestamp) -> Email {
    let mut after = email.clone();
    let mut outgoing = email.outgoing.clone().unwrap_or_default();
    if let ContentReply::Unknown(evidence) = &report.content {
        let accepted = report.recipients.iter().filter(|(_, reply)| *reply == RecipientReply::Accepted);
        outgoing.outcome_unknown = accepted.map(|(address, _)| address.clone()).collect();
        outgoing.note = Some(format!(
            "The connection ended before the server answered ({}), so it is not known whether the email was sent.",
            evidence.words
        ));
        for recipient in &mut outgoing.recipients {
            settle_refusals(recipient, report);
        }
        after.status = EmailStatus::Sending;
        after.outgoing = Some(outgoing);
        return after;
    }
    outgoing.outcome_unknown.clear();
    outgoing.note = None;
    for recipient in &mut outgoing.recipients {
        settle_recipient(recipient, report);
    }
    finish(&mut after, outgoing, policy, now);
    after
}

/// The email after its unknown outcome was settled: `sent` if a copy was found in the Sent folder.
#[must_use]
pub fn after_settling(email: &Email, sent: bool, send_again: bool, policy: RetryPolicy, now: Timestamp) -> Email {
    let mut after = email.clone();
    let mut outgoing = email.outgoing.clone().unwrap_or_default();
    let unknown = std::mem::take(&mut outgoing.outcome_unknown);
    let note = match (sent, send_again) {
        (true, _) => "The server's answer was lost; the email was found in the Sent folder.",
        (false, true) => "The server's answer was lost and no copy was found; it is sent again, as the profile says.",
        (false, false) => {
            "The server's answer was lost and no copy was found, so the email may or may not have been sent. The \
             profile says not to send it again."
        }
    };
    for recipient in outgoing.recipients.iter_mut().filter(|r| r.is_pending() && unknown.contains(&r.address)) {
        if sent {
            recipient.status = RecipientStatus::Sent;
        } else if !send_again {
            let evidence = Evidence::new(crate::words::evidence::Stage::Data, note);
            recipient.status = RecipientStatus::Refused { evidence };
        }
    }
    finish(&mut after, outgoing, policy, now);
    if let Some(outgoing) = &mut after.outgoing {
        outgoing.note = Some(note.to_owned());
        if send_again && after.status == EmailStatus::PendingSend {
            outgoing.next_attempt = None;
        }
    }
    after
}

fn finish(email: &mut Email, mut outgoing: Outgoing, policy: RetryPolicy, now: Timestamp) {
    let pending = outgoing.recipients.iter().any(Recipient::is_pending);
    if pending {
        outgoing.attempts += 1;
    }
    if pending && outgoing.attempts >= policy.failures_max {
        for recipient in &mut outgoing.recipients {
            if let RecipientStatus::Pending { evidence } = &recipient.status {
                let words = format!("put off {} times, and given up", outgoing.attempts);
                let last = Evidence::new(crate::words::evidence::Stage::Envelope, &words);
                recipient.status = RecipientStatus::Refused { evidence: evidence.clone().unwrap_or(last) };
            }
        }
        outgoing.note = Some(format!("Given up after {} tries.", outgoing.attempts));
    }
    let refused = outgoing.recipients.iter().any(|r| matches!(r.status, RecipientStatus::Refused { .. }));
    let pending = outgoing.recipients.iter().any(Recipient::is_pending);
    email.status = match (pending, refused) {
        (true, _) => EmailStatus::PendingSend,
        (false, true) => EmailStatus::Failed,
        (false, false) => EmailStatus::Sent,
    };
    outgoing.next_attempt = pending.then(|| seconds_after(now, i64::from(policy.gap_seconds)));
    email.outgoing = Some(outgoing);
}

fn settle_refusals(recipient: &mut Recipient, report: &SendReport) {
    if let Some(RecipientReply::Refused(evidence)) = reply_to(recipient, report) {
        recipient.status = RecipientStatus::Refused { evidence: evidence.clone() };
    }
}

fn settle_recipient(recipient: &mut Recipient, report: &SendReport) {
    let Some(reply) = reply_to(recipient, report) else {
        return;
    };
    recipient.status = match (reply, &report.content) {
        (RecipientReply::Refused(evidence), _) | (RecipientReply::Accepted, ContentReply::Refused(evidence)) => {
            RecipientStatus::Refused { evidence: evidence.clone() }
        }
        (RecipientReply::Deferred(evidence), _)
        | (RecipientReply::Accepted, ContentReply::Deferred(evidence) | ContentReply::Unknown(evidence)) => {
            RecipientStatus::Pending { evidence: Some(evidence.clone()) }
        }
        (RecipientReply::Accepted, ContentReply::Accepted) => RecipientStatus::Sent,
        (RecipientReply::Accepted, ContentReply::NotSent) => RecipientStatus::Pending { evidence: None },
    };
}

fn reply_to<'a>(recipient: &Recipient, report: &'a SendReport) -> Option<&'a RecipientReply> {
    let named = report.recipients.iter().find(|(address, _)| *address == recipient.address);
    named.map(|(_, reply)| reply).filter(|_| recipient.is_pending())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::evidence::Stage;

    fn now() -> Timestamp {
        Timestamp::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn address(name: &str) -> EmailAddress {
        EmailAddress::parse(format!("{name}@example.org")).unwrap()
    }

    fn words(text: &str) -> Evidence {
        Evidence::new(Stage::Envelope, text)
    }

    fn email(recipients: &[&str]) -> Email {
        let recipients = recipients.iter().map(|name| Recipient::new(address(name))).collect();
        Email {
            id: crate::email::identity::sent_email_id("x@example.org"),
            mailbox_id: MailboxId::parse("m1").unwrap(),
            direction: Direction::Outgoing,
            status: EmailStatus::PendingSend,
            message_id: Some("x@example.org".into()),
            in_reply_to: None,
            references: vec![],
            from: vec![],
            to: vec![],
            cc: vec![],
            bcc: vec![],
            subject: "s".into(),
            date: None,
            received_at: now(),
            size: 0,
            headers: String::new(),
            text: String::new(),
            html: String::new(),
            truncated: false,
            raw_key: String::new(),
            attachments: vec![],
            outgoing: Some(Outgoing { recipients, ..Outgoing::default() }),
        }
    }

    fn report(replies: &[(&str, RecipientReply)], content: ContentReply) -> SendReport {
        SendReport { recipients: replies.iter().map(|(n, r)| (address(n), r.clone())).collect(), content }
    }

    fn send(email: &Email, replies: &[(&str, RecipientReply)], content: ContentReply) -> Email {
        after_report(email, &report(replies, content), RetryPolicy::default(), now())
    }

    fn statuses(email: &Email) -> Vec<RecipientStatus> {
        email.outgoing.iter().flat_map(|o| &o.recipients).map(|r| r.status.clone()).collect()
    }

    #[test]
    fn taken_for_everybody_is_sent() {
        let replies = [("a", RecipientReply::Accepted), ("b", RecipientReply::Accepted)];
        let after = send(&email(&["a", "b"]), &replies, ContentReply::Accepted);
        assert_eq!(after.status, EmailStatus::Sent);
        assert_eq!(statuses(&after), [RecipientStatus::Sent, RecipientStatus::Sent]);
    }

    #[test]
    fn a_refused_recipient_fails_the_email_and_the_others_are_reported_by_themselves() {
        let refusal = words("550 5.1.1 no such user");
        let replies = [("a", RecipientReply::Accepted), ("b", RecipientReply::Refused(refusal.clone()))];
        let after = send(&email(&["a", "b"]), &replies, ContentReply::Accepted);
        assert_eq!(after.status, EmailStatus::Failed);
        assert_eq!(statuses(&after), [RecipientStatus::Sent, RecipientStatus::Refused { evidence: refusal }]);
    }

    #[test]
    fn a_deferred_recipient_is_tried_again_alone_and_given_up_after_ten_tries() {
        let deferral = words("450 4.7.1 greylisted");
        let replies = [("a", RecipientReply::Accepted), ("b", RecipientReply::Deferred(deferral.clone()))];
        let mut after = send(&email(&["a", "b"]), &replies, ContentReply::Accepted);
        assert_eq!(after.status, EmailStatus::PendingSend);
        assert_eq!(statuses(&after)[0], RecipientStatus::Sent, "whoever has it is not sent it again");
        for _ in 2..=9 {
            after = send(&after, &replies[1..], ContentReply::NotSent);
            assert_eq!(after.status, EmailStatus::PendingSend);
        }
        after = send(&after, &replies[1..], ContentReply::NotSent);
        assert_eq!(after.status, EmailStatus::Failed);
        assert_eq!(statuses(&after)[1], RecipientStatus::Refused { evidence: deferral });
    }

    #[test]
    fn a_lost_answer_is_said_in_the_record_and_settled_by_the_sent_folder_or_the_policy() {
        let lost = ContentReply::Unknown(words("connection reset"));
        let replies = [("a", RecipientReply::Accepted), ("b", RecipientReply::Refused(words("550 no")))];
        let unknown = send(&email(&["a", "b"]), &replies, lost);
        assert_eq!(unknown.status, EmailStatus::Sending);
        let outgoing = unknown.outgoing.clone().unwrap();
        assert_eq!(outgoing.outcome_unknown, [address("a")]);
        assert!(outgoing.note.unwrap().contains("not known"));

        let policy = RetryPolicy::default();
        let found = after_settling(&unknown, true, false, policy, now());
        assert_eq!(statuses(&found)[0], RecipientStatus::Sent);
        let held = after_settling(&unknown, false, false, policy, now());
        assert_eq!(held.status, EmailStatus::Failed);
        let again = after_settling(&unknown, false, true, policy, now());
        assert_eq!(again.status, EmailStatus::PendingSend);
        assert!(!statuses(&again)[1..].contains(&RecipientStatus::Pending { evidence: None }));
    }
}
