//! SMTP submission (RFC 5321, RFC 6409) through lettre's connection over our own TLS stream.
//!
//! lettre's own transport stops at the first refused recipient and does not tell the stages apart, so the commands are
//! given one by one here.

mod cause;
mod session;
mod stream;

pub use session::Session;
