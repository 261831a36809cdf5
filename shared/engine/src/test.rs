//! Test & Enable: each delivery tried with the code that synchronizes it, stage by stage, and enabled if it passed.

use std::time::Instant;

use futures_util::{StreamExt, stream};
use mailrail_domain::{
    email::{
        pop3::SeenUidls,
        record::{ContentReply, RecipientReply},
    },
    rules::retry::{Pace, settle_test},
    words::{
        alert::Alert,
        audit::{AuditAction, AuditEntry, AuditSubject},
        cause::{Cause, DeliveryError},
        delivery::{Delivery, SynchronizationMethod, TestStatus},
        evidence::{Evidence, Stage},
        id::MailboxId,
        notice::Notice,
        trial::{MailboxTest, ProfileTest, StageReport, TEST_SUBJECT, TestPhase, TestRequest},
    },
};

use crate::{
    Deadline, Engine,
    admission::refusal,
    batch::{Handled, ProfileInUse, Profiles},
    limits::{
        ARRIVAL_LOOKS_MAX, ARRIVAL_WAIT, DEADLINE_MARGIN, LEASE_MARGIN, MAILBOXES_AT_ONCE, TEST_BUSY_SECONDS,
        TEST_WRITES_MAX, TESTS_PAGE,
    },
    mime::{Composition, compose, dated},
    outage::Outage,
    ports::{
        Access, AccessStore, Claim, DeliveryRow, Directory, EnvelopeReply, Folder, IncomingServers, IncomingSession,
        MailboxStore, OutgoingServers, OutgoingSession, PageRequest, Ports, Progress, Settlement, TestQueue, TestStore,
    },
    settle::alert_writes,
};

/// Who asks for tests, and how.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Name of the API token.
    pub by: String,
    /// See [`MailboxTest::items_with_this_organization_only`].
    pub items_with_this_organization_only: bool,
}

/// The stages of one delivery's test, as far as it got.
struct Trial<'a> {
    test: &'a mut MailboxTest,
    delivery: Delivery,
}

impl Trial<'_> {
    /// Adds what connecting came to: every stage but the last went through, and the last if nothing failed.
    fn connected(&mut self, progress: &Progress, error: Option<&DeliveryError>) {
        for (stage, took) in progress.stages() {
            let failed = error.filter(|error| error.evidence.stage == stage);
            self.add(stage, took.as_millis(), failed);
        }
        if let Some(error) = error
            && !self.test.part(self.delivery).stages.iter().any(|report| report.stage == error.evidence.stage)
        {
            self.add(error.evidence.stage, 0, Some(error));
        }
    }

    fn add(&mut self, stage: Stage, milliseconds: u128, error: Option<&DeliveryError>) {
        let status = if error.is_some() { TestStatus::Failure } else { TestStatus::Success };
        let evidence = error.map(|error| error.evidence.clone());
        let milliseconds = u64::try_from(milliseconds).unwrap_or(u64::MAX);
        let stages = &mut self.test.part(self.delivery).stages;
        match stages.last_mut().filter(|last| last.stage == stage && last.status == TestStatus::Success) {
            // A stage that two steps go through is one: the second tells how it ended.
            Some(last) => {
                let milliseconds = last.milliseconds.saturating_add(milliseconds);
                *last = StageReport { stage, status, milliseconds, evidence };
            }
            None => stages.push(StageReport { stage, status, milliseconds, evidence }),
        }
    }

    /// Runs one step and notes it.
    async fn step<T>(
        &mut self,
        stage: Stage,
        step: impl Future<Output = Result<T, DeliveryError>>,
    ) -> Result<T, DeliveryError> {
        let began = Instant::now();
        let result = step.await;
        let took = began.elapsed().as_millis();
        match &result {
            Ok(_) => self.add(stage, took, None),
            Err(error) => self.add(error.evidence.stage, took, Some(error)),
        }
        result
    }
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
        self.ports.queue().send_tests(&[TestRequest::Mailbox(mailbox.clone())], 0).await?;
        Ok(true)
    }

    /// Runs the requests side by side and says of each, in order, what became of it.
    pub async fn run_tests(&self, requests: &[TestRequest], deadline: Deadline) -> Vec<Handled> {
        let profiles = Profiles::default();
        let handled = stream::iter(requests)
            .map(|request| self.run_request(request, &profiles, deadline))
            .buffered(MAILBOXES_AT_ONCE)
            .collect()
            .await;
        self.leave_places(&profiles).await;
        handled
    }

    /// Receives batches from the queue of tests and runs them, until it is empty or the time is up.
    pub async fn drain_tests(&self, deadline: Deadline) -> Result<usize, Outage> {
        let mut done = 0;
        while !deadline.is_within(DEADLINE_MARGIN) {
            let received = self.ports.queue().receive_tests().await?;
            if received.is_empty() {
                break;
            }
            let (mut requests, mut receipts) = (Vec::new(), Vec::new());
            for message in received {
                match message.request {
                    Ok(request) => {
                        requests.push(request);
                        receipts.push(message.receipt);
                    }
                    Err(problem) => tracing::error!(problem, "a request for a test is left to the dead letters"),
                }
            }
            let handled = self.run_tests(&requests, deadline).await;
            let ended = receipts.into_iter().zip(handled).filter(|(_, handled)| matches!(handled, Handled::Done));
            let ended: Vec<String> = ended.map(|(receipt, _)| receipt).collect();
            done += ended.len();
            self.ports.queue().delete_tests(&ended).await?;
        }
        Ok(done)
    }

    async fn run_request(&self, request: &TestRequest, profiles: &Profiles, deadline: Deadline) -> Handled {
        let result = match request {
            TestRequest::Mailbox(mailbox) => self.test_mailbox(mailbox, profiles, deadline).await,
            TestRequest::Profile(tests) => self.test_profile(tests).await,
        };
        match result {
            Ok(()) => Handled::Done,
            Err(outage) => {
                tracing::error!(error = outage.chain(), "outage; counts against no mailbox");
                Handled::Again
            }
        }
    }

    /// Asks for the tests of one page of a profile's mailboxes, then for the next page.
    async fn test_profile(&self, tests: &ProfileTest) -> Result<(), Outage> {
        let page = PageRequest { limit: TESTS_PAGE, cursor: tests.cursor.clone() };
        let found = self.ports.mailboxes().mailboxes(Some(&tests.profile), &page).await?;
        let asked = Asked {
            by: tests.requested_by.clone(),
            items_with_this_organization_only: tests.items_with_this_organization_only,
        };
        for stored in found.items {
            let id = &stored.mailbox.id;
            // The same entry however often the page is worked off.
            let place = tests.cursor.as_deref().unwrap_or("first");
            let audit = self.audit(&asked.by, AuditAction::Tested, id.as_str(), vec![], &format!("{id}-{place}"));
            self.request_test(id, &asked, &audit).await?;
        }
        if let Some(cursor) = found.cursor {
            let next = ProfileTest { cursor: Some(cursor), ..tests.clone() };
            self.ports.queue().send_tests(&[TestRequest::Profile(next)], 0).await?;
        }
        Ok(())
    }

    fn audit(&self, by: &str, action: AuditAction, id: &str, fields: Vec<String>, name: &str) -> AuditEntry {
        let at = self.now();
        AuditEntry {
            id: format!("{}-{name}", at.timestamp_millis()),
            at,
            by: by.to_owned(),
            action,
            subject: AuditSubject::Mailbox,
            subject_id: id.to_owned(),
            fields,
        }
    }

    async fn test_mailbox(&self, mailbox: &MailboxId, profiles: &Profiles, deadline: Deadline) -> Result<(), Outage> {
        let mailboxes = self.ports.mailboxes();
        let Some(mut test) = mailboxes.test(mailbox).await?.filter(|test| test.phase != TestPhase::Finished) else {
            return Ok(());
        };
        test.phase = TestPhase::Running;
        test.deliveries.clear();
        if !mailboxes.update_test(&test).await? {
            return Ok(());
        }
        for delivery in Delivery::ALL {
            let Some(row) = mailboxes.load(mailbox, delivery).await? else {
                return Ok(());
            };
            if row.mailbox.method(delivery) != SynchronizationMethod::ServerSideSynchronization {
                continue;
            }
            let Some(profile) = self.profile_of(profiles, &row.mailbox.profile_id, deadline).await? else {
                return Err(Outage::new("the mailbox's email server profile is missing from the table"));
            };
            let connection = profile.connection().await;
            let until = deadline.as_of(self.now(), LEASE_MARGIN);
            let claim = match connection {
                Some(_) => mailboxes.lease(&row.claim, until, self.now()).await?,
                None => None,
            };
            let Some(claim) = claim else {
                // It is being synchronized, or all connections are taken: the test waits its turn.
                let again = [TestRequest::Mailbox(mailbox.clone())];
                return self.ports.queue().send_tests(&again, TEST_BUSY_SECONDS).await;
            };
            test.part(delivery);
            mailboxes.update_test(&test).await?;
            let mut trial = Trial { test: &mut test, delivery };
            let result = self.try_delivery(&row, &profile, profiles, &mut trial).await?;
            let part = test.part(delivery);
            part.status = if result.is_ok() { TestStatus::Success } else { TestStatus::Failure };
            part.cause = result.as_ref().err().map(|error| error.cause);
            self.settle_tested(&row, &profile, claim, result).await?;
            if test.part(delivery).status == TestStatus::Success && !row.state.enabled {
                let fields = vec![delivery.as_str().to_owned()];
                let (by, name) = (test.requested_by.clone(), format!("{}-{}", test.id, delivery.as_str()));
                let entry = self.audit(&by, AuditAction::Enabled, mailbox.as_str(), fields, &name);
                mailboxes.record(&entry).await?;
            }
            mailboxes.update_test(&test).await?;
        }
        test.phase = TestPhase::Finished;
        test.finished_at = Some(self.now());
        mailboxes.update_test(&test).await?;
        tracing::info!(%mailbox, test = test.id, "tested");
        Ok(())
    }

    async fn try_delivery(
        &self,
        row: &DeliveryRow,
        profile: &ProfileInUse,
        profiles: &Profiles,
        trial: &mut Trial<'_>,
    ) -> Result<Result<(), DeliveryError>, Outage> {
        if let Some(error) = refusal(&row.mailbox, profile.profile(), self.organization_of(profiles).await?) {
            trial.add(Stage::Prepare, 0, Some(&error));
            return Ok(Err(error));
        }
        match trial.delivery {
            Delivery::IncomingEmail => self.try_incoming(row, profile, trial).await,
            Delivery::OutgoingEmail => self.try_outgoing(row, profile, trial).await,
            Delivery::AppointmentsContactsTasks => {
                let words = "this version has no client for appointments, contacts, and tasks";
                let error = DeliveryError::new(Cause::CapabilityMissing, Evidence::new(Stage::Prepare, words));
                trial.add(Stage::Prepare, 0, Some(&error));
                Ok(Err(error))
            }
        }
    }

    /// The access of a test, whose stages are noted.
    async fn noted_access(
        &self,
        row: &DeliveryRow,
        profile: &ProfileInUse,
        delivery: Delivery,
        trial: &mut Trial<'_>,
    ) -> Result<Result<Access, DeliveryError>, Outage> {
        let error = |words| DeliveryError::new(Cause::HostNotFound, Evidence::new(Stage::Prepare, words));
        let result = match profile.profile().endpoint(delivery) {
            None => Err(error("the email server profile has no server for this delivery")),
            Some(endpoint) => self.access(&row.mailbox, row.credentials.as_ref(), &profile.stored, &endpoint).await?,
        };
        if let Err(error) = &result {
            trial.add(Stage::Prepare, 0, Some(error));
        }
        Ok(result.map(|access| Access { progress: Progress::noted(), ..access }))
    }

    /// Signs in, opens the inbox and lists what is new, as a synchronization does, and reads nothing.
    async fn try_incoming(
        &self,
        row: &DeliveryRow,
        profile: &ProfileInUse,
        trial: &mut Trial<'_>,
    ) -> Result<Result<(), DeliveryError>, Outage> {
        let access = match self.noted_access(row, profile, Delivery::IncomingEmail, trial).await? {
            Ok(access) => access,
            Err(error) => return Ok(Err(error)),
        };
        let opened = self.ports.incoming().open(&access, &self.memory).await;
        trial.connected(&access.progress, opened.as_ref().err());
        self.ports.mailboxes().update_test(trial.test).await?;
        let mut session = match opened {
            Ok(session) => session,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = trial.step(Stage::Open, session.look(None)).await {
            return Ok(Err(error));
        }
        let listing = session.begin(None, SeenUidls::default(), Some(self.now()), Pace::Singly);
        if let Err(error) = trial.step(Stage::List, listing).await {
            return Ok(Err(error));
        }
        Ok(session.close().await)
    }

    /// Sends a message from the mailbox to itself, as any other is sent, and waits for it to arrive where the mailbox
    /// can be read.
    async fn try_outgoing(
        &self,
        row: &DeliveryRow,
        profile: &ProfileInUse,
        trial: &mut Trial<'_>,
    ) -> Result<Result<(), DeliveryError>, Outage> {
        let Some(address) = row.mailbox.address.clone() else {
            return Err(Outage::new("a mailbox without an address was let through to a test"));
        };
        let access = match self.noted_access(row, profile, Delivery::OutgoingEmail, trial).await? {
            Ok(access) => access,
            Err(error) => return Ok(Err(error)),
        };
        let opened = self.ports.outgoing().open(&access).await;
        trial.connected(&access.progress, opened.as_ref().err());
        self.ports.mailboxes().update_test(trial.test).await?;
        let mut session = match opened {
            Ok(session) => session,
            Err(error) => return Ok(Err(error)),
        };
        let message_id = format!("test-{}@{}", trial.test.id, address.domain());
        let to = [address.clone()];
        let raw = compose(&Composition {
            from: Some((&row.mailbox.name, &address)),
            to: &to,
            subject: TEST_SUBJECT,
            text: "This message was sent by Test & Enable, from the mailbox to itself. You can delete it.\n",
            message_id: &message_id,
            ..Composition::default()
        });
        let envelope = async { accepted(session.envelope(&address, &to).await?) };
        if let Err(error) = trial.step(Stage::Envelope, envelope).await {
            return Ok(Err(error));
        }
        let message = dated(&raw, self.now());
        let content = async { taken(session.content(&message).await?) };
        if let Err(error) = trial.step(Stage::Data, content).await {
            return Ok(Err(error));
        }
        let learned = session.learned();
        session.close().await;
        self.ports.mailboxes().update_test(trial.test).await?;
        let reads = row.mailbox.method(Delivery::IncomingEmail) == SynchronizationMethod::ServerSideSynchronization;
        let Some(endpoint) = profile.profile().endpoint(Delivery::IncomingEmail).filter(|_| reads) else {
            return Ok(Ok(()));
        };
        let (mailbox, credentials) = (&row.mailbox, row.credentials.as_ref());
        let access = match self.access(mailbox, credentials, &profile.stored, &endpoint).await? {
            Ok(access) => access,
            Err(error) => return Ok(Err(error)),
        };
        let access = Access { learned, ..access };
        let arrival = self.arrival(&access, &message_id);
        Ok(trial.step(Stage::Arrive, arrival).await)
    }

    async fn arrival(&self, access: &Access, message_id: &str) -> Result<(), DeliveryError> {
        for _ in 0..ARRIVAL_LOOKS_MAX {
            match self.ports.incoming().has(access, Folder::Inbox, message_id).await {
                // Where nobody can look, nothing is known against it.
                Ok(Some(true) | None) => return Ok(()),
                Ok(Some(false)) => tokio::time::sleep(ARRIVAL_WAIT).await,
                // The mailbox could not be read, which is the other delivery's failure.
                Err(_) => return Ok(()),
            }
        }
        let seconds = ARRIVAL_WAIT.as_secs() * u64::try_from(ARRIVAL_LOOKS_MAX).unwrap_or_default();
        let words = format!("not in the inbox after {seconds} seconds");
        Err(DeliveryError::new(Cause::TestMessageNotArrived, Evidence::new(Stage::Arrive, &words)))
    }

    /// Writes what a test came to: the delivery enabled or not, its alerts, and a notice if it was enabled before.
    async fn settle_tested(
        &self,
        row: &DeliveryRow,
        profile: &ProfileInUse,
        claim: Claim,
        result: Result<(), DeliveryError>,
    ) -> Result<(), Outage> {
        let (in_use, delivery, policy, profile) = (profile, claim.delivery, self.settings.retry, profile.profile());
        let mut row = DeliveryRow { claim, ..row.clone() };
        for _ in 0..TEST_WRITES_MAX {
            let now = self.now();
            let tried = result.as_ref().copied().map_err(|error| (error, profile.credentials));
            let outcome = settle_test(&row.state, tried, now);
            let failed = |error| Alert::of_failure(&row.mailbox, profile, delivery, error, &outcome, policy, now);
            let alert = result.as_ref().err().and_then(failed);
            let told = alert.as_ref().filter(|_| outcome.disabled);
            let notice = told.map(|alert| Notice::of_disabling(&row.mailbox, profile, delivery, &outcome, alert, now));
            let own = self.share(alert, in_use, result.as_ref().err(), &outcome, policy).await?;
            let settlement = Settlement {
                alerts: alert_writes(&outcome, own, now),
                state: outcome.state.clone(),
                position: None,
                notice,
                interval_minutes: self.interval(delivery, profile),
                previous_interval_minutes: row.interval_minutes,
            };
            if self.ports.mailboxes().commit(&row.claim, &settlement).await? {
                return self.unshare(&profile.id, delivery, &outcome.closed()).await;
            }
            let Some(there) = self.ports.mailboxes().load(&row.claim.mailbox, delivery).await? else {
                return Ok(());
            };
            row = there;
        }
        Err(Outage::new("the delivery was changed again and again while its test was written"))
    }
}

/// Whether the server takes a message from the mailbox to itself.
fn accepted(reply: EnvelopeReply) -> Result<(), DeliveryError> {
    let refusal = match reply {
        EnvelopeReply::EmailRefused(evidence) => Some(evidence),
        EnvelopeReply::Recipients(replies) => replies.into_iter().find_map(|(_, reply)| match reply {
            RecipientReply::Accepted => None,
            RecipientReply::Refused(evidence) | RecipientReply::Deferred(evidence) => Some(evidence),
        }),
    };
    refusal.map_or(Ok(()), |evidence| Err(DeliveryError::new(Cause::SenderRefused, evidence)))
}

fn taken(reply: ContentReply) -> Result<(), DeliveryError> {
    match reply {
        ContentReply::Accepted => Ok(()),
        ContentReply::Refused(evidence) => Err(DeliveryError::new(Cause::SenderRefused, evidence)),
        ContentReply::Deferred(evidence) => Err(DeliveryError::new(Cause::SenderDeferred, evidence)),
        ContentReply::Unknown(evidence) => Err(DeliveryError::new(Cause::ConnectionLost, evidence)),
        ContentReply::NotSent => {
            let evidence = Evidence::new(Stage::Data, "no recipient was accepted");
            Err(DeliveryError::new(Cause::SenderRefused, evidence))
        }
    }
}
