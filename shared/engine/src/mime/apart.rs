//! An outgoing message for a server that takes the recipients from the message itself, and may take attachments one by one.

use std::collections::BTreeSet;

use mail_builder::{MessageBuilder, headers::message_id::MessageId};
use mail_parser::{Addr, Address, HeaderName, HeaderValue, MessageParser, MessagePart, MimeHeaders, PartType};
use mailrail_domain::words::address::EmailAddress;

/// A message and its attachments, apart.
#[derive(Debug)]
pub struct Apart {
    /// The message without them, as MIME.
    pub mime: Vec<u8>,
    /// What is attached, in order.
    pub attachments: Vec<Attached>,
}

/// An attachment of an outgoing message.
#[derive(Debug)]
pub struct Attached {
    /// Its file name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its Content-ID, without angle brackets.
    pub content_id: Option<String>,
    /// Whether it is shown in the text.
    pub is_inline: bool,
    /// Its content, decoded.
    pub content: Vec<u8>,
}

/// The Message-ID of a message, without angle brackets.
#[must_use]
pub fn message_id(raw: &[u8]) -> Option<String> {
    MessageParser::default().parse_headers(raw)?.message_id().map(str::to_owned)
}

impl Apart {
    /// A message without its attachments, for these recipients alone, and the attachments. `None` if it has no Message-ID.
    #[must_use]
    pub fn of(raw: &[u8], recipients: &[EmailAddress]) -> Option<Self> {
        let message = MessageParser::default().parse(raw)?;
        let message_id = message.message_id()?;
        let left: BTreeSet<String> = recipients.iter().map(EmailAddress::normalized).collect();
        let named = |list: Option<&Address<'_>>| -> Vec<(String, String)> {
            let list = list.into_iter().flat_map(|list| list.iter());
            let pair = |one: &Addr<'_>| Some((one.name().unwrap_or_default().to_owned(), one.address()?.to_owned()));
            list.filter_map(pair).filter(|(_, address)| left.contains(&normalized(address))).collect()
        };
        let (from, to, cc) = (pairs(message.from()), named(message.to()), named(message.cc()));
        let visible: BTreeSet<String> = to.iter().chain(&cc).map(|(_, address)| normalized(address)).collect();
        let blind = recipients.iter().filter(|recipient| !visible.contains(&recipient.normalized()));
        let blind: Vec<(String, String)> = blind.map(|one| (String::new(), one.as_str().to_owned())).collect();
        let mut builder = MessageBuilder::new()
            .from(from)
            .subject(message.subject().unwrap_or_default().to_owned())
            .message_id(message_id.to_owned());
        if let Some(date) = message.date() {
            builder = builder.date(date.to_timestamp());
        }
        for (name, list) in [("To", to), ("Cc", cc), ("Bcc", blind)] {
            if !list.is_empty() {
                builder = builder.header(name, mail_builder::headers::address::Address::from(list));
            }
        }
        for (name, ids) in [("In-Reply-To", message.in_reply_to()), ("References", message.references())] {
            let ids: Vec<String> = ids.as_text_list().unwrap_or_default().iter().map(|id| id.to_string()).collect();
            if !ids.is_empty() {
                builder = builder.header(name, MessageId::from(ids));
            }
        }
        let body = |parts: &[u32]| {
            let part = parts.first().and_then(|part| message.parts.get(*part as usize))?;
            matches!(part.body, PartType::Text(_) | PartType::Html(_)).then_some(part)
        };
        if let Some(PartType::Text(text)) = body(&message.text_body).map(|part| &part.body) {
            builder = builder.text_body(text.to_string());
        }
        if let Some(PartType::Html(html)) = body(&message.html_body).map(|part| &part.body) {
            builder = builder.html_body(html.to_string());
        }
        let mime = builder.write_to_vec().ok()?;
        Some(Self { mime, attachments: message.attachments().enumerate().map(attached).collect() })
    }
}

fn pairs(list: Option<&Address<'_>>) -> Vec<(String, String)> {
    let list = list.into_iter().flat_map(|list| list.iter());
    list.filter_map(|one| Some((one.name().unwrap_or_default().to_owned(), one.address()?.to_owned()))).collect()
}

fn attached((n, part): (usize, &MessagePart<'_>)) -> Attached {
    let media_type = part.content_type().map_or_else(
        || "application/octet-stream".to_owned(),
        |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")),
    );
    Attached {
        name: part.attachment_name().map_or_else(|| format!("attachment-{}", n + 1), str::to_owned),
        media_type,
        content_id: part.content_id().map(str::to_owned),
        is_inline: part.content_disposition().is_some_and(|disposition| disposition.is_inline()),
        content: part.contents().to_vec(),
    }
}

fn normalized(address: &str) -> String {
    EmailAddress::parse(address).map_or_else(|_| address.to_lowercase(), |address| address.normalized())
}

/// The message with a Bcc field for the recipients that it does not name. `None` if the message names anybody else,
/// because the server would send it to them as well.
#[must_use]
pub fn with_blind_copies(raw: &[u8], recipients: &[EmailAddress]) -> Option<Vec<u8>> {
    let message = MessageParser::default().parse_headers(raw)?;
    let wanted: BTreeSet<String> = recipients.iter().map(EmailAddress::normalized).collect();
    let lists = [HeaderName::To, HeaderName::Cc, HeaderName::Bcc].map(|name| message.header(name));
    let lists = lists.into_iter().flatten().filter_map(HeaderValue::as_address);
    let named: BTreeSet<String> =
        lists.flat_map(|list| list.iter()).filter_map(|addr| addr.address().map(normalized)).collect();
    if !named.is_subset(&wanted) {
        return None;
    }
    let blind = recipients.iter().filter(|recipient| !named.contains(&recipient.normalized()));
    let blind: Vec<&str> = blind.map(EmailAddress::as_str).collect();
    let mut mime = Vec::with_capacity(raw.len());
    if !blind.is_empty() {
        // One address a line keeps lines short (RFC 5322 section 2.1.1).
        mime.extend_from_slice(format!("Bcc: {}\r\n", blind.join(",\r\n ")).as_bytes());
    }
    mime.extend_from_slice(raw);
    Some(mime)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = "From: a@x.test\r\nTo: B <b@x.test>\r\nCc: c@x.test\r\nSubject: S\r\nMessage-ID: <m@x.test>\r\n\
                       In-Reply-To: <p@x.test>\r\nReferences: <o@x.test> <p@x.test>\r\n\
                       Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>Hi</p>\r\n\
                       --b\r\nContent-Type: text/csv; name=\"t.csv\"\r\nContent-Disposition: attachment; filename=\"t.csv\"\
                       \r\nContent-Transfer-Encoding: base64\r\n\r\nYSxi\r\n--b--\r\n";

    fn addresses(list: &[&str]) -> Vec<EmailAddress> {
        list.iter().map(|address| EmailAddress::parse(*address).unwrap()).collect()
    }

    #[test]
    fn recipients_that_a_message_does_not_name_are_added_and_others_than_these_are_not_reached() {
        let all = addresses(&["b@x.test", "C@x.test", "d@x.test", "e@x.test"]);
        let mime = String::from_utf8(with_blind_copies(RAW.as_bytes(), &all).unwrap()).unwrap();
        assert_eq!(mime, format!("Bcc: d@x.test,\r\n e@x.test\r\n{RAW}"));
        let named = addresses(&["c@x.test", "b@x.test"]);
        assert_eq!(with_blind_copies(RAW.as_bytes(), &named).unwrap(), RAW.as_bytes());
        assert_eq!(with_blind_copies(RAW.as_bytes(), &addresses(&["b@x.test", "d@x.test"])), None);
    }

    #[test]
    fn a_message_is_taken_apart_for_the_recipients_that_are_left() {
        let draft = Apart::of(RAW.as_bytes(), &addresses(&["b@x.test", "d@x.test"])).unwrap();
        let mime = String::from_utf8(draft.mime.clone()).unwrap();
        let made = MessageParser::default().parse(&draft.mime).unwrap();
        assert_eq!((made.subject(), made.message_id()), (Some("S"), Some("m@x.test")), "{mime}");
        assert_eq!(made.in_reply_to().as_text(), Some("p@x.test"), "{mime}");
        assert_eq!(made.references().as_text_list().unwrap(), ["o@x.test", "p@x.test"], "{mime}");
        assert_eq!(made.to().unwrap().first().unwrap().address(), Some("b@x.test"), "{mime}");
        assert_eq!(made.bcc().unwrap().first().unwrap().address(), Some("d@x.test"), "{mime}");
        assert!(made.cc().is_none() && made.attachment_count() == 0, "{mime}");
        assert_eq!(made.body_html(0).unwrap().trim(), "<p>Hi</p>", "{mime}");
        assert_eq!(draft.attachments.len(), 1);
        let table = &draft.attachments[0];
        assert_eq!((table.name.as_str(), table.media_type.as_str()), ("t.csv", "text/csv"));
        assert_eq!((table.content.as_slice(), table.is_inline), (&b"a,b"[..], false));
        assert_eq!(message_id(RAW.as_bytes()).as_deref(), Some("m@x.test"));
    }
}
