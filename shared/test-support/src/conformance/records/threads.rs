//! Email records found by their Message-ID, and by what they answer.

use mailrail_domain::email::record::{Email, EmailStatus};
use mailrail_engine::ports::EmailRecords;

use super::{draft, drafted, ids, insert, moved};
use crate::{
    build::{mailbox_id, received},
    conformance::sorted,
};

pub async fn received_and_sent_records_are_found_by_their_message_id(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let first = received(&mailbox, "a@example.org", 1);
    // A sender that uses one Message-ID for all its mail.
    let second = received(&mailbox, "a@example.org", 2);
    let sent = draft(&mailbox, "a@example.org", 3);
    for email in [&first, &second, &received(&mailbox, "b@example.org", 1)] {
        insert(store, email).await;
    }
    drafted(store, &sent).await;
    let expected = sorted(vec![first.id, second.id, sent.id]);
    for spelling in ["a@example.org", "<a@example.org>"] {
        let found = store.with_message_id(spelling).await.unwrap();
        assert_eq!(sorted(ids(&found)), expected, "{spelling}");
    }
}

pub async fn a_message_id_nobody_used_finds_nothing(store: &impl EmailRecords) {
    insert(store, &received(&mailbox_id("m1"), "a@example.org", 1)).await;
    assert_eq!(store.with_message_id("b@example.org").await.unwrap(), []);
    assert_eq!(store.replies("a@example.org").await.unwrap(), []);
}

pub async fn replies_are_found_whichever_came_first(store: &impl EmailRecords) {
    let mailbox = mailbox_id("m1");
    let question = received(&mailbox, "question@example.org", 2);
    let answer = |message_id: &str, second| Email {
        in_reply_to: Some("question@example.org".to_owned()),
        ..received(&mailbox, message_id, second)
    };
    let (early, late) = (answer("early@example.org", 1), answer("late@example.org", 3));
    insert(store, &early).await;
    assert_eq!(store.replies("question@example.org").await.unwrap(), std::slice::from_ref(&early.id));
    insert(store, &question).await;
    insert(store, &late).await;
    let expected = sorted(vec![early.id, late.id]);
    for spelling in ["question@example.org", "<question@example.org>"] {
        assert_eq!(sorted(store.replies(spelling).await.unwrap()), expected, "{spelling}");
    }
    assert_eq!(ids(&store.with_message_id("question@example.org").await.unwrap()), [question.id]);
}

pub async fn a_reply_is_found_by_its_references(store: &impl EmailRecords) {
    let references = ["oldest", "second", "third", "last", "own"].map(|name| format!("{name}@example.org"));
    let reply = Email { references: references.into(), ..received(&mailbox_id("m1"), "own@example.org", 1) };
    insert(store, &reply).await;
    for near in ["last", "third", "second"] {
        assert_eq!(
            store.replies(&format!("{near}@example.org")).await.unwrap(),
            std::slice::from_ref(&reply.id),
            "{near}"
        );
    }
    for no in ["oldest", "own"] {
        assert_eq!(store.replies(&format!("{no}@example.org")).await.unwrap(), [], "{no}");
    }
}

pub async fn a_reply_received_twice_is_one(store: &impl EmailRecords) {
    let in_reply_to = Some("question@example.org".to_owned());
    let reply = Email { in_reply_to, ..received(&mailbox_id("m1"), "a@example.org", 1) };
    insert(store, &reply).await;
    for mailbox in ["m1", "m2"] {
        store.insert_received(&reply, &mailbox_id(mailbox)).await.unwrap();
    }
    assert_eq!(store.replies("question@example.org").await.unwrap(), [reply.id]);
}

pub async fn a_draft_that_answers_is_among_the_replies(store: &impl EmailRecords) {
    let in_reply_to = Some("question@example.org".to_owned());
    let reply = drafted(store, &Email { in_reply_to, ..draft(&mailbox_id("m1"), "a@example.org", 1) }).await;
    let reply = moved(store, &reply, EmailStatus::PendingSend).await;
    assert_eq!(store.replies("question@example.org").await.unwrap(), [reply.email.id]);
}
