//! Reading a delivery, holding it for a run, and keeping how far the run has come.

use futures_util::future::join_all;
use mailrail_domain::{
    email::{imap::ImapPosition, pop3::Pop3Position, position::Position},
    seconds_after,
    words::{delivery::Delivery, passed_over::PassedOver, state::DeliveryState},
};
use mailrail_engine::ports::{Claim, Closing};

use super::{INCOMING, INTERVAL, OUTGOING, SOURCE, StateStore, change, commit, created, details, load, unchanged};
use crate::{
    build::{address, audit, mailbox_id},
    conformance::this_second,
};

fn folder(uid_done: u32) -> Position {
    // Numbers beyond 53 bits are where a detour over floating point would show.
    Position::of("imap", &ImapPosition { uid_validity: u32::MAX, uid_done, mod_seq: Some(u64::MAX) })
}

fn maildrop() -> Position {
    Position::of("pop3", &Pop3Position { listing: "0123456789abcdef".to_owned() })
}

pub async fn a_delivery_of_an_unknown_mailbox_is_not_there(store: &impl StateStore) {
    created(store, "m1").await;
    for delivery in Delivery::ALL {
        assert_eq!(store.load(&mailbox_id("m2"), delivery).await.unwrap(), None);
    }
}

pub async fn a_lease_shows_until_when_it_is_held(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    assert_eq!(row.leased_until, None);
    let until = seconds_after(now, 60);
    let claim = store.lease(&row.claim, until, now).await.unwrap().expect("a free delivery");
    let leased = load(store, &mailbox, INCOMING).await;
    assert_eq!((leased.leased_until, leased.claim), (Some(until), claim));
}

pub async fn a_lease_outlives_an_enabling_and_a_change_of_the_method(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let until = seconds_after(now, 60);
    let row = load(store, &mailbox, OUTGOING).await;
    store.lease(&row.claim, until, now).await.unwrap().expect("a free delivery");
    assert!(store.enable(&mailbox, OUTGOING, INTERVAL, &audit()).await.unwrap());
    let enabled = load(store, &mailbox, OUTGOING).await;
    assert_eq!(enabled.leased_until, Some(until), "a run that is sending goes on until it has ended");
    assert_eq!(store.lease(&enabled.claim, until, now).await.unwrap(), None);
    change(store, &mailbox, |stored| stored.mailbox.address = Some(address("moved@example.org"))).await;
    let moved = load(store, &mailbox, OUTGOING).await;
    assert!(moved.claim.version > enabled.claim.version, "the delivery began anew");
    assert_eq!(moved.leased_until, Some(until));
}

pub async fn a_lease_leaves_state_and_position_alone(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    store.advance(&row.claim, &folder(7), SOURCE).await.unwrap();
    let before = load(store, &mailbox, INCOMING).await;
    store.lease(&before.claim, seconds_after(now, 60), now).await.unwrap().expect("a free delivery");
    let after = load(store, &mailbox, INCOMING).await;
    assert_eq!((after.state, after.position), (before.state, Some(folder(7))));
    assert_eq!((after.mailbox, after.interval_minutes), (before.mailbox, before.interval_minutes));
}

pub async fn a_second_lease_is_refused_while_the_first_is_held(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let until = seconds_after(now, 60);
    store.lease(&row.claim, until, now).await.unwrap().expect("a free delivery");
    let held = load(store, &mailbox, INCOMING).await;
    let last_second = seconds_after(now, 59);
    let second = store.lease(&held.claim, seconds_after(last_second, 60), last_second).await.unwrap();
    assert_eq!(second, None);
    assert_eq!(load(store, &mailbox, INCOMING).await, held);
}

pub async fn a_lease_is_granted_again_once_the_first_has_run_out(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let until = seconds_after(now, 60);
    store.lease(&row.claim, until, now).await.unwrap().expect("a free delivery");
    let run_out = load(store, &mailbox, INCOMING).await;
    let second = store.lease(&run_out.claim, seconds_after(until, 60), until).await.unwrap();
    let again = load(store, &mailbox, INCOMING).await;
    assert_eq!(second, Some(again.claim));
    assert_eq!(again.leased_until, Some(seconds_after(until, 60)));
}

pub async fn a_lease_is_refused_when_somebody_wrote_since(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let old = load(store, &mailbox, INCOMING).await;
    commit(store, &old.claim, &unchanged(&old)).await;
    assert_eq!(store.lease(&old.claim, seconds_after(now, 60), now).await.unwrap(), None);
    assert_eq!(load(store, &mailbox, INCOMING).await.leased_until, None);
}

pub async fn a_lease_of_one_delivery_leaves_the_others_free(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let until = seconds_after(now, 60);
    for delivery in [INCOMING, OUTGOING] {
        let row = load(store, &mailbox, delivery).await;
        assert!(store.lease(&row.claim, until, now).await.unwrap().is_some(), "{delivery:?}");
    }
}

pub async fn of_twenty_racing_leases_exactly_one_is_granted(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let until = seconds_after(now, 60);
    let leases = join_all((0..20).map(|_| store.lease(&row.claim, until, now))).await;
    let granted: Vec<Claim> = leases.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(granted, [load(store, &mailbox, INCOMING).await.claim]);
}

pub async fn an_advance_keeps_the_position_of_a_folder_and_whose_it_is(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let row = load(store, &mailbox, INCOMING).await;
    assert_eq!(row.position, None);
    let claim = store.advance(&row.claim, &folder(1), SOURCE).await.unwrap().expect("nobody else wrote");
    assert_eq!(load(store, &mailbox, INCOMING).await.position, Some(folder(1)));
    store.advance(&claim, &folder(u32::MAX), SOURCE).await.unwrap().expect("nobody else wrote");
    let after = load(store, &mailbox, INCOMING).await;
    let state = DeliveryState { source: Some(SOURCE.to_owned()), ..row.state };
    assert_eq!((after.position, after.state), (Some(folder(u32::MAX)), state));
}

pub async fn an_advance_keeps_the_position_of_a_maildrop(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let row = load(store, &mailbox, INCOMING).await;
    store.advance(&row.claim, &maildrop(), SOURCE).await.unwrap().expect("nobody else wrote");
    assert_eq!(load(store, &mailbox, INCOMING).await.position, Some(maildrop()));
}

pub async fn an_advance_breaks_the_row_of_failures(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let state = DeliveryState { transient_failure_count: 9, failing_since: Some(now), ..row.state.clone() };
    commit(store, &row.claim, &Closing { state, ..unchanged(&row) }).await;
    let row = load(store, &mailbox, INCOMING).await;
    store.advance(&row.claim, &folder(1), SOURCE).await.unwrap().expect("nobody else wrote");
    let state = load(store, &mailbox, INCOMING).await.state;
    assert_eq!((state.transient_failure_count, state.failing_since), (0, None));
}

pub async fn what_is_being_passed_over_is_written_before_it_is(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let mark = PassedOver { ask_at: now, asked: 0, is_unproven: true };
    let claim = store.mark_passed_over(&row.claim, mark).await.unwrap().expect("nobody else wrote");
    let after = load(store, &mailbox, INCOMING).await;
    assert_eq!((after.claim, after.state.passed_over, after.position), (claim, Some(mark), row.position));
    assert_eq!(store.mark_passed_over(&row.claim, mark).await.unwrap(), None, "the claim of before is spent");
}

pub async fn an_advance_moves_the_claim_and_keeps_the_lease(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let until = seconds_after(now, 60);
    let leased = store.lease(&row.claim, until, now).await.unwrap().expect("a free delivery");
    let advanced = store.advance(&leased, &folder(1), SOURCE).await.unwrap().expect("nobody else wrote");
    let after = load(store, &mailbox, INCOMING).await;
    assert_eq!((after.claim, after.leased_until), (advanced, Some(until)));
    assert_eq!(store.advance(&leased, &folder(2), SOURCE).await.unwrap(), None, "the claim of before is spent");
}

pub async fn an_advance_after_somebody_else_wrote_changes_nothing(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let old = load(store, &mailbox, INCOMING).await;
    store.advance(&old.claim, &folder(7), SOURCE).await.unwrap().expect("nobody else wrote");
    let before = load(store, &mailbox, INCOMING).await;
    assert_eq!(store.advance(&old.claim, &folder(3), SOURCE).await.unwrap(), None);
    assert_eq!(load(store, &mailbox, INCOMING).await, before);
}

pub async fn a_deleted_mailbox_can_be_neither_leased_nor_advanced(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    store.delete_mailbox(&details(store, &mailbox).await, &audit()).await.unwrap();
    assert_eq!(store.lease(&row.claim, seconds_after(now, 60), now).await.unwrap(), None);
    assert_eq!(store.advance(&row.claim, &folder(1), SOURCE).await.unwrap(), None);
    assert_eq!(store.load(&mailbox, INCOMING).await.unwrap(), None);
}
