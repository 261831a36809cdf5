//! How an outgoing email moves from Pending Send to Sent or Failed: by what the server said to its hand-over, and by what
//! is found where nobody heard the answer.

use crate::{
    Timestamp,
    email::record::{Email, EmailStatus, Outgoing, Recipient, RecipientStatus},
    seconds_after,
    words::{
        address::EmailAddress,
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
        policy::{RetryPolicy, UnknownOutcome},
    },
};

/// What the server said to one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecipientReply {
    /// Taken.
    Accepted,
    /// Refused for good (5xx).
    Refused(Evidence),
    /// Put off (4xx).
    Deferred(Evidence),
}

/// What became of the content, for the recipients that were accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentReply {
    /// Taken; nothing more can go wrong on our side.
    Accepted,
    /// Refused for good (5xx).
    Refused(Evidence),
    /// Put off (4xx).
    Deferred(Evidence),
    /// The connection ended after the content was sent and before the answer came.
    Unknown(Evidence),
    /// No recipient was accepted, so it was not sent.
    NotSent,
}

/// What the server said to one hand-over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendReport {
    /// Recipients that were named, each with its reply.
    pub recipients: Vec<(EmailAddress, RecipientReply)>,
    /// The answer to the content.
    pub content: ContentReply,
}

/// The email after a hand-over: each recipient by its own reply, and the status that follows from all of them.
#[must_use]
pub fn after_report(email: &Email, report: &SendReport, policy: RetryPolicy, now: Timestamp) -> Email {
    let mut after = email.clone();
    let mut outgoing = email.outgoing.clone().unwrap_or_default();
    if let ContentReply::Unknown(evidence) = &report.content {
        let accepted = report.recipients.iter().filter(|(_, reply)| *reply == RecipientReply::Accepted);
        outgoing.outcome_unknown = accepted.map(|(address, _)| address.clone()).collect();
        outgoing.note = Some(format!(
            "The connection ended before the server answered ({}), so it is not known whether the email was sent.",
            evidence.words
        ));
        for recipient in &mut outgoing.recipients {
            settle_refusals(recipient, report);
        }
        after.status = EmailStatus::Sending;
        after.outgoing = Some(outgoing);
        return after;
    }
    outgoing.outcome_unknown.clear();
    outgoing.note = None;
    for recipient in &mut outgoing.recipients {
        settle_recipient(recipient, report);
    }
    finish(&mut after, outgoing, policy, now);
    after
}

/// Where an email stands of which nobody heard whether it was sent, as the folders of its mailbox have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// Among the sent ones.
    Sent,
    /// Among those that the server has taken and not sent yet.
    Waiting,
    /// Among the drafts, so that it was not sent.
    Draft,
    /// In none of these, as far as the server can be asked.
    Nowhere,
    /// The folders cannot be asked now.
    NotKnown,
}

/// The email after its folders were asked where it stands. What the server has yet to send is asked after until it has.
/// Folders that cannot be asked are asked again until the tries of the email are spent; then `or_else`, the profile's
/// policy, decides, as it does where no copy is found.
#[must_use]
pub fn after_search(
    email: &Email,
    found: Whereabouts,
    or_else: UnknownOutcome,
    policy: RetryPolicy,
    now: Timestamp,
) -> Email {
    let tries = email.outgoing.as_ref().map_or(0, |outgoing| outgoing.attempts);
    let sends_again = or_else == UnknownOutcome::SendAgain;
    match found {
        Whereabouts::Sent => settled(email, true, false, policy, now),
        Whereabouts::Draft => settled(email, false, true, policy, now),
        Whereabouts::Nowhere => settled(email, false, sends_again, policy, now),
        Whereabouts::NotKnown if tries + 1 >= policy.failures_max => settled(email, false, sends_again, policy, now),
        Whereabouts::NotKnown => put_off(email, 1, policy, now),
        Whereabouts::Waiting => put_off(email, 0, policy, now),
    }
}

/// The email after the server ended the connection before the content was handed over: it lets the others go first, so
/// that it blocks nobody should it be the reason. No try of it is spent, because the server may as well have ended the
/// connection at any email. `None` after another error, which says nothing about this email.
#[must_use]
pub fn after_hanging_up(email: &Email, error: &DeliveryError, policy: RetryPolicy, now: Timestamp) -> Option<Email> {
    let hung_up = error.cause == Cause::ServerBusy || error.cause == Cause::ServerUnavailable;
    hung_up.then(|| put_off(email, 0, policy, now))
}

fn put_off(email: &Email, tries: u32, policy: RetryPolicy, now: Timestamp) -> Email {
    let mut after = email.clone();
    let outgoing = after.outgoing.get_or_insert_default();
    outgoing.attempts += tries;
    outgoing.next_attempt = Some(seconds_after(now, i64::from(policy.gap_seconds)));
    after
}

fn settled(email: &Email, sent: bool, send_again: bool, policy: RetryPolicy, now: Timestamp) -> Email {
    let mut after = email.clone();
    let mut outgoing = email.outgoing.clone().unwrap_or_default();
    let unknown = std::mem::take(&mut outgoing.outcome_unknown);
    let note = match (sent, send_again) {
        (true, _) => "The server's answer was lost; the email was found in the Sent folder.",
        (false, true) => "The server's answer was lost and no copy was found; it is sent again, as the profile says.",
        (false, false) => {
            "The server's answer was lost and no copy was found, so the email may or may not have been sent. The \
             profile says not to send it again."
        }
    };
    for recipient in outgoing.recipients.iter_mut().filter(|r| r.is_pending() && unknown.contains(&r.address)) {
        if sent {
            recipient.status = RecipientStatus::Sent;
        } else if !send_again {
            let evidence = Evidence::new(Stage::Data, note);
            recipient.status = RecipientStatus::Refused { evidence };
        }
    }
    finish(&mut after, outgoing, policy, now);
    if let Some(outgoing) = &mut after.outgoing {
        outgoing.note = Some(note.to_owned());
        if send_again && after.status == EmailStatus::PendingSend {
            outgoing.next_attempt = None;
        }
    }
    after
}

fn finish(email: &mut Email, mut outgoing: Outgoing, policy: RetryPolicy, now: Timestamp) {
    let pending = outgoing.recipients.iter().any(Recipient::is_pending);
    if pending {
        outgoing.attempts += 1;
    }
    if pending && outgoing.attempts >= policy.failures_max {
        for recipient in &mut outgoing.recipients {
            if let RecipientStatus::Pending { evidence } = &recipient.status {
                let words = format!("put off {} times, and given up", outgoing.attempts);
                let last = Evidence::new(Stage::Envelope, &words);
                recipient.status = RecipientStatus::Refused { evidence: evidence.clone().unwrap_or(last) };
            }
        }
        outgoing.note = Some(format!("Given up after {} tries.", outgoing.attempts));
    }
    let refused = outgoing.recipients.iter().any(|r| matches!(r.status, RecipientStatus::Refused { .. }));
    let pending = outgoing.recipients.iter().any(Recipient::is_pending);
    email.status = match (pending, refused) {
        (true, _) => EmailStatus::PendingSend,
        (false, true) => EmailStatus::Failed,
        (false, false) => EmailStatus::Sent,
    };
    outgoing.next_attempt = pending.then(|| seconds_after(now, i64::from(policy.gap_seconds)));
    email.outgoing = Some(outgoing);
}

fn settle_refusals(recipient: &mut Recipient, report: &SendReport) {
    if let Some(RecipientReply::Refused(evidence)) = reply_to(recipient, report) {
        recipient.status = RecipientStatus::Refused { evidence: evidence.clone() };
    }
}

fn settle_recipient(recipient: &mut Recipient, report: &SendReport) {
    let Some(reply) = reply_to(recipient, report) else {
        return;
    };
    recipient.status = match (reply, &report.content) {
        (RecipientReply::Refused(evidence), _) | (RecipientReply::Accepted, ContentReply::Refused(evidence)) => {
            RecipientStatus::Refused { evidence: evidence.clone() }
        }
        (RecipientReply::Deferred(evidence), _)
        | (RecipientReply::Accepted, ContentReply::Deferred(evidence) | ContentReply::Unknown(evidence)) => {
            RecipientStatus::Pending { evidence: Some(evidence.clone()) }
        }
        (RecipientReply::Accepted, ContentReply::Accepted) => RecipientStatus::Sent,
        (RecipientReply::Accepted, ContentReply::NotSent) => RecipientStatus::Pending { evidence: None },
    };
}

fn reply_to<'a>(recipient: &Recipient, report: &'a SendReport) -> Option<&'a RecipientReply> {
    let named = report.recipients.iter().find(|(address, _)| *address == recipient.address);
    named.map(|(_, reply)| reply).filter(|_| recipient.is_pending())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{email::record::Direction, words::id::MailboxId};

    fn now() -> Timestamp {
        Timestamp::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn address(name: &str) -> EmailAddress {
        EmailAddress::parse(format!("{name}@example.org")).unwrap()
    }

    fn words(text: &str) -> Evidence {
        Evidence::new(Stage::Envelope, text)
    }

    fn email(recipients: &[&str]) -> Email {
        let recipients = recipients.iter().map(|name| Recipient::new(address(name))).collect();
        Email {
            id: crate::email::identity::sent_email_id("x@example.org"),
            mailbox_id: MailboxId::parse("m1").unwrap(),
            direction: Direction::Outgoing,
            status: EmailStatus::PendingSend,
            message_id: Some("x@example.org".into()),
            in_reply_to: None,
            references: vec![],
            from: vec![],
            to: vec![],
            cc: vec![],
            bcc: vec![],
            subject: "s".into(),
            date: None,
            received_at: now(),
            size: 0,
            headers: String::new(),
            text: String::new(),
            html: String::new(),
            truncated: false,
            raw_key: String::new(),
            attachments: vec![],
            outgoing: Some(Outgoing { recipients, ..Outgoing::default() }),
        }
    }

    fn report(replies: &[(&str, RecipientReply)], content: ContentReply) -> SendReport {
        SendReport { recipients: replies.iter().map(|(n, r)| (address(n), r.clone())).collect(), content }
    }

    fn send(email: &Email, replies: &[(&str, RecipientReply)], content: ContentReply) -> Email {
        after_report(email, &report(replies, content), RetryPolicy::default(), now())
    }

    fn statuses(email: &Email) -> Vec<RecipientStatus> {
        email.outgoing.iter().flat_map(|o| &o.recipients).map(|r| r.status.clone()).collect()
    }

    #[test]
    fn taken_for_everybody_is_sent() {
        let replies = [("a", RecipientReply::Accepted), ("b", RecipientReply::Accepted)];
        let after = send(&email(&["a", "b"]), &replies, ContentReply::Accepted);
        assert_eq!(after.status, EmailStatus::Sent);
        assert_eq!(statuses(&after), [RecipientStatus::Sent, RecipientStatus::Sent]);
    }

    #[test]
    fn a_refused_recipient_fails_the_email_and_the_others_are_reported_by_themselves() {
        let refusal = words("550 5.1.1 no such user");
        let replies = [("a", RecipientReply::Accepted), ("b", RecipientReply::Refused(refusal.clone()))];
        let after = send(&email(&["a", "b"]), &replies, ContentReply::Accepted);
        assert_eq!(after.status, EmailStatus::Failed);
        assert_eq!(statuses(&after), [RecipientStatus::Sent, RecipientStatus::Refused { evidence: refusal }]);
    }

    #[test]
    fn a_deferred_recipient_is_tried_again_alone_and_given_up_after_ten_tries() {
        let deferral = words("450 4.7.1 greylisted");
        let replies = [("a", RecipientReply::Accepted), ("b", RecipientReply::Deferred(deferral.clone()))];
        let mut after = send(&email(&["a", "b"]), &replies, ContentReply::Accepted);
        assert_eq!(after.status, EmailStatus::PendingSend);
        assert_eq!(statuses(&after)[0], RecipientStatus::Sent, "whoever has it is not sent it again");
        for _ in 2..=9 {
            after = send(&after, &replies[1..], ContentReply::NotSent);
            assert_eq!(after.status, EmailStatus::PendingSend);
        }
        after = send(&after, &replies[1..], ContentReply::NotSent);
        assert_eq!(after.status, EmailStatus::Failed);
        assert_eq!(statuses(&after)[1], RecipientStatus::Refused { evidence: deferral });
    }

    #[test]
    fn a_lost_answer_is_said_in_the_record_and_settled_by_the_sent_folder_or_the_policy() {
        let lost = ContentReply::Unknown(words("connection reset"));
        let replies = [("a", RecipientReply::Accepted), ("b", RecipientReply::Refused(words("550 no")))];
        let unknown = send(&email(&["a", "b"]), &replies, lost);
        assert_eq!(unknown.status, EmailStatus::Sending);
        let outgoing = unknown.outgoing.clone().unwrap();
        assert_eq!(outgoing.outcome_unknown, [address("a")]);
        assert!(outgoing.note.unwrap().contains("not known"));

        let policy = RetryPolicy::default();
        let found = after_search(&unknown, Whereabouts::Sent, UnknownOutcome::Hold, policy, now());
        assert_eq!(statuses(&found)[0], RecipientStatus::Sent);
        let held = after_search(&unknown, Whereabouts::Nowhere, UnknownOutcome::Hold, policy, now());
        assert_eq!(held.status, EmailStatus::Failed);
        let again = after_search(&unknown, Whereabouts::Nowhere, UnknownOutcome::SendAgain, policy, now());
        assert_eq!(again.status, EmailStatus::PendingSend);
        assert!(!statuses(&again)[1..].contains(&RecipientStatus::Pending { evidence: None }));
    }
    fn unknown() -> Email {
        let lost = ContentReply::Unknown(words("connection reset"));
        send(&email(&["a"]), &[("a", RecipientReply::Accepted)], lost)
    }

    fn tries(email: &Email) -> u32 {
        email.outgoing.as_ref().unwrap().attempts
    }

    #[test]
    fn what_the_server_has_yet_to_send_is_asked_after_without_an_end() {
        let mut after = unknown();
        for _ in 0..20 {
            after = after_search(&after, Whereabouts::Waiting, UnknownOutcome::Hold, RetryPolicy::default(), now());
        }
        assert_eq!((after.status, tries(&after)), (EmailStatus::Sending, 0));
        assert!(after.outgoing.unwrap().next_attempt > Some(now()));
    }

    #[test]
    fn folders_that_cannot_be_asked_are_asked_ten_times_before_the_policy_decides() {
        let mut after = unknown();
        for _ in 1..10 {
            after = after_search(&after, Whereabouts::NotKnown, UnknownOutcome::Hold, RetryPolicy::default(), now());
            assert_eq!(after.status, EmailStatus::Sending);
        }
        after = after_search(&after, Whereabouts::NotKnown, UnknownOutcome::Hold, RetryPolicy::default(), now());
        assert_eq!(after.status, EmailStatus::Failed);
    }

    #[test]
    fn a_draft_is_sent_again_whatever_the_policy_says() {
        let after = after_search(&unknown(), Whereabouts::Draft, UnknownOutcome::Hold, RetryPolicy::default(), now());
        assert_eq!(after.status, EmailStatus::PendingSend);
    }

    #[test]
    fn an_email_at_which_the_server_hangs_up_waits_and_spends_no_try() {
        let after = |cause| {
            let error = DeliveryError::new(cause, words("421 closing"));
            after_hanging_up(&email(&["a"]), &error, RetryPolicy::default(), now())
        };
        let waiting = after(Cause::ServerUnavailable).unwrap();
        assert_eq!((waiting.status, tries(&waiting)), (EmailStatus::PendingSend, 0));
        assert!(waiting.outgoing.unwrap().next_attempt > Some(now()));
        assert!(after(Cause::ServerBusy).is_some() && after(Cause::SenderRefused).is_none());
    }
}
