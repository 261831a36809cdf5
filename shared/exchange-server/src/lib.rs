//! Exchange Server on an organization's own premises, through Exchange Web Services: incoming and outgoing email.
//!
//! This crate reports what it saw, as a [`mailrail_domain::words::cause::Cause`] with its evidence. It never decides
//! whether to try again. `cause.rs` is the table of the server's response codes.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::string_slice))]

mod autodiscover;
mod call;
mod carrier;
mod cause;
mod host;
mod incoming;
mod listing;
mod ntlm;
mod outgoing;
mod reply;
mod request;
mod xml;

use std::sync::Arc;

pub use incoming::Session as IncomingMailbox;
use mailrail_connect::{
    Connector, Http,
    application::{Login, Tokens},
};
use mailrail_domain::{
    Timestamp,
    settings::endpoint::Endpoint,
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};
use mailrail_engine::ports::{Access, Finder, Folder, IncomingServers, MemoryBudget, OutgoingServers};
pub use outgoing::Session as OutgoingMailbox;

use crate::call::{DRAFTS, INBOX, Mailbox, OUTBOX, SENT_ITEMS};

/// Exchange Servers, with the tokens that applications have for them.
#[derive(Debug, Clone)]
pub struct ExchangeServer {
    connector: Connector,
    http: Http,
    login: Login,
    tokens: Arc<Tokens>,
    clock: fn() -> Timestamp,
}

impl ExchangeServer {
    /// Servers that are reached through `connector`, with applications that sign in at `login`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the TLS configuration.
    pub fn new(connector: &Connector, login: Login, clock: fn() -> Timestamp) -> Result<Self, reqwest::Error> {
        let http = Http::of_http1(connector)?;
        Ok(Self { connector: connector.clone(), http, login, tokens: Arc::default(), clock })
    }

    fn mailbox(&self, access: &Access) -> Result<Mailbox, DeliveryError> {
        let Endpoint::Ews(services) = &access.endpoint else {
            // The choice of the adapter rules this out.
            let evidence = Evidence::new(Stage::Prepare, "this is no mailbox of an Exchange Server");
            return Err(DeliveryError::new(Cause::CapabilityMissing, evidence));
        };
        Mailbox::new(self, services, access)
    }
}

impl IncomingServers for ExchangeServer {
    type Session = IncomingMailbox;

    async fn open(&self, access: &Access, memory: &MemoryBudget) -> Result<IncomingMailbox, DeliveryError> {
        let mut mailbox = self.mailbox(access)?;
        mailbox.open(access).await?;
        Ok(IncomingMailbox::new(mailbox, access, memory))
    }

    fn is_exclusive(&self, _: &Endpoint) -> bool {
        false
    }
}

impl Finder for ExchangeServer {
    async fn has(&self, access: &Access, folder: Folder, message_id: &str) -> Result<Option<bool>, DeliveryError> {
        let folders: &[&'static str] = match folder {
            Folder::Inbox => &[INBOX],
            Folder::Sent => &[SENT_ITEMS],
            // A message waits in one of these folders until transport has taken it. After that its copy is in Sent
            // Items.
            Folder::Outbox => &[DRAFTS, OUTBOX],
            // One request makes and sends a message, so no run has left a message among the drafts.
            Folder::Drafts => return Ok(None),
        };
        let mut mailbox = self.mailbox(access)?;
        for name in folders {
            if mailbox.find(name, message_id).await?.is_some() {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }
}

impl OutgoingServers for ExchangeServer {
    type Session = OutgoingMailbox;

    async fn open(&self, access: &Access) -> Result<OutgoingMailbox, DeliveryError> {
        let mut mailbox = self.mailbox(access)?;
        mailbox.open(access).await?;
        Ok(OutgoingMailbox::new(mailbox))
    }
}
