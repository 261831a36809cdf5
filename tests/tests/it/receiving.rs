//! Messages that a server does not hand out: one message is passed over and comes later, and a server that hands out none
//! is an outage. Over hours of virtual time, against servers in memory.

use std::time::Duration;

use end_to_end::{fleet::Fleet, world::now};
use mailrail_domain::{
    email::quarantine::QuarantineReason,
    settings::hold::HoldSettings,
    words::{delivery::Delivery, id::MailboxId, notice::NoticeKind},
};
use mailrail_engine::{
    Deadline,
    access::mailbox_owner,
    batch::Handled,
    ports::{Directory, EmailRecords, PageRequest, QuarantineStore, Secret, StoredMailbox, Vault, Wake, Written},
    quarantine::Replayed,
};
use mailrail_test_support::{build, fakes::Withheld};

const KINDS: [Withheld; 2] = [Withheld::Refused, Withheld::HungUp];
const INVOCATION: Duration = Duration::from_secs(600);
/// Minutes in which ten tries are made, and more.
const TEN_TRIES: u32 = 60;

/// A mailbox with so many messages, some of which are withheld.
async fn waiting(messages: u32, withheld: &[u32], kind: Withheld) -> (Fleet, MailboxId) {
    let fleet = Fleet::of(1, HoldSettings::default()).await;
    for number in 1..=messages {
        fleet.deliver_to_all(&format!("message {number}"));
    }
    for number in withheld {
        withhold(&fleet, *number, Some(kind));
    }
    let mailbox = fleet.mailboxes[0].clone();
    (fleet, mailbox)
}

fn withhold(fleet: &Fleet, number: u32, kind: Option<Withheld>) {
    fleet.servers().withhold("m0000@example.test", number, kind);
}

async fn subjects(fleet: &Fleet, mailbox: &MailboxId) -> Vec<String> {
    let page = PageRequest { limit: 100, cursor: None };
    let emails = fleet.engine.ports.records.emails(mailbox, &page).await.expect("a store that works").items;
    let mut subjects: Vec<String> = emails.into_iter().map(|email| email.subject).collect();
    subjects.sort();
    subjects
}

async fn quarantined(fleet: &Fleet, mailbox: &MailboxId) -> Vec<(String, QuarantineReason)> {
    let page = PageRequest { limit: 100, cursor: None };
    let found = fleet.engine.ports.state.quarantined(mailbox, &page).await.expect("a store that works").items;
    found.into_iter().map(|message| (message.remote_id, message.reason)).collect()
}

#[tokio::test]
async fn a_server_that_hands_out_no_message_is_an_outage_which_disables_and_loses_nothing() {
    for kind in KINDS {
        let (fleet, mailbox) = waiting(4, &[1, 2, 3, 4], kind).await;
        fleet.minutes(24 * 60).await;
        assert!(!fleet.state(&mailbox).await.enabled, "{kind:?}");
        assert_eq!((fleet.notices(NoticeKind::Disabled).await.len(), fleet.alerts().await.len()), (1, 1), "{kind:?}");
        assert_eq!(quarantined(&fleet, &mailbox).await, [], "{kind:?}");
        for number in 1..=4 {
            withhold(&fleet, number, None);
        }
        fleet.enable(&mailbox).await;
        fleet.minutes(6).await;
        assert_eq!(subjects(&fleet, &mailbox).await, ["message 1", "message 2", "message 3", "message 4"], "{kind:?}");
    }
}

#[tokio::test]
async fn one_message_that_is_not_handed_out_keeps_no_other_and_comes_when_the_server_has_it_again() {
    for kind in KINDS {
        let (fleet, mailbox) = waiting(4, &[2], kind).await;
        fleet.minutes(TEN_TRIES).await;
        assert_eq!(subjects(&fleet, &mailbox).await, ["message 1", "message 3", "message 4"], "{kind:?}");
        let missing = [("memory-2".to_owned(), QuarantineReason::NotHandedOut)];
        assert_eq!(quarantined(&fleet, &mailbox).await, missing, "{kind:?}");
        let state = fleet.state(&mailbox).await;
        assert!(state.enabled && state.transient_failure_count == 0, "{state:?}");
        fleet.minutes(180).await;
        assert_eq!(quarantined(&fleet, &mailbox).await, missing, "{kind:?}: it was asked for in vain");
        withhold(&fleet, 2, None);
        fleet.minutes(250).await;
        assert_eq!(quarantined(&fleet, &mailbox).await, [], "{kind:?}");
        assert_eq!(subjects(&fleet, &mailbox).await.len(), 4, "{kind:?}");
        assert_eq!(fleet.state(&mailbox).await.passed_over, None, "{kind:?}");
    }
}

#[tokio::test]
async fn of_many_messages_that_are_not_handed_out_each_is_asked_for_in_its_turn() {
    let withheld: Vec<u32> = (1..60).step_by(2).collect();
    let (fleet, mailbox) = waiting(60, &withheld, Withheld::Refused).await;
    fleet.minutes(TEN_TRIES).await;
    assert_eq!(quarantined(&fleet, &mailbox).await.len(), withheld.len());
    // More are missing than one run asks for, and whichever come back are found.
    for number in &withheld[..3] {
        withhold(&fleet, *number, None);
    }
    for number in &withheld[withheld.len() - 3..] {
        withhold(&fleet, *number, None);
    }
    fleet.minutes(8 * 60).await;
    assert_eq!(quarantined(&fleet, &mailbox).await.len(), withheld.len() - 6);
    assert_eq!(subjects(&fleet, &mailbox).await.len(), 60 - withheld.len() + 6);
}

#[tokio::test]
async fn the_only_message_is_passed_over_before_it_disables_and_the_next_one_tells_whose_fault_it_was() {
    for kind in KINDS {
        let (fleet, mailbox) = waiting(1, &[1], kind).await;
        fleet.minutes(TEN_TRIES).await;
        let state = fleet.state(&mailbox).await;
        assert!(state.enabled && state.passed_over.is_some_and(|known| known.is_unproven), "{kind:?}: {state:?}");
        // The second message in a row that is not handed out says that it is the server.
        fleet.deliver_to_all("message 2");
        withhold(&fleet, 2, Some(kind));
        fleet.minutes(TEN_TRIES).await;
        assert!(!fleet.state(&mailbox).await.enabled, "{kind:?}");
        assert_eq!(quarantined(&fleet, &mailbox).await.len(), 1, "{kind:?}: the second is not passed over");
        // Once the server hands it out, the first is asked for at once.
        (1..=2).for_each(|number| withhold(&fleet, number, None));
        fleet.enable(&mailbox).await;
        fleet.minutes(12).await;
        assert_eq!(subjects(&fleet, &mailbox).await, ["message 1", "message 2"], "{kind:?}");
        assert_eq!(quarantined(&fleet, &mailbox).await, [], "{kind:?}");
    }
}

#[tokio::test]
async fn whoever_tries_a_message_again_that_was_not_handed_out_has_the_server_asked() {
    let (fleet, mailbox) = waiting(3, &[2], Withheld::Refused).await;
    fleet.minutes(6).await;
    assert_eq!(quarantined(&fleet, &mailbox).await.len(), 1);
    withhold(&fleet, 2, None);
    let replayed = fleet.engine.replay(&mailbox, "memory-2", &build::audit()).await.expect("no outage");
    assert_eq!(replayed, Replayed::Asked);
    fleet.minutes(1).await;
    assert_eq!(subjects(&fleet, &mailbox).await, ["message 1", "message 2", "message 3"]);
    assert_eq!(quarantined(&fleet, &mailbox).await, []);
    let again = fleet.engine.replay(&mailbox, "memory-2", &build::audit()).await.expect("no outage");
    assert_eq!(again, Replayed::Gone);
}

#[tokio::test]
async fn a_password_that_is_mended_while_a_run_uses_the_old_one_counts_for_nothing() {
    let (fleet, mailbox) = waiting(1, &[], Withheld::Refused).await;
    let store = &fleet.engine.ports.state;
    let username = "m0000@example.test";
    fleet.servers().refuse(username);
    fleet.servers().set_slow(true);
    let mending = async {
        let before = store.mailbox(&mailbox).await.expect("a store that works").expect("a mailbox");
        let owner = mailbox_owner(&mailbox);
        let sealed = fleet.engine.ports.vault.seal(&owner, &owner, &Secret::new("mended")).await;
        let after = StoredMailbox { credentials: Some(sealed.expect("a vault that works")), ..before.stored.clone() };
        let written = store.change_mailbox(&before, &after, &build::audit_at(now())).await;
        assert_eq!(written.expect("a store that works"), Written::Done);
        fleet.servers().set_slow(false);
    };
    let wake = Wake { mailbox: mailbox.clone(), delivery: Delivery::IncomingEmail };
    let wakes = [wake.into()];
    let (handled, ()) = tokio::join!(fleet.engine.run_batch(&wakes, Deadline::after(INVOCATION)), mending);
    assert!(matches!(&handled[..], [Handled::Done(ran)] if ran.is_empty()), "{handled:?}");
    assert_eq!(fleet.engine.ports.queue.waiting(Delivery::IncomingEmail).len(), 1, "it comes again");
    let state = fleet.state(&mailbox).await;
    assert!(state.enabled && state.transient_failure_count == 0, "{state:?}");
    assert_eq!((fleet.alerts().await, fleet.notices(NoticeKind::Disabled).await.len()), (vec![], 0));
}
