//! Where deliveries stand in the schedule, and how it is read.

use std::collections::HashMap;

use futures_util::future::join_all;
use mailrail_domain::{
    rules::schedule::Slot,
    seconds_after,
    words::{cause::Cause, delivery::SynchronizationMethod},
};
use mailrail_engine::{
    limits::DUE_PAGE,
    ports::{Closing, Wake, Written},
};

use super::{
    APPOINTMENTS, INCOMING, INTERVAL, OUTGOING, StateStore, a_mailbox, a_profile, commit, create, created, disable,
    failed, load, put, slots, succeeded, unchanged, wakes,
};
use crate::{
    build::audit,
    conformance::{PAGES_MAX, this_second},
};

/// Deliveries of one slot that need more than one page.
const MANY: usize = DUE_PAGE + 20;
/// Mailboxes that are created at once, where many are.
const AT_ONCE: usize = 20;

pub async fn an_enabled_delivery_stands_in_its_slot_alone(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    for delivery in [INCOMING, OUTGOING] {
        let stands = slots(store, &mailbox, delivery, &[1, INTERVAL, 10]).await;
        assert_eq!(stands, [Slot::of(&mailbox, delivery, INTERVAL)]);
        assert_eq!(load(store, &mailbox, delivery).await.interval_minutes, Some(INTERVAL));
    }
}

pub async fn a_delivery_that_nobody_moves_stands_nowhere(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    assert_eq!(slots(store, &mailbox, APPOINTMENTS, &[1, INTERVAL, 10]).await, []);
    assert_eq!(load(store, &mailbox, APPOINTMENTS).await.interval_minutes, None);
}

pub async fn a_commit_at_the_same_interval_leaves_the_slot(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    for n in 0..3 {
        let row = load(store, &mailbox, INCOMING).await;
        let now = seconds_after(now, n);
        let closing = if n == 1 { failed(&row, Cause::TimedOut, now) } else { succeeded(&row, now) };
        commit(store, &row.claim, &closing).await;
        let stands = slots(store, &mailbox, INCOMING, &[INTERVAL]).await;
        assert_eq!(stands, [Slot::of(&mailbox, INCOMING, INTERVAL)]);
        assert_eq!(load(store, &mailbox, INCOMING).await.interval_minutes, Some(INTERVAL));
    }
}

pub async fn a_commit_at_another_interval_moves_the_slot_once(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    for minutes in [15, 15, 1, INTERVAL] {
        let row = load(store, &mailbox, INCOMING).await;
        commit(store, &row.claim, &Closing { interval_minutes: minutes, ..unchanged(&row) }).await;
        let stands = slots(store, &mailbox, INCOMING, &[1, INTERVAL, 15]).await;
        assert_eq!(stands, [Slot::of(&mailbox, INCOMING, minutes)]);
        assert_eq!(load(store, &mailbox, INCOMING).await.interval_minutes, Some(minutes));
    }
}

pub async fn a_disabled_delivery_leaves_the_schedule(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let row = load(store, &mailbox, INCOMING).await;
    let disabling = failed(&row, Cause::CredentialsRefused, this_second());
    commit(store, &row.claim, &Closing { interval_minutes: 15, ..disabling }).await;
    assert_eq!(slots(store, &mailbox, INCOMING, &[INTERVAL, 15]).await, []);
    assert_eq!(load(store, &mailbox, INCOMING).await.interval_minutes, None);
}

pub async fn a_commit_of_a_disabled_delivery_keeps_it_out(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    disable(store, &mailbox, INCOMING, this_second()).await;
    let row = load(store, &mailbox, INCOMING).await;
    commit(store, &row.claim, &unchanged(&row)).await;
    assert_eq!(slots(store, &mailbox, INCOMING, &[INTERVAL]).await, []);
    assert_eq!(load(store, &mailbox, INCOMING).await.interval_minutes, None);
}

pub async fn every_interval_in_use_is_named(store: &impl StateStore) {
    put(store, &a_profile("p1")).await;
    for (id, minutes) in [("m1", 5), ("m2", 60), ("m3", 1440)] {
        assert_eq!(create(store, &a_mailbox(id), minutes).await, Written::Done);
    }
    let mailbox = a_mailbox("m1").mailbox.id;
    let row = load(store, &mailbox, INCOMING).await;
    commit(store, &row.claim, &Closing { interval_minutes: 15, ..unchanged(&row) }).await;
    disable(store, &mailbox, OUTGOING, this_second()).await;
    assert!(store.enable(&mailbox, OUTGOING, 30, &audit()).await.unwrap());
    let mut named = store.intervals().await.unwrap();
    named.sort_unstable();
    // One that is in use no longer may be named still: its slots are empty.
    for in_use in [15, 30, 60, 1440] {
        assert_eq!(named.iter().filter(|minutes| **minutes == in_use).count(), 1, "{in_use} in {named:?}");
    }
}

pub async fn a_slot_in_which_nothing_stands_is_empty(store: &impl StateStore) {
    created(store, "m1").await;
    assert_eq!(wakes(store, Slot { interval_minutes: 720, phase: 719 }).await, []);
}

pub async fn a_slot_of_many_pages_wakes_each_delivery_once(store: &impl StateStore) {
    put(store, &a_profile("p1")).await;
    let mut expected = HashMap::new();
    let mut mailboxes = Vec::new();
    for n in 0..MANY.div_ceil(3) {
        let mut stored = a_mailbox(&format!("m{n}"));
        stored.mailbox.appointments_contacts_tasks = SynchronizationMethod::ServerSideSynchronization;
        for delivery in [INCOMING, OUTGOING, APPOINTMENTS] {
            expected.insert(Wake { mailbox: stored.mailbox.id.clone(), delivery }, 1);
        }
        mailboxes.push(stored);
    }
    for some in mailboxes.chunks(AT_ONCE) {
        // An interval of one minute has one slot.
        let created = join_all(some.iter().map(|stored| create(store, stored, 1))).await;
        assert!(created.into_iter().all(|created| created == Written::Done));
    }
    let mut woken = HashMap::new();
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let page = store.due(Slot { interval_minutes: 1, phase: 0 }, cursor).await.unwrap();
        for wake in page.wakes {
            *woken.entry(wake).or_insert(0) += 1;
        }
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(cursor, None, "the slot ends");
    assert_eq!(woken, expected);
}
