//! Exchange Online through Microsoft Graph, as an application of the tenant: incoming and outgoing email.
//!
//! This crate reports what it saw, as a [`mailrail_domain::words::cause::Cause`] with its evidence. It never decides
//! whether to try again. `cause.rs` is the table of Microsoft's error codes.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::string_slice))]

mod batch;
mod call;
mod cause;
mod cloud;
mod incoming;
mod listing;
mod outgoing;

use std::sync::Arc;

pub use cloud::Hosts;
pub use incoming::Session as IncomingMailbox;
use mailrail_connect::{Connector, Http, application::Tokens};
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
use rustls::crypto::CryptoProvider;

use crate::call::Mailbox;

/// Exchange Online, with the tokens that its applications have.
#[derive(Debug, Clone)]
pub struct ExchangeOnline {
    http: Http,
    hosts: Hosts,
    tokens: Arc<Tokens>,
    crypto: Arc<CryptoProvider>,
    clock: fn() -> Timestamp,
}

impl ExchangeOnline {
    /// Exchange Online at `hosts`, reached through `connector`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the TLS configuration.
    pub fn new(connector: &Connector, hosts: Hosts, clock: fn() -> Timestamp) -> Result<Self, reqwest::Error> {
        let http = Http::new(connector)?;
        Ok(Self { http, hosts, tokens: Arc::default(), crypto: connector.crypto(), clock })
    }

    fn mailbox(&self, access: &Access) -> Result<Mailbox, DeliveryError> {
        let Endpoint::Graph(application) = &access.endpoint else {
            // The choice of the adapter rules this out.
            let evidence = Evidence::new(Stage::Prepare, "this is no mailbox of Exchange Online");
            return Err(DeliveryError::new(Cause::CapabilityMissing, evidence));
        };
        Ok(Mailbox::new(self, application, access))
    }
}

impl IncomingServers for ExchangeOnline {
    type Session = IncomingMailbox;

    async fn open(&self, access: &Access, memory: &MemoryBudget) -> Result<IncomingMailbox, DeliveryError> {
        let mailbox = self.mailbox(access)?;
        mailbox.open(access).await?;
        Ok(IncomingMailbox::new(mailbox, access, memory))
    }

    fn is_exclusive(&self, _: &Endpoint) -> bool {
        false
    }
}

impl Finder for ExchangeOnline {
    async fn has(&self, access: &Access, folder: Folder, message_id: &str) -> Result<Option<bool>, DeliveryError> {
        let name = match folder {
            Folder::Inbox => "inbox",
            Folder::Sent => "sentitems",
            Folder::Drafts => "drafts",
            Folder::Outbox => "outbox",
        };
        Ok(Some(self.mailbox(access)?.find(name, message_id).await?.is_some()))
    }
}

impl OutgoingServers for ExchangeOnline {
    type Session = OutgoingMailbox;

    async fn open(&self, access: &Access) -> Result<OutgoingMailbox, DeliveryError> {
        let mailbox = self.mailbox(access)?;
        mailbox.open(access).await?;
        Ok(OutgoingMailbox::new(mailbox))
    }
}
