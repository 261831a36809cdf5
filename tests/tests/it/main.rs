//! The mail side against real servers: every test here takes accounts of its own, so all of them run side by side.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod alerts;
mod approval;
mod corpora;
mod deployed;
mod dovecot;
mod exchange_online;
mod exchange_server;
mod failure;
mod fence;
mod hold;
mod hostile;
mod incoming;
mod killed;
mod large;
mod notices;
mod outgoing;
mod quarantine;
mod receiving;
mod recovery;
mod sending;
mod simulation;
mod testing;
