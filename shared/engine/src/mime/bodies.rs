//! What a message says and what is attached to it: every part is in the one or in the other.

use std::collections::BTreeSet;

use mail_parser::{Message, MessagePart, MimeHeaders, PartType, decoders::html::html_to_text};

use super::clean::{beginning, said};
use crate::limits::HTML_READ_BYTES_MAX;

/// What a message says.
pub(super) struct Bodies {
    /// As text.
    pub text: String,
    /// As HTML, if any part of it is HTML.
    pub html: String,
    shown: BTreeSet<u32>,
}

impl Bodies {
    /// The bodies of a message. Texts that follow one another, as between pictures, before a forwarded message or in the
    /// footer of a list, are all of them said (RFC 8621 section 4.1.4).
    pub(super) fn of(message: &Message<'_>) -> Self {
        let joined = |parts: Vec<String>| parts.join("\r\n");
        let texts = message.text_body.iter().filter_map(|n| message.parts.get(*n as usize)).filter_map(text_of);
        let mut text = joined(texts.collect());
        let is_html = message.html_bodies().any(|part| matches!(part.body, PartType::Html(_)));
        let htmls = (0..message.html_body.len()).filter_map(|n| message.body_html(n)).map(|html| html.into_owned());
        let html = if is_html { joined(htmls.collect()) } else { String::new() };
        if !text.contains(char::is_alphanumeric) && !html.is_empty() {
            text = text_of_html(&html);
        }
        let is_said = |n: &&u32| {
            let part = message.parts.get(**n as usize);
            part.is_some_and(|part| matches!(part.body, PartType::Text(_) | PartType::Html(_)))
        };
        let shown = message.text_body.iter().chain(&message.html_body).filter(is_said).copied().collect();
        Self { text, html, shown }
    }

    /// Every part that is not among the bodies.
    pub(super) fn attached<'a>(&'a self, message: &'a Message<'a>) -> impl Iterator<Item = &'a MessagePart<'a>> {
        let numbered = (0_u32..).zip(&message.parts);
        numbered
            .filter(|(n, part)| {
                let is_empty_root = *n == 0 && part.contents().is_empty();
                !matches!(part.body, PartType::Multipart(_)) && !self.shown.contains(n) && !is_empty_root
            })
            .map(|(_, part)| part)
    }
}

fn text_of(part: &MessagePart<'_>) -> Option<String> {
    match &part.body {
        PartType::Text(text) => Some(text.as_ref().to_owned()),
        PartType::Html(html) => Some(text_of_html(html)),
        PartType::Binary(_) | PartType::InlineBinary(_) | PartType::Message(_) | PartType::Multipart(_) => None,
    }
}

fn text_of_html(html: &str) -> String {
    let read = beginning(html, HTML_READ_BYTES_MAX);
    html_to_text(said(read).as_deref().unwrap_or(read))
}

/// The type of a part, or the one that says nothing.
pub(super) fn type_of(part: &MessagePart<'_>) -> String {
    part.content_type().map_or_else(
        || "application/octet-stream".to_owned(),
        |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("*")),
    )
}
