//! HTTPS for servers of tests.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, serve::Listener};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

/// Connections that are being secured.
const HANDSHAKES_MAX: usize = 64;
/// Longest request without TLS.
const PLAIN_BYTES_MAX: usize = 8 * 1024;
/// With what a connection over TLS begins (RFC 8446 section 5.1).
const TLS_HANDSHAKE: [u8; 1] = [22];

/// Answers with `router` what comes to `listener`, over TLS if a configuration is given.
pub fn serve(listener: TcpListener, router: Router, tls: Option<Arc<ServerConfig>>) {
    tokio::spawn(async move {
        match tls {
            Some(config) => axum::serve(Secured::new(listener, config, None), router).await,
            None => axum::serve(listener, router).await,
        }
    });
}

/// The same over TLS; who comes without it is sent to where `redirection` says for the host that was asked for.
pub fn serve_with_redirections(
    listener: TcpListener,
    router: Router,
    tls: Arc<ServerConfig>,
    redirection: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) {
    let secured = Secured::new(listener, tls, Some(Arc::new(redirection)));
    tokio::spawn(async move { axum::serve(secured, router).await });
}

/// Where who asks a host without TLS is sent.
type Redirection = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Connections over TLS. A handshake that fails or dawdles is nobody else's concern.
struct Secured {
    ready: tokio::sync::mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl Secured {
    fn new(listener: TcpListener, mut config: Arc<ServerConfig>, redirection: Option<Redirection>) -> Self {
        Arc::make_mut(&mut config).alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(config);
        let address = listener.local_addr().expect("an address");
        let (sender, ready) = tokio::sync::mpsc::channel(HANDSHAKES_MAX);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                // Replies are small and each is waited for.
                let _ = stream.set_nodelay(true);
                let (acceptor, sender, redirection) = (acceptor.clone(), sender.clone(), redirection.clone());
                tokio::spawn(async move {
                    let mut first = [0];
                    if let Some(redirection) = redirection
                        && stream.peek(&mut first).await.is_ok()
                        && first != TLS_HANDSHAKE
                    {
                        redirect(stream, &redirection).await;
                        return;
                    }
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

/// Answers one request without TLS, which has a head alone.
async fn redirect(mut stream: TcpStream, redirection: &Redirection) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < PLAIN_BYTES_MAX {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let host = head.lines().find_map(|line| line.strip_prefix("host:")).unwrap_or_default().trim();
    let reply = match redirection(host.split(':').next().unwrap_or_default()) {
        Some(to) => format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
    };
    let _ = stream.write_all(reply.as_bytes()).await;
}
