//! Approval of addresses, roles, two administrators at once, and the audit, through the deployed console.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Console, RUN, deployed_account, id, letter, mailbox, send, wait_for};

const NOBODY: &str = "01900000-0000-7000-8000-000000000000";

/// Calls as the holder of a token.
async fn call_as(console: &Console, token: &str, method: Method, path: &str, body: &Value) -> Answer {
    let request = console.request(method, path).bearer_auth(token).header("Content-Type", "application/json");
    send(request.body(body.to_string())).await
}

async fn token(console: &Console, name: &str, role: &str) -> (String, String) {
    let made = console.create("/v1/api-tokens", &json!({ "name": name, "role": role })).await;
    (made["token"].as_str().expect("a token").to_owned(), id(&made))
}

async fn decide(console: &Console, ids: &[&str], verdict: &str) -> Value {
    let body = json!({ "mailbox_ids": ids, "verdict": verdict });
    console.succeed(Method::POST, "/v1/mailboxes/approval", &body, 200).await
}

#[tokio::test]
async fn email_of_an_address_that_nobody_approved_is_not_processed() {
    let console = Console::new();
    let account = deployed_account();
    let profile = console.profile("Of an unapproved", json!({ "owner_address": deployed_account().address })).await;
    let changes = json!({ "outgoing_email": "none" });
    // The helper approves and enables; rejecting takes that back.
    let mailbox = console.mailbox("Unapproved", &account, &profile, changes).await;
    let path = format!("/v1/mailboxes/{mailbox}");
    assert_eq!(console.get(&path).await["approval"]["state"], "approved");
    assert_eq!(console.get(&path).await["approval"]["decided"]["by"], "deployment");
    decide(&console, &[&mailbox], "reject").await;
    account.deliver(&letter(&mailbox, "not to be seen"));
    console.run(&mailbox, "incoming-email").await;
    wait_for("the delivery as disabled", RUN, async || {
        (console.delivery(&mailbox, "incoming-email").await["enabled"] == false).then_some(())
    })
    .await;
    let alerts = console.alerts(&mailbox).await;
    let kinds: Vec<_> = alerts.iter().map(|alert| (&alert["kind"], &alert["status"])).collect();
    assert_eq!(kinds, [(&json!("address-not-approved"), &json!("open"))], "{alerts:#?}");
    assert!(alerts[0]["text"].as_str().expect("a text").contains("is not approved"), "{alerts:#?}");
    let emails = console.all(&format!("{path}/emails?limit=100")).await;
    assert!(emails.iter().all(|email| email["subject"] != "not to be seen"), "{emails:?}");
    let enable = format!("{path}/deliveries/incoming-email/enable");
    let problem = console.json(Method::POST, &enable, &Value::Null).await.problem(409);
    assert!(problem["remedy"].as_str().expect("a remedy").contains("Approve"), "{problem}");

    decide(&console, &[&mailbox], "approve").await;
    console.succeed(Method::POST, &enable, &Value::Null, 200).await;
    console.record(&mailbox, "not to be seen").await;
    assert!(console.alerts(&mailbox).await.iter().all(|alert| alert["status"] == "closed"));
    console.clear(&[&mailbox], &profile).await;
}

#[tokio::test]
async fn another_address_waits_for_approval_and_stops_every_delivery() {
    let console = Console::new();
    let (first, second) = (deployed_account(), deployed_account());
    let profile = console.profile("Of a changed address", json!({})).await;
    let mailbox = console.mailbox("Moving", &first, &profile, json!({})).await;
    let path = format!("/v1/mailboxes/{mailbox}");
    let same = console.patch(&path, &json!({ "address": first.address.to_uppercase() })).await;
    assert_eq!(same["approval"]["state"], "approved", "another spelling is the same address");
    assert_eq!(same["deliveries"]["incoming-email"]["enabled"], true, "{same}");
    let moved = console.patch(&path, &json!({ "address": second.address })).await;
    assert_eq!(moved["approval"], json!({ "state": "pending-approval" }));
    for delivery in ["incoming-email", "outgoing-email"] {
        assert_eq!(moved["deliveries"][delivery]["enabled"], false, "{moved}");
    }
    let none = json!({ "address": null, "incoming_email": "none", "outgoing_email": "none" });
    assert_eq!(console.patch(&path, &none).await["approval"]["state"], "empty");
    let refused = decide(&console, &[&mailbox], "approve").await;
    assert!(refused["refused"][0]["detail"].as_str().expect("a reason").contains("no address"), "{refused}");
    console.clear(&[&mailbox], &profile).await;
}

#[tokio::test]
async fn of_many_addresses_those_that_can_be_approved_are_and_the_others_are_reported() {
    let console = Console::new();
    let profile = console.profile("Of many", json!({})).await;
    let none = json!({ "incoming_email": "none", "outgoing_email": "none" });
    let mut ids = Vec::new();
    for name in ["One", "Two"] {
        ids.push(console.mailbox(name, &deployed_account(), &profile, none.clone()).await);
    }
    let given = [&*ids[0], NOBODY, &*ids[1], "no id!", &*ids[0]];
    let answer = decide(&console, &given, "reject").await;
    assert_eq!(answer["done"], json!(ids));
    let refused: Vec<&str> =
        answer["refused"].as_array().expect("a list").iter().filter_map(|refused| refused["id"].as_str()).collect();
    assert_eq!(refused, [NOBODY, "no id!", &ids[0]], "{answer}");
    for id in &ids {
        assert_eq!(console.get(&format!("/v1/mailboxes/{id}")).await["approval"]["state"], "rejected");
    }
    let body = json!({ "mailbox_ids": [], "verdict": "approve" });
    let problem = console.json(Method::POST, "/v1/mailboxes/approval", &body).await.problem(422);
    assert_eq!(problem["field"], "mailbox_ids");
    console.clear(&[&ids[0], &ids[1]], &profile).await;
}

#[tokio::test]
async fn what_is_beyond_a_role_is_refused_and_named() {
    let console = Console::new();
    let profile = console.profile("Of roles", json!({})).await;
    let none = json!({ "incoming_email": "none", "outgoing_email": "none" });
    let mailbox = console.mailbox("Of roles", &deployed_account(), &profile, none).await;
    let (reader, reader_id) = token(&console, "Auditor", "reader").await;
    let (administrator, administrator_id) = token(&console, "Ann", "administrator").await;

    assert_eq!(call_as(&console, &reader, Method::GET, "/v1/mailboxes", &Value::Null).await.status, 200);
    let approve = json!({ "mailbox_ids": [mailbox], "verdict": "approve" });
    for (method, path, body) in [
        (Method::POST, "/v1/mailboxes/approval", &approve),
        (Method::DELETE, "/v1/profiles/x", &Value::Null),
        (Method::PATCH, "/v1/organization", &json!({})),
        (Method::POST, "/v1/api-tokens", &json!({ "name": "More", "role": "reader" })),
    ] {
        let problem = call_as(&console, &reader, method, path, body).await.problem(403);
        let detail = problem["detail"].as_str().expect("a text");
        assert!(
            detail.contains("role administrator") && detail.contains("\"Auditor\" has the role reader"),
            "{detail}"
        );
    }
    let answer = call_as(&console, &administrator, Method::POST, "/v1/mailboxes/approval", &approve).await;
    assert_eq!(answer.status, 200);
    let decided = &console.get(&format!("/v1/mailboxes/{mailbox}")).await["approval"]["decided"];
    assert_eq!(decided["by"], "Ann", "who decided is recorded");
    for (path, body) in [
        ("/v1/mailboxes/approval", json!({ "mailbox_ids": [mailbox], "verdict": "approve-for-tenant" })),
        ("/v1/api-tokens", json!({ "name": "Higher", "role": "tenant-administrator" })),
    ] {
        let problem = call_as(&console, &administrator, Method::POST, path, &body).await.problem(403);
        assert!(problem["detail"].as_str().expect("a text").contains("role tenant-administrator"), "{problem}");
    }

    let listed = console.all("/v1/api-tokens?limit=100").await;
    assert!(listed.iter().any(|token| token["name"] == "Auditor" && token["token"].is_null()), "{listed:?}");
    for token in [&reader_id, &administrator_id] {
        console.delete(&format!("/v1/api-tokens/{token}")).await;
    }
    call_as(&console, &reader, Method::GET, "/v1/mailboxes", &Value::Null).await.problem(401);
    console.json(Method::DELETE, &format!("/v1/api-tokens/{reader_id}"), &Value::Null).await.problem(404);
    console.clear(&[&mailbox], &profile).await;
}

#[tokio::test]
async fn of_two_administrators_the_second_gets_a_conflict_and_nothing_is_overwritten() {
    let console = Console::new();
    let profile = console.profile("Of two", json!({})).await;
    let none = json!({ "incoming_email": "none", "outgoing_email": "none" });
    let mailbox = console.mailbox("Of two", &deployed_account(), &profile, none).await;
    for path in [format!("/v1/mailboxes/{mailbox}"), format!("/v1/profiles/{profile}")] {
        let revision = console.get(&path).await["revision"].as_u64().expect("a revision");
        let change = async |name: &str| {
            let request = console.request(Method::PATCH, &path).bearer_auth(&end_to_end::stack::stack().console.token);
            let request =
                request.header("Content-Type", "application/json").header("If-Match", format!("\"{revision}\""));
            send(request.body(json!({ "name": name }).to_string())).await
        };
        assert_eq!(change("The first").await.status, 200);
        let problem = change("The second").await.problem(412);
        assert!(problem["remedy"].as_str().expect("a remedy").contains("Read it again"), "{problem}");
        assert_eq!(console.get(&path).await["name"], "The first");
    }
    console.clear(&[&mailbox], &profile).await;
}

#[tokio::test]
async fn the_audit_tells_who_did_what_to_a_mailbox() {
    let console = Console::new();
    let account = deployed_account();
    let profile = console.profile("Of the audit", json!({})).await;
    let created = console.mailbox("Audited", &account, &profile, json!({ "outgoing_email": "none" })).await;
    let path = format!("/v1/mailboxes/{created}");
    let (ann, ann_id) = token(&console, "Ann of the audit", "administrator").await;
    let renamed = call_as(&console, &ann, Method::PATCH, &path, &json!({ "name": "Renamed", "password": "new" })).await;
    assert_eq!(renamed.status, 200);
    let taken = mailbox("Taken", &account, &profile, json!({}));
    console.json(Method::POST, "/v1/mailboxes", &taken).await.problem(422);
    console.clear(&[&created], &profile).await;

    let entries = console.all(&format!("/v1/audit?subject=mailbox&subject_id={created}&limit=2")).await;
    let told: Vec<_> =
        entries.iter().map(|e| (e["action"].as_str().unwrap_or(""), e["by"].as_str().unwrap_or(""))).collect();
    let expected = [
        ("deleted", "deployment"),
        ("changed", "Ann of the audit"),
        ("enabled", "deployment"),
        ("approved", "deployment"),
        ("created", "deployment"),
    ];
    assert_eq!(told, expected, "{entries:#?}");
    assert_eq!(entries[1]["fields"], json!(["name", "password"]), "names of fields and never a value");
    let newest = console.get("/v1/audit?limit=100").await;
    assert!(newest["items"].as_array().expect("entries").iter().any(|entry| entry["subject_id"] == json!(created)));
    let half = console.json(Method::GET, "/v1/audit?subject=mailbox", &Value::Null).await.problem(422);
    assert_eq!(half["field"], "subject_id");
    console.delete(&format!("/v1/api-tokens/{ann_id}")).await;
}
