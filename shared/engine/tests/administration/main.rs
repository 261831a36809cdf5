//! What a person does, over the fakes: what it comes to, what is refused, and what stands in the audit.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod access;
mod emails;
mod enabling;
mod mailboxes;
mod profiles;
mod quarantine;
mod settings;

use std::sync::atomic::{AtomicU32, Ordering};

use mailrail_domain::{
    settings::{
        mailbox::Mailbox,
        organization::Organization,
        profile::{Authentication, EmailServerProfile, IncomingProtocol, Security, ServerFields, ServerType},
    },
    words::{
        audit::{AuditAction, AuditSubject},
        cause::CredentialSource,
        role::Role,
    },
};
use mailrail_engine::{
    Engine, Settings,
    administration::{By, Expected, Refusal, profiles::ProfileSecret, settings::SettingsChange},
    ports::{PageRequest, Secret, StoredProfile},
};
use mailrail_test_support::{
    build::{self, location, moment},
    fakes::{MemoryPorts, MemoryServers},
};

/// The organization's tenant of Exchange Online, and its application.
const TENANT: &str = "11111111-2222-3333-4444-555555555555";

type World = Engine<MemoryPorts<MemoryServers>>;

fn world() -> World {
    Engine::new(MemoryPorts::new(MemoryServers::default()), Settings::default(), || moment(0))
}

fn new_id() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("id-{:06}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// An administrator.
fn ann() -> By {
    By { name: "ann".into(), role: Role::Administrator, new_id }
}

/// Somebody who only reads.
fn rita() -> By {
    By { name: "rita".into(), role: Role::Reader, new_id }
}

/// The tenant's administrator.
fn tess() -> By {
    By { name: "tess".into(), role: Role::TenantAdministrator, new_id }
}

fn all() -> PageRequest {
    PageRequest { limit: 1_000, cursor: None }
}

/// A profile that is not written yet, with servers for both directions.
fn a_profile(id: &str) -> EmailServerProfile<ServerFields> {
    let incoming = (IncomingProtocol::Imap, location("imap.example.test", 993, Security::Tls));
    build::profile(id, Some(incoming), Some(location("smtp.example.test", 465, Security::Tls))).into_fields()
}

async fn with_profile(world: &World) -> StoredProfile {
    world.create_profile(&ann(), a_profile("p1"), None).await.unwrap()
}

fn certificate() -> ProfileSecret {
    ProfileSecret::Certificate(Secret::new("PEM"))
}

/// A profile of Exchange Online, in the organization's tenant.
async fn with_online(world: &World) -> StoredProfile {
    let before = world.organization().await.unwrap();
    let after = Organization { tenant_id: Some(TENANT.into()), ..before.organization.clone() };
    world.change_organization(&ann(), SettingsChange { before, after, fields: vec![] }).await.unwrap();
    let servers = ServerFields {
        server_type: ServerType::ExchangeOnline,
        autodiscover: true,
        client_id: Some(TENANT.into()),
        ..ServerFields::default()
    };
    let online = EmailServerProfile {
        servers,
        credentials: CredentialSource::ServerToServer,
        authentication: Authentication::ClientCertificate,
        ..a_profile("p1")
    };
    world.create_profile(&ann(), online, Some(certificate())).await.unwrap()
}

/// A mailbox of a profile, which waits for approval.
async fn with_mailbox(world: &World, id: &str, profile: &EmailServerProfile) -> Mailbox {
    let mailbox = build::mailbox(id, &format!("{id}@example.test"), profile);
    world.create_mailbox(&ann(), mailbox, None).await.unwrap().details.stored.mailbox
}

/// Who did what to what, the oldest first; `fields` where there are such.
async fn audited(world: &World) -> Vec<(String, AuditAction, AuditSubject, String, Vec<String>)> {
    let mut entries = world.list_audit(None, &all()).await.unwrap().items;
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    entries.into_iter().map(|e| (e.by, e.action, e.subject, e.subject_id, e.fields)).collect()
}

/// The last entry of the audit: by whom, what, and its fields.
async fn last_audited(world: &World) -> (String, AuditAction, String, Vec<String>) {
    let (by, action, _, subject, fields) = audited(world).await.pop().expect("an entry");
    (by, action, subject, fields)
}

fn check_forbidden<T: std::fmt::Debug>(result: Result<T, Refusal>) {
    match result {
        Err(Refusal::Forbidden { detail, remedy }) => {
            assert!(detail.contains("needs the role") && remedy.contains("API token"), "{detail} {remedy}");
        }
        other => panic!("{other:?}"),
    }
}

fn check_not_found<T: std::fmt::Debug>(result: Result<T, Refusal>) {
    assert!(matches!(result, Err(Refusal::NotFound { .. })), "{result:?}");
}

fn check_conflict<T: std::fmt::Debug>(result: Result<T, Refusal>, about: &str) {
    match result {
        Err(Refusal::Conflict { detail, remedy }) => {
            assert!(detail.contains(about) && !remedy.is_empty(), "{detail} {remedy}");
        }
        other => panic!("{other:?}"),
    }
}

fn check_invalid<T: std::fmt::Debug>(result: Result<T, Refusal>, field: &str) {
    match result {
        Err(Refusal::Invalid(invalid)) => assert!(invalid.field == field && !invalid.remedy.is_empty(), "{invalid}"),
        other => panic!("{field}: {other:?}"),
    }
}

fn check_superseded<T: std::fmt::Debug>(result: Result<T, Refusal>) {
    assert!(matches!(result, Err(Refusal::Superseded)), "{result:?}");
}

fn check_outdated<T: std::fmt::Debug>(result: Result<T, Refusal>, has: u64) {
    assert!(matches!(result, Err(Refusal::Outdated { revision }) if revision == has), "{result:?}");
}
