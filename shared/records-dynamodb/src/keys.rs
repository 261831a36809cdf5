//! Keys of the records: which rows stand together, and in which order.

use mailrail_domain::{
    Timestamp,
    words::id::{EmailId, MailboxId},
};
use mailrail_table::{Key, moment};

/// Beginning of the sort keys of email records.
pub(crate) const RECORD: &str = "RECORD#";
/// Beginning of the sort keys of replies.
pub(crate) const REPLY: &str = "REPLY#";

/// Partition of everything that has a Message-ID of this key, and of the replies to it.
pub(crate) fn message(key: &str) -> String {
    format!("EMAIL#{key}")
}

pub(crate) fn email(id: &EmailId) -> Key {
    let (key, suffix) = id.as_str().split_once('-').unwrap_or((id.as_str(), ""));
    (message(key), format!("{RECORD}{suffix}"))
}

pub(crate) fn reply(answered: &str, id: &EmailId) -> Key {
    (message(answered), format!("{REPLY}{id}"))
}

/// List of the emails of a mailbox.
pub(crate) fn emails_of(mailbox: &MailboxId) -> String {
    format!("MAILBOX#{mailbox}#EMAILS")
}

/// An email's place in a list by time.
pub(crate) fn by_time(at: Timestamp, id: &EmailId) -> String {
    format!("{}#{id}", moment(at))
}
