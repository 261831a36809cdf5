//! Profiles and the settings of the organization.

use mailrail_domain::{
    settings::{organization::Organization, profile::Authentication},
    words::{cause::CredentialSource, id::ProfileId, policy::UnknownOutcome},
};
use mailrail_engine::ports::{StoredOrganization, StoredProfile, Written};

use super::{StateStore, WHOLE_LIST, a_mailbox, a_profile, created, put, sealed};
use crate::{
    build::{audit, internet_mail, mailbox_id},
    conformance::{every_page, this_second},
};

/// Entries of a page that a list of a test does not fit into.
const PAGE: usize = 10;

fn with_everything(id: &str) -> StoredProfile {
    let mut stored = a_profile(id);
    stored.profile.name = "Прöfile \"1\"".to_owned();
    stored.profile.credentials = CredentialSource::Profile;
    stored.profile.username = Some("service".to_owned());
    stored.profile.authentication = Authentication::Xoauth2;
    stored.profile.process_emails_received_after = Some(this_second());
    stored.profile.minimum_polling_interval_minutes = 7;
    stored.profile.delete_after_processing = true;
    stored.profile.unknown_outcome = UnknownOutcome::SendAgain;
    stored.credentials = Some(sealed("c2VjcmV0"));
    stored
}

pub async fn an_unknown_profile_is_not_there(store: &impl StateStore) {
    put(store, &a_profile("p1")).await;
    assert_eq!(store.profile(&a_profile("p2").profile.id).await.unwrap(), None);
}

pub async fn a_profile_comes_back_as_it_was_written(store: &impl StateStore) {
    let mut only_incoming = a_profile("p3");
    internet_mail(&mut only_incoming.profile).outgoing = None;
    for stored in [a_profile("p1"), with_everything("p2"), only_incoming] {
        let stored = put(store, &stored).await;
        assert_eq!(store.profile(&stored.profile.id).await.unwrap().as_ref(), Some(&stored));
        let listed = every_page(WHOLE_LIST, async |page| store.profiles(page).await).await;
        assert!(listed.contains(&stored));
    }
}

pub async fn a_profile_written_again_is_the_changed_one(store: &impl StateStore) {
    put(store, &with_everything("p1")).await;
    let changed = put(store, &a_profile("p1")).await;
    assert_eq!(changed.revision, 2);
    assert_eq!(store.profile(&changed.profile.id).await.unwrap().as_ref(), Some(&changed));
    assert_eq!(every_page(WHOLE_LIST, async |page| store.profiles(page).await).await, [changed]);
}

pub async fn a_deleted_profile_is_gone(store: &impl StateStore) {
    let [_, kept] = [put(store, &a_profile("p1")).await, put(store, &a_profile("p2")).await];
    store.delete_profile(&a_profile("p1").profile.id, &audit()).await.unwrap();
    assert_eq!(store.profile(&a_profile("p1").profile.id).await.unwrap(), None);
    assert_eq!(every_page(WHOLE_LIST, async |page| store.profiles(page).await).await, [kept]);
}

pub async fn profiles_are_each_listed_once_over_all_pages(store: &impl StateStore) {
    let mut written: Vec<ProfileId> = Vec::new();
    for n in 0..23 {
        let stored = a_profile(&format!("p{n}"));
        put(store, &stored).await;
        written.push(stored.profile.id);
    }
    let listed = every_page(PAGE, async |page| store.profiles(page).await).await;
    let mut listed: Vec<ProfileId> = listed.into_iter().map(|stored| stored.profile.id).collect();
    written.sort();
    listed.sort();
    assert_eq!(listed, written);
}

pub async fn a_profile_that_somebody_changed_since_is_not_overwritten(store: &impl StateStore) {
    let first = put(store, &a_profile("p1")).await;
    let mut second = first.clone();
    second.profile.name = "Second".to_owned();
    let second = put(store, &second).await;
    for late in [&first, &a_profile("p1")] {
        assert_eq!(store.put_profile(late, &audit()).await.unwrap(), Written::Superseded);
    }
    assert_eq!(store.profile(&first.profile.id).await.unwrap(), Some(second));
}

pub async fn an_organization_without_settings_has_the_default_ones(store: &impl StateStore) {
    created(store, "m1").await;
    assert_eq!(store.organization().await.unwrap(), StoredOrganization::default());
}

pub async fn settings_of_the_organization_come_back_as_they_were_written(store: &impl StateStore) {
    let changed = Organization {
        notice_mailbox_id: Some(mailbox_id("m1")),
        process_emails_only_for_approved_users: false,
        ..Organization::default()
    };
    for (revision, organization) in (0..).zip([changed, Organization::default()]) {
        let stored = StoredOrganization { organization, revision };
        assert_eq!(store.put_organization(&stored, &audit()).await.unwrap(), Written::Done);
        let kept = StoredOrganization { revision: revision + 1, ..stored.clone() };
        assert_eq!(store.organization().await.unwrap(), kept);
        assert_eq!(store.put_organization(&stored, &audit()).await.unwrap(), Written::Superseded);
    }
    assert_eq!(store.mailbox(&a_mailbox("m1").mailbox.id).await.unwrap(), None);
}
