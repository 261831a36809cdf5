//! Requests to Microsoft Graph for one mailbox: with a token, with limits, and with a cause for every failure.

use std::{sync::Arc, time::Duration};

use mailrail_connect::{
    Failure, Refusal,
    application::{SignIn, Tokens},
    body, broken, retry_after,
};
use mailrail_domain::{
    Timestamp,
    settings::profile::Application,
    words::{
        cause::{Cause, DeliveryError},
        evidence::Stage,
    },
};
use mailrail_engine::ports::{Access, Ledger};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{ExchangeOnline, cause::of_graph};

/// The version of Graph that is used, as its paths begin.
pub(crate) const VERSION: &str = "/v1.0";
/// Longest reply that is no message, in bytes.
const JSON_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest error that is read, in bytes.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// Names of items that do not change when an item is moved (Microsoft Graph, "Immutable identifiers").
pub(crate) const IMMUTABLE_IDS: &str = "IdType=\"ImmutableId\"";
/// What stands in a segment of a path as it is (RFC 3986 section 2.3), and `$`, `=` and `@`, which are Graph's own.
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'$').remove(b'=').remove(b'@');
/// Times that a request is sent: once more with a new token when the kept one is refused.
const SENDS_MAX: usize = 2;

/// One mailbox of Exchange Online; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Mailbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sign_in: SignIn,
    tokens: Arc<Tokens>,
    address: String,
    ledger: Ledger,
}

/// The form of Graph's errors.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct ErrorReply {
    error: ErrorBody,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct ErrorBody {
    code: Option<String>,
    message: Option<String>,
}

/// Causes of refusals that name something missing, each with the stage that needs it.
const LACKS: [(Cause, Stage); 4] = [
    (Cause::SignInFailed, Stage::SignIn),
    (Cause::PermissionMissing, Stage::Consent),
    (Cause::MailboxNotFound, Stage::FindUser),
    (Cause::MailboxNotEnabled, Stage::Open),
];

/// A refusal from its parts, as a reply or a part of a batch has them. A refusal that names something missing is
/// reported at the stage that needs it.
pub(crate) fn refused(status: u16, reply: &Value, retry_after_seconds: Option<u32>) -> Refusal {
    let ErrorReply { error } = ErrorReply::deserialize(reply).unwrap_or_default();
    let words = error.message.unwrap_or_else(|| "the reply gives no reason".to_owned());
    let cause = of_graph(status, error.code.as_deref());
    let stage = LACKS.iter().find(|(lacks, _)| *lacks == cause).map(|(_, stage)| *stage);
    Refusal { cause, stage, status, code: error.code, words, retry_after_seconds }
}

impl Mailbox {
    pub(crate) fn new(online: &ExchangeOnline, application: &Application, access: &Access) -> Self {
        let sign_in = SignIn {
            http: online.http.clone(),
            crypto: Arc::clone(&online.crypto),
            login: online.hosts.login().origin(application.cloud),
            resource: online.hosts.graph(application.cloud),
            application: application.clone(),
            authentication: access.authentication,
            secret: access.secret.clone(),
            wait: access.timeout,
            clock: online.clock,
        };
        Self(Arc::new(Inner {
            sign_in,
            tokens: Arc::clone(&online.tokens),
            address: access.username.clone(),
            ledger: access.ledger.clone(),
        }))
    }

    /// Gets a token. For a test that is followed, it also asks for the mailbox, so that permission, user and mailbox
    /// show one by one. Otherwise the first request shows them.
    pub(crate) async fn open(&self, access: &Access) -> Result<(), DeliveryError> {
        access.progress.reach(Stage::SignIn);
        self.0.tokens.get(&self.0.sign_in).await?;
        if access.progress.is_noted() {
            access.progress.reach(Stage::Consent);
            let request = self.get(&self.path(&["mailFolders", "inbox"])).query(&[("$select", "id")]);
            let found = self.json::<Value>(request, Stage::Open).await;
            // One reply tells about three stages; the stages before the failed stage succeeded.
            let error = found.err().map(|failure| failure.into_error(Stage::Open));
            let stage = error.as_ref().map_or(Stage::Open, |error| error.evidence.stage);
            for reached in [Stage::FindUser, Stage::Open].into_iter().filter(|each| *each <= stage) {
                access.progress.reach(reached);
            }
            return error.map_or(Ok(()), Err);
        }
        Ok(())
    }

    /// The current time.
    pub(crate) fn now(&self) -> Timestamp {
        (self.0.sign_in.clock)()
    }

    /// Longest wait for a reply or a piece of it.
    pub(crate) fn wait(&self) -> Duration {
        self.0.sign_in.wait
    }

    /// The path of a resource of the mailbox; each segment may have any character.
    pub(crate) fn path(&self, segments: &[&str]) -> String {
        let mut path = format!("{VERSION}/users");
        for segment in [self.0.address.as_str()].iter().chain(segments) {
            path.push('/');
            path.extend(utf8_percent_encode(segment, SEGMENT));
        }
        path
    }

    /// A request for a path, which may have a query.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.0.sign_in.resource);
        self.0.sign_in.http.client.request(method, url).header("Prefer", IMMUTABLE_IDS)
    }

    /// A request that reads a path.
    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// Path and query of a link that the server gave. A link to another server is refused, because the token must not
    /// go there.
    pub(crate) fn path_of(&self, link: &str, stage: Stage) -> Result<String, Failure> {
        let ours = self.0.sign_in.resource.parse::<Url>().map(|url| url.origin());
        match link.parse::<Url>() {
            Ok(url) if Ok(url.origin()) == ours => Ok(match url.query() {
                Some(query) => format!("{}?{query}", url.path()),
                None => url.path().to_owned(),
            }),
            Ok(_) | Err(_) => Err(broken(stage, "a link of the reply leads to another host, and is not followed")),
        }
    }

    /// Sends a request with the mailbox's token and gives the reply if it is a success.
    pub(crate) async fn send(&self, request: RequestBuilder, stage: Stage) -> Result<Response, Failure> {
        let Inner { sign_in, tokens, ledger, .. } = &*self.0;
        let mut refusal = None;
        for _ in 0..SENDS_MAX {
            let token = tokens.get(sign_in).await.map_err(Failure::Broken)?;
            let Some(attempt) = request.try_clone() else {
                return Err(broken(stage, "a request cannot be repeated"));
            };
            ledger.count_request();
            let attempt = attempt.bearer_auth(token.expose());
            let mut response = sign_in.http.send(attempt, stage, sign_in.wait).await.map_err(Failure::Broken)?;
            if response.status().is_success() {
                return Ok(response);
            }
            let refused = self.refusal(&mut response, stage).await;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Err(Failure::Refused(refused));
            }
            // The token may have been revoked early. A new token shows whether it was.
            tokens.forget(sign_in, &token).await;
            refusal = Some(refused);
        }
        Err(refusal.map_or_else(|| broken(stage, "no request was sent"), Failure::Refused))
    }

    async fn refusal(&self, response: &mut Response, stage: Stage) -> Refusal {
        let wait = retry_after(response.headers(), (self.0.sign_in.clock)());
        let status = response.status().as_u16();
        // If the error cannot be read to its end, only its status is reported.
        let read = body(response, ERROR_BYTES_MAX, stage, self.wait()).await;
        let reply = read.ok().and_then(|(bytes, _)| serde_json::from_slice(&bytes).ok());
        refused(status, &reply.unwrap_or_default(), wait)
    }

    /// Sends a request and reads its reply as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder, stage: Stage) -> Result<T, Failure> {
        let mut response = self.send(request, stage).await?;
        let read = body(&mut response, JSON_BYTES_MAX, stage, self.wait()).await;
        let (bytes, is_whole) = read.map_err(Failure::Broken)?;
        if !is_whole {
            return Err(broken(stage, "the reply is longer than any that is asked for"));
        }
        serde_json::from_slice(&bytes).map_err(|error| broken(stage, &format!("the reply cannot be read: {error}")))
    }

    /// Sends a request whose reply does not matter.
    pub(crate) async fn done(&self, request: RequestBuilder, stage: Stage) -> Result<(), Failure> {
        self.send(request, stage).await.map(|_| ())
    }

    /// Sends bytes to an address that the server gave for them. The address itself carries the sign-in, so the token is
    /// not sent.
    pub(crate) async fn put_piece(&self, request: RequestBuilder, stage: Stage) -> Result<(), Failure> {
        let Inner { sign_in, ledger, .. } = &*self.0;
        ledger.count_request();
        let mut response = sign_in.http.send(request, stage, sign_in.wait).await.map_err(Failure::Broken)?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(Failure::Refused(self.refusal(&mut response, stage).await))
    }

    /// A request to an address outside of Graph, without the token.
    pub(crate) fn outside(&self, method: Method, url: &str) -> RequestBuilder {
        self.0.sign_in.http.client.request(method, url)
    }

    /// The identifier of the message with this Message-ID in a folder.
    pub(crate) async fn find(&self, folder: &str, message_id: &str) -> Result<Option<String>, DeliveryError> {
        let filter = format!("internetMessageId eq '<{}>'", message_id.replace('\'', "''"));
        let request = self.get(&self.path(&["mailFolders", folder, "messages"])).query(&[
            ("$filter", filter.as_str()),
            ("$select", "id"),
            ("$top", "1"),
        ]);
        let found: Value = self.json(request, Stage::Open).await.map_err(|failure| failure.into_error(Stage::Open))?;
        Ok(found.pointer("/value/0/id").and_then(Value::as_str).map(str::to_owned))
    }
}
