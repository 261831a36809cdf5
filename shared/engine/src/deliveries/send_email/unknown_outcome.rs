//! An email whose hand-over nobody saw the end of: settled by the mailbox's folders, else by the profile's policy.

use mailrail_domain::{
    email::{
        record::EmailStatus,
        sending::{Whereabouts, after_search},
    },
    words::delivery::Delivery,
};

use crate::{
    Engine,
    outage::Outage,
    ports::{Access, Finder, Folder, Ledger, Ports, StoredEmail},
    run::{Run, Stop},
};

impl<P: Ports> Engine<P> {
    /// Settles an email whose hand-over nobody saw the end of: by the mailbox's folders, else by the profile's
    /// policy.
    pub(super) async fn settle_unknown(
        &self,
        run: &Run<'_, P>,
        stored: StoredEmail,
    ) -> Result<Option<EmailStatus>, Outage> {
        let found = match self.find_again(run, &stored).await {
            Ok(found) => found,
            Err(Stop::Mailbox(_)) => Whereabouts::NotKnown,
            Err(Stop::Ours(outage)) => return Err(outage),
        };
        let or_else = run.profile.profile().unknown_outcome;
        let after = after_search(&stored.email, found, or_else, self.settings.retry, self.now());
        let written = self.outbox().update(&after, &stored.revision).await?;
        Ok(written.map(|stored| stored.email.status))
    }

    async fn find_again(&self, run: &Run<'_, P>, stored: &StoredEmail) -> Result<Whereabouts, Stop> {
        let (Some(_), Some(message_id)) = (run.endpoint(Delivery::IncomingEmail), &stored.email.message_id) else {
            return Ok(Whereabouts::Nowhere);
        };
        let access = run.access(Delivery::IncomingEmail).await?;
        let access = Access { ledger: Ledger::knowing(run.row.state.learned.clone()), ..access };
        // In the order in which a server moves an email that it has taken, so that none slips through between two
        // questions; a draft that is still one after that was not taken.
        let places = [
            (Folder::Outbox, Whereabouts::Waiting),
            (Folder::Sent, Whereabouts::Sent),
            (Folder::Drafts, Whereabouts::Draft),
        ];
        for (folder, found) in places {
            if self.ports.finder().has(&access, folder, message_id).await? == Some(true) {
                return Ok(found);
            }
        }
        Ok(Whereabouts::Nowhere)
    }
}
