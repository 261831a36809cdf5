//! Message-IDs as fields name them: parsed, so that nothing else gets into a record or into what we send.

use mail_parser::MessageParser;

/// Whether a text is a Message-ID that may stand in a field of ours: one word of printable ASCII (RFC 5322 section 3.6.4,
/// of which real ones exceed the grammar and not the characters).
#[must_use]
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>'))
}

/// The identifiers in the value of a Message-ID, In-Reply-To or References field, in order: what stands in angle brackets,
/// or, if nothing does, its words with an `@`. Identifiers with a control character are none.
pub(super) fn ids(value: &str) -> Vec<String> {
    let decoded = if value.contains("=?") { decoded(value) } else { value.to_owned() };
    let mut found = Vec::new();
    let mut rest = decoded.as_str();
    while let Some((_, after)) = rest.split_once('<') {
        let Some((inside, behind)) = after.split_once('>') else { break };
        // An identifier may be folded over two lines.
        let id: String = inside.trim().split("\r\n").map(str::trim).collect();
        if !id.is_empty() && !id.chars().any(|c| c.is_control() || c == '<') {
            found.push(id);
        }
        rest = behind;
    }
    if found.is_empty() && !decoded.contains('<') {
        let words = decoded
            .split_whitespace()
            .filter(|word| word.contains('@') || !decoded.trim().contains(char::is_whitespace));
        let bare = words.map(|word| word.trim_matches(['<', '>', '"', ',', ';'])).filter(|word| !word.is_empty());
        found.extend(bare.filter(|word| !word.chars().any(char::is_control)).map(str::to_owned));
    }
    found
}

/// A value whose encoded words are decoded (RFC 2047). Some programs encode identifiers.
fn decoded(value: &str) -> String {
    let field = format!("Subject: {}\r\n\r\n", value.replace(['\r', '\n'], " "));
    let parsed = MessageParser::default().parse_headers(field.as_bytes());
    parsed.and_then(|message| message.subject().map(str::to_owned)).unwrap_or_else(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_found_and_nothing_else() {
        for (value, expected) in [
            ("<a@x.test>", vec!["a@x.test"]),
            (" <a@x.test>\r\n <b@x.test> ", vec!["a@x.test", "b@x.test"]),
            ("=?us-ascii?Q?=3Corig=40x.test=3E?=", vec!["orig@x.test"]),
            ("<orig@x.test> from Joe <joe@y.test> on Monday", vec!["orig@x.test", "joe@y.test"]),
            ("a@x.test", vec!["a@x.test"]),
            ("opaque", vec!["opaque"]),
            ("<x\rBcc: victim@z.test>", vec![]),
            ("<a\0b@x.test>", vec![]),
            ("", vec![]),
            ("<>", vec![]),
            ("Your message of Monday", vec![]),
        ] {
            assert_eq!(ids(value), expected, "{value:?}");
        }
    }

    #[test]
    fn only_one_word_of_ascii_goes_into_a_field_of_ours() {
        for (text, is) in [
            ("a@x", true),
            ("opaque", true),
            ("", false),
            ("a b", false),
            ("a\rb", false),
            ("é@x", false),
            ("a>b", false),
        ] {
            assert_eq!(is_id(text), is, "{text:?}");
        }
    }
}
