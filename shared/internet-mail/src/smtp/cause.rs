//! What the replies of SMTP servers mean: the reply code, then the enhanced code (RFC 3463) where it says more.

use std::error::Error as _;

use lettre::transport::smtp::Error;
use mailrail_domain::words::{
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
};

/// The enhanced code of a limit that is reached.
const LIMIT_REACHED: &str = "5.4.5";

/// A reply: its code, its enhanced code and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub code: u16,
    pub enhanced: Option<String>,
    pub words: String,
}

impl Refusal {
    /// The reply that an error carries, if it carries one. Only a real reply code may make a refusal permanent.
    pub(super) fn of(error: &Error) -> Option<Self> {
        let code = u16::from(error.status()?);
        let words = error.source().map(ToString::to_string).unwrap_or_default();
        Some(Self::new(code, &words))
    }

    pub(super) fn new(code: u16, words: &str) -> Self {
        let first = words.split_whitespace().next().unwrap_or_default();
        let numbers = |text: &str| text.split('.').all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        let enhanced = (first.split('.').count() == 3 && numbers(first)).then(|| first.to_owned());
        let rest = words.strip_prefix(first).filter(|_| enhanced.is_some()).unwrap_or(words);
        Self { code, enhanced, words: rest.trim().to_owned() }
    }

    /// Whether it is for good. A limit that is reached passes, whatever its code is (RFC 3463 section 3.5: X.4.5 is only a
    /// persistent transient error).
    pub(super) fn is_permanent(&self) -> bool {
        self.code >= 500 && self.enhanced() != LIMIT_REACHED
    }

    /// Whether a recipient is refused only because the email has so many (RFC 5321 section 4.5.3.1.10: 552 is 452 then).
    pub(super) fn is_too_many(&self) -> bool {
        self.code == 552 && matches!(self.enhanced.as_deref(), None | Some("5.5.3" | "4.5.3"))
    }

    pub(super) fn evidence(&self, stage: Stage) -> Evidence {
        let words = if self.words.is_empty() { "(the server gave no words)" } else { &self.words };
        Evidence::new(stage, words).with_code(self.code.to_string()).with_detail(self.enhanced.clone())
    }

    fn enhanced(&self) -> &str {
        self.enhanced.as_deref().unwrap_or_default()
    }

    /// Whether a refusal of the envelope is about this email alone: the email is too large (RFC 1870, X.3.4 and X.2.3),
    /// or it has an address that the server cannot carry (RFC 6531, X.6.7).
    pub(super) fn concerns_email(&self) -> bool {
        let email = ["5.3.4", "5.2.3", "5.6.7"].contains(&self.enhanced());
        self.is_permanent() && (email || (self.code == 552 && self.enhanced.is_none()))
    }
}

/// The failure that an error of a session means.
pub(crate) fn failure(stage: Stage, error: &Error) -> DeliveryError {
    match Refusal::of(error) {
        Some(refusal) => refused(stage, &refusal),
        None => without_reply(stage, error),
    }
}

/// The failure that a reply means.
pub(crate) fn refused(stage: Stage, refusal: &Refusal) -> DeliveryError {
    DeliveryError::new(cause(stage, refusal), refusal.evidence(stage))
}

fn cause(stage: Stage, refusal: &Refusal) -> Cause {
    match (refusal.code, refusal.enhanced(), stage) {
        // RFC 4954 section 6.
        (535, "5.7.9" | "5.7.11", _) | (534 | 504, ..) => Cause::AuthenticationNotOffered,
        (535 | 525, ..) => Cause::CredentialsRefused,
        (432, ..) => Cause::CredentialsExpired,
        (454, _, Stage::SignIn) => Cause::ServerUnavailable,
        (454, _, Stage::Tls) => Cause::HandshakeFailed,
        (530, "5.7.0", Stage::Tls | Stage::Greeting) | (538, ..) => Cause::TlsNotOffered,
        // RFC 5321 section 4.2.1: the server closes the connection. In practice 421 with 4.7.0 or 4.7.28 is a rate
        // limit.
        (421, "4.7.0" | "4.7.28", _) => Cause::ServerBusy,
        (421, ..) => Cause::ServerUnavailable,
        (_, "4.2.2" | "5.2.2", _) => Cause::OverQuota,
        // Observed with Gmail: 550 5.4.5 says that the account has sent its share of the day.
        (500..=599, LIMIT_REACHED, Stage::Envelope | Stage::Data) => Cause::SenderDeferred,
        (400..=499, _, Stage::Envelope | Stage::Data) => Cause::SenderDeferred,
        (400..=499, _, Stage::SignIn) => Cause::SignInFailed,
        (400..=499, ..) => Cause::ServerUnavailable,
        (500..=599, _, Stage::Envelope | Stage::Data) => Cause::SenderRefused,
        // 554 at the greeting refuses us, not a mailbox (RFC 5321 section 3.1); 5xx to EHLO means that this is no
        // submission server.
        (500..=599, _, Stage::Greeting) => Cause::ProtocolViolation,
        (500..=503, _, Stage::SignIn) => Cause::ProtocolViolation,
        (500..=599, _, Stage::SignIn) => Cause::AccessDenied,
        (_, _, _) => Cause::Unknown,
    }
}

fn without_reply(stage: Stage, error: &Error) -> DeliveryError {
    let mut below = error.source();
    let mut io = None;
    while let Some(cause) = below {
        io = io.or_else(|| cause.downcast_ref::<std::io::Error>());
        below = cause.source();
    }
    let cause = match io.map(std::io::Error::kind) {
        // A reply that is longer than any comes as this error of the stream.
        Some(std::io::ErrorKind::InvalidData) => Cause::ProtocolViolation,
        Some(std::io::ErrorKind::TimedOut) => Cause::TimedOut,
        Some(_) => Cause::ConnectionLost,
        // "incomplete response": the server closed the connection instead of answering. Any other reply is not SMTP.
        None if error.is_response() && !is_incomplete(error) => Cause::ProtocolViolation,
        None if error.is_response() => Cause::ConnectionLost,
        None if error.is_client() => Cause::Unknown,
        None => Cause::ConnectionLost,
    };
    DeliveryError::new(cause, Evidence::new(stage, &error.to_string()))
}

/// Observed with lettre 0.11: only its words distinguish a reply that was cut off from a reply that cannot be read.
fn is_incomplete(error: &Error) -> bool {
    error.source().is_some_and(|source| source.to_string() == "incomplete response")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_mean_what_they_say() {
        let table = [
            (Stage::SignIn, 535, "5.7.8 Error: authentication failed", Cause::CredentialsRefused),
            (Stage::SignIn, 454, "4.7.0 Temporary authentication failure", Cause::ServerUnavailable),
            (Stage::SignIn, 534, "5.7.9 Application-specific password required", Cause::AuthenticationNotOffered),
            (Stage::SignIn, 503, "5.5.1 Error: authentication not enabled", Cause::ProtocolViolation),
            (Stage::Greeting, 421, "4.3.2 Service shutting down", Cause::ServerUnavailable),
            (Stage::Greeting, 554, "5.7.1 go away", Cause::ProtocolViolation),
            (Stage::Envelope, 450, "4.7.1 Error: too much mail", Cause::SenderDeferred),
            (Stage::Envelope, 421, "4.7.0 Try again later", Cause::ServerBusy),
            (Stage::Envelope, 553, "5.7.1 Sender address rejected: not owned by user", Cause::SenderRefused),
            (Stage::Envelope, 452, "4.2.2 over quota", Cause::OverQuota),
            (Stage::Envelope, 503, "no words", Cause::SenderRefused),
            (Stage::Envelope, 550, "5.4.5 Daily user sending quota exceeded", Cause::SenderDeferred),
        ];
        for (stage, code, words, expected) in table {
            assert_eq!(refused(stage, &Refusal::new(code, words)).cause, expected, "{code} {words}");
        }
    }

    #[test]
    fn enhanced_codes_are_told_from_words() {
        let refusal = Refusal::new(552, "5.3.4 Message too big");
        assert_eq!((refusal.enhanced.as_deref(), refusal.words.as_str()), (Some("5.3.4"), "Message too big"));
        assert!(refusal.concerns_email());
        assert_eq!(Refusal::new(550, "1.2 is no code").enhanced, None);
        assert!(!Refusal::new(550, "5.7.1 not allowed").concerns_email());
    }
}
