//! Approval of addresses: who decided whether the email of an address is processed, and when.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(by: &str) -> Decision {
        Decision { by: by.into(), at: Timestamp::from_timestamp(1_700_000_000, 0).unwrap() }
    }

    #[test]
    fn rejecting_takes_the_tenants_approval_back() {
        let approval = Approval::undecided(true).decided(Verdict::ApproveForTenant, decision("tess"));
        assert_eq!(approval.decided(Verdict::Reject, decision("ann")).tenant, None);
    }
}
