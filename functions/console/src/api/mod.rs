//! The resources of the API: one file each, with its types as they go over the wire and its handlers.
//!
//! The types are written for the API, apart from the stored ones, so that neither changes the other unseen. A handler
//! translates and calls one use case of `mailrail_engine::administration`.

pub mod alerts;
pub mod approval;
pub mod audit;
pub mod emails;
pub mod health;
pub mod mailboxes;
pub mod notices;
pub mod organization;
pub mod profiles;
pub mod quarantine;
pub mod test_and_enable;
pub mod tokens;
pub mod words;
