//! Reading a raw message into an email record and its attachments.
//!
//! `mail-parser` accepts nearly anything, once what it misreads is put right (`mend.rs`, `dates.rs`, `ids.rs`, `people.rs`).
//! What it cannot make a message of is told apart here and goes to quarantine.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use mail_parser::{Header, HeaderName, HeaderValue, Message, MessageParser, MimeHeaders};
use mailrail_domain::{
    Timestamp,
    email::{
        identity::{MessageIdentity, received_email_id},
        quarantine::{Clues, QuarantineReason},
        record::{
            ADDRESSES_MAX, ATTACHMENTS_MAX, Attachment, Correspondent, Direction, Email, EmailStatus,
            HEADERS_BYTES_MAX, MESSAGE_ID_BYTES_MAX, REFERENCES_MAX, SUBJECT_CHARS_MAX, TEXT_PREVIEW_BYTES_MAX,
        },
    },
    words::{
        hex::hex_of_first,
        id::{EmailId, MailboxId},
    },
};
use sha2::{Digest, Sha256};

use super::{
    bodies::{Bodies, type_of},
    bounds::{Cut, fitted, last},
    clean::beginning,
    dates, ids,
    mend::{Mended, mended},
    people::{self, cleaned},
    structure::TooDeep,
};

/// Longest name, address, media type or content id that is kept, in bytes.
const FIELD_BYTES_MAX: usize = 512;

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
    let Mended { raw: readable, is_cut } = mended(raw).map_err(|TooDeep| Unreadable {
        reason: QuarantineReason::Unreadable,
        detail: "its parts are nested deeper than those of any mail".to_owned(),
    })?;
    let message = MessageParser::default().parse(readable.as_ref()).ok_or_else(|| not_a_message("it is empty"))?;
    if !message.parts.first().is_some_and(|root| root.headers.iter().any(|h| is_known(&h.name))) {
        return Err(not_a_message("it has none of the header fields of a message"));
    }
    let whole = raw.len() as u64 >= size;
    let mut cut = Cut(!whole || is_cut);
    let fields = Fields { message: &message, text: &readable };
    let date_text = fields.text(&HeaderName::Date);
    let date = dates::moment(&date_text);
    let message_id = fields.ids(&HeaderName::MessageId).into_iter().next();
    let message_id = message_id.map(|id| cut.text(&id, MESSAGE_ID_BYTES_MAX)).filter(|id| !id.is_empty());
    let [from, to, cc, bcc] = [HeaderName::From, HeaderName::To, HeaderName::Cc, HeaderName::Bcc]
        .map(|name| correspondents(fields.people(&name), &mut cut));
    let subject =
        fields.first(&HeaderName::Subject).and_then(|field| field.value.as_text()).map_or(String::new(), cleaned);
    let arrived = received_at.or_else(|| fields.received());
    let bodies = Bodies::of(&message);
    let id = {
        // Written out, because the identity of a message has to stay the same in every release.
        let one =
            |person: &Correspondent| format!("{} <{}>", person.name.as_deref().unwrap_or_default(), person.address);
        let named = |people: &[Correspondent]| people.iter().map(one).collect::<Vec<_>>().join(", ");
        let originator_fields = [named(&from), named(&to), named(&cc), subject.clone()];
        let attached = if message_id.is_some() { Vec::new() } else { digest_of_attached(&bodies, &message) };
        received_email_id(&MessageIdentity {
            message_id: message_id.as_deref(),
            date: date.map(|date| date.timestamp()),
            date_text: &date_text,
            originator_fields: &originator_fields,
            text: &bodies.text,
            attached: &attached,
            received: arrived.map(|at| at.timestamp()),
        })
    };
    let place = place(&id, raw);
    let (attachments, contents) =
        if whole { attachments(&bodies, &message, &place, &mut cut) } else { (vec![], vec![]) };
    let email = Email {
        mailbox_id: mailbox.clone(),
        direction: Direction::Incoming,
        status: EmailStatus::Received,
        message_id,
        in_reply_to: fields.ids(&HeaderName::InReplyTo).into_iter().next(),
        references: last(fields.ids(&HeaderName::References), REFERENCES_MAX),
        from,
        to,
        cc,
        bcc,
        subject: subject.chars().take(SUBJECT_CHARS_MAX).collect(),
        date,
        received_at: arrived.or(date).unwrap_or(now),
        size,
        headers: cut.text(&header_block(raw), HEADERS_BYTES_MAX),
        text: cut.text(&bodies.text, TEXT_PREVIEW_BYTES_MAX),
        html: cut.html(&bodies.html),
        truncated: cut.0,
        raw_key: format!("{place}/raw"),
        attachments,
        outgoing: None,
        id,
    };
    Ok(ReadMessage { email: fitted(email), attachments: contents })
}

/// The fields of a message's header. Of several fields of one name the first counts: trace fields are put in front
/// (RFC 5322 section 3.6.7), and of the others there should be one.
struct Fields<'a> {
    message: &'a Message<'a>,
    text: &'a [u8],
}

impl Fields<'_> {
    fn first(&self, name: &HeaderName<'_>) -> Option<&Header<'_>> {
        self.message.parts.first()?.headers.iter().find(|header| header.name == *name)
    }

    /// The value of a field as it is written.
    fn text(&self, name: &HeaderName<'_>) -> String {
        let place = self.first(name).map(|field| field.offset_start as usize..field.offset_end as usize);
        let text = place.and_then(|place| self.text.get(place)).unwrap_or_default();
        String::from_utf8_lossy(text).trim().to_owned()
    }

    fn ids(&self, name: &HeaderName<'_>) -> Vec<String> {
        let mut ids = ids::ids(&self.text(name));
        ids.retain(|id| id.len() <= MESSAGE_ID_BYTES_MAX);
        ids
    }

    fn people(&self, name: &HeaderName<'_>) -> Vec<(Option<String>, String)> {
        people::people(self.first(name).and_then(|field| field.value.as_address()), &self.text(name))
    }

    /// When the receiving server says that it took the message: the date of the uppermost Received field.
    fn received(&self) -> Option<Timestamp> {
        let HeaderValue::Received(received) = &self.first(&HeaderName::Received)?.value else {
            return None;
        };
        let date = received.date()?;
        Timestamp::from_timestamp(date.to_timestamp(), 0).filter(|_| date.is_valid())
    }
}

/// A digest of what is attached, with its names and types, decoded, so that boundaries and line lengths do not count.
fn digest_of_attached(bodies: &Bodies, message: &Message<'_>) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in bodies.attached(message).take(ATTACHMENTS_MAX) {
        for field in [part.attachment_name().unwrap_or_default(), &type_of(part)] {
            hash.update(Sha256::digest(field.as_bytes()));
        }
        hash.update(Sha256::digest(part.contents()));
    }
    hash.finalize().to_vec()
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

fn header_block(raw: &[u8]) -> String {
    let bounded = raw.get(..2 * HEADERS_BYTES_MAX).unwrap_or(raw);
    let ends = [&b"\r\n\r\n"[..], b"\n\n"].map(|blank| memchr::memmem::find(bounded, blank));
    let end = ends.into_iter().flatten().min().unwrap_or(bounded.len());
    String::from_utf8_lossy(bounded.get(..end).unwrap_or(bounded)).trim_end().to_owned()
}

fn correspondents(people: Vec<(Option<String>, String)>, cut: &mut Cut) -> Vec<Correspondent> {
    cut.0 |= people.len() > ADDRESSES_MAX;
    let listed = people.into_iter().take(ADDRESSES_MAX).map(|(name, address)| Correspondent {
        name: name.map(|name| cut.text(&name, FIELD_BYTES_MAX)),
        address: cut.text(&address, FIELD_BYTES_MAX),
    });
    listed.collect()
}

fn attachments(bodies: &Bodies, message: &Message<'_>, place: &str, cut: &mut Cut) -> (Vec<Attachment>, Vec<Bytes>) {
    cut.0 |= bodies.attached(message).count() > ATTACHMENTS_MAX;
    let parts = bodies.attached(message).take(ATTACHMENTS_MAX);
    parts
        .enumerate()
        .map(|(number, part)| {
            let content = Bytes::copy_from_slice(part.contents());
            let attachment = Attachment {
                name: part.attachment_name().map(|name| cut.text(&cleaned(name), FIELD_BYTES_MAX)),
                content_type: cut.text(&type_of(part), FIELD_BYTES_MAX),
                content_id: part.content_id().map(|id| cut.text(&cleaned(id), FIELD_BYTES_MAX)),
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
        assert_eq!(email.answered(), ["zero@example.org", "a@x"]);
        assert_eq!(email.html, "<p>Hi</p>");
        assert!(email.text.contains("Hi"));
        assert_eq!(email.received_at.to_rfc3339(), "2023-01-02T10:00:00+00:00");
        assert_eq!((email.attachments[0].name.as_deref(), email.attachments[0].size), (Some("a.pdf"), 4));
        assert_eq!(attachments[0].as_ref(), [0, 1, 2, 3]);
        assert!(!email.truncated);
    }

    fn plain(fields: &str, body: &str) -> Email {
        let raw = format!(
            "From: a@x.test\r\nMessage-ID: <m@x.test>\r\nDate: Mon, 2 Jan 2023 10:00:00 +0000\r\n{fields}\r\n{body}"
        );
        read_whole(raw.as_bytes()).unwrap().email
    }

    #[test]
    fn nothing_of_a_message_is_nowhere() {
        let part = |kind: &str, text: &str| format!("--b\r\nContent-Type: {kind}\r\n\r\n{text}\r\n");
        let picture = "--b\r\nContent-Type: image/png; name=a.png\r\nContent-Disposition: inline\r\n\
                       Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n";
        let mixed = "Content-Type: multipart/mixed; boundary=b\r\n";
        let email =
            plain(mixed, &(part("text/plain", "See the picture:") + picture + &part("text/plain", "call 555-0100.")));
        assert_eq!((email.text.as_str(), email.attachments.len()), ("See the picture:\r\ncall 555-0100.", 1));
        let email = plain(mixed, &(part("text/html", "<p>one</p>") + picture + &part("text/html", "<p>two</p>")));
        assert!(email.html.contains("one") && email.html.contains("two") && email.text.contains("two"), "{email:?}");
        let alternative = "Content-Type: multipart/alternative; boundary=b\r\n";
        let calendar = part("text/calendar", "BEGIN:VCALENDAR");
        let email =
            plain(alternative, &(part("text/plain", " ") + &part("text/html", "<p>Order 4711</p>") + &calendar));
        assert_eq!(email.text.trim(), "Order 4711", "a blank text says nothing");
        assert_eq!(email.attachments.iter().map(|a| a.content_type.as_str()).collect::<Vec<_>>(), ["text/calendar"]);
        for (kind, text) in [
            ("text", "words"),
            ("text/markdown", "# words"),
            ("text/plain charset=iso-8859-1", "words"),
            ("multipart/mixed", "words"),
            ("multipart/mixed; boundary=other", "words"),
        ] {
            let email = plain(&format!("Content-Type: {kind}\r\n"), text);
            assert_eq!((email.text.as_str(), email.attachments.len()), (text, 0), "{kind}");
        }
    }

    #[test]
    fn text_is_in_the_character_set_that_was_meant() {
        let typed = |kind: &str, body: &[u8]| {
            let raw = [b"From: a@x.test\r\nContent-Type: ", kind.as_bytes(), b"\r\n\r\n", body].concat();
            read_whole(&raw).unwrap().email.text
        };
        for (kind, body, text) in [
            ("text/plain; charset=windows1251", &b"\xcf\xf0\xe8\xe2\xe5\xf2"[..], "Привет"),
            ("text/plain; charset=us-ascii", "Grüße".as_bytes(), "Grüße"),
            ("text/plain; charset=utf-8", b"Gr\xfc\xdfe aus K\xf6ln", "Grüße aus Köln"),
            ("text/plain", b"Gr\xfc\xdfe aus K\xf6ln", "Grüße aus Köln"),
            ("text/html", b"<meta charset=\"windows-1251\"><p>\xcf\xf0\xe8\xe2\xe5\xf2</p>", "Привет"),
        ] {
            assert_eq!(typed(kind, body).trim(), text, "{kind}");
        }
        let named =
            b"From: J\xfcrgen M\xfcller <j@x.test>\r\nSubject: =?utf-8?B?5pel5g==?=\r\n =?utf-8?B?nKzoqp4=?=\r\n\r\n";
        let email = read_whole(named).unwrap().email;
        assert_eq!((email.from[0].name.as_deref(), email.subject.as_str()), (Some("Jürgen Müller"), "日本語"));
        let bom = read_whole(b"\xef\xbb\xbfFrom: a@x.test\r\nSubject: s\r\n\r\n").unwrap().email;
        assert_eq!(bom.from[0].address, "a@x.test");
    }

    #[test]
    fn files_are_decoded_whatever_stands_between_their_digits() {
        for coding in ["base64", "base64;", "\"base64\"", "base64 (x)", "base-64"] {
            for content in ["AAECAw==\r\n", "AA!ECAw==\r\n", "AAECAw==\r\nScanned by a scanner.\r\n"] {
                let fields =
                    format!("Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: {coding}\r\n");
                let raw = format!("From: a@x.test\r\n{fields}\r\n{content}");
                assert_eq!(
                    read_whole(raw.as_bytes()).unwrap().attachments,
                    [Bytes::from_static(&[0, 1, 2, 3])],
                    "{raw}"
                );
            }
        }
    }

    #[test]
    fn of_several_traces_the_newest_is_the_arrival() {
        let email = plain(
            "Received: from mx by store; Wed, 17 Jul 2024 02:50:00 +0000\r\n\
             Received: from pc by mx; Thu, 01 Jan 1970 00:00:10 +0000\r\n",
            "",
        );
        assert_eq!(email.received_at.to_rfc3339(), "2024-07-17T02:50:00+00:00");
    }

    #[test]
    fn what_is_rendered_anew_is_the_same_message_and_another_content_is_another() {
        let rendered = |boundary: &str, text: &str, file: &str| {
            let raw = format!(
                "From: a@x.test\r\nDate: Mon, 2 Jan 2023 10:00:00 +0000\r\nContent-Type: multipart/mixed;\r\n boundary=\"{boundary}\"\r\n\r\n\
                 --{boundary}\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--{boundary}\r\n\
                 Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n{file}\r\n--{boundary}--\r\n"
            );
            read_whole(raw.as_bytes()).unwrap().email.id
        };
        let first = rendered("one", "text", "AAECAwQF");
        assert_eq!(first, rendered("another", "text", "AAEC\r\nAwQF"));
        assert_ne!(first, rendered("one", "other", "AAECAwQF"));
        assert_ne!(first, rendered("one", "text", "AAECAwQG"));
    }

    #[test]
    fn identities_are_those_of_every_release() {
        let without_id = String::from_utf8_lossy(MULTIPART).replace("Message-ID: <one@example.org>\r\n", "");
        let identities = [MULTIPART, without_id.as_bytes()].map(|raw| read_whole(raw).unwrap().email.id.to_string());
        assert_eq!(
            identities,
            ["3714e3891dc03ae677ec4fd991935df5-1b5f5680", "14afce63b6a5223961f4f6386e1f431b-1b5f5680"]
        );
    }

    #[test]
    fn alarms_without_message_id_and_date_are_a_record_each() {
        let raw = b"From: Alarm <alarm@device.test>\r\nSubject: Paper jam\r\n\r\nPaper jam in tray 2.\r\n";
        let received = |second| {
            let at = Timestamp::from_timestamp(second, 0);
            read(raw, raw.len() as u64, &MailboxId::parse("m1").unwrap(), at, now()).unwrap().email.id
        };
        assert_eq!(received(1), received(1));
        assert_ne!(received(1), received(2));
    }

    #[test]
    fn nothing_that_ends_a_line_is_left_in_a_field() {
        let email = plain(
            "Subject: =?utf-8?Q?a=0D=0ABcc:_x=40y?=\r\nIn-Reply-To: <x\rBcc: victim@z.test>\r\nReferences: <a\0b@x> <c@x>\r\n",
            "",
        );
        assert_eq!(
            (email.subject.as_str(), email.in_reply_to, email.references),
            ("a Bcc: x@y", None, vec!["c@x".to_owned()])
        );
    }

    /// Messages that hold much of what is read.
    fn examples() -> Vec<Vec<u8>> {
        let nested = "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/alternative; boundary=\"a b\"\r\n\
                      \r\n--a b\r\nContent-Type: text/plain; charset=iso-2022-jp\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                      =1B$B=3D\r\n--a b\r\nContent-Type: text/html\r\n\r\n<style>x</style><p style='display:none'>a<!-- b -->\r\n\
                      --a b--\r\n--a\r\nContent-Type: message/rfc822\r\n\r\nSubject: inside\r\n\r\nx\r\n--a\r\n\
                      Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nSubject: y\r\n\r\nz\r\n--d--\r\n--a--\r\n";
        let fields = b"\xef\xbb\xbfFrom: J\xfcrgen <@r:j @ x.test>, \"q q\"@x.test\r\nSubject: =?utf-8?B?5pel5g==?=\r\n =?utf-8*en?b?nKzoqp4?=\r\n\
            Date: Do, 1 Okt 2015 02:40:57 PM GMT+0200 (x)\r\nMessage-ID: =?us-ascii?Q?=3Cm=40x=3E?=\r\nReferences: <a@x> <b\r\n @x>\r\n\
            Received: from a by b; Mon, 2 Jan 2023 10:00:00 +0000\r\nContent-Type: application/zip; name*=utf-8''%e4.zip\r\n\
            Content-Transfer-Encoding: \"base64\";\r\n\r\nAAEC!\r\n> Aw==\r\nfooter of a list\r\n";
        vec![MULTIPART.to_vec(), nested.as_bytes().to_vec(), fields.to_vec()]
    }

    /// A message with a few of its bytes or lines changed, doubled, moved or left out.
    fn mutated(random: &mut fastrand::Rng, mut raw: Vec<u8>) -> Vec<u8> {
        for _ in 0..random.usize(1..8) {
            if raw.is_empty() {
                break;
            }
            let (one, other) = (random.usize(0..raw.len()), random.usize(0..raw.len()));
            let (from, to) = (one.min(other), one.max(other));
            match random.u8(0..6) {
                0 => raw[one] = random.u8(..),
                1 => raw.insert(one, *random.choice(b"\r\n\0-=?<>\"@;:(\xff ").unwrap()),
                2 => drop(raw.drain(from..to)),
                3 => {
                    let piece = raw[from..to].to_vec();
                    raw.splice(one..one, piece);
                }
                4 => raw.truncate(one.max(1)),
                _ => raw.swap(one, other),
            }
        }
        raw
    }

    #[test]
    fn no_mutation_of_a_message_makes_the_reader_give_up() {
        let mut random = fastrand::Rng::with_seed(20_240_717);
        let examples = examples();
        for _ in 0..4_000 {
            let example = random.choice(&examples).unwrap().clone();
            let raw = mutated(&mut random, example);
            let text = String::from_utf8_lossy(&raw);
            match read_whole(&raw) {
                Ok(ReadMessage { email, attachments }) => {
                    assert_eq!(email.attachments.len(), attachments.len());
                    let fields = [&email.subject, email.in_reply_to.as_ref().unwrap_or(&email.subject)];
                    assert!(!fields.iter().any(|field| field.contains(['\r', '\n', '\0'])), "{text}");
                    assert_eq!(email.id, read_whole(&raw).unwrap().email.id, "{text}");
                }
                Err(unreadable) => assert!(!unreadable.detail.contains("gave up"), "{text}"),
            }
        }
    }

    #[test]
    fn a_message_nested_beyond_measure_is_told_apart_and_ends_nothing() {
        let raw = "Content-Type: message/rfc822\r\n\r\n".repeat(120_000);
        let unreadable = read_whole(raw.as_bytes()).unwrap_err();
        assert_eq!(unreadable.reason, QuarantineReason::Unreadable);
        assert!(unreadable.detail.contains("nested"), "{unreadable:?}");
        let some = "Content-Type: message/rfc822\r\n\r\n".repeat(100) + "Subject: inside\r\n\r\nx";
        assert_eq!(read_whole(some.as_bytes()).unwrap().email.attachments.len(), 1);
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
