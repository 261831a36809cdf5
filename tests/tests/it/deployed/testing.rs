//! Test & Enable through the deployed functions.

use std::time::Duration;

use end_to_end::stack::Account;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Console, deployed_account, wait_for};

/// A test sends itself a message and waits for it.
const TEST: Duration = Duration::from_secs(120);
const NOBODY: &str = "01900000-0000-7000-8000-000000000000";

/// A mailbox as it is created: approved, and tested by nobody.
async fn untested(console: &Console, name: &str, account: &Account, profile: &str, changes: Value) -> String {
    let id =
        console.mailbox(name, account, profile, json!({ "incoming_email": "none", "outgoing_email": "none" })).await;
    console.patch(&format!("/v1/mailboxes/{id}"), &changes).await;
    id
}

async fn finished(console: &Console, mailbox: &str) -> Value {
    wait_for("the test as finished", TEST, async || {
        let answer = console.json(Method::GET, &format!("/v1/mailboxes/{mailbox}/test"), &Value::Null).await;
        (answer.status == 200).then(|| answer.json()).filter(|test| test["phase"] == "finished")
    })
    .await
}

fn both() -> Value {
    let synchronized = "server-side-synchronization";
    json!({ "incoming_email": synchronized, "outgoing_email": synchronized })
}

#[tokio::test]
async fn mailboxes_are_tested_and_exactly_what_passed_is_enabled() {
    let console = Console::new();
    let (good, bad) = (deployed_account(), deployed_account());
    let profile = console.profile("Of tests", json!({ "owner_address": good.address })).await;
    let works = untested(&console, "Works", &good, &profile, both()).await;
    let mut wrong = both();
    wrong["password"] = json!(format!("not {}", bad.password));
    let fails = untested(&console, "Fails", &bad, &profile, wrong).await;
    console.json(Method::GET, &format!("/v1/mailboxes/{works}/test"), &Value::Null).await.problem(404);

    let ask = json!({ "mailbox_ids": [works, NOBODY, fails, works] });
    let asked = console.succeed(Method::POST, "/v1/mailboxes/test", &ask, 202).await;
    assert_eq!(asked["done"], json!([works, fails]));
    let refused: Vec<_> = asked["refused"].as_array().expect("a list").iter().map(|one| &one["id"]).collect();
    assert_eq!(refused, [&json!(NOBODY), &json!(works)], "{asked}");

    let test = finished(&console, &works).await;
    assert_eq!(test["requested_by"], "deployment");
    for part in test["deliveries"].as_array().expect("deliveries") {
        assert_eq!(part["status"], "success", "{test:#}");
        let stages = part["stages"].as_array().expect("stages");
        assert!(stages.len() >= 7 && stages.iter().all(|stage| stage["milliseconds"].is_u64()), "{test:#}");
    }
    for delivery in ["incoming-email", "outgoing-email"] {
        let state = console.delivery(&works, delivery).await;
        assert_eq!((&state["enabled"], &state["status"]), (&json!(true), &json!("success")));
    }
    let test = finished(&console, &fails).await;
    for part in test["deliveries"].as_array().expect("deliveries") {
        assert_eq!((&part["status"], &part["cause"]), (&json!("failure"), &json!("credentials-refused")), "{test:#}");
    }
    assert_eq!(console.delivery(&fails, "incoming-email").await["enabled"], false);
    assert_eq!(console.alerts(&fails).await.len(), 2);
    console.clear(&[&works, &fails], &profile).await;
}

#[tokio::test]
async fn a_whole_profile_is_tested() {
    let console = Console::new();
    let profile = console.profile("Tested whole", json!({})).await;
    let incoming = json!({ "incoming_email": "server-side-synchronization" });
    let mut ids = Vec::new();
    for name in ["One", "Two"] {
        ids.push(untested(&console, name, &deployed_account(), &profile, incoming.clone()).await);
    }
    let asked = console.succeed(Method::POST, "/v1/mailboxes/test", &json!({ "profile_id": profile }), 202).await;
    assert_eq!(asked["profile_id"], json!(profile));
    for id in &ids {
        finished(&console, id).await;
        assert_eq!(console.delivery(id, "incoming-email").await["enabled"], true);
    }
    console.clear(&[&ids[0], &ids[1]], &profile).await;
}

#[tokio::test]
async fn what_cannot_be_tested_is_refused_with_its_reason() {
    let console = Console::new();
    let account = deployed_account();
    let profile = console.profile("Of no tests", json!({})).await;
    let none = json!({ "incoming_email": "none", "outgoing_email": "none" });
    let idle = console.mailbox("Idle", &account, &profile, none).await;
    let asked = console.succeed(Method::POST, "/v1/mailboxes/test", &json!({ "mailbox_ids": [idle] }), 202).await;
    assert!(asked["refused"][0]["detail"].as_str().expect("a reason").contains("no delivery to test"), "{asked}");
    for body in [json!({}), json!({ "mailbox_ids": [idle], "profile_id": profile }), json!({ "mailbox_ids": [] })] {
        let problem = console.json(Method::POST, "/v1/mailboxes/test", &body).await.problem(422);
        assert_eq!(problem["field"], "mailbox_ids", "{body}");
    }
    let unknown = json!({ "profile_id": NOBODY });
    console.json(Method::POST, "/v1/mailboxes/test", &unknown).await.problem(404);
    console.clear(&[&idle], &profile).await;
}
