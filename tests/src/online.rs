//! An organization whose mailboxes are in Exchange Online, with the test server of a tenant.

use std::sync::Arc;

use mailrail_domain::{
    email::{folders::Reached, record::Email},
    settings::{
        approval::Decision,
        mailbox::Mailbox,
        profile::{Application, Authentication, Cloud, EmailServerProfile, ExchangeOnline, Servers},
    },
    words::{
        alert::{Alert, AlertStatus},
        cause::CredentialSource,
        delivery::Delivery,
        id::MailboxId,
    },
};
use mailrail_engine::{
    access::profile_owner,
    ports::{Directory, MailboxStore, Secret, StoredProfile, Vault, Written},
};
use mailrail_exchange_online::Hosts;
use mailrail_test_support::{
    build,
    graph::{GraphServer, Registration, Tenant},
};

use crate::{
    letter::Letter,
    scripted::{Named, authorities, server_config},
    world::{World, now, trusting},
};

/// The tenant of the test server.
pub const TENANT: &str = "11111111-2222-3333-4444-555555555555";
/// Its application.
pub const CLIENT: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
/// The application's secret.
pub const SECRET: &str = "s3cret of the application";
/// Seconds for which a token of the test server holds.
pub const TOKEN_SECONDS: u64 = 3_599;

/// A tenant with one application, and nothing else.
#[must_use]
pub fn tenant() -> Tenant {
    let roles = ["Mail.ReadWrite", "Mail.Send"].map(str::to_owned).to_vec();
    let application = Registration { secret: Some(SECRET.to_owned()), roles, ..Registration::default() };
    Tenant {
        id: TENANT.to_owned(),
        applications: [(CLIENT.to_owned(), application)].into(),
        token_seconds: TOKEN_SECONDS,
        ..Tenant::default()
    }
}

/// The application that the tenant has granted its mailboxes to.
#[must_use]
pub fn application() -> Application {
    Application { tenant_id: TENANT.to_owned(), client_id: CLIENT.to_owned(), cloud: Cloud::Global }
}

/// A profile of Exchange Online.
#[must_use]
pub fn profile() -> EmailServerProfile {
    EmailServerProfile {
        servers: Servers::ExchangeOnline(ExchangeOnline { application: application(), tracked_folders: Vec::new() }),
        credentials: CredentialSource::ServerToServer,
        authentication: Authentication::ClientSecret,
        ..build::profile("online", None, None)
    }
}

/// An organization and its tenant.
#[derive(Debug)]
pub struct Online {
    /// The organization.
    pub world: World,
    /// The tenant.
    pub server: GraphServer,
    /// The profile of its mailboxes.
    pub profile: EmailServerProfile,
}

impl Online {
    /// An organization with a profile of Exchange Online and no mailbox.
    pub async fn new() -> Self {
        Self::with(profile(), SECRET).await
    }

    /// The same with this profile and this secret.
    pub async fn with(profile: EmailServerProfile, secret: &str) -> Self {
        let server = GraphServer::start(tenant(), Some(Arc::new(server_config(Named::Rightly))), "localhost").await;
        let at = server.origin();
        let world = World::with_exchange_online(trusting(authorities()), Hosts::At { login: at.clone(), graph: at });
        let online = Self { world, server, profile };
        online.put_profile(secret).await;
        online
    }

    /// Writes the profile as it is now, with this secret.
    pub async fn put_profile(&self, secret: &str) {
        let ports = &self.world.engine.ports;
        let id = &self.profile.id;
        let sealed = ports.vault.seal(&profile_owner(id), id.as_str(), &Secret::new(secret)).await;
        let before = ports.state.profile(id).await.expect("a store that works");
        let stored = StoredProfile {
            profile: self.profile.clone(),
            credentials: Some(sealed.expect("a vault that works")),
            revision: before.map_or(0, |before| before.revision),
        };
        let written = ports.state.put_profile(&stored, &build::audit()).await.expect("a store that works");
        assert_eq!(written, Written::Done);
    }

    /// A mailbox of this name that both sides have, whose deliveries run.
    pub async fn mailbox(&self, name: &str) -> MailboxId {
        let mailbox = self.of_name(name);
        self.server.tenant().mailbox(&address(name));
        self.world.add(&mailbox, &self.profile, "").await
    }

    /// The same, as it is created.
    pub async fn untested(&self, name: &str) -> MailboxId {
        let mailbox = self.of_name(name);
        self.server.tenant().mailbox(&address(name));
        self.world.untested(&mailbox, &self.profile, "").await
    }

    fn of_name(&self, name: &str) -> Mailbox {
        let mut mailbox = build::mailbox(name, &address(name), &self.profile);
        mailbox.approval.tenant = Some(approved());
        mailbox
    }

    /// Delivers a message to a mailbox and gives its identifier.
    pub fn deliver(&self, name: &str, letter: &Letter) -> String {
        self.deliver_to(name, "inbox", letter)
    }

    /// The same into a folder.
    pub fn deliver_to(&self, name: &str, folder: &str, letter: &Letter) -> String {
        let received = letter.at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        self.server.tenant().mailbox(&address(name)).deliver(folder, &letter.raw(), Some(received))
    }

    /// Requests for a mailbox so far.
    pub fn requests(&self, name: &str) -> usize {
        self.server.tenant().mailbox(&address(name)).requests
    }

    /// Receives once; it must succeed.
    pub async fn receive(&self, mailbox: &MailboxId) {
        self.world.receive(mailbox).await;
    }

    /// Receives once, which must succeed, and gives the records.
    pub async fn received(&self, mailbox: &MailboxId) -> Vec<Email> {
        self.receive(mailbox).await;
        self.world.emails(mailbox).await
    }

    /// The links of a mailbox's folders.
    pub async fn links(&self, mailbox: &MailboxId) -> Vec<(String, String)> {
        let row = self.world.engine.ports.state.load(mailbox, Delivery::IncomingEmail).await;
        let position = row.expect("a store that works").expect("a delivery").position.expect("a position");
        let reached: Reached = position.read("graph").expect("a position of this server");
        reached.tokens.into_iter().collect()
    }

    /// The alerts of a mailbox, without those that are closed.
    pub async fn open_alerts(&self, mailbox: &MailboxId) -> Vec<Alert> {
        let mut alerts = self.world.alerts(mailbox).await;
        alerts.retain(|alert| alert.status == AlertStatus::Open);
        alerts
    }
}

/// An approval by the tenant's administrator.
#[must_use]
pub fn approved() -> Decision {
    Decision { by: "tess".to_owned(), at: now() }
}

/// The address of a mailbox of this name.
#[must_use]
pub fn address(name: &str) -> String {
    format!("{name}@online.test")
}
