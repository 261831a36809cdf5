//! Opens a secured connection from a server's name, where each step has its own cause of failure. Speaks HTTP over it.
//! Gets the tokens of applications, which more than one of Microsoft's servers takes.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::string_slice))]

pub mod application;
mod http;
mod line;
mod names;
mod refusal;
mod tls;

use std::{io, net::IpAddr, sync::Arc};

pub use http::{Http, USER_AGENT, body, redirection, retry_after};
pub use line::Line;
use mailrail_domain::{
    settings::profile::ServerLocation,
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::ports::Access;
pub use names::{Names, ServiceHost};
pub use refusal::{Failure, Refusal, broken};
use rustls::crypto::CryptoProvider;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Most addresses of one name that are tried, one after another.
const ADDRESSES_MAX: usize = 4;

/// Whether servers at internal addresses may be reached. If they may, anyone who can edit a profile can reach into the
/// network that the functions run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InternalHosts {
    /// They may be reached, because the email servers are in the same private network.
    Allow,
    /// They may not be reached.
    Refuse,
}

/// Opens connections with one TLS configuration.
#[derive(Debug, Clone)]
pub struct Connector {
    tls: Arc<rustls::ClientConfig>,
    internal_hosts: InternalHosts,
    names: Names,
}

impl Connector {
    /// A connector that trusts what `tls` trusts.
    #[must_use]
    pub const fn new(tls: Arc<rustls::ClientConfig>, internal_hosts: InternalHosts) -> Self {
        Self { tls, internal_hosts, names: Names::System }
    }

    /// The same connector with another name service.
    #[must_use]
    pub fn with_names(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// The name service.
    #[must_use]
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// Looks the name up and connects.
    pub async fn tcp(&self, access: &Access, location: &ServerLocation) -> Result<TcpStream, DeliveryError> {
        let wait = access.timeout;
        access.progress.reach(Stage::Resolve);
        let fail = |cause, stage, words: &str| Err(DeliveryError::new(cause, Evidence::new(stage, words)));
        let found = match timeout(wait, self.names.addresses(&location.host, location.port)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return fail(Cause::HostNotFound, Stage::Resolve, &error.to_string()),
            Err(_) => return fail(Cause::HostNotFound, Stage::Resolve, "no answer from the name service in time"),
        };
        if found.is_empty() {
            return fail(Cause::HostNotFound, Stage::Resolve, "the name has no address");
        }
        access.progress.reach(Stage::Connect);
        let mut last = None;
        for address in found {
            if self.refuses(address.ip()) {
                return fail(
                    Cause::HostNotAllowed,
                    Stage::Resolve,
                    "the name leads to an internal address, which this deployment refuses",
                );
            }
            match timeout(wait, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Commands are small and each waits for its answer; a failure here only costs speed.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = Some(connect_error(&error)),
                Err(_) => last = Some(timed_out(Stage::Connect)),
            }
        }
        Err(last.unwrap_or_else(|| timed_out(Stage::Connect)))
    }

    /// Secures the connection, checking the certificate against the name in the profile.
    pub async fn tls(
        &self,
        stream: TcpStream,
        access: &Access,
        location: &ServerLocation,
    ) -> Result<TlsStream<TcpStream>, DeliveryError> {
        let (host, wait) = (&location.host, access.timeout);
        access.progress.reach(Stage::Tls);
        let Ok(name) = ServerName::try_from(host.trim_end_matches('.').to_owned()) else {
            let evidence = Evidence::new(Stage::Tls, "the server's name cannot stand in a certificate");
            return Err(DeliveryError::new(Cause::CertificateRefused, evidence));
        };
        match timeout(wait, TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(tls_error(&error)),
            Err(_) => Err(timed_out(Stage::Tls)),
        }
    }

    fn refuses(&self, ip: IpAddr) -> bool {
        self.internal_hosts.refuses(ip)
    }

    /// The cryptography of the connections, for signatures outside TLS.
    #[must_use]
    pub fn crypto(&self) -> Arc<CryptoProvider> {
        Arc::clone(self.tls.crypto_provider())
    }
}

impl InternalHosts {
    fn refuses(self, ip: IpAddr) -> bool {
        match self {
            Self::Allow => is_link_local(ip),
            Self::Refuse => is_internal(ip),
        }
    }
}

/// Link-local addresses are never allowed, because the metadata service is there and no email server is.
fn is_link_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn is_internal(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b); // RFC 6598
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_unique_local(),
    }
}

fn connect_error(error: &io::Error) -> DeliveryError {
    let cause = match error.kind() {
        io::ErrorKind::TimedOut => Cause::TimedOut,
        _ => Cause::ConnectionRefused,
    };
    DeliveryError::new(cause, Evidence::new(Stage::Connect, &error.to_string()))
}

fn tls_error(error: &io::Error) -> DeliveryError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(refused) => tls::failure(refused),
        None => DeliveryError::new(Cause::HandshakeFailed, Evidence::new(Stage::Tls, &error.to_string())),
    }
}

/// The server was silent for longer than the profile allows.
#[must_use]
pub fn timed_out(stage: Stage) -> DeliveryError {
    DeliveryError::new(Cause::TimedOut, Evidence::new(stage, "no answer in time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_addresses_are_known_in_every_spelling() {
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_internal(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["8.8.8.8", "100.128.0.1", "2001:db8::1"] {
            assert!(!is_internal(ip.parse().unwrap()), "{ip}");
        }
        assert!(is_link_local("169.254.169.254".parse().unwrap()));
    }
}
