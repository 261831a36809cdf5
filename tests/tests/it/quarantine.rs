//! Messages that could not become records: seen, tried again, and found by whoever misses them.

use bytes::Bytes;
use end_to_end::{
    letter::Letter,
    stack::Server,
    world::{World, incoming, now},
};
use mailrail_domain::{
    email::quarantine::{Clues, QuarantineReason, Quarantined, Wanted},
    seconds_after,
    words::{delivery::Delivery, id::MailboxId},
};
use mailrail_engine::{
    ports::{BodyStore, QuarantineStore},
    quarantine::{Finding, Replayed},
};

const INCOMING: Delivery = Delivery::IncomingEmail;

/// Puts a message into quarantine as if it could not have been read.
async fn quarantined(world: &World, mailbox: &MailboxId, remote_id: &str, raw: &[u8]) -> Quarantined {
    let entry = Quarantined {
        mailbox_id: mailbox.clone(),
        remote_id: remote_id.to_owned(),
        reason: QuarantineReason::Unreadable,
        detail: "the MIME reader gave up".to_owned(),
        received_at: None,
        raw_key: if raw.is_empty() { String::new() } else { format!("quarantine/{mailbox}/{remote_id}") },
        size: raw.len() as u64,
        at: now(),
        attempts: 1,
        last_attempt: Some(now()),
        clues: Clues { subject: Some("Lost offer".to_owned()), ..Clues::default() },
    };
    if !raw.is_empty() {
        let bodies = &world.engine.ports.bodies;
        bodies.put(&entry.raw_key, Bytes::copy_from_slice(raw), "message/rfc822").await.expect("a bucket that works");
    }
    let until = seconds_after(now(), 86_400);
    world.engine.ports.state.quarantine(&entry, until).await.expect("a store that works");
    entry
}

async fn replay(world: &World, mailbox: &MailboxId, remote_id: &str) -> Replayed {
    world.engine.replay(mailbox, remote_id, &mailrail_test_support::build::audit()).await.expect("no outage")
}

async fn why(world: &World, mailbox: &MailboxId, subject: &str) -> Vec<Finding> {
    let wanted = Wanted { subject: Some(subject.to_owned()), ..Wanted::default() };
    world.engine.why_not_synchronized(mailbox, &wanted).await.expect("no outage")
}

#[tokio::test]
async fn a_message_that_can_be_read_now_becomes_a_record_and_leaves_the_quarantine() {
    let (world, account) = (World::new(), Server::Imaps.account());
    let mailbox = world.reader(Server::Imaps, &account).await;
    quarantined(&world, &mailbox, "imap-1-7", &Letter::new("Lost offer").raw()).await;
    let Replayed::Recorded(id) = replay(&world, &mailbox, "imap-1-7").await else { panic!("it can be read") };
    let emails = world.emails(&mailbox).await;
    assert_eq!(
        emails.iter().map(|email| (&email.id, email.subject.as_str())).collect::<Vec<_>>(),
        [(&id, "Lost offer")]
    );
    assert!(world.quarantined(&mailbox).await.is_empty());
    assert_eq!(replay(&world, &mailbox, "imap-1-7").await, Replayed::Gone);
}

#[tokio::test]
async fn a_message_that_was_synchronized_meanwhile_is_not_doubled() {
    let (world, account) = (World::new(), Server::Imaps.account());
    let letter = Letter::new("Twice");
    account.deliver(&letter);
    let mailbox = world.reader(Server::Imaps, &account).await;
    quarantined(&world, &mailbox, "imap-1-7", &letter.raw()).await;
    world.run(&mailbox, INCOMING).await;
    let before = world.emails(&mailbox).await;
    assert_eq!(before.len(), 1);
    assert_eq!(replay(&world, &mailbox, "imap-1-7").await, Replayed::Recorded(before[0].id.clone()));
    assert_eq!(world.emails(&mailbox).await, before);
    assert!(world.quarantined(&mailbox).await.is_empty());
}

#[tokio::test]
async fn a_message_that_cannot_be_read_still_stays_and_shows_its_tries() {
    let (world, account) = (World::new(), Server::Imaps.account());
    let mailbox = world.reader(Server::Imaps, &account).await;
    quarantined(&world, &mailbox, "imap-1-7", b"\0\0\0 no header at all").await;
    for attempts in 2..4 {
        assert!(matches!(replay(&world, &mailbox, "imap-1-7").await, Replayed::Refused(_)));
        let entry = world.quarantined(&mailbox).await.remove(0);
        assert_eq!(entry.attempts, attempts);
        assert!(entry.last_attempt.is_some());
    }
    quarantined(&world, &mailbox, "imap-1-8", b"").await;
    let Replayed::Refused(why) = replay(&world, &mailbox, "imap-1-8").await else { panic!("there is nothing to read") };
    assert!(why.contains("none of its bytes"), "{why}");
    assert!(world.emails(&mailbox).await.is_empty());
}

#[tokio::test]
async fn whoever_misses_a_message_is_told_where_it_is() {
    let (world, account) = (World::new(), Server::Imaps.account());
    account.deliver(&Letter::new("An offer that came"));
    let mailbox = world.reader(Server::Imaps, &account).await;
    world.run(&mailbox, INCOMING).await;
    quarantined(&world, &mailbox, "imap-1-7", &Letter::new("Lost offer").raw()).await;
    let found = why(&world, &mailbox, "OFFER that").await;
    assert!(matches!(&found[..], [Finding::Recorded(email)] if email.subject == "An offer that came"), "{found:?}");
    let found = why(&world, &mailbox, "lost").await;
    assert!(matches!(&found[..], [Finding::Quarantined(message)] if message.remote_id == "imap-1-7"), "{found:?}");
    assert_eq!(why(&world, &mailbox, "offer").await.len(), 2);
    let found = why(&world, &mailbox, "invoice").await;
    assert!(matches!(&found[..], [Finding::NotHere(why)] if why.contains("works")), "{found:?}");

    world.change_password(&mailbox, "wrong").await;
    world.run(&mailbox, INCOMING).await;
    let found = why(&world, &mailbox, "invoice").await;
    assert!(matches!(&found[..], [Finding::NotHere(why)] if why.contains("disabled")), "{found:?}");
}

#[tokio::test]
async fn a_message_that_goes_to_quarantine_leaves_what_can_be_seen_of_it() {
    let (world, account) = (World::new(), Server::Imaps.account());
    account.deliver_raw(b"X-Nothing: known\nX-More: of it\n\nno message at all", now());
    let mailbox = world.mailbox(&account, &incoming(Server::Imaps, &account)).await;
    world.run(&mailbox, INCOMING).await;
    let entry = world.quarantined(&mailbox).await.remove(0);
    assert_eq!((entry.reason, entry.attempts), (QuarantineReason::NotAMessage, 1));
    assert!(entry.last_attempt.is_some());
}
