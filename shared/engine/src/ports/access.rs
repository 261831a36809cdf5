//! What a connection to a server needs, and what is noted of it while it lasts.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use mailrail_domain::{
    settings::{endpoint::Endpoint, profile::Authentication},
    words::{address::EmailAddress, delivery::Learned, evidence::Stage},
};

use super::vault::Secret;

/// Everything that a connection needs.
#[derive(Debug, Clone)]
pub struct Access {
    /// The server.
    pub endpoint: Endpoint,
    /// User name.
    pub username: String,
    /// The mailbox's address, where the account that signs in may be another's.
    pub address: Option<EmailAddress>,
    /// Password or token.
    pub secret: Secret,
    /// How to sign in.
    pub authentication: Authentication,
    /// Longest wait for a connection or a reply.
    pub timeout: Duration,
    /// Folders below the inbox that are read besides it.
    pub tracked_folders: Vec<String>,
    /// What earlier runs found out on the server, and what this run finds out and spends.
    pub ledger: Ledger,
    /// Where the stages of connecting are noted; only a test and a probe note them.
    pub progress: Progress,
}

/// Stages and when each began.
type Begun = Mutex<Vec<(Stage, Instant)>>;

/// Notes the stages that a connection reaches, for a test that shows them.
#[derive(Debug, Clone, Default)]
pub struct Progress(Option<Arc<Begun>>);

impl Progress {
    /// A progress that is noted.
    #[must_use]
    pub fn noted() -> Self {
        Self(Some(Arc::default()))
    }

    /// Whether anybody wants to know.
    #[must_use]
    pub const fn is_noted(&self) -> bool {
        self.0.is_some()
    }

    /// Notes that a stage begins.
    pub fn reach(&self, stage: Stage) {
        if let Some(Ok(mut stages)) = self.0.as_ref().map(|stages| stages.lock()) {
            stages.push((stage, Instant::now()));
        }
    }

    /// The stages so far, each with the time that it took until the next began; the last until now.
    #[must_use]
    pub fn stages(&self) -> Vec<(Stage, Duration)> {
        let Some(Ok(stages)) = self.0.as_ref().map(|stages| stages.lock()) else {
            return Vec::new();
        };
        let ends = stages.iter().skip(1).map(|(_, at)| *at).chain([Instant::now()]);
        stages.iter().zip(ends).map(|((stage, began), ended)| (*stage, ended - *began)).collect()
    }
}

/// What the adapters note of a server where it happens, so that it is known however a session ends. Clones are one ledger.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    learned: Learned,
    requests: u32,
}

impl Ledger {
    /// A ledger that begins with what earlier runs found out.
    #[must_use]
    pub fn knowing(learned: Learned) -> Self {
        Self(Arc::new(Mutex::new(Entries { learned, requests: 0 })))
    }

    /// What is known of the server by now.
    #[must_use]
    pub fn learned(&self) -> Learned {
        self.entries().learned.clone()
    }

    /// Notes what was found out.
    pub fn learn(&self, note: impl FnOnce(&mut Learned)) {
        note(&mut self.entries().learned);
    }

    /// Requests that were made of a server that allows so many.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.entries().requests
    }

    /// Counts a request.
    pub fn count_request(&self) {
        let mut entries = self.entries();
        entries.requests = entries.requests.saturating_add(1);
    }

    /// Nothing in here is ever half written, so a ledger whose holder panicked is as good as before.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
