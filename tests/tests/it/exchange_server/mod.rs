//! Mailboxes of an Exchange Server, against the test server of one.

mod contract;
mod discovery;
mod errors;
mod incoming;
mod independent;
mod outgoing;
mod sign_in;

use mailrail_domain::words::delivery::Delivery;

const INCOMING: Delivery = Delivery::IncomingEmail;
const OUTGOING: Delivery = Delivery::OutgoingEmail;
