//! Messages of a mailbox that were passed over, because the server did not hand them out.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What a delivery remembers of messages that it has passed over. They are in quarantine without their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// The server is asked for them again at this moment or later.
    pub ask_at: Timestamp,
    /// Times that the server was asked for them again in vain.
    #[serde(default)]
    pub asked: u32,
    /// Whether the server has handed out no message since. Then the fault may be the server's, and no further message is
    /// passed over.
    #[serde(default)]
    pub is_unproven: bool,
}
