//! A server that fails under a thousand mailboxes, with the hold and without.

use end_to_end::{
    fleet::{Fleet, OUTAGE_MINUTES},
    world::now,
};
use mailrail_domain::{
    settings::hold::HoldSettings,
    words::{
        alert::{AlertKind, AlertStatus, Level},
        notice::{NoticeKind, NoticeStatus},
    },
};
use mailrail_engine::ports::{HealthStore, MailboxStore};
use mailrail_test_support::build;

const MAILBOXES: usize = 1_000;

#[tokio::test]
async fn with_the_hold_on_an_outage_is_one_alert_and_one_notice_and_disables_nobody() {
    let hold = HoldSettings { hold_after_mailboxes: 10, ..HoldSettings::default() };
    let fleet = Fleet::of(MAILBOXES, hold).await;
    fleet.deliver_to_all("before");
    fleet.minutes(6).await;
    assert_eq!(fleet.with_records(1).await, MAILBOXES, "every mailbox is polled within a cycle");

    fleet.servers().set_down(true);
    let before = fleet.servers().connections();
    fleet.deliver_to_all("meanwhile");
    fleet.minutes(OUTAGE_MINUTES).await;
    assert_eq!(fleet.enabled().await, MAILBOXES, "nobody is disabled");
    let alerts = fleet.profile_alerts().await;
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!((alerts[0].kind, alerts[0].status), (AlertKind::ProfileHeld, AlertStatus::Open));
    assert_eq!(fleet.notices(NoticeKind::Held).await.len(), 1);
    assert_eq!(fleet.told().len(), 1, "{:?}", fleet.told());
    let tries = fleet.servers().connections() - before;
    // Those of the batch in which the hold began, and a probe every five minutes.
    assert!(tries <= 10 + 10 + 55 / 5, "{tries} connections to a dead server");
    for id in &fleet.mailboxes {
        let state = fleet.state(id).await;
        assert!(state.transient_failure_count <= 1, "{state:?}");
    }

    fleet.servers().set_down(false);
    fleet.minutes(10).await;
    assert_eq!(fleet.with_records(2).await, MAILBOXES, "all resumed within two cycles, and no message is missed");
    assert!(fleet.profile_alerts().await.iter().all(|alert| alert.status == AlertStatus::Closed));
    assert_eq!(fleet.notices(NoticeKind::Released).await.len(), 1);
    assert_eq!(fleet.notices(NoticeKind::Disabled).await.len(), 0);
}

#[tokio::test]
async fn with_the_hold_off_each_is_tried_ten_times_and_disabled_and_one_digest_tells_of_all() {
    let fleet = Fleet::of(MAILBOXES, HoldSettings::default()).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    let before = fleet.servers().connections();
    fleet.minutes(OUTAGE_MINUTES).await;
    assert_eq!(fleet.enabled().await, 0, "every one is disabled");
    assert_eq!(fleet.servers().connections() - before, 10 * MAILBOXES, "exactly ten tries each");
    let alerts = fleet.profile_alerts().await;
    let kinds: Vec<_> = alerts.iter().map(|alert| (alert.kind, alert.status, alert.level)).collect();
    let told = [AlertKind::MajorityFailing, AlertKind::ServerNotReachable];
    assert_eq!(kinds, told.map(|kind| (kind, AlertStatus::Open, Level::Error)));
    assert!(alerts[1].count <= 11, "once for each round and when the first is disabled: {}", alerts[1].count);
    assert!(fleet.own_alerts().await.is_empty(), "no row of any mailbox");
    fleet.servers().set_down(false);
    fleet.minutes(15).await;
    assert_eq!(fleet.servers().connections() - before, 10 * MAILBOXES, "nothing goes on by itself");
    assert_eq!(fleet.notices(NoticeKind::Disabled).await.len(), MAILBOXES, "each disabling is in the API");
    let told = fleet.told();
    let disabled: Vec<&String> = told.iter().filter(|subject| subject.contains("have been disabled")).collect();
    assert_eq!(disabled, ["1000 mailboxes have been disabled for receiving email"], "{told:?}");
    let warned = told.iter().filter(|subject| subject.contains("about to be disabled")).count();
    let majority = told.iter().filter(|subject| subject.starts_with("More than half")).count();
    assert_eq!((warned, majority, told.len()), (1, 1, 3), "one digest warned before, and one notice of most: {told:?}");
    assert!(fleet.notices(NoticeKind::Disabled).await.iter().all(|notice| notice.status == NoticeStatus::Sent));
}

#[tokio::test]
async fn a_probe_of_a_held_profile_is_not_spent_where_all_connections_are_taken() {
    let hold = HoldSettings { hold_after_mailboxes: 2, ..HoldSettings::default() };
    let mut fleet = Fleet::of(3, hold).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    fleet.minutes(6).await;
    let id = build::profile("fleet", None, None).id;
    let health = fleet.engine.ports.state.health(&id).await.expect("a store that works").expect("a held profile");
    assert!(health.health.probe_at.is_some());
    // Other invocations have every connection of the profile for an hour.
    fleet.engine.settings.invocations_max = 200;
    let connections = build::profile("fleet", None, None).maximum_concurrent_connections;
    for _ in 0..connections {
        let until = mailrail_domain::seconds_after(now(), 3_600);
        let taken = fleet.engine.ports.state.take_permit(&id, connections, until, now()).await;
        assert!(taken.expect("a store that works").is_some());
    }
    let tries = fleet.servers().connections();
    fleet.minutes(12).await;
    let after = fleet.engine.ports.state.health(&id).await.expect("a store that works");
    assert_eq!((after, fleet.servers().connections()), (Some(health), tries), "the probe is still to be made");
    fleet.engine.settings.invocations_max = 1;
    fleet.servers().set_down(false);
    fleet.minutes(2).await;
    assert_eq!(fleet.engine.ports.state.health(&id).await.expect("a store that works"), None, "it was made at once");
}

#[tokio::test]
async fn mailboxes_of_a_held_profile_are_not_called_stalled() {
    let hold = HoldSettings { hold_after_mailboxes: 3, ..HoldSettings::default() };
    let fleet = Fleet::of(40, hold).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    fleet.minutes(120).await;
    fleet.hour_without_runs().await;
    let kinds: Vec<_> = fleet.own_alerts().await.into_iter().map(|alert| alert.kind).collect();
    assert!(!kinds.contains(&AlertKind::Stalled), "{kinds:?}");
    assert_eq!(fleet.profile_alerts().await.len(), 1, "the hold is one alert");
}

#[tokio::test]
async fn a_hold_that_is_switched_off_ends_with_its_alert_and_a_notice() {
    let hold = HoldSettings { hold_after_mailboxes: 3, ..HoldSettings::default() };
    let fleet = Fleet::of(10, hold).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    fleet.minutes(15).await;
    assert_eq!(fleet.notices(NoticeKind::Held).await.len(), 1);
    fleet.set(|organization| organization.hold = HoldSettings::default()).await;
    fleet.servers().set_down(false);
    fleet.minutes(15).await;
    let open = fleet.profile_alerts().await.into_iter().filter(|alert| alert.status == AlertStatus::Open).count();
    assert_eq!((open, fleet.notices(NoticeKind::Released).await.len()), (0, 1));
    let profile = build::profile("fleet", None, None).id;
    assert_eq!(fleet.engine.ports.state.health(&profile).await.expect("a store that works"), None);
}
