//! IMAP4rev1 (RFC 3501) with SASL-IR, LITERAL+, ESEARCH, CONDSTORE, UIDPLUS and SPECIAL-USE where the server has them.
//!
//! Written by hand because no published client is safe with unknown servers: the parsers panic or overflow on hostile
//! replies, or refuse replies of real servers. Here a reply is a flat list of tokens, read without recursion.

mod cause;
mod inbox;
mod reply;
mod session;
mod uids;

pub(crate) use inbox::Inbox;
pub(crate) use session::Session;
