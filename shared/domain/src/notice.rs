//! Notices: what the owner of an email server profile is told by email when a mailbox was disabled.

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    address::EmailAddress,
    alert::Alert,
    delivery::Delivery,
    id::{MailboxId, ProfileId},
    mailbox::Mailbox,
    profile::EmailServerProfile,
    retry::Outcome,
    seconds_after,
};

/// Shortest wait after a notice could not be sent, in seconds; it doubles with every try.
const WAIT_SECONDS_MIN: i64 = 60;
/// Longest wait, in seconds. A notice is never given up.
const WAIT_SECONDS_MAX: i64 = 3_600;
/// Doublings after which the wait has reached its longest.
const DOUBLINGS_MAX: u32 = 6;

/// Whether a notice has gone out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeStatus {
    /// Not yet; `last_error` says why, if it was tried.
    Pending,
    /// The server took it.
    Sent,
}

/// A notice, written in the same transaction as the disabling that it tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The same for the same disabling, so that one disabling is one notice.
    pub id: String,
    /// Whom it goes to.
    pub to: EmailAddress,
    /// The mailbox that was disabled.
    pub mailbox_id: MailboxId,
    /// Its profile.
    pub profile_id: ProfileId,
    /// The delivery that was disabled.
    pub delivery: Delivery,
    /// Subject of the email.
    pub subject: String,
    /// Text of the email.
    pub text: String,
    /// Whether it has gone out.
    pub status: NoticeStatus,
    /// Tries so far.
    #[serde(default)]
    pub attempts: u32,
    /// Not before this moment.
    pub next_attempt: Timestamp,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When the delivery was disabled.
    pub created_at: Timestamp,
    /// When it went out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

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
        Self {
            id: format!("{}-{}-{}", mailbox.id, delivery.as_str(), outcome.state.times_disabled),
            to: profile.owner_address.clone(),
            mailbox_id: mailbox.id.clone(),
            profile_id: profile.id.clone(),
            delivery,
            subject: format!("The mailbox {} has been disabled for {}", mailbox.name, delivery.purpose()),
            text: text(mailbox, profile, outcome, alert, now),
            status: NoticeStatus::Pending,
            attempts: 0,
            next_attempt: now,
            last_error: None,
            created_at: now,
            sent_at: None,
        }
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
    let moment = |at: Timestamp| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
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
        let codes: Vec<&str> = [&evidence.code, &evidence.detail].into_iter().flatten().map(String::as_str).collect();
        let separator = if codes.is_empty() { "" } else { " " };
        text.push_str(&format!(
            "\nThe server's words, while {}:\n  {}{separator}{}\n",
            evidence.stage.doing(),
            codes.join(" "),
            evidence.words
        ));
    }
    text.push_str("\nWhat to do:\n");
    for (number, step) in (1..).zip(&alert.resolution) {
        text.push_str(&format!("  {number}. {step}\n"));
    }
    text.push_str("\nNothing is lost: what arrives in the meantime is fetched once the delivery is enabled again.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cause::{Cause, CredentialSource, DeliveryError},
        evidence::{Evidence, Stage},
        retry::{Attempt, RetryPolicy, settle},
    };

    fn notice() -> Notice {
        let (profile, mailbox) = crate::profile::sample();
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
