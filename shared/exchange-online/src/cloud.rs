//! Where each of Microsoft's clouds is (Microsoft Graph, "National cloud deployments").

use mailrail_connect::application::Login;
use mailrail_domain::settings::profile::Cloud;

/// Where sign-in and Microsoft Graph are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// At Microsoft, by the tenant's cloud.
    Microsoft,
    /// Elsewhere, for a local stack: the origins, such as `https://localhost:8443`.
    At {
        /// The origin of sign-in.
        login: String,
        /// The origin of Microsoft Graph.
        graph: String,
    },
}

impl Hosts {
    /// Where applications sign in.
    #[must_use]
    pub fn login(&self) -> Login {
        match self {
            Self::At { login, .. } => Login::At(login.clone()),
            Self::Microsoft => Login::Microsoft,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_cloud_has_a_graph_of_its_own() {
        let clouds = [Cloud::Global, Cloud::UsGovernment, Cloud::UsGovernmentDod, Cloud::China];
        let graphs: BTreeSet<String> = clouds.iter().map(|cloud| Hosts::Microsoft.graph(*cloud)).collect();
        assert_eq!(graphs.len(), clouds.len());
        for cloud in clouds {
            let host = Hosts::Microsoft.graph(cloud);
            assert!(host.starts_with("https://") && !host.ends_with('/'), "{host}");
        }
        let own = Hosts::At { login: "https://a".into(), graph: "https://b".into() };
        assert_eq!(
            (own.login().origin(Cloud::China), own.graph(Cloud::China)),
            ("https://a".into(), "https://b".into())
        );
    }
}
