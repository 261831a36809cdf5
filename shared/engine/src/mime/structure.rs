//! How a message is made up: where each of its parts is, and what it says of itself. Depth and number of parts are bounded
//! here, on the raw lines, before anything recursive sees the message.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use mail_parser::{ContentType, MessageParser, MimeHeaders};

/// Deepest nesting of a message. RFC 2045 sets none; forwarded mail of years has some twenty levels.
pub(super) const DEPTH_MAX: usize = 128;
/// Most parts of a message that are read; the raw message has the rest.
const PARTS_MAX: usize = 2_000;
/// Lines that may be delimiters and are remembered.
const DELIMITERS_MAX: usize = 100_000;
/// The mark of UTF-8 that some programs put in front of a message.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// A message whose parts are nested deeper than anybody's mail is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooDeep;

/// A part of a message: where its header and its body are, and what it says of itself.
#[derive(Debug, Default)]
pub(super) struct Part<'a> {
    pub header: Range<usize>,
    pub body: Range<usize>,
    /// It is a multipart whose boundary never comes, so that it is a text.
    pub is_broken: bool,
    /// It holds other parts, or a message.
    pub is_container: bool,
    pub coding: Coding,
    /// The delimiter of the multipart that it is in.
    pub within: Option<&'a [u8]>,
}

/// What encloses the part that is being read.
enum Level<'a> {
    /// A multipart with this delimiter, and whether its parts are messages unless they say otherwise.
    Parts(&'a [u8], bool),
    Message,
}

/// How a message is made up.
pub(super) struct Structure<'a> {
    /// Its parts, in order.
    pub parts: Vec<Part<'a>>,
    /// Where the last of them ends.
    pub end: usize,
    /// Delimiters of multiparts that do not end, the innermost first.
    pub unclosed: Vec<&'a [u8]>,
}

/// Finds the parts of a message.
pub(super) fn structure(raw: &[u8]) -> Result<Structure<'_>, TooDeep> {
    let last_delimiters = delimiters(raw);
    let mut levels: Vec<Level<'_>> = Vec::new();
    let mut open: HashSet<&[u8]> = HashSet::new();
    let mut parts: Vec<Part<'_>> = Vec::new();
    let start = if raw.starts_with(BOM) { BOM.len() } else { 0 };
    let mut header_from = Some(start);
    // Whether this is behind the end of a multipart, where nothing belongs to its last part.
    let mut is_behind = false;
    let mut at = start;
    for line in raw.get(start..).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
        let here = at;
        at += line.len();
        let (delimiter, is_closing) = delimiter(line);
        let of_level = delimiter.filter(|delimiter| open.contains(delimiter)).and_then(|delimiter| {
            levels.iter().rposition(|level| matches!(level, Level::Parts(known, _) if *known == delimiter))
        });
        let is_blank = matches!(line, b"\r\n" | b"\n");
        if let Some(from) = header_from
            && (is_blank || of_level.is_some())
        {
            let to = if is_blank { at } else { here };
            let mut part = Part { header: from..to, body: to..to, ..Part::default() };
            header_from = part_of(raw, &mut part, &last_delimiters, &mut levels, &mut open).then_some(to);
            parts.push(part);
            if levels.len() > DEPTH_MAX {
                return Err(TooDeep);
            }
        }
        if let Some(level) = of_level {
            if let Some(part) = parts.last_mut().filter(|_| !is_behind) {
                part.body.end = part.body.end.max(here);
            }
            is_behind = is_closing;
            levels.truncate(level + 1);
            if is_closing {
                levels.pop();
            }
            header_from = (!is_closing).then_some(at);
            if parts.len() >= PARTS_MAX {
                return Ok(Structure { parts, end: here, unclosed: unclosed(&levels) });
            }
        } else if let Some(part) = parts.last_mut().filter(|_| header_from.is_none() && !is_behind) {
            part.body.end = at;
        }
    }
    if let Some(from) = header_from {
        let mut part = Part { header: from..at, body: at..at, ..Part::default() };
        part_of(raw, &mut part, &last_delimiters, &mut levels, &mut open);
        parts.push(part);
    }
    Ok(Structure { parts, end: raw.len(), unclosed: unclosed(&levels) })
}

fn unclosed<'a>(levels: &[Level<'a>]) -> Vec<&'a [u8]> {
    let delimiter = |level: &Level<'a>| match level {
        Level::Parts(delimiter, _) => Some(*delimiter),
        Level::Message => None,
    };
    levels.iter().rev().filter_map(delimiter).collect()
}

/// Reads what a part says of itself. Whether a header follows, because the part is a message.
fn part_of<'a>(
    raw: &'a [u8],
    part: &mut Part<'a>,
    last_delimiters: &HashMap<&'a [u8], usize>,
    levels: &mut Vec<Level<'a>>,
    open: &mut HashSet<&'a [u8]>,
) -> bool {
    let header = raw.get(part.header.clone()).unwrap_or_default();
    part.within = levels.iter().rev().find_map(|level| match level {
        Level::Parts(delimiter, _) => Some(*delimiter),
        Level::Message => None,
    });
    let is_in_digest = matches!(levels.last(), Some(Level::Parts(_, true)));
    let parsed = MessageParser::new().with_mime_headers().parse_headers(header);
    let content_type = parsed.as_ref().and_then(MimeHeaders::content_type);
    let coding = field(header, b"content-transfer-encoding").map(coding);
    part.coding = coding.unwrap_or_default();
    let of_type = |name: &str| content_type.is_some_and(|kind| kind.ctype().eq_ignore_ascii_case(name));
    if of_type("multipart") {
        let boundary = content_type.and_then(|kind| kind.attribute("boundary")).unwrap_or_default();
        let delimiter = [b"--", boundary.as_bytes()].concat();
        // The delimiter as it stands in the message outlives this function.
        let known = last_delimiters.get_key_value(delimiter.as_slice()).filter(|(_, last)| **last >= part.header.end);
        match known {
            Some((delimiter, _)) if !boundary.is_empty() => {
                let is_digest = content_type.and_then(ContentType::subtype) == Some("digest");
                levels.push(Level::Parts(delimiter, is_digest));
                open.insert(delimiter);
                part.is_container = true;
            }
            _ => part.is_broken = true,
        }
        return false;
    }
    let is_message = of_type("message")
        && content_type.and_then(ContentType::subtype).is_some_and(|kind| matches!(kind, "rfc822" | "global"));
    let is_plain = coding.is_none_or(|coding| coding == Coding::None);
    if (is_message || (is_in_digest && content_type.is_none())) && is_plain {
        levels.push(Level::Message);
        part.is_container = true;
        return true;
    }
    false
}

/// Lines that may be delimiters of a multipart, each with the place where it comes last.
fn delimiters(raw: &[u8]) -> HashMap<&[u8], usize> {
    let mut found = HashMap::new();
    let mut at = 0;
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        if let (Some(delimiter), _) = delimiter(line) {
            if found.len() >= DELIMITERS_MAX && !found.contains_key(delimiter) {
                continue;
            }
            found.insert(delimiter, at);
        }
        at += line.len();
    }
    found
}

/// The delimiter that a line may be, and whether it closes (RFC 2046 section 5.1.1).
fn delimiter(line: &[u8]) -> (Option<&[u8]>, bool) {
    if !line.starts_with(b"--") {
        return (None, false);
    }
    let line = line.trim_ascii_end();
    match line.strip_suffix(b"--") {
        Some(opening) if opening.len() > 2 => (Some(opening), true),
        _ => (Some(line), false),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Coding {
    #[default]
    None,
    QuotedPrintable,
    Base64,
}

/// The coding that a field names, in quotes, with a comment or a semicolon, or spelt with a hyphen.
pub(super) fn coding(value: &[u8]) -> Coding {
    let word: Vec<u8> =
        value.trim_ascii().iter().copied().take_while(|byte| !matches!(byte, b';' | b'(' | b' ')).collect();
    let word: String = word
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect();
    match word.as_str() {
        "base64" => Coding::Base64,
        "quotedprintable" => Coding::QuotedPrintable,
        _ => Coding::None,
    }
}

/// The fields of a header, each with the lines that continue it.
pub(super) fn fields(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let mut end = 0;
        for line in rest.split_inclusive(|byte| *byte == b'\n') {
            if end > 0 && !matches!(line.first(), Some(b' ' | b'\t')) {
                break;
            }
            end += line.len();
        }
        let (field, after) = rest.split_at_checked(end).filter(|(field, _)| !field.is_empty())?;
        rest = after;
        Some(field)
    })
}

/// Name and value of a field.
pub(super) fn name_and_value(field: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = field.iter().position(|byte| *byte == b':')?;
    Some((field.get(..colon)?.trim_ascii(), field.get(colon + 1..)?))
}

/// The value of the first field of this name.
pub(super) fn field<'a>(header: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    fields(header)
        .filter_map(name_and_value)
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}
