//! Imports: the good lines go in, the bad ones are reported by number.

use end_to_end::stack::stack;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Console, changed, deployed_account, id, mailbox, profile};

const NOT_SYNCHRONIZED: &str = "none";

async fn import(console: &Console, path: &str, media_type: &str, lines: &[String]) -> Value {
    let answer = console.call(Method::POST, path, media_type, lines.join("\n")).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

fn check_errors(imported: &Value, created: usize, errors: &[(u64, Option<&str>)]) {
    assert_eq!(imported["created"], created, "{imported}");
    let found = imported["errors"].as_array().expect("errors").iter();
    let found: Vec<_> = found.map(|error| (error["line"].as_u64().unwrap_or(0), error["field"].as_str())).collect();
    assert_eq!(found, errors, "{imported}");
    let details = imported["errors"].as_array().expect("errors").iter().map(|error| &error["detail"]);
    assert!(details.into_iter().all(|detail| detail.as_str().is_some_and(|text| !text.is_empty())), "{imported}");
}

/// The profiles of an import, found by their names and removed.
async fn take_profiles(console: &Console, names: &[&str]) -> usize {
    let profiles = console.all("/v1/profiles?limit=100").await;
    let named = profiles.iter().filter(|profile| names.contains(&profile["name"].as_str().unwrap_or_default()));
    let mut taken = 0;
    for profile in named {
        assert_eq!(profile["incoming"]["port"], stack().mail.imaps, "{profile}");
        console.delete(&format!("/v1/profiles/{}", id(profile))).await;
        taken += 1;
    }
    taken
}

#[tokio::test]
async fn profiles_are_imported_from_csv_and_json_lines() {
    let console = Console::new();
    // What an earlier run left would be counted.
    take_profiles(&console, &["Table 1", "Table 2", "Line 1", "Line 2"]).await;
    let port = stack().mail.imaps;
    let good = |name: &str| format!("{name},owner@example.test,imap,localhost,{port},tls,2");
    let lines = [
        "name,owner_address,incoming.protocol,incoming.host,incoming.port,incoming.security,maximum_concurrent_connections"
            .to_owned(),
        good("Table 1"),
        "Bad,owner@example.test,imap,localhost,many,tls,2".to_owned(),
        "Bad,nobody,imap,localhost,993,tls,2".to_owned(),
        "Bad,too,few".to_owned(),
        good("Table 2"),
    ];
    let imported = import(&console, "/v1/profiles/import", "text/csv; charset=utf-8", &lines).await;
    check_errors(&imported, 2, &[(3, Some("incoming.port")), (4, Some("owner_address")), (5, None)]);
    assert_eq!(take_profiles(&console, &["Table 1", "Table 2"]).await, 2);

    let lines = [
        profile("Line 1", json!({})).to_string(),
        String::new(),
        "{no json}".to_owned(),
        profile("Bad", json!({ "colour": "blue" })).to_string(),
        profile("Line 2", json!({})).to_string(),
    ];
    let imported = import(&console, "/v1/profiles/import", "application/jsonl", &lines).await;
    check_errors(&imported, 2, &[(3, None), (4, Some("colour"))]);
    assert_eq!(take_profiles(&console, &["Line 1", "Line 2"]).await, 2);
}

#[tokio::test]
async fn mailboxes_are_imported_from_csv_and_json_lines() {
    let console = Console::new();
    let profile = console.profile("Of imported mailboxes", json!({})).await;
    let none = NOT_SYNCHRONIZED;
    let accounts = [deployed_account(), deployed_account()];
    // What an earlier run on the same servers left is removed with what this makes.
    for account in &accounts {
        let left =
            console.mailbox("Left", account, &profile, json!({ "incoming_email": none, "outgoing_email": none })).await;
        console.delete(&format!("/v1/mailboxes/{left}")).await;
    }
    let [first, second] = &accounts;
    let lines = [
        "name,address,profile_id,password,incoming_email,outgoing_email".to_owned(),
        format!("Nobody,not an address,{profile},,{none},{none}"),
        format!("\"First, of two\",{},{profile},{},{none},{none}", first.address, first.password),
        format!("First,{},{profile},,{none},{none}", "u@example.test,x"),
        format!("Nowhere,{},no-profile,,{none},{none}", second.address),
    ];
    let imported = import(&console, "/v1/mailboxes/import", "text/csv", &lines).await;
    check_errors(&imported, 1, &[(2, Some("address")), (4, None), (5, Some("profile_id"))]);

    let fields = json!({ "incoming_email": none, "outgoing_email": none });
    let lines = [
        mailbox("Again", first, &profile, fields.clone()).to_string(),
        mailbox("Second", second, &profile, fields.clone()).to_string(),
        mailbox("Typed", second, &profile, changed(fields, json!({ "name": 5 }))).to_string(),
    ];
    let imported = import(&console, "/v1/mailboxes/import", "application/x-ndjson", &lines).await;
    check_errors(&imported, 1, &[(1, Some("address")), (3, Some("name"))]);

    let mailboxes = console.all(&format!("/v1/mailboxes?limit=1&profile_id={profile}")).await;
    let mut names: Vec<_> = mailboxes.iter().map(|mailbox| mailbox["name"].as_str().expect("a name")).collect();
    names.sort_unstable();
    assert_eq!(names, ["First, of two", "Second"]);
    assert!(mailboxes.iter().all(|mailbox| mailbox["has_password"] == true), "{mailboxes:?}");
    let ids: Vec<String> = mailboxes.iter().map(id).collect();
    console.clear(&ids.iter().map(String::as_str).collect::<Vec<_>>(), &profile).await;
}

#[tokio::test]
async fn other_media_types_are_not_imported() {
    let console = Console::new();
    for path in ["/v1/profiles/import", "/v1/mailboxes/import"] {
        for media_type in ["application/json", "application/xml", "text/plain"] {
            let problem = console.call(Method::POST, path, media_type, "{}").await.problem(415);
            assert!(problem["remedy"].as_str().expect("a remedy").contains("text/csv"), "{problem}");
        }
    }
}
