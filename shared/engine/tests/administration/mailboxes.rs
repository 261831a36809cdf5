//! Mailboxes: created, changed, deleted, approved, and shown.

use mailrail_domain::{
    settings::approval::{ApprovalState, Verdict},
    words::{
        audit::AuditAction,
        delivery::{Delivery, SynchronizationMethod},
        id::ProfileId,
    },
};
use mailrail_engine::{
    administration::{SecretChange, mailboxes::MailboxChange},
    ports::{MailboxDetails, Secret, Vault},
};
use mailrail_test_support::{build::address, fakes::Reads};

use super::*;

fn change(before: &MailboxDetails, after: Mailbox) -> MailboxChange {
    MailboxChange { before: before.clone(), after, password: SecretChange::Keep, fields: vec!["name".into()] }
}

#[tokio::test]
async fn a_mailbox_is_created_with_its_deliveries_off_and_its_address_undecided() {
    let world = world();
    let profile = with_profile(&world).await.profile;
    let mailbox = build::mailbox("m1", "m1@example.test", &profile);
    let created = world.create_mailbox(&ann(), mailbox, Some(Secret::new("secret"))).await.unwrap();
    let read = world.know_mailbox("m1").await.unwrap();
    assert_eq!(created.details, read.details, "what comes back is what was written");
    assert_eq!(created.profile, read.profile);
    let stored = &created.details.stored;
    assert_eq!(stored.mailbox.approval.state, ApprovalState::PendingApproval, "nobody approves his own mailbox");
    let sealed = stored.credentials.as_ref().expect("credentials");
    assert_eq!(world.ports.vault.open("mailbox/m1", sealed).await.unwrap(), Some(Secret::new("secret")));
    assert!(created.details.deliveries.iter().all(|(_, state)| !state.enabled));
    assert_eq!(last_audited(&world).await, ("ann".into(), AuditAction::Created, "m1".into(), vec![]));
    assert_eq!(world.list_mailboxes(Some(&profile.id), &all()).await.unwrap().items.len(), 1);
    assert_eq!(world.list_mailboxes(None, &all()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_mailbox_that_cannot_be_used_is_refused_and_nothing_is_written() {
    let world = world();
    let profile = with_profile(&world).await.profile;
    let good = build::mailbox("m1", "m1@example.test", &profile);
    check_forbidden(world.create_mailbox(&rita(), good.clone(), None).await);
    let nowhere = Mailbox { profile_id: ProfileId::parse("p2").unwrap(), ..good.clone() };
    check_invalid(world.create_mailbox(&ann(), nowhere, None).await, "profile_id");
    check_invalid(world.create_mailbox(&ann(), Mailbox { name: String::new(), ..good.clone() }, None).await, "name");
    let user = Mailbox { username: Some(String::new()), ..good.clone() };
    check_invalid(world.create_mailbox(&ann(), user, None).await, "username");
    check_invalid(world.create_mailbox(&ann(), good.clone(), Some(Secret::new(""))).await, "password");
    assert_eq!(audited(&world).await.len(), 1, "of the profile alone");
    world.create_mailbox(&ann(), good, None).await.unwrap();
    let same = build::mailbox("m2", "M1@EXAMPLE.test", &profile);
    check_invalid(world.create_mailbox(&ann(), same, None).await, "address");
    check_not_found(world.find_mailbox("m2").await);
    check_not_found(world.know_mailbox("no id").await);
}

#[tokio::test]
async fn a_mailbox_is_changed_on_condition_of_its_revision_and_read_once() {
    let world = world();
    let profile = with_profile(&world).await.profile;
    with_mailbox(&world, "m1", &profile).await;
    world.decide(&ann(), "m1", Verdict::Approve).await.unwrap();
    check_outdated(world.mailbox_to_change("m1", &Expected::OneOf(vec![1])).await, 2);
    let reads = world.ports.state.reads();
    let before = world.mailbox_to_change("m1", &Expected::OneOf(vec![2])).await.unwrap();
    let renamed = Mailbox { name: "Another".into(), ..before.stored.mailbox.clone() };
    let after = world.change_mailbox(&ann(), change(&before, renamed.clone())).await.unwrap();
    let expected = Reads { mailboxes: reads.mailboxes + 1, profiles: reads.profiles + 1, ..reads };
    assert_eq!(world.ports.state.reads(), expected, "nothing is read back, and no profile twice");
    assert_eq!(after.details.stored.mailbox, renamed, "the approval of an address stays with it");
    assert_eq!(world.find_mailbox("m1").await.unwrap(), after.details);
    let entry = ("ann".to_owned(), AuditAction::Changed, "m1".to_owned(), vec!["name".to_owned()]);
    assert_eq!(last_audited(&world).await, entry);
    check_superseded(world.change_mailbox(&ann(), change(&before, renamed.clone())).await);
    check_forbidden(world.change_mailbox(&rita(), change(&after.details, renamed)).await);
}

#[tokio::test]
async fn what_begins_anew_is_answered_as_it_was_written() {
    let world = world();
    let profile = with_profile(&world).await.profile;
    with_mailbox(&world, "m1", &profile).await;
    world.decide(&ann(), "m1", Verdict::Approve).await.unwrap();
    for delivery in [Delivery::IncomingEmail, Delivery::OutgoingEmail] {
        world.enable_delivery(&ann(), "m1", delivery, &Expected::Any).await.unwrap();
    }
    let before = world.mailbox_to_change("m1", &Expected::Any).await.unwrap();
    let without = Mailbox { incoming_email: SynchronizationMethod::None, ..before.stored.mailbox.clone() };
    let after = world.change_mailbox(&ann(), change(&before, without)).await.unwrap().details;
    assert_eq!(world.find_mailbox("m1").await.unwrap(), after);
    let enabled: Vec<bool> = after.deliveries.iter().map(|(_, state)| state.enabled).collect();
    assert_eq!(enabled, [false, true, false]);

    let moved = Mailbox { address: Some(address("other@example.test")), ..after.stored.mailbox.clone() };
    let after = world.change_mailbox(&ann(), change(&after, moved)).await.unwrap().details;
    assert_eq!(world.find_mailbox("m1").await.unwrap(), after);
    assert!(after.deliveries.iter().all(|(_, state)| !state.enabled), "with another address all begin anew");
    assert_eq!(after.stored.mailbox.approval.state, ApprovalState::PendingApproval);
}

#[tokio::test]
async fn a_mailbox_is_deleted() {
    let world = world();
    let profile = with_profile(&world).await.profile;
    with_mailbox(&world, "m1", &profile).await;
    check_forbidden(world.delete_mailbox(&rita(), "m1", &Expected::Any).await);
    world.delete_mailbox(&ann(), "m1", &Expected::Any).await.unwrap();
    assert_eq!(last_audited(&world).await, ("ann".into(), AuditAction::Deleted, "m1".into(), vec![]));
    check_not_found(world.delete_mailbox(&ann(), "m1", &Expected::Any).await);
}

#[tokio::test]
async fn addresses_are_approved_and_rejected_by_whoever_may() {
    let world = world();
    let profile = with_profile(&world).await.profile;
    with_mailbox(&world, "m1", &profile).await;
    for (by, verdict, action, state) in [
        (ann(), Verdict::Approve, AuditAction::Approved, ApprovalState::Approved),
        (ann(), Verdict::Reject, AuditAction::Rejected, ApprovalState::Rejected),
        (tess(), Verdict::ApproveForTenant, AuditAction::ApprovedForTenant, ApprovalState::Approved),
    ] {
        world.decide(&by, "m1", verdict).await.unwrap();
        let approval = world.find_mailbox("m1").await.unwrap().stored.mailbox.approval;
        assert_eq!((approval.state, approval.decided.expect("a decision").by), (state, by.name.clone()));
        assert_eq!(last_audited(&world).await, (by.name, action, "m1".into(), vec![]));
    }
    check_forbidden(world.decide(&ann(), "m1", Verdict::ApproveForTenant).await);
    check_forbidden(world.decide(&rita(), "m1", Verdict::Approve).await);
    let ids = ["m1".to_owned(), "nobody".to_owned()];
    check_forbidden(world.decide_many(&ann(), &ids, Verdict::ApproveForTenant).await);
    let decided = world.decide_many(&ann(), &ids, Verdict::Reject).await.unwrap();
    assert_eq!(decided.done, ["m1"]);
    assert!(matches!(&decided.refused[..], [(id, Refusal::NotFound { .. })] if id == "nobody"));
    check_not_found(world.decide(&ann(), "m2", Verdict::Approve).await);
    let none = SynchronizationMethod::None;
    let silent = Mailbox {
        address: None,
        incoming_email: none,
        outgoing_email: none,
        ..build::mailbox("m3", "m3@example.test", &profile)
    };
    world.create_mailbox(&ann(), silent, None).await.unwrap();
    check_conflict(world.decide(&ann(), "m3", Verdict::Approve).await, "no address");
}

#[tokio::test]
async fn an_overview_says_what_is_due_and_what_waits() {
    let world = world();
    let profile = with_profile(&world).await.profile;
    with_mailbox(&world, "m1", &profile).await;
    world.decide(&ann(), "m1", Verdict::Approve).await.unwrap();
    let enabled = world.enable_delivery(&ann(), "m1", Delivery::IncomingEmail, &Expected::Any).await.unwrap();
    let overview = world.overview(enabled).await.unwrap();
    assert_eq!(overview.next_due.keys().copied().collect::<Vec<_>>(), [Delivery::IncomingEmail]);
    assert!(overview.next_due[&Delivery::IncomingEmail] > moment(0));
    assert_eq!((overview.outbox.emails, overview.outbox.oldest), (0, None));
    assert!(overview.warnings.is_empty());
    let outlook = Mailbox {
        appointments_contacts_tasks: SynchronizationMethod::Outlook,
        ..overview.details.stored.mailbox.clone()
    };
    let known = world.change_mailbox(&ann(), change(&overview.details, outlook)).await.unwrap();
    assert!(world.overview(known).await.unwrap().warnings.is_empty(), "all of one kind are no mixture");
}
