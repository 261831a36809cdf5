//! An organization whose mailboxes are on an Exchange Server of its own, with the test server of one.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use mailrail_connect::{Connector, InternalHosts, Names};
use mailrail_domain::{
    email::{folders::Reached, record::Email},
    settings::profile::{Authentication, EmailServerProfile, ExchangeServer, Servers},
    words::{
        alert::{Alert, AlertStatus},
        cause::CredentialSource,
        delivery::Delivery,
        id::MailboxId,
    },
};
use mailrail_engine::{
    access::profile_owner,
    ports::{Directory, MailboxStore, Secret, StoredProfile, Vault},
};
use mailrail_exchange_online::Hosts;
use mailrail_test_support::{
    build,
    ews::{Account, EwsServer, Exchange, Fault, Place},
    graph::GraphServer,
};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::{
    letter::Letter,
    online,
    scripted::{Named, authorities, secured, server_config},
    world::{World, trusting},
};

/// The domain of its addresses.
pub const DOMAIN: &str = "exchange.test";
/// The host of its web services.
pub const HOST: &str = "mail.exchange.test";
/// A password of every account.
pub const PASSWORD: &str = "p@ss:word <&>";
/// An account that acts for all mailboxes.
pub const SERVICE: &str = "service@exchange.test";
/// Hosts that the server plays and has a certificate for.
const HOSTS: [&str; 6] = [DOMAIN, "autodiscover.exchange.test", HOST, "new.exchange.test", "other.test", "localhost"];
/// A host that leads to the server, whose certificate does not name it.
pub const MISNAMED: &str = "misnamed.exchange.test";

/// The address of a mailbox of this name.
#[must_use]
pub fn address(name: &str) -> String {
    format!("{name}@{DOMAIN}")
}

/// Where the web services are at a host.
#[must_use]
pub fn web_services(host: &str) -> String {
    format!("https://{host}/EWS/Exchange.asmx")
}

/// An organization with a service account and nothing else.
#[must_use]
pub fn exchange() -> Exchange {
    let service = Account { password: PASSWORD.to_owned(), address: None, may_impersonate: true };
    Exchange { accounts: [(SERVICE.to_owned(), service)].into(), ..Exchange::default() }
}

/// A profile whose mailboxes sign in for themselves, at a location that is given.
#[must_use]
pub fn profile() -> EmailServerProfile {
    EmailServerProfile {
        servers: Servers::ExchangeServer(ExchangeServer {
            location: Some(web_services(HOST)),
            exchange_version: None,
            use_impersonation: false,
            application: None,
            tracked_folders: Vec::new(),
            move_undeliverable: false,
        }),
        credentials: CredentialSource::Mailbox,
        authentication: Authentication::Password,
        ..build::profile("on-premises", None, None)
    }
}

/// A profile whose Exchange Server is changed.
#[must_use]
pub fn with(mut profile: EmailServerProfile, change: impl FnOnce(&mut ExchangeServer)) -> EmailServerProfile {
    change(build::exchange_server(&mut profile));
    profile
}

/// The same with a service account that impersonates.
#[must_use]
pub fn impersonating() -> EmailServerProfile {
    let profile = with(profile(), |server| server.use_impersonation = true);
    EmailServerProfile { credentials: CredentialSource::Profile, username: Some(SERVICE.to_owned()), ..profile }
}

/// A profile of mailboxes that are found by autodiscover.
#[must_use]
pub fn discovering() -> EmailServerProfile {
    with(profile(), |server| server.location = None)
}

/// The certificate of the server, with its key.
fn certified() -> &'static CertifiedKey<KeyPair> {
    static CERTIFIED: std::sync::OnceLock<CertifiedKey<KeyPair>> = std::sync::OnceLock::new();
    CERTIFIED.get_or_init(|| generate_simple_self_signed(HOSTS.map(str::to_owned)).expect("a certificate"))
}

/// TLS of the server.
#[must_use]
pub fn tls() -> Arc<ServerConfig> {
    let key = PrivatePkcs8KeyDer::from(certified().signing_key.serialize_der()).into();
    Arc::new(secured(vec![certified().cert.der().clone()], key))
}

/// Certificate and key of the server as PEM, for a server in another process.
#[must_use]
pub fn pem() -> (String, String) {
    (certified().cert.pem(), certified().signing_key.serialize_pem())
}

/// The authorities that are trusted.
#[must_use]
pub fn trusted() -> Vec<CertificateDer<'static>> {
    authorities().into_iter().chain([certified().cert.der().clone()]).collect()
}

/// An organization and its server.
#[derive(Debug)]
pub struct OnPremises {
    /// The organization.
    pub world: World,
    /// The server.
    pub server: EwsServer,
    /// Where applications sign in.
    pub entra: GraphServer,
    /// The profile of its mailboxes.
    pub profile: EmailServerProfile,
}

impl OnPremises {
    /// An organization whose mailboxes sign in for themselves.
    pub async fn new() -> Self {
        Self::with(profile()).await
    }

    /// The same with this profile.
    pub async fn with(profile: EmailServerProfile) -> Self {
        Self::named_by(profile, None).await
    }

    /// The same with services looked up at this name server.
    pub async fn named_by(profile: EmailServerProfile, name_server: Option<SocketAddr>) -> Self {
        let entra =
            GraphServer::start(online::tenant(), Some(Arc::new(server_config(Named::Rightly))), "localhost").await;
        entra.tenant().resources.insert(format!("https://{HOST}"));
        let server = EwsServer::start(exchange(), tls(), 0, Some(entra.clone())).await;
        let world = world(server.port(), name_server, &entra);
        let there = Self { world, server, entra, profile };
        there.put_profile(PASSWORD).await;
        there
    }

    /// The same organization in a world that reaches the server at another port.
    pub async fn moved_to(self, port: u16) -> Self {
        let there = Self { world: world(port, None, &self.entra), ..self };
        there.put_profile(PASSWORD).await;
        there
    }

    /// Writes the profile as it is now, with this password.
    pub async fn put_profile(&self, password: &str) {
        let ports = &self.world.engine.ports;
        let id = &self.profile.id;
        let sealed = ports.vault.seal(&profile_owner(id), id.as_str(), &Secret::new(password)).await;
        let before = ports.state.profile(id).await.expect("a store that works");
        let stored = StoredProfile {
            profile: self.profile.clone(),
            credentials: Some(sealed.expect("a vault that works")),
            revision: before.map_or(0, |before| before.revision),
        };
        ports.state.put_profile(&stored, &build::audit()).await.expect("a store that works");
    }

    /// An account with its mailbox on the server.
    pub fn account(&self, name: &str) {
        let address = address(name);
        let account = Account { password: PASSWORD.to_owned(), address: Some(address.clone()), may_impersonate: false };
        let mut exchange = self.server.exchange();
        exchange.accounts.insert(address.clone(), account);
        exchange.mailbox(&address);
    }

    /// A mailbox of this name that both sides have, whose deliveries run.
    pub async fn mailbox(&self, name: &str) -> MailboxId {
        self.account(name);
        self.world.add(&build::mailbox(name, &address(name), &self.profile), &self.profile, PASSWORD).await
    }

    /// The same, as it is created.
    pub async fn untested(&self, name: &str) -> MailboxId {
        self.account(name);
        self.world.untested(&build::mailbox(name, &address(name), &self.profile), &self.profile, PASSWORD).await
    }

    /// Delivers a message to an inbox and gives its number.
    pub fn deliver(&self, name: &str, letter: &Letter) -> usize {
        self.deliver_to(name, "inbox", letter)
    }

    /// The same into a folder.
    pub fn deliver_to(&self, name: &str, folder: &str, letter: &Letter) -> usize {
        self.server.exchange().mailbox(&address(name)).deliver(folder, &letter.raw(), letter.at)
    }

    /// Delivers letters and gives their subjects in order.
    pub fn deliver_all(&self, name: &str, count: usize) -> Vec<String> {
        let letters: Vec<Letter> = (0..count).map(|n| Letter::new(&format!("letter {n:05}"))).collect();
        for letter in &letters {
            self.deliver(name, letter);
        }
        letters.into_iter().map(|letter| letter.subject).collect()
    }

    /// What is to go wrong next.
    pub fn fault(&self, fault: Fault) {
        self.server.exchange().faults.push_back(fault);
    }

    /// What a place of Autodiscover says, both by SOAP and by plain XML.
    pub fn place(&self, host: &str, says: &Place) {
        let mut exchange = self.server.exchange();
        for page in ["svc", "xml"] {
            exchange.places.insert((host.to_owned(), page), says.clone());
        }
    }

    /// Requests to the web services so far.
    pub fn requests(&self) -> usize {
        self.server.exchange().calls.len()
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

    /// The subjects of a mailbox's records, sorted.
    pub async fn subjects(&self, mailbox: &MailboxId) -> Vec<String> {
        let mut subjects = self.world.subjects(mailbox).await;
        subjects.sort();
        subjects
    }

    /// The synchronization states of a mailbox's folders.
    pub async fn states(&self, mailbox: &MailboxId) -> Vec<(String, String)> {
        let row = self.world.engine.ports.state.load(mailbox, Delivery::IncomingEmail).await;
        let position = row.expect("a store that works").expect("a delivery").position.expect("a position");
        let reached: Reached = position.read("ews").expect("a position of this server");
        reached.tokens.into_iter().collect()
    }

    /// The alerts of a mailbox that are open.
    pub async fn open_alerts(&self, mailbox: &MailboxId) -> Vec<Alert> {
        let mut alerts = self.world.alerts(mailbox).await;
        alerts.retain(|alert| alert.status == AlertStatus::Open);
        alerts
    }
}

fn world(port: u16, name_server: Option<SocketAddr>, entra: &GraphServer) -> World {
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let mut hosts: HashMap<String, SocketAddr> = HOSTS.iter().map(|host| ((*host).to_owned(), at)).collect();
    hosts.insert(MISNAMED.to_owned(), at);
    let names = Names::Listed { hosts: Arc::new(hosts), server: name_server };
    let connector = Connector::new(trusting(trusted()), InternalHosts::Allow).with_names(names);
    let origin = entra.origin();
    World::connecting(connector, Hosts::At { login: origin.clone(), graph: origin })
}
