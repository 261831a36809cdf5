//! The quarantine: what could not become a record.

use mailrail_domain::{
    Timestamp,
    email::quarantine::{Clues, QUARANTINE_DAYS, QuarantineReason, Quarantined},
    seconds_after,
    words::id::MailboxId,
};
use mailrail_engine::ports::QuarantineStore;

use super::WHOLE_LIST;
use crate::{
    build::{audit_at, clock, mailbox_id},
    conformance::{every_page, sorted, state::StateStore, this_second},
};

const PAGE: usize = 10;
const SECONDS_PER_DAY: i64 = 86_400;

fn message(mailbox: &MailboxId, remote_id: &str, at: Timestamp) -> Quarantined {
    Quarantined {
        mailbox_id: mailbox.clone(),
        remote_id: remote_id.to_owned(),
        reason: QuarantineReason::Unreadable,
        detail: "the MIME reader gave up".to_owned(),
        received_at: None,
        raw_key: format!("quarantine/{mailbox}/0"),
        size: 7,
        at,
        attempts: 1,
        last_attempt: None,
        clues: Clues { subject: Some("Offer".to_owned()), ..Clues::default() },
    }
}

async fn put(store: &impl QuarantineStore, message: &Quarantined) {
    let until = seconds_after(message.at, i64::from(QUARANTINE_DAYS) * SECONDS_PER_DAY);
    store.quarantine(message, until).await.unwrap();
}

async fn quarantined(store: &impl QuarantineStore, mailbox: &MailboxId, limit: usize) -> Vec<Quarantined> {
    every_page(limit, async |page| store.quarantined(mailbox, page).await).await
}

pub async fn a_message_in_quarantine_comes_back_as_it_was_put_there(store: &impl QuarantineStore) {
    let mailbox = mailbox_id("m1");
    let whole = message(&mailbox, "imap-1-2", clock());
    // A UIDL may be any printable ASCII (RFC 1939 section 7).
    let nothing = Quarantined {
        reason: QuarantineReason::NotHandedOut,
        detail: String::new(),
        raw_key: String::new(),
        size: 0,
        ..message(&mailbox, "pop3-!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", clock())
    };
    for message in [whole, nothing] {
        put(store, &message).await;
        assert!(quarantined(store, &mailbox, WHOLE_LIST).await.contains(&message));
    }
}

pub async fn the_same_message_put_into_quarantine_twice_is_one_entry(store: &impl QuarantineStore) {
    let (now, mailbox) = (this_second(), mailbox_id("m1"));
    for n in 0..2 {
        put(store, &message(&mailbox, "imap-1-2", seconds_after(now, n * 300))).await;
    }
    let entries = quarantined(store, &mailbox, WHOLE_LIST).await;
    assert_eq!(entries.iter().map(|entry| entry.remote_id.as_str()).collect::<Vec<_>>(), ["imap-1-2"]);
}

pub async fn an_entry_without_bytes_gives_way_to_one_that_has_them(store: &impl QuarantineStore) {
    let (now, mailbox) = (this_second(), mailbox_id("m1"));
    let reason = QuarantineReason::NotHandedOut;
    let missing = Quarantined { reason, raw_key: String::new(), ..message(&mailbox, "imap-1-2", now) };
    put(store, &missing).await;
    let come = message(&mailbox, "imap-1-2", seconds_after(now, 300));
    put(store, &come).await;
    put(store, &missing).await;
    assert_eq!(quarantined(store, &mailbox, WHOLE_LIST).await, std::slice::from_ref(&come));
    let gone = Quarantined { reason: QuarantineReason::Gone, ..come };
    store.retried(&gone).await.unwrap();
    for (reason, listed) in [(QuarantineReason::Gone, vec![gone]), (QuarantineReason::Unreadable, vec![])] {
        let found = every_page(WHOLE_LIST, async |page| store.quarantined_anywhere(Some(reason), page).await).await;
        assert_eq!(found, listed, "{reason:?}");
    }
}

pub async fn messages_in_quarantine_are_each_listed_once_over_all_pages(store: &impl QuarantineStore) {
    let (now, mailbox) = (this_second(), mailbox_id("m1"));
    let expected: Vec<String> = (0..23).map(|n| format!("imap-1-{n}")).collect();
    for remote_id in &expected {
        put(store, &message(&mailbox, remote_id, now)).await;
    }
    let entries = quarantined(store, &mailbox, PAGE).await;
    assert_eq!(sorted(entries.into_iter().map(|entry| entry.remote_id).collect()), sorted(expected));
}

pub async fn a_quarantine_has_the_messages_of_its_own_mailbox(store: &impl QuarantineStore) {
    let now = this_second();
    let (mine, theirs) = (message(&mailbox_id("m1"), "imap-1-2", now), message(&mailbox_id("m11"), "imap-1-2", now));
    for message in [&mine, &theirs] {
        put(store, message).await;
        assert_eq!(quarantined(store, &message.mailbox_id, WHOLE_LIST).await, std::slice::from_ref(message));
    }
}

pub async fn quarantines_of_all_mailboxes_come_newest_first_by_reason_or_together(store: &impl QuarantineStore) {
    let now = this_second();
    let mut expected = Vec::new();
    for n in 0..12 {
        let reason = if n % 3 == 0 { QuarantineReason::TooLarge } else { QuarantineReason::Unreadable };
        let mailbox = mailbox_id(&format!("m{}", n % 4));
        let entry = Quarantined { reason, ..message(&mailbox, &format!("imap-1-{n}"), seconds_after(now, n)) };
        put(store, &entry).await;
        expected.insert(0, entry);
    }
    for reason in [None, Some(QuarantineReason::TooLarge), Some(QuarantineReason::NotAMessage)] {
        let wanted: Vec<Quarantined> =
            expected.iter().filter(|entry| reason.is_none_or(|reason| entry.reason == reason)).cloned().collect();
        for limit in [PAGE, WHOLE_LIST] {
            let listed = every_page(limit, async |page| store.quarantined_anywhere(reason, page).await).await;
            assert_eq!(listed, wanted, "{reason:?} in pages of {limit}");
        }
    }
}

pub async fn a_message_that_was_tried_again_shows_it_and_one_that_was_released_is_gone(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), mailbox_id("m1"));
    let first = message(&mailbox, "imap-1-2", now);
    put(store, &first).await;
    assert_eq!(store.quarantined_message(&mailbox, "imap-1-2").await.unwrap().as_ref(), Some(&first));
    let again = Quarantined { attempts: 2, last_attempt: Some(now), ..first.clone() };
    store.retried(&again).await.unwrap();
    assert_eq!(quarantined(store, &mailbox, WHOLE_LIST).await, std::slice::from_ref(&again));
    let released = audit_at(now);
    assert!(store.release(&again, &released).await.unwrap());
    assert!(!store.release(&again, &audit_at(seconds_after(now, 1))).await.unwrap(), "it was released once");
    let written = every_page(WHOLE_LIST, async |page| store.audit(None, page).await).await;
    assert_eq!(written, [released], "who released it, and nobody else");
    assert_eq!(store.quarantined_message(&mailbox, "imap-1-2").await.unwrap(), None);
    store.retried(&again).await.unwrap();
    assert_eq!(quarantined(store, &mailbox, WHOLE_LIST).await, [], "what is gone is not brought back");
    let anywhere = every_page(WHOLE_LIST, async |page| store.quarantined_anywhere(None, page).await).await;
    assert_eq!(anywhere, []);
}
