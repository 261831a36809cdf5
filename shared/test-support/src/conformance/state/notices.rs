//! Notices: written with the disabling that they tell of, attempted by one sender at a time.

use futures_util::future::join_all;
use mailrail_domain::{
    Timestamp, seconds_after,
    words::{
        cause::Cause,
        delivery::SynchronizationMethod,
        id::MailboxId,
        notice::{Notice, NoticeKind, NoticeStatus},
    },
};
use mailrail_engine::ports::{Closing, NoticeStore, Written};

use super::{
    INCOMING, INTERVAL, StateStore, a_profile, change, commit, created, disable, failed, load, notices, unchanged,
};
use crate::{
    build::{address, audit},
    conformance::{every_page, first, this_second},
};

/// Entries of a page that a list of a test does not fit into.
const PAGE: usize = 10;

fn notice(id: &str, mailbox: &MailboxId, next_attempt: Timestamp) -> Notice {
    Notice {
        id: id.to_owned(),
        to: address("owner@example.test"),
        kind: NoticeKind::Disabled,
        copy_to: Some(address("copy@example.test")),
        about: "Jürgen".to_owned(),
        mailbox_id: Some(mailbox.clone()),
        profile_id: a_profile("p1").profile.id,
        delivery: INCOMING,
        subject: "The mailbox Jürgen has been disabled for receiving email".to_owned(),
        text: "What happened.\n\nWhat to do:\n  1. This.\n".to_owned(),
        status: NoticeStatus::Pending,
        attempts: 0,
        next_attempt,
        last_error: None,
        created_at: next_attempt,
        sent_at: None,
    }
}

/// Commits a notice with a run of its mailbox.
async fn given(store: &impl StateStore, notice: &Notice) {
    let mailbox = notice.mailbox_id.as_ref().expect("a notice about a mailbox");
    let row = load(store, mailbox, INCOMING).await;
    commit(store, &row.claim, &Closing { notice: Some(notice.clone()), ..unchanged(&row) }).await;
}

async fn ids(store: &impl StateStore, status: NoticeStatus) -> Vec<String> {
    notices(store, status).await.into_iter().map(|notice| notice.id).collect()
}

async fn updated(store: &impl NoticeStore, notice: &Notice, attempts: u32) {
    assert!(store.update_notice(notice, attempts).await.unwrap(), "an update that nobody was quicker than");
}

pub async fn a_notice_comes_back_as_it_was_committed(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let disabling = failed(&row, Cause::CredentialsRefused, now);
    commit(store, &row.claim, &disabling).await;
    assert_eq!(notices(store, NoticeStatus::Pending).await, Vec::from_iter(disabling.notice));
    assert_eq!(notices(store, NoticeStatus::Sent).await, []);
}

pub async fn pending_notices_come_in_the_order_of_their_next_attempt(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    for (id, second) in [("b", 20), ("c", 0), ("a", 10)] {
        given(store, &notice(id, &mailbox, seconds_after(now, second))).await;
    }
    assert_eq!(ids(store, NoticeStatus::Pending).await, ["c", "a", "b"]);
}

pub async fn an_attempt_that_failed_moves_the_notice_back(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    for (id, second) in [("a", 0), ("b", 10)] {
        given(store, &notice(id, &mailbox, seconds_after(now, second))).await;
    }
    let not_sent = notice("a", &mailbox, now).not_sent("the server is away", now);
    updated(store, &not_sent, 0).await;
    let pending = notices(store, NoticeStatus::Pending).await;
    assert_eq!(pending, [notice("b", &mailbox, seconds_after(now, 10)), not_sent.clone()]);
    // What was counted may still be written with its reason, and at its place.
    let with_reason = Notice { last_error: Some("refused".to_owned()), ..not_sent };
    updated(store, &with_reason, 1).await;
    assert_eq!(notices(store, NoticeStatus::Pending).await[1..], [with_reason]);
}

pub async fn an_update_is_refused_when_somebody_attempted_since(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let fresh = notice("a", &mailbox, now);
    given(store, &fresh).await;
    let counted = fresh.not_sent("the sending was cut off", now);
    updated(store, &counted, 0).await;
    for late in [fresh.sent(now), fresh.not_sent("another reason", seconds_after(now, 1))] {
        assert!(!store.update_notice(&late, 0).await.unwrap());
        assert_eq!(notices(store, NoticeStatus::Pending).await, std::slice::from_ref(&counted));
        assert_eq!(notices(store, NoticeStatus::Sent).await, []);
    }
}

pub async fn of_twenty_racing_updates_exactly_one_wins(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let fresh = notice("a", &mailbox, now);
    given(store, &fresh).await;
    let counted = fresh.not_sent("the sending was cut off", now);
    let updates = join_all((0..20).map(|_| store.update_notice(&counted, 0))).await;
    assert_eq!(updates.into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
    assert_eq!(notices(store, NoticeStatus::Pending).await, [counted]);
}

pub async fn an_unknown_notice_is_not_updated(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    assert!(!store.update_notice(&notice("a", &mailbox, now), 0).await.unwrap());
    assert_eq!(notices(store, NoticeStatus::Pending).await, []);
}

pub async fn a_sent_notice_is_listed_as_sent_and_no_longer_as_pending(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let fresh = notice("a", &mailbox, now);
    given(store, &fresh).await;
    let counted = fresh.not_sent("the sending was cut off", now);
    updated(store, &counted, 0).await;
    // The attempt was counted before it was made.
    let sent = Notice { attempts: counted.attempts, ..fresh.sent(seconds_after(now, 1)) };
    updated(store, &sent, 1).await;
    assert_eq!(notices(store, NoticeStatus::Pending).await, []);
    assert_eq!(notices(store, NoticeStatus::Sent).await, [sent]);
}

pub async fn the_same_notice_committed_twice_is_one(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    for n in 0..2 {
        given(store, &notice("a", &mailbox, seconds_after(now, n))).await;
    }
    assert_eq!(ids(store, NoticeStatus::Pending).await, ["a"]);
}

pub async fn a_disabling_after_the_method_changed_is_told_as_well(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    disable(store, &mailbox, INCOMING, now).await;
    let first = notices(store, NoticeStatus::Pending).await.remove(0);
    updated(store, &first.sent(now), 0).await;
    for method in [SynchronizationMethod::None, SynchronizationMethod::ServerSideSynchronization] {
        let changed = change(store, &mailbox, |stored| stored.mailbox.incoming_email = method).await;
        assert_eq!(changed, Written::Done);
    }
    assert!(store.enable(&mailbox, INCOMING, INTERVAL, &audit()).await.unwrap());
    disable(store, &mailbox, INCOMING, seconds_after(now, 60)).await;
    let second = notices(store, NoticeStatus::Pending).await;
    assert_eq!(second.iter().map(|notice| notice.created_at).collect::<Vec<_>>(), [seconds_after(now, 60)]);
}

pub async fn notices_are_each_listed_once_over_all_pages(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    for n in 0..46 {
        let fresh = notice(&format!("n{n}"), &mailbox, seconds_after(now, n / 4));
        given(store, &fresh).await;
        if n % 2 == 0 {
            updated(store, &fresh.sent(now), 0).await;
        }
    }
    for status in [NoticeStatus::Pending, NoticeStatus::Sent] {
        let listed = every_page(PAGE, async |page| store.notices(status, page).await).await;
        let mut ids: Vec<&str> = listed.iter().map(|notice| notice.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((listed.len(), ids.len()), (23, 23), "{status:?}");
        assert_eq!(store.notices(status, &first(PAGE)).await.unwrap().items, listed[..PAGE]);
    }
}
