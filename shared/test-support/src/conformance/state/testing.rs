//! The last test of each mailbox.

use mailrail_domain::{
    Timestamp, seconds_after,
    words::{
        id::MailboxId,
        trial::{MailboxTest, TEST_SECONDS_MAX, TestPhase},
    },
};

use super::{INCOMING, StateStore, created, details};
use crate::{
    build::{audit, mailbox_id},
    conformance::this_second,
};

fn a_test(id: &str, mailbox: &MailboxId, at: Timestamp) -> MailboxTest {
    MailboxTest {
        id: id.to_owned(),
        mailbox_id: mailbox.clone(),
        phase: TestPhase::Waiting,
        requested_by: "ann".to_owned(),
        requested_at: at,
        finished_at: None,
        items_with_this_organization_only: true,
        deliveries: vec![],
    }
}

pub async fn a_test_comes_back_as_it_was_asked_for_and_as_it_went_on(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    assert_eq!(store.test(&mailbox).await.unwrap(), None);
    let mut test = a_test("t1", &mailbox, now);
    assert!(store.request_test(&test, &audit()).await.unwrap());
    assert_eq!(store.test(&mailbox).await.unwrap().as_ref(), Some(&test));
    test.phase = TestPhase::Running;
    test.part(INCOMING);
    assert!(store.update_test(&test).await.unwrap());
    assert_eq!(store.test(&mailbox).await.unwrap(), Some(test));
    assert_eq!(store.test(&mailbox_id("m2")).await.unwrap(), None);
}

pub async fn a_test_under_way_holds_off_another_until_it_ends_or_its_time_is_up(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let first = a_test("t1", &mailbox, now);
    assert!(store.request_test(&first, &audit()).await.unwrap());
    let early = a_test("t2", &mailbox, seconds_after(now, TEST_SECONDS_MAX - 1));
    assert!(!store.request_test(&early, &audit()).await.unwrap());
    assert_eq!(store.test(&mailbox).await.unwrap().as_ref(), Some(&first));
    let late = a_test("t3", &mailbox, seconds_after(now, TEST_SECONDS_MAX));
    assert!(store.request_test(&late, &audit()).await.unwrap());
    assert!(!store.update_test(&first).await.unwrap(), "a test that another took the place of");
    assert!(store.update_test(&MailboxTest { phase: TestPhase::Finished, ..late.clone() }).await.unwrap());
    assert!(store.request_test(&a_test("t4", &mailbox, late.requested_at), &audit()).await.unwrap());
}

pub async fn a_deleted_mailbox_takes_its_test_along(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let test = a_test("t1", &mailbox, now);
    assert!(store.request_test(&test, &audit()).await.unwrap());
    store.delete_mailbox(&details(store, &mailbox).await, &audit()).await.unwrap();
    assert_eq!(store.test(&mailbox).await.unwrap(), None);
    assert!(!store.update_test(&test).await.unwrap());
}
