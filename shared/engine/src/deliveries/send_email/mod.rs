//! Outgoing email of one mailbox: settle what is unknown, then hand over what is Pending Send.

mod hand_over;
mod trial;
mod unknown_outcome;

use mailrail_domain::{
    Timestamp,
    email::record::EmailStatus,
    rules::{
        budget::{self, Allowance},
        classification::{Permanence, classify},
        run::moved::Spend,
        story::Story,
    },
    settings::endpoint::Endpoint,
    words::{
        cause::{Cause, DeliveryError},
        delivery::Delivery,
        evidence::Stage,
        id::MailboxId,
        spent::Account,
    },
};

use self::hand_over::{Failed, HandedOver};
use crate::{
    Engine,
    limits::{DEADLINE_MARGIN, OUTBOX_PAGE, OUTBOX_PAGES_MAX, SENDS_PER_RUN},
    outage::Outage,
    ports::{Access, DeliveryRow, Ledger, OutgoingServers, OutgoingSession, PageRequest, Ports, StoredEmail},
    run::{Run, Stages, Stop, Whose, Work},
};

/// The work of outgoing email.
#[derive(Default)]
pub(crate) struct SendEmail {
    /// Emails that are due: first those that were never tried. If there are none, the run only signs in.
    due: Vec<StoredEmail>,
    /// Whether the outbox has more of them than one run sends.
    is_full: bool,
}

impl<P: Ports> Work<P> for SendEmail {
    /// Sending is not polling: an email goes out when it is there.
    fn polls(&self) -> bool {
        false
    }

    async fn is_due(&mut self, engine: &Engine<P>, row: &DeliveryRow) -> Result<bool, Outage> {
        let Some(mut due) = engine.due_of_outbox(&row.mailbox.id, engine.now()).await? else {
            // A run of an empty outbox sends nothing, so that its failure would stand for ever. It signs in to end the failure.
            return Ok(row.state.enabled && row.state.transient_failure_count > 0);
        };
        // What was never tried goes before what the server hung up at.
        due.sort_by_key(|stored| stored.email.outgoing.as_ref().and_then(|outgoing| outgoing.next_attempt));
        self.is_full = due.len() > SENDS_PER_RUN;
        due.truncate(SENDS_PER_RUN);
        self.due = due;
        Ok(!self.due.is_empty())
    }

    fn story_of_waiting(&self, why: &'static str) -> Option<Story> {
        Some(Story::PendingSend { why })
    }

    /// Two that send the same email would send it twice.
    fn leases_first(&self, _: &Engine<P>, _: &Endpoint) -> bool {
        true
    }

    async fn work(&mut self, run: &mut Run<'_, P>) -> Result<Whose, Stop> {
        if self.due.is_empty() {
            self.enter(run).await?;
            return Ok(Whose::Ours);
        }
        let (unknown, pending): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.due).into_iter().partition(|stored| stored.email.status == EmailStatus::Sending);
        run.moved.more = self.is_full;
        for stored in unknown {
            let settled = run.engine.settle_unknown(run, stored).await?;
            run.moved.is_deferred |= settled == Some(EmailStatus::Sending);
            run.moved.more |= settled == Some(EmailStatus::PendingSend);
        }
        run.moved.waiting = Some(0);
        if !pending.is_empty() {
            hand_over_all(run, pending).await?;
        }
        Ok(Whose::Ours)
    }

    /// Connects and signs in.
    async fn enter(&mut self, run: &Run<'_, P>) -> Result<(), Stop> {
        let access = run.access(Delivery::OutgoingEmail).await?;
        let session = run.engine.ports.outgoing().open(&access).await?;
        session.close().await;
        Ok(())
    }

    async fn try_out(&mut self, run: &Run<'_, P>, stages: &mut Stages<'_>) -> Result<(), Stop> {
        trial::try_out(run, stages).await
    }
}

/// Hands over what is Pending Send, as far as the time and the provider's budgets reach.
async fn hand_over_all<P: Ports>(run: &mut Run<'_, P>, pending: Vec<StoredEmail>) -> Result<(), Stop> {
    let access = run.access(Delivery::OutgoingEmail).await?;
    let access = Access { ledger: Ledger::knowing(run.row.state.learned.clone()), ..access };
    let sends = budget::of_sends(&access.endpoint);
    let spent = (run.row.state.spent, run.row.state.spent_recipients);
    let mut allowance = Allowance::of(sends, spent, run.started);
    let result = hand_over_in_turn(run, pending, &access, &mut allowance).await;
    run.moved.learned = Some(access.ledger.learned());
    if let Some((messages, recipients)) = sends {
        let spend = |account, budget, amount| Spend { account, budget, amount };
        run.moved.spends.push(spend(Account::Requests, messages, allowance.messages));
        run.moved.spends.push(spend(Account::Recipients, recipients, allowance.recipients));
    }
    result
}

/// Hands emails over one after the other. After a transient failure at an email the next one shows whether the failure
/// lies in the email or in the server. If the next email meets a failure as well, the failure is the server's and ends the
/// run; else it is the email's, which is put off. So one email never blocks those behind it.
async fn hand_over_in_turn<P: Ports>(
    run: &mut Run<'_, P>,
    pending: Vec<StoredEmail>,
    access: &Access,
    allowance: &mut Allowance,
) -> Result<(), Stop> {
    let engine = run.engine;
    let mut session = engine.ports.outgoing().open(access).await?;
    let mut suspect: Option<Failed> = None;
    for (n, stored) in pending.into_iter().enumerate() {
        if run.deadline.is_within(DEADLINE_MARGIN) || (n > 0 && !run.is_as_it_was().await?) {
            run.moved.more = true;
            break;
        }
        if !allowance.takes(pending_recipients(&stored)) {
            (run.moved.over_budget, run.moved.more) = (true, true);
            break;
        }
        match engine.hand_over(run.row, &mut session, &stored).await? {
            HandedOver::Answered(status) => {
                run.moved.done += 1;
                run.moved.is_deferred |= status == Some(EmailStatus::PendingSend);
                if let Some(failed) = suspect.take() {
                    engine.charge(failed).await?;
                }
            }
            HandedOver::Failed(failed) if suspect.is_some() || !run.may_lie_in_email(&failed.error) => {
                let error = failed.error.clone();
                for failed in suspect.into_iter().chain([failed]) {
                    engine.let_others_go_first(failed).await?;
                }
                return Err(error.into());
            }
            HandedOver::Failed(failed) => {
                run.moved.is_deferred = true;
                suspect = Some(failed);
                session = engine.ports.outgoing().open(access).await?;
            }
        }
    }
    session.close().await;
    let Some(failed) = suspect else {
        return Ok(());
    };
    // No other email shows where the failure of a single one lies. So it counts for the mailbox until the email is given up,
    // which is before it would disable the mailbox.
    let error = failed.error.clone();
    let status = engine.charge(failed).await?;
    let is_explained = run.moved.done > 0 || status == Some(EmailStatus::Failed);
    if is_explained { Ok(()) } else { Err(error.into()) }
}

impl<P: Ports> Run<'_, P> {
    /// Whether a failure at an email may lie in the email. What is permanent, what the server asks time for and what fails
    /// before the email is named lies in the mailbox or the server.
    fn may_lie_in_email(&self, error: &DeliveryError) -> bool {
        let permanence = classify(error.cause, self.profile.profile().credentials).permanence;
        permanence == Permanence::Transient
            && error.cause != Cause::ServerBusy
            && matches!(error.evidence.stage, Stage::Envelope | Stage::Data)
    }
}

impl<P: Ports> Engine<P> {
    /// Emails of an outbox that are due. Those that wait for a greylisting to pass are passed over, page by page. `None` if
    /// the outbox is empty.
    async fn due_of_outbox(&self, mailbox: &MailboxId, now: Timestamp) -> Result<Option<Vec<StoredEmail>>, Outage> {
        let mut due = Vec::new();
        let mut is_empty = true;
        let mut page = PageRequest { limit: OUTBOX_PAGE, cursor: None };
        for _ in 0..OUTBOX_PAGES_MAX {
            let outbox = self.outbox().page(mailbox, &page).await?;
            is_empty &= outbox.items.is_empty();
            due.extend(outbox.items.into_iter().filter(|stored| is_due(stored, now)));
            page.cursor = outbox.cursor;
            if page.cursor.is_none() || due.len() > SENDS_PER_RUN {
                break;
            }
        }
        Ok((!is_empty).then_some(due))
    }
}

/// How many recipients an email is still to go to.
fn pending_recipients(stored: &StoredEmail) -> u32 {
    let recipients = stored.email.outgoing.iter().flat_map(|outgoing| &outgoing.recipients);
    u32::try_from(recipients.filter(|recipient| recipient.is_pending()).count()).unwrap_or(u32::MAX)
}

fn is_due(stored: &StoredEmail, now: Timestamp) -> bool {
    stored.email.outgoing.as_ref().and_then(|o| o.next_attempt).is_none_or(|at| at <= now)
}
