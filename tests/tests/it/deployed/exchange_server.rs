//! Mailboxes of an Exchange Server through the deployed functions, over TLS with a private authority.

use end_to_end::on_premises::{DOMAIN, PASSWORD, SERVICE};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Console, RUN, changed,
    exchange::{OtherSide, passed_stages, person, reads_and_answers, tested},
    id, stack, wait_for,
};

fn profile(changes: Value) -> Value {
    let fields = json!({
        "name": "Exchange Server",
        "owner_address": stack().mail.accounts.address,
        "server_type": "exchange-server",
        "location": format!("{}/EWS/Exchange.asmx", stack().exchange_server.url),
        "credentials": "profile",
        "username": SERVICE,
        "password": PASSWORD,
        "use_impersonation": true,
    });
    changed(fields, changes)
}

#[tokio::test]
async fn a_mailbox_of_an_exchange_server_is_tested_read_and_sent_from() {
    let (console, server) = (Console::new(), OtherSide::at(&stack().exchange_server.url));
    let (ada, bob) = (person("ada", DOMAIN), person("bob", DOMAIN));
    for one in [&ada, &bob] {
        server.deliver(one, Vec::new()).await;
    }
    let made = console.create("/v1/profiles", &profile(json!({ "move_undeliverable": true }))).await;
    assert_eq!((&made["has_password"], &made["password"]), (&json!(true), &Value::Null));
    let profile = id(&made);
    let mailbox = json!({ "name": "Ada", "address": ada, "profile_id": profile });
    let mailbox = id(&console.create("/v1/mailboxes", &mailbox).await);
    let body = json!({ "mailbox_ids": [mailbox], "verdict": "approve" });
    console.succeed(Method::POST, "/v1/mailboxes/approval", &body, 200).await;
    let test = tested(&console, &mailbox).await;
    assert_eq!(passed_stages(&test, 0), ["tls", "sign-in", "impersonate", "open", "list"]);
    assert_eq!(passed_stages(&test, 1), ["tls", "sign-in", "impersonate", "open", "envelope", "data", "arrive"]);
    reads_and_answers(&console, &server, &mailbox, (&ada, &bob)).await;

    // What cannot become a record is moved out of the way, and the folder's identifier is kept.
    server.deliver(&ada, b"Garbage: \xff\xfe\r\nOf: nobody\r\n\r\nnothing that a mail system wrote\r\n".to_vec()).await;
    console.run(&mailbox, "incoming-email").await;
    wait_for("the folder of what cannot be processed", RUN, async || {
        let mailbox = console.get(&format!("/v1/mailboxes/{mailbox}")).await;
        mailbox["deliveries"]["incoming-email"]["undeliverable_folder"].is_string().then_some(())
    })
    .await;
    console.clear(&[&mailbox], &profile).await;
}

#[tokio::test]
async fn a_profile_of_an_exchange_server_is_checked_when_it_is_saved() {
    let console = Console::new();
    for (changes, field) in [
        (json!({ "location": "http://mail.example.com/EWS/Exchange.asmx" }), "location"),
        (json!({ "location": null }), "location"),
        (json!({ "username": "DOMAIN\\service" }), "username"),
        (json!({ "authentication": "xoauth2" }), "authentication"),
        (json!({ "authentication": "client-certificate" }), "credentials"),
        (json!({ "exchange_version": "exchange2010" }), "exchange_version"),
        (json!({ "server_type": "internet-mail", "location": null, "use_impersonation": false }), "incoming"),
    ] {
        let problem = console.json(Method::POST, "/v1/profiles", &profile(changes)).await.problem(422);
        assert_eq!(problem["field"], field, "{problem}");
    }
    let by_ntlm = json!({ "authentication": "ntlm", "username": "DOMAIN\\service" });
    let made = console.create("/v1/profiles", &profile(by_ntlm)).await;
    console.delete(&format!("/v1/profiles/{}", id(&made))).await;
}
