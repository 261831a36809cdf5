//! HTTP over the one TLS stack: HTTPS only, no redirects, no proxies, bounded replies, and every failure with its
//! cause.

use std::{error::Error, fmt, io, time::Duration};

use bytes::BytesMut;
use chrono::DateTime;
use mailrail_domain::{
    Timestamp,
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use reqwest::{
    Client, ClientBuilder, RequestBuilder, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{HeaderMap, LOCATION, RETRY_AFTER},
    redirect::Policy,
};
use tokio::time::timeout;

use crate::{Connector, InternalHosts, Names, timed_out, tls};

/// The name by which every request introduces itself.
pub const USER_AGENT: &str = concat!("Mailrail/", env!("CARGO_PKG_VERSION"));
/// Idle connections to one host that are kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 16;
/// For how long idle connections are kept. Devices on the way often close them earlier than servers do.
const IDLE: Duration = Duration::from_secs(20);
/// Longest wait for a connection, in addition to the wait for a reply.
const CONNECT: Duration = Duration::from_secs(8);

/// A client that is shared by everything that speaks HTTP; cheap to clone.
#[derive(Debug, Clone)]
pub struct Http {
    /// Makes requests, which [`Http::send`] sends.
    pub client: Client,
    internal_hosts: InternalHosts,
}

impl Http {
    /// A client with the trust and the bounds of `connector`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the TLS configuration, which no setting of a profile can cause.
    pub fn new(connector: &Connector) -> Result<Self, reqwest::Error> {
        Self::with(connector, &[b"h2", b"http/1.1"])
    }

    /// A client that speaks HTTP/1.1 only. Windows servers that offer a sign-in by NTLM or Negotiate need it, because
    /// over HTTP/2 they reset the stream instead of answering 401 (IIS, "HTTP/2 on IIS").
    ///
    /// # Errors
    ///
    /// As [`Http::new`].
    pub fn of_http1(connector: &Connector) -> Result<Self, reqwest::Error> {
        Self::with(connector, &[b"http/1.1"])
    }

    fn with(connector: &Connector, protocols: &[&[u8]]) -> Result<Self, reqwest::Error> {
        let mut tls = connector.tls.as_ref().clone();
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let client = bounded(connector)
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE)
            .build()?;
        Ok(Self { client, internal_hosts: connector.internal_hosts })
    }

    /// Sends a request and waits for the head of its reply, at most `wait` plus the time that a connection takes. A
    /// failure is reported at `stage`, unless the connection failed.
    pub async fn send(&self, request: RequestBuilder, stage: Stage, wait: Duration) -> Result<Response, DeliveryError> {
        let request = request.build().map_err(|error| failure(stage, &error))?;
        // A literal address is not looked up, so it is checked here.
        let host = request.url().host_str().unwrap_or_default().trim_matches(['[', ']']);
        if host.parse().is_ok_and(|ip| self.internal_hosts.refuses(ip)) {
            return Err(refused_address());
        }
        // A connection has its own wait, which must end first, because it is worth knowing that nothing was sent.
        timely(self.client.execute(request), stage, wait + CONNECT).await
    }
}

/// The settings that every client has.
fn bounded(connector: &Connector) -> ClientBuilder {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT)
        .dns_resolver(Resolver { names: connector.names.clone(), internal_hosts: connector.internal_hosts })
        .user_agent(USER_AGENT)
}

/// The address to which a server without TLS redirects (Autodiscover's redirection by HTTP). The server is told nothing
/// but the path. Nothing in its reply is believed except the address of a server that has TLS.
///
/// # Errors
///
/// As [`Http::send`].
pub async fn redirection(
    connector: &Connector,
    url: &str,
    stage: Stage,
    wait: Duration,
) -> Result<Option<String>, DeliveryError> {
    let client = bounded(connector).tls_backend_preconfigured(connector.tls.as_ref().clone()).build();
    let client = client.map_err(|error| failure(stage, &error))?;
    let response = timely(client.get(url).send(), stage, wait).await?;
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    Ok(location.filter(|_| response.status().is_redirection()).map(str::to_owned))
}

/// Waits for one step of a request, at most `wait`.
async fn timely<T>(
    asked: impl Future<Output = Result<T, reqwest::Error>>,
    stage: Stage,
    wait: Duration,
) -> Result<T, DeliveryError> {
    match timeout(wait, asked).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(failure(stage, &error)),
        Err(_) => Err(timed_out(stage)),
    }
}

/// Reads a body until it ends or at least `bytes` bytes have been read. Also returns whether the body has ended. Each
/// piece may take `wait`.
pub async fn body(
    response: &mut Response,
    bytes: usize,
    stage: Stage,
    wait: Duration,
) -> Result<(BytesMut, bool), DeliveryError> {
    let mut read = BytesMut::new();
    while read.len() < bytes {
        match timely(response.chunk(), stage, wait).await? {
            Some(piece) => read.extend_from_slice(&piece),
            None => return Ok((read, true)),
        }
    }
    Ok((read, false))
}

/// The seconds that a reply asks us to wait, given as seconds or as a date (RFC 9110 section 10.2.3).
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<u32> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        // A negative or endless wait counts as no wait. The retry policy shortens a wait that is too long.
        return (seconds.is_finite() && seconds >= 0.0).then_some(seconds.ceil() as u32);
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    u32::try_from((date.to_utc() - now).num_seconds().max(0)).ok()
}

/// Looks names up, and refuses names that lead to internal addresses.
#[derive(Debug)]
struct Resolver {
    names: Names,
    internal_hosts: InternalHosts,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, internal_hosts) = (self.names.clone(), self.internal_hosts);
        Box::pin(async move {
            let found = names.addresses(name.as_str(), 0).await;
            let found = found.map_err(|error| Lookup::Failed(error.to_string()))?;
            if found.iter().any(|address| internal_hosts.refuses(address.ip())) {
                return Err(Lookup::Internal.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Why the lookup of a name failed.
#[derive(Debug)]
enum Lookup {
    Failed(String),
    Internal,
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(words) => f.write_str(words),
            Self::Internal => f.write_str("the name leads to an internal address"),
        }
    }
}

impl Error for Lookup {}

fn refused_address() -> DeliveryError {
    let words = "the name leads to an internal address, which this deployment refuses";
    DeliveryError::new(Cause::HostNotAllowed, Evidence::new(Stage::Resolve, words))
}

/// The failure of a request, found from the errors beneath it.
fn failure(stage: Stage, error: &reqwest::Error) -> DeliveryError {
    let mut words = error.to_string();
    let mut beneath = error.source();
    while let Some(cause) = beneath {
        words = cause.to_string();
        match cause.downcast_ref::<Lookup>() {
            Some(Lookup::Internal) => return refused_address(),
            Some(Lookup::Failed(words)) => {
                return DeliveryError::new(Cause::HostNotFound, Evidence::new(Stage::Resolve, words));
            }
            None => {}
        }
        // Once a request is on its way, a TLS error means a lost connection, because the server may have received the
        // request.
        if error.is_connect()
            && let Some(refused) = cause.downcast_ref::<io::Error>().and_then(rustls_error)
        {
            return tls::failure(refused);
        }
        beneath = cause.source();
    }
    let (cause, stage) = if error.is_connect() {
        (if error.is_timeout() { Cause::TimedOut } else { Cause::ConnectionRefused }, Stage::Connect)
    } else if error.is_timeout() {
        (Cause::TimedOut, stage)
    } else if error.is_builder() {
        (Cause::ProtocolViolation, stage)
    } else {
        (Cause::ConnectionLost, stage)
    };
    DeliveryError::new(cause, Evidence::new(stage, &words))
}

/// The TLS error inside an I/O error, which may be wrapped more than once.
fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| rustls_error(inner.downcast_ref()?))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn a_wait_is_given_as_seconds_or_as_a_date() {
        let now = Timestamp::from_timestamp(1_700_000_000, 0).unwrap();
        let asked = |text: &'static str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]), now)
        };
        assert_eq!(asked("120"), Some(120));
        assert_eq!(asked(" 0.5 "), Some(1));
        assert_eq!(asked("Tue, 14 Nov 2023 22:14:20 GMT"), Some(60));
        assert_eq!(asked("Tue, 14 Nov 2000 22:14:20 GMT"), Some(0));
        assert_eq!(asked("99999999999999"), Some(u32::MAX));
        for nothing in ["", "-1", "soon", "inf", "NaN"] {
            assert_eq!(asked(nothing), None, "{nothing}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
