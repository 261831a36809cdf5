//! Quotas: what is limited is counted, and never beyond the limit.

use futures_util::future::join_all;
use mailrail_domain::words::id::MailboxId;
use mailrail_engine::ports::QuotaStore;

use crate::build::{mailbox_id, moment};

pub async fn recipients_are_counted_hour_by_hour_and_never_beyond_the_limit(store: &impl QuotaStore) {
    let (mailbox, at) = (mailbox_id("m1"), moment(0));
    let count = async |mailbox: &MailboxId, second: i64, n: u32| {
        store.count_recipients(mailbox, mailrail_domain::seconds_after(at, second), n, 10).await.unwrap()
    };
    assert!(count(&mailbox, 0, 6).await);
    assert!(!count(&mailbox, 1, 5).await, "11 of 10");
    assert!(count(&mailbox, 2, 4).await, "what was refused was not counted");
    assert!(!count(&mailbox, 3, 1).await);
    assert!(count(&mailbox_id("m11"), 3, 10).await, "each mailbox has its own");
    assert!(count(&mailbox, 3_600, 10).await, "so has each hour");
    assert!(!count(&mailbox_id("m2"), 0, 11).await);
    let racing = join_all((0..20).map(|_| count(&mailbox, 7_200, 3))).await;
    assert_eq!(racing.into_iter().filter(|counted| *counted).count(), 3);
}

pub async fn recipients_that_are_given_back_can_be_counted_again(store: &impl QuotaStore) {
    let (mailbox, at) = (mailbox_id("m1"), moment(0));
    let later = mailrail_domain::seconds_after(at, 3_600);
    let count = async |at, n| store.count_recipients(&mailbox, at, n, 10).await.unwrap();
    let give_back = async |at, n| store.uncount_recipients(&mailbox, at, n).await.unwrap();
    assert!(count(at, 8).await);
    give_back(later, 8).await;
    assert!(!count(at, 3).await, "another hour's recipients are not given back");
    give_back(at, 5).await;
    assert!(count(at, 7).await && !count(at, 1).await);
    give_back(at, 11).await;
    assert!(!count(at, 1).await, "more than was counted is not given back");
    assert!(count(later, 10).await && !count(later, 1).await);
}
