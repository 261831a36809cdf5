//! Test & Enable: a person asks for it, for a mailbox or a whole profile, and follows it.

use mailrail_domain::words::{
    audit::{AuditAction, AuditSubject},
    delivery::{Delivery, SynchronizationMethod},
    id::ProfileId,
    role::Role,
    trial::{MailboxTest, ProfileTest, TestPhase},
};

use super::{By, Refusal, bulk};
use crate::{
    Engine,
    ports::{Job, JobQueue, Ports, TestStore},
    trial::Asked,
};

impl<P: Ports> Engine<P> {
    /// Asks for the tests of mailboxes, see [`Engine::ask_for_test`].
    pub async fn ask_for_tests(
        &self,
        by: &By,
        mailboxes: &[String],
        items_with_this_organization_only: bool,
    ) -> Result<bulk::Done, Refusal> {
        let ask = |id: String| async move { self.ask_for_test(by, &id, items_with_this_organization_only).await };
        bulk::each(mailboxes, ask).await
    }

    /// Asks for the test of a mailbox, which enables each delivery that passes. `items_with_this_organization_only` is
    /// kept with it, see [`MailboxTest::items_with_this_organization_only`].
    pub async fn ask_for_test(
        &self,
        by: &By,
        id: &str,
        items_with_this_organization_only: bool,
    ) -> Result<(), Refusal> {
        by.needs(Role::Administrator, "Testing a mailbox")?;
        let mailbox = self.find_mailbox(id).await?.stored.mailbox;
        let synchronized = SynchronizationMethod::ServerSideSynchronization;
        if !Delivery::ALL.into_iter().any(|of| of.is_moved() && mailbox.method(of) == synchronized) {
            let detail =
                format!("The mailbox {} has no delivery to test: every synchronization method is none.", mailbox.name);
            return Err(Refusal::conflict(detail, "Set a method to server-side-synchronization first."));
        }
        let audit = by.audit(self.now(), AuditAction::Tested, (AuditSubject::Mailbox, id), vec![]);
        let asked = Asked { by: by.name.clone(), items_with_this_organization_only };
        if self.request_test(&mailbox.id, &asked, &audit).await? {
            return Ok(());
        }
        let under_way = self.ports.mailboxes().test(&mailbox.id).await?;
        if under_way.is_some_and(|test| test.phase == TestPhase::Waiting) {
            // Its message may have been lost. A second one does no harm, because the row says what is to be done.
            self.ports.queue().send(&[Job::Trial(mailbox.id)], 0).await?;
            return Ok(());
        }
        let detail = format!("The mailbox {} is being tested already.", mailbox.name);
        Err(Refusal::conflict(detail, format!("Follow that test at /v1/mailboxes/{id}/test.")))
    }

    /// Asks for tests of all mailboxes of a profile, page by page. The audit has a test once its page is reached.
    pub async fn ask_for_tests_of_profile(
        &self,
        by: &By,
        id: &str,
        items_with_this_organization_only: bool,
    ) -> Result<ProfileId, Refusal> {
        by.needs(Role::Administrator, "Testing the mailboxes of a profile")?;
        let profile = self.find_profile(id).await?.profile.id;
        let requested_by = by.name.clone();
        let tests =
            ProfileTest { profile: profile.clone(), requested_by, items_with_this_organization_only, cursor: None };
        self.ports.queue().send(&[Job::TrialsOfProfile(tests)], 0).await?;
        Ok(profile)
    }

    /// The last test of a mailbox, while it runs and afterwards.
    pub async fn last_test(&self, id: &str) -> Result<MailboxTest, Refusal> {
        let mailbox = self.find_mailbox(id).await?.stored.mailbox;
        let test = self.ports.mailboxes().test(&mailbox.id).await?;
        test.ok_or_else(|| Refusal::not_found("test of the mailbox", id))
    }
}
