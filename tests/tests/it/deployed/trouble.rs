//! What the deployed functions do about failures, and what the owner and the administrator see of them.

use std::time::Duration;

use end_to_end::stack::{Account, eventually, stack};
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use tokio::{net::TcpSocket, sync::OnceCell};

use super::{Console, RUN, changed, deployed_account, letter, profile, send, wait_for};

/// Ten tries, two seconds apart, each through the queue of a busy machine.
const TEN_TRIES: Duration = Duration::from_secs(180);
/// Notices go out once a minute, and the emulator looks at its schedules every ten seconds.
const NOTICE: Duration = Duration::from_secs(150);
/// The emulator asks for a signature's form and not for its value.
const SIGNED_AT: &str = "20240101T000000Z";

/// Sets the mailbox that sends notices. It is the whole organization's, so all tests share one.
async fn set_notice_mailbox(console: &Console) {
    static SET: OnceCell<()> = OnceCell::const_new();
    let set = async || {
        let profile = console.profile("Notices", json!({ "incoming": null })).await;
        let changes = json!({ "incoming_email": "none" });
        let mailbox = console.mailbox("Service desk", &deployed_account(), &profile, changes).await;
        let organization = console.patch("/v1/organization", &json!({ "notice_mailbox_id": mailbox })).await;
        assert_eq!(
            (&organization["notice_mailbox_id"], &organization),
            (&json!(mailbox), &console.get("/v1/organization").await)
        );
    };
    SET.get_or_init(set).await;
}

/// Checks that the notice of a disabling was sent, and that the owner has it with these words.
async fn check_notice(console: &Console, mailbox: &str, owner: &Account, words: &[&str]) {
    let notice = wait_for("the notice as sent", NOTICE, async || {
        let notices = console.all("/v1/notices?status=sent&limit=100").await;
        notices.into_iter().find(|notice| notice["mailbox_id"] == mailbox)
    });
    let notice = notice.await;
    assert_eq!((&notice["to"], &notice["delivery"]), (&json!(owner.address), &json!("incoming-email")));
    // Its Message-ID has the mailbox's: what an earlier run left to be told comes to the same owner.
    let arrived = eventually("the notice in the owner's inbox", || {
        let texts = owner.files().into_iter().filter_map(|file| std::fs::read_to_string(file).ok());
        texts.into_iter().find(|text| text.contains(&format!("notice-{mailbox}")))
    });
    let arrived = arrived.await;
    // Long lines are broken by "=", a line end, in quoted-printable.
    let arrived = arrived.replace("=\n", "");
    for part in words {
        assert!(arrived.contains(part), "\"{part}\" is not in the notice: {arrived}");
    }
}

async fn wait_until_disabled(console: &Console, mailbox: &str, longest: Duration) -> Vec<u64> {
    let mut counts = Vec::new();
    wait_for("the delivery as disabled", longest, async || {
        let delivery = console.delivery(mailbox, "incoming-email").await;
        let count = delivery["transient_failure_count"].as_u64().expect("a count");
        if counts.last() != Some(&count) {
            counts.push(count);
        }
        (delivery["enabled"] == false).then_some(())
    })
    .await;
    counts
}

/// The only alert of a mailbox, which must be open.
async fn open_alert(console: &Console, mailbox: &str, kind: &str, cause: &str) -> Value {
    let alerts = console.alerts(mailbox).await;
    let [alert] = &alerts[..] else { panic!("one alert: {alerts:#?}") };
    assert_eq!(
        (&alert["kind"], &alert["status"], &alert["level"]),
        (&json!(kind), &json!("open"), &json!("error")),
        "{alert}"
    );
    assert_eq!((&alert["cause"], &alert["delivery"]), (&json!(cause), &json!("incoming-email")), "{alert}");
    assert!(alert["resolution"].as_array().is_some_and(|steps| !steps.is_empty()), "{alert}");
    assert!(alert["evidence"]["words"].as_str().is_some_and(|words| !words.is_empty()), "{alert}");
    alert.clone()
}

#[tokio::test]
async fn a_wrong_password_disables_at_once_and_the_owner_is_told_until_it_is_mended() {
    let console = Console::new();
    set_notice_mailbox(&console).await;
    let (owner, account) = (deployed_account(), deployed_account());
    let profile = console.profile("Of a wrong password", json!({ "owner_address": owner.address })).await;
    let wrong = json!({ "password": format!("not {}", account.password), "outgoing_email": "none" });
    let mailbox = console.mailbox("Wrong Password", &account, &profile, wrong).await;
    account.deliver(&letter(&mailbox, "waiting"));
    console.run(&mailbox, "incoming-email").await;
    assert_eq!(wait_until_disabled(&console, &mailbox, RUN).await, [0], "no transient failure");
    let alert = open_alert(&console, &mailbox, "mailbox-credentials-incorrect", "credentials-refused").await;
    let open = console.all("/v1/alerts?status=open&limit=100").await;
    assert!(open.contains(&alert), "it is among the open alerts");
    let words = alert["evidence"]["words"].as_str().expect("words");
    check_notice(&console, &mailbox, &owner, &["Wrong Password", words]).await;

    let path = format!("/v1/mailboxes/{mailbox}");
    console.patch(&path, &json!({ "password": account.password })).await;
    let enable = format!("{path}/deliveries/incoming-email/enable");
    let enabled = console.succeed(reqwest::Method::POST, &enable, &Value::Null, 200).await;
    assert_eq!(enabled["deliveries"]["incoming-email"]["enabled"], true);
    console.record(&mailbox, "waiting").await;
    let alerts = console.alerts(&mailbox).await;
    assert!(alerts.iter().all(|alert| alert["status"] == "closed"), "{alerts:#?}");
    let delivery = console.delivery(&mailbox, "incoming-email").await;
    assert_eq!((&delivery["enabled"], &delivery["status"]), (&json!(true), &json!("success")));
    console.clear(&[&mailbox], &profile).await;
}

#[tokio::test]
async fn a_dead_server_is_tried_ten_times_and_the_tenth_disables() {
    let console = Console::new();
    set_notice_mailbox(&console).await;
    let (owner, account) = (deployed_account(), deployed_account());
    // Taken and not listened at: as long as the test holds it, nobody answers there.
    let closed = TcpSocket::new_v4().expect("a socket");
    closed.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let port = closed.local_addr().expect("a port").port();
    let incoming = changed(profile("P", json!({}))["incoming"].clone(), json!({ "port": port }));
    let profile = console.profile("Dead", json!({ "owner_address": owner.address, "incoming": incoming })).await;
    let mailbox = console.mailbox("Of a dead server", &account, &profile, json!({})).await;
    console.run(&mailbox, "incoming-email").await;
    let counts = wait_until_disabled(&console, &mailbox, TEN_TRIES).await;
    assert!(counts.is_sorted() && counts.len() > 3 && counts.last() == Some(&10), "{counts:?}");
    let alert = open_alert(&console, &mailbox, "server-not-reachable", "connection-refused").await;
    assert_eq!(alert["count"], 10);
    let outgoing = console.delivery(&mailbox, "outgoing-email").await;
    assert_eq!(outgoing["enabled"], true, "the other delivery goes on");
    let words = alert["evidence"]["words"].as_str().expect("words");
    check_notice(&console, &mailbox, &owner, &["Of a dead server", words]).await;
    console.clear(&[&mailbox], &profile).await;
}

/// A call of the emulator, as the AWS CLI would make it.
async fn aws(console: &Console, service: &str, path: &str, target: Option<&str>, body: &Value) -> Value {
    let aws = &stack().aws;
    let (day, _) = SIGNED_AT.split_at(8);
    let scope = format!("{}/{day}/{}/{service}/aws4_request", aws.aws_access_key_id, aws.region);
    let signed = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=0");
    let request = console.http.post(format!("{}{path}", aws.url)).header(AUTHORIZATION, signed);
    let request = request.header("X-Amz-Date", SIGNED_AT).header("Content-Type", "application/x-amz-json-1.0");
    let request = target.into_iter().fold(request, |request, target| request.header("X-Amz-Target", target));
    let answer = send(request.body(body.to_string())).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

#[tokio::test]
async fn functions_that_are_invoked_by_hand_say_what_they_did() {
    let console = Console::new();
    for function in ["receive-email", "send-email"] {
        let path = format!("/2015-03-31/functions/{}/invocations", stack().functions[function]);
        let did = aws(&console, "lambda", &path, None, &json!({})).await;
        assert!(did["done"].is_u64() && did["left"].is_u64(), "{did}");
    }
}

#[tokio::test]
async fn an_unreadable_message_in_the_queue_stays_there_and_holds_nobody_up() {
    let console = Console::new();
    let account = deployed_account();
    let profile = console.profile("Beside the unreadable", json!({})).await;
    let mailbox = console.mailbox("Beside", &account, &profile, json!({ "outgoing_email": "none" })).await;
    let queue = &stack().outputs["IncomingEmailQueueUrl"];
    for message in ["no json", "{\"version\": 99}"] {
        let unreadable = json!({ "QueueUrl": queue, "MessageBody": message });
        aws(&console, "sqs", "/", Some("AmazonSQS.SendMessage"), &unreadable).await;
    }
    account.deliver(&letter(&mailbox, "beside"));
    console.receive(&mailbox, "beside").await;
    // Taken by the function and not deleted, they come back after the queue's visibility timeout, ten times.
    wait_for("the unreadable messages as taken and kept", RUN, async || {
        let wanted = json!({ "QueueUrl": queue, "AttributeNames": ["ApproximateNumberOfMessagesNotVisible"] });
        let seen = aws(&console, "sqs", "/", Some("AmazonSQS.GetQueueAttributes"), &wanted).await;
        let kept = seen["Attributes"]["ApproximateNumberOfMessagesNotVisible"].as_str()?.parse::<u32>().ok()?;
        (kept >= 2).then_some(())
    })
    .await;
    console.clear(&[&mailbox], &profile).await;
}
