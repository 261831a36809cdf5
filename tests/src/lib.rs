//! What the end-to-end tests share: the local servers and their accounts, messages, an engine over fakes whose mail
//! servers are real, and a fleet of mailboxes over fakes alone.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

pub mod fleet;
pub mod letter;
pub mod on_premises;
pub mod online;
pub mod scripted;
pub mod simulation;
pub mod site;
pub mod stack;
pub mod world;
