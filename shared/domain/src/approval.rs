//! Approval of addresses: whose email is processed at all is decided by a person, and separately by the tenant's
//! administrator where the servers are Exchange Online.
//!
//! Source page, "Email addresses must be approved" and "Email address requires approval by Office 365 administrator".

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    cause::Cause,
    mailbox::{Mailbox, MailboxKind},
    organization::Organization,
    profile::{EmailServerProfile, ServerType},
};

/// Where the address of a mailbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalState {
    /// The mailbox has no address.
    #[default]
    Empty,
    /// It waits for somebody to approve it.
    PendingApproval,
    /// Its email is processed.
    Approved,
    /// Its email is not to be processed.
    Rejected,
}

/// Who decided, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Name of the API token that it was decided with.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// The approval of a mailbox's address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Approval {
    /// Where it stands.
    pub state: ApprovalState,
    /// Who approved or rejected the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decision>,
    /// The approval of the tenant's administrator, which Exchange Online needs besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Decision>,
}

/// What is decided about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Its email may be processed.
    Approve,
    /// It may not. Clears the approval of the tenant's administrator as well.
    Reject,
    /// It may, and the tenant's administrator says so.
    ApproveForTenant,
}

impl Approval {
    /// The approval of an address that nobody has decided about.
    #[must_use]
    pub fn undecided(has_address: bool) -> Self {
        let state = if has_address { ApprovalState::PendingApproval } else { ApprovalState::Empty };
        Self { state, ..Self::default() }
    }

    /// The approval after a decision.
    #[must_use]
    pub fn decided(&self, verdict: Verdict, decision: Decision) -> Self {
        match verdict {
            Verdict::Approve => Self { state: ApprovalState::Approved, decided: Some(decision), ..self.clone() },
            Verdict::Reject => Self { state: ApprovalState::Rejected, decided: Some(decision), tenant: None },
            Verdict::ApproveForTenant => {
                Self { state: ApprovalState::Approved, decided: Some(decision.clone()), tenant: Some(decision) }
            }
        }
    }
}

/// The approval that a mailbox lacks, as the cause for which its deliveries are disabled; `None` if it may run.
#[must_use]
pub fn lacking(mailbox: &Mailbox, profile: &EmailServerProfile, organization: &Organization) -> Option<Cause> {
    if profile.server_type == ServerType::ExchangeOnline && mailbox.approval.tenant.is_none() {
        return Some(Cause::TenantApprovalMissing);
    }
    let asked = match mailbox.kind {
        MailboxKind::User => organization.process_emails_only_for_approved_users,
        MailboxKind::Queue => organization.process_emails_only_for_approved_queues,
    };
    let refused = match mailbox.approval.state {
        ApprovalState::Approved => false,
        ApprovalState::PendingApproval => asked,
        // Somebody said no, which is more than that nobody was asked; and nothing comes to no address.
        ApprovalState::Rejected | ApprovalState::Empty => true,
    };
    refused.then_some(Cause::AddressNotApproved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(by: &str) -> Decision {
        Decision { by: by.into(), at: Timestamp::from_timestamp(1_700_000_000, 0).unwrap() }
    }

    #[test]
    fn each_switch_asks_for_its_own_kind_of_mailbox() {
        let (profile, mut mailbox) = crate::profile::sample();
        mailbox.approval = Approval::undecided(true);
        for (kind, users, queues, lacks) in [
            (MailboxKind::User, true, true, true),
            (MailboxKind::User, false, true, false),
            (MailboxKind::Queue, false, true, true),
            (MailboxKind::Queue, true, false, false),
        ] {
            mailbox.kind = kind;
            let organization = Organization {
                process_emails_only_for_approved_users: users,
                process_emails_only_for_approved_queues: queues,
                ..Organization::default()
            };
            let expected = lacks.then_some(Cause::AddressNotApproved);
            assert_eq!(lacking(&mailbox, &profile, &organization), expected, "{kind:?} {users} {queues}");
        }
    }

    #[test]
    fn both_switches_are_on_by_default_and_an_approved_address_passes_them() {
        let (profile, mut mailbox) = crate::profile::sample();
        let organization = Organization::default();
        mailbox.approval = Approval::undecided(true);
        assert_eq!(lacking(&mailbox, &profile, &organization), Some(Cause::AddressNotApproved));
        mailbox.approval = mailbox.approval.decided(Verdict::Approve, decision("ann"));
        assert_eq!(lacking(&mailbox, &profile, &organization), None);
    }

    #[test]
    fn a_rejected_address_is_refused_whatever_the_switches_say() {
        let (profile, mut mailbox) = crate::profile::sample();
        let organization = Organization {
            process_emails_only_for_approved_users: false,
            process_emails_only_for_approved_queues: false,
            ..Organization::default()
        };
        mailbox.approval = mailbox.approval.decided(Verdict::Reject, decision("ann"));
        assert_eq!(lacking(&mailbox, &profile, &organization), Some(Cause::AddressNotApproved));
    }

    #[test]
    fn exchange_online_needs_the_tenants_administrator_even_with_both_switches_off() {
        let (mut profile, mut mailbox) = crate::profile::sample();
        profile.server_type = ServerType::ExchangeOnline;
        let organization = Organization {
            process_emails_only_for_approved_users: false,
            process_emails_only_for_approved_queues: false,
            ..Organization::default()
        };
        mailbox.approval = Approval::undecided(true).decided(Verdict::Approve, decision("ann"));
        assert_eq!(lacking(&mailbox, &profile, &organization), Some(Cause::TenantApprovalMissing));
        mailbox.approval = mailbox.approval.decided(Verdict::ApproveForTenant, decision("tess"));
        assert_eq!(lacking(&mailbox, &profile, &organization), None);
        assert_eq!(mailbox.approval.tenant, Some(decision("tess")));
    }

    #[test]
    fn rejecting_takes_the_tenants_approval_back() {
        let approval = Approval::undecided(true).decided(Verdict::ApproveForTenant, decision("tess"));
        assert_eq!(approval.decided(Verdict::Reject, decision("ann")).tenant, None);
    }
}
