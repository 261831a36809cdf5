//! An organization's Exchange Server with its Autodiscover, as a server: stateful, over TLS, and with the limits, the
//! refusals and the habits of the real one.
//!
//! It was written from Microsoft's reference. It reads requests with another parser than the client under test, and other
//! people's clients use it. It knows what a client of mail needs, and answers everything else as real servers do: HTTP 500
//! with a SOAP fault.

mod autodiscover;
mod operations;
mod state;

use std::sync::{Arc, Mutex, MutexGuard};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{HeaderMap, StatusCode, Version, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
pub use state::{Account, Answer, Call, Exchange, Fault, Kind, Mailbox, Message, Place, Sent};
use tokio::net::TcpListener;
use tokio_rustls::rustls::ServerConfig;

use crate::{build::clock, fakes::lock, graph::GraphServer, https::serve_with_redirections};

/// Largest request (EWS in Exchange: `maxRequestLength` of its web.config, 65,000 KB).
const REQUEST_BYTES_MAX: usize = 65_000 * 1024;

/// A running server; cheap to clone.
#[derive(Debug, Clone)]
pub struct EwsServer {
    exchange: Arc<Mutex<Exchange>>,
    port: u16,
    /// Who knows the tokens of applications, where the organization trusts Entra ID.
    entra: Option<GraphServer>,
}

impl EwsServer {
    /// A server of `exchange` at a port of this machine, a free one if it is 0. Tokens are those of `entra`.
    pub async fn start(exchange: Exchange, tls: Arc<ServerConfig>, port: u16, entra: Option<GraphServer>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let server = Self { exchange: Arc::new(Mutex::new(exchange)), port, entra };
        let redirecting = server.clone();
        let redirection = move |host: &str| redirecting.exchange().redirections.get(host).cloned();
        serve_with_redirections(listener, server.router(), tls, redirection);
        server
    }

    /// The organization, to look at and to change.
    pub fn exchange(&self) -> MutexGuard<'_, Exchange> {
        lock(&self.exchange)
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/EWS/Exchange.asmx", post(web_services).get(page))
            .route("/autodiscover/autodiscover.{kind}", any(autodiscover::answer))
            .layer(from_fn(Self::of_http1))
            .route("/control/{address}/{folder}", get(look_into).post(put_into))
            .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
            .with_state(self.clone())
    }

    /// Lets requests through as a server of Windows does that offers to sign in by NTLM: not over HTTP/2.
    async fn of_http1(request: Request, next: Next) -> Response {
        if request.version() == Version::HTTP_2 {
            return StatusCode::HTTP_VERSION_NOT_SUPPORTED.into_response();
        }
        next.run(request).await
    }

    /// The account of a request, or the reply that asks for one.
    fn account(&self, headers: &HeaderMap) -> Result<String, Box<Response>> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let exchange = self.exchange();
        let account = match given.split_once(' ') {
            Some(("Basic", pair)) if exchange.offers.contains(&"Basic") => exchange.by_password(pair),
            Some(("Bearer", token)) if exchange.offers.contains(&"Bearer") => {
                let entra = self.entra.as_ref();
                entra.and_then(|entra| entra.tenant().tokens.get(token).cloned())
            }
            _ => None,
        };
        account.ok_or_else(|| {
            let mut reply = StatusCode::UNAUTHORIZED.into_response();
            // That it takes tokens is said to who asks with one, be it empty.
            let is_asked = given.starts_with("Bearer");
            for scheme in exchange.offers.iter().filter(|scheme| **scheme != "Bearer" || is_asked) {
                let challenge = if *scheme == "Basic" { "Basic realm=\"exchange.test\"" } else { scheme };
                reply.headers_mut().append(header::WWW_AUTHENTICATE, challenge.parse().expect("a header"));
            }
            Box::new(reply)
        })
    }
}

/// What a browser gets.
async fn page(State(server): State<EwsServer>, headers: HeaderMap) -> Response {
    match server.account(&headers) {
        Ok(_) => (StatusCode::OK, "You have created a service.").into_response(),
        Err(reply) => *reply,
    }
}

async fn web_services(State(server): State<EwsServer>, headers: HeaderMap, body: Bytes) -> Response {
    let account = match server.account(&headers) {
        Ok(account) => account,
        Err(reply) => return *reply,
    };
    let closes = body.len() > server.exchange().closes_after_bytes;
    let mut response = operations::answer(&mut server.exchange(), &account, &headers, &body);
    if closes {
        response.headers_mut().insert(header::CONNECTION, "close".parse().expect("a header"));
    }
    response
}

/// For a test in another process: the messages of a folder, as MIME in base64.
async fn look_into(State(server): State<EwsServer>, Path((address, folder)): Path<(String, String)>) -> Response {
    let mut exchange = server.exchange();
    let messages = exchange.mailbox(&address).of_folder(&folder);
    let messages: Vec<String> = messages.iter().map(|message| STANDARD.encode(&message.mime)).collect();
    axum::Json(messages).into_response()
}

/// The same: puts a message into a folder, or only makes the mailbox if there is none.
async fn put_into(
    State(server): State<EwsServer>,
    Path((address, folder)): Path<(String, String)>,
    body: Bytes,
) -> StatusCode {
    let mut exchange = server.exchange();
    let mailbox = exchange.mailbox(&address);
    if !body.is_empty() {
        mailbox.deliver(&folder, &body, clock());
    }
    StatusCode::CREATED
}
