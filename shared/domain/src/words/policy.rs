//! Policies: how many failures in a row are too many, how far apart two tries are, what becomes of an email that may have
//! been sent.

use serde::{Deserialize, Serialize};

/// Failures in a row at which a transient error counts as permanent (source page: 10).
pub const FAILURES_MAX: u32 = 10;

/// Gap between two tries, in seconds (source page: 5 minutes).
pub const GAP_SECONDS: u32 = 300;

/// Shortest gap that a deployment accepts, in seconds; only the local stack may go below.
pub const GAP_SECONDS_MIN: u32 = 60;

/// How failures are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Failures in a row that are too many.
    pub failures_max: u32,
    /// Least gap between two tries, in seconds.
    pub gap_seconds: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { failures_max: FAILURES_MAX, gap_seconds: GAP_SECONDS }
    }
}

/// What to do with an email when nobody can say whether the server took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownOutcome {
    /// Send it again: never lost.
    SendAgain,
    /// Mark it Failed and leave it to a person: never sent twice. A choice that only another release knows is read as
    /// this one.
    #[default]
    #[serde(other)]
    Hold,
}
