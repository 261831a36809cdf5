//! One run of one delivery, whatever it moves: what comes before connecting, the work, and the end.
//!
//! A delivery supplies what differs, as a `Work`. Test & Enable is a mode of the same run.

mod end;
pub(crate) mod profiles;
mod ran;
mod stages;
mod stop;

use std::{sync::Arc, time::Instant};

use mailrail_domain::{
    Timestamp,
    email::position::Position,
    rules::{
        admission,
        hold::{Turn, turn},
        passing_over::marked,
        retry::{is_said_in_passing, passing},
        run::{
            end::{Mode, Ran as Concluded, told},
            gate::{Gate, gate},
            moved::Moved,
        },
        schedule::interval_of,
        story::Story,
    },
    settings::{endpoint::Endpoint, profile::EmailServerProfile},
    words::{
        cause::{Cause, DeliveryError},
        delivery::{Delivery, SynchronizationMethod},
        evidence::{Evidence, Stage},
        id::MailboxId,
    },
};
pub use ran::Ran;
pub(crate) use stages::Stages;
pub use stop::Stop;

use self::profiles::{ProfileInUse, Profiles};
use crate::{
    Deadline, Engine,
    limits::{DEADLINE_MARGIN, LEASE_MARGIN},
    outage::Outage,
    ports::{Access, Claim, DeliveryRow, Directory, MailboxStore, Ports, Progress},
};

/// What a delivery supplies to its runs.
pub(crate) trait Work<P: Ports>: Send {
    /// Whether the delivery polls, so that two runs keep the polling interval. A delivery that does not poll runs whenever
    /// it is woken.
    fn polls(&self) -> bool;

    /// Whether there is anything to do, asked before the profile is read.
    async fn is_due(&mut self, engine: &Engine<P>, row: &DeliveryRow) -> Result<bool, Outage>;

    /// What is told if the gate is closed although something is due.
    fn story_of_waiting(&self, why: &'static str) -> Option<Story>;

    /// Whether the lease has to be held before anything is connected to.
    fn leases_first(&self, engine: &Engine<P>, endpoint: &Endpoint) -> bool;

    /// Moves what is to be moved. What was done until a failure stands in the run.
    async fn work(&mut self, run: &mut Run<'_, P>) -> Result<Whose, Stop>;

    /// Finds out whether the server lets the delivery in, and moves nothing.
    async fn enter(&mut self, run: &Run<'_, P>) -> Result<(), Stop>;

    /// Tries the delivery stage by stage for Test & Enable, and moves no message of a person.
    async fn try_out(&mut self, run: &Run<'_, P>, stages: &mut Stages<'_>) -> Result<(), Stop>;
}

/// Whether the run still had the delivery when the work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// It did.
    Ours,
    /// Somebody else ran it meanwhile, and ends it.
    Elses,
}

/// What became of the request to run a delivery.
#[derive(Debug)]
pub(crate) enum Concluding {
    /// It ran.
    Ran(Box<Ran>),
    /// There was nothing to do, or the row says that it may not run now.
    Dropped,
    /// Somebody else has the delivery, or all connections of its profile: it is to come again.
    Busy,
}

/// One run of one delivery.
pub(crate) struct Run<'a, P: Ports> {
    pub engine: &'a Engine<P>,
    /// The delivery with its mailbox, as it stood before. It is never edited.
    pub row: &'a DeliveryRow,
    pub profile: Arc<ProfileInUse>,
    pub mode: Mode,
    pub deadline: Deadline,
    pub started: Timestamp,
    /// What it moved, found out and spent so far.
    pub moved: Moved,
    /// How far the mailbox has been read, where this run has read it. It belongs to the source in `moved`.
    position: Option<Position>,
    claim: Claim,
    is_leased: bool,
}

impl<P: Ports> Run<'_, P> {
    /// Takes the lease unless the run has it. `false` if somebody else has it.
    pub(crate) async fn hold(&mut self) -> Result<bool, Outage> {
        if !self.is_leased {
            let until = self.deadline.as_of(self.started, LEASE_MARGIN);
            let mailboxes = self.engine.ports.mailboxes();
            let Some(claim) = mailboxes.lease(&self.claim, until, self.engine.now()).await? else {
                return Ok(false);
            };
            self.claim = claim;
            self.is_leased = true;
        }
        Ok(true)
    }

    /// Whether the mailbox is still there, unchanged, and the run still has its delivery. Asked before each step that cannot
    /// be undone. The read may be a moment old, so an older version of the row is no sign of a change.
    pub(crate) async fn is_as_it_was(&self) -> Result<bool, Outage> {
        let there = self.engine.ports.mailboxes().load(&self.claim.mailbox, self.claim.delivery).await?;
        Ok(there.is_some_and(|there| there.claim.version <= self.claim.version && there.mailbox == self.row.mailbox))
    }

    /// Whether mailbox, profile and their credentials are still those that the run began with. What a run finds under other
    /// settings says nothing of the present ones.
    async fn is_set_as_it_was(&self) -> Result<bool, Outage> {
        let store = self.engine.ports.mailboxes();
        let there = store.load(&self.claim.mailbox, self.claim.delivery).await?;
        let is_same_mailbox =
            there.is_some_and(|there| there.mailbox == self.row.mailbox && there.credentials == self.row.credentials);
        let known = &self.profile.stored;
        let profile = store.profile(&known.profile.id).await?;
        Ok(is_same_mailbox && profile.is_some_and(|there| there.revision == known.revision))
    }

    /// Writes how far the mailbox has been read, in the middle of the run. `false` if somebody else took over.
    pub(crate) async fn advance(&mut self, position: Position, source: &str) -> Result<bool, Outage> {
        let Some(claim) = self.engine.ports.mailboxes().advance(&self.claim, &position, source).await? else {
            return Ok(false);
        };
        self.claim = claim;
        self.reach(position, source);
        Ok(true)
    }

    /// Notes that so many messages are being passed over, before they are, so that they are asked for again whatever becomes
    /// of the run. `false` if somebody else took over.
    pub(crate) async fn pass_over(&mut self, messages: usize) -> Result<bool, Outage> {
        if self.row.state.passed_over.is_none() && self.moved.passed_over == 0 {
            let mark = marked(self.engine.now());
            let Some(claim) = self.engine.ports.mailboxes().mark_passed_over(&self.claim, mark).await? else {
                return Ok(false);
            };
            self.claim = claim;
        }
        self.moved.passed_over += u32::try_from(messages).unwrap_or(u32::MAX);
        Ok(true)
    }

    /// Notes how far the mailbox has been read, which the end of the run writes. `source` is the account that this is a
    /// position of: neither is worth anything without the other.
    pub(crate) fn reach(&mut self, position: Position, source: &str) {
        self.position = Some(position);
        self.moved.source = Some(source.to_owned());
    }

    /// What the delivery talks to.
    pub(crate) fn endpoint(&self, delivery: Delivery) -> Option<Endpoint> {
        self.profile.profile().endpoint(delivery)
    }

    /// The access to the servers of a delivery of this mailbox. A probe and a test note the stages of connecting, because
    /// a token that is kept would let them in without asking anybody.
    pub(crate) async fn access(&self, delivery: Delivery) -> Result<Access, Stop> {
        let Some(endpoint) = self.endpoint(delivery) else {
            let words = "the email server profile has no server for this delivery";
            return Err(DeliveryError::new(Cause::HostNotFound, Evidence::new(Stage::Prepare, words)).into());
        };
        let credentials = self.row.credentials.as_ref();
        let access = self.engine.access(&self.row.mailbox, credentials, &self.profile.stored, &endpoint).await?;
        let progress = match self.mode {
            Mode::Synchronization | Mode::HoldProbe => Progress::default(),
            Mode::RecoveryProbe | Mode::Trial => Progress::noted(),
        };
        Ok(Access { progress, ..access })
    }
}

impl<P: Ports> Engine<P> {
    /// Runs a delivery once: to synchronize, or, with `stages`, for Test & Enable. An error of the mailbox or its server
    /// ends in its row; the error that is returned is ours alone.
    pub(crate) async fn run<W: Work<P>>(
        &self,
        mut work: W,
        (mailbox, delivery): (&MailboxId, Delivery),
        mut stages: Option<&mut Stages<'_>>,
        profiles: &Profiles,
        deadline: Deadline,
    ) -> Result<Concluding, Outage> {
        let began = Instant::now();
        let Some(row) = self.ports.mailboxes().load(mailbox, delivery).await? else {
            tracing::info!(%mailbox, "the mailbox is gone");
            return Ok(Concluding::Dropped);
        };
        // The profile is read first only if its interval matters. Otherwise it is read once there is something to do.
        let polling = match work.polls() && stages.is_none() {
            true => self.interval(delivery, self.profile_in_use(profiles, &row, deadline).await?.profile()),
            false => 0,
        };
        let (mode, closed) = match &stages {
            Some(_) if row.state.method == SynchronizationMethod::ServerSideSynchronization => (Mode::Trial, None),
            Some(_) => return Ok(Concluding::Dropped),
            None => match gate((mailbox, delivery), &row.state, polling, self.now()) {
                Gate::Open => (Mode::Synchronization, None),
                Gate::Probe => (Mode::RecoveryProbe, None),
                Gate::NotYet(_) => return Ok(Concluding::Dropped),
                Gate::Closed(why) => match work.story_of_waiting(why) {
                    Some(story) => (Mode::Synchronization, Some(story)),
                    None => return Ok(Concluding::Dropped),
                },
            },
        };
        if mode == Mode::Synchronization && !work.is_due(self, &row).await? {
            return Ok(Concluding::Dropped);
        }
        let profile = self.profile_in_use(profiles, &row, deadline).await?;
        let organization = self.organization_of(profiles).await?;
        if let Some(story) = closed {
            if let Some(end) = told(&row.state, story, organization)
                && !self.is_in_use(&row)
            {
                self.commit(&row, &row.claim, profile.profile(), None, end, None).await?;
            }
            return Ok(Concluding::Dropped);
        }
        let started = self.now();
        let mut run = Run {
            engine: self,
            row: &row,
            claim: row.claim.clone(),
            is_leased: false,
            profile: Arc::clone(&profile),
            mode,
            deadline,
            started,
            moved: Moved::default(),
            position: None,
        };
        let result = match admission::refusal(&row.mailbox, profile.profile(), organization) {
            Some(error) => Err(error),
            None => match self.perform(&mut work, &mut run, stages.as_deref_mut()).await {
                Ok(Performed::Whole) => Ok(()),
                Ok(Performed::Left(concluding)) => return Ok(concluding),
                // The one place that tells the two failures apart.
                Err(Stop::Mailbox(error)) => Err(error),
                Err(Stop::Ours(outage)) => return Err(outage),
            },
        };
        // The settings under which it failed, or under which a person asked for a test, may be others by now.
        if (result.is_err() || mode == Mode::Trial) && !run.is_set_as_it_was().await? {
            tracing::info!(%mailbox, delivery = delivery.as_str(), "the settings changed meanwhile");
            if run.is_leased {
                self.give_back(&run).await?;
            }
            return Ok(Concluding::Busy);
        }
        let test = stages.map(|stages| {
            if let Err(error) = &result {
                stages.failed(error);
            }
            stages.test()
        });
        let Run { moved, position, claim, mode, .. } = run;
        let concluded = Concluded { mode, started, moved: &moved, result: result.as_ref().copied() };
        let Some(events) = self.conclude((&row, &claim), &profile, organization, position, &concluded, test).await?
        else {
            // Somebody else ran the same delivery meanwhile. What we stored is there, and theirs is the count.
            tracing::info!(%mailbox, delivery = delivery.as_str(), "superseded by another run");
            return Ok(Concluding::Dropped);
        };
        if matches!(mode, Mode::Synchronization | Mode::HoldProbe) {
            self.note_health(&row, &profile, &result).await?;
        }
        let (mailbox, profile) = (mailbox.clone(), profile.profile().id.clone());
        let ran = Ran { mailbox, profile, delivery, mode, moved, result, events, took: began.elapsed() };
        ran.log();
        Ok(Concluding::Ran(Box::new(ran)))
    }

    /// Everything between the admission and the end: connection, margin, lease, probe and work.
    async fn perform<W: Work<P>>(
        &self,
        work: &mut W,
        run: &mut Run<'_, P>,
        stages: Option<&mut Stages<'_>>,
    ) -> Result<Performed, Stop> {
        let profile = Arc::clone(&run.profile);
        let health = profile.health.as_ref().map(|known| &known.health).filter(|_| run.mode != Mode::Trial);
        let turn = turn(health, self.now());
        if turn == Turn::Held {
            return Ok(Performed::Left(Concluding::Dropped));
        }
        let Some(_connection) = profile.connection().await else {
            return Ok(Performed::Left(Concluding::Busy));
        };
        if run.deadline.is_within(DEADLINE_MARGIN) {
            return Err(Outage::new("no time was left for a connection of the profile").into());
        }
        if run.mode == Mode::RecoveryProbe {
            return work.enter(run).await.map(|()| Performed::Whole);
        }
        let delivery = run.row.claim.delivery;
        let leases_first = match run.endpoint(delivery) {
            _ if run.mode == Mode::Trial => true,
            Some(endpoint) => work.leases_first(self, &endpoint),
            None => false,
        };
        if leases_first && !run.hold().await? {
            return Ok(Performed::Left(Concluding::Busy));
        }
        // Claimed last, so that a probe which gets no connection or no lease is not spent.
        if turn == Turn::Probe {
            if !self.claim_probe(&profile).await? {
                if run.is_leased {
                    self.give_back(run).await?;
                }
                return Ok(Performed::Left(Concluding::Dropped));
            }
            run.mode = Mode::HoldProbe;
        }
        let ended = match stages {
            Some(stages) => work.try_out(run, stages).await.map(|()| Whose::Ours),
            None => work.work(run).await,
        };
        match ended {
            Ok(Whose::Ours) => Ok(Performed::Whole),
            Ok(Whose::Elses) => Ok(Performed::Left(Concluding::Busy)),
            Err(Stop::Mailbox(error)) => Err(self.looked_at_twice(work, run, error).await?.into()),
            Err(outage) => Err(outage),
        }
    }

    /// A failure as it stands after a second look, over a new connection, where one reply is not enough to disable a
    /// delivery that has worked.
    async fn looked_at_twice<W: Work<P>>(
        &self,
        work: &mut W,
        run: &Run<'_, P>,
        error: DeliveryError,
    ) -> Result<DeliveryError, Stop> {
        let has_worked = run.row.state.last_success.is_some();
        if !has_worked || !is_said_in_passing(error.cause) || run.deadline.is_within(DEADLINE_MARGIN) {
            return Ok(error);
        }
        match work.enter(run).await {
            Ok(()) => Ok(passing(error)),
            Err(Stop::Mailbox(second)) => Ok(second),
            Err(outage) => Err(outage),
        }
    }

    async fn profile_in_use(
        &self,
        profiles: &Profiles,
        row: &DeliveryRow,
        deadline: Deadline,
    ) -> Result<Arc<ProfileInUse>, Outage> {
        let profile = self.profile_of(profiles, &row.mailbox.profile_id, deadline).await?;
        profile.ok_or_else(|| Outage::new("the mailbox's email server profile is missing from the table"))
    }

    /// Minutes between two runs of a delivery.
    pub(crate) fn interval(&self, delivery: Delivery, profile: &EmailServerProfile) -> u16 {
        interval_of(self.settings.polling_interval_minutes, delivery, profile)
    }
}

/// How far a run came before its end.
enum Performed {
    /// The work was done.
    Whole,
    /// It did not come to the work, or lost the delivery in it.
    Left(Concluding),
}
