//! When a profile is held because its servers fail, and which of its mailboxes tries them meanwhile.

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    rules::classification::{Classification, Permanence, Scope},
    seconds_after,
    settings::hold::HoldSettings,
    words::{cause::DeliveryError, delivery::Delivery},
};

/// Time between two probes of a held profile, in seconds.
pub const PROBE_SECONDS: i64 = 300;

/// Two failures of a profile's mailboxes belong to one outage if they are less than this far apart, in seconds.
pub const HOLD_WINDOW_SECONDS: i64 = 900;

/// What is known of a profile's servers from the failures of its mailboxes. There is none while all is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileHealth {
    /// When the first of these failures was.
    pub since: Timestamp,
    /// Distinct mailboxes that failed, up to as many as hold the profile.
    pub failing: Vec<String>,
    /// The delivery that failed first.
    pub delivery: Delivery,
    /// What the last failure was.
    pub error: DeliveryError,
    /// When the next probe is due, if the profile is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_at: Option<Timestamp>,
}

/// What a wake of a profile's mailbox may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Run as always.
    Run,
    /// Nothing: the profile is held.
    Held,
    /// Try, for all of the profile.
    Probe,
}

/// What a wake may do at `now`.
#[must_use]
pub fn turn(health: Option<&ProfileHealth>, now: Timestamp) -> Turn {
    match health.and_then(|health| health.probe_at) {
        None => Turn::Run,
        Some(probe_at) if probe_at <= now => Turn::Probe,
        Some(_) => Turn::Held,
    }
}

/// Whether a failure says something of the servers of a whole profile.
#[must_use]
pub fn can_hold(classification: &Classification) -> bool {
    (classification.permanence, classification.scope) == (Permanence::Transient, Scope::Server)
}

/// Whether a failure is told on the profile: the next mailbox will meet it too. While a hold may still come of it, it is
/// told on the few mailboxes that are tried until then, and the hold is the profile's alert.
#[must_use]
pub fn is_told_on_profile(classification: &Classification, settings: HoldSettings) -> bool {
    classification.scope == Scope::Server && !(settings.hold_after_mailboxes > 0 && can_hold(classification))
}

/// The health after a mailbox failed because of its server at `now`; the profile is held once `mailboxes` have.
#[must_use]
pub fn after_failure(
    before: Option<&ProfileHealth>,
    mailbox: &str,
    delivery: Delivery,
    error: &DeliveryError,
    mailboxes: u16,
    now: Timestamp,
) -> ProfileHealth {
    let fresh = ProfileHealth { since: now, failing: vec![], delivery, error: error.clone(), probe_at: None };
    let same =
        before.filter(|known| known.probe_at.is_some() || (now - known.since).num_seconds() < HOLD_WINDOW_SECONDS);
    let mut health = ProfileHealth { error: error.clone(), ..same.cloned().unwrap_or(fresh) };
    if health.failing.iter().all(|known| known != mailbox) && health.failing.len() < usize::from(mailboxes) {
        health.failing.push(mailbox.to_owned());
    }
    if health.probe_at.is_none() && health.failing.len() >= usize::from(mailboxes.max(1)) {
        health.probe_at = Some(next_probe(now));
    }
    health
}

/// When a held profile is probed again after `now`.
#[must_use]
pub fn next_probe(now: Timestamp) -> Timestamp {
    seconds_after(now, PROBE_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rules::classification::classify,
        words::{
            cause::{Cause, CredentialSource},
            evidence::{Evidence, Stage},
        },
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    fn failed(before: Option<&ProfileHealth>, mailbox: &str, second: i64) -> ProfileHealth {
        let error = DeliveryError::new(Cause::ConnectionRefused, Evidence::new(Stage::Connect, "refused"));
        after_failure(before, mailbox, Delivery::IncomingEmail, &error, 3, at(second))
    }

    #[test]
    fn distinct_mailboxes_hold_a_profile_and_repeats_of_one_do_not() {
        let first = failed(None, "a", 0);
        let again = failed(Some(&first), "a", 300);
        assert_eq!((again.failing.len(), turn(Some(&again), at(301))), (1, Turn::Run));
        let second = failed(Some(&again), "b", 301);
        assert_eq!(turn(Some(&second), at(302)), Turn::Run);
        let third = failed(Some(&second), "c", 302);
        assert_eq!(turn(Some(&third), at(303)), Turn::Held);
        assert_eq!(turn(Some(&third), at(302 + PROBE_SECONDS)), Turn::Probe);
        assert_eq!(failed(Some(&third), "d", 303).probe_at, third.probe_at, "a hold is not put off by more failures");
        assert_eq!(turn(None, at(0)), Turn::Run);
    }

    #[test]
    fn failures_far_apart_are_not_one_outage() {
        let first = failed(Some(&failed(None, "a", 0)), "b", 1);
        let later = failed(Some(&first), "c", HOLD_WINDOW_SECONDS);
        assert_eq!((later.failing, later.probe_at), (vec!["c".to_owned()], None));
    }

    #[test]
    fn only_passing_faults_of_the_server_are_an_outage() {
        let is = |cause, credentials| can_hold(&classify(cause, credentials));
        assert!(is(Cause::ConnectionRefused, CredentialSource::Mailbox));
        assert!(is(Cause::ServerUnavailable, CredentialSource::Profile));
        for cause in [Cause::CredentialsRefused, Cause::CertificateRefused, Cause::MailboxInUse, Cause::Unknown] {
            assert!(!is(cause, CredentialSource::Profile), "{cause:?}");
        }
    }
}
