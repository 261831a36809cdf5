//! Where the applications of each of Microsoft's clouds sign in.

use mailrail_domain::settings::profile::Cloud;

/// Where Entra ID is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// At Microsoft, by the tenant's cloud.
    Microsoft,
    /// Elsewhere, for a local stack: its origin, such as `https://localhost:8443`.
    At(String),
}

impl Login {
    /// The origin of Entra ID (Microsoft identity platform, "National clouds").
    #[must_use]
    pub fn origin(&self, cloud: Cloud) -> String {
        match self {
            Self::At(login) => login.clone(),
            Self::Microsoft => match cloud {
                Cloud::Global => "https://login.microsoftonline.com",
                Cloud::UsGovernment | Cloud::UsGovernmentDod => "https://login.microsoftonline.us",
                Cloud::China => "https://login.chinacloudapi.cn",
            }
            .to_owned(),
        }
    }
}
