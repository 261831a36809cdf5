//! The name service: the addresses of a host, and the hosts of a service.

use std::{collections::HashMap, io, net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use domain::{
    base::{Name, Rtype},
    rdata::Srv,
    resolv::{
        StubResolver,
        stub::conf::{ResolvConf, ServerConf, Transport},
    },
};
use tokio::{net::lookup_host, time::timeout};

use crate::ADDRESSES_MAX;

/// Most hosts of one service that are taken from a reply.
const SERVICES_MAX: usize = 8;

/// Where names are looked up.
#[derive(Debug, Clone, Default)]
pub enum Names {
    /// The system looks them up.
    #[default]
    System,
    /// Hosts come from a list, for a test that runs several hosts on one machine. Services come from the name server
    /// there.
    Listed {
        /// The address of each host. Its port is used where a URL has none.
        hosts: Arc<HashMap<String, SocketAddr>>,
        /// The name server, over UDP, then TCP.
        server: Option<SocketAddr>,
    },
}

/// A host that offers a service (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceHost {
    /// Lower goes first.
    pub priority: u16,
    /// The host's name, without a dot at its end.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

impl Names {
    /// The addresses of a host; their port is `port`, or the list's.
    ///
    /// # Errors
    ///
    /// The error of the name service.
    pub(crate) async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(lookup_host((host, port)).await?.take(ADDRESSES_MAX).collect()),
            Self::Listed { hosts, .. } => match hosts.get(host) {
                Some(address) => Ok(vec![*address]),
                None => Err(io::Error::new(io::ErrorKind::NotFound, "the name is not in the list")),
            },
        }
    }

    /// The hosts of a service, such as `_autodiscover._tcp.example.com`, in the order of their priority. The list is
    /// empty where there is no such record or no name service answers.
    pub async fn services(&self, name: &str, wait: Duration) -> Vec<ServiceHost> {
        let configuration = match self {
            Self::System => ResolvConf::default(),
            Self::Listed { server: None, .. } => return Vec::new(),
            Self::Listed { server: Some(server), .. } => {
                let mut configuration = ResolvConf::new();
                configuration.servers.push(ServerConf::new(*server, Transport::UdpTcp));
                configuration.finalize();
                configuration
            }
        };
        let Ok(name) = Name::<Vec<u8>>::from_str(name) else {
            return Vec::new();
        };
        let resolver = StubResolver::from_conf(configuration);
        let Ok(Ok(answer)) = timeout(wait, resolver.query((name, Rtype::SRV))).await else {
            return Vec::new();
        };
        let Ok(records) = answer.answer() else {
            return Vec::new();
        };
        let mut found: Vec<ServiceHost> = records
            .limit_to::<Srv<_>>()
            .flatten()
            .take(SERVICES_MAX)
            .map(|record| ServiceHost {
                priority: record.data().priority(),
                host: record.data().target().to_string().trim_end_matches('.').to_ascii_lowercase(),
                port: record.data().port(),
            })
            // A target that is the root says that the service is not there (RFC 2782).
            .filter(|found| !found.host.is_empty())
            .collect();
        found.sort();
        found
    }
}
