//! Email server profiles: where the servers of many mailboxes are and how they are to be used.

mod fields;
mod servers;

pub use fields::{APPLICATION_NOT_NAMED, MIXED, ServerFields};
use serde::{Deserialize, Serialize};
pub use servers::{
    Application, Cloud, ExchangeOnline, ExchangeServer, ExchangeVersion, IncomingProtocol, IncomingServer,
    InternetMail, Security, ServerLocation, ServerType, Servers,
};

use crate::{
    Timestamp,
    settings::{hold::HoldSettings, organization::Organization},
    words::{
        address::EmailAddress,
        cause::CredentialSource,
        id::ProfileId,
        invalid::{Invalid, excerpt},
        policy::UnknownOutcome,
    },
};

/// Longest name of a profile or mailbox, in characters (source system: 100).
pub const NAME_CHARS_MAX: usize = 100;

/// Most connections that one profile may be given (source system: 1 to 300).
pub const CONNECTIONS_MAX: u16 = 300;

/// Connections of a profile that says nothing about them (source system: 10).
pub const CONNECTIONS_DEFAULT: u16 = 10;

/// Longest polling interval, in minutes (source system: 1440).
pub const POLLING_MINUTES_MAX: u16 = 1440;

/// Longest wait for a server, in seconds (source system: hard cap of 100 s).
pub const TIMEOUT_SECONDS_MAX: u16 = 100;

/// Wait for a server of a profile that says nothing about it, in seconds.
pub const TIMEOUT_SECONDS_DEFAULT: u16 = 30;

/// How to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// User name and password: SASL PLAIN, LOGIN, or the protocol's own command, whichever the server offers.
    #[default]
    Password,
    /// An OAuth 2.0 access token by SASL XOAUTH2; the token is stored where the password would be.
    Xoauth2,
    /// OAuth 2.0 client credentials with a client secret, as an application of the tenant (RFC 6749 section 4.4).
    ClientSecret,
    /// The same with an assertion that the private key of a certificate has signed (RFC 7523).
    ClientCertificate,
    /// User name and password by NTLMv2, of Exchange Server alone (MS-NLMP, MS-NTHT).
    Ntlm,
}

impl Authentication {
    /// Whether an application of Microsoft Entra ID signs in, and no account.
    #[must_use]
    pub const fn is_by_application(self) -> bool {
        match self {
            Self::ClientSecret | Self::ClientCertificate => true,
            Self::Password | Self::Xoauth2 | Self::Ntlm => false,
        }
    }
}

/// Settings shared by many mailboxes. Their servers are [`ServerFields`] as somebody gives them, and [`Servers`] once they
/// have been [parsed](EmailServerProfile::parse).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailServerProfile<S = Servers> {
    /// Its identifier.
    pub id: ProfileId,
    /// Its name, as alerts and notices give it.
    pub name: String,
    /// Who is told when a mailbox is disabled.
    pub owner_address: EmailAddress,
    /// The servers, by their kind.
    #[serde(flatten)]
    pub servers: S,
    /// Whose credentials are used.
    pub credentials: CredentialSource,
    /// User name, where the profile's own credentials are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// How to sign in.
    #[serde(default)]
    pub authentication: Authentication,
    /// Earlier messages are left alone ("Process emails from").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_emails_received_after: Option<Timestamp>,
    /// Least minutes between two looks into a mailbox; 0 leaves it to the deployment.
    pub minimum_polling_interval_minutes: u16,
    /// Most connections at once, all mailboxes of the profile together.
    pub maximum_concurrent_connections: u16,
    /// Whether messages are deleted from the server once they are stored.
    pub delete_after_processing: bool,
    /// Longest wait for a connection or a reply.
    pub connection_timeout_seconds: u16,
    /// What to do with an email whose fate is unknown.
    #[serde(default)]
    pub unknown_outcome: UnknownOutcome,
    /// What is done when its servers fail, where it is not as the organization has it.
    #[serde(default, rename = "outages", skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldSettings>,
    /// When it was created.
    pub created_at: Timestamp,
}

impl EmailServerProfile<ServerFields> {
    /// The profile whose servers are of one kind. It takes the organization's tenant where it needs one and names none.
    /// A field that servers of another kind have is refused.
    pub fn parse(mut self, organization: &Organization) -> Result<EmailServerProfile, Invalid> {
        let by_application =
            self.credentials == CredentialSource::ServerToServer && self.authentication.is_by_application();
        let takes_tenant = self.servers.server_type == ServerType::ExchangeOnline || by_application;
        if self.servers.tenant_id.is_none() && takes_tenant {
            self.servers.tenant_id.clone_from(&organization.tenant_id);
        }
        self.servers.refuse_foreign()?;
        let (profile, fields) = self.with(());
        Ok(profile.with(Servers::try_from(fields)?).0)
    }
}

impl<S> EmailServerProfile<S> {
    /// What is done when its servers fail: as the profile has it, else as the organization has it.
    #[must_use]
    pub fn hold_settings(&self, organization: &Organization) -> HoldSettings {
        self.hold.unwrap_or(organization.hold)
    }

    /// The profile with other servers, and those that it had.
    fn with<T>(self, servers: T) -> (EmailServerProfile<T>, S) {
        let profile = EmailServerProfile {
            id: self.id,
            name: self.name,
            owner_address: self.owner_address,
            servers,
            credentials: self.credentials,
            username: self.username,
            authentication: self.authentication,
            process_emails_received_after: self.process_emails_received_after,
            minimum_polling_interval_minutes: self.minimum_polling_interval_minutes,
            maximum_concurrent_connections: self.maximum_concurrent_connections,
            delete_after_processing: self.delete_after_processing,
            connection_timeout_seconds: self.connection_timeout_seconds,
            unknown_outcome: self.unknown_outcome,
            hold: self.hold,
            created_at: self.created_at,
        };
        (profile, self.servers)
    }
}

impl EmailServerProfile {
    /// The profile with its servers field by field, as somebody would give them.
    #[must_use]
    pub fn into_fields(self) -> EmailServerProfile<ServerFields> {
        let (profile, servers) = self.with(());
        profile.with(servers.into()).0
    }

    /// What kind of servers they are.
    #[must_use]
    pub const fn server_type(&self) -> ServerType {
        self.servers.kind()
    }

    /// Checks every field and names the first that cannot be used.
    pub fn validate(&self) -> Result<(), Invalid> {
        validate_name(&self.name)?;
        self.servers.validate()?;
        if self.credentials == CredentialSource::Profile && self.username.is_none() {
            return Err(Invalid::new(
                "username",
                "the profile's own credentials are to be used and there is no user name",
                "Give username and password, or set credentials to mailbox",
            ));
        }
        if let Some(hold) = &self.hold {
            hold.validate().map_err(|invalid| invalid.within("outages"))?;
        }
        validate_range(
            "minimum_polling_interval_minutes",
            self.minimum_polling_interval_minutes,
            0,
            POLLING_MINUTES_MAX,
        )?;
        validate_range("maximum_concurrent_connections", self.maximum_concurrent_connections, 1, CONNECTIONS_MAX)?;
        validate_range("connection_timeout_seconds", self.connection_timeout_seconds, 1, TIMEOUT_SECONDS_MAX)
    }

    /// Whether an Exchange Server is found by autodiscover.
    #[must_use]
    pub fn is_discovered(&self) -> bool {
        matches!(&self.servers, Servers::ExchangeServer(server) if server.location.is_none())
    }

    /// Where credentials are entered, for a sentence.
    #[must_use]
    pub fn credential_holder(&self) -> String {
        match self.credentials {
            CredentialSource::Mailbox => "the mailbox".to_owned(),
            CredentialSource::Profile | CredentialSource::ServerToServer => {
                format!("the email server profile {}", self.name)
            }
        }
    }
}

/// Checks a name that people read: present, bounded, on one line.
pub fn validate_name(name: &str) -> Result<(), Invalid> {
    let fits = !name.trim().is_empty() && name.chars().count() <= NAME_CHARS_MAX && !name.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    Err(Invalid::new(
        "name",
        format!("\"{}\" is not a name", excerpt(name)),
        format!("Give 1 to {NAME_CHARS_MAX} characters on one line"),
    ))
}

fn validate_range(field: &str, value: u16, least: u16, most: u16) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(field, format!("{value} is out of range"), format!("Give {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample;

    fn refused_field(change: impl FnOnce(&mut EmailServerProfile<ServerFields>)) -> String {
        let mut profile = sample().0.into_fields();
        change(&mut profile);
        let checked = profile.parse(&Organization::default()).and_then(|profile| profile.validate());
        checked.unwrap_err().field
    }

    /// Servers of Exchange, which have folders besides the inbox.
    fn exchange_with(tracked_folders: Vec<String>) -> ServerFields {
        ServerFields {
            server_type: ServerType::ExchangeServer,
            autodiscover: true,
            tracked_folders,
            ..ServerFields::default()
        }
    }

    #[test]
    fn every_bad_field_is_named() {
        assert!(sample().0.validate().is_ok());
        assert_eq!(refused_field(|p| p.name = " ".into()), "name");
        assert_eq!(refused_field(|p| p.name = "x\ny".into()), "name");
        for folders in [vec!["a//b"], vec![""], vec!["a\nb"], vec!["a", "a"], vec!["x"; 26]] {
            let folders: Vec<String> = folders.into_iter().map(str::to_owned).collect();
            assert_eq!(refused_field(|p| p.servers = exchange_with(folders)), "tracked_folders");
        }
        assert_eq!(refused_field(|p| p.maximum_concurrent_connections = 0), "maximum_concurrent_connections");
        assert_eq!(refused_field(|p| p.maximum_concurrent_connections = 301), "maximum_concurrent_connections");
        assert_eq!(refused_field(|p| p.minimum_polling_interval_minutes = 1441), "minimum_polling_interval_minutes");
        assert_eq!(refused_field(|p| p.connection_timeout_seconds = 0), "connection_timeout_seconds");
        assert_eq!(refused_field(|p| p.servers.outgoing.as_mut().unwrap().port = 0), "outgoing.port");
        assert_eq!(refused_field(|p| p.credentials = CredentialSource::Profile), "username");
        for host in ["", "imap.example.com:993", "https://x", "a b", "-.", "x..y", &"x".repeat(254)] {
            let field = refused_field(|p| p.servers.incoming.as_mut().unwrap().location.host = host.to_owned());
            assert_eq!(field, "incoming.host", "{host}");
        }
    }

    #[test]
    fn a_profile_field_by_field_is_the_same_profile() {
        let folders = exchange_with(vec!["Projects".into()]);
        let tenant_id = Some("11111111-2222-3333-4444-555555555555".to_owned());
        let client_id = Some("aaaaaaaa-2222-3333-4444-555555555555".to_owned());
        let found = ServerFields {
            exchange_version: Some(ExchangeVersion::Exchange2019),
            use_impersonation: true,
            move_undeliverable: true,
            tenant_id: tenant_id.clone(),
            client_id: client_id.clone(),
            cloud: Cloud::China,
            ..folders.clone()
        };
        let located = ServerFields {
            autodiscover: false,
            location: Some("https://mail.example.org/EWS/Exchange.asmx".into()),
            ..folders.clone()
        };
        let online = ServerFields { server_type: ServerType::ExchangeOnline, tenant_id, client_id, ..folders.clone() };
        let internet = sample().0.into_fields().servers;
        for servers in [folders, found, located, online, internet] {
            let given = EmailServerProfile { servers, ..sample().0.into_fields() };
            let parsed = given.clone().parse(&Organization::default()).unwrap();
            assert_eq!(parsed.into_fields(), given);
        }
    }

    #[test]
    fn a_stored_profile_with_a_field_of_another_kind_is_read_without_it() {
        let (profile, _) = sample();
        let mut fields = profile.clone().into_fields();
        (fields.servers.use_impersonation, fields.servers.tenant_id) = (true, Some("of before".into()));
        let read: EmailServerProfile = serde_json::from_value(serde_json::to_value(fields).unwrap()).unwrap();
        assert_eq!(read, profile);
    }

    #[test]
    fn addresses_of_servers_may_be_given_as_numbers() {
        for host in ["127.0.0.1", "::1", "imap.example.com.", "mail_1.internal"] {
            let location = ServerLocation { host: host.into(), port: 1, security: Security::Tls };
            assert!(location.validate().is_ok(), "{host}");
        }
    }
}
