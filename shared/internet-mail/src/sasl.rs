//! Initial responses of the SASL mechanisms, as base64 (RFC 4616, RFC 4954; XOAUTH2 as Google and Microsoft describe
//! it).

use base64::{Engine, engine::general_purpose::STANDARD};
use mailrail_engine::ports::{Access, Secret};

/// SASL PLAIN.
pub(crate) fn plain(access: &Access) -> Secret {
    Secret::new(STANDARD.encode(format!("\0{}\0{}", access.username, access.secret.expose())))
}

/// SASL XOAUTH2.
pub(crate) fn xoauth2(access: &Access) -> Secret {
    let (user, token) = (&access.username, access.secret.expose());
    Secret::new(STANDARD.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mailrail_domain::settings::{
        endpoint::Endpoint,
        profile::{Authentication, Security, ServerLocation},
    };
    use mailrail_engine::ports::{Ledger, Progress};

    use super::*;

    #[test]
    fn initial_responses_are_those_of_the_standards() {
        let access = Access {
            endpoint: Endpoint::Smtp(ServerLocation { host: "h".into(), port: 1, security: Security::Tls }),
            username: "user@x".into(),
            secret: Secret::new("pw"),
            authentication: Authentication::Password,
            timeout: Duration::from_secs(1),
            tracked_folders: Vec::new(),
            ledger: Ledger::default(),
            address: None,
            progress: Progress::default(),
        };
        assert_eq!(plain(&access).expose(), "AHVzZXJAeABwdw==");
        assert_eq!(STANDARD.decode(xoauth2(&access).expose()).unwrap(), b"user=user@x\x01auth=Bearer pw\x01\x01");
    }
}
