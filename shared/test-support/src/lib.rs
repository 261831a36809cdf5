//! What the tests of several crates share: fakes of the ports, the conformance suites that fakes and real ports pass
//! alike, builders, a tenant of Exchange Online, an organization's Exchange Server, and a proxy that does to a connection
//! what networks do.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

pub mod aws;
pub mod build;
pub mod conformance;
pub mod ews;
pub mod fakes;
pub mod graph;
pub mod https;
pub mod proxy;
