//! The texts of alerts: what happened, why, and what to do about it.

use crate::{
    Timestamp,
    rules::{
        classification::{Classification, Permanence, Scope, classify},
        hold::{PROBE_SECONDS, ProfileHealth},
        run::end::Whom,
        story::{Consequence, Failure, Story},
    },
    settings::{mailbox::Mailbox, profile::EmailServerProfile},
    texts::wording::{action, capitalized, duration, moment, reason, resolution, undone},
    words::{
        alert::{Alert, AlertAction, AlertKind, AlertScope, AlertStatus},
        delivery::Delivery,
        evidence::Stage,
        policy::RetryPolicy,
    },
};

/// Whom something is told about, and when.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The profile.
    pub profile: &'a EmailServerProfile,
    /// The mailbox; `None` if it concerns the profile with all its mailboxes.
    pub mailbox: Option<&'a Mailbox>,
    /// The delivery.
    pub delivery: Delivery,
    /// The policy, for the numbers in the sentences.
    pub policy: RetryPolicy,
    /// When.
    pub now: Timestamp,
}

impl About<'_> {
    /// The name of the mailbox; empty where a profile is meant.
    fn mailbox_name(&self) -> &str {
        self.mailbox.map_or("", |mailbox| mailbox.name.as_str())
    }
}

/// The alert that tells a story.
#[must_use]
pub fn alert(story: &Story, about: &About<'_>) -> Alert {
    let blank = Alert {
        kind: story.kind(),
        level: story.level(),
        status: AlertStatus::Open,
        mailbox_id: about.mailbox.map(|mailbox| mailbox.id.clone()),
        profile_id: about.profile.id.clone(),
        delivery: about.delivery,
        scope: AlertScope::Mailbox,
        text: String::new(),
        why: String::new(),
        action: None,
        resolution: Vec::new(),
        cause: None,
        evidence: None,
        count: 1,
        first_seen: about.now,
        last_seen: about.now,
    };
    match story {
        Story::Failure(failure) => of_failure(failure, about, blank),
        Story::Held(health) => of_hold(health, about, blank),
        Story::Majority { failing } => of_majority(*failing, about, blank),
        Story::Stall { since } => of_stall(*since, about, blank),
        Story::PendingSend { why } => of_pending_send(why, about, blank),
    }
}

/// The same alert as it is told on a mailbox or on its profile.
#[must_use]
pub fn alert_on(whom: Whom, story: &Story, about: &About<'_>) -> Alert {
    match whom {
        Whom::Mailbox => alert(story, about),
        Whom::Profile => alert(story, &About { mailbox: None, ..*about }),
    }
}

fn of_failure(failure: &Failure, about: &About<'_>, blank: Alert) -> Alert {
    let Failure { error, classification, .. } = failure;
    let kind = classification.alert;
    let whom = match about.mailbox {
        Some(mailbox) => format!("the mailbox {}", mailbox.name),
        None => format!("mailboxes of the email server profile {}", about.profile.name),
    };
    let what = undone(about.delivery, &whom);
    let why = reason(kind, error, about.profile);
    let consequence = if about.mailbox.is_some() { own_consequence(failure, about) } else { common(failure, about) };
    let mut steps = resolution(kind, about.profile);
    match (about.mailbox, failure.consequence) {
        (None, _) => steps.push("Then test and enable the mailboxes of the profile that were disabled.".to_owned()),
        (Some(_), Consequence::Disabled | Consequence::NotEnabled) => {
            steps.push("Then test and enable the mailbox again.".to_owned());
        }
        (Some(_), Consequence::Again { .. }) => {}
    }
    Alert {
        scope: match classification.scope {
            Scope::Server => AlertScope::Profile,
            Scope::Mailbox => AlertScope::Mailbox,
        },
        text: format!("{what} because {why}. {consequence}"),
        why: taken_for(classification, error.evidence.stage),
        action: action(kind),
        resolution: steps,
        cause: Some(error.cause),
        evidence: Some(error.evidence.clone()),
        ..blank
    }
}

/// What follows for the one mailbox that failed.
fn own_consequence(failure: &Failure, about: &About<'_>) -> String {
    let purpose = about.delivery.purpose();
    match failure.consequence {
        Consequence::NotEnabled => format!("The mailbox is enabled for {purpose} once a test passes."),
        Consequence::Disabled => format!(
            "The mailbox has been disabled for {purpose} and the owner of the email server profile {} has been notified.",
            about.profile.name
        ),
        Consequence::Again { in_seconds } => format!(
            "It will be tried again in {}; this was failure {} of {} in a row.",
            duration(in_seconds),
            failure.count,
            about.policy.failures_max
        ),
    }
}

/// What follows for every mailbox of a profile that meets the same failure.
fn common(failure: &Failure, about: &About<'_>) -> String {
    let purpose = about.delivery.purpose();
    if failure.consequence == Consequence::NotEnabled {
        return format!("A mailbox that meets this error is enabled for {purpose} once its test passes.");
    }
    if failure.is_transient() {
        let RetryPolicy { failures_max, gap_seconds } = about.policy;
        let gap = duration(gap_seconds);
        return format!(
            "A mailbox that meets this error is tried again every {gap}, and is disabled for {purpose} after {failures_max} \
             failures in a row."
        );
    }
    format!("A mailbox that meets this error is disabled for {purpose} at once.")
}

/// Why a failure was taken for what it was, as a sentence; `stage` is where it was seen.
fn taken_for(classification: &Classification, stage: Stage) -> String {
    let permanence = match classification.permanence {
        Permanence::Permanent => "permanent, because trying again cannot help before somebody changes something",
        Permanence::Transient => "transient, because it may pass by itself",
    };
    let scope = match classification.scope {
        Scope::Server => {
            "It concerns the server or the profile, so that other mailboxes of the profile will meet it too."
        }
        Scope::Mailbox => "It concerns this mailbox alone.",
    };
    format!("The error was seen while {} and is {permanence}. {scope}", stage.doing())
}

fn of_hold(health: &ProfileHealth, about: &About<'_>, blank: Alert) -> Alert {
    let classification = classify(health.error.cause, about.profile.credentials);
    let why = reason(classification.alert, &health.error, about.profile);
    Alert {
        scope: AlertScope::Profile,
        text: format!(
            "The mailboxes of the email server profile {} are held because {why}; so far {} of them have met this error. \
             One mailbox tries every {}. When it gets through, all go on by themselves and fetch what they missed. While \
             the profile is held, no mailbox is disabled and no mailbox uses up a try.",
            about.profile.name,
            health.failing.len(),
            duration(u32::try_from(PROBE_SECONDS).unwrap_or(u32::MAX))
        ),
        why: taken_for(&classification, health.error.evidence.stage),
        resolution: resolution(classification.alert, about.profile),
        cause: Some(health.error.cause),
        evidence: Some(health.error.evidence.clone()),
        first_seen: health.since,
        delivery: health.delivery,
        ..blank
    }
}

fn of_majority(failing: usize, about: &About<'_>, blank: Alert) -> Alert {
    let name = &about.profile.name;
    Alert {
        scope: AlertScope::Profile,
        text: format!(
            "{failing} mailboxes of the email server profile {name}, more than half of them, have failed within an hour."
        ),
        resolution: resolution(AlertKind::MajorityFailing, about.profile),
        ..blank
    }
}

fn of_stall(since: Timestamp, about: &About<'_>, blank: Alert) -> Alert {
    Alert {
        text: format!(
            "{} has not worked since {}, although no run failed, because its runs do not take place.",
            capitalized(about.delivery.purpose(), about.mailbox_name()),
            moment(since)
        ),
        resolution: resolution(AlertKind::Stalled, about.profile),
        ..blank
    }
}

fn of_pending_send(why: &str, about: &About<'_>, blank: Alert) -> Alert {
    Alert {
        scope: AlertScope::Email,
        action: Some(AlertAction::TestAgain),
        text: format!(
            "Email of the mailbox {} waits with the status Pending Send because {why}.",
            about.mailbox_name()
        ),
        resolution: resolution(AlertKind::EmailPendingSend, about.profile),
        ..blank
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rules::run::{
            end::{AlertChange, End, Mode, Ran, Terms, end},
            moved::Moved,
        },
        settings::organization::Organization,
        words::{
            cause::{Cause, CredentialSource, DeliveryError},
            evidence::Evidence,
        },
    };

    #[test]
    fn every_failure_has_a_text_that_says_what_happened_and_a_resolution() {
        let (profile, mailbox) = crate::sample::sample();
        let policy = RetryPolicy::default();
        let now = Timestamp::from_timestamp(1_700_000_000, 0).unwrap();
        let delivery = Delivery::IncomingEmail;
        let about = About { profile: &profile, mailbox: Some(&mailbox), delivery, policy, now };
        let organization = Organization::default();
        let hold = organization.hold;
        let terms = Terms { policy, organization: &organization, hold, credentials: CredentialSource::Mailbox };
        let mut texts = String::new();
        for cause in Cause::ALL {
            let error = DeliveryError::new(cause, Evidence::new(Stage::SignIn, "the server's words"));
            let state = mailbox.initial_state(delivery);
            let ran = Ran { mode: Mode::Synchronization, started: now, moved: &Moved::default(), result: Err(&error) };
            let End { alerts, .. } = end(&state, &ran, &terms, now);
            let [AlertChange::Raise(story, whom)] = &alerts[..] else { panic!("one alert: {alerts:?}") };
            let own = alert(story, &about);
            texts.push_str(&format!("{cause:?} [{:?}, {:?}, {:?}]\n", own.level, own.scope, own.action));
            texts.push_str(&format!("  {}\n  {}\n", own.text, own.why));
            for step in &own.resolution {
                texts.push_str(&format!("  - {step}\n"));
            }
            if *whom == Whom::Profile {
                texts.push_str(&format!("  Of the profile: {}\n", alert_on(*whom, story, &about).text));
            }
        }
        insta::assert_snapshot!(texts);
    }

    #[test]
    fn numbers_in_a_text_are_those_of_the_policy() {
        let (profile, mailbox) = crate::sample::sample();
        let now = Timestamp::from_timestamp(1_700_000_000, 0).unwrap();
        let policy = RetryPolicy { failures_max: 4, gap_seconds: 90 };
        let about =
            About { profile: &profile, mailbox: Some(&mailbox), delivery: Delivery::IncomingEmail, policy, now };
        let error = DeliveryError::new(Cause::TimedOut, Evidence::new(Stage::Connect, "words"));
        let classification = classify(Cause::TimedOut, CredentialSource::Mailbox);
        let consequence = Consequence::Again { in_seconds: 90 };
        let failure = Failure { error, classification, consequence, count: 2, since: now };
        let story = Story::Failure(Box::new(failure));
        let own = alert(&story, &about).text;
        assert!(own.contains("in 90 seconds") && own.contains("failure 2 of 4"), "{own}");
        let common = alert_on(Whom::Profile, &story, &about).text;
        assert!(common.contains("every 90 seconds") && common.contains("after 4 failures"), "{common}");
    }
}
