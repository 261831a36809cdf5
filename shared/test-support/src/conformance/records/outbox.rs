//! The outbox: an email stands in it from Pending Send until it is sent or has failed, although the place and the
//! record are not written together.

use mailrail_domain::{
    email::record::{Email, EmailStatus},
    seconds_after,
    words::id::MailboxId,
};
use mailrail_engine::{
    outbox::Outbox,
    ports::{EmailRecords, OutboxPlace, OutboxStore, StoredEmail},
};

use super::{WHOLE_LIST, draft, drafted, read};
use crate::{
    build::{clock, mailbox_id},
    conformance::every_page,
};

/// Seconds after which nobody who wrote a place can still be about to write the record.
const AN_HOUR: i64 = 3_600;

fn of<S: OutboxStore, R: EmailRecords>((state, records): &(S, R)) -> Outbox<'_, S, R> {
    Outbox::of(state, records, clock())
}

async fn outbox(store: &(impl OutboxStore, impl EmailRecords), mailbox: &MailboxId) -> Vec<StoredEmail> {
    every_page(WHOLE_LIST, async |page| of(store).page(mailbox, page).await).await
}

/// Writes the email in another status, and answers what is stored then.
async fn moved(
    store: &(impl OutboxStore, impl EmailRecords),
    stored: &StoredEmail,
    status: EmailStatus,
) -> StoredEmail {
    let email = Email { status, ..stored.email.clone() };
    of(store).update(&email, &stored.revision).await.unwrap().expect("nobody else wrote")
}

/// A draft that was told to be sent.
async fn pending(
    store: &(impl OutboxStore, impl EmailRecords),
    mailbox: &MailboxId,
    message_id: &str,
    second: i64,
) -> StoredEmail {
    let stored = drafted(&store.1, &draft(mailbox, message_id, second)).await;
    moved(store, &stored, EmailStatus::PendingSend).await
}

fn place(email: &Email) -> OutboxPlace {
    OutboxPlace { received_at: email.received_at, email: email.id.clone() }
}

/// The places of an outbox, whatever is behind them.
async fn places(store: &(impl OutboxStore, impl EmailRecords), mailbox: &MailboxId) -> Vec<OutboxPlace> {
    every_page(WHOLE_LIST, async |page| store.0.outbox(mailbox, page).await).await
}

pub async fn an_email_is_in_the_outbox_from_pending_send_until_it_is_sent(
    store: &(impl OutboxStore, impl EmailRecords),
) {
    let mailbox = mailbox_id("m1");
    let mut stored = drafted(&store.1, &draft(&mailbox, "a@example.org", 1)).await;
    assert_eq!(outbox(store, &mailbox).await, []);
    for status in [EmailStatus::PendingSend, EmailStatus::Sending] {
        stored = moved(store, &stored, status).await;
        assert_eq!(outbox(store, &mailbox).await, std::slice::from_ref(&stored), "{status:?}");
    }
    moved(store, &stored, EmailStatus::Sent).await;
    assert_eq!(outbox(store, &mailbox).await, []);
}

pub async fn a_failed_email_is_not_in_the_outbox(store: &(impl OutboxStore, impl EmailRecords)) {
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

pub async fn an_email_that_is_taken_back_leaves_the_outbox(store: &(impl OutboxStore, impl EmailRecords)) {
    let mailbox = mailbox_id("m1");
    let stored = pending(store, &mailbox, "a@example.org", 1).await;
    let draft = moved(store, &stored, EmailStatus::Draft).await;
    assert_eq!(outbox(store, &mailbox).await, []);
    let again = moved(store, &draft, EmailStatus::PendingSend).await;
    assert_eq!(outbox(store, &mailbox).await, [again]);
}

pub async fn an_email_that_is_put_off_stands_in_the_outbox_once(store: &(impl OutboxStore, impl EmailRecords)) {
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

pub async fn an_update_that_is_refused_leaves_the_outbox(store: &(impl OutboxStore, impl EmailRecords)) {
    let mailbox = mailbox_id("m1");
    let old = drafted(&store.1, &draft(&mailbox, "a@example.org", 1)).await;
    let newer = moved(store, &old, EmailStatus::PendingSend).await;
    let sent = Email { status: EmailStatus::Sent, ..old.email };
    assert_eq!(of(store).update(&sent, &old.revision).await.unwrap(), None);
    assert_eq!(outbox(store, &mailbox).await, std::slice::from_ref(&newer));
    let gone = moved(store, &newer, EmailStatus::Sent).await;
    let pending = Email { status: EmailStatus::PendingSend, ..gone.email };
    assert_eq!(of(store).update(&pending, &newer.revision).await.unwrap(), None);
    assert_eq!(outbox(store, &mailbox).await, []);
}

pub async fn an_outbox_comes_in_pages_the_oldest_emails_first(store: &(impl OutboxStore, impl EmailRecords)) {
    let mailbox = mailbox_id("m1");
    let mut expected = Vec::new();
    for (n, name) in (0..).zip(["e", "b", "d", "a", "c"]) {
        expected.push(pending(store, &mailbox, &format!("{name}@example.org"), n).await);
    }
    assert_eq!(outbox(store, &mailbox).await, expected);
    assert_eq!(every_page(2, async |page| of(store).page(&mailbox, page).await).await, expected);
}

pub async fn an_outbox_has_the_emails_of_its_own_mailbox(store: &(impl OutboxStore, impl EmailRecords)) {
    let stored = pending(store, &mailbox_id("m1"), "a@example.org", 1).await;
    let other = pending(store, &mailbox_id("m11"), "b@example.org", 1).await;
    assert_eq!(outbox(store, &mailbox_id("m1")).await, [stored]);
    assert_eq!(outbox(store, &mailbox_id("m11")).await, [other]);
    assert_eq!(outbox(store, &mailbox_id("m2")).await, []);
}

pub async fn an_outbox_shows_revisions_that_an_update_accepts(store: &(impl OutboxStore, impl EmailRecords)) {
    let mailbox = mailbox_id("m1");
    pending(store, &mailbox, "a@example.org", 1).await;
    for status in [EmailStatus::Sending, EmailStatus::PendingSend, EmailStatus::Sending, EmailStatus::Sent] {
        let stored = outbox(store, &mailbox).await.remove(0);
        moved(store, &stored, status).await;
    }
}

pub async fn a_place_whose_email_did_not_become_pending_send_is_cleared_within_hours(
    store: &(impl OutboxStore, impl EmailRecords),
) {
    let mailbox = mailbox_id("m1");
    let stored = drafted(&store.1, &draft(&mailbox, "a@example.org", 1)).await;
    let (place, now) = (place(&stored.email), clock());
    // Whoever wrote it may be about to write the record.
    store.0.enter_outbox(&mailbox, &place, now).await.unwrap();
    assert_eq!(outbox(store, &mailbox).await, []);
    assert_eq!(places(store, &mailbox).await, std::slice::from_ref(&place));
    store.0.enter_outbox(&mailbox, &place, seconds_after(now, -AN_HOUR - 1)).await.unwrap();
    assert_eq!(outbox(store, &mailbox).await, []);
    assert_eq!(places(store, &mailbox).await, []);
    let pending = moved(store, &stored, EmailStatus::PendingSend).await;
    assert_eq!(outbox(store, &mailbox).await, [pending]);
}

pub async fn an_email_that_is_sent_is_not_sent_again_although_its_place_stayed(
    store: &(impl OutboxStore, impl EmailRecords),
) {
    let mailbox = mailbox_id("m1");
    let stored = pending(store, &mailbox, "a@example.org", 1).await;
    let sent = Email { status: EmailStatus::Sent, ..stored.email.clone() };
    store.1.update_outgoing(&sent, &stored.revision).await.unwrap().expect("nobody else wrote");
    assert_eq!(places(store, &mailbox).await, [place(&sent)]);
    assert_eq!(outbox(store, &mailbox).await, []);
    assert_eq!(read(&store.1, &sent.id).await.email, sent);
}

pub async fn an_email_that_waits_for_long_keeps_its_place(store: &(impl OutboxStore, impl EmailRecords)) {
    let mailbox = mailbox_id("m1");
    let stored = pending(store, &mailbox, "a@example.org", 1).await;
    store.0.enter_outbox(&mailbox, &place(&stored.email), seconds_after(clock(), -100 * AN_HOUR)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(outbox(store, &mailbox).await, std::slice::from_ref(&stored));
    }
}
