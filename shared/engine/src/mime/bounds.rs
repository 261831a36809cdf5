//! A record within its bounds: what does not fit is left out of the row, and the row says so. The raw message has it all.

use mailrail_domain::email::record::{Attachment, Email, HTML_PREVIEW_BYTES_MAX};

use super::clean::{beginning, clean_html};

/// Size of a record's text beyond which its lists are shortened, in bytes: with names and numbers of its attributes it
/// stays below the 400 KB that a row may have.
const RECORD_BYTES_MAX: usize = 256 * 1024;
/// Entries of an address list, or of References, that remain then.
const SHORT_LIST: usize = 20;
/// Bytes of a name or type of an attachment that remain then.
const SHORT_FIELD_BYTES: usize = 64;

/// The record, its lists shortened if it would not fit a row: each field is bounded, and all at their bounds are not.
pub(super) fn fitted(mut email: Email) -> Email {
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
pub(super) struct Cut(pub bool);

impl Cut {
    pub(super) fn text(&mut self, text: &str, bytes_max: usize) -> String {
        let kept = beginning(text, bytes_max);
        self.0 |= kept.len() < text.len();
        kept.replace('\0', "\u{fffd}")
    }

    pub(super) fn html(&mut self, html: &str) -> String {
        let (cleaned, cut) = clean_html(html, HTML_PREVIEW_BYTES_MAX);
        self.0 |= cut;
        cleaned
    }
}

/// The last entries of a list, because a reply is tied to its nearest ancestors.
pub(super) fn last(mut list: Vec<String>, most: usize) -> Vec<String> {
    list.drain(..list.len().saturating_sub(most));
    list
}
