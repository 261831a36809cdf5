//! Access tokens by client credentials. A token is kept while it is valid, across the invocations of a warm function.
//!
//! Source: Microsoft identity platform, "OAuth 2.0 client credentials flow"; RFC 6749 section 4.4.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mailrail_domain::{
    Timestamp, seconds_after,
    settings::{profile::Application, profile::Authentication},
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::ports::Secret;
use rustls::crypto::CryptoProvider;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::{cause::of_sign_in, certificate::assertion};
use crate::{Http, body, retry_after};

/// A new token is fetched when the kept token is valid for no longer than this, in seconds.
const NEAR_EXPIRY_SECONDS: i64 = 300;
/// The assumed lifetime of a token that does not state its lifetime, in seconds.
const LIFETIME_SECONDS: u64 = 600;
/// The longest assumed lifetime of a token, in seconds: a day.
const LIFETIME_SECONDS_MAX: u64 = 86_400;
/// Most tokens that are kept. When one more is needed, all of them are forgotten and fetched again.
const TOKENS_MAX: usize = 1_000;
/// Longest reply to the sign-in, in bytes.
const REPLY_BYTES_MAX: usize = 256 * 1024;
/// What an application asks for: everything that it was granted.
const SCOPE: &str = "/.default";

/// Whose token it is: origin of sign-in, resource, application, and a digest of the credentials, so that new
/// credentials cause a new sign-in.
type Key = (String, String, Application, [u8; 32]);

/// A token and the time until which it is used.
#[derive(Debug, Clone)]
struct Held {
    token: Arc<Secret>,
    until: Timestamp,
}

/// The tokens of all applications. When many mailboxes need the same token at once, only one of them signs in.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<HashMap<Key, Arc<Mutex<Option<Held>>>>>);

/// Everything that a sign-in needs.
#[derive(Debug)]
pub struct SignIn {
    /// How Entra ID is reached.
    pub http: Http,
    /// What signs an assertion.
    pub crypto: Arc<CryptoProvider>,
    /// The origin of sign-in.
    pub login: String,
    /// The resource that the token is for, as an origin.
    pub resource: String,
    /// Whose token it is.
    pub application: Application,
    /// By secret or by certificate.
    pub authentication: Authentication,
    /// The secret, or the certificate with its key as PEM.
    pub secret: Secret,
    /// Longest wait for a reply.
    pub wait: Duration,
    /// The clock.
    pub clock: fn() -> Timestamp,
}

/// The reply to the sign-in, a success or a refusal.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Reply {
    access_token: Option<String>,
    expires_in: Value,
    error: Option<String>,
    error_description: Option<String>,
    error_codes: Vec<u64>,
}

impl Tokens {
    /// The token of an application: the kept token while it is valid, else a new token.
    pub async fn get(&self, sign_in: &SignIn) -> Result<Arc<Secret>, DeliveryError> {
        let place = self.place(sign_in).await;
        let mut held = place.lock().await;
        let now = (sign_in.clock)();
        if let Some(Held { token, until }) = held.as_ref()
            && now < *until
        {
            return Ok(Arc::clone(token));
        }
        let fresh = sign_in.sign_in().await?;
        let token = Arc::clone(&fresh.token);
        *held = Some(fresh);
        Ok(token)
    }

    /// Forgets a token that was refused, unless another has taken its place.
    pub async fn forget(&self, sign_in: &SignIn, refused: &Arc<Secret>) {
        let place = self.place(sign_in).await;
        let mut held = place.lock().await;
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(&held.token, refused)) {
            *held = None;
        }
    }

    async fn place(&self, sign_in: &SignIn) -> Arc<Mutex<Option<Held>>> {
        let digest = Sha256::digest(sign_in.secret.expose().as_bytes()).into();
        let key = (sign_in.login.clone(), sign_in.resource.clone(), sign_in.application.clone(), digest);
        let mut places = self.0.lock().await;
        if places.len() >= TOKENS_MAX && !places.contains_key(&key) {
            places.clear();
        }
        Arc::clone(places.entry(key).or_default())
    }
}

impl SignIn {
    async fn sign_in(&self) -> Result<Held, DeliveryError> {
        let Application { tenant_id, client_id, .. } = &self.application;
        let endpoint = format!("{}/{tenant_id}/oauth2/v2.0/token", self.login);
        let scope = format!("{}{SCOPE}", self.resource);
        let mut form =
            vec![("grant_type", "client_credentials".to_owned()), ("client_id", client_id.clone()), ("scope", scope)];
        match self.authentication {
            Authentication::ClientCertificate => {
                let now = (self.clock)();
                let assertion = assertion(self.secret.expose(), &self.crypto, client_id, &endpoint, now)?;
                form.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".into()));
                form.push(("client_assertion", assertion));
            }
            // A profile with an application has no third way to sign in; see `rules/support` of the domain.
            Authentication::ClientSecret
            | Authentication::Password
            | Authentication::Ntlm
            | Authentication::Xoauth2 => {
                form.push(("client_secret", self.secret.expose().to_owned()));
            }
        }
        let request = self.http.client.post(&endpoint).form(&form);
        let mut response = self.http.send(request, Stage::SignIn, self.wait).await?;
        let status = response.status().as_u16();
        let wait = retry_after(response.headers(), (self.clock)());
        let (bytes, _) = body(&mut response, REPLY_BYTES_MAX, Stage::SignIn, self.wait).await?;
        let reply = serde_json::from_slice::<Reply>(&bytes);
        match reply {
            Ok(Reply { access_token: Some(token), expires_in, .. }) if status == 200 && is_token(&token) => {
                let lifetime = lifetime(&expires_in).saturating_sub(NEAR_EXPIRY_SECONDS);
                let until = seconds_after((self.clock)(), lifetime);
                Ok(Held { token: Arc::new(Secret::new(token)), until })
            }
            _ if status == 200 => {
                let evidence = Evidence::new(Stage::SignIn, "the reply to the sign-in has no token").with_code("200");
                Err(DeliveryError::new(Cause::ProtocolViolation, evidence))
            }
            reply => {
                let reply = reply.unwrap_or_default();
                let words = reply.error_description.as_deref().unwrap_or("the reply to the sign-in gives no reason");
                let evidence = Evidence::new(Stage::SignIn, words).with_code(status.to_string());
                let cause = of_sign_in(status, reply.error.as_deref(), &reply.error_codes);
                let error = DeliveryError::new(cause, evidence.with_detail(reply.error));
                Err(DeliveryError { retry_after_seconds: wait, ..error })
            }
        }
    }
}

/// Whether the token can stand in a header.
fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The seconds for which a token is valid; some servers send them as text.
fn lifetime(expires_in: &Value) -> i64 {
    let seconds = match expires_in {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    i64::try_from(seconds.unwrap_or(LIFETIME_SECONDS).min(LIFETIME_SECONDS_MAX)).unwrap_or_default()
}
