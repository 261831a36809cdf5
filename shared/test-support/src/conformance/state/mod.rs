//! Our own state: traits that one store implements, because they promise things of one another that several stores
//! could not keep.

pub mod access;
pub mod alerts;
pub mod commits;
pub mod enabling;
pub mod health;
pub mod leases;
pub mod mailboxes;
pub mod notices;
pub mod outboxes;
pub mod permits;
pub mod profiles;
pub mod quarantine;
pub mod quotas;
pub mod schedule;
pub mod testing;

use mailrail_domain::{
    Timestamp,
    rules::{
        run::{
            end::{AlertChange, Mode, Ran, Terms, end},
            moved::Moved,
        },
        schedule::Slot,
    },
    settings::{
        organization::Organization,
        profile::{IncomingProtocol, Security},
    },
    texts::{
        alert::{About, alert},
        notice::notice,
    },
    words::{
        alert::Alert,
        cause::{Cause, CredentialSource, DeliveryError},
        delivery::{Delivery, SynchronizationMethod},
        evidence::{Evidence, Stage},
        id::MailboxId,
        notice::{Notice, NoticeStatus},
        policy::RetryPolicy,
    },
};
use mailrail_engine::ports::{
    AccessStore, AlertFilter, AlertWrite, Claim, Closing, DeliveryRow, Directory, HealthStore, MailboxDetails,
    MailboxStore, NoticeStore, OutboxStore, QuarantineStore, QuotaStore, Sealed, StoredMailbox, StoredProfile,
    TestStore, Wake, Written,
};

use super::{PAGES_MAX, every_page};
use crate::build::{audit, location, mailbox, mailbox_id, profile};

/// The account that positions are of.
const SOURCE: &str = "5e1f0a9c";

/// Every test of the suite, each on a fresh `$make`: an expression of a test's asynchronous body.
#[macro_export]
macro_rules! state_suite {
    ($make:expr) => {
        $crate::conformance_tests!(leases in state::leases, $make, [
            a_delivery_of_an_unknown_mailbox_is_not_there,
            a_lease_shows_until_when_it_is_held,
            a_lease_outlives_an_enabling_and_a_change_of_the_method,
            a_lease_leaves_state_and_position_alone,
            a_second_lease_is_refused_while_the_first_is_held,
            a_lease_is_granted_again_once_the_first_has_run_out,
            a_lease_is_refused_when_somebody_wrote_since,
            a_lease_of_one_delivery_leaves_the_others_free,
            of_twenty_racing_leases_exactly_one_is_granted,
            an_advance_keeps_the_position_of_a_folder_and_whose_it_is,
            an_advance_keeps_the_position_of_a_maildrop,
            an_advance_breaks_the_row_of_failures,
            what_is_being_passed_over_is_written_before_it_is,
            an_advance_moves_the_claim_and_keeps_the_lease,
            an_advance_after_somebody_else_wrote_changes_nothing,
            a_deleted_mailbox_can_be_neither_leased_nor_advanced,
        ]);
        $crate::conformance_tests!(permits in state::permits, $make, [
            permits_are_taken_until_there_are_none_left,
            a_permit_that_was_given_back_is_free,
            a_permit_is_free_once_its_time_is_up,
            profiles_have_permits_of_their_own,
            a_profile_that_was_given_fewer_connections_has_fewer_permits,
            of_twenty_that_race_for_three_permits_three_get_one,
            giving_back_a_permit_that_nobody_holds_is_no_error,
            a_permit_that_ended_and_is_somebody_elses_is_left_to_him,
        ]);
        $crate::conformance_tests!(commits in state::commits, $make, [
            a_commit_writes_the_whole_state_and_the_position,
            a_commit_without_a_position_keeps_the_stored_one,
            a_commit_releases_the_lease,
            a_commit_writes_alert_notice_and_schedule_with_the_state,
            a_commit_writes_who_had_the_delivery_enabled,
            a_commit_after_somebody_else_wrote_changes_nothing,
            a_commit_over_a_deleted_mailbox_writes_nothing,
            a_claim_is_good_for_one_commit,
            a_claim_of_an_advance_is_good_for_the_commit,
            a_commit_leaves_the_other_deliveries_alone,
            of_twenty_racing_commits_exactly_one_wins_and_one_failure_is_counted,
            deliveries_of_one_mailbox_commit_side_by_side,
            mailboxes_of_one_interval_commit_side_by_side,
            ten_failures_in_a_row_are_counted_one_by_one,
        ]);
        $crate::conformance_tests!(quarantine in state::quarantine, $make, [
            a_message_in_quarantine_comes_back_as_it_was_put_there,
            the_same_message_put_into_quarantine_twice_is_one_entry,
            an_entry_without_bytes_gives_way_to_one_that_has_them,
            messages_in_quarantine_are_each_listed_once_over_all_pages,
            a_quarantine_has_the_messages_of_its_own_mailbox,
            quarantines_of_all_mailboxes_come_newest_first_by_reason_or_together,
            a_message_that_was_tried_again_shows_it_and_one_that_was_released_is_gone,
        ]);
        $crate::conformance_tests!(outboxes in state::outboxes, $make, [
            an_outbox_lists_the_oldest_email_first_over_all_pages,
            an_email_that_enters_an_outbox_again_stands_in_it_once,
            an_email_leaves_its_own_outbox_alone,
            an_outbox_is_cleared_of_what_entered_it_by_then_and_not_since,
        ]);
        $crate::conformance_tests!(quotas in state::quotas, $make, [
            recipients_are_counted_hour_by_hour_and_never_beyond_the_limit,
            recipients_that_are_given_back_can_be_counted_again,
        ]);
        $crate::conformance_tests!(schedule in state::schedule, $make, [
            an_enabled_delivery_stands_in_its_slot_alone,
            a_delivery_that_nobody_moves_stands_nowhere,
            a_commit_at_the_same_interval_leaves_the_slot,
            a_commit_at_another_interval_moves_the_slot_once,
            a_disabled_delivery_leaves_the_schedule,
            a_commit_of_a_disabled_delivery_keeps_it_out,
            every_interval_in_use_is_named,
            a_slot_in_which_nothing_stands_is_empty,
            a_slot_of_many_pages_wakes_each_delivery_once,
        ]);
        $crate::conformance_tests!(alerts in state::alerts, $make, [
            an_alert_comes_back_as_it_was_raised,
            a_repeat_raises_the_count_of_the_open_alert,
            a_repeat_shows_what_happened_last,
            mailboxes_deliveries_and_kinds_have_alerts_of_their_own,
            one_commit_raises_one_alert_and_closes_another,
            a_closed_alert_is_listed_as_closed_and_no_longer_as_open,
            an_alert_raised_after_a_closing_is_a_fresh_one,
            every_closed_alert_stays_listed,
            closing_what_is_not_open_is_no_obstacle,
            alerts_of_a_mailbox_come_newest_first,
            alerts_of_a_status_come_newest_first,
            alerts_of_a_mailbox_are_each_listed_once_over_all_pages,
            alerts_of_a_status_are_each_listed_once_over_all_pages,
            a_closed_alert_is_not_kept_where_the_organization_says_so,
        ]);
        $crate::conformance_tests!(enabling in state::enabling, $make, [
            a_delivery_enabled_again_begins_to_count_at_zero,
            a_delivery_enabled_again_goes_on_where_it_was,
            a_delivery_enabled_again_enters_the_schedule,
            a_running_delivery_enabled_again_moves_to_its_interval_once,
            enabling_closes_the_alerts_of_that_delivery_alone,
            a_commit_of_a_run_from_before_the_enabling_is_refused,
            a_delivery_that_nobody_moves_stays_disabled,
            enabling_an_unknown_mailbox_is_answered_so,
            an_enabling_that_meets_the_end_of_a_run_leaves_nothing_half_done,
            a_hurried_delivery_runs_at_the_next_wake,
            a_hurried_delivery_keeps_the_gap_between_two_tries,
            a_run_that_is_under_way_ends_as_if_nobody_had_hurried_it,
            hurrying_an_unknown_mailbox_writes_nothing,
        ]);
        $crate::conformance_tests!(mailboxes in state::mailboxes, $make, [
            an_unknown_mailbox_is_not_there,
            a_mailbox_that_is_deleted_leaves_nothing_of_itself_whatever_was_read_before,
            a_change_of_a_mailbox_that_runs_is_made,
            a_new_mailbox_has_three_deliveries_in_their_first_state,
            a_delivery_comes_with_its_mailbox_and_the_sealed_credentials,
            a_mailbox_is_of_a_profile_that_is_there,
            an_address_belongs_to_one_mailbox_however_it_is_spelled,
            of_mailboxes_that_race_for_an_address_one_gets_it,
            every_read_shows_a_mailbox_as_it_was_changed,
            a_change_that_leaves_the_methods_leaves_the_deliveries,
            a_changed_method_begins_that_delivery_anew_and_leaves_the_others,
            a_changed_address_begins_every_delivery_anew_and_closes_its_alerts,
            of_two_changes_of_the_same_revision_one_is_made,
            a_method_that_is_taken_away_takes_the_delivery_out_of_the_schedule,
            a_run_from_before_its_method_changed_is_refused,
            a_run_from_before_a_change_does_not_undo_it,
            a_changed_address_frees_the_old_one,
            an_address_of_another_mailbox_is_refused_and_nothing_changes,
            a_mailbox_may_spell_its_own_address_anew,
            mailboxes_are_each_listed_once_over_all_pages,
            mailboxes_of_a_profile_are_each_listed_once_over_all_pages,
            a_mailbox_that_changed_its_profile_is_listed_under_the_new_one_alone,
            a_deleted_mailbox_is_gone_from_every_read,
            a_deleted_mailbox_frees_its_address,
            a_deleted_mailbox_leaves_the_schedule,
            a_deleted_mailbox_takes_its_alerts_along,
            deleting_a_mailbox_leaves_the_others,
            who_moves_items_is_known_of_the_whole_organization,
        ]);
        $crate::conformance_tests!(profiles in state::profiles, $make, [
            an_unknown_profile_is_not_there,
            a_profile_comes_back_as_it_was_written,
            a_profile_written_again_is_the_changed_one,
            a_profile_that_somebody_changed_since_is_not_overwritten,
            a_deleted_profile_is_gone,
            profiles_are_each_listed_once_over_all_pages,
            an_organization_without_settings_has_the_default_ones,
            settings_of_the_organization_come_back_as_they_were_written,
        ]);
        $crate::conformance_tests!(access in state::access, $make, [
            a_token_is_found_by_its_digest_alone,
            tokens_are_each_listed_once_over_all_pages,
            a_deleted_token_opens_nothing,
            what_a_person_does_is_written_with_who_did_it,
            what_was_not_done_is_not_in_the_audit,
            the_audit_comes_newest_first_over_all_pages_and_months,
        ]);
        $crate::conformance_tests!(health in state::health, $make, [
            health_comes_back_as_it_was_written_and_is_forgotten,
            of_many_that_write_health_at_once_one_does,
            a_hold_is_told_and_ended_in_the_same_write_or_not_at_all,
            an_alert_of_a_profile_is_one_however_often_it_is_raised,
            a_disabled_delivery_that_is_probed_stands_in_the_slot_of_its_probes,
        ]);
        $crate::conformance_tests!(testing in state::testing, $make, [
            a_test_comes_back_as_it_was_asked_for_and_as_it_went_on,
            a_test_under_way_holds_off_another_until_it_ends_or_its_time_is_up,
            a_deleted_mailbox_takes_its_test_along,
        ]);
        $crate::conformance_tests!(notices in state::notices, $make, [
            a_notice_comes_back_as_it_was_committed,
            pending_notices_come_in_the_order_of_their_next_attempt,
            an_attempt_that_failed_moves_the_notice_back,
            an_update_is_refused_when_somebody_attempted_since,
            of_twenty_racing_updates_exactly_one_wins,
            an_unknown_notice_is_not_updated,
            a_sent_notice_is_listed_as_sent_and_no_longer_as_pending,
            the_same_notice_committed_twice_is_one,
            a_disabling_after_the_method_changed_is_told_as_well,
            notices_are_each_listed_once_over_all_pages,
        ]);
    };
}

/// One store of all of these.
pub trait StateStore:
    MailboxStore
    + Directory
    + NoticeStore
    + AccessStore
    + TestStore
    + HealthStore
    + OutboxStore
    + QuarantineStore
    + QuotaStore
{
}
impl<S> StateStore for S where
    S: MailboxStore
        + Directory
        + NoticeStore
        + AccessStore
        + TestStore
        + HealthStore
        + OutboxStore
        + QuarantineStore
        + QuotaStore
{
}

/// Minutes between two runs, where a test is not about them.
const INTERVAL: u16 = 5;
const INCOMING: Delivery = Delivery::IncomingEmail;
const OUTGOING: Delivery = Delivery::OutgoingEmail;
const APPOINTMENTS: Delivery = Delivery::AppointmentsContactsTasks;
/// More than any list of a test, where it is not about pages.
const WHOLE_LIST: usize = 100;

fn sealed(content: &str) -> Sealed {
    Sealed {
        wrapped_key: "d3JhcHBlZA==".to_owned(),
        key_context: "profile/p1".to_owned(),
        nonce: "bm9uY2U=".to_owned(),
        ciphertext: content.to_owned(),
    }
}

fn a_profile(id: &str) -> StoredProfile {
    let incoming = (IncomingProtocol::Imap, location("imap.example.test", 993, Security::Tls));
    let outgoing = location("smtp.example.test", 465, Security::Tls);
    StoredProfile { profile: profile(id, Some(incoming), Some(outgoing)), credentials: None, revision: 0 }
}

/// A mailbox of the profile `p1` whose incoming and outgoing email are synchronized.
fn a_mailbox(id: &str) -> StoredMailbox {
    StoredMailbox {
        mailbox: mailbox(id, &format!("{id}@example.test"), &a_profile("p1").profile),
        credentials: Some(sealed(id)),
        revision: 0,
    }
}

/// Writes a profile whether it is there or not, and gives it as it is then kept.
async fn put(store: &impl StateStore, stored: &StoredProfile) -> StoredProfile {
    let revision = store.profile(&stored.profile.id).await.unwrap().map_or(0, |known| known.revision);
    let written = StoredProfile { revision, ..stored.clone() };
    assert_eq!(store.put_profile(&written, &audit()).await.unwrap(), Written::Done);
    StoredProfile { revision: revision + 1, ..written }
}

/// Creates a mailbox and enables what somebody moves of it.
async fn create(store: &impl StateStore, stored: &StoredMailbox, interval_minutes: u16) -> Written {
    let written = store.create_mailbox(stored, &audit()).await.unwrap();
    if written == Written::Done {
        for delivery in Delivery::ALL {
            let id = &stored.mailbox.id;
            if stored.mailbox.method(delivery) == SynchronizationMethod::ServerSideSynchronization {
                assert!(store.enable(id, delivery, interval_minutes, &audit()).await.unwrap());
            }
        }
    }
    written
}

/// The same mailbox in the store.
async fn created(store: &impl StateStore, id: &str) -> MailboxId {
    put(store, &a_profile("p1")).await;
    assert_eq!(create(store, &a_mailbox(id), INTERVAL).await, Written::Done);
    mailbox_id(id)
}

async fn load(store: &impl StateStore, mailbox: &MailboxId, delivery: Delivery) -> DeliveryRow {
    store.load(mailbox, delivery).await.unwrap().expect("a delivery of a mailbox that was created")
}

async fn details(store: &impl StateStore, mailbox: &MailboxId) -> MailboxDetails {
    store.mailbox(mailbox).await.unwrap().expect("a mailbox that was created")
}

/// Changes a mailbox that is there.
async fn change(store: &impl StateStore, mailbox: &MailboxId, to: impl FnOnce(&mut StoredMailbox)) -> Written {
    let before = details(store, mailbox).await;
    let mut after = before.stored.clone();
    to(&mut after);
    store.change_mailbox(&before, &after, &audit()).await.unwrap()
}

async fn commit(store: &impl StateStore, claim: &Claim, closing: &Closing) {
    assert!(store.commit(claim, closing).await.unwrap(), "a commit that nobody was quicker than");
}

/// What a run writes that has nothing to say.
fn unchanged(row: &DeliveryRow) -> Closing {
    Closing {
        state: row.state.clone(),
        position: None,
        alerts: vec![],
        notice: None,
        audit: None,
        interval_minutes: row.interval_minutes.unwrap_or(INTERVAL),
        previous_interval_minutes: row.interval_minutes,
    }
}

/// What a run writes that failed.
fn failed(row: &DeliveryRow, cause: Cause, now: Timestamp) -> Closing {
    let evidence = Evidence::new(Stage::SignIn, "the server's words").with_code("NO").with_detail(Some("DETAIL"));
    ended(row, Err(&DeliveryError::new(cause, evidence)), now)
}

/// What a run writes that went through.
fn succeeded(row: &DeliveryRow, now: Timestamp) -> Closing {
    ended(row, Ok(()), now)
}

/// What a run writes that came to this. Every alert is the mailbox's own, because the suite is of its rows.
fn ended(row: &DeliveryRow, result: Result<(), &DeliveryError>, now: Timestamp) -> Closing {
    let (profile, organization, policy) = (a_profile("p1").profile, Organization::default(), RetryPolicy::default());
    let (hold, credentials) = (organization.hold, CredentialSource::Mailbox);
    let terms = Terms { policy, organization: &organization, hold, credentials };
    let ran = Ran { mode: Mode::Synchronization, started: now, moved: &Moved::default(), result };
    let end = end(&row.state, &ran, &terms, now);
    let delivery = row.claim.delivery;
    let about = About { profile: &profile, mailbox: Some(&row.mailbox), delivery, policy, now };
    let write = |change| match change {
        AlertChange::Raise(story, _) => AlertWrite::Raise(Box::new(alert(&story, &about))),
        AlertChange::Close(kind) => AlertWrite::Close(kind, now),
    };
    Closing {
        notice: end.notice.map(|to_write| notice(&to_write.tidings, &about)),
        alerts: end.alerts.into_iter().map(write).collect(),
        state: end.state,
        ..unchanged(row)
    }
}

/// Disables a delivery as a permanent failure does.
async fn disable(store: &impl StateStore, mailbox: &MailboxId, delivery: Delivery, now: Timestamp) {
    let row = load(store, mailbox, delivery).await;
    commit(store, &row.claim, &failed(&row, Cause::CredentialsRefused, now)).await;
}

/// Every wake of a slot, page by page.
async fn wakes(store: &impl StateStore, slot: Slot) -> Vec<Wake> {
    let mut wakes = Vec::new();
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let page = store.due(slot, cursor).await.unwrap();
        wakes.extend(page.wakes);
        cursor = page.cursor;
        if cursor.is_none() {
            return wakes;
        }
    }
    panic!("the slot does not end after {PAGES_MAX} pages");
}

/// The slots in which a delivery stands, once for each time it does, among all of these intervals.
async fn slots(store: &impl StateStore, mailbox: &MailboxId, delivery: Delivery, intervals: &[u16]) -> Vec<Slot> {
    let mut found = Vec::new();
    for &interval_minutes in intervals {
        for phase in 0..interval_minutes {
            let slot = Slot { interval_minutes, phase };
            let here = wakes(store, slot).await.into_iter();
            found.extend(here.filter(|w| w.mailbox == *mailbox && w.delivery == delivery).map(|_| slot));
        }
    }
    found
}

async fn alerts(store: &impl StateStore, filter: AlertFilter) -> Vec<Alert> {
    every_page(WHOLE_LIST, async |page| store.alerts(&filter, page).await).await
}

async fn notices(store: &impl StateStore, status: NoticeStatus) -> Vec<Notice> {
    every_page(WHOLE_LIST, async |page| store.notices(status, page).await).await
}

/// Everything that a commit may write.
#[derive(Debug, PartialEq)]
struct Everything {
    row: DeliveryRow,
    slots: Vec<Slot>,
    alerts: Vec<Alert>,
    pending: Vec<Notice>,
    sent: Vec<Notice>,
}

async fn everything(store: &impl StateStore, mailbox: &MailboxId, delivery: Delivery) -> Everything {
    Everything {
        row: load(store, mailbox, delivery).await,
        slots: slots(store, mailbox, delivery, &[INTERVAL, 15]).await,
        alerts: alerts(store, AlertFilter::Mailbox(mailbox.clone())).await,
        pending: notices(store, NoticeStatus::Pending).await,
        sent: notices(store, NoticeStatus::Sent).await,
    }
}
