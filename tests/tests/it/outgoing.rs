//! Outgoing email through Postfix.

use std::{fs, path::PathBuf, sync::atomic::Ordering, time::Duration};

use end_to_end::{
    letter::Letter,
    stack::{Account, Server, account, stack},
    world::{BETWEEN_RUNS_SECONDS, Outbound, World, now, outgoing, outgoing_at, pass},
};
use mailrail_domain::{
    email::record::{Email, EmailStatus, Recipient, RecipientStatus},
    rules::run::end::GO_ON_SECONDS,
    seconds_after,
    settings::profile::{Authentication, EmailServerProfile, IncomingProtocol, IncomingServer, Security},
    words::{
        alert::{AlertKind, AlertStatus},
        cause::Cause,
        delivery::{Delivery, SynchronizationMethod},
        evidence::Stage,
        id::{EmailId, MailboxId},
        notice::NoticeStatus,
        policy::UnknownOutcome,
        policy::{FAILURES_MAX, GAP_SECONDS},
    },
};
use mailrail_engine::{
    limits::SENDS_PER_RUN,
    ports::{BodyStore, Directory, EmailRecords},
};
use mailrail_test_support::{
    build,
    proxy::{Mischief, Proxy},
};

const OUTGOING: Delivery = Delivery::OutgoingEmail;

fn refusing(name: &str) -> String {
    format!("{name}@example.test")
}

/// A mailbox that sends, with its account.
async fn sender(world: &World, security: Security) -> (MailboxId, Account) {
    let account = account();
    let mailbox = world.mailbox(&account, &outgoing(security, &account)).await;
    (mailbox, account)
}

fn recipients(email: &Email) -> &[Recipient] {
    &email.outgoing.as_ref().expect("an outgoing email").recipients
}

fn header_lines(file: &PathBuf) -> Vec<String> {
    let raw = fs::read(file).expect("a message");
    let text = String::from_utf8_lossy(&raw).replace("\r\n", "\n");
    let header = text.split("\n\n").next().unwrap_or_default();
    header.lines().map(str::to_owned).collect()
}

/// The messages that arrived in an account, once there are `count`; each has the email's Message-ID.
async fn check_arrived(world: &World, id: &EmailId, account: &Account, count: usize) -> Vec<PathBuf> {
    let files = account.wait_for_files(count).await;
    let message_id = world.email(id).await.message_id.expect("a Message-ID of our own");
    for file in &files {
        assert!(header_lines(file).contains(&format!("Message-ID: <{message_id}>")), "{:?}", header_lines(file));
    }
    files
}

async fn check_sent(security: Security) {
    let world = World::new();
    let (mailbox, from) = sender(&world, security).await;
    let (to, cc, bcc) = (account(), account(), account());
    let email = Outbound { to: &[&to.address], cc: &[&cc.address], bcc: &[&bcc.address], subject: "Gr\u{fc}\u{df}e" };
    let id = world.pend(&mailbox, &email).await;
    world.send(&mailbox).await;
    let email = world.email(&id).await;
    assert_eq!(email.status, EmailStatus::Sent);
    assert!(recipients(&email).iter().all(|recipient| recipient.status == RecipientStatus::Sent));
    for account in [&to, &cc, &bcc] {
        let files = check_arrived(&world, &id, account, 1).await;
        let header = header_lines(&files[0]);
        let dates: Vec<&String> = header.iter().filter(|line| line.starts_with("Date:")).collect();
        assert_eq!(dates.len(), 1);
        assert!(dates[0].contains(&now().format("%Y").to_string()), "{dates:?}");
        assert!(header.iter().any(|line| line.starts_with("From:") && line.contains(&from.address)));
        assert!(!header.iter().any(|line| line.to_ascii_lowercase().starts_with("bcc:") || line.contains("u{fc}")));
        let to_bcc = header.iter().filter(|line| !line.starts_with("Delivered-To") && !line.contains("for <"));
        assert!(account.address == bcc.address || !to_bcc.into_iter().any(|line| line.contains(&bcc.address)));
    }
    world.send(&mailbox).await;
    assert_eq!(to.files().len(), 1, "nothing is sent twice");
}

#[tokio::test]
async fn an_email_arrives_over_submission_with_tls() {
    check_sent(Security::Tls).await;
}

#[tokio::test]
async fn an_email_arrives_over_submission_with_starttls() {
    check_sent(Security::Starttls).await;
}

#[tokio::test]
async fn a_valid_token_sends_and_an_expired_one_is_refused_for_good() {
    let (from, to) = (account(), account());
    let profile = EmailServerProfile { authentication: Authentication::Xoauth2, ..outgoing(Security::Tls, &from) };
    for (seconds, status, enabled) in [(3_600, EmailStatus::Sent, true), (-60, EmailStatus::PendingSend, false)] {
        let world = World::new();
        let mailbox = world.mailbox(&Account { password: from.token(seconds), ..from.clone() }, &profile).await;
        let id = world.pend(&mailbox, &Outbound { to: &[&to.address], ..Outbound::default() }).await;
        world.run(&mailbox, OUTGOING).await;
        assert_eq!(world.email(&id).await.status, status);
        assert_eq!(world.state(&mailbox, OUTGOING).await.enabled, enabled);
        let causes: Vec<_> = world.alerts(&mailbox).await.into_iter().filter_map(|alert| alert.cause).collect();
        assert_eq!(causes, if enabled { vec![] } else { vec![Cause::CredentialsRefused] });
    }
}

#[tokio::test]
async fn a_refused_recipient_fails_the_email_with_the_servers_words_and_the_others_get_it() {
    let world = World::new();
    let (mailbox, _) = sender(&world, Security::Tls).await;
    let good = account();
    let email = Outbound { to: &[&refusing("refused"), &good.address, &refusing("moved")], ..Outbound::default() };
    let id = world.pend(&mailbox, &email).await;
    world.send(&mailbox).await;
    check_arrived(&world, &id, &good, 1).await;
    let email = world.email(&id).await;
    assert_eq!(email.status, EmailStatus::Failed);
    let [refused, sent, moved] = recipients(&email) else { panic!("three recipients") };
    assert_eq!(sent.status, RecipientStatus::Sent);
    for (recipient, code, detail, words) in
        [(refused, "550", "5.7.1", "Refused by policy"), (moved, "551", "5.1.6", "User not local")]
    {
        let RecipientStatus::Refused { evidence } = &recipient.status else { panic!("{recipient:?}") };
        assert_eq!((evidence.code.as_deref(), evidence.detail.as_deref()), (Some(code), Some(detail)));
        assert!(evidence.words.contains(words), "{}", evidence.words);
    }
}

#[tokio::test]
async fn a_greylisted_recipient_alone_is_tried_again_until_it_is_given_up() {
    let world = World::new();
    let (mailbox, _) = sender(&world, Security::Starttls).await;
    let good = account();
    let email = Outbound { to: &[&good.address, &refusing("greylisted")], ..Outbound::default() };
    let id = world.pend(&mailbox, &email).await;
    for attempt in 1..=FAILURES_MAX {
        let begun = seconds_after(now(), 0);
        world.send(&mailbox).await;
        let email = world.email(&id).await;
        let outgoing = email.outgoing.as_ref().expect("an outgoing email");
        assert_eq!((outgoing.recipients[0].status.clone(), outgoing.attempts), (RecipientStatus::Sent, attempt));
        if attempt == FAILURES_MAX {
            assert_eq!(email.status, EmailStatus::Failed);
            let RecipientStatus::Refused { evidence } = &outgoing.recipients[1].status else { panic!("{outgoing:?}") };
            assert!(evidence.words.contains("Greylisted"), "{evidence:?}");
            break;
        }
        assert_eq!(email.status, EmailStatus::PendingSend);
        let RecipientStatus::Pending { evidence: Some(evidence) } = &outgoing.recipients[1].status else {
            panic!("{outgoing:?}")
        };
        assert_eq!(evidence.code.as_deref(), Some("450"));
        assert!(outgoing.next_attempt.is_some_and(|at| at >= seconds_after(begun, i64::from(GAP_SECONDS))));
        let waiting = world.engine.ports.queue.waiting(OUTGOING);
        assert_eq!(waiting.len(), attempt as usize);
        assert!(waiting.iter().all(|(wake, delay)| wake.mailbox == mailbox && *delay == GAP_SECONDS));
    }
    check_arrived(&world, &id, &good, 1).await;
    assert!(world.state(&mailbox, OUTGOING).await.enabled, "an email's failure is not its mailbox's");
}

#[tokio::test]
async fn emails_that_wait_for_their_recipients_do_not_hold_up_the_next() {
    let world = World::new();
    let (mailbox, _) = sender(&world, Security::Tls).await;
    let good = account();
    for _ in 0..SENDS_PER_RUN {
        world.pend(&mailbox, &Outbound { to: &[&refusing("greylisted")], ..Outbound::default() }).await;
    }
    world.send(&mailbox).await;
    let id = world.pend(&mailbox, &Outbound { to: &[&good.address], ..Outbound::default() }).await;
    pass(30 - BETWEEN_RUNS_SECONDS); // before the gap of the others is over
    world.send(&mailbox).await;
    assert_eq!(world.email(&id).await.status, EmailStatus::Sent);
    check_arrived(&world, &id, &good, 1).await;
}

#[tokio::test]
async fn what_the_server_says_after_the_last_line_counts_for_the_email() {
    for (name, status, code, words) in [
        ("late-deferred", EmailStatus::PendingSend, "451", "Content deferred"),
        ("late-too-large", EmailStatus::Failed, "552", "Message too large"),
        ("late-refused", EmailStatus::Failed, "554", "Content refused"),
        ("unavailable", EmailStatus::PendingSend, "451", "Temporary server error"),
        ("insufficient", EmailStatus::PendingSend, "452", "Mailbox full"),
        ("full", EmailStatus::Failed, "552", "Mailbox full"),
    ] {
        let world = World::new();
        let (mailbox, _) = sender(&world, Security::Tls).await;
        let id = world.pend(&mailbox, &Outbound { to: &[&refusing(name)], ..Outbound::default() }).await;
        world.send(&mailbox).await;
        let email = world.email(&id).await;
        assert_eq!(email.status, status, "{name}");
        let evidence = match &recipients(&email)[0].status {
            RecipientStatus::Pending { evidence: Some(evidence) } | RecipientStatus::Refused { evidence } => evidence,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(evidence.code.as_deref(), Some(code), "{name}");
        assert!(evidence.words.contains(words), "{name}: {evidence:?}");
        let is_late = name.starts_with("late");
        assert_eq!(evidence.stage, if is_late { Stage::Data } else { Stage::Envelope }, "{name}");
    }
}

#[tokio::test]
async fn a_server_that_closes_the_channel_is_tried_again_and_nothing_is_lost() {
    let world = World::new();
    let (mailbox, _) = sender(&world, Security::Tls).await;
    let id = world.pend(&mailbox, &Outbound { to: &[&refusing("closing")], ..Outbound::default() }).await;
    world.run(&mailbox, OUTGOING).await;
    let state = world.state(&mailbox, OUTGOING).await;
    assert_eq!((state.enabled, state.transient_failure_count), (true, 1));
    assert_eq!(world.email(&id).await.status, EmailStatus::PendingSend);
    let evidence = world.evidence(&mailbox).await.expect("the server's words");
    assert_eq!(evidence.code.as_deref(), Some("421"));
    assert_eq!(world.engine.ports.queue.waiting(OUTGOING).iter().map(|w| w.1).collect::<Vec<_>>(), [GAP_SECONDS]);
}

#[tokio::test]
async fn a_wrong_password_disables_sending_and_the_email_waits_with_an_alert_until_it_is_mended() {
    let world = World::new();
    let (from, to) = (account(), account());
    let wrong = Account { password: "wrong".to_owned(), ..from.clone() };
    let mailbox = world.mailbox(&wrong, &outgoing(Security::Starttls, &from)).await;
    let id = world.pend(&mailbox, &Outbound { to: &[&to.address], ..Outbound::default() }).await;
    world.run(&mailbox, OUTGOING).await;
    let state = world.state(&mailbox, OUTGOING).await;
    assert_eq!((state.enabled, state.times_disabled), (false, 1));
    assert_eq!(world.notices(NoticeStatus::Pending).await.len(), 1);
    for _ in 0..2 {
        world.run(&mailbox, OUTGOING).await;
        assert_eq!(world.email(&id).await.status, EmailStatus::PendingSend);
    }
    let mut kinds: Vec<_> = world.alerts(&mailbox).await.iter().map(|alert| (alert.kind, alert.count)).collect();
    kinds.sort();
    assert_eq!(kinds, [(AlertKind::MailboxCredentialsIncorrect, 1), (AlertKind::EmailPendingSend, 1)]);
    assert_eq!(world.notices(NoticeStatus::Pending).await.len(), 1, "one disabling is one notice");

    let state = &world.engine.ports.state;
    world.change_password(&mailbox, &from.password).await;
    assert!(state.enable(&mailbox, OUTGOING, 5, &build::audit_at(now())).await.expect("a store that works"));
    world.send(&mailbox).await;
    assert_eq!(world.email(&id).await.status, EmailStatus::Sent);
    check_arrived(&world, &id, &to, 1).await;
    assert!(world.alerts(&mailbox).await.iter().all(|alert| alert.status == AlertStatus::Closed));
}

#[tokio::test]
async fn a_mailbox_without_a_synchronization_method_leaves_its_email_waiting_with_an_alert() {
    let world = World::new();
    let from = account();
    let profile = outgoing(Security::Tls, &from);
    let mailbox = build::mailbox("m1", &from.address, &profile);
    let mailbox =
        mailrail_domain::settings::mailbox::Mailbox { outgoing_email: SynchronizationMethod::None, ..mailbox };
    let mailbox = world.add(&mailbox, &profile, &from.password).await;
    let id = world.pend(&mailbox, &Outbound { to: &[&from.address], ..Outbound::default() }).await;
    world.run(&mailbox, OUTGOING).await;
    assert_eq!(world.email(&id).await.status, EmailStatus::PendingSend);
    let alerts = world.alerts(&mailbox).await;
    assert_eq!(alerts.iter().map(|alert| alert.kind).collect::<Vec<_>>(), [AlertKind::EmailPendingSend]);
    assert!(alerts[0].text.contains("synchronization method"), "{}", alerts[0].text);
    assert!(from.files().is_empty());
}

/// Postfix puts its verdict on a sender off until it hears a recipient, so it is the recipients' that is seen here.
#[tokio::test]
async fn an_address_that_the_account_does_not_own_fails_the_email_with_the_servers_words() {
    let world = World::new();
    let (owner, other, to) = (account(), account(), account());
    let profile = outgoing(Security::Tls, &owner);
    let mut mailbox = build::mailbox("m1", &other.address, &profile);
    mailbox.username = Some(owner.address.clone());
    let mailbox = world.add(&mailbox, &profile, &owner.password).await;
    let id = world.pend(&mailbox, &Outbound { to: &[&to.address], ..Outbound::default() }).await;
    world.send(&mailbox).await;
    let email = world.email(&id).await;
    assert_eq!(email.status, EmailStatus::Failed);
    let RecipientStatus::Refused { evidence } = &recipients(&email)[0].status else { panic!("{email:?}") };
    assert_eq!(evidence.code.as_deref(), Some("553"));
    assert!(evidence.words.contains("not owned by user"), "{}", evidence.words);
    assert!(to.files().is_empty());
}

#[tokio::test]
async fn a_reply_to_a_sent_email_is_tied_to_it() {
    let world = World::new();
    let (from, to) = (account(), account());
    let mut profile = outgoing(Security::Tls, &from);
    build::internet_mail(&mut profile).incoming =
        Some(IncomingServer { protocol: IncomingProtocol::Imap, location: Server::Imaps.location() });
    let mailbox = world.mailbox(&from, &profile).await;
    let sent = world.pend(&mailbox, &Outbound { to: &[&to.address], subject: "Question", ..Outbound::default() }).await;
    world.send(&mailbox).await;
    let message_id = world.email(&sent).await.message_id.expect("a Message-ID of our own");
    from.deliver(&Letter::new("Re: Question").field("In-Reply-To", &format!("<{message_id}>")));
    world.receive(&mailbox).await;
    let records = &world.engine.ports.records;
    let answered = records.with_message_id(&message_id).await.expect("a store that works");
    assert_eq!(answered.iter().map(|email| &email.id).collect::<Vec<_>>(), [&sent]);
    let replies = records.replies(&message_id).await.expect("a store that works");
    assert_eq!(replies.len(), 1);
    assert_eq!(world.email(&replies[0]).await.subject, "Re: Question");
}

/// What became of an email whose content the server took and whose answer was lost.
struct Lost {
    world: World,
    mailbox: MailboxId,
    profile: EmailServerProfile,
    from: Account,
    to: Account,
    id: EmailId,
}

/// Sends an email through a proxy that loses the answer to the content.
async fn lose_answer(unknown_outcome: UnknownOutcome, mischief: fn(u64) -> Mischief) -> Lost {
    let (from, to) = (account(), account());
    let port = stack().mail.submissions;
    let email = Outbound { to: &[&to.address], ..Outbound::default() };
    // The same session once undisturbed: its last turn is the goodbye, and the one before hands over the content.
    let turns = {
        let proxy = Proxy::start(port, Mischief::Delay(Duration::ZERO)).await;
        let world = World::new();
        let location = build::location("localhost", proxy.port(), Security::Tls);
        let mailbox = world.mailbox(&from, &outgoing_at(location, &from)).await;
        world.pend(&mailbox, &email).await;
        world.send(&mailbox).await;
        to.wait_for_files(1).await;
        to.remove_all().await;
        proxy.counts.turns.load(Ordering::Relaxed)
    };
    let world = World::new();
    let proxy = Proxy::start(port, mischief(turns - 1)).await;
    let mut profile = outgoing_at(build::location("localhost", proxy.port(), Security::Tls), &from);
    profile.unknown_outcome = unknown_outcome;
    profile.connection_timeout_seconds = 1;
    build::internet_mail(&mut profile).incoming =
        Some(IncomingServer { protocol: IncomingProtocol::Imap, location: Server::Imaps.location() });
    let mailbox = world.mailbox(&from, &profile).await;
    let id = world.pend(&mailbox, &email).await;
    world.run(&mailbox, OUTGOING).await;
    let unknown = world.email(&id).await;
    assert_eq!(unknown.status, EmailStatus::Sending);
    let outgoing = unknown.outgoing.as_ref().expect("an outgoing email");
    assert_eq!(outgoing.outcome_unknown, [build::address(&to.address)]);
    assert!(outgoing.note.as_ref().is_some_and(|note| note.contains("No answer says whether")), "{:?}", outgoing.note);
    let state = world.state(&mailbox, OUTGOING).await;
    assert_eq!((state.enabled, state.transient_failure_count), (true, 1));
    check_arrived(&world, &id, &to, 1).await;
    build::internet_mail(&mut profile).outgoing = Some(build::location("localhost", port, Security::Tls));
    world.put_profile(&profile).await;
    Lost { world, mailbox, profile, from, to, id }
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_the_copy_in_the_sent_folder() {
    let Lost { world, mailbox, from, to, id, .. } = lose_answer(UnknownOutcome::Hold, Mischief::LoseReply).await;
    let raw = world.engine.ports.bodies.get(&world.email(&id).await.raw_key, u64::MAX).await.expect("a store");
    from.deliver_sent(&raw.expect("the email's content"));
    world.send(&mailbox).await;
    let email = world.email(&id).await;
    assert_eq!(email.status, EmailStatus::Sent);
    let outgoing = email.outgoing.as_ref().expect("an outgoing email");
    assert!(outgoing.outcome_unknown.is_empty());
    assert!(outgoing.note.as_ref().is_some_and(|note| note.contains("found in the Sent folder")));
    check_arrived(&world, &id, &to, 1).await;
}

#[tokio::test]
async fn a_lost_answer_without_a_copy_is_left_to_a_person_where_the_profile_says_hold() {
    let Lost { world, mailbox, to, id, .. } = lose_answer(UnknownOutcome::Hold, Mischief::HoldReply).await;
    world.send(&mailbox).await;
    let email = world.email(&id).await;
    assert_eq!(email.status, EmailStatus::Failed);
    let note = email.outgoing.and_then(|outgoing| outgoing.note).expect("a note");
    assert!(note.contains("may or may not have been sent"), "{note}");
    world.send(&mailbox).await;
    check_arrived(&world, &id, &to, 1).await;
}

#[tokio::test]
async fn a_lost_answer_without_a_copy_is_sent_again_where_the_profile_says_so() {
    let Lost { world, mailbox, to, id, .. } = lose_answer(UnknownOutcome::SendAgain, Mischief::LoseReply).await;
    world.send(&mailbox).await;
    assert_eq!(world.email(&id).await.status, EmailStatus::PendingSend);
    let waiting = world.engine.ports.queue.waiting(OUTGOING);
    assert!(waiting.iter().any(|(_, delay)| *delay == GO_ON_SECONDS), "at once: {waiting:?}");
    world.send(&mailbox).await;
    assert_eq!(world.email(&id).await.status, EmailStatus::Sent);
    check_arrived(&world, &id, &to, 2).await;
}

#[tokio::test]
async fn a_lost_answer_stays_unknown_while_the_sent_folder_cannot_be_asked() {
    let Lost { world, mailbox, mut profile, id, .. } =
        lose_answer(UnknownOutcome::SendAgain, Mischief::LoseReply).await;
    let silent = Proxy::start(Server::Imaps.port(), Mischief::Stall).await;
    let reachable = build::internet_mail(&mut profile).incoming.clone();
    let location = Server::Imaps.at_port(silent.port());
    build::internet_mail(&mut profile).incoming = Some(IncomingServer { protocol: IncomingProtocol::Imap, location });
    world.put_profile(&profile).await;
    world.send(&mailbox).await;
    let email = world.email(&id).await;
    assert_eq!(email.status, EmailStatus::Sending);
    assert!(email.outgoing.is_some_and(|outgoing| outgoing.next_attempt.is_some_and(|at| at > now())));
    build::internet_mail(&mut profile).incoming = reachable;
    world.put_profile(&profile).await;
    world.send(&mailbox).await;
    assert_eq!(world.email(&id).await.status, EmailStatus::PendingSend);
}
