//! What happened to a delivery at the end of a run, as facts for logs, figures and receivers of events.

use serde::{Deserialize, Serialize};

use crate::words::cause::Cause;

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A run failed, and the delivery is tried again or waits for a person.
    Failed {
        /// What was seen.
        cause: Cause,
        /// Transient failures in a row, this one included.
        failures: u32,
    },
    /// The delivery was disabled.
    Disabled {
        /// What was seen.
        cause: Cause,
    },
    /// The owner was warned that the delivery is about to be disabled.
    Warned,
    /// The delivery works again after it had failed.
    Recovered,
    /// The delivery was enabled, because a test passed or because its server lets it in again.
    Enabled,
}
