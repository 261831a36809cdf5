//! What the replies of IMAP servers mean: RFC 5530's codes first, the plain reply only where the RFC gives it a
//! meaning.

use mailrail_domain::words::{
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
};

use super::reply::{Condition, Status};

/// What Exchange says where an account may sign in and its mailbox cannot be opened, or is throttled.
const NOT_CONNECTED: &str = "User is authenticated but not connected";

/// The failure that a refusing status means.
pub(crate) fn refusal(stage: Stage, status: &Status) -> DeliveryError {
    let code = status.code.as_ref().map(|code| code.name.clone());
    let words = if status.text.is_empty() { "(the server gave no words)" } else { &status.text };
    let evidence = Evidence::new(stage, words).with_code(status.condition.as_str()).with_detail(code.clone());
    // Observed with Exchange: the account signed in, and its mailbox cannot be opened. It is no fault of the protocol.
    if status.text.contains(NOT_CONNECTED) {
        return DeliveryError::new(Cause::SignInFailed, evidence);
    }
    DeliveryError::new(cause(stage, status.condition, code.as_deref()), evidence)
}

fn cause(stage: Stage, condition: Condition, code: Option<&str>) -> Cause {
    match (code, condition, stage) {
        // RFC 5530 section 3.
        (Some("AUTHENTICATIONFAILED"), ..) => Cause::CredentialsRefused,
        (Some("AUTHORIZATIONFAILED" | "NOPERM" | "CONTACTADMIN"), ..) => Cause::AccessDenied,
        (Some("EXPIRED"), ..) => Cause::CredentialsExpired,
        (Some("UNAVAILABLE" | "SERVERBUG"), ..) => Cause::ServerUnavailable,
        (Some("LIMIT"), ..) => Cause::ServerBusy,
        // Observed on Gmail and Yahoo when a mailbox is read too often; in no RFC.
        (Some("THROTTLED"), ..) => Cause::ServerBusy,
        (Some("INUSE"), ..) => Cause::MailboxInUse,
        (Some("OVERQUOTA"), ..) => Cause::OverQuota,
        (Some("NONEXISTENT" | "TRYCREATE"), ..) => Cause::MailboxNotFound,
        (Some("PRIVACYREQUIRED"), ..) => Cause::TlsNotOffered,
        // A server that says goodbye is going away, whatever was asked (RFC 3501 section 7.1.5).
        (_, Condition::Bye, _) => Cause::ServerUnavailable,
        // Observed on Gmail: [ALERT] comes with wrong passwords and also with "too many simultaneous connections". So
        // it tells nothing, and a mailbox must not be disabled for it.
        (Some("ALERT" | "WEBALERT"), Condition::No, Stage::SignIn) => Cause::SignInFailed,
        // NO without a code may be a wrong password (RFC 3501 section 6.2.3), and servers also say it of trouble of their
        // own: "System error", "Temporary problem, please try again later". So it tells nothing.
        (_, Condition::No, Stage::SignIn) => Cause::SignInFailed,
        (_, Condition::Bad, _) => Cause::ProtocolViolation,
        (_, Condition::No | Condition::Ok | Condition::Preauth, _) => Cause::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::reply::parse_line;

    /// Replies as servers give them, with the cause of each reply.
    #[test]
    fn replies_mean_what_they_say() {
        let table = [
            (Stage::SignIn, "a1 NO [AUTHENTICATIONFAILED] Authentication failed.", Cause::CredentialsRefused),
            (Stage::SignIn, "a1 NO LOGIN failed", Cause::SignInFailed),
            (Stage::SignIn, "a1 NO Temporary problem, please try again later", Cause::SignInFailed),
            (Stage::Open, "a1 BAD User is authenticated but not connected.", Cause::SignInFailed),
            (Stage::SignIn, "a1 NO [UNAVAILABLE] Temporary authentication failure.", Cause::ServerUnavailable),
            (Stage::SignIn, "a1 NO [ALERT] Too many simultaneous connections. (Failure)", Cause::SignInFailed),
            (Stage::SignIn, "a1 NO [EXPIRED] Password expired", Cause::CredentialsExpired),
            (Stage::SignIn, "a1 NO [LIMIT] Maximum number of connections exceeded", Cause::ServerBusy),
            (Stage::SignIn, "a1 NO [AUTHORIZATIONFAILED] Not yours", Cause::AccessDenied),
            (Stage::SignIn, "a1 BAD Error in IMAP command", Cause::ProtocolViolation),
            (Stage::Greeting, "* BYE Server shutting down", Cause::ServerUnavailable),
            (Stage::Greeting, "* BYE [UNAVAILABLE] later", Cause::ServerUnavailable),
            (Stage::Open, "a1 NO [NONEXISTENT] no such mailbox", Cause::MailboxNotFound),
            (Stage::Open, "a1 NO something odd", Cause::Unknown),
            (Stage::Fetch, "a1 NO [OVERQUOTA] full", Cause::OverQuota),
            (Stage::Fetch, "a1 NO [THROTTLED] slow down", Cause::ServerBusy),
            (Stage::Fetch, "a1 NO [SERVERBUG] Internal error occurred", Cause::ServerUnavailable),
        ];
        for (stage, line, expected) in table {
            let status = parse_line(line.as_bytes()).status.unwrap();
            assert_eq!(refusal(stage, &status).cause, expected, "{line}");
        }
    }
}
