//! HTTP requests with whatever signs them in: Basic, NTLM, or the token of an application.
//!
//! Sources: RFC 7617 (Basic); MS-NTHT and RFC 4559 for NTLM, which signs in a connection rather than a request; RFC 6750
//! (tokens); "Authentication and EWS in Exchange".

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mailrail_connect::{
    Failure, Http, Refusal,
    application::{SignIn, Tokens},
    body, retry_after,
};
use mailrail_domain::{
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
    profile::{Application, Authentication},
};
use mailrail_engine::ports::{Access, Secret};
use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE},
    tls::TlsInfo,
};

use crate::{
    ExchangeServer,
    ntlm::{Account, Binding, authenticate, negotiate},
    reply::refusal,
};

/// What is sent.
const XML: &str = "text/xml; charset=utf-8";
/// Longest error page that is read to its end, so that the connection can be used again.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// 100 ns between 1601, where Windows' time begins, and 1970.
const FILETIME_1970: u64 = 116_444_736_000_000_000;

/// Signs requests in for one account.
pub(crate) struct Carrier {
    server: ExchangeServer,
    http: Http,
    username: String,
    secret: Secret,
    authentication: Authentication,
    application: Option<Application>,
    wait: Duration,
    requests: AtomicU32,
    /// Whether the connection has been signed in, by NTLM.
    is_signed_in: AtomicBool,
}

/// A request but for what signs it in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Letter<'a> {
    pub url: &'a Url,
    pub headers: &'a [(&'static str, &'a str)],
    pub body: &'a str,
    pub stage: Stage,
}

impl Carrier {
    pub fn new(
        server: &ExchangeServer,
        access: &Access,
        application: Option<Application>,
    ) -> Result<Self, DeliveryError> {
        let http = match access.authentication {
            // NTLM signs in a connection, which nobody else may have then.
            Authentication::Ntlm => Http::alone(&server.connector).map_err(|error| {
                let evidence = Evidence::new(Stage::Prepare, &error.to_string());
                DeliveryError::new(Cause::HandshakeFailed, evidence)
            })?,
            Authentication::Password
            | Authentication::Xoauth2
            | Authentication::ClientSecret
            | Authentication::ClientCertificate => server.http.clone(),
        };
        Ok(Self {
            server: server.clone(),
            http,
            username: access.username.clone(),
            secret: access.secret.clone(),
            authentication: access.authentication,
            application,
            wait: access.timeout,
            requests: AtomicU32::new(0),
            is_signed_in: AtomicBool::new(false),
        })
    }

    /// The server and how it is reached.
    pub const fn server(&self) -> &ExchangeServer {
        &self.server
    }

    /// Longest wait for a reply or a piece of it.
    pub const fn wait(&self) -> Duration {
        self.wait
    }

    /// Requests that were made so far.
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Asks for a page without signing in, which shows that the server is there and that its certificate holds.
    pub async fn knock(&self, url: &Url, stage: Stage) -> Result<StatusCode, DeliveryError> {
        let mut response = self.send(self.http.client.request(Method::GET, url.clone()), stage).await?;
        self.drain(&mut response, stage).await;
        Ok(response.status())
    }

    /// Sends a letter without signing in, and gives the reply whatever it is.
    pub async fn post_unsigned(&self, letter: Letter<'_>) -> Result<Response, DeliveryError> {
        self.send(self.request(letter), letter.stage).await
    }

    /// Whether a reply that refuses a request offers the way to sign in that the profile has.
    pub fn is_offered(&self, response: &Response) -> bool {
        let offered = offered(response.headers());
        offered.iter().any(|scheme| scheme.eq_ignore_ascii_case(self.scheme()))
    }

    /// Sends a letter, signed in, and gives the reply unless the sign-in is refused.
    pub async fn post(&self, letter: Letter<'_>) -> Result<Response, Failure> {
        let sent = match (self.authentication, &self.application) {
            (Authentication::Ntlm, _) => self.post_ntlm(letter).await,
            (_, Some(application)) => self.post_token(letter, application).await,
            (_, None) => {
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
        let request = self.http.client.post(letter.url.clone()).header(CONTENT_TYPE, XML);
        let request = letter.headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(letter.body.to_owned())
    }

    async fn send(&self, request: RequestBuilder, stage: Stage) -> Result<Response, DeliveryError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.http.send(request, stage, self.wait).await
    }

    /// Reads what nobody needs, so that the connection is free again. What cannot be read shows at the next request.
    async fn drain(&self, response: &mut Response, stage: Stage) {
        let _ = body(response, ERROR_BYTES_MAX, stage, self.wait).await;
    }

    /// The refusal that a reply with an error status is, without a document.
    pub fn refusal(&self, response: &Response) -> Refusal {
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
            // It may have been taken back before its time: a new one shows.
            self.drain(&mut response, letter.stage).await;
            tokens.forget(&sign_in, &token).await;
            let token = tokens.get(&sign_in).await?;
            response = self.send(self.request(letter).bearer_auth(token.expose()), letter.stage).await?;
        }
        Ok(response)
    }

    async fn post_ntlm(&self, letter: Letter<'_>) -> Result<Response, DeliveryError> {
        if self.is_signed_in.load(Ordering::Relaxed) {
            let mut response = self.send(self.request(letter), letter.stage).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            // It is another connection: the server has closed the one that was signed in.
            self.drain(&mut response, letter.stage).await;
        }
        let hello = format!("NTLM {}", STANDARD.encode(negotiate()));
        let request =
            self.http.client.post(letter.url.clone()).header(AUTHORIZATION, hello).header(CONTENT_LENGTH, "0");
        let mut response = self.send(request, Stage::SignIn).await?;
        let token = challenge(response.headers());
        if response.status() != StatusCode::UNAUTHORIZED {
            return match response.status().as_u16() {
                500.. => Ok(response),
                // It does not want to know who we are, and may yet take the request.
                _ => self.send(self.request(letter), letter.stage).await,
            };
        }
        let Some(token) = token else {
            return Err(self.not_offered(response.headers()));
        };
        let is_closing = response.headers().get(CONNECTION).is_some_and(|value| value.as_bytes() == b"close");
        let certificate =
            response.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate).map(<[u8]>::to_vec);
        self.drain(&mut response, Stage::SignIn).await;
        if is_closing {
            let evidence = Evidence::new(Stage::SignIn, "the server closes the connection in the middle of a sign-in");
            return Err(DeliveryError::new(Cause::ConnectionLost, evidence));
        }
        let answer = self.answer(&token, letter.url, certificate.as_deref())?;
        let request = self.request(letter).header(AUTHORIZATION, format!("NTLM {}", STANDARD.encode(answer)));
        let response = self.send(request, letter.stage).await?;
        self.is_signed_in.store(response.status() != StatusCode::UNAUTHORIZED, Ordering::Relaxed);
        Ok(response)
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
        authenticate(token, &account, &binding).ok_or_else(|| broken("the server's message is none of NTLM"))
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

    /// What a refused sign-in is: the wrong way, or the wrong credentials.
    fn refused(&self, headers: &HeaderMap) -> DeliveryError {
        let offered = offered(headers);
        if !offered.is_empty() && !offered.iter().any(|scheme| scheme.eq_ignore_ascii_case(self.scheme())) {
            return self.not_offered(headers);
        }
        // Exchange says here what it has against a token.
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

/// The schemes of the challenges of a reply (RFC 9110 section 11.6.1), one for each header as servers of Exchange send
/// them.
fn offered(headers: &HeaderMap) -> Vec<&str> {
    let challenges = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    challenges.filter_map(|challenge| challenge.split([' ', ',']).next()).filter(|scheme| !scheme.is_empty()).collect()
}

/// The server's message of NTLM, if a reply has one.
fn challenge(headers: &HeaderMap) -> Option<Vec<u8>> {
    let challenges = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = challenges.filter_map(|challenge| challenge.split_once(' '));
    let (_, token) = tokens.find(|(scheme, _)| scheme.eq_ignore_ascii_case("NTLM"))?;
    STANDARD.decode(token.trim()).ok()
}
