//! Administration: who gets in, what is created, changed and refused.

use std::collections::BTreeSet;

use reqwest::{Method, header::AUTHORIZATION};
use serde_json::{Value, json};

use super::{Console, changed, deployed_account, id, mailbox, profile, secret, send};

/// Largest request of Lambda, and one byte.
const TOO_MANY_BYTES: usize = 6 * 1024 * 1024 + 1;
const NOT_SYNCHRONIZED: &str = "none";

#[tokio::test]
async fn nobody_gets_in_without_the_token() {
    let console = Console::new();
    for (method, path) in
        [(Method::GET, "/v1/profiles"), (Method::POST, "/v1/mailboxes"), (Method::GET, "/v1/emails/x/raw")]
    {
        for header in [None, Some("Bearer wrong"), Some("Bearer "), Some("Basic dTpw")] {
            let request = console.request(method.clone(), path);
            let request = header.into_iter().fold(request, |request, header| request.header(AUTHORIZATION, header));
            let problem = send(request).await.problem(401);
            assert!(problem["remedy"].as_str().expect("a remedy").contains("Authorization"), "{problem}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_a_path_does_not_do_is_not_allowed() {
    let console = Console::new();
    for path in
        ["/v1/nothing", "/v1/profiles/nothing", "/v1/mailboxes/nothing", "/v1/emails/nothing", "/v1/emails/nothing/raw"]
    {
        console.json(Method::GET, path, &Value::Null).await.problem(404);
    }
    for (method, path) in [(Method::PUT, "/v1/profiles"), (Method::DELETE, "/v1/alerts"), (Method::PATCH, "/v1/emails")]
    {
        console.json(method, path, &Value::Null).await.problem(405);
    }
}

#[tokio::test]
async fn a_profile_is_created_read_listed_changed_and_deleted() {
    let console = Console::new();
    let mut ids = BTreeSet::new();
    for name in ["One", "Two", "Three"] {
        ids.insert(console.profile(name, json!({ "username": "u", "password": secret() })).await);
    }
    let listed = console.all("/v1/profiles?limit=2").await;
    let found: Vec<String> = listed.iter().map(id).filter(|listed| ids.contains(listed)).collect();
    assert_eq!((found.len(), BTreeSet::from_iter(found)), (3, ids.clone()), "each is listed once, over several pages");

    let path = format!("/v1/profiles/{}", ids.first().expect("three"));
    let before = console.get(&path).await;
    assert_eq!(before["has_password"], true);
    let change = json!({ "name": "Four", "username": null, "incoming": { "port": 143, "security": "starttls" } });
    let after = console.patch(&path, &change).await;
    let mut incoming = before["incoming"].clone();
    incoming["port"] = 143.into();
    incoming["security"] = "starttls".into();
    assert_eq!((&after["name"], &after["incoming"]), (&json!("Four"), &incoming), "what the patch leaves out stays");
    assert_eq!((&after["username"], &after["outgoing"]), (&Value::Null, &before["outgoing"]));
    assert_eq!(after["has_password"], true, "a password stays until another is given");
    assert_eq!(console.get(&path).await, after);
    let after = console.patch(&path, &json!({ "password": null })).await;
    assert_eq!(after["has_password"], false, "null removes it");

    let mailbox = console.mailbox("Only", &deployed_account(), ids.first().expect("three"), unsynchronized()).await;
    let problem = console.json(Method::DELETE, &path, &Value::Null).await.problem(409);
    assert!(problem["remedy"].as_str().expect("a remedy").contains("mailboxes"), "{problem}");
    console.delete(&format!("/v1/mailboxes/{mailbox}")).await;
    for id in ids {
        console.delete(&format!("/v1/profiles/{id}")).await;
    }
    console.json(Method::GET, &path, &Value::Null).await.problem(404);
}

/// A mailbox that no function looks into.
fn unsynchronized() -> Value {
    json!({ "incoming_email": NOT_SYNCHRONIZED, "outgoing_email": NOT_SYNCHRONIZED })
}

#[tokio::test]
async fn a_bad_field_of_a_profile_is_named_with_its_remedy() {
    let console = Console::new();
    let server = |change: Value| changed(profile("P", json!({}))["incoming"].clone(), change);
    for (change, field) in [
        (json!({ "incoming": server(json!({ "port": 0 })) }), "incoming.port"),
        (json!({ "incoming": server(json!({ "port": 70_000 })) }), "incoming.port"),
        (json!({ "incoming": server(json!({ "port": "993" })) }), "incoming.port"),
        (json!({ "incoming": server(json!({ "host": "imaps://imap.example.com" })) }), "incoming.host"),
        (json!({ "incoming": server(json!({ "protocol": "exchange" })) }), "incoming.protocol"),
        (json!({ "incoming": null, "outgoing": null }), "incoming"),
        (json!({ "owner_address": "nobody" }), "owner_address"),
        (json!({ "name": "" }), "name"),
        (json!({ "name": 1 }), "name"),
        (json!({ "minimum_polling_interval_minutes": 1441 }), "minimum_polling_interval_minutes"),
        (json!({ "maximum_concurrent_connections": 301 }), "maximum_concurrent_connections"),
        (json!({ "connection_timeout_seconds": 0 }), "connection_timeout_seconds"),
        (json!({ "process_emails_received_after": "yesterday" }), "process_emails_received_after"),
        (json!({ "credentials": "profile" }), "username"),
        (json!({ "password": "two\r\nlines" }), "password"),
        (json!({ "colour": "blue" }), "colour"),
    ] {
        let answer = console.json(Method::POST, "/v1/profiles", &profile("P", change.clone())).await;
        check_names(&answer.problem(422), field, &change);
    }
    console.json(Method::POST, "/v1/profiles", &json!({ "name": "P" })).await.problem(422);
    for (query, field) in [("limit=0", "limit"), ("limit=101", "limit"), ("limit=many", "limit"), ("most=1", "most")] {
        let answer = console.json(Method::GET, &format!("/v1/profiles?{query}"), &Value::Null).await;
        check_names(&answer.problem(422), field, &query.into());
    }
    let made_up = console.json(Method::GET, "/v1/profiles?cursor=made-up", &Value::Null).await;
    check_names(&made_up.problem(422), "cursor", &json!("made-up"));
}

fn check_names(problem: &Value, field: &str, given: &Value) {
    assert_eq!(problem["field"], field, "{given}: {problem}");
    assert!(problem["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{given}: {problem}");
}

#[tokio::test]
async fn a_bad_field_of_a_mailbox_is_named_with_its_remedy() {
    let console = Console::new();
    let account = deployed_account();
    let profile = console.profile("Without an incoming server", json!({ "incoming": null })).await;
    let first = console.mailbox("First", &account, &profile, unsynchronized()).await;
    let unknown = "01900000-0000-7000-8000-000000000000";
    for (change, field) in [
        (json!({ "profile_id": unknown }), "profile_id"),
        (json!({ "profile_id": "no id" }), "profile_id"),
        (json!({ "address": "no address" }), "address"),
        (json!({ "name": "" }), "name"),
        (json!({ "incoming_email": "server-side-synchronization" }), "incoming_email"),
        (json!({ "outgoing_email": "carrier-pigeon" }), "outgoing_email"),
        (json!({ "appointments_contacts_tasks": "server-side-synchronization" }), "appointments_contacts_tasks"),
        (json!({ "process_emails_received_after": "2024-13-01" }), "process_emails_received_after"),
        (json!({ "deliveries": {} }), "deliveries"),
    ] {
        let body = changed(mailbox("M", &account, &profile, unsynchronized()), change.clone());
        check_names(&console.json(Method::POST, "/v1/mailboxes", &body).await.problem(422), field, &change);
    }
    let again = changed(
        mailbox("M", &account, &profile, unsynchronized()),
        json!({ "address": account.address.to_uppercase() }),
    );
    let problem = console.json(Method::POST, "/v1/mailboxes", &again).await.problem(422);
    check_names(&problem, "address", &again);
    assert!(problem["detail"].as_str().expect("a text").contains(&first), "{problem}");
    console.clear(&[&first], &profile).await;
}

#[tokio::test]
async fn a_body_that_is_no_json_or_too_large_is_refused() {
    let console = Console::new();
    for path in ["/v1/profiles", "/v1/mailboxes", "/v1/emails"] {
        console.call(Method::POST, path, "application/json", "{\"name\": ").await.problem(400);
    }
    for (path, media_type) in [("/v1/profiles", "application/json"), ("/v1/mailboxes/import", "text/csv")] {
        console.call(Method::POST, path, media_type, vec![b' '; TOO_MANY_BYTES]).await.problem(413);
    }
}

#[tokio::test]
async fn a_mailbox_is_created_read_listed_changed_and_deleted() {
    let console = Console::new();
    let account = deployed_account();
    let profile = console.profile("Of one mailbox", json!({})).await;
    let id_ = console.mailbox("Sales", &account, &profile, unsynchronized()).await;
    let path = format!("/v1/mailboxes/{id_}");
    let before = console.get(&path).await;
    assert_eq!((&before["name"], &before["address"]), (&json!("Sales"), &json!(account.address)));
    assert_eq!(before["has_password"], true);
    assert_eq!(before["deliveries"]["incoming-email"]["enabled"], false, "{before}");
    let listed = console.all(&format!("/v1/mailboxes?profile_id={profile}")).await;
    assert_eq!(listed.iter().map(id).collect::<Vec<_>>(), [id_.as_str()]);
    let run = format!("{path}/deliveries/incoming-email/run");
    console.json(Method::POST, &run, &Value::Null).await.problem(409);
    let nothing = console.json(Method::POST, &format!("{path}/deliveries/nothing/run"), &Value::Null).await;
    check_names(&nothing.problem(422), "delivery", &json!("nothing"));

    let after =
        console.patch(&path, &json!({ "name": "Service", "incoming_email": "server-side-synchronization" })).await;
    assert_eq!((&after["name"], &after["address"]), (&json!("Service"), &before["address"]));
    assert_eq!(after["deliveries"]["incoming-email"]["enabled"], false, "what begins anew is not tested: {after}");
    let enable = format!("{path}/deliveries/incoming-email/enable");
    let after = console.succeed(Method::POST, &enable, &Value::Null, 200).await;
    assert_eq!(after["deliveries"]["incoming-email"]["enabled"], true, "{after}");
    assert_eq!(after["deliveries"]["outgoing-email"]["enabled"], false, "{after}");
    let after = console.patch(&path, &unsynchronized()).await;
    assert_eq!(after["deliveries"]["incoming-email"]["enabled"], false, "{after}");
    console.clear(&[&id_], &profile).await;
    console.json(Method::GET, &path, &Value::Null).await.problem(404);
}

#[tokio::test]
async fn the_description_of_the_api_has_every_path() {
    let console = Console::new();
    let answer = send(console.request(Method::GET, "/openapi.json")).await;
    let description = answer.json();
    for (path, methods) in [
        ("/health", &["get"][..]),
        ("/v1/profiles", &["get", "post"]),
        ("/v1/profiles/import", &["post"]),
        ("/v1/profiles/{id}", &["get", "patch", "delete"]),
        ("/v1/mailboxes", &["get", "post"]),
        ("/v1/mailboxes/import", &["post"]),
        ("/v1/mailboxes/{id}", &["get", "patch", "delete"]),
        ("/v1/mailboxes/{id}/deliveries/{delivery}/enable", &["post"]),
        ("/v1/mailboxes/{id}/deliveries/{delivery}/run", &["post"]),
        ("/v1/mailboxes/{id}/emails", &["get"]),
        ("/v1/mailboxes/{id}/quarantine", &["get"]),
        ("/v1/emails", &["post"]),
        ("/v1/emails/{id}", &["get"]),
        ("/v1/emails/{id}/raw", &["get"]),
        ("/v1/emails/{id}/send", &["post"]),
        ("/v1/alerts", &["get"]),
        ("/v1/notices", &["get"]),
        ("/v1/mailboxes/approval", &["post"]),
        ("/v1/mailboxes/test", &["post"]),
        ("/v1/mailboxes/{id}/why", &["get"]),
        ("/v1/quarantine", &["get"]),
        ("/v1/quarantine/replay", &["post"]),
        ("/v1/mailboxes/{id}/test", &["get"]),
        ("/v1/api-tokens", &["get", "post"]),
        ("/v1/api-tokens/{id}", &["delete"]),
        ("/v1/audit", &["get"]),
        ("/v1/organization", &["get", "patch"]),
    ] {
        for method in methods {
            assert!(description["paths"][path][method].is_object(), "{method} {path}");
        }
    }
}
