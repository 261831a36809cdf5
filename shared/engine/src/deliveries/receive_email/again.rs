//! Messages that earlier runs have passed over: the server is asked for them again, once it hands messages out.

use mailrail_domain::{
    email::quarantine::{QuarantineReason, Quarantined},
    words::audit::AuditAction,
};

use super::{Reading, Session, arrival::End};
use crate::{
    limits::{ASKED_AGAIN_MAX, DEADLINE_MARGIN},
    outage::Outage,
    ports::{Arrival, Content, IncomingSession, Ports, QuarantineStore},
    run::{Run, Stop},
};

/// Who releases a message that nobody asked for.
const BY: &str = "mailrail";

impl Reading {
    /// Asks the server again for the messages that were passed over, where it is time. A message that comes becomes a
    /// record, and leaves the quarantine. What fails here is no failure of the run.
    pub(super) async fn ask_again<P: Ports>(
        &self,
        run: &mut Run<'_, P>,
        session: &mut Session<P>,
    ) -> Result<(), Outage> {
        let is_due = run.row.state.passed_over.is_some_and(|known| known.ask_at <= run.engine.now());
        if !is_due || run.moved.more || run.moved.passed_over > 0 || !run.hold().await? {
            return Ok(());
        }
        let (engine, mailbox) = (run.engine, &run.row.mailbox.id);
        let is_missing = |message: &Quarantined| message.reason == QuarantineReason::NotHandedOut;
        let (mut missing, mut left) = engine.quarantined_where(mailbox, usize::MAX, is_missing).await?;
        // The message that was asked for longest ago comes first, so that no message keeps another from its turn.
        missing.sort_by_key(|message| message.last_attempt);
        left |= missing.len() > ASKED_AGAIN_MAX;
        for message in missing.into_iter().take(ASKED_AGAIN_MAX) {
            if run.deadline.is_within(DEADLINE_MARGIN) {
                left = true;
                break;
            }
            let tried = Quarantined {
                attempts: message.attempts.saturating_add(1),
                last_attempt: Some(engine.now()),
                ..message.clone()
            };
            match self.ask_for(run, session, message, &tried).await {
                Ok(is_left) => left |= is_left,
                Err(Stop::Ours(outage)) => return Err(outage),
                Err(Stop::Mailbox(error)) => {
                    engine.ports.mailboxes().retried(&tried).await?;
                    tracing::info!(%mailbox, cause = ?error.cause, "passed over messages stay so");
                    left = true;
                    break;
                }
            }
        }
        run.moved.asked_again = Some(left);
        Ok(())
    }

    /// Asks for one message; `tried` is its entry after another try. Whether it is to be asked for once more.
    async fn ask_for<P: Ports>(
        &self,
        run: &Run<'_, P>,
        session: &mut Session<P>,
        message: Quarantined,
        tried: &Quarantined,
    ) -> Result<bool, Stop> {
        let (engine, mailbox) = (run.engine, &run.row.mailbox.id);
        let Some(arrival) = session.again(&message.remote_id).await? else {
            let detail = "The server has it no more.".to_owned();
            engine
                .ports
                .mailboxes()
                .retried(&Quarantined { reason: QuarantineReason::Gone, detail, ..tried.clone() })
                .await?;
            return Ok(false);
        };
        let remote = arrival.remote.clone();
        let end = match arrival {
            Arrival { content: Content::Missing(error), .. } => {
                let detail = error.evidence.words;
                let is_moved = self.move_undeliverable && session.move_undeliverable(&[remote]).await.is_ok();
                // Where it is moved to, it has another name.
                let reason = if is_moved { QuarantineReason::Unreadable } else { message.reason };
                engine.ports.mailboxes().retried(&Quarantined { reason, detail, ..tried.clone() }).await?;
                return Ok(!is_moved);
            }
            Arrival { content: Content::Pieces, received_at, size, .. } => {
                engine.take_pieces(mailbox, session, &remote, received_at, size, None).await?
            }
            arrival => engine.take(mailbox, None, arrival).await?.end,
        };
        if matches!(end, End::Recorded | End::OtherBytes) {
            let name = format!("{mailbox}-{remote}");
            let audit = engine.audit(BY, AuditAction::Replayed, mailbox, vec![remote.to_string()], &name);
            engine.ports.mailboxes().release(&message, &audit).await?;
            if self.delete_after_processing && end == End::Recorded {
                session.delete(&[remote]).await?;
            }
        }
        Ok(false)
    }
}
