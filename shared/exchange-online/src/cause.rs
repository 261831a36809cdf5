//! The causes of Microsoft's error codes. A code decides before the HTTP status, because the status says little by
//! itself: one 403 is a missing permission, another 403 is a user without a mailbox, a third 403 is a quota.
//!
//! Sources: Microsoft Graph, "Microsoft Graph error responses and resource types" and "Resolve authorization errors";
//! the Exchange codes behind it, `ResponseCodeType` of the EWS reference.

use mailrail_domain::words::cause::Cause;

/// Page: Microsoft Graph, "Microsoft Graph error responses and resource types".
const GRAPH: &str = "graph/errors";
/// Page: Microsoft Graph, "Microsoft Graph throttling guidance".
const THROTTLING: &str = "graph/throttling";
/// Page: EWS, "ResponseCode", whose codes Graph passes on for mailboxes.
const EXCHANGE: &str = "exchange/client-developer/web-service-reference/responsecode";
/// Page: Exchange troubleshooting, "REST API is not yet supported for this mailbox" (KB 4462988).
const MAILBOX: &str =
    "exchange/troubleshoot/user-and-shared-mailboxes/rest-api-is-not-yet-supported-for-this-mailbox-error";

/// Error codes of Graph: code, cause, page. Codes are compared without regard to case, because both spellings are seen.
pub(crate) const GRAPH_CODES: [(&str, Cause, &str); 44] = [
    ("MailboxNotEnabledForRESTAPI", Cause::MailboxNotEnabled, MAILBOX),
    ("MailboxNotSupportedForRESTAPI", Cause::MailboxNotEnabled, MAILBOX),
    ("MailboxNotHostedInExchangeOnline", Cause::MailboxNotEnabled, MAILBOX),
    ("RESTAPINotEnabledForComponentSharedMailbox", Cause::MailboxNotEnabled, MAILBOX),
    ("ErrorInvalidUser", Cause::MailboxNotFound, EXCHANGE),
    ("ErrorNonExistentMailbox", Cause::MailboxNotFound, EXCHANGE),
    ("ErrorNoMailbox", Cause::MailboxNotFound, EXCHANGE),
    ("Request_ResourceNotFound", Cause::MailboxNotFound, GRAPH),
    ("ResourceNotFound", Cause::MailboxNotFound, GRAPH),
    ("ErrorFolderNotFound", Cause::MailboxNotFound, EXCHANGE),
    ("ErrorAccountDisabled", Cause::MailboxNotEnabled, EXCHANGE),
    ("ErrorAccessDenied", Cause::PermissionMissing, EXCHANGE),
    ("accessDenied", Cause::PermissionMissing, GRAPH),
    ("Authorization_RequestDenied", Cause::PermissionMissing, GRAPH),
    ("ErrorQuotaExceeded", Cause::OverQuota, EXCHANGE),
    ("quotaLimitReached", Cause::OverQuota, GRAPH),
    ("ErrorSendAsDenied", Cause::SenderRefused, EXCHANGE),
    ("ErrorDelegateMissingConfiguration", Cause::SenderRefused, EXCHANGE),
    ("ErrorSubmissionQuotaExceeded", Cause::SenderDeferred, EXCHANGE),
    ("ErrorExceededMessageLimit", Cause::SenderDeferred, EXCHANGE),
    ("ErrorMessageSubmissionBlocked", Cause::SenderDeferred, EXCHANGE),
    ("ApplicationThrottled", Cause::ServerBusy, THROTTLING),
    ("MailboxConcurrency", Cause::ServerBusy, THROTTLING),
    ("RequestThrottled", Cause::ServerBusy, THROTTLING),
    ("TooManyRequests", Cause::ServerBusy, THROTTLING),
    ("activityLimitReached", Cause::ServerBusy, THROTTLING),
    ("ErrorServerBusy", Cause::ServerBusy, EXCHANGE),
    ("ErrorExceededConnectionCount", Cause::ServerBusy, EXCHANGE),
    ("ErrorTooManyObjectsOpened", Cause::ServerBusy, EXCHANGE),
    ("MailboxInfoStale", Cause::ServerUnavailable, GRAPH),
    ("ErrorMailboxMoveInProgress", Cause::ServerUnavailable, EXCHANGE),
    ("ErrorMailboxStoreUnavailable", Cause::ServerUnavailable, EXCHANGE),
    ("ErrorMailboxFailover", Cause::ServerUnavailable, EXCHANGE),
    ("ErrorTimeoutExpired", Cause::ServerUnavailable, EXCHANGE),
    ("ErrorInternalServerError", Cause::ServerUnavailable, EXCHANGE),
    ("ErrorInternalServerTransientError", Cause::ServerUnavailable, EXCHANGE),
    ("ErrorConnectionFailed", Cause::ServerUnavailable, EXCHANGE),
    ("serviceNotAvailable", Cause::ServerUnavailable, GRAPH),
    ("ServiceUnavailable", Cause::ServerUnavailable, GRAPH),
    ("gatewayTimeout", Cause::ServerUnavailable, GRAPH),
    ("generalException", Cause::ServerUnavailable, GRAPH),
    ("InvalidAuthenticationToken", Cause::SignInFailed, GRAPH),
    ("unauthenticated", Cause::SignInFailed, GRAPH),
    ("AuthenticationError", Cause::SignInFailed, GRAPH),
];

/// Codes with which Exchange refuses one message, and which say nothing against the mailbox.
pub(crate) const MESSAGE_CODES: [&str; 9] = [
    "ErrorInvalidRecipients",
    "ErrorMissingRecipients",
    "ErrorMessageSizeExceeded",
    "ErrorMimeContentInvalid",
    "ErrorMimeContentInvalidBase64String",
    "ErrorAttachmentSizeLimitExceeded",
    "ErrorTooManyRecipients",
    "ErrorRecipientLimitExceeded",
    "ErrorInvalidSmtpAddress",
];

/// Codes that say that a delta token is not known any more, so the folder is read again (Microsoft Graph, "Use delta
/// query").
pub(crate) const STALE_TOKEN_CODES: [&str; 4] =
    ["SyncStateNotFound", "SyncStateInvalid", "resyncRequired", "ErrorInvalidSyncStateData"];

/// Codes that say that a message is not there any more.
pub(crate) const GONE_CODES: [&str; 2] = ["ErrorItemNotFound", "itemNotFound"];

/// Codes that say that a folder is not there any more. For the inbox it means that there is no mailbox.
pub(crate) const FOLDER_GONE_CODES: [&str; 1] = ["ErrorFolderNotFound"];

/// The cause of a refused request to Graph.
pub(crate) fn of_graph(status: u16, code: Option<&str>) -> Cause {
    let known = |code: &str| GRAPH_CODES.iter().find(|(known, ..)| known.eq_ignore_ascii_case(code));
    match (code.and_then(known), status) {
        (Some((_, cause, _)), _) => *cause,
        // Without a known code the status decides, as far as it says anything, because a proxy's page has nothing else.
        (None, 429) => Cause::ServerBusy,
        (None, 500..=599) => Cause::ServerUnavailable,
        (None, 401) => Cause::SignInFailed,
        (None, _) => Cause::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mailrail_domain::{rules::classification::classify, words::cause::CredentialSource};

    use super::*;

    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        let mut row = |name: String, cause| {
            let verdict = classify(cause, CredentialSource::ServerToServer);
            table.push_str(&format!("{name}: {cause:?}, {:?}, {:?}\n", verdict.permanence, verdict.scope));
        };
        for (code, cause, page) in GRAPH_CODES {
            assert_eq!(of_graph(400, Some(&code.to_lowercase())), cause, "{code}");
            row(format!("{code} [{page}]"), cause);
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn no_code_stands_twice() {
        let codes = GRAPH_CODES.iter().map(|(code, ..)| *code);
        let all: Vec<String> = codes
            .chain(MESSAGE_CODES)
            .chain(STALE_TOKEN_CODES)
            .chain(GONE_CODES)
            .map(str::to_ascii_lowercase)
            .collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn an_unknown_code_stays_unknown_and_a_status_speaks_only_where_it_says_something() {
        assert_eq!(of_graph(403, Some("ErrorOfTomorrow")), Cause::Unknown);
        assert_eq!(of_graph(403, None), Cause::Unknown);
        assert_eq!(of_graph(404, None), Cause::Unknown);
        assert_eq!(of_graph(429, None), Cause::ServerBusy);
        assert_eq!(of_graph(503, Some("ErrorOfTomorrow")), Cause::ServerUnavailable);
        assert_eq!(of_graph(401, None), Cause::SignInFailed);
    }
}
