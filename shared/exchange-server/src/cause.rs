//! The causes of replies of Exchange Web Services, in the order of evidence: the HTTP status if no reply of web
//! services came with it, the code of the SOAP fault, the code of the response message.
//!
//! Sources: EWS reference, "ResponseCode"; "Handling EWS-related errors in Exchange"; "EWS throttling in Exchange";
//! Exchange troubleshooting, "HTTP server returned Forbidden exception"; RFC 9110 section 15.

use mailrail_domain::words::cause::Cause;

/// Page: EWS reference, "ResponseCode".
const CODES: &str = "exchange/client-developer/web-service-reference/responsecode";
/// Page: "EWS throttling in Exchange".
const THROTTLING: &str = "exchange/client-developer/exchange-web-services/ews-throttling-in-exchange";
/// Page: "Impersonation and EWS in Exchange".
const IMPERSONATION: &str = "exchange/client-developer/exchange-web-services/impersonation-and-ews-in-exchange";
/// Page: "EWS schema versions in Exchange".
const VERSIONS: &str = "exchange/client-developer/exchange-web-services/ews-schema-versions-in-exchange";

/// Page: "Control access to EWS in Exchange".
const POLICY: &str = "exchange/client-developer/exchange-web-services/how-to-control-access-to-ews-in-exchange";
/// Page: RFC 9110 section 15.
const HTTP: &str = "rfc9110#section-15";

/// Response codes: code, cause, page.
pub(crate) const RESPONSE_CODES: [(&str, Cause, &str); 62] = [
    ("ErrorServerBusy", Cause::ServerBusy, THROTTLING),
    ("ErrorExceededConnectionCount", Cause::ServerBusy, THROTTLING),
    ("ErrorExceededSubscriptionCount", Cause::ServerBusy, THROTTLING),
    ("ErrorExceededFindCountLimit", Cause::ServerBusy, THROTTLING),
    ("ErrorTooManyObjectsOpened", Cause::ServerBusy, CODES),
    ("ErrorInsufficientResources", Cause::ServerBusy, CODES),
    ("ErrorImpersonateUserDenied", Cause::AccessDenied, IMPERSONATION),
    ("ErrorImpersonationDenied", Cause::AccessDenied, IMPERSONATION),
    ("ErrorImpersonationFailed", Cause::AccessDenied, IMPERSONATION),
    ("ErrorAccessDenied", Cause::AccessDenied, CODES),
    ("ErrorCreateItemAccessDenied", Cause::AccessDenied, CODES),
    ("ErrorDelegateNoUser", Cause::AccessDenied, CODES),
    ("ErrorTokenSerializationDenied", Cause::AccessDenied, CODES),
    ("ErrorUserNotAllowedByPolicy", Cause::AccessDenied, CODES),
    ("ErrorClientDisconnected", Cause::ConnectionLost, CODES),
    ("ErrorNonExistentMailbox", Cause::MailboxNotFound, CODES),
    ("ErrorNonPrimarySmtpAddress", Cause::MailboxNotFound, CODES),
    ("ErrorMissingEmailAddress", Cause::MailboxNotFound, CODES),
    ("ErrorInvalidMailbox", Cause::MailboxNotFound, CODES),
    ("ErrorInvalidSmtpAddress", Cause::MailboxNotFound, CODES),
    ("ErrorFolderNotFound", Cause::MailboxNotFound, CODES),
    ("ErrorNameResolutionNoMailbox", Cause::MailboxNotFound, CODES),
    ("ErrorNameResolutionNoResults", Cause::MailboxNotFound, CODES),
    ("ErrorCannotFindUser", Cause::MailboxNotFound, CODES),
    ("ErrorInvalidUserPrincipalName", Cause::MailboxNotFound, CODES),
    ("ErrorOrganizationAccessBlocked", Cause::AccessDenied, CODES),
    ("ErrorCallerIsInvalidADAccount", Cause::AccessDenied, CODES),
    // It says neither why, nor whether the next try goes the same way.
    ("ErrorMailboxLogonFailed", Cause::SignInFailed, CODES),
    ("ErrorAccountDisabled", Cause::MailboxNotEnabled, CODES),
    ("ErrorInvalidLicense", Cause::MailboxNotEnabled, CODES),
    ("ErrorMailboxConfiguration", Cause::MailboxNotEnabled, CODES),
    ("ErrorPasswordExpired", Cause::CredentialsExpired, CODES),
    ("ErrorPasswordChangeRequired", Cause::CredentialsExpired, CODES),
    ("ErrorQuotaExceeded", Cause::OverQuota, CODES),
    ("ErrorSendAsDenied", Cause::SenderRefused, CODES),
    ("ErrorDelegateMissingConfiguration", Cause::SenderRefused, CODES),
    ("ErrorSubmissionQuotaExceeded", Cause::SenderDeferred, CODES),
    ("ErrorInvalidServerVersion", Cause::CapabilityMissing, VERSIONS),
    ("ErrorIncorrectSchemaVersion", Cause::CapabilityMissing, VERSIONS),
    ("ErrorMailboxStoreUnavailable", Cause::ServerUnavailable, CODES),
    ("ErrorMailboxMoveInProgress", Cause::ServerUnavailable, CODES),
    ("ErrorMailboxFailover", Cause::ServerUnavailable, CODES),
    // The code for the parts of a request that follow a failure of the server.
    ("ErrorBatchProcessingStopped", Cause::ServerUnavailable, CODES),
    ("ErrorADUnavailable", Cause::ServerUnavailable, CODES),
    ("ErrorADOperation", Cause::ServerUnavailable, CODES),
    ("ErrorConnectionFailed", Cause::ServerUnavailable, CODES),
    ("ErrorInternalServerError", Cause::ServerUnavailable, CODES),
    ("ErrorInternalServerTransientError", Cause::ServerUnavailable, CODES),
    ("ErrorTimeoutExpired", Cause::ServerUnavailable, CODES),
    ("ErrorNotEnoughMemory", Cause::ServerUnavailable, CODES),
    ("ErrorProxyRequestProcessingFailed", Cause::ServerUnavailable, CODES),
    ("ErrorProxyCallFailed", Cause::ServerUnavailable, CODES),
    ("ErrorCrossSiteRequest", Cause::ServerUnavailable, CODES),
    ("ErrorWrongServerVersion", Cause::ServerUnavailable, VERSIONS),
    ("ErrorServiceDiscoveryFailed", Cause::ServerUnavailable, CODES),
    ("ErrorProxyServiceDiscoveryFailed", Cause::ServerUnavailable, CODES),
    ("ErrorProxyGroupSidLimitExceeded", Cause::ServerUnavailable, CODES),
    ("ErrorNoDestinationCASDueToKerberosRequirements", Cause::ServerUnavailable, CODES),
    ("ErrorNoDestinationCASDueToSSLRequirements", Cause::ServerUnavailable, CODES),
    ("ErrorNoDestinationCASDueToVersionMismatch", Cause::ServerUnavailable, CODES),
    ("ErrorNoApplicableProxyCASServersAvailable", Cause::ServerUnavailable, CODES),
    ("ErrorNoRespondingCASInDestinationSite", Cause::ServerUnavailable, CODES),
];

/// Codes of a service account that may not act for the user.
pub(crate) const IMPERSONATION_CODES: [&str; 3] =
    ["ErrorImpersonateUserDenied", "ErrorImpersonationDenied", "ErrorImpersonationFailed"];

/// Codes with which the server refuses one message that is handed over, and which say nothing against the mailbox.
pub(crate) const MESSAGE_CODES: [&str; 14] = [
    "ErrorInvalidRecipients",
    "ErrorMissingRecipients",
    "ErrorMessageSizeExceeded",
    "ErrorMimeContentInvalid",
    "ErrorMimeContentInvalidBase64String",
    "ErrorMimeContentConversionFailed",
    "ErrorAttachmentSizeLimitExceeded",
    "ErrorDataSizeLimitExceeded",
    "ErrorItemSave",
    "ErrorSchemaValidation",
    "ErrorVirusDetected",
    "ErrorRecipientNotFound",
    "ErrorRequestStreamTooBig",
    "ErrorAttachmentNestLevelLimitExceeded",
];

/// Codes of a server that fails before it has begun to send a message. After other codes nobody knows whether it has
/// begun.
pub(crate) const NOT_BEGUN_CODES: [&str; 3] =
    ["ErrorADUnavailable", "ErrorMailboxMoveInProgress", "ErrorCrossSiteRequest"];

/// Codes that say that a synchronization state is not known any more, so the folder is read again.
pub(crate) const STALE_STATE_CODES: [&str; 2] = ["ErrorInvalidSyncStateData", "ErrorSyncFolderNotFound"];

/// Codes that say that a message is not there any more: moved or deleted since it was listed.
pub(crate) const GONE_CODES: [&str; 1] = ["ErrorItemNotFound"];

/// Codes with which the server tells a delegate that it may not see a folder.
pub(crate) const UNSEEN_CODES: [&str; 3] = ["ErrorItemNotFound", "ErrorFolderNotFound", "ErrorSyncFolderNotFound"];

/// Codes that say that a folder is not there any more. For the inbox they mean that there is no mailbox.
pub(crate) const FOLDER_GONE_CODES: [&str; 2] = ["ErrorFolderNotFound", "ErrorSyncFolderNotFound"];

/// The cause of a response code, if the code is about the server or the mailbox.
pub(crate) fn of_code(code: &str) -> Option<Cause> {
    let found = RESPONSE_CODES.iter().find(|(known, ..)| *known == code);
    found.map(|(_, cause, _)| *cause)
}

/// HTTP statuses that decide where there is no code: status, cause, page.
const STATUSES: [(u16, Cause, &str); 9] = [
    (301, Cause::ProtocolViolation, HTTP),
    (302, Cause::ProtocolViolation, HTTP),
    (307, Cause::ProtocolViolation, HTTP),
    (308, Cause::ProtocolViolation, HTTP),
    // Web services are off for the mailbox or the organization, or this program is not among the allowed programs.
    (403, Cause::AccessDenied, POLICY),
    // The page that is there, or is there now, is for browsers.
    (404, Cause::ProtocolViolation, HTTP),
    (405, Cause::ProtocolViolation, HTTP),
    (410, Cause::ProtocolViolation, HTTP),
    (429, Cause::ServerBusy, HTTP),
];

/// The cause of a refused request: by the code of the fault or of the response message, which come with 200 and 500;
/// without a code, by the status. A 401 belongs to the sign-in, and `carrier.rs` reports it.
pub(crate) fn of_refusal(status: u16, code: Option<&str>) -> Cause {
    match (code, status) {
        (Some(code), _) => of_code(code).unwrap_or(Cause::Unknown),
        (None, 500..=599) => Cause::ServerUnavailable,
        (None, _) => {
            let known = STATUSES.iter().find(|(known, ..)| *known == status);
            known.map_or(Cause::Unknown, |(_, cause, _)| *cause)
        }
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
        let mut row = |name: &str, cause| {
            let verdict = classify(cause, CredentialSource::Profile);
            table.push_str(&format!("{name}: {cause:?}, {:?}, {:?}\n", verdict.permanence, verdict.scope));
        };
        for (code, cause, page) in RESPONSE_CODES {
            assert_eq!(of_refusal(500, Some(code)), cause, "{code}");
            row(&format!("{code} [{page}]"), cause);
        }
        for (status, cause, page) in STATUSES {
            assert_eq!(of_refusal(status, None), cause, "{status}");
            row(&format!("HTTP {status} [{page}]"), cause);
        }
        for status in [400, 413, 440, 500, 502] {
            row(&format!("HTTP {status}"), of_refusal(status, None));
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn no_code_stands_for_two_facts() {
        let codes: Vec<&str> = RESPONSE_CODES.iter().map(|(code, ..)| *code).collect();
        let facts: Vec<&str> = codes.iter().copied().chain(MESSAGE_CODES).chain(GONE_CODES).collect();
        assert_eq!(facts.iter().collect::<BTreeSet<_>>().len(), facts.len());
    }

    #[test]
    fn every_code_is_one_of_microsofts_schema() {
        let shelf = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/reference/contracts/ews-xsd");
        let read = |name: &str| std::fs::read_to_string(format!("{shelf}/{name}"));
        let (Ok(messages), Ok(types)) = (read("MS-OXWSCDATA-messages.xsd"), read("MS-OXWSCDATA-types.xsd")) else {
            println!("NOT RUN: Microsoft's schemas are in ../shared, which is not beside this checkout");
            return;
        };
        let schema = messages + &types;
        let lists = [&MESSAGE_CODES[..], &IMPERSONATION_CODES, &NOT_BEGUN_CODES, &STALE_STATE_CODES, &GONE_CODES];
        let codes = RESPONSE_CODES.iter().map(|(code, ..)| *code).chain(lists.into_iter().flatten().copied());
        for code in codes.chain(FOLDER_GONE_CODES) {
            assert!(schema.contains(&format!("\"{code}\"")), "{code}");
        }
    }

    #[test]
    fn an_unknown_code_stays_unknown_and_a_status_speaks_where_it_alone_can() {
        assert_eq!(of_refusal(500, Some("ErrorOfTomorrow")), Cause::Unknown);
        assert_eq!(of_refusal(200, Some("ErrorOfTomorrow")), Cause::Unknown);
        assert_eq!(of_refusal(403, Some("ErrorQuotaExceeded")), Cause::OverQuota);
        assert_eq!(of_refusal(503, None), Cause::ServerUnavailable);
    }
}
