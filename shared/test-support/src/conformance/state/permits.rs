//! Permits to connect to a profile's servers, for a profile that has fewer connections than there may be invocations.

use futures_util::future::join_all;
use mailrail_domain::{Timestamp, seconds_after, words::id::ProfileId};

use super::{StateStore, a_profile};
use crate::conformance::this_second;

fn profile() -> ProfileId {
    a_profile("p1").profile.id
}

async fn take(store: &impl StateStore, permits: u16, now: Timestamp) -> Option<u16> {
    store.take_permit(&profile(), permits, seconds_after(now, 60), now).await.unwrap()
}

pub async fn permits_are_taken_until_there_are_none_left(store: &impl StateStore) {
    let now = this_second();
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.extend(take(store, 3, now).await);
    }
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 3);
    assert_eq!(take(store, 3, seconds_after(now, 59)).await, None);
}

pub async fn a_permit_that_was_given_back_is_free(store: &impl StateStore) {
    let now = this_second();
    for _ in 0..2 {
        assert!(take(store, 2, now).await.is_some());
    }
    for permit in [1, 0] {
        store.return_permit(&profile(), permit, seconds_after(now, 60)).await.unwrap();
        assert_eq!(take(store, 2, now).await, Some(permit));
    }
}

pub async fn a_permit_is_free_once_its_time_is_up(store: &impl StateStore) {
    let now = this_second();
    let first = take(store, 1, now).await;
    assert_eq!(take(store, 1, seconds_after(now, 59)).await, None);
    let again = seconds_after(now, 60);
    assert_eq!(take(store, 1, again).await, first);
    assert_eq!(take(store, 1, seconds_after(again, 59)).await, None, "it is held for the whole of its time");
}

pub async fn profiles_have_permits_of_their_own(store: &impl StateStore) {
    let (now, other) = (this_second(), a_profile("p11").profile.id);
    assert!(take(store, 1, now).await.is_some());
    let theirs = store.take_permit(&other, 1, seconds_after(now, 60), now).await.unwrap();
    let permit = theirs.expect("a permit of another profile");
    store.return_permit(&other, permit, seconds_after(now, 60)).await.unwrap();
    assert_eq!(take(store, 1, now).await, None);
}

pub async fn a_profile_that_was_given_fewer_connections_has_fewer_permits(store: &impl StateStore) {
    let now = this_second();
    let taken = [take(store, 3, now).await, take(store, 3, now).await, take(store, 3, now).await];
    assert!(taken.iter().all(Option::is_some));
    store.return_permit(&profile(), 2, seconds_after(now, 60)).await.unwrap();
    assert_eq!(take(store, 2, now).await, None);
}

pub async fn of_twenty_that_race_for_three_permits_three_get_one(store: &impl StateStore) {
    let now = this_second();
    let takings = join_all((0..20).map(|_| take(store, 3, now))).await;
    let mut taken: Vec<u16> = takings.into_iter().flatten().collect();
    taken.sort_unstable();
    assert_eq!(taken, [0, 1, 2]);
}

pub async fn giving_back_a_permit_that_nobody_holds_is_no_error(store: &impl StateStore) {
    store.return_permit(&profile(), 0, this_second()).await.unwrap();
    assert_eq!(take(store, 1, this_second()).await, Some(0));
}

pub async fn a_permit_that_ended_and_is_somebody_elses_is_left_to_him(store: &impl StateStore) {
    let first = this_second();
    assert_eq!(take(store, 1, first).await, Some(0));
    let later = seconds_after(first, 60);
    assert_eq!(take(store, 1, later).await, Some(0));
    store.return_permit(&profile(), 0, seconds_after(first, 60)).await.unwrap();
    assert_eq!(take(store, 1, seconds_after(later, 1)).await, None);
}
