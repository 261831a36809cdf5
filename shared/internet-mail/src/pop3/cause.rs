//! What the replies of POP3 servers mean: the extended response codes of RFC 2449 and RFC 3206 alone carry a meaning.

use mailrail_domain::words::{
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
};

/// The failure that an `-ERR` line means.
pub(crate) fn refusal(stage: Stage, line: &[u8]) -> DeliveryError {
    let text = String::from_utf8_lossy(line);
    let text = text.strip_prefix("-ERR").unwrap_or(&text).trim();
    let code = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(code, _)| code.to_ascii_uppercase());
    let words = if text.is_empty() { "(the server gave no words)" } else { text };
    let evidence = Evidence::new(stage, words).with_code("-ERR").with_detail(code.clone());
    DeliveryError::new(cause(stage, code.as_deref()), evidence)
}

fn cause(stage: Stage, code: Option<&str>) -> Cause {
    match (code, stage) {
        // RFC 3206 section 4: AUTH is about the user's credentials, SYS/… is not.
        (Some("AUTH"), _) => Cause::CredentialsRefused,
        (Some("SYS/TEMP"), _) => Cause::ServerUnavailable,
        (Some("SYS/PERM"), _) => Cause::AccessDenied,
        // RFC 2449 section 8.1.1.
        (Some("IN-USE"), _) => Cause::MailboxInUse,
        (Some("LOGIN-DELAY"), _) => Cause::ServerBusy,
        // RFC 1939: -ERR to PASS means a wrong password or a maildrop that somebody else has locked. Without a code
        // nobody can tell which, so it is no reason to disable a mailbox at once.
        (_, Stage::SignIn) => Cause::SignInFailed,
        (_, Stage::Greeting) => Cause::ServerUnavailable,
        (_, _) => Cause::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_mean_what_they_say() {
        let table = [
            (Stage::SignIn, "-ERR [AUTH] Authentication failed.", Cause::CredentialsRefused),
            (Stage::SignIn, "-ERR [SYS/TEMP] try later", Cause::ServerUnavailable),
            (Stage::SignIn, "-ERR [IN-USE] Mailbox is locked", Cause::MailboxInUse),
            (Stage::SignIn, "-ERR [LOGIN-DELAY] wait", Cause::ServerBusy),
            (Stage::SignIn, "-ERR invalid password or mailbox locked", Cause::SignInFailed),
            (Stage::Greeting, "-ERR too many connections", Cause::ServerUnavailable),
            (Stage::List, "-ERR", Cause::Unknown),
        ];
        for (stage, line, expected) in table {
            assert_eq!(refusal(stage, line.as_bytes()).cause, expected, "{line}");
        }
    }
}
