//! What an administrator does, from the request to the answer.

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use mailrail_domain::words::{delivery::Delivery, id::EmailId};
use mailrail_engine::ports::EmailRecords;
use mailrail_test_support::fakes::Reads;
use serde_json::{Value, json};

use super::{Console, TOKEN, profile};

#[tokio::test]
async fn nobody_gets_in_without_a_token_and_nobody_beyond_his_role() {
    let console = Console::new();
    let without = Request::builder().uri("/v1/profiles").body(Body::empty()).unwrap();
    console.send(without).await.problem(401, None);
    let health = Request::builder().uri("/health").body(Body::empty()).unwrap();
    assert_eq!(console.send(health).await.json(200)["status"], "up");
    let made = console.create("/v1/api-tokens", &json!({ "name": "audit desk", "role": "reader" })).await;
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    let json = "application/json";
    console.call_as(token, Method::GET, "/v1/profiles", json, String::new()).await.json(200);
    let refused = console.call_as(token, Method::POST, "/v1/profiles", json, "no json".to_owned()).await;
    let detail = refused.problem(403, None)["detail"].to_string();
    assert!(detail.contains("POST /v1/profiles needs the role administrator"), "{detail}");
    console.json(Method::DELETE, &format!("/v1/api-tokens/{id}"), &Value::Null).await.json(204);
    console.call_as(token, Method::GET, "/v1/profiles", json, String::new()).await.problem(401, None);
    console.json(Method::DELETE, &format!("/v1/api-tokens/{id}"), &Value::Null).await.problem(404, None);
}

#[tokio::test]
async fn a_profile_is_created_changed_and_deleted() {
    let console = Console::new();
    let mut given = profile();
    given["password"] = "secret".into();
    let created = console.create("/v1/profiles", &given).await;
    let path = format!("/v1/profiles/{}", created["id"].as_str().unwrap());
    assert_eq!(console.get(&path).await, created);
    assert_eq!((&created["has_password"], created.get("password")), (&json!(true), None));
    assert_eq!(console.get("/v1/profiles").await["items"], json!([created]));

    let patch = json!({ "name": "Other", "incoming": { "port": 143, "security": "starttls" }, "location": null });
    let changed = console.json(Method::PATCH, &path, &patch).await.json(200);
    assert_eq!((&changed["name"], &changed["revision"]), (&json!("Other"), &json!(2)));
    assert_eq!(changed["incoming"]["host"], created["incoming"]["host"], "what the patch leaves out stays");
    assert_eq!((&changed["outgoing"], &changed["has_password"]), (&created["outgoing"], &json!(true)));
    assert_eq!(console.get(&path).await, changed);
    console
        .json(Method::PATCH, &path, &json!({ "incoming": { "port": "x" } }))
        .await
        .problem(422, Some("incoming.port"));
    let without = console.json(Method::PATCH, &path, &json!({ "password": null })).await.json(200);
    assert_eq!(without["has_password"], false);
    let entry = &console.get("/v1/audit").await["items"][0];
    assert_eq!((&entry["action"], &entry["fields"]), (&json!("changed"), &json!(["password"])));

    let id = created["id"].as_str().unwrap();
    let mailbox = console.mailbox(id, "m@example.test").await;
    console.json(Method::DELETE, &path, &Value::Null).await.problem(409, None);
    console.json(Method::DELETE, &format!("/v1/mailboxes/{mailbox}"), &Value::Null).await.json(204);
    console.json(Method::DELETE, &path, &Value::Null).await.json(204);
    console.json(Method::GET, &path, &Value::Null).await.problem(404, None);
}

#[tokio::test]
async fn a_change_on_condition_of_another_revision_is_refused_whatever_it_says() {
    let console = Console::new();
    let id = console.profile().await;
    for path in [format!("/v1/profiles/{id}"), "/v1/organization".to_owned()] {
        let revision = console.get(&path).await["revision"].as_u64().unwrap();
        for (wanted, status) in [(revision + 1, 412), (revision, 422)] {
            let request = Request::builder().method(Method::PATCH).uri(&path).header(header::IF_MATCH, wanted);
            let request = request.header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
            let answer = console.send(request.body(Body::from(r#"{ "colour": "blue" }"#)).unwrap()).await;
            answer.problem(status, (status == 422).then_some("colour"));
        }
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_refused() {
    let console = Console::new();
    let mut given = profile();
    given["certificate"] = "no certificate".into();
    console.json(Method::POST, "/v1/profiles", &given).await.problem(422, Some("certificate"));
    given["authentication"] = "client-certificate".into();
    console.json(Method::POST, "/v1/profiles", &given).await.problem(422, Some("certificate"));
}

#[tokio::test]
async fn a_mailbox_is_created_approved_enabled_and_changed() {
    let console = Console::new();
    let profile = console.profile().await;
    let id = console.mailbox(&profile, "m@example.test").await;
    let path = format!("/v1/mailboxes/{id}");
    let created = console.get(&path).await;
    assert_eq!((&created["has_password"], created.get("password")), (&json!(true), None));
    assert_eq!(created["approval"], json!({ "state": "pending-approval" }));
    let enable = format!("{path}/deliveries/incoming-email/enable");
    console.json(Method::POST, &enable, &Value::Null).await.problem(409, None);
    let nothing = format!("{path}/deliveries/nothing/run");
    console.json(Method::POST, &nothing, &Value::Null).await.problem(422, Some("delivery"));

    let verdict = json!({ "mailbox_ids": [id, "m2"], "verdict": "approve" });
    let done = console.json(Method::POST, "/v1/mailboxes/approval", &verdict).await.json(200);
    assert_eq!((&done["done"], &done["refused"][0]["id"]), (&json!([id]), &json!("m2")), "{done}");
    let reads = console.engine.ports.state.reads();
    let enabled = console.json(Method::POST, &enable, &Value::Null).await.json(200);
    let expected =
        Reads { mailboxes: reads.mailboxes + 1, profiles: reads.profiles + 1, organization: reads.organization + 1 };
    assert_eq!(console.engine.ports.state.reads(), expected, "neither is read twice");
    assert_eq!(enabled["deliveries"]["incoming-email"]["enabled"], true);
    assert!(enabled["deliveries"]["incoming-email"]["next_due"].is_string(), "{enabled}");
    assert_eq!(console.get(&path).await, enabled);
    console.json(Method::POST, &format!("{path}/deliveries/outgoing-email/run"), &Value::Null).await.json(202);
    assert_eq!(console.engine.ports.queue.waiting(Delivery::OutgoingEmail).len(), 1);

    let changed = console.json(Method::PATCH, &path, &json!({ "address": "other@example.test" })).await.json(200);
    assert_eq!(console.get(&path).await, changed);
    assert_eq!(changed["approval"]["state"], "pending-approval");
    assert_eq!(changed["deliveries"]["incoming-email"]["enabled"], false);
    let listed = console.get(&format!("/v1/mailboxes?profile_id={profile}")).await;
    assert!(listed["items"][0].get("deliveries").is_none(), "{listed}");
}

#[tokio::test]
async fn a_mailbox_is_tested_or_a_profile() {
    let console = Console::new();
    let profile = console.profile().await;
    let id = console.mailbox(&profile, "m@example.test").await;
    let asked = json!({ "mailbox_ids": [id] });
    let asked = console.json(Method::POST, "/v1/mailboxes/test", &asked).await.json(202);
    assert_eq!(asked, json!({ "done": [id], "refused": [] }));
    assert_eq!(console.get(&format!("/v1/mailboxes/{id}/test")).await["phase"], "waiting");
    let asked = console.json(Method::POST, "/v1/mailboxes/test", &json!({ "profile_id": profile })).await.json(202);
    assert_eq!(asked, json!({ "profile_id": profile }));
    console.json(Method::POST, "/v1/mailboxes/test", &json!({})).await.problem(422, Some("mailbox_ids"));
}

#[tokio::test]
async fn an_email_is_written_sent_and_limited() {
    let console = Console::new();
    let profile = console.profile().await;
    let id = console.mailbox(&profile, "m@example.test").await;
    let given = json!({ "mailbox_id": id, "to": ["a@x.test", "no address"] });
    console.json(Method::POST, "/v1/emails", &given).await.problem(422, Some("to[1]"));
    let given = json!({ "mailbox_id": id, "to": ["a@x.test"], "subject": "Hello", "text": "Text." });
    let draft = console.create("/v1/emails", &given).await;
    let path = format!("/v1/emails/{}", draft["id"].as_str().unwrap());
    let raw = console.json(Method::GET, &format!("{path}/raw"), &Value::Null).await;
    assert_eq!((raw.status, raw.media_type.as_str()), (200, "message/rfc822"));
    let sent = console.json(Method::POST, &format!("{path}/send"), &Value::Null).await.json(202);
    assert_eq!(sent["status"], "pending-send");
    console.json(Method::POST, &format!("{path}/send"), &Value::Null).await.problem(409, None);

    console.json(Method::PATCH, "/v1/organization", &json!({ "recipients_per_hour": 1 })).await.json(200);
    let second = console.create("/v1/emails", &given).await;
    let send = format!("/v1/emails/{}/send", second["id"].as_str().unwrap());
    let id = EmailId::parse(second["id"].as_str().unwrap()).unwrap();
    let before = console.engine.ports.records.email(&id).await.unwrap();
    let refused = console.json(Method::POST, &send, &Value::Null).await.problem(429, None);
    assert_eq!(refused["title"], "Bulk limit");
    assert_eq!(console.engine.ports.records.email(&id).await.unwrap(), before, "nothing was written");

    let lost = json!({ "mailbox_id": given["mailbox_id"], "answers": "nothing" });
    console.json(Method::POST, "/v1/emails", &lost).await.problem(404, Some("answers"));
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let console = Console::new();
    console.json(Method::GET, "/v1/nothing", &Value::Null).await.problem(404, None);
    console.json(Method::PUT, "/v1/profiles", &Value::Null).await.problem(405, None);
    for path in ["/v1/profiles/p", "/v1/mailboxes/m", "/v1/mailboxes/m/test", "/v1/emails/e", "/v1/emails/e/raw"] {
        console.json(Method::GET, path, &Value::Null).await.problem(404, None);
    }
    for list in ["alerts", "notices", "audit", "quarantine"] {
        assert_eq!(console.get(&format!("/v1/{list}")).await, json!({ "items": [] }), "{list}");
    }
    for (query, field) in [("alerts?status=ajar", "status"), ("audit?subject=mailbox", "subject_id")] {
        console.json(Method::GET, &format!("/v1/{query}"), &Value::Null).await.problem(422, Some(field));
    }
}
