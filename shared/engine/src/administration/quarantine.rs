//! The quarantine: a person lists it, has its messages tried again, and asks for a message that is missing.

use futures_util::{StreamExt, TryStreamExt, stream};
use mailrail_domain::{
    email::quarantine::{QuarantineReason, Quarantined, Wanted},
    words::{
        audit::{AuditAction, AuditSubject},
        id::MailboxId,
        invalid::Invalid,
        role::Role,
    },
};

use super::{By, Refusal};
use crate::{
    Engine,
    ports::{Page, PageRequest, Ports, QuarantineStore},
    quarantine::{Finding, Replayed},
};

/// Messages that one call tries again; it is answered within the 30 seconds that the gateway allows.
pub const REPLAYS_MAX: usize = 100;
/// Messages that are tried at once.
const REPLAYS_AT_ONCE: usize = 4;

/// Which messages are to be tried again: those that are named, or all, or all of a mailbox or a reason.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    /// Those of this mailbox.
    pub mailbox_id: Option<String>,
    /// Those in quarantine for this reason.
    pub reason: Option<QuarantineReason>,
    /// These of the mailbox, by their names on the server.
    pub remote_ids: Option<Vec<String>>,
}

/// A message that was tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The mailbox.
    pub mailbox_id: MailboxId,
    /// Its name on the server.
    pub remote_id: String,
    /// What it came to.
    pub came_to: Replayed,
}

/// What came of trying again.
#[derive(Debug, Default)]
pub struct Replays {
    /// The messages, in order.
    pub tried: Vec<Tried>,
    /// Whether there are more that match.
    pub more: bool,
}

impl<P: Ports> Engine<P> {
    /// Lists a mailbox's quarantine.
    pub async fn list_quarantine_of(
        &self,
        mailbox: &MailboxId,
        page: &PageRequest,
    ) -> Result<Page<Quarantined>, Refusal> {
        let found = self.ports.mailboxes().quarantined(mailbox, page).await?;
        if found.items.is_empty() {
            self.find_mailbox(mailbox.as_str()).await?;
        }
        Ok(found)
    }

    /// Lists the quarantine of all mailboxes, the newest first; of one reason, or of all.
    pub async fn list_quarantine(
        &self,
        reason: Option<QuarantineReason>,
        page: &PageRequest,
    ) -> Result<Page<Quarantined>, Refusal> {
        Ok(self.ports.mailboxes().quarantined_anywhere(reason, page).await?)
    }

    /// Tries messages in quarantine again, at most [`REPLAYS_MAX`]. What was synchronized meanwhile is not doubled. Each
    /// that becomes a record is in the audit.
    pub async fn replay_messages(&self, by: &By, replay: Replay) -> Result<Replays, Refusal> {
        by.needs(Role::Administrator, "Trying messages again")?;
        let (wanted, more) = self.wanted_again(replay).await?;
        let tried = stream::iter(wanted).map(|(mailbox, remote_id)| self.replay_one(by, mailbox, remote_id));
        Ok(Replays { tried: tried.buffered(REPLAYS_AT_ONCE).try_collect().await?, more })
    }

    async fn replay_one(&self, by: &By, mailbox_id: MailboxId, remote_id: String) -> Result<Tried, Refusal> {
        let subject = (AuditSubject::Mailbox, mailbox_id.as_str());
        let audit = by.audit(self.now(), AuditAction::Replayed, subject, vec![remote_id.clone()]);
        let came_to = self.replay(&mailbox_id, &remote_id, &audit).await?;
        Ok(Tried { mailbox_id, remote_id, came_to })
    }

    /// Mailbox and name of each message that is wanted, and whether there are more.
    async fn wanted_again(&self, replay: Replay) -> Result<(Vec<(MailboxId, String)>, bool), Refusal> {
        let Replay { mailbox_id, reason, remote_ids } = replay;
        let (found, more) = match (mailbox_id, remote_ids) {
            (Some(id), Some(remote_ids)) => {
                let mailbox = self.find_mailbox(&id).await?.stored.mailbox.id;
                if remote_ids.is_empty() || remote_ids.len() > REPLAYS_MAX {
                    let problem = format!("it has {} names", remote_ids.len());
                    return Err(Invalid::new("remote_ids", problem, format!("Give 1 to {REPLAYS_MAX}")).into());
                }
                return Ok((remote_ids.into_iter().map(|remote| (mailbox.clone(), remote)).collect(), false));
            }
            (None, Some(_)) => {
                let problem = "names of messages are those of one mailbox";
                return Err(Invalid::new("mailbox_id", problem, "Give the mailbox too").into());
            }
            (Some(id), None) => {
                let mailbox = self.find_mailbox(&id).await?.stored.mailbox.id;
                let matches = |message: &Quarantined| reason.is_none_or(|reason| message.reason == reason);
                self.quarantined_where(&mailbox, REPLAYS_MAX, matches).await?
            }
            (None, None) => {
                let page = PageRequest { limit: REPLAYS_MAX, cursor: None };
                let found = self.ports.mailboxes().quarantined_anywhere(reason, &page).await?;
                (found.items, found.cursor.is_some())
            }
        };
        Ok((found.into_iter().map(|message| (message.mailbox_id, message.remote_id)).collect(), more))
    }

    /// Says why a message was not synchronized: it is a record, it is in quarantine, or it never came.
    pub async fn why_missing(&self, mailbox: &str, wanted: &Wanted) -> Result<Vec<Finding>, Refusal> {
        let mailbox = self.find_mailbox(mailbox).await?.stored.mailbox.id;
        if wanted.is_empty() {
            let problem = "nothing is given to look for";
            return Err(Invalid::new("message_id", problem, "Give message_id, subject or sender").into());
        }
        Ok(self.why_not_synchronized(&mailbox, wanted).await?)
    }
}
