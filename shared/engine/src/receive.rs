//! Incoming email of one mailbox: look, read page by page, store each message, remember how far.

use std::pin::pin;

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesOrdered};
use mailrail_domain::{
    Timestamp,
    email::{pop3::SeenUidls, position::Position, quarantine::QuarantineReason},
    rules::{
        budget,
        gate::{Gate, gate},
        hold::Turn,
        retry::Pace,
    },
    settings::{
        endpoint::{Endpoint, source},
        mailbox::MailboxKind,
    },
    words::{
        cause::{Cause, DeliveryError},
        delivery::{Delivery, Learned},
        evidence::Stage,
    },
};

use crate::{
    Deadline, Engine,
    admission::refusal,
    arrival::{BYTES_TYPE, End, Taken},
    batch::{ProfileInUse, Profiles},
    limits::{DEADLINE_MARGIN, LEASE_MARGIN, PAGE_MESSAGES, RUN_MESSAGES_MAX, SEEN_BYTES_MAX, STORES_AT_ONCE},
    mime::Unreadable,
    outage::Outage,
    ports::{
        Access, Arrival, BodyStore, Claim, Content, DeliveryRow, IncomingServers, IncomingSession, Look, MailboxStore,
        Ports, RemoteId, Wake,
    },
    settle::Ended,
};

/// One run over one mailbox.
struct Run<'a> {
    row: &'a DeliveryRow,
    claim: Claim,
    lease_until: Timestamp,
    leased: bool,
    start_date: Option<Timestamp>,
    delete_after_processing: bool,
    move_undeliverable: bool,
    pace: Pace,
    deadline: Deadline,
    /// How far we are; written at every page and at the end.
    position: Option<Position>,
    /// Most messages of this run.
    messages_max: usize,
    /// Requests that were made of a server that counts them.
    requests: u32,
    /// What is known of the server from earlier runs, and then from this one.
    learned: Learned,
    /// Messages that are done in this run.
    done: usize,
    /// Messages that were listed to do.
    waiting: usize,
    /// When the last message that was handed out was received.
    done_until: Option<Timestamp>,
}

/// How reading ended when no server failed.
enum ReadEnd {
    /// Nothing was new, or everything was read.
    AtEnd,
    /// There is more, for the next run.
    More,
    /// Somebody else runs this delivery.
    Elsewhere,
}

impl<P: Ports> Engine<P> {
    /// Receives the email of a wake's mailbox. An error of the mailbox or its server ends in its row; what is returned
    /// is ours alone.
    pub(crate) async fn receive(&self, wake: &Wake, profiles: &Profiles, deadline: Deadline) -> Result<(), Outage> {
        let Some(mut row) = self.ports.mailboxes().load(&wake.mailbox, Delivery::IncomingEmail).await? else {
            tracing::info!(mailbox = %wake.mailbox, "the mailbox is gone");
            return Ok(());
        };
        let Some(profile) = self.profile_of(profiles, &row.mailbox.profile_id, deadline).await? else {
            return Err(Outage::new("the mailbox's email server profile is missing from the table"));
        };
        let interval = self.interval(Delivery::IncomingEmail, profile.profile());
        let is_probe = match gate(&row.state, interval, self.now()) {
            Gate::Open => false,
            Gate::Probe => true,
            Gate::NotYet(_) | Gate::Closed(_) => return Ok(()),
        };
        let organization = self.organization_of(profiles).await?;
        if let Some(error) = refusal(&row.mailbox, profile.profile(), organization) {
            let ended = Ended::nothing(row.state.backlog, Err(error));
            return self.settle(&row, &profile, organization, &row.claim, ended, self.now()).await;
        }
        let turn = self.turn(&profile).await?;
        if turn == Turn::Held {
            return Ok(());
        }
        let Some(endpoint) = profile.profile().endpoint(Delivery::IncomingEmail) else {
            return Ok(());
        };
        let Some(_connection) = profile.connection().await else {
            return self.put_back(wake).await;
        };
        if deadline.is_within(DEADLINE_MARGIN) {
            return Err(Outage::new("no time was left for a connection of the profile"));
        }
        if is_probe {
            return self.probe(&row, &profile).await;
        }
        let reads = budget::of_reads(&endpoint);
        let most = reads.map_or(u32::MAX, |budget| budget.messages_of_a_run(row.state.spent, self.now()));
        let source = source(&endpoint, row.mailbox.sign_in_name());
        if row.state.source.as_ref().is_some_and(|known| *known != source) {
            row.position = None;
            row.state.learned = Learned::default();
        }
        row.state.source = Some(source);
        let started = self.now();
        let mut run = Run {
            claim: row.claim.clone(),
            lease_until: deadline.as_of(started, LEASE_MARGIN),
            leased: false,
            start_date: row.mailbox.start_date(profile.profile()),
            delete_after_processing: profile.profile().delete_after_processing
                && row.mailbox.kind == MailboxKind::Queue,
            move_undeliverable: profile.profile().move_undeliverable,
            pace: Pace::after(row.state.transient_failure_count),
            deadline,
            position: None,
            messages_max: RUN_MESSAGES_MAX.min(usize::try_from(most).unwrap_or(usize::MAX)),
            requests: 0,
            learned: row.state.learned.clone(),
            done: 0,
            waiting: 0,
            done_until: None,
            row: &row,
        };
        let result = match self.read_mailbox(&mut run, &profile, &endpoint).await? {
            Ok(ReadEnd::Elsewhere) => return Ok(()),
            Ok(ReadEnd::AtEnd) => Ok(false),
            Ok(ReadEnd::More) => Ok(true),
            Err(error) => Err(error),
        };
        let Run { claim, position, done, waiting: listed, requests, learned, done_until, .. } = run;
        tracing::info!(mailbox = %wake.mailbox, messages = done, ok = result.is_ok(), "incoming email");
        if done > 0 {
            // Messages came through before the failure, so the row of failures was broken: this one is its first.
            row.state.transient_failure_count = 0;
            row.state.failing_since = None;
        }
        // A server that lists page by page does not say how many there are; where a run ended early there is one.
        let waiting = listed.saturating_sub(done).max(usize::from(result == Ok(true)));
        let backlog = u32::try_from(waiting).unwrap_or(u32::MAX);
        let now = self.now();
        let more = result == Ok(true);
        row.state.learned = learned;
        let mut resume_at = None;
        if let Some(budget) = reads {
            row.state.spent = budget.spend(row.state.spent, requests, now);
            if more && budget.is_nearly_spent(row.state.spent, now) {
                resume_at = Some(budget.renewed_at(row.state.spent, now));
            }
        }
        let ended = Ended { position, more, resume_at, backlog, done_until, result: result.map(|_| ()) };
        self.settle_turn(&row, &profile, organization, &claim, ended, started, turn).await
    }

    /// Takes the lease unless the run has it. Reading without it would be harmless, but twice the work, and POP3 allows
    /// only one reader.
    async fn hold(&self, run: &mut Run<'_>) -> Result<bool, Outage> {
        if !run.leased {
            let Some(claim) = self.ports.mailboxes().lease(&run.claim, run.lease_until, self.now()).await? else {
                return Ok(false);
            };
            run.claim = claim;
            run.leased = true;
        }
        Ok(true)
    }

    async fn read_mailbox(
        &self,
        run: &mut Run<'_>,
        profile: &ProfileInUse,
        endpoint: &Endpoint,
    ) -> Result<Result<ReadEnd, DeliveryError>, Outage> {
        if matches!(endpoint, Endpoint::Pop3(_)) && !self.hold(run).await? {
            return Ok(Ok(ReadEnd::Elsewhere));
        }
        let (mailbox, credentials) = (&run.row.mailbox, run.row.credentials.as_ref());
        let access = match self.access(mailbox, credentials, &profile.stored, endpoint).await? {
            Ok(access) => access,
            Err(error) => return Ok(Err(error)),
        };
        let access = Access { learned: run.learned.clone(), ..access };
        let mut session = match self.ports.incoming().open(&access, &self.memory).await {
            Ok(session) => session,
            Err(error) => return Ok(Err(error)),
        };
        let end = self.read_session(run, &mut session).await?;
        (run.requests, run.learned) = (session.requests(), session.learned());
        match end {
            Ok(ReadEnd::Elsewhere) => Ok(Ok(ReadEnd::Elsewhere)),
            // Deletions of POP3 happen at QUIT: an error there is the server's and is counted.
            Ok(end) => Ok(session.close().await.map(|()| end)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn read_session(
        &self,
        run: &mut Run<'_>,
        session: &mut <P::Incoming as IncomingServers>::Session,
    ) -> Result<Result<ReadEnd, DeliveryError>, Outage> {
        let stored = run.row.position.as_ref();
        match session.look(stored).await {
            Ok(Look::Nothing(position)) => {
                run.position = Some(position);
                return Ok(Ok(ReadEnd::AtEnd));
            }
            Ok(Look::Something) => {}
            Err(error) => return Ok(Err(error)),
        }
        if !self.hold(run).await? {
            return Ok(Ok(ReadEnd::Elsewhere));
        }
        let seen = self.seen(stored).await?;
        match session.begin(stored, seen.clone(), run.start_date, run.pace).await {
            Ok(waiting) => run.waiting = waiting,
            Err(error) => return Ok(Err(error)),
        }
        self.read_messages(run, session, seen).await
    }

    async fn read_messages(
        &self,
        run: &mut Run<'_>,
        session: &mut <P::Incoming as IncomingServers>::Session,
        mut seen: SeenUidls,
    ) -> Result<Result<ReadEnd, DeliveryError>, Outage> {
        let mailbox = &run.row.mailbox.id;
        let mut storing = FuturesOrdered::new();
        let mut page: Vec<Taken> = Vec::new();
        let mut end = Ok(ReadEnd::AtEnd);
        // After failures each message is a page, so that what was done before the next failure stays done.
        let (page_messages, stores_at_once) =
            if run.pace == Pace::Pages { (PAGE_MESSAGES, STORES_AT_ONCE) } else { (1, 1) };
        loop {
            if run.done + page.len() + storing.len() >= run.messages_max || run.deadline.is_within(DEADLINE_MARGIN) {
                end = Ok(ReadEnd::More);
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
            if let Ok(Some(Arrival { received_at: Some(at), .. })) = &arrival {
                run.done_until = Some(*at);
            }
            match arrival {
                Ok(Some(Arrival { content: Content::Pieces, remote, received_at, size })) => {
                    while let Some(stored) = storing.next().await {
                        page.push(stored?);
                    }
                    match self.take_pieces(mailbox, session, &remote, received_at, size, run.start_date).await? {
                        Ok(end) => page.push(Taken { remote, end }),
                        Err(error) => {
                            end = Err(error);
                            break;
                        }
                    }
                }
                Ok(Some(arrival)) => storing.push_back(self.take(mailbox, run.start_date, arrival)),
                Ok(None) => break,
                Err(error) => {
                    end = Err(error);
                    break;
                }
            }
            while storing.len() >= stores_at_once {
                if let Some(stored) = storing.next().await {
                    page.push(stored?);
                }
            }
            if page.len() >= page_messages {
                if run.delete_after_processing
                    && let Err(error) = session.delete(&ended(&page, End::Recorded)).await
                {
                    return Ok(Err(error));
                }
                put_aside(run, session, &page).await;
                let Some(key) = self.turn_page(run, session, &page, &mut seen).await? else {
                    return Ok(Ok(ReadEnd::Elsewhere));
                };
                tracing::debug!(%mailbox, messages = run.done, seen_key = key, "page stored");
                page.clear();
            }
        }
        while let Some(stored) = storing.next().await {
            page.push(stored?);
        }
        if let Err(error) = &end
            && run.pace == Pace::PassOver
            && run.done == 0
            && page.is_empty()
            && hangs_up(error)
            && let Some(remote) = session.pass_over()
        {
            // The same message has ended every run: it must not block those behind it.
            let detail = format!("the server ends the connection when it is read: {}", error.evidence.words);
            let unreadable = Unreadable { reason: QuarantineReason::NotHandedOut, detail };
            self.quarantine(mailbox, &remote, 0, unreadable, None).await?;
            page.push(Taken { remote, end: End::Quarantined });
        }
        if run.delete_after_processing {
            if end.is_ok()
                && let Err(error) = session.delete(&ended(&page, End::Recorded)).await
            {
                end = Err(error);
            }
            if end.is_err() && page.iter().any(|taken| taken.end == End::Recorded) {
                // What could not be deleted is read once more by the next run, which recognizes and deletes it.
                return Ok(end);
            }
        }
        run.done += page.len();
        put_aside(run, session, &page).await;
        remember(run, &mut seen, &page);
        if matches!(end, Ok(ReadEnd::AtEnd)) {
            session.prune(&mut seen);
            let key = self.put_seen(run, &seen, session).await?;
            run.position = Some(session.position(None, &key));
        } else if let Some(last) = page.last() {
            let key = self.put_seen(run, &seen, session).await?;
            run.position = Some(session.position(Some(&last.remote), &key));
        }
        Ok(end)
    }

    /// Writes how far we are in the middle of a run. `None` if somebody else took over.
    async fn turn_page(
        &self,
        run: &mut Run<'_>,
        session: &<P::Incoming as IncomingServers>::Session,
        page: &[Taken],
        seen: &mut SeenUidls,
    ) -> Result<Option<String>, Outage> {
        remember(run, seen, page);
        let key = self.put_seen(run, seen, session).await?;
        let position = session.position(page.last().map(|taken| &taken.remote), &key);
        let Some(claim) = self.ports.mailboxes().advance(&run.claim, &position).await? else {
            return Ok(None);
        };
        run.claim = claim;
        run.done += page.len();
        run.position = Some(position);
        Ok(Some(key))
    }

    /// The set of seen UIDLs of a POP3 maildrop; empty for a folder.
    async fn seen(&self, position: Option<&Position>) -> Result<SeenUidls, Outage> {
        let Some(Position::Pop3(pop3)) = position else {
            return Ok(SeenUidls::default());
        };
        let object = self.ports.bodies().get(&pop3.seen_key, SEEN_BYTES_MAX).await?;
        // A lost set means reading again; the records are recognized.
        Ok(object.and_then(|bytes| SeenUidls::from_bytes(&bytes)).unwrap_or_default())
    }

    /// Writes the set of seen UIDLs beside the row that names it. It holds only what is done, so a row that is behind
    /// it does no harm.
    async fn put_seen(
        &self,
        run: &Run<'_>,
        seen: &SeenUidls,
        session: &<P::Incoming as IncomingServers>::Session,
    ) -> Result<String, Outage> {
        let key = format!("positions/{}", run.row.mailbox.id);
        if matches!(session.position(None, &key), Position::Pop3(_)) {
            self.ports.bodies().put(&key, Bytes::from(seen.to_bytes()), BYTES_TYPE).await?;
        }
        Ok(key)
    }
}

/// Notes what need not be read again. What is to be deleted is left out: it is gone when the session has ended well,
/// and must be read again, to be deleted, when it has not.
fn remember(run: &Run<'_>, seen: &mut SeenUidls, page: &[Taken]) {
    for taken in page.iter().filter(|taken| !(run.delete_after_processing && taken.end == End::Recorded)) {
        match &taken.remote {
            RemoteId::Pop3 { uidl, .. } => seen.insert(uidl),
            RemoteId::Imap { .. } | RemoteId::Graph { .. } | RemoteId::Ews { .. } => {}
        }
    }
}

/// The messages of a page that ended so.
fn ended(page: &[Taken], end: End) -> Vec<RemoteId> {
    page.iter().filter(|taken| taken.end == end).map(|taken| taken.remote.clone()).collect()
}

/// Has messages moved out of the way that cannot be processed, where the profile wants it. They are in quarantine, so
/// that nothing is lost where the server does not move them.
async fn put_aside(run: &Run<'_>, session: &mut impl IncomingSession, page: &[Taken]) {
    let quarantined = ended(page, End::Quarantined);
    if run.move_undeliverable
        && !quarantined.is_empty()
        && let Err(error) = session.move_undeliverable(&quarantined).await
    {
        let mailbox = &run.row.mailbox.id;
        tracing::warn!(%mailbox, cause = ?error.cause, "messages that cannot be processed stay where they are");
    }
}

/// Whether a failure is the server ending the connection, in words or without, or saying nothing that can be read when it
/// is asked for a message.
fn hangs_up(error: &DeliveryError) -> bool {
    match error.cause {
        Cause::ServerUnavailable | Cause::ConnectionLost => true,
        Cause::TimedOut | Cause::ProtocolViolation | Cause::Unknown => error.evidence.stage == Stage::Fetch,
        _ => false,
    }
}
