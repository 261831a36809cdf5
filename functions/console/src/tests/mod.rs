//! The API over fakes, from the request to what stands in the stores.

mod administration;
mod conditions;
mod description;
mod imports;
mod pages;
mod wire;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, header},
};
use mailrail_engine::{Engine, Settings};
use mailrail_test_support::{
    build::moment,
    fakes::{MemoryPorts, MemoryServers},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{app::App, auth::digest, router::router};

/// The deployment's token.
const TOKEN: &str = "token";
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A console over fakes.
struct Console {
    engine: Arc<Engine<MemoryPorts<MemoryServers>>>,
    router: Router,
}

/// What the console answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    media_type: String,
    body: Vec<u8>,
}

impl Answer {
    /// The body, if the status is this.
    fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).unwrap() }
    }

    /// The problem, if the status is this and the field that.
    fn problem(&self, status: u16, field: Option<&str>) -> Value {
        let problem = self.json(status);
        assert_eq!(self.media_type, "application/problem+json");
        assert_eq!((&problem["status"], &problem["field"]), (&json!(status), &json!(field)), "{problem}");
        problem
    }
}

impl Console {
    fn new() -> Self {
        let ports = MemoryPorts::new(MemoryServers::default());
        let engine = Arc::new(Engine::new(ports, Settings::default(), || moment(0)));
        let app = App { engine: Arc::clone(&engine), token_sha256: digest(TOKEN).into() };
        Self { engine, router: router(app) }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let media_type = response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
        let body = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await.unwrap().to_vec();
        Answer { status, media_type: media_type.unwrap_or_default(), body }
    }

    /// Calls with a token, and a body of a media type.
    async fn call_as(&self, token: &str, method: Method, path: &str, media_type: &str, body: String) -> Answer {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, media_type);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    async fn json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.call_as(TOKEN, method, path, "application/json", body.to_string()).await
    }

    async fn get(&self, path: &str) -> Value {
        self.json(Method::GET, path, &Value::Null).await.json(200)
    }

    async fn create(&self, path: &str, body: &Value) -> Value {
        self.json(Method::POST, path, body).await.json(201)
    }

    /// A profile with servers for both directions; its id.
    async fn profile(&self) -> String {
        self.create("/v1/profiles", &profile()).await["id"].as_str().unwrap().to_owned()
    }

    /// A mailbox of a profile; its id.
    async fn mailbox(&self, profile: &str, address: &str) -> String {
        let mailbox = json!({ "name": "Sales", "address": address, "profile_id": profile, "password": "secret" });
        self.create("/v1/mailboxes", &mailbox).await["id"].as_str().unwrap().to_owned()
    }
}

fn profile() -> Value {
    let server = |port| json!({ "host": "mail.example.test", "port": port, "security": "tls" });
    let mut incoming = server(993);
    incoming["protocol"] = "imap".into();
    json!({ "name": "Office", "owner_address": "o@example.test", "incoming": incoming, "outgoing": server(465) })
}
