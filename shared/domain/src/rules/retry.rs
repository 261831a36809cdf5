//! The retry policy as a state machine: ten failures in a row, five minutes apart, then disabled; permanent at once.
//!
//! Source page, "Mailbox deliveries regularly disabled". [`after_attempt`] and [`after_test`] are the only places that count a
//! failure or disable a delivery; [`crate::rules::run::end`] adds what else follows from the end of a run.

use crate::{
    Timestamp,
    rules::classification::{Classification, Permanence, classify},
    seconds_after,
    words::{
        alert::AlertKind,
        cause::{Cause, CredentialSource, DeliveryError},
        delivery::TestStatus,
        evidence::Stage,
        policy::RetryPolicy,
        state::DeliveryState,
    },
};

/// Longest wait that a server can impose on us, in seconds: one day.
pub const SERVER_WAIT_SECONDS_MAX: u32 = 86_400;

/// Failures in a row after which messages are read one by one, so that a bad one is found.
pub const SINGLY_AFTER_FAILURES: u32 = 3;

/// Failures in a row after which a message at which the server hangs up is left out, to see whether the next one comes:
/// late enough for a fault of the network to have passed, early enough for the mailbox not to be disabled for it.
pub const PASS_OVER_AFTER_FAILURES: u32 = 7;

/// How cautiously messages are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// Many at once.
    Pages,
    /// One by one.
    Singly,
    /// One by one. If the server hangs up at the first, it is left out to see whether the next one comes.
    PassOver,
}

impl Pace {
    /// The pace after so many failures in a row.
    #[must_use]
    pub const fn after(failures: u32) -> Self {
        match failures {
            0..SINGLY_AFTER_FAILURES => Self::Pages,
            SINGLY_AFTER_FAILURES..PASS_OVER_AFTER_FAILURES => Self::Singly,
            PASS_OVER_AFTER_FAILURES.. => Self::PassOver,
        }
    }

    /// Whether a reading that ended with this error at its first message is repeated without that message.
    #[must_use]
    pub fn leaves_out(self, error: &DeliveryError) -> bool {
        self == Self::PassOver && hangs_up(error)
    }
}

/// Whether a failure is the server ending the connection, in words or without, or saying nothing that can be read when it
/// is asked for a message.
fn hangs_up(error: &DeliveryError) -> bool {
    let is_of_fetching = error.evidence.stage == Stage::Fetch;
    match error.cause {
        Cause::ServerUnavailable | Cause::ConnectionLost => true,
        Cause::TimedOut | Cause::ProtocolViolation | Cause::Unknown => is_of_fetching,
        Cause::HostNotFound
        | Cause::HostNotAllowed
        | Cause::ConnectionRefused
        | Cause::CertificateRefused
        | Cause::HandshakeFailed
        | Cause::TlsNotOffered
        | Cause::ServerBusy
        | Cause::CapabilityMissing
        | Cause::AuthenticationNotOffered
        | Cause::CredentialsMissing
        | Cause::CredentialsUnreadable
        | Cause::CredentialsRefused
        | Cause::CredentialsExpired
        | Cause::ApplicationUnknown
        | Cause::PermissionMissing
        | Cause::MailboxNotEnabled
        | Cause::AccessDenied
        | Cause::SignInFailed
        | Cause::MailboxInUse
        | Cause::MailboxNotFound
        | Cause::OverQuota
        | Cause::SenderRefused
        | Cause::SenderDeferred
        | Cause::TestMessageNotArrived
        | Cause::AddressNotApproved
        | Cause::TenantApprovalMissing
        | Cause::OrganizerMissing
        | Cause::OtherPrimaryOrganization => false,
    }
}

/// Whether real servers give this permanent answer in passing: 401 under load, or "no such mailbox" while it is moved. Such
/// an answer is believed once a second look, over a new connection, meets it again.
#[must_use]
pub const fn is_said_in_passing(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::CredentialsRefused
            | Cause::AccessDenied
            | Cause::MailboxNotFound
            | Cause::MailboxNotEnabled
            | Cause::PermissionMissing
            | Cause::ApplicationUnknown
    )
}

/// A failure whose permanent answer a second look did not meet: it is transient, with the words that were seen.
#[must_use]
pub fn passing(error: DeliveryError) -> DeliveryError {
    let cause = if error.cause == Cause::CredentialsRefused { Cause::SignInFailed } else { Cause::ServerUnavailable };
    DeliveryError { cause, ..error }
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt<'a> {
    /// It went through.
    Succeeded,
    /// It failed, with these credentials.
    Failed(&'a DeliveryError, CredentialSource),
}

/// What follows from an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The delivery's state from now on.
    pub state: DeliveryState,
    /// Kinds of the alerts that are over.
    pub closed: Vec<AlertKind>,
    /// Seconds after which to try again, where another try follows.
    pub retry_in_seconds: Option<u32>,
    /// Whether this attempt disabled the delivery, so that the profile's owner must be told.
    pub disabled: bool,
    /// What the failure was taken for.
    pub classification: Option<Classification>,
}

/// The outcome of an attempt that began at `started` and ended at `now`.
#[must_use]
pub fn after_attempt(
    policy: RetryPolicy,
    before: &DeliveryState,
    attempt: Attempt<'_>,
    started: Timestamp,
    now: Timestamp,
) -> Outcome {
    match attempt {
        Attempt::Succeeded => succeeded(before, started, now),
        Attempt::Failed(error, credentials) => failed(policy, before, error, credentials, started, now),
    }
}

/// The outcome of a test that ended at `now`: the delivery is enabled if the test passed, and disabled if it failed. Mailrail
/// does not repeat a test by itself. A failure counts as a disabling only if the delivery was enabled. The end of a run
/// asks this rule nothing about a transient failure of an enabled delivery, because such a test changes nothing.
#[must_use]
pub fn after_test(
    before: &DeliveryState,
    result: Result<(), (&DeliveryError, CredentialSource)>,
    now: Timestamp,
) -> Outcome {
    match result {
        Ok(()) => {
            let state = DeliveryState { status: TestStatus::Success, ..before.re_enabled(now) };
            let closed = before.open_alerts.clone();
            Outcome { state, closed, retry_in_seconds: None, disabled: false, classification: None }
        }
        Err((error, credentials)) => {
            let classification = classify(error.cause, credentials);
            let mut open_alerts = before.open_alerts.clone();
            if !open_alerts.contains(&classification.alert) {
                open_alerts.push(classification.alert);
            }
            let state = DeliveryState {
                enabled: false,
                status: TestStatus::Failure,
                failing_since: Some(before.failing_since.unwrap_or(now)),
                postponed_until: None,
                open_alerts,
                times_disabled: before.times_disabled + u32::from(before.enabled),
                ..before.clone()
            };
            Outcome {
                state,
                closed: Vec::new(),
                retry_in_seconds: None,
                disabled: before.enabled,
                classification: Some(classification),
            }
        }
    }
}

fn succeeded(before: &DeliveryState, started: Timestamp, now: Timestamp) -> Outcome {
    let closed = before.open_alerts.clone();
    let state = DeliveryState {
        status: TestStatus::Success,
        transient_failure_count: 0,
        failing_since: None,
        postponed_until: None,
        last_run: Some(started),
        last_success: Some(now),
        open_alerts: Vec::new(),
        ..before.clone()
    };
    Outcome { state, closed, retry_in_seconds: None, disabled: false, classification: None }
}

fn failed(
    policy: RetryPolicy,
    before: &DeliveryState,
    error: &DeliveryError,
    credentials: CredentialSource,
    started: Timestamp,
    now: Timestamp,
) -> Outcome {
    let classification = classify(error.cause, credentials);
    // A server that names its own waiting time has answered: the wait is kept, and it spends none of the ten tries.
    let server_wait = match classification.permanence {
        Permanence::Transient => error.retry_after_seconds.map(|asked| asked.min(SERVER_WAIT_SECONDS_MAX)),
        Permanence::Permanent => None,
    };
    let count = match (classification.permanence, server_wait) {
        (Permanence::Permanent, _) | (Permanence::Transient, Some(_)) => before.transient_failure_count,
        (Permanence::Transient, None) => before.transient_failure_count.saturating_add(1),
    };
    let disabled = classification.permanence == Permanence::Permanent || count >= policy.failures_max;
    let wait = policy.gap_seconds.max(server_wait.unwrap_or(0));
    let mut open_alerts = before.open_alerts.clone();
    if !open_alerts.contains(&classification.alert) {
        open_alerts.push(classification.alert);
    }
    let state = DeliveryState {
        enabled: !disabled,
        status: TestStatus::Failure,
        transient_failure_count: count,
        failing_since: Some(before.failing_since.unwrap_or(now)),
        postponed_until: (!disabled).then(|| seconds_after(now, i64::from(wait))),
        last_run: Some(started),
        open_alerts,
        times_disabled: before.times_disabled + u32::from(disabled),
        recovery_minutes: None,
        ..before.clone()
    };
    Outcome {
        closed: Vec::new(),
        retry_in_seconds: (!disabled).then_some(wait),
        disabled,
        classification: Some(classification),
        state,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::words::{
        cause::Cause,
        delivery::SynchronizationMethod,
        evidence::{Evidence, Stage},
        policy::{FAILURES_MAX, GAP_SECONDS},
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    fn error(cause: Cause) -> DeliveryError {
        DeliveryError::new(cause, Evidence::new(Stage::Connect, "words"))
    }

    fn fresh() -> DeliveryState {
        DeliveryState { enabled: true, ..DeliveryState::configured(SynchronizationMethod::ServerSideSynchronization) }
    }

    fn fail(state: &DeliveryState, cause: Cause, now: Timestamp) -> Outcome {
        let attempt = error(cause);
        after_attempt(RetryPolicy::default(), state, Attempt::Failed(&attempt, CredentialSource::Mailbox), now, now)
    }

    #[test]
    fn the_tenth_transient_failure_in_a_row_disables_and_the_ninth_does_not() {
        let mut state = fresh();
        for n in 1..=9 {
            let outcome = fail(&state, Cause::TimedOut, at(n * 300));
            assert_eq!((outcome.disabled, outcome.retry_in_seconds), (false, Some(GAP_SECONDS)), "failure {n}");
            state = outcome.state;
        }
        let tenth = fail(&state, Cause::TimedOut, at(3000));
        assert!(tenth.disabled && !tenth.state.enabled);
        assert_eq!((tenth.retry_in_seconds, tenth.state.times_disabled), (None, 1));
        assert_eq!(tenth.state.failing_since, Some(at(300)));
    }

    #[test]
    fn reading_grows_more_cautious_before_a_mailbox_is_disabled() {
        let paces = [0, 2, 3, 6, 7, 9].map(Pace::after);
        assert_eq!(paces, [Pace::Pages, Pace::Pages, Pace::Singly, Pace::Singly, Pace::PassOver, Pace::PassOver]);
        const { assert!(PASS_OVER_AFTER_FAILURES + 1 < FAILURES_MAX) };
    }

    #[test]
    fn a_permanent_failure_disables_at_once() {
        let outcome = fail(&fresh(), Cause::CredentialsRefused, at(0));
        assert!(outcome.disabled && !outcome.state.enabled);
        assert_eq!(outcome.state.transient_failure_count, 0);
    }

    #[test]
    fn a_success_resets_the_count_and_closes_what_is_open() {
        let failed = fail(&fresh(), Cause::TimedOut, at(0)).state;
        let outcome = after_attempt(RetryPolicy::default(), &failed, Attempt::Succeeded, at(300), at(301));
        assert_eq!((outcome.state.transient_failure_count, outcome.state.failing_since), (0, None));
        assert_eq!(outcome.closed, [AlertKind::ServerNotReachable]);
        assert_eq!(outcome.state.last_success, Some(at(301)));
    }

    #[test]
    fn a_wait_that_the_server_asked_for_is_kept_clamped_and_spends_no_try() {
        let mut asked = error(Cause::ServerBusy);
        asked.retry_after_seconds = Some(u32::MAX);
        let attempt = Attempt::Failed(&asked, CredentialSource::Mailbox);
        let outcome = after_attempt(RetryPolicy::default(), &fresh(), attempt, at(0), at(0));
        assert_eq!(outcome.retry_in_seconds, Some(SERVER_WAIT_SECONDS_MAX));
        assert_eq!(outcome.state.transient_failure_count, 0);
    }

    fn any_cause() -> impl Strategy<Value = Option<Cause>> {
        prop_oneof![Just(None), prop::sample::select(Cause::ALL.to_vec()).prop_map(Some)]
    }

    proptest! {
        #[test]
        fn the_machine_keeps_its_rules(history in prop::collection::vec(any_cause(), 0..60)) {
            let mut state = fresh();
            let mut failures_in_a_row = 0;
            for (step, event) in (0_i64..).zip(history) {
                if !state.enabled {
                    break;
                }
                let now = at(step * 300);
                let outcome = match event {
                    None => after_attempt(RetryPolicy::default(), &state, Attempt::Succeeded, now, now),
                    Some(cause) => fail(&state, cause, now),
                };
                let permanent = event
                    .is_some_and(|c| classify(c, CredentialSource::Mailbox).permanence == Permanence::Permanent);
                failures_in_a_row = match event { None => 0, Some(_) if permanent => failures_in_a_row, Some(_) => failures_in_a_row + 1 };
                // Disabled exactly when permanent or at the tenth in a row, never otherwise.
                prop_assert_eq!(outcome.disabled, permanent || failures_in_a_row >= FAILURES_MAX);
                prop_assert_eq!(outcome.disabled, !outcome.state.enabled);
                // A retry exactly when it failed and still runs, never sooner than the gap.
                prop_assert_eq!(outcome.retry_in_seconds.is_some(), event.is_some() && !outcome.disabled);
                prop_assert!(outcome.state.postponed_until.is_none_or(|until| until >= seconds_after(now, i64::from(GAP_SECONDS))));
                prop_assert_eq!(outcome.state.transient_failure_count, failures_in_a_row.min(FAILURES_MAX));
                prop_assert_eq!(outcome.state.open_alerts.is_empty(), event.is_none());
                state = outcome.state;
            }
        }
    }
}
