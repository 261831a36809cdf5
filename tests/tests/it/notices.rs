//! Notices of disabled mailboxes, from the organization's notice mailbox through Postfix to the owner.

use std::fs;

use end_to_end::{
    stack::{Account, Server, account, stack},
    world::{World, incoming, now, outgoing, outgoing_at, pass},
};
use mailrail_domain::{
    Timestamp,
    email::record::Email,
    settings::{
        mailbox::Mailbox,
        organization::Organization,
        profile::{EmailServerProfile, Security},
    },
    words::{
        delivery::Delivery,
        id::MailboxId,
        notice::{Notice, NoticeStatus},
    },
};
use mailrail_engine::{
    Deadline,
    mime::read,
    notify::Notified,
    ports::{Directory, StoredOrganization, Written},
};
use mailrail_test_support::{
    build,
    proxy::{Mischief, Proxy},
};

const INVOCATION: std::time::Duration = std::time::Duration::from_secs(60);
/// Longer than the longest wait after a notice could not be sent.
const NEXT_TRY_SECONDS: i64 = 3_700;

const SENT: Notified = Notified { sent: 1, waiting: 0 };
const WAITS: Notified = Notified { sent: 0, waiting: 1 };
const NOTHING: Notified = Notified { sent: 0, waiting: 0 };

async fn notify(world: &World) -> Notified {
    world.engine.notify(Deadline::after(INVOCATION)).await.expect("an outage")
}

/// A mailbox that is disabled for a wrong password; the owner of its profile is told at `owner`.
async fn disabled(world: &World, owner: &str) -> Mailbox {
    let account = account();
    let wrong = Account { password: "wrong".to_owned(), ..account };
    let profile = EmailServerProfile { owner_address: build::address(owner), ..incoming(Server::Imaps, &wrong) };
    let mailbox = world.mailbox(&wrong, &profile).await;
    world.run(&mailbox, Delivery::IncomingEmail).await;
    let row = world.row(&mailbox, Delivery::IncomingEmail).await;
    assert!(!row.state.enabled);
    row.mailbox
}

/// The mailbox that notices are sent from.
async fn notice_mailbox(world: &World, account: &Account, profile: &EmailServerProfile) -> MailboxId {
    let id = world.mailbox(account, profile).await;
    let organization = Organization { notice_mailbox_id: Some(id.clone()), ..Organization::default() };
    let stored = StoredOrganization { organization, revision: 0 };
    let written = world.engine.ports.state.put_organization(&stored, &build::audit()).await;
    assert_eq!(written.expect("a store that works"), Written::Done);
    id
}

async fn only_pending(world: &World) -> Notice {
    let mut pending = world.notices(NoticeStatus::Pending).await;
    assert_eq!(pending.len(), 1);
    pending.remove(0)
}

/// What has arrived in the account, which must be one message.
async fn only_message(account: &Account) -> Email {
    let files = account.wait_for_files(1).await;
    let raw = fs::read(&files[0]).expect("a message");
    read(&raw, raw.len() as u64, &build::mailbox_id("m1"), None, now()).expect("a message that can be read").email
}

fn second(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[tokio::test]
async fn a_notice_reaches_the_owner_once_and_says_what_failed_and_what_to_do() {
    let (world, from, owner) = (World::new(), account(), account());
    notice_mailbox(&world, &from, &outgoing(Security::Tls, &from)).await;
    let mailbox = disabled(&world, &owner.address).await;
    let notice = only_pending(&world).await;
    let alert = world.alerts(&mailbox.id).await.remove(0);
    assert_eq!(notify(&world).await, SENT);

    let email = only_message(&owner).await;
    assert_eq!(email.from[0].address, from.address);
    assert_eq!(email.to[0].address, owner.address);
    assert_eq!(email.message_id, Some(notice.message_id()));
    assert_eq!(email.subject, format!("The mailbox {} has been disabled for receiving email", mailbox.name));
    let words = alert.evidence.expect("the server's words").words;
    let state = world.state(&mailbox.id, Delivery::IncomingEmail).await;
    let first = state.failing_since.expect("a first failure");
    for part in [
        mailbox.address_text(),
        "credentials specified in the mailbox are incorrect",
        words.as_str(),
        &format!("First failure:        {}", second(first)),
        &format!("Last failure:         {}", second(alert.last_seen)),
        "What to do:",
        "Then test and enable the mailbox again.",
    ] {
        assert!(email.text.contains(part), "{part:?} is not in\n{}", email.text);
    }
    assert!(alert.resolution.iter().all(|step| email.text.contains(step)), "{}", email.text);

    for _ in 0..2 {
        pass(NEXT_TRY_SECONDS);
        assert_eq!(notify(&world).await, NOTHING);
    }
    only_message(&owner).await;
    assert!(world.notices(NoticeStatus::Pending).await.is_empty());
    let sent = world.notices(NoticeStatus::Sent).await;
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].attempts, sent[0].last_error.as_ref(), sent[0].sent_at.is_some()), (1, None, true));
}

#[tokio::test]
async fn two_notices_go_out_over_one_connection() {
    let (world, from, owner) = (World::new(), account(), account());
    let proxy = Proxy::start(stack().mail.submissions, Mischief::Delay(std::time::Duration::ZERO)).await;
    let location = build::location(&stack().mail.host, proxy.port(), Security::Tls);
    notice_mailbox(&world, &from, &outgoing_at(location, &from)).await;
    for _ in 0..2 {
        disabled(&world, &owner.address).await;
    }
    assert_eq!(notify(&world).await, Notified { sent: 2, waiting: 0 });
    owner.wait_for_files(2).await;
    assert_eq!(proxy.counts.connections.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn without_a_notice_mailbox_a_notice_waits_with_the_reason_until_there_is_one() {
    let (world, from, owner) = (World::new(), account(), account());
    disabled(&world, &owner.address).await;
    for attempts in 1..=3 {
        assert_eq!(notify(&world).await, WAITS);
        let notice = only_pending(&world).await;
        assert_eq!(notice.attempts, attempts);
        let why = notice.last_error.expect("the reason");
        assert!(why.contains("no notice mailbox"), "{why}");
        assert_eq!(notify(&world).await, NOTHING, "it is not its time");
        pass(NEXT_TRY_SECONDS);
    }
    assert!(owner.files().is_empty());
    notice_mailbox(&world, &from, &outgoing(Security::Starttls, &from)).await;
    assert_eq!(notify(&world).await, SENT);
    only_message(&owner).await;
    assert_eq!(world.notices(NoticeStatus::Sent).await[0].attempts, 4);
}

#[tokio::test]
async fn with_a_dead_notice_server_a_notice_waits_with_the_reason_until_it_works() {
    for (mischief, words) in [(Mischief::Drop, "while securing the connection"), (Mischief::Stall, "no answer in time")]
    {
        let (world, from, owner) = (World::new(), account(), account());
        let proxy = Proxy::start(stack().mail.submissions, mischief).await;
        let location = build::location(&stack().mail.host, proxy.port(), Security::Tls);
        let profile = EmailServerProfile { connection_timeout_seconds: 1, ..outgoing_at(location, &from) };
        let sender = notice_mailbox(&world, &from, &profile).await;
        disabled(&world, &owner.address).await;
        for attempts in 1..=2 {
            assert_eq!(notify(&world).await, WAITS);
            let notice = only_pending(&world).await;
            assert_eq!(notice.attempts, attempts);
            let why = notice.last_error.expect("the reason");
            assert!(why.contains(words), "{why}");
            pass(NEXT_TRY_SECONDS);
        }
        assert!(world.state(&sender, Delivery::OutgoingEmail).await.enabled, "a notice is not the mailbox's email");
        proxy.turn_to(Mischief::Delay(std::time::Duration::ZERO));
        assert_eq!(notify(&world).await, SENT);
        only_message(&owner).await;
        assert_eq!(notify(&world).await, NOTHING);
    }
}

#[tokio::test]
async fn a_notice_whose_owner_is_refused_waits_with_the_servers_words_and_does_not_hold_up_the_next() {
    let (world, from, owner) = (World::new(), account(), account());
    notice_mailbox(&world, &from, &outgoing(Security::Tls, &from)).await;
    disabled(&world, "refused@example.test").await;
    disabled(&world, &owner.address).await;
    assert_eq!(notify(&world).await, Notified { sent: 1, waiting: 1 });
    only_message(&owner).await;
    let why = only_pending(&world).await.last_error.expect("the reason");
    assert!(why.contains("Refused by policy"), "{why}");
}

#[tokio::test]
async fn a_notice_mailbox_that_cannot_sign_in_is_named_with_the_servers_words() {
    let (world, from, owner) = (World::new(), account(), account());
    let wrong = Account { password: "wrong".to_owned(), ..from.clone() };
    notice_mailbox(&world, &wrong, &outgoing(Security::Tls, &wrong)).await;
    disabled(&world, &owner.address).await;
    assert_eq!(notify(&world).await, WAITS);
    let why = only_pending(&world).await.last_error.expect("the reason");
    assert!(why.contains("CredentialsRefused") && why.contains("authentication failed"), "{why}");
}
