//! What a delivery of a profile talks to, and the account there that its position belongs to.

use sha2::{Digest, Sha256};

use crate::{
    settings::profile::{Application, EmailServerProfile, IncomingProtocol, ServerLocation, Servers},
    words::{cause::CredentialSource, delivery::Delivery, hex::hex_of_first},
};

/// What a delivery of email talks to, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// An IMAP server.
    Imap(ServerLocation),
    /// A POP3 server.
    Pop3(ServerLocation),
    /// An SMTP server.
    Smtp(ServerLocation),
    /// Exchange Online, by Microsoft Graph.
    Graph(Application),
    /// Exchange Server, by Exchange Web Services.
    Ews(WebServices),
}

/// The web services of an Exchange Server, and as whom they are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebServices {
    /// Where they are; found by autodiscover where there is none.
    pub location: Option<String>,
    /// Whether one account impersonates the user of each mailbox.
    pub use_impersonation: bool,
    /// Whether the account that signs in is another than the mailbox's own.
    pub is_shared_account: bool,
    /// The application that signs in, where one does.
    pub application: Option<Application>,
}

impl EmailServerProfile {
    /// What a delivery of email talks to; `None` where the profile has nothing for it.
    #[must_use]
    pub fn endpoint(&self, delivery: Delivery) -> Option<Endpoint> {
        match delivery {
            Delivery::IncomingEmail | Delivery::OutgoingEmail => {}
            Delivery::AppointmentsContactsTasks => return None,
        }
        match &self.servers {
            Servers::InternetMail(servers) if delivery == Delivery::OutgoingEmail => {
                servers.outgoing.clone().map(Endpoint::Smtp)
            }
            Servers::InternetMail(servers) => servers.incoming.clone().map(|incoming| match incoming.protocol {
                IncomingProtocol::Imap => Endpoint::Imap(incoming.location),
                IncomingProtocol::Pop3 => Endpoint::Pop3(incoming.location),
            }),
            Servers::ExchangeOnline(online) => Some(Endpoint::Graph(online.application.clone())),
            Servers::ExchangeServer(server) => {
                let by_application = self.credentials == CredentialSource::ServerToServer;
                Some(Endpoint::Ews(WebServices {
                    location: server.location.clone(),
                    use_impersonation: server.use_impersonation,
                    is_shared_account: self.credentials != CredentialSource::Mailbox,
                    application: server.application.clone().filter(|_| by_application),
                }))
            }
        }
    }
}

/// The account that a position belongs to: protocol, server and user name, as a short digest.
#[must_use]
pub fn source(endpoint: &Endpoint, username: &str) -> String {
    let account = match endpoint {
        Endpoint::Imap(location) => format!("Imap {} {} {username}", location.host, location.port),
        Endpoint::Pop3(location) => format!("Pop3 {} {} {username}", location.host, location.port),
        Endpoint::Smtp(location) => format!("Smtp {} {} {username}", location.host, location.port),
        Endpoint::Graph(application) => format!("Graph {} {username}", application.tenant_id),
        // Where it was found by autodiscover it may move, and the mailbox with all its identifiers stays the same.
        Endpoint::Ews(services) => format!("Ews {} {username}", services.location.as_deref().unwrap_or_default()),
    };
    hex_of_first(8, &Sha256::digest(account.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{settings::organization::Organization, words::delivery::Delivery};

    #[test]
    fn a_position_belongs_to_one_account_on_one_server() {
        let (profile, _) = crate::sample::sample();
        let here = profile.endpoint(Delivery::IncomingEmail).unwrap();
        let mut there = profile.into_fields();
        there.servers.incoming.as_mut().unwrap().location.host.push_str(".new");
        let there = there.parse(&Organization::default()).unwrap().endpoint(Delivery::IncomingEmail).unwrap();
        assert_eq!(source(&here, "a"), source(&here.clone(), "a"));
        assert_ne!(source(&here, "a"), source(&here, "b"));
        assert_ne!(source(&here, "a"), source(&there, "a"));
    }
}
