//! What is known of profiles' servers, and what is told of a profile.

use mailrail_domain::{
    rules::{
        hold::ProfileHealth,
        schedule::Slot,
        story::{Story, Tidings},
    },
    seconds_after,
    texts::{
        self,
        alert::{About, alert},
        notice::notice,
    },
    words::{
        alert::{Alert, AlertStatus},
        cause::{Cause, DeliveryError},
        delivery::Delivery,
        evidence::{Evidence, Stage},
        notice::NoticeStatus,
        policy::RetryPolicy,
    },
};
use mailrail_engine::ports::{AlertFilter, Closing, StoredHealth};

use super::{
    INCOMING, INTERVAL, StateStore, a_profile, alerts, commit, created, disable, load, notices, slots, unchanged,
};
use crate::conformance::this_second;

fn health() -> ProfileHealth {
    ProfileHealth {
        since: this_second(),
        failing: vec!["m1".to_owned(), "m2".to_owned()],
        delivery: INCOMING,
        error: DeliveryError::new(Cause::ConnectionRefused, Evidence::new(Stage::Connect, "refused")),
        probe_at: Some(this_second()),
    }
}

pub async fn health_comes_back_as_it_was_written_and_is_forgotten(store: &impl StateStore) {
    let profile = a_profile("p1").profile.id;
    assert_eq!(store.health(&profile).await.unwrap(), None);
    let health = health();
    assert!(store.put_health(&profile, &health, 0, None).await.unwrap());
    assert_eq!(store.health(&profile).await.unwrap(), Some(StoredHealth { health, version: 1 }));
    assert_eq!(store.health(&a_profile("p11").profile.id).await.unwrap(), None);
    assert!(!store.clear_health(&profile, 2, None).await.unwrap());
    assert!(store.clear_health(&profile, 1, None).await.unwrap());
    assert_eq!(store.health(&profile).await.unwrap(), None);
    assert!(!store.clear_health(&profile, 1, None).await.unwrap());
}

pub async fn of_many_that_write_health_at_once_one_does(store: &impl StateStore) {
    let (profile, health) = (a_profile("p1").profile.id, health());
    for version in [0, 1] {
        let puts =
            futures_util::future::join_all((0..10).map(|_| store.put_health(&profile, &health, version, None))).await;
        assert_eq!(puts.into_iter().filter(|put| *put.as_ref().unwrap()).count(), 1, "version {version}");
    }
}

pub async fn a_hold_is_told_and_ended_in_the_same_write_or_not_at_all(store: &impl StateStore) {
    let (profile, now) = (a_profile("p1").profile, this_second());
    let policy = RetryPolicy::default();
    let about = About { profile: &profile, mailbox: None, delivery: health().delivery, policy, now };
    let alert = alert(&Story::Held(Box::new(health())), &about);
    let notice = notice(&Tidings::Held(Box::new(health())), &about);
    let filter = AlertFilter::Profile(profile.id.clone());
    let id = &profile.id;
    assert!(!store.put_health(id, &health(), 1, Some((&alert, &notice))).await.unwrap());
    assert_eq!((alerts(store, filter.clone()).await.len(), notices(store, NoticeStatus::Pending).await.len()), (0, 0));
    assert!(store.put_health(id, &health(), 0, Some((&alert, &notice))).await.unwrap());
    assert_eq!(alerts(store, filter.clone()).await, std::slice::from_ref(&alert));
    assert_eq!(notices(store, NoticeStatus::Pending).await, std::slice::from_ref(&notice));

    let release = texts::notice::notice(&Tidings::Released { since: alert.first_seen }, &About { now, ..about });
    assert!(!store.clear_health(id, 2, Some((&alert, now, &release))).await.unwrap());
    assert_eq!(alerts(store, filter.clone()).await, std::slice::from_ref(&alert));
    assert!(store.clear_health(id, 1, Some((&alert, now, &release))).await.unwrap());
    assert_eq!(alerts(store, filter).await, [Alert { status: AlertStatus::Closed, last_seen: now, ..alert }]);
    assert_eq!(notices(store, NoticeStatus::Pending).await.len(), 2);
    assert_eq!(store.health(id).await.unwrap(), None);
}

pub async fn an_alert_of_a_profile_is_one_however_often_it_is_raised(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let (profile, now) = (a_profile("p1").profile, this_second());
    let (delivery, policy) = (health().delivery, RetryPolicy::default());
    let about = About { profile: &profile, mailbox: None, delivery, policy, now };
    let alert = alert(&Story::Held(Box::new(health())), &about);
    let notice = notice(&Tidings::Held(Box::new(health())), &about);
    store.raise(&alert, Some(&notice)).await.unwrap();
    store.raise(&Alert { last_seen: seconds_after(now, 9), ..alert.clone() }, None).await.unwrap();
    let filter = AlertFilter::Profile(profile.id.clone());
    let expected = Alert { count: 2, last_seen: seconds_after(now, 9), ..alert.clone() };
    assert_eq!(alerts(store, filter.clone()).await, std::slice::from_ref(&expected));
    assert_eq!(alerts(store, AlertFilter::Status(AlertStatus::Open)).await, std::slice::from_ref(&expected));
    assert_eq!(alerts(store, AlertFilter::Mailbox(mailbox)).await, [], "it is no row of the mailbox");
    assert_eq!(notices(store, NoticeStatus::Pending).await, [notice]);
    let open = store.open_alert(&profile.id, alert.delivery, alert.kind).await.unwrap();
    assert_eq!(open.as_ref(), Some(&expected));
    assert_eq!(store.open_alert(&profile.id, Delivery::OutgoingEmail, alert.kind).await.unwrap(), None);
    assert_eq!(store.open_alert(&a_profile("p11").profile.id, alert.delivery, alert.kind).await.unwrap(), None);

    let later = About { now: seconds_after(now, 60), ..about };
    let release = texts::notice::notice(&Tidings::Released { since: alert.first_seen }, &later);
    store.close(&alert, seconds_after(now, 60), Some(&release)).await.unwrap();
    let closed = Alert { status: AlertStatus::Closed, last_seen: seconds_after(now, 60), ..expected };
    assert_eq!(alerts(store, filter).await, [closed]);
    assert_eq!(alerts(store, AlertFilter::Status(AlertStatus::Open)).await, []);
    assert_eq!(store.open_alert(&profile.id, alert.delivery, alert.kind).await.unwrap(), None);
    assert_eq!(notices(store, NoticeStatus::Pending).await.len(), 2);
}

pub async fn a_disabled_delivery_that_is_probed_stands_in_the_slot_of_its_probes(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    disable(store, &mailbox, INCOMING, this_second()).await;
    let row = load(store, &mailbox, INCOMING).await;
    let mut state = row.state.clone();
    state.recovery_minutes = Some(30);
    commit(store, &row.claim, &Closing { state, ..unchanged(&row) }).await;
    let stands = slots(store, &mailbox, INCOMING, &[INTERVAL, 30]).await;
    assert_eq!(stands, [Slot::of(&mailbox, INCOMING, 30)]);
}
