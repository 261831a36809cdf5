//! Where each of Microsoft's clouds is (Microsoft Graph, "National cloud deployments").

use mailrail_domain::profile::Cloud;

/// Where sign-in and Microsoft Graph are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// Where Microsoft has them, by the tenant's cloud.
    Microsoft,
    /// Elsewhere, for a local stack: the origins, such as `https://localhost:8443`.
    At {
        /// Of sign-in.
        login: String,
        /// Of Microsoft Graph.
        graph: String,
    },
}

impl Hosts {
    /// The origin of sign-in.
    pub(crate) fn login(&self, cloud: Cloud) -> String {
        match self {
            Self::At { login, .. } => login.clone(),
            Self::Microsoft => match cloud {
                Cloud::Global => "https://login.microsoftonline.com",
                Cloud::UsGovernment | Cloud::UsGovernmentDod => "https://login.microsoftonline.us",
                Cloud::China => "https://login.chinacloudapi.cn",
            }
            .to_owned(),
        }
    }

    /// The origin of Microsoft Graph.
    pub(crate) fn graph(&self, cloud: Cloud) -> String {
        match self {
            Self::At { graph, .. } => graph.clone(),
            Self::Microsoft => match cloud {
                Cloud::Global => "https://graph.microsoft.com",
                Cloud::UsGovernment => "https://graph.microsoft.us",
                Cloud::UsGovernmentDod => "https://dod-graph.microsoft.us",
                Cloud::China => "https://microsoftgraph.chinacloudapi.cn",
            }
            .to_owned(),
        }
    }
}
