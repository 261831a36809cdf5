//! When two messages are the same message: the identity of an email record.
//!
//! A message is one record however often it is delivered, seen again, moved back, or read from two mailboxes. Its
//! identity is its Message-ID together with its Date: lists and relays keep both, and senders that wrongly use one
//! Message-ID for all their mail still change the Date. Without a Message-ID it is the originator fields (RFC 5322
//! section 3.6) and the beginning of the body, which no relay rewrites, unlike the trace fields.

use sha2::{Digest, Sha256};

use crate::words::{hex::hex_of_first, id::EmailId};

/// How much of a body counts towards the identity of a message without Message-ID, in bytes.
pub const IDENTITY_BODY_BYTES: usize = 65_536;

/// The parts of a message that make it itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageIdentity<'a> {
    /// Message-ID, without angle brackets.
    pub message_id: Option<&'a str>,
    /// Date, in seconds since the epoch.
    pub date: Option<i64>,
    /// From, To, Cc and Subject as raw header text; used only where there is no Message-ID.
    pub originator_fields: &'a [&'a [u8]],
    /// The body; its first [`IDENTITY_BODY_BYTES`] are used where there is no Message-ID.
    pub body: &'a [u8],
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
    let date = Sha256::digest(identity.date.map_or(String::new(), |seconds| seconds.to_string()).as_bytes());
    email_id(format!("{key}-{}", hex_of_first(4, &date)))
}

/// The record of a message that we send: one per Message-ID of our own.
#[must_use]
pub fn sent_email_id(message_id: &str) -> EmailId {
    email_id(format!("{}-sent", message_key(message_id)))
}

fn fallback_key(identity: &MessageIdentity<'_>) -> String {
    let mut hash = Sha256::new();
    for field in identity.originator_fields {
        let folded: Vec<u8> =
            field.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(&b' ');
        hash.update(&folded);
        hash.update([0]);
    }
    let body = identity.body.get(..IDENTITY_BODY_BYTES).unwrap_or(identity.body);
    // Line ends differ between what two servers hand out for one message.
    hash.update(body.iter().copied().filter(|byte| *byte != b'\r').collect::<Vec<u8>>());
    hex_of_first(16, &hash.finalize())
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
            originator_fields: &[],
            body: b"",
        })
    }

    fn without_id(subject: &[u8], body: &[u8]) -> EmailId {
        received_email_id(&MessageIdentity { message_id: None, date: Some(1), originator_fields: &[subject], body })
    }

    #[test]
    fn the_same_message_has_one_identity_wherever_it_is_read() {
        assert_eq!(with_id("<a@b>", 1), with_id("a@b", 1));
        assert_eq!(without_id(b"Subject: x\r\n y", b"line\r\n"), without_id(b"Subject: x y", b"line\n"));
    }

    #[test]
    fn a_message_id_that_is_used_twice_does_not_swallow_a_message() {
        assert_ne!(with_id("<a@b>", 1), with_id("<a@b>", 2));
        assert_ne!(without_id(b"s", b"one"), without_id(b"s", b"two"));
    }

    #[test]
    fn replies_find_received_and_sent_records_under_one_key() {
        let key = message_key("<a@b>");
        assert!(with_id("a@b", 5).as_str().starts_with(&key));
        assert!(sent_email_id("a@b").as_str().starts_with(&key));
    }
}
