//! The rules of mailbox synchronization, as synchronous functions of their arguments.
//!
//! Nothing here reads a clock, a socket or the environment, so nothing here can fail for a reason outside its
//! arguments: what an error means, when to retry, when to disable a delivery, which alert to raise, what a position in
//! a mailbox says about new messages. The words are those of Dynamics 365 server-side synchronization.
//!
//! The *source page* is "Troubleshooting and monitoring server-side synchronization" of Microsoft's documentation:
//! <https://learn.microsoft.com/en-us/dynamics365/customerengagement/on-premises/admin/troubleshooting-monitoring-server-side-synchronization>.
//! Rules that follow it name it by these two words, with the section where it matters. The *source system* is the system
//! that the page describes.
//!
//! The data types are serializable because the rows of the table are these types; `store` pins that stored form with
//! snapshot tests, so a change of a field here is a deliberate change of the table.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::string_slice))]
#![deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]

pub mod email;
pub mod rules;
pub mod settings;
pub mod texts;
pub mod words;

#[cfg(test)]
mod sample;

/// A moment, always in UTC. Passed in as `now` wherever a rule depends on it.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// `at` moved by a number of seconds, saturating at the ends of the calendar instead of panicking on foreign values.
#[must_use]
pub fn seconds_after(at: Timestamp, seconds: i64) -> Timestamp {
    chrono::TimeDelta::try_seconds(seconds).and_then(|delta| at.checked_add_signed(delta)).unwrap_or(if seconds < 0 {
        Timestamp::MIN_UTC
    } else {
        Timestamp::MAX_UTC
    })
}
