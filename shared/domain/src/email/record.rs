//! Email records: what is kept of a message.

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    words::{
        address::EmailAddress,
        evidence::Evidence,
        id::{EmailId, MailboxId},
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

/// Emails that one email may answer, of which the nearest that is here counts.
pub const ANSWERED_MAX: usize = 3;

/// The direction of an email.
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
    /// The address that the email goes to.
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What only an outgoing email has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outgoing {
    /// Everybody it goes to, each with its own result.
    pub recipients: Vec<Recipient>,
    /// Hand-overs in a row that left a recipient pending.
    #[serde(default)]
    pub attempts: u32,
    /// Not before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
    /// The recipients of a hand-over whose end nobody saw: the server may have the email for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcome_unknown: Vec<EmailAddress>,
    /// What was seen at the end of that hand-over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_because: Option<Evidence>,
    /// Whether the server answered that hand-over with a failure to send.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed_to_send: bool,
    /// Times in a row that the folders of the mailbox could not be searched for the email of that hand-over.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_searches: u32,
    /// Hand-overs with an unknown outcome after which the email was to be handed over again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_outcomes: u32,
    /// Whether an earlier hand-over may have left a copy of the email among the sent ones. Such a copy says nothing about
    /// a later hand-over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_have_copy: bool,
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
    /// Its direction.
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
    /// The Message-IDs of emails that this one may answer, the nearest first: In-Reply-To, and the last of References. A
    /// relay may have put another Message-ID on an email than we know it by, or the nearest may be elsewhere.
    #[must_use]
    pub fn answered(&self) -> Vec<&str> {
        let mut answered: Vec<&str> = Vec::new();
        for id in self.in_reply_to.iter().chain(self.references.iter().rev()).map(String::as_str) {
            // Our own emails name themselves among their references.
            if self.message_id.as_deref() != Some(id) && !answered.contains(&id) {
                answered.push(id);
            }
            if answered.len() == ANSWERED_MAX {
                break;
            }
        }
        answered
    }
}
