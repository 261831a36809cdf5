//! What is too much for one run, or for one buffer.

use std::{sync::atomic::Ordering, time::Duration};

use end_to_end::{
    letter::Letter,
    stack::Server,
    world::{World, incoming_at},
};
use mailrail_domain::{
    rules::run::end::GO_ON_SECONDS, settings::profile::EmailServerProfile, words::delivery::Delivery,
};
use mailrail_engine::{
    limits::{RUN_MESSAGES_MAX, WHOLE_MESSAGE_BYTES_MAX},
    ports::{JobQueue, Wake},
};
use mailrail_test_support::proxy::{Mischief, Proxy};

/// A mailbox that takes two runs.
const MANY: usize = RUN_MESSAGES_MAX + 100;

/// Observed with GNU imap4d 3.15: after a session it goes on renaming files, and a session that is opened meanwhile sees
/// every message under another UID, with the same UIDVALIDITY.
const OLD_SERVER_RENAMES: Duration = Duration::from_secs(3);

/// Reads a mailbox of [`MANY`] messages by what is on the queue alone.
async fn check_many(server: Server, delete_after_processing: bool) {
    let (world, account) = (World::new(), server.account());
    for number in 0..MANY {
        account.deliver(&Letter::new(&format!("Message {number:05}")));
    }
    let proxy = Proxy::start(server.port(), Mischief::Delay(Duration::ZERO)).await;
    let profile = EmailServerProfile {
        delete_after_processing,
        ..incoming_at(server.protocol(), server.at_port(proxy.port()), &account)
    };
    let mailbox = world.mailbox(&account, &profile).await;
    let wake = Wake { mailbox: mailbox.clone(), delivery: Delivery::IncomingEmail };
    world.engine.ports.queue.send(&[wake.into()], 0).await.expect("a queue that works");
    for run in 1..=2 {
        assert_eq!(world.drain(Delivery::IncomingEmail).await, 1, "run {run}");
        world.engine.ports.queue.pass(GO_ON_SECONDS);
        if server.is_old() {
            tokio::time::sleep(OLD_SERVER_RENAMES).await;
        }
    }
    assert_eq!(proxy.counts.connections.load(Ordering::Relaxed), 2, "connections");
    let subjects = world.subjects(&mailbox).await;
    let expected: Vec<String> = (0..MANY).map(|number| format!("Message {number:05}")).collect();
    assert!(subjects == expected, "{} of {MANY} records", subjects.len());
    account.wait_for_files(if delete_after_processing { 0 } else { MANY }).await;
    assert!(world.engine.ports.queue.waiting(Delivery::IncomingEmail).is_empty());
}

#[tokio::test]
async fn a_large_first_synchronization_over_imap_goes_on_in_a_second_run() {
    check_many(Server::Imaps, false).await;
}

#[tokio::test]
async fn a_large_first_synchronization_over_old_imap_goes_on_in_a_second_run() {
    check_many(Server::OldImaps, false).await;
}

#[tokio::test]
async fn a_large_first_synchronization_over_pop3_goes_on_in_a_second_run() {
    check_many(Server::Pop3s, false).await;
}

#[tokio::test]
async fn a_large_first_synchronization_over_imap_deletes_everything_that_it_stored() {
    check_many(Server::Imaps, true).await;
}

#[tokio::test]
async fn a_large_first_synchronization_over_pop3_deletes_everything_that_it_stored() {
    check_many(Server::Pop3s, true).await;
}

/// Lines that add up to `bytes`, no two blocks of them alike.
fn lines(bytes: usize) -> Vec<u8> {
    let mut lines = Vec::with_capacity(bytes + 128);
    let mut number = 0_u64;
    while lines.len() < bytes {
        lines.extend_from_slice(format!("{number:070}\r\n").as_bytes());
        number += 1;
    }
    lines
}

async fn check_large_message(server: Server, letter: &Letter) {
    let (world, account) = (World::new(), server.account());
    account.deliver(&Letter::new("A before"));
    account.deliver(letter);
    account.deliver(&Letter::new("Z behind"));
    let mailbox = world.reader(server, &account).await;
    world.receive(&mailbox).await;
    let emails = world.emails(&mailbox).await;
    assert_eq!(emails.len(), 3);
    let raw = letter.raw();
    assert_eq!(emails[1].size, raw.len() as u64);
    assert!(world.object(&emails[1].raw_key).await == raw, "the raw bytes");
    let is_in_pieces = raw.len() as u64 > WHOLE_MESSAGE_BYTES_MAX;
    assert_eq!(emails[1].truncated, is_in_pieces || emails[1].text.len() < letter.raw().len() / 2);
    world.receive(&mailbox).await;
    assert_eq!(world.emails(&mailbox).await.len(), 3);
}

#[tokio::test]
async fn a_message_of_seventy_megabytes_over_imap_is_stored_byte_by_byte() {
    check_large_message(Server::Imaps, &Letter::new("Large").body(lines(70_000_000))).await;
}

#[tokio::test]
async fn a_message_of_seventy_megabytes_over_pop3_is_stored_byte_by_byte() {
    check_large_message(Server::Pop3s, &Letter::new("Large").body(lines(70_000_000))).await;
}

/// One line of six megabytes, as some programs write base64.
fn one_line() -> Letter {
    let mut body = b"..".to_vec();
    body.extend(std::iter::repeat_n(b'x', 6_000_000));
    body.extend_from_slice(b"\r\nthe end\r\n");
    Letter::new("Long line").body(body)
}

#[tokio::test]
async fn a_line_of_six_megabytes_over_imap_is_no_obstacle() {
    check_large_message(Server::Imaps, &one_line()).await;
}

#[tokio::test]
async fn a_line_of_six_megabytes_over_pop3_is_no_obstacle() {
    check_large_message(Server::Pop3s, &one_line()).await;
}
