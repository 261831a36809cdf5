//! The table (DynamoDB), the bucket (S3) and the vault of credentials (KMS).
//!
//! One table holds everything that fits a row. Its keys are in `keys.rs`, its access patterns in `ARCHITECTURE.md`.
//! No path that runs on a schedule or for a page view scans it.

mod access;
mod bodies;
mod call;
mod directory;
mod health;
mod keys;
mod mailboxes;
mod notices;
mod quarantine;
mod quota;
mod records;
mod rows;
mod trials;
mod vault;

use std::{collections::BTreeSet, sync::Mutex};

pub use bodies::Bodies;
pub use vault::KmsVault;

/// The table.
#[derive(Debug)]
pub struct Store {
    client: aws_sdk_dynamodb::Client,
    table: String,
    /// Intervals that this process knows to be listed, so that enabling a mailbox lists its interval but once.
    listed_intervals: Mutex<BTreeSet<u16>>,
    /// Months that this process knows to be listed as having audit entries.
    listed_months: Mutex<BTreeSet<String>>,
}

impl Store {
    /// The table of that name.
    #[must_use]
    pub const fn new(client: aws_sdk_dynamodb::Client, table: String) -> Self {
        Self {
            client,
            table,
            listed_intervals: Mutex::new(BTreeSet::new()),
            listed_months: Mutex::new(BTreeSet::new()),
        }
    }
}
