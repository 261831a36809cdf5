//! Incoming email of one mailbox: ask what is new, read page by page, store each message, remember the position.

mod again;
pub(crate) mod arrival;

use std::pin::pin;

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesOrdered};
use mailrail_domain::{
    Timestamp,
    email::position::Position,
    rules::{
        budget,
        passing_over::{SUSPECTS_MAX, passes_over},
        retry::Pace,
        run::moved::Spend,
        story::Story,
    },
    settings::{
        endpoint::{Endpoint, source},
        mailbox::MailboxKind,
    },
    words::{
        cause::DeliveryError,
        delivery::{Delivery, Learned},
        evidence::Stage,
        id::MailboxId,
        spent::Account,
    },
};

use self::arrival::{BYTES_TYPE, End, Taken};
use crate::{
    Engine,
    limits::{DEADLINE_MARGIN, NOTES_BYTES_MAX, PAGE_MESSAGES, RUN_MESSAGES_MAX, STORES_AT_ONCE},
    outage::Outage,
    ports::{
        Access, Arrival, BodyStore, Content, DeliveryRow, IncomingServers, IncomingSession, Ledger, Look, Ports,
        RemoteId,
    },
    run::{Run, Stages, Stop, Whose, Work},
};

/// A session with a server of incoming email.
type Session<P> = <<P as Ports>::Incoming as IncomingServers>::Session;

/// The work of incoming email.
pub(crate) struct ReceiveEmail;

impl<P: Ports> Work<P> for ReceiveEmail {
    fn polls(&self) -> bool {
        true
    }

    /// Only the server knows.
    async fn is_due(&mut self, _: &Engine<P>, _: &DeliveryRow) -> Result<bool, Outage> {
        Ok(true)
    }

    fn story_of_waiting(&self, _: &'static str) -> Option<Story> {
        None
    }

    /// Reading without the lease would be harmless, but twice the work; where a mailbox has one reader, the second would
    /// be refused.
    fn leases_first(&self, engine: &Engine<P>, endpoint: &Endpoint) -> bool {
        engine.ports.incoming().is_exclusive(endpoint)
    }

    async fn work(&mut self, run: &mut Run<'_, P>) -> Result<Whose, Stop> {
        let access = run.access(Delivery::IncomingEmail).await?;
        let mailbox = &run.row.mailbox;
        let source = source(&access.endpoint, mailbox.sign_in_name());
        // A position of another account is worth nothing, even where its numbers look right.
        let is_same = run.row.state.source.as_ref().is_none_or(|known| *known == source);
        let stored = run.row.position.clone().filter(|_| is_same);
        let learned = if is_same { run.row.state.learned.clone() } else { Learned::default() };
        let reads = budget::of_reads(&access.endpoint);
        let now = run.engine.now();
        let most = reads.map_or(u32::MAX, |budget| budget.messages_of_a_run(run.row.state.spent, now));
        let profile = run.profile.profile();
        let mut reading = Reading {
            stored,
            source,
            start_date: mailbox.start_date(profile),
            delete_after_processing: profile.delete_after_processing && mailbox.kind == MailboxKind::Queue,
            move_undeliverable: profile.servers.move_undeliverable(),
            pace: Pace::after(run.row.state.transient_failure_count),
            messages_max: RUN_MESSAGES_MAX.min(usize::try_from(most).unwrap_or(usize::MAX)),
            done: 0,
            listed: None,
            unread: None,
            left_out: None,
        };
        let access = Access { ledger: Ledger::knowing(learned), ..access };
        let mut ended = reading.connect_and_read(run, &access).await;
        if let Err(Stop::Mailbox(error)) = &ended
            && reading.pace.leaves_out(error)
            && let Some(unread) = reading.unread.take()
            && !run.deadline.is_within(DEADLINE_MARGIN)
        {
            // The same message has ended every run. The next one shows whether the message is at fault, or the server.
            reading.left_out = Some((unread, error.clone()));
            ended = reading.connect_and_read(run, &access).await;
        }
        run.moved.done = u32::try_from(reading.done).unwrap_or(u32::MAX).saturating_sub(run.moved.passed_over);
        run.moved.learned = Some(access.ledger.learned());
        // A server that lists page by page does not say how many there are; where a run ended early there is one.
        let least = usize::from(run.moved.more && ended.is_ok());
        let waiting = reading.listed.map(|listed| listed.saturating_sub(reading.done).max(least));
        run.moved.waiting = waiting.map(|waiting| u32::try_from(waiting).unwrap_or(u32::MAX));
        let spend = |budget| Spend { account: Account::Requests, budget, amount: access.ledger.requests() };
        run.moved.spends.extend(reads.map(spend));
        ended
    }

    /// Signs in and asks whether anything is new.
    async fn enter(&mut self, run: &Run<'_, P>) -> Result<(), Stop> {
        let access = run.access(Delivery::IncomingEmail).await?;
        let mut session = run.engine.ports.incoming().open(&access, &run.engine.memory).await?;
        session.look(None).await?;
        Ok(session.close().await?)
    }

    /// Signs in, opens the inbox and lists what is new, as a synchronization does, and reads nothing.
    async fn try_out(&mut self, run: &Run<'_, P>, stages: &mut Stages<'_>) -> Result<(), Stop> {
        let access = run.access(Delivery::IncomingEmail).await?;
        let opened = run.engine.ports.incoming().open(&access, &run.engine.memory).await;
        stages.connected(&access.progress, opened.as_ref().err());
        stages.save(run.engine).await?;
        let mut session = opened?;
        stages.step(Stage::Open, session.look(None)).await?;
        let listing = session.begin(None, None, Some(run.engine.now()), Pace::Singly);
        stages.step(Stage::List, listing).await?;
        Ok(session.close().await?)
    }
}

/// One reading of a mailbox.
struct Reading {
    /// How far earlier runs have read it.
    stored: Option<Position>,
    /// The account and server that the mailbox is on, as a digest.
    source: String,
    start_date: Option<Timestamp>,
    delete_after_processing: bool,
    move_undeliverable: bool,
    pace: Pace,
    /// Most messages of this run.
    messages_max: usize,
    /// Messages that are done.
    done: usize,
    /// Messages that the server listed as new, once it has listed them.
    listed: Option<usize>,
    /// The first message, if the server hung up at it.
    unread: Option<RemoteId>,
    /// The message that is left out, because the server hung up at it.
    left_out: Option<(RemoteId, DeliveryError)>,
}

impl Reading {
    async fn connect_and_read<P: Ports>(&mut self, run: &mut Run<'_, P>, access: &Access) -> Result<Whose, Stop> {
        let mut session = run.engine.ports.incoming().open(access, &run.engine.memory).await?;
        if let Some((message, because)) = &self.left_out {
            session.leave_out(message, because.clone());
        }
        self.read_and_close(run, session).await
    }

    async fn read_and_close<P: Ports>(&mut self, run: &mut Run<'_, P>, mut session: Session<P>) -> Result<Whose, Stop> {
        let whose = self.read(run, &mut session).await?;
        if whose == Whose::Ours {
            self.ask_again(run, &mut session).await?;
            // Deletions of POP3 happen at QUIT: an error there is the server's and is counted.
            session.close().await?;
        }
        Ok(whose)
    }

    async fn read<P: Ports>(&mut self, run: &mut Run<'_, P>, session: &mut Session<P>) -> Result<Whose, Stop> {
        match session.look(self.stored.as_ref()).await? {
            Look::Nothing(position) => {
                self.listed = Some(0);
                run.reach(position, &self.source);
                return Ok(Whose::Ours);
            }
            Look::Something => {}
        }
        if !run.hold().await? {
            return Ok(Whose::Elses);
        }
        let notes = self.notes(run, session).await?;
        let begun = session.begin(self.stored.as_ref(), notes.as_deref(), self.start_date, self.pace).await?;
        self.listed = Some(begun);
        self.messages(run, session).await
    }

    async fn messages<P: Ports>(&mut self, run: &mut Run<'_, P>, session: &mut Session<P>) -> Result<Whose, Stop> {
        let engine = run.engine;
        let mailbox = &run.row.mailbox.id;
        let mut storing = FuturesOrdered::new();
        let mut page: Vec<Taken> = Vec::new();
        // Messages that the server refused, and what follows them until it hands another one out.
        let mut held: Vec<Arrival> = Vec::new();
        let mut end: Result<(), Stop> = Ok(());
        // After failures each message is a page, so that what was done before the next failure stays done.
        let (page_messages, stores_at_once) =
            if self.pace == Pace::Pages { (PAGE_MESSAGES, STORES_AT_ONCE) } else { (1, 1) };
        loop {
            if self.done + page.len() + storing.len() + held.len() >= self.messages_max
                || run.deadline.is_within(DEADLINE_MARGIN)
            {
                run.moved.more = true;
                break;
            }
            // The next message is read while those before it are being stored. `next` must not be dropped half way.
            let arrival = {
                let mut next = pin!(session.next());
                loop {
                    tokio::select! {
                        biased;
                        Some(stored) = storing.next(), if !storing.is_empty() => page.push(stored?),
                        arrival = &mut next => break arrival,
                    }
                }
            };
            match arrival {
                Ok(Some(arrival)) if waits(&arrival, &held) => {
                    held.push(arrival);
                    if suspects(&held).count() > SUSPECTS_MAX {
                        end = refused(&held);
                        break;
                    }
                }
                Ok(Some(arrival)) => {
                    run.moved.done_until = arrival.received_at.or(run.moved.done_until);
                    run.moved.has_read |= !matches!(arrival.content, Content::BeforeStart);
                    let missing = suspects(&held).count();
                    if missing > 0 && !run.pass_over(missing).await? {
                        return Ok(Whose::Elses);
                    }
                    storing.extend(held.drain(..).map(|arrival| engine.take(mailbox, self.start_date, arrival)));
                    if let Arrival { content: Content::Pieces, remote, received_at, size } = arrival {
                        while let Some(stored) = storing.next().await {
                            page.push(stored?);
                        }
                        match engine.take_pieces(mailbox, session, &remote, received_at, size, self.start_date).await {
                            Ok(end) => page.push(Taken { remote, end }),
                            Err(stop) => {
                                end = Err(stop);
                                break;
                            }
                        }
                    } else {
                        storing.push_back(engine.take(mailbox, self.start_date, arrival));
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    end = Err(error.into());
                    break;
                }
            }
            while storing.len() >= stores_at_once {
                if let Some(stored) = storing.next().await {
                    page.push(stored?);
                }
            }
            if page.len() >= page_messages {
                if self.delete_after_processing {
                    session.delete(&ended(&page, End::Recorded)).await?;
                }
                self.put_aside(mailbox, session, &page).await;
                if !self.turn_page(run, session, &page).await? {
                    return Ok(Whose::Elses);
                }
                page.clear();
            }
        }
        if end.is_ok() && suspects(&held).next().is_some() {
            let (count, known) = (suspects(&held).count(), run.row.state.passed_over);
            let fault = refused(&held);
            if passes_over(count, run.moved.has_read, self.pace, known) {
                if !run.pass_over(count).await? {
                    return Ok(Whose::Elses);
                }
                storing.extend(held.drain(..).map(|arrival| engine.take(mailbox, self.start_date, arrival)));
            }
            // Without another message nothing shows that the server works, so that the run is no success.
            if !held.is_empty() || !run.moved.has_read {
                end = fault;
            }
        }
        while let Some(stored) = storing.next().await {
            page.push(stored?);
        }
        if end.is_err() && self.done == 0 && page.is_empty() && held.is_empty() {
            self.unread = session.unread();
        }
        if self.delete_after_processing {
            if end.is_ok()
                && let Err(error) = session.delete(&ended(&page, End::Recorded)).await
            {
                end = Err(error.into());
            }
            if end.is_err() && page.iter().any(|taken| taken.end == End::Recorded) {
                // What could not be deleted is read once more by the next run, which recognizes and deletes it.
                return end.map(|()| Whose::Ours);
            }
        }
        self.done += page.len();
        self.put_aside(mailbox, session, &page).await;
        self.note(session, &page);
        if end.is_ok() && !run.moved.more {
            self.keep_notes(run, session).await?;
            run.reach(session.position(None), &self.source);
        } else if let Some(last) = page.last() {
            self.keep_notes(run, session).await?;
            run.reach(session.position(Some(&last.remote)), &self.source);
        }
        end.map(|()| Whose::Ours)
    }

    /// Writes how far we are in the middle of a run. `false` if somebody else took over.
    async fn turn_page<P: Ports>(
        &mut self,
        run: &mut Run<'_, P>,
        session: &mut Session<P>,
        page: &[Taken],
    ) -> Result<bool, Outage> {
        self.note(session, page);
        self.keep_notes(run, session).await?;
        let position = session.position(page.last().map(|taken| &taken.remote));
        if !run.advance(position, &self.source).await? {
            return Ok(false);
        }
        self.done += page.len();
        tracing::debug!(mailbox = %run.row.mailbox.id, messages = self.done, "page stored");
        Ok(true)
    }

    /// The notes of earlier sessions, where the position that they belong to is known. Lost notes mean reading again; the
    /// records are recognized.
    async fn notes<P: Ports>(&self, run: &Run<'_, P>, session: &Session<P>) -> Result<Option<Bytes>, Outage> {
        if self.stored.is_none() || !session.keeps_notes() {
            return Ok(None);
        }
        run.engine.ports.bodies().get(&notes_key(&run.row.mailbox.id), NOTES_BYTES_MAX).await
    }

    /// Writes the notes before the row that they belong to. They hold only what is done, so a row that is behind them does
    /// no harm.
    async fn keep_notes<P: Ports>(&self, run: &Run<'_, P>, session: &Session<P>) -> Result<(), Outage> {
        if session.keeps_notes() {
            let (key, notes) = (notes_key(&run.row.mailbox.id), Bytes::from(session.notes()));
            run.engine.ports.bodies().put(&key, notes, BYTES_TYPE).await?;
        }
        Ok(())
    }

    /// Notes which messages need not be read again. A message that is to be deleted is left out. It is gone if the session
    /// ends well, and otherwise the next run must read it again to delete it.
    fn note(&self, session: &mut impl IncomingSession, page: &[Taken]) {
        let is_done = |taken: &&Taken| !(self.delete_after_processing && taken.end == End::Recorded);
        let done: Vec<RemoteId> = page.iter().filter(is_done).map(|taken| taken.remote.clone()).collect();
        session.note(&done);
    }

    /// Has the messages that cannot be processed moved out of the way, where the profile wants it. They are in quarantine, so
    /// nothing is lost if the server does not move them.
    async fn put_aside(&self, mailbox: &MailboxId, session: &mut impl IncomingSession, page: &[Taken]) {
        let quarantined = ended(page, End::Quarantined);
        if self.move_undeliverable
            && !quarantined.is_empty()
            && let Err(error) = session.move_undeliverable(&quarantined).await
        {
            tracing::warn!(%mailbox, cause = ?error.cause, "messages that cannot be processed stay where they are");
        }
    }
}

/// Whether a message waits until the server hands another one out.
fn waits(arrival: &Arrival, held: &[Arrival]) -> bool {
    match arrival.content {
        Content::Missing(_) => true,
        Content::BeforeStart => !held.is_empty(),
        Content::Whole(..) | Content::Pieces => false,
    }
}

/// Why the server did not hand out those messages that it refused.
fn suspects(held: &[Arrival]) -> impl Iterator<Item = &DeliveryError> {
    held.iter().filter_map(|arrival| match &arrival.content {
        Content::Missing(error) => Some(error),
        Content::Whole(..) | Content::Pieces | Content::BeforeStart => None,
    })
}

/// The failure of a run whose server refused these messages.
fn refused(held: &[Arrival]) -> Result<(), Stop> {
    suspects(held).next().map_or(Ok(()), |error| Err(error.clone().into()))
}

/// Where the notes of a mailbox are.
fn notes_key(mailbox: &MailboxId) -> String {
    format!("positions/{mailbox}")
}

/// The messages of a page that ended in this way.
fn ended(page: &[Taken], end: End) -> Vec<RemoteId> {
    page.iter().filter(|taken| taken.end == end).map(|taken| taken.remote.clone()).collect()
}
