//! The resources of the API: one file each, with its types as they go over the wire and its handlers.
//!
//! The types are written for the API, apart from the stored ones, so that neither changes the other unseen. A handler
//! translates and calls one use case of `mailrail_engine::administration`.

pub(crate) mod alerts;
pub(crate) mod approval;
pub(crate) mod audit;
pub(crate) mod emails;
pub(crate) mod health;
pub(crate) mod mailboxes;
pub(crate) mod notices;
pub(crate) mod organization;
pub(crate) mod profiles;
pub(crate) mod quarantine;
pub(crate) mod test_and_enable;
pub(crate) mod tokens;
pub(crate) mod words;
