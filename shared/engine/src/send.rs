//! Outgoing email of one mailbox: settle what is unknown, then hand over what is Pending Send.
//!
//! The record is written as Sending, its outcome unknown, just before the content is handed over. Killed before that,
//! the email is still Pending Send and nobody has it; killed after, the record says that somebody may.

use mailrail_domain::{
    Timestamp,
    email::record::{ContentReply, EmailStatus, Recipient, RecipientReply, SendReport, after_report, after_settling},
    rules::{
        budget::{self, Allowance},
        gate::{Gate, gate},
        hold::Turn,
    },
    seconds_after,
    settings::profile::UnknownOutcome,
    words::{
        address::EmailAddress,
        alert::{Alert, AlertKind},
        cause::{Cause, DeliveryError},
        delivery::{Delivery, Learned},
        evidence::{Evidence, Stage},
        id::MailboxId,
    },
};

use crate::{
    Deadline, Engine,
    admission::refusal,
    batch::{ProfileInUse, Profiles},
    limits::{
        DEADLINE_MARGIN, LEASE_MARGIN, OUTBOX_PAGE, OUTBOX_PAGES_MAX, OUTGOING_BYTES_MAX, QUEUE_DELAY_SECONDS_MAX,
        SENDS_PER_RUN,
    },
    mime::dated,
    outage::Outage,
    ports::{
        Access, AlertWrite, BodyStore, DeliveryRow, EnvelopeReply, Folder, IncomingServers, MailboxQueue, MailboxStore,
        OutgoingServers, OutgoingSession, PageRequest, Ports, RecordStore, Settlement, StoredEmail, Wake,
    },
    settle::Ended,
};

impl<P: Ports> Engine<P> {
    /// Sends the waiting email of a wake's mailbox.
    pub(crate) async fn send(&self, wake: &Wake, profiles: &Profiles, deadline: Deadline) -> Result<(), Outage> {
        let Some(row) = self.ports.mailboxes().load(&wake.mailbox, Delivery::OutgoingEmail).await? else {
            tracing::info!(mailbox = %wake.mailbox, "the mailbox is gone");
            return Ok(());
        };
        let now = self.now();
        let (closed, is_probe) = match gate(&row.state, 0, now) {
            Gate::Open => (None, false),
            Gate::Probe => (None, true),
            Gate::NotYet(_) => return Ok(()),
            Gate::Closed(why) => (Some(why), false),
        };
        let mut due = self.due_of_outbox(&wake.mailbox, now).await?;
        // What was never tried goes before what the server hung up at.
        due.sort_by_key(|stored| stored.email.outgoing.as_ref().and_then(|outgoing| outgoing.next_attempt));
        let full = due.len() > SENDS_PER_RUN;
        due.truncate(SENDS_PER_RUN);
        if due.is_empty() && !is_probe {
            return Ok(());
        }
        let Some(profile) = self.profile_of(profiles, &row.mailbox.profile_id, deadline).await? else {
            return Err(Outage::new("the mailbox's email server profile is missing from the table"));
        };
        if let Some(why) = closed {
            return self.say_why_it_waits(&row, &profile, why, now).await;
        }
        let organization = self.organization_of(profiles).await?;
        if let Some(error) = refusal(&row.mailbox, profile.profile(), organization) {
            let ended = Ended::nothing(row.state.backlog, Err(error));
            return self.settle(&row, &profile, organization, &row.claim, ended, now).await;
        }
        let turn = self.turn(&profile).await?;
        if turn == Turn::Held {
            return Ok(());
        }
        let Some(_connection) = profile.connection().await else {
            return self.put_back(wake).await;
        };
        if deadline.is_within(DEADLINE_MARGIN) {
            return Err(Outage::new("no time was left for a connection of the profile"));
        }
        if is_probe {
            return self.probe(&row, &profile).await;
        }
        let until = deadline.as_of(now, LEASE_MARGIN);
        let Some(claim) = self.ports.mailboxes().lease(&row.claim, until, now).await? else {
            return Ok(());
        };
        let sends =
            profile.profile().endpoint(Delivery::OutgoingEmail).and_then(|endpoint| budget::of_sends(&endpoint));
        let mut allowance = Allowance::of(sends, (row.state.spent, row.state.spent_recipients), now);
        let mut handed = Handed::default();
        let result = self.hand_over_all(&row, &profile, due, &mut handed, &mut allowance, deadline).await?;
        let mut row = row;
        if let Some(learned) = handed.learned.take() {
            row.state.learned = learned;
        }
        let mut resume_at = None;
        if let Some((messages, recipients)) = sends {
            row.state.spent = messages.spend(row.state.spent, allowance.messages, now);
            row.state.spent_recipients = recipients.spend(row.state.spent_recipients, allowance.recipients, now);
            if handed.over_budget {
                let renewed = [(messages, row.state.spent), (recipients, row.state.spent_recipients)];
                let used_up = renewed.into_iter().filter(|(budget, spent)| budget.left(*spent, now) < budget.limit);
                resume_at = used_up.map(|(budget, spent)| budget.renewed_at(spent, now)).min();
            }
        }
        if handed.done > 0 {
            // Email went through before the failure, so the row of failures was broken: this one is its first.
            row.state.transient_failure_count = 0;
            row.state.failing_since = None;
        }
        let more = full || handed.cut_short || handed.over_budget;
        let ended = Ended { position: None, more, resume_at, backlog: 0, done_until: None, result };
        self.settle_turn(&row, &profile, organization, &claim, ended, now, turn).await?;
        if handed.deferred {
            let delay = self.settings.retry.gap_seconds.min(QUEUE_DELAY_SECONDS_MAX);
            self.ports.queue().send(Delivery::OutgoingEmail, std::slice::from_ref(wake), delay).await?;
        }
        Ok(())
    }

    /// Emails of an outbox that are due. Those that wait for a greylisting to pass are passed over, page by page.
    async fn due_of_outbox(&self, mailbox: &MailboxId, now: Timestamp) -> Result<Vec<StoredEmail>, Outage> {
        let mut due = Vec::new();
        let mut page = PageRequest { limit: OUTBOX_PAGE, cursor: None };
        for _ in 0..OUTBOX_PAGES_MAX {
            let outbox = self.ports.records().outbox(mailbox, &page).await?;
            due.extend(outbox.items.into_iter().filter(|stored| is_due(stored, now)));
            page.cursor = outbox.cursor;
            if page.cursor.is_none() || due.len() > SENDS_PER_RUN {
                break;
            }
        }
        Ok(due)
    }

    /// Raises the alert that says why email stays in Pending Send; once, however often it is looked at.
    async fn say_why_it_waits(
        &self,
        row: &DeliveryRow,
        profile: &ProfileInUse,
        why: &str,
        now: Timestamp,
    ) -> Result<(), Outage> {
        let kind = AlertKind::EmailPendingSend;
        if row.state.open_alerts.contains(&kind) {
            return Ok(());
        }
        let mut state = row.state.clone();
        state.open_alerts.push(kind);
        let settlement = Settlement {
            state,
            position: row.position.clone(),
            alerts: vec![AlertWrite::Raise(Box::new(Alert::of_pending_send(&row.mailbox, why, now)))],
            notice: None,
            interval_minutes: self.interval(Delivery::OutgoingEmail, profile.profile()),
            previous_interval_minutes: row.interval_minutes,
        };
        self.ports.mailboxes().commit(&row.claim, &settlement).await?;
        Ok(())
    }

    async fn hand_over_all(
        &self,
        row: &DeliveryRow,
        profile: &ProfileInUse,
        due: Vec<StoredEmail>,
        handed: &mut Handed,
        allowance: &mut Allowance,
        deadline: Deadline,
    ) -> Result<Result<(), DeliveryError>, Outage> {
        let (unknown, pending): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|stored| stored.email.status == EmailStatus::Sending);
        for stored in unknown {
            let settled = self.settle_unknown(row, profile, stored).await?;
            handed.deferred |= settled == Some(EmailStatus::Sending);
            handed.cut_short |= settled == Some(EmailStatus::PendingSend);
        }
        if pending.is_empty() {
            return Ok(Ok(()));
        }
        let Some(endpoint) = profile.profile().endpoint(Delivery::OutgoingEmail) else {
            return Ok(Ok(()));
        };
        let access = match self.access(&row.mailbox, row.credentials.as_ref(), &profile.stored, &endpoint).await? {
            Ok(access) => access,
            Err(error) => return Ok(Err(error)),
        };
        let access = Access { learned: row.state.learned.clone(), ..access };
        let mut session = match self.ports.outgoing().open(&access).await {
            Ok(session) => session,
            Err(error) => return Ok(Err(error)),
        };
        for stored in pending {
            if deadline.is_within(DEADLINE_MARGIN) {
                handed.cut_short = true;
                break;
            }
            if !allowance.takes(pending_recipients(&stored)) {
                handed.over_budget = true;
                break;
            }
            match self.hand_over(row, &mut session, &stored).await? {
                Ok(status) => {
                    handed.done += 1;
                    handed.deferred |= status == Some(EmailStatus::PendingSend);
                }
                Err(error) => {
                    handed.learned = Some(session.learned());
                    return Ok(Err(error));
                }
            }
        }
        handed.learned = Some(session.learned());
        session.close().await;
        Ok(Ok(()))
    }

    /// Hands one email over. `None` if somebody else changed it meanwhile.
    async fn hand_over(
        &self,
        row: &DeliveryRow,
        session: &mut <P::Outgoing as OutgoingServers>::Session,
        stored: &StoredEmail,
    ) -> Result<Result<Option<EmailStatus>, DeliveryError>, Outage> {
        let email = &stored.email;
        let recipients: Vec<EmailAddress> = email
            .outgoing
            .iter()
            .flat_map(|o| &o.recipients)
            .filter(|r| r.is_pending())
            .map(|r: &Recipient| r.address.clone())
            .collect();
        let Some(raw) = self.ports.bodies().get(&email.raw_key, OUTGOING_BYTES_MAX).await? else {
            return Err(Outage::new("the content of an outgoing email is missing from the bucket"));
        };
        let Some(from) = &row.mailbox.address else {
            return Err(Outage::new("a mailbox without an address was let through to send"));
        };
        let message = dated(&raw, self.now());
        let reply = match session.envelope(from, &recipients).await {
            Ok(reply) => reply,
            Err(error) => {
                self.postpone(stored, &error).await?;
                return Ok(Err(error));
            }
        };
        let replies = match reply {
            EnvelopeReply::Recipients(replies) => replies,
            EnvelopeReply::EmailRefused(evidence) => {
                recipients.into_iter().map(|address| (address, RecipientReply::Refused(evidence.clone()))).collect()
            }
        };
        if !replies.iter().any(|(_, reply)| *reply == RecipientReply::Accepted) {
            let report = SendReport { recipients: replies, content: ContentReply::NotSent };
            let reset = session.reset().await;
            let status = self.record(stored, &report).await?;
            return Ok(reset.map(|()| status));
        }
        // From here on the server may have the email: say so first, then hand it over.
        let evidence = Evidence::new(Stage::Data, "the hand-over was cut off");
        let started = SendReport { recipients: replies.clone(), content: ContentReply::Unknown(evidence) };
        let sending = after_report(email, &started, self.settings.retry, self.now());
        let Some(claimed) = self.ports.records().update_outgoing(&sending, stored.revision).await? else {
            return Ok(session.reset().await.map(|()| None));
        };
        let before = StoredEmail { email: email.clone(), revision: claimed.revision };
        let content = match session.content(&message).await {
            Ok(content) => content,
            Err(error) => {
                // Nothing was sent: it is Pending Send again, and no try of it is spent.
                let written = self.ports.records().update_outgoing(email, claimed.revision).await?;
                if let Some(pending) = written {
                    self.postpone(&pending, &error).await?;
                }
                return Ok(Err(error));
            }
        };
        let report = SendReport { recipients: replies, content };
        let status = self.record(&before, &report).await?;
        match report.content {
            ContentReply::Unknown(evidence) => Ok(Err(DeliveryError::new(Cause::ConnectionLost, evidence))),
            ContentReply::Accepted | ContentReply::Refused(_) | ContentReply::Deferred(_) | ContentReply::NotSent => {
                Ok(Ok(status))
            }
        }
    }

    /// Lets the others go first after the server hung up at this email: should it be the reason, it blocks nobody. No
    /// try of it is spent, because the server may as well have hung up at any.
    async fn postpone(&self, stored: &StoredEmail, error: &DeliveryError) -> Result<(), Outage> {
        if !matches!(error.cause, Cause::ServerBusy | Cause::ServerUnavailable) {
            return Ok(());
        }
        let mut after = stored.email.clone();
        let next = seconds_after(self.now(), i64::from(self.settings.retry.gap_seconds));
        after.outgoing.get_or_insert_default().next_attempt = Some(next);
        self.ports.records().update_outgoing(&after, stored.revision).await?;
        Ok(())
    }

    async fn record(&self, before: &StoredEmail, report: &SendReport) -> Result<Option<EmailStatus>, Outage> {
        let after = after_report(&before.email, report, self.settings.retry, self.now());
        tracing::info!(mailbox = %after.mailbox_id, email = %after.id, status = ?after.status, "outgoing email");
        let written = self.ports.records().update_outgoing(&after, before.revision).await?;
        Ok(written.map(|stored| stored.email.status))
    }

    /// Settles an email whose hand-over nobody saw the end of: by the Sent folder, else by the profile's policy.
    async fn settle_unknown(
        &self,
        row: &DeliveryRow,
        profile: &ProfileInUse,
        stored: StoredEmail,
    ) -> Result<Option<EmailStatus>, Outage> {
        let policy = self.settings.retry;
        let now = self.now();
        let after = match self.find_again(row, profile, &stored).await? {
            Ok(found) if found != Found::Waiting => {
                let send_again = profile.profile().unknown_outcome == UnknownOutcome::SendAgain;
                let send_again = found == Found::Draft || send_again;
                after_settling(&stored.email, found == Found::Sent, send_again, policy, now)
            }
            Ok(_) => {
                // The server has it and has yet to send it: it is asked again until it has.
                let mut after = stored.email.clone();
                let next = seconds_after(now, i64::from(policy.gap_seconds));
                after.outgoing.get_or_insert_default().next_attempt = Some(next);
                after
            }
            Err(_) => {
                // The Sent folder cannot be asked now. Asked again, a bounded number of times, before the policy decides.
                let mut after = stored.email.clone();
                let outgoing = after.outgoing.get_or_insert_default();
                outgoing.attempts += 1;
                outgoing.next_attempt = Some(seconds_after(now, i64::from(policy.gap_seconds)));
                if outgoing.attempts >= policy.failures_max {
                    let send_again = profile.profile().unknown_outcome == UnknownOutcome::SendAgain;
                    after = after_settling(&stored.email, false, send_again, policy, now);
                }
                after
            }
        };
        let written = self.ports.records().update_outgoing(&after, stored.revision).await?;
        Ok(written.map(|stored| stored.email.status))
    }

    async fn find_again(
        &self,
        row: &DeliveryRow,
        profile: &ProfileInUse,
        stored: &StoredEmail,
    ) -> Result<Result<Found, DeliveryError>, Outage> {
        let endpoint = profile.profile().endpoint(Delivery::IncomingEmail);
        let (Some(endpoint), Some(message_id)) = (endpoint, &stored.email.message_id) else {
            return Ok(Ok(Found::Nothing));
        };
        let (mailbox, credentials) = (&row.mailbox, row.credentials.as_ref());
        let access = match self.access(mailbox, credentials, &profile.stored, &endpoint).await? {
            Ok(access) => access,
            Err(error) => return Ok(Err(error)),
        };
        let access = Access { learned: row.state.learned.clone(), ..access };
        // In the order in which a server moves an email that it has taken, so that none slips through between two
        // questions; a draft that is still one after that was not taken.
        let places = [(Folder::Outbox, Found::Waiting), (Folder::Sent, Found::Sent), (Folder::Drafts, Found::Draft)];
        for (folder, found) in places {
            match self.ports.incoming().has(&access, folder, message_id).await {
                Ok(Some(true)) => return Ok(Ok(found)),
                Ok(Some(false) | None) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(Found::Nothing))
    }
}

/// Where an email was found whose hand-over nobody saw the end of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Among the sent ones.
    Sent,
    /// Among those that the server has taken and not sent yet.
    Waiting,
    /// Among the drafts, so that it was not sent.
    Draft,
    /// In neither, as far as the server can be asked.
    Nothing,
}

/// What a run over an outbox did.
#[derive(Debug, Clone, Default)]
struct Handed {
    /// Emails that were handed over, whatever the server said to each.
    done: usize,
    /// Some email is to be tried again after the gap.
    deferred: bool,
    /// Some email is to be tried again at once.
    cut_short: bool,
    /// Some email waits for the budget.
    over_budget: bool,
    /// What was found out on the server, if it was reached.
    learned: Option<Learned>,
}

/// To how many an email is still to go.
fn pending_recipients(stored: &StoredEmail) -> u32 {
    let recipients = stored.email.outgoing.iter().flat_map(|outgoing| &outgoing.recipients);
    u32::try_from(recipients.filter(|recipient| recipient.is_pending()).count()).unwrap_or(u32::MAX)
}

fn is_due(stored: &StoredEmail, now: Timestamp) -> bool {
    stored.email.outgoing.as_ref().and_then(|o| o.next_attempt).is_none_or(|at| at <= now)
}
