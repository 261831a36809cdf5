//! Imports: every field of the API is a column.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Console, TOKEN};

async fn import(console: &Console, path: &str, lines: &[&str]) -> Value {
    console.call_as(TOKEN, Method::POST, path, "text/csv", lines.join("\n")).await.json(200)
}

#[tokio::test]
async fn a_profile_of_exchange_is_imported_with_booleans_and_a_list() {
    let console = Console::new();
    let columns = "name,owner_address,server_type,location,credentials,username,password,use_impersonation,\
                   move_undeliverable,tracked_folders";
    let line = "On premises,o@example.test,exchange-server,https://mail.example.test/EWS/Exchange.asmx,profile,\
                service@example.test,secret,true,true,Projects/Alpha;Offers";
    let imported = import(&console, "/v1/profiles/import", &[columns, line]).await;
    assert_eq!(imported, json!({ "created": 1, "errors": [] }));
    let profile = &console.get("/v1/profiles").await["items"][0];
    assert_eq!((&profile["move_undeliverable"], &profile["use_impersonation"]), (&json!(true), &json!(true)));
    assert_eq!(profile["tracked_folders"], json!(["Projects/Alpha", "Offers"]));
}

#[tokio::test]
async fn a_profile_with_a_hold_is_imported() {
    let console = Console::new();
    let columns = "name,owner_address,incoming.protocol,incoming.host,incoming.port,incoming.security,\
                   outages.hold_after_mailboxes,outages.recovery_probe";
    let server = "o@example.test,imap,imap.example.test,993,tls";
    let lines = [format!("Office,{server},10,resume"), format!("Bad,{server},ten,tell"), format!("None,{server},,")];
    let mut all = vec![columns];
    all.extend(lines.iter().map(String::as_str));
    let imported = import(&console, "/v1/profiles/import", &all).await;
    assert_eq!(imported["created"], 2, "{imported}");
    assert_eq!(imported["errors"][0]["line"], 3);
    assert_eq!(imported["errors"][0]["field"], "outages.hold_after_mailboxes");
    let profiles = console.get("/v1/profiles").await;
    let holds: Vec<&Value> = profiles["items"].as_array().unwrap().iter().map(|profile| &profile["outages"]).collect();
    assert_eq!(holds, [&json!({ "hold_after_mailboxes": 10, "recovery_probe": "resume" }), &Value::Null]);
}

#[tokio::test]
async fn mailboxes_are_imported_and_what_is_wrong_is_named() {
    let console = Console::new();
    let profile = console.profile().await;
    let lines = [
        "name,address,profile_id,appointments_contacts_tasks,colour".to_owned(),
        format!("One,one@example.test,{profile},outlook,"),
        format!("Two,two@example.test,{profile},,blue"),
        format!("Three,three@example.test,{profile},by-hand,"),
        "Four,four@example.test,nowhere,,".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let imported = import(&console, "/v1/mailboxes/import", &lines).await;
    let errors = imported["errors"].as_array().unwrap().iter();
    let errors: Vec<_> = errors.map(|error| (error["line"].as_u64(), error["field"].as_str())).collect();
    let expected =
        [(Some(3), Some("colour")), (Some(4), Some("appointments_contacts_tasks")), (Some(5), Some("profile_id"))];
    assert_eq!((&imported["created"], &errors[..]), (&json!(1), &expected[..]), "{imported}");
    let other = console.call_as(TOKEN, Method::POST, "/v1/mailboxes/import", "text/plain", String::new()).await;
    other.problem(415, None);
}
