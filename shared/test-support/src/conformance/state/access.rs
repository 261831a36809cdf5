//! API tokens, and the audit of what was done with them.

use mailrail_domain::{
    seconds_after,
    words::{
        audit::{AuditAction, AuditEntry, AuditSubject},
        role::{ApiToken, Role},
    },
};
use mailrail_engine::ports::Written;

use super::{INCOMING, StateStore, WHOLE_LIST, a_mailbox, change, created, details, put};
use crate::{
    build::{audit, audit_at, moment},
    conformance::every_page,
};

/// Entries of a page that a list of a test does not fit into.
const PAGE: usize = 3;
/// More than a month.
const FAR_SECONDS: i64 = 40 * 86_400;

fn a_token(id: &str) -> ApiToken {
    ApiToken {
        id: id.to_owned(),
        name: format!("Token {id}"),
        role: Role::Administrator,
        created_by: "deployment".to_owned(),
        created_at: moment(0),
    }
}

fn entry(second: i64, subject: AuditSubject, subject_id: &str) -> AuditEntry {
    AuditEntry {
        action: AuditAction::Approved,
        subject,
        subject_id: subject_id.to_owned(),
        fields: vec!["name".to_owned()],
        ..audit_at(seconds_after(moment(0), second))
    }
}

async fn whole(store: &impl StateStore, limit: usize) -> Vec<AuditEntry> {
    every_page(limit, async |page| store.audit(None, page).await).await
}

async fn of(store: &impl StateStore, subject: AuditSubject, id: &str) -> Vec<AuditEntry> {
    every_page(PAGE, async |page| store.audit(Some((subject, id)), page).await).await
}

pub async fn a_token_is_found_by_its_digest_alone(store: &impl StateStore) {
    store.put_token(&a_token("t1"), "abc", &audit()).await.unwrap();
    assert_eq!(store.token("abc").await.unwrap(), Some(a_token("t1")));
    for other in ["ab", "abcd", "t1", ""] {
        assert_eq!(store.token(other).await.unwrap(), None, "{other}");
    }
}

pub async fn tokens_are_each_listed_once_over_all_pages(store: &impl StateStore) {
    let mut expected = Vec::new();
    for n in 0..8 {
        expected.push(a_token(&format!("t{n}")));
        store.put_token(&expected[n], &format!("digest{n}"), &audit()).await.unwrap();
    }
    assert_eq!(every_page(PAGE, async |page| store.tokens(page).await).await, expected);
}

pub async fn a_deleted_token_opens_nothing(store: &impl StateStore) {
    for id in ["t1", "t2"] {
        store.put_token(&a_token(id), &format!("digest of {id}"), &audit()).await.unwrap();
    }
    assert!(store.delete_token("t1", &audit()).await.unwrap());
    assert_eq!(store.token("digest of t1").await.unwrap(), None);
    assert_eq!(every_page(PAGE, async |page| store.tokens(page).await).await, [a_token("t2")]);
    assert!(!store.delete_token("t1", &audit()).await.unwrap());
}

pub async fn what_a_person_does_is_written_with_who_did_it(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let entries: Vec<AuditEntry> = (0..4).map(|n| entry(n, AuditSubject::Mailbox, &format!("of the {n}th"))).collect();
    let before = details(store, &mailbox).await;
    assert_eq!(store.change_mailbox(&before, &before.stored, &entries[0]).await.unwrap(), Written::Done);
    assert!(store.enable(&mailbox, INCOMING, 5, &entries[1]).await.unwrap());
    store.put_token(&a_token("t1"), "abc", &entries[2]).await.unwrap();
    store.delete_mailbox(&details(store, &mailbox).await, &entries[3]).await.unwrap();
    for entry in &entries {
        assert_eq!(of(store, AuditSubject::Mailbox, &entry.subject_id).await, std::slice::from_ref(entry));
    }
}

pub async fn what_was_not_done_is_not_in_the_audit(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let before = details(store, &mailbox).await;
    change(store, &mailbox, |stored| stored.mailbox.name = "Changed since".to_owned()).await;
    let late = entry(1, AuditSubject::Mailbox, "late");
    assert_eq!(store.change_mailbox(&before, &before.stored, &late).await.unwrap(), Written::Superseded);
    assert_eq!(details(store, &mailbox).await.stored.mailbox.name, "Changed since", "nothing is overwritten");
    assert!(!store.enable(&crate::build::mailbox_id("m2"), INCOMING, 5, &late).await.unwrap());
    assert!(!store.delete_token("unknown", &late).await.unwrap());
    put(store, &super::a_profile("p1")).await;
    assert_ne!(store.create_mailbox(&a_mailbox("m1"), &late).await.unwrap(), Written::Done);
    assert_eq!(of(store, AuditSubject::Mailbox, "late").await, []);
}

pub async fn the_audit_comes_newest_first_over_all_pages_and_months(store: &impl StateStore) {
    let mut expected = Vec::new();
    for n in 0..10 {
        let entry = entry(n * FAR_SECONDS / 3, AuditSubject::ApiToken, "t");
        store.put_token(&a_token(&format!("t{n}")), &format!("digest{n}"), &entry).await.unwrap();
        expected.insert(0, entry);
    }
    for limit in [1, PAGE, WHOLE_LIST] {
        assert_eq!(whole(store, limit).await, expected, "in pages of {limit}");
    }
    assert_eq!(of(store, AuditSubject::ApiToken, "t").await, expected);
    assert_eq!(of(store, AuditSubject::Mailbox, "t").await, []);
}
