//! Notices as they are stored: what the owner of an email server profile is told by email.

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    words::{
        address::EmailAddress,
        delivery::Delivery,
        id::{MailboxId, ProfileId},
    },
};

/// Whether a notice has gone out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeStatus {
    /// Not yet; `last_error` says why, if it was tried.
    Pending,
    /// The server took it.
    Sent,
}

/// What a notice tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// A delivery was disabled.
    #[default]
    Disabled,
    /// A delivery will be disabled if two more tries fail.
    Warning,
    /// What was told of works again.
    Recovered,
    /// A profile is held.
    Held,
    /// A profile is held no more.
    Released,
    /// More than half of a profile's mailboxes fail.
    MajorityFailing,
    /// Something that another release of Mailrail tells.
    #[serde(other)]
    Other,
}

/// A notice, written in the same transaction as the disabling that it tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The same for the same disabling, so that one disabling is one notice.
    pub id: String,
    /// What it tells of.
    #[serde(default)]
    pub kind: NoticeKind,
    /// Whom it goes to.
    pub to: EmailAddress,
    /// Who gets a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_to: Option<EmailAddress>,
    /// The mailbox that it is about; `None` if it is about a profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox_id: Option<MailboxId>,
    /// The name of that mailbox, or of the profile.
    #[serde(default)]
    pub about: String,
    /// Its profile.
    pub profile_id: ProfileId,
    /// The delivery that was disabled.
    pub delivery: Delivery,
    /// Subject of the email.
    pub subject: String,
    /// Text of the email.
    pub text: String,
    /// Whether it has gone out.
    pub status: NoticeStatus,
    /// Tries so far.
    #[serde(default)]
    pub attempts: u32,
    /// Not before this moment.
    pub next_attempt: Timestamp,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When the delivery was disabled.
    pub created_at: Timestamp,
    /// When it went out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}
