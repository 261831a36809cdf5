//! Reading a raw message into an email record and its attachments.
//!
//! `mail-parser` accepts nearly anything; what it cannot make a message of is told apart here and goes to quarantine.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use mail_parser::{Address, HeaderName, Message, MessageParser, MimeHeaders, PartType};
use mailrail_domain::{
    Timestamp,
    email::{
        identity::{MessageIdentity, received_email_id},
        quarantine::{Clues, QuarantineReason},
        record::{
            ADDRESSES_MAX, ATTACHMENTS_MAX, Attachment, Correspondent, Direction, Email, EmailStatus,
            HEADERS_BYTES_MAX, HTML_PREVIEW_BYTES_MAX, MESSAGE_ID_BYTES_MAX, REFERENCES_MAX, SUBJECT_CHARS_MAX,
            TEXT_PREVIEW_BYTES_MAX,
        },
    },
    words::{
        hex::hex_of_first,
        id::{EmailId, MailboxId},
    },
};
use sha2::{Digest, Sha256};

use super::clean::{beginning, clean_html};

/// Longest name, address, media type or content id that is kept, in bytes.
const FIELD_BYTES_MAX: usize = 512;

/// Size of a record's text beyond which its lists are shortened, in bytes: with names and numbers of its attributes it
/// stays below the 400 KB that a row may have.
const RECORD_BYTES_MAX: usize = 256 * 1024;
/// Entries of an address list, or of References, that remain then.
const SHORT_LIST: usize = 20;
/// Bytes of a name or type of an attachment that remain then.
const SHORT_FIELD_BYTES: usize = 64;

/// A message that was read.
#[derive(Debug)]
pub struct ReadMessage {
    /// Its record.
    pub email: Email,
    /// The contents of its attachments, in the order of `email.attachments`.
    pub attachments: Vec<Bytes>,
}

/// Why a message could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The reason, for the quarantine.
    pub reason: QuarantineReason,
    /// What was seen.
    pub detail: String,
}

/// Reads `raw`, which `mailbox` received at `received_at`. `size` is the size of the whole message; where `raw` is only
/// its beginning, the parts are left in the raw message and the record says that it was cut.
pub fn read(
    raw: &[u8],
    size: u64,
    mailbox: &MailboxId,
    received_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<ReadMessage, Unreadable> {
    // The parser is somebody else's and is fed by strangers: a panic of it costs one message, not the batch.
    catch_unwind(AssertUnwindSafe(|| read_parsed(raw, size, mailbox, received_at, now))).unwrap_or_else(|_| {
        Err(Unreadable { reason: QuarantineReason::Unreadable, detail: "the MIME reader gave up".to_owned() })
    })
}

/// What can be seen of a message that cannot be read: its headers, as far as they can be told apart.
#[must_use]
pub fn clues(raw: &[u8]) -> Clues {
    let headers = raw.get(..HEADERS_BYTES_MAX).unwrap_or(raw);
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        let message = MessageParser::default().parse_headers(headers)?;
        let text = |value: Option<&str>| value.map(|value| beginning(value, FIELD_BYTES_MAX).replace('\0', "\u{fffd}"));
        let sender = message.from().and_then(|from| from.first()).and_then(|first| first.address());
        Some(Clues { message_id: text(message.message_id()), subject: text(message.subject()), sender: text(sender) })
    }));
    parsed.ok().flatten().unwrap_or_default()
}

fn read_parsed(
    raw: &[u8],
    size: u64,
    mailbox: &MailboxId,
    received_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<ReadMessage, Unreadable> {
    let not_a_message = |detail: &str| Unreadable { reason: QuarantineReason::NotAMessage, detail: detail.to_owned() };
    let message = MessageParser::default().parse(raw).ok_or_else(|| not_a_message("it is empty"))?;
    if !message.parts.first().is_some_and(|root| root.headers.iter().any(|h| is_known(&h.name))) {
        return Err(not_a_message("it has none of the header fields of a message"));
    }
    let whole = raw.len() as u64 >= size;
    let mut cut = Cut(!whole);
    let date = message.date().filter(|d| d.is_valid()).and_then(|d| Timestamp::from_timestamp(d.to_timestamp(), 0));
    let message_id = message.message_id().map(|id| cut.text(id, MESSAGE_ID_BYTES_MAX)).filter(|id| !id.is_empty());
    let id = identity(&message, raw, message_id.as_deref(), date);
    let received_at = received_at.or_else(|| received_date(&message)).or(date).unwrap_or(now);
    let place = place(&id, raw);
    let (attachments, contents) = if whole { attachments(&message, &place, &mut cut) } else { (vec![], vec![]) };
    let html = message.html_bodies().find_map(|part| match &part.body {
        PartType::Html(html) => Some(html.as_ref()),
        _ => None,
    });
    let email = Email {
        mailbox_id: mailbox.clone(),
        direction: Direction::Incoming,
        status: EmailStatus::Received,
        message_id,
        in_reply_to: ids(message.in_reply_to()).pop(),
        references: last(ids(message.references()), REFERENCES_MAX),
        from: correspondents(message.from(), &mut cut),
        to: correspondents(message.to(), &mut cut),
        cc: correspondents(message.cc(), &mut cut),
        bcc: correspondents(message.bcc(), &mut cut),
        subject: message.subject().unwrap_or_default().chars().take(SUBJECT_CHARS_MAX).collect(),
        date,
        received_at,
        size,
        headers: cut.text(&header_block(&message, raw), HEADERS_BYTES_MAX),
        text: message.body_text(0).map_or(String::new(), |text| cut.text(&text, TEXT_PREVIEW_BYTES_MAX)),
        html: html.map_or(String::new(), |html| cut.html(html)),
        truncated: cut.0,
        raw_key: format!("{place}/raw"),
        attachments,
        outgoing: None,
        id,
    };
    Ok(ReadMessage { email: fitted(email), attachments: contents })
}

/// The record, its lists shortened if it would not fit a row: each field is bounded, and all at their bounds are not.
fn fitted(mut email: Email) -> Email {
    let lists = [&email.from, &email.to, &email.cc, &email.bcc];
    let of_lists: usize =
        lists.into_iter().flatten().map(|c| c.address.len() + c.name.as_ref().map_or(0, String::len)).sum();
    let of_parts: usize = email.attachments.iter().map(|a| fields(a).iter().map(|f| f.len()).sum::<usize>()).sum();
    let of_references: usize = email.references.iter().map(String::len).sum();
    if of_lists + of_parts + of_references + email.text.len() + email.html.len() + email.headers.len()
        <= RECORD_BYTES_MAX
    {
        return email;
    }
    for list in [&mut email.from, &mut email.to, &mut email.cc, &mut email.bcc] {
        list.truncate(SHORT_LIST);
    }
    email.references = last(email.references, SHORT_LIST);
    for attachment in &mut email.attachments {
        let short = |field: &str| beginning(field, SHORT_FIELD_BYTES).to_owned();
        attachment.name = attachment.name.as_deref().map(short);
        attachment.content_id = attachment.content_id.as_deref().map(short);
        attachment.content_type = short(&attachment.content_type);
    }
    email.truncated = true;
    email
}

fn fields(attachment: &Attachment) -> [&str; 4] {
    [
        attachment.name.as_deref().unwrap_or_default(),
        attachment.content_id.as_deref().unwrap_or_default(),
        &attachment.content_type,
        &attachment.key,
    ]
}

/// Notes whether anything had to be left out of the record.
struct Cut(bool);

impl Cut {
    fn text(&mut self, text: &str, bytes_max: usize) -> String {
        let kept = beginning(text, bytes_max);
        self.0 |= kept.len() < text.len();
        kept.replace('\0', "\u{fffd}")
    }

    fn html(&mut self, html: &str) -> String {
        let (cleaned, cut) = clean_html(html, HTML_PREVIEW_BYTES_MAX);
        self.0 |= cut;
        cleaned
    }
}

/// Where a message's objects go. The digest of its content is part of it, so that nobody who knows the Message-ID and
/// Date of a record can put another content in its place.
fn place(id: &EmailId, raw: &[u8]) -> String {
    format!("emails/{id}/{}", hex_of_first(8, &Sha256::digest(raw)))
}

/// A field that a mail system knows. Bytes that merely contain a colon are no message.
fn is_known(name: &HeaderName<'_>) -> bool {
    !matches!(name, HeaderName::Other(_))
}

fn identity(message: &Message<'_>, raw: &[u8], message_id: Option<&str>, date: Option<Timestamp>) -> EmailId {
    let fields: Vec<&[u8]> = ["From", "To", "Cc", "Subject"]
        .into_iter()
        .filter_map(|name| message.header_raw(name).map(str::as_bytes))
        .collect();
    let body = message.parts.first().and_then(|root| raw.get(root.raw_body_offset() as usize..)).unwrap_or_default();
    received_email_id(&MessageIdentity {
        message_id,
        date: date.map(|date| date.timestamp()),
        originator_fields: &fields,
        body,
    })
}

/// When the receiving server says that it took the message: the date of the uppermost Received field.
fn received_date(message: &Message<'_>) -> Option<Timestamp> {
    let date = message.received()?.date()?;
    Timestamp::from_timestamp(date.to_timestamp(), 0).filter(|_| date.is_valid())
}

fn header_block(message: &Message<'_>, raw: &[u8]) -> String {
    let end = message.parts.first().map_or(0, |root| root.raw_body_offset() as usize);
    String::from_utf8_lossy(raw.get(..end.min(2 * HEADERS_BYTES_MAX)).unwrap_or(raw)).trim_end().to_owned()
}

fn correspondents(address: Option<&Address<'_>>, cut: &mut Cut) -> Vec<Correspondent> {
    let Some(address) = address else {
        return Vec::new();
    };
    let mut listed: Vec<Correspondent> = address
        .iter()
        .filter(|a| a.address.is_some() || a.name.is_some())
        .take(ADDRESSES_MAX + 1)
        .map(|a| Correspondent {
            name: a.name().map(|name| cut.text(name, FIELD_BYTES_MAX)),
            address: cut.text(a.address().unwrap_or_default(), FIELD_BYTES_MAX),
        })
        .collect();
    cut.0 |= listed.len() > ADDRESSES_MAX;
    listed.truncate(ADDRESSES_MAX);
    listed
}

fn ids(value: &mail_parser::HeaderValue<'_>) -> Vec<String> {
    let ids = value.as_text_list().unwrap_or_default();
    ids.iter().filter(|id| !id.is_empty() && id.len() <= MESSAGE_ID_BYTES_MAX).map(ToString::to_string).collect()
}

/// The last entries of a list, because a reply is tied to its nearest ancestors.
fn last(mut list: Vec<String>, most: usize) -> Vec<String> {
    list.drain(..list.len().saturating_sub(most));
    list
}

fn attachments(message: &Message<'_>, place: &str, cut: &mut Cut) -> (Vec<Attachment>, Vec<Bytes>) {
    cut.0 |= message.attachment_count() > ATTACHMENTS_MAX;
    let parts = message.attachments().take(ATTACHMENTS_MAX);
    parts
        .enumerate()
        .map(|(number, part)| {
            let content = Bytes::copy_from_slice(part.contents());
            let attachment = Attachment {
                name: part.attachment_name().map(|name| cut.text(name, FIELD_BYTES_MAX)),
                content_type: part.content_type().map_or_else(
                    || "application/octet-stream".to_owned(),
                    |t| cut.text(&format!("{}/{}", t.ctype(), t.subtype().unwrap_or("*")), FIELD_BYTES_MAX),
                ),
                content_id: part.content_id().map(|id| cut.text(id, FIELD_BYTES_MAX)),
                size: content.len() as u64,
                key: format!("{place}/attachments/{number}"),
            };
            (attachment, content)
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn read_whole(raw: &[u8]) -> Result<ReadMessage, Unreadable> {
        read(raw, raw.len() as u64, &MailboxId::parse("m1").unwrap(), None, now())
    }

    const MULTIPART: &[u8] = b"Received: from a by b; Mon, 2 Jan 2023 10:00:00 +0000\r\n\
        From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nTo: a@b.c, Other <d@e.f>\r\nSubject: Hello\r\n\
        Message-ID: <one@example.org>\r\nIn-Reply-To: <zero@example.org>\r\nReferences: <a@x> <zero@example.org>\r\n\
        Date: Mon, 2 Jan 2023 09:59:00 +0000\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>Hi</p>\
        <script>x</script>\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\
        Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\nAAECAw==\r\n--b--\r\n";

    #[test]
    fn a_message_becomes_a_record_with_its_attachments() {
        let ReadMessage { email, attachments } = read_whole(MULTIPART).unwrap();
        assert_eq!(email.from[0].name.as_deref(), Some("Jürgen"));
        assert_eq!(email.to.len(), 2);
        assert_eq!(email.message_id.as_deref(), Some("one@example.org"));
        assert_eq!(email.answers(), Some("zero@example.org"));
        assert_eq!(email.html, "<p>Hi</p>");
        assert!(email.text.contains("Hi"));
        assert_eq!(email.received_at.to_rfc3339(), "2023-01-02T10:00:00+00:00");
        assert_eq!((email.attachments[0].name.as_deref(), email.attachments[0].size), (Some("a.pdf"), 4));
        assert_eq!(attachments[0].as_ref(), [0, 1, 2, 3]);
        assert!(!email.truncated);
    }

    #[test]
    fn the_beginning_of_a_large_message_becomes_a_record_that_says_so() {
        let beginning = &MULTIPART[..MULTIPART.len() * 3 / 4];
        let read = read(beginning, 200_000_000, &MailboxId::parse("m1").unwrap(), None, now()).unwrap();
        assert!(read.email.truncated && read.attachments.is_empty());
        assert_eq!(read.email.id, read_whole(MULTIPART).unwrap().email.id);
    }

    #[test]
    fn what_is_no_message_is_told_apart() {
        for raw in [b"".as_slice(), b"\r\n\r\n", b"just text without any header", &[0xff; 300], &[0; 300]] {
            let unreadable = read_whole(raw).unwrap_err();
            assert_eq!(unreadable.reason, QuarantineReason::NotAMessage, "{raw:?}");
        }
    }

    #[test]
    fn a_record_fits_a_row_whatever_the_message() {
        let name = "n".repeat(480);
        let list = |n: usize| (0..n).map(|i| format!("{name} <{i}@example.org>")).collect::<Vec<_>>().join(",\r\n ");
        let references: String = (0..100).map(|i| format!("<{i}{}@x>\r\n ", "r".repeat(900))).collect();
        let part =
            format!("--b\r\nContent-Type: application/pdf; name=\"{name}\"\r\nContent-ID: <{name}>\r\n\r\nx\r\n");
        let raw = format!(
            "From: a@b.c\r\nTo: {}\r\nCc: {}\r\nReferences: {references}\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--",
            list(500),
            list(500),
            part.repeat(250),
        );
        let email = read_whole(raw.as_bytes()).unwrap().email;
        assert!(email.truncated && email.attachments.len() > 200);
        let size = serde_json::to_vec(&email).unwrap().len();
        assert!(size < 390_000, "{size} bytes");
    }

    #[test]
    fn broken_messages_are_taken_in_and_bounded() {
        let nested: String =
            (0..100).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n")).collect();
        let wide = format!("Subject: {}\r\nTo: {}\r\n\r\nbody", "x".repeat(1_000_000), "a@b.c, ".repeat(2_000));
        let nul = b"Subject: a\0b\r\nContent-Type: text/plain; charset=nonsense\r\n\r\n\xff\0\xfe".to_vec();
        let base64 = b"Subject: x\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!! not base64 !!!!".to_vec();
        for raw in [format!("Subject: deep\r\n{nested}text").into_bytes(), wide.into_bytes(), nul, base64] {
            let email = read_whole(&raw).unwrap().email;
            assert!(email.subject.chars().count() <= SUBJECT_CHARS_MAX);
            assert!(email.to.len() <= ADDRESSES_MAX && email.headers.len() <= HEADERS_BYTES_MAX);
            assert!(!email.text.contains('\0'));
        }
    }
}
