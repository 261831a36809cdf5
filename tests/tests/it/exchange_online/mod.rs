//! Mailboxes of Exchange Online, against the test server of a tenant.

mod connection;
mod errors;
mod incoming;
mod outgoing;
mod sign_in;

use mailrail_domain::delivery::Delivery;

const INCOMING: Delivery = Delivery::IncomingEmail;
const OUTGOING: Delivery = Delivery::OutgoingEmail;
