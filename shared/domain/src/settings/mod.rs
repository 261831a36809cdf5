//! What a person sets: profiles, mailboxes, the organization.

pub mod approval;
pub mod endpoint;
pub mod hold;
pub mod mailbox;
pub mod organization;
pub mod profile;
