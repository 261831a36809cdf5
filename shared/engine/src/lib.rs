//! The use cases of Mailrail and the ports that they need.
//!
//! This is the only asynchronous orchestration: `domain` decides, the adapters behind the ports act. A mailbox's
//! failure is a [`mailrail_domain::words::cause::DeliveryError`]; our own failure is an [`outage::Outage`]. A run stops for one of
//! the two, as a [`run::Stop`], and one place tells them apart, so that no mailbox is disabled because a table was away.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::string_slice))]

pub mod access;
pub mod administration;
pub mod alerts;
pub mod batch;
mod deliveries;
pub mod enqueue;
mod freshness;
mod hold;
pub mod limits;
pub mod mime;
pub mod notify;
pub mod outage;
pub mod outbox;
pub mod ports;
pub mod quarantine;
pub mod run;
pub mod trial;

use std::time::Duration;

use mailrail_domain::{Timestamp, words::policy::RetryPolicy};

/// Settings of a deployment.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How failures are counted.
    pub retry: RetryPolicy,
    /// Minutes between two looks into a mailbox, unless its profile asks for more.
    pub polling_interval_minutes: u16,
    /// Whether only validated cryptography may be used (FIPS 140-2), by us and by the servers.
    pub fips: bool,
    /// How many invocations of one function may run at once; a profile's connections are shared among them.
    pub invocations_max: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self { retry: RetryPolicy::default(), polling_interval_minutes: 5, fips: false, invocations_max: 10 }
    }
}

/// The use cases over one set of ports.
#[derive(Debug)]
pub struct Engine<P> {
    /// The outside world.
    pub ports: P,
    /// The deployment's settings.
    pub settings: Settings,
    /// What time it is. A function, so that tests can turn it.
    pub clock: fn() -> Timestamp,
    /// Bytes of message content that may be in memory at once.
    pub memory: ports::MemoryBudget,
}

impl<P: ports::Ports> Engine<P> {
    /// An engine over `ports`.
    #[must_use]
    pub fn new(ports: P, settings: Settings, clock: fn() -> Timestamp) -> Self {
        Self { ports, settings, clock, memory: ports::MemoryBudget::new() }
    }

    /// The outboxes.
    pub(crate) fn outbox(&self) -> outbox::Outbox<'_, P::Mailboxes, P::Records> {
        outbox::Outbox::of(self.ports.mailboxes(), self.ports.records(), self.now())
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

/// When an invocation has to have ended.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(std::time::Instant);

impl Deadline {
    /// A deadline `left` from now.
    #[must_use]
    pub fn after(left: Duration) -> Self {
        Self(std::time::Instant::now() + left)
    }

    /// Whether less than `margin` is left.
    #[must_use]
    pub fn is_within(self, margin: Duration) -> bool {
        self.left() < margin
    }

    /// The moment `margin` after the deadline, on the clock that says `now`.
    pub(crate) fn as_of(self, now: Timestamp, margin: Duration) -> Timestamp {
        let seconds = (self.left() + margin).as_secs();
        mailrail_domain::seconds_after(now, i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    /// What is left.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(std::time::Instant::now())
    }
}
