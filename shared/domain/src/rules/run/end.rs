//! The end of a run as a function: from what stood before and what the run came to follow the new state, the alerts, the
//! notice, the next wake and the events.
//!
//! What stood before is never edited, so that it can be compared with what stands afterwards.

use crate::{
    Timestamp,
    rules::{
        classification::{Permanence, classify},
        hold::{can_hold, is_told_on_profile},
        passing_over,
        recovery::next_recovery_minutes,
        retry::{Attempt, Outcome, after_attempt, after_test},
        run::moved::Moved,
        story::{Consequence, Failure, Story, Tidings},
    },
    seconds_after,
    settings::{
        hold::{HoldSettings, RecoveryProbe},
        organization::Organization,
    },
    words::{
        alert::AlertKind,
        cause::{CredentialSource, DeliveryError},
        delivery::TestStatus,
        event::Event,
        policy::RetryPolicy,
        state::DeliveryState,
    },
};

/// Failures that are left when an owner is warned: at the eighth of ten.
pub const LEFT_AT_WARNING: u32 = 2;

/// Why a delivery runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// To synchronize.
    Synchronization,
    /// To synchronize, and to find out for all of a held profile whether its servers answer again.
    HoldProbe,
    /// To find out whether the server lets a disabled delivery in again, because a transient error disabled it.
    RecoveryProbe,
    /// Because a person asked for Test & Enable.
    Trial,
}

/// What a run came to.
#[derive(Debug, Clone, Copy)]
pub struct Ran<'a> {
    /// Why it ran.
    pub mode: Mode,
    /// When it began.
    pub started: Timestamp,
    /// What it moved.
    pub moved: &'a Moved,
    /// The failure, if it failed.
    pub result: Result<(), &'a DeliveryError>,
}

/// The settings under which a run ends.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// How failures are counted.
    pub policy: RetryPolicy,
    /// What holds for every mailbox.
    pub organization: &'a Organization,
    /// What is done when the servers of the profile fail.
    pub hold: HoldSettings,
    /// Whose credentials the run used.
    pub credentials: CredentialSource,
}

/// On whom an alert is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The mailbox.
    Mailbox,
    /// The profile, because its other mailboxes will meet the same failure. The mailbox refers to it.
    Profile,
}

/// A change of the alerts of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum AlertChange {
    /// Open an alert that tells this, or raise the count of the open one.
    Raise(Story, Whom),
    /// Close the open alert of this kind.
    Close(AlertKind),
}

/// A notice to be written with the end of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct NoticeToWrite {
    /// What it tells.
    pub tidings: Tidings,
    /// It is sent after so many seconds, because other mailboxes of the profile may fail too, and one digest then tells of all.
    pub after_seconds: i64,
    /// Whether the mailbox's own address gets a copy.
    pub is_copied: bool,
}

/// What follows from the end of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// The state from now on.
    pub state: DeliveryState,
    /// Alerts to raise and to close.
    pub alerts: Vec<AlertChange>,
    /// What the owner of the profile is told.
    pub notice: Option<NoticeToWrite>,
    /// Seconds after which the delivery is to be woken, where it does not wait for the schedule.
    pub wake_in_seconds: Option<u32>,
    /// What happened.
    pub events: Vec<Event>,
}

impl End {
    /// The end that changes the state and nothing else.
    #[must_use]
    pub fn quiet(state: DeliveryState) -> Self {
        Self { state, alerts: Vec::new(), notice: None, wake_in_seconds: None, events: Vec::new() }
    }

    /// The kinds of the alerts that it closes.
    #[must_use]
    pub fn closed(&self) -> Vec<AlertKind> {
        let kind = |change: &AlertChange| match change {
            AlertChange::Close(kind) => Some(*kind),
            AlertChange::Raise(..) => None,
        };
        self.alerts.iter().filter_map(kind).collect()
    }
}

/// What follows from a run that ended at `now`.
#[must_use]
pub fn end(before: &DeliveryState, ran: &Ran<'_>, terms: &Terms<'_>, now: Timestamp) -> End {
    let moved = after_moved(before, ran.moved, now);
    match (ran.mode, ran.result) {
        (Mode::RecoveryProbe, result) => end_of_recovery_probe(before, result.is_ok(), terms, now),
        // What may pass by itself says nothing against a delivery that is enabled: its own runs count failures. The test
        // shows what it saw.
        (Mode::Trial, Err(error)) if before.enabled && is_transient(error, terms) => End::quiet(moved),
        (Mode::Trial, result) => {
            let outcome = after_test(&moved, result.map_err(|error| (error, terms.credentials)), now);
            concluded(before, outcome, ran, terms, now)
        }
        // A probe that a held profile's servers fail spends no try of the mailbox that made it.
        (Mode::HoldProbe, Err(error)) if holds(error, terms) => End::quiet(moved),
        (Mode::Synchronization | Mode::HoldProbe, result) => {
            let attempt = match result {
                Ok(()) => Attempt::Succeeded,
                Err(error) => Attempt::Failed(error, terms.credentials),
            };
            let mut outcome = after_attempt(terms.policy, &moved, attempt, ran.started, now);
            wake_again(before, ran, &mut outcome, terms.policy, now);
            probe_later(&mut outcome, terms.hold);
            concluded(before, outcome, ran, terms, now)
        }
    }
}

/// What follows when something is to be told of a delivery that did not run: its alert, once for as long as it is open.
#[must_use]
pub fn told(before: &DeliveryState, story: Story, organization: &Organization) -> Option<End> {
    let kind = story.kind();
    if before.open_alerts.contains(&kind) || !organization.records(story.level()) {
        return None;
    }
    let mut state = before.clone();
    state.open_alerts.push(kind);
    Some(End { alerts: vec![AlertChange::Raise(story, Whom::Mailbox)], ..End::quiet(state) })
}

fn holds(error: &DeliveryError, terms: &Terms<'_>) -> bool {
    can_hold(&classify(error.cause, terms.credentials))
}

fn is_transient(error: &DeliveryError, terms: &Terms<'_>) -> bool {
    classify(error.cause, terms.credentials).permanence == Permanence::Transient
}

/// The state after what a run moved, whatever became of the run. Where something was done, the row of failures is broken:
/// a failure of the same run is the first of a new row.
fn after_moved(before: &DeliveryState, moved: &Moved, now: Timestamp) -> DeliveryState {
    let mut state = before.clone();
    moved.charge(&mut state, now);
    if let Some(learned) = &moved.learned {
        state.learned.clone_from(learned);
    }
    // The source is written with the position that it describes, and never before.
    if moved.source.is_some() {
        state.source.clone_from(&moved.source);
    }
    if moved.done > 0 {
        (state.transient_failure_count, state.failing_since) = (0, None);
    }
    state.passed_over = passing_over::after(before.passed_over, moved, now);
    if let Some(waiting) = moved.waiting {
        state.backlog = waiting;
        state.done_until = moved.done_until.or(before.done_until).filter(|_| waiting > 0);
    }
    state
}

/// Keeps the round open that a run has not ended, waits where a budget is used up, and comes back to what was put off.
fn wake_again(before: &DeliveryState, ran: &Ran<'_>, outcome: &mut Outcome, policy: RetryPolicy, now: Timestamp) {
    if ran.result.is_err() {
        return;
    }
    if !ran.moved.more {
        outcome.retry_in_seconds = Some(policy.gap_seconds).filter(|_| ran.moved.is_deferred && outcome.state.enabled);
        return;
    }
    // The gate must not take the wake that follows at once for a second one of the same round.
    outcome.state.last_run = before.last_run;
    let resume_at = ran.moved.resume_at(&outcome.state, now);
    if resume_at.is_some() {
        outcome.state.postponed_until = resume_at;
    }
    if outcome.state.enabled {
        outcome.retry_in_seconds = Some(resume_at.map_or(GO_ON_SECONDS, |at| seconds_between(now, at)));
    }
}

/// A run that goes on in the next one is woken after so many seconds, so that the next reads the row as it was written.
pub const GO_ON_SECONDS: u32 = 1;

/// Whole seconds from one moment to a later one, rounded up.
fn seconds_between(from: Timestamp, to: Timestamp) -> u32 {
    u32::try_from(((to - from).num_milliseconds().max(0) + 999) / 1_000).unwrap_or(u32::MAX)
}

/// Has a delivery that a transient error disabled probed, where the settings say so. A delivery that a permanent error
/// disabled is never probed, because a password that is known to be wrong is not tried again.
fn probe_later(outcome: &mut Outcome, hold: HoldSettings) {
    let is_transient = outcome.classification.is_some_and(|of| of.permanence == Permanence::Transient);
    if outcome.disabled && is_transient && hold.recovery_probe != RecoveryProbe::Off {
        outcome.state.recovery_minutes = Some(next_recovery_minutes(None));
    }
}

/// Adds to an outcome what is told of it.
fn concluded(before: &DeliveryState, outcome: Outcome, ran: &Ran<'_>, terms: &Terms<'_>, now: Timestamp) -> End {
    let Outcome { mut state, closed, retry_in_seconds, disabled, classification } = outcome;
    let mut events = Vec::new();
    let (Err(error), Some(classification)) = (ran.result, classification) else {
        let recovered = before.status == TestStatus::Failure && state.enabled;
        events.extend(recovered.then_some(Event::Recovered));
        events.extend((!before.enabled && state.enabled).then_some(Event::Enabled));
        let warned = warned_since(before, terms.policy);
        let tidings = warned.map(|since| Tidings::Recovered { since: since.unwrap_or(now), resumed: true });
        state.warned_since = None;
        let alerts = closed.into_iter().map(AlertChange::Close).collect();
        let notice = tidings.filter(|_| ran.mode != Mode::Trial).map(|tidings| to_write(tidings, 0, terms));
        return End { state, alerts, notice, wake_in_seconds: retry_in_seconds, events };
    };
    let consequence = match retry_in_seconds {
        Some(in_seconds) => Consequence::Again { in_seconds },
        None if disabled => Consequence::Disabled,
        None => Consequence::NotEnabled,
    };
    let (count, since) = (state.transient_failure_count, state.failing_since.unwrap_or(now));
    let failure = Failure { error: error.clone(), classification, consequence, count, since };
    events.push(Event::Failed { cause: error.cause, failures: count });
    let mut tidings = None;
    if disabled {
        events.push(Event::Disabled { cause: error.cause });
        tidings = Some(Tidings::Disabled { failure: Box::new(failure.clone()), times: state.times_disabled });
        state.warned_since = None;
    } else if is_warned_at(count, before, &state, terms) {
        events.push(Event::Warned);
        let tries_left = terms.policy.failures_max.saturating_sub(count);
        tidings = Some(Tidings::Warning { failure: Box::new(failure.clone()), tries_left });
        state.warned_since = Some(since);
    }
    // Others of the profile will meet a failure of its servers within the gap between two tries, and a little more.
    let wait = if can_hold(&classification) { i64::from(terms.policy.gap_seconds) * 6 / 5 } else { 0 };
    let notice = tidings.map(|tidings| to_write(tidings, wait, terms));
    let mut alerts = Vec::new();
    if terms.organization.records(failure.level()) {
        let whom = if is_told_on_profile(&classification, terms.hold) { Whom::Profile } else { Whom::Mailbox };
        alerts.push(AlertChange::Raise(Story::Failure(Box::new(failure)), whom));
    } else {
        // An alert that is not recorded is not there to be closed.
        state.open_alerts.clone_from(&before.open_alerts);
    }
    End { state, alerts, notice, wake_in_seconds: retry_in_seconds, events }
}

/// Since when a delivery had failed when its owner was warned, if the owner was. A row of the release before does not say
/// that the owner was warned, but how often the delivery has failed.
fn warned_since(before: &DeliveryState, policy: RetryPolicy) -> Option<Option<Timestamp>> {
    let is_counted = before.enabled && before.transient_failure_count >= warned_at(policy);
    (before.warned_since.is_some() || is_counted).then_some(before.warned_since.or(before.failing_since))
}

/// The failure at which an owner is warned.
const fn warned_at(policy: RetryPolicy) -> u32 {
    policy.failures_max.saturating_sub(LEFT_AT_WARNING)
}

/// Whether the owner is warned of this failure: once in a row of failures.
fn is_warned_at(count: u32, before: &DeliveryState, after: &DeliveryState, terms: &Terms<'_>) -> bool {
    let is_warning = terms.organization.warn_before_disabling && count == warned_at(terms.policy);
    is_warning && after.transient_failure_count > before.transient_failure_count && before.warned_since.is_none()
}

fn to_write(tidings: Tidings, after_seconds: i64, terms: &Terms<'_>) -> NoticeToWrite {
    NoticeToWrite { tidings, after_seconds, is_copied: terms.organization.notify_mailbox_owners }
}

/// What follows from a look at whether the server lets a disabled delivery in.
fn end_of_recovery_probe(before: &DeliveryState, works: bool, terms: &Terms<'_>, now: Timestamp) -> End {
    let mut state = DeliveryState { last_run: Some(now), ..before.clone() };
    if !works {
        state.recovery_minutes = Some(next_recovery_minutes(before.recovery_minutes));
        return End::quiet(state);
    }
    let resumed = terms.hold.recovery_probe == RecoveryProbe::Resume;
    let since = before.failing_since.unwrap_or(now);
    let notice = Some(to_write(Tidings::Recovered { since, resumed }, 0, terms));
    if !resumed {
        state.recovery_minutes = None;
        return End { notice, events: vec![Event::Recovered], ..End::quiet(state) };
    }
    let Outcome { state, closed, .. } = after_test(&state, Ok(()), now);
    let alerts = closed.into_iter().map(AlertChange::Close).collect();
    let events = vec![Event::Recovered, Event::Enabled];
    End { state, alerts, notice, wake_in_seconds: Some(GO_ON_SECONDS), events }
}

/// The moment at which a notice is due that is written at `now`.
#[must_use]
pub fn due(notice: &NoticeToWrite, now: Timestamp) -> Timestamp {
    seconds_after(now, notice.after_seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        rules::{budget::Budget, classification::Scope, run::moved::Spend},
        words::{
            cause::Cause,
            delivery::SynchronizationMethod,
            evidence::{Evidence, Stage},
            policy::FAILURES_MAX,
            spent::Account,
        },
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    fn enabled() -> DeliveryState {
        DeliveryState { enabled: true, ..DeliveryState::configured(SynchronizationMethod::ServerSideSynchronization) }
    }

    fn failing(failures: u32) -> DeliveryState {
        DeliveryState {
            status: TestStatus::Failure,
            transient_failure_count: failures,
            failing_since: Some(at(-3_000)),
            open_alerts: vec![AlertKind::ServerNotReachable],
            ..enabled()
        }
    }

    fn error(cause: Cause) -> DeliveryError {
        DeliveryError::new(cause, Evidence::new(Stage::Connect, "words"))
    }

    fn terms(organization: &Organization) -> Terms<'_> {
        Terms {
            policy: RetryPolicy::default(),
            organization,
            hold: organization.hold,
            credentials: CredentialSource::Mailbox,
        }
    }

    fn ended(before: &DeliveryState, mode: Mode, moved: &Moved, result: Result<(), &DeliveryError>) -> End {
        let organization = Organization::default();
        end(before, &Ran { mode, started: at(0), moved, result }, &terms(&organization), at(1))
    }

    fn kind(end: &End) -> Option<crate::words::notice::NoticeKind> {
        end.notice.as_ref().map(|notice| notice.tidings.kind())
    }

    #[test]
    fn a_test_in_a_passing_outage_enables_nothing_and_disables_nothing_that_worked() {
        for cause in Cause::ALL {
            let is_transient = classify(cause, CredentialSource::Mailbox).permanence == Permanence::Transient;
            let tested = |before: &DeliveryState| ended(before, Mode::Trial, &Moved::default(), Err(&error(cause)));
            let end = tested(&failing(3));
            assert_eq!(end.state.enabled, is_transient, "{cause:?}");
            assert_eq!(end == End::quiet(failing(3)), is_transient, "{cause:?}");
            assert!(!tested(&DeliveryState { enabled: false, ..failing(3) }).state.enabled, "{cause:?}");
        }
    }

    #[test]
    fn an_owner_who_was_warned_is_told_of_a_recovery_whether_or_not_it_moves_anything() {
        use crate::words::notice::NoticeKind::{Recovered, Warning};
        let refused = error(Cause::ConnectionRefused);
        let warned = ended(&failing(7), Mode::Synchronization, &Moved::default(), Err(&refused));
        assert_eq!((kind(&warned), warned.state.warned_since), (Some(Warning), Some(at(-3_000))));
        for done in [0, 5] {
            let moved = Moved { done, waiting: Some(0), ..Moved::default() };
            let end = ended(&warned.state, Mode::Synchronization, &moved, Ok(()));
            assert_eq!((kind(&end), end.state.warned_since), (Some(Recovered), None), "{done} messages");
            let again = ended(&end.state, Mode::Synchronization, &moved, Ok(()));
            assert_eq!(kind(&again), None, "told once");
        }
        // A row that the release before wrote says how often it has failed, and not that the owner was warned.
        let moved = Moved { done: 1, ..Moved::default() };
        assert_eq!(kind(&ended(&failing(8), Mode::Synchronization, &moved, Ok(()))), Some(Recovered));
        assert_eq!(kind(&ended(&failing(7), Mode::Synchronization, &moved, Ok(()))), None, "nobody was warned");
    }

    #[test]
    fn a_failure_after_messages_came_through_is_the_first_of_its_row_and_the_warning_is_remembered() {
        let refused = error(Cause::ConnectionLost);
        let warned = DeliveryState { warned_since: Some(at(-3_000)), ..failing(8) };
        let moved = Moved { done: 3, waiting: Some(7), ..Moved::default() };
        let end = ended(&warned, Mode::Synchronization, &moved, Err(&refused));
        assert_eq!((end.state.transient_failure_count, end.state.failing_since), (1, Some(at(1))));
        assert_eq!((end.state.enabled, end.state.backlog, kind(&end)), (true, 7, None));
        let works = ended(&end.state, Mode::Synchronization, &Moved::default(), Ok(()));
        assert_eq!(kind(&works), Some(crate::words::notice::NoticeKind::Recovered));
    }

    #[test]
    fn a_round_that_is_not_over_goes_on_at_once_and_waits_where_a_budget_is_used_up() {
        let moved = Moved { done: 10, waiting: Some(90), more: true, ..Moved::default() };
        let before = DeliveryState { last_run: Some(at(-300)), ..enabled() };
        let end = ended(&before, Mode::Synchronization, &moved, Ok(()));
        assert_eq!((end.wake_in_seconds, end.state.last_run), (Some(1), Some(at(-300))));
        let spend = |amount| Spend { account: Account::Requests, budget: Budget { limit: 100, seconds: 60 }, amount };
        let moved = Moved { spends: vec![spend(95)], ..moved };
        let end = ended(&before, Mode::Synchronization, &moved, Ok(()));
        assert_eq!((end.wake_in_seconds, end.state.postponed_until), (Some(60), Some(at(61))));
        let moved = Moved { spends: vec![spend(50)], ..moved };
        assert_eq!(ended(&before, Mode::Synchronization, &moved, Ok(())).state.postponed_until, None);
        let over = Moved { over_budget: true, ..moved };
        assert_eq!(ended(&before, Mode::Synchronization, &over, Ok(())).state.postponed_until, Some(at(61)));
    }

    #[test]
    fn a_probe_of_a_held_profile_spends_no_try_and_keeps_what_it_did() {
        let before = failing(4);
        let end = ended(&before, Mode::HoldProbe, &Moved::default(), Err(&error(Cause::ConnectionRefused)));
        assert_eq!(end, End::quiet(before.clone()));
        let end = ended(&before, Mode::HoldProbe, &Moved::default(), Err(&error(Cause::CredentialsRefused)));
        assert!(!end.state.enabled, "a failure of the mailbox counts as always");
    }

    #[test]
    fn a_story_of_a_delivery_that_did_not_run_is_told_once() {
        let organization = Organization::default();
        let story = Story::Stall { since: at(-9_000) };
        let first = told(&enabled(), story.clone(), &organization).unwrap();
        assert_eq!(first.alerts, [AlertChange::Raise(story.clone(), Whom::Mailbox)]);
        assert_eq!(told(&first.state, story.clone(), &organization), None);
        let silent = Organization { recorded_alert_levels: vec![], ..organization };
        assert_eq!(told(&enabled(), story, &silent), None);
    }

    fn any_mode() -> impl Strategy<Value = Mode> {
        prop::sample::select(vec![Mode::Synchronization, Mode::HoldProbe, Mode::RecoveryProbe, Mode::Trial])
    }

    fn any_organization() -> impl Strategy<Value = Organization> {
        use crate::words::alert::Level;
        let probes = vec![RecoveryProbe::Off, RecoveryProbe::Tell, RecoveryProbe::Resume];
        let levels = prop::sample::subsequence(Level::ALL.to_vec(), 0..=3);
        (prop::sample::select(probes), 0_u16..3, levels, any::<bool>(), any::<bool>()).prop_map(
            |(recovery_probe, hold_after_mailboxes, recorded_alert_levels, warn, copy)| Organization {
                hold: HoldSettings { hold_after_mailboxes, recovery_probe },
                recorded_alert_levels,
                warn_before_disabling: warn,
                notify_mailbox_owners: copy,
                ..Organization::default()
            },
        )
    }

    fn any_moved() -> impl Strategy<Value = Moved> {
        (0_u32..3, prop::option::of(0_u32..3), any::<bool>()).prop_map(|(done, waiting, more)| Moved {
            done,
            waiting,
            more,
            ..Moved::default()
        })
    }

    fn any_before() -> impl Strategy<Value = DeliveryState> {
        (any::<bool>(), 0..FAILURES_MAX, any::<bool>(), any::<bool>()).prop_map(
            |(is_enabled, failures, open, warned)| {
                let open_alerts = if open { vec![AlertKind::ServerNotReachable] } else { vec![] };
                let failing_since = (failures > 0).then(|| at(-600));
                let warned_since = failing_since.filter(|_| warned);
                let transient_failure_count = failures;
                DeliveryState {
                    enabled: is_enabled,
                    transient_failure_count,
                    failing_since,
                    warned_since,
                    open_alerts,
                    recovery_minutes: (!is_enabled).then_some(15),
                    ..enabled()
                }
            },
        )
    }

    proptest! {
        #[test]
        fn every_end_keeps_the_rules(
            before in any_before(),
            mode in any_mode(),
            moved in any_moved(),
            cause in prop::option::of(prop::sample::select(Cause::ALL.to_vec())),
            credentials in prop::sample::select(vec![CredentialSource::Mailbox, CredentialSource::Profile, CredentialSource::ServerToServer]),
            organization in any_organization(),
        ) {
            let failed = cause.map(error);
            let terms = Terms { credentials, ..terms(&organization) };
            let result = failed.as_ref().map_or(Ok(()), Err);
            let end = end(&before, &Ran { mode, started: at(0), moved: &moved, result }, &terms, at(1));
            let classification = cause.map(|cause| classify(cause, credentials));
            // Only a permanent failure, the tenth of a row, or a failed test disables; a probe never does.
            if before.enabled && !end.state.enabled {
                let of = classification.unwrap();
                prop_assert!(of.permanence == Permanence::Permanent || mode == Mode::Trial || end.state.transient_failure_count >= FAILURES_MAX);
                prop_assert_eq!(mode == Mode::RecoveryProbe, false);
            }
            // A disabling that was counted is told, and told as what it is.
            let told_disabled = matches!(end.notice.as_ref().map(|n| &n.tidings), Some(Tidings::Disabled { .. }));
            prop_assert_eq!(told_disabled, end.state.times_disabled > before.times_disabled);
            // An alert that is raised is recorded by level, is referred to, and stands where its scope says.
            for change in &end.alerts {
                match change {
                    AlertChange::Raise(story, whom) => {
                        prop_assert!(organization.records(story.level()));
                        prop_assert!(end.state.open_alerts.contains(&story.kind()));
                        let of = classification.unwrap();
                        prop_assert!(*whom == Whom::Mailbox || of.scope == Scope::Server);
                    }
                    AlertChange::Close(kind) => {
                        prop_assert!(before.open_alerts.contains(kind));
                        prop_assert!(!end.state.open_alerts.contains(kind));
                    }
                }
            }
            // Whatever is open afterwards was open before or is raised now.
            for kind in &end.state.open_alerts {
                let raised = end.alerts.iter().any(|c| matches!(c, AlertChange::Raise(s, _) if s.kind() == *kind));
                prop_assert!(before.open_alerts.contains(kind) || raised);
            }
            // Nothing is woken that may not run.
            prop_assert!(end.wake_in_seconds.is_none() || end.state.enabled);
            // The owner is warned once in a row of failures, and never where nobody wants it.
            if matches!(end.notice.as_ref().map(|n| &n.tidings), Some(Tidings::Warning { .. })) {
                prop_assert!(organization.warn_before_disabling && before.warned_since.is_none());
                prop_assert!(end.state.warned_since.is_some() && end.state.enabled);
            }
            prop_assert!(end.notice.as_ref().is_none_or(|notice| notice.is_copied == organization.notify_mailbox_owners));
            // A success leaves no failure behind.
            if cause.is_none() && mode != Mode::RecoveryProbe {
                prop_assert_eq!((end.state.transient_failure_count, end.state.open_alerts.len()), (0, 0));
            }
        }
    }
}
