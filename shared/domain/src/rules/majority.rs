//! When so many of a profile's mailboxes fail that its owner is told.

/// A failure counts towards the majority of a profile's mailboxes for so many seconds.
pub const MAJORITY_WINDOW_SECONDS: i64 = 3_600;

/// Fewer failing mailboxes than this are never a majority, because half of two mailboxes are no outage.
pub const MAJORITY_MAILBOXES_MIN: usize = 5;

/// Whether `failing` of so many mailboxes of a profile are most of them.
#[must_use]
pub const fn is_majority(failing: usize, mailboxes: usize) -> bool {
    failing >= MAJORITY_MAILBOXES_MIN && 2 * failing > mailboxes
}
