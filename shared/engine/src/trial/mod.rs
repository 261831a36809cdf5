//! Test & Enable: each delivery of a mailbox tried with the code that synchronizes it, stage by stage, and enabled if it
//! passed. A trial is a mode of the one run, and a job of the one queue.

use mailrail_domain::words::{
    audit::{AuditAction, AuditEntry, AuditSubject},
    cause::DeliveryError,
    delivery::{Delivery, SynchronizationMethod, TestStatus},
    id::MailboxId,
    trial::{MailboxTest, ProfileTest, TestPhase},
};

use crate::{
    Deadline, Engine,
    limits::{TRIAL_BUSY_SECONDS, TRIALS_PAGE},
    outage::Outage,
    ports::{Directory, Job, JobQueue, MailboxStore, PageRequest, Ports, TestStore},
    run::{Concluding, Ran, Stages, profiles::Profiles},
};

/// Who asks for tests, and how.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Name of the API token.
    pub by: String,
    /// See [`MailboxTest::items_with_this_organization_only`].
    pub items_with_this_organization_only: bool,
}

impl<P: Ports> Engine<P> {
    /// Asks for the test of a mailbox. `false` if one is under way.
    pub async fn request_test(&self, mailbox: &MailboxId, asked: &Asked, audit: &AuditEntry) -> Result<bool, Outage> {
        let test = MailboxTest {
            id: audit.id.clone(),
            mailbox_id: mailbox.clone(),
            phase: TestPhase::Waiting,
            requested_by: asked.by.clone(),
            requested_at: self.now(),
            finished_at: None,
            items_with_this_organization_only: asked.items_with_this_organization_only,
            deliveries: Vec::new(),
        };
        if !self.ports.mailboxes().request_test(&test, audit).await? {
            return Ok(false);
        }
        self.ports.queue().send(&[Job::Trial(mailbox.clone())], 0).await?;
        Ok(true)
    }

    /// Asks for the tests of one page of a profile's mailboxes, then for the next page.
    pub(crate) async fn ask_for_trials(&self, tests: &ProfileTest) -> Result<(), Outage> {
        let page = PageRequest { limit: TRIALS_PAGE, cursor: tests.cursor.clone() };
        let found = self.ports.mailboxes().mailboxes(Some(&tests.profile), &page).await?;
        let asked = Asked {
            by: tests.requested_by.clone(),
            items_with_this_organization_only: tests.items_with_this_organization_only,
        };
        for stored in found.items {
            let id = &stored.mailbox.id;
            // The entry is the same however often the page is worked off.
            let place = tests.cursor.as_deref().unwrap_or("first");
            let audit = self.audit(&asked.by, AuditAction::Tested, id, vec![], &format!("{id}-{place}"));
            self.request_test(id, &asked, &audit).await?;
        }
        if let Some(cursor) = found.cursor {
            let next = ProfileTest { cursor: Some(cursor), ..tests.clone() };
            self.ports.queue().send(&[Job::TrialsOfProfile(next)], 0).await?;
        }
        Ok(())
    }

    pub(crate) fn audit(
        &self,
        by: &str,
        action: AuditAction,
        id: &MailboxId,
        fields: Vec<String>,
        name: &str,
    ) -> AuditEntry {
        let at = self.now();
        AuditEntry {
            id: format!("{}-{name}", at.timestamp_millis()),
            at,
            by: by.to_owned(),
            action,
            subject: AuditSubject::Mailbox,
            subject_id: id.to_string(),
            fields,
        }
    }

    /// Tries the deliveries of a mailbox that are synchronized, one after the other.
    pub(crate) async fn try_mailbox(
        &self,
        mailbox: &MailboxId,
        profiles: &Profiles,
        deadline: Deadline,
    ) -> Result<Vec<Ran>, Outage> {
        let mailboxes = self.ports.mailboxes();
        let mut ran = Vec::new();
        let Some(mut test) = mailboxes.test(mailbox).await?.filter(|test| test.phase != TestPhase::Finished) else {
            return Ok(ran);
        };
        test.phase = TestPhase::Running;
        test.deliveries.clear();
        if !mailboxes.update_test(&test).await? {
            return Ok(ran);
        }
        for delivery in Delivery::ALL {
            let Some(row) = mailboxes.load(mailbox, delivery).await? else {
                return Ok(ran);
            };
            let method = row.mailbox.method(delivery);
            if !delivery.is_moved() || method != SynchronizationMethod::ServerSideSynchronization {
                continue;
            }
            let mut stages = Stages::begin(&mut test, delivery);
            stages.save(self).await?;
            let tried = self.run_delivery((mailbox, delivery), Some(&mut stages), profiles, deadline).await?;
            match tried {
                Concluding::Ran(one) => {
                    self.note_result(&mut test, delivery, &one.result).await?;
                    ran.push(*one);
                }
                Concluding::Dropped => {}
                Concluding::Busy => {
                    // It is being synchronized, or all connections are taken: the test waits its turn.
                    self.ports.queue().send(&[Job::Trial(mailbox.clone())], TRIAL_BUSY_SECONDS).await?;
                    return Ok(ran);
                }
            }
        }
        test.phase = TestPhase::Finished;
        test.finished_at = Some(self.now());
        mailboxes.update_test(&test).await?;
        tracing::info!(%mailbox, test = test.id, "tested");
        Ok(ran)
    }

    /// The entry of a delivery that a test has enabled. It is written with the enabling.
    pub(crate) fn enabled_by_test(&self, test: &MailboxTest, delivery: Delivery) -> AuditEntry {
        let fields = vec![delivery.as_str().to_owned()];
        let name = format!("{}-{}", test.id, delivery.as_str());
        self.audit(&test.requested_by, AuditAction::Enabled, &test.mailbox_id, fields, &name)
    }

    /// Writes what the trial of a delivery came to.
    async fn note_result(
        &self,
        test: &mut MailboxTest,
        delivery: Delivery,
        result: &Result<(), DeliveryError>,
    ) -> Result<(), Outage> {
        let part = test.part(delivery);
        part.status = if result.is_ok() { TestStatus::Success } else { TestStatus::Failure };
        part.cause = result.as_ref().err().map(|error| error.cause);
        self.ports.mailboxes().update_test(test).await?;
        Ok(())
    }
}
