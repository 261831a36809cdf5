//! How much of its provider's budget a delivery has spent.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What was spent of a budget since its time began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// When the time began.
    pub since: Timestamp,
    /// How much was spent since.
    pub amount: u32,
}

/// An account that a delivery keeps of what it spends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// Requests, or messages that are sent.
    Requests,
    /// Recipients.
    Recipients,
}
