//! Encoded words (RFC 2047): those that cut a character in two are joined, as every mail program does.
//!
//! Section 5 forbids such words, and many programs write them.

use base64::{
    Engine, alphabet,
    engine::DecodePaddingMode,
    engine::GeneralPurpose,
    engine::general_purpose::{GeneralPurposeConfig, STANDARD},
};

/// Base64 whose padding may be missing.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// An encoded word.
#[derive(Debug, Clone, Copy)]
struct Word<'a> {
    charset: &'a [u8],
    coding: u8,
    text: &'a [u8],
    /// Bytes of the word as it stands.
    length: usize,
}

/// The field with neighbouring words of one character set and coding made one word, if there are any.
pub(super) fn joined(field: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(field.len());
    let mut is_changed = false;
    let mut at = 0;
    while let Some(rest) = field.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(start) = memchr::memmem::find(rest, b"=?") else {
            out.extend_from_slice(rest);
            break;
        };
        out.extend_from_slice(rest.get(..start).unwrap_or_default());
        at += start;
        let Some(first) = field.get(at..).and_then(word) else {
            out.extend_from_slice(b"=?");
            at += 2;
            continue;
        };
        let mut words = vec![first];
        let mut end = at + first.length;
        while let Some((next, gap)) = next_word(field.get(end..).unwrap_or_default())
            && next.charset.eq_ignore_ascii_case(first.charset)
            && next.coding == first.coding
        {
            words.push(next);
            end += gap + next.length;
        }
        match (words.len() > 1).then(|| one(&words)).flatten() {
            Some(whole) => {
                out.extend_from_slice(&whole);
                is_changed = true;
            }
            None => out.extend_from_slice(field.get(at..end).unwrap_or_default()),
        }
        at = end;
    }
    is_changed.then_some(out)
}

/// The word at the beginning of a text.
fn word(text: &[u8]) -> Option<Word<'_>> {
    let rest = text.strip_prefix(b"=?")?;
    let charset_end = memchr::memchr(b'?', rest)?;
    let (charset, rest) = (rest.get(..charset_end)?, rest.get(charset_end + 1..)?);
    let coding = rest.first()?.to_ascii_lowercase();
    let rest = rest.get(1..)?.strip_prefix(b"?")?;
    let end = memchr::memmem::find(rest, b"?=")?;
    let content = rest.get(..end)?;
    let is_word = matches!(coding, b'b' | b'q') && !charset.is_empty() && !charset.iter().any(u8::is_ascii_whitespace);
    // The name of a language may follow the character set (RFC 2231 section 5).
    let charset = charset.split(|byte| *byte == b'*').next().unwrap_or(charset);
    is_word.then_some(Word { charset, coding, text: content, length: text.len() - rest.len() + end + 2 })
}

/// The word behind white space, and how long that is.
fn next_word(text: &[u8]) -> Option<(Word<'_>, usize)> {
    let gap = text.len() - text.trim_ascii_start().len();
    Some((word(text.get(gap..)?)?, gap))
}

fn one(words: &[Word<'_>]) -> Option<Vec<u8>> {
    let first = words.first()?;
    let text = if first.coding == b'q' {
        words.iter().flat_map(|word| word.text).copied().collect()
    } else {
        let mut bytes = Vec::new();
        for word in words {
            bytes.extend(LENIENT.decode(word.text).ok()?);
        }
        STANDARD.encode(bytes).into_bytes()
    };
    Some([b"=?", first.charset, b"?", &[first.coding], b"?", &text, b"?="].concat())
}
