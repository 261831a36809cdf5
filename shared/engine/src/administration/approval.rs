//! Approve Email: whether the email of a mailbox's address is processed.

use mailrail_domain::{
    settings::approval::{ApprovalState, Decision, Verdict},
    words::{
        audit::{AuditAction, AuditSubject},
        role::Role,
    },
};

use super::{By, Refusal, bulk, require_written};
use crate::{
    Engine,
    ports::{Directory, Ports, StoredMailbox},
};

/// Refuses whoever may not give this verdict, on whatever address.
fn may_decide(by: &By, verdict: Verdict) -> Result<(), Refusal> {
    match verdict {
        Verdict::Approve | Verdict::Reject => by.needs(Role::Administrator, "Approving or rejecting addresses"),
        Verdict::ApproveForTenant => by.needs(Role::TenantAdministrator, "Approving addresses for the tenant"),
    }
}

impl<P: Ports> Engine<P> {
    /// Approves or rejects the addresses of mailboxes. Somebody who may not give the verdict is told so once.
    pub async fn decide_many(&self, by: &By, mailboxes: &[String], verdict: Verdict) -> Result<bulk::Done, Refusal> {
        may_decide(by, verdict)?;
        bulk::each(mailboxes, |id| async move { self.decide(by, &id, verdict).await }).await
    }

    /// Approves or rejects the address of a mailbox.
    pub async fn decide(&self, by: &By, mailbox: &str, verdict: Verdict) -> Result<(), Refusal> {
        may_decide(by, verdict)?;
        let before = self.find_mailbox(mailbox).await?;
        let mut mailbox = before.stored.mailbox.clone();
        if mailbox.approval.state == ApprovalState::Empty || mailbox.address.is_none() {
            let detail = format!("The mailbox {} has no address.", mailbox.name);
            return Err(Refusal::conflict(detail, "Give it an address first."));
        }
        let action = match verdict {
            Verdict::Approve => AuditAction::Approved,
            Verdict::Reject => AuditAction::Rejected,
            Verdict::ApproveForTenant => AuditAction::ApprovedForTenant,
        };
        let at = self.now();
        mailbox.approval = mailbox.approval.decided(verdict, Decision { by: by.name.clone(), at });
        let after = StoredMailbox { mailbox, ..before.stored.clone() };
        let audit = by.audit(at, action, (AuditSubject::Mailbox, after.mailbox.id.as_str()), vec![]);
        require_written(self.ports.mailboxes().change_mailbox(&before, &after, &audit).await?)
    }
}
