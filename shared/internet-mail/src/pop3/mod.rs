//! POP3 (RFC 1939) with CAPA and PIPELINING (RFC 2449), STLS (RFC 2595), SASL (RFC 5034) and UIDL.

mod cause;
mod session;

pub(crate) use session::Session;
