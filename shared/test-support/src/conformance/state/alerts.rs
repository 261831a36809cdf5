//! Alerts: one open per mailbox, delivery and kind, with its repeats; the closed ones behind it.

use chrono::TimeDelta;
use mailrail_domain::{
    Timestamp, seconds_after,
    settings::organization::Organization,
    words::{
        alert::{Alert, AlertAction, AlertKind, AlertScope, AlertStatus, Level},
        cause::Cause,
        delivery::Delivery,
        evidence::{Evidence, Stage},
        id::MailboxId,
    },
};
use mailrail_engine::ports::{AlertFilter, AlertWrite, Closing, StoredOrganization, Written};

use super::{APPOINTMENTS, INCOMING, OUTGOING, StateStore, a_profile, alerts, commit, created, load, unchanged};
use crate::{
    build::audit,
    conformance::{every_page, this_second},
};

const UNREACHABLE: AlertKind = AlertKind::ServerNotReachable;
const OVER_QUOTA: AlertKind = AlertKind::OverQuota;
/// Entries of a page that a list of a test does not fit into.
const PAGE: usize = 10;

fn alert(mailbox: &MailboxId, delivery: Delivery, kind: AlertKind, at: Timestamp) -> Alert {
    Alert {
        kind,
        level: Level::Warning,
        status: AlertStatus::Open,
        mailbox_id: Some(mailbox.clone()),
        profile_id: a_profile("p1").profile.id,
        delivery,
        scope: AlertScope::Profile,
        text: format!("What happened at {at}."),
        why: "Because.".to_owned(),
        action: Some(AlertAction::TestAgain),
        resolution: vec!["First this.".to_owned(), "Then that.".to_owned()],
        cause: Some(Cause::TimedOut),
        evidence: Some(Evidence::new(Stage::Connect, "the server's words").with_code("421").with_detail(Some("4.3.2"))),
        count: 1,
        first_seen: at,
        last_seen: at,
    }
}

/// Writes alerts as a run does, which keeps in its row which ones are open.
async fn write(store: &impl StateStore, mailbox: &MailboxId, delivery: Delivery, writes: Vec<AlertWrite>) {
    let row = load(store, mailbox, delivery).await;
    let mut state = row.state.clone();
    for write in &writes {
        match write {
            AlertWrite::Raise(alert) if state.open_alerts.contains(&alert.kind) => {}
            AlertWrite::Raise(alert) => state.open_alerts.push(alert.kind),
            AlertWrite::Close(kind, _) => state.open_alerts.retain(|open| open != kind),
        }
    }
    commit(store, &row.claim, &Closing { state, alerts: writes, ..unchanged(&row) }).await;
}

async fn raise(store: &impl StateStore, alert: Alert) {
    let (mailbox, delivery) = (alert.mailbox_id.clone().expect("an alert of a mailbox"), alert.delivery);
    write(store, &mailbox, delivery, vec![AlertWrite::Raise(Box::new(alert))]).await;
}

async fn close(store: &impl StateStore, mailbox: &MailboxId, kind: AlertKind, at: Timestamp) {
    write(store, mailbox, INCOMING, vec![AlertWrite::Close(kind, at)]).await;
}

async fn of_mailbox(store: &impl StateStore, mailbox: &MailboxId) -> Vec<Alert> {
    alerts(store, AlertFilter::Mailbox(mailbox.clone())).await
}

pub async fn an_alert_comes_back_as_it_was_raised(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let bare = Alert { cause: None, evidence: None, ..alert(&mailbox, OUTGOING, AlertKind::EmailPendingSend, now) };
    for raised in [alert(&mailbox, INCOMING, UNREACHABLE, seconds_after(now, 1)), bare] {
        raise(store, raised.clone()).await;
        assert!(of_mailbox(store, &mailbox).await.contains(&raised));
        assert!(alerts(store, AlertFilter::Status(AlertStatus::Open)).await.contains(&raised));
    }
}

pub async fn a_repeat_raises_the_count_of_the_open_alert(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    for n in 0..3 {
        raise(store, alert(&mailbox, INCOMING, UNREACHABLE, seconds_after(now, n))).await;
    }
    for filter in [AlertFilter::Mailbox(mailbox), AlertFilter::Status(AlertStatus::Open)] {
        let listed = alerts(store, filter).await;
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].count, listed[0].first_seen, listed[0].last_seen), (3, now, seconds_after(now, 2)));
    }
}

pub async fn a_repeat_shows_what_happened_last(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    raise(store, alert(&mailbox, INCOMING, UNREACHABLE, now)).await;
    // The tenth failure of a row disables the delivery: a warning became an error, and its text says so.
    let at = seconds_after(now, 1);
    let last = Alert {
        level: Level::Error,
        text: "The mailbox has been disabled.".to_owned(),
        resolution: vec!["Enable it.".to_owned()],
        evidence: Some(Evidence::new(Stage::Tls, "other words")),
        ..alert(&mailbox, INCOMING, UNREACHABLE, at)
    };
    raise(store, last.clone()).await;
    assert_eq!(of_mailbox(store, &mailbox).await, [Alert { count: 2, first_seen: now, ..last }]);
}

pub async fn mailboxes_deliveries_and_kinds_have_alerts_of_their_own(store: &impl StateStore) {
    let (now, mailbox, other) = (this_second(), created(store, "m1").await, created(store, "m2").await);
    for (mailbox, delivery, kind) in [
        (&mailbox, INCOMING, UNREACHABLE),
        (&mailbox, INCOMING, OVER_QUOTA),
        (&mailbox, OUTGOING, UNREACHABLE),
        (&other, INCOMING, UNREACHABLE),
    ] {
        raise(store, alert(mailbox, delivery, kind, now)).await;
    }
    let open = alerts(store, AlertFilter::Status(AlertStatus::Open)).await;
    assert_eq!(open.iter().map(|alert| alert.count).collect::<Vec<_>>(), [1, 1, 1, 1]);
    assert_eq!(of_mailbox(store, &other).await, [alert(&other, INCOMING, UNREACHABLE, now)]);
    assert_eq!(of_mailbox(store, &mailbox).await.len(), 3);
}

pub async fn one_commit_raises_one_alert_and_closes_another(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    raise(store, alert(&mailbox, INCOMING, UNREACHABLE, now)).await;
    let at = seconds_after(now, 1);
    let raised = alert(&mailbox, INCOMING, OVER_QUOTA, at);
    let writes = vec![AlertWrite::Raise(Box::new(raised.clone())), AlertWrite::Close(UNREACHABLE, at)];
    write(store, &mailbox, INCOMING, writes).await;
    assert_eq!(alerts(store, AlertFilter::Status(AlertStatus::Open)).await, [raised]);
    let closed = alerts(store, AlertFilter::Status(AlertStatus::Closed)).await;
    assert_eq!(closed.iter().map(|alert| alert.kind).collect::<Vec<_>>(), [UNREACHABLE]);
}

pub async fn a_closed_alert_is_listed_as_closed_and_no_longer_as_open(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    for n in 0..2 {
        raise(store, alert(&mailbox, INCOMING, UNREACHABLE, seconds_after(now, n))).await;
    }
    close(store, &mailbox, UNREACHABLE, seconds_after(now, 60)).await;
    assert_eq!(alerts(store, AlertFilter::Status(AlertStatus::Open)).await, []);
    for filter in [AlertFilter::Mailbox(mailbox), AlertFilter::Status(AlertStatus::Closed)] {
        let listed = alerts(store, filter).await;
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].status, listed[0].count, listed[0].first_seen), (AlertStatus::Closed, 2, now));
    }
}

pub async fn an_alert_raised_after_a_closing_is_a_fresh_one(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    for n in 0..2 {
        raise(store, alert(&mailbox, INCOMING, UNREACHABLE, seconds_after(now, n))).await;
    }
    close(store, &mailbox, UNREACHABLE, seconds_after(now, 10)).await;
    let fresh = alert(&mailbox, INCOMING, UNREACHABLE, seconds_after(now, 20));
    raise(store, fresh.clone()).await;
    assert_eq!(alerts(store, AlertFilter::Status(AlertStatus::Open)).await, [fresh]);
    raise(store, alert(&mailbox, INCOMING, UNREACHABLE, seconds_after(now, 30))).await;
    let counts: Vec<u64> = of_mailbox(store, &mailbox).await.iter().map(|alert| alert.count).collect();
    assert_eq!(counts, [2, 2], "the repeat counts for the fresh one, the closed one rests");
}

pub async fn every_closed_alert_stays_listed(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let raised: Vec<Timestamp> = (0..3).map(|n| seconds_after(now, n * 10)).collect();
    for &at in &raised {
        raise(store, alert(&mailbox, INCOMING, UNREACHABLE, at)).await;
        close(store, &mailbox, UNREACHABLE, seconds_after(at, 5)).await;
    }
    for filter in [AlertFilter::Mailbox(mailbox), AlertFilter::Status(AlertStatus::Closed)] {
        let mut listed: Vec<Timestamp> = alerts(store, filter).await.iter().map(|alert| alert.first_seen).collect();
        listed.reverse();
        assert_eq!(listed, raised);
    }
}

pub async fn closing_what_is_not_open_is_no_obstacle(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    close(store, &mailbox, UNREACHABLE, now).await;
    assert_eq!(of_mailbox(store, &mailbox).await, []);
    raise(store, alert(&mailbox, INCOMING, UNREACHABLE, now)).await;
    for n in 1..3 {
        close(store, &mailbox, UNREACHABLE, seconds_after(now, n)).await;
    }
    assert_eq!(of_mailbox(store, &mailbox).await.len(), 1);
}

pub async fn alerts_of_a_mailbox_come_newest_first(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let order = [(OUTGOING, OVER_QUOTA), (INCOMING, UNREACHABLE), (APPOINTMENTS, UNREACHABLE), (INCOMING, OVER_QUOTA)];
    for (n, (delivery, kind)) in (0..).zip(order) {
        raise(store, alert(&mailbox, delivery, kind, seconds_after(now, n))).await;
    }
    // An old alert that is closed last is still the older one.
    close(store, &mailbox, UNREACHABLE, seconds_after(now, 60)).await;
    let mut listed: Vec<_> =
        of_mailbox(store, &mailbox).await.into_iter().map(|alert| (alert.delivery, alert.kind)).collect();
    listed.reverse();
    assert_eq!(listed, order);
}

pub async fn alerts_of_a_status_come_newest_first(store: &impl StateStore) {
    let now = this_second();
    for (n, id) in (0..).zip(["m2", "m3", "m1"]) {
        let mailbox = created(store, id).await;
        // All within one second.
        let at = now + TimeDelta::milliseconds(n);
        raise(store, alert(&mailbox, INCOMING, UNREACHABLE, at)).await;
        raise(store, alert(&mailbox, INCOMING, OVER_QUOTA, at)).await;
        close(store, &mailbox, OVER_QUOTA, at).await;
    }
    for status in [AlertStatus::Open, AlertStatus::Closed] {
        let listed = alerts(store, AlertFilter::Status(status)).await;
        let mailboxes: Vec<&str> =
            listed.iter().map(|alert| alert.mailbox_id.as_ref().map_or("", |id| id.as_str())).collect();
        assert_eq!(mailboxes, ["m1", "m3", "m2"], "{status:?}");
    }
}

pub async fn alerts_of_a_mailbox_are_each_listed_once_over_all_pages(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let kinds = [UNREACHABLE, OVER_QUOTA, AlertKind::SignInFailed, AlertKind::UnknownError];
    // Two rounds, in each of which some are of one moment, where an order by time alone would lose some between pages.
    for (round, delivery) in (0..2).flat_map(|round| Delivery::ALL.map(|delivery| (round, delivery))) {
        for (n, kind) in (0..).zip(kinds) {
            let at = seconds_after(now, round * 100 + n / 2);
            let again = AlertWrite::Raise(Box::new(alert(&mailbox, delivery, kind, at)));
            write(store, &mailbox, delivery, vec![AlertWrite::Close(kind, at)]).await;
            write(store, &mailbox, delivery, vec![again]).await;
        }
    }
    let name = |alert: &Alert| (alert.delivery, alert.kind, alert.status == AlertStatus::Open);
    let statuses = [AlertFilter::Status(AlertStatus::Open), AlertFilter::Status(AlertStatus::Closed)];
    for (filter, count) in [AlertFilter::Mailbox(mailbox)].into_iter().chain(statuses).zip([24, 12, 12]) {
        let listed = every_page(PAGE, async |page| store.alerts(&filter, page).await).await;
        let mut names: Vec<_> = listed.iter().map(name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!((listed.len(), names.len()), (count, count), "{filter:?}");
        let newest_first = listed.is_sorted_by_key(|alert| std::cmp::Reverse(alert.first_seen));
        assert!(newest_first, "{filter:?} over all pages");
    }
}

pub async fn alerts_of_a_status_are_each_listed_once_over_all_pages(store: &impl StateStore) {
    let now = this_second();
    for n in 0..23 {
        let mailbox = created(store, &format!("m{n}")).await;
        raise(store, alert(&mailbox, INCOMING, UNREACHABLE, seconds_after(now, n / 2))).await;
        raise(store, alert(&mailbox, INCOMING, OVER_QUOTA, seconds_after(now, n / 2))).await;
        close(store, &mailbox, OVER_QUOTA, seconds_after(now, n / 2)).await;
    }
    for status in [AlertStatus::Open, AlertStatus::Closed] {
        let filter = AlertFilter::Status(status);
        let listed = every_page(PAGE, async |page| store.alerts(&filter, page).await).await;
        assert!(listed.is_sorted_by_key(|alert| std::cmp::Reverse(alert.first_seen)), "{status:?}");
        let mut mailboxes: Vec<&str> =
            listed.iter().map(|alert| alert.mailbox_id.as_ref().map_or("", |id| id.as_str())).collect();
        mailboxes.sort_unstable();
        mailboxes.dedup();
        assert_eq!((listed.len(), mailboxes.len()), (23, 23), "{status:?}");
    }
}

pub async fn a_closed_alert_is_not_kept_where_the_organization_says_so(store: &impl StateStore) {
    let (now, mailbox) = (this_second(), created(store, "m1").await);
    let organization = Organization { closed_alert_days: 0, ..Organization::default() };
    let stored = StoredOrganization { organization, revision: 0 };
    assert_eq!(store.put_organization(&stored, &audit()).await.unwrap(), Written::Done);
    raise(store, alert(&mailbox, INCOMING, AlertKind::ServerNotReachable, now)).await;
    close(store, &mailbox, AlertKind::ServerNotReachable, seconds_after(now, 1)).await;
    assert_eq!(alerts(store, AlertFilter::Mailbox(mailbox)).await, []);
    for status in [AlertStatus::Open, AlertStatus::Closed] {
        assert_eq!(alerts(store, AlertFilter::Status(status)).await, []);
    }
}
