//! Outboxes: which emails of a mailbox wait to be sent.

use mailrail_domain::{email::identity::sent_email_id, words::id::MailboxId};
use mailrail_engine::ports::{OutboxPlace, OutboxStore};

use super::{WHOLE_LIST, every_page};
use crate::build::{mailbox_id, moment};

fn place(message_id: &str, second: i64) -> OutboxPlace {
    OutboxPlace { received_at: moment(second), email: sent_email_id(message_id) }
}

async fn places(store: &impl OutboxStore, mailbox: &MailboxId) -> Vec<OutboxPlace> {
    every_page(WHOLE_LIST, async |page| store.outbox(mailbox, page).await).await
}

pub async fn an_outbox_lists_the_oldest_email_first_over_all_pages(store: &impl OutboxStore) {
    let mailbox = mailbox_id("m1");
    let mut expected = Vec::new();
    for (n, name) in (0..).zip(["e", "b", "d", "a", "c"]) {
        expected.push(place(&format!("{name}@example.org"), n));
    }
    for place in expected.iter().rev() {
        store.enter_outbox(&mailbox, place, moment(9)).await.unwrap();
    }
    assert_eq!(places(store, &mailbox).await, expected);
    assert_eq!(every_page(2, async |page| store.outbox(&mailbox, page).await).await, expected);
}

pub async fn an_email_that_enters_an_outbox_again_stands_in_it_once(store: &impl OutboxStore) {
    let (mailbox, place) = (mailbox_id("m1"), place("a@example.org", 1));
    for second in 0..3 {
        store.enter_outbox(&mailbox, &place, moment(second)).await.unwrap();
    }
    assert_eq!(places(store, &mailbox).await, [place]);
}

pub async fn an_email_leaves_its_own_outbox_alone(store: &impl OutboxStore) {
    let (ours, other) = (place("a@example.org", 1), place("b@example.org", 1));
    for (mailbox, place) in [("m1", &ours), ("m1", &other), ("m11", &ours)] {
        store.enter_outbox(&mailbox_id(mailbox), place, moment(2)).await.unwrap();
    }
    for _ in 0..2 {
        store.leave_outbox(&mailbox_id("m1"), &ours).await.unwrap();
    }
    assert_eq!(places(store, &mailbox_id("m1")).await, [other]);
    assert_eq!(places(store, &mailbox_id("m11")).await, [ours]);
    assert_eq!(places(store, &mailbox_id("m2")).await, []);
}

pub async fn an_outbox_is_cleared_of_what_entered_it_by_then_and_not_since(store: &impl OutboxStore) {
    let (mailbox, place) = (mailbox_id("m1"), place("a@example.org", 1));
    store.enter_outbox(&mailbox, &place, moment(10)).await.unwrap();
    store.clear_outbox(&mailbox, &place, moment(9)).await.unwrap();
    assert_eq!(places(store, &mailbox).await, std::slice::from_ref(&place));
    store.enter_outbox(&mailbox, &place, moment(20)).await.unwrap();
    store.clear_outbox(&mailbox, &place, moment(10)).await.unwrap();
    assert_eq!(places(store, &mailbox).await, std::slice::from_ref(&place), "it entered again");
    store.clear_outbox(&mailbox, &place, moment(20)).await.unwrap();
    assert_eq!(places(store, &mailbox).await, []);
    store.clear_outbox(&mailbox, &place, moment(30)).await.unwrap();
    assert_eq!(places(store, &mailbox).await, []);
}
