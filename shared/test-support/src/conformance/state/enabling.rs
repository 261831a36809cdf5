//! What a person asks of a delivery: to be enabled again, which goes before any run that is under way, and to hurry,
//! which disturbs none.

use futures_util::future::join;
use mailrail_domain::{
    email::{imap::ImapPosition, position::Position},
    rules::{
        run::gate::{Gate, gate},
        schedule::Slot,
    },
    seconds_after,
    words::{
        alert::{AlertKind, AlertStatus},
        cause::Cause,
        delivery::Delivery,
        state::DeliveryState,
    },
};
use mailrail_engine::ports::AlertFilter;

use super::{
    APPOINTMENTS, INCOMING, INTERVAL, OUTGOING, SOURCE, StateStore, alerts, created, disable, everything, failed, load,
    slots, succeeded,
};
use crate::{
    build::{audit, audit_at, mailbox_id},
    conformance::this_second,
};

pub async fn a_delivery_enabled_again_begins_to_count_at_zero(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    store.commit(&row.claim, &failed(&row, Cause::TimedOut, now)).await.unwrap();
    disable(store, &mailbox, INCOMING, seconds_after(now, 1)).await;
    let disabled = load(store, &mailbox, INCOMING).await;
    assert_eq!((disabled.state.enabled, disabled.state.transient_failure_count), (false, 1));
    assert!(store.enable(&mailbox, INCOMING, INTERVAL, &audit_at(seconds_after(now, 2))).await.unwrap());
    let enabled = load(store, &mailbox, INCOMING).await;
    assert_eq!(enabled.state, disabled.state.re_enabled(seconds_after(now, 2)));
    assert!(enabled.state.enabled);
    assert_ne!(enabled.claim, disabled.claim);
}

pub async fn a_delivery_enabled_again_goes_on_where_it_was(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let position = Position::of("imap", &ImapPosition { uid_validity: 1, uid_done: 7, mod_seq: Some(9) });
    let row = load(store, &mailbox, INCOMING).await;
    store.advance(&row.claim, &position, SOURCE).await.unwrap().expect("nobody else wrote");
    disable(store, &mailbox, INCOMING, now).await;
    assert!(store.enable(&mailbox, INCOMING, INTERVAL, &audit_at(now)).await.unwrap());
    let after = load(store, &mailbox, INCOMING).await;
    assert_eq!((after.position, after.mailbox, after.credentials), (Some(position), row.mailbox, row.credentials));
}

pub async fn a_delivery_enabled_again_enters_the_schedule(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    disable(store, &mailbox, INCOMING, now).await;
    assert!(store.enable(&mailbox, INCOMING, 15, &audit_at(now)).await.unwrap());
    let stands = slots(store, &mailbox, INCOMING, &[INTERVAL, 15]).await;
    assert_eq!(stands, [Slot::of(&mailbox, INCOMING, 15)]);
    assert_eq!(load(store, &mailbox, INCOMING).await.interval_minutes, Some(15));
}

pub async fn a_running_delivery_enabled_again_moves_to_its_interval_once(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    for minutes in [INTERVAL, 15] {
        assert!(store.enable(&mailbox, INCOMING, minutes, &audit_at(now)).await.unwrap());
        let stands = slots(store, &mailbox, INCOMING, &[INTERVAL, 15]).await;
        assert_eq!(stands, [Slot::of(&mailbox, INCOMING, minutes)]);
    }
}

pub async fn enabling_closes_the_alerts_of_that_delivery_alone(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    store.commit(&row.claim, &failed(&row, Cause::TimedOut, now)).await.unwrap();
    disable(store, &mailbox, INCOMING, now).await;
    disable(store, &mailbox, OUTGOING, now).await;
    assert!(store.enable(&mailbox, INCOMING, INTERVAL, &audit_at(seconds_after(now, 1))).await.unwrap());
    let open = alerts(store, AlertFilter::Status(AlertStatus::Open)).await;
    assert_eq!(open.iter().map(|alert| alert.delivery).collect::<Vec<_>>(), [OUTGOING]);
    let closed = alerts(store, AlertFilter::Status(AlertStatus::Closed)).await;
    let mut kinds: Vec<AlertKind> = closed.iter().map(|alert| alert.kind).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [AlertKind::ServerNotReachable, AlertKind::MailboxCredentialsIncorrect]);
    assert_eq!(load(store, &mailbox, INCOMING).await.state.open_alerts, []);
}

pub async fn a_commit_of_a_run_from_before_the_enabling_is_refused(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let leased = store.lease(&row.claim, seconds_after(now, 60), now).await.unwrap().expect("a free delivery");
    assert!(store.enable(&mailbox, INCOMING, INTERVAL, &audit_at(now)).await.unwrap());
    let before = everything(store, &mailbox, INCOMING).await;
    for closing in [failed(&row, Cause::CredentialsRefused, now), succeeded(&row, now)] {
        assert!(!store.commit(&leased, &closing).await.unwrap());
    }
    assert_eq!(everything(store, &mailbox, INCOMING).await, before);
}

pub async fn a_delivery_that_nobody_moves_stays_disabled(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    assert!(store.enable(&mailbox, APPOINTMENTS, INTERVAL, &audit()).await.unwrap());
    let row = load(store, &mailbox, APPOINTMENTS).await;
    assert_eq!((row.state.enabled, row.interval_minutes), (false, None));
    assert_eq!(slots(store, &mailbox, APPOINTMENTS, &[INTERVAL]).await, []);
}

pub async fn enabling_an_unknown_mailbox_is_answered_so(store: &impl StateStore) {
    created(store, "m1").await;
    let unknown = mailbox_id("m2");
    for delivery in Delivery::ALL {
        assert!(!store.enable(&unknown, delivery, INTERVAL, &audit()).await.unwrap());
        assert_eq!(store.load(&unknown, delivery).await.unwrap(), None);
        assert_eq!(slots(store, &unknown, delivery, &[INTERVAL]).await, []);
    }
}

pub async fn an_enabling_that_meets_the_end_of_a_run_leaves_nothing_half_done(store: &impl StateStore) {
    let now = this_second();
    for n in 0..10 {
        let mailbox = created(store, &format!("m{n}")).await;
        let row = load(store, &mailbox, INCOMING).await;
        let disabling = failed(&row, Cause::CredentialsRefused, now);
        let audit = audit_at(now);
        let (enable, commit) =
            (store.enable(&mailbox, INCOMING, INTERVAL, &audit), store.commit(&row.claim, &disabling));
        // Whichever is begun first has the better chance to be the first to write.
        let (enabled, committed) = if n % 2 == 0 {
            join(enable, commit).await
        } else {
            let (committed, enabled) = join(commit, enable).await;
            (enabled, committed)
        };
        assert!(enabled.unwrap());
        // Either it was disabled and then enabled, or the run came too late and counts for nothing.
        let disabled = u32::from(committed.unwrap());
        let after = everything(store, &mailbox, INCOMING).await;
        assert_eq!((after.row.state.enabled, after.row.state.times_disabled), (true, disabled));
        assert_eq!((after.slots, after.row.state.open_alerts), (vec![Slot::of(&mailbox, INCOMING, INTERVAL)], vec![]));
        assert!(after.alerts.iter().all(|alert| alert.status == AlertStatus::Closed));
        assert_eq!(
            after.pending.iter().filter(|notice| notice.mailbox_id.as_ref() == Some(&mailbox)).count(),
            after.alerts.len()
        );
    }
}

pub async fn a_hurried_delivery_runs_at_the_next_wake(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    store.commit(&row.claim, &succeeded(&row, now)).await.unwrap();
    let ran = load(store, &mailbox, INCOMING).await;
    assert!(matches!(gate((&mailbox, INCOMING), &ran.state, INTERVAL, now), Gate::NotYet(_)));
    store.hurry(&mailbox, INCOMING).await.unwrap();
    let hurried = load(store, &mailbox, INCOMING).await;
    assert_eq!(gate((&mailbox, INCOMING), &hurried.state, INTERVAL, now), Gate::Open);
    assert_eq!(hurried.state, DeliveryState { last_run: None, ..ran.state });
    assert_eq!((hurried.interval_minutes, hurried.mailbox), (ran.interval_minutes, ran.mailbox));
}

pub async fn a_hurried_delivery_keeps_the_gap_between_two_tries(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    store.commit(&row.claim, &failed(&row, Cause::TimedOut, now)).await.unwrap();
    store.hurry(&mailbox, INCOMING).await.unwrap();
    assert!(matches!(
        gate((&mailbox, INCOMING), &load(store, &mailbox, INCOMING).await.state, INTERVAL, now),
        Gate::NotYet(_)
    ));
    disable(store, &mailbox, INCOMING, now).await;
    store.hurry(&mailbox, INCOMING).await.unwrap();
    assert!(matches!(
        gate((&mailbox, INCOMING), &load(store, &mailbox, INCOMING).await.state, INTERVAL, now),
        Gate::Closed(_)
    ));
}

pub async fn a_run_that_is_under_way_ends_as_if_nobody_had_hurried_it(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let until = seconds_after(now, 60);
    let leased = store.lease(&row.claim, until, now).await.unwrap().expect("a free delivery");
    store.hurry(&mailbox, INCOMING).await.unwrap();
    let held = load(store, &mailbox, INCOMING).await;
    assert_eq!((&held.claim, held.leased_until), (&leased, Some(until)));
    let closing = succeeded(&row, now);
    assert!(store.commit(&leased, &closing).await.unwrap());
    assert_eq!(load(store, &mailbox, INCOMING).await.state, closing.state);
}

pub async fn hurrying_an_unknown_mailbox_writes_nothing(store: &impl StateStore) {
    let mailbox = mailbox_id("m1");
    store.hurry(&mailbox, INCOMING).await.unwrap();
    assert_eq!(store.load(&mailbox, INCOMING).await.unwrap(), None);
    assert_eq!(created(store, "m1").await, mailbox);
}
