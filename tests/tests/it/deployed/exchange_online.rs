//! Mailboxes of Exchange Online through the deployed functions, over TLS, from the profile to the sent email.

use end_to_end::online::{CLIENT, SECRET, TENANT};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Console, changed,
    exchange::{OtherSide, passed_stages, person, reads_and_answers, tested},
    id, stack,
};
use crate::exchange_online::certificate_pem;

fn profile(changes: Value) -> Value {
    let fields = json!({
        "name": "Exchange Online",
        "owner_address": stack().mail.accounts.address,
        "server_type": "exchange-online",
        "autodiscover": true,
        "tenant_id": TENANT,
        "client_id": CLIENT,
        "credentials": "server-to-server",
        "authentication": "client-secret",
        "password": SECRET,
    });
    changed(fields, changes)
}

#[tokio::test]
async fn a_mailbox_of_exchange_online_is_approved_tested_read_and_sent_from() {
    let (console, tenant) = (Console::new(), OtherSide::at(&stack().exchange_online.url));
    let (ada, bob) = (person("ada", "online.test"), person("bob", "online.test"));
    for one in [&ada, &bob] {
        tenant.deliver(one, Vec::new()).await;
    }
    let made = console.create("/v1/profiles", &profile(json!({}))).await;
    assert_eq!((&made["has_password"], &made["password"]), (&json!(true), &Value::Null));
    let profile = id(&made);
    let mailbox = json!({ "name": "Ada", "address": ada, "profile_id": profile });
    let mailbox = id(&console.create("/v1/mailboxes", &mailbox).await);
    let path = format!("/v1/mailboxes/{mailbox}");

    // The tenant's administrator has to approve; an administrator's approval alone does not do.
    let decide = async |verdict: &str| {
        let body = json!({ "mailbox_ids": [mailbox], "verdict": verdict });
        console.succeed(Method::POST, "/v1/mailboxes/approval", &body, 200).await
    };
    decide("approve").await;
    let enable = format!("{path}/deliveries/incoming-email/enable");
    console.json(Method::POST, &enable, &Value::Null).await.problem(409);
    decide("approve-for-tenant").await;

    let test = tested(&console, &mailbox).await;
    assert_eq!(passed_stages(&test, 0), ["sign-in", "consent", "find-user", "open", "list"]);
    assert_eq!(passed_stages(&test, 1), ["sign-in", "consent", "find-user", "open", "envelope", "data", "arrive"]);
    reads_and_answers(&console, &tenant, &mailbox, (&ada, &bob)).await;
    console.clear(&[&mailbox], &profile).await;
}

#[tokio::test]
async fn a_certificate_is_checked_when_it_is_saved_and_never_shown() {
    let console = Console::new();
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let key = include_str!("../exchange_online/rsa-key.pem");
    for (changes, field) in [
        (json!({ "password": null, "certificate": "no PEM", "authentication": "client-certificate" }), "certificate"),
        (json!({ "password": null, "certificate": pem, "authentication": "client-certificate" }), "certificate"),
        (json!({ "certificate": format!("{pem}{key}") }), "certificate"),
        (json!({ "client_id": "mailrail" }), "client_id"),
        (json!({ "cloud": "private" }), "cloud"),
        (json!({ "tracked_folders": ["a", "a"] }), "tracked_folders"),
    ] {
        let problem = console.json(Method::POST, "/v1/profiles", &profile(changes)).await.problem(422);
        assert_eq!(problem["field"], field, "{problem}");
        assert!(!problem.to_string().contains("PRIVATE KEY"), "{problem}");
    }
    let certificate = json!({
        "password": null, "authentication": "client-certificate",
        "certificate": format!("{}{key}", certificate_pem()),
    });
    let made = console.create("/v1/profiles", &profile(certificate)).await;
    assert_eq!((&made["has_password"], &made["certificate"]), (&json!(true), &Value::Null));
    console.delete(&format!("/v1/profiles/{}", id(&made))).await;
}
