//! Profiles: created, changed, deleted, and their mailboxes woken.

use std::collections::BTreeSet;

use mailrail_domain::{
    settings::{mailbox::MailboxKind, profile::EmailServerProfile},
    words::{audit::AuditAction, delivery::Delivery},
};
use mailrail_engine::{
    administration::{
        SecretChange,
        profiles::{ProfileChange, ProfileSecret},
    },
    ports::{Secret, StoredProfile, Vault},
};
use mailrail_test_support::{build, fakes::Reads};

use super::*;

fn change(before: &StoredProfile, after: EmailServerProfile<ServerFields>) -> ProfileChange {
    ProfileChange { before: before.clone(), after, secret: SecretChange::Keep, fields: vec!["name".into()] }
}

fn password(password: &str) -> ProfileSecret {
    ProfileSecret::Password(Secret::new(password))
}

#[tokio::test]
async fn a_profile_is_created_with_its_secret_sealed_and_the_audit_says_so() {
    let world = world();
    let created = world.create_profile(&ann(), a_profile("p1"), Some(password("secret"))).await.unwrap();
    assert_eq!(world.find_profile("p1").await.unwrap(), created, "what comes back is what was written");
    let sealed = created.credentials.expect("credentials");
    assert_eq!(world.ports.vault.open("profile/p1", &sealed).await.unwrap(), Some(Secret::new("secret")));
    assert_eq!(last_audited(&world).await, ("ann".into(), AuditAction::Created, "p1".into(), vec![]));
    let listed = world.list_profiles(&all()).await.unwrap().items;
    assert_eq!(listed.iter().map(|stored| stored.profile.id.as_str()).collect::<Vec<_>>(), ["p1"]);
}

#[tokio::test]
async fn a_profile_that_cannot_be_used_is_refused_and_nothing_is_written() {
    let world = world();
    check_forbidden(world.create_profile(&rita(), a_profile("p1"), None).await);
    let nameless = EmailServerProfile { name: String::new(), ..a_profile("p1") };
    check_invalid(world.create_profile(&ann(), nameless, None).await, "name");
    let user = EmailServerProfile { username: Some("a\nb".into()), ..a_profile("p1") };
    check_invalid(world.create_profile(&ann(), user, None).await, "username");
    for bad in ["", "a\r\nb", &"x".repeat(4_097)] {
        check_invalid(world.create_profile(&ann(), a_profile("p1"), Some(password(bad))).await, "password");
    }
    check_invalid(world.create_profile(&ann(), a_profile("p1"), Some(certificate())).await, "certificate");
    assert!(audited(&world).await.is_empty());
    check_not_found(world.find_profile("p1").await);
    check_not_found(world.find_profile("no id").await);
}

#[tokio::test]
async fn a_profile_of_exchange_online_takes_the_organizations_tenant() {
    let world = world();
    let created = with_online(&world).await;
    assert!(created.credentials.is_some());
    assert_eq!(created.profile.into_fields().servers.tenant_id.as_deref(), Some(TENANT));
    let other = world.create_profile(&ann(), a_profile("p2"), None).await.unwrap();
    assert_eq!(other.profile.into_fields().servers.tenant_id, None);
}

#[tokio::test]
async fn a_profile_is_changed_on_condition_of_its_revision_and_read_once() {
    let world = world();
    let first = world.create_profile(&ann(), a_profile("p1"), Some(password("secret"))).await.unwrap();
    check_outdated(world.profile_to_change("p1", &Expected::OneOf(vec![first.revision + 1])).await, first.revision);
    let reads = world.ports.state.reads();
    let before = world.profile_to_change("p1", &Expected::OneOf(vec![first.revision])).await.unwrap();
    let renamed = EmailServerProfile { name: "Another".into(), ..before.profile.clone().into_fields() };
    let second = world.change_profile(&ann(), change(&before, renamed.clone())).await.unwrap();
    let expected = Reads { profiles: reads.profiles + 1, organization: reads.organization + 1, ..reads };
    assert_eq!(world.ports.state.reads(), expected, "nothing is read back");
    assert_eq!((second.profile.clone().into_fields(), second.revision), (renamed.clone(), first.revision + 1));
    assert_eq!(second.credentials, first.credentials, "a password stays until another is given");
    assert_eq!(world.find_profile("p1").await.unwrap(), second);
    let entry = ("ann".to_owned(), AuditAction::Changed, "p1".to_owned(), vec!["name".to_owned()]);
    assert_eq!(last_audited(&world).await, entry);

    check_superseded(world.change_profile(&ann(), change(&before, renamed.clone())).await);
    check_forbidden(world.change_profile(&rita(), change(&second, renamed.clone())).await);
    assert_eq!(audited(&world).await.len(), 2, "what was refused is in no audit");
    let removal = ProfileChange { secret: SecretChange::Remove, ..change(&second, renamed) };
    assert_eq!(world.change_profile(&ann(), removal).await.unwrap().credentials, None);
}

#[tokio::test]
async fn identifier_and_creation_stay_whatever_a_change_says() {
    let world = world();
    let before = with_profile(&world).await;
    let other = EmailServerProfile { created_at: build::moment(9), ..a_profile("p2") };
    let after = world.change_profile(&ann(), change(&before, other)).await.unwrap().profile;
    assert_eq!((&after.id, after.created_at), (&before.profile.id, before.profile.created_at));
}

#[tokio::test]
async fn mailboxes_are_woken_in_batches_that_the_queue_takes_when_their_interval_changes() {
    let world = world();
    let before = with_profile(&world).await;
    let mut expected = BTreeSet::new();
    for n in 0..123 {
        expected.insert(with_mailbox(&world, &format!("m{n:03}"), &before.profile).await.id);
    }
    let renamed = EmailServerProfile { name: "Another".into(), ..before.profile.clone().into_fields() };
    let before = world.change_profile(&ann(), change(&before, renamed)).await.unwrap();
    assert!(world.ports.queue.waiting(Delivery::IncomingEmail).is_empty(), "another name wakes nobody");
    let slower = EmailServerProfile { minimum_polling_interval_minutes: 60, ..before.profile.clone().into_fields() };
    // The queue of the fakes takes ten at once, as its contract says, and panics at more.
    world.change_profile(&ann(), change(&before, slower)).await.unwrap();
    let woken = world.ports.queue.waiting(Delivery::IncomingEmail);
    assert_eq!((woken.len(), woken.into_iter().map(|(wake, _)| wake.mailbox).collect()), (123, expected));
}

#[tokio::test]
async fn email_of_a_users_mailbox_is_not_deleted_after_processing() {
    let world = world();
    let before = with_profile(&world).await;
    let queue = Mailbox { kind: MailboxKind::Queue, ..build::mailbox("m1", "m1@example.test", &before.profile) };
    world.create_mailbox(&ann(), queue, None).await.unwrap();
    let deleting = EmailServerProfile { delete_after_processing: true, ..before.profile.clone().into_fields() };
    with_mailbox(&world, "m2", &before.profile).await;
    check_invalid(world.change_profile(&ann(), change(&before, deleting.clone())).await, "delete_after_processing");
    world.delete_mailbox(&ann(), "m2", &Expected::Any).await.unwrap();
    assert!(world.change_profile(&ann(), change(&before, deleting)).await.unwrap().profile.delete_after_processing);
}

#[tokio::test]
async fn a_profile_is_deleted_once_it_has_no_mailboxes() {
    let world = world();
    let profile = with_profile(&world).await.profile;
    with_mailbox(&world, "m1", &profile).await;
    check_conflict(world.delete_profile(&ann(), "p1", &Expected::Any).await, "has mailboxes");
    world.delete_mailbox(&ann(), "m1", &Expected::Any).await.unwrap();
    check_forbidden(world.delete_profile(&rita(), "p1", &Expected::Any).await);
    world.delete_profile(&ann(), "p1", &Expected::Any).await.unwrap();
    assert_eq!(last_audited(&world).await, ("ann".into(), AuditAction::Deleted, "p1".into(), vec![]));
    check_not_found(world.delete_profile(&ann(), "p1", &Expected::Any).await);
}
