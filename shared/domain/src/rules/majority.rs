//! When so many of a profile's mailboxes fail that its owner is told.

/// Failures that count when it is asked whether most of a profile's mailboxes fail are this recent, in seconds.
pub const MAJORITY_WINDOW_SECONDS: i64 = 3_600;

/// Mailboxes that have to fail at least before they are called most of a profile: half of two is nobody's outage.
pub const MAJORITY_MAILBOXES_MIN: usize = 5;

/// Whether `failing` of so many mailboxes of a profile are most of them.
#[must_use]
pub const fn is_majority(failing: usize, mailboxes: usize) -> bool {
    failing >= MAJORITY_MAILBOXES_MIN && 2 * failing > mailboxes
}
