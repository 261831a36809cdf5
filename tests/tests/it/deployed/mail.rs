//! Email through the deployed functions: in, out, and what the console shows of it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Console, RUN, deployed_account, id, letter, wait_for};

/// A text in Latin-1, HTML that must be cleaned, and an attachment.
const PARTS: &[u8] = b"--outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n\
    --inner\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xfc\xdfe\r\n\
    --inner\r\nContent-Type: text/html\r\n\r\n<b onclick=\"steal()\">Hello</b><script>steal()</script>\
    <img src=\"http://tracker.test/pixel\">\r\n--inner--\r\n\
    --outer\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"offer.pdf\"\r\n\
    Content-Transfer-Encoding: base64\r\n\r\nJVBERi0x\r\n--outer--\r\n";

#[tokio::test]
async fn an_email_from_outside_becomes_a_record_and_its_bytes_are_handed_out() {
    let console = Console::new();
    let account = deployed_account();
    let profile = console.profile("Incoming", json!({})).await;
    let mailbox = console.mailbox("Incoming", &account, &profile, json!({ "outgoing_email": "none" })).await;
    let offer = letter(&mailbox, "offer").field("MIME-Version", "1.0");
    let offer = offer.field("Content-Type", "multipart/mixed; boundary=outer").body(PARTS);
    account.deliver(&offer);
    let record = console.receive(&mailbox, "offer").await;
    assert_eq!((&record["status"], &record["direction"]), (&json!("received"), &json!("incoming")));
    assert_eq!(record["message_id"], json!(offer.message_id));
    assert_eq!(record["text"].as_str().expect("a text").trim(), "Gr\u{fc}\u{df}e");
    let html = record["html"].as_str().expect("HTML");
    assert!(html.contains("<b>Hello</b>"), "{html}");
    assert!(!["onclick", "script", "tracker.test"].iter().any(|bad| html.contains(bad)), "{html}");
    let attachment = &record["attachments"][0];
    assert_eq!((&attachment["name"], &attachment["size"]), (&json!("offer.pdf"), &json!(6)), "{record}");
    assert_eq!(attachment["content_type"], "application/pdf");

    let raw = console.json(Method::GET, &format!("/v1/emails/{}/raw", id(&record)), &Value::Null).await;
    assert_eq!((raw.status, raw.media_type()), (200, "message/rfc822"));
    assert!(raw.body == offer.raw(), "{}", String::from_utf8_lossy(&raw.body));
    assert_eq!(raw.headers["x-content-type-options"], "nosniff");
    console.clear(&[&mailbox], &profile).await;
}

#[tokio::test]
async fn a_reply_and_what_it_answers_name_each_other() {
    let console = Console::new();
    let account = deployed_account();
    let profile = console.profile("Replies", json!({})).await;
    let mailbox = console.mailbox("Replies", &account, &profile, json!({ "outgoing_email": "none" })).await;
    let question = letter(&mailbox, "question");
    let answered = format!("<{}>", question.message_id.as_deref().unwrap_or_default());
    // The reply comes first: it must not matter.
    account.deliver(&letter(&mailbox, "answer").field("In-Reply-To", &answered).field("References", &answered));
    let answer = console.receive(&mailbox, "answer").await;
    assert_eq!((&answer["answers"], &answer["replies"]), (&Value::Null, &json!([])), "the question is not there yet");
    account.deliver(&question);
    let question = console.receive(&mailbox, "question").await;
    assert_eq!((&question["answers"], &question["replies"]), (&Value::Null, &json!([id(&answer)])));
    let answer = console.get(&format!("/v1/emails/{}", id(&answer))).await;
    assert_eq!((&answer["answers"], &answer["replies"]), (&json!(id(&question)), &json!([])));

    let draft = json!({ "mailbox_id": mailbox, "to": ["x@example.test"], "subject": "mine", "answers": id(&answer) });
    let draft = console.create("/v1/emails", &draft).await;
    let draft = console.get(&format!("/v1/emails/{}", id(&draft))).await;
    assert_eq!((&draft["answers"], &draft["status"]), (&json!(id(&answer)), &json!("draft")));
    console.clear(&[&mailbox], &profile).await;
}

#[tokio::test]
async fn an_email_is_sent_once_and_arrives() {
    let console = Console::new();
    let (from, to, hidden) = (deployed_account(), deployed_account(), deployed_account());
    let profile = console.profile("Outgoing", json!({})).await;
    let mailbox = console.mailbox("Sales", &from, &profile, json!({ "incoming_email": "none" })).await;
    let email = json!({
        "mailbox_id": mailbox, "to": [to.address], "bcc": [hidden.address, to.address], "subject": "The offer",
        "text": "Text.", "html": "<p>Text.</p>",
    });
    let draft = console.create("/v1/emails", &email).await;
    assert_eq!((&draft["status"], &draft["from"]), (&json!("draft"), &json!(from.address)));
    let path = format!("/v1/emails/{}", id(&draft));
    let send = format!("{path}/send");
    let pending = console.succeed(Method::POST, &send, &Value::Null, 202).await;
    assert_eq!(pending["status"], "pending-send");
    console.json(Method::POST, &send, &Value::Null).await.problem(409);
    let sent = wait_for("the email as sent", RUN, async || {
        let email = console.get(&path).await;
        assert_ne!(email["status"], "failed", "{email}");
        (email["status"] == "sent").then_some(email)
    });
    let sent = sent.await;
    let recipients = sent["outgoing"]["recipients"].as_array().expect("recipients");
    let results: Vec<_> = recipients.iter().map(|recipient| (&recipient["address"], &recipient["status"])).collect();
    assert_eq!(results, [(&json!(to.address), &json!("sent")), (&json!(hidden.address), &json!("sent"))]);
    for account in [&to, &hidden] {
        let arrived = account.wait_for_files(1).await;
        let arrived = std::fs::read_to_string(&arrived[0]).expect("a message that arrived");
        let (headers, _) = arrived.split_once("\n\n").expect("headers");
        assert!(headers.contains("Subject: The offer") && headers.contains(&from.address), "{headers}");
        assert!(!headers.contains("Bcc"), "{headers}");
    }
    console.json(Method::POST, &send, &Value::Null).await.problem(409);
    console.clear(&[&mailbox], &profile).await;
}

#[tokio::test]
async fn an_email_that_cannot_be_sent_is_refused_with_the_field() {
    let console = Console::new();
    let profile = console.profile("Nothing to send", json!({})).await;
    let mailbox = console.mailbox("Nothing", &deployed_account(), &profile, json!({ "incoming_email": "none" })).await;
    let draft = console.create("/v1/emails", &json!({ "mailbox_id": mailbox, "subject": "To nobody" })).await;
    let send = format!("/v1/emails/{}/send", id(&draft));
    let problem = console.json(Method::POST, &send, &Value::Null).await.problem(422);
    assert!(problem["field"] == "to" && problem["remedy"].is_string(), "{problem}");
    for (email, field) in [
        (json!({ "mailbox_id": "nothing" }), "mailbox_id"),
        (json!({ "mailbox_id": mailbox, "cc": ["a@example.test", "nobody"] }), "cc[1]"),
        (json!({ "mailbox_id": mailbox, "subject": "x".repeat(801) }), "subject"),
        (json!({ "mailbox_id": mailbox, "from": "me" }), "from"),
    ] {
        let problem = console.json(Method::POST, "/v1/emails", &email).await.problem(422);
        assert!(problem["field"] == field && problem["remedy"].is_string(), "{problem}");
    }
    let email = json!({ "mailbox_id": mailbox, "answers": "nothing" });
    let problem = console.json(Method::POST, "/v1/emails", &email).await.problem(404);
    assert_eq!(problem["field"], "answers");
    console.clear(&[&mailbox], &profile).await;
}

#[tokio::test]
async fn a_mailbox_goes_on_where_it_was_under_another_profile() {
    let console = Console::new();
    let account = deployed_account();
    let first = console.profile("First", json!({})).await;
    let second = console.profile("Second", json!({})).await;
    let mailbox = console.mailbox("Moving", &account, &first, json!({ "outgoing_email": "none" })).await;
    account.deliver(&letter(&mailbox, "before"));
    console.receive(&mailbox, "before").await;
    console.patch(&format!("/v1/mailboxes/{mailbox}"), &json!({ "profile_id": second })).await;
    console.delete(&format!("/v1/profiles/{first}")).await;
    account.deliver(&letter(&mailbox, "after"));
    console.receive(&mailbox, "after").await;
    let emails = console.all(&format!("/v1/mailboxes/{mailbox}/emails?limit=1")).await;
    assert_eq!(emails.len(), 2, "{emails:?}");
    console.clear(&[&mailbox], &second).await;
}
