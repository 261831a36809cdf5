//! Composing an outgoing message with our own Message-ID.

use mail_builder::{
    MessageBuilder,
    headers::{address::Address, message_id::MessageId},
};
use mailrail_domain::{Timestamp, words::address::EmailAddress};

use super::ids::is_id;

/// What an outgoing message is made of.
#[derive(Debug, Clone, Default)]
pub struct Composition<'a> {
    /// Display name and address of the sender.
    pub from: Option<(&'a str, &'a EmailAddress)>,
    /// To.
    pub to: &'a [EmailAddress],
    /// Cc. There is no Bcc: those recipients are in the envelope alone.
    pub cc: &'a [EmailAddress],
    /// Subject.
    pub subject: &'a str,
    /// Text.
    pub text: &'a str,
    /// HTML, where there is any besides the text.
    pub html: Option<&'a str>,
    /// Our own Message-ID, without angle brackets.
    pub message_id: &'a str,
    /// Message-IDs of the email that it answers and of those before, oldest first.
    pub references: &'a [String],
}

/// The message, complete but for its Date, which [`dated`] adds when it is sent.
#[must_use]
pub fn compose(parts: &Composition<'_>) -> Vec<u8> {
    let addresses = |list: &[EmailAddress]| {
        Address::new_list(list.iter().map(|a| Address::new_address(None::<&str>, wire_form(a))).collect())
    };
    let mut message = MessageBuilder::new()
        .message_id(parts.message_id.to_owned())
        .subject(parts.subject.to_owned())
        .text_body(in_lines(parts.text));
    if let Some((name, address)) = parts.from {
        message = message.from(Address::new_address(Some(name.to_owned()), wire_form(address)));
    }
    if !parts.to.is_empty() {
        message = message.to(addresses(parts.to));
    }
    if !parts.cc.is_empty() {
        message = message.cc(addresses(parts.cc));
    }
    if let Some(html) = parts.html {
        message = message.html_body(in_lines(html));
    }
    // What came with a message of somebody else goes into a field of ours only if it is an identifier.
    let answered: Vec<&String> = parts.references.iter().filter(|id| is_id(id)).collect();
    if let Some(last) = answered.last() {
        message = message.in_reply_to(MessageId::new((*last).clone()));
    }
    // Our own identifier is among the references, because some relays put another Message-ID on what they send, and keep
    // the references. So a reply finds what it answers.
    let own = parts.message_id.to_owned();
    message = message.references(MessageId::new_list(answered.into_iter().cloned().chain([own])));
    let mut raw = Vec::new();
    // Writing to memory does not fail; the builder's signature is that of any writer.
    if let Err(error) = message.write_to(&mut raw) {
        tracing::error!(%error, "a message could not be composed");
    }
    without_date(raw)
}

/// An address with its domain in ASCII (RFC 5890), if its local part is: any server takes it then.
#[must_use]
pub fn wire_form(address: &EmailAddress) -> String {
    let ascii = address.as_str().rsplit_once('@').filter(|(local, _)| local.is_ascii()).and_then(|(local, domain)| {
        let domain = idna::domain_to_ascii(domain).ok()?;
        Some(format!("{local}@{domain}"))
    });
    ascii.filter(|_| !address.as_str().is_ascii()).unwrap_or_else(|| address.as_str().to_owned())
}

/// Text in lines that end by CR and LF (RFC 5322 section 2.3: the two occur only together), without NUL.
fn in_lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "");
    text.replace('\n', "\r\n")
}

/// The builder dates every message by the system's clock; ours are dated when they are sent.
fn without_date(raw: Vec<u8>) -> Vec<u8> {
    let is_date = |line: &[u8]| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"Date:"));
    let mut kept = Vec::with_capacity(raw.len());
    let mut in_header = true;
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        if in_header && is_date(line) {
            continue;
        }
        in_header &= !matches!(line, b"\r\n" | b"\n");
        kept.extend_from_slice(line);
    }
    kept
}

/// The message with its Date (RFC 5322 section 3.6.1).
#[must_use]
pub fn dated(raw: &[u8], now: Timestamp) -> Vec<u8> {
    let mut message = format!("Date: {}\r\n", now.to_rfc2822()).into_bytes();
    message.extend_from_slice(raw);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_composed_message_reads_back_as_it_was_meant() {
        let from = EmailAddress::parse("me@example.org").unwrap();
        let to = [EmailAddress::parse("you@example.org").unwrap()];
        let references = ["a@x".to_owned(), "b@x".to_owned()];
        let raw = compose(&Composition {
            from: Some(("Jürgen\r\nBcc: evil@example.org", &from)),
            to: &to,
            subject: "Grüße\r\nBcc: evil@example.org",
            text: "Date: in the body stays",
            html: Some("<p>x</p>"),
            message_id: "own@example.org",
            references: &references,
            ..Composition::default()
        });
        let now = Timestamp::from_timestamp(1_700_000_000, 0).unwrap();
        let raw = dated(&raw, now);
        let message = mail_parser::MessageParser::default().parse(&raw).unwrap();
        assert_eq!(message.message_id(), Some("own@example.org"));
        assert_eq!(message.in_reply_to().as_text_list().unwrap().last().unwrap(), "b@x");
        assert_eq!(message.date().unwrap().to_timestamp(), now.timestamp());
        assert!(message.bcc().is_none(), "a line end in a value adds no header");
        assert!(message.body_text(0).unwrap().contains("Date: in the body stays"));
        let header_end = raw.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let dates = raw[..header_end].split(|b| *b == b'\n').filter(|l| l.starts_with(b"Date:"));
        assert_eq!(dates.count(), 1);
    }

    #[test]
    fn nothing_of_a_foreign_message_gets_into_a_field_or_ends_a_line_by_itself() {
        let from = EmailAddress::parse("me@example.org").unwrap();
        let hostile = ["x\rBcc: victim@z.test", "a\0b@x", "=?utf-8?Q?=3Ca?= b", "é@x", "good@x"].map(str::to_owned);
        let raw = compose(&Composition {
            from: Some(("Me", &from)),
            message_id: "own@example.org",
            references: &hostile,
            text: "one\rtwo\0\nthree",
            ..Composition::default()
        });
        let text = String::from_utf8(raw).unwrap();
        assert!(!text.contains("Bcc") && !text.contains('\0'), "{text}");
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{text:?}");
        assert!(text.contains("In-Reply-To: <good@x>\r\n"), "{text}");
        assert!(
            text.contains("<good@x> <own@example.org>") || text.contains("<good@x>\r\n <own@example.org>"),
            "{text}"
        );
    }
}
