//! Configurations that are not supported, refused by the deployed console when they are saved.

use end_to_end::online::{CLIENT, TENANT};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Console, changed, deployed_account, id, mailbox, profile};

fn exchange(server_type: &str, changes: Value) -> Value {
    let fields = json!({
        "name": "Exchange",
        "owner_address": "owner@example.test",
        "server_type": server_type,
        "autodiscover": true,
        "credentials": "mailbox",
    });
    let of_online = json!({
        "credentials": "server-to-server",
        "authentication": "client-secret",
        "tenant_id": TENANT,
        "client_id": CLIENT,
    });
    let fields = if server_type == "exchange-online" { changed(fields, of_online) } else { fields };
    changed(fields, changes)
}

#[tokio::test]
async fn every_unsupported_profile_is_refused_with_its_reason_and_what_to_do() {
    let console = Console::new();
    let incoming = profile("P", json!({}))["incoming"].clone();
    let server = |change: Value| changed(incoming.clone(), change);
    let location = "https://mail.example.com/EWS/Exchange.asmx";
    for (body, field, words) in [
        (profile("P", json!({ "incoming": server(json!({ "security": "none" })) })), "incoming.security", "TLS"),
        (
            profile("P", json!({ "incoming": server(json!({ "protocol": "ews" })) })),
            "incoming.protocol",
            "Exchange for one",
        ),
        (profile("P", json!({ "credentials": "windows-integrated" })), "credentials", "Windows integrated"),
        (profile("P", json!({ "credentials": "server-to-server" })), "credentials", "Exchange Online alone"),
        (profile("P", json!({ "server_type": "custom" })), "server_type", "custom email providers"),
        (profile("P", json!({ "autodiscover": true })), "autodiscover", "only Exchange"),
        (profile("P", json!({ "use_impersonation": true })), "use_impersonation", "only Exchange"),
        (
            profile("P", json!({ "incoming": server(json!({ "host": "outlook.office365.com" })) })),
            "incoming.host",
            "a profile of Exchange Online alone",
        ),
        (exchange("exchange-online", json!({ "credentials": "mailbox" })), "credentials", "by a user or queue"),
        (
            exchange("exchange-online", json!({ "credentials": "profile", "username": "u@x.example" })),
            "credentials",
            "in the email server profile",
        ),
        (exchange("exchange-online", json!({ "use_impersonation": true })), "use_impersonation", "impersonation"),
        (exchange("exchange-online", json!({ "autodiscover": false })), "autodiscover", "cannot be off"),
        (exchange("exchange-online", json!({ "incoming": incoming })), "incoming", "Exchange for one direction"),
        (exchange("exchange-server", json!({ "exchange_version": "exchange2007" })), "exchange_version", "2007"),
        (exchange("exchange-server", json!({ "location": location })), "location", "autodiscover is on"),
        (exchange("exchange-server", json!({ "autodiscover": false })), "location", "is missing"),
    ] {
        let problem = console.json(Method::POST, "/v1/profiles", &body).await.problem(422);
        assert_eq!(problem["field"], field, "{body}: {problem}");
        assert!(problem["detail"].as_str().expect("a reason").contains(words), "{words}: {problem}");
        assert!(problem["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{problem}");
    }
}

#[tokio::test]
async fn email_is_deleted_after_processing_for_queues_alone() {
    let console = Console::new();
    let account = deployed_account();
    let deleting = console.profile("Deletes", json!({ "delete_after_processing": true })).await;
    let none = json!({ "incoming_email": "none", "outgoing_email": "none" });
    let body = mailbox("Person", &account, &deleting, none.clone());
    let problem = console.json(Method::POST, "/v1/mailboxes", &body).await.problem(422);
    assert!(problem["detail"].as_str().expect("a reason").contains("not allowed for a user"), "{problem}");
    let queue = console.mailbox("Queue", &account, &deleting, changed(none.clone(), json!({ "kind": "queue" }))).await;
    let to_user = console.json(Method::PATCH, &format!("/v1/mailboxes/{queue}"), &json!({ "kind": "user" })).await;
    to_user.problem(422);
    console.clear(&[&queue], &deleting).await;

    let leaving = console.profile("Leaves", json!({})).await;
    let person = console.mailbox("Person", &account, &leaving, none).await;
    let change = json!({ "delete_after_processing": true });
    let problem = console.json(Method::PATCH, &format!("/v1/profiles/{leaving}"), &change).await.problem(422);
    assert_eq!(problem["field"], "delete_after_processing");
    assert!(problem["detail"].as_str().expect("a reason").contains("Person"), "{problem}");
    console.clear(&[&person], &leaving).await;
}

#[tokio::test]
async fn outlook_beside_server_side_synchronization_is_a_warning_and_no_refusal() {
    let console = Console::new();
    let online = id(&console.create("/v1/profiles", &exchange("exchange-online", json!({}))).await);
    let none = json!({ "incoming_email": "none", "outgoing_email": "none", "password": null });
    let by = |method: &str| changed(none.clone(), json!({ "appointments_contacts_tasks": method }));
    let first = console.mailbox("By us", &deployed_account(), &online, by("server-side-synchronization")).await;
    let second = console.mailbox("By Outlook", &deployed_account(), &online, by("outlook")).await;
    for mailbox in [&first, &second] {
        let shown = console.get(&format!("/v1/mailboxes/{mailbox}")).await;
        assert!(shown["warnings"][0].as_str().expect("a warning").contains("all attendees"), "{shown}");
    }
    console.delete(&format!("/v1/mailboxes/{second}")).await;
    console.clear(&[&first], &online).await;
}

#[tokio::test]
async fn mass_email_is_refused_by_a_limit_of_its_own() {
    let console = Console::new();
    let account = deployed_account();
    let profile = console.profile("Of campaigns", json!({})).await;
    let mailbox = console.mailbox("Campaign", &account, &profile, json!({ "incoming_email": "none" })).await;
    let most = console.get("/v1/organization").await["recipients_per_hour"].as_u64().expect("a limit");
    let to: Vec<String> = (0..most).map(|n| format!("r{n}@nowhere.test")).collect();
    let draft = |to: &[String]| json!({ "mailbox_id": mailbox, "to": to, "subject": "Offer", "text": "Buy!" });
    let many = console.create("/v1/emails", &draft(&to)).await;
    let one = console.create("/v1/emails", &draft(std::slice::from_ref(&account.address))).await;
    // Nothing of it leaves: outgoing email is not moved by anybody any more.
    console.patch(&format!("/v1/mailboxes/{mailbox}"), &json!({ "outgoing_email": "none" })).await;
    console.succeed(Method::POST, &format!("/v1/emails/{}/send", id(&many)), &Value::Null, 202).await;
    let refused = console.json(Method::POST, &format!("/v1/emails/{}/send", id(&one)), &Value::Null).await;
    let problem = refused.problem(429);
    assert_eq!(problem["title"], "Bulk limit");
    assert!(problem["remedy"].as_str().expect("a remedy").contains("bulk"), "{problem}");
    assert_eq!(console.get(&format!("/v1/emails/{}", id(&one))).await["status"], "draft");
    console.clear(&[&mailbox], &profile).await;
}

#[tokio::test]
async fn a_setting_out_of_range_is_refused_by_its_name_and_a_profile_has_its_own_outages() {
    let console = Console::new();
    for (patch, field) in [
        (json!({ "outages": { "hold_after_mailboxes": 101 } }), "outages.hold_after_mailboxes"),
        (json!({ "recipients_per_hour": 0 }), "recipients_per_hour"),
        (json!({ "closed_alert_days": 3_651 }), "closed_alert_days"),
        (json!({ "stall_minutes": 10_081 }), "stall_minutes"),
        (json!({ "console_url": "http://console.example" }), "console_url"),
        (json!({ "recorded_alert_levels": ["loud"] }), "recorded_alert_levels[0]"),
    ] {
        let problem = console.json(Method::PATCH, "/v1/organization", &patch).await.problem(422);
        assert_eq!(problem["field"], field, "{problem}");
        assert!(problem["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{problem}");
    }
    let settings = console.get("/v1/organization").await;
    assert_eq!(settings["outages"], json!({ "hold_after_mailboxes": 0, "recovery_probe": "off" }), "off by default");

    let profile = console.profile("Calm", json!({})).await;
    let path = format!("/v1/profiles/{profile}");
    assert!(console.get(&path).await["outages"].is_null());
    let outages = json!({ "hold_after_mailboxes": 10, "recovery_probe": "resume" });
    console.patch(&path, &json!({ "outages": outages })).await;
    assert_eq!(console.get(&path).await["outages"], outages);
    let bad = json!({ "outages": { "hold_after_mailboxes": 101 } });
    let problem = console.json(Method::PATCH, &path, &bad).await.problem(422);
    assert_eq!(problem["field"], "outages.hold_after_mailboxes", "{problem}");
    console.patch(&path, &json!({ "outages": null })).await;
    assert!(console.get(&path).await["outages"].is_null());
    console.delete(&path).await;
}
