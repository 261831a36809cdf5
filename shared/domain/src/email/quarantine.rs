//! Quarantine: messages that could not become records, kept with the reason and their raw bytes.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, words::id::MailboxId};

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
    /// The server lists it and does not hand it out. It is asked for again.
    NotHandedOut,
    /// The server did not hand it out, and has it no more.
    Gone,
    /// A reason that another release of Mailrail has.
    #[serde(other)]
    Other,
}

impl QuarantineReason {
    /// Every reason that this version gives, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::NotAMessage, Self::Unreadable, Self::TooLarge, Self::NotHandedOut, Self::Gone];

    /// The reason as a sentence.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotAMessage => "It is not an email message: no header could be found.",
            Self::Unreadable => "Its content could not be read.",
            Self::TooLarge => "It is larger than the largest message that becomes a record.",
            Self::NotHandedOut => "The server lists it but did not hand it out. It is asked for again.",
            Self::Gone => "The server did not hand it out, and has it no more.",
            Self::Other => "Another version of Mailrail put it here.",
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
    /// When the server received it, where the protocol says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// Its size in bytes, as the server says.
    pub size: u64,
    /// When it was put here.
    pub at: Timestamp,
    /// Tries to make a record of it, the first included.
    #[serde(default)]
    pub attempts: u32,
    /// When the last of them was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Timestamp>,
    /// What could be seen of it.
    #[serde(default)]
    pub clues: Clues,
}

/// What can be seen of a message that is no record, for whoever looks for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clues {
    /// Its Message-ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Its subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Address of its sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
}

/// What somebody looks for, by whichever parts they know. Subject and sender match in part, whatever their case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Message-ID, with or without angle brackets.
    pub message_id: Option<String>,
    /// A part of the subject.
    pub subject: Option<String>,
    /// A part of the sender's address.
    pub sender: Option<String>,
}

impl Wanted {
    /// Whether nothing is given to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.message_id.is_none() && self.subject.is_none() && self.sender.is_none()
    }

    /// Whether a message may be the one.
    #[must_use]
    pub fn matches(&self, clues: &Clues) -> bool {
        fn bare(id: &str) -> &str {
            id.trim().trim_start_matches('<').trim_end_matches('>')
        }
        let contains = |wanted: &Option<String>, seen: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| {
                seen.as_ref().is_some_and(|seen| seen.to_lowercase().contains(&wanted.to_lowercase()))
            })
        };
        let same_id = self
            .message_id
            .as_ref()
            .is_none_or(|wanted| clues.message_id.as_ref().is_some_and(|seen| bare(seen) == bare(wanted)));
        same_id && contains(&self.subject, &clues.subject) && contains(&self.sender, &clues.sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_for_matches_by_every_part_that_is_given() {
        let text = |value: &str| Some(value.to_owned());
        let clues = Clues { message_id: text("a@b"), subject: text("Offer 4711"), sender: text("Ann@Example.org") };
        let wanted = |id: Option<String>, subject: Option<String>, sender: Option<String>| {
            Wanted { message_id: id, subject, sender }.matches(&clues)
        };
        assert!(wanted(text("<a@b>"), None, None) && wanted(None, text("offer"), None));
        assert!(wanted(None, text("4711"), text("@example")));
        assert!(!wanted(text("a@b"), text("invoice"), None) && !wanted(text("A@b"), None, None));
        assert!(!Wanted { subject: text("x"), ..Wanted::default() }.matches(&Clues::default()));
        assert!(Wanted::default().is_empty());
    }
}
