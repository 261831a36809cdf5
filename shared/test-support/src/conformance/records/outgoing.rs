//! Email records on their way out: written by revision.

use futures_util::future::join_all;
use mailrail_domain::{
    email::record::{Email, EmailStatus, Outgoing, Recipient, RecipientStatus},
    words::{
        address::EmailAddress,
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::ports::{EmailRecords, Revision, StoredEmail};

use super::{correspondent, draft, drafted, listed, moved, read};
use crate::build::{address, clock, mailbox_id};

pub async fn a_draft_comes_back_as_it_was_written(store: &impl EmailRecords) {
    let refused = RecipientStatus::Refused { evidence: Evidence::new(Stage::Envelope, "550 no such user") };
    let put_off = RecipientStatus::Pending { evidence: Some(Evidence::new(Stage::Data, "451 later")) };
    let to = |local: &str, status| Recipient { address: address(&format!("{local}@example.org")), status };
    let mut email = draft(&mailbox_id("m1"), "a@example.org", 1);
    email.bcc = vec![correspondent("", "hidden@example.org")];
    email.outgoing = Some(Outgoing {
        recipients: vec![to("a", RecipientStatus::Sent), to("b", refused), to("c", put_off)],
        attempts: 3,
        next_attempt: Some(clock()),
        outcome_unknown: vec![EmailAddress::parse("a@example.org").unwrap()],
        unknown_because: Some(Evidence::new(Stage::Data, "500 failed to send")),
        failed_to_send: true,
        failed_searches: 2,
        unknown_outcomes: 1,
        may_have_copy: true,
        note: Some("It is not known whether the email was sent.".to_owned()),
    });
    assert_eq!(drafted(store, &email).await.email, email);
}

pub async fn a_draft_whose_id_is_taken_is_refused(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let before = drafted(store, &draft(&mailbox, "a@example.org", 1)).await;
    let in_reply_to = Some("question@example.org".to_owned());
    let second = Email { in_reply_to, ..draft(&mailbox_id("m2"), "a@example.org", 2) };
    assert!(!store.insert_draft(&second).await.unwrap());
    assert_eq!(read(store, &second.id).await, before);
    assert_eq!(listed(store, &second.mailbox_id).await, []);
    assert_eq!(store.replies("question@example.org").await.unwrap(), []);
}

pub async fn a_draft_is_on_the_list_of_its_mailbox(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let email = drafted(store, &draft(&mailbox, "a@example.org", 1)).await.email;
    assert_eq!(listed(store, &mailbox).await, [email]);
}

pub async fn an_update_moves_the_revision_and_every_read_shows_it(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let before = drafted(store, &draft(&mailbox, "a@example.org", 1)).await;
    let mut email = before.email.clone();
    email.subject = "Changed".to_owned();
    email.raw_key = format!("emails/{}/raw", email.id);
    let after = store.update_outgoing(&email, &before.revision).await.unwrap().expect("nobody else wrote");
    assert_eq!(after.email, email);
    assert_ne!(after.revision, before.revision);
    assert_eq!(read(store, &email.id).await, after);
    assert_eq!(listed(store, &mailbox).await, std::slice::from_ref(&email));
    assert_eq!(store.with_message_id("a@example.org").await.unwrap(), [email]);
}

pub async fn an_update_after_somebody_else_wrote_changes_nothing(store: &impl EmailRecords) {
    let old = drafted(store, &draft(&mailbox_id("m1"), "a@example.org", 1)).await;
    let newer = moved(store, &old, EmailStatus::Draft).await;
    let late = Email { subject: "Late".to_owned(), ..old.email };
    assert_eq!(store.update_outgoing(&late, &old.revision).await.unwrap(), None);
    assert_eq!(read(store, &late.id).await, newer);
}

pub async fn an_update_of_an_unknown_email_writes_nothing(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let email = Email { status: EmailStatus::PendingSend, ..draft(&mailbox, "a@example.org", 1) };
    let ours = drafted(store, &draft(&email.mailbox_id, "other@example.org", 1)).await.revision;
    for revision in [ours, Revision::new("of another store")] {
        assert_eq!(store.update_outgoing(&email, &revision).await.unwrap(), None);
    }
    assert_eq!(store.email(&email.id).await.unwrap(), None);
}

pub async fn of_twenty_racing_updates_exactly_one_wins(store: &impl EmailRecords) {
    let stored = drafted(store, &draft(&mailbox_id("m1"), "a@example.org", 1)).await;
    let sending = Email { status: EmailStatus::Sending, ..stored.email.clone() };
    let updates = join_all((0..20).map(|_| store.update_outgoing(&sending, &stored.revision))).await;
    let won: Vec<StoredEmail> = updates.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(won, [read(store, &sending.id).await]);
}

pub async fn a_draft_that_is_written_again_is_taken_for_the_first(store: &impl EmailRecords) {
    let before = drafted(store, &draft(&mailbox_id("m1"), "a@example.org", 1)).await;
    assert!(store.insert_draft(&before.email).await.unwrap(), "an answer that was lost is no other email");
    assert_eq!(read(store, &before.email.id).await, before);
}

pub async fn several_records_are_read_in_the_order_of_their_ids(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let first = drafted(store, &draft(&mailbox, "a@example.org", 1)).await;
    let second = drafted(store, &draft(&mailbox, "b@example.org", 2)).await;
    let second = moved(store, &second, EmailStatus::PendingSend).await;
    let unknown = draft(&mailbox, "c@example.org", 3).id;
    let ids = [second.email.id.clone(), unknown, first.email.id.clone()];
    assert_eq!(store.emails_with(&ids).await.unwrap(), [second, first]);
    assert_eq!(store.emails_with(&[]).await.unwrap(), []);
}
