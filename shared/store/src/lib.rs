//! Mailrail's own state in a table (DynamoDB), the bucket (S3) and the vault of credentials (KMS). No record of the
//! customer is in it.
//!
//! The keys of the state are in `keys.rs`, its access patterns in `ARCHITECTURE.md`. No path that runs on a schedule or
//! for a page view scans the table.

mod access;
mod bodies;
mod directory;
mod health;
mod keys;
mod lists;
mod mailboxes;
mod notices;
mod outbox;
mod quarantine;
mod quota;
mod rows;
mod trials;
mod vault;

use std::{collections::BTreeSet, sync::Mutex};

pub use bodies::Bodies;
use mailrail_table::Table;
pub use vault::KmsVault;

/// Mailrail's own state.
#[derive(Debug)]
pub struct Store {
    table: Table,
    /// Intervals that this process knows to be listed, so that enabling a mailbox lists its interval but once.
    listed_intervals: Mutex<BTreeSet<u16>>,
    /// Months that this process knows to be listed as having audit entries.
    listed_months: Mutex<BTreeSet<String>>,
}

impl Store {
    /// The state that is kept in a table.
    #[must_use]
    pub const fn new(table: Table) -> Self {
        Self { table, listed_intervals: Mutex::new(BTreeSet::new()), listed_months: Mutex::new(BTreeSet::new()) }
    }
}
