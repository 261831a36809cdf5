//! The end of a run: all of it or nothing, and once.

use futures_util::future::join_all;
use mailrail_domain::{
    email::{imap::ImapPosition, position::Position},
    rules::schedule::Slot,
    seconds_after,
    words::{
        alert::AlertKind,
        cause::Cause,
        delivery::{Learned, SynchronizationMethod, TestStatus},
        id::MailboxId,
        notice::{NoticeKind, NoticeStatus},
        passed_over::PassedOver,
        policy::FAILURES_MAX,
        spent::Spent,
        state::DeliveryState,
    },
};
use mailrail_engine::ports::{AlertFilter, Closing};

use super::{
    INCOMING, INTERVAL, OUTGOING, SOURCE, StateStore, alerts, commit, created, details, everything, failed, load,
    notices, slots, succeeded, unchanged, wakes,
};
use crate::{
    build::{audit, clock},
    conformance::{every_page, this_second},
};

fn read_to_7() -> Position {
    Position::of("imap", &ImapPosition { uid_validity: 1, uid_done: 7, mod_seq: None })
}

pub async fn a_commit_writes_the_whole_state_and_the_position(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let row = load(store, &mailbox, INCOMING).await;
    let now = clock();
    let state = DeliveryState {
        enabled_at: Some(this_second()),
        method: SynchronizationMethod::ServerSideSynchronization,
        enabled: true,
        status: TestStatus::Failure,
        transient_failure_count: 3,
        failing_since: Some(seconds_after(now, -900)),
        postponed_until: Some(seconds_after(now, 300)),
        last_run: Some(now),
        last_success: Some(seconds_after(now, -1200)),
        open_alerts: vec![AlertKind::ServerNotReachable, AlertKind::EmailPendingSend],
        source: Some("account".to_owned()),
        passed_over: Some(PassedOver { ask_at: now, asked: 2, is_unproven: true }),
        recovery_minutes: Some(15),
        backlog: 7,
        done_until: Some(seconds_after(now, -3600)),
        spent: Some(Spent { since: now, amount: 12 }),
        spent_recipients: Some(Spent { since: seconds_after(now, -60), amount: 40 }),
        warned_since: Some(seconds_after(now, -900)),
        learned: Learned {
            location: Some("https://mail.example.org/EWS/Exchange.asmx".to_owned()),
            undeliverable_folder: Some("folder".to_owned()),
        },
        times_disabled: 2,
    };
    let closing = Closing { state: state.clone(), position: Some(read_to_7()), ..unchanged(&row) };
    commit(store, &row.claim, &closing).await;
    let after = load(store, &mailbox, INCOMING).await;
    assert_eq!((after.state, after.position), (state.clone(), Some(read_to_7())));
    assert_eq!((after.mailbox, after.credentials), (row.mailbox, row.credentials));
    assert!(details(store, &mailbox).await.deliveries.contains(&(INCOMING, state)));
}

pub async fn a_commit_without_a_position_keeps_the_stored_one(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let row = load(store, &mailbox, INCOMING).await;
    commit(store, &row.claim, &Closing { position: Some(read_to_7()), ..unchanged(&row) }).await;
    let row = load(store, &mailbox, INCOMING).await;
    commit(store, &row.claim, &Closing { position: None, ..unchanged(&row) }).await;
    assert_eq!(load(store, &mailbox, INCOMING).await.position, Some(read_to_7()));
}

pub async fn a_commit_releases_the_lease(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let until = seconds_after(now, 60);
    let leased = store.lease(&row.claim, until, now).await.unwrap().expect("a free delivery");
    commit(store, &leased, &succeeded(&row, now)).await;
    let after = load(store, &mailbox, INCOMING).await;
    assert_eq!(after.leased_until, None);
    assert!(store.lease(&after.claim, until, now).await.unwrap().is_some(), "the next run may begin at once");
}

pub async fn a_commit_writes_alert_notice_and_schedule_with_the_state(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let closing = failed(&row, Cause::CredentialsRefused, now);
    commit(store, &row.claim, &closing).await;
    let after = everything(store, &mailbox, INCOMING).await;
    assert_eq!(after.row.state, closing.state);
    assert_eq!((after.slots, after.row.interval_minutes), (vec![], None));
    assert_eq!(
        after.alerts.iter().map(|alert| alert.kind).collect::<Vec<_>>(),
        [AlertKind::MailboxCredentialsIncorrect]
    );
    assert_eq!(after.pending, Vec::from_iter(closing.notice));
}

pub async fn a_commit_writes_who_had_the_delivery_enabled(store: &impl StateStore) {
    let mailbox = created(store, "m1").await;
    let row = load(store, &mailbox, INCOMING).await;
    let entry = audit();
    let state = DeliveryState { enabled: true, ..row.state.clone() };
    let closing = Closing { state, audit: Some(entry.clone()), ..unchanged(&row) };
    commit(store, &row.claim, &closing).await;
    assert!(!store.commit(&row.claim, &closing).await.unwrap(), "the claim is spent");
    let written = every_page(100, async |page| store.audit(None, page).await).await;
    assert_eq!(written.iter().filter(|known| **known == entry).count(), 1);
}

pub async fn a_commit_after_somebody_else_wrote_changes_nothing(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let old = load(store, &mailbox, INCOMING).await;
    store.lease(&old.claim, seconds_after(now, 60), now).await.unwrap().expect("a free delivery");
    let before = everything(store, &mailbox, INCOMING).await;
    let disabling = failed(&old, Cause::CredentialsRefused, now);
    let moving = Closing { interval_minutes: 15, ..failed(&old, Cause::TimedOut, now) };
    for closing in [disabling, moving] {
        let closing = Closing { position: Some(read_to_7()), ..closing };
        assert!(!store.commit(&old.claim, &closing).await.unwrap());
        assert_eq!(everything(store, &mailbox, INCOMING).await, before);
    }
}

pub async fn a_commit_over_a_deleted_mailbox_writes_nothing(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    store.delete_mailbox(&details(store, &mailbox).await, &audit()).await.unwrap();
    for closing in [failed(&row, Cause::CredentialsRefused, now), failed(&row, Cause::TimedOut, now)] {
        assert!(!store.commit(&row.claim, &closing).await.unwrap());
    }
    assert_eq!(store.load(&mailbox, INCOMING).await.unwrap(), None);
    assert_eq!(alerts(store, AlertFilter::Mailbox(mailbox.clone())).await, []);
    assert_eq!(notices(store, NoticeStatus::Pending).await, []);
    assert_eq!(slots(store, &mailbox, INCOMING, &[INTERVAL]).await, []);
}

pub async fn a_claim_is_good_for_one_commit(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let closing = failed(&row, Cause::TimedOut, now);
    commit(store, &row.claim, &closing).await;
    let before = everything(store, &mailbox, INCOMING).await;
    assert!(!store.commit(&row.claim, &closing).await.unwrap());
    assert_eq!(everything(store, &mailbox, INCOMING).await, before);
}

pub async fn a_claim_of_an_advance_is_good_for_the_commit(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let leased = store.lease(&row.claim, seconds_after(now, 60), now).await.unwrap().expect("a free delivery");
    let advanced = store.advance(&leased, &read_to_7(), SOURCE).await.unwrap().expect("nobody else wrote");
    assert!(!store.commit(&leased, &succeeded(&row, now)).await.unwrap());
    commit(store, &advanced, &succeeded(&row, now)).await;
    assert_eq!(load(store, &mailbox, INCOMING).await.position, Some(read_to_7()));
}

pub async fn a_commit_leaves_the_other_deliveries_alone(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let other = created(store, "m2").await;
    let before = (load(store, &mailbox, OUTGOING).await, load(store, &other, INCOMING).await);
    let row = load(store, &mailbox, INCOMING).await;
    commit(store, &row.claim, &failed(&row, Cause::CredentialsRefused, now)).await;
    assert_eq!((load(store, &mailbox, OUTGOING).await, load(store, &other, INCOMING).await), before);
    for (mailbox, delivery) in [(&mailbox, OUTGOING), (&other, INCOMING)] {
        let stands = slots(store, mailbox, delivery, &[INTERVAL]).await;
        assert_eq!(stands, [Slot::of(mailbox, delivery, INTERVAL)]);
    }
}

pub async fn of_twenty_racing_commits_exactly_one_wins_and_one_failure_is_counted(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let row = load(store, &mailbox, INCOMING).await;
    let closing = failed(&row, Cause::TimedOut, now);
    let commits = join_all((0..20).map(|_| store.commit(&row.claim, &closing))).await;
    assert_eq!(commits.into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
    assert_eq!(load(store, &mailbox, INCOMING).await.state.transient_failure_count, 1);
    let raised = alerts(store, AlertFilter::Mailbox(mailbox)).await;
    assert_eq!(raised.iter().map(|alert| alert.count).collect::<Vec<_>>(), [1]);
}

pub async fn deliveries_of_one_mailbox_commit_side_by_side(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let rows = [load(store, &mailbox, INCOMING).await, load(store, &mailbox, OUTGOING).await];
    let settlements = rows.each_ref().map(|row| failed(row, Cause::CredentialsRefused, now));
    let commits = rows.iter().zip(&settlements).map(|(row, closing)| store.commit(&row.claim, closing));
    assert!(join_all(commits).await.into_iter().all(Result::unwrap));
    assert_eq!(alerts(store, AlertFilter::Mailbox(mailbox)).await.len(), 2);
    assert_eq!(notices(store, NoticeStatus::Pending).await.len(), 2);
}

pub async fn mailboxes_of_one_interval_commit_side_by_side(store: &impl StateStore) {
    let now = this_second();
    let mut rows = Vec::new();
    for n in 0..20 {
        let mailbox = created(store, &format!("m{n}")).await;
        rows.push(load(store, &mailbox, INCOMING).await);
    }
    let to_15 = |row| Closing { interval_minutes: 15, ..failed(row, Cause::TimedOut, now) };
    let settlements: Vec<Closing> = rows.iter().map(to_15).collect();
    let commits = rows.iter().zip(&settlements).map(|(row, closing)| store.commit(&row.claim, closing));
    assert!(join_all(commits).await.into_iter().all(Result::unwrap));
    let mut moved: Vec<MailboxId> = Vec::new();
    for phase in 0..15 {
        let there = wakes(store, Slot { interval_minutes: 15, phase }).await;
        moved.extend(there.into_iter().map(|wake| wake.mailbox));
    }
    moved.sort();
    let mut expected: Vec<MailboxId> = rows.into_iter().map(|row| row.claim.mailbox).collect();
    expected.sort();
    assert_eq!(moved, expected);
}

pub async fn ten_failures_in_a_row_are_counted_one_by_one(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    for failure in 1..=FAILURES_MAX {
        let row = load(store, &mailbox, INCOMING).await;
        assert!(row.state.enabled, "before failure {failure}");
        commit(store, &row.claim, &failed(&row, Cause::TimedOut, seconds_after(now, failure.into()))).await;
        assert_eq!(load(store, &mailbox, INCOMING).await.state.transient_failure_count, failure);
    }
    let after = everything(store, &mailbox, INCOMING).await;
    assert!(!after.row.state.enabled);
    assert_eq!((after.slots.len(), after.alerts.len()), (0, 1));
    let mut told: Vec<NoticeKind> = after.pending.iter().map(|notice| notice.kind).collect();
    told.sort();
    assert_eq!(told, [NoticeKind::Disabled, NoticeKind::Warning]);
    assert_eq!(after.alerts[0].count, u64::from(FAILURES_MAX));
}
