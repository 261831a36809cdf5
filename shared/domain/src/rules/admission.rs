//! Whether a mailbox may be synchronized at all: its address has to be approved.

use crate::{
    settings::{
        approval::ApprovalState,
        mailbox::{Mailbox, MailboxKind},
        organization::Organization,
        profile::{EmailServerProfile, ServerType},
    },
    words::{
        cause::{Cause, DeliveryError},
        evidence::{Evidence, Stage},
    },
};

/// The approval that a mailbox lacks, as the cause for which its deliveries are disabled; `None` if it may run.
#[must_use]
pub fn lacking(mailbox: &Mailbox, profile: &EmailServerProfile, organization: &Organization) -> Option<Cause> {
    if profile.server_type() == ServerType::ExchangeOnline && mailbox.approval.tenant.is_none() {
        return Some(Cause::TenantApprovalMissing);
    }
    let asked = match mailbox.kind {
        MailboxKind::User => organization.process_emails_only_for_approved_users,
        MailboxKind::Queue => organization.process_emails_only_for_approved_queues,
    };
    let refused = match mailbox.approval.state {
        ApprovalState::Approved => false,
        ApprovalState::PendingApproval => asked,
        // A rejection counts although nobody has to approve addresses, and a mailbox without an address receives nothing.
        ApprovalState::Rejected | ApprovalState::Empty => true,
    };
    refused.then_some(Cause::AddressNotApproved)
}

/// Why a mailbox may not be synchronized, as the failure for which its deliveries are disabled; `None` if it may.
#[must_use]
pub fn refusal(mailbox: &Mailbox, profile: &EmailServerProfile, organization: &Organization) -> Option<DeliveryError> {
    let cause = lacking(mailbox, profile, organization)?;
    Some(DeliveryError::new(cause, Evidence::new(Stage::Prepare, "the approval is missing")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Timestamp,
        settings::approval::{Approval, Decision, Verdict},
    };

    fn decision(by: &str) -> Decision {
        Decision { by: by.into(), at: Timestamp::from_timestamp(1_700_000_000, 0).unwrap() }
    }

    #[test]
    fn each_switch_asks_for_its_own_kind_of_mailbox() {
        let (profile, mut mailbox) = crate::sample::sample();
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
        let (profile, mut mailbox) = crate::sample::sample();
        let organization = Organization::default();
        mailbox.approval = Approval::undecided(true);
        assert_eq!(lacking(&mailbox, &profile, &organization), Some(Cause::AddressNotApproved));
        mailbox.approval = mailbox.approval.decided(Verdict::Approve, decision("ann"));
        assert_eq!(lacking(&mailbox, &profile, &organization), None);
    }

    #[test]
    fn a_rejected_address_is_refused_whatever_the_switches_say() {
        let (profile, mut mailbox) = crate::sample::sample();
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
        let (mut profile, mut mailbox) = crate::sample::sample();
        profile.servers = crate::sample::exchange_online();
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
}
