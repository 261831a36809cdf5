//! An email whose hand-over nobody saw the end of: settled by the mailbox's folders, else by the profile's policy.

use mailrail_domain::{
    email::record::{Email, EmailStatus, after_settling},
    seconds_after,
    settings::profile::UnknownOutcome,
    words::delivery::Delivery,
};

use crate::{
    Engine,
    outage::Outage,
    ports::{Access, Folder, IncomingServers, Ports, RecordStore, StoredEmail},
    run::{Run, Stop},
};

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

impl<P: Ports> Engine<P> {
    /// Settles an email whose hand-over nobody saw the end of: by the Sent folder, else by the profile's policy.
    pub(super) async fn settle_unknown(
        &self,
        run: &Run<'_, P>,
        stored: StoredEmail,
    ) -> Result<Option<EmailStatus>, Outage> {
        let (policy, now) = (self.settings.retry, self.now());
        let sends_again = run.profile.profile().unknown_outcome == UnknownOutcome::SendAgain;
        let next = seconds_after(now, i64::from(policy.gap_seconds));
        let asked_again = |attempts: u32| -> Email {
            let mut after = stored.email.clone();
            let outgoing = after.outgoing.get_or_insert_default();
            outgoing.attempts += attempts;
            outgoing.next_attempt = Some(next);
            after
        };
        let after = match self.find_again(run, &stored).await {
            // The server has it and has yet to send it: it is asked again until it has.
            Ok(Found::Waiting) => asked_again(0),
            Ok(found) => {
                let sends_again = found == Found::Draft || sends_again;
                after_settling(&stored.email, found == Found::Sent, sends_again, policy, now)
            }
            // The folders cannot be asked now. They are asked again, a bounded number of times, before the policy decides.
            Err(Stop::Mailbox(_)) => {
                let after = asked_again(1);
                let is_over = after.outgoing.as_ref().is_some_and(|o| o.attempts >= policy.failures_max);
                if is_over { after_settling(&stored.email, false, sends_again, policy, now) } else { after }
            }
            Err(Stop::Ours(outage)) => return Err(outage),
        };
        let written = self.ports.records().update_outgoing(&after, stored.revision).await?;
        Ok(written.map(|stored| stored.email.status))
    }

    async fn find_again(&self, run: &Run<'_, P>, stored: &StoredEmail) -> Result<Found, Stop> {
        let (Some(_), Some(message_id)) = (run.endpoint(Delivery::IncomingEmail), &stored.email.message_id) else {
            return Ok(Found::Nothing);
        };
        let access = run.access(Delivery::IncomingEmail).await?;
        let access = Access { learned: run.row.state.learned.clone(), ..access };
        // In the order in which a server moves an email that it has taken, so that none slips through between two
        // questions; a draft that is still one after that was not taken.
        let places = [(Folder::Outbox, Found::Waiting), (Folder::Sent, Found::Sent), (Folder::Drafts, Found::Draft)];
        for (folder, found) in places {
            if self.ports.incoming().has(&access, folder, message_id).await? == Some(true) {
                return Ok(found);
            }
        }
        Ok(Found::Nothing)
    }
}
