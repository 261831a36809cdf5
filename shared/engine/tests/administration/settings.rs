//! The organization's settings, and what is read of trouble.

use mailrail_domain::{
    settings::organization::Organization,
    words::{alert::AlertStatus, audit::AuditAction, notice::NoticeStatus},
};
use mailrail_engine::{
    administration::{settings::SettingsChange, trouble::AlertsOf},
    ports::StoredOrganization,
};
use mailrail_test_support::build::mailbox_id;

use super::*;

fn change(before: &StoredOrganization, after: Organization) -> SettingsChange {
    SettingsChange { before: before.clone(), after, fields: vec!["stall_minutes".into()] }
}

#[tokio::test]
async fn settings_are_changed_on_condition_of_their_revision_and_read_once() {
    let world = world();
    let before = world.organization_to_change(&Expected::OneOf(vec![0])).await.unwrap();
    let after = Organization { stall_minutes: 5, ..before.organization.clone() };
    let reads = world.ports.state.reads();
    let stored = world.change_organization(&ann(), change(&before, after.clone())).await.unwrap();
    assert_eq!(world.ports.state.reads(), reads, "nothing is read back");
    assert_eq!((stored.revision, &stored.organization), (1, &after));
    assert_eq!(world.organization().await.unwrap(), stored);
    let fields = vec!["stall_minutes".to_owned()];
    assert_eq!(last_audited(&world).await, ("ann".into(), AuditAction::Changed, "organization".into(), fields));

    check_superseded(world.change_organization(&ann(), change(&before, after.clone())).await);
    check_outdated(world.organization_to_change(&Expected::OneOf(vec![0])).await, 1);
    check_forbidden(world.change_organization(&rita(), change(&stored, after.clone())).await);
    let bad = Organization { closed_alert_days: 4_000, ..after.clone() };
    check_invalid(world.change_organization(&ann(), change(&stored, bad)).await, "closed_alert_days");
    let nobodys = Organization { notice_mailbox_id: Some(mailbox_id("m1")), ..after };
    check_invalid(world.change_organization(&ann(), change(&stored, nobodys.clone())).await, "notice_mailbox_id");
    assert_eq!(audited(&world).await.len(), 1);
    let profile = with_profile(&world).await.profile;
    with_mailbox(&world, "m1", &profile).await;
    world.change_organization(&ann(), change(&stored, nobodys)).await.unwrap();
}

#[tokio::test]
async fn while_all_is_well_there_is_no_trouble_to_read() {
    let world = world();
    let profile = with_profile(&world).await.profile;
    let mailbox = with_mailbox(&world, "m1", &profile).await;
    let of = [AlertsOf::Mailbox(mailbox.id), AlertsOf::Profile(profile.id), AlertsOf::Everybody(AlertStatus::Open)];
    for of in of {
        assert!(world.list_alerts(of, &all()).await.unwrap().items.is_empty());
    }
    assert!(world.list_notices(NoticeStatus::Pending, &all()).await.unwrap().items.is_empty());
}
