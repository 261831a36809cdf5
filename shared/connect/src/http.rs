//! HTTP over the one TLS stack: HTTPS alone, no redirects, no proxies, bounded replies, and every failure with its cause.

use std::{error::Error, fmt, io, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use chrono::DateTime;
use mailrail_domain::{
    Timestamp,
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
};
use reqwest::{
    Client, RequestBuilder, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{HeaderMap, RETRY_AFTER},
    redirect::Policy,
};
use tokio::{net::lookup_host, time::timeout};

use crate::{ADDRESSES_MAX, Connector, InternalHosts, timed_out};

/// Idle connections to one host that are kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 16;

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
    /// Says what is wrong with the TLS configuration, which can be nothing that a profile sets.
    pub fn new(connector: &Connector) -> Result<Self, reqwest::Error> {
        let internal_hosts = connector.internal_hosts;
        let mut tls = connector.tls.as_ref().clone();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Resolver(internal_hosts))
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .user_agent(concat!("Mailrail/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, internal_hosts })
    }

    /// Sends a request and waits for the head of its reply, at most `wait`. Failures are told as of `stage`, unless
    /// they are of the connection.
    pub async fn send(&self, request: RequestBuilder, stage: Stage, wait: Duration) -> Result<Response, DeliveryError> {
        let request = request.build().map_err(|error| failure(stage, &error))?;
        // A literal address is not looked up, so it is checked here.
        let host = request.url().host_str().unwrap_or_default().trim_matches(['[', ']']);
        if host.parse().is_ok_and(|ip| self.internal_hosts.refuses(ip)) {
            return Err(refused_address());
        }
        match timeout(wait, self.client.execute(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(failure(stage, &error)),
            Err(_) => Err(timed_out(stage)),
        }
    }
}

/// The next piece of a body; `None` at its end.
async fn piece(response: &mut Response, stage: Stage, wait: Duration) -> Result<Option<Bytes>, DeliveryError> {
    match timeout(wait, response.chunk()).await {
        Ok(Ok(piece)) => Ok(piece),
        Ok(Err(error)) => Err(failure(stage, &error)),
        Err(_) => Err(timed_out(stage)),
    }
}

/// Reads a body until it ends or has at least `bytes` bytes; whether it has ended is told besides. Each piece may take
/// `wait`.
pub async fn body(
    response: &mut Response,
    bytes: usize,
    stage: Stage,
    wait: Duration,
) -> Result<(BytesMut, bool), DeliveryError> {
    let mut read = BytesMut::new();
    while read.len() < bytes {
        match piece(response, stage, wait).await? {
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
        // A negative or endless wait is none; the retry policy cuts one that is too long.
        return (seconds.is_finite() && seconds >= 0.0).then_some(seconds.ceil() as u32);
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    u32::try_from((date.to_utc() - now).num_seconds().max(0)).ok()
}

/// Looks names up, and refuses what leads inside.
#[derive(Debug)]
struct Resolver(InternalHosts);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let internal_hosts = self.0;
        Box::pin(async move {
            let found = lookup_host((name.as_str(), 0)).await.map_err(|error| Lookup::Failed(error.to_string()))?;
            let found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
            if found.iter().any(|address| internal_hosts.refuses(address.ip())) {
                return Err(Lookup::Internal.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Why a name was not looked up.
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

/// What a failed request was, told from the errors beneath it.
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
        if let Some(tls) = cause.downcast_ref::<io::Error>().and_then(rustls_error) {
            let refused = matches!(tls, rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented);
            let cause = if refused { Cause::CertificateRefused } else { Cause::HandshakeFailed };
            return DeliveryError::new(cause, Evidence::new(Stage::Tls, &tls.to_string()));
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

/// The error of TLS in one of input and output, which may be wrapped more than once.
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
