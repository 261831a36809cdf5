//! Sending the notices that wait, each once, from the organization's notice mailbox.

use mailrail_domain::{
    address::EmailAddress,
    delivery::Delivery,
    email::{ContentReply, RecipientReply},
    notice::{Notice, NoticeStatus},
};

use crate::{
    Deadline, Engine,
    limits::{DEADLINE_MARGIN, NOTICES_PER_RUN},
    mime::{Composition, compose, dated},
    outage::Outage,
    ports::{
        Access, Directory, EnvelopeReply, MailboxStore, NoticeStore, OutgoingServers, OutgoingSession, PageRequest,
        Ports,
    },
};

/// What one run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notified {
    /// Notices that went out.
    pub sent: usize,
    /// Notices that could not be sent and wait for another try.
    pub waiting: usize,
}

impl<P: Ports> Engine<P> {
    /// Sends the notices that are due. A notice that cannot be sent stays pending, with the reason, and is tried again.
    pub async fn notify(&self, deadline: Deadline) -> Result<Notified, Outage> {
        let page = PageRequest { limit: NOTICES_PER_RUN, cursor: None };
        let pending = self.ports.mailboxes().notices(NoticeStatus::Pending, &page).await?.items;
        let now = self.now();
        let due: Vec<Notice> = pending.into_iter().filter(|notice| notice.next_attempt <= now).collect();
        let mut notified = Notified::default();
        if due.is_empty() {
            return Ok(notified);
        }
        let mut sender = self.notice_sender().await?;
        for notice in due {
            if deadline.is_within(DEADLINE_MARGIN) {
                break;
            }
            // Counted before it is tried, so that a crash in between neither loops without a pause nor loses it.
            let why = sender.as_ref().err().map_or("the sending was cut off".to_owned(), Clone::clone);
            let counted = notice.not_sent(&why, self.now());
            if !self.ports.mailboxes().update_notice(&counted, notice.attempts).await? {
                continue;
            }
            let Ok((from, session)) = &mut sender else {
                tracing::error!(notice = notice.id, why, "a notice waits");
                notified.waiting += 1;
                continue;
            };
            let result = self.hand_over_notice(from, session, &notice).await;
            let after = match &result {
                Ok(()) => Notice { attempts: counted.attempts, ..notice.sent(self.now()) },
                Err(why) => Notice { last_error: Some(why.clone()), ..counted.clone() },
            };
            self.ports.mailboxes().update_notice(&after, counted.attempts).await?;
            match result {
                Ok(()) => notified.sent += 1,
                Err(why) => {
                    tracing::error!(notice = notice.id, why, "a notice waits");
                    notified.waiting += 1;
                }
            }
        }
        if let Ok((_, session)) = sender {
            session.close().await;
        }
        Ok(notified)
    }

    /// The notice mailbox's address and a session that sends for it, or why there is none.
    #[allow(clippy::type_complexity)] // a pair of what is used together once
    async fn notice_sender(
        &self,
    ) -> Result<Result<(EmailAddress, <P::Outgoing as OutgoingServers>::Session), String>, Outage> {
        let (address, access) = match self.notice_access().await? {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        let session = self.ports.outgoing().open(&access).await;
        Ok(session.map(|session| (address, session)).map_err(|error| error.to_string()))
    }

    async fn notice_access(&self) -> Result<Result<(EmailAddress, Access), String>, Outage> {
        let mailboxes = self.ports.mailboxes();
        let Some(id) = mailboxes.organization().await?.organization.notice_mailbox_id else {
            return Ok(Err("the organization has no notice mailbox; set notice_mailbox_id".to_owned()));
        };
        let Some(row) = mailboxes.load(&id, Delivery::OutgoingEmail).await? else {
            return Ok(Err("the organization's notice mailbox does not exist".to_owned()));
        };
        let Some(stored) = mailboxes.profile(&row.mailbox.profile_id).await? else {
            return Ok(Err("the notice mailbox's email server profile does not exist".to_owned()));
        };
        let Some(location) = stored.profile.outgoing.clone() else {
            return Ok(Err("the notice mailbox's email server profile has no outgoing server".to_owned()));
        };
        let access = self.access(&row.mailbox, row.credentials.as_ref(), &stored, &location).await?;
        let Some(address) = row.mailbox.address else {
            return Ok(Err("the organization's notice mailbox has no address".to_owned()));
        };
        Ok(access.map(|access| (address, access)).map_err(|error| error.to_string()))
    }

    async fn hand_over_notice(
        &self,
        from: &EmailAddress,
        session: &mut <P::Outgoing as OutgoingServers>::Session,
        notice: &Notice,
    ) -> Result<(), String> {
        let to = [notice.to.clone()];
        let message_id = notice.message_id();
        let raw = compose(&Composition {
            from: Some(("Mailrail", from)),
            to: &to,
            subject: &notice.subject,
            text: &notice.text,
            message_id: &message_id,
            ..Composition::default()
        });
        let message = dated(&raw, self.now());
        let reply = session.envelope(from, &to).await.map_err(|error| error.to_string())?;
        let refusal = match reply {
            EnvelopeReply::EmailRefused(evidence) => Some(evidence),
            EnvelopeReply::Recipients(replies) => replies.into_iter().find_map(|(_, reply)| match reply {
                RecipientReply::Accepted => None,
                RecipientReply::Refused(evidence) | RecipientReply::Deferred(evidence) => Some(evidence),
            }),
        };
        if let Some(evidence) = refusal {
            session.reset().await.map_err(|error| error.to_string())?;
            return Err(evidence.words);
        }
        match session.content(&message).await {
            ContentReply::Accepted => Ok(()),
            ContentReply::Refused(evidence) | ContentReply::Deferred(evidence) | ContentReply::Unknown(evidence) => {
                Err(evidence.words)
            }
            ContentReply::NotSent => Err("no recipient was accepted".to_owned()),
        }
    }
}
