//! What the tests of both kinds of Exchange share: the other side of a mailbox, and a mailbox's way from its test to an
//! email that is answered.

use base64::{Engine, engine::general_purpose::STANDARD};
use end_to_end::world::trusting;
use mailrail_test_support::build::clock;
use reqwest::Method;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};

use super::{Client, Console, RUN, id, letter, stack, wait_for};

/// Somebody whom no other test, and no earlier run on the same servers, knows.
pub(super) fn person(name: &str, domain: &str) -> String {
    format!("{name}-{}@{domain}", clock().timestamp_micros())
}

/// A test server's mailboxes, to put mail into and to look into.
pub(super) struct OtherSide {
    http: Client,
    url: String,
}

impl OtherSide {
    pub(super) fn at(url: &str) -> Self {
        let authority = CertificateDer::from_pem_file(&stack().mail.ca_pem).expect("the local authority");
        let client = Client::builder().tls_backend_preconfigured(trusting([authority]).as_ref().clone());
        Self { http: client.build().expect("a client"), url: url.to_owned() }
    }

    fn folder(&self, address: &str, folder: &str) -> String {
        format!("{}/control/{address}/{folder}", self.url)
    }

    /// Puts a message into an inbox; an empty one only makes the mailbox.
    pub(super) async fn deliver(&self, address: &str, mime: Vec<u8>) {
        let sent = self.http.post(self.folder(address, "inbox")).body(mime).send().await;
        assert_eq!(sent.expect("the server answers").status(), 201);
    }

    async fn messages(&self, address: &str, folder: &str) -> Vec<String> {
        let found = self.http.get(self.folder(address, folder)).send().await.expect("the server answers");
        let found: Vec<String> = found.json().await.expect("a list");
        let decode = |mime: String| String::from_utf8_lossy(&STANDARD.decode(mime).expect("base64")).into_owned();
        found.into_iter().map(decode).collect()
    }
}

/// Has a mailbox tested and gives what it came to.
pub(super) async fn tested(console: &Console, mailbox: &str) -> Value {
    console.succeed(Method::POST, "/v1/mailboxes/test", &json!({ "mailbox_ids": [mailbox] }), 202).await;
    wait_for("the test as finished", RUN * 2, async || {
        let answer = console.json(Method::GET, &format!("/v1/mailboxes/{mailbox}/test"), &Value::Null).await;
        (answer.status == 200).then(|| answer.json()).filter(|test| test["phase"] == "finished")
    })
    .await
}

/// The stages of a delivery's test, all of which must have passed.
pub(super) fn passed_stages(test: &Value, delivery: usize) -> Vec<String> {
    let stages = test["deliveries"][delivery]["stages"].as_array().expect("stages");
    assert!(stages.iter().all(|stage| stage["status"] == "success"), "{test:#}");
    stages.iter().map(|stage| stage["stage"].as_str().expect("a stage").to_owned()).collect()
}

/// A message to the first becomes a record; its answer goes to the second, and a copy is in Sent Items.
pub(super) async fn reads_and_answers(
    console: &Console,
    server: &OtherSide,
    mailbox: &str,
    (first, second): (&str, &str),
) {
    let question = letter(mailbox, "question");
    server.deliver(first, question.raw()).await;
    let record = console.receive(mailbox, &question.subject).await;
    assert_eq!(record["message_id"], json!(question.message_id));
    let email =
        json!({ "mailbox_id": mailbox, "to": [second], "subject": "Answer", "text": "Text.", "answers": id(&record) });
    let draft = id(&console.create("/v1/emails", &email).await);
    console.succeed(Method::POST, &format!("/v1/emails/{draft}/send"), &Value::Null, 202).await;
    let sent = wait_for("the email as sent", RUN, async || {
        let email = console.get(&format!("/v1/emails/{draft}")).await;
        assert_ne!(email["status"], "failed", "{email}");
        (email["status"] == "sent").then_some(email)
    })
    .await;
    let message_id = sent["message_id"].as_str().expect("a Message-ID");
    for (who, folder) in [(second, "inbox"), (first, "sentitems")] {
        let messages = server.messages(who, folder).await;
        let found = messages.iter().find(|message| message.contains("Subject: Answer"));
        assert!(found.is_some_and(|message| message.contains(message_id)), "{folder} of {who}: {messages:?}");
    }
}
