//! Email: its records, when two messages are one, and how far a mailbox has been read.

pub mod folders;
pub mod identity;
pub mod imap;
pub mod pop3;
pub mod position;
pub mod quarantine;
pub mod record;
pub mod sending;
