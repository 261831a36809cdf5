//! The texts of notices: what happened to which mailbox, the server's words, and what to do.

use crate::{
    Timestamp,
    rules::{
        run::end::{NoticeToWrite, due},
        story::{Failure, Story, Tidings},
    },
    texts::{
        alert::{About, alert},
        wording::{duration, moment},
    },
    words::{
        address::EmailAddress,
        alert::Alert,
        evidence::Evidence,
        notice::{Notice, NoticeKind, NoticeStatus},
    },
};

/// Mailboxes that a digest names.
const DIGEST_NAMES_MAX: usize = 50;

/// The notice to be written at the end of a run.
#[must_use]
pub fn notice_of(to_write: &NoticeToWrite, about: &About<'_>) -> Notice {
    let copy = about.mailbox.and_then(|mailbox| mailbox.address.clone()).filter(|_| to_write.is_copied);
    Notice { next_attempt: due(to_write, about.now), copy_to: copy, ..notice(&to_write.tidings, about) }
}

/// The notice that tells tidings, due at once.
#[must_use]
pub fn notice(tidings: &Tidings, about: &About<'_>) -> Notice {
    let (id, subject, text) = match tidings {
        Tidings::Disabled { failure, times } => of_disabling(failure, *times, about),
        Tidings::Warning { failure, tries_left } => of_warning(failure, *tries_left, about),
        Tidings::Recovered { since, resumed } => of_recovery(*since, *resumed, about),
        Tidings::Held(health) => {
            let told = alert(&Story::Held(health.clone()), about);
            let subject = format!("The mailboxes of the email server profile {} are held", about.profile.name);
            (of_profile(NoticeKind::Held, told.first_seen, about), subject, with_evidence(&told))
        }
        Tidings::Released { since } => of_release(*since, about),
        Tidings::Majority { failing } => {
            let told = alert(&Story::Majority { failing: *failing }, about);
            let name = &about.profile.name;
            let subject = format!("More than half of the mailboxes of the email server profile {name} fail");
            let text = format!("{}\n{}", told.text, steps(&told.resolution));
            (of_profile(NoticeKind::MajorityFailing, told.first_seen, about), subject, text)
        }
    };
    Notice {
        id,
        kind: tidings.kind(),
        to: about.profile.owner_address.clone(),
        copy_to: None,
        mailbox_id: about.mailbox.map(|mailbox| mailbox.id.clone()),
        about: about.mailbox.map_or_else(|| about.profile.name.clone(), |_| named(about)),
        profile_id: about.profile.id.clone(),
        delivery: about.delivery,
        subject,
        text,
        status: NoticeStatus::Pending,
        attempts: 0,
        next_attempt: about.now,
        last_error: None,
        created_at: about.now,
        sent_at: None,
    }
}

/// One notice in place of many of the same kind about mailboxes of the same profile. It names the first mailboxes and
/// has the text of one notice as an example. It is never stored; each of the many is marked as sent.
#[must_use]
pub fn digest(of: &[Notice]) -> Option<Notice> {
    let first = of.first()?;
    let what = match first.kind {
        NoticeKind::Disabled => format!("have been disabled for {}", first.delivery.purpose()),
        NoticeKind::Warning => format!("are about to be disabled for {}", first.delivery.purpose()),
        NoticeKind::Recovered => format!("work again for {}", first.delivery.purpose()),
        NoticeKind::Held | NoticeKind::Released | NoticeKind::MajorityFailing | NoticeKind::Other => return None,
    };
    let mut text = format!("{} mailboxes {what}:\n\n", of.len());
    for notice in of.iter().take(DIGEST_NAMES_MAX) {
        text.push_str(&format!("  - {}\n", notice.about));
    }
    if of.len() > DIGEST_NAMES_MAX {
        text.push_str(&format!("  and {} more, which the console lists\n", of.len() - DIGEST_NAMES_MAX));
    }
    text.push_str(&format!("\nThis is the notice of the first mailbox:\n\n{}", first.text));
    Some(Notice {
        id: format!("digest-{}", first.id),
        subject: format!("{} mailboxes {what}", of.len()),
        copy_to: None,
        text,
        ..first.clone()
    })
}

/// Identifier, subject and text of a notice.
type Parts = (String, String, String);

fn of_disabling(failure: &Failure, times: u32, about: &About<'_>) -> Parts {
    let id = of_mailbox(&times.to_string(), about);
    let subject = format!("The mailbox {} has been disabled for {}", name(about), about.delivery.purpose());
    (id, subject, of_failure(failure, about))
}

fn of_warning(failure: &Failure, tries_left: u32, about: &About<'_>) -> Parts {
    let id = of_mailbox(&format!("warning-{}", failure.since.timestamp()), about);
    let purpose = about.delivery.purpose();
    let subject = format!("The mailbox {} is about to be disabled for {purpose}", name(about));
    let time = duration(tries_left.saturating_mul(about.policy.gap_seconds));
    let text = format!(
        "{tries_left} tries are left. If they fail too, the mailbox is disabled for {purpose} in about {time}.\n\n{}",
        of_failure(failure, about)
    );
    (id, subject, text)
}

fn of_recovery(since: Timestamp, resumed: bool, about: &About<'_>) -> Parts {
    let id = of_mailbox(&format!("recovered-{}", since.timestamp()), about);
    let subject = format!("The mailbox {} works again for {}", name(about), about.delivery.purpose());
    let next = if resumed {
        "It goes on by itself and fetches what it missed. There is nothing to do."
    } else {
        "It is still disabled. Test and enable the mailbox, and it fetches what it missed."
    };
    let text = format!(
        "The server answers again for the mailbox {}, which had failed since {}.\n\n{next}\n",
        named(about),
        moment(since)
    );
    (id, subject, text)
}

fn of_release(since: Timestamp, about: &About<'_>) -> Parts {
    let name = &about.profile.name;
    let subject = format!("The mailboxes of the email server profile {name} go on");
    let text = format!(
        "The servers of the email server profile {name} answer again. All its mailboxes go on by themselves and fetch what \
         they missed since {}. There is nothing to do.\n",
        moment(since)
    );
    (of_profile(NoticeKind::Released, since, about), subject, text)
}

fn name<'a>(about: &About<'a>) -> &'a str {
    about.mailbox.map_or("", |mailbox| mailbox.name.as_str())
}

/// The mailbox with its address.
fn named(about: &About<'_>) -> String {
    let address = about.mailbox.and_then(|mailbox| mailbox.address.as_ref()).map_or("", EmailAddress::as_str);
    format!("{} <{address}>", name(about))
}

/// The identifier of a mailbox's notice: the same for the same event, so that one event is one notice.
fn of_mailbox(event: &str, about: &About<'_>) -> String {
    let mailbox = about.mailbox.map_or("", |mailbox| mailbox.id.as_str());
    format!("{mailbox}-{}-{event}", about.delivery.as_str())
}

/// The identifier of a profile's notice.
fn of_profile(kind: NoticeKind, since: Timestamp, about: &About<'_>) -> String {
    format!("{}-{kind:?}-{}", about.profile.id, since.timestamp()).to_lowercase()
}

fn of_failure(failure: &Failure, about: &About<'_>) -> String {
    let told = alert(&Story::Failure(Box::new(failure.clone())), about);
    let mut text = format!("{}\n\n", told.text);
    text.push_str(&format!("Mailbox:              {}\n", named(about)));
    text.push_str(&format!("Email server profile: {}\n", about.profile.name));
    text.push_str(&format!("First failure:        {}\n", moment(failure.since)));
    text.push_str(&format!("Last failure:         {}\n", moment(about.now)));
    if failure.count > 0 {
        text.push_str(&format!("Failures in a row:    {}\n", failure.count));
    }
    if let Some(evidence) = &told.evidence {
        text.push_str(&words(evidence));
    }
    text.push_str(&steps(&told.resolution));
    text.push_str("\nNothing is lost, because what arrives meanwhile is fetched once the delivery is enabled again.\n");
    text
}

fn with_evidence(told: &Alert) -> String {
    let mut text = format!("{}\n", told.text);
    if let Some(evidence) = &told.evidence {
        text.push_str(&words(evidence));
    }
    text.push_str(&steps(&told.resolution));
    text
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
        rules::{classification::classify, story::Consequence},
        words::{
            cause::{Cause, CredentialSource, DeliveryError},
            delivery::Delivery,
            evidence::Stage,
            policy::RetryPolicy,
        },
    };

    fn failure(cause: Cause, consequence: Consequence, now: Timestamp) -> Box<Failure> {
        let evidence = Evidence::new(Stage::SignIn, "Authentication failed.")
            .with_code("NO")
            .with_detail(Some("AUTHENTICATIONFAILED"));
        let classification = classify(cause, CredentialSource::Mailbox);
        let error = DeliveryError::new(cause, evidence);
        Box::new(Failure { error, classification, consequence, count: 0, since: now })
    }

    fn told(tidings: impl FnOnce(Timestamp) -> Tidings, policy: RetryPolicy) -> Notice {
        let (profile, mailbox) = crate::sample::sample();
        let now = Timestamp::from_timestamp(1_700_000_000, 0).unwrap();
        let delivery = Delivery::IncomingEmail;
        notice(&tidings(now), &About { profile: &profile, mailbox: Some(&mailbox), delivery, policy, now })
    }

    fn disabling() -> Notice {
        let tidings = |now| Tidings::Disabled {
            failure: failure(Cause::CredentialsRefused, Consequence::Disabled, now),
            times: 1,
        };
        told(tidings, RetryPolicy::default())
    }

    #[test]
    fn it_names_the_mailbox_what_failed_the_servers_words_the_times_and_what_to_do() {
        let notice = disabling();
        insta::assert_snapshot!(format!("To: {}\nSubject: {}\n\n{}", notice.to.as_str(), notice.subject, notice.text));
    }

    #[test]
    fn one_disabling_is_one_notice() {
        assert_eq!(disabling().id, disabling().id);
    }

    #[test]
    fn a_warning_says_how_many_tries_and_how_much_time_are_left_under_the_policy() {
        for (gap_seconds, time) in [(300, "about 10 minutes"), (60, "about 2 minutes"), (2, "about 4 seconds")] {
            let consequence = Consequence::Again { in_seconds: gap_seconds };
            let tidings = |now| Tidings::Warning { failure: failure(Cause::TimedOut, consequence, now), tries_left: 2 };
            let text = told(tidings, RetryPolicy { gap_seconds, ..RetryPolicy::default() }).text;
            assert!(text.starts_with("2 tries are left.") && text.contains(time), "{text}");
        }
    }
}
