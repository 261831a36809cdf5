//! The causes of Entra ID's refusals of a sign-in.
//!
//! Sources: "Microsoft Entra authentication and authorization error codes"; RFC 6749 section 5.2.

use mailrail_domain::words::cause::Cause;

/// Entra ID's error numbers, which stand in `error_codes`: number, cause.
const SIGN_IN_NUMBERS: [(u64, Cause); 15] = [
    (7_000_215, Cause::CredentialsRefused), // invalid client secret
    (7_000_216, Cause::CredentialsRefused), // neither secret nor assertion
    (7_000_222, Cause::CredentialsExpired), // the client secret has expired
    (700_027, Cause::CredentialsRefused),   // the assertion's certificate is not registered
    (700_024, Cause::SignInFailed),         // the assertion is not within its time: a clock is wrong
    (700_016, Cause::ApplicationUnknown),   // no such application in the tenant
    (7_000_112, Cause::ApplicationUnknown), // the application is disabled
    (90_002, Cause::ApplicationUnknown),    // no such tenant
    (900_023, Cause::ApplicationUnknown),   // no identifier of a tenant
    (53_003, Cause::PermissionMissing),     // conditional access refuses it
    (65_001, Cause::PermissionMissing),     // nobody has consented
    (500_011, Cause::PermissionMissing),    // the tenant has no such resource: Graph, or the server by its address
    (90_033, Cause::ServerUnavailable),     // a transient error
    (90_006, Cause::ServerUnavailable),     // an external server's error that passes
    (50_196, Cause::ServerBusy),            // a loop of requests was seen
];

/// The cause of a refused sign-in. Entra ID's number decides first, then a status of 429 or 5xx, then the error of RFC
/// 6749 section 5.2.
pub(super) fn of_sign_in(status: u16, error: Option<&str>, numbers: &[u64]) -> Cause {
    let known = numbers.iter().find_map(|number| SIGN_IN_NUMBERS.iter().find(|(known, _)| known == number));
    match (known, error, status) {
        (Some((_, cause)), ..) => *cause,
        (None, _, 429) => Cause::ServerBusy,
        (None, Some("temporarily_unavailable" | "server_error"), _) | (None, _, 500..=599) => Cause::ServerUnavailable,
        (None, Some("invalid_client"), _) => Cause::CredentialsRefused,
        (None, Some("unauthorized_client"), _) => Cause::ApplicationUnknown,
        (None, Some("access_denied" | "consent_required"), _) => Cause::PermissionMissing,
        (None, ..) => Cause::SignInFailed,
    }
}

#[cfg(test)]
mod tests {
    use mailrail_domain::{rules::classification::classify, words::cause::CredentialSource};

    use super::*;

    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        for (number, cause) in SIGN_IN_NUMBERS {
            assert_eq!(of_sign_in(401, Some("invalid_client"), &[number]), cause);
            let verdict = classify(cause, CredentialSource::ServerToServer);
            table.push_str(&format!("AADSTS{number}: {cause:?}, {:?}, {:?}\n", verdict.permanence, verdict.scope));
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn without_a_known_number_the_error_speaks_and_then_the_status() {
        assert_eq!(of_sign_in(400, Some("invalid_client"), &[]), Cause::CredentialsRefused);
        assert_eq!(of_sign_in(400, Some("unauthorized_client"), &[1]), Cause::ApplicationUnknown);
        assert_eq!(of_sign_in(400, Some("error_of_tomorrow"), &[]), Cause::SignInFailed);
        assert_eq!(of_sign_in(502, None, &[]), Cause::ServerUnavailable);
    }
}
