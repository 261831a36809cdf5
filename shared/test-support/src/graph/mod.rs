//! A tenant of Exchange Online with its sign-in and its Microsoft Graph, as a server: stateful, over TLS, and with the
//! limits and the refusals of the real one.
//!
//! It was written from Microsoft's reference; what it says is checked against Microsoft's own metadata by the contract
//! test. It knows what a client of mail needs and answers 501 to everything else.

mod routes;
mod sign_in;
mod state;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{Router, serve::Listener};
pub use state::{Fault, Mailbox, Message, Registration, Tenant};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

use crate::fakes::lock;

/// Connections that are being secured.
const HANDSHAKES_MAX: usize = 64;

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

/// Answers with `router` what comes to `listener`, over TLS if a configuration is given.
pub fn serve(listener: TcpListener, router: Router, tls: Option<Arc<ServerConfig>>) {
    tokio::spawn(async move {
        match tls {
            Some(config) => axum::serve(Secured::new(listener, config), router).await,
            None => axum::serve(listener, router).await,
        }
    });
}

/// Connections over TLS. A handshake that fails or dawdles is nobody else's concern.
struct Secured {
    ready: tokio::sync::mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl Secured {
    fn new(listener: TcpListener, mut config: Arc<ServerConfig>) -> Self {
        Arc::make_mut(&mut config).alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(config);
        let address = listener.local_addr().expect("an address");
        let (sender, ready) = tokio::sync::mpsc::channel(HANDSHAKES_MAX);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                // Replies are small and each is waited for.
                let _ = stream.set_nodelay(true);
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = sender.send((stream, peer)).await;
                    }
                });
            }
        });
        Self { ready, address }
    }
}

impl Listener for Secured {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The listener ended with its runtime.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}
