//! Incoming email, the same scenarios over every server, protocol and way of securing the connection.

use std::{sync::atomic::Ordering, time::Duration};

use end_to_end::{
    letter::{Letter, noise},
    site::{Kind, Site},
    stack::Server,
    world::{World, incoming_at},
};
use mailrail_domain::{
    Timestamp,
    email::{position::Position, quarantine::QuarantineReason},
    seconds_after,
    settings::profile::EmailServerProfile,
    words::{
        alert::{AlertKind, AlertStatus, Level},
        cause::Cause,
        delivery::Delivery,
        id::MailboxId,
        notice::NoticeStatus,
    },
};
use mailrail_engine::ports::EmailRecords;
use mailrail_test_support::proxy::{Mischief, Proxy};

/// Makes each scenario a test over each server.
macro_rules! over {
    ($($kind:expr => $module:ident),* $(,)?; $scenarios:tt) => {
        $(over!(@ $kind, $module, $scenarios);)*
    };
    (@ $kind:expr, $module:ident, { $($scenario:ident),* $(,)? }) => {
        mod $module {
            use super::*;

            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario($kind).await;
            })*
        }
    };
}

over! {
    Kind::Internet(Server::Imaps) => imaps,
    Kind::Internet(Server::ImapStarttls) => imap_starttls,
    Kind::Internet(Server::OldImaps) => old_imaps,
    Kind::Internet(Server::OldImapStarttls) => old_imap_starttls,
    Kind::Internet(Server::Pop3s) => pop3s,
    Kind::Internet(Server::Pop3Stls) => pop3_stls,
    Kind::ExchangeOnline => exchange_online,
    Kind::ExchangeServer => exchange_server,
    Kind::Impersonated => exchange_server_impersonated;
    {
        a_message_becomes_a_record_with_text_html_attachments_and_its_raw_bytes,
        the_later_of_the_two_start_dates_counts,
        mail_stays_on_the_server_unless_the_profile_says_otherwise,
        what_was_stored_is_deleted_where_the_profile_says_so_and_nothing_else,
        a_reply_is_tied_to_the_email_it_answers,
        a_message_in_two_mailboxes_is_one_record_listed_in_both,
        a_message_delivered_twice_or_moved_out_and_back_is_one_record,
        messages_without_message_id_are_told_apart_by_their_content,
        what_is_no_message_goes_to_quarantine_and_does_not_block_the_next,
        foreign_bytes_are_each_somewhere,
        a_mailbox_that_was_emptied_keeps_its_records_and_receives_what_comes,
    }
}

// Of Exchange, requests are counted instead, in the tests of its own.
over! {
    Kind::Internet(Server::Imaps) => imaps_again,
    Kind::Internet(Server::ImapStarttls) => imap_starttls_again,
    Kind::Internet(Server::OldImaps) => old_imaps_again,
    Kind::Internet(Server::OldImapStarttls) => old_imap_starttls_again,
    Kind::Internet(Server::Pop3s) => pop3s_again,
    Kind::Internet(Server::Pop3Stls) => pop3_stls_again;
    { a_second_run_stores_nothing_and_a_third_fetches_the_new_message_alone }
}

// Of Exchange Online, the application's secret is wrong for all mailboxes, which is in the tests of its own.
over! {
    Kind::Internet(Server::Imaps) => imaps_refused,
    Kind::Internet(Server::ImapStarttls) => imap_starttls_refused,
    Kind::Internet(Server::Pop3s) => pop3s_refused,
    Kind::Internet(Server::Pop3Stls) => pop3_stls_refused,
    Kind::ExchangeServer => exchange_server_refused;
    { a_wrong_password_disables_at_once_with_an_alert_and_a_notice }
}

// GNU imap4d refuses a password without a code.
over! {
    Kind::Internet(Server::OldImaps) => old_imaps_refused,
    Kind::Internet(Server::OldImapStarttls) => old_imap_starttls_refused;
    { a_sign_in_that_is_refused_without_a_reason_is_tried_again }
}

// GNU imap4d gives the inbox another UIDVALIDITY whenever a message arrives, so there every second run above is one
// over other UIDs.
over! {
    Kind::Internet(Server::Imaps) => imaps_anew,
    Kind::Internet(Server::Pop3s) => pop3s_anew,
    Kind::ExchangeOnline => exchange_online_anew,
    Kind::ExchangeServer => exchange_server_anew;
    { positions_that_mean_nothing_any_more_are_read_again_without_a_second_record }
}

/// Tries to see what a server does a little later than it says.
const TRIES: usize = 50;

async fn position(world: &World, mailbox: &MailboxId) -> Option<Position> {
    world.row(mailbox, Delivery::IncomingEmail).await.position
}

/// The record of `letter` in `mailbox`, whose raw object must have every byte.
async fn check_stored(world: &World, mailbox: &MailboxId, letter: &Letter) {
    let emails = world.emails(mailbox).await;
    let found: Vec<_> = emails.iter().filter(|email| email.subject == letter.subject).collect();
    assert_eq!(found.len(), 1, "records of {}", letter.subject);
    assert!(world.object(&found[0].raw_key).await == letter.raw(), "the raw bytes of {}", letter.subject);
}

async fn a_message_becomes_a_record_with_text_html_attachments_and_its_raw_bytes(kind: Kind) {
    let site = Site::of(kind).await;
    let (world, person) = (site.world(), site.person("ada"));
    let letter = Letter::new("Offer")
        .field("Cc", "=?utf-8?q?J=C3=BCrgen?= <j@sender.test>, other@sender.test")
        .field("MIME-Version", "1.0")
        .field("Content-Type", "multipart/mixed; boundary=outer")
        .body(
            "--outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n\
             --inner\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
             Gr\u{fc}\u{df}e\r\n.\r\n..two dots\r\n\
             --inner\r\nContent-Type: text/html\r\n\r\n<p onclick=\"x()\">Hello<script>x()</script></p>\r\n\
             --inner--\r\n--outer\r\nContent-Type: application/pdf; name=\"offer.pdf\"\r\n\
             Content-Disposition: attachment; filename=\"offer.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n\
             AAECAwQF\r\n--outer--\r\n",
        );
    site.deliver(&person, &letter);
    let mailbox = site.reader(&person).await;
    world.receive(&mailbox).await;
    check_stored(world, &mailbox, &letter).await;
    let email = world.only_email(&mailbox).await;
    assert_eq!(email.message_id, letter.message_id);
    assert_eq!(email.date, Some(letter.at));
    assert_eq!(email.received_at, letter.at);
    assert_eq!(email.size, letter.raw().len() as u64);
    assert_eq!(email.from[0].address, "sender@sender.test");
    assert_eq!((email.cc[0].name.as_deref(), email.cc.len()), (Some("J\u{fc}rgen"), 2));
    assert!(email.headers.contains("Subject: Offer"));
    assert!(email.text.contains("Gr\u{fc}\u{df}e") && email.text.contains("..two dots"));
    assert_eq!(email.html.trim(), "<p>Hello</p>");
    assert_eq!(email.attachments.len(), 1);
    let attachment = &email.attachments[0];
    assert_eq!((attachment.name.as_deref(), attachment.size), (Some("offer.pdf"), 6));
    assert_eq!(attachment.content_type, "application/pdf");
    assert_eq!(world.object(&attachment.key).await, [0, 1, 2, 3, 4, 5]);
}

async fn a_second_run_stores_nothing_and_a_third_fetches_the_new_message_alone(kind: Kind) {
    let Kind::Internet(server) = kind else { panic!("connections are counted of internet mail alone") };
    let (world, account) = (World::new(), server.account());
    let proxy = Proxy::start(server.port(), Mischief::Delay(Duration::ZERO)).await;
    let profile = incoming_at(server.protocol(), server.at_port(proxy.port()), &account);
    let mailbox = world.mailbox(&account, &profile).await;
    let large = Letter::new("Large").body("A line of a large message.\r\n".repeat(8_000));
    account.deliver(&large);
    world.receive(&mailbox).await;
    check_stored(&world, &mailbox, &large).await;
    let objects = world.engine.ports.bodies.keys();

    world.receive(&mailbox).await;
    assert_eq!(world.engine.ports.bodies.keys(), objects);
    let first = proxy.counts.down.load(Ordering::Relaxed);
    assert!(first > 200_000);

    let small = Letter::new("Small");
    account.deliver(&small);
    world.receive(&mailbox).await;
    check_stored(&world, &mailbox, &small).await;
    assert_eq!(world.subjects(&mailbox).await, ["Large", "Small"]);
    // GNU imap4d gives the inbox another UIDVALIDITY whenever a message arrives.
    let read_again = proxy.counts.down.load(Ordering::Relaxed) - first > 50_000;
    assert!(server.is_old() || !read_again, "the large message is not read again");
    assert_eq!(proxy.counts.connections.load(Ordering::Relaxed), 3, "one connection to a run");
}

async fn the_later_of_the_two_start_dates_counts(kind: Kind) {
    let start = Timestamp::from_timestamp(1_717_245_000, 0).expect("a second of 2024");
    for mailboxs_is_later in [true, false] {
        let site = Site::of(kind).await;
        let (world, person) = (site.world(), site.person("ada"));
        let earlier = seconds_after(start, -30 * 86_400);
        let (profiles, mailboxs) = if mailboxs_is_later { (earlier, start) } else { (start, earlier) };
        let profile = EmailServerProfile { process_emails_received_after: Some(profiles), ..site.profile(&person) };
        for (subject, seconds) in
            [("a month before", -86_400 * 29), ("a second before", -1), ("the second", 0), ("later", 86_400)]
        {
            site.deliver(&person, &Letter::new(subject).at(seconds_after(start, seconds)));
        }
        let mailbox = site.mailbox(&person, &profile, Some(mailboxs)).await;
        world.receive(&mailbox).await;
        assert_eq!(world.subjects(&mailbox).await, ["later", "the second"]);
        site.deliver(&person, &Letter::new("old, and it came today").at(seconds_after(start, -1)));
        site.deliver(&person, &Letter::new("new").at(seconds_after(start, 2 * 86_400)));
        world.receive(&mailbox).await;
        assert_eq!(world.subjects(&mailbox).await, ["later", "new", "the second"]);
        site.held(&person, 6).await;
    }
}

async fn mail_stays_on_the_server_unless_the_profile_says_otherwise(kind: Kind) {
    let site = Site::of(kind).await;
    let (world, person) = (site.world(), site.person("ada"));
    let mailbox = site.reader(&person).await;
    for number in 0..5 {
        site.deliver(&person, &Letter::new(&format!("Message {number}")));
    }
    world.receive(&mailbox).await;
    assert_eq!(world.emails(&mailbox).await.len(), 5);
    site.held(&person, 5).await;
}

async fn what_was_stored_is_deleted_where_the_profile_says_so_and_nothing_else(kind: Kind) {
    let site = Site::of(kind).await;
    let (world, person) = (site.world(), site.person("ada"));
    let start = Timestamp::from_timestamp(1_717_245_000, 0).expect("a second of 2024");
    let profile = EmailServerProfile {
        delete_after_processing: true,
        process_emails_received_after: Some(start),
        ..site.profile(&person)
    };
    for number in 0..5 {
        site.deliver(&person, &Letter::new(&format!("Message {number}")).at(seconds_after(start, number)));
    }
    let twin = Letter::new("Twin").at(seconds_after(start, 6));
    site.deliver(&person, &twin);
    // One Message-ID and one Date, and another content: the record has the first alone.
    let other = twin.clone().body("Pay to another account.\r\n");
    site.deliver(&person, &other);
    let before = Letter::new("before the start date").at(seconds_after(start, -1));
    site.deliver(&person, &before);
    let mailbox = site.mailbox(&person, &profile, None).await;
    world.receive(&mailbox).await;
    assert_eq!(world.emails(&mailbox).await.len(), 6);
    let mut left = site.held(&person, 2).await;
    let mut expected = [before.raw(), other.raw()];
    left.sort();
    expected.sort();
    assert!(left == expected, "what no record has byte for byte is still there");
    world.receive(&mailbox).await;
    assert_eq!(world.emails(&mailbox).await.len(), 6);
    site.held(&person, 2).await;
}

async fn a_reply_is_tied_to_the_email_it_answers(kind: Kind) {
    let site = Site::of(kind).await;
    let (world, person) = (site.world(), site.person("ada"));
    let mailbox = site.reader(&person).await;
    let question = Letter::new("Question");
    let (early, late) = (question.reply("Re: Question (came first)"), question.reply("Re: Question (came last)"));
    site.deliver(&person, &early);
    world.receive(&mailbox).await;
    site.deliver(&person, &question);
    world.receive(&mailbox).await;
    site.deliver(&person, &late);
    world.receive(&mailbox).await;
    let records = &world.engine.ports.records;
    let id = question.message_id.as_deref().expect("a Message-ID");
    let emails = world.emails(&mailbox).await;
    let answered = records.with_message_id(id).await.expect("a store that works");
    assert_eq!(answered.iter().map(|email| &email.subject).collect::<Vec<_>>(), ["Question"]);
    let mut replies = records.replies(id).await.expect("a store that works");
    let mut expected: Vec<_> =
        emails.iter().filter(|email| email.subject.starts_with("Re:")).map(|email| email.id.clone()).collect();
    replies.sort();
    expected.sort();
    assert_eq!(replies, expected);
    assert!(emails.iter().filter(|email| email.subject.starts_with("Re:")).all(|email| email.answered()[0] == id));
}

async fn a_message_in_two_mailboxes_is_one_record_listed_in_both(kind: Kind) {
    let site = Site::of(kind).await;
    let world = site.world();
    let letter = Letter::new("To both");
    let mut mailboxes = Vec::new();
    for name in ["ada", "bob"] {
        let person = site.person(name);
        site.deliver(&person, &letter);
        let mailbox = site.reader(&person).await;
        world.receive(&mailbox).await;
        check_stored(world, &mailbox, &letter).await;
        mailboxes.push(mailbox);
    }
    assert_eq!(world.engine.ports.records.all().len(), 1);
    assert_eq!(world.emails(&mailboxes[0]).await, world.emails(&mailboxes[1]).await);
}

async fn a_message_delivered_twice_or_moved_out_and_back_is_one_record(kind: Kind) {
    let site = Site::of(kind).await;
    let (world, person) = (site.world(), site.person("ada"));
    let mailbox = site.reader(&person).await;
    let letter = Letter::new("Once");
    site.deliver(&person, &letter);
    site.deliver(&person, &letter);
    world.receive(&mailbox).await;
    check_stored(world, &mailbox, &letter).await;
    site.remove_all(&person).await;
    world.receive(&mailbox).await;
    site.deliver(&person, &letter);
    world.receive(&mailbox).await;
    check_stored(world, &mailbox, &letter).await;
    assert_eq!(world.engine.ports.records.all().len(), 1);
}

async fn messages_without_message_id_are_told_apart_by_their_content(kind: Kind) {
    let site = Site::of(kind).await;
    let (world, person) = (site.world(), site.person("ada"));
    let at = Timestamp::from_timestamp(1_720_000_000, 0).expect("a second of 2024");
    let letter = |body: &str| Letter::new("Same subject").at(at).without_message_id().body(format!("{body}\r\n"));
    for body in ["one", "two", "one"] {
        site.deliver(&person, &letter(body));
    }
    let mailbox = site.reader(&person).await;
    world.receive(&mailbox).await;
    let mut texts: Vec<String> =
        world.emails(&mailbox).await.into_iter().map(|email| email.text.trim().to_owned()).collect();
    texts.sort();
    assert_eq!(texts, ["one", "two"]);
}

async fn what_is_no_message_goes_to_quarantine_and_does_not_block_the_next(kind: Kind) {
    let site = Site::of(kind).await;
    let (world, person) = (site.world(), site.person("ada"));
    let at = Timestamp::from_timestamp(1_720_000_000, 0).expect("a second of 2024");
    let mailbox = site.reader(&person).await;
    let garbage = b"Garbage: \xff\xfe\r\nOf: nobody\r\n\r\nnothing that a mail system wrote\r\n";
    site.deliver(&person, &Letter::new("First"));
    site.deliver_raw(&person, garbage, at);
    site.deliver(&person, &Letter::new("Last"));
    world.receive(&mailbox).await;
    assert_eq!(world.subjects(&mailbox).await, ["First", "Last"]);
    let quarantined = world.quarantined(&mailbox).await;
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0].reason, QuarantineReason::NotAMessage);
    assert!(world.object(&quarantined[0].raw_key).await == garbage);
    world.receive(&mailbox).await;
    assert_eq!(world.quarantined(&mailbox).await.len(), 1);
}

async fn foreign_bytes_are_each_somewhere(kind: Kind) {
    const MESSAGES: usize = 40;
    let site = Site::of(kind).await;
    let (world, person) = (site.world(), site.person("ada"));
    let at = Timestamp::from_timestamp(1_720_000_000, 0).expect("a second of 2024");
    for bytes in noise(MESSAGES) {
        // Mail has lines and no NUL (RFC 5321 section 4.5.3); what else it has is anybody's.
        let mut bytes: Vec<u8> = bytes.into_iter().filter(|byte| !b"\r\n\0".contains(byte)).collect();
        bytes.extend_from_slice(b"\r\n");
        site.deliver_raw(&person, &bytes, at);
    }
    site.deliver_raw(&person, b"Subject: no sender, no date, no id\r\n\r\ntext\r\n", at);
    let mailbox = site.reader(&person).await;
    world.receive(&mailbox).await;
    let (records, quarantined) = (world.emails(&mailbox).await, world.quarantined(&mailbox).await);
    assert_eq!(records.len() + quarantined.len(), MESSAGES + 1, "each is somewhere");
    assert!(records.iter().any(|email| email.subject == "no sender, no date, no id"));
    assert!(quarantined.iter().all(|message| message.reason != QuarantineReason::NotHandedOut));
    world.receive(&mailbox).await;
    assert_eq!(world.quarantined(&mailbox).await.len(), quarantined.len());
}

async fn a_mailbox_that_was_emptied_keeps_its_records_and_receives_what_comes(kind: Kind) {
    let site = Site::of(kind).await;
    let (world, person) = (site.world(), site.person("ada"));
    let mailbox = site.reader(&person).await;
    for number in 0..3 {
        site.deliver(&person, &Letter::new(&format!("Old {number}")));
    }
    world.receive(&mailbox).await;
    site.remove_all(&person).await;
    world.receive(&mailbox).await;
    assert_eq!(world.emails(&mailbox).await.len(), 3);
    site.deliver(&person, &Letter::new("New"));
    world.receive(&mailbox).await;
    assert_eq!(world.subjects(&mailbox).await, ["New", "Old 0", "Old 1", "Old 2"]);
}

async fn positions_that_mean_nothing_any_more_are_read_again_without_a_second_record(kind: Kind) {
    let site = Site::of(kind).await;
    let (world, person) = (site.world(), site.person("ada"));
    let mailbox = site.reader(&person).await;
    for number in 0..3 {
        site.deliver(&person, &Letter::new(&format!("Old {number}")));
    }
    world.receive(&mailbox).await;
    let before = position(world, &mailbox).await;
    let mut tries = 0;
    while position(world, &mailbox).await == before {
        // A session that is just ending may write the old UIDVALIDITY once more.
        site.forget_positions(&person);
        world.receive(&mailbox).await;
        assert_eq!(world.subjects(&mailbox).await, ["Old 0", "Old 1", "Old 2"]);
        tries += 1;
        assert!(tries < TRIES);
    }
    site.deliver(&person, &Letter::new("New"));
    world.receive(&mailbox).await;
    assert_eq!(world.subjects(&mailbox).await, ["New", "Old 0", "Old 1", "Old 2"]);
    assert_eq!(world.engine.ports.records.all().len(), 4);
    assert!(world.quarantined(&mailbox).await.is_empty());
}

async fn a_wrong_password_disables_at_once_with_an_alert_and_a_notice(kind: Kind) {
    let site = Site::of(kind).await;
    let (world, person) = (site.world(), site.person("ada"));
    let wrong = site.with_wrong_password(&person);
    let profile = site.profile(&wrong);
    let mailbox = site.mailbox(&wrong, &profile, None).await;
    world.run(&mailbox, Delivery::IncomingEmail).await;
    let state = world.state(&mailbox, Delivery::IncomingEmail).await;
    assert!(!state.enabled);
    assert_eq!((state.transient_failure_count, state.times_disabled), (0, 1));
    let alerts = world.alerts(&mailbox).await;
    assert_eq!(alerts.len(), 1);
    assert_eq!((alerts[0].kind, alerts[0].level), (AlertKind::MailboxCredentialsIncorrect, Level::Error));
    assert_eq!((alerts[0].cause, alerts[0].status), (Some(Cause::CredentialsRefused), AlertStatus::Open));
    let notices = world.notices(NoticeStatus::Pending).await;
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].to, profile.owner_address);
    let words = &alerts[0].evidence.as_ref().expect("the server's words").words;
    assert!(!words.is_empty() && notices[0].text.contains(words.as_str()), "{}", notices[0].text);
    assert!(notices[0].text.contains(&person.address) && !notices[0].text.contains("wrong\n"));
    assert!(world.engine.ports.queue.waiting(Delivery::IncomingEmail).is_empty(), "nothing is tried again");
}

async fn a_sign_in_that_is_refused_without_a_reason_is_tried_again(kind: Kind) {
    let site = Site::of(kind).await;
    let (world, person) = (site.world(), site.person("ada"));
    let wrong = site.with_wrong_password(&person);
    let mailbox = site.mailbox(&wrong, &site.profile(&wrong), None).await;
    world.run(&mailbox, Delivery::IncomingEmail).await;
    let state = world.state(&mailbox, Delivery::IncomingEmail).await;
    assert_eq!((state.enabled, state.transient_failure_count), (true, 1));
    assert_eq!(world.alerts(&mailbox).await[0].cause, Some(Cause::SignInFailed));
}

#[tokio::test]
async fn another_message_with_the_same_message_id_and_date_does_not_replace_the_stored_one() {
    let (world, one, two) = (World::new(), Server::Imaps.account(), Server::Imaps.account());
    let letter = Letter::new("Invoice");
    one.deliver(&letter);
    let mailbox = world.reader(Server::Imaps, &one).await;
    world.receive(&mailbox).await;
    two.deliver(&letter.clone().body("Pay to another account.\r\n"));
    let other = world.reader(Server::Imaps, &two).await;
    world.receive(&other).await;
    let email = world.only_email(&mailbox).await;
    assert!(world.object(&email.raw_key).await == letter.raw());
}
