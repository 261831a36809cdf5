//! Alerts of a mailbox and of a profile: when they are raised, what they say, when they close.

use end_to_end::fleet::{Fleet, OUTAGE_MINUTES};
use mailrail_domain::{
    settings::hold::HoldSettings,
    words::{
        alert::{AlertAction, AlertKind, AlertScope, AlertStatus, Level},
        notice::NoticeKind,
    },
};
use mailrail_engine::ports::Directory;
use mailrail_test_support::build;

#[tokio::test]
async fn a_delivery_that_does_not_get_its_turn_is_reported_once_and_its_next_success_closes_it() {
    let fleet = Fleet::of(1, HoldSettings::default()).await;
    fleet.minutes(6).await;
    fleet.hour_without_runs().await;
    fleet.hour_without_runs().await;
    fleet.hour_without_runs().await;
    let open = fleet.alerts().await;
    assert_eq!(open.iter().map(|alert| (alert.kind, alert.count)).collect::<Vec<_>>(), [(AlertKind::Stalled, 1)]);
    assert_eq!(fleet.enabled().await, 1, "it is a report and no failure");
    fleet.minutes(6).await;
    assert_eq!(fleet.alerts().await[0].status, AlertStatus::Closed);

    fleet.set(|organization| organization.stall_minutes = 0).await;
    fleet.hour_without_runs().await;
    fleet.hour_without_runs().await;
    assert_eq!(fleet.alerts().await.len(), 1, "0 is never");
}

#[tokio::test]
async fn only_levels_that_the_organization_records_become_alerts() {
    let fleet = Fleet::of(1, HoldSettings::default()).await;
    fleet.set(|organization| organization.recorded_alert_levels = vec![Level::Error]).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    fleet.minutes(20).await;
    assert_eq!(fleet.alerts().await, [], "a transient failure is a warning");
    fleet.minutes(OUTAGE_MINUTES).await;
    let kinds: Vec<_> = fleet.alerts().await.iter().map(|alert| (alert.kind, alert.level)).collect();
    assert_eq!(kinds, [(AlertKind::ServerNotReachable, Level::Error)]);
    assert_eq!(fleet.notices(NoticeKind::Disabled).await.len(), 1, "a notice is no alert");
}

#[tokio::test]
async fn closed_alerts_are_not_kept_where_the_organization_says_so() {
    for (days, kept) in [(30, 1), (0, 0)] {
        let fleet = Fleet::of(1, HoldSettings::default()).await;
        fleet.set(|organization| organization.closed_alert_days = days).await;
        fleet.servers().set_down(true);
        fleet.minutes(12).await;
        assert_eq!(fleet.profile_alerts().await.len(), 1);
        fleet.servers().set_down(false);
        fleet.minutes(6).await;
        let left = fleet.profile_alerts().await;
        assert_eq!(left.len(), kept, "{days} days");
        assert!(left.iter().all(|alert| alert.status == AlertStatus::Closed));
    }
}

#[tokio::test]
async fn every_alert_says_how_far_it_reaches_why_it_was_classed_so_and_what_mends_it() {
    let fleet = Fleet::of(1, HoldSettings::default()).await;
    fleet.servers().set_down(true);
    fleet.minutes(6).await;
    let alert = fleet.alerts().await.remove(0);
    assert_eq!((alert.scope, alert.action), (AlertScope::Profile, Some(AlertAction::ChangeProfile)));
    assert!(alert.why.contains("connecting to the server") && alert.why.contains("transient"), "{}", alert.why);
    assert!(alert.evidence.is_some() && !alert.resolution.is_empty());
}

#[tokio::test]
async fn more_than_half_of_a_profile_failing_is_one_notice_of_its_own() {
    for (mailboxes, failing, expected) in [(12, 7, 1), (12, 6, 0), (4, 4, 0)] {
        let fleet = Fleet::of(mailboxes, HoldSettings::default()).await;
        fleet.minutes(6).await;
        for id in &fleet.mailboxes[..failing] {
            fleet.servers().refuse(&format!("{id}@example.test"));
        }
        fleet.minutes(40).await;
        let told = fleet.notices(NoticeKind::MajorityFailing).await;
        assert_eq!(told.len(), expected, "{failing} of {mailboxes}");
        let alerts = fleet.profile_alerts().await;
        let open: Vec<_> = alerts.iter().map(|alert| (alert.kind, alert.status)).collect();
        assert_eq!(open, vec![(AlertKind::MajorityFailing, AlertStatus::Open); expected]);
        fleet.minutes(90).await;
        assert!(fleet.profile_alerts().await.iter().all(|alert| alert.status == AlertStatus::Closed));
        assert_eq!(fleet.notices(NoticeKind::MajorityFailing).await.len(), expected, "told once");
    }
}

#[tokio::test]
async fn what_is_the_servers_is_one_alert_of_the_profile_to_which_its_mailboxes_refer_until_the_last_works() {
    let fleet = Fleet::of(3, HoldSettings::default()).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    fleet.minutes(6).await;
    let [alert] = &fleet.profile_alerts().await[..] else { panic!("one alert: {:?}", fleet.profile_alerts().await) };
    assert_eq!((alert.kind, alert.level, &alert.mailbox_id), (AlertKind::ServerNotReachable, Level::Warning, &None));
    assert!(alert.text.contains("mailboxes of the email server profile"), "{}", alert.text);
    assert_eq!(fleet.own_alerts().await, []);
    assert_eq!(fleet.alerts().await, std::slice::from_ref(alert), "a mailbox shows it by reference");

    let stranger = fleet.add("stranger", &build::profile("fleet", None, None)).await;
    assert_eq!(fleet.alerts_of(&stranger).await, [], "a mailbox that has not met it does not");

    fleet.servers().set_down(false);
    let mut statuses = Vec::new();
    for _ in 0..10 {
        fleet.minute().await;
        let mut referring = 0;
        for id in &fleet.mailboxes {
            referring += usize::from(!fleet.state(id).await.open_alerts.is_empty());
        }
        let [alert] = &fleet.profile_alerts().await[..] else { panic!("one alert") };
        assert_eq!(alert.status == AlertStatus::Open, referring > 0, "{referring} refer to it");
        statuses.push(alert.status);
    }
    assert_eq!(statuses.last(), Some(&AlertStatus::Closed));
}

#[tokio::test]
async fn a_shared_alert_is_closed_in_a_profile_of_many_too_and_when_its_last_mailbox_is_deleted() {
    let fleet = Fleet::of(60, HoldSettings::default()).await;
    fleet.minutes(6).await;
    fleet.servers().set_down(true);
    fleet.minutes(6).await;
    fleet.servers().set_down(false);
    fleet.minutes(20).await;
    let alerts = fleet.profile_alerts().await;
    assert!(alerts.iter().all(|alert| alert.status == AlertStatus::Closed) && !alerts.is_empty(), "{alerts:?}");

    let fleet = Fleet::of(1, HoldSettings::default()).await;
    fleet.servers().set_down(true);
    fleet.minutes(6).await;
    assert_eq!(fleet.profile_alerts().await[0].status, AlertStatus::Open);
    let state = &fleet.engine.ports.state;
    let details = state.mailbox(&fleet.mailboxes[0]).await.expect("a store that works").expect("a mailbox");
    state.delete_mailbox(&details, &build::audit()).await.expect("a store that works");
    fleet.minutes(10).await;
    assert_eq!(fleet.profile_alerts().await[0].status, AlertStatus::Closed);
}
