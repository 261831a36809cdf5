//! Incoming email by delta query.

use end_to_end::{
    letter::Letter,
    online::{Online, SECRET, address, profile},
    world::{BETWEEN_RUNS_SECONDS, pass},
};
use mailrail_domain::{
    email::record::EmailStatus,
    rules::budget::{GRAPH_READS, GRAPH_READS_AT_ONCE},
    words::{id::MailboxId, policy::GAP_SECONDS},
};
use mailrail_engine::{limits::WHOLE_MESSAGE_BYTES_MAX, ports::BodyStore};
use mailrail_test_support::graph::Fault;

use super::INCOMING;

fn letters(count: usize) -> Vec<Letter> {
    (0..count).map(|n| Letter::new(&format!("letter {n:04}"))).collect()
}

fn subjects_of(letters: &[Letter]) -> Vec<String> {
    letters.iter().map(|letter| letter.subject.clone()).collect()
}

async fn subjects(online: &Online, mailbox: &MailboxId) -> Vec<String> {
    let mut subjects = online.world.subjects(mailbox).await;
    subjects.sort();
    subjects
}

#[tokio::test]
async fn what_is_in_the_inbox_becomes_records_with_every_byte() {
    let online = Online::new().await;
    let mailbox = online.mailbox("ada").await;
    let letters = letters(123);
    letters.iter().for_each(|letter| drop(online.deliver("ada", letter)));
    let emails = online.received(&mailbox).await;
    assert_eq!(subjects(&online, &mailbox).await, subjects_of(&letters));
    for email in &emails {
        let raw = online.world.engine.ports.bodies.get(&email.raw_key, u64::MAX).await.expect("a store that works");
        let letter = letters.iter().find(|letter| letter.subject == email.subject).expect("its letter");
        assert_eq!(raw.expect("the raw message"), letter.raw());
        assert_eq!((email.received_at, email.status), (letter.at, EmailStatus::Received));
    }
    let most = online.server.tenant().mailbox(&address("ada")).in_flight_most;
    assert!((2..=GRAPH_READS_AT_ONCE).contains(&most), "{most} requests at once");
}

#[tokio::test]
async fn an_idle_check_is_one_request_and_a_new_message_two() {
    let online = Online::new().await;
    let mailbox = online.mailbox("ada").await;
    online.deliver("ada", &Letter::new("first"));
    online.receive(&mailbox).await;
    for _ in 0..3 {
        let before = online.requests("ada");
        online.receive(&mailbox).await;
        assert_eq!(online.requests("ada") - before, 1);
    }
    let before = online.requests("ada");
    online.deliver("ada", &Letter::new("second"));
    online.receive(&mailbox).await;
    assert_eq!(online.requests("ada") - before, 2);
    assert_eq!(subjects(&online, &mailbox).await, ["first", "second"]);
    assert_eq!(online.server.tenant().sign_ins, 1, "the token is kept");
}

#[tokio::test]
async fn changes_moves_and_deletions_read_nothing_again_and_remove_nothing() {
    let online = Online::new().await;
    let mailbox = online.mailbox("ada").await;
    let ids: Vec<String> = letters(3).iter().map(|letter| online.deliver("ada", letter)).collect();
    online.receive(&mailbox).await;
    {
        let mut tenant = online.server.tenant();
        let there = tenant.mailbox(&address("ada"));
        there.touch(&ids[0]);
        there.delete(&ids[1]);
        there.move_to(&ids[2], "deleteditems");
    }
    let before = online.requests("ada");
    online.receive(&mailbox).await;
    assert_eq!(online.requests("ada") - before, 1);
    assert_eq!(online.world.emails(&mailbox).await.len(), 3);
    online.server.tenant().mailbox(&address("ada")).move_to(&ids[2], "inbox");
    online.receive(&mailbox).await;
    assert_eq!(online.world.emails(&mailbox).await.len(), 3, "a message that comes back is recognized");
}

#[tokio::test]
async fn a_link_that_is_not_known_any_more_means_reading_again_without_doubles_or_losses() {
    for fault in [None, Some("SyncStateNotFound"), Some("resyncRequired")] {
        let online = Online::new().await;
        let mailbox = online.mailbox("ada").await;
        letters(30).iter().for_each(|letter| drop(online.deliver("ada", letter)));
        online.receive(&mailbox).await;
        match fault {
            None => online.server.tenant().mailbox(&address("ada")).generation += 1,
            Some(code) => online.server.tenant().faults.push_back(Fault::of("/delta", 400, code)),
        }
        online.deliver("ada", &Letter::new("new"));
        let emails = online.received(&mailbox).await;
        assert_eq!(emails.len(), 31, "{fault:?}");
        let before = online.requests("ada");
        online.receive(&mailbox).await;
        assert_eq!(online.requests("ada") - before, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_run_that_is_cut_off_goes_on_where_its_pages_ended() {
    let online = Online::new().await;
    let mailbox = online.mailbox("ada").await;
    let letters = letters(200);
    letters.iter().for_each(|letter| drop(online.deliver("ada", letter)));
    let fault = Fault { after: 120, ..Fault::of("$value", 503, "serviceNotAvailable") };
    online.server.tenant().faults.push_back(fault);
    online.world.run(&mailbox, INCOMING).await;
    let done = online.world.emails(&mailbox).await.len();
    assert!((100..130).contains(&done), "{done}");
    assert_eq!(online.world.state(&mailbox, INCOMING).await.transient_failure_count, 1);
    let before = online.requests("ada");
    pass(GAP_SECONDS.into());
    online.receive(&mailbox).await;
    assert_eq!(subjects(&online, &mailbox).await, subjects_of(&letters));
    let again = online.requests("ada") - before;
    assert!(again <= 200 - done + 55, "at most a page is read again: {again} requests");
}

#[tokio::test]
async fn a_message_at_which_the_server_fails_on_and_on_is_passed_over_and_blocks_nobody() {
    let online = Online::new().await;
    let mailbox = online.mailbox("ada").await;
    let letters = letters(20);
    let ids: Vec<String> = letters.iter().map(|letter| online.deliver("ada", letter)).collect();
    for _ in 0..12 {
        // The server fails at the eighth whenever it is asked for, and at nothing else.
        let path = ids[7].trim_end_matches('=').to_owned();
        online.server.tenant().faults.clear();
        online.server.tenant().faults.push_back(Fault::of(&path, 500, "ErrorInternalServerError"));
        online.world.run(&mailbox, INCOMING).await;
        pass(GAP_SECONDS.into());
    }
    online.server.tenant().faults.clear();
    online.receive(&mailbox).await;
    assert_eq!(online.world.emails(&mailbox).await.len(), 19);
    assert_eq!(online.world.quarantined(&mailbox).await.len(), 1);
}

#[tokio::test]
async fn a_message_that_is_gone_when_it_is_read_is_passed_over() {
    let online = Online::new().await;
    let mailbox = online.mailbox("ada").await;
    let letters = letters(3);
    letters.iter().for_each(|letter| drop(online.deliver("ada", letter)));
    online.server.tenant().faults.push_back(Fault::of("$value", 404, "ErrorItemNotFound"));
    online.receive(&mailbox).await;
    assert_eq!(online.world.emails(&mailbox).await.len(), 2);
    assert_eq!(online.world.quarantined(&mailbox).await, []);
}

#[tokio::test]
async fn tracked_folders_are_read_besides_the_inbox_and_an_idle_check_of_all_is_one_request() {
    let mut with_folders = profile();
    mailrail_test_support::build::exchange_online(&mut with_folders).tracked_folders =
        vec!["Projects/O'Hara".to_owned(), "Not there".to_owned()];
    let online = Online::with(with_folders, SECRET).await;
    let mailbox = online.mailbox("ada").await;
    let (folder, other) = {
        let mut tenant = online.server.tenant();
        let there = tenant.mailbox(&address("ada"));
        let projects = there.add_folder("Projects", "inbox");
        (there.add_folder("O'Hara", &projects), there.add_folder("Other", "inbox"))
    };
    online.deliver("ada", &Letter::new("in the inbox"));
    let tracked = online.deliver_to("ada", &folder, &Letter::new("in the folder"));
    online.deliver_to("ada", &other, &Letter::new("elsewhere"));
    online.receive(&mailbox).await;
    assert_eq!(subjects(&online, &mailbox).await, ["in the folder", "in the inbox"]);
    assert_eq!(online.links(&mailbox).await.len(), 2);
    online.server.tenant().mailbox(&address("ada")).move_to(&tracked, "inbox");
    online.receive(&mailbox).await;
    assert_eq!(online.world.emails(&mailbox).await.len(), 2, "a moved message is recognized");
    online.server.tenant().calls.clear();
    online.receive(&mailbox).await;
    let calls = online.server.tenant().calls.clone();
    // The folder that is not there is looked for each time, lest its making is missed.
    let paths: Vec<&str> = calls.iter().map(|(_, path)| path.rsplit('/').next().unwrap_or_default()).collect();
    assert_eq!(paths, ["childFolders", "$batch"]);

    online.server.tenant().mailbox(&address("ada")).folders.remove(&folder);
    online.deliver("ada", &Letter::new("after the folder was deleted"));
    online.receive(&mailbox).await;
    assert_eq!(online.world.emails(&mailbox).await.len(), 3);
    assert_eq!(online.links(&mailbox).await.len(), 1);
}

#[tokio::test]
async fn messages_are_deleted_in_batches_where_the_profile_says_so_and_each_part_has_its_own_outcome() {
    // Each of the 45 is read before one is deleted, so that the fault meets a part of a batch.
    for (code, status, succeeds, left) in [("ErrorItemNotFound", 404, true, 1), ("ErrorServerBusy", 503, false, 1)] {
        let mut deleting = profile();
        deleting.delete_after_processing = true;
        let online = Online::with(deleting, SECRET).await;
        let mailbox = online.mailbox("queue").await;
        letters(45).iter().for_each(|letter| drop(online.deliver("queue", letter)));
        let fault = Fault { after: 48, ..Fault::of("/messages/AAkA", status, code) };
        online.server.tenant().faults.push_back(fault);
        online.world.run(&mailbox, INCOMING).await;
        let state = online.world.state(&mailbox, INCOMING).await;
        assert_eq!(state.transient_failure_count == 0, succeeds, "{code}: what is gone already is as good as deleted");
        assert_eq!(online.world.emails(&mailbox).await.len(), 45, "{code}");
        let there = |online: &Online| online.server.tenant().mailbox(&address("queue")).of_folder("inbox").len();
        assert_eq!(there(&online), left, "{code}");
        let batches = online.server.tenant().calls.iter().filter(|(_, path)| path.ends_with("$batch")).count();
        assert_eq!(batches, 3, "{code}");
        if !succeeds {
            pass(GAP_SECONDS.into());
            online.receive(&mailbox).await;
            assert_eq!((online.world.emails(&mailbox).await.len(), there(&online)), (45, 0), "read again, and deleted");
        }
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_to_hold_is_streamed() {
    let online = Online::new().await;
    let mailbox = online.mailbox("ada").await;
    let size = usize::try_from(WHOLE_MESSAGE_BYTES_MAX).expect("a size") + 1024 * 1024;
    let body = "A line of a long text.\r\n".repeat(size / 24);
    let letter = Letter::new("large").body(body);
    online.deliver("ada", &letter);
    online.deliver("ada", &Letter::new("small"));
    online.receive(&mailbox).await;
    assert_eq!(subjects(&online, &mailbox).await, ["large", "small"]);
    let emails = online.world.emails(&mailbox).await;
    let large = emails.iter().find(|email| email.subject == "large").expect("the large one");
    let raw = online.world.engine.ports.bodies.get(&large.raw_key, u64::MAX).await.expect("a store that works");
    assert_eq!(raw.expect("the raw message").len(), letter.raw().len());
}

#[tokio::test]
async fn a_mailbox_makes_no_more_requests_in_ten_minutes_than_its_budget_has_and_waits_without_an_alert() {
    let online = Online::new().await;
    let mailbox = online.mailbox("ada").await;
    letters(10_000).iter().for_each(|letter| drop(online.deliver("ada", letter)));
    // Runs one after another, as quickly as the queue brings them.
    for _ in 0..20 {
        online.world.run(&mailbox, INCOMING).await;
        pass(-BETWEEN_RUNS_SECONDS);
    }
    let budget = usize::try_from(GRAPH_READS.limit).expect("a number");
    let (requests, done) = (online.requests("ada"), online.world.emails(&mailbox).await.len());
    assert!((budget * 8 / 10..=budget).contains(&requests), "{requests} requests for {done} messages");
    let state = online.world.state(&mailbox, INCOMING).await;
    assert!(state.enabled && state.postponed_until.is_some(), "{state:?}");
    assert!(state.backlog > 0 && state.done_until.is_some(), "it shows that there is more, and since when: {state:?}");
    assert_eq!(online.open_alerts(&mailbox).await, []);
    pass(i64::from(GRAPH_READS.seconds));
    online.server.tenant().faults.push_back(Fault::of("/delta", 503, "serviceNotAvailable"));
    online.world.run(&mailbox, INCOMING).await;
    let failed = online.world.state(&mailbox, INCOMING).await;
    assert_eq!(failed.transient_failure_count, 1);
    assert_eq!((failed.backlog, failed.done_until), (state.backlog, state.done_until), "nobody knows better");
    assert!(failed.spent.is_some_and(|spent| spent.amount > 0), "the request that failed is spent: {failed:?}");
    pass(BETWEEN_RUNS_SECONDS);
    online.receive(&mailbox).await;
    assert_eq!(online.world.emails(&mailbox).await.len(), 10_000);
    let state = online.world.state(&mailbox, INCOMING).await;
    assert_eq!((state.backlog, state.done_until), (0, None));
}

#[tokio::test]
async fn ten_thousand_messages_of_a_throttled_server_come_through_once_each_and_no_function_sleeps() {
    let online = Online::new().await;
    let mailbox = online.mailbox("ada").await;
    letters(10_000).iter().for_each(|letter| drop(online.deliver("ada", letter)));
    online.server.tenant().throttle_each = (1_500, 420);
    let (mut runs, mut throttled) = (0, 0);
    while online.world.emails(&mailbox).await.len() < 10_000 {
        online.world.run(&mailbox, INCOMING).await;
        runs += 1;
        assert!(runs < 60, "{} after {runs} runs", online.world.emails(&mailbox).await.len());
        let state = online.world.state(&mailbox, INCOMING).await;
        assert!(state.enabled && state.transient_failure_count == 0, "being throttled spends no try: {state:?}");
        if let Some(until) = state.postponed_until {
            throttled += 1;
            let wait = until - state.last_run.expect("a run");
            assert!(wait.num_seconds() >= 420 - 5, "{wait}");
            pass(420);
        }
    }
    assert!(throttled >= 5, "{throttled} of {runs} runs");
    let mut subjects = subjects(&online, &mailbox).await;
    subjects.dedup();
    assert_eq!(subjects.len(), 10_000);
}
