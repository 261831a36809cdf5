//! When two messages are the same message: the identity of an email record.
//!
//! A message is one record however often it is delivered, seen again, moved back, or read from two mailboxes. Its
//! identity is its Message-ID together with its Date: lists and relays keep both, and senders that wrongly use one
//! Message-ID for all their mail still change the Date. Without a Message-ID it is what stays the same when a server
//! renders the message again: its originator fields (RFC 5322 section 3.6) and its decoded parts, and neither bytes nor
//! boundaries. A Date that cannot be read counts as it is written, so that two messages are never one because of it.

use sha2::{Digest, Sha256};

use crate::words::{hex::hex_of_first, id::EmailId};

/// How much of a text counts towards the identity of a message without Message-ID, in bytes.
pub const IDENTITY_TEXT_BYTES: usize = 65_536;

/// The parts of a message that make it itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageIdentity<'a> {
    /// Message-ID, without angle brackets.
    pub message_id: Option<&'a str>,
    /// Date, in seconds since the epoch, if it can be read.
    pub date: Option<i64>,
    /// Date as it is written.
    pub date_text: &'a str,
    /// From, To, Cc and Subject, decoded; used only where there is no Message-ID.
    pub originator_fields: &'a [String],
    /// The decoded text; its first [`IDENTITY_TEXT_BYTES`] are used where there is no Message-ID.
    pub text: &'a str,
    /// A digest of what is attached, decoded; used only where there is no Message-ID.
    pub attached: &'a [u8],
    /// When the server received it, in seconds since the epoch. It tells apart messages that have neither a Message-ID nor
    /// a Date, such as the alarms of a device.
    pub received: Option<i64>,
}

/// The key under which all records of one Message-ID are found, and replies to it wait.
#[must_use]
pub fn message_key(message_id: &str) -> String {
    let bare = message_id.trim().trim_start_matches('<').trim_end_matches('>');
    hex_of_first(16, &Sha256::digest(bare.as_bytes()))
}

/// The record of a message that was received.
#[must_use]
pub fn received_email_id(identity: &MessageIdentity<'_>) -> EmailId {
    let key = match identity.message_id.map(str::trim).filter(|id| !id.is_empty()) {
        Some(message_id) => message_key(message_id),
        None => fallback_key(identity),
    };
    let date = identity.date.map_or_else(|| in_one_line(identity.date_text), |seconds| seconds.to_string());
    let date = Sha256::digest(date.as_bytes());
    email_id(format!("{key}-{}", hex_of_first(4, &date)))
}

/// The record of a message that we send: one per Message-ID of our own.
#[must_use]
pub fn sent_email_id(message_id: &str) -> EmailId {
    email_id(format!("{}-sent", message_key(message_id)))
}

fn fallback_key(identity: &MessageIdentity<'_>) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update(part);
        hash.update([0]);
    };
    for field in identity.originator_fields {
        add(in_one_line(field).as_bytes());
    }
    let text = identity.text.get(..identity.text.floor_char_boundary(IDENTITY_TEXT_BYTES)).unwrap_or(identity.text);
    add(in_one_line(text).as_bytes());
    add(identity.attached);
    let has_date = identity.date.is_some() || !identity.date_text.trim().is_empty();
    if let Some(received) = identity.received.filter(|_| !has_date) {
        add(received.to_string().as_bytes());
    }
    hex_of_first(16, &hash.finalize())
}

/// Text whose folding, line ends and blanks do not count, because two servers render them differently.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn email_id(text: String) -> EmailId {
    // Hexadecimal digits and hyphens always fit an identifier.
    EmailId::parse(text).unwrap_or_else(|_| unreachable!("an email id is hexadecimal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::id::EmailId;

    fn with_id(message_id: &str, date: i64) -> EmailId {
        received_email_id(&MessageIdentity {
            message_id: Some(message_id),
            date: Some(date),
            ..MessageIdentity::default()
        })
    }

    fn without_id(subject: &str, text: &str, attached: &[u8]) -> EmailId {
        let originator_fields = [subject.to_owned()];
        let identity = MessageIdentity { date: Some(1), text, attached, ..MessageIdentity::default() };
        received_email_id(&MessageIdentity { originator_fields: &originator_fields, ..identity })
    }

    #[test]
    fn the_same_message_has_one_identity_wherever_it_is_read() {
        assert_eq!(with_id("<a@b>", 1), with_id("a@b", 1));
        assert_eq!(without_id("x\r\n y", "line\r\n", b""), without_id("x y", "line\n", b""));
    }

    #[test]
    fn a_message_id_that_is_used_twice_does_not_swallow_a_message() {
        assert_ne!(with_id("<a@b>", 1), with_id("<a@b>", 2));
        assert_ne!(without_id("s", "one", b""), without_id("s", "two", b""));
        assert_ne!(without_id("s", "one", b"a"), without_id("s", "one", b"b"));
    }

    #[test]
    fn a_date_that_cannot_be_read_counts_as_it_is_written() {
        let dated = |message_id, date_text| {
            received_email_id(&MessageIdentity { message_id, date_text, ..MessageIdentity::default() })
        };
        for message_id in [Some("a@b"), None] {
            assert_ne!(dated(message_id, "the first"), dated(message_id, "the second"));
            assert_eq!(dated(message_id, "the  first "), dated(message_id, "the first"));
        }
    }

    #[test]
    fn messages_without_message_id_and_date_are_told_apart_by_their_arrival() {
        let arrived = |received, date| {
            received_email_id(&MessageIdentity { received: Some(received), date, ..MessageIdentity::default() })
        };
        assert_ne!(arrived(1, None), arrived(2, None));
        assert_eq!(arrived(1, Some(7)), arrived(2, Some(7)), "a copy in another mailbox arrives at another moment");
    }

    #[test]
    fn replies_find_received_and_sent_records_under_one_key() {
        let key = message_key("<a@b>");
        assert!(with_id("a@b", 5).as_str().starts_with(&key));
        assert!(sent_email_id("a@b").as_str().starts_with(&key));
    }
}
