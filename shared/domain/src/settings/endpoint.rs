//! What a delivery of a profile talks to, and the account there that its position belongs to.

use sha2::{Digest, Sha256};

use crate::{
    settings::profile::{Cloud, EmailServerProfile, IncomingProtocol, ServerLocation, ServerType},
    words::{cause::CredentialSource, delivery::Delivery, hex::hex},
};

/// An application of Microsoft Entra ID, and the tenant whose mailboxes it is granted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Application {
    /// The tenant's identifier.
    pub tenant_id: String,
    /// The application's identifier.
    pub client_id: String,
    /// The tenant's cloud.
    pub cloud: Cloud,
}

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
        match self.server_type {
            ServerType::InternetMail => match delivery {
                Delivery::IncomingEmail => self.incoming.clone().map(|incoming| match incoming.protocol {
                    IncomingProtocol::Imap => Endpoint::Imap(incoming.location),
                    IncomingProtocol::Pop3 => Endpoint::Pop3(incoming.location),
                }),
                Delivery::OutgoingEmail => self.outgoing.clone().map(Endpoint::Smtp),
                Delivery::AppointmentsContactsTasks => None,
            },
            ServerType::ExchangeOnline => match delivery {
                Delivery::IncomingEmail | Delivery::OutgoingEmail => {
                    let (tenant_id, client_id) = (self.tenant_id.clone()?, self.client_id.clone()?);
                    Some(Endpoint::Graph(Application { tenant_id, client_id, cloud: self.cloud }))
                }
                Delivery::AppointmentsContactsTasks => None,
            },
            ServerType::ExchangeServer => match delivery {
                Delivery::IncomingEmail | Delivery::OutgoingEmail => {
                    let by_application = self.credentials == CredentialSource::ServerToServer;
                    let application = match (self.tenant_id.clone(), self.client_id.clone()) {
                        (Some(tenant_id), Some(client_id)) if by_application => {
                            Some(Application { tenant_id, client_id, cloud: self.cloud })
                        }
                        _ => None,
                    };
                    Some(Endpoint::Ews(WebServices {
                        location: self.location.clone(),
                        use_impersonation: self.use_impersonation,
                        is_shared_account: self.credentials != CredentialSource::Mailbox,
                        application,
                    }))
                }
                Delivery::AppointmentsContactsTasks => None,
            },
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
    hex(&Sha256::digest(account.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::delivery::Delivery;

    #[test]
    fn a_position_belongs_to_one_account_on_one_server() {
        let (profile, _) = crate::sample::sample();
        let here = profile.endpoint(Delivery::IncomingEmail).unwrap();
        let mut there = profile;
        there.incoming.as_mut().unwrap().location.host.push_str(".new");
        let there = there.endpoint(Delivery::IncomingEmail).unwrap();
        assert_eq!(source(&here, "a"), source(&here.clone(), "a"));
        assert_ne!(source(&here, "a"), source(&here, "b"));
        assert_ne!(source(&here, "a"), source(&there, "a"));
    }
}
