//! The quarantine through the deployed functions.

use mailrail_test_support::build::clock;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Console, RUN, deployed_account, letter, wait_for};

#[tokio::test]
async fn a_message_in_quarantine_is_listed_tried_again_and_found_by_whoever_misses_it() {
    let console = Console::new();
    let account = deployed_account();
    let profile = console.profile("Of the quarantine", json!({})).await;
    let mailbox = console.mailbox("Quarantined", &account, &profile, json!({ "outgoing_email": "none" })).await;
    account.deliver_raw(format!("X-Of: {mailbox}\n\nno message at all\n").as_bytes(), clock());
    account.deliver(&letter(&mailbox, "beside it"));
    console.receive(&mailbox, "beside it").await;
    let path = format!("/v1/mailboxes/{mailbox}/quarantine?limit=100");
    let entry = wait_for("the message in quarantine", RUN, async || console.all(&path).await.into_iter().next()).await;
    assert_eq!((&entry["reason"], &entry["attempts"]), (&json!("not-a-message"), &json!(1)), "{entry}");
    let anywhere = console.all("/v1/quarantine?reason=not-a-message&limit=100").await;
    assert!(anywhere.contains(&entry), "{anywhere:?}");

    let replay = json!({ "mailbox_id": mailbox, "remote_ids": [entry["remote_id"], "imap-1-99999"] });
    let result = console.succeed(Method::POST, "/v1/quarantine/replay", &replay, 200).await;
    assert_eq!(result["recorded"], json!([]), "{result}");
    assert_eq!(result["refused"].as_array().expect("a list").len(), 2, "{result}");
    let all = console.succeed(Method::POST, "/v1/quarantine/replay", &json!({ "mailbox_id": mailbox }), 200).await;
    assert_eq!((all["refused"].as_array().expect("a list").len(), &all["more"]), (1, &json!(false)), "{all}");
    assert_eq!(console.all(&path).await[0]["attempts"], 3);

    let found = console.get(&format!("/v1/mailboxes/{mailbox}/why?subject=beside")).await;
    assert_eq!(found[0]["finding"], "recorded", "{found}");
    let missing = console.get(&format!("/v1/mailboxes/{mailbox}/why?message_id=nowhere@sender.test")).await;
    assert_eq!(missing[0]["finding"], "not-here", "{missing}");
    let nothing = console.json(Method::GET, &format!("/v1/mailboxes/{mailbox}/why"), &Value::Null).await;
    assert_eq!(nothing.problem(422)["field"], "message_id");
    let half = console.json(Method::POST, "/v1/quarantine/replay", &json!({ "remote_ids": ["x"] })).await;
    assert_eq!(half.problem(422)["field"], "mailbox_id");
    console.clear(&[&mailbox], &profile).await;
}
