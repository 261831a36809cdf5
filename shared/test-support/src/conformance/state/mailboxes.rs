//! Mailboxes as an administrator keeps them, and what follows for their deliveries.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use mailrail_domain::{
    email::{imap::ImapPosition, position::Position},
    rules::schedule::Slot,
    seconds_after,
    words::{
        alert::AlertStatus,
        cause::Cause,
        delivery::{Delivery, SynchronizationMethod},
        id::{MailboxId, ProfileId},
        state::DeliveryState,
    },
};
use mailrail_engine::ports::{AlertFilter, Closing, StoredMailbox, Written};

use super::{
    APPOINTMENTS, INCOMING, INTERVAL, OUTGOING, StateStore, WHOLE_LIST, a_mailbox, a_profile, alerts, change, commit,
    create as create_stored, created, details, disable, everything, failed, load, put, sealed, slots, succeeded,
    unchanged,
};
use crate::{
    build::{address, audit, mailbox_id},
    conformance::{every_page, this_second},
};

/// Entries of a page that a list of a test does not fit into.
const PAGE: usize = 10;
const SYNCHRONIZED: SynchronizationMethod = SynchronizationMethod::ServerSideSynchronization;

async fn listed(store: &impl StateStore, profile: Option<&ProfileId>) -> Vec<StoredMailbox> {
    every_page(WHOLE_LIST, async |page| store.mailboxes(profile, page).await).await
}

fn ids(mailboxes: Vec<StoredMailbox>) -> Vec<MailboxId> {
    let mut ids: Vec<MailboxId> = mailboxes.into_iter().map(|stored| stored.mailbox.id).collect();
    ids.sort();
    ids
}

async fn create(store: &impl StateStore, id: &str, at: &str) -> Written {
    let mut stored = a_mailbox(id);
    stored.mailbox.address = Some(address(at));
    create_stored(store, &stored, INTERVAL).await
}

pub async fn an_unknown_mailbox_is_not_there(store: &impl StateStore) {
    created(store, "m1").await;
    assert_eq!(store.mailbox(&mailbox_id("m2")).await.unwrap(), None);
}

pub async fn a_new_mailbox_has_three_deliveries_in_their_first_state(store: &impl StateStore) {
    let mailbox = mailbox_id("m1");
    put(store, &a_profile("p1")).await;
    assert_eq!(store.create_mailbox(&a_mailbox("m1"), &audit()).await.unwrap(), Written::Done);
    let details = details(store, &mailbox).await;
    assert_eq!(details.stored, StoredMailbox { revision: 1, ..a_mailbox("m1") });
    let states: BTreeMap<Delivery, DeliveryState> = details.deliveries.iter().cloned().collect();
    let expected = Delivery::ALL.map(|delivery| (delivery, a_mailbox("m1").mailbox.initial_state(delivery)));
    assert_eq!((details.deliveries.len(), states), (3, BTreeMap::from(expected.clone())));
    for (delivery, state) in expected {
        let row = load(store, &mailbox, delivery).await;
        assert_eq!((row.state, row.position, row.leased_until), (state, None, None), "{delivery:?}");
        assert_eq!(slots(store, &mailbox, delivery, &[INTERVAL]).await, [], "what nobody tested is not run");
    }
}

pub async fn a_delivery_comes_with_its_mailbox_and_the_sealed_credentials(store: &impl StateStore) {
    created(store, "m1").await;
    let mut bare = a_mailbox("m2");
    bare.credentials = None;
    bare.mailbox.name = "Прöfung \"2\"".to_owned();
    bare.mailbox.username = Some("somebody".to_owned());
    bare.mailbox.process_emails_received_after = Some(this_second());
    assert_eq!(create_stored(store, &bare, INTERVAL).await, Written::Done);
    for stored in [a_mailbox("m1"), bare] {
        for delivery in Delivery::ALL {
            let row = load(store, &stored.mailbox.id, delivery).await;
            assert_eq!((&row.mailbox, &row.credentials), (&stored.mailbox, &stored.credentials));
            assert_eq!((row.claim.mailbox, row.claim.delivery), (stored.mailbox.id.clone(), delivery));
        }
    }
}

pub async fn a_mailbox_is_of_a_profile_that_is_there(store: &impl StateStore) {
    let mut gone = a_mailbox("m1");
    gone.mailbox.profile_id = a_profile("gone").profile.id;
    assert_eq!(store.create_mailbox(&gone, &audit()).await.unwrap(), Written::ProfileGone);
    assert!(store.mailbox(&mailbox_id("m1")).await.unwrap().is_none());
    let mailbox = created(store, "m1").await;
    let moved = change(store, &mailbox, |stored| stored.mailbox.profile_id = a_profile("gone").profile.id).await;
    assert_eq!(moved, Written::ProfileGone);
    assert_eq!(details(store, &mailbox).await.stored.mailbox.profile_id, a_profile("p1").profile.id);
}

pub async fn an_address_belongs_to_one_mailbox_however_it_is_spelled(store: &impl StateStore) {
    let owner = created(store, "m1").await;
    for spelling in ["m1@example.test", "M1@Example.TEST"] {
        assert_eq!(create(store, "m2", spelling).await, Written::AddressTaken(owner.clone()));
    }
    let refused = mailbox_id("m2");
    assert_eq!(store.mailbox(&refused).await.unwrap(), None);
    assert_eq!(ids(listed(store, None).await), [owner]);
    for delivery in Delivery::ALL {
        assert_eq!(store.load(&refused, delivery).await.unwrap(), None);
        assert_eq!(slots(store, &refused, delivery, &[INTERVAL]).await, []);
    }
}

pub async fn of_mailboxes_that_race_for_an_address_one_gets_it(store: &impl StateStore) {
    put(store, &a_profile("p1")).await;
    let names: Vec<String> = (0..10).map(|n| format!("m{n}")).collect();
    let answers = join_all(names.iter().map(|id| create(store, id, "shared@example.test"))).await;
    let winners: Vec<&String> =
        names.iter().zip(&answers).filter(|(_, answer)| **answer == Written::Done).map(|(id, _)| id).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    let owner = mailbox_id(winners[0]);
    assert_eq!(answers.iter().filter(|answer| **answer == Written::AddressTaken(owner.clone())).count(), 9);
    assert_eq!(ids(listed(store, None).await), [owner]);
}

pub async fn every_read_shows_a_mailbox_as_it_was_changed(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let rename = |stored: &mut StoredMailbox| {
        stored.mailbox.name = "Another name".to_owned();
        stored.mailbox.username = Some("somebody".to_owned());
        stored.credentials = Some(sealed("bmV3"));
    };
    assert_eq!(change(store, &mailbox, rename).await, Written::Done);
    let mut changed = StoredMailbox { revision: 2, ..a_mailbox("m1") };
    rename(&mut changed);
    assert_eq!(details(store, &mailbox).await.stored, changed);
    assert_eq!(listed(store, None).await, [changed.clone()]);
    assert_eq!(listed(store, Some(&changed.mailbox.profile_id)).await, [changed.clone()]);
    for delivery in Delivery::ALL {
        let row = load(store, &mailbox, delivery).await;
        assert_eq!((&row.mailbox, &row.credentials), (&changed.mailbox, &changed.credentials), "{delivery:?}");
    }
}

pub async fn a_change_that_leaves_the_methods_leaves_the_deliveries(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let position = Some(Position::of("imap", &ImapPosition { uid_validity: 1, uid_done: 7, mod_seq: None }));
    let failure = Closing { position: position.clone(), ..failed(&row, Cause::TimedOut, now) };
    commit(store, &row.claim, &failure).await;
    disable(store, &mailbox, OUTGOING, now).await;
    let before = details(store, &mailbox).await.deliveries;
    change(store, &mailbox, |stored| {
        stored.mailbox.name = "Another name".to_owned();
        stored.mailbox.address = Some(address("M1@example.test"));
    })
    .await;
    assert_eq!(details(store, &mailbox).await.deliveries, before);
    let after = everything(store, &mailbox, INCOMING).await;
    assert_eq!((after.row.state, after.row.position), (failure.state, position));
    assert_eq!((after.slots, after.alerts.len()), (vec![Slot::of(&mailbox, INCOMING, INTERVAL)], 2));
    assert_eq!(slots(store, &mailbox, OUTGOING, &[INTERVAL]).await, []);
}

pub async fn a_changed_method_begins_that_delivery_anew_and_leaves_the_others(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    for delivery in [INCOMING, OUTGOING] {
        let row = load(store, &mailbox, delivery).await;
        let position = Some(Position::of("imap", &ImapPosition { uid_validity: 1, uid_done: 7, mod_seq: None }));
        commit(store, &row.claim, &Closing { position, ..succeeded(&row, now) }).await;
    }
    let before = load(store, &mailbox, OUTGOING).await;
    for method in [SynchronizationMethod::None, SYNCHRONIZED] {
        change(store, &mailbox, |stored| stored.mailbox.incoming_email = method).await;
        let row = load(store, &mailbox, INCOMING).await;
        assert_eq!((row.state, row.position), (DeliveryState::configured(method), None));
    }
    assert_eq!(slots(store, &mailbox, INCOMING, &[INTERVAL]).await, [], "what begins anew is not enabled");
    let after = load(store, &mailbox, OUTGOING).await;
    assert_eq!((after.state, after.position), (before.state, before.position));
    let stands = slots(store, &mailbox, OUTGOING, &[INTERVAL]).await;
    assert_eq!(stands, [Slot::of(&mailbox, OUTGOING, INTERVAL)]);
}

pub async fn a_changed_address_begins_every_delivery_anew_and_closes_its_alerts(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    disable(store, &mailbox, INCOMING, now).await;
    change(store, &mailbox, |stored| stored.mailbox.address = Some(address("other@example.test"))).await;
    for delivery in [INCOMING, OUTGOING] {
        let after = everything(store, &mailbox, delivery).await;
        let times_disabled = u32::from(delivery == INCOMING);
        let expected = DeliveryState { times_disabled, ..DeliveryState::configured(SYNCHRONIZED) };
        assert_eq!((after.row.state, after.row.interval_minutes, after.slots), (expected, None, vec![]));
        assert!(after.alerts.iter().all(|alert| alert.status == AlertStatus::Closed));
    }
}

pub async fn of_two_changes_of_the_same_revision_one_is_made(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let before = details(store, &mailbox).await;
    let named = |name: &str| {
        let mut after = before.stored.clone();
        after.mailbox.name = name.to_owned();
        after
    };
    let changes = [named("first"), named("second")];
    let audits = [audit(), audit()];
    let (first, second) = futures_util::future::join(
        store.change_mailbox(&before, &changes[0], &audits[0]),
        store.change_mailbox(&before, &changes[1], &audits[1]),
    )
    .await;
    let answers = [first.unwrap(), second.unwrap()];
    let winner = answers.iter().position(|answer| *answer == Written::Done).expect("one is made");
    assert_eq!(answers.iter().filter(|answer| **answer == Written::Superseded).count(), 1, "{answers:?}");
    let kept = details(store, &mailbox).await.stored;
    assert_eq!(kept, StoredMailbox { revision: 2, ..changes[winner].clone() });
}

pub async fn a_method_that_is_taken_away_takes_the_delivery_out_of_the_schedule(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let row = load(store, &mailbox, INCOMING).await;
    commit(store, &row.claim, &Closing { interval_minutes: 15, ..unchanged(&row) }).await;
    change(store, &mailbox, |stored| stored.mailbox.incoming_email = SynchronizationMethod::None).await;
    assert_eq!(slots(store, &mailbox, INCOMING, &[INTERVAL, 15]).await, []);
    assert_eq!(load(store, &mailbox, INCOMING).await.interval_minutes, None);
}

pub async fn a_run_from_before_its_method_changed_is_refused(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let leased = store.lease(&row.claim, seconds_after(now, 60), now).await.unwrap().expect("a free delivery");
    change(store, &mailbox, |stored| stored.mailbox.incoming_email = SynchronizationMethod::None).await;
    let before = everything(store, &mailbox, INCOMING).await;
    assert!(!store.commit(&leased, &succeeded(&row, now)).await.unwrap());
    assert_eq!(everything(store, &mailbox, INCOMING).await, before);
}

pub async fn a_run_from_before_a_change_does_not_undo_it(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let rows = [load(store, &mailbox, INCOMING).await, load(store, &mailbox, OUTGOING).await];
    change(store, &mailbox, |stored| {
        stored.mailbox.name = "Another name".to_owned();
        stored.credentials = Some(sealed("bmV3"));
    })
    .await;
    let changed = details(store, &mailbox).await.stored;
    for row in rows {
        // Whether the run is refused or counts, what it read of the mailbox is out of date.
        store.commit(&row.claim, &succeeded(&row, now)).await.unwrap();
        let after = load(store, &mailbox, row.claim.delivery).await;
        assert_eq!((&after.mailbox, &after.credentials), (&changed.mailbox, &changed.credentials));
    }
    assert_eq!(details(store, &mailbox).await.stored, changed);
}

pub async fn a_changed_address_frees_the_old_one(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let new = address("other@example.test");
    assert_eq!(change(store, &mailbox, |stored| stored.mailbox.address = Some(new)).await, Written::Done);
    assert_eq!(create(store, "m2", "Other@Example.test").await, Written::AddressTaken(mailbox));
    assert_eq!(create(store, "m3", "m1@example.test").await, Written::Done);
}

pub async fn an_address_of_another_mailbox_is_refused_and_nothing_changes(store: &impl StateStore) {
    let (mailbox, other) = (created(store, "m1").await, created(store, "m2").await);
    let before = everything(store, &mailbox, INCOMING).await;
    let answer = change(store, &mailbox, |stored| {
        stored.mailbox.address = Some(address("M2@example.test"));
        stored.mailbox.name = "Another name".to_owned();
        stored.mailbox.incoming_email = SynchronizationMethod::None;
    })
    .await;
    assert_eq!(answer, Written::AddressTaken(other));
    assert_eq!(everything(store, &mailbox, INCOMING).await, before);
    assert_eq!(details(store, &mailbox).await.stored, StoredMailbox { revision: 1, ..a_mailbox("m1") });
    assert_eq!(create(store, "m3", "m1@example.test").await, Written::AddressTaken(mailbox));
}

pub async fn a_mailbox_may_spell_its_own_address_anew(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let spelling = address("M1@Example.Test");
    assert_eq!(change(store, &mailbox, |stored| stored.mailbox.address = Some(spelling.clone())).await, Written::Done);
    assert_eq!(details(store, &mailbox).await.stored.mailbox.address, Some(spelling));
    assert_eq!(create(store, "m2", "m1@example.test").await, Written::AddressTaken(mailbox));
}

pub async fn mailboxes_are_each_listed_once_over_all_pages(store: &impl StateStore) {
    let mut expected = Vec::new();
    // Profiles that end where a page ends, that have nothing, and that go on over pages.
    for (profile, mailboxes) in [("p1", PAGE), ("p2", 0), ("p3", 3), ("p4", 0), ("p5", 2 * PAGE), ("p6", 0)] {
        put(store, &a_profile(profile)).await;
        for n in 0..mailboxes {
            let mut stored = a_mailbox(&format!("{profile}-{n}"));
            stored.mailbox.profile_id = a_profile(profile).profile.id;
            assert_eq!(create_stored(store, &stored, INTERVAL).await, Written::Done);
            expected.push(stored.mailbox.id);
        }
    }
    expected.sort();
    for limit in [1, PAGE, WHOLE_LIST] {
        let listed = every_page(limit, async |page| store.mailboxes(None, page).await).await;
        assert_eq!(ids(listed), expected);
    }
}

pub async fn mailboxes_of_a_profile_are_each_listed_once_over_all_pages(store: &impl StateStore) {
    let profiles = [a_profile("p1"), a_profile("p2")];
    for profile in &profiles {
        put(store, profile).await;
    }
    let mut expected: [Vec<MailboxId>; 2] = [vec![], vec![]];
    for n in 0..46 {
        let mut stored = a_mailbox(&format!("m{n}"));
        stored.mailbox.profile_id = profiles[n % 2].profile.id.clone();
        assert_eq!(create_stored(store, &stored, INTERVAL).await, Written::Done);
        expected[n % 2].push(stored.mailbox.id);
    }
    for (stored, mut expected) in profiles.iter().zip(expected) {
        let profile = &stored.profile.id;
        expected.sort();
        let listed = every_page(PAGE, async |page| store.mailboxes(Some(profile), page).await).await;
        assert_eq!(ids(listed), expected);
        for known in every_page(PAGE, async |page| store.details(profile, page).await).await {
            let id = known.stored.mailbox.id.clone();
            assert_eq!(expected.remove(0), id, "with their deliveries they are listed in the same order");
            assert_eq!(known, details(store, &id).await);
        }
        assert_eq!(expected, []);
    }
    assert_eq!(listed(store, Some(&a_profile("p3").profile.id)).await, []);
}

pub async fn a_mailbox_that_changed_its_profile_is_listed_under_the_new_one_alone(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let (old, new) = (a_profile("p1").profile.id, a_profile("p2").profile.id);
    put(store, &a_profile("p2")).await;
    change(store, &mailbox, |stored| stored.mailbox.profile_id = new.clone()).await;
    assert_eq!(listed(store, Some(&old)).await, []);
    assert_eq!(ids(listed(store, Some(&new)).await), std::slice::from_ref(&mailbox));
    assert_eq!(ids(listed(store, None).await), std::slice::from_ref(&mailbox));
    assert_eq!(load(store, &mailbox, INCOMING).await.mailbox.profile_id, new);
}

pub async fn a_deleted_mailbox_is_gone_from_every_read(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    store.delete_mailbox(&details(store, &mailbox).await, &audit()).await.unwrap();
    assert_eq!(store.mailbox(&mailbox).await.unwrap(), None);
    for delivery in Delivery::ALL {
        assert_eq!(store.load(&mailbox, delivery).await.unwrap(), None);
    }
    assert_eq!(listed(store, None).await, []);
    assert_eq!(listed(store, Some(&a_profile("p1").profile.id)).await, []);
    assert!(!store.enable(&mailbox, INCOMING, INTERVAL, &audit()).await.unwrap());
}

pub async fn a_deleted_mailbox_frees_its_address(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    change(store, &mailbox, |stored| stored.mailbox.address = Some(address("other@example.test"))).await;
    store.delete_mailbox(&details(store, &mailbox).await, &audit()).await.unwrap();
    assert_eq!(create(store, "m2", "other@example.test").await, Written::Done);
    assert_eq!(create(store, "m3", "m1@example.test").await, Written::Done);
}

pub async fn a_deleted_mailbox_leaves_the_schedule(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let read_before = details(store, &mailbox).await;
    // Its place moved after the details were read, which do not say where it is.
    let row = load(store, &mailbox, INCOMING).await;
    commit(store, &row.claim, &Closing { interval_minutes: 15, ..unchanged(&row) }).await;
    store.delete_mailbox(&read_before, &audit()).await.unwrap();
    for delivery in [INCOMING, OUTGOING] {
        assert_eq!(slots(store, &mailbox, delivery, &[INTERVAL, 15]).await, []);
    }
}

pub async fn a_deleted_mailbox_takes_its_alerts_along(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    // More than one batch of the table's deletions has room for.
    for n in 0..30 {
        let row = load(store, &mailbox, INCOMING).await;
        let at = seconds_after(now, n);
        commit(store, &row.claim, &failed(&row, Cause::TimedOut, at)).await;
        let row = load(store, &mailbox, INCOMING).await;
        commit(store, &row.claim, &succeeded(&row, at)).await;
    }
    disable(store, &mailbox, OUTGOING, now).await;
    assert_eq!(alerts(store, AlertFilter::Mailbox(mailbox.clone())).await.len(), 31);
    store.delete_mailbox(&details(store, &mailbox).await, &audit()).await.unwrap();
    assert_eq!(alerts(store, AlertFilter::Mailbox(mailbox)).await, []);
    for status in [AlertStatus::Open, AlertStatus::Closed] {
        assert_eq!(alerts(store, AlertFilter::Status(status)).await, []);
    }
}

pub async fn deleting_a_mailbox_leaves_the_others(store: &impl StateStore) {
    let (now, mailbox, other) = (this_second(), created(store, "m1").await, created(store, "m11").await);
    for mailbox in [&mailbox, &other] {
        disable(store, mailbox, INCOMING, now).await;
    }
    let before = everything(store, &other, INCOMING).await;
    store.delete_mailbox(&details(store, &mailbox).await, &audit()).await.unwrap();
    let after = everything(store, &other, INCOMING).await;
    assert_eq!((after.row, after.alerts), (before.row, before.alerts));
    let stands = slots(store, &other, OUTGOING, &[INTERVAL]).await;
    assert_eq!(stands, [Slot::of(&other, OUTGOING, INTERVAL)]);
    assert_eq!(slots(store, &other, APPOINTMENTS, &[INTERVAL]).await, []);
    assert_eq!(ids(listed(store, None).await), [other]);
}

pub async fn who_moves_items_is_known_of_the_whole_organization(store: &impl StateStore) {
    let (mailbox, other) = (created(store, "m1").await, created(store, "m2").await);
    for method in [SynchronizationMethod::Outlook, SYNCHRONIZED] {
        assert!(!store.moves_items(method).await.unwrap());
        for id in [&mailbox, &other] {
            change(store, id, |stored| stored.mailbox.appointments_contacts_tasks = method).await;
        }
        change(store, &other, |stored| stored.mailbox.name = "Another name".to_owned()).await;
        assert!(store.moves_items(method).await.unwrap());
        let none = SynchronizationMethod::None;
        change(store, &other, |stored| stored.mailbox.appointments_contacts_tasks = none).await;
        assert!(store.moves_items(method).await.unwrap());
        change(store, &mailbox, |stored| stored.mailbox.appointments_contacts_tasks = none).await;
    }
    change(store, &mailbox, |stored| stored.mailbox.appointments_contacts_tasks = SYNCHRONIZED).await;
    store.delete_mailbox(&details(store, &mailbox).await, &audit()).await.unwrap();
    assert!(!store.moves_items(SYNCHRONIZED).await.unwrap());
}

pub async fn a_mailbox_that_is_deleted_leaves_nothing_of_itself_whatever_was_read_before(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    assert!(store.enable(&mailbox, INCOMING, INTERVAL, &audit()).await.unwrap());
    let stale = details(store, &mailbox).await;
    // Meanwhile it gets another address, somebody else takes the first one, and a run moves it in the schedule and fails.
    let first = stale.stored.mailbox.address.clone();
    change(store, &mailbox, |stored| stored.mailbox.address = Some(address("moved@example.org"))).await;
    let mut other = a_mailbox("m2");
    other.mailbox.address = first.clone();
    assert_eq!(store.create_mailbox(&other, &audit()).await.unwrap(), Written::Done);
    assert!(store.enable(&mailbox, INCOMING, INTERVAL, &audit()).await.unwrap());
    let row = load(store, &mailbox, INCOMING).await;
    let failure = failed(&row, Cause::TimedOut, this_second());
    commit(store, &row.claim, &Closing { interval_minutes: 15, ..failure }).await;

    store.delete_mailbox(&stale, &audit()).await.unwrap();
    assert_eq!(store.mailbox(&mailbox).await.unwrap(), None);
    assert_eq!(slots(store, &mailbox, INCOMING, &[INTERVAL, 15]).await, []);
    assert_eq!(alerts(store, AlertFilter::Mailbox(mailbox)).await, []);
    let mut third = a_mailbox("m3");
    third.mailbox.address = first;
    let taken = store.create_mailbox(&third, &audit()).await.unwrap();
    assert_eq!(taken, Written::AddressTaken(other.mailbox.id), "the first address is the other's");
    third.mailbox.address = Some(address("moved@example.org"));
    assert_eq!(store.create_mailbox(&third, &audit()).await.unwrap(), Written::Done, "the second one is free");
}

pub async fn a_change_of_a_mailbox_that_runs_is_made(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let before = details(store, &mailbox).await;
    let mut after = before.stored.clone();
    after.mailbox.address = Some(address("moved@example.org"));
    let audit = audit();
    let running = async {
        for _ in 0..3 {
            let row = load(store, &mailbox, INCOMING).await;
            // Refused once the change is made.
            store.commit(&row.claim, &unchanged(&row)).await.unwrap();
        }
    };
    let (written, ()) = tokio::join!(store.change_mailbox(&before, &after, &audit), running);
    assert_eq!(written.unwrap(), Written::Done);
}
