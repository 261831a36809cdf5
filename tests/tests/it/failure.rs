//! Servers and networks that fail: each failure has its cause, is counted or ends the delivery, and loses nothing.

use std::{collections::BTreeSet, net::TcpListener, sync::atomic::Ordering, time::Duration};

use end_to_end::{
    letter::Letter,
    scripted::{Named, Script, Scripted, authorities},
    stack::{Account, Server, account, stack},
    world::{BETWEEN_RUNS_SECONDS, Outbound, World, incoming_at, now, outgoing_at, trusting},
};
use mailrail_domain::{
    rules::{
        classification::{Permanence, classify},
        schedule::Slot,
    },
    seconds_after,
    settings::profile::{EmailServerProfile, IncomingProtocol, Security, ServerLocation},
    words::{
        alert::{AlertStatus, Level},
        cause::{Cause, CredentialSource},
        delivery::Delivery,
        id::MailboxId,
        notice::{Notice, NoticeKind, NoticeStatus},
        policy::{FAILURES_MAX, GAP_SECONDS},
    },
};
use mailrail_engine::ports::{MailboxStore, Wake};
use mailrail_test_support::{
    build,
    proxy::{Mischief, Proxy},
};

const UNDISTURBED: Mischief = Mischief::Delay(Duration::ZERO);

/// A way to the mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Imap,
    Pop3,
    Smtp,
}

impl Way {
    const ALL: [Self; 3] = [Self::Imap, Self::Pop3, Self::Smtp];

    fn delivery(self) -> Delivery {
        match self {
            Self::Imap | Self::Pop3 => Delivery::IncomingEmail,
            Self::Smtp => Delivery::OutgoingEmail,
        }
    }

    fn port(self, security: Security) -> u16 {
        let mail = &stack().mail;
        match (self, security) {
            (Self::Imap, Security::Tls) => mail.imaps,
            (Self::Imap, Security::Starttls) => mail.imap,
            (Self::Pop3, Security::Tls) => mail.pop3s,
            (Self::Pop3, Security::Starttls) => mail.pop3,
            (Self::Smtp, Security::Tls) => mail.submissions,
            (Self::Smtp, Security::Starttls) => mail.submission,
        }
    }

    fn profile(self, location: ServerLocation, account: &Account) -> EmailServerProfile {
        let profile = match self {
            Self::Imap => incoming_at(IncomingProtocol::Imap, location, account),
            Self::Pop3 => incoming_at(IncomingProtocol::Pop3, location, account),
            Self::Smtp => outgoing_at(location, account),
        };
        EmailServerProfile { connection_timeout_seconds: 1, ..profile }
    }
}

fn here(port: u16, security: Security) -> ServerLocation {
    build::location(&stack().mail.host, port, security)
}

/// A mailbox that has something to do at a server at `location`.
async fn mailbox_at(world: &World, way: Way, location: ServerLocation) -> MailboxId {
    let account = account();
    let mailbox = world.mailbox(&account, &way.profile(location, &account)).await;
    account.deliver(&Letter::new("Waiting"));
    if way == Way::Smtp {
        world.pend(&mailbox, &Outbound { to: &[&account.address], ..Outbound::default() }).await;
    }
    mailbox
}

async fn is_due(world: &World, mailbox: &MailboxId, delivery: Delivery) -> bool {
    let state = &world.engine.ports.state;
    let wake = Wake { mailbox: mailbox.clone(), delivery };
    for interval in state.intervals().await.expect("a store that works") {
        let due = state.due(Slot::of(mailbox, delivery, interval), None).await.expect("a store that works");
        if due.wakes.contains(&wake) {
            return true;
        }
    }
    false
}

/// The delivery has failed so many times in a row, is tried again in time, and nobody was told but by one alert.
async fn check_counted(world: &World, mailbox: &MailboxId, delivery: Delivery, cause: Cause, failures: u32) {
    let state = world.state(mailbox, delivery).await;
    let seen = world.evidence(mailbox).await;
    assert_eq!((state.enabled, state.transient_failure_count), (true, failures), "{seen:?}");
    let gap = state.postponed_until.expect("a gap") - state.last_run.expect("a run");
    assert!((0..60).contains(&(gap.num_seconds() - i64::from(GAP_SECONDS))), "{gap}");
    let waiting = world.engine.ports.queue.waiting(delivery);
    let wake = Wake { mailbox: mailbox.clone(), delivery };
    assert!(waiting.last() == Some(&(wake, GAP_SECONDS)), "{waiting:?}");
    assert!(is_due(world, mailbox, delivery).await);
    let alerts = world.alerts(mailbox).await;
    let open: Vec<_> = alerts.iter().filter(|alert| alert.status == AlertStatus::Open).collect();
    assert_eq!(open.len(), 1, "{alerts:#?}");
    assert_eq!((open[0].level, open[0].cause, open[0].count), (Level::Warning, Some(cause), failures.into()));
    assert!(disablings(world).await.is_empty());
}

/// The notices of disablings; warnings before them are another test's.
async fn disablings(world: &World) -> Vec<Notice> {
    let pending = world.notices(NoticeStatus::Pending).await;
    pending.into_iter().filter(|notice| notice.kind == NoticeKind::Disabled).collect()
}

/// The delivery stopped, out of the schedule, with an alert and one notice.
async fn check_disabled(world: &World, mailbox: &MailboxId, delivery: Delivery, cause: Cause, tried: usize) {
    let state = world.state(mailbox, delivery).await;
    assert_eq!((state.enabled, state.times_disabled, state.postponed_until), (false, 1, None));
    assert_eq!(world.row(mailbox, delivery).await.interval_minutes, None);
    assert!(!is_due(world, mailbox, delivery).await);
    assert_eq!(world.engine.ports.queue.waiting(delivery).len(), tried - 1, "nothing after the last");
    let alerts = world.alerts(mailbox).await;
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    assert_eq!((alerts[0].level, alerts[0].cause), (Level::Error, Some(cause)));
    assert_eq!((alerts[0].count, alerts[0].status), (tried as u64, AlertStatus::Open));
    let notices = disablings(world).await;
    assert_eq!(notices.len(), 1);
    assert_eq!((notices[0].mailbox_id.as_ref(), notices[0].delivery), (Some(mailbox), delivery));
}

/// One run fails with this cause, and what the cause means for the delivery follows.
async fn check_failure(world: &World, way: Way, location: ServerLocation, cause: Cause, permanence: Permanence) {
    let mailbox = mailbox_at(world, way, location).await;
    world.run(&mailbox, way.delivery()).await;
    let alerts = world.alerts(&mailbox).await;
    assert_eq!(alerts.iter().map(|alert| alert.cause).collect::<Vec<_>>(), [Some(cause)], "{way:?} {alerts:#?}");
    assert_eq!(classify(cause, CredentialSource::Mailbox).permanence, permanence);
    match permanence {
        Permanence::Transient => check_counted(world, &mailbox, way.delivery(), cause, 1).await,
        Permanence::Permanent => check_disabled(world, &mailbox, way.delivery(), cause, 1).await,
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_time() {
    for way in Way::ALL {
        for security in [Security::Tls, Security::Starttls] {
            let proxy = Proxy::start(way.port(security), Mischief::Stall).await;
            let location = here(proxy.port(), security);
            let began = std::time::Instant::now();
            check_failure(&World::new(), way, location, Cause::TimedOut, Permanence::Transient).await;
            assert!(began.elapsed() < Duration::from_secs(5), "{way:?} {security:?}");
            assert_eq!(proxy.counts.connections.load(Ordering::Relaxed), 1);
        }
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_in_the_middle_is_given_up_in_time() {
    for way in Way::ALL {
        let proxy = Proxy::start(way.port(Security::Tls), Mischief::HoldReply(4)).await;
        let location = here(proxy.port(), Security::Tls);
        check_failure(&World::new(), way, location, Cause::TimedOut, Permanence::Transient).await;
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_at_once_is_tried_again() {
    for way in Way::ALL {
        for (security, cause) in [(Security::Tls, Cause::HandshakeFailed), (Security::Starttls, Cause::ConnectionLost)]
        {
            let proxy = Proxy::start(way.port(security), Mischief::Drop).await;
            check_failure(&World::new(), way, here(proxy.port(), security), cause, Permanence::Transient).await;
            assert_eq!(proxy.counts.connections.load(Ordering::Relaxed), 1);
        }
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_tried_again() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    for way in Way::ALL {
        let location = here(closed, Security::Tls);
        check_failure(&World::new(), way, location, Cause::ConnectionRefused, Permanence::Transient).await;
    }
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_tried_again() {
    for way in Way::ALL {
        let location = build::location("nowhere.invalid", 993, Security::Tls);
        check_failure(&World::new(), way, location, Cause::HostNotFound, Permanence::Transient).await;
    }
}

#[tokio::test]
async fn a_port_without_tls_where_tls_is_expected_is_no_verdict_on_the_certificate() {
    for way in Way::ALL {
        let location = here(way.port(Security::Starttls), Security::Tls);
        check_failure(&World::new(), way, location, Cause::HandshakeFailed, Permanence::Transient).await;
    }
}

#[tokio::test]
async fn a_port_with_tls_where_a_greeting_is_expected_is_given_up_in_time() {
    for way in Way::ALL {
        let location = here(way.port(Security::Tls), Security::Starttls);
        check_failure(&World::new(), way, location, Cause::TimedOut, Permanence::Transient).await;
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_for_good() {
    for way in Way::ALL {
        for security in [Security::Tls, Security::Starttls] {
            let world = World::with_tls(trusting(authorities()));
            let location = here(way.port(security), security);
            check_failure(&world, way, location, Cause::CertificateRefused, Permanence::Permanent).await;
        }
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_for_good() {
    for way in Way::ALL {
        let server = Scripted::named(Named::Wrongly, Script::new()).await;
        let world = World::with_tls(trusting(authorities()));
        check_failure(&world, way, server.location(), Cause::CertificateRefused, Permanence::Permanent).await;
    }
}

#[tokio::test]
async fn the_tenth_failure_in_a_row_disables_and_tells_the_owner_once() {
    for way in Way::ALL {
        let world = World::new();
        let proxy = Proxy::start(way.port(Security::Tls), Mischief::Drop).await;
        let mailbox = mailbox_at(&world, way, here(proxy.port(), Security::Tls)).await;
        let began = now();
        for failures in 1..FAILURES_MAX {
            world.run(&mailbox, way.delivery()).await;
            check_counted(&world, &mailbox, way.delivery(), Cause::HandshakeFailed, failures).await;
            assert_eq!(world.engine.ports.queue.waiting(way.delivery()).len(), failures as usize);
            assert_eq!(proxy.counts.connections.load(Ordering::Relaxed), failures as usize, "one to a run");
        }
        world.run(&mailbox, way.delivery()).await;
        let tried = FAILURES_MAX as usize;
        check_disabled(&world, &mailbox, way.delivery(), Cause::HandshakeFailed, tried).await;
        let notice = disablings(&world).await.remove(0);
        assert!(notice.text.contains("Failures in a row:    10"), "{}", notice.text);
        let first = seconds_after(began, BETWEEN_RUNS_SECONDS);
        let since = world.state(&mailbox, way.delivery()).await.failing_since.expect("a first failure");
        assert!((since - first).num_seconds().abs() < 60, "{since} is not {first}");

        world.run(&mailbox, way.delivery()).await;
        assert_eq!(proxy.counts.connections.load(Ordering::Relaxed), tried, "what is disabled is left alone");
        assert_eq!(disablings(&world).await.len(), 1);
    }
}

#[tokio::test]
async fn a_success_ends_the_row_of_failures_and_closes_the_alert() {
    for way in Way::ALL {
        let world = World::new();
        let proxy = Proxy::start(way.port(Security::Tls), Mischief::Drop).await;
        let mailbox = mailbox_at(&world, way, here(proxy.port(), Security::Tls)).await;
        for round in 1..=2 {
            proxy.turn_to(Mischief::Drop);
            for failures in 1..FAILURES_MAX {
                if way == Way::Smtp {
                    // Without an email that is due nothing is connected to.
                    world.pend(&mailbox, &Outbound { to: &["u0001@example.test"], ..Outbound::default() }).await;
                }
                world.run(&mailbox, way.delivery()).await;
                let state = world.state(&mailbox, way.delivery()).await;
                assert_eq!((state.enabled, state.transient_failure_count), (true, failures), "{way:?} in {round}");
            }
            proxy.turn_to(UNDISTURBED);
            world.run(&mailbox, way.delivery()).await;
            let state = world.state(&mailbox, way.delivery()).await;
            assert_eq!((state.enabled, state.transient_failure_count, state.failing_since), (true, 0, None));
            assert!(state.last_success.is_some() && state.open_alerts.is_empty());
            assert!(world.alerts(&mailbox).await.iter().all(|alert| alert.status == AlertStatus::Closed));
            assert!(disablings(&world).await.is_empty());
        }
    }
}

const MESSAGES: usize = 60;

/// Disturbs a first synchronization at places all over it, each followed by an undisturbed run: every message is one
/// record, whatever the first run came to.
async fn check_disturbed(server: Server, places: u64, mischief: fn(u64) -> Mischief) {
    let account = server.account();
    for number in 0..MESSAGES {
        let letter = Letter::new(&format!("message {number:02}"));
        account.deliver(&if number % 7 == 0 { letter.body("A long line of text.\r\n".repeat(500)) } else { letter });
    }
    let proxy = Proxy::start(server.port(), UNDISTURBED).await;
    let mut profile = incoming_at(server.protocol(), server.at_port(proxy.port()), &account);
    profile.connection_timeout_seconds = 1;
    let subjects: BTreeSet<String> = {
        let world = World::new();
        let mailbox = world.mailbox(&account, &profile).await;
        world.receive(&mailbox).await;
        world.subjects(&mailbox).await.into_iter().collect()
    };
    assert_eq!(subjects.len(), MESSAGES);
    let length = proxy.counts.down.load(Ordering::Relaxed);
    let mut failed = 0;
    for number in 0..places {
        let place = length * number / places + number % 3;
        let world = World::new();
        let mailbox = world.mailbox(&account, &profile).await;
        proxy.turn_to(mischief(place));
        world.run(&mailbox, Delivery::IncomingEmail).await;
        let state = world.state(&mailbox, Delivery::IncomingEmail).await;
        let seen = world.evidence(&mailbox).await;
        assert!(state.enabled && state.transient_failure_count <= 1, "{server:?} at {place} of {length}: {seen:?}");
        failed += state.transient_failure_count;
        proxy.turn_to(UNDISTURBED);
        world.receive(&mailbox).await;
        let records = world.subjects(&mailbox).await;
        assert_eq!(records.len(), MESSAGES, "{server:?} at {place} of {length}: {seen:?}");
        assert!(records.iter().collect::<BTreeSet<_>>() == subjects.iter().collect());
        assert!(world.quarantined(&mailbox).await.is_empty());
    }
    assert!(u64::from(failed) >= places - 2, "only {failed} of {places} runs were disturbed");
}

/// Disturbs one synchronization again and again, a little later each time, until it is through.
async fn check_disturbed_on_and_on(server: Server) {
    let account = server.account();
    for number in 0..MESSAGES {
        account.deliver(&Letter::new(&format!("message {number:02}")).body("A long line of text.\r\n".repeat(200)));
    }
    let proxy = Proxy::start(server.port(), UNDISTURBED).await;
    let profile = incoming_at(server.protocol(), server.at_port(proxy.port()), &account);
    let world = World::new();
    let mailbox = world.mailbox(&account, &profile).await;
    for run in 0..8_u64 {
        proxy.turn_to(Mischief::CutAfter(8_000 + run * 30_000));
        world.run(&mailbox, Delivery::IncomingEmail).await;
        assert!(world.state(&mailbox, Delivery::IncomingEmail).await.enabled);
    }
    proxy.turn_to(UNDISTURBED);
    world.receive(&mailbox).await;
    assert_eq!(world.subjects(&mailbox).await.len(), MESSAGES);
    assert!(world.quarantined(&mailbox).await.is_empty());
}

#[tokio::test]
async fn cut_anywhere_over_imap_no_message_is_lost_or_doubled() {
    check_disturbed(Server::Imaps, 25, Mischief::CutAfter).await;
}

#[tokio::test]
async fn cut_anywhere_over_pop3_no_message_is_lost_or_doubled() {
    check_disturbed(Server::Pop3s, 25, Mischief::CutAfter).await;
}

#[tokio::test]
async fn corrupted_anywhere_over_imap_no_message_is_lost_or_doubled() {
    check_disturbed(Server::Imaps, 10, Mischief::CorruptAt).await;
}

#[tokio::test]
async fn corrupted_anywhere_over_pop3_no_message_is_lost_or_doubled() {
    check_disturbed(Server::Pop3s, 10, Mischief::CorruptAt).await;
}

#[tokio::test]
async fn cut_again_and_again_a_synchronization_still_ends_well() {
    for server in [Server::Imaps, Server::Pop3s] {
        check_disturbed_on_and_on(server).await;
    }
}
