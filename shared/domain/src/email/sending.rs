//! How an outgoing email moves from Pending Send to Sent or Failed: by the server's answer to its hand-over, and, where
//! the answer was lost, by what the folders of the mailbox show.

use crate::{
    Timestamp,
    email::record::{Email, EmailStatus, Outgoing, Recipient, RecipientStatus},
    seconds_after,
    words::{
        address::EmailAddress,
        cause::DeliveryError,
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
    /// Nobody knows whether it was taken: the connection ended before an answer came, or the answer does not say.
    Unknown(Evidence),
    /// The server answered that it failed to send, and may have sent it to some. The cause is a transient one.
    FailedToSend(DeliveryError),
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
    (outgoing.unknown_because, outgoing.failed_to_send) = (None, false);
    let note = match &report.content {
        ContentReply::Unknown(evidence) => {
            outgoing.unknown_because = Some(evidence.clone());
            Some(format!("No answer says whether the email was sent ({}).", evidence.words))
        }
        ContentReply::FailedToSend(error) => {
            outgoing.unknown_because = Some(error.evidence.clone());
            outgoing.failed_to_send = true;
            let words = &error.evidence.words;
            Some(format!(
                "The server answered that it failed to send the email ({words}), and may have sent it to some."
            ))
        }
        ContentReply::Accepted | ContentReply::Refused(_) | ContentReply::Deferred(_) | ContentReply::NotSent => None,
    };
    if let Some(note) = note {
        let accepted = report.recipients.iter().filter(|(_, reply)| *reply == RecipientReply::Accepted);
        outgoing.outcome_unknown = accepted.map(|(address, _)| address.clone()).collect();
        outgoing.note = Some(note);
        for recipient in &mut outgoing.recipients {
            settle_refusals(recipient, report);
        }
        after.status = EmailStatus::Sending;
        after.outgoing = Some(outgoing);
        return after;
    }
    outgoing.outcome_unknown.clear();
    outgoing.note = None;
    outgoing.may_have_copy |= report.content == ContentReply::Accepted;
    for recipient in &mut outgoing.recipients {
        settle_recipient(recipient, report);
    }
    if outgoing.recipients.iter().any(Recipient::is_pending) {
        outgoing.attempts += 1;
    }
    finish(&mut after, outgoing, policy, now);
    after
}

/// The email after a hand-over that failed before the content was sent, for a reason that lies in the email: every
/// recipient is put off in the server's words, and the email is given up when its tries are spent.
#[must_use]
pub fn after_failure(email: &Email, error: &DeliveryError, policy: RetryPolicy, now: Timestamp) -> Email {
    let recipients = email.outgoing.iter().flat_map(|outgoing| &outgoing.recipients).filter(|r| r.is_pending());
    let put_off = |recipient: &Recipient| (recipient.address.clone(), RecipientReply::Deferred(error.evidence.clone()));
    let report = SendReport { recipients: recipients.map(put_off).collect(), content: ContentReply::NotSent };
    after_report(email, &report, policy, now)
}

/// Where the folders of a mailbox have an email whose hand-over has an unknown outcome.
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

/// The email after the folders of its mailbox were searched for it. What the server has yet to send is asked after until
/// the server has sent it. Folders that cannot be searched are asked again, at most `failures_max` times; then `or_else`,
/// the profile's policy, decides, as it does where no copy is found.
///
/// A copy among the sent ones proves a hand-over only if no earlier one can have left it, and only if the server did not
/// answer that it failed to send: a server may file the copy before it sends. After such an answer the email is held for a
/// person, because neither the copy nor the answer can be believed alone.
#[must_use]
pub fn after_search(
    email: &Email,
    found: Whereabouts,
    or_else: UnknownOutcome,
    policy: RetryPolicy,
    now: Timestamp,
) -> Email {
    let before = email.outgoing.clone().unwrap_or_default();
    let again = match or_else {
        UnknownOutcome::SendAgain if before.unknown_outcomes + 1 < policy.failures_max => Settlement::SendAgain,
        UnknownOutcome::SendAgain | UnknownOutcome::Hold => Settlement::Hold,
    };
    let settlement = match found {
        Whereabouts::Sent if before.failed_to_send => Settlement::Hold,
        Whereabouts::Sent if before.may_have_copy => again,
        Whereabouts::Sent => Settlement::Sent,
        Whereabouts::Draft => Settlement::SendAgain,
        Whereabouts::Nowhere => again,
        Whereabouts::NotKnown if before.failed_searches + 1 >= policy.failures_max => again,
        Whereabouts::NotKnown | Whereabouts::Waiting => {
            let mut after = put_off(email, policy, now);
            let searched = found == Whereabouts::Waiting;
            let outgoing = after.outgoing.get_or_insert_default();
            outgoing.failed_searches = if searched { 0 } else { before.failed_searches + 1 };
            return after;
        }
    };
    settled(email, settlement, found, policy, now)
}

/// How a hand-over with an unknown outcome is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settlement {
    /// Its recipients have the email.
    Sent,
    /// The email is handed over again.
    SendAgain,
    /// Its recipients are given up, because they may have the email.
    Hold,
}

/// The email after the server ended the connection at it and asked for time: it lets the others go first. No try of it is
/// spent, because the server may as well have ended the connection at any email.
#[must_use]
pub fn after_hanging_up(email: &Email, policy: RetryPolicy, now: Timestamp) -> Email {
    put_off(email, policy, now)
}

fn put_off(email: &Email, policy: RetryPolicy, now: Timestamp) -> Email {
    let mut after = email.clone();
    after.outgoing.get_or_insert_default().next_attempt = Some(seconds_after(now, i64::from(policy.gap_seconds)));
    after
}

fn settled(email: &Email, settlement: Settlement, found: Whereabouts, policy: RetryPolicy, now: Timestamp) -> Email {
    let mut after = email.clone();
    let mut outgoing = email.outgoing.clone().unwrap_or_default();
    let unknown = std::mem::take(&mut outgoing.outcome_unknown);
    let seen = outgoing.unknown_because.take();
    outgoing.failed_searches = 0;
    let note = note(settlement, found, seen.as_ref(), std::mem::take(&mut outgoing.failed_to_send));
    for recipient in outgoing.recipients.iter_mut().filter(|r| r.is_pending() && unknown.contains(&r.address)) {
        match settlement {
            Settlement::Sent => recipient.status = RecipientStatus::Sent,
            Settlement::SendAgain => {}
            Settlement::Hold => {
                let evidence = seen.clone().unwrap_or_else(|| Evidence::new(Stage::Data, &note));
                recipient.status = RecipientStatus::Refused { evidence };
            }
        }
    }
    // A draft was not sent, so it leaves no copy and no doubt.
    if found != Whereabouts::Draft {
        outgoing.may_have_copy = true;
        outgoing.unknown_outcomes += u32::from(settlement == Settlement::SendAgain);
    }
    finish(&mut after, outgoing, policy, now);
    if let Some(outgoing) = &mut after.outgoing {
        outgoing.note = Some(note);
        if settlement == Settlement::SendAgain && after.status == EmailStatus::PendingSend {
            outgoing.next_attempt = None;
        }
    }
    after
}

/// What is said of a hand-over with an unknown outcome after it was settled.
fn note(settlement: Settlement, found: Whereabouts, seen: Option<&Evidence>, failed_to_send: bool) -> String {
    let words = seen.map_or("the server's answer was lost", |evidence| &evidence.words);
    let happened = match failed_to_send {
        true => format!("The server answered that it failed to send the email ({words})"),
        false => format!("No answer says whether the email was sent ({words})"),
    };
    let found_it = match found {
        Whereabouts::Sent if failed_to_send => "a copy is in the Sent folder, which proves nothing",
        Whereabouts::Sent if settlement == Settlement::Sent => "the email was found in the Sent folder",
        Whereabouts::Sent => "the copy in the Sent folder may be of an earlier hand-over",
        Whereabouts::Draft => "the email was found among the drafts",
        Whereabouts::NotKnown => "the mailbox could not be searched for a copy",
        Whereabouts::Nowhere | Whereabouts::Waiting => "no copy was found",
    };
    let follows = match (settlement, found) {
        (Settlement::Sent, _) => ".",
        (Settlement::SendAgain, Whereabouts::Draft) => ", so it is sent again.",
        (Settlement::SendAgain, _) => ". It is sent again, as the profile says.",
        (Settlement::Hold, _) => ", so the email may or may not have been sent. It is not sent again by itself.",
    };
    format!("{happened}; {found_it}{follows}")
}

fn finish(email: &mut Email, mut outgoing: Outgoing, policy: RetryPolicy, now: Timestamp) {
    let pending = outgoing.recipients.iter().any(Recipient::is_pending);
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
        (RecipientReply::Accepted, ContentReply::FailedToSend(error)) => {
            RecipientStatus::Pending { evidence: Some(error.evidence.clone()) }
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
    use crate::{
        email::record::Direction,
        words::{cause::Cause, id::MailboxId},
    };

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
        assert!(outgoing.note.unwrap().contains("connection reset"));

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

    fn searched(email: &Email, found: Whereabouts, or_else: UnknownOutcome) -> Email {
        after_search(email, found, or_else, RetryPolicy::default(), now())
    }

    #[test]
    fn folders_that_cannot_be_searched_are_searched_ten_times_before_the_policy_decides() {
        let mut after = unknown();
        for _ in 1..10 {
            after = searched(&after, Whereabouts::NotKnown, UnknownOutcome::Hold);
            assert_eq!(after.status, EmailStatus::Sending);
        }
        after = searched(&after, Whereabouts::NotKnown, UnknownOutcome::Hold);
        assert_eq!(after.status, EmailStatus::Failed);
    }

    #[test]
    fn searches_that_fail_spend_no_try_of_the_email() {
        let mut after = unknown();
        for _ in 0..10 {
            after = searched(&after, Whereabouts::NotKnown, UnknownOutcome::SendAgain);
        }
        assert_eq!((after.status, tries(&after)), (EmailStatus::PendingSend, 0));
        let put_off = send(&after, &[("a", RecipientReply::Deferred(words("450")))], ContentReply::NotSent);
        assert_eq!((put_off.status, tries(&put_off)), (EmailStatus::PendingSend, 1));
    }

    #[test]
    fn an_email_of_unknown_outcome_is_handed_over_ten_times_and_then_held() {
        let mut after = unknown();
        for _ in 1..10 {
            after = searched(&after, Whereabouts::Nowhere, UnknownOutcome::SendAgain);
            assert_eq!(after.status, EmailStatus::PendingSend);
            after = send(&after, &[("a", RecipientReply::Accepted)], ContentReply::Unknown(words("reset")));
        }
        after = searched(&after, Whereabouts::Nowhere, UnknownOutcome::SendAgain);
        assert_eq!(after.status, EmailStatus::Failed);
    }

    #[test]
    fn a_copy_of_an_earlier_hand_over_proves_nothing_of_a_later_one() {
        let replies = [("a", RecipientReply::Accepted), ("b", RecipientReply::Deferred(words("450")))];
        let first = send(&email(&["a", "b"]), &replies, ContentReply::Accepted);
        let lost = ContentReply::Unknown(words("reset"));
        let second = send(&first, &[("b", RecipientReply::Accepted)], lost.clone());
        let held = searched(&second, Whereabouts::Sent, UnknownOutcome::Hold);
        assert!(matches!(statuses(&held)[..], [RecipientStatus::Sent, RecipientStatus::Refused { .. }]));
        let again = searched(&second, Whereabouts::Sent, UnknownOutcome::SendAgain);
        assert_eq!(again.status, EmailStatus::PendingSend);
        // An earlier hand-over whose own outcome is unknown may have left the copy as well.
        let third = send(&again, &[("b", RecipientReply::Accepted)], lost);
        assert_eq!(searched(&third, Whereabouts::Sent, UnknownOutcome::Hold).status, EmailStatus::Failed);
    }

    #[test]
    fn a_recipient_who_was_put_off_goes_on_when_the_others_are_held() {
        let replies = [("a", RecipientReply::Accepted), ("b", RecipientReply::Deferred(words("450")))];
        let unknown = send(&email(&["a", "b"]), &replies, ContentReply::Unknown(words("reset")));
        let held = searched(&unknown, Whereabouts::Nowhere, UnknownOutcome::Hold);
        assert_eq!((held.status, tries(&held)), (EmailStatus::PendingSend, 0));
        assert!(matches!(statuses(&held)[..], [RecipientStatus::Refused { .. }, RecipientStatus::Pending { .. }]));
    }

    #[test]
    fn an_answer_that_the_sending_failed_is_kept_and_no_copy_makes_it_a_success() {
        let error = DeliveryError::new(Cause::ServerUnavailable, words("failed to send mail"));
        let unclear = send(&email(&["a"]), &[("a", RecipientReply::Accepted)], ContentReply::FailedToSend(error));
        assert_eq!(unclear.status, EmailStatus::Sending);
        for (found, or_else) in
            [(Whereabouts::Sent, UnknownOutcome::SendAgain), (Whereabouts::Nowhere, UnknownOutcome::Hold)]
        {
            let held = searched(&unclear, found, or_else);
            assert_eq!(held.status, EmailStatus::Failed, "{found:?}");
            let refused = RecipientStatus::Refused { evidence: words("failed to send mail") };
            assert_eq!(statuses(&held), [refused], "{found:?}");
            assert!(held.outgoing.unwrap().note.unwrap().contains("failed to send mail"));
        }
        let again = searched(&unclear, Whereabouts::Nowhere, UnknownOutcome::SendAgain);
        assert_eq!((again.status, again.outgoing.unwrap().unknown_because), (EmailStatus::PendingSend, None));
    }

    #[test]
    fn a_draft_is_sent_again_whatever_the_policy_says() {
        let after = after_search(&unknown(), Whereabouts::Draft, UnknownOutcome::Hold, RetryPolicy::default(), now());
        assert_eq!(after.status, EmailStatus::PendingSend);
    }

    #[test]
    fn an_email_at_which_the_server_asks_for_time_waits_and_spends_no_try() {
        let waiting = after_hanging_up(&email(&["a"]), RetryPolicy::default(), now());
        assert_eq!((waiting.status, tries(&waiting)), (EmailStatus::PendingSend, 0));
        assert!(waiting.outgoing.unwrap().next_attempt > Some(now()));
    }

    #[test]
    fn an_email_that_fails_by_itself_is_put_off_in_the_servers_words_and_given_up_after_ten_tries() {
        let error = DeliveryError::new(Cause::ConnectionLost, words("the server hung up"));
        let mut after = email(&["a"]);
        for tried in 1..10 {
            after = after_failure(&after, &error, RetryPolicy::default(), now());
            assert_eq!((after.status, tries(&after)), (EmailStatus::PendingSend, tried));
        }
        after = after_failure(&after, &error, RetryPolicy::default(), now());
        assert_eq!(after.status, EmailStatus::Failed);
        assert_eq!(statuses(&after), [RecipientStatus::Refused { evidence: words("the server hung up") }]);
    }
}
