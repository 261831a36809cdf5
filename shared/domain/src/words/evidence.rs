//! What a server said, cut to size and cleaned of secrets, so that it may be kept, shown and mailed.

use serde::{Deserialize, Serialize};

/// Longest excerpt of a server's words that is kept, in characters.
pub const WORDS_CHARS_MAX: usize = 400;

/// Tokens at least this long that look like base64 are taken for credentials or tickets and struck out.
const OPAQUE_CHARS_MIN: usize = 24;

/// Where in a delivery something happened, in the order in which a delivery goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Reading our own settings and credentials for the server.
    Prepare,
    /// Finding the server by autodiscover.
    Discover,
    /// Looking the server's name up.
    Resolve,
    /// Opening the connection.
    Connect,
    /// Securing it.
    Tls,
    /// The server's first words and its capabilities.
    Greeting,
    /// Presenting credentials.
    SignIn,
    /// Using the permissions that an administrator has granted.
    Consent,
    /// Acting for the mailbox's user.
    Impersonate,
    /// Finding the mailbox's user.
    FindUser,
    /// Opening the folder or the maildrop.
    Open,
    /// Asking what has changed.
    List,
    /// Reading a message.
    Fetch,
    /// Naming sender and recipients.
    Envelope,
    /// Handing over the message's content.
    Data,
    /// Waiting for a message to arrive that the mailbox sent to itself.
    Arrive,
    /// Something that another release of Mailrail does, as a row says that it wrote.
    #[serde(other)]
    Other,
}

impl Stage {
    /// Words for a sentence: "while …".
    #[must_use]
    pub const fn doing(self) -> &'static str {
        match self {
            Self::Prepare => "preparing the connection",
            Self::Discover => "finding the email server by autodiscover",
            Self::Resolve => "looking up the server's name",
            Self::Connect => "connecting to the server",
            Self::Tls => "securing the connection",
            Self::Greeting => "being greeted by the server",
            Self::SignIn => "signing in",
            Self::Consent => "using the permissions that were granted",
            Self::Impersonate => "acting for the mailbox's user",
            Self::FindUser => "finding the mailbox's user",
            Self::Open => "opening the mailbox",
            Self::List => "asking for new messages",
            Self::Fetch => "reading a message",
            Self::Envelope => "naming the sender and the recipients",
            Self::Data => "handing over the message",
            Self::Arrive => "waiting for the test message to arrive",
            Self::Other => "doing something that this version does not know",
        }
    }
}

/// What was seen: the stage, the reply's codes and the server's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Where it happened.
    pub stage: Stage,
    /// Reply code as the protocol has it: `535`, `NO`, `-ERR`, `BYE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Enhanced or bracketed code: `5.7.8`, `AUTHENTICATIONFAILED`, `SYS/TEMP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The server's words, or the operating system's; redacted and at most [`WORDS_CHARS_MAX`] characters.
    pub words: String,
}

impl Evidence {
    /// Evidence from `stage`; `words` are redacted and cut here, so no caller can forget to.
    #[must_use]
    pub fn new(stage: Stage, words: &str) -> Self {
        Self { stage, code: None, detail: None, words: redacted(words) }
    }

    /// The same with the reply's code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The same with the reply's enhanced or bracketed code, if it had one.
    #[must_use]
    pub fn with_detail(mut self, detail: Option<impl Into<String>>) -> Self {
        self.detail = detail.map(Into::into);
        self
    }
}

/// `words` on one line, without control characters, addresses masked, long opaque tokens struck out, cut to size.
#[must_use]
pub fn redacted(words: &str) -> String {
    let line: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(4 * WORDS_CHARS_MAX).collect();
    let cleaned: Vec<String> = line.split_whitespace().map(clean_word).collect();
    cleaned.join(" ").chars().take(WORDS_CHARS_MAX).collect()
}

fn clean_word(word: &str) -> String {
    let core = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '=');
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=_-.".contains(c);
    let mixed = core.chars().any(|c| c.is_ascii_digit()) && core.chars().any(|c| c.is_ascii_uppercase());
    if core.chars().count() >= OPAQUE_CHARS_MIN && mixed && core.chars().all(base64) {
        word.replace(core, "[redacted]")
    } else if core.contains('@') && !core.contains("://") {
        word.replace(core, &crate::words::address::mask(core))
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_kept_and_people_and_tickets_are_not() {
        assert_eq!(
            redacted("550 5.1.1 <jane.doe@example.org>: Recipient\r\naddress rejected"),
            "550 5.1.1 <j***@example.org>: Recipient address rejected"
        );
        assert_eq!(
            redacted("Your ticket eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoi was refused"),
            "Your ticket [redacted] was refused"
        );
        assert_eq!(redacted("see https://support.example.org/answer"), "see https://support.example.org/answer");
    }

    #[test]
    fn words_are_bounded_whatever_the_server_sends() {
        assert!(redacted(&"word\0".repeat(100_000)).chars().count() <= WORDS_CHARS_MAX);
    }
}
