//! The servers of a profile field by field: how a person gives them, and how they are stored.

use serde::{Deserialize, Serialize};

use super::{
    Application, Cloud, ExchangeOnline, ExchangeServer, ExchangeVersion, IncomingServer, InternetMail, ServerLocation,
    ServerType, Servers,
};
use crate::words::invalid::Invalid;

/// The fields of servers of every kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServerFields {
    /// What kind of servers they are.
    #[serde(default)]
    pub server_type: ServerType,
    /// Where incoming email is read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incoming: Option<IncomingServer>,
    /// Where outgoing email is handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outgoing: Option<ServerLocation>,
    /// Whether the servers are found by autodiscover.
    #[serde(default)]
    pub autodiscover: bool,
    /// Where the Exchange web services are, if autodiscover is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Whether one account acts for all mailboxes.
    #[serde(default)]
    pub use_impersonation: bool,
    /// The version of Exchange Server, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_version: Option<ExchangeVersion>,
    /// The tenant of Microsoft Entra ID, where it is not the organization's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The application that the tenant has granted its mailboxes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The cloud that the tenant is in.
    #[serde(default, skip_serializing_if = "Cloud::is_global")]
    pub cloud: Cloud,
    /// Folders below the inbox that are read besides it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tracked_folders: Vec<String>,
    /// Whether a message that cannot be processed is moved to the folder "Undeliverable" of its mailbox.
    #[serde(default, skip_serializing_if = "is_false")]
    pub move_undeliverable: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What is wrong with Exchange beside a server of internet mail.
pub const MIXED: &str = "Exchange for one direction and SMTP, POP3 or IMAP for the other is not supported";

impl ServerFields {
    /// Refuses a field that servers of this kind do not have, and fields that contradict one another.
    pub(super) fn refuse_foreign(&self) -> Result<(), Invalid> {
        let on_exchange_server = self.server_type == ServerType::ExchangeServer;
        if self.exchange_version.is_some() && !on_exchange_server {
            let problem = "only a profile of Exchange Server has a version of Exchange";
            return Err(Invalid::new("exchange_version", problem, "Leave it out, or change the server type"));
        }
        if self.move_undeliverable && !on_exchange_server {
            let problem = "messages that cannot be processed are moved to a folder on Exchange Server alone";
            let remedy = "Set it to false: they are in quarantine all the same";
            return Err(Invalid::new("move_undeliverable", problem, remedy));
        }
        match self.server_type {
            ServerType::InternetMail => self.refuse_fields_of_exchange(),
            ServerType::ExchangeOnline => {
                self.refuse_internet_mail()?;
                if self.use_impersonation {
                    let problem = "impersonation is not supported with Exchange Online";
                    return Err(Invalid::new("use_impersonation", problem, "Set it to false"));
                }
                if !self.autodiscover || self.location.is_some() {
                    let problem =
                        "Exchange Online is found by itself; autodiscover cannot be off, nor a location be given";
                    return Err(Invalid::new("autodiscover", problem, "Set it to true and leave the location out"));
                }
                Ok(())
            }
            ServerType::ExchangeServer => {
                self.refuse_internet_mail()?;
                self.refuse_two_ways_to_find_exchange_server()?;
                self.refuse_half_an_application()
            }
        }
    }

    fn refuse_fields_of_exchange(&self) -> Result<(), Invalid> {
        if self.autodiscover {
            let problem = "only Exchange can be found by autodiscover";
            return Err(Invalid::new("autodiscover", problem, "Give host and port, and set autodiscover to false"));
        }
        if self.use_impersonation {
            let problem = "only Exchange knows impersonation";
            return Err(Invalid::new("use_impersonation", problem, "Set it to false"));
        }
        if self.location.is_some() {
            let problem = "only a profile of Exchange Server has a location of web services";
            return Err(Invalid::new("location", problem, "Give incoming and outgoing instead"));
        }
        if !self.tracked_folders.is_empty() {
            let problem = "folders besides the inbox are read of Exchange alone";
            return Err(Invalid::new("tracked_folders", problem, "Leave them out"));
        }
        Ok(())
    }

    fn refuse_internet_mail(&self) -> Result<(), Invalid> {
        let incoming = self.incoming.as_ref().map(|_| "incoming");
        let remedy = "Leave incoming and outgoing out: Exchange is used for both directions";
        match incoming.or(self.outgoing.as_ref().map(|_| "outgoing")) {
            Some(field) => Err(Invalid::new(field, MIXED, remedy)),
            None => Ok(()),
        }
    }

    fn refuse_two_ways_to_find_exchange_server(&self) -> Result<(), Invalid> {
        match (&self.location, self.autodiscover) {
            (Some(_), true) => {
                let problem = "a location is given and autodiscover is on";
                Err(Invalid::new("location", problem, "Leave the location out, or set autodiscover to false"))
            }
            (None, false) => {
                let problem = "the location of the Exchange web services is missing";
                let remedy = "Give it, such as https://mail.example.com/EWS/Exchange.asmx, or set autodiscover to true";
                Err(Invalid::new("location", problem, remedy))
            }
            (Some(_), false) | (None, true) => Ok(()),
        }
    }

    fn refuse_half_an_application(&self) -> Result<(), Invalid> {
        let field = match (&self.tenant_id, &self.client_id) {
            (None, Some(_)) => "tenant_id",
            (Some(_), None) => "client_id",
            (Some(_), Some(_)) | (None, None) => return Ok(()),
        };
        Err(Invalid::new(field, APPLICATION_NOT_NAMED, "Give the tenant's and the application's identifiers"))
    }
}

/// What is wrong without the application of Exchange Server.
pub const APPLICATION_NOT_NAMED: &str = "the application that signs in to Exchange Server is not named";

impl TryFrom<ServerFields> for Servers {
    type Error = Invalid;

    /// The servers that the fields of their kind describe. The other fields are not looked at: a stored row may have them.
    fn try_from(fields: ServerFields) -> Result<Self, Invalid> {
        let ServerFields { tenant_id, client_id, cloud, tracked_folders, .. } = fields;
        Ok(match fields.server_type {
            ServerType::InternetMail => {
                Self::InternetMail(InternetMail { incoming: fields.incoming, outgoing: fields.outgoing })
            }
            ServerType::ExchangeOnline => {
                let Some(tenant_id) = tenant_id else {
                    let problem = "neither the profile nor the organization names the tenant of Exchange Online";
                    let remedy = "Set tenant_id in the organization's settings, or here";
                    return Err(Invalid::new("tenant_id", problem, remedy));
                };
                let Some(client_id) = client_id else {
                    let problem = "the application that the tenant has granted its mailboxes to is missing";
                    let remedy = "Give the application (client) ID of its registration";
                    return Err(Invalid::new("client_id", problem, remedy));
                };
                let application = Application { tenant_id, client_id, cloud };
                Self::ExchangeOnline(ExchangeOnline { application, tracked_folders })
            }
            ServerType::ExchangeServer => Self::ExchangeServer(ExchangeServer {
                location: fields.location,
                exchange_version: fields.exchange_version,
                use_impersonation: fields.use_impersonation,
                application: tenant_id.zip(client_id).map(|(tenant_id, client_id)| Application {
                    tenant_id,
                    client_id,
                    cloud,
                }),
                tracked_folders,
                move_undeliverable: fields.move_undeliverable,
            }),
        })
    }
}

impl From<Servers> for ServerFields {
    fn from(servers: Servers) -> Self {
        let server_type = servers.kind();
        match servers {
            Servers::InternetMail(InternetMail { incoming, outgoing }) => {
                Self { server_type, incoming, outgoing, ..Self::default() }
            }
            Servers::ExchangeOnline(ExchangeOnline { application, tracked_folders }) => {
                Self { server_type, autodiscover: true, tracked_folders, ..Self::of_application(application) }
            }
            Servers::ExchangeServer(server) => Self {
                server_type,
                autodiscover: server.location.is_none(),
                location: server.location,
                exchange_version: server.exchange_version,
                use_impersonation: server.use_impersonation,
                tracked_folders: server.tracked_folders,
                move_undeliverable: server.move_undeliverable,
                ..server.application.map(Self::of_application).unwrap_or_default()
            },
        }
    }
}

impl ServerFields {
    fn of_application(application: Application) -> Self {
        let Application { tenant_id, client_id, cloud } = application;
        Self { tenant_id: Some(tenant_id), client_id: Some(client_id), cloud, ..Self::default() }
    }
}
