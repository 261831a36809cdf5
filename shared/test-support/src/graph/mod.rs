//! A tenant of Exchange Online with its sign-in and its Microsoft Graph, as a server: stateful, over TLS, and with the
//! limits and the refusals of the real one.
//!
//! It was written from Microsoft's reference; what it says is checked against Microsoft's own metadata by the contract
//! test. It knows what a client of mail needs and answers 501 to everything else.

mod routes;
mod sign_in;
mod state;

use std::sync::{Arc, Mutex, MutexGuard};

pub use state::{Fault, Mailbox, Message, Registration, Tenant};
use tokio::net::TcpListener;
use tokio_rustls::rustls::ServerConfig;

use crate::{fakes::lock, https::serve};

/// A running server; cheap to clone.
#[derive(Debug, Clone)]
pub struct GraphServer {
    tenant: Arc<Mutex<Tenant>>,
    origin: String,
}

impl GraphServer {
    /// A server of `tenant` at a free port of this machine, over TLS if a configuration is given. `name` is the host in
    /// its links.
    pub async fn start(tenant: Tenant, tls: Option<Arc<ServerConfig>>, name: &str) -> Self {
        Self::start_at(tenant, tls, name, 0).await
    }

    /// The same at this port.
    pub async fn start_at(tenant: Tenant, tls: Option<Arc<ServerConfig>>, name: &str, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let server = Self { tenant: Arc::new(Mutex::new(tenant)), origin: format!("{scheme}://{name}:{port}") };
        serve(listener, routes::router(server.clone()), tls);
        server
    }

    /// The same tenant at another free port of this machine, over TLS if a configuration is given. The port.
    pub async fn also(&self, tls: Option<Arc<ServerConfig>>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        serve(listener, routes::router(self.clone()), tls);
        port
    }

    /// The tenant, to look at and to change.
    pub fn tenant(&self) -> MutexGuard<'_, Tenant> {
        lock(&self.tenant)
    }

    /// Where clients reach it.
    #[must_use]
    pub fn origin(&self) -> String {
        self.tenant().behind.clone().unwrap_or_else(|| self.origin.clone())
    }
}
