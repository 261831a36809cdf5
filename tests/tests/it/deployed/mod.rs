//! The deployed functions, through the console's API, against the real mail servers.

mod api;
mod approval;
mod configurations;
mod exchange;
mod exchange_online;
mod exchange_server;
mod imports;
mod mail;
mod quarantine;
mod testing;
mod trouble;

use std::time::Duration;

use end_to_end::{
    letter::Letter,
    stack::{Account, deployed_account, stack},
    world::trusting,
};
use reqwest::{
    Client, Method, RequestBuilder,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde_json::{Value, json};

/// The console answers within 30 s, or its gateway does.
const CALL: Duration = Duration::from_secs(35);
/// From waking a delivery until what it does can be seen, on a busy machine.
const RUN: Duration = Duration::from_secs(60);
/// Between two looks at the console.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// Pages of a list that are read.
const PAGES_MAX: usize = 100;
/// The media type of an error.
const PROBLEM: &str = "application/problem+json";

/// Looks, for so long at most, until there is something to be seen.
async fn wait_for<T>(what: &str, longest: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looks = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    tokio::time::timeout(longest, looks).await.unwrap_or_else(|_| panic!("{what} was not to be seen in {longest:?}"))
}

/// A client of the console.
struct Console {
    http: Client,
}

/// What the console answered.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn media_type(&self) -> &str {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The problem that is to be answered with this status.
    fn problem(&self, status: u16) -> Value {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!((self.status, self.media_type()), (status, PROBLEM), "{body}");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        for field in ["title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {problem}");
        }
        problem
    }
}

impl Console {
    fn new() -> Self {
        let trust = trusting([]).as_ref().clone();
        let client = Client::builder().tls_backend_preconfigured(trust).timeout(CALL).build();
        Self { http: client.expect("a client") }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", stack().console.url))
    }

    /// Calls as somebody who has the token, and checks that no password comes back.
    async fn call(&self, method: Method, path: &str, media_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        let request = self.request(method, path).bearer_auth(&stack().console.token);
        let answer = send(request.header(CONTENT_TYPE, media_type).body(body.into())).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!text.contains(secret()), "a password in the answer of {path}: {text}");
        answer
    }

    async fn json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.call(method, path, "application/json", body.to_string()).await
    }

    async fn succeed(&self, method: Method, path: &str, body: &Value, status: u16) -> Value {
        let answer = self.json(method, path, body).await;
        assert_eq!(answer.status, status, "{path}: {}", String::from_utf8_lossy(&answer.body));
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    async fn get(&self, path: &str) -> Value {
        self.succeed(Method::GET, path, &Value::Null, 200).await
    }

    async fn create(&self, path: &str, body: &Value) -> Value {
        self.succeed(Method::POST, path, body, 201).await
    }

    async fn patch(&self, path: &str, body: &Value) -> Value {
        self.succeed(Method::PATCH, path, body, 200).await
    }

    async fn delete(&self, path: &str) {
        self.succeed(Method::DELETE, path, &Value::Null, 204).await;
    }

    /// Every entry of a list that comes in pages; `path` has a query.
    async fn all(&self, path: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        for _ in 0..PAGES_MAX {
            let page = self.get(&format!("{path}{cursor}")).await;
            all.extend_from_slice(page["items"].as_array().expect("entries"));
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
        panic!("{path} has more than {PAGES_MAX} pages");
    }

    /// A profile of Dovecot and Postfix, with changes.
    async fn profile(&self, name: &str, changes: Value) -> String {
        id(&self.create("/v1/profiles", &profile(name, changes)).await)
    }

    /// A mailbox of an account, with changes. One that an earlier run on the same servers left gives way to it.
    async fn mailbox(&self, name: &str, account: &Account, profile: &str, changes: Value) -> String {
        let body = mailbox(name, account, profile, changes);
        let answer = self.json(Method::POST, "/v1/mailboxes", &body).await;
        if answer.status == 201 {
            return self.enabled(answer.json()).await;
        }
        let problem = answer.problem(422);
        let left =
            problem["detail"].as_str().and_then(|detail| detail.strip_prefix("the address belongs to the mailbox "));
        self.delete(&format!("/v1/mailboxes/{}", left.unwrap_or_else(|| panic!("{problem}")))).await;
        let created = self.create("/v1/mailboxes", &body).await;
        self.enabled(created).await
    }

    /// Approves a new mailbox and enables what is to be synchronized of it.
    async fn enabled(&self, mailbox: Value) -> String {
        let id = id(&mailbox);
        let approval = json!({ "mailbox_ids": [id], "verdict": "approve" });
        let approved = self.succeed(Method::POST, "/v1/mailboxes/approval", &approval, 200).await;
        assert_eq!(approved, json!({ "done": [id], "refused": [] }));
        for delivery in ["incoming-email", "outgoing-email"] {
            if mailbox[delivery.replace('-', "_")] == "server-side-synchronization" {
                let path = format!("/v1/mailboxes/{id}/deliveries/{delivery}/enable");
                self.succeed(Method::POST, &path, &Value::Null, 200).await;
            }
        }
        id
    }

    /// Runs a delivery now rather than within a minute.
    async fn run(&self, mailbox: &str, delivery: &str) {
        self.succeed(Method::POST, &format!("/v1/mailboxes/{mailbox}/deliveries/{delivery}/run"), &Value::Null, 202)
            .await;
    }

    /// Runs incoming email, and reads the record of this subject.
    async fn receive(&self, mailbox: &str, subject: &str) -> Value {
        self.run(mailbox, "incoming-email").await;
        self.record(mailbox, subject).await
    }

    /// The record of this subject, once it is there.
    async fn record(&self, mailbox: &str, subject: &str) -> Value {
        let summary = wait_for(subject, RUN, async || {
            let emails = self.all(&format!("/v1/mailboxes/{mailbox}/emails?limit=100")).await;
            emails.into_iter().find(|email| email["subject"] == subject)
        });
        let summary = summary.await;
        self.get(&format!("/v1/emails/{}", id(&summary))).await
    }

    async fn delivery(&self, mailbox: &str, delivery: &str) -> Value {
        self.get(&format!("/v1/mailboxes/{mailbox}")).await["deliveries"][delivery].clone()
    }

    async fn alerts(&self, mailbox: &str) -> Vec<Value> {
        self.all(&format!("/v1/alerts?mailbox_id={mailbox}")).await
    }

    /// Ends a test: nothing of it goes on being synchronized.
    async fn clear(&self, mailboxes: &[&str], profile: &str) {
        for mailbox in mailboxes {
            self.delete(&format!("/v1/mailboxes/{mailbox}")).await;
        }
        self.delete(&format!("/v1/profiles/{profile}")).await;
    }
}

async fn send(request: RequestBuilder) -> Answer {
    let answer = request.send().await.expect("the console answers");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, body: answer.bytes().await.expect("a whole answer").into() }
}

/// What every password of an account begins with, and nothing else does.
fn secret() -> &'static str {
    stack().mail.accounts.password.trim_end_matches(|c: char| c.is_ascii_digit())
}

fn id(record: &Value) -> String {
    record["id"].as_str().unwrap_or_else(|| panic!("no id: {record}")).to_owned()
}

/// The fields of a profile of Dovecot and Postfix.
fn profile(name: &str, changes: Value) -> Value {
    let mail = &stack().mail;
    let fields = json!({
        "name": name,
        "owner_address": mail.accounts.address,
        "incoming": { "protocol": "imap", "host": mail.host, "port": mail.imaps, "security": "tls" },
        "outgoing": { "host": mail.host, "port": mail.submission, "security": "starttls" },
    });
    changed(fields, changes)
}

/// The fields of a mailbox.
fn mailbox(name: &str, account: &Account, profile: &str, changes: Value) -> Value {
    let Account { address, password, .. } = account;
    changed(json!({ "name": name, "address": address, "profile_id": profile, "password": password }), changes)
}

/// `fields` with some of them replaced.
fn changed(mut fields: Value, changes: Value) -> Value {
    if let (Some(fields), Value::Object(changes)) = (fields.as_object_mut(), changes) {
        fields.extend(changes);
    }
    fields
}

/// A letter that no earlier run on the same servers delivered: no mailbox has the id of an earlier one.
fn letter(mailbox: &str, subject: &str) -> Letter {
    let mut letter = Letter::new(subject);
    letter.message_id = Some(format!("{subject}.{mailbox}@sender.test"));
    letter
}
