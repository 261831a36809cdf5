//! Email server profiles: where the servers of many mailboxes are and how they are to be used.

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    settings::hold::HoldSettings,
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

/// Longest server name, in bytes (RFC 1035 section 2.3.4).
pub const HOST_BYTES_MAX: usize = 253;

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

/// Most folders besides the inbox (source system: 25).
pub const TRACKED_FOLDERS_MAX: usize = 25;

/// Longest path of such a folder, in characters (source system: 256).
pub const FOLDER_CHARS_MAX: usize = 256;

/// What kind of servers a profile is for. The list is closed: other providers cannot be added (source page).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerType {
    /// IMAP or POP3 for incoming, SMTP for outgoing email.
    #[default]
    InternetMail,
    /// Exchange Online, for everything.
    ExchangeOnline,
    /// Exchange Server on the organization's own premises, for everything.
    ExchangeServer,
}

/// A version of Exchange Server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names say all there is
pub enum ExchangeVersion {
    Exchange2003,
    Exchange2007,
    Exchange2010,
    Exchange2013,
    Exchange2016,
    Exchange2019,
    ExchangeSe,
}

/// How incoming email is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncomingProtocol {
    /// IMAP4rev1, RFC 3501.
    Imap,
    /// POP3, RFC 1939.
    Pop3,
}

/// How a connection is secured. There is no third way: credentials never cross a network in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// Plain until STARTTLS or STLS, before anything else is said.
    Starttls,
}

/// Which of Microsoft's clouds a tenant is in (Microsoft Graph, "National cloud deployments").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cloud {
    /// The worldwide one, which GCC is in too.
    #[default]
    Global,
    /// Microsoft 365 GCC High.
    UsGovernment,
    /// Microsoft 365 DoD.
    UsGovernmentDod,
    /// Microsoft 365 operated by 21Vianet.
    China,
}

impl Cloud {
    /// Whether it is the worldwide one, which need not be said.
    #[must_use]
    pub fn is_global(&self) -> bool {
        *self == Self::Global
    }
}

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

/// One server: name, port and security.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerLocation {
    /// DNS name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is secured.
    pub security: Security,
}

impl ServerLocation {
    /// Checks host and port.
    pub fn validate(&self) -> Result<(), Invalid> {
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        let is_name = self.host.trim_end_matches('.').split('.').all(is_label);
        let is_ip = self.host.parse::<std::net::IpAddr>().is_ok();
        if self.host.len() > HOST_BYTES_MAX || !(is_name || is_ip) {
            return Err(Invalid::new(
                "host",
                format!("\"{}\" is not a server name", excerpt(&self.host)),
                "Give a DNS name such as imap.example.com, without protocol, port or path",
            ));
        }
        if self.port == 0 {
            return Err(Invalid::new("port", "0 is not a port", "Give a port from 1 to 65535"));
        }
        Ok(())
    }
}

/// The server that incoming email is read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncomingServer {
    /// How it is read.
    pub protocol: IncomingProtocol,
    /// Where it is.
    #[serde(flatten)]
    pub location: ServerLocation,
}

/// Settings shared by many mailboxes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailServerProfile {
    /// Its identifier.
    pub id: ProfileId,
    /// Its name, as alerts and notices give it.
    pub name: String,
    /// Who is told when a mailbox is disabled.
    pub owner_address: EmailAddress,
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
    /// The tenant of Exchange Online, where it is not the organization's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The application that the tenant of Exchange Online has granted its mailboxes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The cloud that the tenant of Exchange Online is in.
    #[serde(default, skip_serializing_if = "Cloud::is_global")]
    pub cloud: Cloud,
    /// Folders below the inbox that are read besides it, each by its path, such as `Projects/Alpha`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tracked_folders: Vec<String>,
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
    /// Whether a message that cannot be processed is moved to the folder "Undeliverable" of its mailbox.
    #[serde(default, skip_serializing_if = "is_false")]
    pub move_undeliverable: bool,
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

impl EmailServerProfile {
    /// Checks every field and names the first that cannot be used.
    pub fn validate(&self) -> Result<(), Invalid> {
        validate_name(&self.name)?;
        if let Some(incoming) = &self.incoming {
            incoming.location.validate().map_err(|e| e.within("incoming"))?;
        }
        if let Some(outgoing) = &self.outgoing {
            outgoing.validate().map_err(|e| e.within("outgoing"))?;
        }
        if self.server_type == ServerType::InternetMail && self.incoming.is_none() && self.outgoing.is_none() {
            return Err(Invalid::new(
                "incoming",
                "the profile has neither an incoming nor an outgoing server",
                "Give at least one of incoming and outgoing",
            ));
        }
        if self.credentials == CredentialSource::Profile && self.username.is_none() {
            return Err(Invalid::new(
                "username",
                "the profile's own credentials are to be used and there is no user name",
                "Give username and password, or set credentials to mailbox",
            ));
        }
        validate_folders(&self.tracked_folders)?;
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

/// Checks the paths of folders below the inbox, each of which is read once.
fn validate_folders(folders: &[String]) -> Result<(), Invalid> {
    let remedy = format!("Give at most {TRACKED_FOLDERS_MAX} paths such as Projects/Alpha, each once");
    if folders.len() > TRACKED_FOLDERS_MAX {
        return Err(Invalid::new("tracked_folders", format!("{} folders are too many", folders.len()), remedy));
    }
    for (n, folder) in folders.iter().enumerate() {
        let is_path = folder.chars().count() <= FOLDER_CHARS_MAX
            && folder.split('/').all(|name| !name.trim().is_empty() && !name.chars().any(char::is_control));
        if !is_path || folders[..n].contains(folder) {
            let problem = format!("\"{}\" cannot be read, or is named twice", excerpt(folder));
            return Err(Invalid::new("tracked_folders", problem, remedy));
        }
    }
    Ok(())
}

fn validate_range(field: &str, value: u16, least: u16, most: u16) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(field, format!("{value} is out of range"), format!("Give {least} to {most}")))
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the shape that serde calls
fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample;

    fn refused_field(change: impl FnOnce(&mut EmailServerProfile)) -> String {
        let (mut profile, _) = sample();
        change(&mut profile);
        profile.validate().unwrap_err().field
    }

    #[test]
    fn every_bad_field_is_named() {
        assert!(sample().0.validate().is_ok());
        assert_eq!(refused_field(|p| p.name = " ".into()), "name");
        assert_eq!(refused_field(|p| p.name = "x\ny".into()), "name");
        for folders in [vec!["a//b"], vec![""], vec!["a\nb"], vec!["a", "a"], vec!["x"; 26]] {
            let folders: Vec<String> = folders.into_iter().map(str::to_owned).collect();
            assert_eq!(refused_field(|p| p.tracked_folders = folders), "tracked_folders");
        }
        assert_eq!(refused_field(|p| p.maximum_concurrent_connections = 0), "maximum_concurrent_connections");
        assert_eq!(refused_field(|p| p.maximum_concurrent_connections = 301), "maximum_concurrent_connections");
        assert_eq!(refused_field(|p| p.minimum_polling_interval_minutes = 1441), "minimum_polling_interval_minutes");
        assert_eq!(refused_field(|p| p.connection_timeout_seconds = 0), "connection_timeout_seconds");
        assert_eq!(refused_field(|p| p.outgoing.as_mut().unwrap().port = 0), "outgoing.port");
        assert_eq!(refused_field(|p| p.credentials = CredentialSource::Profile), "username");
        for host in ["", "imap.example.com:993", "https://x", "a b", "-.", "x..y", &"x".repeat(254)] {
            let field = refused_field(|p| p.incoming.as_mut().unwrap().location.host = host.to_owned());
            assert_eq!(field, "incoming.host", "{host}");
        }
    }

    #[test]
    fn addresses_of_servers_may_be_given_as_numbers() {
        for host in ["127.0.0.1", "::1", "imap.example.com.", "mail_1.internal"] {
            let location = ServerLocation { host: host.into(), port: 1, security: Security::Tls };
            assert!(location.validate().is_ok(), "{host}");
        }
    }
}
