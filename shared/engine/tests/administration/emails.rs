//! Email records: drafts are written, sent, and counted.

use mailrail_domain::{
    email::record::{EmailStatus, RECIPIENTS_MAX, SUBJECT_CHARS_MAX},
    settings::organization::Organization,
    words::{
        address::EmailAddress,
        delivery::{Delivery, SynchronizationMethod},
    },
};
use mailrail_engine::{
    administration::{emails::Draft, settings::SettingsChange},
    ports::{EmailRecords, StoredEmail},
};
use mailrail_test_support::build::address;

use super::*;

fn a_draft(to: &[&str]) -> Draft {
    let to = to.iter().map(|to| address(to)).collect();
    Draft { mailbox_id: "m1".into(), to, subject: "Hello".into(), text: "Text.".into(), ..Draft::default() }
}

async fn sender() -> World {
    let world = world();
    let profile = with_profile(&world).await.profile;
    with_mailbox(&world, "m1", &profile).await;
    world
}

async fn drafted(world: &World, to: &[&str]) -> StoredEmail {
    let email = world.create_draft(&ann(), a_draft(to)).await.unwrap();
    world.find_email(email.id.as_str()).await.unwrap()
}

/// Lets a mailbox send to so many recipients in an hour.
async fn limit(world: &World, recipients_per_hour: u32) {
    let before = world.organization().await.unwrap();
    let after = Organization { recipients_per_hour, ..before.organization.clone() };
    world.change_organization(&ann(), SettingsChange { before, after, fields: vec![] }).await.unwrap();
}

#[tokio::test]
async fn a_draft_is_written_with_its_message() {
    let world = sender().await;
    let draft = Draft { cc: vec![address("A@x.test"), address("c@x.test")], ..a_draft(&["a@x.test", "b@x.test"]) };
    let email = world.create_draft(&ann(), draft).await.unwrap();
    assert_eq!(email.status, EmailStatus::Draft);
    let recipients = email.outgoing.as_ref().expect("recipients").recipients.iter();
    let recipients: Vec<&str> = recipients.map(|recipient| recipient.address.as_str()).collect();
    assert_eq!(recipients, ["a@x.test", "b@x.test", "c@x.test"], "each once");
    let raw = world.raw_message(&email, 10_000).await.unwrap();
    assert!(String::from_utf8_lossy(&raw).contains("Text."));
    assert_eq!(world.find_email(email.id.as_str()).await.unwrap().email, email);
    assert_eq!(world.list_emails(&email.mailbox_id, &all()).await.unwrap().items, std::slice::from_ref(&email));

    let answer = Draft { answers: Some(email.id.to_string()), ..a_draft(&["a@x.test"]) };
    let answer = world.create_draft(&ann(), answer).await.unwrap();
    let of_answer = world.email_in_thread(answer.id.as_str()).await.unwrap();
    assert_eq!((of_answer.answers.as_ref(), of_answer.replies.len()), (Some(&email.id), 0));
    let of_email = world.email_in_thread(email.id.as_str()).await.unwrap();
    assert_eq!((of_email.answers, of_email.replies), (None, vec![answer.id]));
}

#[tokio::test]
async fn a_draft_that_cannot_be_sent_is_refused() {
    let world = sender().await;
    check_forbidden(world.create_draft(&rita(), a_draft(&["a@x.test"])).await);
    let nobodys = Draft { mailbox_id: "m2".into(), ..a_draft(&[]) };
    check_invalid(world.create_draft(&ann(), nobodys).await, "mailbox_id");
    let long = Draft { subject: "x".repeat(SUBJECT_CHARS_MAX + 1), ..a_draft(&[]) };
    check_invalid(world.create_draft(&ann(), long).await, "subject");
    let many: Vec<EmailAddress> = (0..=RECIPIENTS_MAX).map(|n| address(&format!("r{n}@x.test"))).collect();
    check_invalid(world.create_draft(&ann(), Draft { bcc: many, ..a_draft(&[]) }).await, "to");
    let lost = Draft { answers: Some("nothing".into()), ..a_draft(&[]) };
    let refusal = world.create_draft(&ann(), lost).await.unwrap_err();
    assert!(matches!(refusal, Refusal::NotFound { what: "email", field: Some("answers"), .. }), "{refusal:?}");
    let none = SynchronizationMethod::None;
    let profile = world.find_profile("p1").await.unwrap().profile;
    let silent = build::mailbox("m3", "m3@example.test", &profile);
    let silent = Mailbox { address: None, incoming_email: none, outgoing_email: none, ..silent };
    world.create_mailbox(&ann(), silent, None).await.unwrap();
    let silent = Draft { mailbox_id: "m3".into(), ..a_draft(&[]) };
    check_invalid(world.create_draft(&ann(), silent).await, "mailbox_id");
    check_not_found(world.find_email("nothing").await);
    check_not_found(world.email_in_thread("no id").await);
}

#[tokio::test]
async fn a_draft_that_is_sent_waits_in_the_outbox_and_its_mailbox_is_woken() {
    let world = sender().await;
    let draft = drafted(&world, &["a@x.test"]).await;
    check_forbidden(world.send_draft(&rita(), draft.clone()).await);
    let sent = world.send_draft(&ann(), draft.clone()).await.unwrap();
    assert_eq!(sent.status, EmailStatus::PendingSend);
    let stored = world.find_email(draft.email.id.as_str()).await.unwrap();
    assert_eq!(stored.email, sent, "what comes back is what was written");
    assert_eq!(world.ports.queue.waiting(Delivery::OutgoingEmail).len(), 1);
    let known = world.know_mailbox("m1").await.unwrap();
    let waiting = world.overview(known).await.unwrap().outbox;
    assert_eq!((waiting.emails, waiting.oldest), (1, Some(sent.received_at)));
    check_conflict(world.send_draft(&ann(), stored).await, "not a draft");
    let nobody = drafted(&world, &[]).await;
    check_invalid(world.send_draft(&ann(), nobody).await, "to");
}

#[tokio::test]
async fn no_more_recipients_are_sent_to_in_an_hour_than_the_settings_say() {
    let world = sender().await;
    limit(&world, 2).await;
    let two = drafted(&world, &["a@x.test", "b@x.test"]).await;
    let one = drafted(&world, &["c@x.test"]).await;
    world.send_draft(&ann(), two).await.unwrap();
    let refusal = world.send_draft(&ann(), one.clone()).await.unwrap_err();
    assert!(matches!(refusal, Refusal::TooMany { .. }), "{refusal:?}");
    let still = world.find_email(one.email.id.as_str()).await.unwrap();
    assert_eq!((still.email.status, still.revision), (EmailStatus::Draft, one.revision));
}

#[tokio::test]
async fn a_race_that_is_lost_burns_no_recipients() {
    let world = sender().await;
    limit(&world, 2).await;
    let draft = drafted(&world, &["a@x.test", "b@x.test"]).await;
    // Somebody else changes the draft between the read and the write.
    world.ports.records.update_outgoing(&draft.email, &draft.revision).await.unwrap().expect("a write");
    for _ in 0..3 {
        check_conflict(world.send_draft(&ann(), draft.clone()).await, "changed at the same moment");
    }
    assert!(world.ports.queue.waiting(Delivery::OutgoingEmail).is_empty());
    let again = world.find_email(draft.email.id.as_str()).await.unwrap();
    let sent = world.send_draft(&ann(), again).await.expect("both recipients are free still");
    assert_eq!(sent.status, EmailStatus::PendingSend);
    let one = drafted(&world, &["c@x.test"]).await;
    assert!(matches!(world.send_draft(&ann(), one).await, Err(Refusal::TooMany { .. })), "and no more than both");
}
