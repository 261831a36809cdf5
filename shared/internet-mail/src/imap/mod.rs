//! IMAP4rev1 (RFC 3501) with SASL-IR, LITERAL+, ESEARCH, CONDSTORE, UIDPLUS and SPECIAL-USE where the server has them.
//!
//! Written by hand because no published client is fit for servers of strangers: the parsers panic or overflow on
//! hostile replies, or refuse what real servers say. Here a reply is a flat list of tokens, read without recursion.

mod cause;
mod inbox;
mod reply;
mod session;
mod uids;

pub(crate) use inbox::Inbox;
pub(crate) use session::Session;
