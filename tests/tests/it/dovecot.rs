//! Incoming email, what only Dovecot can show.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use end_to_end::{
    letter::Letter,
    stack::{Account, Server},
    world::{World, incoming},
};
use mailrail_domain::{
    email::quarantine::QuarantineReason,
    settings::profile::{Authentication, EmailServerProfile},
    words::{cause::Cause, delivery::Delivery, policy::FAILURES_MAX},
};

async fn check_token(server: Server) {
    let (world, account) = (World::new(), server.account());
    account.deliver(&Letter::new("By token"));
    let valid = Account { password: account.token(3_600), ..account.clone() };
    let profile = EmailServerProfile { authentication: Authentication::Xoauth2, ..incoming(server, &account) };
    let mailbox = world.mailbox(&valid, &profile).await;
    world.receive(&mailbox).await;
    assert_eq!(world.subjects(&mailbox).await, ["By token"]);

    let (world, expired) = (World::new(), Account { password: account.token(-60), ..account });
    let mailbox = world.mailbox(&expired, &profile).await;
    world.run(&mailbox, Delivery::IncomingEmail).await;
    let state = world.state(&mailbox, Delivery::IncomingEmail).await;
    assert!(!state.enabled);
    let alerts = world.alerts(&mailbox).await;
    assert_eq!(alerts.iter().filter_map(|alert| alert.cause).collect::<Vec<_>>(), [Cause::CredentialsRefused]);
}

#[tokio::test]
async fn a_valid_token_opens_imap_and_an_expired_one_is_refused_for_good() {
    check_token(Server::Imaps).await;
}

#[tokio::test]
async fn a_valid_token_opens_pop3_and_an_expired_one_is_refused_for_good() {
    check_token(Server::Pop3Stls).await;
}

/// A message that its server lists and cannot read, until it can: Dovecot ends the session over it.
async fn check_unreadable(server: Server) {
    let (world, account) = (World::new(), server.account());
    account.deliver(&Letter::new("First"));
    let bad = account.deliver(&Letter::new("Unreadable"));
    fs::set_permissions(&bad, fs::Permissions::from_mode(0o000)).expect("permissions can be set");
    account.deliver(&Letter::new("Last"));
    let mailbox = world.reader(server, &account).await;
    world.run(&mailbox, Delivery::IncomingEmail).await;
    let state = world.state(&mailbox, Delivery::IncomingEmail).await;
    assert_eq!((state.enabled, state.transient_failure_count), (true, 1));
    let alerts = world.alerts(&mailbox).await;
    assert_eq!(alerts.iter().filter_map(|alert| alert.cause).collect::<Vec<_>>(), [Cause::ServerUnavailable]);
    for file in account.files() {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("permissions can be set");
    }
    world.receive(&mailbox).await;
    assert_eq!(world.subjects(&mailbox).await, ["First", "Last", "Unreadable"]);
    assert!(world.quarantined(&mailbox).await.is_empty());
}

#[tokio::test]
async fn a_server_that_gives_up_over_a_message_is_tried_again_over_imap() {
    check_unreadable(Server::Imaps).await;
}

#[tokio::test]
async fn a_server_that_gives_up_over_a_message_is_tried_again_over_pop3() {
    check_unreadable(Server::Pop3s).await;
}

#[tokio::test]
async fn a_message_whose_size_the_pop3_server_misjudges_arrives() {
    let (world, account) = (World::new(), Server::Pop3s.account());
    account.deliver(&Letter::new("First"));
    let wrong = account.deliver(&Letter::new("Misjudged"));
    fs::rename(&wrong, format!("{},S=50000,W=51000", wrong.display())).expect("a message can be renamed");
    account.deliver(&Letter::new("Last"));
    let mailbox = world.reader(Server::Pop3s, &account).await;
    world.receive(&mailbox).await;
    assert_eq!(world.subjects(&mailbox).await, ["First", "Last", "Misjudged"]);
}

/// A message at which Dovecot ends every session over IMAP: the others become records all the same, and nobody is
/// disabled for it.
async fn check_passed_over(spoil: impl FnOnce(&Path)) {
    let (world, account) = (World::new(), Server::Imaps.account());
    account.deliver(&Letter::new("First"));
    spoil(&account.deliver(&Letter::new("Bad")));
    account.deliver(&Letter::new("Last"));
    let mailbox = world.reader(Server::Imaps, &account).await;
    let mut runs = 0;
    while world.subjects(&mailbox).await != ["First", "Last"] {
        runs += 1;
        assert!(runs <= 2 * FAILURES_MAX, "the bad message blocks those behind it");
        world.run(&mailbox, Delivery::IncomingEmail).await;
    }
    world.run(&mailbox, Delivery::IncomingEmail).await;
    let state = world.state(&mailbox, Delivery::IncomingEmail).await;
    assert!(state.enabled && state.last_success.is_some(), "{state:?}");
    let quarantined = world.quarantined(&mailbox).await;
    assert_eq!(quarantined.iter().map(|entry| entry.reason).collect::<Vec<_>>(), [QuarantineReason::NotHandedOut]);
    account.deliver(&Letter::new("Later"));
    world.receive(&mailbox).await;
    assert_eq!(world.subjects(&mailbox).await, ["First", "Last", "Later"]);
}

#[tokio::test]
async fn a_message_that_the_server_cannot_read_blocks_no_other_for_ever() {
    let unreadable = |file: &Path| {
        fs::set_permissions(file, fs::Permissions::from_mode(0o000)).expect("permissions can be set");
    };
    check_passed_over(unreadable).await;
}

#[tokio::test]
async fn a_message_whose_size_the_server_misjudges_blocks_no_other_for_ever() {
    let misjudged = |file: &Path| {
        fs::rename(file, format!("{},S=50000,W=51000", file.display())).expect("a message can be renamed");
    };
    check_passed_over(misjudged).await;
}
