//! Parses replies of an IMAP server into flat tokens: tolerantly, without recursion, and without a panic on any bytes.

use bytes::Bytes;

/// Most bytes of a reply, without its literals: a listing of a very large folder fits.
pub(crate) const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Literals of one reply; a FETCH of one message has one or two.
pub(crate) const LITERALS_MAX: usize = 64;

/// OK, NO, BAD, BYE or PREAUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Ok,
    No,
    Bad,
    Bye,
    Preauth,
}

impl Condition {
    fn from_word(word: &[u8]) -> Option<Self> {
        let conditions = [Self::Ok, Self::No, Self::Bad, Self::Bye, Self::Preauth];
        conditions.into_iter().find(|c| word.eq_ignore_ascii_case(c.as_str().as_bytes()))
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::No => "NO",
            Self::Bad => "BAD",
            Self::Bye => "BYE",
            Self::Preauth => "PREAUTH",
        }
    }
}

/// What stands in brackets: `[UIDNEXT 5]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Code {
    /// Its name, in capitals.
    pub name: String,
    /// What follows it.
    pub argument: String,
}

/// A status reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub condition: Condition,
    pub code: Option<Code>,
    pub text: String,
}

/// What a reply answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tag {
    /// `*`
    Untagged,
    /// `+`
    Continuation,
    /// The tag of a command.
    Command(Bytes),
}

/// One reply, literals in their places.
#[derive(Debug)]
pub(crate) struct Reply {
    pub tag: Tag,
    /// Set if it is a status reply.
    pub status: Option<Status>,
    /// Everything after the tag, if it is not a status reply.
    pub tokens: Vec<Token>,
}

/// A token of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Open,
    Close,
    /// Anything without white space, brackets included: `BODY[]<0>` is one atom.
    Atom(Bytes),
    /// A quoted string, unescaped.
    Quoted(Vec<u8>),
    /// The n-th literal.
    Literal(usize),
}

impl Token {
    /// The token's text, if it has one.
    pub(super) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Atom(bytes) => Some(bytes),
            Self::Quoted(bytes) => Some(bytes),
            Self::Open | Self::Close | Self::Literal(_) => None,
        }
    }

    /// The token as a number.
    pub(super) fn number<T: std::str::FromStr>(&self) -> Option<T> {
        std::str::from_utf8(self.text()?).ok()?.parse().ok()
    }

    /// Whether the token is this word, in any case.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Atom(bytes) if bytes.eq_ignore_ascii_case(word.as_bytes()))
    }
}

impl Reply {
    /// The arguments of an untagged reply of this name: `* NAME …`.
    pub(super) fn untagged(&self, name: &str) -> Option<&[Token]> {
        match (&self.tag, self.tokens.split_first()) {
            (Tag::Untagged, Some((first, rest))) if first.is(name) => Some(rest),
            _ => None,
        }
    }

    /// The arguments of a reply about a message: `* 5 FETCH …`.
    pub(super) fn message(&self, name: &str) -> Option<&[Token]> {
        match (&self.tag, self.tokens.as_slice()) {
            (Tag::Untagged, [number, word, rest @ ..]) if word.is(name) && number.number::<u32>().is_some() => {
                Some(rest)
            }
            _ => None,
        }
    }

    /// The status, if this is the end of the command with `tag`.
    pub(super) fn ends(&self, tag: &str) -> Option<&Status> {
        match &self.tag {
            Tag::Command(of) if of == tag.as_bytes() => self.status.as_ref(),
            Tag::Command(_) | Tag::Untagged | Tag::Continuation => None,
        }
    }
}

/// The length of the literal that a line announces at its end: `{5}`, `{5+}` or `~{5}`.
pub(crate) fn literal_length(line: &[u8]) -> Option<u64> {
    let inner = line.strip_suffix(b"}")?;
    let start = inner.iter().rposition(|byte| *byte == b'{')?;
    let digits = inner.get(start + 1..)?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Reads the first line of a reply. [`push_line`] adds the line after each literal.
pub(crate) fn parse_line(line: &[u8]) -> Reply {
    let (tag, rest) = split_word(line);
    let tag = match tag {
        b"*" => Tag::Untagged,
        b"+" => Tag::Continuation,
        other => Tag::Command(Bytes::copy_from_slice(other)),
    };
    let (word, text) = split_word(rest);
    let condition = match tag {
        Tag::Continuation => None,
        Tag::Untagged | Tag::Command(_) => Condition::from_word(word),
    };
    match condition {
        Some(condition) => Reply { tag, status: Some(status(condition, text)), tokens: Vec::new() },
        None => {
            let mut reply = Reply { tag, status: None, tokens: Vec::new() };
            push_line(&mut reply.tokens, rest, 0);
            reply
        }
    }
}

/// Adds the tokens of one line. `literals` is the number of literals that were read before it. If the line announces a
/// literal, the announcement ends the line.
pub(crate) fn push_line(tokens: &mut Vec<Token>, line: &[u8], literals: usize) {
    let mut rest = line;
    while let Some((first, after)) = rest.split_first() {
        match first {
            b' ' | b'\t' => rest = after,
            b'(' => {
                tokens.push(Token::Open);
                rest = after;
            }
            b')' => {
                tokens.push(Token::Close);
                rest = after;
            }
            b'"' => {
                let (text, after) = quoted(after);
                tokens.push(Token::Quoted(text));
                rest = after;
            }
            _ if literal_length(rest).is_some() && !rest.iter().any(|b| matches!(b, b' ' | b'(' | b')')) => {
                tokens.push(Token::Literal(literals));
                rest = &[];
            }
            _ => {
                let end = atom_end(rest);
                let (atom, after) = rest.split_at(end);
                tokens.push(Token::Atom(Bytes::copy_from_slice(atom)));
                rest = after;
            }
        }
    }
}

/// An atom ends at white space or a parenthesis, but not inside brackets: `BODY[HEADER.FIELDS (DATE)]` is one atom.
fn atom_end(text: &[u8]) -> usize {
    let mut brackets = 0_usize;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'[' => brackets += 1,
            b']' => brackets = brackets.saturating_sub(1),
            b' ' | b'(' | b')' | b'"' if brackets == 0 => return at.max(1),
            _ => {}
        }
    }
    text.len()
}

fn quoted(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut value = Vec::new();
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => break,
            b'\\' => {
                if let Some((escaped, after)) = rest.split_first() {
                    value.push(*escaped);
                    rest = after;
                }
            }
            other => value.push(*other),
        }
    }
    (value, rest)
}

fn status(condition: Condition, text: &[u8]) -> Status {
    let (code, words) = match text.strip_prefix(b"[").and_then(|inner| split_at_byte(inner, b']')) {
        Some((code, words)) => {
            let (name, argument) = split_word(code);
            let name = String::from_utf8_lossy(name).to_ascii_uppercase();
            (Some(Code { name, argument: String::from_utf8_lossy(argument).into_owned() }), words)
        }
        None => (None, text),
    };
    Status { condition, code, text: String::from_utf8_lossy(words).trim().to_owned() }
}

fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    split_at_byte(text, b' ').unwrap_or((text, &[]))
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|b| *b == byte)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn atom(text: &str) -> Token {
        Token::Atom(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn status_replies_give_condition_code_and_text() {
        let reply = parse_line(b"a1 NO [AUTHENTICATIONFAILED] Authentication failed.");
        let status = reply.ends("a1").unwrap();
        assert_eq!(status.code.as_ref().unwrap().name, "AUTHENTICATIONFAILED");
        assert_eq!(status.text, "Authentication failed.");
        let reply = parse_line(b"* OK [UIDNEXT 17] Predicted next UID");
        assert_eq!(reply.status.unwrap().code.unwrap(), Code { name: "UIDNEXT".into(), argument: "17".into() });
    }

    #[test]
    fn a_fetch_is_a_flat_list_of_tokens() {
        let reply = parse_line(b"* 3 FETCH (UID 9 INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] {12}");
        let tokens = reply.message("FETCH").unwrap();
        assert_eq!(tokens[..3], [Token::Open, atom("UID"), atom("9")]);
        assert_eq!(tokens[5..], [atom("BODY[]"), Token::Literal(0)]);
        let reply = parse_line(b"* 1 FETCH (BODY[HEADER.FIELDS (DATE FROM)]<0> \"a \\\"b\\\" c\")");
        assert_eq!(reply.message("FETCH").unwrap()[1], atom("BODY[HEADER.FIELDS (DATE FROM)]<0>"));
        assert_eq!(reply.message("FETCH").unwrap()[2], Token::Quoted(b"a \"b\" c".to_vec()));
    }

    /// Replies that real servers give and published parsers refuse.
    #[test]
    fn odd_replies_of_real_servers_are_understood() {
        for line in [
            "* 1 FETCH (X-GM-MSGID 1278455344230334865 X-GM-LABELS (\\Inbox \"a b\") UID 5 RFC822.SIZE 9)",
            "* ESEARCH (TAG \"a3\") UID ALL 1:3,5",
            "* STATUS INBOX (UIDNEXT 5 UIDVALIDITY 1 SIZE 9999999999 MAILBOXID (M1))",
            "* SEARCH 2 5 6 (MODSEQ 917162500)",
            "* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\" (\"CHILDINFO\" (\"SUBSCRIBED\"))",
            "* XUNKNOWN whatever (((",
            "* VANISHED (EARLIER) 41,43:116",
        ] {
            let reply = parse_line(line.as_bytes());
            assert!(reply.status.is_none() && !reply.tokens.is_empty(), "{line}");
        }
        assert!(parse_line("a1 NO [ALERT]échec".as_bytes()).status.is_some());
        assert!(parse_line(b"* OK").status.is_some());
    }

    #[test]
    fn literal_lengths_are_read_at_the_end_of_a_line_only() {
        assert_eq!(literal_length(b"BODY[] {12}"), Some(12));
        assert_eq!(literal_length(b"X {7+}"), Some(7));
        assert_eq!(literal_length(b"BODY[] {12} x"), None);
        assert_eq!(literal_length(b"{-1}"), None);
        assert_eq!(literal_length(b"{99999999999999999999999}"), None);
    }

    #[test]
    fn deep_nesting_needs_no_stack() {
        let line = format!("* 1 FETCH (BODYSTRUCTURE {}", "(".repeat(1_000_000));
        assert!(parse_line(line.as_bytes()).tokens.len() > 1_000_000);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(line in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_line(&line);
            let _ = literal_length(&line);
        }

        #[test]
        fn no_mutation_of_a_real_reply_panics(at in 0_usize..60, byte in any::<u8>()) {
            let mut line = b"* 3 FETCH (UID 9 X (\"q\\\"\") BODY[H (D)]<0> {12}".to_vec();
            if let Some(place) = line.get_mut(at) { *place = byte; }
            let _ = parse_line(&line);
        }
    }
}
