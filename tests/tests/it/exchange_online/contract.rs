//! Every request of ours and every reply of the test server, checked against Microsoft's own metadata by an independent
//! proxy between the two.

use std::{
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::Response,
};
use end_to_end::{
    letter::Letter,
    online::{Online, SECRET, address, profile, tenant},
    scripted::{Named, authorities, server_config},
    stack::{Contracts, stack},
    world::{Outbound, World, trusting},
};
use mailrail_domain::email::record::EmailStatus;
use mailrail_exchange_online::Hosts;
use mailrail_test_support::{graph::GraphServer, https::serve};
use tokio::net::TcpListener;

/// From starting the proxy until it listens.
const START: Duration = Duration::from_secs(90);
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// Type of the proxy's own errors.
const PRISM_ERROR: &str = "https://stoplight.io/prism/errors";
/// The one thing in which the contract, which was made from Microsoft's metadata, is not Microsoft's reference: an action
/// without a result answers 204 there, and "message: send" answers 202.
const OTHER_SUCCESS: &str = "Unable to match the returned status code with those defined in the document: 204,4XX";
/// Largest body that is passed on.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The contracts, or nothing, said plainly.
fn contracts() -> Option<&'static Contracts> {
    let contracts = stack().contracts.as_ref();
    if contracts.is_none() {
        println!("NOT RUN: the contract of Microsoft Graph is in ../shared, which is not beside this checkout");
    }
    contracts
}

/// The proxy, which ends with its test.
struct Prism {
    process: Child,
    port: u16,
}

impl Drop for Prism {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prism {
    /// Checks against `contract` what goes to `upstream` and comes back.
    async fn start(contracts: &Contracts, upstream: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let contract = contracts.folder.join("graph-openapi.json");
        let mut command = Command::new("node");
        command.arg(&contracts.prism).args(["proxy", "--errors", "--host", "127.0.0.1", "--port", &port.to_string()]);
        command.arg(contract).arg(upstream).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("node, which infra/local/test installs");
        let prism = Self { process, port };
        let listens = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        };
        tokio::time::timeout(START, listens).await.expect("the proxy listens");
        prism
    }
}

/// What passes the proxy: TLS for our client, and a note of everything that the proxy has against it.
#[derive(Clone)]
struct Front {
    client: reqwest::Client,
    prism: String,
    passed: Arc<Mutex<Vec<String>>>,
    against: Arc<Mutex<Vec<String>>>,
}

async fn pass_on(State(front): State<Front>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    // The contract's paths begin behind the version.
    let url = format!("{}{}", front.prism, path.strip_prefix("/v1.0").unwrap_or(path));
    let mut headers = parts.headers;
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    let body = to_bytes(body, BODY_BYTES_MAX).await.expect("a body");
    let sent = front.client.request(parts.method.clone(), url).headers(headers).body(body).send().await;
    let reply = sent.expect("the proxy answers");
    let (status, headers) = (reply.status(), reply.headers().clone());
    let content = reply.bytes().await.expect("a body");
    let note = |list: &Mutex<Vec<String>>, line: String| list.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    note(&front.passed, format!("{} {path}", parts.method));
    let text = String::from_utf8_lossy(&content);
    if path.ends_with("/send") && text.contains(PRISM_ERROR) && text.contains(OTHER_SUCCESS) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::ACCEPTED;
        return response;
    }
    if text.contains(PRISM_ERROR) {
        note(&front.against, format!("{} {path}: {text}", parts.method));
    }
    let mut response = Response::new(Body::from(content));
    *response.status_mut() = StatusCode::from_u16(status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    for name in [header::CONTENT_TYPE, header::RETRY_AFTER] {
        if let Some(value) = headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

#[tokio::test]
async fn every_request_and_every_reply_keeps_microsofts_contract() {
    let Some(contracts) = contracts() else { return };
    let server = GraphServer::start(tenant(), None, "localhost").await;
    let sign_in = format!("https://localhost:{}", server.also(Some(Arc::new(server_config(Named::Rightly)))).await);
    let prism = Prism::start(contracts, &format!("{}/v1.0", server.origin())).await;
    let front = Front {
        client: reqwest::Client::builder()
            .tls_backend_preconfigured(trusting(authorities()).as_ref().clone())
            .no_proxy()
            .build()
            .expect("a client"),
        prism: format!("http://127.0.0.1:{}", prism.port),
        passed: Arc::default(),
        against: Arc::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let graph = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    let router = Router::new().fallback(pass_on).with_state(front.clone());
    serve(listener, router, Some(Arc::new(server_config(Named::Rightly))));
    server.tenant().behind = Some(graph.clone());
    server.tenant().uploads_at = Some(sign_in.clone());

    let mut patient = profile();
    patient.delete_after_processing = true;
    patient.connection_timeout_seconds = 60;
    let world = World::with_exchange_online(trusting(authorities()), Hosts::At { login: sign_in, graph });
    let mut online = Online { world, server, profile: patient };
    online.put_profile(SECRET).await;
    let mailbox = online.mailbox("ada").await;
    let folder = online.server.tenant().mailbox(&address("ada")).add_folder("Projects", "inbox");
    for n in 0..12 {
        online.deliver("ada", &Letter::new(&format!("{n:02}")));
        online.deliver_to("ada", &folder, &Letter::new(&format!("in a folder {n:02}")));
    }
    assert_eq!(online.received(&mailbox).await.len(), 12);
    mailrail_test_support::build::exchange_online(&mut online.profile).tracked_folders = vec!["Projects".to_owned()];
    online.put_profile(SECRET).await;
    assert_eq!(online.received(&mailbox).await.len(), 24);
    online.receive(&mailbox).await;
    let bob = address("bob");
    online.server.tenant().mailbox(&bob);
    let small = online.world.pend(&mailbox, &Outbound { to: &[&bob], subject: "Small", ..Outbound::default() }).await;
    let large = super::outgoing::pend_large(&online, &mailbox, &[10_000, 4_000_000]).await;
    online.world.send(&mailbox).await;
    for id in [small, large] {
        assert_eq!(online.world.email(&id).await.status, EmailStatus::Sent);
    }
    online.server.tenant().mailboxes.remove(&address("ada"));
    online.world.run(&mailbox, super::INCOMING).await;
    assert!(!online.world.state(&mailbox, super::INCOMING).await.enabled, "an error passes as well");

    let list = |list: &Mutex<Vec<String>>| list.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (passed, against) = (list(&front.passed), list(&front.against));
    assert_eq!(against, Vec::<String>::new(), "of {} requests", passed.len());
    for part in [
        "/delta?changeType",
        "/$value",
        "/$batch",
        "/childFolders",
        "POST /v1.0/users/ada@online.test/messages",
        "/send",
        "createUploadSession",
        "/attachments?",
    ] {
        assert!(passed.iter().any(|line| line.contains(part)), "{part} was not seen: {passed:#?}");
    }
}
