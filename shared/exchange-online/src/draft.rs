//! A message as Graph wants it: as MIME with all of its recipients, or taken apart into fields and attachments where it
//! is too large for one request.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use mail_parser::{Address, HeaderName, HeaderValue, Message, MessagePart, MimeHeaders, PartType};
use mailrail_domain::address::EmailAddress;
use serde_json::{Value, json};

/// Message-ID that the message answers (PidTagInReplyToId), as Graph names properties.
const IN_REPLY_TO_PROPERTY: &str = "String 0x1042";
/// Message-IDs of its thread (PidTagInternetReferences).
const REFERENCES_PROPERTY: &str = "String 0x1039";

/// A message in fields.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What a draft is made of, but for attachments.
    pub fields: Value,
    /// What is attached, in order.
    pub attachments: Vec<Attached>,
}

/// An attachment.
#[derive(Debug)]
pub(crate) struct Attached {
    name: String,
    media_type: String,
    content_id: Option<String>,
    is_inline: bool,
    /// Its content, decoded.
    pub content: Vec<u8>,
}

impl Attached {
    /// As one request takes it.
    pub fn whole(&self) -> Value {
        json!({
            "@odata.type": "#microsoft.graph.fileAttachment",
            "name": self.name,
            "contentType": self.media_type,
            "isInline": self.is_inline,
            "contentId": self.content_id,
            "contentBytes": STANDARD.encode(&self.content),
        })
    }

    /// As an upload in pieces is announced.
    pub fn announced(&self) -> Value {
        json!({ "AttachmentItem": {
            "attachmentType": "file",
            "name": self.name,
            "contentType": self.media_type,
            "isInline": self.is_inline,
            "contentId": self.content_id,
            "size": self.content.len(),
        } })
    }
}

impl Draft {
    /// A message in fields, for these recipients alone.
    pub fn of(message: &Message<'_>, message_id: &str, recipients: &[EmailAddress]) -> Self {
        let left: BTreeSet<String> = recipients.iter().map(EmailAddress::normalized).collect();
        let named = |addresses: Option<&Address<'_>>| -> Vec<(Option<String>, String)> {
            let addresses = addresses.into_iter().flat_map(|list| list.iter());
            addresses
                .filter_map(|addr| Some((addr.name().map(str::to_owned), addr.address()?.to_owned())))
                .filter(|(_, address)| left.contains(&normalized(address)))
                .collect()
        };
        let (to, cc) = (named(message.to()), named(message.cc()));
        let visible: BTreeSet<String> = to.iter().chain(&cc).map(|(_, address)| normalized(address)).collect();
        let blind = recipients.iter().filter(|recipient| !visible.contains(&recipient.normalized()));
        let blind: Vec<_> = blind.map(|recipient| (None, recipient.as_str().to_owned())).collect();
        let (kind, text) = match message.body_html(0) {
            Some(html) if message.html_body.first().is_some_and(|part| is_html(message, *part)) => ("html", html),
            _ => ("text", message.body_text(0).unwrap_or_default()),
        };
        let ids = |value: &HeaderValue<'_>| {
            let ids: Vec<String> =
                value.as_text_list().unwrap_or_default().iter().map(|id| format!("<{id}>")).collect();
            ids.join(" ")
        };
        let thread: Vec<Value> =
            [(IN_REPLY_TO_PROPERTY, ids(message.in_reply_to())), (REFERENCES_PROPERTY, ids(message.references()))]
                .into_iter()
                .filter(|(_, ids)| !ids.is_empty())
                .map(|(property, ids)| json!({ "id": property, "value": ids }))
                .collect();
        let mut fields = json!({
            "subject": message.subject().unwrap_or_default(),
            "internetMessageId": format!("<{message_id}>"),
            "body": { "contentType": kind, "content": text },
            "toRecipients": to.iter().map(recipient).collect::<Vec<_>>(),
            "ccRecipients": cc.iter().map(recipient).collect::<Vec<_>>(),
            "bccRecipients": blind.iter().map(recipient).collect::<Vec<_>>(),
        });
        if !thread.is_empty() {
            fields["singleValueExtendedProperties"] = Value::Array(thread);
        }
        Self { fields, attachments: message.attachments().enumerate().map(attached).collect() }
    }
}

fn is_html(message: &Message<'_>, part: u32) -> bool {
    message.parts.get(part as usize).is_some_and(|part| matches!(part.body, PartType::Html(_)))
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

fn recipient((name, address): &(Option<String>, String)) -> Value {
    match name {
        Some(name) => json!({ "emailAddress": { "name": name, "address": address } }),
        None => json!({ "emailAddress": { "address": address } }),
    }
}

fn normalized(address: &str) -> String {
    EmailAddress::parse(address).map_or_else(|_| address.to_lowercase(), |address| address.normalized())
}

/// The message with a Bcc field for those of its recipients that it names nowhere, as Graph learns them from the message
/// itself. `None` if it names others than these, whom it would reach as well.
pub(crate) fn with_blind_copies(raw: &[u8], message: &Message<'_>, recipients: &[EmailAddress]) -> Option<Vec<u8>> {
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
    use mail_parser::MessageParser;

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
        let message = MessageParser::default().parse(RAW.as_bytes()).unwrap();
        let all = addresses(&["b@x.test", "C@x.test", "d@x.test", "e@x.test"]);
        let mime = String::from_utf8(with_blind_copies(RAW.as_bytes(), &message, &all).unwrap()).unwrap();
        assert_eq!(mime, format!("Bcc: d@x.test,\r\n e@x.test\r\n{RAW}"));
        let named = addresses(&["c@x.test", "b@x.test"]);
        assert_eq!(with_blind_copies(RAW.as_bytes(), &message, &named).unwrap(), RAW.as_bytes());
        assert_eq!(with_blind_copies(RAW.as_bytes(), &message, &addresses(&["b@x.test", "d@x.test"])), None);
    }

    #[test]
    fn a_message_is_taken_apart_for_the_recipients_that_are_left() {
        let message = MessageParser::default().parse(RAW.as_bytes()).unwrap();
        let draft = Draft::of(&message, "m@x.test", &addresses(&["b@x.test", "d@x.test"]));
        insta::assert_json_snapshot!(draft.fields);
        assert_eq!(draft.attachments.len(), 1);
        insta::assert_json_snapshot!("attachment_whole", draft.attachments[0].whole());
        insta::assert_json_snapshot!("attachment_announced", draft.attachments[0].announced());
    }
}
