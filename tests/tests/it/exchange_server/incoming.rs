//! Incoming email by synchronization.

use std::time::Duration;

use end_to_end::{
    letter::Letter,
    on_premises::{OnPremises, PASSWORD, address, impersonating, profile, with},
    world::pass,
};
use mailrail_domain::{
    email::{quarantine::QuarantineReason, record::EmailStatus},
    rules::passing_over::ASK_AGAIN_SECONDS,
    settings::profile::EmailServerProfile,
    words::{cause::Cause, policy::GAP_SECONDS},
};
use mailrail_engine::{limits::WHOLE_MESSAGE_BYTES_MAX, ports::BodyStore};
use mailrail_test_support::{
    ews::{Answer, Fault, Kind},
    proxy::{Mischief, Proxy},
};

use super::INCOMING;

#[tokio::test]
async fn what_is_in_the_inbox_becomes_records_with_every_byte() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    let letters: Vec<Letter> = (0..123).map(|n| Letter::new(&format!("letter {n:04}"))).collect();
    for letter in &letters {
        there.deliver("ada", letter);
    }
    let emails = there.received(&mailbox).await;
    assert_eq!(emails.len(), letters.len());
    for email in &emails {
        let raw = there.world.engine.ports.bodies.get(&email.raw_key, u64::MAX).await.expect("a store that works");
        let letter = letters.iter().find(|letter| letter.subject == email.subject).expect("its letter");
        assert_eq!(raw.expect("the raw message"), letter.raw());
        assert_eq!((email.received_at, email.status), (letter.at, EmailStatus::Received));
    }
    assert!(there.server.exchange().count("GetItem") < 10, "messages are read several at once");
}

#[tokio::test]
async fn an_idle_check_is_one_request_and_a_new_message_two() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    there.deliver("ada", &Letter::new("first"));
    there.receive(&mailbox).await;
    for _ in 0..3 {
        let before = there.requests();
        there.receive(&mailbox).await;
        assert_eq!(there.requests() - before, 1);
    }
    let before = there.requests();
    there.deliver("ada", &Letter::new("second"));
    there.receive(&mailbox).await;
    assert_eq!(there.requests() - before, 2);
    assert_eq!(there.subjects(&mailbox).await, ["first", "second"]);
}

#[tokio::test]
async fn changes_moves_and_deletions_read_nothing_again_and_remove_nothing() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    let numbers: Vec<usize> = (0..3).map(|n| there.deliver("ada", &Letter::new(&format!("letter {n}")))).collect();
    there.receive(&mailbox).await;
    let moved = {
        let mut exchange = there.server.exchange();
        let inside = exchange.mailbox(&address("ada"));
        inside.touch(numbers[0]);
        inside.delete(numbers[1]);
        inside.move_to(numbers[2], "deleteditems").expect("a message")
    };
    let before = there.requests();
    there.receive(&mailbox).await;
    assert_eq!((there.requests() - before, there.world.emails(&mailbox).await.len()), (1, 3));
    there.server.exchange().mailbox(&address("ada")).move_to(moved, "inbox");
    there.receive(&mailbox).await;
    assert_eq!(there.world.emails(&mailbox).await.len(), 3, "a message that comes back is recognized");
}

#[tokio::test]
async fn a_state_that_is_not_known_any_more_means_reading_again_without_doubles_or_losses() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    there.deliver_all("ada", 30);
    there.receive(&mailbox).await;
    {
        let mut exchange = there.server.exchange();
        exchange.mailbox(&address("ada")).generation += 1;
        // What comes back is made anew from the store, so that its bytes are others.
        exchange.remakes_mime = true;
    }
    there.deliver("ada", &Letter::new("new"));
    assert_eq!(there.received(&mailbox).await.len(), 31);
    let before = there.requests();
    there.receive(&mailbox).await;
    assert_eq!(there.requests() - before, 1);
}

#[tokio::test]
async fn pages_follow_one_another_and_a_run_that_is_cut_off_goes_on_where_they_ended() {
    let there = OnPremises::new().await;
    there.server.exchange().page_changes = 60;
    let mailbox = there.mailbox("ada").await;
    let subjects = there.deliver_all("ada", 200);
    there.fault(Fault { after: 5, ..Fault::of("GetItem", Answer::Fault("ErrorMailboxStoreUnavailable", None)) });
    there.world.run(&mailbox, INCOMING).await;
    let done = there.world.emails(&mailbox).await.len();
    assert!((60..200).contains(&done), "{done}");
    assert_eq!(there.world.state(&mailbox, INCOMING).await.transient_failure_count, 1);
    pass(GAP_SECONDS.into());
    there.receive(&mailbox).await;
    assert_eq!(there.subjects(&mailbox).await, subjects);
}

#[tokio::test]
async fn a_server_that_is_busy_in_the_middle_of_a_page_loses_and_doubles_nothing() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    let subjects = there.deliver_all("ada", 40);
    there.fault(Fault::of("GetItem", Answer::Part(17, "ErrorServerBusy", Some(600_000))));
    there.world.run(&mailbox, INCOMING).await;
    assert_eq!(there.world.emails(&mailbox).await.len(), 17, "those before it are done");
    let state = there.world.state(&mailbox, INCOMING).await;
    let wait = state.postponed_until.expect("a wait") - state.last_run.expect("a run");
    assert!((600..630).contains(&wait.num_seconds()), "{wait}");
    assert_eq!(state.transient_failure_count, 0, "the server answered: no try is spent");
    pass(660);
    there.receive(&mailbox).await;
    assert_eq!(there.subjects(&mailbox).await, subjects);
}

/// Ten thousand messages of a server that is busy now and then: each once, and no time waited in the function.
#[tokio::test]
async fn ten_thousand_messages_of_a_busy_server_come_once_each() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    let subjects = there.deliver_all("ada", 10_000);
    for n in 1..=12 {
        let answer = match n % 3 {
            0 => Answer::Fault("ErrorServerBusy", Some(120_000)),
            1 => Answer::Part(9, "ErrorServerBusy", Some(90_000)),
            _ => Answer::Http(503, "text/html", "<html>Service Unavailable</html>".to_owned(), vec![]),
        };
        // A page has more than the server takes in one run.
        there.fault(Fault { after: 10 * n, ..Fault::of("GetItem", answer) });
    }
    let mut runs = 0;
    while there.world.emails(&mailbox).await.len() < subjects.len() {
        there.world.run(&mailbox, INCOMING).await;
        pass(GAP_SECONDS.into());
        runs += 1;
        assert!(runs < 40, "{} of {}", there.world.emails(&mailbox).await.len(), subjects.len());
    }
    assert!(there.server.exchange().faults.is_empty(), "every fault was met");
    assert_eq!(there.subjects(&mailbox).await, subjects);
    assert!(there.world.state(&mailbox, INCOMING).await.enabled);
}

/// A message at which the server fails must not block those behind it, wherever it stands and whatever is done before it.
#[tokio::test]
async fn a_message_at_which_the_server_fails_on_and_on_is_passed_over_and_blocks_nobody() {
    for (place, deletes) in [(0, false), (7, false), (39, false), (7, true)] {
        let there = OnPremises::with(EmailServerProfile { delete_after_processing: deletes, ..profile() }).await;
        let mailbox = there.mailbox("ada").await;
        let mut subjects = there.deliver_all("ada", place);
        let failing = there.deliver("ada", &Letter::new("failing"));
        {
            let mut exchange = there.server.exchange();
            let inside = exchange.mailbox(&address("ada"));
            inside.messages.get_mut(&failing).expect("a message").kind = Kind::Failing;
        }
        for n in 0..40 - place {
            let letter = Letter::new(&format!("letter {:05}", place + n));
            there.deliver("ada", &letter);
            subjects.push(letter.subject);
        }
        for _ in 0..18 {
            there.world.run(&mailbox, INCOMING).await;
            pass(GAP_SECONDS.into());
        }
        there.receive(&mailbox).await;
        assert_eq!(there.subjects(&mailbox).await, subjects, "{place}");
        let quarantined = there.world.quarantined(&mailbox).await;
        assert_eq!(quarantined.len(), 1, "{place}");
        let fetched = there.server.exchange().count("GetItem");
        assert!(deletes || fetched < 60, "what is done is not read again: {fetched} requests");
        assert!(there.world.state(&mailbox, INCOMING).await.enabled, "{place}");
    }
}

#[tokio::test]
async fn what_a_server_has_not_processed_after_a_failure_is_asked_for_again() {
    for code in ["ErrorMailboxStoreUnavailable", "ErrorOfTomorrow"] {
        let there = OnPremises::new().await;
        let mailbox = there.mailbox("ada").await;
        let subjects = there.deliver_all("ada", 20);
        there.fault(Fault::of("GetItem", Answer::Stopped(5, code)));
        there.world.run(&mailbox, INCOMING).await;
        assert_eq!(there.world.emails(&mailbox).await.len(), 5, "{code}");
        pass(GAP_SECONDS.into());
        there.receive(&mailbox).await;
        assert_eq!(there.world.quarantined(&mailbox).await, [], "{code}");
        assert_eq!(there.world.emails(&mailbox).await.len(), subjects.len(), "{code}");
    }
}

#[tokio::test]
async fn a_message_that_is_gone_when_it_is_read_is_passed_over() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    there.deliver_all("ada", 3);
    there.fault(Fault::of("GetItem", Answer::Part(1, "ErrorItemNotFound", None)));
    there.receive(&mailbox).await;
    assert_eq!(there.world.emails(&mailbox).await.len(), 2);
    assert_eq!(there.world.quarantined(&mailbox).await, []);
}

#[tokio::test]
async fn items_of_every_kind_are_read_and_those_without_content_are_put_into_quarantine() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    let kinds = [Kind::MeetingRequest, Kind::Report, Kind::Other, Kind::Unconvertible, Kind::Empty, Kind::Message];
    for (n, kind) in kinds.into_iter().enumerate() {
        let letter = Letter::new(&format!("item {n} with \u{1} and \u{fffe}"));
        let number = there.deliver("ada", &letter);
        let mut exchange = there.server.exchange();
        exchange.mailbox(&address("ada")).messages.get_mut(&number).expect("a message").kind = kind;
    }
    there.server.exchange().has_fractions = true;
    there.receive(&mailbox).await;
    assert_eq!(there.world.emails(&mailbox).await.len(), 4);
    let quarantined = there.world.quarantined(&mailbox).await;
    let details: Vec<&str> = quarantined.iter().map(|one| one.detail.as_str()).collect();
    assert!(quarantined.iter().all(|one| one.reason == QuarantineReason::NotHandedOut), "{details:?}");
    assert!(details.iter().any(|detail| detail.contains("ErrorContentConversionFailed")), "{details:?}");
    assert!(details.iter().any(|detail| detail.contains("without its content")), "{details:?}");
    assert_eq!(details.len(), 2);
}

#[tokio::test]
async fn a_code_that_nobody_knows_of_one_message_does_not_stop_the_others() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    there.deliver_all("ada", 5);
    there.fault(Fault::of("GetItem", Answer::Part(2, "ErrorOfTomorrow", None)));
    there.receive(&mailbox).await;
    assert_eq!(there.world.emails(&mailbox).await.len(), 4);
    assert!(there.world.quarantined(&mailbox).await[0].detail.contains("ErrorOfTomorrow"));
}

#[tokio::test]
async fn a_fault_that_nobody_knows_is_no_messages_and_is_tried_again() {
    let fault = "<s:Envelope xmlns:s='e'><s:Body><s:Fault><faultcode>s:ErrorOfTomorrow</faultcode></s:Fault></s:Body></s:Envelope>";
    for answer in [Answer::Fault("ErrorOfTomorrow", None), Answer::Http(200, "text/xml", fault.to_owned(), vec![])] {
        let there = OnPremises::new().await;
        let mailbox = there.mailbox("ada").await;
        there.deliver_all("ada", 5);
        there.fault(Fault::of("GetItem", answer));
        there.world.run(&mailbox, INCOMING).await;
        assert_eq!(there.open_alerts(&mailbox).await[0].cause, Some(Cause::Unknown));
        assert_eq!(there.world.quarantined(&mailbox).await, []);
        pass(GAP_SECONDS.into());
        assert_eq!(there.received(&mailbox).await.len(), 5);
    }
}

#[tokio::test]
async fn tracked_folders_are_read_besides_the_inbox() {
    let folders = vec!["Projects/O'Hara & <Co>".to_owned(), "Not there".to_owned()];
    let there = OnPremises::with(with(profile(), |server| server.tracked_folders = folders)).await;
    let mailbox = there.mailbox("ada").await;
    let folder = {
        let mut exchange = there.server.exchange();
        let inside = exchange.mailbox(&address("ada"));
        let projects = inside.add_folder("Projects", "inbox");
        inside.add_folder("O'Hara & <Co>", &projects)
    };
    there.deliver("ada", &Letter::new("in the inbox"));
    there.deliver_to("ada", &folder, &Letter::new("in the folder"));
    there.receive(&mailbox).await;
    assert_eq!(there.subjects(&mailbox).await, ["in the folder", "in the inbox"]);
    assert_eq!(there.states(&mailbox).await.len(), 2);
    // The folder that is there is known by its identifier; the other is looked for again.
    let before = there.requests();
    there.receive(&mailbox).await;
    assert_eq!(there.requests() - before, 3);
    // Somebody deletes it, and makes it anew.
    there.server.exchange().mailbox(&address("ada")).folders.remove(&folder);
    there.receive(&mailbox).await;
    assert_eq!(there.states(&mailbox).await.len(), 1);
    let folder = {
        let mut exchange = there.server.exchange();
        let inside = exchange.mailbox(&address("ada"));
        let projects = inside.folder_named("Projects").expect("a folder");
        inside.add_folder("O'Hara & <Co>", &projects)
    };
    there.deliver_to("ada", &folder, &Letter::new("in the new folder"));
    there.receive(&mailbox).await;
    assert_eq!(there.subjects(&mailbox).await, ["in the folder", "in the inbox", "in the new folder"]);
}

#[tokio::test]
async fn a_message_too_large_to_hold_is_streamed_and_those_around_it_come_too() {
    let there = OnPremises::new().await;
    let mailbox = there.mailbox("ada").await;
    let bytes = usize::try_from(WHOLE_MESSAGE_BYTES_MAX).expect("a size") + 3 * 1024 * 1024;
    let line = [b"x".repeat(76), b"\r\n".to_vec()].concat();
    let large = Letter::new("large").body(line.repeat(bytes / line.len()));
    there.deliver("ada", &Letter::new("before"));
    there.deliver("ada", &large);
    there.deliver("ada", &Letter::new("after"));
    there.receive(&mailbox).await;
    assert_eq!(there.subjects(&mailbox).await, ["after", "before", "large"]);
    let emails = there.world.emails(&mailbox).await;
    let email = emails.iter().find(|email| email.subject == "large").expect("the large one");
    assert!(there.world.object(&email.raw_key).await == large.raw(), "every byte");
}

#[tokio::test]
async fn a_message_that_cannot_be_deleted_stays_and_stops_nobody() {
    let there = OnPremises::with(EmailServerProfile { delete_after_processing: true, ..profile() }).await;
    let mailbox = there.mailbox("ada").await;
    there.deliver_all("ada", 10);
    there.fault(Fault::of("DeleteItem", Answer::Part(3, "ErrorCannotDeleteObject", None)));
    there.receive(&mailbox).await;
    assert_eq!(there.world.emails(&mailbox).await.len(), 10);
    assert!(there.world.state(&mailbox, INCOMING).await.enabled);
    there.deliver("ada", &Letter::new("later"));
    there.receive(&mailbox).await;
    assert_eq!(there.world.emails(&mailbox).await.len(), 11);
}

/// Somebody marks a large mailbox as read.
#[tokio::test]
async fn changes_without_a_message_are_passed_over_in_as_many_runs_as_they_take() {
    let there = OnPremises::new().await;
    there.server.exchange().page_changes = 5;
    let mailbox = there.mailbox("ada").await;
    let number = there.deliver("ada", &Letter::new("first"));
    there.receive(&mailbox).await;
    for _ in 0..1_200 {
        there.server.exchange().mailbox(&address("ada")).touch(number);
    }
    there.deliver("ada", &Letter::new("second"));
    for _ in 0..3 {
        there.receive(&mailbox).await;
    }
    assert_eq!(there.subjects(&mailbox).await, ["first", "second"]);
}

#[tokio::test]
async fn messages_that_cannot_be_processed_are_moved_to_a_folder_that_is_remembered() {
    for profile in [profile(), impersonating()] {
        let there = OnPremises::with(with(profile, |server| server.move_undeliverable = true)).await;
        let mailbox = there.mailbox("ada").await;
        let unreadable = |there: &OnPremises, n: usize| {
            let number = there.deliver("ada", &Letter::new(&format!("unreadable {n}")));
            let mut exchange = there.server.exchange();
            let inside = exchange.mailbox(&address("ada"));
            inside.messages.get_mut(&number).expect("a message").kind = Kind::Unconvertible;
        };
        let moved = |there: &OnPremises| {
            let mut exchange = there.server.exchange();
            let inside = exchange.mailbox(&address("ada"));
            let folder = inside.folder_named("Undeliverable");
            (folder.map_or(0, |folder| inside.of_folder(&folder).len()), inside.of_folder("inbox").len())
        };
        there.deliver("ada", &Letter::new("good"));
        unreadable(&there, 1);
        there.receive(&mailbox).await;
        assert_eq!(moved(&there), (0, 2), "it may come yet");
        pass(ASK_AGAIN_SECONDS.into());
        there.receive(&mailbox).await;
        assert_eq!(moved(&there), (1, 1));
        assert_eq!(there.world.quarantined(&mailbox).await.len(), 1);
        let known = there.world.state(&mailbox, INCOMING).await.learned.undeliverable_folder;
        assert!(known.is_some());
        unreadable(&there, 2);
        there.deliver("ada", &Letter::new("as good"));
        there.receive(&mailbox).await;
        pass(ASK_AGAIN_SECONDS.into());
        there.receive(&mailbox).await;
        assert_eq!((moved(&there), there.server.exchange().count("CreateFolder")), ((2, 2), 1));
        assert_eq!(there.world.state(&mailbox, INCOMING).await.learned.undeliverable_folder, known);
        // Somebody deletes the folder: a new one is made.
        {
            let mut exchange = there.server.exchange();
            let inside = exchange.mailbox(&address("ada"));
            let folder = inside.folder_named("Undeliverable").expect("the folder");
            inside.folders.remove(&folder);
        }
        unreadable(&there, 3);
        there.deliver("ada", &Letter::new("no worse"));
        there.receive(&mailbox).await;
        pass(ASK_AGAIN_SECONDS.into());
        there.receive(&mailbox).await;
        assert_eq!(moved(&there), (1, 3));
        // A server that does not move them is no failure of the mailbox.
        unreadable(&there, 4);
        there.deliver("ada", &Letter::new("the last"));
        there.receive(&mailbox).await;
        pass(ASK_AGAIN_SECONDS.into());
        there.fault(Fault::of("MoveItem", Answer::Fault("ErrorMoveCopyFailed", None)));
        there.receive(&mailbox).await;
        assert_eq!(there.world.quarantined(&mailbox).await.len(), 4);
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_anywhere_loses_and_doubles_nothing() {
    const MESSAGES: usize = 20;
    for cut in (1..=10).map(|n| n * 4_000) {
        let there = OnPremises::new().await;
        let proxy = Proxy::start(there.server.port(), Mischief::CutAfter(cut)).await;
        let there = there.moved_to(proxy.port()).await;
        let mailbox = there.mailbox("ada").await;
        for n in 0..MESSAGES {
            there.deliver("ada", &Letter::new(&format!("{n:02}")).body("A line.\r\n".repeat(200)));
        }
        let mut failures = 0;
        for _ in 0..9 {
            there.world.run(&mailbox, INCOMING).await;
            failures += usize::from(there.world.state(&mailbox, INCOMING).await.transient_failure_count > 0);
            pass(GAP_SECONDS.into());
        }
        assert!(failures > 0, "nothing was cut after {cut}");
        proxy.turn_to(Mischief::Delay(Duration::ZERO));
        there.world.run(&mailbox, INCOMING).await;
        pass(GAP_SECONDS.into());
        there.receive(&mailbox).await;
        let subjects = there.subjects(&mailbox).await;
        assert_eq!(subjects.len(), MESSAGES, "cut after {cut}: {subjects:?}");
        assert_eq!(there.world.quarantined(&mailbox).await, [], "cut after {cut}");
    }
}

#[tokio::test]
async fn an_account_reads_the_mailbox_of_the_address_and_never_its_own() {
    let there = OnPremises::new().await;
    for name in ["carl", "eve", "dora"] {
        there.account(name);
    }
    there.deliver("carl", &Letter::new("private of carl"));
    there.deliver("dora", &Letter::new("for the shared mailbox"));
    there.server.exchange().mailbox(&address("dora")).full_access.insert(address("carl"));
    for (name, expected) in [("eve", None), ("dora", Some("for the shared mailbox"))] {
        let mut mailbox = mailrail_test_support::build::mailbox(name, &address(name), &there.profile);
        mailbox.username = Some(address("carl"));
        let mailbox = there.world.add(&mailbox, &there.profile, PASSWORD).await;
        there.world.run(&mailbox, INCOMING).await;
        assert_eq!(there.subjects(&mailbox).await, expected.into_iter().collect::<Vec<_>>(), "{name}");
        let causes: Vec<_> = there.open_alerts(&mailbox).await.iter().map(|alert| alert.cause).collect();
        assert_eq!(causes.is_empty(), expected.is_some(), "{name}: {causes:?}");
        assert!(causes.iter().all(|cause| *cause == Some(Cause::AccessDenied)), "{name}: {causes:?}");
    }
}
