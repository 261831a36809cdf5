//! Mailboxes of Exchange Online through the deployed functions, over TLS, from the profile to the sent email.

use base64::{Engine, engine::general_purpose::STANDARD};
use end_to_end::{
    online::{CLIENT, SECRET, TENANT},
    world::trusting,
};
use reqwest::Method;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};

use mailrail_test_support::build::clock;

use super::{Client, Console, RUN, changed, id, letter, stack, wait_for};
use crate::exchange_online::certificate_pem;

/// A person of the tenant whom no other test, and no earlier run on the same servers, knows.
fn person(name: &str) -> String {
    format!("{name}-{}@online.test", clock().timestamp_micros())
}

/// The other side: mailboxes of the tenant, to put mail into and to look into.
struct Tenant(Client);

impl Tenant {
    fn new() -> Self {
        let authority = CertificateDer::from_pem_file(&stack().mail.ca_pem).expect("the local authority");
        let client = Client::builder().tls_backend_preconfigured(trusting([authority]).as_ref().clone());
        Self(client.build().expect("a client"))
    }

    fn folder(address: &str, folder: &str) -> String {
        format!("{}/control/{address}/{folder}", stack().exchange_online.url)
    }

    /// Puts a message into an inbox; an empty one only makes the mailbox.
    async fn deliver(&self, address: &str, mime: Vec<u8>) {
        let sent = self.0.post(Self::folder(address, "inbox")).body(mime).send().await;
        assert_eq!(sent.expect("the tenant answers").status(), 201);
    }

    async fn messages(&self, address: &str, folder: &str) -> Vec<String> {
        let found = self.0.get(Self::folder(address, folder)).send().await.expect("the tenant answers");
        let found: Vec<String> = found.json().await.expect("a list");
        let decode = |mime: String| String::from_utf8_lossy(&STANDARD.decode(mime).expect("base64")).into_owned();
        found.into_iter().map(decode).collect()
    }
}

fn profile(changes: Value) -> Value {
    let fields = json!({
        "name": "Exchange Online",
        "owner_address": stack().mail.accounts.address,
        "server_type": "exchange-online",
        "autodiscover": true,
        "tenant_id": TENANT,
        "client_id": CLIENT,
        "credentials": "server-to-server",
        "authentication": "client-secret",
        "password": SECRET,
    });
    changed(fields, changes)
}

#[tokio::test]
async fn a_mailbox_of_exchange_online_is_approved_tested_read_and_sent_from() {
    let (console, tenant) = (Console::new(), Tenant::new());
    let (ada, bob) = (person("ada"), person("bob"));
    for one in [&ada, &bob] {
        tenant.deliver(one, Vec::new()).await;
    }
    let made = console.create("/v1/profiles", &profile(json!({}))).await;
    assert_eq!((&made["has_password"], &made["password"]), (&json!(true), &Value::Null));
    let profile = id(&made);
    let mailbox = json!({ "name": "Ada", "address": ada, "profile_id": profile });
    let mailbox = id(&console.create("/v1/mailboxes", &mailbox).await);
    let path = format!("/v1/mailboxes/{mailbox}");

    // The tenant's administrator has to approve; an administrator's approval alone does not do.
    let decide = async |verdict: &str| {
        let body = json!({ "mailbox_ids": [mailbox], "verdict": verdict });
        console.succeed(Method::POST, "/v1/mailboxes/approval", &body, 200).await
    };
    decide("approve").await;
    let enable = format!("{path}/deliveries/incoming-email/enable");
    console.json(Method::POST, &enable, &Value::Null).await.problem(409);
    decide("approve-for-tenant").await;

    console.succeed(Method::POST, "/v1/mailboxes/test", &json!({ "mailbox_ids": [mailbox] }), 202).await;
    let test = wait_for("the test as finished", RUN * 2, async || {
        let answer = console.json(Method::GET, &format!("{path}/test"), &Value::Null).await;
        (answer.status == 200).then(|| answer.json()).filter(|test| test["phase"] == "finished")
    })
    .await;
    let stages = |n: usize| -> Vec<String> {
        let stages = test["deliveries"][n]["stages"].as_array().expect("stages");
        assert!(stages.iter().all(|stage| stage["status"] == "success"), "{test:#}");
        stages.iter().map(|stage| stage["stage"].as_str().expect("a stage").to_owned()).collect()
    };
    assert_eq!(stages(0), ["sign-in", "consent", "find-user", "open", "list"]);
    assert_eq!(stages(1), ["sign-in", "consent", "find-user", "open", "envelope", "data", "arrive"]);

    let question = letter(&mailbox, "question");
    tenant.deliver(&ada, question.raw()).await;
    let record = console.receive(&mailbox, &question.subject).await;
    assert_eq!(record["message_id"], json!(question.message_id));

    let email =
        json!({ "mailbox_id": mailbox, "to": [bob], "subject": "Answer", "text": "Text.", "answers": id(&record) });
    let draft = id(&console.create("/v1/emails", &email).await);
    console.succeed(Method::POST, &format!("/v1/emails/{draft}/send"), &Value::Null, 202).await;
    let sent = wait_for("the email as sent", RUN, async || {
        let email = console.get(&format!("/v1/emails/{draft}")).await;
        assert_ne!(email["status"], "failed", "{email}");
        (email["status"] == "sent").then_some(email)
    })
    .await;
    let message_id = sent["message_id"].as_str().expect("a Message-ID");
    for (who, folder) in [(&bob, "inbox"), (&ada, "sentitems")] {
        let messages = tenant.messages(who, folder).await;
        let found = messages.iter().find(|message| message.contains("Subject: Answer"));
        assert!(found.is_some_and(|message| message.contains(message_id)), "{folder} of {who}: {messages:?}");
    }
    console.clear(&[&mailbox], &profile).await;
}

#[tokio::test]
async fn a_certificate_is_checked_when_it_is_saved_and_never_shown() {
    let console = Console::new();
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let key = include_str!("../exchange_online/rsa-key.pem");
    for (changes, field) in [
        (json!({ "password": null, "certificate": "no PEM", "authentication": "client-certificate" }), "certificate"),
        (json!({ "password": null, "certificate": pem, "authentication": "client-certificate" }), "certificate"),
        (json!({ "certificate": format!("{pem}{key}") }), "certificate"),
        (json!({ "client_id": "mailrail" }), "client_id"),
        (json!({ "cloud": "private" }), "cloud"),
        (json!({ "tracked_folders": ["a", "a"] }), "tracked_folders"),
    ] {
        let problem = console.json(Method::POST, "/v1/profiles", &profile(changes)).await.problem(422);
        assert_eq!(problem["field"], field, "{problem}");
        assert!(!problem.to_string().contains("PRIVATE KEY"), "{problem}");
    }
    let certificate = json!({
        "password": null, "authentication": "client-certificate",
        "certificate": format!("{}{key}", certificate_pem()),
    });
    let made = console.create("/v1/profiles", &profile(certificate)).await;
    assert_eq!((&made["has_password"], &made["certificate"]), (&json!(true), &Value::Null));
    console.delete(&format!("/v1/profiles/{}", id(&made))).await;
}
