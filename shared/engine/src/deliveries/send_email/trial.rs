//! Test & Enable of outgoing email: a message from the mailbox to itself, which has to arrive.

use mailrail_domain::{
    email::sending::{ContentReply, RecipientReply},
    words::{
        cause::{Cause, DeliveryError},
        delivery::{Delivery, SynchronizationMethod},
        evidence::{Evidence, Stage},
        trial::TEST_SUBJECT,
    },
};

use crate::{
    Engine,
    limits::{ARRIVAL_LOOKS_MAX, ARRIVAL_WAIT},
    mime::{Composition, compose, dated},
    outage::Outage,
    ports::{Access, EnvelopeReply, Finder, Folder, OutgoingServers, OutgoingSession, Ports},
    run::{Run, Stages, Stop},
};

/// Sends a message from the mailbox to itself, as any other is sent, and waits for it to arrive where the mailbox can be
/// read.
pub(super) async fn try_out<P: Ports>(run: &Run<'_, P>, stages: &mut Stages<'_>) -> Result<(), Stop> {
    let (engine, mailbox) = (run.engine, &run.row.mailbox);
    let Some(address) = mailbox.address.clone() else {
        return Err(Outage::new("a mailbox without an address was let through to a test").into());
    };
    let access = run.access(Delivery::OutgoingEmail).await?;
    let opened = engine.ports.outgoing().open(&access).await;
    stages.connected(&access.progress, opened.as_ref().err());
    stages.save(engine).await?;
    let mut session = opened?;
    let message_id = format!("test-{}@{}", stages.test_id(), address.domain());
    let to = [address.clone()];
    let raw = compose(&Composition {
        from: Some((&mailbox.name, &address)),
        to: &to,
        subject: TEST_SUBJECT,
        text: "This message was sent by Test & Enable, from the mailbox to itself. You can delete it.\n",
        message_id: &message_id,
        ..Composition::default()
    });
    let envelope = async { accepted(session.envelope(&address, &to).await?) };
    stages.step(Stage::Envelope, envelope).await?;
    let message = dated(&raw, engine.now());
    let content = async { taken(session.content(&message).await?) };
    stages.step(Stage::Data, content).await?;
    session.close().await;
    stages.save(engine).await?;
    let reads = mailbox.method(Delivery::IncomingEmail) == SynchronizationMethod::ServerSideSynchronization;
    if !reads || run.endpoint(Delivery::IncomingEmail).is_none() {
        return Ok(());
    }
    let access = Access { ledger: access.ledger, ..run.access(Delivery::IncomingEmail).await? };
    Ok(stages.step(Stage::Arrive, arrival(engine, &access, &message_id)).await?)
}

async fn arrival<P: Ports>(engine: &Engine<P>, access: &Access, message_id: &str) -> Result<(), DeliveryError> {
    for _ in 0..ARRIVAL_LOOKS_MAX {
        match engine.ports.finder().has(access, Folder::Inbox, message_id).await {
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

/// Whether the server takes a message from the mailbox to itself. A server that puts it off may take it later.
fn accepted(reply: EnvelopeReply) -> Result<(), DeliveryError> {
    let refusal = match reply {
        EnvelopeReply::EmailRefused(evidence) => Some((Cause::SenderRefused, evidence)),
        EnvelopeReply::Recipients(replies) => replies.into_iter().find_map(|(_, reply)| match reply {
            RecipientReply::Accepted => None,
            RecipientReply::Refused(evidence) => Some((Cause::SenderRefused, evidence)),
            RecipientReply::Deferred(evidence) => Some((Cause::SenderDeferred, evidence)),
        }),
    };
    refusal.map_or(Ok(()), |(cause, evidence)| Err(DeliveryError::new(cause, evidence)))
}

fn taken(reply: ContentReply) -> Result<(), DeliveryError> {
    match reply {
        ContentReply::Accepted => Ok(()),
        ContentReply::Refused(evidence) => Err(DeliveryError::new(Cause::SenderRefused, evidence)),
        ContentReply::Deferred(evidence) => Err(DeliveryError::new(Cause::SenderDeferred, evidence)),
        ContentReply::Unknown(evidence) => Err(DeliveryError::new(Cause::ConnectionLost, evidence)),
        ContentReply::FailedToSend(error) => Err(error),
        ContentReply::NotSent => {
            let evidence = Evidence::new(Stage::Data, "no recipient was accepted");
            Err(DeliveryError::new(Cause::SenderRefused, evidence))
        }
    }
}

#[cfg(test)]
mod tests {
    use mailrail_test_support::build::address;

    use super::*;

    #[test]
    fn a_message_that_is_put_off_is_not_taken_for_one_that_is_refused() {
        let cause = |reply: EnvelopeReply| accepted(reply).map_err(|error| error.cause);
        let recipients = |reply| EnvelopeReply::Recipients(vec![(address("a@example.org"), reply)]);
        let evidence = || Evidence::new(Stage::Envelope, "450 greylisted");
        assert_eq!(cause(recipients(RecipientReply::Accepted)), Ok(()));
        assert_eq!(cause(recipients(RecipientReply::Deferred(evidence()))), Err(Cause::SenderDeferred));
        assert_eq!(cause(recipients(RecipientReply::Refused(evidence()))), Err(Cause::SenderRefused));
        assert_eq!(cause(EnvelopeReply::EmailRefused(evidence())), Err(Cause::SenderRefused));
        assert_eq!(taken(ContentReply::Deferred(evidence())).unwrap_err().cause, Cause::SenderDeferred);
    }
}
