//! A message with what senders, lists and scanners do wrong put right, so that the reader finds what was meant.
//!
//! Only the reader sees it: what is stored is the message as it came.

use std::{borrow::Cow, ops::Range};

use mail_parser::{MessageParser, MimeHeaders};

use super::{
    charset, encoded_words,
    structure::{BOM, Coding, Part, Structure, TooDeep, coding, field, fields, name_and_value, structure},
};

/// Bytes of a text that its character set is guessed from.
const SAMPLE_BYTES: usize = 65_536;
/// Types of text that are no text to read: they stay attachments.
const TEXTS_OF_PROGRAMS: [&str; 9] =
    ["calendar", "vcard", "x-vcard", "directory", "rtf", "css", "csv", "x-amp-html", "rfc822-headers"];

/// A message as the reader gets it.
pub(super) struct Mended<'a> {
    pub raw: Cow<'a, [u8]>,
    /// Whether parts were left out, because there are too many.
    pub is_cut: bool,
}

/// Puts a message right.
pub(super) fn mended(raw: &[u8]) -> Result<Mended<'_>, TooDeep> {
    let Structure { parts, end, unclosed } = structure(raw)?;
    let mut mended = Patched { raw, done: 0, text: None };
    if raw.starts_with(BOM) {
        mended.replace(0..BOM.len(), b"");
    }
    for part in &parts {
        let (Some(header), Some(body)) = (raw.get(part.header.clone()), raw.get(part.body.clone())) else {
            continue;
        };
        if let Some(better) = header_of(header, body, part) {
            mended.replace(part.header.clone(), &better);
        }
        let better = match part.coding {
            Coding::Base64 => base64(body),
            Coding::QuotedPrintable => quoted_printable(body),
            Coding::None => None,
        };
        let better =
            part.within.and_then(|delimiter| told_apart(better.as_deref().unwrap_or(body), delimiter)).or(better);
        if let Some(better) = better {
            mended.replace(part.body.clone(), &better);
        }
    }
    if !unclosed.is_empty() {
        // The reader takes the last part of a multipart without an end for damaged.
        let mut closing = if raw.ends_with(b"\n") { Vec::new() } else { b"\r\n".to_vec() };
        closing.extend(unclosed.iter().flat_map(|delimiter| [*delimiter, b"--\r\n"].concat()));
        mended.replace(end..end, &closing);
    }
    Ok(Mended { raw: mended.finish(end), is_cut: end < raw.len() })
}

/// A text of which parts are replaced. It is copied once something is.
struct Patched<'a> {
    raw: &'a [u8],
    done: usize,
    text: Option<Vec<u8>>,
}

impl<'a> Patched<'a> {
    fn replace(&mut self, range: Range<usize>, by: &[u8]) {
        let kept = self.raw.get(self.done..range.start).unwrap_or_default();
        let text = self.text.get_or_insert_with(|| Vec::with_capacity(self.raw.len()));
        text.extend_from_slice(kept);
        text.extend_from_slice(by);
        self.done = range.end;
    }

    fn finish(self, end: usize) -> Cow<'a, [u8]> {
        match self.text {
            None => Cow::Borrowed(self.raw.get(..end).unwrap_or(self.raw)),
            Some(mut text) => {
                text.extend_from_slice(self.raw.get(self.done..end).unwrap_or_default());
                Cow::Owned(text)
            }
        }
    }
}

/// A better header of a part, if there is one.
fn header_of(header: &[u8], body: &[u8], part: &Part<'_>) -> Option<Vec<u8>> {
    let mut better = Vec::with_capacity(header.len());
    let mut is_changed = false;
    let mut has_type = false;
    for field in fields(header) {
        let mut text = Cow::Borrowed(field);
        let name = name_and_value(field).map_or(&b""[..], |(name, _)| name);
        if std::str::from_utf8(field).is_err() {
            text = Cow::Owned(charset::guessed(field).into_bytes());
        }
        if let Some(joined) = encoded_words::joined(&text) {
            text = Cow::Owned(joined);
        }
        if name.eq_ignore_ascii_case(b"content-type") {
            has_type = true;
            if let Some(better) = content_type(&text, header, body, part) {
                text = Cow::Owned(better);
            }
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding")
            && let Some((_, value)) = name_and_value(field)
        {
            let word = match coding(value) {
                Coding::Base64 => "base64",
                Coding::QuotedPrintable => "quoted-printable",
                Coding::None => "",
            };
            if !word.is_empty() && !value.trim_ascii().eq_ignore_ascii_case(word.as_bytes()) {
                text = Cow::Owned(format!("Content-Transfer-Encoding: {word}\r\n").into_bytes());
            }
        }
        is_changed |= matches!(text, Cow::Owned(_));
        better.extend_from_slice(&text);
    }
    // A text without a type has no character set either.
    if !has_type
        && !part.is_container
        && let Some(charset) = charset_of(None, header, body, false)
    {
        let typed = format!("Content-Type: text/plain; charset={charset}\r\n");
        let blank = if header.ends_with(b"\r\n") { 2 } else { usize::from(header.ends_with(b"\n")) };
        let at = better.len().saturating_sub(blank).min(better.len());
        better.splice(at..at, typed.into_bytes());
        is_changed = true;
    }
    is_changed.then_some(better)
}

/// A better field of the type of a part, if there is one.
fn content_type(field: &[u8], header: &[u8], body: &[u8], part: &Part<'_>) -> Option<Vec<u8>> {
    if part.is_container {
        return None;
    }
    let single = [field.trim_ascii_end(), b"\r\n\r\n"].concat();
    let parsed = MessageParser::new().with_mime_headers().parse_headers(&single)?;
    let known = parsed.content_type()?;
    let (kind, subtype) = (known.ctype().trim().to_ascii_lowercase(), known.subtype().unwrap_or_default().trim());
    let is_file = known.has_attribute("name")
        || self::field(header, b"content-disposition").is_some_and(|value| !value.trim_ascii().is_empty());
    let mut words = subtype.split_ascii_whitespace();
    let subtype = words.next().unwrap_or_default().to_ascii_lowercase();
    // `text/plain charset=utf-8`, without the semicolon.
    let stray = words.find_map(|word| word.strip_prefix("charset=")).map(|name| name.trim_matches('"').to_owned());
    let readable = match (kind.as_str(), subtype.as_str()) {
        _ if part.is_broken => Some("plain"),
        ("html", _) | ("text", "html") => Some("html"),
        ("text", "plain" | "") => Some("plain"),
        ("text", other) if is_file || TEXTS_OF_PROGRAMS.contains(&other) => None,
        ("text", _) => Some("plain"),
        // A type that is none means text (RFC 2045 section 5.2).
        (other, "") if !is_file && !matches!(other, "multipart" | "message") => Some("plain"),
        _ => None,
    }?;
    let given = known.attribute("charset").map(str::to_owned).or_else(|| stray.clone());
    let charset = charset_of(given.as_deref(), header, body, readable == "html");
    let is_as_it_is = !part.is_broken && stray.is_none() && kind == "text" && subtype == readable && charset.is_none();
    if is_as_it_is {
        return None;
    }
    let mut better = format!("Content-Type: text/{readable}");
    if let Some(charset) = charset.or(given) {
        better.push_str(&format!("; charset=\"{}\"", quotable(&charset)));
    }
    for attribute in known.attributes().into_iter().flatten().filter(|attribute| attribute.name != "charset") {
        better.push_str(&format!("; {}=\"{}\"", quotable(&attribute.name), quotable(&attribute.value)));
    }
    better.push_str("\r\n");
    Some(better.into_bytes())
}

/// Text as it may stand in quotes.
fn quotable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect()
}

/// The character set of a text, if the one that is given is missing, unknown, or cannot be right.
fn charset_of(given: Option<&str>, header: &[u8], body: &[u8], is_html: bool) -> Option<String> {
    let sample = body.get(..SAMPLE_BYTES).unwrap_or(body);
    let decoded = match field(header, b"content-transfer-encoding").map(coding) {
        Some(Coding::Base64) => {
            let clean = base64(sample);
            mail_parser::decoders::base64::base64_decode(clean.as_deref().unwrap_or(sample))
                .map_or(Cow::Borrowed(&b""[..]), Cow::Owned)
        }
        Some(Coding::QuotedPrintable) => mail_parser::decoders::quoted_printable::quoted_printable_decode(sample)
            .map_or(Cow::Borrowed(&b""[..]), Cow::Owned),
        Some(Coding::None) | None => Cow::Borrowed(sample),
    };
    charset::of_text(given, &decoded, is_html)
}

/// A body in which nothing looks like the delimiter of its multipart, if anything does. The reader takes a delimiter for one
/// wherever it stands, and however the line goes on.
fn told_apart(body: &[u8], delimiter: &[u8]) -> Option<Vec<u8>> {
    let mut apart = Vec::new();
    let mut done = 0;
    for at in memchr::memmem::find_iter(body, delimiter) {
        apart.extend_from_slice(body.get(done..=at).unwrap_or_default());
        apart.push(b' ');
        done = at + 1;
    }
    (done > 0).then(|| {
        apart.extend_from_slice(body.get(done..).unwrap_or_default());
        apart
    })
}

/// Quoted-printable without a soft line break at its very end, if it has one. The line end in front of a delimiter is the
/// delimiter's (RFC 2046 section 5.1.1), and the reader takes characters of the text for it if a soft break swallowed it.
fn quoted_printable(body: &[u8]) -> Option<Vec<u8>> {
    let line = body.strip_suffix(b"\n").unwrap_or(body);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = line.trim_ascii_end().strip_suffix(b"=")?;
    let end = body.get(line.len()..).unwrap_or_default();
    Some([text, end].concat())
}

/// The lines of base64 without what is none (RFC 2045 section 6.8: it "must be ignored"), if there is any. Lines that are
/// words, such as the footer of a list or a scanner, are left out, and so is everything behind the padding.
fn base64(body: &[u8]) -> Option<Vec<u8>> {
    let is_of_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let mut clean = Vec::with_capacity(body.len());
    let mut is_changed = false;
    let mut has_ended = false;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii();
        if text.is_empty() {
            clean.extend_from_slice(line);
            continue;
        }
        let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
        let digits = text.get(..text.len() - padding).unwrap_or_default();
        if !has_ended && padding <= 2 && digits.iter().all(is_of_alphabet) {
            clean.extend_from_slice(line);
            has_ended = padding > 0;
            continue;
        }
        is_changed = true;
        if has_ended {
            continue;
        }
        let quoted = text.strip_prefix(b"> ").or_else(|| text.strip_prefix(b">")).unwrap_or(text);
        let is_words = quoted.contains(&b' ') || quoted.iter().all(|byte| matches!(byte, b'-' | b'_' | b'='));
        if is_words {
            continue;
        }
        for byte in quoted {
            match byte {
                b'-' => clean.push(b'+'),
                b'_' => clean.push(b'/'),
                b'=' => {
                    has_ended = true;
                    clean.push(b'=');
                }
                byte if is_of_alphabet(byte) && !has_ended => clean.push(*byte),
                _ => {}
            }
        }
        clean.extend_from_slice(b"\r\n");
    }
    is_changed.then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::{super::structure::DEPTH_MAX, *};

    fn raw_of(raw: &[u8]) -> Cow<'_, [u8]> {
        mended(raw).unwrap().raw
    }

    #[test]
    fn a_message_without_mistakes_is_left_as_it_is() {
        let whole = b"From: a@x.test\r\nSubject: =?utf-8?q?J=C3=BCrgen?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n--b\r\nContent-Type: application/pdf\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\nAw==\r\n--b--\r\n";
        let nested = b"Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n\
            Content-Type: multipart/alternative; boundary=inner\r\n\r\n--inner\r\nContent-Type: text/plain\r\n\r\na\r\n--inner--\r\n\
            epilogue\r\n--outer\r\nContent-Type: application/pdf\r\n\r\nb\r\n--outer--\r\n";
        assert!(matches!(raw_of(nested), Cow::Borrowed(same) if same == nested));
        assert!(matches!(raw_of(whole), Cow::Borrowed(same) if same == whole));
        for raw in [&b""[..], b"\r\n", b"no header", b"Subject: x", b"--", b"\xff\xfe"] {
            raw_of(raw);
        }
    }

    #[test]
    fn what_is_no_base64_is_left_out() {
        for (body, expected) in [
            (&b"QUJD\r\nRA==\r\n"[..], None),
            (b"QU!JD\r\n", Some(&b"QUJD\r\n"[..])),
            (b"QU\0JD\r\n", Some(b"QUJD\r\n")),
            (b"> QUJD\r\n", Some(b"QUJD\r\n")),
            (b"QUJD\r\nRA==\r\nScanned by a scanner.\r\n", Some(b"QUJD\r\nRA==\r\n")),
            (b"QUJD\r\n-- \r\nlist@x.test mailing list\r\n", Some(b"QUJD\r\n")),
            (b"-_JD\r\n", Some(b"+/JD\r\n")),
        ] {
            assert_eq!(base64(body).as_deref(), expected, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_soft_line_break_at_the_very_end_is_left_out() {
        for (body, expected) in [
            (&b"abc=\r\n"[..], Some(&b"abc\r\n"[..])),
            (b"abc=", Some(b"abc")),
            (b"=\n", Some(b"\n")),
            (b"a=\r\nbc\r\n", None),
            (b"", None),
        ] {
            assert_eq!(quoted_printable(body).as_deref(), expected);
        }
    }

    #[test]
    fn only_a_delimiter_delimits() {
        let raw =
            b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nx--a\r\n--ab\r\n--a \r\n\r\ny\r\n--a--\r\n";
        let mended = raw_of(raw);
        let message = MessageParser::default().parse(mended.as_ref()).unwrap();
        assert_eq!(message.body_text(0).as_deref(), Some("x- -a\r\n- -ab"));
        assert_eq!(message.parts.len(), 3);
    }

    #[test]
    fn nesting_and_parts_are_bounded() {
        let forwarded = "Content-Type: message/rfc822\r\n\r\n".repeat(DEPTH_MAX + 1);
        assert_eq!(mended(forwarded.as_bytes()).err(), Some(TooDeep));
        let nested: String = (0..=DEPTH_MAX)
            .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"))
            .collect();
        assert_eq!(mended(nested.as_bytes()).err(), Some(TooDeep));
        let digest = "Content-Type: multipart/digest; boundary=b\r\n\r\n".to_owned()
            + &"--b\r\n\r\nSubject: x\r\n\r\ny\r\n".repeat(50_000);
        let mended = mended(digest.as_bytes()).unwrap();
        assert!(mended.is_cut && mended.raw.len() < digest.len() / 10);
    }

    #[test]
    fn boundaries_that_never_come_are_no_boundaries() {
        let absent = |count: usize| -> String {
            let part = |n: usize| format!("--b\r\nContent-Type: multipart/mixed; boundary=c{n}\r\n\r\nx\r\n");
            let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_owned();
            head + &(0..count).map(part).collect::<String>() + "--b--\r\n"
        };
        let raw = absent(3);
        let mended = raw_of(raw.as_bytes());
        assert_eq!(String::from_utf8_lossy(&mended).matches("Content-Type: text/plain").count(), 3);
        assert!(absent(50_000).len() > 2_000_000);
        raw_of(absent(50_000).as_bytes());
    }
}
