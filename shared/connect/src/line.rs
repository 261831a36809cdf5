//! One HTTP/1.1 connection that is held explicitly, for a sign-in that is valid for a connection rather than for a
//! request. A pool might send the next request over another connection.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use mailrail_domain::{
    settings::profile::{Security, ServerLocation},
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::ports::{Access, Progress};
use reqwest::{Body, Response, Url};
use tokio::time::{Instant, timeout};

use crate::{Connector, timed_out};

/// A connection to one server at a time, made when it is needed.
pub struct Line {
    connector: Connector,
    access: Access,
    open: Option<Open>,
}

/// An open connection.
struct Open {
    sender: SendRequest<Full<Bytes>>,
    server: (String, u16),
    certificate: Option<Vec<u8>>,
    is_signed_in: bool,
    used: Instant,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("is_open", &self.open.is_some()).finish_non_exhaustive()
    }
}

impl Line {
    /// No connection yet.
    #[must_use]
    pub fn new(connector: &Connector, access: &Access) -> Self {
        // The caller reports the stages.
        let access = Access { progress: Progress::default(), ..access.clone() };
        Self { connector: connector.clone(), access, open: None }
    }

    /// Gives the connection up.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Whether there is a connection to the server of `url`, as far as can be seen.
    #[must_use]
    pub fn is_open(&self, url: &Url) -> bool {
        self.open.as_ref().is_some_and(|open| !open.sender.is_closed() && Some(&open.server) == server(url).as_ref())
    }

    /// Whether that connection has been signed in.
    #[must_use]
    pub fn is_signed_in(&self, url: &Url) -> bool {
        self.is_open(url) && self.open.as_ref().is_some_and(|open| open.is_signed_in)
    }

    /// Notes whether the connection has been signed in. A new connection has not been signed in.
    pub fn sign_in(&mut self, is_signed_in: bool) {
        if let Some(open) = &mut self.open {
            open.is_signed_in = is_signed_in;
        }
    }

    /// For how long the connection has not been used.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.open.as_ref().map_or(Duration::MAX, |open| open.used.elapsed())
    }

    /// The certificate of the server at its other end, as DER.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        self.open.as_ref()?.certificate.as_deref()
    }

    /// Makes a connection to the server of `url`, unless there is one.
    ///
    /// # Errors
    ///
    /// The failure of the connection, with its cause.
    pub async fn open(&mut self, url: &Url) -> Result<(), DeliveryError> {
        if self.is_open(url) {
            return Ok(());
        }
        self.open = None;
        let server = server(url).ok_or_else(|| {
            DeliveryError::new(Cause::HostNotFound, Evidence::new(Stage::Resolve, "the address names no host"))
        })?;
        let location = ServerLocation { host: server.0.clone(), port: server.1, security: Security::Tls };
        let stream = self.connector.tcp(&self.access, &location).await?;
        let stream = self.connector.tls(stream, &self.access, &location).await?;
        let chain = stream.get_ref().1.peer_certificates();
        let certificate = chain.and_then(|chain| chain.first()).map(|certificate| certificate.to_vec());
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| lost(Stage::Connect, &error.to_string()))?;
        // This task ends when the sender is dropped or the server closes the connection.
        tokio::spawn(connection);
        self.open = Some(Open { sender, server, certificate, is_signed_in: false, used: Instant::now() });
        Ok(())
    }

    /// Sends a request over the connection that is open, and waits for the head of its reply, at most `wait`.
    ///
    /// # Errors
    ///
    /// The failure with its cause. A failure before anything was sent is reported at [`Stage::Connect`].
    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        stage: Stage,
        wait: Duration,
    ) -> Result<Response, DeliveryError> {
        let Some(open) = &mut self.open else {
            return Err(lost(Stage::Connect, "there is no connection"));
        };
        match timeout(wait, open.sender.ready()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(lost(Stage::Connect, &error.to_string())),
            Err(_) => return Err(timed_out(Stage::Connect)),
        }
        open.used = Instant::now();
        match timeout(wait, open.sender.send_request(request)).await {
            Ok(Ok(response)) => {
                open.used = Instant::now();
                Ok(Response::from(response.map(Body::wrap)))
            }
            Ok(Err(error)) => Err(lost(stage, &error.to_string())),
            Err(_) => Err(timed_out(stage)),
        }
    }
}

fn server(url: &Url) -> Option<(String, u16)> {
    let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
    Some((host, url.port_or_known_default()?))
}

fn lost(stage: Stage, words: &str) -> DeliveryError {
    DeliveryError::new(Cause::ConnectionLost, Evidence::new(stage, words))
}
