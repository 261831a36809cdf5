//! HTTP requests with whatever signs them in: Basic, NTLM, or the token of an application.
//!
//! Sources: RFC 7617 (Basic); MS-NTHT and RFC 4559 for NTLM, which signs in a connection rather than a request; RFC
//! 6750 (tokens); "Authentication and EWS in Exchange".

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::Full;
use hyper::Request;
use mailrail_connect::{
    Failure, Line, Refusal, USER_AGENT as OUR_NAME,
    application::{SignIn, Tokens},
    body, retry_after,
};
use mailrail_domain::{
    settings::{
        endpoint::WebServices,
        profile::{Application, Authentication},
    },
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::ports::{Access, Ledger, Secret};
use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Url,
    header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, USER_AGENT, WWW_AUTHENTICATE},
};
use tokio::sync::Mutex;
use url::Position;

use crate::{
    ExchangeServer,
    host::is_within,
    ntlm::{Account, Binding, authenticate, negotiate},
    reply::refusal,
};

/// The media type of requests.
const XML: &str = "text/xml; charset=utf-8";
/// How replies are to be coded (RFC 9110 section 12.5.3): not at all. A front that compresses all the same is understood.
const UNCODED: &str = "identity";
/// A request that may not be repeated goes over a signed-in connection only if it was idle for less than this.
const LINE_IDLE: Duration = Duration::from_secs(5);
/// Longest error page that is read to its end, so that the connection can be used again.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// Units of 100 ns between 1601, when Windows' time begins, and 1970.
const FILETIME_1970: u64 = 116_444_736_000_000_000;

/// Signs requests in for one account.
pub(crate) struct Carrier {
    server: ExchangeServer,
    /// The connection of an account that signs in by NTLM.
    line: Option<Mutex<Line>>,
    username: String,
    /// The only domain to whose hosts the password goes, where autodiscover finds them.
    domain: Option<String>,
    secret: Secret,
    authentication: Authentication,
    application: Option<Application>,
    wait: Duration,
    ledger: Ledger,
}

/// A request without its sign-in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Letter<'a> {
    pub url: &'a Url,
    pub headers: &'a [(&'static str, &'a str)],
    pub body: &'a str,
    pub stage: Stage,
    /// Whether it may be sent again when nobody knows what became of it.
    pub repeat: Repeat,
}

/// Whether a request may be sent again when nobody knows what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// A repetition changes nothing, or makes the same change again.
    Freely,
    /// Never.
    Never,
}

impl Carrier {
    pub(crate) fn new(server: &ExchangeServer, access: &Access, services: &WebServices) -> Self {
        // NTLM signs in a connection, so nobody else may use that connection.
        let line = (access.authentication == Authentication::Ntlm).then(|| Line::new(&server.connector, access));
        // A shared account's password goes only to hosts of the account's own domain, because a mailbox's domain may be
        // anybody's. The domain of an account with the name DOMAIN\user is not known, so its password goes to no host
        // that is found.
        let domain = access.username.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
        let is_shared = services.is_shared_account && services.application.is_none();
        Self {
            server: server.clone(),
            line: line.map(Mutex::new),
            username: access.username.clone(),
            domain: is_shared.then_some(domain),
            secret: access.secret.clone(),
            authentication: access.authentication,
            application: services.application.clone(),
            wait: access.timeout,
            ledger: access.ledger.clone(),
        }
    }

    /// The server and how it is reached.
    pub(crate) const fn server(&self) -> &ExchangeServer {
        &self.server
    }

    /// Longest wait for a reply or a piece of it.
    pub(crate) const fn wait(&self) -> Duration {
        self.wait
    }

    /// What is noted about the server.
    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Asks for a page without signing in, which shows that the server is there and that its certificate is valid.
    pub(crate) async fn knock(&self, url: &Url, stage: Stage) -> Result<StatusCode, DeliveryError> {
        let mut response = self.send(self.server.http.client.request(Method::GET, url.clone()), stage).await?;
        self.drain(&mut response, stage).await;
        Ok(response.status())
    }

    /// Sends a letter without signing in, and gives the reply whatever it is.
    pub(crate) async fn post_unsigned(&self, letter: Letter<'_>) -> Result<Response, DeliveryError> {
        let request = self.request(letter);
        let request = match self.application {
            // A server says that it takes tokens when it gets a request with an empty token (MS-XOAUTH section 4.6).
            Some(_) => request.header(AUTHORIZATION, "Bearer"),
            None => request,
        };
        self.send(request, letter.stage).await
    }

    /// Whether a reply that refuses a request offers the way to sign in that the profile has.
    pub(crate) fn is_offered(&self, response: &Response) -> bool {
        let offered = offered(response.headers());
        offered.iter().any(|scheme| scheme.eq_ignore_ascii_case(self.scheme()))
    }

    /// Whether a host that autodiscover has led to may be told the password.
    pub(crate) fn may_tell(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        self.domain.as_ref().is_none_or(|domain| is_within(host, domain))
    }

    /// Whether all requests go over one connection, so that a reply has to be read before the next.
    pub(crate) const fn is_one_line(&self) -> bool {
        self.line.is_some()
    }

    /// Sends a letter, signed in, and gives the reply unless the sign-in is refused.
    pub(crate) async fn post(&self, letter: Letter<'_>) -> Result<Response, Failure> {
        let sent = match (&self.line, &self.application) {
            (Some(line), _) => self.post_ntlm(letter, &mut *line.lock().await).await,
            (None, Some(application)) => self.post_token(letter, application).await,
            (None, None) => {
                let request = self.request(letter).basic_auth(&self.username, Some(self.secret.expose()));
                self.send(request, letter.stage).await
            }
        };
        let mut response = sent.map_err(Failure::Broken)?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.drain(&mut response, letter.stage).await;
        Err(Failure::Broken(self.refused(response.headers())))
    }

    fn request(&self, letter: Letter<'_>) -> RequestBuilder {
        let request = self.server.http.client.post(letter.url.clone()).header(CONTENT_TYPE, XML);
        let request = request.header(ACCEPT_ENCODING, UNCODED);
        let request = letter.headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(letter.body.to_owned())
    }

    async fn send(&self, request: RequestBuilder, stage: Stage) -> Result<Response, DeliveryError> {
        self.ledger.count_request();
        self.server.http.send(request, stage, self.wait).await
    }

    /// Reads what nobody needs, so that the connection is free again. A failure shows at the next request.
    async fn drain(&self, response: &mut Response, stage: Stage) {
        let _ = body(response, ERROR_BYTES_MAX, stage, self.wait).await;
    }

    /// The refusal in a reply with an error status, without its document.
    pub(crate) fn refusal(&self, response: &Response) -> Refusal {
        let status = response.status();
        let wait = retry_after(response.headers(), (self.server.clock)());
        refusal(status.as_u16(), None, &format!("the server answers {status}"), wait)
    }

    async fn post_token(&self, letter: Letter<'_>, application: &Application) -> Result<Response, DeliveryError> {
        let sign_in = SignIn {
            http: self.server.http.clone(),
            crypto: self.server.connector.crypto(),
            login: self.server.login.origin(application.cloud),
            resource: letter.url.origin().ascii_serialization(),
            application: application.clone(),
            authentication: self.authentication,
            secret: self.secret.clone(),
            wait: self.wait,
            clock: self.server.clock,
        };
        let tokens: &Arc<Tokens> = &self.server.tokens;
        let token = tokens.get(&sign_in).await?;
        let mut response = self.send(self.request(letter).bearer_auth(token.expose()), letter.stage).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // The token may have been revoked early. A new token shows whether it was.
            self.drain(&mut response, letter.stage).await;
            tokens.forget(&sign_in, &token).await;
            let token = tokens.get(&sign_in).await?;
            response = self.send(self.request(letter).bearer_auth(token.expose()), letter.stage).await?;
        }
        Ok(response)
    }

    async fn post_ntlm(&self, letter: Letter<'_>, line: &mut Line) -> Result<Response, DeliveryError> {
        // A request that may not be repeated goes over a connection that was used just now, or over a new one.
        if line.is_signed_in(letter.url) && (letter.repeat == Repeat::Freely || line.idle() < LINE_IDLE) {
            match self.send_over(line, letter, None).await {
                Ok(mut response) if response.status() == StatusCode::UNAUTHORIZED => {
                    self.drain(&mut response, letter.stage).await;
                }
                // The server had closed the connection, and has seen nothing of the request.
                Err(error) if error.evidence.stage == Stage::Connect => {}
                sent => return sent,
            }
        }
        if line.is_signed_in(letter.url) {
            line.close();
        }
        let hello = Letter { body: "", headers: &[], stage: Stage::SignIn, ..letter };
        let greeted = format!("NTLM {}", STANDARD.encode(negotiate()));
        let was_open = line.is_open(letter.url);
        line.open(letter.url).await?;
        let mut response = match self.send_over(line, hello, Some(&greeted)).await {
            // The server had closed the connection that was kept.
            Err(error) if was_open && error.cause == Cause::ConnectionLost => {
                line.close();
                line.open(letter.url).await?;
                self.send_over(line, hello, Some(&greeted)).await?
            }
            sent => sent?,
        };
        if response.status() != StatusCode::UNAUTHORIZED {
            self.drain(&mut response, Stage::SignIn).await;
            if response.status().is_server_error() {
                // The failure is reported at the sign-in, so nothing has begun.
                return Err(Failure::Refused(self.refusal(&response)).into_error(Stage::SignIn));
            }
            // The server does not ask for a sign-in, and may still take the request.
            return self.send_over(line, letter, None).await;
        }
        let Some(token) = challenge(response.headers()) else {
            return Err(self.not_offered(response.headers()));
        };
        self.drain(&mut response, Stage::SignIn).await;
        let answer = self.answer(&token, letter.url, line.certificate())?;
        let response = self.send_over(line, letter, Some(&format!("NTLM {}", STANDARD.encode(answer)))).await?;
        line.sign_in(response.status() != StatusCode::UNAUTHORIZED);
        Ok(response)
    }

    /// Sends a letter over the connection that is open.
    async fn send_over(
        &self,
        line: &mut Line,
        letter: Letter<'_>,
        authorization: Option<&str>,
    ) -> Result<Response, DeliveryError> {
        self.ledger.count_request();
        let host = &letter.url[Position::BeforeHost..Position::AfterPort];
        let path = &letter.url[Position::BeforePath..Position::AfterQuery];
        let request = Request::post(path).header(HOST, host).header(CONTENT_TYPE, XML);
        let request = letter.headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = authorization.into_iter().fold(request, |request, value| request.header(AUTHORIZATION, value));
        let request = request.header(ACCEPT_ENCODING, UNCODED);
        let request = request.header(USER_AGENT, OUR_NAME).body(Full::from(letter.body.to_owned()));
        let request = request.map_err(|error| {
            DeliveryError::new(Cause::ProtocolViolation, Evidence::new(Stage::Prepare, &error.to_string()))
        })?;
        line.send(request, letter.stage, self.wait).await
    }

    fn answer(&self, token: &[u8], url: &Url, certificate: Option<&[u8]>) -> Result<Vec<u8>, DeliveryError> {
        let broken = |words| DeliveryError::new(Cause::ProtocolViolation, Evidence::new(Stage::SignIn, words));
        let mut nonce = [0; 8];
        let random = self.server.connector.crypto();
        random.secure_random.fill(&mut nonce).map_err(|_| broken("there are no random bytes"))?;
        let since_1970 = (self.server.clock)().timestamp_micros().saturating_mul(10);
        let filetime = u64::try_from(since_1970).unwrap_or_default().saturating_add(FILETIME_1970);
        let account = Account { username: &self.username, password: self.secret.expose() };
        let binding = Binding { host: url.host_str().unwrap_or_default(), certificate, nonce, filetime };
        authenticate(token, &account, &binding).ok_or_else(|| broken("the server's message is not an NTLM message"))
    }

    fn scheme(&self) -> &'static str {
        match self.authentication {
            Authentication::Ntlm => "NTLM",
            Authentication::ClientSecret | Authentication::ClientCertificate => "Bearer",
            Authentication::Password | Authentication::Xoauth2 => "Basic",
        }
    }

    fn not_offered(&self, headers: &HeaderMap) -> DeliveryError {
        let offered = offered(headers).join(", ");
        let offered = if offered.is_empty() { "no way to sign in" } else { &offered };
        let words = format!("the profile signs in by {}, and the server offers {offered}", self.scheme());
        DeliveryError::new(Cause::AuthenticationNotOffered, Evidence::new(Stage::SignIn, &words).with_code("401"))
    }

    /// What a refused sign-in means: the wrong way to sign in, or the wrong credentials.
    fn refused(&self, headers: &HeaderMap) -> DeliveryError {
        let offered = offered(headers);
        if !offered.is_empty() && !offered.iter().any(|scheme| scheme.eq_ignore_ascii_case(self.scheme())) {
            return self.not_offered(headers);
        }
        // Exchange says here why it refuses a token.
        let diagnostics = headers.get("x-ms-diagnostics").and_then(|words| words.to_str().ok());
        let evidence = Evidence::new(Stage::SignIn, diagnostics.unwrap_or("the server refuses the credentials"));
        let evidence = evidence.with_code("401").with_detail(Some(self.scheme()));
        DeliveryError::new(Cause::CredentialsRefused, evidence)
    }
}

impl std::fmt::Debug for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carrier").field("authentication", &self.authentication).finish_non_exhaustive()
    }
}

/// The schemes of the challenges of a reply (RFC 9110 section 11.6.1): one header may have several.
fn offered(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let schemes = |value| match http_auth::parse_challenges(value) {
        Ok(challenges) => challenges.into_iter().map(|challenge| challenge.scheme).collect(),
        // A challenge with a token, as NTLM's, cannot be read by that parser.
        Err(_) => value.split([' ', ',']).next().filter(|scheme| !scheme.is_empty()).into_iter().collect::<Vec<_>>(),
    };
    values.flat_map(schemes).collect()
}

/// The server's message of NTLM, if a reply has one.
fn challenge(headers: &HeaderMap) -> Option<Vec<u8>> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = values.flat_map(|value| value.split(',')).filter_map(|challenge| challenge.trim().split_once(' '));
    let (_, token) = tokens.find(|(scheme, _)| scheme.eq_ignore_ascii_case("NTLM"))?;
    STANDARD.decode(token.trim()).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn replied(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (WWW_AUTHENTICATE, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn challenges_are_read_from_one_header_and_from_several() {
        for values in
            [&["Negotiate, NTLM, Basic realm=\"mail, at home\""][..], &["Negotiate", "NTLM", "Basic realm=\"x\""]]
        {
            assert_eq!(offered(&replied(values)), ["Negotiate", "NTLM", "Basic"], "{values:?}");
        }
        assert_eq!(offered(&replied(&["NTLM TlRMTVNTUAACAAAA"])), ["NTLM"]);
        assert_eq!(offered(&replied(&[])), [""; 0]);
        for values in [&["NTLM AAEC"][..], &["Negotiate", "ntlm AAEC"], &["Negotiate AAAA, NTLM AAEC"]] {
            assert_eq!(challenge(&replied(values)), Some(vec![0, 1, 2]), "{values:?}");
        }
        assert_eq!(challenge(&replied(&["Negotiate, NTLM"])), None);
    }
}
