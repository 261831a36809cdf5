//! API tokens: handed out by those who may, and taken back.

use mailrail_domain::words::audit::{AuditAction, AuditSubject};
use mailrail_engine::administration::access::NewToken;

use super::*;

fn token(name: &str, role: Role) -> NewToken {
    NewToken { name: name.into(), role, sha256: format!("sha256 of {name}") }
}

#[tokio::test]
async fn a_token_is_handed_out_found_by_its_digest_and_taken_back() {
    let world = world();
    let made = world.create_token(&ann(), token("audit desk", Role::Reader)).await.unwrap();
    assert_eq!((made.created_by.as_str(), made.role), ("ann", Role::Reader));
    assert_eq!(world.token_of("sha256 of audit desk").await.unwrap().as_ref(), Some(&made));
    assert_eq!(world.token_of("sha256 of another").await.unwrap(), None);
    assert_eq!(world.list_tokens(&all()).await.unwrap().items, std::slice::from_ref(&made));
    check_forbidden(world.delete_token(&rita(), &made.id).await);
    world.delete_token(&ann(), &made.id).await.unwrap();
    assert_eq!(world.token_of("sha256 of audit desk").await.unwrap(), None);
    check_not_found(world.delete_token(&ann(), &made.id).await);
    let entry = |action| ("ann".to_owned(), action, AuditSubject::ApiToken, made.id.clone(), vec![]);
    assert_eq!(audited(&world).await, [entry(AuditAction::Created), entry(AuditAction::Deleted)]);
    let of_token = world.list_audit(Some((AuditSubject::ApiToken, &made.id)), &all()).await.unwrap().items;
    assert_eq!(of_token.len(), 2);
    assert!(world.list_audit(Some((AuditSubject::Mailbox, &made.id)), &all()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn nobody_hands_out_more_than_he_has() {
    let world = world();
    check_forbidden(world.create_token(&ann(), token("boss", Role::TenantAdministrator)).await);
    check_forbidden(world.create_token(&rita(), token("friend", Role::Reader)).await);
    check_invalid(world.create_token(&ann(), token("", Role::Reader)).await, "name");
    assert!(audited(&world).await.is_empty());
    world.create_token(&tess(), token("boss", Role::TenantAdministrator)).await.unwrap();
}
