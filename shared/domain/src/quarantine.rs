//! Quarantine: messages that could not become records, kept with the reason and their raw bytes.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, id::MailboxId};

/// Days that a quarantined message is kept.
pub const QUARANTINE_DAYS: u16 = 30;

/// Why a message could not become a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuarantineReason {
    /// It has no header and no body that could be told apart.
    NotAMessage,
    /// The reader gave up on it.
    Unreadable,
    /// It is larger than a record may be.
    TooLarge,
    /// The server lists it and will not hand it out.
    NotHandedOut,
}

impl QuarantineReason {
    /// The reason as a sentence.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotAMessage => "It is not an email message: no header could be found.",
            Self::Unreadable => "Its content could not be read.",
            Self::TooLarge => "It is larger than the largest message that becomes a record.",
            Self::NotHandedOut => "The server lists it but did not hand it out.",
        }
    }
}

/// A message in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The mailbox it is in.
    pub mailbox_id: MailboxId,
    /// Its name on the server: UIDVALIDITY and UID, or UIDL.
    pub remote_id: String,
    /// Why.
    pub reason: QuarantineReason,
    /// Details of the reason, where there are any.
    pub detail: String,
    /// Key of its raw bytes; empty if the server handed out none.
    pub raw_key: String,
    /// Its size in bytes, as the server says.
    pub size: u64,
    /// When it was put here.
    pub at: Timestamp,
}
