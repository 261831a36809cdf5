//! Sending the notices that wait, each once, from the organization's notice mailbox.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use mailrail_domain::{
    email::sending::{ContentReply, RecipientReply},
    rules::notices::DIGEST_FROM,
    texts::notice::digest,
    words::{
        address::EmailAddress,
        delivery::Delivery,
        notice::{Notice, NoticeStatus},
    },
};

use crate::{
    Deadline, Engine,
    limits::{DEADLINE_MARGIN, NOTICES_AT_ONCE, NOTICES_PENDING_MAX, NOTICES_PER_RUN},
    mime::{Composition, compose, dated, rendered},
    outage::Outage,
    ports::{
        Access, Directory, EnvelopeReply, Ledger, MailboxStore, NoticeStore, OutgoingServers, OutgoingSession,
        PageRequest, Ports,
    },
    run::Stop,
};

/// What one run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notified {
    /// Notices that went out.
    pub sent: usize,
    /// Notices that could not be sent and wait for another try.
    pub waiting: usize,
}

/// The notice mailbox's address and a session that sends for it.
type Connected<P> = (EmailAddress, <<P as Ports>::Outgoing as OutgoingServers>::Session);
/// The same, or why there is none.
type Sender<P> = Result<Connected<P>, String>;

/// Why no notice can be sent.
enum NoSender {
    /// The notice mailbox is not set up.
    Because(String),
    /// Its server failed, or something of ours did.
    Stopped(Stop),
}

impl<E: Into<Stop>> From<E> for NoSender {
    fn from(stop: E) -> Self {
        Self::Stopped(stop.into())
    }
}

impl<P: Ports> Engine<P> {
    /// Sends the notices that are due, those of many mailboxes of a profile as one digest. A notice that cannot be sent
    /// stays pending, with the reason, and is tried again.
    pub async fn notify(&self, deadline: Deadline) -> Result<Notified, Outage> {
        let groups = self.due_groups().await?;
        let mut notified = Notified::default();
        if groups.is_empty() {
            return Ok(notified);
        }
        let console_url = self.ports.mailboxes().organization().await?.organization.console_url;
        // Boxed, as is every way to a mail server: the compiler lays nested futures out no deeper than 128 levels.
        let mut sender = Box::pin(self.notice_sender()).await?;
        for group in groups.into_iter().take(NOTICES_PER_RUN) {
            if deadline.is_within(DEADLINE_MARGIN) {
                break;
            }
            // Counted before it is tried, so that a crash in between neither loops without a pause nor loses it.
            let why = sender.as_ref().err().map_or("the sending was cut off".to_owned(), Clone::clone);
            let now = self.now();
            let counted = self.mark(group, |notice| notice.not_sent(&why, now)).await?;
            let Some(notice) = told(&counted) else {
                continue;
            };
            let result = match &mut sender {
                Ok((from, session)) => {
                    Box::pin(self.hand_over_notice(from, session, &notice, console_url.as_deref())).await
                }
                Err(why) => Err(why.clone()),
            };
            let now = self.now();
            match result {
                Ok(()) => {
                    notified.sent += 1;
                    self.mark(counted, |notice| Notice { attempts: notice.attempts, ..notice.sent(now) }).await?;
                }
                Err(why) => {
                    tracing::error!(notice = notice.id, why, "a notice waits");
                    notified.waiting += 1;
                    self.mark(counted, |notice| Notice { last_error: Some(why.clone()), ..notice.clone() }).await?;
                }
            }
        }
        if let Ok((_, session)) = sender {
            session.close().await;
        }
        Ok(notified)
    }

    /// The notices to send now: each by itself, or, where many of one kind are pending for a profile and one of them is
    /// due, all of these together.
    async fn due_groups(&self) -> Result<Vec<Vec<Notice>>, Outage> {
        let now = self.now();
        let mut pending: Vec<Notice> = Vec::new();
        let mut page = PageRequest { limit: NOTICES_PER_RUN, cursor: None };
        while pending.len() < NOTICES_PENDING_MAX {
            let found = self.ports.mailboxes().notices(NoticeStatus::Pending, &page).await?;
            pending.extend(found.items);
            page.cursor = found.cursor;
            // They come in the order in which they are due: without one that is, none of them is sent.
            if page.cursor.is_none() || pending.first().is_none_or(|first| first.next_attempt > now) {
                break;
            }
        }
        let mut groups: BTreeMap<_, Vec<Notice>> = BTreeMap::new();
        for notice in pending {
            let same = (notice.profile_id.clone(), notice.kind, notice.delivery, notice.to.clone());
            groups.entry(same).or_default().push(notice);
        }
        let mut due = Vec::new();
        for group in groups.into_values() {
            let some_are_due = group.iter().any(|notice| notice.next_attempt <= now);
            if some_are_due && group.len() >= DIGEST_FROM {
                due.push(group);
            } else {
                due.extend(group.into_iter().filter(|notice| notice.next_attempt <= now).map(|notice| vec![notice]));
            }
        }
        due.sort_by_key(|group| group.iter().map(|notice| notice.next_attempt).min());
        Ok(due)
    }

    /// Changes notices, each unless somebody else did meanwhile; those that were changed, as they are then.
    async fn mark(&self, notices: Vec<Notice>, change: impl Fn(&Notice) -> Notice) -> Result<Vec<Notice>, Outage> {
        let changes: Vec<(u32, Notice)> = notices.iter().map(|notice| (notice.attempts, change(notice))).collect();
        let marked = stream::iter(changes).map(|(attempts, after)| async move {
            let is_ours = self.ports.mailboxes().update_notice(&after, attempts).await?;
            Ok(is_ours.then_some(after))
        });
        let marked: Vec<Option<Notice>> = marked.buffered(NOTICES_AT_ONCE).try_collect().await?;
        Ok(marked.into_iter().flatten().collect())
    }

    /// The notice mailbox's address and a session that sends for it, or why there is none.
    async fn notice_sender(&self) -> Result<Sender<P>, Outage> {
        match self.connect_to_send().await {
            Ok(sender) => Ok(Ok(sender)),
            Err(NoSender::Because(why)) => Ok(Err(why)),
            Err(NoSender::Stopped(Stop::Mailbox(error))) => Ok(Err(error.to_string())),
            Err(NoSender::Stopped(Stop::Ours(outage))) => Err(outage),
        }
    }

    async fn connect_to_send(&self) -> Result<Connected<P>, NoSender> {
        let mailboxes = self.ports.mailboxes();
        let because = |why: &str| NoSender::Because(why.to_owned());
        let Some(id) = mailboxes.organization().await?.organization.notice_mailbox_id else {
            return Err(because("the organization has no notice mailbox; set notice_mailbox_id"));
        };
        let Some(row) = mailboxes.load(&id, Delivery::OutgoingEmail).await? else {
            return Err(because("the organization's notice mailbox does not exist"));
        };
        let Some(stored) = mailboxes.profile(&row.mailbox.profile_id).await? else {
            return Err(because("the notice mailbox's email server profile does not exist"));
        };
        let Some(endpoint) = stored.profile.endpoint(Delivery::OutgoingEmail) else {
            return Err(because("the notice mailbox's email server profile has no outgoing server"));
        };
        let access = self.access(&row.mailbox, row.credentials.as_ref(), &stored, &endpoint).await?;
        let access = Access { ledger: Ledger::knowing(row.state.learned.clone()), ..access };
        let Some(address) = row.mailbox.address else {
            return Err(because("the organization's notice mailbox has no address"));
        };
        let session = self.ports.outgoing().open(&access).await.map_err(Stop::from)?;
        Ok((address, session))
    }

    async fn hand_over_notice(
        &self,
        from: &EmailAddress,
        session: &mut <P::Outgoing as OutgoingServers>::Session,
        notice: &Notice,
        console_url: Option<&str>,
    ) -> Result<(), String> {
        let to: Vec<EmailAddress> = [Some(notice.to.clone()), notice.copy_to.clone()].into_iter().flatten().collect();
        let message_id = notice.message_id();
        let (text, html) = rendered(notice, console_url);
        let raw = compose(&Composition {
            from: Some(("Mailrail", from)),
            to: &to,
            subject: &notice.subject,
            text: &text,
            html: html.as_deref(),
            message_id: &message_id,
            ..Composition::default()
        });
        let message = dated(&raw, self.now());
        let reply = session.envelope(from, &to).await.map_err(|error| error.to_string())?;
        let refusal = match reply {
            EnvelopeReply::EmailRefused(evidence) => Some(evidence),
            // The owner is whom it is for; a mailbox that cannot be reached gets no copy.
            EnvelopeReply::Recipients(replies) => replies.into_iter().take(1).find_map(|(_, reply)| match reply {
                RecipientReply::Accepted => None,
                RecipientReply::Refused(evidence) | RecipientReply::Deferred(evidence) => Some(evidence),
            }),
        };
        if let Some(evidence) = refusal {
            session.reset().await.map_err(|error| error.to_string())?;
            return Err(evidence.words);
        }
        match session.content(&message).await.map_err(|error| error.to_string())? {
            ContentReply::Accepted => Ok(()),
            ContentReply::Refused(evidence) | ContentReply::Deferred(evidence) | ContentReply::Unknown(evidence) => {
                Err(evidence.words)
            }
            ContentReply::FailedToSend(error) => Err(error.evidence.words),
            ContentReply::NotSent => Err("no recipient was accepted".to_owned()),
        }
    }
}

/// What is sent for notices: the one, or their digest.
fn told(notices: &[Notice]) -> Option<Notice> {
    if notices.len() >= DIGEST_FROM { digest(notices) } else { notices.first().cloned() }
}
