//! The texts of notices: what happened to which mailbox, the server's words, and what to do.

use crate::{
    Timestamp,
    rules::{hold::can_hold, retry::Outcome},
    seconds_after,
    settings::{mailbox::Mailbox, profile::EmailServerProfile},
    words::{
        alert::Alert,
        delivery::Delivery,
        evidence::Evidence,
        notice::{Notice, NoticeKind, NoticeStatus},
    },
};

/// Shortest wait after a notice could not be sent, in seconds; it doubles with every try.
const WAIT_SECONDS_MIN: i64 = 60;

/// Longest wait, in seconds. A notice is never given up.
const WAIT_SECONDS_MAX: i64 = 3_600;

/// Notices of one kind and profile from which on a digest takes their place.
pub const DIGEST_FROM: usize = 5;

/// Mailboxes that a digest names.
const DIGEST_NAMES_MAX: usize = 50;

/// Doublings after which the wait has reached its longest.
const DOUBLINGS_MAX: u32 = 6;

impl Notice {
    /// The notice of a disabling: mailbox, what failed, the server's words, first and last time, and what to do.
    #[must_use]
    pub fn of_disabling(
        mailbox: &Mailbox,
        profile: &EmailServerProfile,
        delivery: Delivery,
        outcome: &Outcome,
        alert: &Alert,
        now: Timestamp,
    ) -> Self {
        let id = format!("{}-{}-{}", mailbox.id, delivery.as_str(), outcome.state.times_disabled);
        let subject = format!("The mailbox {} has been disabled for {}", mailbox.name, delivery.purpose());
        let text = text(mailbox, profile, outcome, alert, now);
        Self::of_mailbox(id, NoticeKind::Disabled, mailbox, profile, delivery, subject, text, now)
    }

    /// The notice of a delivery that two more failures will disable; `alert` is that of its last failure.
    #[must_use]
    pub fn of_warning(
        mailbox: &Mailbox,
        profile: &EmailServerProfile,
        delivery: Delivery,
        outcome: &Outcome,
        alert: &Alert,
        now: Timestamp,
    ) -> Self {
        let since = outcome.state.failing_since.unwrap_or(now).timestamp();
        let id = format!("{}-{}-warning-{since}", mailbox.id, delivery.as_str());
        let subject = format!("The mailbox {} is about to be disabled for {}", mailbox.name, delivery.purpose());
        let text = format!(
            "Two tries are left, about ten minutes; then the mailbox is disabled.\n\n{}",
            text(mailbox, profile, outcome, alert, now)
        );
        Self::of_mailbox(id, NoticeKind::Warning, mailbox, profile, delivery, subject, text, now)
    }

    /// The notice that a delivery works again of which an owner was warned, or which was disabled. `resumed` tells
    /// whether it goes on by itself.
    #[must_use]
    pub fn of_recovery(
        mailbox: &Mailbox,
        profile: &EmailServerProfile,
        delivery: Delivery,
        since: Timestamp,
        resumed: bool,
        now: Timestamp,
    ) -> Self {
        let id = format!("{}-{}-recovered-{}", mailbox.id, delivery.as_str(), since.timestamp());
        let subject = format!("The mailbox {} works again for {}", mailbox.name, delivery.purpose());
        let next = if resumed {
            "It goes on by itself and fetches what was missed. There is nothing to do."
        } else {
            "It is disabled still: test and enable the mailbox, and what was missed is fetched."
        };
        let text = format!(
            "The server answers again for the mailbox {} <{}>, which had failed since {}.\n\n{next}\n",
            mailbox.name,
            mailbox.address_text(),
            moment(since)
        );
        Self::of_mailbox(id, NoticeKind::Recovered, mailbox, profile, delivery, subject, text, now)
    }

    /// The one notice of a held profile.
    #[must_use]
    pub fn of_hold(profile: &EmailServerProfile, alert: &Alert, now: Timestamp) -> Self {
        let subject = format!("The mailboxes of the email server profile {} are held", profile.name);
        let mut text = format!("{}\n", alert.text);
        if let Some(evidence) = &alert.evidence {
            text.push_str(&words(evidence));
        }
        text.push_str(&steps(&alert.resolution));
        Self::of_profile(NoticeKind::Held, profile, alert, subject, text, now)
    }

    /// The notice that more than half of a profile's mailboxes fail.
    #[must_use]
    pub fn of_majority(profile: &EmailServerProfile, alert: &Alert, now: Timestamp) -> Self {
        let subject = format!("More than half of the mailboxes of the email server profile {} fail", profile.name);
        let text = format!("{}\n{}", alert.text, steps(&alert.resolution));
        Self::of_profile(NoticeKind::MajorityFailing, profile, alert, subject, text, now)
    }

    /// The notice that a profile is held no more.
    #[must_use]
    pub fn of_release(profile: &EmailServerProfile, alert: &Alert, now: Timestamp) -> Self {
        let subject = format!("The mailboxes of the email server profile {} go on", profile.name);
        let text = format!(
            "The servers of the email server profile {} answer again. All its mailboxes go on by themselves and fetch what \
             was missed since {}. There is nothing to do.\n",
            profile.name,
            moment(alert.first_seen)
        );
        Self::of_profile(NoticeKind::Released, profile, alert, subject, text, now)
    }

    /// One notice for many of the same kind, about mailboxes of the same profile: the names of the first, and the text of
    /// one as an example. It is never stored; each of the many is marked as sent.
    #[must_use]
    pub fn digest(of: &[Self]) -> Option<Self> {
        let first = of.first()?;
        let what = match first.kind {
            NoticeKind::Disabled => format!("have been disabled for {}", first.delivery.purpose()),
            NoticeKind::Warning => format!("are about to be disabled for {}", first.delivery.purpose()),
            NoticeKind::Recovered => format!("work again for {}", first.delivery.purpose()),
            NoticeKind::Held | NoticeKind::Released | NoticeKind::MajorityFailing => return None,
        };
        let mut text = format!("{} mailboxes {what}:\n\n", of.len());
        for notice in of.iter().take(DIGEST_NAMES_MAX) {
            text.push_str(&format!("  - {}\n", notice.about));
        }
        if of.len() > DIGEST_NAMES_MAX {
            text.push_str(&format!("  and {} more; the console lists them all\n", of.len() - DIGEST_NAMES_MAX));
        }
        text.push_str(&format!("\nOf the first of them:\n\n{}", first.text));
        Some(Self {
            id: format!("digest-{}", first.id),
            subject: format!("{} mailboxes {what}", of.len()),
            copy_to: None,
            text,
            ..first.clone()
        })
    }

    #[allow(clippy::too_many_arguments)] // what a notice is made of, given once from each kind
    fn of_mailbox(
        id: String,
        kind: NoticeKind,
        mailbox: &Mailbox,
        profile: &EmailServerProfile,
        delivery: Delivery,
        subject: String,
        text: String,
        now: Timestamp,
    ) -> Self {
        Self {
            mailbox_id: Some(mailbox.id.clone()),
            about: format!("{} <{}>", mailbox.name, mailbox.address_text()),
            ..Self::pending(id, kind, profile, delivery, subject, text, now)
        }
    }

    fn of_profile(
        kind: NoticeKind,
        profile: &EmailServerProfile,
        alert: &Alert,
        subject: String,
        text: String,
        now: Timestamp,
    ) -> Self {
        let id = format!("{}-{kind:?}-{}", profile.id, alert.first_seen.timestamp()).to_lowercase();
        Self::pending(id, kind, profile, alert.delivery, subject, text, now)
    }

    /// A notice to the owner of a profile, about all of it.
    fn pending(
        id: String,
        kind: NoticeKind,
        profile: &EmailServerProfile,
        delivery: Delivery,
        subject: String,
        text: String,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            kind,
            to: profile.owner_address.clone(),
            copy_to: None,
            mailbox_id: None,
            about: profile.name.clone(),
            profile_id: profile.id.clone(),
            delivery,
            subject,
            text,
            status: NoticeStatus::Pending,
            attempts: 0,
            next_attempt: now,
            last_error: None,
            created_at: now,
            sent_at: None,
        }
    }

    /// The same, put off for a gap between two tries and a little if the server was the reason: others of the profile
    /// will follow within that time, and one digest tells of all.
    #[must_use]
    pub fn gathered(self, outcome: &Outcome, gap_seconds: u32) -> Self {
        let shared = outcome.classification.is_some_and(|classification| can_hold(&classification));
        let wait = if shared { i64::from(gap_seconds) * 6 / 5 } else { 0 };
        Self { next_attempt: seconds_after(self.next_attempt, wait), ..self }
    }

    /// The same with a copy to the mailbox that it is about.
    #[must_use]
    pub fn copied(self, mailbox: &Mailbox) -> Self {
        Self { copy_to: mailbox.address.clone(), ..self }
    }

    /// Our own Message-ID, the same at every try, so that a second copy is recognized as one.
    #[must_use]
    pub fn message_id(&self) -> String {
        format!("notice-{}@{}", self.id, self.to.domain())
    }

    /// The notice after it was sent.
    #[must_use]
    pub fn sent(&self, now: Timestamp) -> Self {
        Self {
            status: NoticeStatus::Sent,
            attempts: self.attempts.saturating_add(1),
            last_error: None,
            sent_at: Some(now),
            ..self.clone()
        }
    }

    /// The notice after it could not be sent, with the next try set.
    #[must_use]
    pub fn not_sent(&self, why: &str, now: Timestamp) -> Self {
        let wait = (WAIT_SECONDS_MIN << self.attempts.min(DOUBLINGS_MAX)).min(WAIT_SECONDS_MAX);
        Self {
            attempts: self.attempts.saturating_add(1),
            next_attempt: seconds_after(now, wait),
            last_error: Some(why.to_owned()),
            ..self.clone()
        }
    }
}

fn text(mailbox: &Mailbox, profile: &EmailServerProfile, outcome: &Outcome, alert: &Alert, now: Timestamp) -> String {
    let since = outcome.state.failing_since.unwrap_or(now);
    let mut text = format!("{}\n\n", alert.text);
    text.push_str(&format!("Mailbox:              {} <{}>\n", mailbox.name, mailbox.address_text()));
    text.push_str(&format!("Email server profile: {}\n", profile.name));
    text.push_str(&format!("First failure:        {}\n", moment(since)));
    text.push_str(&format!("Last failure:         {}\n", moment(now)));
    if outcome.state.transient_failure_count > 0 {
        text.push_str(&format!("Failures in a row:    {}\n", outcome.state.transient_failure_count));
    }
    if let Some(evidence) = &alert.evidence {
        text.push_str(&words(evidence));
    }
    text.push_str(&steps(&alert.resolution));
    text.push_str("\nNothing is lost: what arrives in the meantime is fetched once the delivery is enabled again.\n");
    text
}

fn moment(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn words(evidence: &Evidence) -> String {
    let codes: Vec<&str> = [&evidence.code, &evidence.detail].into_iter().flatten().map(String::as_str).collect();
    let separator = if codes.is_empty() { "" } else { " " };
    let stage = evidence.stage.doing();
    format!("\nThe server's words, while {stage}:\n  {}{separator}{}\n", codes.join(" "), evidence.words)
}

fn steps(resolution: &[String]) -> String {
    let steps: String =
        (1..).zip(resolution).map(|(number, step): (usize, _)| format!("  {number}. {step}\n")).collect();
    format!("\nWhat to do:\n{steps}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rules::retry::{Attempt, settle},
        words::{
            cause::{Cause, CredentialSource, DeliveryError},
            evidence::Stage,
            policy::RetryPolicy,
        },
    };

    fn notice() -> Notice {
        let (profile, mailbox) = crate::sample::sample();
        let now = Timestamp::from_timestamp(1_700_000_000, 0).unwrap();
        let evidence = Evidence::new(Stage::SignIn, "Authentication failed.")
            .with_code("NO")
            .with_detail(Some("AUTHENTICATIONFAILED"));
        let error = DeliveryError::new(Cause::CredentialsRefused, evidence);
        let policy = RetryPolicy::default();
        let delivery = Delivery::IncomingEmail;
        let state = mailbox.initial_state(delivery);
        let outcome = settle(policy, &state, Attempt::Failed(&error, CredentialSource::Mailbox), now, now);
        let alert = Alert::of_failure(&mailbox, &profile, delivery, &error, &outcome, policy, now).unwrap();
        Notice::of_disabling(&mailbox, &profile, delivery, &outcome, &alert, now)
    }

    #[test]
    fn it_names_the_mailbox_what_failed_the_servers_words_the_times_and_what_to_do() {
        let notice = notice();
        insta::assert_snapshot!(format!("To: {}\nSubject: {}\n\n{}", notice.to.as_str(), notice.subject, notice.text));
    }

    #[test]
    fn a_notice_is_never_given_up_and_its_wait_is_bounded() {
        let mut notice = notice();
        for _ in 0..40 {
            let now = notice.next_attempt;
            notice = notice.not_sent("the server is away", now);
            assert_eq!(notice.status, NoticeStatus::Pending);
            let wait = (notice.next_attempt - now).num_seconds();
            assert!((WAIT_SECONDS_MIN..=WAIT_SECONDS_MAX).contains(&wait));
        }
        assert_eq!(notice.attempts, 40);
    }

    #[test]
    fn one_disabling_is_one_notice() {
        assert_eq!(notice().id, notice().id);
    }
}
