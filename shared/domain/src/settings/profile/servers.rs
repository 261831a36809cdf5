//! The servers of a profile, by their kind: what each kind needs, and nothing else.

use serde::{Deserialize, Serialize};

use super::ServerFields;
use crate::words::invalid::{Invalid, excerpt};

/// Longest server name, in bytes (RFC 1035 section 2.3.4).
pub(super) const HOST_BYTES_MAX: usize = 253;

/// Most folders besides the inbox (source system: 25).
pub(super) const TRACKED_FOLDERS_MAX: usize = 25;

/// Longest path of such a folder, in characters (source system: 256).
pub(super) const FOLDER_CHARS_MAX: usize = 256;

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
#[expect(missing_docs, reason = "the names say all there is")]
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

/// Servers of internet mail. At least one of the two is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternetMail {
    /// Where incoming email is read from.
    pub incoming: Option<IncomingServer>,
    /// Where outgoing email is handed over.
    pub outgoing: Option<ServerLocation>,
}

/// Exchange Online, for both directions. It is found by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeOnline {
    /// The application that the tenant has granted its mailboxes to.
    pub application: Application,
    /// Folders below the inbox that are read besides it, each by its path, such as `Projects/Alpha`.
    pub tracked_folders: Vec<String>,
}

/// Exchange Server, for both directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeServer {
    /// Where its web services are. Autodiscover finds them where there is none.
    pub location: Option<String>,
    /// Its version, where it is known.
    pub exchange_version: Option<ExchangeVersion>,
    /// Whether one account acts for all mailboxes.
    pub use_impersonation: bool,
    /// The application that signs in server to server.
    pub application: Option<Application>,
    /// Folders below the inbox that are read besides it, each by its path, such as `Projects/Alpha`.
    pub tracked_folders: Vec<String>,
    /// Whether a message that cannot be processed is moved to the folder "Undeliverable" of its mailbox.
    pub move_undeliverable: bool,
}

/// The servers of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ServerFields", into = "ServerFields")]
pub enum Servers {
    /// IMAP or POP3, and SMTP.
    InternetMail(InternetMail),
    /// Exchange Online.
    ExchangeOnline(ExchangeOnline),
    /// Exchange Server.
    ExchangeServer(ExchangeServer),
}

impl Servers {
    /// Their kind.
    #[must_use]
    pub const fn kind(&self) -> ServerType {
        match self {
            Self::InternetMail(_) => ServerType::InternetMail,
            Self::ExchangeOnline(_) => ServerType::ExchangeOnline,
            Self::ExchangeServer(_) => ServerType::ExchangeServer,
        }
    }

    /// Folders that are read besides the inbox.
    #[must_use]
    pub fn tracked_folders(&self) -> &[String] {
        match self {
            Self::InternetMail(_) => &[],
            Self::ExchangeOnline(online) => &online.tracked_folders,
            Self::ExchangeServer(server) => &server.tracked_folders,
        }
    }

    /// Whether a message that cannot be processed is moved to a folder of its mailbox.
    #[must_use]
    pub const fn move_undeliverable(&self) -> bool {
        match self {
            Self::InternetMail(_) | Self::ExchangeOnline(_) => false,
            Self::ExchangeServer(server) => server.move_undeliverable,
        }
    }

    /// Checks every field and names the first that cannot be used.
    pub(super) fn validate(&self) -> Result<(), Invalid> {
        if let Self::InternetMail(InternetMail { incoming, outgoing }) = self {
            if let Some(incoming) = incoming {
                incoming.location.validate().map_err(|e| e.within("incoming"))?;
            }
            if let Some(outgoing) = outgoing {
                outgoing.validate().map_err(|e| e.within("outgoing"))?;
            }
            if incoming.is_none() && outgoing.is_none() {
                return Err(Invalid::new(
                    "incoming",
                    "the profile has neither an incoming nor an outgoing server",
                    "Give at least one of incoming and outgoing",
                ));
            }
        }
        validate_folders(self.tracked_folders())
    }
}

/// Checks the paths of folders below the inbox. Each path may be given once.
fn validate_folders(folders: &[String]) -> Result<(), Invalid> {
    let remedy = format!("Give at most {TRACKED_FOLDERS_MAX} paths such as Projects/Alpha, each once");
    if folders.len() > TRACKED_FOLDERS_MAX {
        return Err(Invalid::new("tracked_folders", format!("{} folders are too many", folders.len()), remedy));
    }
    for (n, folder) in folders.iter().enumerate() {
        let is_path = folder.chars().count() <= FOLDER_CHARS_MAX
            && folder.split('/').all(|name| !name.trim().is_empty() && !name.chars().any(char::is_control));
        if !is_path || folders.iter().take(n).any(|before| before == folder) {
            let problem = format!("\"{}\" cannot be read, or is named twice", excerpt(folder));
            return Err(Invalid::new("tracked_folders", problem, remedy));
        }
    }
    Ok(())
}
