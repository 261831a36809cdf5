//! What the owner of a profile hears before and after a disabling, and deliveries that are tried again by themselves.

use end_to_end::{
    fleet::{Fleet, OUTAGE_MINUTES},
    world::now,
};
use mailrail_domain::{
    settings::{
        approval::ApprovalState,
        hold::{HoldSettings, RecoveryProbe},
    },
    words::notice::NoticeKind,
};
use mailrail_engine::ports::{Directory, Written};
use mailrail_test_support::build;

/// A mailbox that an outage has disabled, under these settings.
async fn disabled(recovery_probe: RecoveryProbe) -> Fleet {
    let fleet = Fleet::of(1, HoldSettings { recovery_probe, ..HoldSettings::default() }).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    fleet.minutes(OUTAGE_MINUTES).await;
    assert_eq!(fleet.enabled().await, 0);
    fleet.deliver_to_all("meanwhile");
    fleet
}

#[tokio::test]
async fn an_owner_is_warned_at_the_eighth_failure_and_told_of_the_recovery() {
    let fleet = Fleet::of(1, HoldSettings::default()).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    fleet.minutes_until_warned().await;
    assert_eq!(fleet.state(&fleet.mailboxes[0]).await.transient_failure_count, 8);
    let warnings = fleet.notices(NoticeKind::Warning).await;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].text.contains("2 tries are left"), "{}", warnings[0].text);
    fleet.servers().set_down(false);
    fleet.minutes(8).await;
    assert_eq!(fleet.enabled().await, 1);
    assert_eq!(fleet.notices(NoticeKind::Recovered).await.len(), 1);
    assert_eq!(fleet.notices(NoticeKind::Disabled).await.len(), 0);
    fleet.minutes(10).await;
    assert_eq!(fleet.told().len(), 2, "{:?}", fleet.told());
}

#[tokio::test]
async fn an_owner_who_was_warned_is_told_of_a_recovery_that_brings_mail() {
    let fleet = Fleet::of(1, HoldSettings::default()).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    fleet.minutes_until_warned().await;
    fleet.deliver_to_all("meanwhile");
    fleet.servers().set_down(false);
    fleet.minutes(8).await;
    assert_eq!((fleet.enabled().await, fleet.with_records(1).await), (1, 1));
    assert_eq!(fleet.notices(NoticeKind::Recovered).await.len(), 1);
}

#[tokio::test]
async fn a_disabled_delivery_resumes_by_itself_and_fetches_what_was_missed() {
    let fleet = disabled(RecoveryProbe::Resume).await;
    fleet.minutes(30).await;
    assert_eq!(fleet.enabled().await, 0, "its server is away still");
    fleet.servers().set_down(false);
    fleet.minutes(61).await;
    assert_eq!((fleet.enabled().await, fleet.with_records(1).await), (1, 1));
    assert_eq!(fleet.notices(NoticeKind::Recovered).await.len(), 1);
}

#[tokio::test]
async fn the_owner_of_a_disabled_delivery_is_told_that_it_would_work_again() {
    let fleet = disabled(RecoveryProbe::Tell).await;
    fleet.servers().set_down(false);
    fleet.minutes(31).await;
    assert_eq!((fleet.enabled().await, fleet.with_records(0).await), (0, 1), "it waits for a person");
    let told = fleet.notices(NoticeKind::Recovered).await;
    assert_eq!(told.len(), 1);
    assert!(told[0].text.contains("Test and enable"), "{}", told[0].text);
    let connections = fleet.servers().connections();
    fleet.minutes(120).await;
    assert_eq!(fleet.servers().connections(), connections, "told once, it is not tried any more");
}

#[tokio::test]
async fn without_a_recovery_probe_a_disabled_delivery_is_left_alone() {
    let fleet = disabled(RecoveryProbe::Off).await;
    let connections = fleet.servers().connections();
    fleet.minutes(120).await;
    assert_eq!(fleet.servers().connections(), connections);
}

#[tokio::test]
async fn a_mailbox_owner_gets_a_copy_where_the_organization_says_so() {
    let fleet = Fleet::of(1, HoldSettings::default()).await;
    let state = &fleet.engine.ports.state;
    let mut stored = state.organization().await.expect("a store that works");
    stored.organization.notify_mailbox_owners = true;
    state.put_organization(&stored, &build::audit()).await.expect("a store that works");
    fleet.servers().set_down(true);
    fleet.minutes(OUTAGE_MINUTES + 10).await;
    let sent = fleet.servers().sent();
    let to: Vec<&str> = sent.last().expect("a notice").0.iter().map(|address| address.as_str()).collect();
    assert_eq!(to, ["owner@example.test", "m0000@example.test"]);
}

#[tokio::test]
async fn a_delivery_that_is_probed_and_not_approved_any_more_is_disabled_once() {
    let fleet = disabled(RecoveryProbe::Resume).await;
    let (store, id) = (&fleet.engine.ports.state, &fleet.mailboxes[0]);
    let before = store.mailbox(id).await.expect("a store that works").expect("a mailbox");
    let mut after = before.stored.clone();
    after.mailbox.approval.state = ApprovalState::Rejected;
    let written = store.change_mailbox(&before, &after, &build::audit_at(now())).await;
    assert_eq!(written.expect("a store that works"), Written::Done);
    fleet.minutes(120).await;
    assert_eq!(fleet.state(id).await.times_disabled, 1);
    assert_eq!(fleet.notices(NoticeKind::Disabled).await.len(), 1);
}
