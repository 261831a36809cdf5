//! Email records on their way out: written by revision, in the outbox until they are sent, counted by the hour.

use futures_util::future::join_all;
use mailrail_domain::{
    email::record::{Email, EmailStatus, Outgoing, Recipient, RecipientStatus},
    words::{
        address::EmailAddress,
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::ports::{EmailRecords, Revision, StoredEmail};

use super::{correspondent, draft, drafted, listed, moved, outbox, pending, read};
use crate::{
    build::{address, clock, mailbox_id},
    conformance::every_page,
};

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
        note: Some("It is not known whether the email was sent.".to_owned()),
    });
    assert_eq!(drafted(store, &email).await.email, email);
}

pub async fn a_draft_whose_id_is_taken_is_refused(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let before = pending(store, &mailbox, "a@example.org", 1).await;
    let in_reply_to = Some("question@example.org".to_owned());
    let second = Email { in_reply_to, ..draft(&mailbox_id("m2"), "a@example.org", 2) };
    assert!(!store.insert_draft(&second).await.unwrap());
    assert_eq!(read(store, &second.id).await, before);
    assert_eq!(outbox(store, &mailbox).await, [before]);
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
    assert_eq!(outbox(store, &mailbox).await, []);
}

pub async fn of_twenty_racing_updates_exactly_one_wins(store: &impl EmailRecords) {
    let stored = pending(store, &mailbox_id("m1"), "a@example.org", 1).await;
    let sending = Email { status: EmailStatus::Sending, ..stored.email.clone() };
    let updates = join_all((0..20).map(|_| store.update_outgoing(&sending, &stored.revision))).await;
    let won: Vec<StoredEmail> = updates.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(won, [read(store, &sending.id).await]);
}

pub async fn an_email_is_in_the_outbox_from_pending_send_until_it_is_sent(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let mut stored = drafted(store, &draft(&mailbox, "a@example.org", 1)).await;
    assert_eq!(outbox(store, &mailbox).await, []);
    for status in [EmailStatus::PendingSend, EmailStatus::Sending] {
        stored = moved(store, &stored, status).await;
        assert_eq!(outbox(store, &mailbox).await, std::slice::from_ref(&stored), "{status:?}");
    }
    moved(store, &stored, EmailStatus::Sent).await;
    assert_eq!(outbox(store, &mailbox).await, []);
}

pub async fn a_failed_email_is_not_in_the_outbox(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    for (message_id, on_the_way) in
        [("a@example.org", EmailStatus::PendingSend), ("b@example.org", EmailStatus::Sending)]
    {
        let mut stored = pending(store, &mailbox, message_id, 1).await;
        if on_the_way == EmailStatus::Sending {
            stored = moved(store, &stored, on_the_way).await;
        }
        moved(store, &stored, EmailStatus::Failed).await;
        assert_eq!(outbox(store, &mailbox).await, [], "failed from {on_the_way:?}");
    }
}

pub async fn an_email_that_is_taken_back_leaves_the_outbox(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let stored = pending(store, &mailbox, "a@example.org", 1).await;
    let draft = moved(store, &stored, EmailStatus::Draft).await;
    assert_eq!(outbox(store, &mailbox).await, []);
    let again = moved(store, &draft, EmailStatus::PendingSend).await;
    assert_eq!(outbox(store, &mailbox).await, [again]);
}

pub async fn an_email_that_is_put_off_stands_in_the_outbox_once(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let mut stored = pending(store, &mailbox, "a@example.org", 1).await;
    for status in [
        EmailStatus::Sending,
        EmailStatus::PendingSend,
        EmailStatus::PendingSend,
        EmailStatus::Sending,
        EmailStatus::Sending,
        EmailStatus::PendingSend,
    ] {
        stored.email.outgoing.as_mut().expect("an outgoing email").attempts += 1;
        stored = moved(store, &stored, status).await;
        assert_eq!(outbox(store, &mailbox).await, std::slice::from_ref(&stored), "{status:?}");
    }
}

pub async fn an_update_that_is_refused_leaves_the_outbox(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let old = drafted(store, &draft(&mailbox, "a@example.org", 1)).await;
    let newer = moved(store, &old, EmailStatus::PendingSend).await;
    let sent = Email { status: EmailStatus::Sent, ..old.email };
    assert_eq!(store.update_outgoing(&sent, &old.revision).await.unwrap(), None);
    assert_eq!(outbox(store, &mailbox).await, std::slice::from_ref(&newer));
    let gone = moved(store, &newer, EmailStatus::Sent).await;
    let pending = Email { status: EmailStatus::PendingSend, ..gone.email };
    assert_eq!(store.update_outgoing(&pending, &newer.revision).await.unwrap(), None);
    assert_eq!(outbox(store, &mailbox).await, []);
}

pub async fn an_outbox_comes_in_pages_the_oldest_emails_first(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let mut expected = Vec::new();
    for (n, name) in (0..).zip(["e", "b", "d", "a", "c"]) {
        expected.push(pending(store, &mailbox, &format!("{name}@example.org"), n).await);
    }
    assert_eq!(outbox(store, &mailbox).await, expected);
    assert_eq!(every_page(2, async |page| store.outbox(&mailbox, page).await).await, expected);
}

pub async fn an_outbox_has_the_emails_of_its_own_mailbox(store: &impl EmailRecords) {
    let stored = pending(store, &mailbox_id("m1"), "a@example.org", 1).await;
    let other = pending(store, &mailbox_id("m11"), "b@example.org", 1).await;
    assert_eq!(outbox(store, &mailbox_id("m1")).await, [stored]);
    assert_eq!(outbox(store, &mailbox_id("m11")).await, [other]);
    assert_eq!(outbox(store, &mailbox_id("m2")).await, []);
}

pub async fn an_outbox_shows_revisions_that_an_update_accepts(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    pending(store, &mailbox, "a@example.org", 1).await;
    for status in [EmailStatus::Sending, EmailStatus::PendingSend, EmailStatus::Sending, EmailStatus::Sent] {
        let stored = outbox(store, &mailbox).await.remove(0);
        moved(store, &stored, status).await;
    }
}
